//! What results look like: content that a client's revision does not know, caching hints, views of MCP Apps, and the codes
//! of errors in either era.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::collections::HashSet;

use serde_json::{Value, json};
use tollgate_e2e::gateway::{Gateway, http, servers, with};
use tollgate_e2e::upstream::{Kind, Upstream};
use tollgate_testkit::fake::{Answer, Call, Dialect, FakeServer, HttpPeer, Peer, Script, json as raw};

const REVISIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
const LINK: &str = r#"{"type":"resource_link","name":"report","uri":"memo://r","title":"T","description":"Of the\nyear.","icons":[{"src":"https://a.example/i"}],"annotations":{"priority":0.50}}"#;
const AUDIO: &str = r#"{"type":"audio","data":"AAAA","mimeType":"audio/wav"}"#;

async fn client(gateway: &Gateway, path: &str, revision: &str) -> HttpPeer {
    if revision == "2026-07-28" {
        return gateway.modern(path);
    }
    HttpPeer::legacy_with(gateway.listen, path, revision, "{}").await
}

/// Has the server return this result to the letter, and gives what the client gets, less what an era demands.
async fn returned(peer: &mut HttpPeer, tool: &str, result: &str) -> Answer {
    peer.request(&Call::tool(tool, &format!(r#"{{"result":{result}}}"#))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_that_a_client_does_not_know_becomes_text() {
    for kind in [Kind::ModernJson, Kind::ModernStdio, Kind::LegacyStream, Kind::LegacySse, Kind::LegacyStdio]
    {
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = Gateway::start(&servers([("there", server.entry())])).await;
        let resource = r#"{"type":"resource","resource":{"uri":"memo://r","text":"audio resource_link"}}"#;
        let result = format!(
            r#"{{"content":[ {{"type":"text","text":"resource_link audio"}} ,{LINK},{AUDIO},{resource}],"structuredContent":{{"n":1.50}},"x":1.500}}"#
        );
        for revision in REVISIONS {
            let what = format!("{revision} of {kind:?}");
            for (path, tool) in [("/mcp/there", "return"), ("/mcp", "there__return")] {
                let mut peer = client(&gateway, path, revision).await;
                let got = returned(&mut peer, tool, &result).await;
                if revision == "2025-11-25" {
                    assert_eq!(got.result(), result, "{what}: to the letter");
                    continue;
                }
                let value = got.value();
                let content = value["content"].as_array().unwrap();
                assert_eq!(content.len(), 4, "{what}: {value}");
                assert_eq!(content[0]["text"], "resource_link audio", "{what}");
                assert_eq!(content[3], serde_json::from_str::<Value>(resource).unwrap(), "{what}");
                assert!(got.result().contains(r#""x":1.500"#), "{what}: {got:?}");
                if revision == "2025-06-18" {
                    let mut link: Value = serde_json::from_str(LINK).unwrap();
                    link.as_object_mut().unwrap().remove("icons");
                    assert_eq!(content[1], link, "{what}");
                    assert_eq!(value["structuredContent"], json!({ "n": 1.5 }), "{what}");
                } else {
                    assert_eq!(
                        content[1],
                        json!({ "type": "text", "text": "Resource report: memo://r (Of the year.)", "annotations": { "priority": 0.5 } }),
                        "{what}"
                    );
                    assert!(value.get("structuredContent").is_none(), "{what}: {value}");
                }
                if revision == "2024-11-05" {
                    assert_eq!(content[2]["type"], "text", "{what}: {value}");
                    assert!(content[2]["text"].as_str().unwrap().contains("audio/wav"), "{what}: {value}");
                } else {
                    assert_eq!(content[2], serde_json::from_str::<Value>(AUDIO).unwrap(), "{what}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn structured_content_becomes_text_where_nothing_else_says_it() {
    for kind in [Kind::ModernJson, Kind::LegacyJson] {
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = Gateway::start(&servers([("there", server.entry())])).await;
        for (result, revision, text) in [
            (r#"{"structuredContent":{"n":1.50}}"#, "2025-03-26", Some(r#"{"n":1.50}"#)),
            (r#"{"content":[],"structuredContent":{"n":1}}"#, "2024-11-05", Some(r#"{"n":1}"#)),
            (r#"{"content":[],"structuredContent":{"n":1}}"#, "2025-06-18", None),
            (r#"{"content":[],"structuredContent":[1,2]}"#, "2025-03-26", Some("[1,2]")),
        ] {
            let mut peer = client(&gateway, "/mcp/there", revision).await;
            let got = returned(&mut peer, "return", result).await.value();
            match text {
                Some(text) => {
                    assert_eq!(
                        got,
                        json!({ "content": [{ "type": "text", "text": text }] }),
                        "{revision} {result}"
                    );
                }
                None => assert_eq!(got, serde_json::from_str::<Value>(result).unwrap(), "{revision}"),
            }
        }
        // What only the modern era has: anything but an object.
        let odd = r#"{"content":[{"type":"text","text":"seven"}],"structuredContent":7}"#;
        let mut old = client(&gateway, "/mcp/there", "2025-11-25").await;
        let got = returned(&mut old, "return", odd).await.value();
        assert_eq!(got["content"][0]["text"], "seven");
        assert_eq!(got.get("structuredContent").is_some(), kind == Kind::LegacyJson, "{kind:?}: {got}");
        let mut new = gateway.modern("/mcp/there");
        assert_eq!(returned(&mut new, "return", odd).await.value()["structuredContent"], 7, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_prompts_are_fitted_too() {
    let messages = format!(
        r#"[{{"role":"user","content":{LINK}}},{{"role":"assistant","content":{AUDIO}}},{{"role":"user","content":{{"type":"text","text":"t"}}}}]"#
    );
    for kind in [Kind::ModernJson, Kind::LegacyJson] {
        let said = format!(r#""result":{{"resultType":"complete","messages":{messages}}}"#);
        let server = Upstream::start(kind, Script::legacy().saying("prompts/get", &said)).await;
        let gateway = Gateway::start(&servers([("there", server.entry())])).await;
        for (revision, types) in [
            ("2024-11-05", ["text", "text", "text"]),
            ("2025-03-26", ["text", "audio", "text"]),
            ("2025-06-18", ["resource_link", "audio", "text"]),
            ("2025-11-25", ["resource_link", "audio", "text"]),
            ("2026-07-28", ["resource_link", "audio", "text"]),
        ] {
            let mut peer = client(&gateway, "/mcp/there", revision).await;
            let got = peer.request(&Call::new("prompts/get", r#""name":"greet""#)).await;
            let value = got.value();
            let seen: Vec<_> = (0..3).map(|n| value["messages"][n]["content"]["type"].clone()).collect();
            assert_eq!(seen, types, "{revision} of {kind:?}");
            if revision >= "2025-11-25" {
                assert!(got.result().contains(&messages), "{revision} of {kind:?}: {got:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_names_of_servers_are_fitted() {
    let icons = r#""icons":[{"src":"https://a.example/i"}]"#;
    let script = || Script {
        tools: vec![format!(
            r#"{{"name":"t","title":"T",{icons},"execution":{{"taskSupport":"forbidden"}},"inputSchema":{{"type":"object"}},"outputSchema":{{"type":"object"}},"annotations":{{"title":"A"}}}}"#
        )],
        prompts: vec![format!(
            r#"{{"name":"p","title":"P",{icons},"arguments":[{{"name":"a","title":"A"}}]}}"#
        )],
        resources: vec![format!(r#"{{"uri":"memo://r","name":"r","title":"R",{icons}}}"#)],
        templates: vec![format!(r#"{{"uriTemplate":"memo://{{x}}","name":"x","title":"X",{icons}}}"#)],
        info: format!(r#"{{"name":"fake","version":"1","title":"F",{icons}}}"#),
        ..Script::legacy()
    };
    for kind in [Kind::ModernJson, Kind::LegacyJson] {
        let server = Upstream::start(kind, script()).await;
        let gateway = Gateway::start(&servers([("there", server.entry())])).await;
        for revision in REVISIONS {
            for path in ["/mcp/there", "/mcp"] {
                let what = format!("{revision} at {path} of {kind:?}");
                let mut peer = client(&gateway, path, revision).await;
                let has_icons = revision >= "2025-11-25";
                let has_titles = revision >= "2025-06-18";
                for (method, member) in [
                    ("tools/list", "tools"),
                    ("prompts/list", "prompts"),
                    ("resources/list", "resources"),
                    ("resources/templates/list", "resourceTemplates"),
                ] {
                    let list = peer.request(&Call::new(method, "")).await.value();
                    let item = &list[member][0];
                    assert_eq!(item.get("icons").is_some(), has_icons, "{what}: {item}");
                    assert_eq!(item.get("title").is_some(), has_titles, "{what}: {item}");
                    match member {
                        "tools" => {
                            assert_eq!(item.get("execution").is_some(), has_icons, "{what}: {item}");
                            assert_eq!(item.get("outputSchema").is_some(), has_titles, "{what}: {item}");
                            assert_eq!(item["annotations"]["title"], "A", "{what}: {item}");
                        }
                        "prompts" => {
                            assert_eq!(
                                item["arguments"][0].get("title").is_some(),
                                has_titles,
                                "{what}: {item}"
                            );
                        }
                        _ => {}
                    }
                }
            }
            let hello = Call::new(
                "initialize",
                format!(
                    r#""protocolVersion":"{revision}","capabilities":{{}},"clientInfo":{{"name":"raw","version":"1"}}"#
                ),
            );
            let peer = client(&gateway, "/mcp/there", revision).await;
            let ask = peer.ask("1", &hello).without("mcp-session-id").without("mcp-protocol-version");
            let info = Answer::of(&peer.http.send(&ask).await).value()["serverInfo"].clone();
            assert_eq!(info["name"], "fake");
            assert_eq!(info.get("icons").is_some(), revision >= "2025-11-25", "{revision}: {info}");
            assert_eq!(info.get("title").is_some(), revision >= "2025-06-18", "{revision}: {info}");
        }
    }
}

/// Another server's icons are taken only from where it is safe to take them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn icons_of_several_servers_are_safe_to_fetch() {
    let icons = r#"[{"src":"https://a.example/i"},{"src":"http://127.0.0.1/i"},{"src":"file:///i"},{"src":"data:image/png;base64,AA"}]"#;
    let tool = format!(r#"{{"name":"t","inputSchema":{{"type":"object"}},"icons":{icons}}}"#);
    let server = FakeServer::start(Script { tools: vec![tool.clone()], ..Script::modern() }).await;
    let gateway = Gateway::start(&servers([("there", http(&server.url()))])).await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let shown = gateway.peer(dialect, "/mcp").await.list("tools/list", None).await.value();
        let sources: Vec<_> =
            shown["tools"][0]["icons"].as_array().unwrap().iter().map(|i| &i["src"]).collect();
        assert_eq!(sources, ["https://a.example/i", "data:image/png;base64,AA"]);
        let native = gateway.peer(dialect, "/mcp/there").await.list("tools/list", None).await.result();
        assert!(native.contains(&tool), "{native}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completions_context_is_for_servers_that_know_it() {
    for (revision, kept) in [("2025-03-26", false), ("2025-06-18", true), ("2025-11-25", true)] {
        let script = Script { revision: revision.to_owned(), ..Script::legacy() };
        let server = Upstream::start(Kind::LegacyJson, script).await;
        let gateway = Gateway::start(&servers([("there", server.entry())])).await;
        let mut peer = gateway.modern("/mcp/there");
        let call = Call::new(
            "completion/complete",
            r#""ref":{"type":"ref/prompt","name":"greet"},"argument":{"name":"who","value":"a"},"context":{"arguments":{"b":"c"}}"#,
        );
        assert_eq!(peer.request(&call).await.value()["completion"]["values"][0], "ada", "{revision}");
        let seen = server.of_method("completion/complete").pop().unwrap();
        assert_eq!(seen.at(&["params", "context"]).is_some(), kept, "{revision}: {}", seen.text());
    }
}

fn listing(member: &str, hints: &str) -> String {
    format!(r#""result":{{"resultType":"complete","{member}":[]{hints}}}"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caching_hints_are_there_and_valid_whatever_a_server_says() {
    let methods = [
        ("tools/list", "tools", ""),
        ("prompts/list", "prompts", ""),
        ("resources/list", "resources", ""),
        ("resources/templates/list", "resourceTemplates", ""),
        ("resources/read", "contents", r#""uri":"memo://note/1""#),
    ];
    for (hints, ttl, scope) in [
        (r#","ttlMs":5000,"cacheScope":"public""#, 5000, "public"),
        (r#","ttlMs":5000,"cacheScope":"private""#, 5000, "private"),
        (r#","ttlMs":-1,"cacheScope":"public""#, 0, "public"),
        (r#","ttlMs":1.5,"cacheScope":"public""#, 0, "public"),
        (r#","ttlMs":"5000","cacheScope":"everyone""#, 0, "private"),
        (r#","ttlMs":null,"cacheScope":null"#, 0, "private"),
        ("", 0, "private"),
    ] {
        for modern in [true, false] {
            let mut script = if modern { Script::modern() } else { Script::legacy() };
            for (method, member, _) in methods {
                script = script.saying(method, &listing(member, hints));
            }
            let server = FakeServer::start(script).await;
            // What is kept has less and less time left.
            let entry = with(&http(&server.url()), json!({"cache": {"enabled": false}}));
            let gateway = Gateway::start(&servers([("there", entry)])).await;
            for (method, _, params) in methods {
                for path in ["/mcp/there", "/mcp"] {
                    // Nobody lists it, so that only its own endpoint knows whom to ask.
                    if method == "resources/read" && path == "/mcp" {
                        continue;
                    }
                    let what = format!("{method} at {path}, modern: {modern}, {hints}");
                    let got = gateway.modern(path).request(&Call::new(method, params)).await.value();
                    // What a legacy server says in these words means nothing: it may depend on the session.
                    let (ttl, scope) = if modern { (ttl, scope) } else { (0, "private") };
                    assert_eq!(got["ttlMs"].to_string(), ttl.to_string(), "{what}: {got}");
                    assert_eq!(got["cacheScope"], scope, "{what}: {got}");
                    let old =
                        client(&gateway, path, "2025-11-25").await.request(&Call::new(method, params)).await;
                    let old = old.value();
                    if modern {
                        assert!(
                            old.get("ttlMs").is_none() && old.get("cacheScope").is_none(),
                            "{what}: {old}"
                        );
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_asks_for_input_is_not_for_keeping() {
    let said = r#""result":{"resultType":"input_required","requestState":"s","inputRequests":{"a":{"method":"roots/list","params":{}}}}"#;
    let server = FakeServer::start(Script::modern().saying("resources/read", said)).await;
    let gateway = Gateway::start(&servers([("there", http(&server.url()))])).await;
    let peer = gateway.modern("/mcp/there");
    let call = Call::new("resources/read", r#""uri":"memo://note/1""#);
    let able =
        call.message("7", Dialect::Modern).replace(r#"Capabilities":{}"#, r#"Capabilities":{"roots":{}}"#);
    let got = Answer::of(&peer.http.send(&peer.ask("7", &call).body(able)).await);
    assert_eq!(got.value()["resultType"], "input_required", "{got:?}");
    assert!(!got.message.contains("ttlMs") && !got.message.contains("cacheScope"), "{got:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merged_list_is_kept_as_its_weakest_part() {
    let hints = |ttl: u32, scope: &str| Script {
        list_members: format!(r#","ttlMs":{ttl},"cacheScope":"{scope}""#),
        said_of_itself: format!(r#","ttlMs":{ttl},"cacheScope":"{scope}""#),
        ..Script::modern()
    };
    let long = FakeServer::start(hints(9000, "public")).await;
    let short = FakeServer::start(hints(3000, "public")).await;
    let own = FakeServer::start(hints(6000, "private")).await;
    let old = FakeServer::start(Script::legacy()).await;
    for (behind, ttl, scope) in [
        (vec![&long, &short], 3000, "public"),
        (vec![&long, &own], 6000, "private"),
        (vec![&own], 6000, "private"),
        (vec![&long, &old], 0, "private"),
        (vec![], 0, "private"),
    ] {
        // What is kept has less and less time left.
        let entry = |server: &FakeServer| with(&http(&server.url()), json!({"cache": {"enabled": false}}));
        let entries = ["a", "b"].into_iter().zip(&behind).map(|(name, server)| (name, entry(server)));
        let gateway = Gateway::start(&servers(entries)).await;
        let mut peer = gateway.modern("/mcp");
        for method in
            ["server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list"]
        {
            let got = peer.request(&Call::new(method, "")).await.value();
            assert_eq!((&got["ttlMs"], &got["cacheScope"]), (&json!(ttl), &json!(scope)), "{method}: {got}");
        }
    }
    // A server that is missing may come with anything.
    let dead = FakeServer::free_address().await;
    let config = servers([("a", http(&long.url())), ("b", http(&format!("http://{dead}/mcp")))]);
    let gateway = Gateway::start(&config).await;
    for method in ["server/discover", "tools/list"] {
        let got = gateway.modern("/mcp").request(&Call::new(method, "")).await.value();
        assert_eq!((&got["ttlMs"], &got["cacheScope"]), (&json!(0), &json!("private")), "{method}: {got}");
    }
}

/// One scope for all pages, although the one that is not shared comes last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_pages_of_a_merged_list_have_one_scope() {
    let paged = |scope: &str| {
        let names: Vec<String> = (0..5).map(|n| format!("t{n}")).collect();
        Script {
            page_size: 2,
            list_members: format!(r#","ttlMs":9000,"cacheScope":"{scope}""#),
            ..Script::modern().with_tools(names.iter().map(String::as_str))
        }
    };
    for (scopes, expected) in [(["public", "private"], "private"), (["public", "public"], "public")] {
        let one = FakeServer::start(paged(scopes[0])).await;
        let two = FakeServer::start(paged(scopes[1])).await;
        let gateway = Gateway::start(&servers([("one", http(&one.url())), ("two", http(&two.url()))])).await;
        let mut peer = Peer::from(gateway.modern("/mcp"));
        let (mut cursor, mut pages, mut tools) = (None::<String>, 0, 0);
        loop {
            let page = peer.list("tools/list", cursor.as_deref()).await.value();
            assert_eq!(page["cacheScope"], expected, "page {pages}: {page}");
            pages += 1;
            tools += page["tools"].as_array().unwrap().len();
            cursor = page["nextCursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        assert!(pages > 2 && tools == 10, "{pages} pages of {tools} tools");
    }
}

/// A server with one MCP App. Its view is not among its resources.
fn app(who: &str, tool: &str, view: &str) -> Script {
    Script {
        tools: vec![
            format!(
                r#"{{"name":"{tool}","inputSchema":{{"type":"object"}},"_meta":{{"ui":{{"resourceUri":"{view}","visibility":["app"]}},"ui/resourceUri":"{view}","x":1.50}}}}"#
            ),
            Script::tool("both"),
        ],
        resources: vec![Script::resource(&format!("memo://{who}"))],
        templates: vec![],
        views: vec![view.to_owned()],
        instructions: Some(who.to_owned()),
        capabilities: r#"{"tools":{},"prompts":{},"resources":{},"extensions":{"io.modelcontextprotocol/ui":{"mimeTypes":["text/html;profile=mcp-app"]},"a.example/unknown":{}}}"#.to_owned(),
        ..Script::legacy()
    }
}

async fn read(peer: &mut Peer, uri: &str) -> Answer {
    peer.request(&Call::new("resources/read", format!(r#""uri":{}"#, raw::quote(uri)))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_of_apps_are_found_by_the_tools_that_name_them() {
    for kind in [Kind::ModernJson, Kind::LegacyJson] {
        let one = Upstream::start(kind, app("one", "open", "ui://one/view.html")).await;
        let two = Upstream::start(kind, app("two", "show", "ui://two/view.html")).await;
        let mut gateway = Gateway::start(&servers([("one", one.entry()), ("two", two.entry())])).await;
        for listed_before in [false, true] {
            for dialect in [Dialect::Modern, Dialect::Legacy] {
                let what = format!("{dialect:?} of {kind:?}, listed before: {listed_before}");
                let mut peer = gateway.peer(dialect, "/mcp").await;
                if listed_before {
                    let tools = peer.list("tools/list", None).await.value();
                    let meta = &tools["tools"][0]["_meta"];
                    assert_eq!(meta["ui"]["resourceUri"], "ui://one/view.html", "{what}: nobody else has it");
                    assert_eq!(meta["ui/resourceUri"], "ui://one/view.html", "{what}");
                }
                for who in ["two", "one"] {
                    let uri = format!("ui://{who}/view.html");
                    let contents = read(&mut peer, &uri).await.value();
                    assert_eq!(contents["contents"][0]["uri"], *uri, "{what}");
                    assert_eq!(contents["contents"][0]["text"], format!("of {who}"), "{what}");
                }
                let nobody = read(&mut peer, "ui://three/view.html").await;
                let code = if dialect == Dialect::Modern { -32602 } else { -32002 };
                assert_eq!(nobody.code(), code, "{what}: {nobody:?}");
            }
            gateway.restart().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_two_servers_have_is_told_apart() {
    for kind in [Kind::ModernJson, Kind::LegacyJson] {
        let view = "ui://app/view.html?x=1";
        let one = Upstream::start(kind, app("one", "open", view)).await;
        let two = Upstream::start(kind, app("two", "show", view)).await;
        let mut gateway = Gateway::start(&servers([("one", one.entry()), ("two", two.entry())])).await;
        let mut known = Vec::new();
        for dialect in [Dialect::Modern, Dialect::Legacy] {
            let mut peer = gateway.peer(dialect, "/mcp").await;
            let tools = peer.list("tools/list", None).await;
            assert!(tools.result().contains(r#""x":1.50"#));
            let tools = tools.value();
            let of = |n: usize| {
                let meta = &tools["tools"][n]["_meta"];
                assert_eq!(meta["ui"]["resourceUri"], meta["ui/resourceUri"]);
                assert_eq!(meta["ui"]["visibility"], json!(["app"]));
                meta["ui"]["resourceUri"].as_str().unwrap().to_owned()
            };
            known = vec![("one", of(0)), ("two", of(2))];
            assert_eq!(known.iter().map(|(_, uri)| uri).collect::<HashSet<_>>().len(), 2, "{known:?}");
            for (who, uri) in &known {
                assert!(uri.starts_with("ui://"), "hosts take no other scheme: {uri}");
                let contents = read(&mut peer, uri).await.value();
                assert_eq!(contents["contents"][0]["text"], format!("of {who}"), "{uri}");
                assert_eq!(contents["contents"][0]["uri"], **uri, "in the name that was asked for");
            }
            // At its own endpoint everything is native.
            let mut native = gateway.peer(dialect, "/mcp/two").await;
            let tools = native.list("tools/list", None).await.value();
            assert_eq!(tools["tools"][0]["_meta"]["ui"]["resourceUri"], view);
            assert_eq!(read(&mut native, view).await.value()["contents"][0]["uri"], view);
        }
        let asked = two.of_method("resources/read").pop().unwrap();
        assert_eq!(
            asked.at(&["params", "uri"]),
            Some(raw::quote(view)),
            "the server is asked in its own words"
        );
        gateway.restart().await;
        let mut peer = gateway.peer(Dialect::Modern, "/mcp").await;
        for (who, uri) in &known {
            let contents = read(&mut peer, uri).await.value();
            assert_eq!(contents["contents"][0]["text"], format!("of {who}"), "{uri} right after a restart");
            assert_eq!(contents["contents"][0]["uri"], **uri);
        }
    }
}

/// The page of an app knows its server's tools by their native names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_names_are_understood_where_only_one_server_has_them() {
    let one = FakeServer::start(app("one", "open", "ui://one/v")).await;
    let mut script = app("two", "show", "ui://two/v");
    // A native name that reads as the public name of another server's tool.
    script.tools.push(Script::tool("one__open"));
    let two = FakeServer::start(script).await;
    let mut gateway = Gateway::start(&servers([("one", http(&one.url())), ("two", http(&two.url()))])).await;
    for listed_before in [false, true] {
        for dialect in [Dialect::Modern, Dialect::Legacy] {
            let mut peer = gateway.peer(dialect, "/mcp").await;
            if listed_before {
                peer.tools().await;
            }
            assert_eq!(peer.tool("show", "{}").await.text(), "called show");
            assert_eq!(peer.tool("open", "{}").await.text(), "called open");
            for unknown in ["both", "nothing"] {
                let answer = peer.tool(unknown, "{}").await;
                assert_eq!((answer.code(), answer.refusal().as_str()), (-32602, "unknown_tool"), "{unknown}");
            }
            let before = one.log().of_method("tools/call").len();
            assert_eq!(peer.tool("one__open", "{}").await.text(), "called open", "a public name wins");
            assert_eq!(one.log().of_method("tools/call").len(), before + 1);
        }
        gateway.restart().await;
    }
    // Names that nobody has are not looked for again and again.
    let mut peer = gateway.peer(Dialect::Legacy, "/mcp").await;
    let before = two.log().of_method("tools/list").len();
    for n in 0..20 {
        assert_eq!(peer.tool(&format!("nothing-{n}"), "{}").await.code(), -32602);
    }
    assert!(two.log().of_method("tools/list").len() <= before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_toolset_gives_native_names_and_views_only_to_what_it_shows() {
    let mut script = app("one", "open", "ui://one/v");
    script.tools.push(r#"{"name":"hidden","inputSchema":{"type":"object"},"_meta":{"ui":{"resourceUri":"ui://one/hidden"}}}"#.to_owned());
    script.tools.push(Script::tool("echo"));
    script.views.push("ui://one/hidden".to_owned());
    let one = FakeServer::start(script).await;
    let mut config = servers([("one", http(&one.url()))]);
    config["toolsets"] = json!({ "desk": { "tools": [
        { "tool": "one__open", "rename": "look" },
        { "tool": "one__echo", "rename": "say", "arguments": { "pinned": true } },
    ] } });
    let gateway = Gateway::start(&config).await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let mut peer = gateway.peer(dialect, "/mcp/desk").await;
        assert_eq!(peer.tool("open", "{}").await.text(), "called open");
        let echoed = peer.tool("echo", r#"{"pinned":false}"#).await.value();
        assert_eq!(echoed["echo"]["arguments"]["pinned"], true, "what is pinned stays pinned: {echoed}");
        for hidden in ["hidden", "both", "one__hidden"] {
            assert_eq!(peer.tool(hidden, "{}").await.refusal(), "unknown_tool", "{hidden}");
        }
        assert_eq!(read(&mut peer, "ui://one/v").await.value()["contents"][0]["text"], "of one");
        for other in ["ui://one/hidden", "ui://tollgate/one/one/hidden", "memo://one"] {
            assert_eq!(read(&mut peer, other).await.refusal(), "unknown_resource", "{other}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extensions_that_are_carried_are_declared_for_all() {
    let with_app = FakeServer::start(app("one", "open", "ui://one/v")).await;
    let without = FakeServer::start(Script::modern()).await;
    let config = servers([("plain", http(&without.url())), ("app", http(&with_app.url()))]);
    let gateway = Gateway::start(&config).await;
    let ui = json!({ "mimeTypes": ["text/html;profile=mcp-app"] });
    let found = gateway.modern("/mcp").request(&Call::new("server/discover", "")).await.value();
    let extensions = &found["capabilities"]["extensions"];
    assert_eq!(extensions["io.modelcontextprotocol/ui"], ui, "{found}");
    assert!(extensions.get("a.example/unknown").is_none(), "what is not known to be carried is not promised");
    let hello = Call::new(
        "initialize",
        r#""protocolVersion":"2025-11-25","capabilities":{"extensions":{"io.modelcontextprotocol/ui":{"x":1.50}}},"clientInfo":{"name":"raw","version":"1"}"#,
    );
    let peer = client(&gateway, "/mcp", "2025-11-25").await;
    let ask = peer.ask("1", &hello).without("mcp-session-id").without("mcp-protocol-version");
    let reply = peer.http.send(&ask).await;
    assert_eq!(Answer::of(&reply).value()["capabilities"]["extensions"]["io.modelcontextprotocol/ui"], ui);
    // The client's own declaration goes to the servers as it is.
    let greeted = with_app.log().of_method("initialize").pop().unwrap();
    assert_eq!(
        greeted.at(&["params", "capabilities", "extensions"]).as_deref(),
        Some(r#"{"io.modelcontextprotocol/ui":{"x":1.50}}"#)
    );
    let plain = Gateway::start(&servers([("plain", http(&without.url()))])).await;
    let found = plain.modern("/mcp").request(&Call::new("server/discover", "")).await.value();
    assert!(found["capabilities"]["extensions"].get("io.modelcontextprotocol/ui").is_none(), "{found}");
}

/// A link that this client cannot read as one still says how the resource can be read here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_as_text_has_the_uri_of_this_endpoint() {
    let one = FakeServer::start(Script::legacy()).await;
    let two = FakeServer::start(Script::legacy()).await;
    let gateway = Gateway::start(&servers([("one", http(&one.url())), ("two", http(&two.url()))])).await;
    let mut peer = client(&gateway, "/mcp", "2025-03-26").await;
    peer.request(&Call::new("resources/list", "")).await.result();
    let result = r#"{"content":[{"type":"resource_link","name":"n","uri":"memo://one"}]}"#;
    let got = returned(&mut peer, "two__return", result).await.text();
    assert_eq!(got, "Resource n: tollgate:two:memo://one");
}

/// What the server is and says on which method, and for each client: HTTP status and code.
type Row<'a> = (&'a str, &'a str, i64, &'a str, (u16, i64), (u16, i64));

/// Codes are bound to their era: each client gets those of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_have_the_codes_of_the_clients_era() {
    let error = |code: i64, more: &str| format!(r#"{{"code":{code},"message":"said so"{more}}}"#);
    let needs = r#","data":{"requiredCapabilities":{"sampling":{"tools":{}},"elicitation":{}}}"#;
    let rows: [Row<'_>; 15] = [
        ("modern", "resources/read", -32602, "", (200, -32602), (200, -32002)),
        ("modern", "resources/read", -32002, "", (200, -32602), (200, -32002)),
        ("legacy", "resources/read", -32002, "", (200, -32602), (200, -32002)),
        ("legacy", "resources/read", -32602, "", (200, -32602), (200, -32602)),
        ("modern", "prompts/get", -32602, "", (200, -32602), (200, -32602)),
        ("modern", "prompts/get", -32601, "", (404, -32601), (200, -32601)),
        ("legacy", "prompts/get", -32601, "", (404, -32601), (200, -32601)),
        ("modern", "tools/call", -32601, "", (404, -32601), (200, -32601)),
        ("modern", "tools/call", -32021, needs, (400, -32021), (200, -32603)),
        ("modern", "tools/call", -32020, "", (200, -32603), (200, -32603)),
        ("modern", "tools/call", -32022, "", (200, -32603), (200, -32603)),
        // A modern client would take these for the specification's, and call again.
        ("legacy", "tools/call", -32020, "", (200, -32603), (200, -32020)),
        ("legacy", "tools/call", -32021, "", (200, -32603), (200, -32021)),
        ("modern", "tools/call", -32603, "", (200, -32603), (200, -32603)),
        ("legacy", "tools/call", -32000, "", (200, -32000), (200, -32000)),
    ];
    for (era, method, code, more, modern, legacy) in rows {
        let script = if era == "modern" { Script::modern() } else { Script::legacy() };
        let said = format!(r#""error":{}"#, error(code, more));
        let server = FakeServer::start(script.saying(method, &said)).await;
        let gateway = Gateway::start(&servers([("there", http(&server.url()))])).await;
        let call = match method {
            "resources/read" => Call::new(method, r#""uri":"memo://note/1""#),
            "prompts/get" => Call::new(method, r#""name":"greet""#),
            _ => Call::tool("echo", "{}"),
        };
        for (dialect, (status, expected)) in [(Dialect::Modern, modern), (Dialect::Legacy, legacy)] {
            let what = format!("{code} of a {era} server on {method} for {dialect:?}");
            let before = server.log().of_method(method).len();
            let got = gateway.peer(dialect, "/mcp/there").await.request(&call).await;
            assert_eq!((got.status, got.code()), (status, expected), "{what}: {got:?}");
            if era == "legacy" {
                assert_eq!(server.log().of_method(method).len(), before + 1, "{what}: called once");
            }
            if code == -32021 && era == "modern" && dialect == Dialect::Legacy {
                let text = raw::text_at(&got.message, &["error", "message"]).unwrap();
                assert!(text.contains("sampling") && text.contains("elicitation"), "{what}: {text}");
            }
        }
    }
}
