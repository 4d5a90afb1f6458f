//! `tollgate.lock`: pins as a file that is kept with the configuration, and reads well where it changes.
//!
//! ```json
//! {
//!   "format": "tollgate-lock",
//!   "version": 1,
//!   "shared": { "SERVER": { "tools": { "NAME": { "digest": "…", "fields": { … }, "definition": { … } } } } },
//!   "tenants": { "default": { "SERVER": { … } } }
//! }
//! ```
//!
//! Everything in it is sorted. `definition` is what counts; the digests, of it and of each of its fields, say what changed
//! in a word, and have to agree with it: a file that was changed by hand in one place only is refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_mcp::{JsonKind, Limits, Span, elements, kind_of, members, quote, validate};
use tollgate_model::{ServerName, TenantId};
use tollgate_store::{Digest, PinKind, PinOf};

use super::definition::Definition;

const FORMAT: &str = "tollgate-lock";
const VERSION: u32 = 1;
/// What a digest begins with.
const SHA256: &str = "sha256:";

/// What is wrong with a lock file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LockError {
    /// In a line.
    pub message: String,
    /// Line and column, both from 1, if it is no such JSON.
    pub place: Option<(usize, usize)>,
}

/// One item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockItem {
    /// Its definition.
    pub definition: Definition,
    /// Of the definition.
    pub digest: Digest,
}

impl From<Definition> for LockItem {
    fn from(definition: Definition) -> Self {
        Self { digest: definition.digest(), definition }
    }
}

/// What is approved of a server: its items by kind and name.
pub type LockedServer = BTreeMap<PinKind, BTreeMap<Arc<str>, LockItem>>;

/// Everything that is approved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lock {
    /// By whose server it is (none for a shared one), and its name.
    pub servers: BTreeMap<(Option<TenantId>, ServerName), LockedServer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    format: String,
    version: u32,
    #[serde(borrow, default)]
    shared: BTreeMap<String, ServerFile<'a>>,
    #[serde(borrow, default)]
    tenants: BTreeMap<String, BTreeMap<String, ServerFile<'a>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerFile<'a> {
    #[serde(borrow, default)]
    instructions: Option<ItemFile<'a>>,
    #[serde(borrow, default)]
    prompts: BTreeMap<String, ItemFile<'a>>,
    #[serde(borrow, default)]
    resources: BTreeMap<String, ItemFile<'a>>,
    #[serde(borrow, default)]
    templates: BTreeMap<String, ItemFile<'a>>,
    #[serde(borrow, default)]
    tools: BTreeMap<String, ItemFile<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemFile<'a> {
    digest: String,
    fields: BTreeMap<String, String>,
    #[serde(borrow)]
    definition: &'a RawValue,
}

impl Lock {
    /// Reads a file.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        let file: File<'_> = serde_json::from_str(text).map_err(|error| {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default().to_owned();
            LockError { message, place: Some((error.line(), error.column())) }
        })?;
        if file.format != FORMAT || file.version != VERSION {
            return Err(whole(format!(
                "`{}` of version {} is no lock that this program reads: it reads `{FORMAT}` of version {VERSION}",
                file.format, file.version
            )));
        }
        let mut lock = Self::default();
        let shared = file.shared.into_iter().map(|(name, server)| (None, name, server));
        let own = file.tenants.into_iter().flat_map(|(tenant, servers)| {
            servers.into_iter().map(move |(name, server)| (Some(TenantId::new(&tenant)), name, server))
        });
        for (tenant, name, server) in shared.chain(own) {
            let name = ServerName::new(&name).map_err(|error| whole(format!("{name:?}: {error}")))?;
            let items = [
                (PinKind::Prompt, server.prompts),
                (PinKind::Resource, server.resources),
                (PinKind::Template, server.templates),
                (PinKind::Tool, server.tools),
            ];
            let locked = lock.servers.entry((tenant, name.clone())).or_default();
            if let Some(said) = server.instructions {
                let item = item(PinKind::Instructions, &name, "", &said)?;
                locked.entry(PinKind::Instructions).or_default().insert("".into(), item);
            }
            for (kind, items) in items {
                for (key, written) in items {
                    let item = item(kind, &name, &key, &written)?;
                    locked.entry(kind).or_default().insert(key.into(), item);
                }
            }
        }
        Ok(lock)
    }

    /// Takes an item in.
    pub fn add(&mut self, of: PinOf, definition: Definition) {
        let server = self.servers.entry((of.tenant, of.server)).or_default();
        server.entry(of.kind).or_default().insert(of.item, definition.into());
    }

    /// The item, if it is in it.
    pub fn item(&self, of: &PinOf) -> Option<&LockItem> {
        self.servers.get(&(of.tenant.clone(), of.server.clone()))?.get(&of.kind)?.get(&of.item)
    }

    /// The file: the same for the same pins, to the letter.
    pub fn to_json(&self) -> String {
        let mut out = format!("{{\n  \"format\": \"{FORMAT}\",\n  \"version\": {VERSION}");
        let of = |wanted: Option<&TenantId>| -> Vec<_> {
            self.servers.iter().filter(|((tenant, _), _)| tenant.as_ref() == wanted).collect()
        };
        let shared = of(None);
        if !shared.is_empty() {
            out.push_str(",\n  \"shared\": ");
            servers(&shared, 1, &mut out);
        }
        let mut tenants: Vec<&TenantId> =
            self.servers.keys().filter_map(|(tenant, _)| tenant.as_ref()).collect();
        tenants.dedup();
        if !tenants.is_empty() {
            out.push_str(",\n  \"tenants\": ");
            object(&tenants, 1, &mut out, |tenant, out| {
                name(tenant.as_str(), out);
                servers(&of(Some(tenant)), 2, out);
            });
        }
        out.push_str("\n}\n");
        out
    }
}

fn whole(message: String) -> LockError {
    LockError { message, place: None }
}

fn item(kind: PinKind, server: &ServerName, key: &str, file: &ItemFile<'_>) -> Result<LockItem, LockError> {
    let about = || format!("{} {key:?} of `{server}`", kind.as_str());
    let bytes = file.definition.get().as_bytes();
    validate(bytes, &Limits::default()).map_err(|error| whole(format!("{}: {error}", about())))?;
    let item = LockItem::from(Definition::from_text(kind, bytes));
    if file.digest != written(item.digest) {
        return Err(whole(format!(
            "{}: the digest is not that of its definition; `tollgate pins lock` writes both",
            about()
        )));
    }
    let digests = item.definition.digests();
    let is_so = |(field, digest): &(String, Digest)| file.fields.get(field) == Some(&written(*digest));
    if digests.len() != file.fields.len() || !digests.iter().all(is_so) {
        return Err(whole(format!("{}: the digests of its fields are not those of its definition", about())));
    }
    Ok(item)
}

fn written(digest: Digest) -> String {
    format!("{SHA256}{digest}")
}

type Entry<'a> = (&'a (Option<TenantId>, ServerName), &'a LockedServer);

fn servers(all: &[Entry<'_>], depth: usize, out: &mut String) {
    object(all, depth, out, |((_, server), items), out| {
        name(server.as_str(), out);
        let kinds: Vec<_> = items.iter().filter(|(_, items)| !items.is_empty()).collect();
        object(&kinds, depth + 1, out, |(kind, items), out| {
            let member = match kind {
                PinKind::Instructions => "instructions",
                PinKind::Prompt => "prompts",
                PinKind::Resource => "resources",
                PinKind::Template => "templates",
                PinKind::Tool => "tools",
            };
            name(member, out);
            if let (PinKind::Instructions, Some(item)) = (kind, items.values().next()) {
                return one(item, depth + 2, out);
            }
            let items: Vec<_> = items.iter().collect();
            object(&items, depth + 2, out, |(key, item), out| {
                name(key, out);
                one(item, depth + 3, out);
            });
        });
    });
}

fn one(item: &LockItem, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth + 1);
    let _ = write!(out, "{{\n{pad}\"digest\": \"{}\",\n{pad}\"fields\": ", written(item.digest));
    object(&item.definition.digests(), depth + 1, out, |(field, digest), out| {
        name(field, out);
        let _ = write!(out, "\"{}\"", written(*digest));
    });
    let _ = write!(out, ",\n{pad}\"definition\": ");
    let text = item.definition.text();
    pretty(text, Span::all(text), depth + 1, out);
    let _ = write!(out, "\n{}}}", "  ".repeat(depth));
}

fn name(key: &str, out: &mut String) {
    out.push_str(&String::from_utf8_lossy(&quote(key)));
    out.push_str(": ");
}

/// An object of some members, each on lines of its own.
fn object<T>(all: &[T], depth: usize, out: &mut String, member: impl Fn(&T, &mut String)) {
    if all.is_empty() {
        return out.push_str("{}");
    }
    out.push('{');
    for (at, one) in all.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(out, "{comma}\n{}", "  ".repeat(depth + 1));
        member(one, out);
    }
    let _ = write!(out, "\n{}}}", "  ".repeat(depth));
}

/// A value on lines. Numbers keep their digits.
fn pretty(bytes: &[u8], value: Span, depth: usize, out: &mut String) {
    match kind_of(bytes, value) {
        JsonKind::Object => {
            let all: Vec<_> = members(bytes, value).collect();
            object(&all, depth, out, |member, out| {
                name(&member.key(bytes), out);
                pretty(bytes, member.value, depth + 1, out);
            });
        }
        JsonKind::Array => {
            let all: Vec<_> = elements(bytes, value).collect();
            if all.is_empty() {
                return out.push_str("[]");
            }
            out.push('[');
            for (at, element) in all.iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                let _ = write!(out, "{comma}\n{}", "  ".repeat(depth + 1));
                pretty(bytes, *element, depth + 1, out);
            }
            let _ = write!(out, "\n{}]", "  ".repeat(depth));
        }
        _ => out.push_str(&String::from_utf8_lossy(value.of(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(description: &str) -> Lock {
        let mut lock = Lock::default();
        let of = |tenant: Option<&str>, kind, item: &str| PinOf {
            tenant: tenant.map(TenantId::new),
            server: ServerName::new("crm").expect("a name"),
            kind,
            item: item.into(),
        };
        let tool =
            format!(r#"{{"name":"b","description":"{description}","inputSchema":{{"a":[1e400,[],{{}}]}}}}"#);
        lock.add(of(None, PinKind::Tool, "b"), Definition::read(PinKind::Tool, tool.as_bytes()));
        lock.add(
            of(None, PinKind::Tool, "a\"ü"),
            Definition::read(PinKind::Tool, br#"{"name":"a\"\u00fc"}"#),
        );
        lock.add(
            of(Some("default"), PinKind::Instructions, ""),
            Definition::read(PinKind::Instructions, br#""do so""#),
        );
        let uri = br#"{"uri":"x:y","name":"y"}"#;
        lock.add(of(Some("acme"), PinKind::Resource, "x:y"), Definition::read(PinKind::Resource, uri));
        lock
    }

    #[test]
    fn it_comes_back_as_it_went_and_is_the_same_to_the_letter() {
        let text = lock("Does\\nb.").to_json();
        assert_eq!(Lock::parse(&text).expect("a lock"), lock("Does\\nb."));
        assert_eq!(Lock::parse(&text).expect("a lock").to_json(), text);
        assert_eq!(Lock::parse(&Lock::default().to_json()).expect("a lock"), Lock::default());
        assert!(text.contains("1e400"), "{text}");
        serde_json::from_str::<serde_json::Value>(&text.replace("1e400", "1")).expect("JSON");
    }

    /// A server may name its members as it wants.
    #[test]
    fn a_member_that_is_named_like_an_annotation_comes_back_too() {
        let mut lock = Lock::default();
        let tool = br#"{"name":"a","annotations":{"x":1},"annotations.x":2}"#;
        let of = PinOf {
            tenant: None,
            server: ServerName::new("crm").expect("a name"),
            kind: PinKind::Tool,
            item: "a".into(),
        };
        lock.add(of, Definition::read(PinKind::Tool, tool));
        assert_eq!(Lock::parse(&lock.to_json()), Ok(lock));
    }

    /// A change of one description is a change of its line and the digests over it.
    #[test]
    fn what_did_not_change_is_the_same_line() {
        let (one, other) = (lock("one").to_json(), lock("other").to_json());
        let differing = one.lines().zip(other.lines()).filter(|(one, other)| one != other).count();
        assert_eq!((one.lines().count(), differing), (other.lines().count(), 3), "{one}");
    }

    #[test]
    fn what_was_changed_by_hand_is_refused() {
        let text = lock("one").to_json();
        for (from, to) in [
            ("\"one\"", "\"two\""),
            ("sha256:", "sha1:"),
            ("tollgate-lock", "lock"),
            ("\"b\":", "\"b\": 1, \"c\":"),
        ] {
            assert!(Lock::parse(&text.replacen(from, to, 1)).is_err(), "{from}");
        }
    }
}
