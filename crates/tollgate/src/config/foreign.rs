//! How servers are reached, as files say it that are to be registered: a single entry as under `servers`, the files of clients,
//! and `server.json` of the MCP Registry.

use std::path::Path;
use std::sync::Arc;

use tollgate_store::About;

use super::client::{self, Format};
use super::node::{Node, Span, Value};
use super::problem::{ConfigError, Problem, Problems, Severity};
use super::{drop_duplicates, expand, read_tree, server_json};

/// The version of what says none.
const FIRST: &str = "1";

/// How a server is reached, and what is said of it beside.
#[derive(Debug)]
pub(crate) struct Apart {
    /// As under `servers`, as JSON.
    pub(crate) reach: Arc<str>,
    /// What stood in the same place.
    pub(crate) about: About,
}

/// A server in another program's file.
#[derive(Debug)]
pub(crate) struct Found {
    /// What it is called there, in whole.
    pub(crate) full: String,
    /// The same in short: what its name here is made from.
    pub(crate) label: String,
    /// Its version there.
    pub(crate) version: String,
    /// How it is reached; or why no gateway could.
    pub(crate) apart: Result<Apart, String>,
}

/// Takes an entry apart, in YAML or JSON.
///
/// # Errors
/// It can be read as neither, or is no mapping.
pub(crate) fn apart(path: &Path, source: &str) -> Result<Apart, ConfigError> {
    let mut problems = Problems::default();
    let apart = match read_tree(path, source) {
        Ok((mut node, _)) => {
            drop_duplicates(&mut node, "", source, &mut problems);
            hide_all(&node, &mut problems);
            let span = node.span;
            let apart = of_entry(node);
            if apart.is_none() {
                let message = "what stands under a server's name in tollgate.yaml is a mapping".to_owned();
                problems.add(Severity::Error, span, "", message, None);
            }
            apart
        }
        Err(syntax) => {
            problems.add(Severity::Error, syntax.span, "", syntax.message, syntax.suggestion);
            None
        }
    };
    ended(apart, problems, path, source).map(|(apart, _)| apart)
}

/// The servers in another program's file, without those that are switched off there.
///
/// # Errors
/// It cannot be read, or is of no known kind.
pub(crate) fn found(path: &Path, source: &str) -> Result<(Vec<Found>, Vec<Problem>), ConfigError> {
    let mut problems = Problems::default();
    let found = match read_tree(path, source) {
        Ok((mut node, is_json)) => {
            drop_duplicates(&mut node, "", source, &mut problems);
            hide_all(&node, &mut problems);
            of_file(node, is_json, &mut problems)
        }
        Err(syntax) => {
            problems.add(Severity::Error, syntax.span, "", syntax.message, syntax.suggestion);
            None
        }
    };
    ended(found, problems, path, source)
}

fn of_file(node: Node, is_json: bool, problems: &mut Problems) -> Option<Vec<Found>> {
    let mut document = String::new();
    node.write_json(&mut document);
    let document = serde_json::from_str(&document).unwrap_or_default();
    if let Some(found) = server_json::found(&document) {
        return Some(found);
    }
    let format = if is_json { client::format_of(&node) } else { Format::Tollgate };
    if format == Format::Tollgate {
        let message = "this is no file of a client, and no `server.json`".to_owned();
        let suggestion = "Claude Desktop, Claude Code, Cursor and VS Code name servers under `mcpServers` or `servers`; \
                          `tollgate servers add --file` takes a single server";
        problems.add(Severity::Error, Span::default(), "", message, Some(suggestion.to_owned()));
        return None;
    }
    let mut root = client::translate(node, format, problems);
    let Value::Map(entries) = &mut root.value else { return None };
    let servers = entries.pop()?;
    let Value::Map(servers) = servers.value.value else { return None };
    let is_on =
        |server: &Node| !matches!(server.get("disabled").map(|node| &node.value), Some(Value::Bool(true, _)));
    let of = |server: super::node::Entry| {
        let mut node = server.value;
        without(&mut node, "disabled");
        name_inputs(&mut node);
        Some(Found {
            full: server.key.clone(),
            label: server.key,
            version: FIRST.to_owned(),
            apart: Ok(of_entry(node)?),
        })
    };
    Some(servers.into_iter().filter(|server| is_on(&server.value)).filter_map(of).collect())
}

/// What an editor asks its user for is a variable of the gateway.
fn name_inputs(node: &mut Node) {
    match &mut node.value {
        Value::Text(text) => {
            let mut named = text.text.clone();
            for (_, inner) in expand::references(&text.text) {
                let Some(id) = inner.strip_prefix("input:") else { continue };
                let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
                let name: String = id.chars().map(upper).collect();
                named = named.replace(&format!("${{{inner}}}"), &format!("${{{name}}}"));
            }
            text.text = named;
        }
        Value::List(items) => items.iter_mut().for_each(name_inputs),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| name_inputs(&mut entry.value)),
        _ => {}
    }
}

fn of_entry(mut node: Node) -> Option<Apart> {
    node.entries()?;
    let mut take = |key: &str| match without(&mut node, key)?.value {
        Value::Text(text) => Some(Arc::from(text.text)),
        _ => None,
    };
    let (owner, environment, risk) = (take("owner"), take("environment"), take("risk"));
    let about = About { owner, environment, risk, ..About::default() };
    let mut reach = String::new();
    node.write_json(&mut reach);
    Some(Apart { reach: reach.into(), about })
}

/// Takes a key out of a mapping.
fn without(node: &mut Node, key: &str) -> Option<Node> {
    let Value::Map(entries) = &mut node.value else { return None };
    let at = entries.iter().position(|entry| entry.key == key)?;
    Some(entries.remove(at).value)
}

/// Any text may be a secret that somebody has written down.
fn hide_all(node: &Node, problems: &mut Problems) {
    match &node.value {
        Value::Text(_) | Value::Number(_) => problems.hide(node.span),
        Value::List(items) => items.iter().for_each(|item| hide_all(item, problems)),
        Value::Map(entries) => entries.iter().for_each(|entry| hide_all(&entry.value, problems)),
        _ => {}
    }
}

fn ended<T>(
    made: Option<T>,
    problems: Problems,
    path: &Path,
    source: &str,
) -> Result<(T, Vec<Problem>), ConfigError> {
    let fatal = problems.is_fatal();
    let (problems, left_out) = problems.placed(path, source);
    match made {
        Some(made) if !fatal => Ok((made, problems)),
        _ => Err(ConfigError { problems, left_out, files: Vec::new() }),
    }
}
