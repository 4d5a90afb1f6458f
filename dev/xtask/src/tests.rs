//! Everything that says whether the product works.

use std::path::Path;

use crate::setup;
use crate::steps::{Steps, cargo};

/// Installs, checks, builds and tests everything. A filter selects tests by name and leaves the rest as it is.
pub(crate) fn all(root: &Path, filter: Option<&str>) -> Result<(), String> {
    setup::install(root)?;
    let mut steps = Steps::default();
    steps.run("formatting", cargo(root, ["fmt", "--all", "--check"]));
    steps.run(
        "lints",
        cargo(root, ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
    );
    let mut documentation = cargo(root, ["doc", "--workspace", "--no-deps", "--locked"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    steps.run("documentation", documentation);

    let built =
        steps.run("the release binary", cargo(root, ["build", "--release", "--locked", "-p", "tollgate"]));
    let peers = ["build", "--locked", "-p", "tollgate-testkit", "-p", "tollgate-e2e", "--bins"];
    let peers = steps.run("the test peers", cargo(root, peers));

    let mut tests =
        cargo(root, ["test", "--workspace", "--exclude", "tollgate-e2e", "--no-fail-fast", "--locked"]);
    tests.args(filter);
    steps.tests("unit and integration tests", tests);

    // Without the binary every one of these would fail for the same reason.
    if built && peers {
        let mut tests = cargo(root, ["test", "-p", "tollgate-e2e", "--no-fail-fast", "--locked"]);
        tests.args(filter);
        steps.tests("end-to-end tests", tests);
    }
    steps.finish()
}

/// A quick answer for one crate, or for all of them without the end-to-end tests.
pub(crate) fn check(root: &Path, package: Option<&str>) -> Result<(), String> {
    let selected: Vec<&str> = match package {
        Some(package) => vec!["-p", package],
        None => vec!["--workspace", "--exclude", "tollgate-e2e"],
    };
    let mut steps = Steps::default();
    steps.run("formatting", cargo(root, ["fmt", "--all", "--check"]));
    let mut lints = cargo(root, ["clippy", "--all-targets"]);
    lints.args(&selected).args(["--", "-D", "warnings"]);
    steps.run("lints", lints);
    let mut tests = cargo(root, ["test", "--no-fail-fast"]);
    tests.args(&selected);
    steps.tests("tests", tests);
    steps.finish()
}
