//! What it saves to keep what servers have said: a merged list of twenty servers, and an agent that lists before each call.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::Result;
use crate::client;
use crate::deciding::nanos;
use crate::figures::percentiles_us;
use crate::payload::MODERN;
use crate::targets::{Gateway, MANY};

/// Tools of each server.
const TOOLS: usize = 10;
/// Turns of the agent: each lists the tools, and calls one.
const TURNS: usize = 30;
/// A server's tools change after so many turns, of one server each time.
const CHANGES_EVERY: usize = 10;
const HEARD_WITHIN: Duration = Duration::from_secs(5);
/// How much faster a list is, and how many of the requests to servers are saved, at the least.
const FASTER_MIN: f64 = 5.0;
const SAVED_MIN: f64 = 0.7;

/// What was seen with one gateway.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Microseconds of a merged list: p50, p99, p99.9.
    pub(crate) list_us: [f64; 3],
    /// Requests that reached the servers while the agent worked.
    pub(crate) asked: usize,
}

/// What was seen without a memory and with one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Keeping {
    pub(crate) without: Seen,
    pub(crate) with: Seen,
}

impl Keeping {
    pub(crate) fn faster(&self) -> f64 {
        self.without.list_us[0] / self.with.list_us[0]
    }

    pub(crate) fn saved(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "requests are few")]
        let [without, with] = [self.without.asked, self.with.asked].map(|asked| asked as f64);
        1.0 - with / without
    }

    /// The aims, what was found, and whether they are met.
    pub(crate) fn aims(&self) -> [(String, String, bool); 2] {
        let (faster, saved) = (self.faster(), self.saved());
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        [
            (
                format!("a list of {MANY} servers that is kept is at least {FASTER_MIN} times faster"),
                format!("{faster:.1} times"),
                faster >= FASTER_MIN,
            ),
            (
                format!("an agent's loop asks servers at least {} less", percent(SAVED_MIN)),
                percent(saved),
                saved >= SAVED_MIN,
            ),
        ]
    }
}

/// Streams of those who listen, by server, each with its subscription.
type Ears = Vec<Option<(String, TcpStream)>>;

/// The servers: one process, an address each.
struct Servers {
    addresses: Vec<SocketAddr>,
    asked: Arc<AtomicUsize>,
    ears: Arc<Mutex<Ears>>,
}

/// Starts a gateway with and one without a memory in front of servers of their own, and measures.
pub(crate) fn measure(binary: &Path, is_quick: bool, stop: &AtomicBool) -> Result<Keeping> {
    let lists = if is_quick { 200 } else { 2_000 };
    let mut seen = [None, None];
    for (place, enabled) in [false, true].into_iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Err("interrupted".into());
        }
        let servers = Servers::start()?;
        let mut config = String::new();
        for (number, address) in servers.addresses.iter().enumerate() {
            let entry = format!("url: 'http://{address}/mcp', cache: {{ enabled: {enabled} }}");
            let _ = writeln!(config, "  s{number}: {{ {entry} }}");
        }
        let gateway = Gateway::start_alone(binary, &config)?;
        seen[place] = Some(watch(&servers, gateway.address(), lists)?);
    }
    match seen {
        [Some(without), Some(with)] => Ok(Keeping { without, with }),
        _ => Err("not everything was measured".into()),
    }
}

fn watch(servers: &Servers, gateway: SocketAddr, lists: usize) -> Result<Seen> {
    let mut stream = client::connect(gateway)?;
    let list = request(gateway, "tools/list", "", "");
    // All servers are reached, and listened to.
    check_list(&client::exchange(&mut stream, list.as_bytes())?.body)?;
    servers.are_heard()?;
    let asked = work(servers, &mut stream, gateway)?;
    let mut times = Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?;
    for _ in 0..lists {
        let began = Instant::now();
        let answer = client::exchange(&mut stream, list.as_bytes())?;
        times.saturating_record(nanos(began.elapsed()));
        check_list(&answer.body)?;
    }
    Ok(Seen { list_us: percentiles_us(&times), asked })
}

/// The agent: before each call it looks at its tools, as agents do whose host forgets them. Now and then a server's tools change,
/// and the agent sees them the next time.
fn work(servers: &Servers, stream: &mut TcpStream, gateway: SocketAddr) -> Result<usize> {
    let before = servers.asked.load(Ordering::Relaxed);
    for turn in 0..TURNS {
        let list = client::exchange(stream, request(gateway, "tools/list", "", "").as_bytes())?;
        check_list(&list.body)?;
        let name = format!("s{}__tool0", turn % MANY);
        let params = format!(r#""name":"{name}","arguments":{{}},"#);
        let call = client::exchange(stream, request(gateway, "tools/call", &name, &params).as_bytes())?;
        if memchr::memmem::find(&call.body, b"done").is_none() {
            return Err(format!("a call failed: {}", String::from_utf8_lossy(&call.body)).into());
        }
        if turn % CHANGES_EVERY == CHANGES_EVERY - 1 {
            servers.tell(turn % MANY)?;
        }
    }
    Ok(servers.asked.load(Ordering::Relaxed) - before)
}

fn check_list(body: &[u8]) -> Result<()> {
    let found = memchr::memmem::find_iter(body, b"inputSchema").count();
    if found == MANY * TOOLS {
        return Ok(());
    }
    Err(format!("{found} tools instead of {}", MANY * TOOLS).into())
}

fn request(gateway: SocketAddr, method: &str, name: &str, params: &str) -> String {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}"_meta":{{"io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientInfo":{{"name":"tollgate-bench","version":"1.0.0"}},"io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    );
    let name = if name.is_empty() { String::new() } else { format!("Mcp-Name: {name}\r\n") };
    format!(
        "POST /mcp HTTP/1.1\r\nHost: {gateway}\r\nAccept: application/json, text/event-stream\r\nContent-Type: application/json\r\nMCP-Protocol-Version: {MODERN}\r\nMcp-Method: {method}\r\n{name}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl Servers {
    fn start() -> Result<Self> {
        let (asked, mut addresses) = (Arc::new(AtomicUsize::new(0)), Vec::new());
        let ears = Arc::new(Mutex::new((0..MANY).map(|_| None).collect()));
        for number in 0..MANY {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            addresses.push(listener.local_addr()?);
            let (asked, ears) = (Arc::clone(&asked), Arc::clone(&ears));
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (asked, ears) = (Arc::clone(&asked), Arc::clone(&ears));
                    std::thread::spawn(move || drop(converse(number, stream, &asked, &ears)));
                }
            });
        }
        Ok(Self { addresses, asked, ears })
    }

    /// Waits until somebody listens to each.
    fn are_heard(&self) -> Result<()> {
        let until = Instant::now() + HEARD_WITHIN;
        while self.ears().iter().any(Option::is_none) {
            if Instant::now() > until {
                return Err("nobody listens to the servers".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn tell(&self, number: usize) -> Result<()> {
        let mut ears = self.ears();
        let Some(Some((id, stream))) = ears.get_mut(number) else { return Err("nobody listens".into()) };
        let told = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}}}"#
        );
        stream.write_all(&event(&told))?;
        Ok(())
    }

    fn ears(&self) -> MutexGuard<'_, Ears> {
        self.ears.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn event(message: &str) -> Vec<u8> {
    let data = format!("data: {message}\n\n");
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

fn converse(number: usize, mut stream: TcpStream, asked: &AtomicUsize, ears: &Mutex<Ears>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut pending = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let body = loop {
            if let Some(end) = memchr::memmem::find(&pending, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&pending[..end]).to_ascii_lowercase();
                let length = head.split_once("content-length:").map_or("0", |(_, rest)| rest.trim_start());
                let digits: String = length.chars().take_while(char::is_ascii_digit).collect();
                let whole = end + 4 + digits.parse::<usize>().unwrap_or(0);
                if pending.len() >= whole {
                    break pending.drain(..whole).skip(end + 4).collect::<Vec<u8>>();
                }
            }
            let read = stream.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            pending.extend_from_slice(&buffer[..read]);
        };
        let request: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let id = &request["id"];
        let hints = r#""resultType":"complete","ttlMs":600000,"cacheScope":"private""#;
        let result = match request["method"].as_str().unwrap_or_default() {
            "subscriptions/listen" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")?;
                let acknowledged = format!(
                    r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}},"notifications":{}}}}}"#,
                    request["params"]["notifications"]
                );
                stream.write_all(&event(&acknowledged))?;
                let mut ears = ears.lock().unwrap_or_else(PoisonError::into_inner);
                ears[number] = Some((id.to_string(), stream));
                return Ok(());
            }
            "tools/list" => {
                asked.fetch_add(1, Ordering::Relaxed);
                let tool = |tool| {
                    format!(
                        r#"{{"name":"tool{tool}","description":"Does what tool {tool} of server {number} does.","inputSchema":{{"type":"object","properties":{{"path":{{"type":"string"}},"limit":{{"type":"integer"}}}}}}}}"#
                    )
                };
                let tools: Vec<String> = (0..TOOLS).map(tool).collect();
                format!(r#"{{"tools":[{}],{hints}}}"#, tools.join(","))
            }
            "tools/call" => {
                asked.fetch_add(1, Ordering::Relaxed);
                r#"{"resultType":"complete","content":[{"type":"text","text":"done"}]}"#.to_owned()
            }
            _ => format!(
                r#"{{"supportedVersions":["{MODERN}"],"capabilities":{{"tools":{{"listChanged":true}}}},{hints}}}"#
            ),
        };
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all(format!("{head}{answer}").as_bytes())?;
    }
}
