//! What nobody sees, and what turns its neighbours around, written out: whoever finds a text good has seen what is in it.

use std::fmt::Write as _;

use tollgate_model::hiding;

/// The characters of a text, each with whether it does not show, or changes how others do. What emoji and scripts are written with is
/// left alone.
fn seen(text: &str) -> impl Iterator<Item = (char, bool)> + '_ {
    hiding(text).map(|(character, hides)| (character, hides || matches!(character, '\u{7f}'..='\u{9f}')))
}

/// JSON with these as JSON writes them, so that it means the same.
pub(super) fn in_json(text: String) -> String {
    if text.is_ascii() && !text.contains('\u{7f}') {
        return text;
    }
    let mut written = String::with_capacity(text.len() + 32);
    for (character, hides) in seen(&text) {
        if hides {
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
    for (character, hides) in seen(text) {
        if hides {
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
        assert_eq!(
            in_text("a\u{3164}b\u{fe0f} ❤\u{fe0f} pay\u{200d}er"),
            "a\\u{3164}b\\u{fe0f} ❤\u{fe0f} pay\\u{200d}er"
        );
    }
}
