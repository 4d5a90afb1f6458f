//! Header values round-trip, and are always safe to send.

use proptest::collection::vec;
use proptest::prelude::*;

use super::generate::{node, text, write};
use crate::headers::{argument_equals, argument_value, decode_value, encode_value, values_equal};
use crate::json::{Span, numbers_equal, quote};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_text_passes(text in prop_oneof![text(), "=\\?base64\\?[a-zA-Z0-9+/=]{0,8}\\?=", "[ \t]?[ -~]{0,5}[ \t]?"]) {
        let value = encode_value(&text);
        prop_assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')));
        prop_assert_eq!(value.trim(), &value);
        prop_assert!(values_equal(value.as_bytes(), &text));
        let literal = quote(&text);
        prop_assert!(argument_equals(value.as_bytes(), &literal, Span::all(&literal)));
        prop_assert_eq!(argument_value(&literal, Span::all(&literal)), Some(value));
    }

    #[test]
    fn what_is_mirrored_is_equal(node in node(), noise in vec(any::<u8>(), 1..9)) {
        let text = write(&node, &noise);
        let text = text.trim().as_bytes();
        if let Some(value) = argument_value(text, Span::all(text)) {
            prop_assert!(argument_equals(value.as_bytes(), text, Span::all(text)));
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(value in vec(any::<u8>(), 0..30)) {
        if let Ok(text) = decode_value(&value) {
            prop_assert!(values_equal(encode_value(&text).as_bytes(), &text));
        }
    }

    #[test]
    fn integers_are_compared_exactly(one in any::<i64>(), other in any::<i64>(), zeros in 0..5_usize) {
        let written = format!("{one}.{}e0", "0".repeat(zeros + 1));
        prop_assert!(numbers_equal(one.to_string().as_bytes(), written.as_bytes()));
        prop_assert_eq!(numbers_equal(one.to_string().as_bytes(), other.to_string().as_bytes()), one == other);
    }
}
