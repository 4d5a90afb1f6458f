//! The files of MCP clients: `mcpServers` (Claude Desktop, Claude Code, Cursor, Windsurf and others) and VS Code's
//! `servers`. Such a file is accepted as it is: its words are translated into those of `tollgate.yaml`, and what has no
//! meaning for a gateway is named in a warning, never refused.

use super::node::{Entry, Node, Span, Value, joined};
use super::problem::{Problems, Severity};

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Tollgate's own, in YAML or JSON.
    Tollgate,
    /// `mcpServers`, as most clients write it.
    McpServers,
    /// VS Code: `servers` and `inputs`, alone or within its settings.
    VsCode,
}

impl Format {
    /// What the format is called in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tollgate => "tollgate",
            Self::McpServers => "mcpServers",
            Self::VsCode => "vscode",
        }
    }
}

/// Keys of `tollgate.yaml` that no client's file has at its top.
const OWN_TOP_KEYS: [&str; 22] = [
    "listen",
    "admin_listen",
    "public_url",
    "allowed_hosts",
    "allowed_origins",
    "trusted_proxies",
    "tls",
    "admin_tls",
    "identity",
    "limits",
    "toolsets",
    "tenants",
    "registry",
    "guard",
    "admin",
    "approvals",
    "cache",
    "ledger",
    "pins",
    "policy",
    "schemas",
    "sizes",
];
/// Those of them by which somebody wants to keep something out. A warning is not enough where all would be let in.
const CLOSING_KEYS: [&str; 7] = ["identity", "policy", "tenants", "limits", "guard", "approvals", "pins"];
/// Keys of a server in `tollgate.yaml` that no client has.
const OWN_SERVER_KEYS: [&str; 16] = [
    "shared",
    "risk",
    "era",
    "isolation",
    "legacy_sessions",
    "instances_max",
    "watched_max",
    "ca_file",
    "http_version",
    "request_timeout_ms",
    "list_timeout_ms",
    "connect_timeout_ms",
    "idle_ms",
    "pins",
    "schemas",
    "sizes",
];
/// Keys that a warning names before it only counts.
const IDLE_KEYS_SHOWN_MAX: usize = 12;

/// Sees by its content what a JSON file is.
pub(super) fn format_of(root: &Node) -> Format {
    if root.get("mcpServers").is_some() {
        return Format::McpServers;
    }
    if root.get("mcp.servers").is_some() || root.get("mcp").is_some_and(|mcp| mcp.get("servers").is_some()) {
        return Format::VsCode;
    }
    let Some(servers) = root.get("servers") else { return Format::Tollgate };
    let own_at_top = OWN_TOP_KEYS.iter().any(|key| root.get(key).is_some());
    let own_inside = || {
        let entries = servers.entries().unwrap_or_default();
        entries.iter().any(|server| OWN_SERVER_KEYS.iter().any(|key| server.value.get(key).is_some()))
    };
    if root.get("inputs").is_none() && (own_at_top || own_inside()) {
        Format::Tollgate
    } else {
        Format::VsCode
    }
}

/// Translates a client's file into the words of `tollgate.yaml`.
pub(super) fn translate(root: Node, format: Format, problems: &mut Problems) -> Node {
    let span = root.span;
    let Value::Map(entries) = root.value else { return root };
    let mut idle = Idle::default();
    let mut servers = None;
    for entry in entries {
        match (format, entry.key.as_str()) {
            (Format::McpServers, "mcpServers") | (Format::VsCode, "servers" | "mcp.servers") => {
                servers = Some(Entry { written: Some(entry.key), key: "servers".into(), ..entry });
            }
            (Format::VsCode, "mcp") => {
                let Value::Map(inner) = entry.value.value else { continue };
                for entry in inner {
                    if entry.key == "servers" {
                        servers = Some(Entry { written: Some("mcp.servers".into()), ..entry });
                    }
                }
            }
            // Questions to the user, answered from the environment here; and pointers for editors.
            (Format::VsCode, "inputs") | (_, "$schema") => {}
            (_, key) if CLOSING_KEYS.contains(&key) => problems.add(
                Severity::Error,
                entry.key_span,
                key,
                "no effect in a client's file: what it is to keep out would be let in".to_owned(),
                Some("write a tollgate.yaml, which has its servers under `servers`".to_owned()),
            ),
            _ => idle.add("", &entry),
        }
    }
    idle.warn("", problems);
    let mut entries = Vec::new();
    if let Some(mut servers) = servers {
        let path = servers.written.clone().unwrap_or_default();
        if let Value::Map(list) = &mut servers.value.value {
            for server in list {
                translate_server(server, &joined(&path, &server.key), problems);
            }
        }
        entries.push(servers);
    }
    Node::map(span, entries)
}

fn translate_server(server: &mut Entry, path: &str, problems: &mut Problems) {
    let Value::Map(entries) = &mut server.value.value else { return };
    let mut idle = Idle::default();
    let has = |entries: &[Entry], key: &str| entries.iter().any(|entry| entry.key == key);
    let has_command = has(entries, "command");
    let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
    for mut entry in std::mem::take(entries) {
        let meant = match entry.key.as_str() {
            "command" | "args" | "env" | "cwd" | "url" | "headers" | "disabled" => entry.key.clone(),
            "serverUrl" | "httpUrl" => "url".into(),
            "envFile" => "env_file".into(),
            "type" | "transport" | "transportType" => {
                match translate_transport(&mut entry.value, has_command) {
                    Some(()) => "transport".into(),
                    None => continue,
                }
            }
            "enabled" => match &mut entry.value.value {
                Value::Bool(yes, _) => {
                    *yes = !*yes;
                    "disabled".into()
                }
                _ => continue,
            },
            // What a file says in its own words about a server that was never meant for a gateway.
            _ => {
                idle.add(path, &entry);
                continue;
            }
        };
        // `null` means "not set" in every client.
        if matches!(entry.value.value, Value::Null) {
            continue;
        }
        if let (Value::Map(inner), "env" | "headers") = (&mut entry.value.value, meant.as_str()) {
            inner.retain(|entry| !matches!(entry.value.value, Value::Null));
        }
        if has(&kept, &meant) {
            idle.add(path, &entry);
            continue;
        }
        if meant != entry.key {
            entry.written = Some(std::mem::replace(&mut entry.key, meant));
        }
        kept.push(entry);
    }
    // Some clients write the other transport's keys too, empty.
    let blank = |entry: &Entry| match &entry.value.value {
        Value::Text(text) => text.text.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        _ => false,
    };
    kept.retain(|entry| {
        !(blank(entry) && matches!(entry.key.as_str(), "command" | "url" | "args" | "env" | "headers"))
    });
    *entries = kept;
    idle.warn(path, problems);
}

/// Translates a client's name of a transport; `None` if it says nothing that the other keys do not say.
fn translate_transport(value: &mut Node, has_command: bool) -> Option<()> {
    let Value::Text(text) = &mut value.value else { return Some(()) };
    let word: String =
        text.text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    match word.as_str() {
        "stdio" | "local" if has_command => return None,
        "http" | "streamablehttp" | "remote" => "http".clone_into(&mut text.text),
        "sse" | "httpsse" => "sse".clone_into(&mut text.text),
        _ => {}
    }
    Some(())
}

/// Keys of a client's file that have no effect here.
#[derive(Default)]
struct Idle {
    keys: Vec<String>,
    first: Option<Span>,
    /// Keys that a reader of `tollgate.yaml` may have hoped to use.
    own: bool,
}

impl Idle {
    fn add(&mut self, path: &str, entry: &Entry) {
        let own: &[&str] = if path.is_empty() { &OWN_TOP_KEYS } else { &OWN_SERVER_KEYS };
        self.own |= own.contains(&entry.key.as_str());
        self.first.get_or_insert(entry.key_span);
        self.keys.push(entry.key.clone());
    }

    fn warn(self, path: &str, problems: &mut Problems) {
        let Some(span) = self.first else { return };
        let shown: Vec<String> =
            self.keys.iter().take(IDLE_KEYS_SHOWN_MAX).map(|key| format!("`{key}`")).collect();
        let more = match self.keys.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let suggestion = self.own.then(|| "Tollgate's own keys belong into a tollgate.yaml".to_owned());
        let message = format!("no effect in a gateway: {}{more}", shown.join(", "));
        problems.add(Severity::Warning, span, path, message, suggestion);
    }
}
