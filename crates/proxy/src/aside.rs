//! Results that are too large for their client, kept for a while so that it can read them page by page.
//!
//! What is kept is one caller's: to everybody else there is no such resource. It lives in this process, and is bounded; when
//! there is no room, those of the tenant that has most go first, the oldest before the others.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;
use tollgate_mcp::{Span, elements, find, meta, methods, quote, text};
use tollgate_model::{Caller, Code, Era, PrincipalId, Refusal, ServerName, Stage, TenantId};

use crate::gateway::Gateway;
use crate::hello::OWN_INFO;
use crate::inbound::Inbound;
use crate::reply::Reply;
use crate::shares;
use crate::stages::{Resolved, block, limits, policy};

/// What the URIs of kept results begin with.
const URI: &str = "tollgate://results/";

/// How results that are too large are kept aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsideSettings {
    /// How long a result is kept.
    pub kept: Duration,
    /// How many bytes all of them may have together. One has a quarter of it at most.
    pub bytes_max: usize,
    /// How many there may be.
    pub results_max: usize,
    /// How many bytes a page has.
    pub page_bytes: usize,
}

impl Default for AsideSettings {
    fn default() -> Self {
        Self { kept: Duration::from_mins(15), bytes_max: 64 << 20, results_max: 4096, page_bytes: 24 * 1024 }
    }
}

/// The results that are kept.
#[derive(Debug, Default)]
pub(crate) struct Aside(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    /// The oldest first.
    kept: VecDeque<Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    id: String,
    tenant: TenantId,
    principal: PrincipalId,
    server: ServerName,
    text: Bytes,
    mime: &'static str,
    /// How many bytes its pages have, as its client was told.
    page_bytes: usize,
    until: Instant,
}

/// Where a result is kept.
pub(crate) struct Place {
    pub(crate) uri: String,
    pub(crate) mime: &'static str,
    pub(crate) bytes: usize,
    pub(crate) pages: usize,
}

/// Keeps a result for its caller. None if it is larger than anything that is kept.
pub(crate) fn keep(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    result: &Bytes,
) -> Option<Place> {
    let (text, mime) = readable(result);
    let settings = &inbound.snapshot.settings.aside;
    let page_bytes = settings.page_bytes;
    let id = gateway.sealer().random_id().ok()?;
    let place = Place { uri: format!("{URI}{id}"), mime, bytes: text.len(), pages: pages(&text, page_bytes) };
    let caller = &inbound.caller;
    let kept = Kept {
        id,
        tenant: caller.tenant().clone(),
        principal: caller.principal().clone(),
        server: resolved.server().name().clone(),
        text,
        mime,
        page_bytes,
        until: Instant::now() + settings.kept,
    };
    gateway.aside().put(kept, settings).then_some(place)
}

/// The texts of a result, if it has nothing else; else all of it, as JSON.
fn readable(result: &Bytes) -> (Bytes, &'static str) {
    let whole = Span::all(result);
    let list = ["content", "contents"].into_iter().find_map(|member| find(result, whole, member));
    let is_plain = find(result, whole, "structuredContent").is_none();
    let texts = list.filter(|_| is_plain).map(|list| {
        elements(result, list).map(|block| find(result, block, "text").and_then(|words| text(result, words)))
    });
    let texts: Option<Vec<_>> = texts.and_then(Iterator::collect);
    match texts {
        Some(texts) if !texts.is_empty() => (Bytes::from(texts.join("\n")), "text/plain"),
        _ => (Bytes::copy_from_slice(result), "application/json"),
    }
}

impl Aside {
    fn put(&self, kept: Kept, settings: &AsideSettings) -> bool {
        if kept.text.len() > settings.bytes_max / 4 {
            return false;
        }
        let mut all = self.lock();
        all.expire();
        all.bytes += kept.text.len();
        all.kept.push_back(kept);
        while all.bytes > settings.bytes_max || all.kept.len() > settings.results_max {
            let sizes = all.kept.iter().map(|kept| (kept.tenant.clone(), kept.text.len().max(1)));
            let largest = shares::largest(sizes);
            let Some(at) = all.kept.iter().position(|kept| Some(&kept.tenant) == largest.as_ref()) else {
                break;
            };
            all.remove(at);
        }
        true
    }

    fn get(&self, caller: &Caller, id: &str) -> Option<(Bytes, usize, &'static str, ServerName)> {
        let mut all = self.lock();
        all.expire();
        let is_its = |kept: &&Kept| {
            kept.id == id && kept.tenant == *caller.tenant() && kept.principal == *caller.principal()
        };
        let kept = all.kept.iter().find(is_its)?;
        Some((kept.text.clone(), kept.page_bytes, kept.mime, kept.server.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn expire(&mut self) {
        let now = Instant::now();
        while self.kept.front().is_some_and(|first| first.until <= now) {
            self.remove(0);
        }
    }

    fn remove(&mut self, at: usize) {
        if let Some(gone) = self.kept.remove(at) {
            self.bytes -= gone.text.len();
        }
    }
}

/// Whether a request is a read of a kept result.
pub(crate) fn is_asked(inbound: &Inbound) -> bool {
    inbound.message.method() == methods::RESOURCES_READ
        && inbound.message.text("uri").is_some_and(|uri| uri.starts_with(URI))
}

/// Answers a read of a kept result.
pub(crate) async fn read(gateway: &Gateway, inbound: &Inbound) -> Result<Reply, Refusal> {
    let admitted = limits::admit_kept(gateway, inbound).await?; // how often: its pages are read as any resource is
    let uri = inbound.message.text("uri").unwrap_or_default();
    page(gateway, inbound, &uri).map(|reply| reply.holding(admitted.as_ref()))
}

fn page(gateway: &Gateway, inbound: &Inbound, uri: &str) -> Result<Reply, Refusal> {
    let unknown = || {
        let text = "this result is not kept here, or no longer";
        Refusal::new(Stage::Resolve, Code::UnknownResource, text)
            .with_data(format!("\"uri\":{}", String::from_utf8_lossy(&quote(uri))))
    };
    let (id, number) = uri[URI.len()..].split_once("?page=").unwrap_or((&uri[URI.len()..], "1"));
    let number: usize = number.parse().ok().filter(|number| *number > 0).ok_or_else(unknown)?;
    let (text, page_bytes, mime, server) = gateway.aside().get(&inbound.caller, id).ok_or_else(unknown)?;
    // The server may have been stopped, or hidden from the caller, since.
    block::server(gateway, &inbound.caller, &server)?;
    if !policy::sees(gateway, &inbound.caller, inbound.endpoint.name(), &server) {
        return Err(unknown());
    }
    let words = std::str::from_utf8(&text).map_err(|_| unknown())?;
    let pages = pages(&text, page_bytes);
    let shown = nth_page(words, number - 1, page_bytes).ok_or_else(unknown)?;
    let mut contents = vec![json!({"uri": uri, "mimeType": mime, "text": shown})];
    if number < pages {
        let next = format!("{URI}{id}?page={}", number + 1);
        let text = format!("[page {number} of {pages}; the next one is the resource {next}]");
        contents.push(json!({"uri": next, "mimeType": "text/plain", "text": text}));
    }
    let mut result = json!({ "contents": contents });
    if inbound.era() == Era::Modern {
        let info: serde_json::Value = serde_json::from_str(OWN_INFO).unwrap_or_default();
        result["resultType"] = "complete".into();
        result["ttlMs"] = 0.into();
        result["cacheScope"] = "private".into();
        result["_meta"][meta::SERVER_INFO] = info;
    }
    let result = result.to_string();
    inbound.record.shows(1, Bytes::copy_from_slice(result.as_bytes()));
    Ok(Reply::result(&inbound.id, result.as_bytes()))
}

fn pages(text: &[u8], page_bytes: usize) -> usize {
    text.len().div_ceil(page_bytes.max(1)).max(1)
}

/// A page, between characters: each byte of the text is on one page, and on no other.
fn nth_page(text: &str, nth: usize, page_bytes: usize) -> Option<&str> {
    let begin = text.floor_char_boundary(nth.checked_mul(page_bytes)?);
    let end = text.floor_char_boundary((nth + 1).checked_mul(page_bytes)?);
    (begin < text.len() || nth == 0).then(|| &text[begin..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(id: &str, tenant: &str, bytes: usize) -> Kept {
        Kept {
            id: id.to_owned(),
            tenant: TenantId::new(tenant),
            principal: PrincipalId::new("p"),
            server: ServerName::new("s").expect("a name"),
            text: Bytes::from(vec![b'a'; bytes]),
            mime: "text/plain",
            page_bytes: 1024,
            until: Instant::now() + Duration::from_mins(1),
        }
    }

    #[test]
    fn all_pages_together_are_the_text() {
        for letter in ["a", "日", "é"] {
            let text = letter.repeat(100_000);
            for bytes in [1024, 1025, 24 * 1024] {
                let pages = pages(text.as_bytes(), bytes);
                let all: String = (0..pages).filter_map(|nth| nth_page(&text, nth, bytes)).collect();
                assert_eq!(all, text);
                assert_eq!(nth_page(&text, pages, bytes), None);
            }
        }
        assert_eq!(nth_page("", 0, 1024), Some(""));
    }

    #[test]
    fn when_there_is_no_room_the_oldest_of_whoever_has_most_go() {
        let (aside, settings) =
            (Aside::default(), AsideSettings { bytes_max: 1 << 20, ..AsideSettings::default() });
        let bytes_max = settings.bytes_max;
        assert!(aside.put(kept("quiet", "quiet", 1000), &settings));
        for nth in 0..10 {
            assert!(aside.put(kept(&nth.to_string(), "loud", bytes_max / 8), &settings));
        }
        assert!(!aside.put(kept("huge", "loud", bytes_max), &settings));
        let all = aside.lock();
        let ids: Vec<&str> = all.kept.iter().map(|kept| &*kept.id).collect();
        assert!(ids.contains(&"quiet") && !ids.contains(&"0") && ids.contains(&"9"), "{ids:?}");
        assert!(all.bytes <= bytes_max);
        drop(all);
        let few = AsideSettings { results_max: 2, ..settings };
        assert!(aside.put(kept("last", "loud", 10), &few));
        assert_eq!(aside.lock().kept.len(), 2);
    }
}
