//! The configuration: read from a file, checked as a whole, and turned into the settings of the crates that use them.
//!
//! A file passes through these steps, each a module: the reader of its syntax (`json`, `yaml`) makes a tree that
//! remembers positions (`node`); a client's own file is translated into our words (`client`); `${NAME}` is put in
//! (`expand`); the tree is compared with the schema that the sections define (`check`, `section`); and what is left is
//! given its meaning (`meaning`). Every step adds to one list of problems, so that all of them are told at once, each
//! with its line and column.

pub(crate) mod cases;
mod check;
mod client;
mod expand;
mod files;
pub(crate) mod foreign;
mod forms;
mod joined;
mod json;
mod literal;
mod meaning;
mod node;
mod problem;
mod reference;
pub(crate) mod registered;
pub(crate) mod rule_files;
mod section;
mod server_json;
mod watch;
mod yaml;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use self::check::{At, Checker};
use self::expand::Expander;
use self::files::Files;
use self::json::Syntax;
use self::meaning::Meaning;
use self::node::{Entry, Node, Place, Value, joined};
use self::problem::{Problems, Severity as Level};
use self::section::ConfigSection;

pub use self::client::Format;
pub use self::expand::{Env, ProcessEnv};
pub(crate) use self::joined::{LeftOut, label};
pub use self::meaning::{
    ClientFiles, Config, DATABASE_URL, Lack, OpenListen, Policies, RegistrySettings, StoreSettings,
    TenantSettings, TlsFiles, check_listen,
};
pub(crate) use self::meaning::{ENCRYPTION_KEY, is_stored, stored_path, url_of_environment};
pub(crate) use self::problem::closest;
pub use self::problem::{ConfigError, Problem, Severity};
pub use self::reference::{guard_rules_schema_json, policy_tests_schema_json, reference_md, schema_json};
pub use self::watch::Watcher;

/// The largest configuration file, in bytes.
pub const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Reads a configuration file: `tollgate.yaml` (or the same as JSON), an `mcpServers` file as Claude Desktop, Claude
/// Code, Cursor or Windsurf write it, or VS Code's `mcp.json`. Which it is shows in its content.
///
/// # Errors
/// All problems that can be found at once: the file cannot be read, is no YAML or JSON, says what the schema does not
/// know, names variables or files that are not there, or means something that cannot be served.
pub fn load(path: &Path, env: &dyn Env) -> Result<Config, ConfigError> {
    let source = read_source(path)?;
    let mut problems = Problems::default();
    let files = Files::beside(folder_of(path));
    let config = load_source(path, &source, env, &files, &mut problems);
    let files = files.seen();
    let fatal = problems.is_fatal();
    let (problems, left_out) = problems.placed(path, &source);
    match config {
        Some(config) if !fatal => Ok(Config { files, warnings: problems, ..config }),
        _ => Err(ConfigError { problems, left_out, files }),
    }
}

/// Everything between the text of a file and its meaning. `None` only if there is an error among the problems.
fn load_source(
    path: &Path,
    source: &str,
    env: &dyn Env,
    files: &Files,
    problems: &mut Problems,
) -> Option<Config> {
    let (mut root, is_json) = match read_tree(path, source) {
        Ok(read) => read,
        Err(syntax) => {
            problems.add(Level::Error, syntax.span, "", syntax.message, syntax.suggestion);
            return None;
        }
    };
    drop_duplicates(&mut root, "", source, problems);
    let format = if is_json { client::format_of(&root) } else { Format::Tollgate };
    if format != Format::Tollgate {
        root = client::translate(root, format, problems);
    }
    hide_secrets(&root, problems);

    let workspace = (format != Format::Tollgate).then(|| workspace_of(&folder_of(path)));
    Expander { env, source, workspace, problems }.tree(&mut root, "");

    if matches!(root.value, Value::Null) {
        problems.add(
            Level::Error,
            root.span,
            "",
            "the file is empty".into(),
            Some("it needs at least `servers`".into()),
        );
        return None;
    }
    refuse_empty_switches(&root, problems);
    let section: ConfigSection = section_of(&mut root, schema(), problems)?;
    Some(Meaning { env, files, problems, format }.config(path, &section, &Place::root(&root)))
}

/// Refuses a key that switches security on by being there, but has no value: elsewhere that is as good as no key, and here
/// would leave a gateway open that its operator meant to close.
fn refuse_empty_switches(root: &Node, problems: &mut Problems) {
    let mut refuse = |entry: &Entry, path: &str| {
        if matches!(entry.value.value, Value::Null) {
            let key = &entry.key;
            let suggestion = match key.as_str() {
                "tenants" => "name a tenant under it, or take the key out".to_owned(),
                _ => format!("write `{key}: {{}}` to switch it on, or take the key out"),
            };
            let message = "nothing is written under this key, so it would have no effect".to_owned();
            problems.add(Level::Error, entry.key_span, path, message, Some(suggestion));
        }
    };
    for key in ["identity", "policy", "tenants"] {
        if let Some(entry) = root.entry(key) {
            refuse(entry, key);
        }
    }
    for tenant in root.get("tenants").and_then(Node::entries).unwrap_or_default() {
        if let Some(entry) = tenant.value.entry("policy") {
            refuse(entry, &joined(&joined("tenants", &tenant.key), "policy"));
        }
    }
}

/// Compares a tree with its schema, takes out what is refused, and reads the rest. `None` only if there is an error among
/// the problems.
fn section_of<T: DeserializeOwned>(
    root: &mut Node,
    schema: &serde_json::Value,
    problems: &mut Problems,
) -> Option<T> {
    let at = At { path: "", span: Place::root(root).span };
    if !(Checker { root: schema, problems }).check(root, schema, &at) {
        return None;
    }
    let mut text = Zeroizing::new(String::new());
    root.write_json(&mut text);
    match serde_json::from_str(&text) {
        Ok(section) => Some(section),
        // What the check lets pass can be read; this is a net below it.
        Err(error) => {
            problems.add(Level::Error, root.span, "", format!("cannot be read: {error}"), None);
            None
        }
    }
}

/// The text of the file, without a byte order mark.
fn read_source(path: &Path) -> Result<String, ConfigError> {
    let fail = |message: String, suggestion: Option<&str>| {
        ConfigError::one(Problem::of_file(path, message, suggestion.map(ToOwned::to_owned)))
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| fail(format!("the file cannot be read: {error}"), None))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(fail(format!("the file is larger than {FILE_BYTES_MAX} bytes"), None));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|b| *b == b'\n').count();
        fail(format!("the file is not UTF-8 in line {line}"), Some("save it as UTF-8"))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(ToOwned::to_owned).unwrap_or(text))
}

/// Reads JSON where the text begins like JSON, otherwise YAML; and whether it was JSON. A `.yaml` file may begin with a
/// brace and still be YAML.
fn read_tree(path: &Path, source: &str) -> Result<(Node, bool), Syntax> {
    let named_yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    let begins_like_json = ["{", "[", "//", "/*"].iter().any(|start| source.trim_start().starts_with(start));
    if !begins_like_json {
        return Ok((yaml::read(source)?, false));
    }
    match json::read(source) {
        Err(_) if named_yaml => Ok((yaml::read(source)?, false)),
        read => Ok((read?, true)),
    }
}

/// The folder that paths in the file are relative to.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.parent().map(ToOwned::to_owned).unwrap_or_default()
}

/// What an editor means by its workspace folder: the folder of the file, or the one above `.vscode` or `.cursor`.
fn workspace_of(folder: &Path) -> PathBuf {
    match (folder.file_name().and_then(|name| name.to_str()), folder.parent()) {
        (Some(".vscode" | ".cursor"), Some(parent)) => parent.to_owned(),
        _ => folder.to_owned(),
    }
}

/// Refuses a key that stands twice in one mapping: readers differ in which of the two they take.
fn drop_duplicates(node: &mut Node, path: &str, source: &str, problems: &mut Problems) {
    match &mut node.value {
        Value::Map(entries) => {
            let mut seen: HashMap<String, usize> = HashMap::with_capacity(entries.len());
            entries.retain_mut(|entry| {
                let path = joined(path, &entry.key);
                if let Some(first) = seen.get(&entry.key) {
                    let line =
                        source[..(*first).min(source.len())].bytes().filter(|b| *b == b'\n').count() + 1;
                    let message = format!("the key `{}` is already in line {line}", entry.key);
                    problems.add(Level::Error, entry.key_span, &path, message, None);
                    return false;
                }
                seen.insert(entry.key.clone(), entry.key_span.start);
                drop_duplicates(&mut entry.value, &path, source, problems);
                true
            });
        }
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                drop_duplicates(item, &format!("{path}[{index}]"), source, problems);
            }
        }
        _ => {}
    }
}

/// Keeps the values of environments and headers, and what clients prove themselves by, out of every excerpt.
fn hide_secrets(root: &Node, problems: &mut Problems) {
    let tenants = root.get("tenants").and_then(Node::entries).unwrap_or_default();
    let holders = std::iter::once(root).chain(tenants.iter().map(|tenant| &tenant.value));
    let servers =
        holders.flat_map(|holder| holder.get("servers").and_then(Node::entries).unwrap_or_default());
    let issuers =
        match root.get("identity").and_then(|identity| identity.get("issuers")).map(|node| &node.value) {
            Some(Value::List(issuers)) => issuers.as_slice(),
            _ => &[],
        };
    for issuer in issuers {
        if let Some(secret) = issuer.get("introspection").and_then(|node| node.get("client_secret")) {
            problems.hide(secret.span);
        }
    }
    for key in ["signing_key", "encryption_key"] {
        if let Some(secret) = root.get("ledger").and_then(|ledger| ledger.get(key)) {
            problems.hide(secret.span);
        }
    }
    let exports = root.get("ledger").and_then(|ledger| ledger.get("export")).map(|node| &node.value);
    if let Some(Value::List(exports)) = exports {
        for export in exports {
            hide_secrets_of_export(export, problems);
        }
    }
    if let Some(url) = root.get("store").and_then(|store| store.get("url"))
        && matches!(url.value, Value::Text(_))
    {
        problems.hide(url.span);
    }
    for server in servers {
        for key in ["env", "headers"] {
            for entry in server.value.get(key).and_then(Node::entries).unwrap_or_default() {
                if matches!(entry.value.value, Value::Text(_) | Value::Number(_)) {
                    problems.hide(entry.value.span);
                }
            }
        }
    }
}

fn hide_secrets_of_export(export: &Node, problems: &mut Problems) {
    if let Some(token) = export.get("splunk").and_then(|splunk| splunk.get("token")) {
        problems.hide(token.span);
    }
    let headers = ["webhook", "otlp"].into_iter().filter_map(|target| export.get(target)?.get("headers"));
    for entry in headers.flat_map(|headers| headers.entries().unwrap_or_default()) {
        problems.hide(entry.value.span);
    }
}

/// The schema that every file is compared with.
fn schema() -> &'static serde_json::Value {
    static SCHEMA: OnceLock<serde_json::Value> = OnceLock::new();
    SCHEMA.get_or_init(|| schemars::schema_for!(ConfigSection).to_value())
}
