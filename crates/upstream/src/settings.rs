//! How one server is reached, as meant: every wait, queue and size has its bound here, with its default and why.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, Uri};
use tollgate_model::{Holder, Reach, Secret, ServerId, ServerName};

/// One server behind the gateway. [`ServerSettings::new`] fills everything but the name and the transport with the
/// documented defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSettings {
    /// The server's name; errors, logs and events carry it.
    pub name: ServerName,
    /// Whose it is. Whom it may be reached by is for the caller to see to: nothing here looks at it.
    pub holder: Holder,
    /// Where it is and how to speak with it.
    pub transport: Transport,
    /// Which era it speaks.
    pub era: EraChoice,
    /// Who may share one of its sessions or processes; `None` lets the server's era decide (see [`Isolation`]).
    pub isolation: Option<Isolation>,
    /// How a legacy server's sessions or processes serve modern clients.
    pub legacy_sessions: LegacySessions,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How much there may be of things.
    pub limits: Limits,
    /// How often what failed is tried again.
    pub retries: RetrySettings,
    /// When one of its replicas is left alone for a while.
    pub circuit: CircuitSettings,
    /// How its replicas are looked at beside all requests; `None` if they are not.
    pub health: Option<HealthSettings>,
}

impl ServerSettings {
    /// A server with the default era, isolation, timeouts and limits.
    pub fn new(name: ServerName, transport: Transport) -> Self {
        let limits = match &transport {
            Transport::Stdio(_) => Limits::for_children(),
            Transport::Http(_) | Transport::Sse(_) => Limits::for_sessions(),
        };
        Self {
            name,
            holder: Holder::default(),
            transport,
            era: EraChoice::Auto,
            isolation: None,
            legacy_sessions: LegacySessions::default(),
            timeouts: Timeouts::default(),
            limits,
            retries: RetrySettings::default(),
            circuit: CircuitSettings::default(),
            health: None,
        }
    }

    /// What the server goes by.
    pub fn id(&self) -> ServerId {
        ServerId::new(self.holder.clone(), self.name.clone())
    }

    /// What no type says: bounds that must not be zero, and a command that must not be empty.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        if let Transport::Stdio(stdio) = &self.transport
            && stdio.command.is_empty()
        {
            return Err(SettingsError::Command);
        }
        if let Transport::Http(http) | Transport::Sse(http) = &self.transport {
            http.check()?;
        }
        let (timeouts, limits) = (&self.timeouts, &self.limits);
        let zero = [
            ("connect_timeout", timeouts.connect.is_zero()),
            ("probe_timeout", timeouts.probe.is_zero()),
            ("request_timeout", timeouts.request.is_zero()),
            ("list_timeout", timeouts.list.is_zero()),
            ("first_byte_timeout", timeouts.first_byte == Some(Duration::ZERO)),
            ("idle_timeout", timeouts.silence.is_zero()),
            ("idle", timeouts.idle.is_zero()),
            ("instances_max", limits.instances_max == 0),
            ("message_bytes_max", limits.message_bytes_max == 0),
            ("message_depth_max", limits.message_depth_max == 0),
            ("answer_messages_max", limits.answer_messages_max == 0),
            ("call_queue_max", limits.call_queue_max == 0),
            ("send_queue_max", limits.send_queue_max == 0),
            ("calls_max", limits.calls_max == 0),
            ("concurrency_max", limits.concurrency_max == 0),
            ("watched_max", limits.watched_max == 0),
            ("connections_max", limits.connections_max == 0),
            ("failures_max", self.circuit.failures_max == 0),
            ("trials_max", self.circuit.trials_max == 0),
        ];
        let checks = self.health.as_ref().map(|health| {
            [
                ("health.interval", health.interval.is_zero()),
                ("health.timeout", health.timeout.is_zero()),
                ("health.unhealthy_after", health.unhealthy_after == 0),
                ("health.healthy_after", health.healthy_after == 0),
            ]
        });
        let outliers = &self.circuit.outliers;
        let outliers = outliers.as_ref().map(|outliers| ("outliers.interval", outliers.interval.is_zero()));
        let mut zero = zero.into_iter().chain(checks.into_iter().flatten()).chain(outliers);
        match zero.find(|(_, zero)| *zero) {
            Some((what, _)) => Err(SettingsError::Zero(what)),
            None => Ok(()),
        }
    }
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq)]
pub enum Transport {
    /// Streamable HTTP of any revision; a server that turns out to speak HTTP+SSE is served too.
    Http(HttpSettings),
    /// HTTP+SSE of 2024-11-05, without trying anything newer.
    Sse(HttpSettings),
    /// A child process that speaks on its standard input and output.
    Stdio(StdioSettings),
}

impl Transport {
    /// By what kind of credential requests go out, for the record: never the credential.
    pub fn credential(&self) -> &'static str {
        match self {
            Self::Http(http) | Self::Sse(http)
                if !http.headers.is_empty()
                    || http.replicas.iter().any(|replica| !replica.headers.is_empty()) =>
            {
                "headers"
            }
            Self::Stdio(stdio) if !stdio.env.is_empty() => "environment",
            Self::Http(_) | Self::Sse(_) | Self::Stdio(_) => "none",
        }
    }
}

/// A server with a URL, or with several.
#[derive(Clone, PartialEq)]
pub struct HttpSettings {
    /// Absolute `http` or `https` URL of the MCP endpoint; of the first replica, where there are several. Credentials in
    /// its authority are refused.
    pub url: Uri,
    /// Headers put on every request. Names that the gateway sets itself are refused by [`crate::Server::new`].
    pub headers: Vec<(HeaderName, Secret)>,
    /// PEM file with the certificate authorities to trust instead of the platform's.
    pub ca_file: Option<PathBuf>,
    /// Which HTTP version to speak.
    pub version: HttpVersion,
    /// The places at which the server is, if there are several: of the first one too. At most [`REPLICAS_MAX`].
    pub replicas: Vec<ReplicaSettings>,
    /// The one version whose replicas are used, whatever the others' weights.
    pub pinned: Option<Arc<str>>,
    /// While fewer than this share of the replicas of one priority are well, those of the next one are used too. 50.
    pub failover_percent: u8,
    /// How far connections may lead, whatever names are resolved to.
    pub reach: Reach,
}

/// How many replicas a server may have.
pub const REPLICAS_MAX: usize = 64;

impl HttpSettings {
    /// A URL without extra headers, trusting the platform's roots.
    pub fn new(url: Uri) -> Self {
        Self {
            url,
            headers: Vec::new(),
            ca_file: None,
            version: HttpVersion::Auto,
            replicas: Vec::new(),
            pinned: None,
            failover_percent: 50,
            reach: Reach::Anywhere,
        }
    }

    /// Several replicas; the first one is at the URL too.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn of(replicas: Vec<ReplicaSettings>) -> Result<Self, SettingsError> {
        let url = replicas.first().ok_or(SettingsError::Replicas)?.url.clone();
        Ok(Self { replicas, ..Self::new(url) })
    }

    /// The replicas: one at the URL, unless there are several.
    pub(crate) fn all(&self) -> Vec<ReplicaSettings> {
        if self.replicas.is_empty() {
            vec![ReplicaSettings::new(self.url.clone())]
        } else {
            self.replicas.clone()
        }
    }

    fn check(&self) -> Result<(), SettingsError> {
        if self.replicas.len() > REPLICAS_MAX {
            return Err(SettingsError::Replicas);
        }
        let is_pinned = |replica: &ReplicaSettings| replica.version == self.pinned;
        if self.pinned.is_some() && !self.replicas.iter().any(is_pinned) {
            return Err(SettingsError::Pinned);
        }
        Ok(())
    }
}

/// One of several places of a server, which all serve the same.
#[derive(Clone, PartialEq)]
pub struct ReplicaSettings {
    /// As [`HttpSettings::url`].
    pub url: Uri,
    /// Which share of the requests it gets, against the weights of the others: 1. One of weight 0 gets none while any
    /// other can be used, unless its version is pinned.
    pub weight: u32,
    /// Which version of the server it is, in the operator's words.
    pub version: Option<Arc<str>>,
    /// Replicas of the lowest number are used first, the others when too few of those are well. 0.
    pub priority: u32,
    /// Headers beside those of [`HttpSettings::headers`], which they take the place of where the names are the same.
    pub headers: Vec<(HeaderName, Secret)>,
    /// As [`HttpSettings::ca_file`], in its place.
    pub ca_file: Option<PathBuf>,
}

impl ReplicaSettings {
    /// A replica like any other.
    pub fn new(url: Uri) -> Self {
        Self { url, weight: 1, version: None, priority: 0, headers: Vec::new(), ca_file: None }
    }
}

/// Path, query and headers may have secrets in them.
impl fmt::Debug for ReplicaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaSettings")
            .field("origin", &self.url.authority().map(http::uri::Authority::as_str))
            .field("weight", &self.weight)
            .field("version", &self.version)
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}

/// When a replica is left alone for a while, and how it comes back. The waits are [`Timeouts::backoff_min`] and
/// [`Timeouts::backoff_max`]: after a failed beginning (no connection, no answer to the first question) at most 5 s, since
/// to ask again costs next to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircuitSettings {
    /// How many requests in a row fail before it is left alone. Whatever it answers in MCP is no failure: only that it
    /// does not answer, or with a 5xx status alone. 5.
    pub failures_max: u32,
    /// How many requests may be under way to one that has been left alone, until one of them is answered. 1.
    pub trials_max: u32,
    /// Which share of the replicas may be left alone at once because requests or checks failed: at least one, and never
    /// all. 100.
    pub ejected_percent_max: u8,
    /// How the replicas are compared with each other; `None` if they are not.
    pub outliers: Option<OutlierSettings>,
}

impl Default for CircuitSettings {
    fn default() -> Self {
        Self {
            failures_max: 5,
            trials_max: 1,
            ejected_percent_max: 100,
            outliers: Some(OutlierSettings::default()),
        }
    }
}

/// When a replica that answers some requests, and fewer of them than the others do, is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlierSettings {
    /// How often they are compared. 10 s.
    pub interval: Duration,
    /// How many requests a replica must have had since the last time to be compared. 20.
    pub requests_min: u64,
    /// By how much its share of answered requests is below that of all others together, in percent of all. 30.
    pub margin_percent: u8,
}

impl Default for OutlierSettings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), requests_min: 20, margin_percent: 30 }
    }
}

/// How replicas are looked at beside all requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSettings {
    /// How long after a check the next one follows; shortened at random by up to a quarter. 10 s.
    pub interval: Duration,
    /// How long an answer may take. 2 s.
    pub timeout: Duration,
    /// After how many checks in a row without a good answer it is left alone. 3.
    pub unhealthy_after: u32,
    /// After how many good answers in a row it is used again. 2.
    pub healthy_after: u32,
    /// What is asked for by GET, for a status below 400. `None`: `server/discover`, for any answer but a 5xx status
    /// alone, which a server of every era has.
    pub path: Option<PathAndQuery>,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            unhealthy_after: 3,
            healthy_after: 2,
            path: None,
        }
    }
}

/// Which HTTP version to speak with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersion {
    /// HTTP/2 where TLS negotiates it (ALPN), HTTP/1.1 otherwise.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only; without TLS by prior knowledge (RFC 9113, section 3.3).
    Http2,
}

/// A server that the gateway starts itself.
#[derive(Clone, PartialEq)]
pub struct StdioSettings {
    /// The program: a path, or a name looked up in the gateway's `PATH`.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment, beside `PATH`, `HOME`, `LANG` and `LC_*`, which it inherits. Nothing else is inherited.
    pub env: Vec<(String, Secret)>,
    /// Its working directory; the gateway's own if absent.
    pub cwd: Option<PathBuf>,
    /// The program that stands guard over the child (see [`crate::guard`]): called as
    /// `GUARD child-guard -- COMMAND ARGS`. Without one the child is started directly, in its own process group, and
    /// what it starts outside that group is not reaped.
    pub guard: Option<PathBuf>,
}

impl StdioSettings {
    /// A command without arguments, environment or guard.
    pub fn new(command: impl Into<String>) -> Self {
        Self { command: command.into(), args: Vec::new(), env: Vec::new(), cwd: None, guard: None }
    }
}

/// Arguments may have had secrets put in: only their number is shown.
impl fmt::Debug for StdioSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StdioSettings")
            .field("command", &self.command)
            .field("args", &self.args.len())
            .finish_non_exhaustive()
    }
}

/// Path and query may have had secrets put in: only the origin is shown.
impl fmt::Debug for HttpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSettings")
            .field("origin", &self.url.authority().map(http::uri::Authority::as_str))
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Which era a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EraChoice {
    /// Found by `server/discover`, once per process or origin, and again when it stops fitting.
    #[default]
    Auto,
    /// Legacy: `initialize` at once.
    Legacy,
    /// Modern: a server that does not answer `server/discover` is down.
    Modern,
}

/// Who may share one session with, or one process of, a server.
///
/// Without a choice of the operator's: a modern server is stateless by protocol, so everyone shares it
/// ([`Isolation::Shared`]). A legacy server (a process or an HTTP session) keeps state and was told the capabilities
/// of one client, so each client session has its own ([`Isolation::Session`]). Whatever the choice, two clients whose
/// capabilities differ never share a legacy session or process: capabilities freeze at `initialize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isolation {
    /// Everyone.
    Shared,
    /// Everyone of one tenant.
    Tenant,
    /// One principal.
    Principal,
    /// One session of a client. A modern client has none, so its principal takes that place.
    Session,
}

/// How the sessions with a legacy server, or its processes, serve modern clients, which have none of their own.
///
/// Whatever the choice, two clients whose capabilities differ share none, and there are at most
/// [`Limits::instances_max`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LegacySessions {
    /// They are kept, and whoever [`Isolation`] puts together shares one.
    #[default]
    Pooled,
    /// Each request has one to itself: it is begun, used once and ended.
    Strict,
    /// The server keeps nothing from one request to the next, so everyone may share one.
    Stateless,
}

/// How long things may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// A TCP connection and its TLS handshake. 10 s.
    pub connect: Duration,
    /// An answer to `server/discover` or `initialize`. A server that is silent for this long is legacy (stdio), or
    /// down. 10 s; a process that has to be downloaded first (npx, uvx) gets three times as long for its
    /// `initialize`.
    pub probe: Duration,
    /// A request from its start to its response: a hard maximum, whatever progress arrives meanwhile. 300 s.
    pub request: Duration,
    /// A request from its start until the first of its answer is there: the head of a response over HTTP, else the first message
    /// that belongs to it. None: as long as the whole may take, since an answer may come in one piece.
    pub first_byte: Option<Duration>,
    /// How long a server that has begun to answer may be silent: no message, no comment in a stream of events, no part of
    /// a body. 120 s.
    pub silence: Duration,
    /// One page of a list; for whoever fetches lists. 15 s.
    pub list: Duration,
    /// How long a list waits at least where something older would do; for whoever fetches lists. 50 ms.
    pub list_patience: Duration,
    /// How long a request that needs an instance to itself waits for room. 5 s.
    pub capacity: Duration,
    /// How long a request waits for a place among those under way. 2 s.
    pub queue: Duration,
    /// How long an instance, or a pooled connection, may be unused before it is stopped. 10 minutes; a pooled
    /// connection 4 s at most.
    pub idle: Duration,
    /// How long the standard input of a child may be closed before SIGTERM, and SIGTERM be ignored before SIGKILL. 2 s
    /// each.
    pub stop: Duration,
    /// The wait after the first failed start; each further one waits twice as long. 0.5 s.
    pub backoff_min: Duration,
    /// The longest wait after a failed start. 30 s. Every wait is shortened at random by up to a quarter.
    pub backoff_max: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            probe: Duration::from_secs(10),
            request: Duration::from_mins(5),
            first_byte: None,
            silence: Duration::from_mins(2),
            list: Duration::from_secs(15),
            list_patience: Duration::from_millis(50),
            capacity: Duration::from_secs(5),
            queue: Duration::from_secs(2),
            idle: Duration::from_mins(10),
            stop: Duration::from_secs(2),
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
        }
    }
}

/// How much there may be of things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Sessions or processes at once: 32 processes, 10,000 HTTP sessions. The least recently used idle one makes way
    /// for a new one; with none idle the caller is refused.
    pub instances_max: usize,
    /// The largest message that a server may send, and the largest single server-sent event or line. 64 MiB.
    pub message_bytes_max: usize,
    /// The deepest nesting of a message. 128.
    pub message_depth_max: usize,
    /// Messages beside its response that one answer over HTTP may bring at once; a tenth of as many may be added each second.
    /// One that brings more is cut off, and counts as none. 10,000.
    pub answer_messages_max: u32,
    /// Notifications and requests that wait for one call's reader; more are dropped (and counted). 1,024.
    pub call_queue_max: usize,
    /// Messages that wait to be written to one process or HTTP+SSE session. 256.
    pub send_queue_max: usize,
    /// Requests in flight on one process or session. 4,096.
    pub calls_max: usize,
    /// Calls, reads, prompts and completions under way at once, over all instances: 128 on processes, 512 on servers with a
    /// URL. Pages of lists have an eighth of this beside it, 2 at least and 64 at most. What waits for its client has no place.
    pub concurrency_max: usize,
    /// Requests that wait for a place at once. 2,048: mostly it is the time that they would wait for that turns them away.
    pub queue_max: usize,
    /// Idle connections kept per origin. 640: with fewer than there may be requests at once, many of these need a new one each.
    pub idle_connections_max: usize,
    /// Connections per origin, idle and busy. 4,096.
    pub connections_max: usize,
    /// Resources and tasks watched at once on one instance. 10,000.
    pub watched_max: usize,
    /// How much of a line of standard error is logged, in bytes. 4,096.
    pub stderr_line_bytes_max: usize,
    /// Lines of standard error logged per second and process, after a burst of ten times as many. 20.
    pub stderr_lines_per_s: u32,
}

impl Limits {
    /// The defaults for processes.
    pub fn for_children() -> Self {
        Self {
            instances_max: 32,
            message_bytes_max: 64 << 20,
            message_depth_max: 128,
            answer_messages_max: 10_000,
            call_queue_max: 1024,
            send_queue_max: 256,
            calls_max: 4096,
            concurrency_max: 128,
            queue_max: 2048,
            idle_connections_max: 640,
            connections_max: 4096,
            watched_max: 10_000,
            stderr_line_bytes_max: 4096,
            stderr_lines_per_s: 20,
        }
    }

    /// The defaults for servers with a URL.
    pub fn for_sessions() -> Self {
        Self { instances_max: 10_000, concurrency_max: 512, ..Self::for_children() }
    }
}

/// How often requests that failed are tried again, where that can do no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySettings {
    /// How often one request is tried again. 2.
    pub max: u32,
    /// How many of all requests may be tried again, in percent, beside one a second: so retries never multiply the load of a server
    /// that is failing. 20.
    pub percent: u32,
    /// The wait before the first of them; each further one waits twice as long. 50 ms.
    pub wait_min: Duration,
    /// The longest wait. 2 s. Every wait is shortened at random by up to a half.
    pub wait_max: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { max: 2, percent: 20, wait_min: Duration::from_millis(50), wait_max: Duration::from_secs(2) }
    }
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not an absolute `http` or `https` URL with a host.
    #[error("the URL must be absolute, http or https, with a host")]
    Url,
    /// The URL carries a user name or password.
    #[error("the URL must not carry credentials; use a header")]
    Credentials,
    /// A header that the gateway sets itself.
    #[error("the header {0} is set by the gateway itself")]
    Header(HeaderName),
    /// A header value that HTTP does not allow.
    #[error("the value of the header {0} has characters that HTTP does not allow")]
    HeaderValue(HeaderName),
    /// The file of certificate authorities cannot be read or holds none.
    #[error("cannot use the certificate authorities in {path}: {reason}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The platform's certificate authorities cannot be used.
    #[error("cannot use the platform's certificate authorities: {0}")]
    Roots(String),
    /// No replica, or too many.
    #[error("a server has 1 to {REPLICAS_MAX} replicas")]
    Replicas,
    /// No replica is of the version that is pinned.
    #[error("no replica is of the pinned version")]
    Pinned,
    /// An empty command.
    #[error("the command is empty")]
    Command,
    /// A bound that is zero.
    #[error("{0} must be greater than zero")]
    Zero(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_place_where_a_secret_may_stand() {
        let mut stdio = StdioSettings::new("server");
        stdio.args.push("--token=hunter2".to_owned());
        stdio.env.push(("TOKEN".to_owned(), Secret::new("hunter2".to_owned())));
        let mut http = HttpSettings::new(Uri::from_static("https://example.com/hunter2?key=hunter2"));
        http.headers.push((http::header::AUTHORIZATION, Secret::new("hunter2".to_owned())));
        for shown in [format!("{stdio:?}"), format!("{http:?}")] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
