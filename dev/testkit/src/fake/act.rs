//! What a fake server does instead of just answering.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::json;

/// Stands in everything that a faulty server says and that no client of the gateway may ever read.
pub const LEAK: &str = "LEAK-c0ffee";

/// What the server does on a request. A tool of the same name (in snake case) performs it too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Answers.
    Answer,
    /// Never answers.
    Hang,
    /// Ends the connection or the process without a word.
    Die,
    /// The same, after half of the answer.
    DieMidMessage,
    /// The same, after one whole notification on a stream.
    DieMidStream,
    /// Answers with something that is not JSON.
    Malformed,
    /// Answers a request that nobody made, and not the one that was made.
    WrongId,
    /// Answers twice.
    TwoAnswers,
    /// Answers a request that nobody made, then the one that was made.
    Unasked,
    /// Answers with a message of 100 MB.
    Flood,
    /// Answers with bytes that are not UTF-8.
    InvalidUtf8,
    /// Ends the stream cleanly in the midst of an event (on stdio: the output in the midst of a line).
    HalfEvent,
    /// Sends its answer without ever coming to its end.
    Drip,
    /// HTTP 401 with a challenge.
    Unauthorized,
    /// HTTP 403 with a challenge.
    Forbidden,
    /// HTTP 404 with a text.
    NotFound,
    /// HTTP 500 with a text.
    ServerError,
    /// HTTP 307 to another address.
    Redirect,
    /// Answers with 2 MB of headers.
    HugeHeaders,
    /// Answers as HTML.
    WrongType,
    /// Answers with another JSON-RPC version, i.e. JSON that is not JSON-RPC.
    NotJsonRpc,
    /// So many progress notifications, then the answer.
    Progress(u32),
    /// One log message of each level, the most verbose first, then the answer.
    Log,
    /// Three progress notifications, then never an answer.
    ProgressThenHang,
    /// Answers only once the test releases it.
    Gate,
    /// One notification of progress, and the answer only once the test releases it.
    ProgressThenGate,
    /// Puts these bytes on the wire in place of a response, head and all, and closes (stdio: goes on).
    Bytes(Vec<u8>),
    /// Asks the client something by this method, and answers with the response to it as text.
    Ask(String),
    /// Asks for the roots under an id that every call has, as a server does that counts its own requests from the beginning
    /// in each session, and answers with the response to it as text.
    AskAlike,
    /// Asks for the roots and answers at once, as a server does that asks beside the call.
    AskAndAnswer,
    /// Asks the client what the call's arguments say, `{"rounds":[[request, …], …]}`, round by round, and answers with
    /// all that it was told as one JSON array. A modern server does it by its results.
    Dialog,
    /// The same of a legacy server, from when the test releases it.
    GateThenDialog,
    /// Asks for the roots, withdraws its question when the test releases it, and answers when it is released again.
    Withdraws,
}

impl Act {
    /// The act of this name, for tools that are named after what they do.
    pub(super) fn by_name(name: &str) -> Option<Self> {
        match name {
            "progress" => return Some(Self::Progress(5)),
            "ask_ping" => return Some(Self::Ask("ping".to_owned())),
            "ask_sampling" => return Some(Self::Ask("sampling/createMessage".to_owned())),
            "ask_roots" => return Some(Self::Ask("roots/list".to_owned())),
            _ => {}
        }
        serde_json::from_value(serde_json::Value::from(name)).ok()
    }
}

/// One step of a performance; each transport has its own way to do it.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// One whole message.
    Message(Vec<u8>),
    /// The first half of the message, and nothing after it.
    Half(Vec<u8>),
    /// One message of so many bytes more than the texts before and after them.
    Flood { head: String, bytes: usize, tail: String },
    /// The beginning of a message, then white space without end.
    Drip(Vec<u8>),
    /// An unfinished event at the clean end of the stream.
    HalfEvent(Vec<u8>),
    /// Waits for the response to a request of the server's own, and answers request `id` with it as text.
    Relay { own: String, id: String },
    /// Waits for the responses to requests of the server's own, by their raw ids.
    Await(Vec<String>),
    /// Answers request `id` with all these responses as text.
    Gather { owns: Vec<String>, id: String },
    /// Waits until the test says so.
    Gate,
    /// Waits until the peer leaves.
    Hang,
    /// Breaks the connection or ends the process.
    Die,
}

/// How many bytes [`Act::Flood`] sends.
const FLOOD_BYTES: usize = 100 * 1024 * 1024;

/// Turns an act into steps. `answer` is what the server would say.
pub(super) fn steps(act: &Act, message: &str, answer: &str) -> Vec<Step> {
    let id = json::find(message, &["id"]).unwrap_or_else(|| "null".to_owned());
    let whole = |text: &str| Step::Message(text.as_bytes().to_vec());
    let stray = format!(
        r#"{{"jsonrpc":"2.0","id":987654321,"result":{{"content":[{{"type":"text","text":"{LEAK} stray"}}]}}}}"#
    );
    match act {
        Act::Hang => vec![Step::Hang],
        Act::Die => vec![Step::Die],
        Act::DieMidMessage => vec![Step::Half(answer.as_bytes().to_vec()), Step::Die],
        Act::DieMidStream => vec![whole(&progress(message, 1, 3)), Step::Die],
        Act::Malformed => vec![whole(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"{LEAK}":]}}}}"#))],
        Act::WrongId => vec![whole(&stray)],
        Act::TwoAnswers => {
            let second = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{LEAK} second"}}]}}}}"#
            );
            vec![whole(answer), whole(&second)]
        }
        Act::Unasked => vec![whole(&stray), whole(answer)],
        Act::Flood => vec![Step::Flood {
            head: format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":""#),
            bytes: FLOOD_BYTES,
            tail: r#""}]}}"#.to_owned(),
        }],
        Act::InvalidUtf8 => {
            let mut bytes = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{LEAK} "#
            )
            .into_bytes();
            bytes.extend_from_slice(b"\xff\xfe\"}]}}");
            vec![Step::Message(bytes)]
        }
        Act::HalfEvent => vec![Step::HalfEvent(answer.as_bytes().to_vec())],
        Act::Drip => vec![Step::Drip(answer.as_bytes()[..answer.len() / 2].to_vec())],
        Act::NotJsonRpc => vec![whole(&answer.replacen(r#""2.0""#, r#""1.0""#, 1))],
        Act::Progress(total) => {
            let mut steps: Vec<_> = (1..=*total).map(|n| whole(&progress(message, n, *total))).collect();
            steps.push(whole(answer));
            steps
        }
        Act::Log => {
            let mut steps: Vec<_> = LEVELS.iter().map(|level| whole(&logged(level))).collect();
            steps.push(whole(answer));
            steps
        }
        Act::ProgressThenHang => {
            let mut steps: Vec<_> = (1..=3).map(|n| whole(&progress(message, n, 9))).collect();
            steps.push(Step::Hang);
            steps
        }
        Act::Gate => vec![Step::Gate, whole(answer)],
        Act::ProgressThenGate => vec![whole(&progress(message, 1, 2)), Step::Gate, whole(answer)],
        Act::Ask(method) => {
            let own = format!("own-{id}").replace('"', "");
            let params = if method == "sampling/createMessage" {
                r#","params":{"messages":[{"role":"user","content":{"type":"text","text":"?"}}],"maxTokens":5}"#
            } else {
                ""
            };
            let request = format!(r#"{{"jsonrpc":"2.0","id":"{own}","method":"{method}"{params}}}"#);
            vec![whole(&request), Step::Relay { own, id }]
        }
        Act::AskAlike => {
            let request = r#"{"jsonrpc":"2.0","id":"1","method":"roots/list"}"#;
            vec![whole(request), Step::Relay { own: "1".to_owned(), id }]
        }
        Act::AskAndAnswer => {
            let asks = format!(r#"{{"jsonrpc":"2.0","id":{},"method":"roots/list"}}"#, own_id(&id, 0));
            vec![whole(&asks), whole(answer)]
        }
        // A modern server asks by its answer.
        Act::Dialog if super::answers::is_modern(message) => vec![whole(answer)],
        Act::Dialog => dialog(message, &id),
        Act::GateThenDialog => [vec![Step::Gate], dialog(message, &id)].concat(),
        Act::Withdraws => {
            let own = own_id(&id, 0);
            let withdrawn = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{own},"reason":"{LEAK} never mind"}}}}"#
            );
            let asks = format!(r#"{{"jsonrpc":"2.0","id":{own},"method":"roots/list"}}"#);
            vec![whole(&asks), Step::Gate, whole(&withdrawn), Step::Gate, whole(answer)]
        }
        Act::Bytes(bytes) => vec![Step::Message(bytes.clone())],
        Act::Answer
        | Act::Unauthorized
        | Act::Forbidden
        | Act::NotFound
        | Act::ServerError
        | Act::Redirect
        | Act::HugeHeaders
        | Act::WrongType => vec![whole(answer)],
    }
}

/// The raw id of the server's `nth` question within request `id`: written so that it can only come back to the letter.
fn own_id(id: &str, nth: usize) -> String {
    format!(r#""\u006fwn\/{}-{nth}""#, id.replace('"', ""))
}

/// What a legacy server does in a dialog: request after request, each round waiting for the answers to it.
fn dialog(message: &str, id: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut owns = Vec::new();
    for round in dialog_rounds(message) {
        let from = owns.len();
        for request in round {
            let own = own_id(id, owns.len());
            let request = request.replacen('{', &format!(r#"{{"jsonrpc":"2.0","id":{own},"#), 1);
            steps.push(Step::Message(request.into_bytes()));
            owns.push(own);
        }
        steps.push(Step::Await(owns[from..].to_vec()));
    }
    steps.push(Step::Gather { owns, id: id.to_owned() });
    steps
}

/// The raw requests of each round that the arguments of a dialog ask for.
pub(super) fn dialog_rounds(message: &str) -> Vec<Vec<String>> {
    let rounds = json::find(message, &["params", "arguments", "rounds"]).unwrap_or_default();
    json::elements(&rounds).iter().map(|round| json::elements(round)).collect()
}

/// The answer to request `id` that holds what a client said to the server's own requests: results, errors, and a word
/// on those that came back under another id.
pub(super) fn gathered(id: &str, responses: &[(String, String)]) -> Vec<u8> {
    let said = responses.iter().map(|(own, response)| {
        if json::find(response, &["id"]).as_deref() != Some(own) {
            return r#""the id was changed""#.to_owned();
        }
        let error = || json::find(response, &["error"]).map(|error| format!(r#"{{"error":{error}}}"#));
        json::find(response, &["result"]).or_else(error).unwrap_or_default()
    });
    relayed(id, &format!("[{}]", said.collect::<Vec<_>>().join(",")))
}

/// The answer to request `id` that holds the response to a request of the server's own.
pub(super) fn relayed(id: &str, response: &str) -> Vec<u8> {
    let text = json::quote(response);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":{text}}}]}}}}"#)
        .into_bytes()
}

/// The responses that a server has got to its own requests, by session and id.
#[derive(Debug)]
pub(super) struct Heard(watch::Sender<HashMap<(String, String), String>>);

impl Default for Heard {
    fn default() -> Self {
        Self(watch::channel(HashMap::new()).0)
    }
}

impl Heard {
    /// Takes a message that came in, if it is a response.
    pub(super) fn take(&self, session: &str, message: &str) {
        if let Some(id) = json::text_at(message, &["id"])
            && json::find(message, &["method"]).is_none()
        {
            self.0.send_modify(|heard| drop(heard.insert((session.to_owned(), id), message.to_owned())));
        }
    }

    /// Waits for the response to a request of the server's own.
    pub(super) async fn response(&self, session: &str, own: &str) -> String {
        let key = (session.to_owned(), own.to_owned());
        let mut heard = self.0.subscribe();
        let found = heard.wait_for(|heard| heard.contains_key(&key)).await.expect("it lives as long as this");
        found[&key].clone()
    }

    /// Waits for the responses to requests of these raw ids. Gives them with their ids.
    pub(super) async fn responses(&self, session: &str, owns: &[String]) -> Vec<(String, String)> {
        let mut all = Vec::with_capacity(owns.len());
        for own in owns {
            let id = json::text(own).expect("an id of the server's own is a text");
            all.push((own.clone(), self.response(session, &id).await));
        }
        all
    }
}

/// Every level of a log message, the most verbose first.
pub const LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// A log message.
fn logged(level: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"{level}","logger":"fake","data":{{"n":1.00}}}}}}"#
    )
}

/// A progress notification under the request's own token; a log message if it has none.
fn progress(message: &str, n: u32, total: u32) -> String {
    match json::find(message, &["params", "_meta", "progressToken"]) {
        Some(token) => format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{n},"total":{total},"message":"step {n}","x-kept":1.00}}}}"#
        ),
        None => format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":"step {n} of {total}"}}}}"#
        ),
    }
}
