//! What results look like for a client of an older revision, whatever its server speaks.
//!
//! A client reads content by its type, and many refuse a whole result for one type that they do not know. So what came
//! with a later revision becomes text, or goes. The client's revision decides first, then a quick look at the bytes:
//! nearly every result stays as it is.

use std::fmt::Write as _;

use bytes::Bytes;
use tollgate_catalog::{Exposure, ListKind, Page, may_need_fitting};
use tollgate_mcp::json::{self, JsonKind, Span};
use tollgate_mcp::{Change, Edit, compose, methods, quote};
use tollgate_model::{Era, Revision};

use super::{Answered, array_of};

/// Fits a result to the client's revision.
pub(super) fn fit(answered: &Answered<'_>, edit: &mut Edit<'_>) {
    if answered.client.era() == Era::Modern {
        return;
    }
    match answered.method {
        methods::TOOLS_CALL => {
            fit_structured(answered, edit);
            if let Some(content) = answered.message.member("content") {
                fit_content(answered, content, edit);
            }
        }
        methods::PROMPTS_GET => {
            let bytes = answered.message.bytes();
            let messages = answered.message.member("messages");
            for message in messages.into_iter().flat_map(|messages| json::elements(bytes, messages)) {
                if let Some(content) = json::find(bytes, message, "content") {
                    fit_content(answered, content, edit);
                }
            }
        }
        method => {
            if let Some(kind) = ListKind::of_method(method) {
                fit_list(answered, kind, edit);
            }
        }
    }
}

/// What a server or client says of itself, without what a client of this revision does not know.
pub(crate) fn fit_info(info: Bytes, reader: Revision) -> Bytes {
    let unknown: &[&str] = match reader {
        Revision::V2024_11_05 | Revision::V2025_03_26 => &["icons", "title"],
        Revision::V2025_06_18 => &["icons"],
        Revision::V2025_11_25 | Revision::V2026_07_28 => return info,
    };
    let mut edit = Edit::new(&info);
    let removals: Vec<Change<'_>> = unknown.iter().map(|member| Change::Remove(member)).collect();
    edit.object(Span::all(&info), &removals);
    edit.finish().into_bytes()
}

/// Structured content came with 2025-06-18; only objects are legal before 2026-07-28. It stands beside content that says
/// the same; where there is none, it becomes text.
fn fit_structured(answered: &Answered<'_>, edit: &mut Edit<'_>) {
    let message = answered.message;
    let Some(structured) = message.member("structuredContent") else { return };
    let is_known = answered.client >= Revision::V2025_06_18;
    let is_legal = message.kind_of(structured) == JsonKind::Object || answered.era == Era::Legacy;
    if is_known && is_legal {
        return;
    }
    message.change_body(edit, &[Change::Remove("structuredContent")]);
    let has_content = message
        .member("content")
        .is_some_and(|content| json::elements(message.bytes(), content).next().is_some());
    if !has_content {
        let text = String::from_utf8_lossy(structured.of(message.bytes())).into_owned();
        let content = array_of(&[text_block(&text, None)]);
        message.change_body(edit, &[Change::Set("content", Bytes::from(content))]);
    }
}

/// One block, or an array of them.
fn fit_content(answered: &Answered<'_>, content: Span, edit: &mut Edit<'_>) {
    let bytes = answered.message.bytes();
    let look = Look::of(answered.client, content.of(bytes));
    if !look.finds_any() {
        return;
    }
    if json::kind_of(bytes, content) == JsonKind::Object {
        fit_block(answered, content, look, edit);
    }
    for block in json::elements(bytes, content) {
        fit_block(answered, block, look, edit);
    }
}

/// Which later things may stand in some content.
#[derive(Clone, Copy)]
struct Look {
    links: bool,
    audio: bool,
    icons: bool,
}

impl Look {
    fn of(reader: Revision, content: &[u8]) -> Self {
        let came_with = |revision, what| reader < revision && json::mentions(content, what);
        Self {
            links: came_with(Revision::V2025_06_18, "resource_link"),
            audio: came_with(Revision::V2025_03_26, "audio"),
            icons: came_with(Revision::V2025_11_25, "icons"),
        }
    }

    fn finds_any(self) -> bool {
        self.links || self.audio || self.icons
    }
}

fn fit_block(answered: &Answered<'_>, block: Span, look: Look, edit: &mut Edit<'_>) {
    let bytes = answered.message.bytes();
    if json::kind_of(bytes, block) != JsonKind::Object {
        return;
    }
    let text = |member| json::find(bytes, block, member).and_then(|span| json::text(bytes, span));
    let said = match text("type").as_deref() {
        Some("resource_link") if look.links => link_as_text(answered, block),
        Some("resource_link") if look.icons => {
            edit.object(block, &[Change::Remove("icons")]);
            return;
        }
        Some("audio") if look.audio => {
            let kind = text("mimeType");
            format!(
                "[Audio ({}) is left out: this client's protocol revision has no audio.]",
                kind.as_deref().unwrap_or("of an unknown kind")
            )
        }
        _ => return,
    };
    let annotations = json::find(bytes, block, "annotations").map(|span| span.of(bytes));
    edit.replace_once(block, text_block(&said, annotations));
}

/// A link in one line: what it is called, where it is, and what it is.
fn link_as_text(answered: &Answered<'_>, block: Span) -> String {
    let bytes = answered.message.bytes();
    let text = |member| json::find(bytes, block, member).and_then(|span| json::text(bytes, span));
    let place = json::find(bytes, block, "uri");
    // The URI by which this client can read it.
    let stand_in = place.and_then(|place| answered.stand_ins.iter().find(|(other, _)| *other == place));
    let uri = stand_in.map(|(_, uri)| uri.as_str().into()).or_else(|| text("uri")).unwrap_or_default();
    let mut line = match text("name") {
        Some(name) => format!("Resource {name}: {uri}"),
        None => format!("Resource: {uri}"),
    };
    if let Some(description) = text("description").filter(|description| !description.trim().is_empty()) {
        let _ = write!(line, " ({})", description.trim());
    }
    line.replace(['\r', '\n'], " ")
}

fn text_block(text: &str, annotations: Option<&[u8]>) -> Bytes {
    let quoted = quote(text);
    let mut members: Vec<(&str, &[u8])> = vec![("type", b"\"text\""), ("text", &quoted)];
    if let Some(annotations) = annotations {
        members.push(("annotations", annotations));
    }
    compose::object(&members)
}

fn fit_list(answered: &Answered<'_>, kind: ListKind, edit: &mut Edit<'_>) {
    let message = answered.message;
    if !may_need_fitting(kind, answered.client, message.bytes()) {
        return;
    }
    let Ok(page) = Page::read(message, kind) else { return };
    let exposure = Exposure { reader: Some(answered.client), ..Exposure::default() };
    let items: Vec<Bytes> = page.items.iter().map(|item| item.expose(&exposure)).collect();
    if items.iter().zip(&page.items).any(|(shown, item)| shown != item.raw()) {
        message.change_body(edit, &[Change::Set(kind.items_member(), Bytes::from(array_of(&items)))]);
    }
}
