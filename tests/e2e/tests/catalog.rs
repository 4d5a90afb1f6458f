//! What clients see: many servers as one, names that stay, pages that fit together, choices that cannot be overridden.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_e2e::gateway::{Gateway, http, servers, stdio, with};
use tollgate_e2e::upstream::{Kind, Upstream, fake_child};
use tollgate_testkit::fake::stdio::Stage;
use tollgate_testkit::fake::{Act, Call, Dialect, FakeServer, Live, Peer, Script, json as raw, soon, until};

const LONG: &str = "a_tool_whose_name_goes_on_and_on_until_no_model_api_would_take_it_any_more_at_all_1";
const LONG_TWIN: &str = "a_tool_whose_name_goes_on_and_on_until_no_model_api_would_take_it_any_more_at_all_2";

fn named(list: &Value, key: &str) -> Vec<String> {
    let names = list.as_array().unwrap_or_else(|| panic!("a list: {list}"));
    names
        .iter()
        .map(|entry| entry[key].as_str().unwrap_or_else(|| panic!("{key}: {entry}")).to_owned())
        .collect()
}

async fn uris(peer: &mut Peer) -> Vec<String> {
    named(&peer.list("resources/list", None).await.value()["resources"], "uri")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_servers_are_one_in_the_order_of_the_configuration() {
    let zulu = FakeServer::start(Script::legacy().with_tools(["two", "one"])).await;
    let alpha = FakeServer::start(Script::modern().with_tools(["three"])).await;
    let stage = Stage::new(&Script::legacy().with_tools(["four"]));
    let config = servers([
        ("alpha", http(&alpha.url())),
        ("child", stdio(&fake_child(), &stage)),
        ("zulu", http(&zulu.url())),
    ]);
    let gateway = Gateway::start(&config).await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let mut peer = gateway.peer(dialect, "/mcp").await;
        for _ in 0..3 {
            assert_eq!(
                peer.tools().await,
                ["alpha__three", "child__four", "zulu__two", "zulu__one"],
                "{dialect:?}"
            );
        }
        for tool in ["alpha__three", "child__four", "zulu__two"] {
            let native = tool.split_once("__").unwrap().1;
            assert_eq!(peer.tool(tool, "{}").await.text(), format!("called {native}"));
        }
        let prompts = peer.list("prompts/list", None).await.value();
        assert_eq!(
            named(&prompts["prompts"], "name"),
            ["alpha__greet", "alpha__part", "child__greet", "child__part", "zulu__greet", "zulu__part"]
        );
        let got = peer.request(&Call::new("prompts/get", r#""name":"zulu__greet""#)).await.value();
        assert_eq!(got["messages"][0]["content"]["text"], "greet", "the server is asked by its own name");
        let completed = peer
            .request(&Call::new(
                "completion/complete",
                r#""ref":{"type":"ref/prompt","name":"zulu__greet"},"argument":{"name":"who","value":"a"}"#,
            ))
            .await
            .value();
        assert_eq!(completed["completion"]["values"][0], "ada");
    }
    let completion = zulu.log().of_method("completion/complete").pop().unwrap();
    assert_eq!(completion.at(&["params", "ref", "name"]).as_deref(), Some(r#""greet""#));
    let get = zulu.log().of_method("prompts/get").pop().unwrap();
    assert_eq!(get.at(&["params", "name"]).as_deref(), Some(r#""greet""#));
}

/// The order is that of the file, not that of the alphabet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_is_the_files() {
    let server = FakeServer::start(Script::legacy().with_tools(["t"])).await;
    let gateway = Gateway::start(&servers([])).await;
    let entry = |name: &str| format!("  {name}:\n    url: {}\n", server.url());
    gateway.configure_text(&format!("servers:\n{}{}{}", entry("m"), entry("z"), entry("a")));
    let mut peer = Peer::from(gateway.modern("/mcp"));
    until("three servers", async || (peer.tools().await.len() == 3).then_some(())).await;
    assert_eq!(peer.tools().await, ["m__t", "z__t", "a__t"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_and_odd_names_are_shortened_stably_and_work() {
    let odd = ["with space", "slash/ed", "日本語", "ends__in_0123456789", "a.b-c"];
    let mut script = Script::modern().with_tools([LONG, LONG_TWIN].into_iter().chain(odd));
    script.prompts = vec![Script::prompt(LONG)];
    let server = FakeServer::start(script).await;
    let mut gateway = Gateway::start(&servers([("files", http(&server.url()))])).await;
    let public = Peer::from(gateway.modern("/mcp")).tools().await;
    assert_eq!(public.iter().collect::<HashSet<_>>().len(), 7, "{public:?}");
    for name in &public {
        assert!(name.len() <= 64 && name.starts_with("files__"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)), "{name}");
    }
    assert_eq!(public[6], "files__a.b-c", "a legal short name is kept");
    let natives: Vec<&str> = [LONG, LONG_TWIN].into_iter().chain(odd).collect();
    let call_all = async |gateway: &Gateway, when: &str| {
        for dialect in [Dialect::Modern, Dialect::Legacy] {
            // No list before: the name alone must do.
            for (public, native) in public.iter().zip(&natives) {
                let mut peer = gateway.peer(dialect, "/mcp").await;
                let answer = peer.tool(public, "{}").await;
                assert!(answer.error().is_none(), "{public} {when}: {answer:?}");
                assert_eq!(answer.text(), format!("called {native}"), "{when}");
            }
        }
    };
    call_all(&gateway, "after a list").await;
    gateway.restart().await;
    call_all(&gateway, "right after a restart").await;
    assert_eq!(Peer::from(gateway.modern("/mcp")).tools().await, public, "the same names after a restart");
    let mut peer = Peer::from(gateway.modern("/mcp"));
    let prompt = named(&peer.list("prompts/list", None).await.value()["prompts"], "name").remove(0);
    assert!(prompt.len() <= 64);
    gateway.restart().await;
    let mut peer = Peer::from(gateway.modern("/mcp"));
    let got = peer.request(&Call::new("prompts/get", format!(r#""name":"{prompt}""#))).await.value();
    assert_eq!(got["messages"][0]["content"]["text"], LONG);
    // A name that looks shortened but is nobody's.
    assert_eq!(peer.tool("files__nothing_0123456789", "{}").await.code(), -32602);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_do_not_change_because_a_server_appears() {
    let one = FakeServer::start(Script::modern().with_tools(["echo", LONG])).await;
    let two = FakeServer::start(Script::modern().with_tools(["echo", LONG])).await;
    let alone = servers([("one", http(&one.url()))]);
    let gateway = Gateway::start(&alone).await;
    let mut peer = Peer::from(gateway.modern("/mcp"));
    let before = peer.tools().await;
    gateway.configure(&servers([("another", http(&two.url())), ("one", http(&one.url()))]));
    until("both servers", async || (peer.tools().await.len() == 4).then_some(())).await;
    let after = peer.tools().await;
    assert_eq!(after[2..], before[..]);
    assert_eq!(
        Peer::from(gateway.modern("/mcp/one")).tools().await,
        ["echo", LONG],
        "native names at its own endpoint"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources_keep_their_uris_unless_two_servers_have_them() {
    let script = |who: &str, own: &str| Script {
        resources: vec![
            Script::resource("memo://both"),
            Script::resource(own),
            Script::resource("https://example.com/both"),
        ],
        instructions: Some(who.to_owned()),
        ..Script::legacy()
    };
    let one = FakeServer::start(script("one", "memo://only-one")).await;
    let two = FakeServer::start(script("two", "memo://only-two")).await;
    let mut gateway = Gateway::start(&servers([("one", http(&one.url())), ("two", http(&two.url()))])).await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let mut peer = gateway.peer(dialect, "/mcp").await;
        let listed = uris(&mut peer).await;
        assert_eq!(listed.iter().filter(|uri| *uri == "memo://both").count(), 0, "told apart: {listed:?}");
        assert_eq!(
            listed.iter().filter(|uri| uri.ends_with("memo://both")).count(),
            2,
            "both there: {listed:?}"
        );
        assert!(
            listed.contains(&"memo://only-one".to_owned()) && listed.contains(&"memo://only-two".to_owned()),
            "{listed:?}"
        );
        // Never rewritten, since clients may fetch it themselves.
        assert!(listed.contains(&"https://example.com/both".to_owned()), "{listed:?}");
        let mut read_by = BTreeMap::new();
        for uri in listed.iter().collect::<HashSet<_>>() {
            let contents = peer
                .request(&Call::new("resources/read", format!(r#""uri":{}"#, raw::quote(uri))))
                .await
                .value();
            assert_eq!(contents["contents"][0]["uri"], **uri, "the client is answered in the name it used");
            read_by.insert(uri.clone(), contents["contents"][0]["text"].as_str().unwrap().to_owned());
        }
        assert_eq!(read_by["memo://only-one"], "of one");
        assert_eq!(read_by["memo://only-two"], "of two");
        assert_eq!(read_by["https://example.com/both"], "of one", "the first in the file");
        let both: HashSet<_> = read_by
            .iter()
            .filter(|(uri, _)| uri.ends_with("memo://both"))
            .map(|(_, text)| text.as_str())
            .collect();
        assert_eq!(both, HashSet::from(["of one", "of two"]));
        // What only a template makes goes to its owner; both have this one, so the first.
        let contents = peer.request(&Call::new("resources/read", r#""uri":"memo://note/7""#)).await;
        assert!(contents.error().is_none(), "{contents:?}");
        // At its own endpoint everything is native.
        let mut native = gateway.peer(dialect, "/mcp/two").await;
        assert_eq!(uris(&mut native).await, ["memo://both", "memo://only-two", "https://example.com/both"]);
    }
    // Without a list before.
    let rewritten = uris(&mut gateway.peer(Dialect::Modern, "/mcp").await)
        .await
        .into_iter()
        .rfind(|uri| uri.ends_with("memo://both"))
        .unwrap();
    gateway.restart().await;
    let mut peer = gateway.peer(Dialect::Modern, "/mcp").await;
    for (uri, text) in [(rewritten.as_str(), "of two"), ("memo://only-two", "of two")] {
        let contents =
            peer.request(&Call::new("resources/read", format!(r#""uri":{}"#, raw::quote(uri)))).await.value();
        assert_eq!(contents["contents"][0]["text"], text, "{uri} right after a restart");
    }
}

/// Ten pages of 200, from two servers at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_tools_arrive_complete() {
    for kind in Kind::ALL {
        let names: Vec<String> = (0..2000).map(|n| format!("tool-{n:04}")).collect();
        let script =
            Script { page_size: 200, ..Script::legacy().with_tools(names.iter().map(String::as_str)) };
        let many = Upstream::start(kind, script).await;
        let few = FakeServer::start(Script::modern().with_tools(["one", "two"])).await;
        let config = servers([("few", http(&few.url())), ("many", many.entry())]);
        let gateway = Gateway::start(&config).await;
        for dialect in [Dialect::Modern, Dialect::Legacy] {
            let what = format!("{kind:?} for {dialect:?}");
            let mut native = gateway.peer(dialect, "/mcp/many").await;
            assert_eq!(native.tools().await, names, "{what}");
            let mut merged = gateway.peer(dialect, "/mcp").await;
            let listed = merged.tools().await;
            assert_eq!(listed.len(), 2002, "{what}");
            assert_eq!(listed.iter().collect::<HashSet<_>>().len(), 2002, "{what}: each once");
            let of_many: Vec<_> = listed.iter().filter_map(|name| name.strip_prefix("many__")).collect();
            assert_eq!(of_many, names, "{what}: in the server's order");
            assert_eq!(merged.tool("many__tool-1999", "{}").await.text(), "called tool-1999", "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_is_good_for_its_own_list_only() {
    let names: Vec<String> = (0..25).map(|n| format!("t{n}")).collect();
    let paged = || Script {
        page_size: 10,
        prompts: (0..25).map(|n| Script::prompt(&format!("p{n}"))).collect(),
        ..Script::legacy().with_tools(names.iter().map(String::as_str))
    };
    let one = FakeServer::start(paged()).await;
    let two = FakeServer::start(paged()).await;
    let gateway = Gateway::start(&servers([("one", http(&one.url())), ("two", http(&two.url()))])).await;
    let mut peer = Peer::from(gateway.modern("/mcp"));
    let first = peer.list("tools/list", None).await.value();
    let Some(cursor) = first["nextCursor"].as_str().map(str::to_owned) else {
        panic!("one page of 50 was not asked for: {first}")
    };
    assert!(peer.list("tools/list", Some(&cursor)).await.error().is_none());
    assert!(peer.list("tools/list", Some(&cursor)).await.error().is_none(), "a cursor may be used again");
    let mut bent = cursor.clone().into_bytes();
    let at = bent.len() / 2;
    bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
    let bent = String::from_utf8(bent).unwrap();
    let cut = &cursor[..cursor.len() - 4];
    for forged in ["from-10", "", "0", &bent, cut, "e30=", "\u{0}", &"A".repeat(10_000)] {
        let answer = peer.list("tools/list", Some(forged)).await;
        assert_eq!((answer.status, answer.code()), (200, -32602), "{forged:?}: {answer:?}");
    }
    assert_eq!(peer.list("prompts/list", Some(&cursor)).await.code(), -32602, "another list's cursor");
    assert_eq!(
        peer.request(&Call::new("tools/list", r#""cursor":7"#)).await.code(),
        -32602,
        "a cursor that is no text"
    );
    let mut legacy = gateway.peer(Dialect::Legacy, "/mcp").await;
    assert_eq!(legacy.tools().await.len(), 50);
}

/// Each server has its own time; a slow one takes nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_server_is_named_and_delays_nobody_beyond_its_time() {
    let slow = FakeServer::start(Script::modern().on("tools/list", Act::Hang)).await;
    let dead = FakeServer::free_address().await;
    let mad = FakeServer::start(Script::modern().on("tools/list", Act::Malformed)).await;
    let well = FakeServer::start(Script::modern().with_tools(["echo"])).await;
    let config = servers([
        ("slow", with(&http(&slow.url()), json!({ "list_timeout_ms": 700 }))),
        ("dead", http(&format!("http://{dead}/mcp"))),
        ("mad", http(&mad.url())),
        ("well", http(&well.url())),
    ]);
    let gateway = Gateway::start(&config).await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let mut peer = gateway.peer(dialect, "/mcp").await;
        let started = Instant::now();
        let page = peer.list("tools/list", None).await.value();
        let took = started.elapsed();
        // Any other server has more time than that.
        assert!(took < Duration::from_secs(8), "{dialect:?}: {took:?}");
        assert_eq!(named(&page["tools"], "name"), ["well__echo"]);
        let gaps = page["_meta"]["dev.tollgate/unavailable"].as_array().unwrap_or_else(|| panic!("{page}"));
        let gaps: BTreeMap<&str, &str> =
            gaps.iter().map(|gap| (gap["server"].as_str().unwrap(), gap["code"].as_str().unwrap())).collect();
        assert_eq!(
            gaps,
            BTreeMap::from([
                ("dead", "upstream_unavailable"),
                ("mad", "upstream_protocol_error"),
                ("slow", "upstream_timeout")
            ]),
            "{dialect:?}"
        );
        if dialect == Dialect::Modern {
            assert_eq!(page["resultType"], "complete");
            assert!(page["ttlMs"].is_u64() && page["cacheScope"].is_string(), "{page}");
        }
        // Its calls go on meanwhile.
        assert!(peer.tool("slow__echo", "{}").await.error().is_none());
    }
}

/// A toolset of two servers.
fn support(one: &str, two: &str) -> Value {
    let mut config = servers([("one", http(one)), ("two", http(two))]);
    config["toolsets"] = json!({
        "support": {
            "description": "For the people at the desk.",
            "tools": [
                { "tool": "two__write", "rename": "note", "description": "Writes a note.",
                  "arguments": { "path": "/notes/today.txt", "options": { "mode": "append" } } },
                "one__echo",
                { "server": "one", "tool": LONG, "rename": "long" },
            ],
            "prompts": ["one__greet"],
            "resources": [{ "server": "two", "uri": "memo://two" }],
        }
    });
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_toolset_shows_what_was_chosen_and_pins_what_was_pinned() {
    let one = FakeServer::start(Script::legacy().with_tools(["echo", "secret", LONG])).await;
    let write = r#"{"name":"write","description":"Writes.","x-kept":1.0,"inputSchema":{"type":"object","properties":{"path":{"type":"string"},"options":{"type":"object"},"text":{"type":"string"}},"required":["path","text"],"additionalProperties":false}}"#;
    let two = FakeServer::start(Script { tools: vec![write.to_owned()], ..Script::modern() }).await;
    let gateway = Gateway::start(&support(&one.url(), &two.url())).await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let mut peer = gateway.peer(dialect, "/mcp/support").await;
        let page = peer.list("tools/list", None).await.value();
        assert_eq!(
            named(&page["tools"], "name"),
            ["note", "one__echo", "long"],
            "in the order of the choice"
        );
        let note = &page["tools"][0];
        assert_eq!(note["description"], "Writes a note.");
        assert_eq!(note["x-kept"].to_string(), "1.0");
        assert_eq!(
            note["inputSchema"],
            json!({ "type": "object", "properties": { "text": { "type": "string" } }, "required": ["text"], "additionalProperties": false })
        );
        assert_eq!(page["tools"][1]["description"], "Does it.");

        for arguments in [
            r#"{"text":"hi"}"#,
            r#"{"text":"hi","path":"/etc/passwd"}"#,
            r#"{"text":"hi","p\u0061th":"/etc/passwd","options":{}}"#,
        ] {
            let seen = two.log().of_method("tools/call").len();
            let answer = peer.tool("note", arguments).await;
            let calls = two.log().of_method("tools/call");
            if answer.error().is_some() {
                // Refusing is as good as overriding; letting the caller's value through is not.
                assert_eq!((answer.code(), calls.len()), (-32602, seen), "{arguments}: {answer:?}");
                assert!(arguments.contains("passwd"), "{answer:?}");
                continue;
            }
            let call = &calls[seen];
            assert_eq!(call.at(&["params", "name"]).as_deref(), Some(r#""write""#));
            let got: Value = serde_json::from_str(&call.at(&["params", "arguments"]).unwrap()).unwrap();
            assert_eq!(
                got,
                json!({ "text": "hi", "path": "/notes/today.txt", "options": { "mode": "append" } }),
                "{arguments} for {dialect:?}"
            );
            let keys = raw::members(&call.at(&["params", "arguments"]).unwrap()).0.len();
            assert_eq!(keys, 3, "each argument once");
        }
        // Without any arguments at all.
        let seen = two.log().of_method("tools/call").len();
        let answer = peer.request(&Call::new("tools/call", r#""name":"note""#)).await;
        assert!(answer.error().is_none(), "{answer:?}");
        let call = two.log().of_method("tools/call").remove(seen);
        assert_eq!(call.at(&["params", "arguments", "path"]).as_deref(), Some(r#""/notes/today.txt""#));

        assert_eq!(peer.tool("long", "{}").await.text(), format!("called {LONG}"));
        assert_eq!(peer.tool("one__echo", r#"{"a":1}"#).await.text(), "echo");
        for hidden in ["one__secret", "secret", "two__write"] {
            let calls = (one.log().of_method("tools/call").len(), two.log().of_method("tools/call").len());
            assert_eq!(peer.tool(hidden, "{}").await.code(), -32602, "{hidden}");
            let now = (one.log().of_method("tools/call").len(), two.log().of_method("tools/call").len());
            assert_eq!(calls, now, "{hidden} was called");
        }
        let prompts = peer.list("prompts/list", None).await.value();
        assert_eq!(named(&prompts["prompts"], "name"), ["one__greet"]);
        assert!(peer.request(&Call::new("prompts/get", r#""name":"one__greet""#)).await.error().is_none());
        assert_eq!(peer.request(&Call::new("prompts/get", r#""name":"one__part""#)).await.code(), -32602);
        assert_eq!(uris(&mut peer).await, ["memo://two"]);
        assert!(peer.request(&Call::new("resources/read", r#""uri":"memo://two""#)).await.error().is_none());
        assert!(peer.request(&Call::new("resources/read", r#""uri":"memo://one""#)).await.error().is_some());
    }
}

/// What a toolset says of itself, and that it is no place for methods of a server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_toolset_introduces_itself() {
    let one = FakeServer::start(Script::legacy().with_tools(["echo", LONG])).await;
    let two = FakeServer::start(Script::modern().with_tools(["write"])).await;
    let gateway = Gateway::start(&support(&one.url(), &two.url())).await;
    let mut peer = gateway.modern("/mcp/support");
    let hello = peer.request(&Call::new("server/discover", "")).await.value();
    assert_eq!(
        hello["supportedVersions"].as_array().map(|all| all.contains(&json!("2026-07-28"))),
        Some(true),
        "{hello}"
    );
    assert!(
        hello["instructions"].as_str().is_some_and(|text| text.contains("For the people at the desk.")),
        "{hello}"
    );
    assert!(hello["capabilities"]["tools"].is_object(), "{hello}");
}

async fn list_changed(stream: &mut Live, what: &str) {
    loop {
        let event = soon(what, stream.event())
            .await
            .expect("a stream")
            .unwrap_or_else(|| panic!("{what}: the stream ended"));
        if event.data.contains("notifications/tools/list_changed") {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_servers_list_changed_reaches_clients_that_listen() {
    for kind in Kind::ALL {
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = Gateway::start(&servers([("there", server.entry())])).await;
        for path in ["/mcp", "/mcp/there"] {
            let what = format!("{kind:?} at {path}");
            let peer = gateway.legacy(path).await;
            let mut stream = peer.listen().await;
            assert_eq!(stream.status, 200, "{what}");
            let mut peer = Peer::from(peer);
            let before = peer.tools().await;
            let tool = if path == "/mcp" { "there__grow" } else { "grow" };
            // The server has nowhere to say it before the gateway listens.
            if kind == Kind::ModernStdio {
                server.wait_method("subscriptions/listen", 1).await;
            } else if !kind.is_stdio() {
                until("the gateway listens", async || (server.server().listeners() > 0).then_some(())).await;
            }
            let grown = peer.tool(tool, "{}").await.text();
            list_changed(&mut stream, &what).await;
            // The word may still be about what was there before.
            let after = until(&what, async || {
                Some(peer.tools().await).filter(|after| after.len() == before.len() + 1)
            })
            .await;
            assert!(after.iter().any(|name| name.ends_with(&grown)), "{what}: {after:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_changes_what_a_client_sees_is_told() {
    let one = FakeServer::start(Script::legacy()).await;
    let two = FakeServer::start(Script::modern()).await;
    let alone = servers([("one", http(&one.url()))]);
    let both = servers([("one", http(&one.url())), ("two", http(&two.url()))]);
    let gateway = Gateway::start(&alone).await;
    let peer = gateway.legacy("/mcp").await;
    let mut stream = peer.listen().await;
    let mut sse = gateway.sse("/sse").await;
    let mut peer = Peer::from(peer);
    let before = peer.tools().await.len();
    gateway.configure(&both);
    list_changed(&mut stream, "a server more").await;
    list_changed(&mut sse.stream, "a server more, over SSE").await;
    assert!(peer.tools().await.len() > before);
    gateway.configure(&alone);
    list_changed(&mut stream, "a server less").await;
    // The word may still be about the server that came.
    until("the list without it", async || (peer.tools().await.len() == before).then_some(())).await;
    assert_eq!(peer.tool("two__echo", "{}").await.code(), -32602);
}

/// Capabilities are those of all servers together, and instructions are told apart by server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_merged_endpoint_speaks_for_all() {
    let one = FakeServer::start(Script {
        capabilities: r#"{"tools":{}}"#.to_owned(),
        instructions: Some("Use one for ones.".to_owned()),
        ..Script::legacy()
    })
    .await;
    let two = FakeServer::start(Script {
        capabilities: r#"{"prompts":{},"completions":{}}"#.to_owned(),
        instructions: Some("Use two for twos.".to_owned()),
        ..Script::modern()
    })
    .await;
    let gateway = Gateway::start(&servers([("one", http(&one.url())), ("two", http(&two.url()))])).await;
    let mut peer = gateway.modern("/mcp");
    let hello = peer.request(&Call::new("server/discover", "")).await.value();
    for capability in ["tools", "prompts", "completions"] {
        assert!(hello["capabilities"][capability].is_object(), "{capability}: {hello}");
    }
    let instructions = hello["instructions"].as_str().unwrap_or_else(|| panic!("{hello}"));
    assert!(
        instructions.contains("Use one for ones.") && instructions.contains("Use two for twos."),
        "{instructions}"
    );
    // A server without prompts is not asked for any.
    assert!(peer.request(&Call::new("prompts/list", "")).await.error().is_none());
    assert!(one.log().of_method("prompts/list").is_empty());
}

/// A choice of everything, and of something that is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_toolset_may_choose_all_and_survives_what_is_missing() {
    let one = FakeServer::start(Script::legacy().with_tools(["a", "b"])).await;
    let two = FakeServer::start(Script::modern().with_tools(["c"])).await;
    let dead = FakeServer::free_address().await;
    let mut config = servers([
        ("dead", http(&format!("http://{dead}/mcp"))),
        ("one", http(&one.url())),
        ("two", http(&two.url())),
    ]);
    config["toolsets"] = json!({
        "all": { "tools": [{ "server": "two", "tool": "*" }, { "server": "one", "tool": "*" }] },
        "some": { "tools": ["one__b", "two__no-such", "dead__x"] },
    });
    let gateway = Gateway::start(&config).await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let mut all = gateway.peer(dialect, "/mcp/all").await;
        assert_eq!(all.tools().await, ["two__c", "one__a", "one__b"]);
        assert_eq!(all.tool("one__b", "{}").await.text(), "called b");
        let mut some = gateway.peer(dialect, "/mcp/some").await;
        let page = some.list("tools/list", None).await.value();
        assert_eq!(named(&page["tools"], "name"), ["one__b"]);
        let gaps = named(&page["_meta"]["dev.tollgate/unavailable"], "server");
        assert!(gaps.contains(&"dead".to_owned()), "{page}");
        assert!(some.tool("one__a", "{}").await.error().is_some());
        assert_eq!(some.tool("dead__x", "{}").await.code(), -32603);
    }
}
