//! One page of one server's list, and its items as an endpoint shows them.
//!
//! Items stay the server's own bytes: only what an endpoint must change (the name, a description, pinned arguments) is
//! spliced, so members that nobody here knows arrive unchanged.

use std::borrow::Cow;

use bytes::Bytes;
use tollgate_mcp::json::{self, JsonKind, Span};
use tollgate_mcp::{Change, Edit, Message, methods};

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
    /// For how long the page may be kept, if the server says so.
    pub ttl_ms: u64,
    /// Whether the server says that the page is the same for everyone.
    pub shared: bool,
}

/// One tool, prompt, resource or template as its server sent it.
#[derive(Debug, Clone)]
pub struct Item {
    raw: Bytes,
    key_span: Span,
    key: String,
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
            .filter_map(|element| Item::read(element.slice(bytes), kind.key_member()))
            .collect();
        let ttl_ms = response
            .member("ttlMs")
            .and_then(|span| std::str::from_utf8(span.of(bytes)).ok()?.parse().ok())
            .unwrap_or(0);
        Ok(Self {
            items,
            next_cursor: response.text("nextCursor").map(Cow::into_owned),
            ttl_ms,
            shared: response.text("cacheScope").as_deref() == Some("public"),
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
    /// Whether the reader is a legacy client, which knows no output schema but an object's.
    pub legacy_reader: bool,
}

impl Item {
    pub(crate) fn read(raw: Bytes, key_member: &str) -> Option<Self> {
        let key_span = json::find(&raw, whole(&raw), key_member)?;
        let key = json::text(&raw, key_span)?.into_owned();
        Some(Self { raw, key_span, key })
    }

    /// The server's own name or URI for it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The server's own bytes.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The item as an endpoint shows it.
    pub fn expose(&self, exposure: &Exposure<'_>) -> Bytes {
        let mut edit = Edit::new(&self.raw);
        let mut changes: Vec<Change<'_>> = Vec::new();
        if let Some(key) = &exposure.key
            && *key != self.key
        {
            edit.replace(self.key_span, json::quote(key));
        }
        if let Some(description) = exposure.description {
            changes.push(Change::Set("description", json::quote(description)));
        }
        if exposure.legacy_reader && !self.output_schema_is_legacy() {
            changes.push(Change::Remove("outputSchema"));
        }
        if !changes.is_empty() {
            edit.object(whole(&self.raw), &changes);
        }
        if !exposure.pinned.is_empty() {
            self.hide_pinned(&mut edit, exposure.pinned);
        }
        edit.finish().into_bytes()
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
