//! What the documents say of this repository is there: files, links, headings, and the crates' rule of direction.

#![allow(clippy::expect_used, reason = "a test fails loudly")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("the crate lies in crates/").to_owned()
}

/// Every Markdown file at the top and under `docs/`.
fn documents() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.extend(fs::read_dir(root()).expect("a folder").map(|entry| entry.expect("an entry").path()));
    files.retain(|file| file.extension().is_some_and(|ending| ending == "md"));
    files.sort();
    files
}

/// The text outside of fenced blocks, line by line, with line numbers.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((number + 1, line));
        }
    }
    lines
}

/// The spans in backticks.
fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The targets of links.
fn links(line: &str) -> Vec<&str> {
    line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)).collect()
}

/// The anchors that GitHub makes of a document's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter_map(|(_, line)| {
        let heading = line.trim_start_matches('#');
        (heading.len() < line.len() && heading.starts_with(' ')).then(|| heading.trim().to_lowercase())
    });
    headings
        .map(|heading| {
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut dead = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).expect("UTF-8");
        for (number, line) in prose(&text) {
            for link in links(line) {
                if link.contains("://") || link.starts_with("mailto:") {
                    continue;
                }
                let (file, anchor) =
                    link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
                let folder = document.parent().expect("a folder");
                let target = if file.is_empty() { document.clone() } else { folder.join(file) };
                let found = match anchor {
                    None => target.exists(),
                    Some(anchor) => {
                        fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor))
                    }
                };
                if !found {
                    dead.push(format!("{}:{number}: {link}", document.display()));
                }
            }
        }
    }
    assert!(dead.is_empty(), "links that lead nowhere:\n{}", dead.join("\n"));
}

/// A span is taken for a path if it begins with a folder that lies at the top of the repository, or names a file there.
/// What is made by a build, or stands for many files, is not looked for.
#[test]
fn every_path_in_backticks_exists() {
    let root = root();
    let tops = ["crates", "dev", "docs", "examples", "tests", ".ci", ".cargo"];
    let mut missing = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).expect("UTF-8");
        for (number, line) in prose(&text) {
            for span in code_spans(line) {
                let path = span.split("::").next().unwrap_or(span);
                let inside = path.split_once('/').is_some_and(|(top, _)| tops.contains(&top));
                let at_top = !path.contains('/')
                    && [".md", ".toml", ".lock"].iter().any(|ending| path.ends_with(ending))
                    && !path.starts_with('.');
                if !(inside || at_top) || path.contains(['*', '{', '<', ' ', '…']) {
                    continue;
                }
                let beside = at_top && document.parent().is_some_and(|folder| folder.join(path).exists());
                if !beside && !root.join(path).exists() {
                    missing.push(format!("{}:{number}: {path}", document.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "files that are named but are not there:\n{}", missing.join("\n"));
}

/// A row of the table of crates.
#[derive(Debug)]
struct Row {
    may: BTreeSet<String>,
    never: BTreeSet<String>,
}

/// `docs/ARCHITECTURE.md` has the table `| crate | question | may import (of ours) | must never import |`, with names in
/// backticks: ours without their prefix, others as they are called.
fn table() -> BTreeMap<String, Row> {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("docs/ARCHITECTURE.md");
    let rows = text.lines().skip_while(|line| !line.starts_with("| crate | question |")).skip(2);
    let names = |cell: &str| code_spans(cell).map(ToOwned::to_owned).collect::<BTreeSet<String>>();
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
            assert_eq!(cells.len(), 4, "{line}");
            let name = names(cells[0]).pop_first().expect("a crate's name in backticks");
            (name, Row { may: names(cells[2]), never: names(cells[3]) })
        })
        .collect()
}

/// What each crate of the product depends on directly, tests apart. Ours are called without their prefix.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ours = |name: String| name.strip_prefix("tollgate-").map(ToOwned::to_owned).unwrap_or(name);
    let crates = root().canonicalize().expect("a path").join("crates");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .filter(|package| Path::new(&text(&package["manifest_path"])).starts_with(&crates))
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
            let real = dependencies.filter(|dependency| dependency["kind"] != "dev");
            (ours(text(&package["name"])), real.map(|dependency| ours(text(&dependency["name"]))).collect())
        })
        .collect()
}

/// Everything that a crate depends on through crates of ours.
fn reached(dependencies: &BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut left = vec![from];
    while let Some(name) = left.pop() {
        for dependency in dependencies.get(name).into_iter().flatten() {
            if reached.insert(dependency.clone()) {
                left.push(dependency);
            }
        }
    }
    reached
}

#[test]
fn crates_import_only_what_the_map_allows() {
    let (table, dependencies) = (table(), dependencies());
    let listed: BTreeSet<&String> = table.keys().collect();
    let there: BTreeSet<&String> = dependencies.keys().collect();
    assert_eq!(listed, there, "docs/ARCHITECTURE.md lists other crates than there are");
    for (name, row) in &table {
        let own = dependencies[name].iter().filter(|dependency| there.contains(dependency));
        let beyond: Vec<&String> = own.filter(|dependency| !row.may.contains(*dependency)).collect();
        assert!(beyond.is_empty(), "`{name}` imports {beyond:?}, which docs/ARCHITECTURE.md does not allow");
        let reached = reached(&dependencies, name);
        let forbidden: Vec<&String> = row.never.intersection(&reached).collect();
        assert!(
            forbidden.is_empty(),
            "`{name}` must never import {forbidden:?}, not even through another crate"
        );
    }
}
