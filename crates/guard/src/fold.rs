//! A text as a model reads it: letters that only look like Latin ones, or are Latin ones in another dress, as these; and without
//! marks upon letters and characters without width.

/// A text that was folded, and where in the other each part of it is.
pub(crate) struct Folded {
    pub(crate) text: String,
    /// Where both go on behind each character that is another one here.
    breaks: Vec<(usize, usize)>,
}

impl Folded {
    /// Where in the text before it was folded a place is. The end of a character is behind what is left out after it.
    pub(crate) fn before(&self, at: usize) -> usize {
        let passed = self.breaks.partition_point(|(folded, _)| *folded <= at);
        match passed.checked_sub(1).and_then(|place| self.breaks.get(place)) {
            Some((folded, before)) => before + (at - folded),
            None => at,
        }
    }
}

/// Folds a text. None if it reads as it is written: what is written in another script throughout is left as it is.
pub(crate) fn fold(text: &str) -> Option<Folded> {
    if text.is_ascii() || !is_dressed(text) {
        return None;
    }
    let (mut folded, mut breaks) = (String::with_capacity(text.len()), Vec::new());
    for (at, one) in text.char_indices() {
        if one.is_ascii() {
            folded.push(one);
            continue;
        }
        match dressed(one).or_else(|| look_alike(one)) {
            Some(plain) => folded.push(plain),
            None if is_unseen(one) => {}
            None => {
                folded.push(one);
                continue;
            }
        }
        breaks.push((folded.len(), at + one.len_utf8()));
    }
    Some(Folded { text: folded, breaks })
}

/// Whether something in it is to be folded: a Latin letter in another dress, or a letter of another script, a mark or nothing at all
/// beside a letter of ASCII.
fn is_dressed(text: &str) -> bool {
    let mut before = ' ';
    // What is only folded beside a letter of ASCII has come after something else; what nobody sees, behind a digit.
    let (mut waits, mut parts) = (false, false);
    for one in text.chars() {
        if matches!(one, '\u{2E80}'..='\u{A63F}' | '\u{A960}'..='\u{FDFF}') {
            // None of these, and most that is written in no alphabet.
            (waits, parts) = (false, false);
        } else if one.is_ascii() {
            if waits && one.is_ascii_alphabetic() || parts && one.is_ascii_digit() {
                return true;
            }
            (waits, parts) = (false, false);
        } else if dressed(one).is_some_and(|plain| plain.is_ascii_alphanumeric()) {
            return true;
        } else if matches!(dressed(one), Some(' ' | '-')) {
            // Between digits it groups them.
            (waits, parts) = (false, before.is_ascii_digit());
        } else if look_alike(one).is_some() || is_unseen(one) {
            if before.is_ascii_alphabetic() {
                return true;
            }
            waits = true;
            parts = is_unseen(one) && (parts || before.is_ascii_digit());
        } else {
            (waits, parts) = (false, false);
        }
        before = one;
    }
    false
}

/// The character of ASCII that this is in another dress.
fn dressed(one: char) -> Option<char> {
    let code = u32::from(one);
    let letter = |from: u32, first: char| char::from_u32(u32::from(first) + code - from);
    match code {
        // Spaces and hyphens at which no line ends.
        0xA0 | 0x2007 | 0x2009 | 0x202F | 0x3000 => Some(' '),
        0x2010 | 0x2011 => Some('-'),
        // Full width.
        0xFF01..=0xFF5E => char::from_u32(code - 0xFEE0),
        // Mathematical letters, in thirteen styles, and digits in five.
        0x1D400..=0x1D6A3 => {
            let place = (code - 0x1D400) % 52;
            let (first, place) = if place < 26 { ('A', place) } else { ('a', place - 26) };
            char::from_u32(u32::from(first) + place)
        }
        0x1D7CE..=0x1D7FF => char::from_u32(u32::from('0') + (code - 0x1D7CE) % 10),
        // In circles, brackets and squares.
        0x249C..=0x24B5 => letter(0x249C, 'a'),
        0x24B6..=0x24CF => letter(0x24B6, 'A'),
        0x24D0..=0x24E9 => letter(0x24D0, 'a'),
        0x1F130..=0x1F149 => letter(0x1F130, 'A'),
        0x1F150..=0x1F169 => letter(0x1F150, 'A'),
        0x1F170..=0x1F189 => letter(0x1F170, 'A'),
        // Small capitals.
        0x250..=0x2AF | 0x1D00..=0x1D22 | 0xA730..=0xA7AF => "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ"
            .chars()
            .zip("abcdefghijklmnopqrstuvwyz".chars())
            .find(|(small, _)| *small == one)
            .map(|(_, plain)| plain),
        _ => None,
    }
}

/// The Latin letter that a letter of another script looks like.
fn look_alike(one: char) -> Option<char> {
    Some(match one {
        'а' | 'α' | 'ɑ' => 'a',
        'с' | 'ϲ' => 'c',
        'ԁ' => 'd',
        'е' | '℮' => 'e',
        'ɡ' => 'g',
        'һ' => 'h',
        'і' | 'ι' | 'ı' => 'i',
        'ј' => 'j',
        'κ' => 'k',
        'ӏ' | 'ⅼ' => 'l',
        'о' | 'ο' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' => 'q',
        'ѕ' => 's',
        'υ' => 'u',
        'ν' => 'v',
        'ԝ' => 'w',
        'х' | 'χ' => 'x',
        'у' => 'y',
        'А' | 'Α' => 'A',
        'В' | 'Β' => 'B',
        'С' | 'Ϲ' => 'C',
        'Е' | 'Ε' => 'E',
        'Н' | 'Η' => 'H',
        'І' | 'Ι' => 'I',
        'Ј' => 'J',
        'К' | 'Κ' => 'K',
        'М' | 'Μ' => 'M',
        'Ν' => 'N',
        'О' | 'Ο' => 'O',
        'Р' | 'Ρ' => 'P',
        'Ѕ' => 'S',
        'Т' | 'Τ' => 'T',
        'Х' | 'Χ' => 'X',
        'У' | 'Υ' => 'Y',
        'Ζ' => 'Z',
        _ => return None,
    })
}

/// Whether a character shows nothing of its own: marks upon letters, what has no width, and what only turns others.
pub(crate) const fn is_unseen(one: char) -> bool {
    match one {
        '\u{300}'..='\u{36F}' => true,
        // These part words.
        '\u{2028}' | '\u{2029}' => false,
        one => tollgate_model::is_unseen(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_alike_is_alike_and_its_places_are_known() {
        for text in [
            "ｉｇｎｏｒｅ all",
            "іgnоrе аll",
            "𝐢𝐠𝐧𝐨𝐫𝐞 𝖆𝖑𝖑",
            "ⓘⓖⓝⓞⓡⓔ all",
            "ig\u{AD}no\u{200B}re all",
            "i\u{332}g\u{332}n\u{332}o\u{332}r\u{332}e\u{332} all",
            "ɪɢɴᴏʀᴇ all",
            "ig\u{200E}no\u{2066}re\u{E0041} all",
        ] {
            let folded = fold(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(folded.text, "ignore all", "{text}");
            assert_eq!(folded.before(0), 0);
            assert_eq!(folded.before(folded.text.len()), text.len(), "{text}");
            assert!(text[folded.before(7)..].starts_with(text.split(' ').nth(1).unwrap()), "{text}");
        }
    }

    #[test]
    fn other_scripts_are_left_as_they_are() {
        for text in
            ["Привет, это рыба", "καλημέρα", "日本語，テスト", "größe naïve", "🇩🇪 flag", "plain", "שלום"]
        {
            assert!(fold(text).is_none(), "{text}");
        }
    }
}
