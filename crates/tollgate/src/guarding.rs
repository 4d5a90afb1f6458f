//! `tollgate guard test`: rules of files, held against their own examples and tried on a text.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};
use tollgate_guard::{RuleSet, Scanner};

use crate::cli::guard::{Guard, GuardTest};
use crate::config::rule_files::{self, Written};
use crate::exit::Failure;
use crate::out::{Printer, To, safe};
use crate::policy::setting::refuse;

/// The longest text that rules are tried on.
const TEXT_BYTES_MAX: u64 = 16 << 20;

pub(crate) fn run(command: &Guard) -> Result<(), Failure> {
    let Guard::Test(command) = command;
    test(command)
}

fn test(command: &GuardTest) -> Result<(), Failure> {
    let mut rules: Vec<Written> = Vec::new();
    let mut refused = None;
    for file in &command.files {
        match rule_files::load(file) {
            Ok(read) => rules.extend(read),
            Err(error) => refused = Some(refuse(file, &error)),
        }
    }
    if let Some(failure) = refused {
        return Err(failure);
    }
    for (at, one) in rules.iter().enumerate() {
        if let Some(other) = rules.iter().take(at).find(|other| other.rule.id == one.rule.id) {
            let place = format!("{}:{}", other.file.display(), other.line);
            let here = format!("{}:{}", one.file.display(), one.line);
            return Err(Failure::config(format!(
                "{here}: there is a rule `{}` already, at {place}",
                one.rule.id
            )));
        }
    }
    let text = match (&command.text, &command.text_file) {
        (Some(text), _) => Some(text.clone()),
        (None, Some(file)) => Some(read(file)?),
        (None, None) => None,
    };
    let found = text.as_ref().map(|text| finds(&rules, text));
    let examples: usize =
        rules.iter().map(|one| one.rule.examples.matches.len() + one.rule.examples.passes.len()).sum();
    let out = Printer::new(To::Out);
    if command.json {
        let mut said = json!({ "rules": rules.len(), "examples": examples });
        if let Some(found) = found {
            said["found"] = found.into();
        }
        out.line(said.to_string());
        return Ok(());
    }
    out.line(format!("{} rules keep to their {examples} examples", rules.len()));
    for one in rules.iter().filter(|one| one.rule.examples.matches.is_empty()) {
        out.line(format!(
            "{}:{}: `{}` has no example of what it finds",
            one.file.display(),
            one.line,
            one.rule.id
        ));
    }
    for one in found.unwrap_or_default() {
        let word = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        out.line(format!(
            "{}  {}  {}%  bytes {} to {}: {}",
            word("rule"),
            word("severity"),
            one["confidence"],
            one["start"],
            one["end"],
            safe(&word("text"))
        ));
    }
    Ok(())
}

/// What the rules find in a text.
fn finds(rules: &[Written], text: &str) -> Vec<Value> {
    let patterns = rules.iter().filter_map(|one| one.rule.pattern().ok()).collect();
    let scanner = Scanner::new(RuleSet::NONE, patterns);
    let mut found = Vec::new();
    scanner.scan(text, "", &mut found);
    let told = found.into_iter().map(|one| {
        json!({
            "rule": scanner.id(one.rule), "severity": scanner.severity(one.rule).as_str(),
            "confidence": one.confidence, "start": one.start, "end": one.end,
            "text": text.get(one.start..one.end),
        })
    });
    told.collect()
}

fn read(file: &Path) -> Result<String, Failure> {
    let fail = |why: String| Failure::config(format!("{}: {why}", file.display()));
    let mut text = String::new();
    let opened = File::open(file).map_err(|error| fail(error.to_string()))?;
    let read = opened.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| fail(error.to_string()))?;
    if text.len() as u64 > TEXT_BYTES_MAX {
        return Err(fail(format!("it is larger than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(text)
}
