//! What the mock says to each request.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::Era;
use super::body::Reply;
use crate::payload::{LEGACY, MODERN, PROGRESS_EVENTS, RESULT_TEXT, tools};

const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Beyond this a request's end is not parsed: only the large argument is so long, and its head says all.
const PARSED_BYTES_MAX: usize = 64 * 1024;
const SESSION: &str = "mcp-session-id";
const SERVER_INFO: &str = r#"{"name":"bench-mock","version":"1.0.0"}"#;

type Answer = Response<Reply>;

/// Everything that can be written beforehand, and the legacy sessions that are open.
pub(super) struct Answers {
    modern: Written,
    legacy: Written,
    sessions: Mutex<HashSet<u64>>,
    next_session: AtomicU64,
    /// Calls that wait for the answer to a question of the server's, by the question's raw id.
    asked: Mutex<HashMap<String, Asked>>,
}

/// A call that waits: its id, and the way to the end of its stream.
type Asked = (String, oneshot::Sender<Bytes>);

/// Results of one era, as raw JSON.
struct Written {
    list: String,
    large: String,
}

/// What the mock reads of a request.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    /// Empty in a response.
    #[serde(default)]
    method: &'a str,
    #[serde(borrow)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    name: Option<&'a str>,
    #[serde(borrow, rename = "_meta")]
    meta: Option<Meta<'a>>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Word<'a> {
    word: &'a str,
}

impl Answers {
    pub(super) fn new() -> Answers {
        let tools = tools();
        Answers {
            modern: Written {
                list: format!(
                    r#"{{"resultType":"complete","tools":{tools},"ttlMs":0,"cacheScope":"private","_meta":{{"io.modelcontextprotocol/serverInfo":{SERVER_INFO}}}}}"#
                ),
                large: text_result(Era::Modern, &RESULT_TEXT),
            },
            legacy: Written {
                list: format!(r#"{{"tools":{tools}}}"#),
                large: text_result(Era::Legacy, &RESULT_TEXT),
            },
            sessions: Mutex::new(HashSet::new()),
            next_session: AtomicU64::new(1),
            asked: Mutex::default(),
        }
    }

    pub(super) async fn answer(&self, era: Era, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let session = head.headers.get(SESSION).and_then(|id| self.session(id));
        match (era, head.method) {
            (_, Method::POST) => {}
            (Era::Legacy, Method::GET) if session.is_some() => return held(),
            (Era::Legacy, Method::DELETE) => return self.close(session),
            (Era::Legacy, Method::GET) => return bare(StatusCode::BAD_REQUEST),
            _ => return bare(StatusCode::METHOD_NOT_ALLOWED),
        }
        let accept = head.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
        if !accept.contains("application/json") || !accept.contains("text/event-stream") {
            return bare(StatusCode::NOT_ACCEPTABLE);
        }
        let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
            return bare(StatusCode::PAYLOAD_TOO_LARGE);
        };
        let body = body.to_bytes();
        if body.len() > PARSED_BYTES_MAX {
            return swallow(era, &body);
        }
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(&body) else {
            return error(StatusCode::BAD_REQUEST, "null", -32700, "not JSON-RPC");
        };
        let Some(id) = envelope.id.map(RawValue::get) else {
            return bare(StatusCode::ACCEPTED);
        };
        match era {
            Era::Modern => {
                let headers = &head.headers;
                let mirrored = headers.get("mcp-protocol-version").is_some_and(|version| version == MODERN)
                    && headers.get("mcp-method").is_some_and(|method| method == envelope.method);
                if !mirrored {
                    let code = if envelope.method == "initialize" { -32022 } else { -32020 };
                    let message = "this server speaks 2026-07-28 only, and its headers mirror the body";
                    return error(StatusCode::BAD_REQUEST, id, code, message);
                }
            }
            Era::Legacy if envelope.method == "initialize" => return self.initialize(id),
            Era::Legacy if session.is_none() => {
                return error(StatusCode::BAD_REQUEST, id, -32000, "no such session");
            }
            Era::Legacy if envelope.method.is_empty() => return self.answered(id, &body),
            Era::Legacy => {}
        }
        self.result(era, id, &envelope)
    }

    fn result(&self, era: Era, id: &str, envelope: &Envelope<'_>) -> Answer {
        let written = match era {
            Era::Modern => &self.modern,
            Era::Legacy => &self.legacy,
        };
        let params = envelope.params.as_ref();
        match (envelope.method, params.and_then(|params| params.name)) {
            ("tools/list", _) => whole(id, &written.list),
            ("tools/call", Some("small")) => {
                let word = params
                    .and_then(|params| params.arguments)
                    .and_then(|arguments| serde_json::from_str::<Word<'_>>(arguments.get()).ok());
                match word {
                    Some(Word { word }) => whole(id, &text_result(era, &format!("heard {word}"))),
                    None => error(StatusCode::OK, id, -32602, "the word is missing"),
                }
            }
            ("tools/call", Some("large")) => whole(id, &written.large),
            ("tools/call", Some("steps")) => {
                let token =
                    params.and_then(|params| params.meta.as_ref()).and_then(|meta| meta.progress_token);
                steps(era, id, token.map(RawValue::get))
            }
            ("tools/call", Some("ask")) if era == Era::Legacy => self.ask(id),
            ("server/discover", _) if era == Era::Modern => whole(
                id,
                &format!(
                    r#"{{"resultType":"complete","supportedVersions":["{MODERN}"],"capabilities":{{"tools":{{}}}},"ttlMs":3600000,"cacheScope":"public","_meta":{{"io.modelcontextprotocol/serverInfo":{SERVER_INFO}}}}}"#
                ),
            ),
            ("ping", _) if era == Era::Legacy => whole(id, "{}"),
            ("tools/call", _) => error(StatusCode::OK, id, -32602, "unknown tool"),
            _ => {
                let status = if era == Era::Modern { StatusCode::NOT_FOUND } else { StatusCode::OK };
                error(status, id, -32601, "method not found")
            }
        }
    }

    /// Asks the client's user, and leaves the stream open for the answer.
    fn ask(&self, id: &str) -> Answer {
        let own = format!("\"ask-{}\"", self.next_session.fetch_add(1, Ordering::Relaxed));
        let first = format!(
            "event: message\ndata: {{\"jsonrpc\":\"2.0\",\"id\":{own},\"method\":\"elicitation/create\",\"params\":{{\"message\":\"Which word?\",\"requestedSchema\":{{\"type\":\"object\",\"properties\":{{\"word\":{{\"type\":\"string\"}}}}}}}}}}\n\n"
        );
        let (sender, receiver) = oneshot::channel();
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(own, (id.to_owned(), sender));
        stream(Reply::Awaited { first: Some(Bytes::from(first)), second: Some(receiver) })
    }

    /// Takes a client's response, and ends the call that waited for it.
    fn answered(&self, own: &str, response: &[u8]) -> Answer {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(own);
        if let Some((id, sender)) = asked {
            let said = if memmem::find(response, b"\"word\":\"gate\"").is_some() {
                "heard gate"
            } else {
                "misheard"
            };
            let result = text_result(Era::Legacy, said);
            let event =
                format!("event: message\ndata: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}\n\n");
            let _ = sender.send(Bytes::from(event));
        }
        bare(StatusCode::ACCEPTED)
    }

    fn initialize(&self, id: &str) -> Answer {
        let session = self.next_session.fetch_add(1, Ordering::Relaxed);
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(session);
        let result = format!(
            r#"{{"protocolVersion":"{LEGACY}","capabilities":{{"tools":{{}}}},"serverInfo":{SERVER_INFO}}}"#
        );
        let mut answer = whole(id, &result);
        if let Ok(value) = HeaderValue::from_str(&format!("mock-{session:016x}")) {
            answer.headers_mut().insert(SESSION, value);
        }
        answer
    }

    fn session(&self, id: &HeaderValue) -> Option<u64> {
        let number = u64::from_str_radix(id.to_str().ok()?.strip_prefix("mock-")?, 16).ok()?;
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).contains(&number).then_some(number)
    }

    fn close(&self, session: Option<u64>) -> Answer {
        let Some(session) = session else { return bare(StatusCode::NOT_FOUND) };
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
        bare(StatusCode::OK)
    }
}

/// Answers the large argument from the bytes alone: finding the ends of the text is all the work.
fn swallow(era: Era, body: &[u8]) -> Answer {
    let id = memmem::find(body, b"\"id\":").map_or(&b"null"[..], |at| {
        let rest = &body[at + 5..];
        let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(0);
        &rest[..end]
    });
    let length = memmem::find(body, b"\"text\":\"").and_then(|at| memchr::memchr(b'"', &body[at + 8..]));
    match (std::str::from_utf8(id), length) {
        (Ok(id), Some(length)) => whole(id, &text_result(era, &format!("swallowed {length}"))),
        _ => error(StatusCode::OK, "null", -32602, "the text is missing"),
    }
}

fn text_result(era: Era, escaped: &str) -> String {
    match era {
        Era::Modern => {
            format!(r#"{{"resultType":"complete","content":[{{"type":"text","text":"{escaped}"}}]}}"#)
        }
        Era::Legacy => format!(r#"{{"content":[{{"type":"text","text":"{escaped}"}}]}}"#),
    }
}

fn steps(era: Era, id: &str, token: Option<&str>) -> Answer {
    let mut events = VecDeque::new();
    if let Some(token) = token {
        for step in 1..=PROGRESS_EVENTS {
            events.push_back(Bytes::from(format!(
                "event: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":{token},\"progress\":{step},\"total\":{PROGRESS_EVENTS},\"message\":\"step {step}\"}}}}\n\n"
            )));
        }
    }
    let result = text_result(era, "all steps taken");
    events.push_back(Bytes::from(format!(
        "event: message\ndata: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}\n\n"
    )));
    stream(Reply::events(events))
}

/// The legacy GET stream: a comment, so that headers and first bytes are flushed, then silence.
fn held() -> Answer {
    stream(Reply::Held(Some(Bytes::from_static(b": open\n\n"))))
}

fn stream(body: Reply) -> Answer {
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}

fn whole(id: &str, result: &str) -> Answer {
    json(StatusCode::OK, &[r#"{"jsonrpc":"2.0","id":"#, id, r#","result":"#, result, "}"])
}

fn error(status: StatusCode, id: &str, code: i32, message: &str) -> Answer {
    let (supported, code) = (format!(r#","data":{{"supported":["{MODERN}"]}}"#), code.to_string());
    let data = if code == "-32022" { supported.as_str() } else { "" };
    json(
        status,
        &[
            r#"{"jsonrpc":"2.0","id":"#,
            id,
            r#","error":{"code":"#,
            &code,
            r#","message":""#,
            message,
            "\"",
            data,
            "}}",
        ],
    )
}

fn json(status: StatusCode, parts: &[&str]) -> Answer {
    let mut bytes = BytesMut::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        bytes.put_slice(part.as_bytes());
    }
    let mut answer = Response::new(Reply::Whole(Some(bytes.freeze())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn bare(status: StatusCode) -> Answer {
    let mut answer = Response::new(Reply::Whole(None));
    *answer.status_mut() = status;
    answer
}
