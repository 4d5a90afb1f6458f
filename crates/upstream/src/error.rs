//! What can go wrong between the gateway and a server. The public text never holds the server's own words, a URL, or
//! a secret; the internal detail is for the operator's log.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tollgate_model::{Code, Refusal, ServerName, Stage};

/// The latest that a caller is told to come again, whatever a server says.
const LATER_MAX: Duration = Duration::from_hours(24);

/// Why a request has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpstreamError {
    /// The server cannot be reached, or did not start. Nothing was carried out.
    #[error("{what}: {detail}")]
    Unavailable {
        /// What is the matter, for the caller.
        what: Cow<'static, str>,
        /// For the log.
        detail: Arc<str>,
    },
    /// The server answered with an HTTP status that is no success, and without an answer of its own. What became of the request
    /// is not known.
    #[error("the server answered with status {status}")]
    Rejected {
        /// The status.
        status: u16,
        /// When the server wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The server is left alone for a while, since it could not be reached or did not answer. Nothing was carried out.
    #[error("left alone: {detail}")]
    LeftAlone {
        /// What is the matter, for the caller.
        what: Cow<'static, str>,
        /// For the log.
        detail: Arc<str>,
        /// When it is tried again.
        retry_after: Duration,
    },
    /// What was found out about the server does not fit any more (its era changed, its session is forgotten, its
    /// process ended before the request left). Nothing was carried out: open again and send the request once more.
    #[error("the server changed: {detail}")]
    Stale {
        /// For the log.
        detail: Arc<str>,
    },
    /// No answer in time.
    #[error("no answer to {what} within {} ms", after.as_millis())]
    Timeout {
        /// What there was no answer to.
        what: &'static str,
        /// How long it took.
        after: Duration,
    },
    /// Nothing of the answer in time.
    #[error("nothing of an answer within {} ms (first byte timeout)", after.as_millis())]
    FirstByte {
        /// How long it took.
        after: Duration,
    },
    /// The server began to answer, and fell silent.
    #[error("the server was silent for {} ms in the midst of its answer (idle timeout)", after.as_millis())]
    Idle {
        /// For how long.
        after: Duration,
    },
    /// The process or connection ended while the request was under way.
    #[error("the connection ended: {detail}")]
    Closed {
        /// For the log.
        detail: Arc<str>,
    },
    /// Something that is not MCP.
    #[error("{what}: {detail}")]
    Protocol {
        /// What is the matter, for the caller.
        what: Cow<'static, str>,
        /// For the log.
        detail: Arc<str>,
    },
    /// A message larger than allowed.
    #[error("a message of more than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// An answer that had not come to its end after so many bytes, and did not say how long it is.
    #[error("an answer without an end within {bytes_max} bytes")]
    Endless {
        /// The limit.
        bytes_max: usize,
    },
    /// More messages than allowed on the way to an answer.
    #[error("more than {messages_max} messages at once and no answer among them")]
    Flood {
        /// The limit.
        messages_max: u32,
    },
    /// The server did not accept the gateway's credential.
    #[error("the server answered with status {status}")]
    Auth {
        /// 401 or 403.
        status: u16,
    },
    /// The server speaks no revision that the gateway speaks.
    #[error("no common protocol revision: {detail}")]
    Unsupported {
        /// For the log.
        detail: Arc<str>,
    },
    /// As many sessions, processes or requests as allowed are busy.
    #[error("{what}: at most {max}")]
    Capacity {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// As many requests as allowed are under way, and there is no waiting for a place.
    #[error("at most {max} requests are under way on this server at once")]
    Busy {
        /// The limit.
        max: usize,
        /// After how long there may be a place.
        retry_after: Duration,
    },
    /// The server is being stopped.
    #[error("the server is being stopped")]
    Stopping,
}

#[allow(clippy::needless_pass_by_value, reason = "errors and texts alike are handed over as they come")]
impl UpstreamError {
    pub(crate) fn unavailable(what: impl Into<Cow<'static, str>>, detail: impl ToString) -> Self {
        Self::Unavailable { what: what.into(), detail: detail.to_string().into() }
    }

    pub(crate) fn closed(detail: impl ToString) -> Self {
        Self::Closed { detail: detail.to_string().into() }
    }

    pub(crate) fn stale(detail: impl ToString) -> Self {
        Self::Stale { detail: detail.to_string().into() }
    }

    pub(crate) fn protocol(what: impl Into<Cow<'static, str>>, detail: impl ToString) -> Self {
        Self::Protocol { what: what.into(), detail: detail.to_string().into() }
    }

    /// Whether the request certainly had no effect and [`crate::Server::open`] may now give a link on which it
    /// succeeds. Try that once; on a second failure give up.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Stale { .. })
    }

    /// Whether the request certainly had no effect, since nothing of it has left for a server that could carry it out: it
    /// may be sent again, whatever it is.
    pub fn had_no_effect(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. }
                | Self::LeftAlone { .. }
                | Self::Stale { .. }
                | Self::Capacity { .. }
                | Self::Busy { .. }
                | Self::Stopping
        )
    }

    /// Whether the same request may do better in a moment. Unless it [had no effect](Self::had_no_effect) it may have been
    /// carried out: only what does no harm twice may be sent again.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Stale { .. } | Self::Closed { .. } | Self::FirstByte { .. } => {
                true
            }
            Self::Rejected { status, .. } => matches!(status, 429 | 502..=504),
            _ => false,
        }
    }

    /// When the server wants to be asked again, if it says so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rejected { retry_after, .. } => *retry_after,
            Self::LeftAlone { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// Whether it speaks against the replica that the request went to: nobody was reached, or nobody answered. What a server
    /// says in MCP does not, nor does that it refuses something or has too much to do.
    pub(crate) fn is_ill_health(&self) -> bool {
        match self {
            Self::Unavailable { .. }
            | Self::LeftAlone { .. }
            | Self::Timeout { .. }
            | Self::FirstByte { .. }
            | Self::Idle { .. }
            | Self::Closed { .. }
            | Self::Endless { .. }
            | Self::Flood { .. } => true,
            Self::Rejected { status, .. } => *status >= 500,
            Self::Stale { .. }
            | Self::Protocol { .. }
            | Self::TooLarge { .. }
            | Self::Auth { .. }
            | Self::Unsupported { .. }
            | Self::Capacity { .. }
            | Self::Busy { .. }
            | Self::Stopping => false,
        }
    }

    /// Whether the server said more than anybody may, and was cut off.
    pub(crate) fn is_spew(&self) -> bool {
        matches!(self, Self::Endless { .. } | Self::Flood { .. })
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Unavailable { .. }
            | Self::LeftAlone { .. }
            | Self::Stale { .. }
            | Self::Rejected { status: 429 | 503, .. } => Code::UpstreamUnavailable,
            Self::Timeout { .. } | Self::FirstByte { .. } | Self::Idle { .. } => Code::UpstreamTimeout,
            Self::Closed { .. } => Code::UpstreamClosed,
            Self::Rejected { .. } | Self::Protocol { .. } | Self::Flood { .. } => Code::UpstreamProtocol,
            Self::TooLarge { .. } | Self::Endless { .. } => Code::UpstreamTooLarge,
            Self::Auth { .. } => Code::UpstreamAuth,
            Self::Unsupported { .. } => Code::UpstreamUnsupported,
            Self::Capacity { .. } => Code::Capacity,
            Self::Busy { .. } => Code::UpstreamBusy,
            Self::Stopping => Code::Draining,
        }
    }

    /// What is wrong, for the caller.
    pub fn public(&self) -> Cow<'static, str> {
        match self {
            Self::Rejected { status: 503, .. } => {
                Cow::Borrowed("the server says that it is unavailable (status 503)")
            }
            Self::Rejected { status: 429, .. } => {
                Cow::Borrowed("the server gets too many requests (status 429)")
            }
            Self::Rejected { status, .. } => {
                Cow::Owned(format!("the server answered with HTTP status {status}"))
            }
            Self::Stale { .. } => Cow::Borrowed("the server keeps changing and could not be asked"),
            Self::Timeout { what, after } => {
                Cow::Owned(format!("the server did not answer {what} within {} ms", after.as_millis()))
            }
            Self::FirstByte { after } => Cow::Owned(format!(
                "the server sent nothing of its answer within {} ms (first byte timeout)",
                after.as_millis()
            )),
            Self::Idle { after } => Cow::Owned(format!(
                "the server was silent for {} ms in the midst of its answer (idle timeout)",
                after.as_millis()
            )),
            Self::Closed { .. } => {
                Cow::Borrowed("the server, or the connection to it, ended while the request was under way")
            }
            Self::Unavailable { what, .. } | Self::LeftAlone { what, .. } | Self::Protocol { what, .. } => {
                what.clone()
            }
            Self::TooLarge { bytes_max } | Self::Endless { bytes_max } => {
                Cow::Owned(format!("the server sent a message of more than {bytes_max} bytes"))
            }
            Self::Flood { messages_max } => Cow::Owned(format!(
                "the server sent more than {messages_max} messages at once and no answer among them"
            )),
            Self::Auth { status } => Cow::Owned(format!(
                "the server did not accept the gateway's credential (status {status}); its operator must configure one"
            )),
            Self::Unsupported { .. } => {
                Cow::Borrowed("the server speaks no protocol revision that the gateway speaks")
            }
            Self::Capacity { what, max } => Cow::Owned(format!("{what}: at most {max} at once")),
            Self::Busy { max, .. } => Cow::Owned(format!(
                "as many requests as allowed are under way on this server: at most {max} at once, and this one cannot wait long enough"
            )),
            Self::Stopping => Cow::Borrowed("the server is being stopped"),
        }
    }

    /// The refusal that the caller gets.
    pub fn refusal(&self, server: &ServerName) -> Refusal {
        let stage = match self {
            Self::Unavailable { .. }
            | Self::LeftAlone { .. }
            | Self::Rejected { status: 429 | 503, .. }
            | Self::Stale { .. }
            | Self::Capacity { .. }
            | Self::Busy { .. }
            | Self::Stopping => Stage::Route,
            _ => Stage::Dispatch,
        };
        let refusal = Refusal::new(stage, self.code(), self.public()).of(server).because(self.to_string());
        match self {
            Self::Busy { retry_after, .. } | Self::LeftAlone { retry_after, .. } => {
                refusal.later(*retry_after)
            }
            Self::Rejected { status: status @ (429 | 503), retry_after } => {
                let refusal = match retry_after {
                    Some(wait) => refusal.later((*wait).min(LATER_MAX)),
                    None => refusal,
                };
                // A proxy says 503 too where it has lost the server over the request.
                if *status == 503 { refusal.in_doubt() } else { refusal }
            }
            _ => refusal,
        }
    }
}
