//! What nobody sees, and what turns its neighbours around, written out: whoever finds a text good has seen what is in it.

use std::fmt::Write as _;

/// Whether a character does not show, or changes how others do. Joiners are left alone: scripts and emoji are written with them.
const fn is_hidden(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// JSON with these as JSON writes them, so that it means the same.
pub(super) fn in_json(text: String) -> String {
    if !text.contains(is_hidden) {
        return text;
    }
    let mut written = String::with_capacity(text.len() + 32);
    for character in text.chars() {
        if is_hidden(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(written, "\\u{unit:04x}");
            }
        } else {
            written.push(character);
        }
    }
    written
}

/// A text with these as Cedar and terminals write them.
pub(super) fn in_text(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) {
            written.extend(character.escape_unicode());
        } else {
            written.push(character);
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_a_text_around_is_seen_and_means_the_same() {
        let raw = "{\"to\":\"\u{202e}moc.live\u{202c}\",\"tag\":\"\u{e0041}\",\"näme\":\"👩\u{200d}💻\"}";
        let written = in_json(raw.to_owned());
        assert_eq!(
            written,
            "{\"to\":\"\\u202emoc.live\\u202c\",\"tag\":\"\\udb40\\udc41\",\"näme\":\"👩\u{200d}💻\"}"
        );
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(read(&written), read(raw));
        assert_eq!(in_text("a\u{202e}b\u{feff}"), "a\\u{202e}b\\u{feff}");
    }
}
