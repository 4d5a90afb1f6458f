//! One page of one server's list, and its items as an endpoint shows them.
//!
//! Items stay the server's own bytes: only what an endpoint must change (the name, a description, pinned arguments) is
//! spliced, so members that nobody here knows arrive unchanged.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tollgate_mcp::json::{self, JsonKind, Span};
use tollgate_mcp::{Change, Edit, Message, methods};
use tollgate_model::{Revision, Timestamp};

use crate::caching::Caching;
use crate::uris;

/// The `_meta` key under which an item says that it will be gone, and when.
const DEPRECATED_KEY: &str = "dev.tollgate/deprecated";

/// The four lists of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// `tools/list`
    Tools,
    /// `prompts/list`
    Prompts,
    /// `resources/list`
    Resources,
    /// `resources/templates/list`
    Templates,
}

impl ListKind {
    /// The list that a method asks for.
    pub fn of_method(method: &str) -> Option<Self> {
        Some(match method {
            methods::TOOLS_LIST => Self::Tools,
            methods::PROMPTS_LIST => Self::Prompts,
            methods::RESOURCES_LIST => Self::Resources,
            methods::RESOURCES_TEMPLATES_LIST => Self::Templates,
            _ => return None,
        })
    }

    /// The method that asks for it.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Tools => methods::TOOLS_LIST,
            Self::Prompts => methods::PROMPTS_LIST,
            Self::Resources => methods::RESOURCES_LIST,
            Self::Templates => methods::RESOURCES_TEMPLATES_LIST,
        }
    }

    /// The member of the result that holds the items.
    pub const fn items_member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The member of an item that names it.
    pub const fn key_member(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    /// The server capability without which a server has no such list.
    pub const fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources | Self::Templates => "resources",
        }
    }
}

/// One page of a server's list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The items in the server's order.
    pub items: Vec<Item>,
    /// Where the next page begins, if there is one. The empty string is a legal cursor.
    pub next_cursor: Option<String>,
    /// What the server says of its keeping.
    pub caching: Caching,
}

/// One tool, prompt, resource or template as its server sent it.
#[derive(Debug, Clone)]
pub struct Item {
    kind: ListKind,
    raw: Bytes,
    key_span: Span,
    key: Arc<str>,
    /// The server's own bytes, where others are shown.
    original: Option<Bytes>,
    /// Whether nobody is shown it.
    is_withheld: bool,
    /// Whether it may name the view of an MCP App: looked for once, since kept items are asked again and again.
    may_have_view: bool,
    /// How it was exposed last, of an item that is kept.
    memo: Option<Arc<Mutex<Option<Memo>>>>,
}

/// An item as it was exposed, and how.
#[derive(Debug)]
struct Memo {
    key: Option<String>,
    description: Option<String>,
    reader: Option<Revision>,
    foreign: bool,
    sunset: Option<Timestamp>,
    exposed: Bytes,
}

impl Memo {
    /// What it is good for: pinned arguments and URIs are not looked at.
    fn fits(&self, exposure: &Exposure<'_>) -> bool {
        self.key.as_deref() == exposure.key.as_deref()
            && self.description.as_deref() == exposure.description
            && self.reader == exposure.reader
            && self.foreign == exposure.foreign
            && self.sunset == exposure.sunset
    }
}

/// The server's answer is no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the result has no array of items")]
pub struct NotAList;

impl Page {
    /// Reads the result of a list request. Items without a name are left out.
    pub fn read(response: &Message, kind: ListKind) -> Result<Self, NotAList> {
        let bytes = response.bytes();
        let array = response.member(kind.items_member()).ok_or(NotAList)?;
        if json::kind_of(bytes, array) != JsonKind::Array {
            return Err(NotAList);
        }
        let items = json::elements(bytes, array)
            .filter_map(|element| Item::read(element.slice(bytes), kind))
            .collect();
        Ok(Self {
            items,
            next_cursor: response.text("nextCursor").map(Cow::into_owned),
            caching: response.body().map_or(Caching::NONE, |body| Caching::read(bytes, body)),
        })
    }
}

/// What an endpoint changes of an item.
#[derive(Debug, Clone, Default)]
pub struct Exposure<'a> {
    /// The name or URI by which clients of the endpoint know it; the server's own if absent.
    pub key: Option<Cow<'a, str>>,
    /// The endpoint's own description.
    pub description: Option<&'a str>,
    /// Arguments that vanish from a tool's input schema, since every call gets them.
    pub pinned: &'a [(String, Bytes)],
    /// The revision that the reader speaks, where its items must be fitted to it. See [`may_need_fitting`].
    pub reader: Option<Revision>,
    /// Whether the reader sees items of several servers, so that it cannot know whose an icon is: only those stay that
    /// are fetched over TLS or stand in the list itself.
    pub foreign: bool,
    /// When the item will be gone with its server, which is deprecated.
    pub sunset: Option<Timestamp>,
    /// URIs in the item that stand for others at this endpoint: each place, and what stands there instead.
    pub uris: Vec<(Span, String)>,
}

/// Whether a list may hold something that a client of this revision does not know: one quick look at its bytes, so that
/// nearly every list stays as it is.
pub fn may_need_fitting(kind: ListKind, reader: Revision, list: &[u8]) -> bool {
    unknown_members(kind, reader).iter().any(|member| json::mentions(list, member))
        || (kind == ListKind::Tools && reader < Revision::V2026_07_28 && json::mentions(list, "outputSchema"))
}

/// Members of an item that came with later revisions. `annotations.title` is older than `title`, and stays.
fn unknown_members(kind: ListKind, reader: Revision) -> &'static [&'static str] {
    let is_tool = kind == ListKind::Tools;
    match reader {
        Revision::V2024_11_05 | Revision::V2025_03_26 if is_tool => {
            &["icons", "execution", "title", "outputSchema"]
        }
        Revision::V2024_11_05 | Revision::V2025_03_26 => &["icons", "title"],
        Revision::V2025_06_18 if is_tool => &["icons", "execution"],
        Revision::V2025_06_18 => &["icons"],
        Revision::V2025_11_25 | Revision::V2026_07_28 => &[],
    }
}

impl Item {
    pub(crate) fn read(raw: Bytes, kind: ListKind) -> Option<Self> {
        let key_span = json::find(&raw, whole(&raw), kind.key_member())?;
        let key = Arc::from(&*json::text(&raw, key_span)?);
        let may_have_view = kind == ListKind::Tools && json::mentions(&raw, "resourceUri");
        Some(Self { kind, raw, key_span, key, original: None, is_withheld: false, may_have_view, memo: None })
    }

    /// The same item as it may be shown. None if these bytes are those of another.
    pub fn shown_as(self, raw: Bytes) -> Option<Self> {
        let shown = Self::read(raw, self.kind).filter(|shown| shown.key == self.key)?;
        Some(Self {
            original: Some(self.original.unwrap_or(self.raw)),
            is_withheld: self.is_withheld,
            ..shown
        })
    }

    /// The same item, which nobody is shown.
    #[must_use]
    pub fn withheld(self) -> Self {
        Self { is_withheld: true, ..self }
    }

    /// Whether nobody is shown it.
    pub fn is_withheld(&self) -> bool {
        self.is_withheld
    }

    /// Whether other bytes than the server's own are shown.
    pub fn is_changed(&self) -> bool {
        self.original.is_some()
    }

    /// The same item, which remembers how it is exposed: for one that is shown again and again.
    #[must_use]
    pub fn remembering(self) -> Self {
        Self { memo: Some(Arc::default()), ..self }
    }

    /// The server's own name or URI for it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The bytes that are shown: the server's own, if nothing had to be changed.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The server's own bytes.
    pub fn original(&self) -> &Bytes {
        self.original.as_ref().unwrap_or(&self.raw)
    }

    /// The item as an endpoint shows it.
    pub fn expose(&self, exposure: &Exposure<'_>) -> Bytes {
        let is_plain = exposure.pinned.is_empty() && exposure.uris.is_empty();
        let Some(memo) = self.memo.as_ref().filter(|_| is_plain) else { return self.exposed(exposure) };
        let mut memo = memo.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = memo.as_ref().filter(|known| known.fits(exposure)) {
            return known.exposed.clone();
        }
        let exposed = self.exposed(exposure);
        *memo = Some(Memo {
            key: exposure.key.as_deref().map(str::to_owned),
            description: exposure.description.map(str::to_owned),
            reader: exposure.reader,
            foreign: exposure.foreign,
            sunset: exposure.sunset,
            exposed: exposed.clone(),
        });
        exposed
    }

    fn exposed(&self, exposure: &Exposure<'_>) -> Bytes {
        let mut edit = Edit::new(&self.raw);
        let mut changes: Vec<Change<'_>> = Vec::new();
        if let Some(key) = &exposure.key
            && **key != *self.key
        {
            edit.replace(self.key_span, json::quote(key));
        }
        if let Some(description) = self.description(exposure) {
            changes.push(Change::Set("description", json::quote(&description)));
        }
        if let Some(sunset) = exposure.sunset {
            let said = Bytes::from(format!("{{\"sunset\":\"{sunset}\"}}"));
            edit.within(whole(&self.raw), "_meta", &[Change::Set(DEPRECATED_KEY, said)]);
        }
        if let Some(reader) = exposure.reader {
            self.fit(reader, &mut edit, &mut changes);
        }
        if exposure.foreign {
            self.drop_foreign_icons(&mut edit, &mut changes);
        }
        for (place, uri) in &exposure.uris {
            edit.replace_once(*place, json::quote(uri));
        }
        if !changes.is_empty() {
            edit.object(whole(&self.raw), &changes);
        }
        if !exposure.pinned.is_empty() {
            self.hide_pinned(&mut edit, exposure.pinned);
        }
        edit.finish().into_bytes()
    }

    /// What stands in place of the item's own description, if anything does. That a tool will be gone is said to whoever chooses
    /// it, which reads descriptions.
    fn description<'e>(&self, exposure: &Exposure<'e>) -> Option<Cow<'e, str>> {
        let Some(sunset) = exposure.sunset.filter(|_| self.kind == ListKind::Tools) else {
            return exposure.description.map(Cow::Borrowed);
        };
        let own = || json::text(&self.raw, json::find(&self.raw, whole(&self.raw), "description")?);
        let said = exposure.description.map(Cow::Borrowed).or_else(own).unwrap_or_default();
        let gap = if said.is_empty() { "" } else { "\n\n" };
        Some(Cow::Owned(format!("{said}{gap}Deprecated: this tool will be gone after {sunset}.")))
    }

    /// Takes out what a client of this revision does not know.
    fn fit(&self, reader: Revision, edit: &mut Edit<'_>, changes: &mut Vec<Change<'_>>) {
        changes.extend(unknown_members(self.kind, reader).iter().map(|member| Change::Remove(member)));
        let is_legacy = reader < Revision::V2026_07_28;
        if self.kind == ListKind::Tools && is_legacy && !self.output_schema_is_legacy() {
            changes.push(Change::Remove("outputSchema"));
        }
        if self.kind == ListKind::Prompts
            && reader < Revision::V2025_06_18
            && let Some(arguments) = json::find(&self.raw, whole(&self.raw), "arguments")
        {
            for argument in json::elements(&self.raw, arguments) {
                edit.object(argument, &[Change::Remove("title")]);
            }
        }
    }

    /// Takes out icons that a client would have to fetch in the clear, or by a scheme of the server's own.
    fn drop_foreign_icons(&self, edit: &mut Edit<'_>, changes: &mut Vec<Change<'_>>) {
        if !json::mentions(&self.raw, "icons") {
            return;
        }
        let Some(icons) = json::find(&self.raw, whole(&self.raw), "icons") else { return };
        let all: Vec<Span> = json::elements(&self.raw, icons).collect();
        let kept: Vec<&[u8]> =
            all.iter().filter(|icon| self.is_safe_icon(**icon)).map(|icon| icon.of(&self.raw)).collect();
        if kept.is_empty() {
            changes.push(Change::Remove("icons"));
        } else if kept.len() < all.len() {
            let mut array = vec![b'['];
            array.extend_from_slice(&kept.join(&b','));
            array.push(b']');
            edit.replace(icons, array);
        }
    }

    fn is_safe_icon(&self, icon: Span) -> bool {
        let source = json::find(&self.raw, icon, "src").and_then(|source| json::text(&self.raw, source));
        let scheme = source.as_deref().and_then(uris::scheme).unwrap_or_default();
        scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("data")
    }

    /// Where a tool names the view of an MCP App, in either spelling, and what stands there. Other items name none.
    pub fn ui_references(&self) -> Vec<(Span, String)> {
        if !self.may_have_view {
            return Vec::new();
        }
        let Some(meta) = json::find(&self.raw, whole(&self.raw), "_meta") else { return Vec::new() };
        let nested =
            json::find(&self.raw, meta, "ui").and_then(|ui| json::find(&self.raw, ui, "resourceUri"));
        let flat = json::find(&self.raw, meta, "ui/resourceUri");
        [nested, flat]
            .into_iter()
            .flatten()
            .filter_map(|place| Some((place, json::text(&self.raw, place)?.into_owned())))
            .filter(|(_, uri)| uris::is_ui(uri))
            .collect()
    }

    /// Legacy revisions require an output schema whose root is an object's (2025-11-25, tools).
    fn output_schema_is_legacy(&self) -> bool {
        let Some(schema) = json::find(&self.raw, whole(&self.raw), "outputSchema") else { return true };
        json::find(&self.raw, schema, "type")
            .and_then(|kind| json::text(&self.raw, kind))
            .is_some_and(|kind| kind == "object")
    }

    fn hide_pinned(&self, edit: &mut Edit<'_>, pinned: &[(String, Bytes)]) {
        let Some(schema) = json::find(&self.raw, whole(&self.raw), "inputSchema") else { return };
        if let Some(properties) = json::find(&self.raw, schema, "properties") {
            let removals: Vec<_> = pinned.iter().map(|(name, _)| Change::Remove(name)).collect();
            edit.object(properties, &removals);
        }
        if let Some(required) = json::find(&self.raw, schema, "required") {
            let keep: Vec<&[u8]> = json::elements(&self.raw, required)
                .filter(|element| {
                    json::text(&self.raw, *element)
                        .is_none_or(|name| pinned.iter().all(|(pinned, _)| *pinned != name))
                })
                .map(|element| element.of(&self.raw))
                .collect();
            let mut array = Vec::with_capacity(required.of(&self.raw).len());
            array.push(b'[');
            array.extend_from_slice(&keep.join(&b','));
            array.push(b']');
            edit.replace(required, array);
        }
    }
}

fn whole(bytes: &Bytes) -> Span {
    Span { start: 0, end: u32::try_from(bytes.len()).unwrap_or(u32::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(kind: ListKind, raw: &'static str) -> Item {
        Item::read(Bytes::from_static(raw.as_bytes()), kind).expect("an item")
    }

    fn for_reader(kind: ListKind, raw: &'static str, reader: Revision) -> String {
        let exposure = Exposure { reader: Some(reader), ..Exposure::default() };
        String::from_utf8(item(kind, raw).expose(&exposure).to_vec()).expect("UTF-8")
    }

    #[test]
    fn a_list_is_fitted_to_the_readers_revision() {
        let tool = r#"{"name":"t","title":"T","icons":[],"execution":{},"outputSchema":{"type":"object"},"annotations":{"title":"A"},"x":1.50}"#;
        let of = |reader| for_reader(ListKind::Tools, tool, reader);
        assert_eq!(of(Revision::V2026_07_28), tool);
        assert_eq!(of(Revision::V2025_11_25), tool);
        let newer = r#"{"name":"t","title":"T","outputSchema":{"type":"object"},"annotations":{"title":"A"},"x":1.50}"#;
        assert_eq!(of(Revision::V2025_06_18), newer);
        let oldest = r#"{"name":"t","annotations":{"title":"A"},"x":1.50}"#;
        assert_eq!(of(Revision::V2025_03_26), oldest);
        assert_eq!(of(Revision::V2024_11_05), oldest);
    }

    #[test]
    fn what_is_remembered_is_what_it_would_be_anew() {
        let raw = r#"{"name":"t","title":"T","icons":[{"src":"http://a/"}],"inputSchema":{"type":"object"}}"#;
        let (plain, keeping) = (item(ListKind::Tools, raw), item(ListKind::Tools, raw).remembering());
        let pinned = [("a".to_owned(), Bytes::from_static(b"1"))];
        let mut exposures = Vec::new();
        for key in [None, Some("s__t"), Some("u")] {
            for description in [None, Some("D")] {
                for reader in [None, Some(Revision::V2025_03_26)] {
                    for foreign in [false, true] {
                        for pinned in [&[][..], &pinned[..]] {
                            let key = key.map(Cow::Borrowed);
                            exposures.push(Exposure {
                                key,
                                description,
                                pinned,
                                reader,
                                foreign,
                                ..Exposure::default()
                            });
                        }
                    }
                }
            }
        }
        let ends = exposures
            .clone()
            .into_iter()
            .map(|exposure| Exposure { sunset: Some(Timestamp::from_ms(1_000)), ..exposure });
        let exposures: Vec<_> =
            exposures.iter().cloned().zip(ends).flat_map(|(one, end)| [one, end]).collect();
        for exposure in exposures.iter().flat_map(|exposure| [exposure, exposure]) {
            assert_eq!(keeping.clone().expose(exposure), plain.expose(exposure), "{exposure:?}");
        }
    }

    #[test]
    fn what_will_be_gone_says_when() {
        let of = |kind, raw: &'static str, description| {
            let sunset = Some(Timestamp::from_ms(1_798_761_600_000));
            let exposure = Exposure { description, sunset, ..Exposure::default() };
            String::from_utf8(item(kind, raw).expose(&exposure).to_vec()).expect("UTF-8")
        };
        let end = "Deprecated: this tool will be gone after 2027-01-01T00:00:00Z.";
        let meta = r#""dev.tollgate/deprecated":{"sunset":"2027-01-01T00:00:00Z"}"#;
        assert_eq!(
            of(ListKind::Tools, r#"{"name":"t","description":"D","_meta":{"a":1.0},"x":1.50}"#, None),
            format!(r#"{{"name":"t","description":"D\n\n{end}","_meta":{{"a":1.0,{meta}}},"x":1.50}}"#)
        );
        assert_eq!(
            of(ListKind::Tools, r#"{"name":"t"}"#, Some("own")),
            format!(r#"{{"name":"t","_meta":{{{meta}}},"description":"own\n\n{end}"}}"#)
        );
        assert_eq!(
            of(ListKind::Tools, r#"{"name":"t"}"#, None),
            format!(r#"{{"name":"t","_meta":{{{meta}}},"description":"{end}"}}"#)
        );
        assert_eq!(
            of(ListKind::Prompts, r#"{"name":"p","description":"D"}"#, None),
            format!(r#"{{"name":"p","description":"D","_meta":{{{meta}}}}}"#)
        );
    }

    #[test]
    fn titles_of_prompts_arguments_go_with_the_prompts_own() {
        let prompt = r#"{"name":"p","title":"P","arguments":[{"name":"a","title":"A","required":true},{"name":"title"}]}"#;
        assert_eq!(for_reader(ListKind::Prompts, prompt, Revision::V2025_06_18), prompt);
        assert_eq!(
            for_reader(ListKind::Prompts, prompt, Revision::V2025_03_26),
            r#"{"name":"p","arguments":[{"name":"a","required":true},{"name":"title"}]}"#
        );
    }

    #[test]
    fn an_output_schema_of_no_object_is_for_modern_readers_only() {
        let tool = r#"{"name":"t","outputSchema":{"type":"array"}}"#;
        assert_eq!(for_reader(ListKind::Tools, tool, Revision::V2026_07_28), tool);
        assert_eq!(for_reader(ListKind::Tools, tool, Revision::V2025_11_25), r#"{"name":"t"}"#);
        assert!(may_need_fitting(ListKind::Tools, Revision::V2025_11_25, tool.as_bytes()));
        assert!(!may_need_fitting(ListKind::Tools, Revision::V2025_11_25, br#"{"name":"t","icons":[]}"#));
        assert!(may_need_fitting(ListKind::Resources, Revision::V2025_06_18, br#"{"uri":"t","icons":[]}"#));
        assert!(may_need_fitting(
            ListKind::Resources,
            Revision::V2025_06_18,
            br#"{"uri":"t","\u0069cons":[]}"#
        ));
    }

    #[test]
    fn only_icons_that_are_safe_to_fetch_are_shown_for_several_servers() {
        let shown = |raw| {
            let exposure = Exposure { foreign: true, ..Exposure::default() };
            String::from_utf8(item(ListKind::Tools, raw).expose(&exposure).to_vec()).expect("UTF-8")
        };
        let safe =
            r#"{"name":"t","icons":[{"src":"https://a.example/i.png"},{"src":"DATA:image/png;base64,AA"}]}"#;
        assert_eq!(shown(safe), safe);
        assert_eq!(
            shown(
                r#"{"name":"t","icons":[{"src":"http://a.example/i.png"},{"src":"data:image/png,1"},{"src":7}]}"#
            ),
            r#"{"name":"t","icons":[{"src":"data:image/png,1"}]}"#
        );
        assert_eq!(shown(r#"{"name":"t","icons":[{"src":"file:///etc/passwd"}]}"#), r#"{"name":"t"}"#);
        assert_eq!(shown(r#"{"name":"t","icons":"none"}"#), r#"{"name":"t"}"#);
    }

    #[test]
    fn both_spellings_of_an_apps_view_are_found() {
        let tool = r#"{"name":"t","_meta":{"ui":{"resourceUri":"ui://a"},"ui/resourceUri":"ui://b","resourceUri":"ui://c"}}"#;
        let item = item(ListKind::Tools, tool);
        let found = item.ui_references();
        assert_eq!(found.iter().map(|(_, uri)| uri.as_str()).collect::<Vec<_>>(), ["ui://a", "ui://b"]);
        let uris = found.into_iter().map(|(place, uri)| (place, format!("{uri}2"))).collect();
        assert_eq!(
            item.expose(&Exposure { uris, ..Exposure::default() }),
            r#"{"name":"t","_meta":{"ui":{"resourceUri":"ui://a2"},"ui/resourceUri":"ui://b2","resourceUri":"ui://c"}}"#
        );
        let other = r#"{"name":"t","_meta":{"ui":{"resourceUri":"https://a"},"ui/resourceUri":7}}"#;
        assert!(
            Item::read(Bytes::from_static(other.as_bytes()), ListKind::Tools)
                .expect("an item")
                .ui_references()
                .is_empty()
        );
    }
}
