//! The connections of one origin.
//!
//! An HTTP/1.1 connection has no task of its own: whoever waits for a response drives it, so a call costs no wake-up
//! of another task, and an unused connection costs nothing but its socket. That a peer closed it meanwhile is noticed
//! when it is taken out again. HTTP/2 connections are shared and have one driving task each.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tollgate_model::Reach;

use super::connect::{Stream, connect};
use super::head::{HeadRoom, Roomed};
use super::reply::Reply;
use super::{HttpError, Origin, Outgoing, Target};
use crate::appetite::Greed;
use crate::{HttpVersion, SettingsError};

/// The bounds of an origin's connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientLimits {
    pub(crate) connect: Duration,
    pub(crate) idle: Duration,
    pub(crate) idle_max: usize,
    pub(crate) connections_max: usize,
    pub(crate) reach: Reach,
}

/// A client of one origin.
pub(crate) struct Client {
    origin: Origin,
    host: HeaderValue,
    tls: Option<Arc<ClientConfig>>,
    version: HttpVersion,
    limits: ClientLimits,
    permits: Arc<Semaphore>,
    /// Last in, first out: under low load the same few connections stay warm and the others age.
    idle: Mutex<Vec<Idle>>,
    shared: Mutex<Option<http2::SendRequest<Outgoing>>>,
    /// How many of its answers come faster than they can be read.
    greed: Arc<Greed>,
}

/// A connection that waits for its next request.
struct Idle {
    connection: Box<Http1>,
    since: Instant,
}

/// An HTTP/1.1 connection, driven by whoever holds it.
pub(super) struct Http1 {
    driver: http1::Connection<TokioIo<Roomed<Stream>>, Outgoing>,
    sender: http1::SendRequest<Outgoing>,
    /// How much may come yet before the head of an answer.
    room: HeadRoom,
    /// The runtime whose thread is told when the socket is ready. Used from another one, every answer would have to
    /// wake a second thread.
    home: tokio::runtime::Id,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Http1 {
    /// Moves bytes. Ready when the connection has ended.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        Pin::new(&mut self.driver).poll(cx)
    }

    /// Whether another request may be sent, as far as can be told without waiting.
    fn is_open(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        self.drive(&mut nobody).is_pending() && self.sender.is_ready()
    }
}

enum Attempt {
    Done(Reply),
    /// Nothing was sent.
    Unsent(Request<Outgoing>, String),
    /// Something may have been sent.
    Lost(String),
}

impl Client {
    pub(crate) fn new(
        origin: Origin,
        tls: Option<Arc<ClientConfig>>,
        version: HttpVersion,
        limits: ClientLimits,
    ) -> Result<Self, SettingsError> {
        let host = HeaderValue::try_from(origin.authority()).map_err(|_| SettingsError::Url)?;
        Ok(Self {
            origin,
            host,
            tls,
            version,
            limits,
            permits: Arc::new(Semaphore::new(limits.connections_max)),
            idle: Mutex::new(Vec::new()),
            shared: Mutex::new(None),
            greed: Arc::default(),
        })
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Sends a request and waits for the head of its response. Dropping the future closes the connection (HTTP/1.1)
    /// or resets the stream (HTTP/2). A request is sent on a second connection only if none of it was sent on the
    /// first. `held` says that the response is a stream that is held for long, which does not count
    /// against `connections_max`.
    pub(crate) async fn send(
        self: &Arc<Self>,
        method: Method,
        target: &Target,
        headers: HeaderMap,
        body: Outgoing,
        held: bool,
    ) -> Result<Reply, HttpError> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.headers_mut() = headers;

        // On the heap, here and below, but for the usual way: what is rare must not make every call's state large.
        let shared = self.shared().clone();
        if let Some(sender) = shared {
            match Box::pin(self.over_http2(sender, target, request)).await {
                Attempt::Done(reply) => return Ok(reply),
                Attempt::Lost(detail) => return Err(HttpError::Closed(detail)),
                Attempt::Unsent(unsent, _) => {
                    *self.shared() = None;
                    request = unsent;
                }
            }
        }
        while let Some(connection) = self.take_idle() {
            match self.over_http1(connection, target, request).await {
                Attempt::Done(reply) => return Ok(reply),
                Attempt::Lost(detail) => return Err(HttpError::Closed(detail)),
                Attempt::Unsent(unsent, _) => request = unsent,
            }
        }
        let attempt = match Box::pin(self.connect(held)).await? {
            Connection::Http1(connection) => Box::pin(self.over_http1(connection, target, request)).await,
            Connection::Http2(sender) => Box::pin(self.over_http2(sender, target, request)).await,
        };
        match attempt {
            Attempt::Done(reply) => Ok(reply),
            Attempt::Lost(detail) => Err(HttpError::Closed(detail)),
            Attempt::Unsent(_, detail) => Err(HttpError::Connect(detail)),
        }
    }

    /// Closes connections that nobody has used for a while.
    pub(crate) fn prune(&self) {
        let expired: Vec<_> = {
            let mut idle = self.idle();
            let young = idle.partition_point(|idle| idle.since.elapsed() >= self.limits.idle);
            idle.drain(..young).collect()
        };
        drop(expired);
    }

    /// Closes what is idle.
    pub(crate) fn close(&self) {
        self.idle().clear();
        *self.shared() = None;
    }

    async fn connect(self: &Arc<Self>, held: bool) -> Result<Connection, HttpError> {
        let opening = async {
            let permit = if held {
                None
            } else {
                Some(Arc::clone(&self.permits).acquire_owned().await.map_err(|_| HttpError::Busy)?)
            };
            let (stream, negotiated) = connect(&self.origin, self.tls.as_ref(), self.limits.reach)
                .await
                .map_err(|error| HttpError::Connect(error.to_string()))?;
            let http2 = negotiated || (self.version == HttpVersion::Http2 && self.tls.is_none());
            if http2 { self.start_http2(stream).await } else { Self::start_http1(stream, permit).await }
        };
        match timeout(self.limits.connect, opening).await {
            Ok(connection) => connection,
            Err(_) if self.permits.available_permits() == 0 => Err(HttpError::Busy),
            Err(_) => Err(HttpError::ConnectTimeout),
        }
    }

    async fn start_http1(
        stream: Stream,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Connection, HttpError> {
        let room = HeadRoom::new();
        let (sender, driver) = http1::Builder::new()
            .handshake(TokioIo::new(Roomed::new(stream, room.clone())))
            .await
            .map_err(|error| HttpError::Connect(error.to_string()))?;
        Ok(Connection::Http1(Box::new(Http1 {
            driver,
            sender,
            room,
            home: Handle::current().id(),
            _permit: permit,
        })))
    }

    async fn start_http2(&self, stream: Stream) -> Result<Connection, HttpError> {
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10))
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| HttpError::Connect(error.to_string()))?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "an HTTP/2 connection ended");
            }
        });
        *self.shared() = Some(sender.clone());
        Ok(Connection::Http2(sender))
    }

    async fn over_http1(
        self: &Arc<Self>,
        mut connection: Box<Http1>,
        target: &Target,
        mut request: Request<Outgoing>,
    ) -> Attempt {
        *request.uri_mut() = target.origin_form.clone();
        request.headers_mut().insert(HOST, self.host.clone());
        connection.room.begins();
        let (response, ended) = {
            let mut response = pin!(connection.sender.try_send_request(request));
            let driver = &mut connection.driver;
            std::future::poll_fn(|cx| {
                // The first turn only tells the connection that somebody waits; the driver moves the bytes.
                let ended = Pin::new(&mut *driver).poll(cx);
                match response.as_mut().poll(cx) {
                    Poll::Ready(response) => Poll::Ready((Some(response), ended.is_ready())),
                    Poll::Pending if ended.is_ready() => Poll::Ready((None, true)),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await
        };
        connection.room.ends();
        match response {
            // Of a connection that has ended already, all that it read is in the body.
            Some(Ok(response)) => Attempt::Done(self.reply(response, (!ended).then_some(connection))),
            Some(Err(mut failed)) => {
                let detail = failed.error().to_string();
                match failed.take_message() {
                    Some(unsent) => Attempt::Unsent(unsent, detail),
                    None => Attempt::Lost(detail),
                }
            }
            None => Attempt::Lost("the connection ended".to_owned()),
        }
    }

    async fn over_http2(
        self: &Arc<Self>,
        mut sender: http2::SendRequest<Outgoing>,
        target: &Target,
        mut request: Request<Outgoing>,
    ) -> Attempt {
        *request.uri_mut() = target.absolute_form.clone();
        request.headers_mut().remove(HOST);
        if let Err(error) = sender.ready().await {
            return Attempt::Unsent(request, error.to_string());
        }
        match sender.try_send_request(request).await {
            Ok(response) => Attempt::Done(self.reply(response, None)),
            Err(mut failed) => {
                let detail = failed.error().to_string();
                match failed.take_message() {
                    Some(unsent) => Attempt::Unsent(unsent, detail),
                    None => Attempt::Lost(detail),
                }
            }
        }
    }

    fn reply(self: &Arc<Self>, response: Response<Incoming>, connection: Option<Box<Http1>>) -> Reply {
        let (head, body) = response.into_parts();
        Reply::new(head, body, connection.map(|connection| (connection, Arc::clone(self))), &self.greed)
    }

    fn take_idle(&self) -> Option<Box<Http1>> {
        let home = Handle::current().id();
        loop {
            // Looked at without the lock: a connection may have work to do then.
            let mut taken = {
                let mut idle = self.idle();
                let place = idle.iter().rposition(|idle| idle.connection.home == home)?;
                idle.remove(place)
            };
            if taken.since.elapsed() < self.limits.idle && taken.connection.is_open() {
                return Some(taken.connection);
            }
        }
    }

    /// Keeps a connection whose response has been read, if it may be used again.
    pub(super) fn put_back(&self, mut connection: Box<Http1>) {
        if !connection.is_open() {
            return;
        }
        let mut idle = self.idle();
        if idle.len() < self.limits.idle_max {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Option<http2::SendRequest<Outgoing>>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Connection {
    Http1(Box<Http1>),
    Http2(http2::SendRequest<Outgoing>),
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("origin", &self.origin).finish_non_exhaustive()
    }
}
