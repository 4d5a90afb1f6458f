//! A response whose body is read by whoever holds it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::HttpError;
use super::pool::{Client, Http1};

/// The head of a response, and its body as it comes. Dropping it before the end closes the connection (HTTP/1.1) or
/// resets the stream (HTTP/2).
pub(crate) struct Reply {
    head: Parts,
    body: Incoming,
    connection: Option<(Box<Http1>, Arc<Client>)>,
    ended: bool,
    collected: Collected,
    /// When something of it last came.
    heard: Instant,
    /// How many bytes came since it was last waited for.
    at_once: usize,
}

/// So many bytes are taken one after the other without anybody else having had a turn. Who sends faster than it is read would
/// else keep the thread for itself, and everyone's timers with it.
const AT_ONCE_MAX: usize = 128 * 1024;

/// A body being collected; survives a dropped [`Reply::collect`].
#[derive(Default)]
enum Collected {
    #[default]
    Nothing,
    One(Bytes),
    Many(BytesMut),
}

impl Reply {
    pub(super) fn new(head: Parts, body: Incoming, connection: Option<(Box<Http1>, Arc<Client>)>) -> Self {
        let heard = Instant::now();
        let mut reply =
            Self { head, body, connection, ended: false, collected: Collected::Nothing, heard, at_once: 0 };
        if reply.body.is_end_stream() {
            reply.end();
        }
        reply
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.head.status
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// When something of it last came.
    pub(crate) fn heard(&self) -> Instant {
        self.heard
    }

    /// The media type without parameters, in lower case; empty if there is none.
    pub(crate) fn media_type(&self) -> String {
        let value = self.head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
    }

    /// Whether the media type is this one, whatever its parameters.
    pub(crate) fn is_of_type(&self, media_type: &str) -> bool {
        let Some(value) = self.head.headers.get(CONTENT_TYPE) else { return false };
        let value = value.as_bytes();
        value.len() >= media_type.len()
            && value[..media_type.len()].eq_ignore_ascii_case(media_type.as_bytes())
            && matches!(value.get(media_type.len()), None | Some(b';' | b' ' | b'\t'))
    }

    /// The next part of the body. Dropping the future loses nothing.
    pub(crate) async fn chunk(&mut self) -> Option<Result<Bytes, HttpError>> {
        if self.at_once >= AT_ONCE_MAX {
            self.at_once = 0;
            tokio::task::yield_now().await;
        }
        std::future::poll_fn(|cx| {
            let polled = self.poll_chunk(cx);
            match &polled {
                Poll::Ready(Some(Ok(chunk))) => self.at_once += chunk.len(),
                Poll::Ready(_) => {}
                Poll::Pending => self.at_once = 0,
            }
            polled
        })
        .await
    }

    /// Whether the body has ended, without waiting.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, HttpError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut driven = false;
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.heard = Instant::now();
                    if let Ok(data) = frame.into_data() {
                        if self.body.is_end_stream() {
                            self.end();
                        }
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.ended = true;
                    self.connection = None;
                    return Poll::Ready(Some(Err(HttpError::Closed(error.to_string()))));
                }
                Poll::Ready(None) => {
                    self.end();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    let Some((connection, _)) = &mut self.connection else { return Poll::Pending };
                    if driven {
                        return Poll::Pending;
                    }
                    driven = true;
                    if connection.drive(cx).is_ready() {
                        // What it has read is in the body already; the body tells of the error, if there was one.
                        self.connection = None;
                    }
                }
            }
        }
    }

    /// The rest of the body in one piece, at most `bytes_max` bytes. One that came in one part is not copied; one whose
    /// length was announced is held once. Dropping the future loses nothing.
    pub(crate) async fn collect(&mut self, bytes_max: usize) -> Result<Bytes, HttpError> {
        let announced = self.body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
        if announced.is_some_and(|length| length > bytes_max) {
            return Err(HttpError::TooLarge);
        }
        while let Some(chunk) = self.chunk().await {
            let chunk = chunk?;
            self.collected = match std::mem::take(&mut self.collected) {
                Collected::Nothing if self.ended => Collected::One(chunk),
                Collected::Nothing => {
                    let mut whole = BytesMut::with_capacity(announced.unwrap_or(2 * chunk.len()));
                    whole.extend_from_slice(&chunk);
                    Collected::Many(whole)
                }
                Collected::One(first) => {
                    let mut whole = BytesMut::from(&first[..]);
                    whole.extend_from_slice(&chunk);
                    Collected::Many(whole)
                }
                Collected::Many(mut whole) => {
                    if whole.len() + chunk.len() > bytes_max {
                        return Err(HttpError::TooLarge);
                    }
                    whole.extend_from_slice(&chunk);
                    Collected::Many(whole)
                }
            };
        }
        let whole = match std::mem::take(&mut self.collected) {
            Collected::Nothing => Bytes::new(),
            Collected::One(bytes) => bytes,
            Collected::Many(bytes) => bytes.freeze(),
        };
        if whole.len() > bytes_max { Err(HttpError::TooLarge) } else { Ok(whole) }
    }

    fn end(&mut self) {
        self.ended = true;
        if let Some((connection, client)) = self.connection.take() {
            client.put_back(connection);
        }
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("status", &self.head.status).finish_non_exhaustive()
    }
}
