//! What becomes of calls that a server of 2025-11-25 makes tasks of: their results are looked at as all others are.

use http::Method;
use serde_json::{Value, json};
use tollgate_guard::shape::Bounds;
use tollgate_guard::{Action, Direction, GuardSettings, Rule};
use tollgate_model::ServerName;
use tollgate_proxy::{ProxySettings, SchemaMode, SchemaSettings, SizeSettings, WhenLarger};
use tollgate_upstream::{HttpSettings, ServerSettings, Transport};

use crate::book::Book;
use crate::definitions::tool;
use crate::fake::{Fake, Seen, event, events, json_answer, response, status};
use crate::outside::{guard, settings, wherever};
use crate::rig::{Client, Told, World};

const ALL: &str = r#"permit(principal in Agent::"ann", action, resource);"#;

/// A server whose tool `must` always becomes a task, which comes to this.
async fn slow(comes_to: Value) -> (Fake, ServerSettings) {
    let fake = Fake::start(move |request: Seen| {
        let comes_to = comes_to.clone();
        async move {
            let say = |result: Value| json_answer(&response(&request, &result));
            let task = json!({"taskId": "t-1", "status": "completed", "createdAt": "2026-11-25T00:00:00Z",
                "lastUpdatedAt": "2026-11-25T00:00:00Z", "ttl": 60_000, "pollInterval": 10});
            match request.rpc() {
                "initialize" => say(json!({"protocolVersion": "2025-11-25",
                    "serverInfo": {"name": "old", "version": "1"},
                    "capabilities": {"tools": {}, "tasks": {"list": {}, "requests": {"tools": {"call": {}}}}}})),
                "tools/list" => {
                    let mut must = tool("must", "Must.");
                    must["execution"] = json!({"taskSupport": "required"});
                    must["outputSchema"] = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
                    say(json!({"tools": [must]}))
                }
                "tools/call" => say(json!({"task": task})),
                "tasks/get" => say(task),
                "tasks/result" => {
                    let (stream, answer) = events();
                    let said = event(&response(&request, &comes_to));
                    tokio::spawn(async move {
                        let _ = stream.send(said).await;
                    });
                    answer
                }
                _ if request.method == Method::GET => status(405),
                _ => status(202),
            }
        }
    })
    .await;
    let transport = Transport::Http(HttpSettings::new(fake.url()));
    let settings = ServerSettings::new(ServerName::new("old").unwrap(), transport);
    (fake, settings)
}

/// Who may call such a tool.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    /// A modern client that follows the task by the extension.
    Follows,
    /// A client of the server's own revision, which asks for `tasks/result`.
    Asks,
    /// One that knows nothing of tasks: the gateway follows it.
    Waits,
}

impl Who {
    const ALL: [Self; 3] = [Self::Follows, Self::Asks, Self::Waits];

    /// What the call came to: the answer, and the result within it.
    async fn call(self, world: &World) -> (Client, Told, Value) {
        let client = world.either(self != Self::Asks, "ann", "/mcp").await;
        let client = if self == Self::Waits { client.able(json!({})) } else { client };
        client.list("tools/list").await;
        match self {
            Self::Follows => {
                let made = client.call("old__must", json!({})).await;
                let told = client.ask("tasks/get", json!({"taskId": made.body["result"]["taskId"]})).await;
                let result = told.body["result"]["result"].clone();
                (client, told, result)
            }
            Self::Asks => {
                let params = json!({"name": "old__must", "arguments": {}, "task": {"ttl": 60_000}});
                let made = client.ask("tools/call", params).await;
                let task = json!({"taskId": made.body["result"]["task"]["taskId"]});
                let told = client.ask("tasks/result", task).await;
                let result = told.body["result"].clone();
                (client, told, result)
            }
            Self::Waits => {
                let told = client.call("old__must", json!({})).await;
                let result = told.body["result"].clone();
                (client, told, result)
            }
        }
    }
}

fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

#[tokio::test]
async fn guards_look_at_what_it_comes_to() {
    for who in Who::ALL {
        let (_server, old) = slow(text("it is ann@example.com, says Bob")).await;
        let book = Book::new();
        let world = World::recorded(vec![old], vec![], ALL, book.ledger.clone()).await;
        let of = |action| GuardSettings {
            results: Some(Direction { acts: true, rules: [(Rule::Email, action)].into() }),
            ..GuardSettings::default()
        };
        world.guard(of(Action::Mask));
        let (_, told, result) = who.call(&world).await;
        assert_eq!(result["content"][0]["text"], "it is [redacted:email], says Bob", "{who:?}: {told:?}");
        let found =
            book.entries().into_iter().filter_map(|entry| entry["detail"]["guard"].as_array().cloned());
        assert!(
            found.flatten().any(|one| one["rule"] == "personal.email" && one["in"] == "result"),
            "{who:?}"
        );

        world.guard(of(Action::Block));
        let (_, told, _) = who.call(&world).await;
        assert_eq!(told.code(), "guard_blocked", "{who:?}: {told:?}");
        assert!(!told.body.to_string().contains("ann@"), "{who:?}: {told:?}");

        let fake = guard(wherever("Bob", json!({"action": "mutate", "text": "it is somebody"}))).await;
        let mut outside = settings(&fake);
        (outside.arguments, outside.tools) = (false, vec!["old/must".to_owned()]);
        world.guard(GuardSettings { outside: vec![outside], ..GuardSettings::default() });
        let (_, told, result) = who.call(&world).await;
        assert_eq!(result["content"][0]["text"], "it is somebody", "{who:?}: {told:?}");
    }
}

#[tokio::test]
async fn it_is_as_its_tool_declares() {
    let schemas = SchemaSettings { results: Some(SchemaMode::Strict), ..SchemaSettings::default() };
    for (n, fits) in [(json!(1), true), (json!("s3cr3t"), false)] {
        for who in Who::ALL {
            let mut comes_to = text("x");
            comes_to["structuredContent"] = json!({"n": n});
            let (_server, old) = slow(comes_to).await;
            let (book, settings) = (Book::new(), ProxySettings { schemas, ..ProxySettings::default() });
            let world = World::with(settings, vec![old], vec![], ALL, book.ledger.clone()).await;
            let (_, told, result) = who.call(&world).await;
            if fits {
                assert_eq!(result["structuredContent"]["n"], n, "{who:?}: {told:?}");
            } else {
                assert_eq!(told.code(), "invalid_result", "{who:?}: {told:?}");
                assert!(!told.body.to_string().contains("s3cr3t"), "{who:?}: {told:?}");
            }
        }
    }
}

#[tokio::test]
async fn it_is_no_larger_than_allowed() {
    let results = Bounds { bytes: Some(10_000), ..Bounds::default() };
    for (when, who) in [WhenLarger::Refuse, WhenLarger::Cut, WhenLarger::Aside]
        .into_iter()
        .flat_map(|when| Who::ALL.map(|who| (when, who)))
    {
        let (_server, old) = slow(text(&"ü".repeat(50_000))).await;
        let sizes = SizeSettings { results, when_larger: Some(when), ..SizeSettings::default() };
        let settings = ProxySettings { sizes, ..ProxySettings::default() };
        let world = World::with(settings, vec![old], vec![], ALL, Book::new().ledger.clone()).await;
        let (client, told, result) = who.call(&world).await;
        if when == WhenLarger::Refuse {
            assert_eq!(told.code(), "result_too_large", "{who:?}: {told:?}");
            continue;
        }
        assert!(result.to_string().len() < 11_000, "{who:?}");
        let blocks = result["content"].as_array().unwrap_or_else(|| panic!("{who:?}: {told:?}"));
        if when == WhenLarger::Cut {
            assert!(blocks[0]["text"].as_str().unwrap().starts_with("üüü"), "{who:?}: {told:?}");
            assert!(blocks[1]["text"].as_str().unwrap().starts_with("[Cut by the gateway"), "{who:?}");
            continue;
        }
        let link = blocks.iter().find(|block| block["type"] == "resource_link").unwrap();
        let read = client.ask("resources/read", json!({"uri": link["uri"]})).await;
        assert!(
            read.body["result"]["contents"][0]["text"].as_str().unwrap().contains("üüü"),
            "{who:?}: {read:?}"
        );
    }
}
