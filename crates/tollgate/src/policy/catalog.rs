//! A saved catalogue: what servers list, as a file that is made to be read, and kept beside the policies.
//!
//! ```json
//! {
//!   "format": "tollgate-catalog",
//!   "version": 1,
//!   "saved": "2026-07-28T09:30:00Z",
//!   "shared": { "SERVER": { "tools": [ … ] } },
//!   "tenants": { "TENANT": { "SERVER": { "tools": [ … ] } } }
//! }
//! ```
//!
//! Items of `tools` are as the server lists them. Read are their `name`, `inputSchema`, and the hints of `annotations`.
//! A server whose tools are not known has no `tools`. `shared` are the servers of every tenant.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_catalog::ToolDefinition;
use tollgate_mcp::Span;
use tollgate_mcp::json::{self, JsonKind, Limits};
use tollgate_model::{Holder, ServerId, ServerName, TenantId, Timestamp};

use crate::config::{ConfigError, Problem, Severity};

const FORMAT: &str = "tollgate-catalog";
const VERSION: u32 = 1;
/// The largest catalogue that is read.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What is known of servers' tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Catalog {
    /// When it was saved.
    pub(crate) saved: Timestamp,
    /// Each server's tools as it lists them; none if they are not known. Shared servers come first.
    pub(crate) servers: BTreeMap<ServerId, Option<Vec<Bytes>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    format: String,
    version: u32,
    saved: String,
    #[serde(borrow, default)]
    shared: BTreeMap<String, Server<'a>>,
    #[serde(borrow, default)]
    tenants: BTreeMap<String, BTreeMap<String, Server<'a>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Server<'a> {
    #[serde(borrow, default)]
    tools: Option<Vec<&'a RawValue>>,
}

impl Catalog {
    /// Reads a saved one.
    ///
    /// # Errors
    /// Says what is wrong with it, and where.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let whole = |message: String| ConfigError::one(Problem::of_file(path, message, None));
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text))
            .map_err(|error| whole(format!("the catalogue cannot be read: {error}")))?;
        if text.len() as u64 > BYTES_MAX {
            return Err(whole(format!("the catalogue is larger than {BYTES_MAX} bytes")));
        }
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let file: File<'_> = serde_json::from_str(text).map_err(|error| {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default().to_owned();
            let place = (error.line(), error.column());
            ConfigError::one(Problem::in_text(Severity::Error, (path, text), place, message, None))
        })?;
        let whole = |message: String| ConfigError::one(Problem::of_file(path, message, None));
        if file.format != FORMAT || file.version != VERSION {
            return Err(whole(format!(
                "`{}` of version {} is no catalogue that this program reads: it reads `{FORMAT}` of version {VERSION}",
                file.format, file.version
            )));
        }
        let saved = file.saved.parse().map_err(|error| whole(format!("`saved`: {error}")))?;
        let mut servers = BTreeMap::new();
        let shared = file.shared.into_iter().map(|(name, server)| (None, name, server));
        let own = file.tenants.into_iter().flat_map(|(tenant, servers)| {
            servers.into_iter().map(move |(name, server)| (Some(tenant.clone()), name, server))
        });
        for (tenant, name, server) in shared.chain(own) {
            let name = ServerName::new(&name).map_err(|error| whole(format!("{name:?}: {error}")))?;
            let tools = match server.tools {
                None => None,
                Some(items) => {
                    let read = items.into_iter().map(|item| tool(item, &name).map_err(whole));
                    Some(read.collect::<Result<Vec<Bytes>, ConfigError>>()?)
                }
            };
            let holder = tenant.map_or(Holder::Shared, |tenant| Holder::Tenant(TenantId::new(&tenant)));
            servers.insert(ServerId::new(holder, name), tools);
        }
        Ok(Self { saved, servers })
    }

    /// The definitions of a server's tools.
    pub(crate) fn tools(&self, server: &ServerId) -> Option<Arc<[ToolDefinition]>> {
        let items = self.servers.get(server)?.as_ref()?;
        Some(items.iter().filter_map(ToolDefinition::read).collect())
    }

    /// The file.
    pub(crate) fn to_json(&self) -> String {
        let mut out = format!(
            "{{\n  \"format\": \"{FORMAT}\",\n  \"version\": {VERSION},\n  \"saved\": \"{}\"",
            self.saved
        );
        let of = |tenant: Option<&str>| {
            let found = self.servers.iter().filter(move |(id, _)| tenant_of(id) == tenant);
            found.map(|(id, tools)| (id.name().as_str(), tools.as_deref())).collect::<Vec<_>>()
        };
        let shared = of(None);
        if !shared.is_empty() {
            out.push_str(",\n  \"shared\": ");
            servers(&shared, 1, &mut out);
        }
        let mut tenants: Vec<&str> = self.servers.keys().filter_map(tenant_of).collect();
        tenants.dedup();
        let tenants = tenants.into_iter().map(|tenant| {
            let mut text = String::new();
            servers(&of(Some(tenant)), 2, &mut text);
            (quoted(tenant), text)
        });
        let tenants: Vec<_> = tenants.collect();
        if !tenants.is_empty() {
            out.push_str(",\n  \"tenants\": ");
            object(&tenants, 1, &mut out);
        }
        out.push_str("\n}\n");
        out
    }
}

/// One item of a list, if it is one that policies can be about.
fn tool(item: &RawValue, server: &ServerName) -> Result<Bytes, String> {
    let item = Bytes::copy_from_slice(item.get().as_bytes());
    json::validate(&item, &Limits::default()).map_err(|error| format!("a tool of `{server}`: {error}"))?;
    match ToolDefinition::read(&item) {
        Some(_) => Ok(item),
        None => Err(format!("a tool of `{server}` has no name")),
    }
}

fn tenant_of(id: &ServerId) -> Option<&str> {
    id.holder().tenant().map(TenantId::as_str)
}

fn servers(list: &[(&str, Option<&[Bytes]>)], depth: usize, out: &mut String) {
    let members: Vec<_> = list
        .iter()
        .map(|(name, tools)| {
            let mut text = String::new();
            match tools {
                None => text.push_str("{}"),
                Some(tools) => {
                    let items = tools.iter().map(|item| {
                        let mut text = String::new();
                        value(item, Span::all(item), depth + 3, &mut text);
                        text
                    });
                    let mut list = String::new();
                    array(&items.collect::<Vec<_>>(), depth + 2, &mut list);
                    object(&[(quoted("tools"), list)], depth + 1, &mut text);
                }
            }
            (quoted(name), text)
        })
        .collect();
    object(&members, depth, out);
}

fn quoted(text: &str) -> String {
    String::from_utf8_lossy(&json::quote(text)).into_owned()
}

/// A value with its members on lines of their own. Names, texts and numbers stay as they are.
fn value(bytes: &[u8], span: Span, depth: usize, out: &mut String) {
    let text = |span: Span| String::from_utf8_lossy(span.of(bytes)).into_owned();
    let inner = |span| {
        let mut text = String::new();
        value(bytes, span, depth + 1, &mut text);
        text
    };
    match json::kind_of(bytes, span) {
        JsonKind::Object => {
            let members = json::members(bytes, span);
            let members = members.map(|member| (text(member.key), inner(member.value)));
            object(&members.collect::<Vec<_>>(), depth, out);
        }
        JsonKind::Array => {
            array(&json::elements(bytes, span).map(inner).collect::<Vec<_>>(), depth, out);
        }
        _ => out.push_str(&text(span)),
    }
}

fn object(members: &[(String, String)], depth: usize, out: &mut String) {
    let lines: Vec<String> = members.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    block(&lines, depth, ('{', '}'), out);
}

/// Short arrays stay on one line.
fn array(items: &[String], depth: usize, out: &mut String) {
    const LINE_MAX: usize = 100;
    let length: usize = items.iter().map(|item| item.len() + 2).sum();
    if length <= LINE_MAX && items.iter().all(|item| !item.starts_with(['{', '['])) {
        out.extend(["[", &items.join(", "), "]"]);
    } else {
        block(items, depth, ('[', ']'), out);
    }
}

fn block(lines: &[String], depth: usize, (open, close): (char, char), out: &mut String) {
    out.push(open);
    let indent = "  ".repeat(depth);
    for (nth, line) in lines.iter().enumerate() {
        let comma = if nth == 0 { "" } else { "," };
        out.extend([comma, "\n", &indent, "  ", line]);
    }
    if !lines.is_empty() {
        out.extend(["\n", &indent]);
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEM: &str = r#"{"name":"a\u0062","inputSchema":{"type":"object","required":["x"],"properties":{"x":{"maximum":1e400}},"oneOf":[{},[]]}}"#;

    fn server(tenant: Option<&str>, name: &str) -> ServerId {
        let holder = tenant.map_or(Holder::Shared, |tenant| Holder::Tenant(TenantId::new(tenant)));
        ServerId::new(holder, ServerName::new(name).expect("a name"))
    }

    fn catalog() -> Catalog {
        let servers = BTreeMap::from([
            (server(None, "files"), Some(vec![Bytes::from_static(ITEM.as_bytes())])),
            (server(Some("acme"), "crm"), None),
            (server(Some("acme"), "bank"), Some(Vec::new())),
        ]);
        Catalog { saved: Timestamp::from_ms(0), servers }
    }

    fn parse(text: &str) -> Result<Catalog, String> {
        Catalog::parse(Path::new("catalog.json"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_saved_is_read_back_with_every_digit() {
        let text = catalog().to_json();
        let read = parse(&text).expect("a catalogue");
        assert_eq!(read.to_json(), text);
        let tools = read.tools(&server(None, "files")).expect("tools");
        assert_eq!(&*tools[0].native, "ab");
        let schema = tools[0].input_schema.as_ref().expect("a schema");
        assert!(schema.windows(5).any(|part| part == b"1e400"), "{text}");
        assert_eq!(read.tools(&server(Some("acme"), "crm")), None);
        assert!(text.contains("\n      \"crm\": {}\n"), "{text}");
        assert!(text.contains("\"required\": [\"x\"]"), "{text}");
    }

    #[test]
    fn one_tenants_servers_are_not_anothers() {
        let catalog = catalog();
        assert_eq!(catalog.tools(&server(Some("acme"), "files")), None);
        assert_eq!(catalog.tools(&server(Some("other"), "bank")), None);
    }

    #[test]
    fn what_is_no_catalogue_is_told_with_its_place() {
        let text = r#"{"format":"tollgate-catalog","version":1,
  "saved":"1970-01-01T00:00:00Z","sharde":{}}"#;
        let error = parse(text).expect_err("misspelt");
        assert!(error.starts_with("catalog.json:2:") && error.contains("sharde"), "{error}");
        let newer = r#"{"format":"tollgate-catalog","version":2,"saved":"1970-01-01T00:00:00Z"}"#;
        assert!(parse(newer).expect_err("newer").contains("reads `tollgate-catalog` of version 1"));
    }
}
