//! What becomes of a value by what a guard said of its texts.

use bytes::Bytes;
use ring::hmac;
use tollgate_mcp::quote;

use super::answer::{Opinion, Place, Verdict};
use super::texts::{Piece, Texts};
use crate::action::{self, Action};
use crate::guard::{Changed, Changing, edited, merged, spliced};
use crate::rule::Rule;

/// How many findings are told one by one.
const NOTED_MAX: usize = 32;
/// The longest way to a text on record.
const PATH_BYTES_MAX: usize = 200;

/// Something that a guard found, without itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideNoted {
    /// What, in a word of the guard's.
    pub kind: Option<String>,
    /// What became of it.
    pub action: &'static str,
    /// How sure it is, in percent.
    pub confidence: u8,
    /// Where the text stands: a JSON pointer.
    pub path: String,
}

/// Nothing passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Whether a person may still let it pass.
    pub is_held: bool,
    /// Why, in a word of the guard's.
    pub reason: Option<String>,
}

/// What a guard's opinions come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The value as it may pass, where it may not as it is: at once, or once a person has agreed.
    pub changed: Option<Bytes>,
    /// It may not pass.
    pub stopped: Option<Stopped>,
    /// What was found, up to a bound.
    pub noted: Vec<OutsideNoted>,
    /// How many more there were.
    pub more: usize,
}

/// Carries out what was said of the texts of a value. `name` is the guard's; digests are made with a key of the tenant's.
pub fn apply(
    name: &str,
    value: &[u8],
    texts: &Texts,
    opinions: &[Opinion],
    key: &dyn Fn() -> hmac::Key,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut changed = Vec::new();
    for (piece, opinion) in texts.pieces().iter().zip(opinions) {
        let instead = match &opinion.verdict {
            Verdict::Pass => {
                if opinion.reason.is_some() {
                    outcome.note(piece, opinion.reason.clone(), "report", opinion.confidence);
                }
                None
            }
            Verdict::Reject | Verdict::Hold => {
                let is_held = opinion.verdict == Verdict::Hold;
                let action = if is_held { "hold" } else { "block" };
                outcome.note(piece, opinion.reason.clone(), action, opinion.confidence);
                outcome.stop(is_held, opinion.reason.clone());
                None
            }
            Verdict::Replace(text) => {
                outcome.note(piece, opinion.reason.clone(), "replace", opinion.confidence);
                Some(text.clone())
            }
            Verdict::Whole(action) => {
                outcome.note(piece, opinion.reason.clone(), action.as_str(), opinion.confidence);
                whole(*action, opinion.reason.as_deref().unwrap_or(name), &piece.text, key)
            }
            Verdict::Change(places) => Some(outcome.places(piece, places, key)),
        };
        // Nobody could find a task again that has another name.
        let is_name = piece.pointer.ends_with("/taskId");
        if let Some(instead) = instead.filter(|instead| *instead != piece.text && !is_name) {
            changed.push(Changed { raw: piece.raw.clone(), kind: Changing::Whole(quote(&instead)) });
        }
    }
    // What is held may pass once somebody has agreed to it, and then as it may.
    if outcome.stopped.as_ref().is_none_or(|stopped| stopped.is_held) && !changed.is_empty() {
        outcome.changed = Some(spliced(value, changed));
    }
    outcome
}

impl Outcome {
    fn note(&mut self, piece: &Piece, kind: Option<String>, action: &'static str, confidence: u8) {
        if self.noted.len() >= NOTED_MAX {
            self.more += 1;
            return;
        }
        let mut end = piece.pointer.len().min(PATH_BYTES_MAX);
        while !piece.pointer.is_char_boundary(end) {
            end -= 1;
        }
        let path = piece.pointer.get(..end).unwrap_or_default().to_owned();
        self.noted.push(OutsideNoted { kind, action, confidence, path });
    }

    /// A refusal weighs more than a wait for a person.
    fn stop(&mut self, is_held: bool, reason: Option<String>) {
        if self.stopped.as_ref().is_none_or(|stopped| stopped.is_held && !is_held) {
            self.stopped = Some(Stopped { is_held, reason });
        }
    }

    fn places(&mut self, piece: &Piece, places: &[Place], key: &dyn Fn() -> hmac::Key) -> String {
        let text = &piece.text;
        let (mut edits, mut drops, mut fences) = (Vec::new(), false, false);
        for place in places {
            let said = if place.instead.is_some() { "replace" } else { place.action.as_str() };
            self.note(piece, Some(place.kind.clone()), said, place.confidence);
            match (&place.instead, place.action) {
                (Some(instead), _) => edits.push((place.range.clone(), instead.clone())),
                (None, Action::Report) => {}
                (None, Action::Block) => self.stop(false, Some(place.kind.clone())),
                (None, Action::Hold) => self.stop(true, Some(place.kind.clone())),
                (None, Action::Drop) => drops = true,
                (None, Action::Fence) => fences = true,
                (None, action) => {
                    let found = text.get(place.range.clone()).unwrap_or_default();
                    edits.push((place.range.clone(), instead(action, &place.kind, found, key)));
                }
            }
        }
        if drops {
            return "[redacted]".to_owned();
        }
        let changed = edited(text, &merged(edits));
        if fences { action::fenced(&changed).unwrap_or(changed) } else { changed }
    }
}

/// What stands in place of a whole text; nothing if it stays.
fn whole(action: Action, kind: &str, text: &str, key: &dyn Fn() -> hmac::Key) -> Option<String> {
    match action {
        Action::Report | Action::Hold | Action::Block => None,
        Action::Drop => Some("[redacted]".to_owned()),
        Action::Fence => action::fenced(text),
        action => Some(instead(action, kind, text, key)),
    }
}

fn instead(action: Action, kind: &str, found: &str, key: &dyn Fn() -> hmac::Key) -> String {
    // What may stay of it is decided by what it looks like: nothing more is known of it.
    let rule = if found.contains('@') { Rule::Email } else { Rule::Phone };
    action::instead(action, rule, kind, found, key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(value: &str, verdicts: Vec<Verdict>) -> Outcome {
        let texts = Texts::of(value.as_bytes(), &[], 1 << 20).unwrap();
        let opinions: Vec<Opinion> =
            verdicts.into_iter().map(|verdict| Opinion { verdict, ..Opinion::PASS }).collect();
        apply("g", value.as_bytes(), &texts, &opinions, &|| hmac::Key::new(hmac::HMAC_SHA256, b"k"))
    }

    fn place(range: std::ops::Range<usize>, action: Action) -> Place {
        Place { range, kind: "PERSON".to_owned(), action, instead: None, confidence: 85 }
    }

    fn text(outcome: &Outcome) -> &str {
        std::str::from_utf8(outcome.changed.as_ref().unwrap()).unwrap()
    }

    #[test]
    fn what_is_said_is_done_and_everything_else_stays_as_it_is() {
        let value = r#"{"a": "x\u0041 ann\n","n": 1.0, "b":["tel 5555-1234", "c"]}"#;
        let outcome = applied(
            value,
            vec![
                Verdict::Change(vec![place(3..6, Action::Mask)]),
                Verdict::Change(vec![place(4..13, Action::Partial)]),
                Verdict::Pass,
            ],
        );
        assert_eq!(text(&outcome), r#"{"a": "xA [redacted:PERSON]\n","n": 1.0, "b":["tel ****-1234", "c"]}"#);
        let noted: Vec<_> =
            outcome.noted.iter().map(|one| (&*one.path, one.action, one.confidence)).collect();
        assert_eq!(noted, [("/a", "mask", 85), ("/b/0", "partial", 85)]);
        let outcome = applied(value, vec![Verdict::Pass, Verdict::Pass, Verdict::Pass]);
        assert_eq!(outcome, Outcome::default());
        let outcome =
            applied(value, vec![Verdict::Replace("\"é\"".to_owned()), Verdict::Pass, Verdict::Pass]);
        assert!(text(&outcome).starts_with(r#"{"a": "\"é\"","n": 1.0"#), "{outcome:?}");
    }

    #[test]
    fn places_that_overlap_are_changed_once() {
        let mut own = place(0..5, Action::Mask);
        own.instead = Some("X".to_owned());
        let outcome = applied(r#"["ab cd ef"]"#, vec![Verdict::Change(vec![own, place(3..8, Action::Mask)])]);
        assert_eq!(text(&outcome), r#"["X"]"#);
    }

    #[test]
    fn a_refusal_weighs_more_than_anything_else() {
        let outcome = applied(
            r#"["a","b","c"]"#,
            vec![Verdict::Hold, Verdict::Replace("x".to_owned()), Verdict::Reject],
        );
        assert_eq!(outcome.changed, None);
        assert!(outcome.stopped.is_some_and(|stopped| !stopped.is_held));
        let held = applied(r#"["a","b"]"#, vec![Verdict::Hold, Verdict::Replace("x".to_owned())]);
        assert!(held.stopped.as_ref().is_some_and(|stopped| stopped.is_held));
        assert_eq!(text(&held), r#"["a","x"]"#, "whoever agrees to it agrees to what is left of it");
        let blocked = applied(r#"["abc"]"#, vec![Verdict::Change(vec![place(0..1, Action::Block)])]);
        assert_eq!(blocked.stopped, Some(Stopped { is_held: false, reason: Some("PERSON".to_owned()) }));
        assert_eq!(blocked.changed, None);
    }

    #[test]
    fn whole_texts_are_dropped_fenced_or_only_reported() {
        let of = |action| applied(r#"["abc"]"#, vec![Verdict::Whole(action)]);
        assert_eq!(text(&of(Action::Drop)), r#"["[redacted]"]"#);
        assert_eq!(text(&of(Action::Mask)), r#"["[redacted:g]"]"#);
        assert_eq!(text(&of(Action::Fence)), r#"["<untrusted-data>\nabc\n</untrusted-data>"]"#);
        let reported = of(Action::Report);
        assert_eq!((reported.changed, reported.noted.len()), (None, 1));
    }
}
