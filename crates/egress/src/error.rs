//! Why a call out failed, for the operator's log.

use std::error::Error as _;

/// Why a call out failed. The texts name the address that was configured or discovered, never what was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The address may not be called.
    #[error("{url} is not called: {reason}")]
    NotAllowed {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nobody answers there.
    #[error("{url} cannot be reached: {reason}")]
    Unreachable {
        /// The address.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The exchange broke off: what was sent may have arrived.
    #[error("{url} broke off: {reason}")]
    Broken {
        /// The address.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// It took too long.
    #[error("{url} did not answer in time")]
    TooSlow {
        /// The address.
        url: String,
    },
    /// The answer has another status than 200. A redirect is one: none is followed.
    #[error("{url} answered with status {status}")]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// The answer is larger than allowed.
    #[error("{url} answered with more than {bytes_max} bytes")]
    TooLarge {
        /// The address.
        url: String,
        /// What is allowed.
        bytes_max: usize,
    },
    /// The answer cannot be read.
    #[error("{url} answered what cannot be read: {reason}")]
    Unreadable {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate authorities cannot be used.
    #[error("the certificate authorities cannot be used: {0}")]
    Roots(String),
}

/// A name leads only to addresses that must not be connected to.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("it is at no public address")]
pub(crate) struct Forbidden;

impl EgressError {
    /// What reqwest says, without its text: it names the whole address, query included.
    pub(crate) fn of(url: &str, error: &reqwest::Error) -> Self {
        let url = url.to_owned();
        let mut causes = std::iter::successors(error.source(), |error| (*error).source());
        if causes.any(<dyn std::error::Error>::is::<Forbidden>) {
            return Self::NotAllowed { url, reason: "it is at no public address" };
        }
        let is_connected = !error.is_connect();
        if error.is_timeout() && is_connected {
            return Self::TooSlow { url };
        }
        let innermost = std::iter::successors(error.source(), |error| (*error).source()).last();
        let reason = innermost.map_or_else(|| "the exchange failed".to_owned(), ToString::to_string);
        if is_connected { Self::Broken { url, reason } } else { Self::Unreachable { url, reason } }
    }

    /// Whether nothing of what was to be sent can have arrived.
    pub fn is_before_sending(&self) -> bool {
        matches!(self, Self::NotAllowed { .. } | Self::Unreachable { .. } | Self::Roots(_))
    }
}
