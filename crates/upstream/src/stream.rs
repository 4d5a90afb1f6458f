//! The messages in the response to one POST: a JSON body, or server-sent events.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_mcp::{Message, ScanError, SseDecoder, SseError, headers};

use crate::UpstreamError;
use crate::comeback::Broken;
use crate::flow::Flow;
use crate::http::{HttpError, Reply};
use crate::replica::Replica;
use crate::session::Current;
use crate::shared::Shared;
use crate::site::encoded;

/// A response being read.
#[derive(Debug)]
pub(crate) struct Stream {
    reply: Reply,
    shared: Arc<Shared>,
    /// The legacy session that it is part of.
    pub(crate) session: Option<Arc<Current>>,
    /// None for a JSON body, which is one message.
    events: Option<Box<SseDecoder>>,
    /// How much of it is read.
    flow: Box<Flow>,
    /// The reconnection time that the server asked for.
    pub(crate) retry: Option<Duration>,
    /// Whether an event has come over this connection.
    pub(crate) spoke: bool,
    /// How many connections in a row brought nothing.
    pub(crate) fruitless: u32,
    /// The event behind which an earlier connection was taken up.
    resumed_after: Option<String>,
    /// Set while there is no connection.
    pub(crate) broken: Option<Box<Broken>>,
    /// Until when nobody expects to hear anything: the server wants to be asked for the rest no sooner.
    pub(crate) quiet_until: Option<Instant>,
}

impl Stream {
    /// Begins to read a 2xx response of a replica.
    pub(crate) fn new(reply: Reply, shared: Arc<Shared>, replica: &Replica) -> Result<Self, UpstreamError> {
        if let Some(error) = encoded(&reply) {
            return Err(error);
        }
        let events = if reply.is_of_type(headers::APPLICATION_JSON) {
            None
        } else if reply.is_of_type(headers::TEXT_EVENT_STREAM) {
            Some(Box::new(SseDecoder::new(shared.settings.limits.message_bytes_max)))
        } else {
            let status = reply.status().as_u16();
            let media_type = reply.media_type();
            // Quoted, since it is the server's own text; only a media type's characters, and not many.
            let shown: String = media_type
                .chars()
                .filter(|c| c.is_ascii_alphanumeric() || "/+-._".contains(*c))
                .take(64)
                .collect();
            let what = if shown.is_empty() {
                format!("the server answered with HTTP status {status} and no content")
            } else {
                format!(
                    "the server answered with content of type \"{shown}\", which is neither JSON nor events"
                )
            };
            return Err(UpstreamError::protocol(what, format!("status {status}, type {media_type:?}")));
        };
        let flow = Box::new(Flow::new(&shared.settings.limits, replica.circuit.is_wary()));
        Ok(Self {
            reply,
            shared,
            session: None,
            events,
            flow,
            retry: None,
            spoke: false,
            fruitless: 0,
            resumed_after: None,
            broken: None,
            quiet_until: None,
        })
    }

    /// When the server was last heard.
    pub(crate) fn heard(&self) -> Instant {
        let heard = self.reply.heard();
        self.quiet_until.map_or(heard, |until| until.max(heard))
    }

    /// The id of the last event, by which the stream can be resumed.
    pub(crate) fn last_id(&self) -> Option<&str> {
        let last = self.events.as_ref()?.last_event_id();
        last.or(self.resumed_after.as_deref()).filter(|id| !id.is_empty())
    }

    /// Whether the rest of the stream can be asked for.
    pub(crate) fn can_come_back(&self) -> bool {
        self.last_id().is_some()
    }

    /// Goes on with the rest of the stream, which comes over another connection.
    pub(crate) fn come_back(&mut self, reply: Reply) -> Result<(), UpstreamError> {
        if let Some(error) = encoded(&reply) {
            return Err(error);
        }
        self.resumed_after = self.last_id().map(str::to_owned);
        self.events = Some(Box::new(SseDecoder::new(self.shared.settings.limits.message_bytes_max)));
        self.reply = reply;
        Ok(())
    }

    /// Whether the answer is one JSON body, so that there is nothing after it.
    pub(crate) fn is_single(&self) -> bool {
        self.events.is_none()
    }

    /// The next message. Dropping the future loses nothing.
    pub(crate) async fn message(&mut self) -> Result<Message, UpstreamError> {
        let limits = self.shared.message_limits();
        let Some(decoder) = &mut self.events else {
            let body = self.reply.collect(self.flow.bytes_max).await.map_err(|error| self.error(error))?;
            return Message::parse(body, &limits).map_err(|error| unreadable(&error));
        };
        loop {
            // Many small events come in one part: others have their turns between them.
            tokio::task::coop::consume_budget().await;
            match decoder.next() {
                Some(Ok(event)) => {
                    self.spoke = true;
                    self.flow.message()?;
                    self.retry = event.retry.map(Duration::from_millis).or(self.retry);
                    // A server that begins again with the event itself instead of behind it tells nothing new.
                    let is_known = event.id.is_some() && event.id == self.resumed_after;
                    if event.data.is_empty() || event.event_type() != "message" || is_known {
                        continue;
                    }
                    return Message::parse(event.data, &limits).map_err(|error| unreadable(&error));
                }
                Some(Err(SseError::TooLarge { .. })) => {
                    return Err(UpstreamError::TooLarge { bytes_max: limits.bytes_max });
                }
                None => match self.reply.chunk().await {
                    Some(Ok(chunk)) => {
                        self.flow.bytes(chunk.len())?;
                        decoder.push(chunk);
                    }
                    Some(Err(error)) => return Err(self.error(error)),
                    None => {
                        let detail = if decoder.has_partial() {
                            "the stream ended within an event"
                        } else {
                            "the stream ended before the response"
                        };
                        return Err(UpstreamError::closed(detail));
                    }
                },
            }
        }
    }

    /// The response has been read: what is left is read away in the background, for a moment, so that the connection
    /// can be used again.
    pub(crate) fn finish(mut self) {
        let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
        let mut left = DRAIN_BYTES_MAX;
        while let std::task::Poll::Ready(Some(Ok(chunk))) = self.reply.poll_chunk(&mut nobody) {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                return;
            }
        }
        if self.reply.has_ended() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        tokio::spawn(async move {
            let _ = tokio::time::timeout(DRAIN, async {
                while let Some(Ok(chunk)) = self.reply.chunk().await {
                    left = left.saturating_sub(chunk.len());
                    if left == 0 {
                        return;
                    }
                }
            })
            .await;
        });
    }

    fn error(&self, error: HttpError) -> UpstreamError {
        match error {
            HttpError::TooLarge => {
                UpstreamError::TooLarge { bytes_max: self.shared.settings.limits.message_bytes_max }
            }
            HttpError::Endless(bytes_max) => UpstreamError::Endless { bytes_max },
            HttpError::Closed(detail) | HttpError::Connect(detail) => UpstreamError::closed(detail),
            HttpError::ConnectTimeout | HttpError::Busy => UpstreamError::closed("the connection was lost"),
        }
    }
}

/// How long, and how much, is read after the response for the connection's sake.
const DRAIN: Duration = Duration::from_secs(1);
const DRAIN_BYTES_MAX: usize = 64 << 10;

pub(crate) fn unreadable(error: &ScanError) -> UpstreamError {
    UpstreamError::protocol(
        "the server sent an answer that cannot be read",
        format!("malformed message: {error}"),
    )
}
