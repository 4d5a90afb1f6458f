//! The published schema of an entry.

use std::fs;
use std::path::Path;

use tollgate_ledger::Entry;

/// Set `TOLLGATE_REGENERATE=1` to write the file anew.
#[test]
fn the_published_schema_is_that_of_the_type() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/ledger-entry.schema.json");
    let schema = schemars::schema_for!(Entry<'static>);
    let content = format!("{}\n", serde_json::to_string_pretty(&schema).expect("JSON"));
    if std::env::var_os("TOLLGATE_REGENERATE").is_some() {
        fs::write(&path, &content).expect("the file");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == content, "it is not up to date: run this test with TOLLGATE_REGENERATE=1");
}
