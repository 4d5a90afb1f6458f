//! The official conformance runner against the reference server, without the gateway and through it: whatever the
//! server passes by itself it passes through the gateway.

#![allow(clippy::expect_used, reason = "a test fails loudly")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tollgate_e2e::gateway::{Gateway, servers};
use tollgate_e2e::places::{node, npm, peer, script};
use tollgate_e2e::samples::listening;

/// One way to run the runner.
#[derive(Clone, Copy)]
struct Suite {
    /// What a reader calls it.
    name: &'static str,
    /// The npm package.
    package: &'static str,
    args: &'static [&'static str],
}

const STABLE: Suite = Suite { name: "stable", package: "conformance-stable", args: &[] };
const LEGACY: Suite =
    Suite { name: "2025-11-25", package: "conformance-next", args: &["--requirements", "2025-11-25"] };
const MODERN: Suite =
    Suite { name: "2026-07-28", package: "conformance-next", args: &["--requirements", "2026-07-28"] };

/// Scenarios of optional extensions and those that the suite itself does not score yet: they are run, and what the
/// reference server passes counts, but it need not pass them.
const OPTIONAL: [&str; 3] = ["tasks-", "http-custom-header-server-validation", "json-schema-2020-12"];

/// Its second check applies only to servers that answer a short call by a stream. The reference server does, the gateway
/// answers as plain JSON what needs no stream, and the specification leaves that to each.
const STREAMS_OPTIONAL: &str = "server-sse-multiple-streams";

/// What these check is how the reference server itself asks or refuses in the modern era. A legacy server does it in its
/// own way, whoever stands in front of it.
const NOT_OF_LEGACY_SERVERS: [(&str, &str); 4] = [
    ("server-stateless", "it has no code of its own for a capability that the client lacks"),
    ("input-required-result-basic-elicitation", "its requests have no keys that it chose"),
    ("input-required-result-multiple-input-requests", "it waits for one answer before it asks the next"),
    ("input-required-result-ignore-extra-params", "it cannot be answered before it asks"),
];

/// Passed and failed checks by scenario.
type Verdicts = BTreeMap<String, (u32, u32)>;

#[tokio::test]
async fn the_stable_suite_passes_through() {
    compare(STABLE, "http", "both").await;
}

#[tokio::test]
async fn the_requirements_of_2025_11_25_pass_through() {
    compare(LEGACY, "http", "both").await;
}

#[tokio::test]
async fn the_requirements_of_2026_07_28_pass_through() {
    compare(MODERN, "http", "both").await;
}

#[tokio::test]
async fn the_requirements_of_2025_11_25_pass_through_to_a_modern_server() {
    compare(LEGACY, "http", "modern").await;
}

#[tokio::test]
async fn the_requirements_of_2026_07_28_pass_through_to_a_legacy_server() {
    compare(MODERN, "http", "legacy").await;
}

#[tokio::test]
async fn the_requirements_of_2025_11_25_pass_through_to_a_child() {
    compare(LEGACY, "stdio", "both").await;
}

#[tokio::test]
async fn the_requirements_of_2026_07_28_pass_through_to_a_child() {
    compare(MODERN, "stdio", "both").await;
}

/// The scenarios of the tasks extension, against a server that has all that they ask for: without the gateway and
/// through it, all of them pass.
#[tokio::test]
async fn the_tasks_of_the_extension_pass_through() {
    let (_server, url) = listening(&[&node(), &script("servers/tasks.mjs")]).await;
    let gateway = Gateway::start(&servers([("tasks", json!({ "url": url }))])).await;
    for url in [url, format!("http://{}/mcp/tasks", gateway.listen)] {
        let (verdicts, output) = run(MODERN, &url).await;
        let tasks: Verdicts =
            verdicts.into_iter().filter(|(scenario, _)| scenario.starts_with("tasks-")).collect();
        let (passed, failed) =
            tasks.values().fold((0, 0), |(p, f), (passed, failed)| (p + passed, f + failed));
        assert!(passed >= 40 && failed == 0, "{url}: {tasks:?}\n{output}");
    }
}

/// Runs a suite against the reference server itself and against the gateway in front of one that is reached and speaks
/// as told.
async fn compare(suite: Suite, transport: &str, era: &str) {
    let (_reference, url) = reference("both").await;
    let (direct, output) = run(suite, &url).await;
    for (scenario, (_, failed)) in &direct {
        let optional = OPTIONAL.iter().any(|prefix| scenario.starts_with(prefix));
        assert!(*failed == 0 || optional, "the reference server itself fails {scenario}:\n{output}");
    }

    let (_behind, entry) = behind(transport, era).await;
    let gateway = Gateway::start(&servers([("reference", entry)])).await;
    let (through, output) = run(suite, &format!("http://{}/mcp/reference", gateway.listen)).await;

    let mut wrong = String::new();
    for (scenario, (passed, failed)) in &direct {
        if *failed > 0 {
            continue;
        }
        let (through_passed, through_failed) = through.get(scenario).copied().unwrap_or_default();
        if era == "legacy" && NOT_OF_LEGACY_SERVERS.iter().any(|(name, _)| name == scenario) {
            continue;
        }
        let checks = if scenario == STREAMS_OPTIONAL { 1 } else { *passed };
        if through_failed > 0 || through_passed < checks {
            let _ = writeln!(
                wrong,
                "{scenario}: {passed} passed without the gateway; {through_passed} passed and {through_failed} failed through it"
            );
        }
    }
    assert!(wrong.is_empty(), "{} to {era} over {transport}\n{wrong}\n{output}", suite.name);
}

/// Starts a reference server over HTTP.
async fn reference(era: &str) -> (Child, String) {
    listening(&[&peer("reference-server"), "--http", "127.0.0.1:0", "--era", era]).await
}

/// The server behind the gateway, and its entry in the configuration.
async fn behind(transport: &str, era: &str) -> (Option<Child>, Value) {
    if transport == "stdio" {
        let entry = json!({ "command": peer("reference-server"), "args": ["--stdio", "--era", era] });
        return (None, entry);
    }
    let (child, url) = reference(era).await;
    (Some(child), json!({ "url": url }))
}

/// Runs a suite and reads its summary: lines of `✓ scenario: 2 passed, 0 failed`.
async fn run(suite: Suite, url: &str) -> (Verdicts, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = Command::new(node())
        .arg(npm(&format!("{}/dist/index.js", suite.package)))
        .args(["server", "--url", url])
        .args(suite.args)
        .current_dir(folder.path())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output =
        tokio::time::timeout(Duration::from_mins(5), program).await.expect("the runner ends in time");
    let output = output.expect("the runner starts");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let (_, summary) = text.split_once("=== SUMMARY ===").unwrap_or_else(|| panic!("no summary:\n{text}"));
    let verdicts: Verdicts = summary.lines().filter_map(verdict).collect();
    assert!(verdicts.len() > 10, "a summary with scenarios:\n{text}");
    (verdicts, text)
}

fn verdict(line: &str) -> Option<(String, (u32, u32))> {
    let (scenario, figures) =
        line.strip_prefix('✓').or_else(|| line.strip_prefix('✗'))?.trim().rsplit_once(": ")?;
    let (passed, failed) = figures.split_once(" passed, ")?;
    let failed = failed.split_once(" failed")?.0;
    Some((scenario.to_owned(), (passed.parse().ok()?, failed.parse().ok()?)))
}
