//! The examples are good, and the published schema and reference page are those of the types.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use tollgate::config::{
    Format, guard_rules_schema_json, load, policy_tests_schema_json, reference_md, schema_json,
};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn every_example_can_be_served() {
    let env = BTreeMap::from([("SEARCH_KEY".to_owned(), "k".to_owned())]);
    let mut seen = Vec::new();
    for entry in fs::read_dir(repository().join("examples")).expect("examples") {
        let path = entry.expect("an entry").path();
        if !matches!(path.extension().and_then(|ending| ending.to_str()), Some("yaml" | "json")) {
            continue;
        }
        let config = load(&path, &env).unwrap_or_else(|error| panic!("{}", error.render(false)));
        assert!(!config.servers.is_empty(), "{}", path.display());
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        seen.push((
            name,
            config.format,
            config.servers.len(),
            config.tenants.iter().map(|tenant| tenant.toolsets.len()).sum(),
        ));
    }
    seen.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(
        seen,
        [
            ("claude-desktop.json".to_owned(), Format::McpServers, 2, 0),
            ("tenants.yaml".to_owned(), Format::Tollgate, 3, 1),
            ("tollgate.yaml".to_owned(), Format::Tollgate, 3, 0),
            ("toolset.yaml".to_owned(), Format::Tollgate, 2, 2),
            ("vscode-mcp.json".to_owned(), Format::VsCode, 2, 0),
        ]
    );
}

/// Set `TOLLGATE_REGENERATE=1` to write the files anew.
#[test]
fn the_generated_reference_is_that_of_the_types() {
    let folder = repository().join("docs/reference");
    for (name, content) in [
        ("configuration.schema.json", schema_json()),
        ("configuration.md", reference_md()),
        ("policy-tests.schema.json", policy_tests_schema_json()),
        ("guard-rules.schema.json", guard_rules_schema_json()),
    ] {
        let path = folder.join(name);
        if std::env::var_os("TOLLGATE_REGENERATE").is_some() {
            fs::create_dir_all(&folder).expect("the folder");
            fs::write(&path, &content).expect("the file");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == content, "{name} is not up to date: run this test with TOLLGATE_REGENERATE=1");
    }
}

#[test]
fn the_schema_refuses_unknown_keys_everywhere() {
    for text in [schema_json(), policy_tests_schema_json()] {
        let schema: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let sections = schema["$defs"].as_object().expect("definitions").values().chain([&schema]);
        for section in sections.filter(|section| section["type"] == "object") {
            assert_eq!(section["additionalProperties"], false, "{section}");
            for (key, property) in section["properties"].as_object().expect("properties") {
                assert!(property["description"].is_string(), "`{key}` is not described");
            }
        }
    }
}
