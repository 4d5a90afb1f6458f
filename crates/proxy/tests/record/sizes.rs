//! Arguments and results that are too large.

use serde_json::{Value, json};
use tollgate_guard::shape::Bounds;
use tollgate_proxy::{ProxySettings, SchemaMode, SchemaSettings, SizeSettings, WhenLarger};

use crate::book::Book;
use crate::rig::{World, server};
use crate::shop::Shop;

const ALL: &str = "permit(principal, action, resource);";

async fn world(shop: &Shop, sizes: SizeSettings) -> (Book, World) {
    let (book, settings) = (Book::new(), ProxySettings { sizes, ..ProxySettings::default() });
    let world = World::with(settings, vec![server("shop", shop)], vec![], ALL, book.ledger.clone()).await;
    (book, world)
}

fn results(bytes: u64, when: WhenLarger) -> SizeSettings {
    let results = Bounds { bytes: Some(bytes), ..Bounds::default() };
    SizeSettings { results, when_larger: Some(when), ..SizeSettings::default() }
}

/// The shop gives back what it got, as one text.
fn long() -> Value {
    json!({ "path": "ü".repeat(50_000) })
}

#[tokio::test]
async fn arguments_that_are_too_large_or_deep_are_told_to_the_model() {
    for modern in [true, false] {
        let shop = Shop::start(modern, &["pay"]).await;
        let arguments = Bounds { depth: Some(3), string_bytes: Some(100), ..Bounds::default() };
        let (book, world) = world(&shop, SizeSettings { arguments, ..SizeSettings::default() }).await;
        let ann = world.either(modern, "ann", "/mcp").await;
        for (sent, word) in
            [(json!({"x": [[[1]]]}), "levels"), (json!({"path": "a".repeat(101)}), "bytes in one text")]
        {
            let told = ann.call("shop__pay", sent).await;
            assert_eq!(told.body["result"]["isError"], true, "{told:?}");
            assert!(told.body["result"]["content"][0]["text"].as_str().unwrap().contains(word), "{told:?}");
            assert_eq!(book.entries().pop().unwrap()["code"], "invalid_arguments");
        }
        assert_eq!(shop.asked("tools/call"), 0);
        assert!(ann.call("shop__pay", json!({"x": [[1]], "path": "a".repeat(100)})).await.is_ok());
    }
}

#[tokio::test]
async fn a_result_that_is_too_large_is_refused_or_cut() {
    for modern in [true, false] {
        let shop = Shop::start(modern, &["pay"]).await;
        let (book, refusing) = world(&shop, results(10_000, WhenLarger::Refuse)).await;
        let told = refusing.either(modern, "ann", "/mcp").await.call("shop__pay", long()).await;
        assert_eq!((told.code(), &told.refusal()["retry"]), ("result_too_large", &json!("unsafe")));
        let entry =
            book.entries().into_iter().rfind(|entry| entry["code"] == "result_too_large").expect("on record");
        assert_eq!(
            (&entry["detail"]["guard"][0]["rule"], &entry["detail"]["guard"][0]["allowed"]),
            (&json!("size.bytes"), &json!(10_000))
        );

        let (_, cutting) = world(&shop, results(10_000, WhenLarger::Cut)).await;
        let ann = cutting.either(modern, "ann", "/mcp").await;
        let told = ann.call("shop__pay", long()).await;
        let blocks = told.body["result"]["content"].as_array().unwrap();
        assert_eq!(blocks.len(), 2, "{told:?}");
        let text = blocks[0]["text"].as_str().unwrap();
        assert!(long().to_string().starts_with(text) && text.len() > 5_000 && text.len() < 10_000);
        assert!(blocks[1]["text"].as_str().unwrap().starts_with("[Cut by the gateway"));
        let told = ann.call("shop__pay", json!({"path": "a"})).await;
        assert_eq!(told.body["result"]["content"].as_array().unwrap().len(), 1, "what is small is as it was");
    }
}

/// All pages together are the whole result, and nobody but its caller can read them.
#[tokio::test]
async fn a_result_that_is_kept_aside_is_read_page_by_page_by_its_caller_alone() {
    for modern in [true, false] {
        let shop = Shop::start(modern, &["pay"]).await;
        let (_, world) = world(&shop, results(10_000, WhenLarger::Aside)).await;
        let ann = world.either(modern, "ann", "/mcp/shop").await;
        let told = ann.call("pay", long()).await;
        let blocks = told.body["result"]["content"].as_array().unwrap();
        let link = blocks
            .iter()
            .find(|block| block["type"] == "resource_link")
            .unwrap_or_else(|| panic!("{told:?}"));
        let uri = link["uri"].as_str().unwrap().to_owned();
        assert!(blocks[1]["text"].as_str().unwrap().contains(&uri));
        let (mut all, mut next) = (String::new(), Some(uri.clone()));
        while let Some(uri) = next {
            let told = ann.ask("resources/read", json!({ "uri": uri })).await;
            let contents = told.body["result"]["contents"].as_array().unwrap_or_else(|| panic!("{told:?}"));
            assert_eq!(
                (&contents[0]["uri"], told.body["result"]["resultType"] == "complete"),
                (&json!(uri), modern)
            );
            all.push_str(contents[0]["text"].as_str().unwrap());
            next = contents.get(1).map(|more| more["uri"].as_str().unwrap().to_owned());
        }
        assert_eq!(all, long().to_string());
        assert_eq!(all.len() as u64, link["size"].as_u64().unwrap());
        let bob = world.either(modern, "bob", "/mcp/shop").await;
        assert_eq!(bob.ask("resources/read", json!({ "uri": uri })).await.code(), "unknown_resource");
        for wrong in [format!("{uri}?page=0"), format!("{uri}?page=99"), format!("{uri}0")] {
            assert_eq!(ann.ask("resources/read", json!({ "uri": wrong })).await.code(), "unknown_resource");
        }
        assert_eq!(shop.asked("resources/read"), 0, "no server is asked");
    }
}

/// What a task comes to is what its tool declares, and no larger than allowed.
#[tokio::test]
async fn what_a_task_comes_to_is_as_large_and_as_declared_as_a_result() {
    let later = |request: &crate::fake::Seen| {
        let mut task = json!({"resultType": "task", "taskId": "t-1", "status": "working", "ttlMs": 60_000,
            "createdAt": "2026-11-25T00:00:00Z", "lastUpdatedAt": "2026-11-25T00:00:00Z"});
        match request.rpc() {
            "tools/list" => {
                let mut tool = crate::definitions::tool("later", "Later.");
                tool["outputSchema"] =
                    json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
                crate::definitions::page("tools", &json!([tool]))
            }
            "tasks/get" => {
                task["resultType"] = json!("complete");
                task["status"] = json!("completed");
                task["result"] = json!({"content": [{"type": "text", "text": "ü".repeat(50_000)}],
                    "structuredContent": {"n": "one"}});
                task
            }
            _ => task,
        }
    };
    let schemas = SchemaSettings { results: Some(SchemaMode::Strict), ..SchemaSettings::default() };
    let sizes = results(10_000, WhenLarger::Aside);
    for (settings, is_strict) in [
        (ProxySettings { schemas, sizes, ..ProxySettings::default() }, true),
        (ProxySettings { sizes, ..ProxySettings::default() }, false),
    ] {
        let (_fake, odd) = crate::definitions::modern("x".to_owned(), later).await;
        let world = World::with(settings, vec![odd], vec![], ALL, Book::new().ledger.clone()).await;
        let ann = world.modern("ann", "/mcp");
        ann.list("tools/list").await;
        let told = ann.call("odd__later", json!({})).await;
        let told = ann.ask("tasks/get", json!({"taskId": told.body["result"]["taskId"]})).await;
        if is_strict {
            assert_eq!(told.code(), "invalid_result", "{told:?}");
            continue;
        }
        let result = &told.body["result"]["result"];
        assert_eq!(result["isError"], true, "{told:?}");
        assert!(result.to_string().len() < 10_000);
        let link =
            result["content"].as_array().unwrap().iter().find(|block| block["type"] == "resource_link");
        let read = ann.ask("resources/read", json!({"uri": link.unwrap()["uri"]})).await;
        assert!(read.body["result"]["contents"][0]["text"].as_str().unwrap().contains("üüü"), "{read:?}");
    }
}
