//! A server whose tool must not be carried out twice, and clients that call it once for each number: whatever lies between
//! them, no number may be counted twice, and each call has one end.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a peer of the tests fails loudly")]

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::fake::json;
use crate::fake::wire::{Framing, split};
use crate::fake::{Answer, Call, HttpPeer, Kept, soon};

/// What the tool for a number is called, before the number: each call has a tool of its own, which the record names.
pub const TOOL: &str = "add_";

type Counts = Arc<Mutex<HashMap<u64, u32>>>;

/// A modern server over HTTP. It counts a call when it has got all of it, before it says a word.
pub struct Counter {
    addr: SocketAddr,
    counts: Counts,
    accept: JoinHandle<()>,
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

impl Counter {
    /// A server on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has free ports");
        let addr = listener.local_addr().expect("bound");
        let counts = Counts::default();
        let shared = Arc::clone(&counts);
        let accept = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((stream, _)) = accepted else { return };
                        connections.spawn(serve(stream, Arc::clone(&shared)));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Self { addr, counts, accept }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The Streamable HTTP endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.addr)
    }

    /// How often each number was counted.
    pub fn counts(&self) -> HashMap<u64, u32> {
        self.counts.lock().unwrap().clone()
    }
}

async fn serve(stream: TcpStream, counts: Counts) -> io::Result<()> {
    let (mut reader, mut writer) = split(stream);
    while let Some(head) = reader.head().await? {
        let body = reader.body(Framing::of_request(&head)).await?;
        let body = String::from_utf8_lossy(&body);
        let result = match json::text_at(&body, &["method"]).unwrap_or_default().as_str() {
            "server/discover" => {
                r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private"}"#.to_owned()
            }
            "tools/list" => {
                r#"{"resultType":"complete","tools":[{"name":"add","inputSchema":{"type":"object"}}],"ttlMs":0,"cacheScope":"private"}"#.to_owned()
            }
            "tools/call" => {
                let tool = json::text_at(&body, &["params", "name"]).unwrap_or_default();
                let number = tool.strip_prefix(TOOL).and_then(|number| number.parse().ok());
                if let Some(number) = number {
                    *counts.lock().unwrap().entry(number).or_default() += 1;
                }
                format!(
                    r#"{{"resultType":"complete","number":{},"content":[{{"type":"text","text":"done"}}]}}"#,
                    number.unwrap_or_default()
                )
            }
            _ => "{}".to_owned(),
        };
        let id = json::find(&body, &["id"]).unwrap_or_else(|| "null".to_owned());
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        writer.all(format!("{head}{answer}").as_bytes()).await?;
    }
    Ok(())
}

/// How the calls ended.
#[derive(Debug, Default)]
pub struct Ends {
    /// The numbers that were answered with a result.
    pub answered: Vec<u64>,
    /// The numbers of which the gateway said why there is none, each with its code.
    pub refused: Vec<(u64, String)>,
    /// What was answered in no way that a client could use.
    pub wrong: Vec<(u64, String)>,
}

impl Ends {
    /// How often each code was given.
    pub fn codes(&self) -> BTreeMap<&str, usize> {
        let mut codes = BTreeMap::new();
        for (_, code) in &self.refused {
            *codes.entry(code.as_str()).or_default() += 1;
        }
        codes
    }

    /// What must not be, if anything: a number that was counted twice, or answered and not counted, or calls without an end.
    pub fn faults(&self, asked: u64, counts: &HashMap<u64, u32>) -> Vec<String> {
        let mut faults: Vec<String> = Vec::new();
        let twice: Vec<_> = counts.iter().filter(|(_, times)| **times > 1).collect();
        if !twice.is_empty() {
            faults.push(format!("counted more than once: {twice:?}"));
        }
        let uncounted: Vec<_> = self.answered.iter().filter(|number| !counts.contains_key(number)).collect();
        if !uncounted.is_empty() {
            faults.push(format!("answered and not counted: {uncounted:?}"));
        }
        if !self.wrong.is_empty() {
            let some: Vec<_> = self.wrong.iter().take(3).collect();
            faults.push(format!(
                "{} answered in no way that a client could use, as {some:?}",
                self.wrong.len()
            ));
        }
        let ends = self.answered.len() + self.refused.len() + self.wrong.len();
        if ends as u64 != asked {
            faults.push(format!("{asked} calls and {ends} ends"));
        }
        faults
    }
}

/// Calls each number once through a gateway, so many clients at a time. `server` is what the gateway calls the server.
pub async fn storm(gateway: SocketAddr, server: &str, calls: u64, clients: usize) -> Ends {
    let next = Arc::new(AtomicU64::new(0));
    let mut all = JoinSet::new();
    for _ in 0..clients {
        let (next, path) = (Arc::clone(&next), format!("/mcp/{server}"));
        all.spawn(async move {
            let peer = HttpPeer::modern(gateway, &path);
            let (mut kept, mut ends) = (Kept::new(gateway), Ends::default());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= calls {
                    return ends;
                }
                let ask = peer.ask(&number.to_string(), &Call::tool(&format!("{TOOL}{number}"), "{}"));
                match soon("an end of a call", kept.send(&ask)).await {
                    Ok(reply) => ends.take(number, &Answer::of(&reply)),
                    // Its own connection to the gateway is a good one.
                    Err(error) => ends.wrong.push((number, error.to_string())),
                }
            }
        });
    }
    let mut ends = Ends::default();
    for mut of_client in all.join_all().await {
        ends.answered.append(&mut of_client.answered);
        ends.refused.append(&mut of_client.refused);
        ends.wrong.append(&mut of_client.wrong);
    }
    ends
}

impl Ends {
    fn take(&mut self, number: u64, answer: &Answer) {
        let own = json::find(&answer.message, &["id"]) == Some(number.to_string());
        let code = answer.refusal();
        if own && json::find(&answer.message, &["result"]).is_some() {
            self.answered.push(number);
        } else if own && !code.is_empty() {
            self.refused.push((number, code));
        } else {
            self.wrong.push((number, answer.everything()));
        }
    }
}
