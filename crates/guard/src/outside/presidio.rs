//! The analyzer of Microsoft Presidio, by its HTTP API: `POST /analyze`. It says where something is; what becomes of it is said here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::answer::{Found, Malformed, Opinion, Verdict, percent, places, word};
use super::question::{About, Question};
use super::texts::{Piece, Texts};
use crate::action::Action;

/// How an analyzer is asked, and what becomes of what it finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresidioSettings {
    /// The language that it is told texts are in.
    pub language: String,
    /// What it looks for; everything that it knows if there is none.
    pub entities: Vec<String>,
    /// How sure it has to be, in percent.
    pub confidence_min: u8,
    /// What becomes of what it finds; nothing is not even told.
    pub action: Option<Action>,
    /// What becomes of single kinds.
    pub actions: BTreeMap<String, Option<Action>>,
}

impl Default for PresidioSettings {
    fn default() -> Self {
        Self {
            language: "en".to_owned(),
            entities: Vec::new(),
            confidence_min: 50,
            action: Some(Action::Mask),
            actions: BTreeMap::new(),
        }
    }
}

/// One question for each text: not every version takes several.
pub(super) fn questions(settings: &PresidioSettings, about: &About<'_>, texts: &Texts) -> Vec<Question> {
    let ask = |(from, piece): (usize, &Piece)| {
        let mut body = json!({
            "text": piece.text,
            "language": settings.language,
            "score_threshold": f64::from(settings.confidence_min) / 100.0,
            "correlation_id": about.call,
        });
        if !settings.entities.is_empty() {
            body["entities"] = settings.entities.clone().into();
        }
        Question { body: body.to_string().into(), from, count: 1 }
    };
    texts.pieces().iter().enumerate().map(ask).collect()
}

#[derive(Deserialize)]
struct Entity {
    #[serde(rename = "entity_type")]
    kind: String,
    start: usize,
    end: usize,
    score: f64,
}

pub(super) fn opinions(
    settings: &PresidioSettings,
    answer: &[u8],
    pieces: &[Piece],
) -> Result<Vec<Opinion>, Malformed> {
    let [piece] = pieces else { return Err(Malformed("it is about one text")) };
    let entities: Vec<Entity> =
        serde_json::from_slice(answer).map_err(|_| Malformed("it is no list of what was found"))?;
    let found = entities.into_iter().filter(|one| percent(one.score) >= settings.confidence_min);
    let found = found.filter_map(|one| {
        let action = settings.actions.get(&one.kind).copied().unwrap_or(settings.action)?;
        let (start, end, confidence) = (one.start, one.end, percent(one.score));
        Some(Found { start, end, kind: word(&one.kind), action, instead: None, confidence })
    });
    let places = places(&piece.text, found.collect())?;
    Ok(vec![if places.is_empty() {
        Opinion::PASS
    } else {
        Opinion { verdict: Verdict::Change(places), ..Opinion::PASS }
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_dealt_with_by_its_kind_and_only_if_it_is_sure_enough() {
        let settings = PresidioSettings {
            actions: BTreeMap::from([("US_SSN".to_owned(), Some(Action::Block)), ("NRP".to_owned(), None)]),
            confidence_min: 60,
            ..PresidioSettings::default()
        };
        let texts = Texts::of("[\"é ann 123\"]".as_bytes(), &[], 100).unwrap();
        let answer = r#"[{"entity_type":"PERSON","start":2,"end":5,"score":0.85,"analysis_explanation":null},
            {"entity_type":"US_SSN","start":6,"end":9,"score":1.0},{"entity_type":"URL","start":2,"end":5,"score":0.5},
            {"entity_type":"NRP","start":2,"end":5,"score":1}]"#;
        let said = opinions(&settings, answer.as_bytes(), texts.pieces()).unwrap();
        let Verdict::Change(places) = &said[0].verdict else { panic!("{said:?}") };
        let seen: Vec<_> =
            places.iter().map(|one| (one.range.clone(), &*one.kind, one.action, one.confidence)).collect();
        assert_eq!(seen, [(3..6, "PERSON", Action::Mask, 85), (7..10, "US_SSN", Action::Block, 100)]);
        assert_eq!(opinions(&settings, b"[]", texts.pieces()).unwrap(), [Opinion::PASS]);
        assert!(opinions(&settings, br#"{"error":"x"}"#, texts.pieces()).is_err());
    }
}
