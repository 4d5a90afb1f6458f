//! What it takes to tell a crowd: many modern clients listen for one resource of one modern server, which changes again
//! and again. Latency runs from the moment at which the server wrote the update to the moment at which a listener has it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::Result;
use crate::figures::percentiles_us;
use crate::payload::MODERN;
use crate::targets::Gateway;

/// Updates per second: the first is the rate of the aim, the rest look for the highest that is sustained.
const RATES: [u32; 7] = [10, 20, 40, 80, 160, 320, 640];
/// How long after the last update everyone must have all of them.
const LATE: Duration = Duration::from_secs(1);
const START_MAX: Duration = Duration::from_mins(1);

/// What was seen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fan {
    pub(crate) listeners: usize,
    /// Microseconds at the first rate: p50, p99, p99.9, over all listeners and updates.
    pub(crate) latency_us: [f64; 3],
    /// The highest rate at which every listener got every update in time.
    pub(crate) sustained_per_s: u32,
    /// Streams that the gateway held open at the server.
    pub(crate) upstream_streams: usize,
}

/// What the listeners share.
struct Seen {
    /// When each update was written, by its number.
    sent: Vec<Instant>,
    latency_ns: Histogram<u64>,
    delivered: usize,
    ready: usize,
}

type Shared = Rc<RefCell<Seen>>;
type Streams = Rc<RefCell<Vec<(String, OwnedWriteHalf)>>>;

/// Starts a gateway in front of a server of its own, and measures.
pub(crate) fn measure(binary: &Path, listeners: usize, each: Duration, stop: &AtomicBool) -> Result<Fan> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let server = TcpListener::bind("127.0.0.1:0").await?;
        let streams = Streams::default();
        let url = format!("http://{}/mcp", server.local_addr()?);
        spawn_local(serve(server, Rc::clone(&streams)));
        let gateway = Gateway::start_alone(binary, &format!("  bench:\n    url: {url}\n"))?;
        let seen: Shared = Rc::new(RefCell::new(Seen {
            sent: Vec::new(),
            latency_ns: Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?,
            delivered: 0,
            ready: 0,
        }));
        let mut crowd = JoinSet::new();
        for id in 0..listeners {
            crowd.spawn_local(listen(gateway.address(), id, Rc::clone(&seen)));
        }
        let waiting = async {
            while seen.borrow().ready < listeners && !crowd.is_empty() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(START_MAX, waiting).await.map_err(|_| "not every listener was acknowledged in time")?;
        // The stream that the last change of what is wanted has replaced is read a little longer.
        sleep(Duration::from_millis(500)).await;
        let upstream_streams = streams.borrow().len();
        let mut fan = Fan { listeners, latency_us: [0.0; 3], sustained_per_s: 0, upstream_streams };
        for rate in RATES {
            if stop.load(Ordering::Relaxed) {
                return Err("interrupted".into());
            }
            let sustained = run(rate, each, listeners, &streams, &seen).await?;
            if rate == RATES[0] {
                fan.latency_us = percentiles_us(&seen.borrow().latency_ns);
            }
            if !sustained {
                break;
            }
            fan.sustained_per_s = rate;
        }
        if fan.sustained_per_s == 0 {
            return Err("not every listener got every update".into());
        }
        Ok(fan)
    })
}

/// Updates at one rate. Whether everyone got all of them in time.
async fn run(rate: u32, each: Duration, listeners: usize, streams: &Streams, seen: &Shared) -> Result<bool> {
    let (first, delivered) = {
        let mut seen = seen.borrow_mut();
        seen.latency_ns.reset();
        (seen.sent.len(), seen.delivered)
    };
    let begun = Instant::now();
    let mut count = 0_u32;
    while begun.elapsed() < each {
        sleep_until(begun + Duration::from_secs(1) * count / rate).await;
        let number = first + count as usize;
        seen.borrow_mut().sent.push(Instant::now());
        let mut open = std::mem::take(&mut *streams.borrow_mut());
        for (id, stream) in &mut open {
            let update = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}},"uri":"bench:one","n":{number}}}}}"#
            );
            stream.write_all(&event(&update)).await?;
        }
        streams.borrow_mut().append(&mut open);
        count += 1;
    }
    let all = delivered + count as usize * listeners;
    let arriving = async {
        while seen.borrow().delivered < all {
            sleep(Duration::from_millis(5)).await;
        }
    };
    Ok(timeout(LATE, arriving).await.is_ok())
}

fn event(message: &str) -> Vec<u8> {
    let data = format!("data: {message}\n\n");
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

/// One listener: asks, and takes the time of everything that comes.
async fn listen(gateway: SocketAddr, id: usize, seen: Shared) -> Result<()> {
    let mut stream = TcpStream::connect(gateway).await?;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"subscriptions/listen","params":{{"notifications":{{"resourceSubscriptions":["bench:one"]}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    );
    let head = format!(
        "POST /mcp/bench HTTP/1.1\r\nhost: {gateway}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\nmcp-protocol-version: {MODERN}\r\nmcp-method: subscriptions/listen\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    let mut pending = Vec::new();
    let mut acknowledged = false;
    while stream.read_buf(&mut pending).await? > 0 {
        let now = Instant::now();
        let mut seen = seen.borrow_mut();
        let mut done = 0;
        while let Some(end) = memchr::memmem::find(&pending[done..], b"\n\n") {
            let event = &pending[done..done + end];
            if let Some(at) = memchr::memmem::find(event, br#""n":"#) {
                let digits = event[at + 4..].iter().take_while(|byte| byte.is_ascii_digit());
                let number = digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
                let sent = *seen.sent.get(number).ok_or("an update that was never sent")?;
                let nanos = u64::try_from((now - sent).as_nanos()).unwrap_or(u64::MAX);
                seen.latency_ns.saturating_record(nanos);
                seen.delivered += 1;
            } else if !acknowledged && memchr::memmem::find(event, b"bench:one").is_some() {
                acknowledged = true;
                seen.ready += 1;
            }
            done += end + 2;
        }
        pending.drain(..done);
    }
    Ok(())
}

/// The server: answers `server/discover`, and keeps every stream that it is asked for.
async fn serve(listener: TcpListener, streams: Streams) {
    while let Ok((stream, _)) = listener.accept().await {
        let streams = Rc::clone(&streams);
        spawn_local(async move { drop(converse(stream, streams).await) });
    }
}

async fn converse(stream: TcpStream, streams: Streams) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut input, mut output) = stream.into_split();
    let mut pending = Vec::new();
    loop {
        let (head, body) = loop {
            if let Some(end) = memchr::memmem::find(&pending, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&pending[..end]).to_ascii_lowercase();
                let length = head.split_once("content-length:").map_or("0", |(_, rest)| rest.trim_start());
                let digits: String = length.chars().take_while(char::is_ascii_digit).collect();
                let whole = end + 4 + digits.parse::<usize>().unwrap_or(0);
                if pending.len() >= whole {
                    let body: Vec<u8> = pending.drain(..whole).skip(end + 4).collect();
                    break (head, body);
                }
            }
            if input.read_buf(&mut pending).await? == 0 {
                return Ok(());
            }
        };
        let request: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let id = &request["id"];
        if head.contains("mcp-method: subscriptions/listen") {
            output.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            let acknowledged = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}},"notifications":{}}}}}"#,
                request["params"]["notifications"]
            );
            output.write_all(&event(&acknowledged)).await?;
            let id = id.to_string();
            streams.borrow_mut().push((id.clone(), output));
            // Until the gateway leaves.
            while input.read_buf(&mut pending).await? > 0 {}
            streams.borrow_mut().retain(|(other, _)| *other != id);
            return Ok(());
        }
        let result = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"resources":{"subscribe":true}},"ttlMs":0,"cacheScope":"public"}"#;
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        output.write_all(format!("{head}{answer}").as_bytes()).await?;
    }
}
