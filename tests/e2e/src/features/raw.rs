//! Rows that no client library shows: raw peers say exactly what is to be said.

use serde_json::{Value, json};
use tollgate_testkit::fake::{
    Ask, Call, FakeServer, HttpPeer, Peer, Reply, Script, SsePeer, StdioPeer, json as raw, soon,
};

use super::judge::{holds, names, same, texts};
use super::{Ground, Pair, Proving, Transport, Verdict, Way};
use crate::gateway::{Gateway, binary, servers, with};

/// A raw client at an endpoint of a gateway; `server` is empty for the merged one.
async fn client(gateway: &Gateway, way: Way, server: &str) -> Peer {
    let path = |root: &str| if server.is_empty() { root.to_owned() } else { format!("{root}/{server}") };
    match way.transport {
        Transport::Http => gateway.peer(way.era, &path("/mcp")).await,
        Transport::Sse => gateway.sse(&path("/sse")).await.into(),
        Transport::Stdio => gateway.bridged(way.era, &path("/mcp")).await.into(),
    }
}

/// A raw legacy client of an older revision.
async fn older(ground: &Ground, pair: Pair, revision: &str) -> Peer {
    let (addr, server) = (ground.gateway.listen, pair.name());
    match pair.client.transport {
        Transport::Http => {
            HttpPeer::legacy_with(addr, &format!("/mcp/{server}"), revision, "{}").await.into()
        }
        Transport::Sse => SsePeer::connect(addr, &format!("/sse/{server}")).await.into(),
        Transport::Stdio => {
            let url = format!("http://{addr}/mcp/{server}");
            let args = ["connect", url.as_str()];
            StdioPeer::start_with(&binary(), args, &[], pair.client.era, revision).await.into()
        }
    }
}

// ---- resumption ----

pub(super) fn resumed_by_the_client(ground: &Ground, pair: Pair) -> Proving<'_> {
    Box::pin(async move {
        let path = format!("/mcp/{}", pair.name());
        let mut peer = ground.gateway.legacy(&path).await;
        let call = Call::tool("slow", "{}").meta(r#""progressToken":"p""#);
        let mut stream = peer.open(&call).await;
        let first = event(&mut stream).await?.ok_or("the stream ends before its first message")?;
        let last = first.1.clone().ok_or("an event without an id")?;
        // Gone, in the midst of the answer.
        drop(stream);
        let mut again = Ask::new("GET", &peer.path)
            .with("Accept", "text/event-stream")
            .with("MCP-Protocol-Version", &peer.revision)
            .with("Last-Event-ID", &last);
        if let Some(session) = &peer.session {
            again = again.with("Mcp-Session-Id", session);
        }
        let mut stream =
            soon("the stream again", peer.http.open(&again)).await.map_err(|error| error.to_string())?;
        let mut came = vec![first.0];
        loop {
            let Some((message, _)) = event(&mut stream).await? else {
                return Err(format!("the stream ends after {came:?}"));
            };
            let answered = message["result"].is_object() || message["error"].is_object();
            came.push(message);
            if answered {
                break;
            }
        }
        let steps: Vec<f64> = came.iter().filter_map(|one| one["params"]["progress"].as_f64()).collect();
        same("the steps", &json!(steps), &json!([1.0, 2.0, 3.0]))?;
        let text = came.last().map(|one| one["result"]["content"][0]["text"].clone()).unwrap_or_default();
        same("the answer", &text, &json!("three steps done"))
    })
}

/// The next message of a stream, and the id of its event.
async fn event(stream: &mut tollgate_testkit::fake::Live) -> Result<Option<(Value, Option<String>)>, String> {
    let event = soon("an event", stream.event()).await.map_err(|error| error.to_string())?;
    let Some(event) = event else { return Ok(None) };
    let message = serde_json::from_str(&event.data).map_err(|error| format!("{error}: {}", event.data))?;
    Ok(Some((message, event.id)))
}

// ---- batches ----

pub(super) fn batches(ground: &Ground, pair: Pair) -> Proving<'_> {
    Box::pin(async move {
        let path = format!("/mcp/{}", pair.name());
        let echo = |id: u32, said: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"echo","arguments":{{"message":"{said}"}}}}}}"#
            )
        };
        let batch = format!(
            r#"[{},{},{{"jsonrpc":"2.0","id":13,"method":"ping"}}]"#,
            echo(11, "one"),
            echo(12, "two")
        );
        let peer = HttpPeer::legacy_with(ground.gateway.listen, &path, "2025-03-26", "{}").await;
        let reply = peer.http.send(&peer.post(&batch)).await;
        let mut answers = responses(&reply)?;
        answers.sort_by_key(|one| one["id"].as_i64());
        let ids: Vec<&Value> = answers.iter().map(|one| &one["id"]).collect();
        same("the ids", &json!(ids), &json!([11, 12, 13]))?;
        same("the first", &answers[0]["result"]["content"][0]["text"], &json!("Echo: one"))?;
        same("the second", &answers[1]["result"]["content"][0]["text"], &json!("Echo: two"))?;
        same("the ping", &answers[2]["result"], &json!({}))?;
        // The revision after it took batches out again.
        let peer = ground.gateway.legacy(&path).await;
        let reply = peer.http.send(&peer.post(&batch)).await;
        holds(reply.status == 400, || format!("a batch of 2025-11-25 got {}", reply.everything()))
    })
}

/// All responses of a reply, whether they came in one array or on a stream.
fn responses(reply: &Reply) -> Result<Vec<Value>, String> {
    let text = reply.text();
    let mut messages: Vec<Value> = Vec::new();
    if reply.header("content-type").is_some_and(|media| media.starts_with("text/event-stream")) {
        for line in text.lines().filter_map(|line| line.strip_prefix("data:")) {
            if let Ok(message) = serde_json::from_str(line) {
                messages.push(message);
            }
        }
    } else {
        messages
            .push(serde_json::from_str(&text).map_err(|error| format!("{error}: {}", reply.everything()))?);
    }
    let mut all = Vec::new();
    for message in messages {
        match message {
            Value::Array(some) => all.extend(some),
            one => all.push(one),
        }
    }
    all.retain(|one| one["method"].is_null());
    Ok(all)
}

// ---- headers ----

pub(super) fn headers(ground: &Ground, pair: Pair) -> Proving<'_> {
    Box::pin(async move {
        let region = pair.key();
        let arguments = json!({ "place": { "region": region } }).to_string();
        let call = Call::tool("mirrored", &arguments);
        let mut client = client(&ground.gateway, pair.client, &pair.name()).await;
        // Whoever calls a tool has read of it.
        client.tools().await;
        let answer = match &mut client {
            Peer::Http(peer) if pair.client.is_modern() => {
                let told = |value: &str| peer.ask("7", &call).with("Mcp-Param-Region", value);
                let wrong = peer.http.send(&told("elsewhere")).await;
                let code = raw::find(&wrong.text(), &["error", "code"]).unwrap_or_default();
                holds(wrong.status == 400 && code == "-32020", || {
                    format!("another value in the header got {}", wrong.everything())
                })?;
                let missing = peer.http.send(&peer.ask("8", &call)).await;
                let code = raw::find(&missing.text(), &["error", "code"]).unwrap_or_default();
                holds(missing.status == 400 && code == "-32020", || {
                    format!("no header got {}", missing.everything())
                })?;
                tollgate_testkit::fake::Answer::of(&peer.http.send(&told(&region)).await)
            }
            other => other.request(&call).await,
        };
        same("the answer", &json!(answer.text()), &json!(format!("In {region}")))?;
        if !pair.server.is_modern() || pair.server.transport != Transport::Http {
            return Ok(());
        }
        let observed = client.tool("observations", "{}").await.text();
        holds(observed.contains(&format!("\"{region}\"")), || {
            format!("no header reached the server: {observed}")
        })
    })
}

// ---- caching ----

pub(super) fn caching(ground: &Ground, pair: Pair) -> Proving<'_> {
    Box::pin(async move {
        let mut client = client(&ground.gateway, pair.client, &pair.name()).await;
        let read = Call::new("resources/read", r#""uri":"note://greeting""#);
        let asked = [
            (Call::new("tools/list", ""), 60_000, "public"),
            (Call::new("resources/list", ""), 30_000, "public"),
            (Call::new("prompts/list", ""), 5000, "private"),
            (read, 20_000, "public"),
        ];
        for (call, ttl_ms, scope) in asked {
            let result = client.request(&call).await.value();
            // A legacy server gives no hints, and what it lists may depend on the session.
            let (ttl_ms, scope) = if pair.server.is_modern() { (ttl_ms, scope) } else { (0, "private") };
            same(&format!("the scope of {}", call.method), &result["cacheScope"], &json!(scope))?;
            // Of what the gateway keeps, what is left is told.
            let left = result["ttlMs"].as_u64().filter(|left| *left <= ttl_ms && (*left > 0 || ttl_ms == 0));
            if left.is_none() {
                return Err(format!("{} may be kept for {}, not for {ttl_ms}", call.method, result["ttlMs"]));
            }
        }
        Ok(())
    })
}

// ---- conversations ----

pub(super) fn state(ground: &Ground, pair: Pair) -> Proving<'_> {
    Box::pin(async move {
        if !pair.client.is_modern() {
            let of = |gateway| async move { client(gateway, pair.client, &pair.name()).await };
            let counted = counted(of(&ground.gateway).await, of(&ground.gateway).await).await;
            return same("what was counted", &json!(counted), &json!(["1", "1", "2", "2"]));
        }
        // Each call has a session of its own where the operator wants that, so that nobody sees what another left.
        let strict = with(&ground.entry(pair), json!({ "legacy_sessions": "strict" }));
        let gateway = Gateway::start(&servers([("contract", strict)])).await;
        let of = |gateway| async move { client(gateway, pair.client, "contract").await };
        let counted = counted(of(&gateway).await, of(&gateway).await).await;
        same("what was counted", &json!(counted), &json!(["1", "1", "1", "1"]))
    })
}

/// What two clients are told that count in turn.
async fn counted(mut one: Peer, mut other: Peer) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..2 {
        all.push(one.tool("count", "{}").await.text());
        all.push(other.tool("count", "{}").await.text());
    }
    all
}

// ---- MCP Apps ----

const VIEW: &str = "ui://contract/view";

pub(super) fn apps(ground: &Ground, pair: Pair) -> Proving<'_> {
    Box::pin(async move {
        // Another server has a view of the same URI, so that one of the two is rewritten in all places or the app breaks.
        let other = Script {
            resources: vec![Script::resource(VIEW)],
            tools: vec![Script::tool("other")],
            ..Script::legacy()
        };
        let other = FakeServer::start(other).await;
        let config = servers([
            ("other", json!({ "url": other.url(), "transport": "http" })),
            ("contract", ground.entry(pair)),
        ]);
        let gateway = Gateway::start(&config).await;
        let mut client = client(&gateway, pair.client, "").await;
        shown_as_app(&mut client).await
    })
}

async fn shown_as_app(client: &mut Peer) -> Verdict {
    let mut tools = Vec::new();
    let mut cursor = None;
    loop {
        let page = client.list("tools/list", cursor.as_deref()).await.value();
        tools.extend(page["tools"].as_array().into_iter().flatten().cloned());
        cursor = page["nextCursor"].as_str().map(ToOwned::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    let view = tools.iter().find(|tool| tool["name"] == "contract__view").cloned().unwrap_or_default();
    let uri = view["_meta"]["ui"]["resourceUri"].as_str().unwrap_or_default().to_owned();
    same("the older spelling", &view["_meta"]["ui/resourceUri"], &json!(uri))?;
    let listed = client.list("resources/list", None).await.value();
    let uris = names(&listed["resources"], "uri");
    holds(uris.contains(&uri), || format!("the view {uri:?} is not listed: {uris:?}"))?;
    let read = Call::new("resources/read", format!(r#""uri":{}"#, json!(uri)));
    let contents = client.request(&read).await.value();
    let contents = &contents["contents"][0];
    same("the view", &contents["text"], &json!("<p>A view</p>"))?;
    same("its kind", &contents["mimeType"], &json!("text/html;profile=mcp-app"))?;
    same("its URI", &contents["uri"], &json!(uri))?;
    // An app calls its server's tools by the names that the server gave them.
    same("the native name", &json!(client.tool("view", "{}").await.text()), &json!("viewed"))
}

// ---- older clients ----

pub(super) fn downgraded(ground: &Ground, pair: Pair) -> Proving<'_> {
    Box::pin(async move {
        if pair.client.transport != Transport::Sse {
            let mut client = older(ground, pair, "2025-03-26").await;
            let result = client.tool("contents", "{}").await.value();
            let kinds = ["text", "image", "audio", "text", "resource"];
            texts("kinds for 2025-03-26", &names(&result["content"], "type"), &kinds)?;
            linked(&result["content"][3])?;
        }
        let mut client = older(ground, pair, "2024-11-05").await;
        let result = client.tool("contents", "{}").await.value();
        let kinds = ["text", "image", "text", "text", "resource"];
        texts("kinds for 2024-11-05", &names(&result["content"], "type"), &kinds)?;
        linked(&result["content"][3])
    })
}

/// That the text in place of a link still says where it leads.
fn linked(block: &Value) -> Verdict {
    let text = block["text"].as_str().unwrap_or_default();
    holds(text.contains("note://greeting"), || format!("the link became {block}"))
}
