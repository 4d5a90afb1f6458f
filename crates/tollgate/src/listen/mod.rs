//! The listeners: from a TCP connection to a request.
//!
//! Each connection is one small task: the protocol is chosen first (by ALPN under TLS, by the first bytes otherwise),
//! so that an HTTP/1.1 connection never carries the state of HTTP/2, nor a plain one that of TLS. Idle sessions hold
//! one connection each, and there are many.

mod clients;
mod stall;
mod stop;
pub(crate) mod tls;
mod workers;

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tollgate_telemetry::counters;
use tollgate_telemetry::events::{AcceptFailed, ConnectionFailed, ListenerBound};

pub(crate) use clients::ClientAuthorities;
use clients::Shown;
use stall::Stall;
pub(crate) use stop::{Stop, Stopper};
use tls::Certificates;
pub(crate) use workers::Workers;

/// The bounds of one listener.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Connections at once; further ones wait in the operating system's queue.
    pub(crate) connections_max: usize,
    /// How long a new connection may be silent, and how long its TLS handshake may take.
    pub(crate) greeting: Duration,
    /// How long the head of a request may take, and how long a kept-alive HTTP/1.1 connection may be idle. Longer than
    /// the 60 seconds for which nginx keeps idle connections, so that the proxy closes first and never sends a
    /// request into a closing connection.
    pub(crate) head: Duration,
    /// How long a client may leave what it is sent unread before its connection is cut.
    pub(crate) unread: Duration,
    /// The largest head of a request in bytes, and the largest piece of a body that is read at once. Larger heads,
    /// and heads with more than 100 header lines, are answered with 431.
    pub(crate) head_bytes_max: usize,
    /// Requests at once on one HTTP/2 connection.
    pub(crate) streams_max: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            greeting: Duration::from_secs(30),
            head: Duration::from_secs(75),
            unread: Duration::from_mins(1),
            head_bytes_max: 64 * 1024,
            streams_max: 256,
        }
    }
}

/// Where a request came from.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    /// The other end of the TCP connection.
    pub(crate) peer: SocketAddr,
    /// Whether the connection is TLS.
    pub(crate) tls: bool,
    /// The client's certificate in DER, if it has shown one that was verified.
    pub(crate) certificate: Option<Arc<[u8]>>,
}

/// An open listener that accepts nothing yet.
#[derive(Debug)]
pub(crate) struct Listener {
    plane: &'static str,
    tcp: TcpListener,
    /// The same socket, for whoever is to go on with it. Kept apart, since the one above is closed with the last accept.
    shared: std::net::TcpListener,
    address: SocketAddr,
    certificates: Option<Arc<Certificates>>,
    /// Where connections are served; on the accepting runtime if absent.
    workers: Option<Arc<Workers>>,
}

impl Listener {
    /// Binds the address; port 0 takes a free one.
    ///
    /// # Errors
    /// Whatever the operating system says, as when the address is in use.
    pub(crate) async fn bind(
        plane: &'static str,
        address: SocketAddr,
        certificates: Option<Arc<Certificates>>,
    ) -> io::Result<Self> {
        Self::on_socket(plane, TcpListener::bind(address).await?.into_std()?, certificates)
    }

    /// Goes on with a socket that somebody else has bound. Must be called within a runtime.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub(crate) fn on_socket(
        plane: &'static str,
        socket: std::net::TcpListener,
        certificates: Option<Arc<Certificates>>,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let shared = socket.try_clone()?;
        let tcp = TcpListener::from_std(socket)?;
        let address = tcp.local_addr()?;
        ListenerBound { plane, address, tls: certificates.is_some() }.emit();
        Ok(Self { plane, tcp, shared, address, certificates, workers: None })
    }

    /// The socket, to be handed over. As long as it is kept, connections wait in its queue although nobody accepts.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub(crate) fn socket(&self) -> io::Result<std::net::TcpListener> {
        self.shared.try_clone()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it speaks TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.certificates.is_some()
    }

    /// Has its connections served on threads of their own.
    pub(crate) fn on(mut self, workers: Arc<Workers>) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Accepts connections and answers their requests with `answer`, until told to stop. Then nothing new is
    /// accepted, and connections end after the requests that they carry. Returns when the last one has ended, or when
    /// `stop` says that the time for it is over.
    pub(crate) async fn serve<F, A, B>(self, bounds: Bounds, stop: Stop, answer: F)
    where
        F: Fn(Arrival, Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<B>> + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Self { plane, tcp, shared, certificates, workers, .. } = self;
        drop(shared);
        let tasks = TaskTracker::new();
        let places = Arc::new(Semaphore::new(bounds.connections_max));
        let bounds = Arc::new(bounds);
        while let Some((stream, peer, place)) = accept(plane, &tcp, &places, &stop).await {
            let connection = Connection { plane, peer, bounds: bounds.clone(), stop: stop.clone() };
            let (counted, answer) = (counters::Connection::opened(), answer.clone());
            // The socket is registered anew with the runtime that it will be read on.
            let stream = match stream.into_std() {
                Ok(stream) => stream,
                Err(error) => {
                    connection.failed(&error);
                    continue;
                }
            };
            let here = tokio::runtime::Handle::current();
            let home = workers.as_ref().map_or(&here, |workers| workers.next());
            if let Some(certificates) = certificates.clone() {
                let serving = async move {
                    connection.serve_tls(stream, &certificates, answer).await;
                    drop((place, counted));
                };
                tasks.spawn_on(serving, home);
            } else {
                let serving = async move {
                    connection.serve_plain(stream, answer).await;
                    drop((place, counted));
                };
                tasks.spawn_on(serving, home);
            }
        }
        drop(tcp);
        tasks.close();
        tokio::select! {
            () = tasks.wait() => {}
            () = stop.over() => {}
        }
    }
}

/// The next connection and its place among those allowed; none when told to stop.
async fn accept(
    plane: &'static str,
    tcp: &TcpListener,
    places: &Arc<Semaphore>,
    stop: &Stop,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    /// Without a file descriptor left, accepting fails at once and again: this long a pause keeps it from spinning.
    const PAUSE: Duration = Duration::from_millis(100);
    let accepted = async {
        let place = places.clone().acquire_owned().await.ok()?;
        loop {
            match tcp.accept().await {
                Ok((stream, peer)) => return Some((stream, peer, place)),
                // The client was gone before it was accepted.
                Err(error) if is_clients(&error) => {}
                Err(error) => {
                    AcceptFailed { plane, error: &error }.emit();
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.leaving() => None,
        accepted = accepted => accepted,
    }
}

/// The connection on this runtime. Replies are complete when they are written: waiting to fill a packet only delays
/// them.
fn at_home(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    TcpStream::from_std(stream)
}

fn is_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// What one connection needs to be served.
struct Connection {
    plane: &'static str,
    peer: SocketAddr,
    bounds: Arc<Bounds>,
    stop: Stop,
}

impl Connection {
    async fn serve_plain<F, A, B>(self, stream: std::net::TcpStream, answer: F)
    where
        F: Fn(Arrival, Request<Incoming>) -> A + Send + 'static,
        A: Future<Output = Response<B>> + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let stream = match at_home(stream) {
            Ok(stream) => stream,
            Err(error) => return self.failed(&error),
        };
        let mut first = [0; 3];
        let greeting = tokio::select! {
            greeting = timeout(self.bounds.greeting, stream.peek(&mut first)) => greeting,
            () = self.stop.requested() => return,
        };
        let seen = match greeting {
            Ok(Ok(seen)) => seen,
            Ok(Err(error)) => return self.failed(&error),
            Err(_) => return self.failed("no request in time"),
        };
        let (io, arrival) = (self.io(stream), self.arrival());
        // HTTP/2 by prior knowledge begins with `PRI` (RFC 9113, section 3.4), which no method does.
        if &first[..seen] == b"PRI" {
            Box::pin(self.http2(io, arrival, answer)).await;
        } else {
            self.http1(io, arrival, answer).await;
        }
    }

    async fn serve_tls<F, A, B>(self, stream: std::net::TcpStream, certificates: &Certificates, answer: F)
    where
        F: Fn(Arrival, Request<Incoming>) -> A + Send + 'static,
        A: Future<Output = Response<B>> + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let stream = match at_home(stream) {
            Ok(stream) => stream,
            Err(error) => return self.failed(&error),
        };
        let mut changes = certificates.changes();
        let handshake = tokio::select! {
            handshake = timeout(self.bounds.greeting, certificates.acceptor().accept(stream)) => handshake,
            () = self.stop.requested() => return,
        };
        let stream = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.failed(&error),
            Err(_) => return self.failed("no TLS handshake in time"),
        };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(tls::ALPN_HTTP2);
        let shown = Shown::of(stream.get_ref().1);
        let certificate = shown.as_ref().map(|shown| Arc::clone(shown.leaf()));
        let arrival = Arrival { tls: true, certificate, ..self.arrival() };
        let io = self.io(stream);
        let serving = async {
            if http2 {
                Box::pin(self.http2(io, arrival, answer)).await;
            } else {
                Box::pin(self.http1(io, arrival, answer)).await;
            }
        };
        tokio::select! {
            () = serving => {}
            // Whatever is under way on it ends with it.
            () = changes.disown(shown.as_ref()) => {}
        }
    }

    fn arrival(&self) -> Arrival {
        Arrival { peer: self.peer, tls: false, certificate: None }
    }

    async fn http1<I, F, A, B>(self, io: I, arrival: Arrival, answer: F)
    where
        I: Read + Write + Unpin + Send + 'static,
        F: Fn(Arrival, Request<Incoming>) -> A + Send + 'static,
        A: Future<Output = Response<B>> + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let stop = self.stop.clone();
        let service = service_fn(move |request| {
            let (reply, stop) = (answer(arrival.clone(), request), stop.clone());
            async move {
                let mut response = reply.await;
                if stop.is_leaving() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.bounds.head)
            .max_buf_size(self.bounds.head_bytes_max)
            .half_close(false);
        // Pinned here: handed over by value, the connection's state would be kept twice. An idle connection is not closed
        // before its time: a request may be on its way on it.
        self.see_through(pin!(http.serve_connection(io, service)), self.stop.requested()).await;
    }

    async fn http2<I, F, A, B>(self, io: I, arrival: Arrival, answer: F)
    where
        I: Read + Write + Unpin + Send + 'static,
        F: Fn(Arrival, Request<Incoming>) -> A + Send + 'static,
        A: Future<Output = Response<B>> + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let service = service_fn(move |request| {
            let reply = answer(arrival.clone(), request);
            async move { Ok::<_, std::convert::Infallible>(reply.await) }
        });
        let head_bytes_max = u32::try_from(self.bounds.head_bytes_max).unwrap_or(u32::MAX);
        let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(self.bounds.streams_max)
            .max_header_list_size(head_bytes_max)
            .max_send_buf_size(64 * 1024)
            .keep_alive_interval(self.bounds.head)
            .keep_alive_timeout(self.bounds.greeting);
        // The client is told which requests were taken (RFC 9113, section 6.8), so that none is lost.
        self.see_through(pin!(http.serve_connection(io, service)), self.stop.leaving()).await;
    }

    /// Serves a connection until it ends; from `last` on, until its last request has, or the time for that is over.
    async fn see_through(
        &self,
        mut connection: Pin<&mut impl GracefulConnection<Error = hyper::Error>>,
        last: impl Future<Output = ()>,
    ) {
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = last => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = self.stop.over() => return,
                }
            }
        };
        if let Err(error) = ended {
            self.failed(&error);
        }
    }

    fn io<S>(&self, stream: S) -> TokioIo<Stall<S>> {
        TokioIo::new(Stall::new(stream, self.bounds.unread))
    }

    fn failed(&self, reason: &(impl ToString + ?Sized)) {
        ConnectionFailed { plane: self.plane, peer: self.peer, reason: &reason.to_string() }.emit();
    }
}

#[cfg(test)]
mod tests;
