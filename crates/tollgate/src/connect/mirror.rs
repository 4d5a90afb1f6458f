//! `Mcp-Param-*` for a client that has no headers: arguments that a tool's schema wants repeated (2026-07-28, Streamable
//! HTTP). Which these are is asked only when the other side has refused a call for want of them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_catalog::{ListKind, Mirrored, Page, mirrored};
use tollgate_mcp::{Limits, Message, codes, headers, json};

use super::bridge::{Bridge, modern_headers};

/// Pages of tools that are read at most to find one.
const PAGES_MAX: usize = 100;
/// The id of the bridge's own requests, each of which has a response to itself.
const OWN_ID: &str = r#""tollgate-connect""#;

/// Whether a line says that headers and body disagree, so that nothing was carried out.
pub(super) fn is_mismatch(line: &Bytes) -> bool {
    Message::parse(line.clone(), &Limits::default())
        .is_ok_and(|message| message.error_code() == Some(i64::from(codes::HEADER_MISMATCH)))
}

impl Bridge {
    /// The headers that a call needs beside those that every call has.
    pub(super) async fn mirrored(&self, call: &Message, revision: &str) -> HeaderMap {
        let tool = call.text("name").unwrap_or_default();
        let meta = call.meta().map(|meta| call.raw(meta)).unwrap_or_default();
        let mut cursor = None;
        for _ in 0..PAGES_MAX {
            let Some(page) = self.page(&meta, cursor.as_deref(), revision).await else { break };
            if let Some(item) = page.items.iter().find(|item| item.key() == tool) {
                return mirrored(item).map(|found| repeated(call, &found)).unwrap_or_default();
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        HeaderMap::new()
    }

    /// One page of tools, asked for with the call's own metadata.
    async fn page(&self, meta: &Bytes, cursor: Option<&str>, revision: &str) -> Option<Page> {
        let meta = String::from_utf8_lossy(meta);
        let cursor =
            cursor.map(|cursor| format!(r#","cursor":{}"#, String::from_utf8_lossy(&json::quote(cursor))));
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{OWN_ID},"method":"tools/list","params":{{"_meta":{meta}{}}}}}"#,
            cursor.unwrap_or_default()
        );
        let list = Message::parse(Bytes::from(body), &Limits::default()).ok()?;
        let response = self.post(modern_headers(&list, revision), list.into_bytes()).await.ok()?;
        let answers = self.read_all(response, &Bytes::from_static(OWN_ID.as_bytes())).await;
        let answer = Message::parse(answers.0.into_iter().next_back()?, &Limits::default()).ok()?;
        Page::read(&answer, ListKind::Tools).ok()
    }
}

fn repeated(call: &Message, found: &[Mirrored]) -> HeaderMap {
    let mut all = HeaderMap::new();
    for Mirrored { header, path } in found {
        let start = call.member("arguments");
        let argument = path.iter().fold(start, |span, key| json::find(call.bytes(), span?, key));
        let value = argument.and_then(|argument| headers::argument_value(call.bytes(), argument));
        let value = value.and_then(|value| HeaderValue::try_from(value).ok());
        if let (Ok(name), Some(value)) = (HeaderName::from_bytes(header.as_bytes()), value) {
            all.insert(name, value);
        }
    }
    all
}
