//! The scanner agrees with serde_json, and the walk reads what was written.

use proptest::collection::vec;
use proptest::prelude::*;

use super::generate::{Node, nearly_json, node, text, write};
use super::reference::is_strict_json;
use crate::json::{self, JsonKind, Limits, Span};

const ANY_SIZE: Limits = Limits { depth_max: usize::MAX, bytes_max: usize::MAX };

/// Whether the walk over `span` finds exactly this value.
fn reads_as(bytes: &[u8], span: Span, node: &Node) -> bool {
    match node {
        Node::Word(word) => span.of(bytes) == word.as_bytes(),
        Node::Number(number) => {
            json::kind_of(bytes, span) == JsonKind::Number && span.of(bytes) == number.as_bytes()
        }
        Node::Text(text) => json::text(bytes, span).is_some_and(|found| found == *text),
        Node::Array(items) => {
            let found: Vec<_> = json::elements(bytes, span).collect();
            found.len() == items.len()
                && found.iter().zip(items).all(|(&found, item)| reads_as(bytes, found, item))
        }
        Node::Object(members) => {
            let found: Vec<_> = json::members(bytes, span).collect();
            found.len() == members.len()
                && found.iter().zip(members).all(|(found, (key, value))| {
                    found.key(bytes) == *key
                        && found.key_is(bytes, key)
                        && reads_as(bytes, found.value, value)
                })
                && members.iter().all(|(key, value)| {
                    json::find(bytes, span, key).is_some_and(|found| reads_as(bytes, found, value))
                })
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_written_is_read(node in node(), noise in vec(any::<u8>(), 1..50)) {
        let text = write(&node, &noise);
        let span = json::validate(text.as_bytes(), &ANY_SIZE);
        prop_assert!(span.is_ok(), "{span:?} {text}");
        prop_assert!(is_strict_json(text.as_bytes()));
        prop_assert!(reads_as(text.as_bytes(), span.unwrap(), &node), "{text}");
    }

    #[test]
    fn a_quoted_text_reads_as_itself(text in text()) {
        let literal = json::quote(&text);
        let by_serde: Option<String> = serde_json::from_slice(&literal).ok();
        prop_assert_eq!(by_serde.as_ref(), Some(&text));
        let read = json::text(&literal, Span::all(&literal));
        prop_assert_eq!(read.as_deref(), Some(text.as_str()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn serde_json_would_decide_the_same(bytes in nearly_json()) {
        let span = json::validate(&bytes, &ANY_SIZE);
        prop_assert_eq!(span.is_ok(), is_strict_json(&bytes), "{:?} {}", span, String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_bytes_make_the_walk_panic(bytes in nearly_json(), start in 0..60_u32, end in 0..60_u32, key in "[a-c]?") {
        for span in [Span { start, end }, Span::all(&bytes)] {
            for member in json::members(&bytes, span) {
                let _ = (member.key(&bytes), member.key_is(&bytes, &key), member.value.of(&bytes));
            }
            for element in json::elements(&bytes, span) {
                let _ = (element.of(&bytes), json::kind_of(&bytes, element), json::text(&bytes, element));
            }
            let _ = (json::find(&bytes, span, &key), json::text(&bytes, span), json::kind_of(&bytes, span));
            let _ = crate::peek_id(&bytes);
        }
    }
}
