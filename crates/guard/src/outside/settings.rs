//! What an operator says of a guard outside of the gateway.

use std::sync::Arc;
use std::time::Duration;

use tollgate_model::{Secret, folded};

use super::classifier::ClassifierSettings;
use super::presidio::PresidioSettings;

/// A guard outside of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideSettings {
    /// Its name, on record and in metrics.
    pub name: String,
    /// Where it is asked.
    pub url: Arc<str>,
    /// In which words it is spoken to.
    pub kind: OutsideKind,
    /// Whether it is asked about what servers answer and say.
    pub results: bool,
    /// Whether it is asked about arguments of calls and prompts.
    pub arguments: bool,
    /// The tenants whose requests it is asked about; all if there is none.
    pub tenants: Vec<String>,
    /// The servers that it is asked about; all if there is none.
    pub servers: Vec<String>,
    /// The tools that it is asked about, by their server's own names, as `SERVER/TOOL`; all if there is none.
    pub tools: Vec<String>,
    /// How long it may take, and the wait for a place with it.
    pub timeout: Duration,
    /// What becomes of what it could not be asked about.
    pub on_failure: OnFailure,
    /// The most bytes of text that it is asked about at once.
    pub request_bytes_max: usize,
    /// The longest answer.
    pub answer_bytes_max: usize,
    /// How many requests are under way there at once.
    pub concurrency_max: usize,
    /// After how many failures in a row it is left alone.
    pub failures_max: u32,
    /// How long it is left alone then, the first time.
    pub open: Duration,
    /// What requests are signed with.
    pub secret: Option<Secret>,
    /// Headers that go along.
    pub headers: Vec<(Arc<str>, Secret)>,
    /// Whether it may be at an address that is not public.
    pub allow_private: bool,
    /// Whether it may be asked without TLS beyond this machine.
    pub allow_plain: bool,
    /// The certificate authorities to trust instead of the platform's: PEM.
    pub ca_pem: Option<Arc<str>>,
}

/// In which words a guard is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutsideKind {
    /// Those of `docs/external-guards.md`.
    Tollgate,
    /// Those of the analyzer of Microsoft Presidio.
    Presidio(PresidioSettings),
    /// Those of a service that classifies texts.
    Classifier(ClassifierSettings),
}

/// What becomes of what a guard could not be asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It does not pass.
    #[default]
    Refuse,
    /// It passes as it is, which is on record.
    Pass,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Arguments.
    Arguments,
    /// A server's answer.
    Result,
    /// What a server says meanwhile.
    Notification,
}

impl Heard {
    /// Its name in the contract and on record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Arguments => "arguments",
            Self::Result => "result",
            Self::Notification => "notification",
        }
    }
}

impl OutsideSettings {
    /// What is asked at this address in the words of the contract, about everything and with the bounds that are usual.
    pub fn new(name: &str, url: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: url.into(),
            kind: OutsideKind::Tollgate,
            results: true,
            arguments: true,
            tenants: Vec::new(),
            servers: Vec::new(),
            tools: Vec::new(),
            timeout: Self::TIMEOUT,
            on_failure: OnFailure::Refuse,
            request_bytes_max: Self::REQUEST_BYTES_MAX,
            answer_bytes_max: Self::ANSWER_BYTES_MAX,
            concurrency_max: Self::CONCURRENCY_MAX,
            failures_max: Self::FAILURES_MAX,
            open: Self::OPEN,
            secret: None,
            headers: Vec::new(),
            allow_private: false,
            allow_plain: false,
            ca_pem: None,
        }
    }

    /// The usual [`OutsideSettings::timeout`].
    pub const TIMEOUT: Duration = Duration::from_secs(2);
    /// The usual [`OutsideSettings::request_bytes_max`].
    pub const REQUEST_BYTES_MAX: usize = 1 << 20;
    /// The usual [`OutsideSettings::answer_bytes_max`].
    pub const ANSWER_BYTES_MAX: usize = 4 << 20;
    /// The usual [`OutsideSettings::concurrency_max`].
    pub const CONCURRENCY_MAX: usize = 32;
    /// The usual [`OutsideSettings::failures_max`].
    pub const FAILURES_MAX: u32 = 5;
    /// The usual [`OutsideSettings::open`].
    pub const OPEN: Duration = Duration::from_secs(5);

    /// Whether it is asked about this, of a tenant's request, of a server and of a tool of it.
    pub fn concerns(&self, heard: Heard, tenant: &str, server: &str, tool: Option<&str>) -> bool {
        let is_tool = |one: &String| {
            let named = one.split_once('/');
            // A server that does not look at case takes all spellings of a tool for one.
            let is_named = |name: &str| tool.is_some_and(|tool| folded(tool) == folded(name));
            named.is_some_and(|(of, name)| of == server && is_named(name))
        };
        self.may_concern(heard, tenant, server) && (self.tools.is_empty() || self.tools.iter().any(is_tool))
    }
}

impl OutsideSettings {
    /// The same of something that may be of any of the server's tools.
    pub fn may_concern(&self, heard: Heard, tenant: &str, server: &str) -> bool {
        let is_heard = match heard {
            Heard::Arguments => self.arguments,
            Heard::Result | Heard::Notification => self.results,
        };
        is_heard
            && (self.tenants.is_empty() || self.tenants.iter().any(|one| one == tenant))
            && (self.servers.is_empty() || self.servers.iter().any(|one| one == server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_is_asked_about_what_it_is_there_for() {
        let mut guard = OutsideSettings::new("g", "https://g.example");
        assert!(guard.concerns(Heard::Arguments, "t", "a", None));
        guard.arguments = false;
        assert!(!guard.concerns(Heard::Arguments, "t", "a", None));
        assert!(guard.concerns(Heard::Notification, "t", "a", None));
        guard.servers = vec!["a".to_owned()];
        assert!(!guard.concerns(Heard::Result, "t", "b", Some("t")));
        guard.tools = vec!["a/t".to_owned(), "a/u/v".to_owned()];
        assert!(guard.concerns(Heard::Result, "t", "a", Some("t")));
        assert!(guard.concerns(Heard::Result, "t", "a", Some("u/v")));
        assert!(guard.concerns(Heard::Result, "t", "a", Some("T")));
        assert!(!guard.concerns(Heard::Result, "t", "a", Some("w")));
        assert!(!guard.concerns(Heard::Result, "t", "a", None));
        assert!(guard.may_concern(Heard::Result, "t", "a") && !guard.may_concern(Heard::Result, "t", "b"));
        guard.tenants = vec!["t".to_owned()];
        assert!(!guard.concerns(Heard::Result, "u", "a", Some("t")));
    }
}
