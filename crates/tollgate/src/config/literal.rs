//! Secrets that stand in a text as they are. What is registered at run time is kept in the store, listed and exported: it names
//! its credentials, and never holds one.

use super::expand;

/// Parts of names whose values are secrets.
const SECRET_NAMES: [&str; 14] = [
    "authorization",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "apikey",
    "accesskey",
    "privatekey",
    "cookie",
    "bearer",
    "signature",
    "session",
];
/// Words of names whose values are secrets.
const SECRET_WORDS: [&str; 5] = ["key", "auth", "pass", "pwd", "pat"];
/// How keys of well-known services begin.
const SECRET_STARTS: [&str; 16] = [
    "sk-",
    "sk_",
    "pk_live",
    "rk_live",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "AKIA",
    "eyJ",
    "AIza",
];
/// The shortest run of letters and digits that is taken for a key if it looks like one.
const KEY_CHARS_MIN: usize = 20;
/// The longest scheme before a credential, as in `Bearer ${TOKEN}`.
const SCHEME_CHARS_MAX: usize = 16;

/// Whether the value of this name holds a secret as it is, and not by a reference.
pub(super) fn is_secret(name: &str, value: &str) -> bool {
    let (literal, has_reference) = without_references(value);
    if !names_a_secret(name) {
        return looks_secret(&literal);
    }
    let literal = literal.trim();
    let is_scheme = has_reference
        && literal.len() <= SCHEME_CHARS_MAX
        && literal.bytes().all(|byte| byte.is_ascii_alphabetic());
    !literal.is_empty() && !is_scheme
}

/// Whether a text looks like it holds a key.
pub(super) fn looks_secret(text: &str) -> bool {
    if text.contains("-----BEGIN") {
        return true;
    }
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '=');
    text.split(|c| !is_of_word(c)).filter(|word| !word.is_empty()).any(|word| {
        let known = SECRET_STARTS.iter().any(|start| {
            word.strip_prefix(start)
                .is_some_and(|rest| rest.len() >= 8 && rest.contains(|c: char| c.is_ascii_digit()))
        });
        known || (!is_digest(text, word) && word.split(['-', '_']).any(is_random))
    })
}

/// A digest names what it is a digest of, and opens nothing.
fn is_digest(text: &str, word: &str) -> bool {
    ["sha256:", "sha512:"].iter().any(|kind| text.contains(&format!("{kind}{word}")))
}

/// Letters and digits that change so often that nobody writes them by hand.
fn is_random(run: &str) -> bool {
    let kind = |byte: u8| (byte.is_ascii_digit(), byte.is_ascii_uppercase());
    let changes = run.as_bytes().windows(2).filter(|pair| kind(pair[0]) != kind(pair[1])).count();
    run.len() >= KEY_CHARS_MIN && changes * 4 >= run.len()
}

fn names_a_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let joined: String = lower.chars().filter(char::is_ascii_alphanumeric).collect();
    SECRET_NAMES.iter().any(|part| joined.contains(part))
        || lower.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| SECRET_WORDS.contains(&word))
}

/// What stands in a text beside its references, with the defaults of those; and whether there are any.
fn without_references(text: &str) -> (String, bool) {
    let mut literal = String::with_capacity(text.len());
    let mut rest = text;
    let mut has_reference = false;
    for (at, inner) in expand::references(text) {
        // References come in their order.
        let before = at.saturating_sub(text.len() - rest.len());
        literal.push_str(rest.get(..before).unwrap_or_default());
        if let Some((_, default)) = inner.split_once(":-") {
            literal.push_str(default);
        }
        rest = text.get(at + inner.len() + "${}".len()..).unwrap_or_default();
        has_reference = true;
    }
    literal.push_str(rest);
    (literal, has_reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_named_and_never_written() {
        for (name, value) in [
            ("Authorization", "Bearer abc"),
            ("Authorization", "hunter2"),
            ("authorization", "Bearer ${TOKEN:-hunter2}"),
            ("Authorization", "Bearer ${A}x1"),
            ("X-Api-Key", "k"),
            ("x_api_key", "1"),
            ("GITHUB_TOKEN", "x"),
            ("DB_PASSWORD", "x"),
            ("DB_PASS", "x"),
            ("Cookie", "a=b"),
            ("X-Anything", "ghp_0123456789abcdefghij"),
            ("X-Anything", "prefix sk-proj-a1b2c3d4e5f6"),
            ("X-Anything", "eyJhbGciOiJIUzI1NiJ9.e30.abc"),
            ("X-Anything", "f3A9kQ2mZ7pL0xV4bN8sT1"),
            ("X-Anything", "-----BEGIN PRIVATE KEY-----"),
        ] {
            assert!(is_secret(name, value), "{name}: {value}");
        }
        for (name, value) in [
            ("Authorization", "Bearer ${TOKEN}"),
            ("Authorization", "${env:TOKEN}"),
            ("Authorization", "Basic ${TOKEN}"),
            ("Authorization", ""),
            ("X-Api-Key", "${A}${B}"),
            ("X-Author", "ada"),
            ("LOG_LEVEL", "debug"),
            ("X-Region", "eu-central-1"),
            ("X-Url", "https://tools.example.com/mcp/v1?region=eu"),
            ("package", "@modelcontextprotocol/server-filesystem@2025.8.21"),
            ("image", "registry/crm@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
            ("X-Tenant", "123e4567-e89b-12d3-a456-426614174000"),
        ] {
            assert!(!is_secret(name, value), "{name}: {value}");
        }
    }
}
