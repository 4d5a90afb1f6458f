//! Sending, and what comes of it.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::endpoint::{Endpoint, OtlpError, Protocol, Signal};
use super::{grpc, http};

/// What a receiver took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// How many of the spans, points or records it did not take. They must not be sent again.
    pub rejected: u64,
    /// What it has to say of that, or advises.
    pub message: Option<String>,
}

/// Why a request was not taken. The reasons name the receiver, never what was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It may be sent again, not before this time has passed if the receiver named one.
    #[error("{reason}")]
    Again {
        /// What the receiver wants.
        after: Option<Duration>,
        /// What happened.
        reason: String,
    },
    /// It must not be sent again.
    #[error("{reason}")]
    Never {
        /// What happened.
        reason: String,
    },
}

impl Failure {
    pub(super) fn again(reason: impl Into<String>) -> Self {
        Self::Again { after: None, reason: reason.into() }
    }

    /// Whether the same request may be sent again.
    pub const fn may_retry(&self) -> bool {
        matches!(self, Self::Again { .. })
    }
}

/// Sends one signal to one receiver. Cheap to clone; all clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    way: Way,
    timeout: Duration,
}

#[derive(Debug, Clone)]
enum Way {
    Grpc(grpc::Sender),
    Http(http::Sender),
}

impl Client {
    /// A client. Nothing is called yet. Must be made within a runtime, whose life it shares.
    ///
    /// # Errors
    /// If nobody could be trusted, or the address, a header or the client's certificate cannot be used.
    pub fn new(signal: Signal, endpoint: &Endpoint) -> Result<Self, OtlpError> {
        let way = match endpoint.protocol {
            Protocol::Grpc => Way::Grpc(grpc::Sender::new(signal, endpoint)?),
            Protocol::Http => Way::Http(http::Sender::new(endpoint)?),
        };
        Ok(Self { way, timeout: endpoint.timeout })
    }

    /// Sends a request once. `request` is the encoded `Export…ServiceRequest` of the client's signal
    /// ([`Message::encode_to_vec`]). Receivers take at least 4 MiB unless told otherwise.
    ///
    /// # Errors
    /// [`Failure`] if it was not taken, or perhaps was and nobody said so: then it may be there twice after the next try.
    pub async fn send(&self, request: Bytes) -> Result<Accepted, Failure> {
        let sending = async {
            match &self.way {
                Way::Grpc(sender) => sender.send(request).await,
                Way::Http(sender) => sender.send(request).await,
            }
        };
        let late = |_| Err(Failure::again("the receiver did not answer in time"));
        let answer = tokio::time::timeout(self.timeout, sending).await.unwrap_or_else(late)?;
        // What cannot be read says nothing: the receiver has taken everything.
        let partial = Response::decode(answer).unwrap_or_default().partial_success.unwrap_or_default();
        let message = Some(partial.error_message).filter(|message| !message.is_empty());
        Ok(Accepted { rejected: u64::try_from(partial.rejected).unwrap_or(0), message })
    }

    /// Sends a request until it is taken, with growing pauses or those that the receiver asks for, at most for
    /// `patience`. `failed` hears of every try that is followed by another.
    ///
    /// # Errors
    /// The last [`Failure`].
    pub async fn deliver(
        &self,
        request: Bytes,
        patience: Duration,
        mut failed: impl FnMut(&Failure),
    ) -> Result<Accepted, Failure> {
        let deadline = Instant::now() + patience;
        let mut backoff = Backoff::default();
        loop {
            let failure = match self.send(request.clone()).await {
                Ok(accepted) => return Ok(accepted),
                Err(failure) => failure,
            };
            let Failure::Again { after, .. } = failure else { return Err(failure) };
            let next = Instant::now() + backoff.next(after);
            if next > deadline {
                return Err(failure);
            }
            failed(&failure);
            tokio::time::sleep_until(next).await;
        }
    }
}

/// What all three `Export…ServiceResponse` messages have in common.
#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}
