//! A refusal is a value: which stage said no, a stable code, whose fault it was, and whether a retry can help.
//!
//! One table ([`Code::row`]) says how each code looks on the wire in either era; nothing else chooses a status or a
//! JSON-RPC code.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{Era, Judged, PolicyRef, ServerName};

/// The stage of a request's life that refused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The transport: HTTP rules, framing, body limits.
    Transport,
    /// The session: unknown, ended, or not this caller's.
    Session,
    /// The envelope: JSON, JSON-RPC, required metadata, headers against body.
    Envelope,
    /// Finding out who calls.
    Identity,
    /// Resolving a name to a server and what it calls the thing.
    Resolve,
    /// Policy.
    Policy,
    /// Rates, concurrency, quotas and budgets.
    Limits,
    /// What people have to approve first.
    Approval,
    /// What operators have blocked.
    Block,
    /// Whether definitions are what was approved.
    Pins,
    /// What is in arguments and results.
    Guard,
    /// Whether arguments and results fit what their tool declares, and are no larger than allowed.
    Schema,
    /// Picking and opening the upstream.
    Route,
    /// Putting it on record.
    Ledger,
    /// The exchange with the upstream.
    Dispatch,
}

impl Stage {
    /// The stage as text, for logs and error data.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Session => "session",
            Self::Envelope => "envelope",
            Self::Identity => "identity",
            Self::Resolve => "resolve",
            Self::Policy => "policy",
            Self::Limits => "limits",
            Self::Approval => "approval",
            Self::Block => "block",
            Self::Pins => "pins",
            Self::Guard => "guard",
            Self::Schema => "schema",
            Self::Route => "route",
            Self::Ledger => "ledger",
            Self::Dispatch => "dispatch",
        }
    }
}

/// Whose doing a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The client sent something it should not have.
    Client,
    /// Policy forbids it.
    Policy,
    /// A limit that the operator has set leaves no room for it.
    Limit,
    /// A content guard found something that may not pass.
    Guard,
    /// An operator has stopped it.
    Operator,
    /// The server behind the gateway failed.
    Upstream,
    /// The gateway itself could not.
    Gateway,
}

impl Source {
    /// The source as text, for logs and error data.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Policy => "policy",
            Self::Limit => "limit",
            Self::Guard => "guard",
            Self::Operator => "operator",
            Self::Upstream => "upstream",
            Self::Gateway => "gateway",
        }
    }
}

/// Whether the same request may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// The same request will be refused again.
    Never,
    /// The same request may succeed later, and was not carried out.
    Safe,
    /// The same request may succeed later, but may already have had its effect.
    Unsafe,
}

impl Retry {
    /// As text, for logs and error data.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Safe => "safe",
            Self::Unsafe => "unsafe",
        }
    }
}

/// How a code looks outside.
#[derive(Debug, Clone, Copy)]
pub struct CodeRow {
    /// The stable name, part of the API: `error.data["dev.tollgate/refusal"].code`.
    pub name: &'static str,
    /// The JSON-RPC code for a modern client.
    pub rpc_modern: i32,
    /// The JSON-RPC code for a legacy client.
    pub rpc_legacy: i32,
    /// The HTTP status for a modern client.
    pub http_modern: u16,
    /// The HTTP status for a legacy client.
    pub http_legacy: u16,
    /// Whose doing it is.
    pub source: Source,
    /// Whether a retry can help.
    pub retry: Retry,
    /// What it says, for the reference.
    pub meaning: &'static str,
}

impl CodeRow {
    /// The JSON-RPC code for a client of this era.
    pub const fn rpc(&self, era: Era) -> i32 {
        match era {
            Era::Legacy => self.rpc_legacy,
            Era::Modern => self.rpc_modern,
        }
    }

    /// The HTTP status for a client of this era.
    pub const fn http(&self, era: Era) -> u16 {
        match era {
            Era::Legacy => self.http_legacy,
            Era::Modern => self.http_modern,
        }
    }
}

macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $variant:ident = $name:literal, rpc $modern:literal / $legacy:literal, http $hm:literal / $hl:literal, $source:ident, $retry:ident;)*) => {
        /// The stable refusal codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[doc = $meaning])+ $variant,)* }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// How this code looks outside.
            pub const fn row(self) -> CodeRow {
                match self {
                    $(Self::$variant => CodeRow {
                        name: $name, rpc_modern: $modern, rpc_legacy: $legacy, http_modern: $hm, http_legacy: $hl,
                        source: Source::$source, retry: Retry::$retry,
                        meaning: concat!($($meaning),+).trim_ascii(),
                    },)*
                }
            }
        }
    };
}

codes! {
    /// The body is not JSON, or could be read two ways: half of a surrogate pair, bytes after the message.
    ParseError = "parse_error", rpc -32700 / -32700, http 400 / 400, Client, Never;
    /// The body is JSON but not a message that may be sent here. One in which a member stands twice is none either.
    InvalidRequest = "invalid_request", rpc -32600 / -32600, http 400 / 400, Client, Never;
    /// A method that the gateway does not serve on this endpoint.
    MethodNotFound = "method_not_found", rpc -32601 / -32601, http 404 / 200, Client, Never;
    /// The params do not fit the method.
    InvalidParams = "invalid_params", rpc -32602 / -32602, http 200 / 200, Client, Never;
    /// A modern request without its required `_meta` keys.
    MissingMeta = "missing_meta", rpc -32602 / -32602, http 400 / 400, Client, Never;
    /// A header says something else than the body, or is missing.
    HeaderMismatch = "header_mismatch", rpc -32020 / -32600, http 400 / 400, Client, Never;
    /// The protocol revision is not spoken here.
    UnsupportedVersion = "unsupported_version", rpc -32022 / -32600, http 400 / 400, Client, Never;
    /// The request needs a capability that the client did not declare.
    MissingCapability = "missing_capability", rpc -32021 / -32603, http 400 / 200, Client, Never;
    /// A `requestState` that this gateway did not give to this caller for this request, that was altered, has expired, or
    /// was used before.
    InvalidRequestState = "invalid_request_state", rpc -32602 / -32602, http 200 / 200, Client, Never;
    /// What a server asked during the request (sampling, elicitation, roots) got no answer that it can go on with.
    InputRefused = "input_refused", rpc -32603 / -32603, http 200 / 200, Client, Unsafe;
    /// The server had begun, and the gateway could not keep the call: as many calls or tasks as allowed wait already. The
    /// server was told that nobody waits any more.
    GivenUp = "given_up", rpc -32603 / -32603, http 200 / 200, Gateway, Unsafe;
    /// No such tool here.
    UnknownTool = "unknown_tool", rpc -32602 / -32602, http 200 / 200, Client, Never;
    /// No such prompt here.
    UnknownPrompt = "unknown_prompt", rpc -32602 / -32602, http 200 / 200, Client, Never;
    /// No such resource here.
    UnknownResource = "unknown_resource", rpc -32602 / -32002, http 200 / 200, Client, Never;
    /// A task that does not exist here, or is another caller's.
    UnknownTask = "unknown_task", rpc -32602 / -32602, http 200 / 200, Client, Never;
    /// A cursor that this gateway did not issue, or issued before the servers changed.
    InvalidCursor = "invalid_cursor", rpc -32602 / -32602, http 200 / 200, Client, Never;
    /// A session that does not exist, has ended, or is another caller's.
    UnknownSession = "unknown_session", rpc -32600 / -32600, http 404 / 404, Client, Never;
    /// A request that needs a session and names none, or comes before `initialize`.
    MissingSession = "missing_session", rpc -32600 / -32600, http 400 / 400, Client, Never;
    /// An event id that no stream of the session can be resumed from: it is unknown, or what follows it is kept no longer.
    UnknownEvent = "unknown_event", rpc -32600 / -32600, http 400 / 400, Client, Never;
    /// No endpoint of this name.
    UnknownEndpoint = "unknown_endpoint", rpc -32600 / -32600, http 404 / 404, Client, Never;
    /// The HTTP method is not served here.
    HttpMethod = "http_method_not_allowed", rpc -32600 / -32600, http 405 / 405, Client, Never;
    /// The `Accept` header does not allow what must be sent.
    NotAcceptable = "not_acceptable", rpc -32600 / -32600, http 406 / 406, Client, Never;
    /// The body is not `application/json`.
    MediaType = "unsupported_media_type", rpc -32600 / -32600, http 415 / 415, Client, Never;
    /// A browser origin that is not allowed.
    Origin = "origin_not_allowed", rpc -32600 / -32600, http 403 / 403, Client, Never;
    /// A `Host` that this gateway is not known by.
    Host = "host_not_allowed", rpc -32600 / -32600, http 403 / 403, Client, Never;
    /// The body is larger than allowed.
    BodyTooLarge = "body_too_large", rpc -32600 / -32600, http 413 / 413, Client, Never;
    /// The `Mcp-*` headers of a request are together larger than 32 KiB.
    HeadersTooLarge = "headers_too_large", rpc -32600 / -32600, http 431 / 431, Client, Never;
    /// The body did not arrive in time.
    BodyTimeout = "body_timeout", rpc -32600 / -32600, http 408 / 408, Client, Safe;
    /// The request says not who calls, or nothing that it says is a proof: no key, token or certificate, or one that is
    /// malformed, unknown, expired, revoked or meant for another address.
    Unauthenticated = "unauthenticated", rpc -32001 / -32001, http 401 / 401, Client, Never;
    /// The request came unencrypted, over a network, and not from a trusted proxy: what proves who calls could be read on its
    /// way, and counts for nothing.
    InsecureTransport = "insecure_transport", rpc -32600 / -32600, http 403 / 403, Client, Never;
    /// The access token was not granted for what the request needs.
    InsufficientScope = "insufficient_scope", rpc -32003 / -32003, http 403 / 403, Client, Never;
    /// Too many failed attempts to prove who calls came from this address.
    TooManyFailures = "too_many_failures", rpc -32603 / -32603, http 429 / 429, Client, Safe;
    /// Who calls, or whether an operator has blocked it, cannot be found out: the issuer's keys or its introspection are not to be
    /// had, or the stored state is not.
    IdentityUnavailable = "identity_unavailable", rpc -32603 / -32603, http 503 / 503, Gateway, Safe;
    /// Policy does not allow it.
    Denied = "denied", rpc -32603 / -32603, http 200 / 200, Policy, Never;
    /// People have to approve it first, and have not done so while it was held. `approval` names what they are asked about: the
    /// same call again goes on once they have approved, and is carried out once.
    ApprovalRequired = "approval_required", rpc -32603 / -32603, http 200 / 200, Policy, Safe;
    /// Somebody who was asked does not approve it. The same call is refused until the time of `approval` is over.
    ApprovalDenied = "approval_denied", rpc -32603 / -32603, http 200 / 200, Operator, Never;
    /// People have to approve it first, and as many approvals of this caller or its tenant as may wait for them do.
    ApprovalsFull = "too_many_approvals", rpc -32603 / -32603, http 429 / 200, Limit, Safe;
    /// People have to approve it first, and they cannot be asked: the stored state is not to be had.
    ApprovalUnavailable = "approval_unavailable", rpc -32603 / -32603, http 503 / 200, Gateway, Safe;
    /// A limit on how often does not leave room for it now.
    RateLimited = "rate_limited", rpc -32603 / -32603, http 429 / 200, Limit, Safe;
    /// As many requests as a limit allows are under way at once.
    ConcurrencyLimited = "concurrency_limited", rpc -32603 / -32603, http 429 / 200, Limit, Safe;
    /// A quota is used up for its hour, day or month.
    QuotaExhausted = "quota_exhausted", rpc -32603 / -32603, http 429 / 200, Limit, Safe;
    /// A budget of tokens or money is used up for its hour, day or month.
    BudgetExhausted = "budget_exhausted", rpc -32603 / -32603, http 429 / 200, Limit, Safe;
    /// The agent seems to have run away, and is paused: it made the same call again and again, or far more calls than usual.
    Paused = "paused", rpc -32603 / -32603, http 429 / 200, Limit, Safe;
    /// An operator has blocked the tool, the server, or whoever calls (`tollgate block`). What was under way then was cut off, and
    /// may have had its effect. Whoever is blocked as a whole gets HTTP 403 in either era.
    Blocked = "blocked", rpc -32603 / -32603, http 403 / 200, Operator, Never;
    /// The tool, prompt or resource is not defined as it was approved, or nobody has approved it yet (`tollgate pins list`). The
    /// server was not asked.
    Quarantined = "quarantined", rpc -32603 / -32603, http 200 / 200, Operator, Never;
    /// A content guard found something in the arguments or in the result that may not pass. Of a result the server has carried out
    /// what was asked: what streamed before it has reached the client.
    GuardBlocked = "guard_blocked", rpc -32603 / -32603, http 200 / 200, Guard, Never;
    /// A guard outside of the gateway could not be asked about the arguments or the result, and what it has not seen does not
    /// pass. Of a result the server has carried out what was asked.
    GuardUnavailable = "guard_unavailable", rpc -32603 / -32603, http 200 / 200, Guard, Unsafe;
    /// The arguments do not fit the input schema of their tool, or are larger than the operator allows. It was not called. The
    /// client gets the result of a tool that failed (`isError`), so that its model can correct them; this code stands in the
    /// record.
    InvalidArguments = "invalid_arguments", rpc -32602 / -32602, http 200 / 200, Client, Never;
    /// The result does not fit the output schema that its tool declares. The tool was called.
    InvalidResult = "invalid_result", rpc -32603 / -32603, http 200 / 200, Upstream, Unsafe;
    /// The result is larger or deeper than the operator allows (`sizes`). The tool was called.
    ResultTooLarge = "result_too_large", rpc -32603 / -32603, http 200 / 200, Limit, Unsafe;
    /// The server cannot be reached, or did not start.
    UpstreamUnavailable = "upstream_unavailable", rpc -32603 / -32603, http 200 / 200, Upstream, Safe;
    /// The server did not answer in time.
    UpstreamTimeout = "upstream_timeout", rpc -32603 / -32603, http 200 / 200, Upstream, Unsafe;
    /// The server or the connection to it ended while the request was under way.
    UpstreamClosed = "upstream_closed", rpc -32603 / -32603, http 200 / 200, Upstream, Unsafe;
    /// The server sent something that is not MCP.
    UpstreamProtocol = "upstream_protocol_error", rpc -32603 / -32603, http 200 / 200, Upstream, Unsafe;
    /// The server sent a message larger than allowed.
    UpstreamTooLarge = "upstream_too_large", rpc -32603 / -32603, http 200 / 200, Upstream, Unsafe;
    /// The server did not accept the gateway's credential.
    UpstreamAuth = "upstream_auth", rpc -32603 / -32603, http 200 / 200, Upstream, Never;
    /// The server speaks no protocol revision that Tollgate speaks.
    UpstreamUnsupported = "upstream_unsupported", rpc -32603 / -32603, http 200 / 200, Upstream, Never;
    /// It cannot be put on record, and what is not on record reaches no server.
    LedgerUnavailable = "ledger_unavailable", rpc -32603 / -32603, http 503 / 503, Gateway, Safe;
    /// The server has, or may have, carried it out, and its outcome cannot be put on record: the result is withheld.
    OutcomeUnrecorded = "outcome_unrecorded", rpc -32603 / -32603, http 503 / 503, Gateway, Unsafe;
    /// As many processes, sessions, requests, listeners or tasks as allowed are there, or requests came too often.
    Capacity = "capacity", rpc -32603 / -32603, http 200 / 200, Gateway, Safe;
    /// As many requests to this server as allowed are under way, and this one cannot wait for long enough. `Retry-After` says when
    /// there may be room.
    UpstreamBusy = "upstream_busy", rpc -32603 / -32603, http 503 / 200, Gateway, Safe;
    /// The gateway has as much to do as it can, and begins nothing new. `Retry-After` says when to come again.
    Overloaded = "overloaded", rpc -32603 / -32603, http 503 / 503, Gateway, Safe;
    /// The client cancelled the request. Not sent yet: a cancelled request gets no answer.
    Cancelled = "cancelled", rpc -32603 / -32603, http 200 / 200, Client, Unsafe;
    /// The gateway is stopping.
    Draining = "draining", rpc -32603 / -32603, http 503 / 503, Gateway, Safe;
    /// A fault of the gateway's own.
    Internal = "internal", rpc -32603 / -32603, http 500 / 500, Gateway, Unsafe;
}

/// Why a request is not carried out, or has no answer.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// What is wrong, for machines.
    pub code: Code,
    /// Who said so.
    pub stage: Stage,
    /// The server it concerns, if one was chosen.
    pub server: Option<ServerName>,
    /// What is wrong, for the caller. Never holds a secret or an upstream's own text.
    pub public: Cow<'static, str>,
    /// What is wrong, for the operator's log.
    pub internal: Option<Box<str>>,
    /// The members of `error.data` that the specification demands, as raw JSON members without braces.
    pub data: Option<Box<str>>,
    /// What the caller may know of why, where there is more to say.
    pub why: Option<Box<Why>>,
    /// Whether nothing of the request has left for a server, whatever is true of others with this code.
    pub is_unsent: bool,
    /// Whether it may have been carried out, whatever is true of others with this code.
    pub is_in_doubt: bool,
    /// What policy had said of the request by then, for the record: also of what is refused for another reason, or as unknown.
    pub judged: Option<Arc<Judged>>,
}

/// What a caller may know of why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Policy said no.
    Denied(Denial),
    /// The access token was not granted for these: all that the request needs, not only those that it lacks.
    NeedsScopes(Vec<Arc<str>>),
    /// A limit leaves no room for it.
    Limited(Exceeded),
    /// There is no room for it now, and there may be after so long.
    Later(Duration),
    /// People are asked, or have said no.
    Approval {
        /// The approval's id.
        id: Arc<str>,
        /// Where it is seen.
        url: Option<Arc<str>>,
    },
    /// An operator has blocked something of this kind: `tool`, `server`, `agent`, `user`, `key` or `tenant`.
    Blocked(&'static str),
}

/// A limit that leaves no room for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// The name of the limit.
    pub limit: Arc<str>,
    /// What it is of.
    pub of: Limited,
    /// How much it allows in its window; of a budget of money in billionths of the currency's unit.
    pub allowed: u64,
    /// How long its window is; none where it counts what is under way.
    pub window: Option<Duration>,
    /// How much of it is left.
    pub left: u64,
    /// Of a budget of money: in which currency.
    pub currency: Option<Arc<str>>,
    /// After how long there may be room again; a guess where it counts what is under way.
    pub retry_after: Duration,
}

/// What a limit is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limited {
    /// How often.
    Rate,
    /// How many at once.
    Concurrency,
    /// How many in an hour, a day or a month.
    Quota,
    /// How many tokens, or how much money, in an hour, a day or a month.
    Budget,
    /// How an agent that is in order calls.
    Runaway,
}

impl Limited {
    /// What is refused with.
    pub const fn code(self) -> Code {
        match self {
            Self::Rate => Code::RateLimited,
            Self::Concurrency => Code::ConcurrencyLimited,
            Self::Quota => Code::QuotaExhausted,
            Self::Budget => Code::BudgetExhausted,
            Self::Runaway => Code::Paused,
        }
    }

    /// As text, for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Concurrency => "concurrency",
            Self::Quota => "quota",
            Self::Budget => "budget",
            Self::Runaway => "runaway",
        }
    }
}

/// What a caller may know of why policy said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The rules that decided. None where nothing allows it.
    pub policies: Vec<PolicyRef>,
    /// What they say of why.
    pub reasons: Vec<Arc<str>>,
    /// Whether the same caller could be allowed the same with other arguments, at another time or from elsewhere.
    pub could_differ: bool,
}

impl Refusal {
    /// A refusal with its public text.
    pub fn new(stage: Stage, code: Code, public: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            stage,
            server: None,
            public: public.into(),
            internal: None,
            data: None,
            why: None,
            is_unsent: false,
            is_in_doubt: false,
            judged: None,
        }
    }

    /// Nothing of the request has left for a server.
    #[must_use]
    pub fn unsent(self) -> Self {
        Self { is_unsent: true, ..self }
    }

    /// The request may have been carried out.
    #[must_use]
    pub fn in_doubt(self) -> Self {
        Self { is_in_doubt: true, ..self }
    }

    /// Whether the same request may succeed later.
    pub fn retry(&self) -> Retry {
        match self.code.row().retry {
            Retry::Unsafe if self.is_unsent => Retry::Safe,
            Retry::Safe if self.is_in_doubt && !self.is_unsent => Retry::Unsafe,
            retry => retry,
        }
    }

    /// The server that it concerns.
    #[must_use]
    pub fn of(mut self, server: &ServerName) -> Self {
        self.server = Some(server.clone());
        self
    }

    /// What only the operator may read.
    #[must_use]
    pub fn because(mut self, internal: impl Into<String>) -> Self {
        self.internal = Some(internal.into().into_boxed_str());
        self
    }

    /// The members of `error.data` that the specification demands, as raw JSON members without braces.
    #[must_use]
    pub fn with_data(mut self, members: impl Into<String>) -> Self {
        self.data = Some(members.into().into_boxed_str());
        self
    }

    /// What policy says of it.
    #[must_use]
    pub fn denying(mut self, denial: Denial) -> Self {
        self.why = Some(Box::new(Why::Denied(denial)));
        self
    }

    /// What policy had said of the request, for the record.
    #[must_use]
    pub fn judged(mut self, judged: Arc<Judged>) -> Self {
        self.judged = Some(judged);
        self
    }

    /// Which limit leaves no room for it.
    #[must_use]
    pub fn exceeding(mut self, exceeded: Exceeded) -> Self {
        self.why = Some(Box::new(Why::Limited(exceeded)));
        self
    }

    /// The limit that leaves no room for it, if that is why.
    pub fn exceeded(&self) -> Option<&Exceeded> {
        match self.why.as_deref() {
            Some(Why::Limited(exceeded)) => Some(exceeded),
            _ => None,
        }
    }

    /// After how long there may be room for it.
    #[must_use]
    pub fn later(mut self, retry_after: Duration) -> Self {
        self.why = Some(Box::new(Why::Later(retry_after)));
        self
    }

    /// The approval that it waits for, or that was denied.
    #[must_use]
    pub fn awaiting(self, id: &str, url: Option<String>) -> Self {
        let why = Why::Approval { id: id.into(), url: url.map(Arc::from) };
        Self { why: Some(Box::new(why)), ..self }
    }

    /// The kind of what an operator has blocked.
    #[must_use]
    pub fn blocking(mut self, kind: &'static str) -> Self {
        self.why = Some(Box::new(Why::Blocked(kind)));
        self
    }

    /// The scopes that an access token would need.
    #[must_use]
    pub fn needing(mut self, scopes: &[Arc<str>]) -> Self {
        self.why = Some(Box::new(Why::NeedsScopes(scopes.to_vec())));
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.row().name, self.public)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_codes_are_legal() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.row().name).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            // -32002 and -32042 must not be sent in the modern era (2026-07-28, error codes).
            assert!(![-32002, -32042].contains(&code.row().rpc_modern), "{code:?}");
        }
    }

    #[test]
    fn what_has_not_left_may_be_sent_again_unless_it_is_refused_again() {
        for (code, sent, unsent) in [
            (Code::UpstreamTimeout, Retry::Unsafe, Retry::Safe),
            (Code::UpstreamUnavailable, Retry::Safe, Retry::Safe),
            (Code::UpstreamAuth, Retry::Never, Retry::Never),
        ] {
            let refusal = Refusal::new(Stage::Route, code, "no");
            assert_eq!(refusal.retry(), sent, "{code:?}");
            assert_eq!(refusal.unsent().retry(), unsent, "{code:?}");
        }
    }
}
