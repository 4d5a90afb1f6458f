//! What an endpoint says of itself: the answers to `initialize` (legacy) and `server/discover` (modern).
//!
//! An endpoint that serves one server says what that server says, less what the gateway cannot carry. Elsewhere the
//! gateway speaks for itself: it serves tools, prompts, resources, completions and log levels whatever is behind it just now.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};
use tollgate_catalog::{Caching, Endpoint, Shape};
use tollgate_mcp::{Change, Edit, JsonKind, Span, find, kind_of, meta, quote, text};
use tollgate_model::{Caller, Era, Refusal, Revision, ServerName};
use tollgate_upstream::{Hello, Reach};

use crate::bridge;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::reply::Reply;
use crate::snapshot::Snapshot;
use crate::stages::{Permit, guard, limits, policy, route};
use crate::tasks::capability;

/// What the gateway says of itself, as raw JSON.
pub(crate) const OWN_INFO: &str =
    concat!("{\"name\":\"tollgate\",\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}");
/// How long a merged endpoint waits for what its servers say of themselves. One that is slower goes without.
const HELLO_WAIT: Duration = Duration::from_secs(3);
/// How much longer it waits once all have spoken but a few of which nobody has heard yet, or which are known to be down.
const STRAGGLERS_WAIT: Duration = Duration::from_millis(50);
/// The longest instructions of one server behind a merged endpoint, in bytes.
const INSTRUCTIONS_BYTES_MAX: usize = 8 * 1024;

/// The result of `initialize` for a client that will speak `revision`, as raw JSON.
pub(crate) async fn initialize(
    gateway: &Gateway,
    snapshot: &Snapshot,
    endpoint: &Endpoint,
    caller: &Caller,
) -> Result<Vec<u8>, Refusal> {
    let revision = caller.client.revision;
    let (capabilities, info, instructions) = match endpoint.native_server() {
        Some(server) => {
            let (permit, _) = policy::look_at(gateway, caller, server)?;
            limits::admit_session(gateway, snapshot, endpoint, caller).await?;
            let hello = hello_of(gateway, snapshot, server, caller, &permit).await?;
            let info = hello.info.clone().unwrap_or_else(|| Bytes::from_static(OWN_INFO.as_bytes()));
            let capabilities = carried(&hello.capabilities);
            (capability::with_tasks(&capabilities, &hello, revision), info, hello.instructions)
        }
        None => {
            limits::admit_session(gateway, snapshot, endpoint, caller).await?;
            let info = Bytes::from_static(OWN_INFO.as_bytes());
            let hellos = hellos_of(gateway, snapshot, endpoint, caller).await;
            let capabilities = own_capabilities(Era::Legacy, &hellos);
            let known = hellos.iter().filter_map(|(_, hello)| hello.as_ref());
            let capabilities = capability::with_merged_tasks(&capabilities, known, revision);
            (capabilities, info, merged_instructions(endpoint, &hellos))
        }
    };
    let info = bridge::fit_info(info, revision);
    let mut result = format!("{{\"protocolVersion\":\"{revision}\",\"capabilities\":").into_bytes();
    result.extend_from_slice(&capabilities);
    result.extend_from_slice(b",\"serverInfo\":");
    result.extend_from_slice(&info);
    if let Some(instructions) = instructions {
        result.extend_from_slice(b",\"instructions\":");
        result.extend_from_slice(&instructions);
    }
    result.push(b'}');
    Ok(result)
}

/// Answers `server/discover`.
pub(crate) async fn discover(gateway: &Gateway, inbound: &Inbound) -> Result<Reply, Refusal> {
    let (snapshot, endpoint, caller) = (&inbound.snapshot, &inbound.endpoint, &inbound.caller);
    let (capabilities, info, instructions, caching) = match endpoint.native_server() {
        Some(server) => {
            let (permit, _) = policy::look_at(gateway, caller, server)?;
            let hello = hello_of(gateway, snapshot, server, caller, &permit).await?;
            let info = hello.info.clone().unwrap_or_else(|| Bytes::from_static(OWN_INFO.as_bytes()));
            let capabilities = carried(&hello.capabilities);
            let capabilities = capability::with_tasks(&capabilities, &hello, caller.client.revision);
            (capabilities, info, hello.instructions.clone(), caching_of(&hello))
        }
        None => {
            let info = Bytes::from_static(OWN_INFO.as_bytes());
            let hellos = hellos_of(gateway, snapshot, endpoint, caller).await;
            let instructions = merged_instructions(endpoint, &hellos);
            (own_capabilities(Era::Modern, &hellos), info, instructions, merged_caching(&hellos))
        }
    };
    let mut result =
        format!("{{\"resultType\":\"complete\",\"supportedVersions\":{},\"capabilities\":", supported())
            .into_bytes();
    result.extend_from_slice(&capabilities);
    if let Some(instructions) = instructions {
        result.extend_from_slice(b",\"instructions\":");
        result.extend_from_slice(&instructions);
    }
    // What policy hides differs from caller to caller, and what there is from tenant to tenant.
    let differs = gateway.policing().is_on() || snapshot.has_tenants();
    let caching = Caching { shared: caching.shared && !differs, ..caching };
    let (ttl_ms, scope) = (caching.ttl_ms, caching.scope());
    result.extend_from_slice(
        format!(",\"ttlMs\":{ttl_ms},\"cacheScope\":\"{scope}\",\"_meta\":{{\"{}\":", meta::SERVER_INFO)
            .as_bytes(),
    );
    result.extend_from_slice(&info);
    result.extend_from_slice(b"}}");
    Ok(Reply::result(&inbound.id, &result))
}

/// Every revision that is spoken here, newest first, as a JSON array. Not the intersection of what the servers speak:
/// each side's revision is chosen on its own.
pub(crate) fn supported() -> String {
    let versions: Vec<String> =
        Revision::ALL.iter().rev().map(|revision| format!("\"{revision}\"")).collect();
    format!("[{}]", versions.join(","))
}

/// What a server says of itself, without instructions that nobody has approved.
async fn hello_of(
    gateway: &Gateway,
    snapshot: &Snapshot,
    server: &ServerName,
    caller: &Caller,
    permit: &Permit,
) -> Result<Hello, Refusal> {
    let Some(server) = snapshot.server(caller.tenant(), server) else {
        let text = "the server is in the catalog but not running";
        return Err(
            Refusal::new(tollgate_model::Stage::Resolve, tollgate_model::Code::Internal, text).of(server)
        );
    };
    let route = route::open(server, caller, permit).await.map_err(Refusal::unsent)?;
    let hello = route.link().hello().clone();
    let raw = hello.instructions.clone();
    let (mut hello, is_held) = guard::hello(gateway, snapshot, server.id(), hello);
    if raw.is_some_and(|raw| !gateway.allows_instructions(server.id(), &raw, is_held)) {
        hello.instructions = None;
    }
    Ok(hello)
}

/// What each server behind an endpoint says of itself, in order; nothing from one that does not answer in time.
type Hellos<'a> = Vec<(&'a ServerName, Option<Hello>)>;

/// A server of which the caller may see nothing is not among them.
async fn hellos_of<'a>(
    gateway: &Gateway,
    snapshot: &Snapshot,
    endpoint: &'a Endpoint,
    caller: &Caller,
) -> Hellos<'a> {
    let seen = endpoint.servers().iter().filter_map(|server| {
        let (permit, _) = policy::look(gateway, caller, endpoint.name(), server)?;
        Some((server, permit))
    });
    let seen: Vec<_> = seen.collect();
    let mut hellos: Hellos<'a> = seen.iter().map(|(server, _)| (*server, None)).collect();
    let mut silent: Vec<usize> = (0..seen.len()).collect();
    let mut asked: FuturesUnordered<_> = seen
        .into_iter()
        .enumerate()
        .map(|(at, (server, permit))| async move {
            (at, hello_of(gateway, snapshot, server, caller, &permit).await.ok())
        })
        .collect();
    let mut deadline = Instant::now() + HELLO_WAIT;
    while let Ok(Some((at, hello))) = timeout_at(deadline, asked.next()).await {
        hellos[at].1 = hello;
        silent.retain(|other| *other != at);
        // At a start, a few that are down must not keep whoever connects from all the others. A server that has answered
        // before is worth waiting for.
        let has_answered = |at: &usize| {
            let server = snapshot.server(caller.tenant(), hellos[*at].0);
            server.is_some_and(|server| matches!(server.status().reach, Reach::Up { .. }))
        };
        if silent.len() * 4 <= hellos.len() && !silent.iter().any(has_answered) {
            deadline = deadline.min(Instant::now() + STRAGGLERS_WAIT);
        }
    }
    hellos
}

/// What the gateway does itself, and the extensions that it carries for the servers that have them.
fn own_capabilities(era: Era, hellos: &Hellos<'_>) -> Bytes {
    let own = Bytes::from_static(match era {
        Era::Legacy => {
            br#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"completions":{},"logging":{}}"#
        }
        Era::Modern => {
            br#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"completions":{},"logging":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#
        }
    });
    let ui = hellos.iter().find_map(|(_, hello)| {
        let capabilities = &hello.as_ref()?.capabilities;
        let extensions = find(capabilities, Span::all(capabilities), "extensions")?;
        Some(find(capabilities, extensions, meta::UI_EXTENSION)?.slice(capabilities))
    });
    // A server that has not answered may turn out to tell of its resources.
    let watched = hellos.iter().any(|(_, hello)| hello.as_ref().is_none_or(Hello::may_be_watched));
    let mut edit = Edit::new(&own);
    let whole = Span::all(&own);
    if !watched && let Some(resources) = find(&own, whole, "resources") {
        edit.object(resources, &[Change::Remove("subscribe")]);
    }
    if let Some(ui) = ui {
        edit.within(whole, "extensions", &[Change::Set(meta::UI_EXTENSION, ui)]);
    }
    edit.finish().into_bytes()
}

/// A server's capabilities, less tasks, which have a rule of their own.
fn carried(capabilities: &Bytes) -> Bytes {
    let whole = Span::all(capabilities);
    let mut edit = Edit::new(capabilities);
    edit.object(whole, &[Change::Remove("tasks")]);
    if let Some(extensions) = find(capabilities, whole, "extensions")
        && kind_of(capabilities, extensions) == JsonKind::Object
    {
        edit.object(extensions, &[Change::Remove(meta::TASKS_EXTENSION)]);
    }
    edit.finish().into_bytes()
}

/// For how long a modern server lets its own discovery be kept. A legacy server's may depend on its session.
fn caching_of(hello: &Hello) -> Caching {
    let (result, whole) = (&hello.result, Span::all(&hello.result));
    // Only `initialize` is answered with one.
    let is_legacy = find(result, whole, "protocolVersion").is_some();
    if is_legacy { Caching::NONE } else { Caching::read(result, whole) }
}

/// For as long as each server lets its own be kept; not at all while one is missing.
fn merged_caching(hellos: &Hellos<'_>) -> Caching {
    Caching::merged(hellos.iter().map(|(_, hello)| hello.as_ref().map_or(Caching::NONE, caching_of)))
}

/// The servers' instructions under their names, in order, as a raw JSON string. They are the servers' own words: a
/// client must not trust them more than it trusts the servers.
fn merged_instructions(endpoint: &Endpoint, hellos: &Hellos<'_>) -> Option<Bytes> {
    if let Shape::Toolset(toolset) = endpoint.shape() {
        return toolset.description.as_deref().map(quote);
    }
    let instructions = |(server, hello): &(&ServerName, Option<Hello>)| {
        let raw = hello.as_ref()?.instructions.as_ref()?;
        let words = text(raw, Span::all(raw))?;
        (!words.trim().is_empty()).then(|| format!("# {server}\n\n{}", cut(&words)))
    };
    let parts: Vec<String> = hellos.iter().filter_map(instructions).collect();
    (!parts.is_empty()).then(|| quote(&parts.join("\n\n")))
}

fn cut(words: &str) -> &str {
    let end = words.floor_char_boundary(INSTRUCTIONS_BYTES_MAX);
    &words[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_carried_is_not_promised() {
        let server = Bytes::from_static(
            br#"{"logging":{},"tools":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"experimental":{"x":1},"extensions":{"io.modelcontextprotocol/tasks":{},"a.example/b":{}}}"#,
        );
        assert_eq!(
            carried(&server),
            r#"{"logging":{},"tools":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"experimental":{"x":1},"extensions":{"a.example/b":{}}}"#
        );
    }
}
