//! Servers that are registered at run time: the words of `servers` in `tollgate.yaml`, read with less trust. What they say is
//! checked when it is registered, and again by each gateway that is to serve them.

use std::path::PathBuf;
use std::sync::Arc;

use tollgate_catalog::ServerFacts;
use tollgate_model::{Holder, ServerId, ServerName, TenantId};
use tollgate_proxy::{Handling, ServerCache, ServerPins, Unwritable};
use tollgate_store::About;
use tollgate_upstream::{HttpSettings, ServerSettings, Transport};

use super::client::Format;
use super::expand::{self, Env, Expander};
use super::files::Files;
use super::meaning::{Meaning, RegistrySettings};
use super::node::{Entry, Node, Place, Span, Text, Value, joined};
use super::problem::{ConfigError, Problem, Problems, Severity};
use super::{drop_duplicates, hide_secrets, json, literal, schema, section_of};

/// Keys of a server that mean nothing in a registration, and what says the same.
const FOREIGN_KEYS: [(&str, &str); 2] = [
    ("disabled", "a registration that is not to be served is a draft, or retired"),
    ("version", "the version is said of the registration itself"),
];
/// What stands for the value of a variable while nobody needs it.
const PLACEHOLDER: &str = "placeholder";
/// Where whoever registers a server is told to look.
const ALLOW: &str = "the gateway's configuration has to allow it:";

/// What a registration means.
#[derive(Debug)]
pub(crate) struct Meant {
    /// How the server is reached, and whose it is.
    pub(crate) server: ServerSettings,
    /// What is said of it.
    pub(crate) facts: Option<Arc<ServerFacts>>,
    /// How calls of its tools are handled.
    pub(crate) handling: Option<Arc<Handling>>,
    /// What is kept of what it has said.
    pub(crate) cache: Option<ServerCache>,
    /// How its definitions are pinned.
    pub(crate) pins: Option<ServerPins>,
    /// What becomes of its calls while the ledger cannot be written.
    pub(crate) unwritable: Unwritable,
}

/// What is read: one version of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) name: &'a ServerName,
    /// Whose label stands in messages.
    pub(crate) label: &'a str,
    /// How it is reached: JSON.
    pub(crate) reach: &'a str,
    /// What is said beside.
    pub(crate) about: &'a About,
}

/// Finds out what a registration means. `env`: where the values of variables are, or none where they do not matter yet, and
/// files need not be there either.
///
/// # Errors
/// All that is wrong with it, or not allowed.
pub(crate) fn read(
    written: Written<'_>,
    settings: &RegistrySettings,
    (env, folder): (Option<&dyn Env>, PathBuf),
) -> Result<(Meant, Vec<Problem>), ConfigError> {
    let file = PathBuf::from(written.label);
    let mut problems = Problems::default();
    let files = if env.is_some() { Files::beside(folder) } else { Files::of_nobody(folder) };
    let meant = read_into(written, settings, (env, &files), &mut problems);
    let fatal = problems.is_fatal();
    let (problems, left_out) = problems.placed(&file, written.reach);
    match meant {
        Some(meant) if !fatal => Ok((meant, problems)),
        _ => Err(ConfigError { problems, left_out, files: Vec::new() }),
    }
}

fn read_into(
    written: Written<'_>,
    settings: &RegistrySettings,
    (env, files): (Option<&dyn Env>, &Files),
    problems: &mut Problems,
) -> Option<Meant> {
    let server = match json::read(written.reach) {
        Ok(server) => server,
        Err(syntax) => {
            problems.add(Severity::Error, syntax.span, "", syntax.message, syntax.suggestion);
            return None;
        }
    };
    if server.entries().is_none() {
        let message = "how a server is reached is an object, as under `servers` in tollgate.yaml".to_owned();
        problems.add(Severity::Error, server.span, "", message, None);
        return None;
    }
    let (mut root, path) = rooted(written, server);
    drop_duplicates(&mut root, "", written.reach, problems);
    hide_secrets(&root, problems);
    let server = root.get("servers").and_then(|servers| servers.get(written.name.as_str()))?;
    Rules { settings, problems }.look_at(server, &path);
    let lent = Lent { env, settings };
    Expander { env: &lent, source: written.reach, workspace: None, problems }.tree(&mut root, "");
    let section = section_of(&mut root, schema(), problems)?;
    let nobody = std::collections::BTreeMap::new();
    let env: &dyn Env = env.unwrap_or(&nobody);
    let holder = Holder::Tenant(written.tenant.clone());
    let mut meaning = Meaning { env, files, problems, format: Format::Tollgate };
    let mut served = meaning.registered(&section, &Place::root(&root), &holder, settings.message_bytes_max);
    let server = served.servers.pop()?;
    let id: ServerId = server.id();
    let server = within(server, settings, &path, problems);
    Some(Meant {
        facts: served.facts.remove(&id),
        handling: served.handling.remove(&id),
        cache: served.caches.remove(&id),
        pins: served.pins.remove(&id),
        unwritable: served.unwritable,
        server,
    })
}

/// The server as if it stood in a file, with what is said of it, and its path there.
fn rooted(written: Written<'_>, mut server: Node) -> (Node, String) {
    let span = server.span;
    if let Value::Map(entries) = &mut server.value {
        let About { owner, environment, risk, .. } = written.about;
        for (key, said) in [("owner", owner), ("environment", environment), ("risk", risk)] {
            let Some(said) = said else { continue };
            entries.retain(|entry| entry.key != key);
            let text = Text { text: said.to_string(), expanded: false };
            entries.push(entry(key, span, Node { span, value: Value::Text(text) }));
        }
    }
    let name = written.name.as_str();
    let servers = Node::map(span, vec![entry(name, span, server)]);
    (Node::map(span, vec![entry("servers", span, servers)]), joined("servers", name))
}

fn entry(key: &str, span: Span, value: Node) -> Entry {
    Entry { key: key.to_owned(), written: None, key_span: Span { end: span.start, ..span }, value }
}

/// Keeps connections within what is allowed, and says at once where an address is not.
fn within(
    mut server: ServerSettings,
    settings: &RegistrySettings,
    path: &str,
    problems: &mut Problems,
) -> ServerSettings {
    let (Transport::Http(http) | Transport::Sse(http)) = &mut server.transport else { return server };
    http.reach = settings.reach();
    let is_forbidden = |http: &HttpSettings| {
        let urls = std::iter::once(&http.url).chain(http.replicas.iter().map(|replica| &replica.url));
        let mut hosts = urls.filter_map(|url| url.host());
        hosts.any(|host| match host.trim_matches(['[', ']']).parse() {
            Ok(address) => !http.reach.may_connect(address),
            Err(_) => !settings.allow_private && (host == "localhost" || host.ends_with(".localhost")),
        })
    };
    if is_forbidden(http) {
        let message = "a registered server may not be at such an address".to_owned();
        let suggestion = (!settings.allow_private).then(|| format!("{ALLOW} `registry.allow_private`"));
        problems.add(Severity::Error, Span::default(), path, message, suggestion);
    }
    server
}

/// The variables that are lent to registered servers.
struct Lent<'a> {
    env: Option<&'a dyn Env>,
    settings: &'a RegistrySettings,
}

impl Env for Lent<'_> {
    fn var(&self, name: &str) -> Option<String> {
        if !self.settings.lends_variable(name) {
            return None;
        }
        self.env.map_or_else(|| Some(PLACEHOLDER.to_owned()), |env| env.var(name))
    }
}

/// What is looked at before anything is put in.
struct Rules<'a> {
    settings: &'a RegistrySettings,
    problems: &'a mut Problems,
}

impl Rules<'_> {
    fn look_at(&mut self, server: &Node, path: &str) {
        for (key, instead) in FOREIGN_KEYS {
            if let Some(entry) = server.entry(key) {
                self.fault(
                    entry.key_span,
                    &joined(path, key),
                    "has no meaning here",
                    Some(instead.to_owned()),
                );
            }
        }
        self.references(server, path);
        self.named(server, path);
        if let Some(Value::List(replicas)) = server.get("replicas").map(|node| &node.value) {
            for (index, replica) in replicas.iter().enumerate() {
                let path = format!("{}[{index}]", joined(path, "replicas"));
                if let Some(entry) = replica.entry("version") {
                    let instead = FOREIGN_KEYS[1].1.to_owned();
                    self.fault(
                        entry.key_span,
                        &joined(&path, "version"),
                        "has no meaning here",
                        Some(instead),
                    );
                }
                self.named(replica, &path);
            }
        }
        self.arguments(server, path);
        self.command(server, path);
    }

    /// Headers, variables and URLs of a server or replica.
    fn named(&mut self, holder: &Node, path: &str) {
        for key in ["headers", "env"] {
            for entry in holder.get(key).and_then(Node::entries).unwrap_or_default() {
                let path = joined(&joined(path, key), &entry.key);
                match &entry.value.value {
                    Value::Text(text) => self.literal(&entry.key, &text.text, entry.value.span, &path),
                    Value::Number(number) => {
                        self.literal(&entry.key, &number.written, entry.value.span, &path);
                    }
                    Value::Map(_) => self.file(&entry.value, "file", &path),
                    _ => {}
                }
            }
        }
        for key in ["ca_file", "env_file"] {
            self.file(holder, key, path);
        }
        if let Some(Node { value: Value::Text(url), span }) = holder.get("url") {
            let path = joined(path, "url");
            let (before, query) = url.text.split_once('?').unwrap_or((&url.text, ""));
            let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or(("", pair)));
            for (name, value) in pairs.chain([("", before)]) {
                self.literal(name, value, *span, &path);
            }
        }
    }

    /// Arguments: `--token=x` and `--token x` say what `x` is.
    fn arguments(&mut self, server: &Node, path: &str) {
        let Some(Value::List(items)) = server.get("args").map(|node| &node.value) else { return };
        let mut flag = "";
        for (index, item) in items.iter().enumerate() {
            let Value::Text(text) = &item.value else { continue };
            let path = format!("{}[{index}]", joined(path, "args"));
            match text.text.split_once('=') {
                Some((name, value)) => self.literal(name, value, item.span, &path),
                None if text.text.starts_with('-') => self.literal("", &text.text, item.span, &path),
                None => self.literal(flag, &text.text, item.span, &path),
            }
            flag = if text.text.starts_with('-') && !text.text.contains('=') { &text.text } else { "" };
        }
    }

    fn literal(&mut self, name: &str, value: &str, span: Span, path: &str) {
        if literal::is_secret(name, value) {
            self.problems.hide(span);
            let message = "looks like a secret that is written down: what is registered is kept and shown";
            let instead = "name it: `${NAME}` for an environment variable of the gateway, `{\"file\": \"/path\"}` for a file";
            self.fault(span, path, message, Some(instead.to_owned()));
        }
    }

    /// A file of the gateway's machine.
    fn file(&mut self, holder: &Node, key: &str, path: &str) {
        let Some(Node { value: Value::Text(file), span }) = holder.get(key) else { return };
        if !self.settings.lends_file(&file.text) {
            let message = "registered servers may not name this file";
            let instead = format!("{ALLOW} its absolute path in `registry.credentials`");
            self.fault(*span, &joined(path, key), message, Some(instead));
        }
    }

    /// Variables of the gateway, wherever they are named.
    fn references(&mut self, node: &Node, path: &str) {
        match &node.value {
            Value::Text(text) => {
                for (_, inner) in expand::references(&text.text) {
                    let name = inner.split_once(":-").map_or(inner, |(name, _)| name);
                    let name = name.strip_prefix("env:").unwrap_or(name);
                    if !self.settings.lends_variable(name) {
                        let message = format!("registered servers may not name `{name}`");
                        let instead = format!("{ALLOW} `registry.credentials: [{name}]`");
                        self.fault(node.span, path, &message, Some(instead));
                    }
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.references(item, &format!("{path}[{index}]"));
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    self.references(&entry.value, &joined(path, &entry.key));
                }
            }
            _ => {}
        }
    }

    /// A command runs with the gateway's rights.
    fn command(&mut self, server: &Node, path: &str) {
        let Some(Node { value: Value::Text(command), span }) = server.get("command") else { return };
        if self.settings.allow_stdio {
            return;
        }
        let mut words = vec![command.text.as_str()];
        if let Some(Value::List(items)) = server.get("args").map(|node| &node.value) {
            words.extend(items.iter().map(|item| match &item.value {
                Value::Text(text) => text.text.as_str(),
                Value::Number(number) => number.written.as_str(),
                Value::Bool(_, written) => written.as_str(),
                // No word, so on no list.
                _ => "",
            }));
        }
        if !self.settings.lists_command(&words) {
            let message = "a registered server may not be a command: it would run with the gateway's rights";
            let instead = format!("{ALLOW} `registry.stdio_commands`, or `registry.allow_stdio`");
            self.fault(*span, &joined(path, "command"), message, Some(instead));
            return;
        }
        for key in ["cwd", "env_file"] {
            if let Some(entry) = server.entry(key) {
                let message = "may not be said of a listed command: it could change what is run";
                self.fault(entry.key_span, &joined(path, key), message, None);
            }
        }
        for entry in server.get("env").and_then(Node::entries).unwrap_or_default() {
            if !self.settings.lends_variable(&entry.key) {
                let message = "a listed command may not be given this variable: it could change what is run";
                let instead = format!("{ALLOW} `registry.credentials: [{}]`", entry.key);
                let path = joined(&joined(path, "env"), &entry.key);
                self.fault(entry.key_span, &path, message, Some(instead));
            }
        }
    }

    fn fault(&mut self, span: Span, path: &str, message: &str, suggestion: Option<String>) {
        self.problems.add(Severity::Error, span, path, message.to_owned(), suggestion);
    }
}
