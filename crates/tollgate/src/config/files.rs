//! The files that a configuration refers to: secrets, certificates, environment files.

use std::cell::RefCell;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tollgate_model::Secret;

/// The largest secret or environment file, in bytes.
const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// The largest file of certificate authorities, in bytes. All that browsers trust take up a quarter of it.
const AUTHORITIES_BYTES_MAX: u64 = 1024 * 1024;

/// Reads files beside the configuration and remembers which, so that they can be watched.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    seen: RefCell<Vec<PathBuf>>,
    /// Whether files are left alone: each is taken to be there.
    unread: bool,
}

impl Files {
    /// For a configuration in this folder.
    pub(super) fn beside(folder: PathBuf) -> Self {
        Self { folder, seen: RefCell::default(), unread: false }
    }

    /// For what another process will read.
    pub(super) fn of_nobody(folder: PathBuf) -> Self {
        Self { unread: true, ..Self::beside(folder) }
    }

    /// The path as meant: relative to the configuration's folder, without idle dots.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path).components().collect()
    }

    /// The files asked for so far, each once.
    pub(super) fn seen(self) -> Vec<PathBuf> {
        let mut seen = self.seen.into_inner();
        seen.sort();
        seen.dedup();
        seen
    }

    /// The path, if a file is there that can be opened.
    pub(super) fn readable(&self, path: &str) -> Result<PathBuf, String> {
        let path = self.note(path);
        if !self.unread {
            open(&path)?;
        }
        Ok(path)
    }

    /// The content of a file, without one line break at its end.
    pub(super) fn secret(&self, path: &str) -> Result<Secret, String> {
        let path = self.note(path);
        if self.unread {
            return Ok(Secret::new("placeholder".to_owned()));
        }
        let mut text = Self::text(&path, SECRET_BYTES_MAX)?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        if text.is_empty() {
            return Err(format!("{} is empty", path.display()));
        }
        Ok(Secret::new(text))
    }

    /// Certificate authorities in PEM.
    pub(super) fn authorities(&self, path: &str) -> Result<Arc<str>, String> {
        let path = self.note(path);
        let text = Self::text(&path, AUTHORITIES_BYTES_MAX)?;
        if !text.contains("-----BEGIN CERTIFICATE-----") {
            return Err(format!("{} holds no certificate", path.display()));
        }
        Ok(Arc::from(text))
    }

    /// The variables of an environment file, in its order.
    pub(super) fn variables(&self, path: &str) -> Result<Vec<(String, Secret)>, String> {
        let path = self.note(path);
        let mut variables = Vec::new();
        if self.unread {
            return Ok(variables);
        }
        let text = Secret::new(Self::text(&path, SECRET_BYTES_MAX)?);
        for (index, line) in text.expose().lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line = line.strip_prefix("export ").unwrap_or(line);
            let Some((name, value)) = line.split_once('=') else {
                return Err(format!("line {} of {} is not `NAME=value`", index + 1, path.display()));
            };
            variables.push((name.trim().to_owned(), Secret::new(unquoted(value.trim()))));
        }
        Ok(variables)
    }

    /// The content of a file in which nothing is secret.
    pub(super) fn text_of(&self, path: &str, bytes_max: u64) -> Result<String, String> {
        Self::text(&self.note(path), bytes_max)
    }

    /// Adds a path, absolute as it is, to those that are watched.
    pub(super) fn watch(&self, path: &Path) {
        self.seen.borrow_mut().push(path.to_owned());
    }

    fn note(&self, path: &str) -> PathBuf {
        let path = self.path(path);
        self.watch(&path);
        path
    }

    fn text(path: &Path, bytes_max: u64) -> Result<String, String> {
        let shown = path.display();
        let mut bytes = Vec::new();
        open(path)?
            .take(bytes_max + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("{shown} cannot be read: {error}"))?;
        if bytes.len() as u64 > bytes_max {
            return Err(format!("{shown} is larger than {bytes_max} bytes"));
        }
        String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8"))
    }
}

fn open(path: &Path) -> Result<File, String> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("{shown} does not exist"),
        ErrorKind::PermissionDenied => format!("{shown} may not be read by this user"),
        _ => format!("{shown} cannot be read: {error}"),
    })?;
    match file.metadata() {
        Ok(metadata) if metadata.is_dir() => Err(format!("{shown} is a directory")),
        _ => Ok(file),
    }
}

/// The value of an environment file's line: quotes around it are taken off, `\n`, `\"` and `\\` read inside double quotes.
fn unquoted(value: &str) -> String {
    let inside = |quote: char| value.len() >= 2 && value.starts_with(quote) && value.ends_with(quote);
    if inside('\'') {
        return value[1..value.len() - 1].to_owned();
    }
    if inside('"') {
        return value[1..value.len() - 1].replace("\\n", "\n").replace("\\\"", "\"").replace("\\\\", "\\");
    }
    match value.find(" #") {
        Some(comment) => value[..comment].trim_end().to_owned(),
        None => value.to_owned(),
    }
}
