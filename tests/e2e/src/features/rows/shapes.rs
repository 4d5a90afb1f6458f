//! How things are written: batches, headers, hints, views, content.

use serde_json::{Value, json};

use super::{raw_row, row, works};
use crate::features::judge::{Seen, holds, names, same, texts};
use crate::features::raw;
use crate::features::{Expected, Feature, Pair, Transport, Verdict};

/// These rows.
pub(super) fn rows() -> Vec<Feature> {
    vec![
        raw_row(
            "batches of 2025-03-26",
            |pair| {
                let can = !pair.client.is_modern() && pair.client.transport == Transport::Http;
                if can { Expected::Works } else { Expected::Absent }
            },
            "only 2025-03-26 has batches, and only its Streamable HTTP is shown",
            raw::batches,
        ),
        raw_row(
            "arguments repeated in headers (`Mcp-Param-*`)",
            |pair| {
                let inbound = pair.client.is_modern() && pair.client.transport == Transport::Http;
                let outbound = pair.server.is_modern() && pair.server.transport == Transport::Http;
                if inbound || outbound { Expected::Works } else { Expected::Absent }
            },
            "only Streamable HTTP of the modern era has these headers",
            raw::headers,
        ),
        raw_row(
            "caching hints",
            |pair| if pair.client.is_modern() { Expected::Works } else { Expected::Absent },
            "the legacy era has none",
            raw::caching,
        ),
        raw_row("MCP Apps: both spellings of the view, native tool names", works, "", raw::apps),
        row("content of every kind", contents_job, contents),
        raw_row(
            "content that an older client does not know",
            |pair| if pair.client.is_modern() { Expected::Absent } else { Expected::Works },
            "the newest revision knows all",
            raw::downgraded,
        ),
    ]
}

fn contents_job(_: Pair) -> Value {
    json!({ "script": [
        { "do": "call", "name": "contents", "arguments": {} },
        { "do": "whole", "list": "tools" },
    ] })
}

fn contents(_: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    let result = seen.ok(0)?;
    texts(
        "kinds",
        &names(&result["content"], "type"),
        &["text", "image", "audio", "resource_link", "resource"],
    )?;
    same("the link", &result["content"][3]["uri"], &json!("note://greeting"))?;
    same("the embedded text", &result["content"][4]["resource"]["text"], &json!("embedded"))?;
    same("the structured content", &result["structuredContent"], &json!({ "kinds": 5 }))?;
    let tools = seen.ok(1)?.as_array().cloned().unwrap_or_default();
    let view = tools.iter().find(|tool| tool["name"] == "view").cloned().unwrap_or_default();
    holds(view["icons"][0]["src"].is_string(), || format!("no icon in {view}"))
}
