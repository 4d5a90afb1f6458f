//! Where stored state is, and how long it may be used without being confirmed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tollgate_backends::{InvalidPlace, Place as StorePlace};
use tollgate_model::Secret;
use tollgate_store::FollowerSettings;

use super::{Config, Meaning};
use crate::config::node::Place;
use crate::config::section::{ConfigSection, StoreSection, WhenStaleSection};

/// The folder of state, beside the configuration.
const DATA_DIR: &str = ".tollgate";
/// The file of state in it.
const FILE: &str = "tollgate.db";
/// The variable that other programs know too.
pub const DATABASE_URL: &str = "DATABASE_URL";

/// Where stored state is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoreSettings {
    /// The URL of a PostgreSQL database, as configured; it is a possible one.
    pub url: Option<Secret>,
    /// The URL that the environment names, used where none is configured. Nothing is known of it yet.
    pub url_of_environment: Option<Secret>,
    /// How the feed of changes is followed.
    pub follower: FollowerSettings,
}

impl StoreSettings {
    /// Where state is, with this folder for files.
    ///
    /// # Errors
    /// If the environment's URL is none of PostgreSQL.
    pub fn place(&self, data_dir: &Path) -> Result<StorePlace, InvalidPlace> {
        match self.url.as_ref().or(self.url_of_environment.as_ref()) {
            Some(url) => StorePlace::postgres(url.clone()),
            None => Ok(StorePlace::File(data_dir.join(FILE))),
        }
    }
}

/// The URL that an environment names. An empty one is none.
pub(crate) fn url_of_environment(url: Option<String>) -> Option<Secret> {
    url.filter(|url| !url.is_empty()).map(Secret::new)
}

impl Config {
    /// Whether anything is configured for which state is kept.
    pub fn needs_store(&self) -> bool {
        !self.identity.is_off()
            || self.policies.are_configured
            || self.tenants.len() > 1
            || self.proxy.pins.are_on()
    }
}

impl Meaning<'_> {
    pub(super) fn data_dir(&mut self, section: &ConfigSection, root: &Place<'_>) -> PathBuf {
        let written = section.data_dir.as_deref().unwrap_or(DATA_DIR);
        if written.is_empty() {
            self.problems.error(&root.key("data_dir"), "an empty text is no folder");
        }
        self.files.path(written)
    }

    pub(super) fn store(&mut self, section: Option<&StoreSection>, place: &Place<'_>) -> StoreSettings {
        let url_of_environment = url_of_environment(self.env.var(DATABASE_URL));
        let mut store = StoreSettings { url_of_environment, ..StoreSettings::default() };
        let Some(section) = section else { return store };
        let url_place = place.key("url");
        if let Some(url) = section.url.as_ref().and_then(|url| self.secret(&url.0, &url_place)) {
            match StorePlace::postgres(url.clone()) {
                Ok(_) => store.url = Some(url),
                Err(error) => self.problems.error_with(
                    &url_place,
                    format!("the URL cannot be used: {error}"),
                    "write `postgres://USER:PASSWORD@HOST/DATABASE`, or leave it out for SQLite in `data_dir`",
                ),
            }
        }
        if let Some(most) = section.stale_max_ms {
            store.follower.stale_max = Some(Duration::from_millis(most));
        }
        if section.when_stale == Some(WhenStaleSection::Serve) {
            store.follower.stale_max = None;
        }
        store
    }
}
