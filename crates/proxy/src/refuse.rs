//! Rendering a refusal: the one place where it becomes HTTP and JSON-RPC.

use std::time::Duration;

use bytes::Bytes;
use tollgate_mcp::{Segments, json};
use tollgate_model::{Code, Denial, Era, Exceeded, Refusal, Why, money};

use crate::bridge::array_of;
use crate::gateway::Gateway;
use crate::reply::Reply;
use crate::stages::record::{self, Early, OnRecord};
use crate::stages::schema;

/// The key of the gateway's own member in `error.data`.
pub(crate) const REFUSAL_KEY: &str = "dev.tollgate/refusal";

/// The same of a request that the stages never had: puts it on record first.
pub(crate) async fn early(
    gateway: &Gateway,
    refusal: &Refusal,
    early: Early<'_>,
    id: Option<&Bytes>,
) -> Reply {
    let on_record = record::early(gateway, refusal, early).await;
    let reply = render(refusal, early.era(), id, on_record);
    // Here it is no single request that is stopped, but whoever sends it, or all of a server.
    match refusal.code {
        Code::Blocked => Reply { status: 403, ..reply },
        _ => reply,
    }
}

/// The refusal, which is on record, as the answer to the request of this id. Without an id, a legacy client gets
/// `"id":null` (JSON-RPC 2.0, section 5), a modern one none (2026-07-28, base protocol).
pub(crate) fn render(refusal: &Refusal, era: Era, id: Option<&Bytes>, on_record: OnRecord) -> Reply {
    if let (Code::InvalidArguments, Some(id)) = (refusal.code, id) {
        // For the model, which can correct them: a tool that failed, and no error of the protocol.
        return Reply::result(id, &schema::tool_error(&refusal.public, era == Era::Modern));
    }
    let row = refusal.code.row();
    let request_id = on_record.call();
    let mut body = Vec::with_capacity(320);
    body.extend_from_slice(b"{\"jsonrpc\":\"2.0\",");
    match (id, era) {
        (Some(id), _) => {
            body.extend_from_slice(b"\"id\":");
            body.extend_from_slice(id);
            body.push(b',');
        }
        (None, Era::Legacy) => body.extend_from_slice(b"\"id\":null,"),
        (None, Era::Modern) => {}
    }
    body.extend_from_slice(b"\"error\":{\"code\":");
    body.extend_from_slice(row.rpc(era).to_string().as_bytes());
    body.extend_from_slice(b",\"message\":");
    body.extend_from_slice(&json::quote(&message(refusal)));
    body.extend_from_slice(b",\"data\":{");
    if let Some(data) = &refusal.data {
        body.extend_from_slice(data.as_bytes());
        body.push(b',');
    }
    let server = match &refusal.server {
        Some(server) => format!(",\"server\":\"{server}\""),
        None => String::new(),
    };
    let why = match refusal.why.as_deref() {
        Some(Why::Denied(denial)) => denied(denial),
        Some(Why::NeedsScopes(scopes)) => {
            format!(",\"scopes\":{}", texts(scopes.iter().map(|scope| &**scope)))
        }
        Some(Why::Limited(exceeded)) => limited(exceeded),
        Some(Why::Later(wait)) => format!(",\"retryAfterMs\":{}", ms(*wait)),
        Some(Why::Approval { id, url }) => {
            let member = |name: &str, text: &str| {
                format!(",\"{name}\":{}", String::from_utf8_lossy(&json::quote(text)))
            };
            let url = url.as_deref().map_or_else(String::new, |url| member("approvalUrl", url));
            format!("{}{url}", member("approval", id))
        }
        Some(Why::Blocked(kind)) => format!(",\"blocked\":\"{kind}\""),
        None => String::new(),
    };
    body.extend_from_slice(
        format!(
            "\"{REFUSAL_KEY}\":{{\"code\":\"{}\",\"stage\":\"{}\",\"source\":\"{}\",\"retry\":\"{}\"{server}{why},\"requestId\":\"{request_id}\"}}}}}}}}",
            row.name,
            refusal.stage.as_str(),
            row.source.as_str(),
            refusal.retry().as_str(),
        )
        .as_bytes(),
    );
    let scopes = match refusal.why.as_deref() {
        Some(Why::NeedsScopes(scopes)) => scopes.clone(),
        _ => Vec::new(),
    };
    let exceeded = refusal.exceeded().cloned().map(Box::new);
    let retry_after = match refusal.why.as_deref() {
        Some(Why::Later(wait)) => Some(*wait),
        _ => None,
    };
    Reply { scopes, exceeded, retry_after, ..Reply::new(row.http(era), Segments::from(Bytes::from(body))) }
}

fn message(refusal: &Refusal) -> String {
    match &refusal.server {
        Some(server) => format!("{server}: {}", refusal.public),
        None => refusal.public.to_string(),
    }
}

fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<Bytes> = texts.map(json::quote).collect();
    String::from_utf8_lossy(&array_of(&quoted)).into_owned()
}

/// What policy says, as further members.
fn denied(denial: &Denial) -> String {
    let policies = texts(denial.policies.iter().map(|policy| &*policy.id));
    let reasons = texts(denial.reasons.iter().map(|reason| &**reason));
    let could_differ = denial.could_differ;
    format!(",\"policies\":{policies},\"reasons\":{reasons},\"couldDiffer\":{could_differ}")
}

/// What a limit says, as further members.
fn limited(exceeded: &Exceeded) -> String {
    let limit = String::from_utf8_lossy(&json::quote(&exceeded.limit)).into_owned();
    let Exceeded { allowed, left, currency, .. } = exceeded;
    let (allowed, left) = match currency {
        Some(_) => (money(*allowed), money(*left)),
        None => (allowed.to_string(), left.to_string()),
    };
    let currency = currency.as_deref().filter(|currency| !currency.is_empty());
    let currency = currency.map_or_else(String::new, |currency| {
        format!(",\"currency\":{}", String::from_utf8_lossy(&json::quote(currency)))
    });
    let window = exceeded.window.map_or_else(String::new, |window| format!(",\"windowMs\":{}", ms(window)));
    let retry_after = ms(exceeded.retry_after);
    format!(
        ",\"limit\":{limit},\"allowed\":{allowed},\"left\":{left}{currency}{window},\"retryAfterMs\":{retry_after}"
    )
}

/// In whole milliseconds, rounded up: who waits for so long does not come too early.
fn ms(time: Duration) -> u128 {
    time.as_nanos().div_ceil(1_000_000)
}
