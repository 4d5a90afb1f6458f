//! What is taken back ends at once, also what is open: every kind of stream, and every call under way.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_e2e::gateway::with;
use tollgate_e2e::guarded::{Guarded, declared, resource, trusted, unthrottled};
use tollgate_testkit::fake::{Ask, Call, Event, Http, HttpPeer, Live, SsePeer, soon, until};
use tollgate_testkit::issuer::{Issuer, api_key};

/// How soon whatever is open has to end, on a machine that may stand still meanwhile: long before it ends by itself.
const SOON: Duration = Duration::from_secs(8);

/// One open stream of each kind.
async fn open_streams(http: &Http) -> Vec<(&'static str, Live)> {
    let call = |tool: &str| Call::tool(tool, "{}").meta(r#""progressToken":"t""#);
    let mut modern = HttpPeer::modern(http.clone(), "/mcp");
    let mut legacy = HttpPeer::legacy(http.clone(), "/mcp").await;
    let listen = Call::new("subscriptions/listen", r#""notifications":{"toolsListChanged":true}"#);
    let mut streams = vec![
        ("a modern listener", modern.open(&listen).await),
        ("a modern call", modern.open(&call("new__progress_then_hang")).await),
        ("a modern call of a legacy server", modern.open(&call("old__progress_then_hang")).await),
        ("a legacy call", legacy.open(&call("old__progress_then_hang")).await),
        ("a legacy call of a modern server", legacy.open(&call("new__progress_then_hang")).await),
        ("a legacy stream", legacy.listen().await),
        ("an HTTP+SSE stream", SsePeer::connect(http.clone(), "/sse").await.stream),
    ];
    // A stream that broke and was resumed.
    let mut broken = legacy.open(&call("old__progress_then_hang")).await;
    let id = soon("an id", async {
        loop {
            let event = broken.any_event().await.unwrap().expect("an event");
            if let (Some(id), true) = (event.id, event.data.contains("progress")) {
                break id;
            }
        }
    })
    .await;
    drop(broken);
    let ask = Ask::new("GET", "/mcp")
        .with("Accept", "text/event-stream")
        .with("MCP-Protocol-Version", "2025-11-25")
        .with("Last-Event-ID", &id)
        .with("Mcp-Session-Id", legacy.session.as_deref().unwrap());
    streams.push(("a resumed stream", soon("the resumed stream", http.open(&ask)).await.unwrap()));
    for (what, stream) in &streams {
        assert_eq!(stream.status, 200, "{what}");
    }
    streams
}

/// Reads every stream to its end, and says how long that took for each.
pub(crate) async fn ends(streams: Vec<(&'static str, Live)>) -> Vec<(&'static str, Duration, Vec<Event>)> {
    ends_since(Instant::now(), streams).await
}

/// The same, where the time began then.
async fn ends_since(
    started: Instant,
    streams: Vec<(&'static str, Live)>,
) -> Vec<(&'static str, Duration, Vec<Event>)> {
    let readers = streams.into_iter().map(|(what, mut live)| {
        tokio::spawn(async move {
            let mut events = Vec::new();
            // A broken connection is an end too.
            while let Ok(Some(event)) = live.event().await {
                events.push(event);
            }
            (what, started.elapsed(), events)
        })
    });
    let mut ended = Vec::new();
    for reader in readers.collect::<Vec<_>>() {
        ended.push(soon("the end of a stream", reader).await.unwrap());
    }
    ended
}

fn identity(agents: &[&str], issuer: &Issuer, members: Value) -> Value {
    let keys: Vec<_> = agents.iter().map(|agent| declared(agent)).collect();
    unthrottled(json!({ "keys": keys, "issuers": [with(&trusted(issuer), members)] }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_no_longer_declared_ends_what_it_has_opened() {
    let issuer = Issuer::start().await;
    let guarded = Guarded::start(identity(&["ann", "bob"], &issuer, json!({}))).await;
    let (ann, bob) = (guarded.gateway.bearing(&api_key("ann")), guarded.gateway.bearing(&api_key("bob")));
    let streams = open_streams(&ann).await;
    let mut kept = open_streams(&bob).await;

    guarded.gateway.configure(&guarded.config(&identity(&["bob"], &issuer, json!({})), json!({})));
    guarded.gateway.logged("reload").await;
    for (what, took, _) in ends(streams).await {
        assert!(took < SOON, "{what} went on for {took:?}");
    }
    guarded.refuses("the key", &api_key("ann")).await;
    // Others notice nothing.
    guarded.takes("the other key", &api_key("bob")).await;
    until("the gateway listens", async || (guarded.new.listeners() > 0).then_some(())).await;
    guarded.new.push(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    let (_, listener) = &mut kept[0];
    let heard = async {
        loop {
            let event = listener.event().await.unwrap().expect("it is open");
            if event.data.contains("list_changed") {
                break;
            }
        }
    };
    soon("a notification to whoever may stay", heard).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_ends_ends_what_listens_by_it() {
    let issuer = Issuer::start().await;
    let guarded = Guarded::start(identity(&["bob"], &issuer, json!({ "clock_skew_ms": 0 }))).await;
    let end = std::time::SystemTime::now() + Duration::from_secs(10);
    let exp = end.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    // HTTP+SSE is a resource of its own.
    let audiences = json!([resource("/mcp"), resource("/sse")]);
    let token = issuer.token_with("unused", json!({ "exp": exp, "aud": audiences }));
    let streams = open_streams(&guarded.gateway.bearing(&token)).await;
    // A call that was let in may finish: its token was good. What only listens ends.
    let listens = ["a modern listener", "a legacy stream", "an HTTP+SSE stream"];
    let (streams, _calls): (Vec<_>, Vec<_>) =
        streams.into_iter().partition(|(what, _)| listens.contains(what));
    assert_eq!(streams.len(), listens.len());
    let started = Instant::now();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let left = Duration::from_secs(exp).saturating_sub(now);
    for (what, took, _) in ends_since(started, streams).await {
        assert!(took + Duration::from_millis(100) > left, "{what} ended too soon: {took:?} of {left:?}");
        assert!(took < left + SOON, "{what} went on for {took:?} of {left:?}");
    }
    guarded.refuses("the token", &token).await;
}
