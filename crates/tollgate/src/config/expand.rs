//! `${NAME}` in texts: values from the environment, and what editors write between those braces.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::node::{Node, Span, Value, joined};
use super::problem::{Problems, Severity};

/// The longest text after everything is put in, in bytes.
const EXPANDED_BYTES_MAX: usize = 64 * 1024;

/// Where values of environment variables come from.
pub trait Env {
    /// The value of the variable; `None` if it is not set, or not UTF-8.
    fn var(&self, name: &str) -> Option<String>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

impl Env for BTreeMap<String, String> {
    fn var(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}

/// Puts the environment into texts.
pub(super) struct Expander<'a> {
    pub(super) env: &'a dyn Env,
    pub(super) source: &'a str,
    /// The folder that `${workspaceFolder}` stands for; `None` where the file is no client's, and it means nothing.
    pub(super) workspace: Option<PathBuf>,
    pub(super) problems: &'a mut Problems,
}

/// What is wrong with one `${…}`.
struct Fault {
    message: String,
    suggestion: String,
}

impl Expander<'_> {
    /// Expands every text of the tree, keys excepted, but not in servers that are left out.
    pub(super) fn tree(&mut self, node: &mut Node, path: &str) {
        match &mut node.value {
            Value::Text(text) if text.text.contains("${") => {
                let (expanded, changed) = self.text(&text.text, node.span, path);
                if self.problems.below(path) {
                    self.problems.unread(path);
                }
                text.text = expanded;
                text.expanded = changed;
            }
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.tree(item, &format!("{path}[{index}]"));
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    let path = joined(path, entry.written.as_deref().unwrap_or(&entry.key));
                    let left_out = matches!(
                        entry.value.get("disabled").map(|node| &node.value),
                        Some(Value::Bool(true, _))
                    );
                    if !left_out {
                        self.tree(&mut entry.value, &path);
                    }
                }
            }
            _ => {}
        }
    }

    /// The text with everything put in, and whether anything was. What cannot be is reported and left empty.
    fn text(&mut self, text: &str, span: Span, path: &str) -> (String, bool) {
        let mut out = String::with_capacity(text.len());
        let mut changed = false;
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                out.push_str(&rest[..at]);
                out.push('{');
                rest = &rest[at + 2..];
                continue;
            }
            out.push_str(&rest[..at]);
            let Some(length) = rest[at..].find('}') else {
                self.report(
                    &rest[at..],
                    span,
                    path,
                    Fault {
                        message: "`${` is not closed".into(),
                        suggestion: "close it with `}`; `$${` stands for `${` itself".into(),
                    },
                );
                return (out, changed);
            };
            let whole = &rest[at..=at + length];
            match self.value(&whole[2..whole.len() - 1]) {
                Ok(value) => out.push_str(&value),
                Err(fault) => self.report(whole, span, path, fault),
            }
            changed = true;
            rest = &rest[at + length + 1..];
            if out.len() + rest.len() > EXPANDED_BYTES_MAX {
                let message = format!("longer than {EXPANDED_BYTES_MAX} bytes once everything is put in");
                self.problems.add(Severity::Error, span, path, message, None);
                return (String::new(), true);
            }
        }
        out.push_str(rest);
        (out, changed)
    }

    fn value(&self, inner: &str) -> Result<String, Fault> {
        if let Some((name, default)) = inner.split_once(":-") {
            let name = name.strip_prefix("env:").unwrap_or(name);
            check_name(name)?;
            return Ok(self
                .env
                .var(name)
                .filter(|value| !value.is_empty())
                .unwrap_or_else(|| default.to_owned()));
        }
        if let Some(name) = inner.strip_prefix("env:") {
            return self.variable(name);
        }
        if let Some(id) = inner.strip_prefix("input:") {
            return self.input(id);
        }
        if let Some(value) = self.editor(inner)? {
            return Ok(value);
        }
        self.variable(inner)
    }

    fn variable(&self, name: &str) -> Result<String, Fault> {
        check_name(name)?;
        self.env.var(name).ok_or_else(|| Fault {
            message: format!("the environment variable `{name}` is not set"),
            suggestion: format!("set it, or give a default: `${{{name}:-…}}`"),
        })
    }

    /// What VS Code asks its user for comes from the environment here.
    fn input(&self, id: &str) -> Result<String, Fault> {
        let upper: String = id
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
            .collect();
        self.env.var(id).or_else(|| self.env.var(&upper)).ok_or_else(|| Fault {
            message: format!("an editor asks its user for `{id}`; a gateway has nobody to ask"),
            suggestion: format!("set the environment variable `{upper}`"),
        })
    }

    /// The variables of editors that have a meaning outside them.
    fn editor(&self, name: &str) -> Result<Option<String>, Fault> {
        let shown = |path: &Path| path.display().to_string();
        Ok(match (name, &self.workspace) {
            ("userHome", _) => {
                let home = self.env.var("HOME").or_else(|| self.env.var("USERPROFILE"));
                Some(home.ok_or_else(|| Fault {
                    message: "the home directory is not known".into(),
                    suggestion: "set `HOME`".into(),
                })?)
            }
            ("workspaceFolder", Some(folder)) => Some(shown(folder)),
            ("workspaceFolderBasename", Some(folder)) => {
                Some(folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default())
            }
            ("pathSeparator" | "/", Some(_)) => Some(std::path::MAIN_SEPARATOR.to_string()),
            _ => None,
        })
    }

    fn report(&mut self, whole: &str, span: Span, path: &str, fault: Fault) {
        let written = self.source.get(span.start..span.end).unwrap_or_default();
        let span = match written.find(whole) {
            Some(at) => Span { start: span.start + at, end: span.start + at + whole.len() },
            None => span,
        };
        self.problems.add(Severity::Error, span, path, fault.message, Some(fault.suggestion));
    }
}

/// What stands between the braces of each `${…}` of a text, in their order, and where each begins.
pub(super) fn references(text: &str) -> Vec<(usize, &str)> {
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(at) = text[from..].find("${").map(|at| from + at) {
        if text[from..at].ends_with('$') {
            from = at + 2;
            continue;
        }
        let Some(end) = text[at..].find('}').map(|length| at + length) else { break };
        found.push((at, &text[at + 2..end]));
        from = end + 1;
    }
    found
}

/// The name of a variable as shells allow it (POSIX.1-2024, 3.216).
fn check_name(name: &str) -> Result<(), Fault> {
    let legal = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if legal {
        return Ok(());
    }
    Err(Fault {
        message: format!("`${{{name}}}` names no environment variable"),
        suggestion: "write `${NAME}` or `${NAME:-default}`; `$${` stands for `${` itself".into(),
    })
}
