//! What a guard answers: its opinion of each text.

use std::ops::Range;

use serde::Deserialize;

use super::question::Question;
use super::settings::{OutsideKind, OutsideSettings};
use super::texts::{Piece, Texts};
use super::{classifier, presidio};
use crate::action::Action;

/// The longest reason, and the longest name of what was found.
const REASON_BYTES_MAX: usize = 64;
/// The most places in one text.
const PLACES_MAX: usize = 10_000;

/// What a guard says of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// What is to become of it.
    pub verdict: Verdict,
    /// Why, in a word of the guard's: letters, digits, `_`, `-` and `.`.
    pub reason: Option<String>,
    /// How sure it is, in percent.
    pub confidence: u8,
}

/// What is to become of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes as it is.
    Pass,
    /// Parts of it are changed, or only reported.
    Change(Vec<Place>),
    /// Another text stands there.
    Replace(String),
    /// The whole text is dealt with.
    Whole(Action),
    /// Nothing passes.
    Reject,
    /// Nothing passes before a person has looked at it.
    Hold,
}

/// A part of a text in which something was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which part, in bytes.
    pub range: Range<usize>,
    /// What was found, in a word.
    pub kind: String,
    /// What becomes of it.
    pub action: Action,
    /// What is to stand there, if the guard says so itself.
    pub instead: Option<String>,
    /// How sure it is, in percent.
    pub confidence: u8,
}

impl Opinion {
    /// Nothing is said against it.
    pub(super) const PASS: Self = Self { verdict: Verdict::Pass, reason: None, confidence: 100 };
}

/// An answer that is none of the contract's. It says what is wrong, and nothing of the answer itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

const NOT_EACH: Malformed = Malformed("it has not one verdict for each text");

/// What an answer says of the texts that a question was about, one opinion for each.
///
/// # Errors
/// [`Malformed`] if the answer cannot be understood: then nothing is known of any of them.
pub fn opinions(
    settings: &OutsideSettings,
    texts: &Texts,
    question: &Question,
    answer: &[u8],
) -> Result<Vec<Opinion>, Malformed> {
    let pieces = texts.pieces().get(question.from..question.from + question.count).unwrap_or_default();
    let opinions = match &settings.kind {
        OutsideKind::Tollgate => own(answer, pieces)?,
        OutsideKind::Presidio(presidio) => presidio::opinions(presidio, answer, pieces)?,
        OutsideKind::Classifier(classifier) => classifier::opinions(classifier, answer, pieces)?,
    };
    if opinions.len() == pieces.len() { Ok(opinions) } else { Err(NOT_EACH) }
}

#[derive(Deserialize)]
struct Answer {
    items: Option<Vec<Item>>,
    /// Of all texts at once.
    action: Option<Word>,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    action: Word,
    text: Option<String>,
    spans: Option<Vec<SpanItem>>,
    reason: Option<String>,
    confidence: Option<f64>,
}

#[derive(Deserialize)]
struct SpanItem {
    start: usize,
    end: usize,
    kind: Option<String>,
    text: Option<String>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Word {
    Pass,
    Mutate,
    Reject,
    Hold,
}

fn own(answer: &[u8], pieces: &[Piece]) -> Result<Vec<Opinion>, Malformed> {
    let answer: Answer =
        serde_json::from_slice(answer).map_err(|_| Malformed("it is not the JSON of the contract"))?;
    match (answer.items, answer.action) {
        (Some(items), None) if items.len() != pieces.len() => Err(NOT_EACH),
        (Some(items), None) => {
            items.into_iter().zip(pieces).map(|(item, piece)| item.opinion(&piece.text)).collect()
        }
        (None, Some(action)) => {
            let verdict = match action {
                Word::Pass => Verdict::Pass,
                Word::Reject => Verdict::Reject,
                Word::Hold => Verdict::Hold,
                Word::Mutate => return Err(Malformed("it changes something and does not say what")),
            };
            let reason = answer.reason.as_deref().map(word);
            Ok(vec![Opinion { verdict, reason, confidence: 100 }; pieces.len()])
        }
        _ => Err(Malformed("it has either `items` or `action`")),
    }
}

impl Item {
    fn opinion(self, text: &str) -> Result<Opinion, Malformed> {
        let verdict = match (self.action, self.text, self.spans) {
            (Word::Pass, None, None) => Verdict::Pass,
            (Word::Reject, None, None) => Verdict::Reject,
            (Word::Hold, None, None) => Verdict::Hold,
            (Word::Mutate, Some(text), None) => Verdict::Replace(text),
            (Word::Mutate, None, Some(spans)) => {
                let found = spans.into_iter().map(|span| Found {
                    start: span.start,
                    end: span.end,
                    kind: span.kind.as_deref().map_or_else(|| "found".to_owned(), word),
                    action: Action::Mask,
                    instead: span.text,
                    confidence: 100,
                });
                Verdict::Change(places(text, found.collect())?)
            }
            _ => return Err(Malformed("what it says of a text does not fit together")),
        };
        let confidence = self.confidence.map_or(100, percent);
        Ok(Opinion { verdict, reason: self.reason.as_deref().map(word), confidence })
    }
}

/// Something that was found in a text, by the places of its characters (Unicode scalar values).
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: String,
    pub(super) action: Action,
    pub(super) instead: Option<String>,
    pub(super) confidence: u8,
}

/// The same by the places of bytes.
pub(super) fn places(text: &str, mut found: Vec<Found>) -> Result<Vec<Place>, Malformed> {
    if found.len() > PLACES_MAX {
        return Err(Malformed("it names too many places"));
    }
    found.sort_by_key(|one| (one.start, one.end));
    // One walk over the text for all of them: the ends are put in order apart from the beginnings.
    let mut wanted: Vec<usize> = found.iter().flat_map(|one| [one.start, one.end]).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut offsets = text.char_indices().map(|(at, _)| at).chain([text.len()]).enumerate();
    let mut known = Vec::with_capacity(wanted.len());
    for place in wanted {
        let offset =
            offsets.find(|(nth, _)| *nth == place).ok_or(Malformed("a place is outside of its text"))?;
        known.push((place, offset.1));
    }
    let byte = |place: usize| {
        let at = known.binary_search_by_key(&place, |(place, _)| *place).ok()?;
        known.get(at).map(|(_, byte)| *byte)
    };
    let in_bytes = found.into_iter().map(|one| {
        let range = byte(one.start).zip(byte(one.end)).filter(|(start, end)| start < end);
        let (start, end) = range.ok_or(Malformed("a place ends before it begins"))?;
        let Found { kind, action, instead, confidence, .. } = one;
        Ok(Place { range: start..end, kind, action, instead, confidence })
    });
    in_bytes.collect()
}

/// A word that may stand on record and in a mark: what else is in it becomes `_`.
pub(super) fn word(text: &str) -> String {
    let is = |one: char| one.is_ascii_alphanumeric() || matches!(one, '_' | '-' | '.');
    text.chars().take(REASON_BYTES_MAX).map(|one| if is(one) { one } else { '_' }).collect()
}

/// A share of one in percent.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 100")]
pub(super) fn percent(share: f64) -> u8 {
    if share.is_nan() { 0 } else { (share.clamp(0.0, 1.0) * 100.0).round() as u8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(value: &str, answer: &str) -> Result<Vec<Opinion>, Malformed> {
        let settings = OutsideSettings::new("g", "https://g.example");
        let texts = Texts::of(value.as_bytes(), &[], 1 << 20).unwrap();
        let count = texts.pieces().len();
        let question = Question { body: bytes::Bytes::new(), from: 0, count };
        opinions(&settings, &texts, &question, answer.as_bytes())
    }

    #[test]
    fn each_text_has_its_verdict() {
        let answer = r#"{"items":[{"action":"pass"},{"action":"reject","reason":"jail break!"},{"action":"hold"},
            {"action":"mutate","text":"x"},{"action":"mutate","spans":[{"start":1,"end":2,"kind":"EMOJI"}]}]}"#;
        let said = said(r#"["a","b","c","d","é😀f"]"#, answer).unwrap();
        let verdicts: Vec<&Verdict> = said.iter().map(|one| &one.verdict).collect();
        assert_eq!(
            verdicts[..4],
            [&Verdict::Pass, &Verdict::Reject, &Verdict::Hold, &Verdict::Replace("x".to_owned())]
        );
        assert_eq!(said[1].reason.as_deref(), Some("jail_break_"));
        let Verdict::Change(places) = &said[4].verdict else { panic!("{said:?}") };
        assert_eq!((places[0].range.clone(), &*places[0].kind), (2..6, "EMOJI"), "characters, not bytes");
    }

    #[test]
    fn an_answer_for_all_is_one_for_each() {
        let all = said(r#"["a","b"]"#, r#"{"action":"reject","reason":"no"}"#).unwrap();
        assert!(all.len() == 2 && all.iter().all(|one| one.verdict == Verdict::Reject));
        assert!(
            said(r#"["a","b"]"#, r#"{"action":"pass"}"#).unwrap().iter().all(|one| *one == Opinion::PASS)
        );
    }

    #[test]
    fn what_cannot_be_understood_is_no_verdict() {
        for answer in [
            "",
            "[]",
            "{}",
            r#"{"items":[]}"#,
            r#"{"items":[{"action":"pass"},{"action":"pass"}]}"#,
            r#"{"items":[{"action":"allow"}]}"#,
            r#"{"items":[{"action":"mutate"}]}"#,
            r#"{"items":[{"action":"pass","text":"y"}]}"#,
            r#"{"items":[{"action":"mutate","text":"y","spans":[]}]}"#,
            r#"{"items":[{"action":"mutate","spans":[{"start":0,"end":3}]}]}"#,
            r#"{"items":[{"action":"mutate","spans":[{"start":1,"end":1}]}]}"#,
            r#"{"items":[{"action":"mutate","spans":[{"start":-1,"end":1}]}]}"#,
            r#"{"items":[{"action":"pass"}],"action":"pass"}"#,
            r#"{"action":"mutate"}"#,
        ] {
            assert!(said(r#"["ab"]"#, answer).is_err(), "{answer}");
        }
    }
}
