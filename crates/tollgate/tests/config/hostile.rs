//! Whatever a file holds, reading it ends, and ends without a panic.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use tollgate::config::load;

const WORDS: [&str; 30] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\n",
    "  ",
    "- ",
    "\"",
    "'",
    "#",
    "&a ",
    "*a",
    "!!str ",
    "|",
    "servers",
    "toolsets",
    "command",
    "url",
    "env",
    "${A}",
    "${",
    "$${",
    "\\u00",
    "\u{feff}",
    "é",
    "tools",
    "mcpServers",
    "1e9",
];

fn read(content: &[u8], name: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(name);
    fs::write(&file, content).expect("a file");
    let env = BTreeMap::from([("A".to_owned(), "b: {".to_owned())]);
    match load(&file, &env) {
        Ok(config) => drop(config),
        Err(error) => {
            assert!(!error.problems.is_empty());
            assert!(!error.render(true).is_empty());
            assert!(error.to_json().is_object());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(content in prop::collection::vec(any::<u8>(), 0..200)) {
        read(&content, "c.yaml");
        read(&content, "c.json");
    }

    #[test]
    fn any_words(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..60)) {
        let content = words.concat();
        read(content.as_bytes(), "c.yaml");
        read(format!("{{{content}").as_bytes(), "c.json");
    }

    #[test]
    fn good_files_with_one_wound(at in 0usize..2000, byte: u8, which in 0usize..4) {
        let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/");
        let name = ["tollgate.yaml", "toolset.yaml", "claude-desktop.json", "vscode-mcp.json"][which];
        let mut content = fs::read(format!("{examples}{name}")).expect("an example");
        let at = at % content.len();
        content[at] = byte;
        read(&content, name);
        content.truncate(at);
        read(&content, name);
    }
}
