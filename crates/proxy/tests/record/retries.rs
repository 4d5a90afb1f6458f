//! What is tried again, and what never is.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_limits::Glob;
use tollgate_model::ServerName;
use tollgate_proxy::{Handling, ProxySettings, ToolHandling};
use tollgate_upstream::{HttpSettings, RetrySettings, ServerSettings, Timeouts, Transport};

use crate::book::Book;
use crate::fake::{Answer, Fake, Seen, discovery, event, events, json_answer, response, status};
use crate::rig::World;

const ALL: &str = "permit(principal, action, resource);";

/// A modern server that fails in the way of the called tool (or of the URI read), so many times, and then answers. `bump` counts.
struct Flaky {
    fake: Fake,
    bumped: Arc<AtomicUsize>,
}

fn list() -> Value {
    let tool = |name: &str, annotations: Value| json!({"name": name, "inputSchema": {"type": "object"}, "annotations": annotations});
    json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public", "tools": [
        tool("break", json!({})),
        tool("hinted", json!({"readOnlyHint": true})),
        tool("known", json!({})),
        tool("told", json!({})),
        tool("late", json!({})),
        tool("busy", json!({})),
    ]})
}

impl Flaky {
    /// It fails so often before it does as it is asked.
    async fn start(failures: usize) -> Self {
        let bumped = Arc::new(AtomicUsize::new(0));
        let (count, failed) = (Arc::clone(&bumped), Arc::new(AtomicUsize::new(0)));
        let fake =
            Fake::start(move |request| {
                let (count, failed) = (Arc::clone(&count), Arc::clone(&failed));
                async move {
                    Self::answer(request, &count, || failed.fetch_add(1, Ordering::SeqCst) < failures).await
                }
            })
            .await;
        Self { fake, bumped }
    }

    async fn answer(request: Seen, count: &AtomicUsize, fails: impl Fn() -> bool) -> Answer {
        match request.rpc() {
            "server/discover" => return discovery(&request),
            "tools/list" => return json_answer(&response(&request, &list())),
            _ => {}
        }
        // It has its effect first, and fails then: that is what makes a second time a harm.
        count.fetch_add(1, Ordering::SeqCst);
        if !fails() {
            let result = json!({"resultType": "complete", "content": [], "contents": []});
            return json_answer(&response(&request, &result));
        }
        match request.tool() {
            "late" => std::future::pending().await,
            "busy" => {
                let mut answer = status(503);
                answer.headers_mut().insert("retry-after", "0".parse().unwrap());
                answer
            }
            "told" => {
                let (sender, answer) = events();
                let token = request.body["params"]["_meta"]["progressToken"].clone();
                let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                                      "params": {"progressToken": token, "progress": 1}});
                sender.send(event(&progress)).await.unwrap();
                answer
            }
            _ => panic!("the connection breaks: this is part of the test"),
        }
    }

    fn settings(&self) -> ServerSettings {
        let transport = Transport::Http(HttpSettings::new(self.fake.url()));
        let ms = Duration::from_millis;
        let retries = RetrySettings { wait_min: ms(1), wait_max: ms(5), ..RetrySettings::default() };
        let settings = ServerSettings::new(ServerName::new("flaky").unwrap(), transport);
        let timeouts = Timeouts { first_byte: Some(ms(1000)), ..settings.timeouts.clone() };
        ServerSettings { timeouts, retries, ..settings }
    }

    async fn world(&self, handling: Handling, book: &Book) -> World {
        let settings = self.settings();
        let handling = HashMap::from([(settings.id(), Arc::new(handling))]);
        let proxy = ProxySettings { handling, ..ProxySettings::default() };
        World::with(proxy, vec![settings], vec![], ALL, book.ledger.clone()).await
    }

    fn bumped(&self) -> usize {
        self.bumped.load(Ordering::SeqCst)
    }
}

fn reads(names: &[&str]) -> Handling {
    let read = ToolHandling { read_only: Some(true), ..ToolHandling::default() };
    let tools = names.iter().map(|name| (Glob::new(name), read)).collect();
    Handling { tools, ..Handling::default() }
}

#[tokio::test]
async fn a_tool_of_which_nothing_is_known_is_called_once() {
    for trusted in [false, true] {
        for tool in ["break", "late", "busy"] {
            let (book, flaky) = (Book::new(), Flaky::start(1).await);
            let handling = Handling { trust_annotations: trusted, ..reads(&["known"]) };
            let world = flaky.world(handling, &book).await;
            let told = world.modern("ann", "/mcp").call(&format!("flaky__{tool}"), json!({})).await;
            assert!(!told.is_ok(), "{told:?}");
            assert_eq!(flaky.bumped(), 1, "{tool}");
        }
    }
}

/// Each departure is on record by itself.
#[tokio::test]
async fn a_tool_that_changes_nothing_is_called_again() {
    for (tool, code) in
        [("known", "upstream_closed"), ("late", "upstream_timeout"), ("busy", "upstream_unavailable")]
    {
        let (book, flaky) = (Book::new(), Flaky::start(2).await);
        let world = flaky.world(reads(&["known", "la*", "busy"]), &book).await;
        let told = world.modern("ann", "/mcp").call(&format!("flaky__{tool}"), json!({})).await;
        assert!(told.is_ok(), "{told:?}");
        assert_eq!(flaky.bumped(), 3, "{tool}");
        let is_step = |line: &String| line.starts_with("intent") || line.starts_with("outcome");
        let lines: Vec<String> = book.lines().into_iter().filter(is_step).collect();
        let expected: Vec<String> = [code, code, ""]
            .into_iter()
            .enumerate()
            .flat_map(|(step, code)| {
                let intent = format!("intent {step} tools/call");
                let outcome = match code {
                    "" => format!("outcome {step} ok"),
                    code => format!("outcome {step} refused {code}"),
                };
                [intent, outcome]
            })
            .collect();
        assert_eq!(lines, expected);
    }
}

#[tokio::test]
async fn a_servers_hints_count_where_it_is_trusted() {
    for trusted in [false, true] {
        let (book, flaky) = (Book::new(), Flaky::start(1).await);
        let world = flaky.world(Handling { trust_annotations: trusted, ..Handling::default() }, &book).await;
        let ann = world.modern("ann", "/mcp");
        ann.list("tools/list").await;
        let told = ann.call("flaky__hinted", json!({})).await;
        assert_eq!((told.is_ok(), flaky.bumped()), (trusted, if trusted { 2 } else { 1 }), "{told:?}");
    }
}

#[tokio::test]
async fn reads_and_prompts_are_made_again_and_not_for_ever() {
    for (method, params) in
        [("resources/read", json!({"uri": "mem://a"})), ("prompts/get", json!({"name": "flaky__p"}))]
    {
        for (failures, is_ok, made) in [(2, true, 3), (100, false, 3)] {
            let (book, flaky) = (Book::new(), Flaky::start(failures).await);
            let world = flaky.world(Handling::default(), &book).await;
            let path = if method == "resources/read" { "/mcp/flaky" } else { "/mcp" };
            let told = world.modern("ann", path).ask(method, params.clone()).await;
            assert_eq!((told.is_ok(), flaky.bumped()), (is_ok, made), "{method}: {told:?}");
        }
    }
}

/// Whoever has heard of its progress would hear it again.
#[tokio::test]
async fn what_a_client_has_heard_of_is_not_tried_again() {
    let (book, flaky) = (Book::new(), Flaky::start(1).await);
    let world = flaky.world(reads(&["told"]), &book).await;
    let params = json!({"name": "flaky__told", "arguments": {}, "_meta": {"progressToken": "p"}});
    let told = world.modern("ann", "/mcp").ask("tools/call", params).await;
    assert_eq!(told.code(), "upstream_closed", "{told:?}");
    assert_eq!(flaky.bumped(), 1);
}

/// A retry is a request of its own: what was taken back meanwhile is not made again.
#[tokio::test]
async fn each_tool_may_have_its_own_number_of_retries_and_its_own_waits() {
    let (book, flaky) = (Book::new(), Flaky::start(100).await);
    let ms = Duration::from_millis;
    let never = ToolHandling { read_only: Some(true), retries: Some(0), ..ToolHandling::default() };
    let quick = ToolHandling { first_byte_timeout: Some(ms(50)), ..never };
    let handling = Handling {
        tools: vec![(Glob::new("known"), never), (Glob::new("late"), quick)],
        ..Handling::default()
    };
    let world = flaky.world(handling, &book).await;
    let ann = world.modern("ann", "/mcp");
    assert_eq!(ann.call("flaky__known", json!({})).await.code(), "upstream_closed");
    let told = ann.call("flaky__late", json!({})).await;
    let words = told.body["error"]["message"].as_str().unwrap();
    assert!(words.contains("within 50 ms (first byte timeout)"), "{words}");
    assert_eq!(flaky.bumped(), 2);
}
