//! Where things stand in a file of policies.

use std::ops::Range;

/// The policies of a file, each from its first letter to its semicolon. What stands between them is space and comments.
/// In Cedar a semicolon stands nowhere else but in strings and comments.
pub(crate) fn pieces(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut pieces = Vec::new();
    let mut start = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let is_comment = byte == b'/' && bytes.get(at + 1) == Some(&b'/');
        if is_comment {
            at = line_end(bytes, at);
            continue;
        }
        if !byte.is_ascii_whitespace() && start.is_none() {
            start = Some(at);
        }
        match byte {
            b'"' => at = string_end(bytes, at),
            b';' => {
                at += 1;
                pieces.extend(start.take().map(|start| start..at));
            }
            _ => at += 1,
        }
    }
    // What is not ended is left to the parser, which says so.
    pieces.extend(start.map(|start| start..bytes.len()));
    pieces
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
}

/// One past the quote that ends the string which begins at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            None => return bytes.len(),
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

/// Line and column of an offset, both from 1; columns are counted in characters.
pub(crate) fn position(text: &str, offset: usize) -> (u32, u32) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = text.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

/// A text as Cedar writes it between quotes.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => quoted.extend(c.escape_unicode()),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_told_apart() {
        let text = "// one; two\n@reason(\"a;\\\"b;\")\nforbid(principal, action, resource); permit // ;\n(principal);\n\n rest";
        let found: Vec<_> = pieces(text).into_iter().map(|piece| &text[piece]).collect();
        assert_eq!(found.len(), 3);
        assert!(found[0].starts_with("@reason") && found[0].ends_with("resource);"));
        assert_eq!(found[1], "permit // ;\n(principal);");
        assert_eq!(found[2], "rest");
        assert!(pieces(" // nothing\n").is_empty());
        assert_eq!(pieces("\"open \\\"").len(), 1);
    }

    #[test]
    fn positions_count_lines_and_characters() {
        assert_eq!(position("aé\nbüc", 0), (1, 1));
        assert_eq!(position("aé\nbüc", 4), (2, 1));
        assert_eq!(position("aé\nbüc", 7), (2, 3));
        assert_eq!(position("aé", 2), (1, 2));
        assert_eq!(position("", 9), (1, 1));
    }
}
