//! Names of servers and endpoints: the part of a URL and of a public tool name that an operator chooses.

use std::fmt;
use std::sync::Arc;

/// The longest server or endpoint name, in bytes. It leaves a tool at least half of a 64-byte public name.
pub const NAME_BYTES_MAX: usize = 32;

/// The name of one server behind the gateway: ASCII letters, digits, `-` and `_`, beginning with a letter or digit,
/// without `__` (which separates server and tool in a public name) and without `_` at the end, at most
/// [`NAME_BYTES_MAX`] bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(Arc<str>);

/// The name under which `/mcp/{name}` serves a server or a toolset. The same alphabet as [`ServerName`], since both
/// share one namespace.
pub type EndpointName = ServerName;

/// Why a text cannot be a [`ServerName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing is left that could be a name.
    #[error("a name needs at least one ASCII letter or digit")]
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("a name has at most {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// A character or sequence that a name may not have.
    #[error(
        "a name has ASCII letters, digits, `-` and single `_`, and begins and ends with a letter or digit"
    )]
    Alphabet,
}

impl ServerName {
    /// Takes a text that already is a name.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Err(InvalidName::Empty);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(InvalidName::TooLong);
        }
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = text.as_bytes();
        if !bytes.iter().copied().all(inner)
            || !edge(bytes.first())
            || !edge(bytes.last())
            || text.contains("__")
        {
            return Err(InvalidName::Alphabet);
        }
        Ok(Self(Arc::from(text)))
    }

    /// Makes a name from a free text, as the keys of an `mcpServers` file are: every run of other characters becomes
    /// one `-`. The result depends on this text alone, so that adding a server never renames another.
    pub fn from_label(label: &str) -> Result<Self, InvalidName> {
        let mut name = String::with_capacity(label.len());
        for c in label.chars() {
            let keep = c.is_ascii_alphanumeric() || ((c == '_' || c == '-') && !name.ends_with(['_', '-']));
            if keep {
                name.push(c);
            } else if !name.ends_with(['_', '-']) {
                name.push('-');
            }
        }
        let name = name.trim_matches(['_', '-']);
        Self::new(name)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_become_names() {
        for (label, name) in [
            ("files", "files"),
            ("My Server!", "My-Server"),
            ("@scope/thing", "scope-thing"),
            ("a__b", "a_b"),
            ("-x-", "x"),
        ] {
            assert_eq!(ServerName::from_label(label).map(|n| n.to_string()), Ok(name.to_owned()));
        }
        assert_eq!(ServerName::from_label("日本"), Err(InvalidName::Empty));
    }

    #[test]
    fn a_name_never_holds_the_separator() {
        for bad in ["", "a__b", "a_", "_a", "a b", "a/b", "é", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(ServerName::new(bad).is_err(), "{bad:?}");
        }
    }
}
