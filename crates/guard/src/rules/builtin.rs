//! The phrases that are built in.

use std::sync::LazyLock;

use serde::Deserialize;

use super::phrase::Phrase;
use super::settings::FileRule;
use crate::rule::{Family, Rule};

/// The files: what is said in English, and in other languages. JSON is YAML too, and is read without more than this crate has.
const FILES: [&str; 2] = [include_str!("injection.json"), include_str!("languages.json")];

#[derive(Deserialize)]
struct Rules {
    rules: Vec<FileRule>,
}

/// All of them, each of the rule that is built in under its id.
pub(crate) static PHRASES: LazyLock<Vec<Phrase>> = LazyLock::new(|| {
    // A test sees to it that they can be read.
    let rules = FILES.iter().filter_map(|file| serde_json::from_str::<Rules>(file).ok());
    let rules: Vec<FileRule> = rules.flat_map(|file| file.rules).collect();
    let of = |file: &FileRule| {
        let id = format!("{}.{}", Family::Injection.as_str(), file.id);
        let rule = Rule::of_id(&id);
        file.phrases.iter().filter_map(move |phrase| Some(Phrase::new(rule?, phrase))).collect::<Vec<_>>()
    };
    rules.iter().flat_map(of).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_a_file_of_rules_that_finds_what_it_says() {
        let files = FILES.map(|file| serde_json::from_str::<Rules>(file).unwrap().rules);
        let phrases: usize = files.iter().flatten().map(|rule| rule.phrases.len()).sum();
        assert!(phrases == PHRASES.len() && phrases > 20, "{phrases}");
        for rule in files.into_iter().flatten() {
            let pattern = rule.pattern().unwrap();
            assert!(!rule.examples.matches.is_empty() && !rule.examples.passes.is_empty());
            assert_eq!(rule.examine(&pattern), [], "{}", rule.id);
        }
    }
}
