//! The unhurried client: one exchange at a time on a blocking connection, to open and end what the load then uses.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Result;
use crate::load::{Reader, excerpt};
use crate::payload::{LEGACY, MODERN};
use crate::targets::Site;

/// Longest wait for an answer.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// An answer to an unhurried request.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) session: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Connects with a bounded wait for the connection and for every later read and write.
pub(crate) fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, WAIT_MAX)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(WAIT_MAX))?;
    stream.set_write_timeout(Some(WAIT_MAX))?;
    Ok(stream)
}

/// Writes a request of the legacy era; `body` is empty for GET and DELETE.
pub(crate) fn legacy_request(
    method: &str,
    address: SocketAddr,
    path: &str,
    session: Option<&str>,
    body: &str,
) -> String {
    let mut text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: tollgate-bench\r\nAccept: application/json, text/event-stream\r\n"
    );
    if let Some(session) = session {
        let _ = write!(text, "Mcp-Session-Id: {session}\r\nMCP-Protocol-Version: {LEGACY}\r\n");
    }
    if method == "POST" {
        let _ = write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    text + "\r\n" + body
}

/// Writes a call of a tool in the modern era. `members` stand beside its name in the params, as raw JSON.
pub(crate) fn modern_call(site: &Site, id: usize, native_name: &str, members: &str) -> String {
    let Site { address, path, prefix, bearer, .. } = site;
    let proof =
        bearer.as_ref().map_or_else(String::new, |bearer| format!("Authorization: Bearer {bearer}\r\n"));
    let public_name = format!("{prefix}{native_name}");
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{public_name}",{members},"_meta":{{"io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientInfo":{{"name":"tollgate-bench","version":"1.0.0"}},"io.modelcontextprotocol/clientCapabilities":{{"elicitation":{{}}}}}}}}}}"#
    );
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAccept: application/json, text/event-stream\r\nContent-Type: application/json\r\nMCP-Protocol-Version: {MODERN}\r\nMcp-Method: tools/call\r\nMcp-Name: {public_name}\r\n{proof}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends a request and reads its whole answer.
pub(crate) fn exchange(stream: &mut TcpStream, request: &[u8]) -> Result<Answer> {
    stream.write_all(request)?;
    read(stream, |reader| {
        let head = reader.complete()?;
        Ok(head.map(|head| Answer {
            status: head.status,
            session: reader.header("mcp-session-id").map(str::to_owned),
            body: reader.body().to_vec(),
        }))
    })
}

/// Sends a request whose answer stays open and reads its head; the status.
pub(crate) fn open_stream(stream: &mut TcpStream, request: &[u8]) -> Result<u16> {
    stream.write_all(request)?;
    read(stream, |reader| Ok(reader.head()?.map(|head| head.status)))
}

fn read<T>(
    stream: &mut TcpStream,
    mut done: impl FnMut(&mut Reader) -> std::result::Result<Option<T>, crate::load::Malformed>,
) -> Result<T> {
    let mut reader = Reader::default();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Err("the connection was closed".into());
        }
        reader.push(&buffer[..length]);
        if let Some(found) = done(&mut reader).map_err(|malformed| malformed.0)? {
            return Ok(found);
        }
    }
}

/// Opens a legacy session on this connection; its id, if the server gave one.
pub(crate) fn initialize(stream: &mut TcpStream, address: SocketAddr, path: &str) -> Result<Option<String>> {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"protocolVersion":"{LEGACY}","capabilities":{{}},"clientInfo":{{"name":"tollgate-bench","version":"1.0.0"}}}}}}"#
    );
    let answer = exchange(stream, legacy_request("POST", address, path, None, &body).as_bytes())?;
    if answer.status != 200 || memchr::memmem::find(&answer.body, b"\"protocolVersion\"").is_none() {
        return Err(format!("initialize: status {}, {}", answer.status, excerpt(&answer.body)).into());
    }
    let body = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let request = legacy_request("POST", address, path, answer.session.as_deref(), body);
    let accepted = exchange(stream, request.as_bytes())?;
    if accepted.status != 202 {
        let status = accepted.status;
        return Err(format!("notifications/initialized: status {status}, {}", excerpt(&accepted.body)).into());
    }
    Ok(answer.session)
}
