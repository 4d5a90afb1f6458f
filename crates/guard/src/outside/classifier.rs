//! A service that classifies texts: a request by a template, and pointers to label and score in the answer.

use bytes::Bytes;
use serde_json::Value;

use super::answer::{Malformed, Opinion, Verdict, percent, word};
use super::question::Question;
use super::texts::{Piece, Texts};
use crate::action::Action;

/// What stands in a template for one text, and for all of them.
const TEXT: &str = "{{text}}";
const TEXTS: &str = "{{texts}}";

/// How a classifier is asked and understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassifierSettings {
    /// The request: JSON in which the text `{{text}}` stands for a text, or `{{texts}}` for a list of all.
    pub request: String,
    /// Where in the answer the list of the texts' results is, if it was asked about all at once (a JSON pointer).
    pub items: String,
    /// What becomes of a text, by what is said of it: the first rule that fits.
    pub rules: Vec<ClassifierRule>,
}

/// What becomes of a text of which this is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassifierRule {
    /// Its name, on record.
    pub name: String,
    /// Where the label is in what is said of a text (a JSON pointer), and which one fits.
    pub label: Option<(String, String)>,
    /// Where the score is: a number from 0 to 1, or a truth value.
    pub score: Option<String>,
    /// How high it has to be, in percent.
    pub score_min: u8,
    /// What becomes of the text.
    pub action: Action,
}

impl ClassifierSettings {
    /// What is wrong with them.
    ///
    /// # Errors
    /// The template is no JSON or has no place for a text, a pointer is none, or nothing says what is looked for.
    pub fn check(&self) -> Result<(), String> {
        let template: Value = serde_json::from_str(&self.request)
            .map_err(|error| format!("the template is no JSON: {error}"))?;
        let mut count = 0;
        fill(&template, &mut |_| {
            count += 1;
            Value::Null
        });
        if count != 1 {
            return Err(format!("the template has to hold one text `{TEXT}` or `{TEXTS}`"));
        }
        if self.rules.is_empty() {
            return Err("nothing says what becomes of a text".to_owned());
        }
        let labels = self.rules.iter().filter_map(|rule| rule.label.as_ref().map(|(at, _)| at));
        let scores = self.rules.iter().filter_map(|rule| rule.score.as_ref());
        for pointer in labels.chain(scores).chain([&self.items]) {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                return Err(format!("`{pointer}` is no JSON pointer: it begins with `/`"));
            }
        }
        match self.rules.iter().find(|rule| rule.label.is_none() && rule.score.is_none()) {
            Some(rule) => Err(format!("`{}` fits everything: it needs a label or a score", rule.name)),
            None => Ok(()),
        }
    }

    fn is_of_all(&self) -> bool {
        self.request.contains(TEXTS)
    }
}

/// The template with its place filled.
fn fill(template: &Value, with: &mut dyn FnMut(&str) -> Value) -> Value {
    match template {
        Value::String(text) if text == TEXT || text == TEXTS => with(text),
        Value::Array(all) => all.iter().map(|one| fill(one, with)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), fill(value, with))).collect()
        }
        other => other.clone(),
    }
}

pub(super) fn questions(settings: &ClassifierSettings, texts: &Texts) -> Vec<Question> {
    let Ok(template) = serde_json::from_str::<Value>(&settings.request) else { return Vec::new() };
    let pieces = texts.pieces();
    let body = |value: Value| Bytes::from(fill(&template, &mut |_| value.clone()).to_string());
    if settings.is_of_all() {
        let all = pieces.iter().map(|piece| Value::from(piece.text.as_str())).collect();
        return vec![Question { body: body(all), from: 0, count: pieces.len() }];
    }
    let one =
        |(from, piece): (usize, &Piece)| Question { body: body(piece.text.as_str().into()), from, count: 1 };
    pieces.iter().enumerate().map(one).collect()
}

pub(super) fn opinions(
    settings: &ClassifierSettings,
    answer: &[u8],
    pieces: &[Piece],
) -> Result<Vec<Opinion>, Malformed> {
    let answer: Value = serde_json::from_slice(answer).map_err(|_| Malformed("it is no JSON"))?;
    if !settings.is_of_all() {
        return pieces.iter().map(|_| opinion(settings, &answer)).collect();
    }
    let list = answer.pointer(&settings.items).and_then(Value::as_array);
    let list = list.ok_or(Malformed("it has no list of results where one should be"))?;
    list.iter().map(|said| opinion(settings, said)).collect()
}

fn opinion(settings: &ClassifierSettings, said: &Value) -> Result<Opinion, Malformed> {
    for rule in &settings.rules {
        if let Some((at, wanted)) = &rule.label {
            let label = said.pointer(at).and_then(Value::as_str);
            if label.ok_or(Malformed("it has no label where one should be"))? != wanted {
                continue;
            }
        }
        let confidence = match &rule.score {
            None => 100,
            Some(at) => match said.pointer(at) {
                Some(Value::Bool(is)) => u8::from(*is) * 100,
                Some(Value::Number(score)) => score.as_f64().map_or(0, percent),
                _ => return Err(Malformed("it has no score where one should be")),
            },
        };
        if confidence >= rule.score_min {
            let verdict = match rule.action {
                Action::Block => Verdict::Reject,
                Action::Hold => Verdict::Hold,
                action => Verdict::Whole(action),
            };
            return Ok(Opinion { verdict, reason: Some(word(&rule.name)), confidence });
        }
    }
    Ok(Opinion::PASS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, label: Option<(&str, &str)>, score: Option<&str>, action: Action) -> ClassifierRule {
        let label = label.map(|(at, wanted)| (at.to_owned(), wanted.to_owned()));
        ClassifierRule {
            name: name.to_owned(),
            label,
            score: score.map(str::to_owned),
            score_min: 80,
            action,
        }
    }

    #[test]
    fn one_request_for_all_texts_and_the_first_rule_that_fits() {
        let settings = ClassifierSettings {
            request: r#"{"inputs":"{{texts}}","options":{"wait":true}}"#.to_owned(),
            items: String::new(),
            rules: vec![
                rule("injection", Some(("/0/label", "INJECTION")), Some("/0/score"), Action::Block),
                rule("doubt", Some(("/0/label", "MAYBE")), None, Action::Fence),
            ],
        };
        settings.check().unwrap();
        let texts = Texts::of(br#"["a","b","c\""]"#, &[], 100).unwrap();
        let asked = questions(&settings, &texts);
        assert_eq!(asked.len(), 1);
        let body: Value = serde_json::from_slice(&asked[0].body).unwrap();
        assert_eq!(body, serde_json::json!({"inputs": ["a", "b", "c\""], "options": {"wait": true}}));
        let answer = r#"[[{"label":"INJECTION","score":0.99}],[{"label":"INJECTION","score":0.5}],[{"label":"MAYBE"}]]"#;
        let said = opinions(&settings, answer.as_bytes(), texts.pieces()).unwrap();
        let verdicts: Vec<&Verdict> = said.iter().map(|one| &one.verdict).collect();
        assert_eq!(verdicts, [&Verdict::Reject, &Verdict::Pass, &Verdict::Whole(Action::Fence)]);
        assert_eq!((said[0].confidence, said[0].reason.as_deref()), (99, Some("injection")));
        for broken in ["{}", r#"[[{"score":1}],[],[]]"#, r#"[[{"label":"INJECTION"}]]"#] {
            assert!(opinions(&settings, broken.as_bytes(), texts.pieces()).is_err(), "{broken}");
        }
    }

    #[test]
    fn one_request_for_each_text_and_scores_by_their_names() {
        let settings = ClassifierSettings {
            request: r#"{"input":"{{text}}"}"#.to_owned(),
            items: String::new(),
            rules: vec![
                rule("violence", None, Some("/results/0/scores/violence"), Action::Drop),
                rule("flagged", None, Some("/results/0/flagged"), Action::Report),
            ],
        };
        let texts = Texts::of(br#"["a","b"]"#, &[], 100).unwrap();
        let asked = questions(&settings, &texts);
        assert_eq!(asked.iter().map(|one| (one.from, one.count)).collect::<Vec<_>>(), [(0, 1), (1, 1)]);
        let answer = br#"{"results":[{"scores":{"violence":0.1},"flagged":true}]}"#;
        let said = opinions(&settings, answer, &texts.pieces()[..1]).unwrap();
        assert_eq!(said[0].verdict, Verdict::Whole(Action::Report));
    }

    #[test]
    fn what_cannot_work_is_told() {
        let good = ClassifierSettings {
            request: "\"{{text}}\"".to_owned(),
            items: String::new(),
            rules: vec![rule("x", None, Some("/s"), Action::Block)],
        };
        good.check().unwrap();
        for request in ["{", "{}", r#"["{{text}}","{{text}}"]"#, r#""a {{text}}""#] {
            assert!(ClassifierSettings { request: request.to_owned(), ..good.clone() }.check().is_err());
        }
        for rules in [
            vec![],
            vec![rule("x", None, None, Action::Block)],
            vec![rule("x", None, Some("s"), Action::Block)],
        ] {
            assert!(ClassifierSettings { rules, ..good.clone() }.check().is_err());
        }
    }
}
