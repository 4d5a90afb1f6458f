//! Where the things are that `cargo xtask setup` installs and builds.

use std::path::{Path, PathBuf};

/// The folder that holds the workspace.
///
/// # Panics
/// If it is gone.
pub fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the workspace that this was built from")
}

/// Something that `cargo xtask setup` installs.
///
/// # Panics
/// If it is not installed.
pub fn installed(path: &str) -> String {
    let full = root().join("target/testenv").join(path);
    assert!(full.exists(), "{} is missing: run `cargo xtask setup`", full.display());
    text(&full)
}

/// A script of these tests.
pub fn script(path: &str) -> String {
    text(&root().join("tests/e2e").join(path))
}

/// A program of the workspace's own test peers.
///
/// # Panics
/// If it is not built.
pub fn peer(program: &str) -> String {
    let full = root().join("target/debug").join(program);
    assert!(full.exists(), "{} is missing: run `cargo build -p tollgate-testkit --bins`", full.display());
    text(&full)
}

/// A program of these tests, which is built with them.
///
/// # Panics
/// If the tests do not run from the build folder.
pub fn built(program: &str) -> String {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.ancestors().find(|dir| dir.join(program).exists());
    text(&folder.unwrap_or_else(|| panic!("{program} is built with the tests")).join(program))
}

/// A Node.js that is new enough for everything here, whichever the system has.
pub fn node() -> String {
    npm(".bin/node")
}

/// The main file of an npm package.
pub fn npm(path: &str) -> String {
    installed(&format!("node/node_modules/{path}"))
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path that is text").to_owned()
}
