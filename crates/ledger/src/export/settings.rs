//! What is exported, where to, and how patiently.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tollgate_model::{Secret, TenantId};
use tollgate_telemetry::otlp::Endpoint;
use url::Url;

use crate::Kind;

/// One export: a receiver that gets what happens, entry by entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportSettings {
    /// Its name, by which its cursor is kept: letters, digits, `-` and `_`.
    pub name: Arc<str>,
    /// Who receives it.
    pub target: TargetSettings,
    /// In which words.
    pub format: Format,
    /// Whether people, agents and addresses are named. Else only their references go out.
    pub names: bool,
    /// Whether arguments and results go out, as far as they were kept.
    pub payloads: bool,
    /// The kinds of entries that go out; none means all of them.
    pub kinds: Option<Vec<Kind>>,
    /// The tenants whose entries go out; none means everything. Checkpoints go out either way.
    pub tenants: Option<Vec<TenantId>>,
    /// How patiently.
    pub pace: Pace,
}

/// How large batches are, and how patiently they are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// How many bytes of entries one batch has at most. An entry that is larger is a batch of its own.
    pub batch_bytes_max: usize,
    /// How many entries one batch has at most.
    pub batch_entries_max: usize,
    /// How long the first entry of a batch waits for more.
    pub batch_wait: Duration,
    /// How long one try to send may take, connecting included.
    pub timeout: Duration,
    /// The first pause after a failed try. It doubles with each.
    pub retry_min: Duration,
    /// The longest pause between tries.
    pub retry_max: Duration,
    /// How far an export may lie behind. Beyond it `/readyz` says so, and retention waits for it no more.
    pub behind_bytes_max: u64,
    /// How long a good end waits for what is left.
    pub drain: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            batch_bytes_max: 1024 * 1024,
            batch_entries_max: 1000,
            batch_wait: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
            retry_min: Duration::from_millis(500),
            retry_max: Duration::from_mins(1),
            behind_bytes_max: 1024 * 1024 * 1024,
            drain: Duration::from_secs(5),
        }
    }
}

/// In which words entries go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The ledger's own: the members of [`crate::Entry`], and the writer's.
    #[default]
    Native,
    /// The Open Cybersecurity Schema Framework: API Activity.
    Ocsf,
}

/// Who receives an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetSettings {
    /// A file, one entry a line.
    File(FileSettings),
    /// A syslog server.
    Syslog(SyslogSettings),
    /// A web server that takes batches.
    Webhook(WebhookSettings),
    /// A receiver of OTLP logs. How long one try may take is the [`Pace`]'s.
    Otlp(Endpoint),
}

impl TargetSettings {
    /// What it is, in one word.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Syslog(_) => "syslog",
            Self::Webhook(_) => "webhook",
            Self::Otlp(_) => "otlp",
        }
    }
}

/// A file to append to. Several gateways may append to the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSettings {
    /// Where it is. Its folder has to be there.
    pub path: PathBuf,
    /// The size after which it is moved away to a name with the time behind it; 0: never.
    pub rotate_bytes: u64,
    /// How many of those are kept; 0: all.
    pub keep_files: usize,
}

impl FileSettings {
    /// The size after which the file is moved away, unless it is said.
    pub const ROTATE_BYTES: u64 = 256 * 1024 * 1024;
}

/// A syslog server: RFC 5424 over TCP (RFC 6587, octets counted) or TLS (RFC 5425).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogSettings {
    /// Its name or address.
    pub host: Arc<str>,
    /// Its port.
    pub port: u16,
    /// Whether TLS is spoken. Without it, only private addresses are connected to.
    pub tls: bool,
    /// The certificate authorities (PEM) to trust instead of the platform's.
    pub ca_pem: Option<Arc<str>>,
    /// Whether it may be at a private or loopback address.
    pub allow_private: bool,
    /// The facility, by its number.
    pub facility: u8,
    /// The name of this machine, as messages have it.
    pub hostname: Arc<str>,
    /// The name of the structured data: a word, `@` and a private enterprise number.
    pub sd_id: Arc<str>,
    /// What counts as received.
    pub confirm: Confirm,
    /// The longest message. Of a longer one payloads are left out.
    pub message_bytes_max: usize,
}

impl SyslogSettings {
    /// 13: log audit.
    pub const FACILITY: u8 = 13;
    /// The name of the structured data, with the number that IANA gives to examples: the project has none of its own.
    pub const SD_ID: &'static str = "tollgate@32473";
    /// The longest message, unless it is said.
    pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;
}

/// When what was sent to a syslog server counts as received: the protocol has no acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Confirm {
    /// When the receiver has read everything: after each batch the gateway ends its side of the connection, and the
    /// receiver, having read to the end, ends the other. One that goes away before it has read everything resets instead.
    #[default]
    Close,
    /// When this machine has handed it to the network. What is under way for longer than the last seconds when the receiver
    /// goes is lost.
    Sent,
}

/// A web server that takes batches by POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Where.
    pub url: Url,
    /// What it takes.
    pub flavour: Flavour,
    /// Headers that go along.
    pub headers: Vec<(Arc<str>, Secret)>,
    /// Whether bodies are compressed.
    pub gzip: bool,
    /// The certificate authorities (PEM) to trust instead of the platform's.
    pub ca_pem: Option<Arc<str>>,
    /// Whether it may be at a private or loopback address.
    pub allow_private: bool,
}

/// What a web server takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flavour {
    /// An array of entries.
    Array,
    /// Splunk's HTTP Event Collector: one event after the other.
    SplunkHec {
        /// The token.
        token: Secret,
        /// The index, if not the token's own.
        index: Option<Arc<str>>,
        /// The name of this machine, as events have it.
        host: Arc<str>,
    },
}
