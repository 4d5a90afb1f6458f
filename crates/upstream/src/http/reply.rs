//! A response whose body is read by whoever holds it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;
use tollgate_mcp::Gathered;

use super::HttpError;
use super::pool::{Client, Http1};
use crate::appetite::{Appetite, Greed};

/// The head of a response, and its body as it comes. Dropping it before the end closes the connection (HTTP/1.1) or
/// resets the stream (HTTP/2).
pub(crate) struct Reply {
    head: Parts,
    body: Incoming,
    connection: Option<(Box<Http1>, Arc<Client>)>,
    ended: bool,
    /// What [`Reply::collect`] has of it; survives the dropping of that.
    gathered: Option<Box<Gathered>>,
    /// When something of it last came.
    heard: Instant,
    appetite: Appetite,
}

impl Reply {
    pub(super) fn new(
        head: Parts,
        body: Incoming,
        connection: Option<(Box<Http1>, Arc<Client>)>,
        greed: &Arc<Greed>,
    ) -> Self {
        let heard = Instant::now();
        let appetite = Appetite::new(greed, heard);
        let mut reply = Self { head, body, connection, ended: false, gathered: None, heard, appetite };
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
        self.appetite.pause().await;
        std::future::poll_fn(|cx| {
            let polled = self.poll_chunk(cx);
            match &polled {
                Poll::Ready(Some(Ok(chunk))) => self.appetite.took(chunk.len()),
                Poll::Ready(_) => {}
                Poll::Pending => self.appetite.waits(),
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
            let before = self.gathered.as_ref().map_or(0, |gathered| gathered.len());
            if before + chunk.len() > bytes_max {
                return Err(HttpError::Endless(bytes_max));
            }
            if self.ended && before == 0 {
                return Ok(chunk);
            }
            let gathered = || Box::new(announced.map_or_else(Gathered::default, Gathered::announced));
            self.gathered.get_or_insert_with(gathered).push(chunk);
        }
        Ok(self.gathered.take().map(|gathered| gathered.join()).unwrap_or_default())
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
