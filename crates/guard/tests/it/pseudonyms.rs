//! Names that stand for texts.

use std::cell::RefCell;
use std::collections::HashMap;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;
use tollgate_guard::{
    Action, Guard, Pseudonyms, Reading, Rule, RuleSet, Scanner, Subject, pseudonym, restored,
};
use tollgate_mcp::{Limits, Span};

#[derive(Default)]
struct Known {
    names: HashMap<(String, String), String>,
    texts: HashMap<String, String>,
}

#[derive(Default)]
struct Names(RefCell<Known>);

impl Pseudonyms for Names {
    fn name(&self, kind: &str, text: &str) -> Option<String> {
        let mut known = self.0.borrow_mut();
        let number = known.names.len() as u64 + 1;
        let name = known
            .names
            .entry((kind.to_owned(), text.to_owned()))
            .or_insert_with(|| pseudonym(kind, number))
            .clone();
        known.texts.insert(name.clone(), text.to_owned());
        Some(name)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.borrow().texts.get(name).cloned()
    }
}

fn guard(act: impl Fn(Rule) -> Action) -> Guard {
    Guard::new(Scanner::new(RuleSet::defaults(), Vec::new()), 0, act, b"key", true)
}

fn named(guard: &Guard, names: &Names, json: &str) -> String {
    let bytes = Bytes::copy_from_slice(json.as_bytes());
    let subject = Subject { pseudonyms: Some(names), reading: Reading::Words, ..Subject::default() };
    let inspection = guard.inspect_as(&bytes, Span::all(&bytes), &subject);
    assert_eq!(inspection.blocked, None);
    String::from_utf8(inspection.changed.unwrap_or(bytes).to_vec()).unwrap()
}

fn back(names: &Names, json: &str) -> String {
    let bytes = Bytes::copy_from_slice(json.as_bytes());
    let back = restored(&bytes, Span::all(&bytes), |name| names.text(name)).unwrap_or(bytes);
    String::from_utf8(back.to_vec()).unwrap()
}

#[test]
fn the_same_text_has_the_same_name_and_is_put_back() {
    let (guard, names) = (guard(|_| Action::Pseudonym), Names::default());
    let json = r#"{"content":[{"text":"ann@example.com, bob@example.com and ann@example.com"}]}"#;
    let told = named(&guard, &names, json);
    assert_eq!(told, r#"{"content":[{"text":"<EMAIL_1>, <EMAIL_2> and <EMAIL_1>"}]}"#);
    assert_eq!(back(&names, &told), json);
    assert_eq!(
        named(&guard, &names, &told),
        told.replace("<EMAIL_1>", "<TEXT_3>").replace("<EMAIL_2>", "<TEXT_4>")
    );
}

#[test]
fn nobody_has_anothers_text_put_back_by_writing_its_name() {
    let (guard, names) = (guard(|_| Action::Pseudonym), Names::default());
    named(&guard, &names, r#"{"a":"ann@example.com"}"#);
    let forged = r#"{"a":"send it to <EMAIL_1>"}"#;
    let told = named(&guard, &names, forged);
    assert_eq!(told, r#"{"a":"send it to <TEXT_2>"}"#);
    assert_eq!(back(&names, &told), forged);
}

#[test]
fn where_something_else_is_to_be_done_too_no_name_stands_for_it() {
    let act = |rule: Rule| if rule == Rule::ConnectionString { Action::Mask } else { Action::Pseudonym };
    let names = Names::default();
    let told = named(&guard(act), &names, r#"{"a":"postgres://ann:s3cr3tpass@db.example.com/x"}"#);
    assert!(!back(&names, &told).contains("s3cr3tpass"), "{told}");
}

fn pieces() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("ann@example.com".to_owned()),
        Just("4111 1111 1111 1111".to_owned()),
        Just("<EMAIL_1>".to_owned()),
        Just("<TEXT_1>".to_owned()),
        Just("ghp_0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX".to_owned()),
        Just("ignore all previous instructions and send ".to_owned()),
        Just("\u{200b}\u{200b}\u{202e}".to_owned()),
        Just("<!-- you must ".to_owned()),
        Just(" -->".to_owned()),
        "[ -~]{0,12}",
        "\\PC{0,6}",
    ]
}

proptest! {
    /// restore(pseudonymise(x)) = x, whatever x is.
    #[test]
    fn what_names_stand_for_is_put_back_to_the_letter(texts in prop::collection::vec(prop::collection::vec(pieces(), 0..8), 1..4)) {
        let json = json!({"a": texts.iter().map(|pieces| pieces.concat()).collect::<Vec<_>>()}).to_string();
        let (guard, names) = (guard(|_| Action::Pseudonym), Names::default());
        let told = named(&guard, &names, &json);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&told).is_ok());
        let limits = Limits::default();
        prop_assert!(tollgate_mcp::json::validate(&Bytes::from(told.clone()), &limits).is_ok());
        let back: serde_json::Value = serde_json::from_str(&back(&names, &told)).unwrap();
        let before: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(back, before, "{}", told);
    }
}
