//! What changes at a server, and who is told.

use serde_json::{Value, json};

use super::{listeners, row};
use crate::features::judge::{Seen, holds, members, names, same};
use crate::features::{Feature, Pair, Verdict};

/// These rows.
pub(super) fn rows() -> Vec<Feature> {
    vec![
        row("resource subscriptions: subscribe, update, unsubscribe", subscription_job, subscription)
            .by(listeners),
        row("changed lists of tools, prompts and resources", changed_job, changed).by(listeners).alone(),
    ]
}

fn subscription_job(pair: Pair) -> Value {
    let uri = format!("note://people/{}", pair.key());
    let touch = json!({ "do": "call", "name": "touch", "arguments": { "uri": uri } });
    json!({ "script": [
        { "do": "watch", "uris": [uri] },
        touch,
        { "do": "hear", "what": "updated", "atLeast": 1 },
        touch,
        { "do": "hear", "what": "updated", "atLeast": 2 },
        { "do": "unwatch", "uris": [uri] },
        touch,
        { "do": "hear", "what": "updated", "atLeast": 3, "withinMs": 200 },
    ] })
}

fn subscription(pair: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    let uri = format!("note://people/{}", pair.key());
    same("what is watched", &seen.ok(0)?["resourceSubscriptions"], &json!([uri]))?;
    same("the first update", &seen.ok(2)?[0], &json!(uri))?;
    same("the second update", &seen.ok(4)?[1], &json!(uri))?;
    seen.ok(5)?;
    same("all updates", &json!(seen.heard("updated")), &json!([uri, uri]))
}

fn changed_job(_: Pair) -> Value {
    json!({ "script": [
        { "do": "watch", "lists": ["tools", "prompts", "resources"] },
        { "do": "whole", "list": "tools" },
        { "do": "call", "name": "grow", "arguments": {} },
        { "do": "hear", "what": "changed", "atLeast": 3 },
        { "do": "whole", "list": "tools" },
    ] })
}

fn changed(pair: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    let watched = seen.ok(0)?;
    if pair.client.is_modern() {
        let all =
            json!({ "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true });
        members("what is acknowledged", watched, &all)?;
    }
    let grown = seen.text(2)?.to_owned();
    let mut heard: Vec<&str> = seen.heard("changed").iter().filter_map(Value::as_str).collect();
    heard.sort_unstable();
    heard.dedup();
    holds(heard == ["prompts", "resources", "tools"], || format!("heard {heard:?}"))?;
    let (before, after) = (names(seen.ok(1)?, "name"), names(seen.ok(4)?, "name"));
    holds(!before.contains(&grown) && after.contains(&grown), || format!("{grown} is not new in {after:?}"))
}
