//! A receiver of OTLP, by gRPC and HTTP at one port, on the official messages of the protocol. It keeps what it gets, and
//! answers as it is told: taken, taken in part, refused for now or for ever, or not at all.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub use opentelemetry_proto::tonic as proto;

/// How long a test waits for what it expects.
const PATIENCE: Duration = Duration::from_mins(1);

/// How a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Everything is taken.
    Taken,
    /// All but so many are taken.
    Partly(i64),
    /// It is not taken: this status of HTTP, or this one of gRPC, and when to come back, in seconds.
    Refused(u16, i32, Option<u64>),
    /// It is taken, and the connection ends without an answer.
    Lost,
    /// It is not taken, and the connection ends without an answer.
    Cut,
}

/// What was taken, in the order of arrival.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// Spans, each with the attributes of its resource.
    pub spans: Vec<(Vec<KeyValue>, Span)>,
    /// Metrics, each with the attributes of its resource.
    pub metrics: Vec<(Vec<KeyValue>, Metric)>,
    /// Log records, each with the attributes of its resource.
    pub logs: Vec<(Vec<KeyValue>, LogRecord)>,
    /// The headers of every request, also of those not taken.
    pub headers: Vec<HeaderMap>,
    /// The bodies of every request, also of those not taken.
    pub bodies: Vec<Bytes>,
}

#[derive(Default)]
struct State {
    received: Mutex<Received>,
    /// Whether it is about to go, and takes nothing any more. Looked at and changed while `received` is locked.
    is_leaving: AtomicBool,
    answers: Mutex<VecDeque<Answer>>,
    news: Notify,
}

/// A receiver, until it is dropped: then its port is closed and its connections end.
pub struct Collector {
    address: SocketAddr,
    state: Arc<State>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Collector {
    /// A receiver at a free port.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn start() -> io::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), Received::default()).await
    }

    /// A receiver at a port, which has got something already: one that comes back.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn start_at(address: SocketAddr, received: Received) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State { received: Mutex::new(received), ..State::default() });
        let serving = tokio::spawn(serve(listener, Arc::clone(&state)));
        Ok(Self { address, state, serving })
    }

    /// Closes its port and its connections, and gives all that it has taken: whatever comes meanwhile is not.
    pub fn leave(self) -> Received {
        let received = lock(&self.state.received);
        self.state.is_leaving.store(true, Ordering::Relaxed);
        received.clone()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of gRPC, and the base of HTTP.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers the next requests so, in this order; all later ones are taken.
    pub fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.state.answers).extend(answers);
    }

    /// What it has got until now.
    pub fn received(&self) -> Received {
        lock(&self.state.received).clone()
    }

    /// Waits until it has got what is asked for.
    ///
    /// # Errors
    /// What it has got, after a minute without.
    pub async fn wait(&self, is_enough: impl Fn(&Received) -> bool) -> Result<Received, Box<Received>> {
        let waiting = async {
            loop {
                let news = self.state.news.notified();
                let received = self.received();
                if is_enough(&received) {
                    return received;
                }
                news.await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| Box::new(self.received()))
    }
}

/// The text of an attribute, numbers and booleans as text too.
pub fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    text(found.value.as_ref()?)
}

/// A value as text.
pub fn text(value: &AnyValue) -> Option<String> {
    match value.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        Value::BoolValue(is) => Some(is.to_string()),
        Value::DoubleValue(number) => Some(number.to_string()),
        _ => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    // Connections end with the receiver.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let service = hyper::service::service_fn(move |request| answer(Arc::clone(&state), request));
            let builder = Builder::new(TokioExecutor::new());
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(state: Arc<State>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let is_grpc = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/grpc");
    // A message of gRPC has a flag and its length in front.
    let message = if is_grpc { body.slice(5.min(body.len())..) } else { body };
    let answer = lock(&state.answers).pop_front().unwrap_or(Answer::Taken);
    let mut received = lock(&state.received);
    if state.is_leaving.load(Ordering::Relaxed) {
        return Err(io::Error::other("cut off"));
    }
    received.headers.push(head.headers);
    received.bodies.push(message.clone());
    if matches!(answer, Answer::Taken | Answer::Partly(_) | Answer::Lost) {
        take(&mut received, head.uri.path(), &message)?;
    }
    drop(received);
    state.news.notify_waiters();
    let taken = match answer {
        Answer::Taken => Vec::new(),
        Answer::Partly(rejected) => Partial::body(rejected),
        Answer::Refused(status, _, again) if !is_grpc => return Ok(refused(status, again)),
        Answer::Refused(_, code, again) => return Ok(failed(code, again)),
        Answer::Lost | Answer::Cut => return Err(io::Error::other("cut off")),
    };
    Ok(if is_grpc { grpc(&taken) } else { plain(taken) })
}

fn take(received: &mut Received, path: &str, message: &[u8]) -> io::Result<()> {
    let wrong = |error: prost::DecodeError| io::Error::other(error);
    match path {
        "/v1/traces" | "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => {
            for part in ExportTraceServiceRequest::decode(message).map_err(wrong)?.resource_spans {
                let resource = part.resource.unwrap_or_default().attributes;
                let spans = part.scope_spans.into_iter().flat_map(|scope| scope.spans);
                received.spans.extend(spans.map(|span| (resource.clone(), span)));
            }
        }
        "/v1/metrics" | "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => {
            for part in ExportMetricsServiceRequest::decode(message).map_err(wrong)?.resource_metrics {
                let resource = part.resource.unwrap_or_default().attributes;
                let metrics = part.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
                received.metrics.extend(metrics.map(|metric| (resource.clone(), metric)));
            }
        }
        "/v1/logs" | "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => {
            for part in ExportLogsServiceRequest::decode(message).map_err(wrong)?.resource_logs {
                let resource = part.resource.unwrap_or_default().attributes;
                let logs = part.scope_logs.into_iter().flat_map(|scope| scope.log_records);
                received.logs.extend(logs.map(|record| (resource.clone(), record)));
            }
        }
        _ => return Err(io::Error::other(format!("nobody sends to {path}"))),
    }
    Ok(())
}

/// What every response of the three services looks like.
#[derive(Clone, PartialEq, Message)]
struct Partial {
    #[prost(message, optional, tag = "1")]
    partial: Option<Rejected>,
}

#[derive(Clone, PartialEq, Message)]
struct Rejected {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    message: String,
}

impl Partial {
    fn body(rejected: i64) -> Vec<u8> {
        Self { partial: Some(Rejected { rejected, message: "too many".to_owned() }) }.encode_to_vec()
    }
}

fn plain(body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Full::from(body).boxed());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    response
}

fn refused(status: u16, again: Option<u64>) -> Response<Body> {
    let mut response = Response::new(Full::from("not now").boxed());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(seconds) = again {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn grpc(message: &[u8]) -> Response<Body> {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    body.put(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(body.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body.boxed());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// `google.rpc.Status` with a `RetryInfo`, written by hand: two messages of two fields each.
fn failed(code: i32, again: Option<u64>) -> Response<Body> {
    let mut response = Response::new(Full::default().boxed());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(code));
    headers.insert("grpc-message", HeaderValue::from_static("not now"));
    if let Some(seconds) = again {
        let delay = [[0x08].as_slice(), &varint(seconds)].concat();
        let info = field(1, &delay);
        let detail = [field(1, b"type.googleapis.com/google.rpc.RetryInfo"), field(2, &info)].concat();
        let status = field(3, &detail);
        let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(status);
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert("grpc-status-details-bin", value);
        }
    }
    response
}

/// A field of bytes.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag << 3 | 2], varint(bytes.len() as u64).as_slice(), bytes].concat()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap_or(0));
    bytes
}
