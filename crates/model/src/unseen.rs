//! Characters that nobody sees: what text is hidden with, and what turns around how others are shown.

/// Whether a character shows nothing of its own: those that Unicode has programs ignore where they know nothing of them
/// (`Default_Ignorable_Code_Point`: joiners, fillers, variation selectors, tags), what parts lines, and marks of annotations. Control
/// characters are not among them.
pub const fn is_unseen(character: char) -> bool {
    matches!(
        character,
        '\u{AD}'
            | '\u{34F}'
            | '\u{61C}'
            | '\u{115F}'
            | '\u{1160}'
            | '\u{17B4}'
            | '\u{17B5}'
            | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}'
            | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFB}'
            | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0000}'..='\u{E0FFF}'
    )
}

/// Whether one has its use where it stands: emoji and several scripts are written with joiners and with the two selectors of emoji, behind
/// a character that one sees and that is none of ASCII.
const fn is_in_use(character: char, before: Option<char>) -> bool {
    let is_behind_one = match before {
        Some(before) => {
            !before.is_ascii() && (!is_unseen(before) || matches!(before, '\u{FE0E}' | '\u{FE0F}'))
        }
        None => false,
    };
    match character {
        '\u{200C}' | '\u{200D}' => is_behind_one,
        '\u{FE0E}' | '\u{FE0F}' => is_behind_one && !matches!(before, Some('\u{FE0E}' | '\u{FE0F}')),
        _ => false,
    }
}

/// The characters of a text, each with whether it hides there: it is one that nobody sees, and has no use.
pub fn hiding(text: &str) -> impl Iterator<Item = (char, bool)> + '_ {
    let mut before = None;
    text.chars().map(move |character| {
        let hides = is_unseen(character) && !is_in_use(character, before);
        before = Some(character);
        (character, hides)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_told_from_what_emoji_and_scripts_are_written_with() {
        let hidden = |text: &str| hiding(text).filter(|(_, hides)| *hides).count();
        for (text, count) in [
            ("pay\u{200D}ment", 1),
            ("a\u{FE0F}b", 1),
            ("\u{1F600}\u{FE0F}\u{FE0F}\u{FE01}", 2),
            ("\u{1F600}\u{E0101}\u{E0102}", 2),
            ("x\u{3164}\u{115F}\u{FFA0}\u{34F}\u{1D173}\u{2028}", 6),
            ("\u{202E}moc", 1),
        ] {
            assert_eq!(hidden(text), count, "{text:?}");
        }
        for text in [
            "👩\u{200D}💻",
            "❤\u{FE0F}\u{200D}🔥",
            "می\u{200C}خواهم",
            "क\u{94D}\u{200D}ष",
            "plain\n",
            "größe",
        ] {
            assert_eq!(hidden(text), 0, "{text:?}");
        }
    }
}
