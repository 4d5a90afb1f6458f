//! Configuration files as operators and clients write them: what they mean, and what is said of those that are wrong.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod approvals;
mod bad;
mod examples;
mod export;
mod good;
mod guard;
mod hostile;
mod identity;
mod ledger;
mod limits;
mod policies;
mod store;
mod telemetry;
mod tenants;

use std::collections::BTreeMap;
use std::fs;

use tempfile::TempDir;
use tollgate::config::{Config, ConfigError, load};

/// A folder with files in it, and an environment.
struct Bench {
    folder: TempDir,
    env: BTreeMap<String, String>,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), env: BTreeMap::new() }
    }

    fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, content).expect("a file");
        self
    }

    fn var(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn load(&self, path: &str) -> Result<Config, ConfigError> {
        load(&self.folder.path().join(path), &self.env)
    }

    /// A text without the folder's own path.
    fn plain(&self, text: &str) -> String {
        let folder = format!("{}/", self.folder.path().display());
        text.replace(&folder, "")
    }

    fn good(&self, path: &str) -> Config {
        self.load(path).unwrap_or_else(|error| panic!("{}", error.render(false)))
    }

    /// The problems, one per line.
    fn bad(&self, path: &str) -> String {
        match self.load(path) {
            Ok(config) => panic!("accepted: {config:?}"),
            Err(error) => self.plain(&error.to_string()),
        }
    }
}

fn yaml(content: &str) -> Bench {
    Bench::new().file("tollgate.yaml", content)
}
