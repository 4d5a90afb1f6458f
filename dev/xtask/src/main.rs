//! The chores of this repository, as one command: `cargo xtask <chore>`.
//!
//! | chore | what it does |
//! |---|---|
//! | `setup` | installs what the tests need into `target/testenv`, and says what it may not install |
//! | `test [FILTER]` | `setup`, formatting, lints, documentation, the release build and every test; prints counts |
//! | `check [CRATE]` | formatting, lints and tests of one crate (or of all but the end-to-end tests), for a quick answer |
//! | `gen` | writes the generated documents anew |
//! | `bench [ARGS]` | measures, see `dev/bench` |
//! | `soak [ARGS]` | the long runs whose short versions are in `test` |

mod setup;
mod steps;
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use steps::{Steps, cargo};

const USAGE: &str =
    "usage: cargo xtask setup | test [FILTER] | check [CRATE] | gen | bench [ARGS] | soak [ARGS]";

/// How long the load of `soak` lasts unless its arguments say otherwise.
const SOAK_MINUTES: &str = "10";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let chore = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let root = root();
    let done = match chore.as_str() {
        "setup" => setup::install(&root),
        "test" => tests::all(&root, rest.first().map(String::as_str)),
        "check" => tests::check(&root, rest.first().map(String::as_str)),
        "gen" => generate(&root),
        "bench" => bench(&root, &rest),
        "soak" => soak(&root, &rest),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            steps::complain(&problem);
            ExitCode::FAILURE
        }
    }
}

/// The folder that holds the workspace.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Runs the tests that compare a generated document with the committed one, and lets them write it instead.
fn generate(root: &Path) -> Result<(), String> {
    setup::install(root)?;
    let mut steps = Steps::default();
    steps.run("the release binary", cargo(root, ["build", "--release", "-p", "tollgate"]));
    steps.run(
        "the test peers",
        cargo(root, ["build", "-p", "tollgate-testkit", "-p", "tollgate-e2e", "--bins"]),
    );
    let mut tests = cargo(root, ["test", "--no-fail-fast", "-p", "tollgate-model", "-p", "tollgate"]);
    tests.env("TOLLGATE_REGENERATE", "1");
    steps.tests("the generated documents", tests);
    let mut tests =
        cargo(root, ["test", "-p", "tollgate-e2e", "--test", "compatibility", "--test", "features"]);
    tests.env("TOLLGATE_REGENERATE", "1");
    steps.tests("the tables of clients, servers and features", tests);
    steps.finish()
}

/// The measuring program builds the gateway itself, with the profile of published binaries.
fn bench(root: &Path, rest: &[String]) -> Result<(), String> {
    let mut steps = Steps::default();
    let mut run = cargo(root, ["run", "--profile", "dist", "-p", "tollgate-bench", "--"]);
    run.args(rest);
    steps.run("the measurement", run);
    steps.verdict()
}

/// The same tests as ever, told by `TOLLGATE_SOAK` to take their full length, and the long load run.
fn soak(root: &Path, rest: &[String]) -> Result<(), String> {
    setup::install(root)?;
    let mut steps = Steps::default();
    steps.run("the release binary", cargo(root, ["build", "--release", "-p", "tollgate"]));
    steps.run(
        "the test peers",
        cargo(root, ["build", "-p", "tollgate-testkit", "-p", "tollgate-e2e", "--bins"]),
    );
    let mut tests = cargo(root, ["test", "--workspace", "--no-fail-fast", "soak"]);
    tests.env("TOLLGATE_SOAK", "1");
    steps.tests("the long tests", tests);
    let mut load = cargo(root, ["run", "--profile", "dist", "-p", "tollgate-bench", "--"]);
    if rest.is_empty() {
        load.args(["--soak", SOAK_MINUTES]);
    } else {
        load.args(rest);
    }
    steps.run("the long load", load);
    steps.finish()
}
