//! The OpenAPI document is kept in the repository.

#[test]
fn the_document_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.json");
    let made = tollgate_admin::openapi_json();
    if std::env::var_os("TOLLGATE_REGENERATE").is_some() {
        std::fs::write(path, &made).expect("written");
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/reference/openapi.json is stale: run the tests once with TOLLGATE_REGENERATE=1"
    );
    let document: serde_json::Value = serde_json::from_str(&made).expect("JSON");
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
}
