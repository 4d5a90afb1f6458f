//! The floor: a hop on the same HTTP library as Tollgate that only moves bytes. What Tollgate costs beyond it is
//! Tollgate's own work; what it costs beyond nginx is the library's and the runtime's.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::{Result, say};

/// Runs the hop in front of `upstreams`, one listener each, and prints their addresses as a JSON list.
pub(crate) fn serve(upstreams: &[SocketAddr]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut bound = Vec::new();
        let mut accepting = Vec::new();
        for &upstream in upstreams {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            bound.push(listener.local_addr()?);
            accepting.push(tokio::spawn(accept(listener, Pool::new(upstream)?)));
        }
        say::line(&serde_json::to_string(&bound)?);
        for task in accepting {
            task.await??;
        }
        Ok(())
    })
}

async fn accept(listener: TcpListener, pool: Arc<Pool>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let pool = Arc::clone(&pool);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let pool = Arc::clone(&pool);
                async move { Ok::<_, Infallible>(pool.forward(request).await) }
            });
            let _ = server::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Connections to one upstream. None has a task: whoever waits for a response moves its bytes.
struct Pool {
    upstream: SocketAddr,
    host: HeaderValue,
    #[expect(clippy::vec_box, reason = "a connection is large and moves at every call")]
    idle: Mutex<Vec<Box<Connection>>>,
}

struct Connection {
    driver: client::Connection<TokioIo<TcpStream>, Incoming>,
    sender: client::SendRequest<Incoming>,
}

impl Pool {
    fn new(upstream: SocketAddr) -> Result<Arc<Pool>> {
        let host = HeaderValue::try_from(upstream.to_string())?;
        Ok(Arc::new(Pool { upstream, host, idle: Mutex::new(Vec::new()) }))
    }

    async fn forward(self: Arc<Pool>, request: Request<Incoming>) -> Response<Passing> {
        let upstream = self.upstream;
        self.try_forward(request).await.unwrap_or_else(|why| {
            say::note(&format!("hop to {upstream}: {why}"));
            let mut response = Response::new(Passing::Nothing);
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        })
    }

    async fn try_forward(self: Arc<Pool>, mut request: Request<Incoming>) -> Result<Response<Passing>> {
        let mut connection = match self.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        *request.uri_mut() = Uri::from_static("/mcp");
        request.headers_mut().insert(HOST, self.host.clone());
        request.headers_mut().remove(CONNECTION);
        let response = {
            let mut response = pin!(connection.sender.send_request(request));
            let driver = &mut connection.driver;
            poll_fn(|context| {
                let ended = Pin::new(&mut *driver).poll(context);
                if let Poll::Ready(response) = response.as_mut().poll(context) {
                    return Poll::Ready(Some(response));
                }
                if ended.is_ready() { Poll::Ready(None) } else { Poll::Pending }
            })
            .await
        };
        let (mut head, body) = response.ok_or("the upstream closed the connection")??.into_parts();
        for framing in [TRANSFER_ENCODING, CONTENT_LENGTH, CONNECTION] {
            head.headers.remove(framing);
        }
        let passing = Passing::Body { body, connection: Some(connection), pool: self };
        Ok(Response::from_parts(head, passing))
    }

    fn take(&self) -> Option<Box<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    async fn connect(&self) -> Result<Box<Connection>> {
        let stream = TcpStream::connect(self.upstream).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = client::Builder::new().handshake(TokioIo::new(stream)).await?;
        Ok(Box::new(Connection { driver, sender }))
    }

    /// Keeps a connection whose response is read, if it is still usable.
    fn put_back(&self, mut connection: Box<Connection>) {
        let mut nobody = Context::from_waker(Waker::noop());
        if Pin::new(&mut connection.driver).poll(&mut nobody).is_pending() && connection.sender.is_ready() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

/// A response's body on its way, and the connection that it comes by.
enum Passing {
    Nothing,
    Body { body: Incoming, connection: Option<Box<Connection>>, pool: Arc<Pool> },
}

impl Body for Passing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, hyper::Error>>> {
        let Passing::Body { body, connection, pool } = &mut *self else { return Poll::Ready(None) };
        let mut frame = Pin::new(&mut *body).poll_frame(context);
        if frame.is_pending()
            && let Some(connection) = connection
            && Pin::new(&mut connection.driver).poll(context)?.is_pending()
        {
            frame = Pin::new(&mut *body).poll_frame(context);
        }
        let ended = matches!(frame, Poll::Ready(None)) || body.is_end_stream();
        if ended && let Some(connection) = connection.take() {
            pool.put_back(connection);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Passing::Nothing => true,
            Passing::Body { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Passing::Nothing => SizeHint::with_exact(0),
            Passing::Body { body, .. } => body.size_hint(),
        }
    }
}
