//! What happens to each message.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tollgate_mcp::headers::{
    APPLICATION_JSON, LAST_EVENT_ID, MCP_METHOD, MCP_NAME, MCP_PROTOCOL_VERSION, MCP_SESSION_ID,
    TEXT_EVENT_STREAM, encode_value,
};
use tollgate_mcp::{Kind, Limits, Message, Segments, SseDecoder, encode_line, json, meta, methods};
use tollgate_model::Revision;

use super::http::{HttpClient, HttpError};
use super::session::{Legacy, Session};
use super::{MESSAGE_BYTES_MAX, mirror, reply};
use crate::out::{Printer, To};

/// Requests under way at once; further ones are refused.
const REQUESTS_MAX: usize = 256;
/// The longest wait for one answer. Clients give up long before.
const ANSWER_WAIT_MAX: Duration = Duration::from_hours(1);
/// The longest wait until a notification is taken.
const NOTIFY_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long a stream may stay open after the response that it was for.
const STREAM_END_WAIT_MAX: Duration = Duration::from_millis(500);
/// Pauses between attempts to open the session's stream.
const STREAM_PAUSE_MIN: Duration = Duration::from_millis(500);
const STREAM_PAUSE_MAX: Duration = Duration::from_secs(30);

/// One client on standard input and output, one endpoint over HTTP.
pub(crate) struct Bridge {
    url: String,
    http: HttpClient,
    out: mpsc::Sender<Bytes>,
    legacy: Legacy,
    requests: Semaphore,
    tasks: TaskTracker,
    /// Modern requests under way by raw id, so that they can be cancelled.
    cancellable: Mutex<HashMap<Bytes, Cancellable>>,
    /// Whether the person at the other end of standard error knows that the endpoint is gone.
    complained: AtomicBool,
}

/// A modern request under way.
struct Cancellable {
    task: AbortHandle,
    /// It ends when the client ends it, not by itself.
    is_endless: bool,
}

/// How the answer to one request was passed on.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// The response to the request was among what came.
    answered: bool,
    /// The revision in an `initialize` result.
    revision: Option<String>,
}

impl Bridge {
    /// A bridge that has not connected yet.
    pub(crate) fn new(url: String, http: HttpClient, out: mpsc::Sender<Bytes>) -> Self {
        Self {
            url,
            http,
            out,
            legacy: Legacy::default(),
            requests: Semaphore::new(REQUESTS_MAX),
            tasks: TaskTracker::new(),
            cancellable: Mutex::default(),
            complained: AtomicBool::new(false),
        }
    }

    /// Takes one message from the client. Notifications are sent before the next message is looked at, since their
    /// order matters; requests run side by side.
    pub(crate) async fn take(self: &Arc<Self>, message: Message) {
        match message.kind() {
            Kind::Request => self.take_request(message).await,
            Kind::Notification => self.take_notification(message).await,
            // The client's answer to a request of the server's.
            Kind::Result | Kind::Error => {
                let bridge = self.clone();
                self.tasks.spawn(async move {
                    let headers = bridge.legacy.session().headers();
                    bridge.send_aside(headers, message.into_bytes()).await;
                });
            }
        }
    }

    /// Writes one message to the client.
    pub(crate) async fn answer(&self, message: Bytes) {
        // A client that is gone will not miss it.
        drop(self.out.send(encode_line(&Segments::from(message)).into_bytes()).await);
    }

    /// Waits for requests under way, but for those that would never end by themselves.
    pub(crate) async fn finish(&self, linger: Duration) {
        self.legacy.follow(None);
        self.cancellable()
            .values()
            .filter(|request| request.is_endless)
            .for_each(|request| request.task.abort());
        self.tasks.close();
        drop(timeout(linger, self.tasks.wait()).await);
    }

    /// Ends the session at the other side.
    pub(crate) async fn goodbye(&self) {
        self.legacy.follow(None);
        let session = self.legacy.session();
        if session.id.is_some() {
            drop(self.http.send(Method::DELETE, session.headers(), Bytes::new()).await);
        }
    }

    async fn take_request(self: &Arc<Self>, message: Message) {
        let Some(id) = message.id_raw() else { return };
        if message.method() == methods::INITIALIZE {
            // Nothing may overtake it.
            self.legacy.begin(message.bytes().clone());
            return self.initialize(&message, &id).await;
        }
        let revision = message.meta_text(meta::PROTOCOL_VERSION).map(Cow::into_owned);
        let bridge = self.clone();
        let key = id.clone();
        let is_modern = revision.is_some();
        let is_endless = message.method() == methods::SUBSCRIPTIONS_LISTEN;
        // Held until the entry is in, so that a request that ends at once does not leave one behind.
        let mut cancellable = self.cancellable();
        let task = self.tasks.spawn(async move {
            let Ok(_place) = bridge.requests.try_acquire() else {
                let text = format!("more than {REQUESTS_MAX} requests at once");
                return bridge.answer(reply::error(Some(&id), reply::INTERNAL_ERROR, &text)).await;
            };
            match revision {
                Some(revision) => bridge.ask_modern(&message, &id, &revision).await,
                None => bridge.ask_legacy(&message, &id).await,
            }
            bridge.forget(&id);
        });
        if is_modern {
            cancellable.insert(key, Cancellable { task: task.abort_handle(), is_endless });
        }
    }

    async fn take_notification(self: &Arc<Self>, message: Message) {
        let is_cancel = message.method() == methods::NOTIFICATIONS_CANCELLED;
        if is_cancel {
            let id = message.member("requestId").map(|at| message.raw(at));
            let request = id.and_then(|id| self.cancellable().remove(&id));
            if let Some(request) = request {
                // Modern, over HTTP: closing the response stream is the cancellation.
                return request.task.abort();
            }
        }
        if self.legacy.is_begun() {
            let session = self.legacy.session();
            let is_initialized = message.method() == methods::NOTIFICATIONS_INITIALIZED;
            let bytes = message.into_bytes();
            if is_initialized {
                self.legacy.confirm(bytes.clone());
            }
            self.send_aside(session.headers(), bytes).await;
            if is_initialized {
                self.open_stream(session);
            }
        } else if !is_cancel {
            let headers = modern_headers(&message, Revision::LATEST.as_str());
            self.send_aside(headers, message.into_bytes()).await;
        }
    }

    async fn ask_modern(&self, message: &Message, id: &Bytes, revision: &str) {
        let mut headers = modern_headers(message, revision);
        let mut response = self.post(headers.clone(), message.bytes().clone()).await;
        let is_refused = matches!(&response, Ok(response) if response.status() == StatusCode::BAD_REQUEST);
        if is_refused && message.method() == methods::TOOLS_CALL {
            let Ok(refusal) = response else { return };
            let (lines, _) = self.read_all(refusal, id).await;
            let missing = if lines.iter().any(mirror::is_mismatch) {
                self.mirrored(message, revision).await
            } else {
                HeaderMap::new()
            };
            if missing.is_empty() {
                for line in lines {
                    self.answer(line).await;
                }
                return;
            }
            headers.extend(missing);
            response = self.post(headers, message.bytes().clone()).await;
        }
        match response {
            Ok(response) => drop(self.pass_on(response, id).await),
            Err(error) => self.unreachable(id, &error).await,
        }
    }

    async fn ask_legacy(self: &Arc<Self>, message: &Message, id: &Bytes) {
        let session = self.legacy.session();
        let first = self.post(session.headers(), message.bytes().clone()).await;
        let is_lost = matches!(&first, Ok(response) if response.status() == StatusCode::NOT_FOUND);
        let response = if is_lost && session.id.is_some() {
            // The session was unknown there, so the request was not carried out.
            match self.reopen(session.generation).await {
                Ok(session) => self.post(session.headers(), message.bytes().clone()).await,
                Err(text) => {
                    return self.answer(reply::error(Some(id), reply::INTERNAL_ERROR, &text)).await;
                }
            }
        } else {
            first
        };
        match response {
            Ok(response) => drop(self.pass_on(response, id).await),
            Err(error) => self.unreachable(id, &error).await,
        }
    }

    async fn initialize(&self, message: &Message, id: &Bytes) {
        self.legacy.follow(None);
        match self.post(HeaderMap::new(), message.bytes().clone()).await {
            Ok(response) => {
                let session = response.headers().get(MCP_SESSION_ID).cloned();
                // The answer must not reach the client before the session is known here.
                let (lines, passed) = self.read_all(response, id).await;
                if passed.revision.is_some() {
                    self.legacy.opened(session, passed.revision);
                }
                for line in lines {
                    self.answer(line).await;
                }
            }
            Err(error) => self.unreachable(id, &error).await,
        }
    }

    /// Opens the session anew after the other side forgot it.
    async fn reopen(self: &Arc<Self>, lost: u64) -> Result<Session, String> {
        let _one = self.legacy.reopening.lock().await;
        let now = self.legacy.session();
        if now.generation != lost {
            return Ok(now);
        }
        let (Some(initialize), initialized) = self.legacy.opening() else {
            return Err("there is no session".to_owned());
        };
        let failed = |what: String| {
            format!("the session with {} ended and could not be opened anew: {what}", self.url)
        };
        let limits = Limits::default();
        let id = Message::parse(initialize.clone(), &limits).ok().and_then(|message| message.id_raw());
        let response =
            self.post(HeaderMap::new(), initialize).await.map_err(|error| failed(error.to_string()))?;
        let status = response.status();
        let session = response.headers().get(MCP_SESSION_ID).cloned();
        let (_, passed) = self.read_all(response, &id.unwrap_or_default()).await;
        if passed.revision.is_none() || passed.revision != now.revision {
            return Err(failed(format!("it answered with status {status} or another revision")));
        }
        let session = self.legacy.opened(session, passed.revision);
        if let Some(initialized) = initialized {
            self.send_aside(session.headers(), initialized).await;
            self.open_stream(session.clone());
        }
        tracing::info!(url = %self.url, "session opened anew");
        Ok(session)
    }

    /// Reads the session's own stream, on which the server speaks unasked, for as long as the session lives.
    fn open_stream(self: &Arc<Self>, session: Session) {
        let bridge = self.clone();
        // Not among the tracked tasks: it ends with the session, not by itself.
        let task = tokio::spawn(async move { bridge.follow_stream(session).await });
        self.legacy.follow(Some(task.abort_handle()));
    }

    async fn follow_stream(self: Arc<Self>, session: Session) {
        let mut pause = STREAM_PAUSE_MIN;
        let mut last_event: Option<HeaderValue> = None;
        loop {
            let mut headers = session.headers();
            headers.insert(ACCEPT, HeaderValue::from_static(TEXT_EVENT_STREAM));
            if let Some(last) = &last_event {
                headers.insert(HeaderName::from_static(LAST_EVENT_ID), last.clone());
            }
            match self.http.send(Method::GET, headers, Bytes::new()).await {
                Ok(response) if is_event_stream(&response) => {
                    pause = STREAM_PAUSE_MIN;
                    let mut events = SseDecoder::new(MESSAGE_BYTES_MAX);
                    let mut body = response.into_body();
                    while let Some(Ok(frame)) = body.frame().await {
                        events.push(frame.into_data().unwrap_or_default());
                        for event in events.by_ref() {
                            if let Some(message) = event.ok().and_then(|event| read_event(&event.data)) {
                                self.answer(message.into_bytes()).await;
                            }
                        }
                    }
                    last_event = events.last_event_id().and_then(|id| HeaderValue::from_str(id).ok());
                }
                Ok(response) if response.status() == StatusCode::NOT_FOUND && session.id.is_some() => {
                    // A new session has a stream of its own.
                    let bridge = self.clone();
                    self.tasks.spawn(async move { drop(bridge.reopen(session.generation).await) });
                    return;
                }
                // Nothing to hear here.
                Ok(response) if response.status().is_client_error() => return,
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(STREAM_PAUSE_MAX);
        }
    }

    pub(super) async fn post(
        &self,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, HttpError> {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(APPLICATION_JSON));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        let sent = timeout(ANSWER_WAIT_MAX, self.http.send(Method::POST, headers, body)).await;
        let response = sent.unwrap_or_else(|_| {
            Err(HttpError::Connect(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time")))
        });
        if response.is_ok() && self.complained.swap(false, Ordering::Relaxed) {
            let err = Printer::new(To::Err);
            err.line(format!("tollgate: {} answers again", self.url));
        }
        response
    }

    /// Sends what has no answer. That it could not be sent is told with the next request.
    async fn send_aside(&self, headers: HeaderMap, body: Bytes) {
        match timeout(NOTIFY_WAIT_MAX, self.post(headers, body)).await {
            Ok(Ok(response)) if response.status().is_success() => {}
            Ok(Ok(response)) => tracing::warn!(status = %response.status(), "a notification was not taken"),
            Ok(Err(error)) => tracing::warn!(%error, "a notification was not sent"),
            Err(_) => tracing::warn!("a notification was not taken in time"),
        }
    }

    /// Passes on every message of a response as it comes, and makes sure that the request has an answer.
    async fn pass_on(&self, response: Response<Incoming>, id: &Bytes) -> Passed {
        let mut passed = Passed::default();
        let status = response.status();
        if !is_event_stream(&response) {
            let (lines, passed) = self.read_all(response, id).await;
            for line in lines {
                self.answer(line).await;
            }
            return passed;
        }
        let mut events = SseDecoder::new(MESSAGE_BYTES_MAX);
        let mut body = response.into_body();
        while !passed.answered {
            let Some(Ok(frame)) = body.frame().await else { break };
            events.push(frame.into_data().unwrap_or_default());
            for event in events.by_ref() {
                let Ok(event) = event else { continue };
                if let Some(message) = read_event(&event.data) {
                    passed.see(&message, id);
                    self.answer(message.into_bytes()).await;
                }
            }
        }
        if passed.answered {
            // Read to its end, the connection can serve the next request.
            drop(timeout(STREAM_END_WAIT_MAX, read_out(body)).await);
        } else {
            self.answer(self.no_answer(id, status)).await;
        }
        passed
    }

    /// The messages of a response, read whole: a JSON body, or the few events of an `initialize`.
    pub(super) async fn read_all(&self, response: Response<Incoming>, id: &Bytes) -> (Vec<Bytes>, Passed) {
        let status = response.status();
        let is_stream = is_event_stream(&response);
        let body = Limited::new(response.into_body(), MESSAGE_BYTES_MAX).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let mut passed = Passed::default();
        let mut lines = Vec::new();
        let messages = if is_stream {
            let mut events = SseDecoder::new(MESSAGE_BYTES_MAX);
            events.push(body);
            events.flatten().filter_map(|event| read_event(&event.data)).collect()
        } else {
            read_event(&body).into_iter().collect::<Vec<_>>()
        };
        for message in messages {
            let message = addressed(message, id);
            passed.see(&message, id);
            lines.push(message.into_bytes());
        }
        if !passed.answered {
            lines.push(self.no_answer(id, status));
        }
        (lines, passed)
    }

    fn no_answer(&self, id: &Bytes, status: StatusCode) -> Bytes {
        let what = if status.is_success() {
            "ended its answer before the response".to_owned()
        } else {
            format!("answered with HTTP status {status}")
        };
        reply::error(Some(id), reply::INTERNAL_ERROR, &format!("{} {what}", self.url))
    }

    async fn unreachable(&self, id: &Bytes, error: &HttpError) {
        if !self.complained.swap(true, Ordering::Relaxed) {
            let err = Printer::new(To::Err);
            let hint = "is it running? start one with `tollgate serve --config FILE`";
            err.line(format!("tollgate: {} cannot be reached: {error}; {hint}", self.url));
        }
        let text = format!("{} cannot be reached: {error}", self.url);
        self.answer(reply::error(Some(id), reply::INTERNAL_ERROR, &text)).await;
    }

    fn forget(&self, id: &Bytes) {
        self.cancellable().remove(id);
    }

    fn cancellable(&self) -> std::sync::MutexGuard<'_, HashMap<Bytes, Cancellable>> {
        self.cancellable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passed {
    fn see(&mut self, message: &Message, id: &Bytes) {
        let is_response = matches!(message.kind(), Kind::Result | Kind::Error);
        if is_response && message.id_raw().as_ref() == Some(id) {
            self.answered = true;
            if message.kind() == Kind::Result {
                self.revision = message.text("protocolVersion").map(Cow::into_owned);
            }
        }
    }
}

/// An error response that names no request, as to a body that could not be read, is the answer to the one request it
/// came for.
fn addressed(message: Message, id: &Bytes) -> Message {
    let is_unaddressed = message.kind() == Kind::Error
        && message.id().is_none_or(|at| message.kind_of(at) == json::JsonKind::Null);
    if !is_unaddressed {
        return message;
    }
    let mut edit = message.edit();
    message.set_id(&mut edit, id.clone());
    let edited = edit.finish().into_bytes();
    Message::parse(edited, &Limits::default()).unwrap_or(message)
}

async fn read_out(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

fn read_event(data: &Bytes) -> Option<Message> {
    if data.is_empty() {
        return None;
    }
    let limits = Limits { bytes_max: MESSAGE_BYTES_MAX, ..Limits::default() };
    Message::parse(data.clone(), &limits).ok()
}

fn is_event_stream(response: &Response<Incoming>) -> bool {
    let media_type =
        response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    response.status() == StatusCode::OK && essence.eq_ignore_ascii_case(TEXT_EVENT_STREAM)
}

/// What a modern request says in headers beside its body (2026-07-28, Streamable HTTP).
pub(super) fn modern_headers(message: &Message, revision: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put(MCP_PROTOCOL_VERSION, revision);
    put(MCP_METHOD, message.method());
    if let Some(named) = methods::name_param(message.method()).and_then(|key| message.text(key)) {
        put(MCP_NAME, &encode_value(&named));
    }
    headers
}
