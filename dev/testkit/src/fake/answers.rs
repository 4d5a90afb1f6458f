//! What a well-behaved server says: the answer to one message, as text.

use std::fmt::Write as _;

use super::json;
use super::script::{Eras, Script};

/// What a server remembers of one client (legacy) or of all of them (modern).
#[derive(Debug, Default, Clone)]
pub(super) struct Memory {
    /// How often `count` was called.
    pub(super) count: u64,
}

/// An answer, and what else it brings about.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The whole JSON-RPC response.
    pub(super) answer: String,
    /// A notification for everyone who listens.
    pub(super) push: Option<String>,
}

/// Answers one request. `script` may change: `grow` adds a tool.
pub(super) fn answer(script: &mut Script, memory: &mut Memory, message: &str) -> Said {
    let id = json::find(message, &["id"]).unwrap_or_else(|| "null".to_owned());
    let modern = is_modern(message);
    if let Some(error) = wrong_era(script, message, modern) {
        return Said { answer: format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#), push: None };
    }
    let method = json::text_at(message, &["method"]).unwrap_or_default();
    if let Some(member) = script.says.get(&method) {
        return Said { answer: format!(r#"{{"jsonrpc":"2.0","id":{id},{member}}}"#), push: None };
    }
    if json::text_at(message, &["params", "name"]).as_deref() == Some("raise") {
        let error = json::find(message, &["params", "arguments", "error"]).unwrap_or_else(|| "{}".to_owned());
        return Said { answer: format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#), push: None };
    }
    let mut push = None;
    let outcome = result(script, memory, message, &mut push);
    let answer = match outcome {
        Ok(result) => {
            let result = if modern { with_result_type(&result, message) } else { result };
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
        }
        Err((code, text)) => {
            format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{},"x-error":1.50}}}}"#,
                json::quote(&text)
            )
        }
    };
    Said { answer, push }
}

pub(super) fn is_modern(message: &str) -> bool {
    json::find(message, &["params", "_meta", "io.modelcontextprotocol/protocolVersion"]).is_some()
}

/// The error object for a message of an era that the server does not speak.
fn wrong_era(script: &Script, message: &str, modern: bool) -> Option<String> {
    let method = json::text_at(message, &["method"]).unwrap_or_default();
    match script.eras {
        Eras::Legacy if method == "server/discover" => Some(r#"{"code":-32601,"message":"Method not found"}"#.to_owned()),
        Eras::Legacy => None,
        Eras::Modern if !modern => Some(
            r#"{"code":-32022,"message":"Unsupported protocol version","data":{"supported":["2026-07-28"],"requested":"initialize"}}"#.to_owned(),
        ),
        Eras::Modern => {
            let meta = json::find(message, &["params", "_meta"]).unwrap_or_default();
            let version = json::text_at(&meta, &["io.modelcontextprotocol/protocolVersion"]).unwrap_or_default();
            if version != "2026-07-28" {
                return Some(format!(
                    r#"{{"code":-32022,"message":"Unsupported protocol version","data":{{"supported":["2026-07-28"],"requested":{}}}}}"#,
                    json::quote(&version)
                ));
            }
            json::find(&meta, &["io.modelcontextprotocol/clientCapabilities"])
                .is_none()
                .then(|| r#"{"code":-32602,"message":"clientCapabilities missing"}"#.to_owned())
        }
    }
}

fn with_result_type(result: &str, message: &str) -> String {
    if json::find(result, &["resultType"]).is_some() {
        return result.to_owned();
    }
    let method = json::text_at(message, &["method"]).unwrap_or_default();
    let is_cacheable = method.ends_with("/list") || method == "server/discover" || method == "resources/read";
    let caching = if is_cacheable && json::find(result, &["ttlMs"]).is_none() {
        r#","ttlMs":0,"cacheScope":"private""#
    } else {
        ""
    };
    let rest = result.trim_start_matches('{');
    let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
    format!(r#"{{"resultType":"complete"{caching}{comma}{rest}"#)
}

type Outcome = Result<String, (i64, String)>;

fn result(script: &mut Script, memory: &mut Memory, message: &str, push: &mut Option<String>) -> Outcome {
    let method = json::text_at(message, &["method"]).unwrap_or_default();
    let params = json::find(message, &["params"]).unwrap_or_else(|| "{}".to_owned());
    let instructions = script
        .instructions
        .as_ref()
        .map(|t| format!(r#","instructions":{}"#, json::quote(t)))
        .unwrap_or_default();
    match method.as_str() {
        "initialize" => Ok(format!(
            r#"{{"protocolVersion":{},"capabilities":{},"serverInfo":{}{instructions}}}"#,
            json::quote(&script.revision),
            script.capabilities,
            script.info
        )),
        "server/discover" => Ok(format!(
            r#"{{"supportedVersions":["2026-07-28"],"capabilities":{},"_meta":{{"io.modelcontextprotocol/serverInfo":{}}}{instructions}{}}}"#,
            script.capabilities, script.info, script.said_of_itself
        )),
        "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => Ok("{}".to_owned()),
        "tools/list" => page(&script.tools, "tools", script, &params),
        "prompts/list" => page(&script.prompts, "prompts", script, &params),
        "resources/list" => page(&script.resources, "resources", script, &params),
        "resources/templates/list" => page(&script.templates, "resourceTemplates", script, &params),
        "tools/call" => call(script, memory, &params, push),
        "prompts/get" => {
            let prompt = json::text_at(&params, &["name"]).unwrap_or_default();
            if !known(&script.prompts, "name", &prompt) {
                return Err((-32602, format!("Unknown prompt {prompt}")));
            }
            Ok(format!(
                r#"{{"description":"said","messages":[{{"role":"user","content":{{"type":"text","text":{}}}}}],"echo":{params}}}"#,
                json::quote(&prompt)
            ))
        }
        "resources/read" => {
            let uri = json::text_at(&params, &["uri"]).unwrap_or_default();
            if !known(&script.resources, "uri", &uri)
                && !uri.starts_with("memo://note/")
                && !script.views.contains(&uri)
            {
                let code = if script.eras == Eras::Modern { -32602 } else { -32002 };
                return Err((code, "Resource not found".to_owned()));
            }
            Ok(format!(
                r#"{{"contents":[{{"uri":{0},"mimeType":"text/plain","text":"of {1}"}}]}}"#,
                json::quote(&uri),
                script.instructions.as_deref().unwrap_or("fake")
            ))
        }
        "completion/complete" => {
            Ok(r#"{"completion":{"values":["ada","bob"],"total":2,"hasMore":false}}"#.to_owned())
        }
        _ => Err((-32601, "Method not found".to_owned())),
    }
}

/// The first message on the stream of this `subscriptions/listen`.
pub(super) fn acknowledged(listen: &str) -> String {
    let wanted = json::find(listen, &["params", "notifications"]).unwrap_or_else(|| "{}".to_owned());
    let push = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"notifications":{wanted}}}}}"#
    );
    subscribed(&push, listen)
}

/// A notification as it goes to whoever sent this `subscriptions/listen`.
pub(super) fn subscribed(push: &str, listen: &str) -> String {
    let id = json::find(listen, &["id"]).unwrap_or_default();
    let meta = format!(r#""_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}"#);
    match json::find(push, &["params"]) {
        Some(params) => push.replacen(&params, &params.replacen('{', &format!("{{{meta},"), 1), 1),
        None => format!(r#"{},"params":{{{meta}}}}}"#, &push[..push.len() - 1]),
    }
}

/// How every state of a dialog begins: written so that it can only come back to the letter.
const STATE_HEAD: &str = r#""\u007b\/"#;

/// What a modern server answers in a dialog. All that it needs to know travels in its state.
fn dialog(params: &str) -> Outcome {
    let rounds = super::act::dialog_rounds(&format!(r#"{{"params":{params}}}"#));
    let arguments = json::find(params, &["arguments"]).unwrap_or_default();
    let (mut next, mut got) = (0_usize, Vec::new());
    if let Some(raw) = json::find(params, &["requestState"]) {
        let state = json::text(&raw).unwrap_or_default();
        let state = state.strip_prefix("{/").unwrap_or_default();
        if !raw.starts_with(STATE_HEAD) || json::find(state, &["of"]).as_ref() != Some(&arguments) {
            return Err((-32602, format!("not the state of this dialog: {raw}")));
        }
        next = json::find(state, &["next"]).and_then(|next| next.parse().ok()).unwrap_or(0);
        got = json::elements(&json::find(state, &["got"]).unwrap_or_default());
        let asked = next.checked_sub(1).and_then(|round| rounds.get(round)).map_or(0, Vec::len);
        let said = |nth| json::find(params, &["inputResponses", &format!("q{nth}")]);
        match (0..asked).map(said).collect::<Option<Vec<_>>>() {
            Some(said) => got.extend(said),
            // Whatever is not answered is asked again.
            None => next -= 1,
        }
    }
    let Some(round) = rounds.get(next) else {
        let text = json::quote(&format!("[{}]", got.join(",")));
        return Ok(format!(r#"{{"content":[{{"type":"text","text":{text}}}]}}"#));
    };
    let state =
        json::quote(&format!(r#"{{"next":{},"got":[{}],"of":{arguments}}}"#, next + 1, got.join(",")));
    let state = format!("{STATE_HEAD}{}", &state[1..]);
    if round.is_empty() {
        return Ok(format!(r#"{{"resultType":"input_required","requestState":{state}}}"#));
    }
    let asked: Vec<_> = round.iter().enumerate().map(|(nth, asked)| format!(r#""q{nth}":{asked}"#)).collect();
    Ok(format!(
        r#"{{"resultType":"input_required","inputRequests":{{{}}},"requestState":{state}}}"#,
        asked.join(",")
    ))
}

fn known(raw: &[String], key: &str, wanted: &str) -> bool {
    raw.iter().any(|entry| json::text_at(entry, &[key]).as_deref() == Some(wanted))
}

fn page(all: &[String], member: &str, script: &Script, params: &str) -> Outcome {
    let from = match json::text_at(params, &["cursor"]) {
        None => 0,
        Some(cursor) => cursor
            .strip_prefix("from-")
            .and_then(|n| n.parse::<usize>().ok())
            .ok_or_else(|| (-32602, "Invalid cursor".to_owned()))?,
    };
    let size = if script.page_size == 0 { all.len() } else { script.page_size };
    let to = all.len().min(from.saturating_add(size));
    let entries = all.get(from..to).unwrap_or_default().join(",");
    let mut result = format!(r#"{{"{member}":[{entries}]"#);
    if to < all.len() {
        let _ = write!(result, r#","nextCursor":"from-{to}""#);
    }
    result.push_str(&script.list_members);
    result.push('}');
    Ok(result)
}

fn call(script: &mut Script, memory: &mut Memory, params: &str, push: &mut Option<String>) -> Outcome {
    let tool = json::text_at(params, &["name"]).unwrap_or_default();
    let text = |text: &str| Ok(format!(r#"{{"content":[{{"type":"text","text":{}}}]}}"#, json::quote(text)));
    match tool.as_str() {
        "return" => {
            Ok(json::find(params, &["arguments", "result"]).unwrap_or_else(|| r#"{"content":[]}"#.to_owned()))
        }
        "echo" => Ok(format!(r#"{{"content":[{{"type":"text","text":"echo"}}],"echo":{params}}}"#)),
        // Asks for input by the raw result that the call gives; then says what the retry brought.
        "interrupts" => match json::find(params, &["requestState"])
            .or(json::find(params, &["inputResponses"]))
        {
            None => Ok(json::find(params, &["arguments", "result"]).unwrap_or_else(|| "{}".to_owned())),
            Some(_) => Ok(format!(r#"{{"content":[{{"type":"text","text":"retried"}}],"echo":{params}}}"#)),
        },
        "dialog" if script.eras == Eras::Modern => dialog(params),
        "count" => {
            memory.count += 1;
            text(&memory.count.to_string())
        }
        "pid" => text(&std::process::id().to_string()),
        "env" => {
            let all: std::collections::BTreeMap<String, String> = std::env::vars().collect();
            text(&serde_json::to_string(&all).unwrap_or_default())
        }
        "big" => {
            let bytes = json::find(params, &["arguments", "bytes"]).and_then(|n| n.parse().ok()).unwrap_or(0);
            text(&"x".repeat(bytes))
        }
        "grow" => {
            let grown = format!("grown-{}", script.tools.len());
            script.tools.push(Script::tool(&grown));
            *push = Some(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#.to_owned());
            text(&grown)
        }
        "fails" => Ok(r#"{"content":[{"type":"text","text":"it did not work"}],"isError":true}"#.to_owned()),
        "refuses" => Err((-32050, "not today".to_owned())),
        other if known(&script.tools, "name", other) || super::Act::by_name(other).is_some() => {
            text(&format!("called {other}"))
        }
        other => Err((-32602, format!("Unknown tool: {other}"))),
    }
}
