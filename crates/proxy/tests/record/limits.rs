//! What limits leave no room for, and what they count.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tollgate_guard::shape::Bounds;
use tollgate_ledger::{Price, Prices};
use tollgate_limits::{About, Bound, Dimension, Every, Glob, LimitSettings, Rule, RunawaySettings, Unit};
use tollgate_model::ServerName;
use tollgate_proxy::{ProxySettings, Setup, SizeSettings, WhenLarger};
use tollgate_upstream::{HttpSettings, ServerSettings, Transport};

use crate::book::Book;
use crate::fake::{Fake, discovery, json_answer, response};
use crate::rig::{World, server};
use crate::shop::Shop;

const ALL: &str = r#"permit(principal in Agent::"ann", action, resource);
    permit(principal in Agent::"bob", action, resource);"#;
const HOUR: Duration = Duration::from_hours(1);

fn some(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

fn rule(name: &str, per: &[Dimension], bound: Bound) -> Rule {
    Rule { name: Arc::from(name), plan: None, per: per.to_vec(), about: About::default(), bound }
}

fn rate(requests: u32) -> Bound {
    Bound::Rate { requests: some(requests), per: HOUR, burst: some(requests) }
}

#[tokio::test]
async fn whoever_has_had_its_share_is_told_when_to_come_again() {
    for modern in [true, false] {
        let (book, shop) = (Book::new(), Shop::start(modern, &["read"]).await);
        let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
        world.limit(vec![
            rule("all-agents", &[Dimension::Tenant], rate(100)),
            rule("each-agent", &[Dimension::Agent], rate(2)),
        ]);
        let ann = world.either(modern, "ann", "/mcp").await;
        for _ in 0..2 {
            assert!(ann.call("shop__read", json!({})).await.is_ok());
        }
        let told = ann.call("shop__read", json!({})).await;
        assert_eq!(told.status, if modern { 429 } else { 200 });
        let refusal = told.refusal();
        assert_eq!(
            (&refusal["code"], &refusal["stage"], &refusal["source"], &refusal["retry"]),
            (&json!("rate_limited"), &json!("limits"), &json!("limit"), &json!("safe"))
        );
        assert_eq!((&refusal["limit"], &refusal["left"]), (&json!("each-agent"), &json!(0)));
        assert_eq!((&refusal["allowed"], &refusal["windowMs"]), (&json!(2), &json!(3_600_000)));
        let wait = refusal["retryAfterMs"].as_u64().unwrap();
        assert!((1_700_000..=1_800_000).contains(&wait), "{wait}");
        let header = |name: &str| told.headers[name].to_str().unwrap().to_owned();
        let seconds: u64 = header("retry-after").parse().unwrap();
        assert!(seconds * 1000 >= wait && seconds * 1000 < wait + 1000, "{seconds} s for {wait} ms");
        assert_eq!(header("ratelimit-policy"), "\"each-agent\";q=2;w=3600");
        assert_eq!(header("ratelimit"), format!("\"each-agent\";r=0;t={seconds}"));
        let entry: Value = book.entries().pop().unwrap();
        assert_eq!(
            (&entry["kind"], &entry["code"], &entry["stage"], &entry["outcome"]),
            (&json!("refusal"), &json!("rate_limited"), &json!("limits"), &json!("refused"))
        );
        assert_eq!(entry["detail"], json!({"limit": "each-agent", "of": "rate"}));
        assert_eq!(entry["call"], refusal["requestId"]);
        assert_eq!(shop.asked("tools/call"), 2, "what is refused reaches no server");
        let bob = world.either(modern, "bob", "/mcp").await;
        assert!(bob.call("shop__read", json!({})).await.is_ok(), "another agent has its own");
    }
}

#[tokio::test]
async fn what_policy_hides_no_limit_shows() {
    let shop = Shop::modern(&["read", "write"]).await;
    let text = r#"permit(principal in Agent::"ann", action, resource);
        permit(principal in Agent::"eve", action == Action::"shop__read", resource);"#;
    let world = World::new(vec![server("shop", &shop)], vec![], text).await;
    let about = About { tool: vec![Glob::new("write")], ..About::default() };
    world.limit(vec![Rule { about, ..rule("writes", &[], rate(1)) }]);
    let (ann, eve) = (world.modern("ann", "/mcp"), world.modern("eve", "/mcp"));
    for _ in 0..3 {
        assert_eq!(eve.call("shop__write", json!({})).await.code(), "unknown_tool");
    }
    assert!(ann.call("shop__write", json!({})).await.is_ok(), "what policy refuses is not counted");
    assert_eq!(ann.call("shop__write", json!({})).await.code(), "rate_limited");
    let (hidden, nowhere) =
        (eve.call("shop__write", json!({})).await, eve.call("shop__never", json!({})).await);
    assert_eq!(hidden.alike("shop__write"), nowhere.alike("shop__never"));
}

/// A place is held until the client has its answer, and not a moment longer.
#[tokio::test]
async fn so_many_are_under_way_at_once() {
    for modern in [true, false] {
        let shop = Shop::start(modern, &["read"]).await;
        let world = World::new(vec![server("shop", &shop)], vec![], ALL).await;
        world.limit(vec![rule("parallel", &[Dimension::Agent], Bound::Concurrency(some(1)))]);
        let ann = world.either(modern, "ann", "/mcp").await;
        let params = json!({"name": "shop__read", "arguments": {}});
        let first = ann.send(Method::POST, Some(("tools/call", params))).await;
        assert_eq!(first.status(), 200);
        let told = ann.call("shop__read", json!({})).await;
        assert_eq!((told.code(), told.status), ("concurrency_limited", if modern { 429 } else { 200 }));
        assert_eq!(told.headers["retry-after"], "1");
        assert_eq!(told.headers["ratelimit-policy"], "\"parallel\";q=1;qu=\"concurrent-requests\"");
        let answer = first.into_body().collect().await.unwrap().to_bytes();
        assert!(serde_json::from_slice::<Value>(&answer).unwrap()["result"].is_object());
        assert!(ann.call("shop__read", json!({})).await.is_ok());
    }
}

/// Its server may be at it for a while: whoever only goes away has no more under way than others. It is not for ever.
#[tokio::test]
async fn a_client_that_leaves_frees_its_place_after_a_while() {
    for (legacy, abandoned) in [
        (false, Duration::ZERO),
        (false, Duration::from_secs(4)),
        (true, Duration::from_secs(4)),
        (false, LimitSettings::default().abandoned),
    ] {
        let shop = Shop::start(!legacy, &["slow"]).await;
        let world = World::new(vec![server("shop", &shop)], vec![], ALL).await;
        let rules = vec![rule("parallel", &[], Bound::Concurrency(some(1)))];
        let limits = LimitSettings { rules, abandoned, ..LimitSettings::default() };
        world.gateway.apply(Setup { limits, ..world.setup.clone() }, HOUR).unwrap();
        shop.set_awake(false);
        let ann = world.modern("ann", "/mcp");
        let caller = ann.clone();
        let calling = tokio::spawn(async move { caller.call("shop__slow", json!({})).await });
        crate::eventually(|| (shop.asked("tools/call") == 1).then_some(())).await;
        assert_eq!(ann.call("shop__slow", json!({})).await.code(), "concurrency_limited");
        calling.abort();
        let _ = calling.await;
        shop.set_awake(true);
        let told = ann.call("shop__slow", json!({})).await;
        if abandoned.is_zero() {
            assert!(told.is_ok(), "{told:?}");
            continue;
        }
        assert_eq!(told.code(), "concurrency_limited", "its server may be at it still");
        if abandoned < Duration::from_secs(5) {
            let free = async {
                while !ann.call("shop__slow", json!({})).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(crate::LONG, free).await.expect("its place is free at last");
        }
    }
}

/// Whoever may not read more may not read more pages either.
#[tokio::test]
async fn pages_of_a_result_that_was_too_large_count_as_reads() {
    let (book, shop) = (Book::new(), Shop::modern(&["pay"]).await);
    let results = Bounds { bytes: Some(1000), ..Bounds::default() };
    let sizes = SizeSettings { results, when_larger: Some(WhenLarger::Aside), ..SizeSettings::default() };
    let settings = ProxySettings { sizes, ..ProxySettings::default() };
    let world = World::with(settings, vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
    world.limit(vec![rule("each-agent", &[Dimension::Agent], rate(2))]);
    let ann = world.modern("ann", "/mcp/shop");
    let told = ann.call("pay", json!({"path": "a".repeat(5000)})).await;
    let blocks = told.body["result"]["content"].as_array().unwrap_or_else(|| panic!("{told:?}"));
    let link = blocks.iter().find(|block| block["type"] == "resource_link");
    let page = json!({"uri": link.unwrap_or_else(|| panic!("{told:?}"))["uri"]});
    let told = ann.ask("resources/read", page.clone()).await;
    assert!(told.is_ok(), "{told:?}");
    assert_eq!(ann.ask("resources/read", page).await.code(), "rate_limited");
}

/// Nor is a server done with what took it too long.
#[tokio::test]
async fn a_request_whose_time_was_up_keeps_its_place_for_a_while() {
    let shop = Shop::modern(&["slow"]).await;
    let mut settings = server("shop", &shop);
    settings.timeouts.request = Duration::from_millis(100);
    let world = World::new(vec![settings], vec![], ALL).await;
    world.limit(vec![rule("parallel", &[], Bound::Concurrency(some(1)))]);
    shop.set_awake(false);
    let ann = world.modern("ann", "/mcp");
    assert_eq!(ann.call("shop__slow", json!({})).await.code(), "upstream_timeout");
    assert_eq!(ann.call("shop__slow", json!({})).await.code(), "concurrency_limited");
}

/// A server that wants to be asked twice before it answers.
async fn asks_first() -> Fake {
    Fake::start(|request| async move {
        match request.rpc() {
            "server/discover" => discovery(&request),
            "tools/list" => {
                let tool = json!({"name": "ask", "inputSchema": {"type": "object"}});
                let list =
                    json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public", "tools": [tool]});
                json_answer(&response(&request, &list))
            }
            _ if request.body["params"]["requestState"] == "asked" => {
                let result = json!({"resultType": "complete", "content": []});
                json_answer(&response(&request, &result))
            }
            _ => {
                let result = json!({"resultType": "input_required", "requestState": "asked"});
                json_answer(&response(&request, &result))
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_request_of_several_rounds_counts_once() {
    let asking = asks_first().await;
    let transport = Transport::Http(HttpSettings::new(asking.url()));
    let settings = ServerSettings::new(ServerName::new("shop").unwrap(), transport);
    let world = World::new(vec![settings], vec![], ALL).await;
    world.limit(vec![rule("calls", &[], rate(2)), rule("parallel", &[], Bound::Concurrency(some(1)))]);
    let ann = world.modern("ann", "/mcp");
    let call = json!({"name": "shop__ask", "arguments": {}});
    let told = ann.ask("tools/call", call.clone()).await;
    let state = told.body["result"]["requestState"].clone();
    assert!(state.is_string(), "{told:?}");
    let mut retry = call.clone();
    retry["requestState"] = state;
    // While the first waits it is not under way.
    let other = ann.ask("tools/call", call.clone()).await;
    assert!(other.is_ok(), "{other:?}");
    let told = ann.ask("tools/call", retry.clone()).await;
    assert_eq!(told.body["result"]["resultType"], "complete", "the round was counted: {told:?}");
    let told = ann.ask("tools/call", retry).await;
    assert_eq!(told.code(), "rate_limited", "brought again, it is another request");
}

/// A server that never has enough: with a question each time, or only wanting to be asked again.
async fn never_content(with_question: bool) -> Fake {
    Fake::start(move |request| async move {
        match request.rpc() {
            "server/discover" => discovery(&request),
            "tools/list" => {
                let tool = json!({"name": "ask", "inputSchema": {"type": "object"}});
                let list =
                    json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public", "tools": [tool]});
                json_answer(&response(&request, &list))
            }
            _ => {
                let mut result = json!({"resultType": "input_required", "requestState": "more"});
                if with_question {
                    result["inputRequests"] = json!({"r": {"method": "roots/list"}});
                }
                json_answer(&response(&request, &result))
            }
        }
    })
    .await
}

async fn before(server: &Fake) -> World {
    let transport = Transport::Http(HttpSettings::new(server.url()));
    World::new(vec![ServerSettings::new(ServerName::new("shop").unwrap(), transport)], vec![], ALL).await
}

/// What counts once has an end.
#[tokio::test]
async fn a_request_has_so_many_rounds_and_no_more() {
    for with_question in [false, true] {
        let server = never_content(with_question).await;
        let world = before(&server).await;
        world.limit(vec![rule("calls", &[], rate(1))]);
        let ann = world.modern("ann", "/mcp").able(json!({"roots": {}}));
        let mut call = json!({"name": "shop__ask", "arguments": {}});
        let rounds_max = world.setup.settings.input_rounds_max;
        for round in 0..rounds_max {
            let told = ann.ask("tools/call", call.clone()).await;
            let state = told.body["result"]["requestState"].clone();
            assert!(state.is_string(), "round {round}: {told:?}");
            call["requestState"] = state;
            if with_question {
                call["inputResponses"] = json!({"r": {"roots": []}});
            }
        }
        let told = ann.ask("tools/call", call).await;
        assert_eq!(told.code(), "upstream_protocol_error", "{told:?}");
        assert_eq!(server.seen("tools/call").len(), rounds_max as usize + 1);
    }
}

/// Whoever only has the server asked again has made another request of it, and is watched as for any other.
#[tokio::test]
async fn a_round_that_answers_nothing_counts() {
    let server = never_content(true).await;
    let world = before(&server).await;
    let ann = world.modern("ann", "/mcp").able(json!({"roots": {}}));
    let call = json!({"name": "shop__ask", "arguments": {}});
    let with = |state: &Value, responses: Option<Value>| {
        let mut retry = call.clone();
        retry["requestState"] = state.clone();
        if let Some(responses) = responses {
            retry["inputResponses"] = responses;
        }
        retry
    };
    world.limit(vec![rule("calls", &[], rate(1))]);
    let told = ann.ask("tools/call", call.clone()).await;
    let state = told.body["result"]["requestState"].clone();
    for nothing in [None, Some(json!({}))] {
        let told = ann.ask("tools/call", with(&state, nothing)).await;
        assert_eq!(told.code(), "rate_limited", "{told:?}");
    }
    assert_eq!(server.seen("tools/call").len(), 1);
    let told = ann.ask("tools/call", with(&state, Some(json!({"r": {"roots": []}})))).await;
    assert_eq!(told.body["result"]["resultType"], "input_required", "it may answer still: {told:?}");

    let runaway = RunawaySettings {
        repeats_max: some(6),
        slow: Duration::from_millis(1),
        ..RunawaySettings::default()
    };
    let limits = LimitSettings { runaway: Some(runaway), ..LimitSettings::default() };
    world.gateway.apply(Setup { limits, ..world.setup.clone() }, HOUR).unwrap();
    let mut told = ann.ask("tools/call", call.clone()).await;
    for _ in 0..20 {
        let Some(state) = told.body["result"].get("requestState").cloned() else { break };
        told = ann.ask("tools/call", with(&state, None)).await;
    }
    assert_eq!(told.code(), "paused", "{told:?}");
}

#[tokio::test]
async fn lists_have_limits_of_their_own() {
    for modern in [true, false] {
        let shop = Shop::start(modern, &["read"]).await;
        let world = World::new(vec![server("shop", &shop)], vec![], ALL).await;
        let about = About { method: vec![Glob::new("*/list")], ..About::default() };
        world.limit(vec![
            Rule { about, ..rule("lists", &[Dimension::Agent], rate(2)) },
            rule("calls", &[Dimension::Agent], rate(1)),
        ]);
        let ann = world.either(modern, "ann", "/mcp").await;
        assert_eq!(ann.list("tools/list").await, ["shop__read"]);
        assert!(ann.ask("prompts/list", json!({})).await.is_ok());
        let told = ann.ask("tools/list", json!({})).await;
        assert_eq!((told.code(), told.refusal()["limit"].as_str()), ("rate_limited", Some("lists")));
        assert!(ann.call("shop__read", json!({})).await.is_ok(), "calls are counted by theirs");
    }
}

/// Whoever opens session after session is a caller too.
#[tokio::test]
async fn sessions_have_limits_where_they_are_meant() {
    let shop = Shop::legacy(&["read"]).await;
    let world = World::new(vec![server("shop", &shop)], vec![], ALL).await;
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {},
                        "clientInfo": {"name": "it", "version": "1"}});
    for (pattern, path) in [("*", "/mcp"), ("initialize", "/mcp/shop")] {
        let about = About { method: vec![Glob::new(pattern)], ..About::default() };
        world.limit(vec![Rule {
            about,
            ..rule(&format!("of-{}", pattern.len()), &[Dimension::Agent], rate(2))
        }]);
        let ann = world.modern("ann", path).without_session();
        for _ in 0..2 {
            assert!(ann.ask("initialize", params.clone()).await.is_ok());
        }
        let told = ann.ask("initialize", params.clone()).await;
        assert_eq!((told.code(), told.status), ("rate_limited", 200), "{told:?}");
        assert!(told.headers.contains_key("retry-after"));
        let bob = world.modern("bob", path).without_session();
        assert!(bob.ask("initialize", params.clone()).await.is_ok());
    }
}

/// What a result costs is known when it is there: the call that uses up the rest is seen through.
#[tokio::test]
async fn results_are_paid_from_budgets() {
    let shop = Shop::modern(&["read"]).await;
    let world = World::new(vec![server("shop", &shop)], vec![], ALL).await;
    let of_money = Bound::Budget {
        allowed: 1_500_000_000,
        of: Unit::Cost,
        every: Every::Month,
        warn_at: None,
        is_soft: false,
    };
    let limits = LimitSettings {
        rules: vec![rule("money", &[Dimension::Agent], of_money)],
        currency: "EUR".into(),
        ..LimitSettings::default()
    };
    let price = Price { per_call_nano: 600_000_000, ..Price::default() };
    let prices = Prices { currency: "EUR".into(), prices: vec![price] };
    world.gateway.apply(Setup { limits, prices, ..world.setup.clone() }, HOUR).unwrap();
    let ann = world.modern("ann", "/mcp");
    let mut done = 0;
    let refused = loop {
        let told = ann.call("shop__read", json!({})).await;
        if !told.is_ok() {
            break told;
        }
        done += 1;
    };
    assert_eq!(done, 3, "0.60, 1.20, and the one that uses up the rest");
    assert_eq!((refused.code(), refused.status), ("budget_exhausted", 429));
    let refusal = refused.refusal();
    let said = (&refusal["allowed"], &refusal["left"], &refusal["currency"]);
    assert_eq!(said, (&json!(1.5), &json!(0.0), &json!("EUR")), "in the currency's unit");
    assert!(refused.headers.contains_key("retry-after") && !refused.headers.contains_key("ratelimit"));
    assert_eq!(shop.asked("tools/call"), 3);
    assert!(world.modern("bob", "/mcp").call("shop__read", json!({})).await.is_ok());
}

/// Whatever is asked for again and again, and however it is written.
#[tokio::test]
async fn reads_prompts_and_completions_are_watched_too() {
    let shop = Shop::modern(&["read"]).await;
    let world = World::new(vec![server("shop", &shop)], vec![], ALL).await;
    let usual = RunawaySettings::default();
    let runaway = RunawaySettings { repeats_max: some(8), slow: Duration::from_millis(1), ..usual };
    let reference = json!({"type": "ref/prompt", "name": "shop__greet"});
    let typed = json!({"name": "name", "value": "a"});
    for (method, params) in [
        ("resources/read", json!({"uri": "shop://open"})),
        ("prompts/get", json!({"name": "shop__greet"})),
        ("completion/complete", json!({"ref": reference, "argument": typed})),
    ] {
        // A configuration that is taken over anew ends the pause.
        let limits = LimitSettings { runaway: Some(runaway.clone()), ..LimitSettings::default() };
        world.gateway.apply(Setup { limits, ..world.setup.clone() }, HOUR).unwrap();
        let ann = world.modern("ann", "/mcp");
        let mut made = 0;
        while ann.ask(method, params.clone()).await.is_ok() {
            made += 1;
            assert!(made < 50, "{method}: it goes on and on");
        }
        assert!(made >= 8, "{method}: {made}");
        assert_eq!(ann.ask(method, params).await.code(), "paused", "{method}");
        assert_eq!(ann.call("shop__read", json!({})).await.code(), "paused", "{method}");
        assert_eq!(ann.ask("prompts/get", json!({"name": "shop__greet"})).await.code(), "paused");
    }
    let limits = LimitSettings { runaway: Some(runaway), ..LimitSettings::default() };
    world.gateway.apply(Setup { limits, ..world.setup.clone() }, HOUR).unwrap();
    let bob = world.legacy("bob", "/mcp").await;
    let written = [r#"{"path":"/x","depth":1}"#, r#"{ "depth" : 1, "path" : "\u002fx" }"#];
    let mut told = None;
    for nth in 0..50 {
        let params = format!(r#"{{"name":"shop__read","arguments":{}}}"#, written[nth % 2]);
        let answer = bob.ask_as_written("tools/call", &params).await;
        if !answer.is_ok() {
            told = Some((nth, answer.code().to_owned()));
            break;
        }
    }
    let (made, code) = told.expect("it goes on and on");
    assert!((8..20).contains(&made) && code == "paused", "{made} {code}");
}

#[tokio::test]
async fn an_agent_that_runs_away_is_paused() {
    let (book, shop) = (Book::new(), Shop::modern(&["read"]).await);
    let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
    let runaway = RunawaySettings {
        repeats_max: some(6),
        repeats_per_s: some(1),
        slow: Duration::from_millis(1),
        ..RunawaySettings::default()
    };
    let limits = LimitSettings { runaway: Some(runaway), ..LimitSettings::default() };
    world.gateway.apply(Setup { limits, ..world.setup.clone() }, HOUR).unwrap();
    let ann = world.modern("ann", "/mcp");
    let mut made = 0;
    let paused = loop {
        let told = ann.call("shop__read", json!({"path": "/same"})).await;
        if !told.is_ok() {
            break told;
        }
        made += 1;
        assert!(made < 200, "it goes on and on");
    };
    assert_eq!((paused.code(), paused.status, made), ("paused", 429, shop.asked("tools/call")));
    assert!(made >= 6 && paused.headers.contains_key("retry-after"));
    assert_eq!(ann.call("shop__read", json!({"path": "/other"})).await.code(), "paused");
    assert_eq!(book.entries().pop().unwrap()["detail"], json!({"limit": "runaway", "of": "runaway"}));
    assert!(world.modern("bob", "/mcp").call("shop__read", json!({"path": "/same"})).await.is_ok());
}
