//! What belongs to one caller is nothing to another: an id of somebody else's session, task, question, stream or connection
//! is as good as one that never was, to the byte.

use serde_json::{Value, json};
use tollgate_e2e::gateway::with;
use tollgate_e2e::guarded::{Guarded, declared, resource, trusted, unthrottled};
use tollgate_testkit::fake::{Act, Answer, Ask, Call, Http, HttpPeer, Reply, SsePeer, json as raw, soon};
use tollgate_testkit::issuer::{Issuer, api_key};

const FORM: &str = r#"{"method":"elicitation/create","params":{"mode":"form","message":"?","requestedSchema":{"type":"object","properties":{}}}}"#;
const ABLE: &str = r#"{"elicitation":{"form":{}},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
const ACCEPTED: &str = r#"{"action":"accept","content":{}}"#;

async fn guarded() -> (Guarded, Issuer) {
    let issuer = Issuer::start().await;
    let keys = [declared("ann"), declared("bob")];
    let guarded = Guarded::start(unthrottled(json!({ "keys": keys, "issuers": [trusted(&issuer)] }))).await;
    (guarded, issuer)
}

/// Everybody who is not the agent `ann`, with a word for it: another key, a person, and nobody.
fn others(guarded: &Guarded, issuer: &Issuer) -> Vec<(&'static str, Http)> {
    // HTTP+SSE is a resource of its own.
    let audiences = json!([resource("/mcp"), resource("/sse")]);
    let person = |claims: Value| {
        let claims = with(&json!({ "aud": audiences }), claims);
        guarded.gateway.bearing(&issuer.token_with("unused", claims))
    };
    vec![
        ("another agent", guarded.gateway.bearing(&api_key("bob"))),
        ("a person", person(json!({}))),
        // Whoever acts through an agent of that name is still not that agent.
        ("a person at a client of the same name", person(json!({ "client_id": "ann", "sub": "eve" }))),
    ]
}

fn ann(guarded: &Guarded) -> Http {
    guarded.gateway.bearing(&api_key("ann"))
}

/// Asserts that two responses cannot be told apart, but for what was asked.
fn assert_same(what: &str, one: &Reply, other: &Reply, ids: [&str; 2]) {
    let plain = |reply: &Reply, id: &str| {
        let headers: Vec<_> = reply
            .headers
            .iter()
            .filter(|(name, _)| {
                !["date", "traceparent", "x-request-id"].contains(&name.to_ascii_lowercase().as_str())
            })
            .collect();
        let mut body = reply.text().replace(id, "ID");
        // Each refusal has a request id of its own.
        if let Some(own) = raw::text_at(&body, &["error", "data", "dev.tollgate/refusal", "requestId"]) {
            body = body.replace(&own, "REQUEST");
        }
        format!("{} {headers:?} {body}", reply.status).replace(id, "ID")
    };
    assert_eq!(plain(one, ids[0]), plain(other, ids[1]), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_nothing_to_another() {
    let (guarded, issuer) = guarded().await;
    let owner = HttpPeer::legacy(ann(&guarded), "/mcp").await;
    let session = owner.session.clone().unwrap();
    // As long, and never given out.
    let mut unknown = session.clone();
    let last = if unknown.pop() == Some('A') { 'B' } else { 'A' };
    unknown.push(last);
    for (who, http) in others(&guarded, &issuer) {
        let stream = |verb: &str, id: &str| {
            let ask = Ask::new(verb, "/mcp").with("Accept", "text/event-stream");
            ask.with("MCP-Protocol-Version", "2025-11-25").with("Mcp-Session-Id", id)
        };
        let asks = |id: &str| {
            let mut peer = owner.clone();
            peer.session = Some(id.to_owned());
            let changed = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#;
            [
                ("a call", peer.ask("7", &Call::tool("new__echo", "{}"))),
                ("a notification", peer.post(changed)),
                ("an answer", peer.post(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)),
                ("a stream", stream("GET", id)),
                ("its end", stream("DELETE", id)),
            ]
        };
        for ((what, taken), (_, made_up)) in asks(&session).into_iter().zip(asks(&unknown)) {
            let (taken, made_up) = (http.send(&taken).await, http.send(&made_up).await);
            assert_eq!(taken.status, 404, "{who}, {what}: {}", taken.everything());
            assert_same(&format!("{who}, {what}"), &taken, &made_up, [&session, &unknown]);
        }
    }
    let mut owner = owner;
    owner.request(&Call::tool("new__echo", "{}")).await.result();
    assert_eq!(guarded.new.log().of_method("tools/call").len(), 1, "nobody else's call came through");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_to_one_is_not_answered_by_another() {
    let (guarded, issuer) = guarded().await;
    for tool in ["old__dialog", "new__dialog"] {
        let call = Call::tool(tool, &format!(r#"{{"rounds":[[{FORM}]]}}"#)).able(ABLE);
        let mut owner = HttpPeer::modern(ann(&guarded), "/mcp");
        let question = owner.request(&call).await.result();
        let key = raw::members(&raw::find(&question, &["inputRequests"]).unwrap()).keys()[0].to_owned();
        let state = raw::text_at(&question, &["requestState"]).unwrap();
        let retry = |state: &str| {
            let (key, state) = (raw::quote(&key), raw::quote(state));
            call.clone().and(&format!(r#""inputResponses":{{{key}:{ACCEPTED}}},"requestState":{state}"#))
        };
        let server = if tool.starts_with("old") { &guarded.old } else { &guarded.new };
        let before = server.log().of_method("tools/call").len();
        for (who, http) in others(&guarded, &issuer) {
            let mut other = HttpPeer::modern(http, "/mcp");
            let answer = other.request(&retry(&state)).await;
            assert_eq!(answer.refusal(), "invalid_request_state", "{who}: {answer:?}");
        }
        assert_eq!(server.log().of_method("tools/call").len(), before, "{tool}: nothing went on");
        let answer = owner.request(&retry(&state)).await;
        assert_eq!(answer.text(), format!("[{ACCEPTED}]"), "{tool}: it still waits for who was asked");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_nothing_to_another() {
    let (guarded, issuer) = guarded().await;
    let task = r#""taskId":"up-1","status":"working","createdAt":"2026-11-25T10:00:00Z","lastUpdatedAt":"2026-11-25T10:00:00Z","ttlMs":60000,"pollIntervalMs":100"#;
    guarded.new.change(|script| {
        script.capabilities = r#"{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#.to_owned();
        script.says.insert("tools/call".to_owned(), format!(r#""result":{{"resultType":"task",{task}}}"#));
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            script.says.insert(method.to_owned(), format!(r#""result":{{"resultType":"complete",{task}}}"#));
        }
    });
    let mut owner = HttpPeer::modern(ann(&guarded), "/mcp");
    let made = owner.request(&Call::tool("new__echo", "{}").able(ABLE)).await.result();
    let id = raw::text_at(&made, &["taskId"]).unwrap();
    let mut unknown = id.clone();
    let last = if unknown.pop() == Some('A') { 'B' } else { 'A' };
    unknown.push(last);
    let of = |method: &str, id: &str| {
        let more = if method == "tasks/update" { r#","inputResponses":{}"# } else { "" };
        Call::new(method, format!(r#""taskId":{}{more}"#, raw::quote(id))).able(ABLE)
    };
    for (who, http) in others(&guarded, &issuer) {
        let peer = HttpPeer::modern(http.clone(), "/mcp");
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let taken = http.send(&peer.ask("7", &of(method, &id))).await;
            let made_up = http.send(&peer.ask("7", &of(method, &unknown))).await;
            assert!(Answer::of(&taken).error().is_some(), "{who}, {method}: {}", taken.everything());
            assert_same(&format!("{who}, {method}"), &taken, &made_up, [&id, &unknown]);
        }
    }
    assert!(guarded.new.log().of_method("tasks/get").is_empty(), "nothing of it reached the server");
    let got = owner.request(&of("tasks/get", &id)).await;
    assert_eq!(raw::text_at(&got.result(), &["status"]).as_deref(), Some("working"), "{got:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_missed_is_not_read_by_another() {
    let (guarded, issuer) = guarded().await;
    guarded.old.change(|script| {
        script.acts.insert("tools/call".to_owned(), Act::ProgressThenGate);
    });
    let mut owner = HttpPeer::legacy(ann(&guarded), "/mcp").await;
    let call = Call::tool("old__echo", "{}").meta(r#""progressToken":"t""#);
    let mut stream = owner.open(&call).await;
    let event = loop {
        let event = soon("an event", stream.any_event()).await.unwrap().expect("progress");
        if event.data.contains("progress") {
            break event.id.expect("an id to come back with");
        }
    };
    drop(stream);
    let come_back = |peer: &HttpPeer| {
        Ask::new("GET", "/mcp")
            .with("Accept", "text/event-stream")
            .with("MCP-Protocol-Version", "2025-11-25")
            .with("Last-Event-ID", &event)
            .with("Mcp-Session-Id", peer.session.as_deref().unwrap())
    };
    for (who, http) in others(&guarded, &issuer) {
        // In the owner's session, and in one's own.
        let reply = http.send(&come_back(&owner)).await;
        assert_eq!(reply.status, 404, "{who}: {}", reply.everything());
        let own = HttpPeer::legacy(http.clone(), "/mcp").await;
        let reply = http.send(&come_back(&own)).await;
        assert_eq!(reply.status, 400, "{who}: {}", reply.everything());
        assert_eq!(Answer::of(&reply).refusal(), "unknown_event", "{who}");
    }
    guarded.old.release();
    let mut resumed = soon("the resumed stream", owner.http.open(&come_back(&owner))).await.unwrap();
    let event = soon("the answer", resumed.event()).await.unwrap().expect("the answer");
    assert!(event.data.contains("called echo") || event.data.contains("\"result\""), "{event:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_nothing_to_another() {
    let (guarded, issuer) = guarded().await;
    let mut owner = SsePeer::connect(ann(&guarded), "/sse").await;
    let (path, id) = owner.endpoint.split_once("sessionId=").unwrap();
    let mut unknown = id.to_owned();
    let last = if unknown.pop() == Some('A') { 'B' } else { 'A' };
    unknown.push(last);
    let message = Call::tool("new__echo", "{}").message("7", tollgate_testkit::fake::Dialect::Legacy);
    for (who, http) in others(&guarded, &issuer) {
        let post = |id: &str| {
            let ask = Ask::new("POST", &format!("{path}sessionId={id}"));
            ask.with("Content-Type", "application/json").body(message.as_str())
        };
        let (taken, made_up) = (http.send(&post(id)).await, http.send(&post(&unknown)).await);
        assert_eq!(taken.status, 404, "{who}: {}", taken.everything());
        assert_same(who, &taken, &made_up, [id, &unknown]);
    }
    owner.request(&Call::tool("new__echo", "{}")).await.result();
    assert_eq!(guarded.new.log().of_method("tools/call").len(), 1, "nobody else's call came through");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shows_another_credential_of_the_same_person_goes_on() {
    // A session outlives the token that it began with: a fresh one of the same person is as good.
    let (guarded, issuer) = guarded().await;
    let first = guarded.gateway.bearing(&issuer.token(&resource("/mcp")));
    let mut peer = HttpPeer::legacy(first, "/mcp").await;
    peer.http = guarded.gateway.bearing(&issuer.token(&resource("/mcp")));
    peer.request(&Call::tool("new__echo", "{}")).await.result();
}
