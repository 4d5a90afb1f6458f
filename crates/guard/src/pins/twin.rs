//! Names that look like others.
//!
//! A skeleton is what is left of a name when letters that look alike are one letter, and what nobody sees is gone: by a
//! small table of our own, of the letters of other scripts and styles that stand for ASCII ones (compare Unicode TS 39).

use std::collections::HashMap;
use std::sync::Arc;

use tollgate_model::{hiding, is_unseen};

use super::definition::Definition;

/// Letters that look like an ASCII one.
const ALIKE: [(char, &str); 26] = [
    ('a', "аɑαａ⍺ⱥạàáâãäåāă"),
    ('b', "Ьƅｂв"),
    ('c', "сϲｃⅽçćč"),
    ('d', "ԁｄⅾđ"),
    ('e', "еｅҽєèéêëēė"),
    ('f', "ｆƒ"),
    ('g', "ɡｇց"),
    ('h', "һｈհ"),
    ('i', "іｉⅰıìíîïɩι"),
    ('j', "јｊϳ"),
    ('k', "ｋκк"),
    ('l', "ｌⅼӏІｌן"),
    ('m', "ｍⅿм"),
    ('n', "ｎпոñń"),
    ('o', "оｏοօσòóôõöøō"),
    ('p', "рｐρ"),
    ('q', "ｑԛգ"),
    ('r', "ｒгᴦɾ"),
    ('s', "ѕｓꜱśš"),
    ('t', "ｔτт"),
    ('u', "ｕυսùúûüū"),
    ('v', "ｖνѵⅴ"),
    ('w', "ｗԝѡ"),
    ('x', "ｘхⅹχ"),
    ('y', "уｙγүýÿ"),
    ('z', "ｚᴢžź"),
];

/// Whether a character is one that nobody sees, or that turns what one sees.
pub(super) fn is_hidden(character: char) -> bool {
    is_unseen(character) || character.is_control() && !matches!(character, '\n' | '\r' | '\t')
}

/// Whether a text has characters in it that nobody sees, beside those that emoji and scripts are written with.
pub fn has_hidden(text: &str) -> bool {
    !text.is_ascii()
        && hiding(text).any(|(character, hides)| hides || matches!(character, '\u{80}'..='\u{9F}'))
        || text.bytes().any(|byte| byte < b' ' && !matches!(byte, b'\n' | b'\r' | b'\t'))
}

/// What is left of a name when what looks alike is one: two that have one of these in common look alike. A capital `I` looks like an
/// `l`, and is an `i` in another case.
pub fn skeletons(name: &str) -> Vec<String> {
    let mut all = vec![skeleton(name, 'l')];
    let other = skeleton(name, 'i');
    if !all.contains(&other) {
        all.push(other);
    }
    all
}

fn skeleton(name: &str, capital: char) -> String {
    let mut out = String::with_capacity(name.len());
    for character in name.chars().filter(|character| !is_hidden(*character)) {
        let plain = plain(character);
        if plain.is_ascii() || is_dash(plain) {
            push(&mut out, plain, capital);
            continue;
        }
        // Of what our table has not, what Unicode says that it looks like (TS 39); two letters are one of them.
        let alike: String = unicode_security::skeleton(plain.encode_utf8(&mut [0; 4])).collect();
        match &*alike {
            "rn" => out.push('m'),
            alike => alike.chars().for_each(|one| push(&mut out, one, capital)),
        }
    }
    out.trim().to_owned()
}

fn push(out: &mut String, one: char, capital: char) {
    match one {
        '0' => out.push('o'),
        '1' | '|' => out.push('l'),
        'I' => out.push(capital),
        '＿' => out.push('_'),
        '\u{2800}' => out.push(' '),
        // Marks upon letters.
        '\u{300}'..='\u{36F}' => {}
        dash if is_dash(dash) => out.push('-'),
        space if space.is_whitespace() => out.push(' '),
        other => out.extend(other.to_lowercase()),
    }
}

const fn is_dash(character: char) -> bool {
    matches!(character, '‐' | '‑' | '‒' | '–' | '—' | '−' | 'ー')
}

/// The ASCII letter that a character looks like; itself if there is none.
fn plain(character: char) -> char {
    if character.is_ascii() {
        return character;
    }
    let code = u32::from(character);
    // Full-width forms, and the styles of letters and digits for mathematics.
    let styled = match code {
        0xFF01..=0xFF5E => char::from_u32(code - 0xFF01 + 0x21),
        0x1D400..=0x1D6A3 => {
            let at = (code - 0x1D400) % 52;
            let base = if at < 26 { u32::from('A') + at } else { u32::from('a') + at - 26 };
            char::from_u32(base)
        }
        0x1D7CE..=0x1D7FF => char::from_u32(u32::from('0') + (code - 0x1D7CE) % 10),
        0x24B6..=0x24CF => char::from_u32(u32::from('a') + code - 0x24B6),
        0x24D0..=0x24E9 => char::from_u32(u32::from('a') + code - 0x24D0),
        _ => None,
    };
    if let Some(styled) = styled {
        return styled;
    }
    let lower = character.to_lowercase().next().unwrap_or(character);
    let find = |wanted: char| ALIKE.iter().find(|(_, like)| like.contains(wanted)).map(|(plain, _)| *plain);
    find(character).or_else(|| find(lower)).unwrap_or(character)
}

/// The names that there are, by what they look like.
#[derive(Debug, Clone, Default)]
pub struct Twins {
    names: HashMap<String, Arc<str>>,
}

impl Twins {
    /// Takes a name in, if no other looks like it.
    pub fn add(&mut self, name: &Arc<str>) {
        for skeleton in skeletons(name) {
            self.names.entry(skeleton).or_insert_with(|| Arc::clone(name));
        }
    }

    /// Another name that this one looks like.
    pub fn of(&self, name: &str) -> Option<&Arc<str>> {
        let alike = skeletons(name);
        alike.iter().find_map(|skeleton| self.names.get(skeleton).filter(|other| &***other != name))
    }
}

impl Definition {
    /// Whether there are characters in it that nobody sees.
    pub fn has_hidden(&self) -> bool {
        let text = String::from_utf8_lossy(self.text());
        has_hidden(&text) || escapes_hidden(text.as_bytes())
    }
}

/// Whether canonical JSON has a control character in it other than the ends of lines: it escapes those, quotes and backslashes alone.
fn escapes_hidden(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        if matches!(rest.get(at + 1), Some(b'u' | b'b' | b'f')) {
            return true;
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twins_have_one_skeleton() {
        for (one, other) in [
            ("read_file", "rеad_file"),
            ("pay", "рay"),
            ("list", "1ist"),
            ("search", "ѕearch"),
            ("delete", "ｄelete"),
            ("open", "0pen"),
            ("send", "se\u{200B}nd"),
            ("send", "𝐬𝐞𝐧𝐝"),
            ("Pay", "pay"),
            ("read_file", "READ_FILE"),
            ("read_file", "rEad_fIle"),
            ("fill", "fiIl"),
            ("pay", "pay "),
            ("pay", "pay\u{A0}"),
            ("pay", "\u{2800}pay"),
            ("pay", "pa\u{301}y"),
            ("read_file", "ŕead_file"),
            ("read_file", "ɾead_file"),
            ("read_file", "read_ﬁle"),
            ("read_file", "reⱥd_file"),
        ] {
            let mut twins = Twins::default();
            twins.add(&one.into());
            assert_eq!(twins.of(other).map(|name| &**name), Some(one));
            assert_eq!(twins.of(one), None);
        }
    }

    #[test]
    fn names_that_only_resemble_others_are_none() {
        for (one, other) in [
            ("read_file", "read_files"),
            ("get_user", "getUser"),
            ("search", "research"),
            ("日本", "日木"),
            ("a-b", "a_b"),
            ("read file", "read_file"),
            ("form", "forrn"),
        ] {
            let others = skeletons(other);
            assert!(skeletons(one).iter().all(|one| !others.contains(one)), "{one} {other}");
        }
    }

    #[test]
    fn what_nobody_sees_is_found() {
        for hidden in
            ["a\u{200B}b", "\u{E0041}", "a\u{202E}b", "\u{1B}[8m", "x\u{FEFF}", "pay\u{FE0F}", "a\u{3164}"]
        {
            assert!(has_hidden(hidden), "{hidden:?}");
        }
        for seen in ["a\nb\tc", "naïve", "日本語", "a–b", "⚠\u{FE0F} 👩\u{200D}💻 می\u{200C}خواهم"]
        {
            assert!(!has_hidden(seen), "{seen:?}");
        }
        let defined = |text: &str| {
            let item = serde_json::json!({ "description": text }).to_string();
            Definition::read(tollgate_store::PinKind::Tool, item.as_bytes()).has_hidden()
        };
        assert!(defined("a\u{7}b") && defined("a\u{8}\\") && !defined("C:\\bin\\u00e9\\fonts, ^\\b\n"));
    }
}
