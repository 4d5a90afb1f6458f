//! Whatever a guard outside of the gateway says of texts, what passes is JSON, and nothing but those texts is another.

use proptest::prelude::*;
use ring::hmac;
use serde_json::{Value, json};
use tollgate_guard::outside::{OutsideSettings, Question, Texts, apply, opinions};

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<String>().prop_map(Value::from),
        "[a-zé😀\"\\\\\n ]{0,20}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z~/\"é]{0,6}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A verdict of a text by three numbers, and what becomes of the text.
fn verdict(text: &str, (kind, one, other): (u8, usize, usize), instead: &str) -> (Value, String) {
    let count = text.chars().count();
    let (start, end) = (one % count, one % count + 1 + other % (count - one % count));
    match kind % 3 {
        0 => (json!({"action": "pass"}), text.to_owned()),
        1 => (json!({"action": "mutate", "text": instead}), instead.to_owned()),
        _ => {
            let span = json!({"start": start, "end": end, "text": instead});
            let before: String = text.chars().take(start).collect();
            let after: String = text.chars().skip(end).collect();
            (json!({"action": "mutate", "spans": [span]}), format!("{before}{instead}{after}"))
        }
    }
}

/// The same value with other texts, in the order in which they stand.
fn with(value: &Value, texts: &mut impl Iterator<Item = String>) -> Value {
    match value {
        Value::String(text) if !text.is_empty() => texts.next().expect("a text for each").into(),
        Value::Array(all) => all.iter().map(|one| with(one, texts)).collect(),
        Value::Object(all) => all.iter().map(|(name, one)| (name.clone(), with(one, texts))).collect(),
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_passes_is_json_and_nothing_but_its_texts_is_another(
        value in values(),
        says in proptest::collection::vec((any::<u8>(), any::<usize>(), any::<usize>()), 64),
        instead in any::<String>(),
    ) {
        let bytes = value.to_string();
        let texts = Texts::of(bytes.as_bytes(), &[], 1 << 20).unwrap();
        for piece in texts.pieces() {
            prop_assert_eq!(value.pointer(&piece.pointer).and_then(Value::as_str), Some(&*piece.text));
        }
        let said: Vec<(Value, String)> = texts
            .pieces()
            .iter()
            .zip(says.iter().cycle())
            .map(|(piece, says)| verdict(&piece.text, *says, &instead))
            .collect();
        let answer = json!({"items": said.iter().map(|(verdict, _)| verdict.clone()).collect::<Vec<_>>()});
        let settings = OutsideSettings::new("g", "https://g.example");
        let question = Question { body: bytes::Bytes::new(), from: 0, count: said.len() };
        let opinions = opinions(&settings, &texts, &question, answer.to_string().as_bytes()).unwrap();
        let key = || hmac::Key::new(hmac::HMAC_SHA256, b"k");
        let outcome = apply("g", bytes.as_bytes(), &texts, &opinions, &key);
        let passes = outcome.changed.as_deref().unwrap_or(bytes.as_bytes());
        let expected = with(&value, &mut said.into_iter().map(|(_, text)| text));
        prop_assert_eq!(serde_json::from_slice::<Value>(passes).unwrap(), expected);
    }

    /// An answer is of a stranger: it may be anything.
    #[test]
    fn no_answer_is_too_strange(value in values(), answer in any::<Vec<u8>>(), like in values()) {
        let bytes = value.to_string();
        let texts = Texts::of(bytes.as_bytes(), &[], 1 << 20).unwrap();
        let settings = OutsideSettings::new("g", "https://g.example");
        let question = Question { body: bytes::Bytes::new(), from: 0, count: texts.pieces().len() };
        let _ = opinions(&settings, &texts, &question, &answer);
        let like = json!({"items": like}).to_string();
        let _ = opinions(&settings, &texts, &question, like.as_bytes());
    }
}
