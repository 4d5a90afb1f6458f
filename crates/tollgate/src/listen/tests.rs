use std::convert::Infallible;
use std::net::Ipv4Addr;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;

type Body = BoxBody<Bytes, Infallible>;

struct Served {
    address: SocketAddr,
    stopper: Stopper,
    serving: JoinHandle<()>,
}

async fn serve<F, A>(bounds: Bounds, answer: F) -> Served
where
    F: Fn(Arrival, Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = Listener::bind("test", (Ipv4Addr::LOCALHOST, 0).into(), None).await.expect("a listener");
    let address = listener.address();
    let (stopper, stop) = Stopper::new();
    let serving = tokio::spawn(listener.serve(bounds, stop, answer));
    Served { address, stopper, serving }
}

fn text(text: &'static str) -> Response<Body> {
    Response::new(Full::from(text).boxed())
}

/// Sends raw bytes and reads until the other side closes.
async fn talk(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_without_tls() {
    let served = serve(Bounds::default(), |arrival, request| async move {
        assert!(!arrival.tls && arrival.peer.ip().is_loopback());
        assert!(request.uri().path() == "/x");
        text("hello")
    })
    .await;
    let answer = talk(served.address, b"GET /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");

    let stream = TcpStream::connect(served.address).await.expect("a connection");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut client, connection) = handshake.expect("HTTP/2");
    tokio::spawn(connection);
    let request = Request::get("http://x/x").body(Full::<Bytes>::default()).expect("a request");
    let response = client.send_request(request).await.expect("a response");
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert_eq!(response.into_body().collect().await.expect("a body").to_bytes(), "hello");
}

#[tokio::test]
async fn heads_that_are_too_large_are_answered_with_431() {
    let bounds = Bounds { head_bytes_max: 16 * 1024, ..Bounds::default() };
    let served = serve(bounds, |_, _| async { text("hello") }).await;
    let long = format!("GET /x HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n", "x".repeat(20_000));
    assert!(talk(served.address, long.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let many = "h: x\r\n".repeat(200);
    let many = format!("GET /x HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    assert!(talk(served.address, many.as_bytes()).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let bounds = Bounds { connections_max: 1, ..Bounds::default() };
    let served = serve(bounds, |_, _| async { text("hello") }).await;
    let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut first = TcpStream::connect(served.address).await.expect("a connection");
    first.write_all(request).await.expect("sent");
    assert!(first.read(&mut [0; 1024]).await.expect("an answer") > 0);

    let address = served.address;
    let mut second = TcpStream::connect(address).await.expect("the operating system's queue");
    second.write_all(request).await.expect("sent");
    let mut answer = [0; 1024];
    let early = timeout(Duration::from_millis(50), second.read(&mut answer)).await;
    assert!(early.is_err(), "answered while there was no place");
    drop(first);
    assert!(second.read(&mut answer).await.expect("an answer") > 0);
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off() {
    let bounds = Bounds { unread: Duration::from_millis(50), connections_max: 1, ..Bounds::default() };
    let large = Bytes::from(vec![b'x'; 32 << 20]);
    let served = serve(bounds, move |_, request| {
        let large = large.clone();
        async move {
            if request.uri().path() == "/large" {
                Response::new(Full::from(large).boxed())
            } else {
                text("hello")
            }
        }
    })
    .await;
    let mut deaf = TcpStream::connect(served.address).await.expect("a connection");
    deaf.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("sent");
    // Its place comes free without its doing anything, for one whose answer waits for no reader.
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = timeout(Duration::from_secs(20), talk(served.address, request)).await.expect("a place");
    assert!(answer.starts_with("HTTP/1.1 200"));
    drop(deaf);
}

#[tokio::test]
async fn what_is_under_way_finishes_and_nothing_new_begins() {
    let (entered, mut has_entered) = mpsc::channel::<()>(1);
    let (release, released) = tokio::sync::watch::channel(false);
    let served = serve(Bounds::default(), move |_, _| {
        let (entered, mut released) = (entered.clone(), released.clone());
        async move {
            entered.send(()).await.expect("a listener");
            drop(released.wait_for(|released| *released).await);
            text("finished")
        }
    })
    .await;
    let address = served.address;
    let asking = tokio::spawn(async move { talk(address, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await });
    has_entered.recv().await.expect("the request is under way");
    let idle = TcpStream::connect(address).await.expect("an idle connection");

    served.stopper.stop();
    let mut idle = idle;
    assert_eq!(idle.read(&mut [0; 8]).await.unwrap_or_default(), 0, "an idle connection is closed at once");
    release.send_replace(true);
    let answer = asking.await.expect("an answer");
    assert!(answer.ends_with("finished") && answer.contains("connection: close"), "{answer}");
    served.serving.await.expect("the listener ends by itself");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_does_not_finish_is_cut_off() {
    let (keep, frames) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
    let frames = Arc::new(tokio::sync::Mutex::new(Some(frames)));
    let served = serve(Bounds::default(), move |_, _| {
        let frames = frames.clone();
        async move {
            let mut frames = frames.lock().await.take().expect("one request");
            let stream = futures_util::stream::poll_fn(move |cx| frames.poll_recv(cx));
            Response::new(BodyExt::boxed(StreamBody::new(stream)))
        }
    })
    .await;
    let mut stream = TcpStream::connect(served.address).await.expect("a connection");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    keep.send(Ok(Frame::data(Bytes::from_static(b"first")))).await.expect("a listener");
    let mut seen = Vec::new();
    while !seen.ends_with(b"first\r\n") {
        assert!(stream.read_buf(&mut seen).await.expect("a chunk") > 0);
    }
    served.stopper.stop();
    served.stopper.over();
    served.serving.await.expect("the listener ends");
    assert_eq!(stream.read_buf(&mut seen).await.unwrap_or_default(), 0);
    drop(keep);
}
