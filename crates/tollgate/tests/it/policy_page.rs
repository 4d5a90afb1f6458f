//! `docs/reference/policy.md` is written by hand; what it states of the code is compared with the code.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tollgate_catalog::Known;
use tollgate_model::TenantId;
use tollgate_policy::{ANNOTATIONS, Mode, PolicySet, Source, Sources};

use crate::support::{run, stdout};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page() -> String {
    std::fs::read_to_string(repository().join("docs/reference/policy.md")).expect("the page")
}

/// The rows of the tables of a section, each as its cells.
fn rows(title: &str) -> Vec<Vec<String>> {
    let page = page();
    let section = page.split("\n## ").find(|section| section.starts_with(title)).expect("the section");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// The first words in code of the rows.
fn words(title: &str) -> BTreeSet<String> {
    rows(title).iter().filter_map(|row| row[0].split('`').nth(1).map(ToOwned::to_owned)).collect()
}

/// The schema of an example that has a toolset.
fn schema() -> String {
    let at = |name: &str| repository().join("examples/policies/developer-platform").join(name);
    let (config, catalog) = (at("tollgate.yaml"), at("catalog.json"));
    stdout(&run(&[
        "policy",
        "schema",
        "-c",
        &config.to_string_lossy(),
        "--catalog",
        &catalog.to_string_lossy(),
    ]))
}

#[test]
fn the_page_names_every_entity_type_and_action() {
    let schema = schema();
    let entities: BTreeSet<String> = schema
        .lines()
        .filter_map(|line| line.strip_prefix("entity ")?.split([' ', ';']).next().map(ToOwned::to_owned))
        .collect();
    let named: BTreeSet<String> = words("Who").into_iter().chain(words("What")).collect();
    let (actions, kinds): (BTreeSet<String>, BTreeSet<String>) =
        named.into_iter().partition(|word| word.starts_with("Action::"));
    assert_eq!(kinds, entities);

    let general = |action: &str| match action.split_once(':') {
        Some(("risk", _)) => "risk:WORD".to_owned(),
        Some((group, _)) => format!("{group}:NAME"),
        None if action.contains("__") => "server__native".to_owned(),
        None => action.to_owned(),
    };
    let known: BTreeSet<String> = schema
        .lines()
        .filter_map(|line| line.strip_prefix("action \"")?.split('"').next())
        .map(|action| format!("Action::\"{}\"", general(action)))
        .collect();
    assert_eq!(actions, known);
}

#[test]
fn the_page_names_every_circumstance_with_its_type() {
    let schema = schema();
    let env = schema.split("env: {").nth(1).and_then(|rest| rest.split('}').next()).expect("context.env");
    let known: BTreeSet<(String, String)> = env
        .lines()
        .filter_map(|line| line.trim().trim_end_matches(',').split_once(": "))
        .map(|(name, kind)| (name.to_owned(), kind.trim_start_matches("__cedar::").to_owned()))
        .collect();
    let named: BTreeSet<(String, String)> = rows("Circumstances")
        .into_iter()
        .map(|row| (row[0].trim_matches('`').to_owned(), row[1].clone()))
        .collect();
    assert_eq!(named, known);
}

#[test]
fn the_page_names_every_annotation_where_it_may_stand() {
    let known = Known {
        tenant: TenantId::default(),
        servers: Vec::new(),
        toolsets: Vec::new(),
        redactions: vec!["x".into()],
    };
    let is_taken = |rule: String| {
        let source = Source { path: Arc::from("a.cedar"), text: Arc::from(rule) };
        let sources = Sources { tenant: vec![source], ..Sources::default() };
        PolicySet::compile(&sources, &known, None, Mode::New).is_ok()
    };
    let mut named = BTreeSet::new();
    for row in rows("Annotations") {
        let annotation =
            row[0].trim_matches('`').replace('…', if row[0].contains("record") { "full" } else { "x" });
        named.extend(annotation.split('(').next().map(|name| name.trim_start_matches('@').to_owned()));
        for effect in ["permit", "forbid"] {
            let may = row[1] == "both" || row[1] == format!("{effect}s");
            let rule = format!("{annotation} {effect} (principal, action, resource);");
            assert_eq!(is_taken(rule.clone()), may, "{rule}");
        }
    }
    assert_eq!(named, ANNOTATIONS.into_iter().map(ToOwned::to_owned).collect());
}

#[test]
fn the_pages_own_cases_pass() {
    let page = page();
    let cases = page.split("```yaml\n").find(|block| block.contains("cases:")).expect("the cases");
    let cases = cases.split("\n```").next().expect("their end");
    let folder = crate::support::Folder::new();
    let file = folder.write("cases.yaml", cases);
    let at = |name: &str| repository().join("examples/policies/regulated-bank").join(name);
    let (config, catalog) = (at("tollgate.yaml"), at("catalog.json"));
    let (config, catalog) = (config.to_string_lossy(), catalog.to_string_lossy());
    let output = run(&["policy", "test", "-c", &config, "--catalog", &catalog, &file]);
    assert!(stdout(&output).ends_with("2 passed, 0 failed\n"), "{}", stdout(&output));
}
