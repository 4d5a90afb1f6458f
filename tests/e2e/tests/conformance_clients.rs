//! The client scenarios of the official conformance runner: the gateway, driven by a small client of either era
//! (`src/bin/conformance-client.rs`), is the client under test. Every scenario that a runner lists stands in the table
//! below, with the reason where it is not run; one that is missing, or that does not do what the table says, fails.

#![allow(clippy::expect_used, reason = "a test fails loudly")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tollgate_e2e::places::{built, node, npm};

/// What becomes of a scenario.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scenario {
    /// It passes in these revisions, with a modern and with a legacy client at the gateway.
    Passes(&'static [&'static str]),
    /// It passes with a legacy client; for a modern one it is impossible, for this reason.
    PassesForLegacy(&'static [&'static str], &'static str),
    /// It is not run, for this reason.
    Not(&'static str),
}

const NO_OAUTH: Scenario = Scenario::Not("the gateway has no OAuth client yet");
const NO_SKILLS: Scenario = Scenario::Not("the gateway does not carry the skills extension");

/// Every scenario, by the beginning of its name.
const SCENARIOS: [(&str, Scenario); 13] = [
    ("initialize", Scenario::Passes(&["2025-06-18", "2025-11-25"])),
    ("tools_call", Scenario::Passes(&["2025-06-18", "2025-11-25", "2026-07-28"])),
    (
        "elicitation-sep1034-client-defaults",
        Scenario::PassesForLegacy(
            &["2025-11-25"],
            "the scenario's server asks outside its call, on the stream for what belongs to no request",
        ),
    ),
    ("sse-retry", Scenario::Passes(&["2025-11-25"])),
    ("request-metadata", Scenario::Passes(&["2026-07-28"])),
    ("sep-2322-client-request-state", Scenario::Passes(&["2026-07-28"])),
    ("http-standard-headers", Scenario::Passes(&["2026-07-28"])),
    ("http-custom-headers", Scenario::Passes(&["2026-07-28"])),
    ("http-invalid-tool-headers", Scenario::Passes(&["2026-07-28"])),
    ("json-schema-ref-no-deref", Scenario::Passes(&["2026-07-28"])),
    ("json-schema-2020-12-preservation", Scenario::Passes(&["2025-11-25", "2026-07-28"])),
    ("auth/", NO_OAUTH),
    ("sep-2640-client-", NO_SKILLS),
];

#[tokio::test]
async fn the_newest_client_scenarios_pass() {
    run_all("conformance-next", true).await;
}

#[tokio::test]
async fn the_stable_client_scenarios_pass() {
    run_all("conformance-stable", false).await;
}

/// Runs what a runner lists. `modern` says whether it knows the newest revision.
async fn run_all(package: &str, modern: bool) {
    let listed = output(package, &["list", "--client"], "").await;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut wrong = String::new();
    let mut used = BTreeSet::new();
    for line in listed.lines().filter_map(|line| line.trim().strip_prefix("- ")) {
        let (scenario, revisions) = line.split_once(" [").unwrap_or((line, ""));
        let known = SCENARIOS.iter().find(|(name, _)| {
            scenario == *name || ((name.ends_with('/') || name.ends_with('-')) && scenario.starts_with(name))
        });
        let Some((name, what)) = known else {
            let _ = writeln!(wrong, "{line} is new");
            continue;
        };
        used.insert(*name);
        let (in_revisions, eras): (&[&str], &[&str]) = match what {
            Scenario::Passes(in_revisions) => (in_revisions, &["modern", "legacy"]),
            Scenario::PassesForLegacy(in_revisions, _) => (in_revisions, &["legacy"]),
            Scenario::Not(_) => continue,
        };
        for revision in in_revisions.iter().filter(|revision| modern || **revision != "2026-07-28") {
            if !revisions.contains(revision) {
                let _ = writeln!(wrong, "{scenario} is no longer of {revision}");
            }
            for era in eras {
                let ran = scenario_with(package, scenario, revision, era).await;
                if !ran.status.success() {
                    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
                    let heard = String::from_utf8_lossy(&ran.stderr).into_owned();
                    let _ = writeln!(wrong, "{scenario} of {revision} with a {era} client:\n{said}\n{heard}");
                }
            }
        }
    }
    if modern {
        for (name, _) in SCENARIOS.iter().filter(|(name, _)| !used.contains(name)) {
            let _ = writeln!(wrong, "{name} is not listed");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

async fn scenario_with(package: &str, scenario: &str, revision: &str, era: &str) -> Output {
    let program = built("conformance-client");
    let mut args = vec!["client", "--command", &program, "--scenario", scenario];
    args.extend(["--spec-version", revision]);
    output(package, &args, era).await
}

async fn output(package: &str, args: &[&str], era: &str) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = Command::new(node())
        .arg(npm(&format!("{package}/dist/index.js")))
        .args(args)
        .current_dir(folder.path())
        .env("NO_COLOR", "1")
        .env("TOLLGATE_CLIENT_ERA", era)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_mins(3), program).await;
    output.expect("the runner ends in time").expect("the runner starts")
}
