//! `export` in the `ledger` section.

use schemars::JsonSchema;
use serde::Deserialize;

use super::SecretSection;
use crate::config::forms::{Items, Keyed, Short, keys};
use crate::config::meaning::defaults;

/// A receiver that gets everything that is recorded, entry by entry, at least once. Exactly one of `file`, `syslog`,
/// `webhook`, `splunk` and `otlp` says which. How far it has come is kept on disk under its name. Calls never wait for it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ExportSection>()))]
#[schemars(rename = "Export")]
pub(in crate::config) struct ExportSection {
    /// The name of the export: letters, digits, `-` and `_`, at most 64 characters. Under another name everything that is
    /// still there is sent anew.
    pub(in crate::config) name: Option<String>,
    /// A file on this machine, one entry a line.
    pub(in crate::config) file: Option<ExportFileSection>,
    /// A syslog server.
    pub(in crate::config) syslog: Option<SyslogSection>,
    /// A web server that takes an array of entries by POST.
    pub(in crate::config) webhook: Option<WebhookSection>,
    /// Splunk's HTTP Event Collector.
    pub(in crate::config) splunk: Option<SplunkSection>,
    /// A receiver of OpenTelemetry logs.
    pub(in crate::config) otlp: Option<ExportOtlpSection>,
    /// In which words entries go out: the ledger's own (`native`), or those of the Open Cybersecurity Schema Framework
    /// (`ocsf`).
    pub(in crate::config) format: Option<ExportFormatSection>,
    /// Whether people, agents and addresses are named. Otherwise only references go out, which the gateway alone can resolve.
    /// What was sent cannot be erased by the gateway.
    #[schemars(extend("default" = true))]
    pub(in crate::config) names: Option<bool>,
    /// Whether arguments and results go out, as far as they are recorded.
    #[schemars(extend("default" = false))]
    pub(in crate::config) payloads: Option<bool>,
    /// The kinds of entries that go out, such as `intent`, `outcome`, `refusal` and `change`. Default: all of them. Checkpoints
    /// go out either way.
    pub(in crate::config) kinds: Option<Items<String>>,
    /// The tenants whose entries go out. Default: all, and what is no tenant's.
    pub(in crate::config) tenants: Option<Items<String>>,
    /// Lets the receiver be at a loopback or private address. Link-local addresses stay refused.
    #[schemars(extend("default" = false))]
    pub(in crate::config) allow_private_addresses: Option<bool>,
    /// How many bytes of entries one batch has at most. A larger entry is a batch of its own.
    #[schemars(range(min = 1024, max = 16_777_216), extend("default" = defaults::pace().batch_bytes_max))]
    pub(in crate::config) batch_bytes_max: Option<usize>,
    /// How many entries one batch has at most.
    #[schemars(range(min = 1, max = 100_000), extend("default" = defaults::pace().batch_entries_max))]
    pub(in crate::config) batch_entries_max: Option<usize>,
    /// How long the first entry of a batch waits for more, in milliseconds.
    #[schemars(range(min = 1, max = 60_000), extend("default" = defaults::ms(defaults::pace().batch_wait)))]
    pub(in crate::config) batch_wait_ms: Option<u64>,
    /// How long one try to send may take, in milliseconds.
    #[schemars(range(min = 1, max = 600_000), extend("default" = defaults::ms(defaults::pace().timeout)))]
    pub(in crate::config) timeout_ms: Option<u64>,
    /// The first pause after a failed try, in milliseconds. It doubles with each.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::ms(defaults::pace().retry_min)))]
    pub(in crate::config) retry_ms_min: Option<u64>,
    /// The longest pause between tries, in milliseconds.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::ms(defaults::pace().retry_max)))]
    pub(in crate::config) retry_ms_max: Option<u64>,
    /// How many bytes the export may lie behind. Beyond it `/readyz` says so, and retention waits for it no more.
    #[schemars(range(min = 1_048_576, max = 1_099_511_627_776_u64), extend("default" = defaults::pace().behind_bytes_max))]
    pub(in crate::config) behind_bytes_max: Option<u64>,
    /// How long the end of the gateway waits for what is left, in milliseconds.
    #[schemars(range(min = 0, max = 600_000), extend("default" = defaults::ms(defaults::pace().drain)))]
    pub(in crate::config) drain_ms: Option<u64>,
}

/// A file to append to. It may be moved away at any time; several gateways may share it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ExportFileSection>()))]
#[schemars(rename = "ExportFile")]
pub(in crate::config) struct ExportFileSection {
    /// Where it is, relative to this file. Its folder has to be there.
    pub(in crate::config) path: Option<String>,
    /// The size after which it is moved to a name with the time behind it, in bytes; 0 for never.
    #[schemars(extend("default" = defaults::ROTATE_BYTES))]
    pub(in crate::config) rotate_bytes: Option<u64>,
    /// How many of those are kept; 0 for all.
    #[schemars(extend("default" = 0))]
    pub(in crate::config) keep_files: Option<usize>,
}

/// A syslog server: RFC 5424 over TCP with counted octets (RFC 6587), or over TLS (RFC 5425).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<SyslogSection>()))]
#[schemars(rename = "Syslog")]
pub(in crate::config) struct SyslogSection {
    /// Host and port.
    pub(in crate::config) address: Option<String>,
    /// Whether TLS is spoken. Without it the server has to be at a private address.
    #[schemars(extend("default" = true))]
    pub(in crate::config) tls: Option<bool>,
    /// PEM file with the certificate authorities to trust instead of the platform's. Relative to this file.
    pub(in crate::config) ca_file: Option<String>,
    /// The facility, by its number: 13 is log audit, 16 to 23 are local.
    #[schemars(range(min = 0, max = 23), extend("default" = defaults::FACILITY))]
    pub(in crate::config) facility: Option<u8>,
    /// The name of this machine, as messages have it. Default: the system's.
    #[schemars(length(min = 1, max = 255))]
    pub(in crate::config) hostname: Option<String>,
    /// The name of the structured data: a word, `@`, and your private enterprise number.
    #[schemars(length(min = 1, max = 32), extend("default" = defaults::SD_ID))]
    pub(in crate::config) sd_id: Option<String>,
    /// What counts as received, since the protocol has no acknowledgement. `close`: the gateway ends its side of the connection
    /// after each batch, and waits until the server, having read everything, ends the other. `sent`: what was handed to the
    /// network. Either way what the server had within the last seconds is sent once more, marked, when it turns out that it
    /// was gone.
    pub(in crate::config) confirm: Option<ConfirmSection>,
    /// The longest message, in bytes. Of a longer one the payloads are left out.
    #[schemars(range(min = 1024, max = 16_777_216), extend("default" = defaults::MESSAGE_BYTES_MAX))]
    pub(in crate::config) message_bytes_max: Option<usize>,
}

/// A web server that takes an array of entries by POST, and answers with a status of success when it has them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<WebhookSection>()))]
#[schemars(rename = "Webhook")]
pub(in crate::config) struct WebhookSection {
    /// Where: `https`, or `http` on a loopback address with `allow_private_addresses`.
    pub(in crate::config) url: Option<String>,
    /// Headers that go along, such as `Authorization`.
    pub(in crate::config) headers: Option<Keyed<Short<SecretSection>>>,
    /// Whether bodies are compressed.
    #[schemars(extend("default" = false))]
    pub(in crate::config) gzip: Option<bool>,
    /// PEM file with the certificate authorities to trust instead of the platform's. Relative to this file.
    pub(in crate::config) ca_file: Option<String>,
}

/// Splunk's HTTP Event Collector.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<SplunkSection>()))]
#[schemars(rename = "Splunk")]
pub(in crate::config) struct SplunkSection {
    /// Where: `https`, or `http` on a loopback address with `allow_private_addresses`. Without a path it is
    /// `/services/collector/event`.
    pub(in crate::config) url: Option<String>,
    /// The token.
    pub(in crate::config) token: Option<Short<SecretSection>>,
    /// The index. Default: the token's own.
    #[schemars(length(min = 1, max = 255))]
    pub(in crate::config) index: Option<String>,
    /// Whether bodies are compressed.
    #[schemars(extend("default" = false))]
    pub(in crate::config) gzip: Option<bool>,
    /// PEM file with the certificate authorities to trust instead of the platform's. Relative to this file.
    pub(in crate::config) ca_file: Option<String>,
}

/// A receiver of OpenTelemetry logs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ExportOtlpSection>()))]
#[schemars(rename = "ExportOtlp")]
pub(in crate::config) struct ExportOtlpSection {
    /// Where: `http://localhost:4318`, or `:4317` for gRPC. By HTTP, `/v1/logs` is put behind it.
    pub(in crate::config) endpoint: Option<String>,
    /// How it is spoken to.
    pub(in crate::config) protocol: Option<ExportProtocolSection>,
    /// Headers that go along, such as `Authorization`.
    pub(in crate::config) headers: Option<Keyed<Short<SecretSection>>>,
    /// PEM file with the certificate authorities to trust instead of the platform's. Relative to this file.
    pub(in crate::config) ca_file: Option<String>,
}

/// In which words entries go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "native"))]
#[schemars(rename = "ExportFormat")]
pub(in crate::config) enum ExportFormatSection {
    Native,
    Ocsf,
}

/// What counts as received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "close"))]
#[schemars(rename = "Confirm")]
pub(in crate::config) enum ConfirmSection {
    Close,
    Sent,
}

/// How a receiver is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "http"))]
#[schemars(rename = "ExportProtocol")]
pub(in crate::config) enum ExportProtocolSection {
    Grpc,
    Http,
}
