//! Untrusted text, made fit for a log line.

use std::borrow::Cow;
use std::fmt;

use tollgate_model::hiding;

/// The longest piece of untrusted text that one field of a log line shows, in bytes.
pub const TEXT_BYTES_MAX: usize = 2048;

/// Shows text that came from outside: control characters escaped (so that nobody can forge a log line or move a
/// terminal's cursor), and cut at [`TEXT_BYTES_MAX`].
pub struct Clean<'a>(pub &'a str);

impl fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = head(self.0, TEXT_BYTES_MAX);
        escape(f, shown)?;
        if shown.len() < self.0.len() {
            write!(f, "… ({} more bytes)", self.0.len() - shown.len())?;
        }
        Ok(())
    }
}

/// A URI without what may be secret in it: user and password, query and fragment.
pub fn bare_uri(uri: &str) -> Cow<'_, str> {
    let uri = &uri[..uri.find(['?', '#']).unwrap_or(uri.len())];
    without_userinfo(uri)
}

/// A URI without user and password.
pub fn without_userinfo(uri: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = uri.split_once("://") else { return Cow::Borrowed(uri) };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => Cow::Owned(format!("{scheme}://{host}{path}")),
        None => Cow::Borrowed(uri),
    }
}

/// The longest beginning of `text` that has at most `bytes_max` bytes and ends between characters.
fn head(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}

/// Writes `text` with every control character, and every one that nobody sees, escaped as Rust and JSON readers know it.
pub(crate) fn escape(out: &mut dyn fmt::Write, text: &str) -> fmt::Result {
    for (c, hides) in hiding(text) {
        match c {
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if c.is_control() || hides => write!(out, "\\u{{{:x}}}", u32::from(c))?,
            c => out.write_char(c)?,
        }
    }
    Ok(())
}

/// Lets a formatter write through [`escape`].
pub(crate) struct Escaping<'a>(pub(crate) &'a mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            self.0.push_str(text);
            return Ok(());
        }
        let mut out = String::new();
        escape(&mut out, text)?;
        self.0.write_str(&out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_move_the_cursor_or_begin_a_line() {
        let shown = Clean("a\nb\x1b[2Jc\u{202e}d\u{9b}").to_string();
        assert_eq!(shown, "a\\nb\\u{1b}[2Jc\\u{202e}d\\u{9b}");
    }

    #[test]
    fn a_uri_is_shown_without_its_secrets() {
        for (uri, shown) in [
            ("https://u:p@h.example:1/a@b?token=x#y", "https://h.example:1/a@b"),
            ("postgres://u:p@h", "postgres://h"),
            ("file:///a/b", "file:///a/b"),
            ("note:a?b", "note:a"),
            ("x://a#@b", "x://a"),
        ] {
            assert_eq!(bare_uri(uri), shown);
        }
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let shown = Clean(&"é".repeat(TEXT_BYTES_MAX)).to_string();
        assert!(shown.ends_with(&format!("… ({TEXT_BYTES_MAX} more bytes)")), "{shown}");
    }
}
