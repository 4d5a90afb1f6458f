//! `tollgate guard test`: rules of files, held against their own examples and tried on a text.

use serde_json::{Value, json};

use crate::support::{Folder, run, stderr, stdout};

const RULES: &str = r"
rules:
  - id: project
    severity: high
    expressions: ['\bPRJ-[0-9]{4}\b']
    words: [project]
    examples:
      match: ['our project PRJ-1234']
      pass: ['PRJ-1234', 'project PRJ-12345']
  - id: hurry
    family: injection
    phrases:
      - confidence: 60
        first: [you, please]
        then: [{ within: 3, words: [must, should] }, { words: ['hurry*'] }]
        stronger: { words: [secretly], by: 20 }
    examples:
      match: ['You really must hurry up']
      pass: ['You must. Hurry!', 'they must hurry']
";

#[test]
fn rules_that_keep_to_their_examples_are_good_and_can_be_tried() {
    let folder = Folder::new();
    let rules = folder.write("rules.yaml", RULES);
    let output = run(&["guard", "test", &rules]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("2 rules keep to their 6 examples"), "{}", stdout(&output));
    let text = "Project é PRJ-0001: please, you should hurrying";
    let output = run(&["guard", "test", &rules, "--json", "--text", text]);
    let said: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(
        said["found"],
        json!([
            {"rule": "own.project", "severity": "high", "confidence": 90, "start": 11, "end": 19, "text": "PRJ-0001"},
            {"rule": "own.hurry", "severity": "medium", "confidence": 60, "start": 21, "end": 48, "text": "please, you should hurrying"},
        ])
    );
    let file = folder.write("text.txt", "secretly, you must hurry");
    let output = run(&["guard", "test", &rules, "--text-file", &file]);
    assert!(stdout(&output).contains("own.hurry  medium  80%"), "{}", stdout(&output));
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_line() {
    let folder = Folder::new();
    for (rules, said) in [
        ("rules: []", "there are no rules"),
        ("rules: [{ id: x }]", "neither `expressions` nor `phrases`"),
        ("rules: [{ id: 'x y', expressions: [a] }]", "a rule needs a name"),
        ("rules: [{ expressions: [a] }]", "a rule needs a name"),
        ("rules: [{ id: x, expressions: ['('] }]", "cannot be used"),
        ("rules: [{ id: x, expressions: ['a*'] }]", "matches the empty text"),
        ("rules: [{ id: x, expressions: ['(?:a{1000}){1000}'] }]", "size limit"),
        ("rules: [{ id: x, expression: a }]", "did you mean `expressions`?"),
        ("rules: [{ id: x, expressions: [a], severity: worst }]", "severity"),
        ("rules: [{ id: x, expressions: [a], action: erase }]", "action"),
        ("rules: [{ id: x, phrases: [{ confidence: 60, first: [] }] }]", "no words in one of its places"),
        ("rules: [{ id: x, phrases: [{ first: [a], then: [{ words: ['*'] }] }] }]", "a word is empty"),
        (
            "rules: [{ id: x, expressions: [abc], examples: { match: [abd] } }]",
            "finds nothing in its example",
        ),
        (
            "rules: [{ id: x, expressions: [abc], examples: { pass: [abc] } }]",
            "finds something in its example",
        ),
        ("rules: [{ id: x, expressions: [a] }, { id: x, expressions: [b] }]", "there is a rule `x` already"),
    ] {
        let file = folder.write("rules.yaml", rules);
        let output = run(&["guard", "test", &file]);
        let told = stderr(&output);
        assert!(!output.status.success(), "{rules}");
        assert!(told.contains(said) && told.contains("rules.yaml:1:"), "{rules}: {told}");
    }
    let (one, other) = (folder.write("one.yaml", RULES), folder.write("other.yaml", RULES));
    let output = run(&["guard", "test", &one, &other]);
    assert!(
        stderr(&output).contains("other.yaml:3: there is a rule `project` already"),
        "{}",
        stderr(&output)
    );
}

/// What is built in is written in the same format.
#[test]
fn the_phrases_that_are_built_in_are_such_a_file() {
    for file in ["injection.json", "languages.json"] {
        let file = format!("{}/../guard/src/rules/{file}", env!("CARGO_MANIFEST_DIR"));
        let output = run(&["guard", "test", &file]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stdout(&output).contains("3 rules keep to their"), "{}", stdout(&output));
    }
}
