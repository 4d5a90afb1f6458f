//! What a fake server has seen, and a way to wait until it has seen something.

use std::sync::Mutex;

use tokio::sync::watch;

use super::{json, soon};

/// One message that reached the server, with the HTTP around it (empty on stdio).
#[derive(Debug, Clone)]
pub struct Received {
    /// Counts requests from 0.
    pub seq: usize,
    /// `POST`, `GET`, `DELETE`; `LINE` on stdio.
    pub verb: String,
    /// Path and query.
    pub target: String,
    /// Header names (as sent) and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte.
    pub body: Vec<u8>,
}

impl Received {
    /// The first header of this name, compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The body as text; empty if it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }

    /// The JSON-RPC method; empty for responses and requests without a body.
    pub fn rpc_method(&self) -> String {
        json::text_at(self.text(), &["method"]).unwrap_or_default()
    }

    /// The value at a path of member names, as it is written.
    pub fn at(&self, path: &[&str]) -> Option<String> {
        json::find(self.text(), path)
    }
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A request arrived.
    Request(Received),
    /// The peer closed the connection before request `seq` was answered to its end.
    Left {
        /// The request's number.
        seq: usize,
    },
    /// Request `seq` was answered to its end.
    Answered {
        /// The request's number.
        seq: usize,
    },
    /// A GET stream ended because the peer closed it.
    StreamClosed {
        /// The number of the GET request.
        seq: usize,
    },
}

/// Everything that happened, in order.
#[derive(Debug)]
pub struct Log {
    entries: Mutex<Vec<Entry>>,
    changed: watch::Sender<usize>,
}

impl Default for Log {
    fn default() -> Self {
        Self { entries: Mutex::default(), changed: watch::channel(0).0 }
    }
}

impl Log {
    pub(super) fn request(
        &self,
        verb: &str,
        target: &str,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    ) -> Received {
        let mut entries = self.entries.lock().unwrap();
        let seq = entries.iter().filter(|entry| matches!(entry, Entry::Request(_))).count();
        let received = Received { seq, verb: verb.to_owned(), target: target.to_owned(), headers, body };
        entries.push(Entry::Request(received.clone()));
        self.changed.send_replace(entries.len());
        received
    }

    pub(super) fn note(&self, entry: Entry) {
        let mut entries = self.entries.lock().unwrap();
        entries.push(entry);
        self.changed.send_replace(entries.len());
    }

    /// Everything so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap().clone()
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Received> {
        self.entries()
            .into_iter()
            .filter_map(|entry| if let Entry::Request(r) = entry { Some(r) } else { None })
            .collect()
    }

    /// All requests so far that carry this JSON-RPC method.
    pub fn of_method(&self, method: &str) -> Vec<Received> {
        self.requests().into_iter().filter(|r| r.rpc_method() == method).collect()
    }

    /// Waits until `probe` finds something in the log.
    ///
    /// # Panics
    /// When it does not find it in time.
    pub async fn wait<T>(&self, what: &str, probe: impl Fn(&[Entry]) -> Option<T>) -> T {
        let mut changes = self.changed.subscribe();
        let find = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = probe(&self.entries()) {
                    return found;
                }
                changes.changed().await.expect("the log lives as long as this");
            }
        };
        soon(what, find).await
    }

    /// Waits for the `nth` (from 1) request that carries this JSON-RPC method.
    pub async fn wait_method(&self, method: &str, nth: usize) -> Received {
        let what = format!("request {nth} of {method} at the server");
        self.wait(&what, |_| self.of_method(method).into_iter().nth(nth - 1)).await
    }

    /// Waits until request `seq` was answered to its end.
    ///
    /// # Panics
    /// If the peer leaves before, or it does not happen in time.
    pub async fn wait_answered(&self, seq: usize) {
        let what = format!("the answer to request {seq}");
        self.wait(&what, |entries| {
            assert!(!left(entries, seq), "the peer left request {seq} before its answer");
            entries.iter().any(|entry| matches!(entry, Entry::Answered { seq: s } if *s == seq)).then_some(())
        })
        .await;
    }

    /// Waits until the peer has closed the connection on request `seq` before its answer was complete.
    pub async fn wait_left(&self, seq: usize) {
        let what = format!("the peer leaving request {seq}");
        self.wait(&what, |entries| left(entries, seq).then_some(())).await;
    }
}

fn left(entries: &[Entry], seq: usize) -> bool {
    entries.iter().any(|entry| matches!(entry, Entry::Left { seq: s } if *s == seq))
}
