//! A small HTTP server whose every answer is a function of the request.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

pub(crate) type Body = BoxBody<Bytes, Infallible>;
pub(crate) type Answer = Response<Body>;
type Handler = Arc<dyn Fn(Seen) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Seen {
    pub(crate) fn rpc(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn tool(&self) -> &str {
        self.body["params"]["name"].as_str().unwrap_or_default()
    }
}

pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    pub(crate) connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    pub(crate) async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Seen) -> A + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        Self::start_at("127.0.0.1:0".parse().unwrap(), None, answer).await
    }

    pub(crate) async fn start_at<F, A>(
        address: SocketAddr,
        tls: Option<tokio_rustls::TlsAcceptor>,
        answer: F,
    ) -> Self
    where
        F: Fn(Seen) -> A + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |seen| Box::pin(answer(seen)));
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (log, count) = (Arc::clone(&seen), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            // Connections end with the server.
            let mut serving = tokio::task::JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let (handler, log, tls) = (Arc::clone(&handler), Arc::clone(&log), tls.clone());
                serving.spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (handler, log) = (Arc::clone(&handler), Arc::clone(&log));
                        async move {
                            let (head, body) = request.into_parts();
                            let body = body
                                .collect()
                                .await
                                .map(http_body_util::Collected::to_bytes)
                                .unwrap_or_default();
                            let seen = Seen {
                                method: head.method,
                                path: head.uri.path_and_query().unwrap().to_string(),
                                headers: head.headers,
                                body: serde_json::from_slice(&body).unwrap_or(Value::Null),
                            };
                            log.lock().unwrap().push(seen.clone());
                            Ok::<_, Infallible>(handler(seen).await)
                        }
                    });
                    let builder = auto::Builder::new(TokioExecutor::new());
                    match tls {
                        None => {
                            let _ = builder.serve_connection(TokioIo::new(socket), service).await;
                        }
                        Some(tls) => {
                            let Ok(stream) = tls.accept(socket).await else { return };
                            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                        }
                    }
                });
            }
        });
        Self { address, seen, connections, task }
    }

    pub(crate) fn url(&self) -> http::Uri {
        format!("http://{}/mcp", self.address).parse().unwrap()
    }

    pub(crate) fn seen(&self, rpc: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.rpc() == rpc).cloned().collect()
    }

    pub(crate) fn of_method(&self, method: &Method) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.method == *method).cloned().collect()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until a request of this JSON-RPC method has arrived.
    pub(crate) async fn wait_for(&self, rpc: &str) -> Seen {
        crate::eventually(|| self.seen(rpc).into_iter().next()).await
    }
}

pub(crate) fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

pub(crate) fn json_answer(value: &Value) -> Answer {
    Response::builder().header("content-type", "application/json").body(full(value.to_string())).unwrap()
}

pub(crate) fn status(code: u16) -> Answer {
    Response::builder().status(StatusCode::from_u16(code).unwrap()).body(full("")).unwrap()
}

pub(crate) fn refusal(code: u16, value: &Value) -> Answer {
    let mut answer = json_answer(value);
    *answer.status_mut() = StatusCode::from_u16(code).unwrap();
    answer
}

/// A stream of events fed by hand; it ends when the sender is dropped.
pub(crate) fn events() -> (mpsc::Sender<String>, Answer) {
    let (sender, mut receiver) = mpsc::channel::<String>(64);
    let stream = futures_util::stream::poll_fn(move |cx| {
        receiver.poll_recv(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(Bytes::from(chunk)))))
    });
    let body = StreamBody::new(stream).boxed();
    let answer = Response::builder().header("content-type", "text/event-stream").body(body).unwrap();
    (sender, answer)
}

pub(crate) fn event(value: &Value) -> String {
    format!("event: message\ndata: {value}\n\n")
}

pub(crate) fn response(request: &Seen, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": request.body["id"], "result": result})
}

pub(crate) fn text(request: &Seen, words: &str) -> Value {
    response(request, &json!({"content": [{"type": "text", "text": words}]}))
}

/// What a modern server says of itself.
pub(crate) fn discovery(request: &Seen) -> Answer {
    json_answer(&response(
        request,
        &json!({"resultType": "complete", "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}}, "instructions": "Be kind.", "ttlMs": 0, "cacheScope": "public",
                "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "fake", "version": "1"}}}),
    ))
}

/// What a legacy server says of itself, in a session.
pub(crate) fn greeting(request: &Seen, session: &str, capabilities: &Value) -> Answer {
    let mut answer = json_answer(&response(
        request,
        &json!({"protocolVersion": "2025-11-25", "capabilities": capabilities,
                "serverInfo": {"name": "fake", "version": "1"}}),
    ));
    if !session.is_empty() {
        answer.headers_mut().insert("mcp-session-id", session.parse().unwrap());
    }
    answer
}
