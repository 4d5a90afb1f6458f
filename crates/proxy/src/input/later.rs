//! Questions of servers that a modern client answers later, with a request of its own.

use bytes::Bytes;
use tollgate_mcp::{compose, meta, quote};
use tollgate_model::ServerName;

use super::{Asked, Owed};
use crate::reply::Reply;

/// A question that is with the client.
#[derive(Debug)]
pub(crate) struct Later {
    /// The key under which the client is asked, and answers.
    pub(crate) key: String,
    /// What the server waits for.
    pub(crate) owed: Owed,
    pub(crate) asked: Asked,
}

impl Later {
    /// The so manieth question of a call or task. Keys are unique for as long as that lives.
    pub(crate) fn new(nth: u64, owed: Owed, asked: Asked) -> Self {
        Self { key: format!("input-{nth}"), owed, asked }
    }
}

/// The raw `inputRequests`.
pub(crate) fn requests(open: &[Later], server: &ServerName) -> Bytes {
    let entries: Vec<(&str, Bytes)> =
        open.iter().map(|later| (later.key.as_str(), later.asked.for_modern(server))).collect();
    let entries: Vec<(&str, &[u8])> = entries.iter().map(|(key, entry)| (*key, &**entry)).collect();
    compose::object(&entries)
}

/// A result that asks for input. `requests` is the raw `inputRequests`, `info` the server's `serverInfo`.
pub(crate) fn interrupted(id: &Bytes, requests: &[u8], sealed: &str, info: Option<&Bytes>) -> Reply {
    let state = quote(sealed);
    let server_info = info.map(|info| compose::object(&[(meta::SERVER_INFO, info)]));
    let mut members: Vec<(&str, &[u8])> =
        vec![("resultType", b"\"input_required\""), ("inputRequests", requests), ("requestState", &state)];
    members.extend(server_info.as_ref().map(|info| ("_meta", &**info)));
    Reply::result(id, &compose::object(&members))
}
