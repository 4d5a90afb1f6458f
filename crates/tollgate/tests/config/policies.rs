//! Policies in a configuration: which files they are, and how they are named.

use tollgate::config::Policies;
use tollgate_model::TenantId;
use tollgate_policy::Source;

use super::{Bench, yaml};

const SERVER: &str = "servers: { a: { url: 'http://127.0.0.1:9/' } }\n";

fn named(sources: &[Source]) -> Vec<(&str, &str)> {
    sources.iter().map(|source| (&*source.path, &*source.text)).collect()
}

fn bench(policy: &str) -> Bench {
    yaml(&format!("{SERVER}environment: staging\n{policy}"))
}

#[test]
fn files_and_folders_are_read_in_order_and_each_once() {
    let bench = bench("policy: { files: [./one.cedar, policies/, one.cedar], operator: [op.cedar] }\n")
        .file("one.cedar", "\u{feff}// one")
        .file("op.cedar", "// op")
        .file("policies/b.cedar", "// b")
        .file("policies/a/z.cedar", "// z")
        .file("policies/README.md", "no policy")
        .file("policies/.hidden/copy.cedar", "// hidden")
        .file("policies/.swap.cedar", "// hidden");
    let config = bench.good("tollgate.yaml");
    assert_eq!(config.environment.as_deref(), Some("staging"));
    assert!(config.policies.are_configured);
    let sources = config.policies.of(&TenantId::default());
    assert_eq!(
        named(&sources.tenant),
        [("one.cedar", "// one"), ("policies/a/z.cedar", "// z"), ("policies/b.cedar", "// b")]
    );
    assert_eq!(named(&sources.operator), [("op.cedar", "// op")]);
    let other = config.policies.of(&TenantId::new("other"));
    assert_eq!((other.tenant.len(), named(&other.operator)), (0, vec![("op.cedar", "// op")]));
    // Files may come into a folder, so the folder is watched too.
    for watched in ["one.cedar", "policies", "policies/a", "policies/a/z.cedar"] {
        let path = bench.folder.path().join(watched);
        assert!(config.files.contains(&path), "{watched} is not watched: {:?}", config.files);
    }
}

#[test]
fn without_the_section_nothing_is_configured() {
    let config = yaml(SERVER).good("tollgate.yaml");
    let nothing = Policies { all_tenants: vec![TenantId::default()], ..Policies::default() };
    assert_eq!((config.policies, config.environment), (nothing, None));
    assert!(bench("policy: {}\n").good("tollgate.yaml").policies.are_configured);
}

#[test]
fn what_is_not_there_is_told_with_its_place() {
    let text = bench("policy:\n  files: [nowhere.cedar, bad.cedar]\n")
        .file("bad.cedar", b"\xff")
        .bad("tollgate.yaml");
    assert!(text.contains("tollgate.yaml:4:11: policy.files[0]: nowhere.cedar does not exist"), "{text}");
    assert!(text.contains("policy.files[1]: bad.cedar is not UTF-8"), "{text}");
}

#[test]
fn an_empty_folder_is_a_warning() {
    let bench = bench("policy: { files: [policies] }\n").file("policies/README.md", "x");
    let config = bench.good("tollgate.yaml");
    let warnings: Vec<String> =
        config.warnings.iter().map(|problem| bench.plain(&problem.to_string())).collect();
    assert_eq!(
        warnings,
        ["tollgate.yaml:3:19: policy.files[0]: no file in policies ends in `.cedar`"].map(String::from)
    );
}
