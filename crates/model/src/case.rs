//! Names as they are taken where case is not looked at.

use std::borrow::Cow;

/// A name as a server takes it that does not look at case: the same for all that it may take for one.
pub fn folded(name: &str) -> Cow<'_, str> {
    if !name.is_ascii() {
        // Upper case comes first: only that way a long s becomes an `s`.
        return name
            .chars()
            .flat_map(char::to_uppercase)
            .flat_map(char::to_lowercase)
            .collect::<String>()
            .into();
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return name.to_ascii_lowercase().into();
    }
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_case_alone_is_folded_into_one() {
        for (one, other) in [("pay", "PaY"), ("ask", "a\u{17f}k"), ("ask", "as\u{212a}"), ("über", "ÜBER")]
        {
            assert_eq!(folded(one), folded(other), "{other}");
        }
        assert_ne!(folded("pay"), folded("play"));
        assert!(matches!(folded("get_1"), Cow::Borrowed("get_1")));
    }
}
