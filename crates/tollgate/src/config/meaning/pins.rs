//! How servers' definitions are pinned.

use std::sync::Arc;

use tollgate_guard::pins::Lock;
use tollgate_proxy::{FirstUse, OnChange, PinSettings, ServerPins};

use super::Meaning;
use crate::config::node::Place;
use crate::config::section::{FirstUseSection, PinChangesSection, PinsSection, ServerPinsSection};

/// The largest lock file, in bytes.
const LOCK_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Meaning<'_> {
    pub(super) fn pins(&mut self, section: Option<&PinsSection>, place: &Place<'_>) -> PinSettings {
        let own = PinSettings::default();
        let Some(section) = section else { return own };
        let lock = section.lock.as_deref().and_then(|path| self.lock(path, &place.key("lock")));
        if section.lock.is_some() && section.first_use == Some(FirstUseSection::Trust) {
            let message = "with a `lock` nothing is approved by being seen";
            self.problems.error_with(&place.key("first_use"), message, "leave one of the two out");
        }
        PinSettings {
            enabled: section.enabled.unwrap_or(true),
            first_use: section.first_use.map_or(own.first_use, first_use),
            changes: section.changes.map_or(own.changes, changes),
            items_max: section.items_max.unwrap_or(own.items_max),
            text_bytes_max: section.text_bytes_max.unwrap_or(own.text_bytes_max),
            lock,
            servers: own.servers,
        }
    }

    fn lock(&mut self, path: &str, place: &Place<'_>) -> Option<Arc<Lock>> {
        let file = self.files.path(path);
        if !file.exists() {
            self.files.watch(&file);
            let message = format!("{} does not exist: no definition is approved", file.display());
            self.problems.warning(place, message, Some("`tollgate pins lock` writes it".to_owned()));
            return Some(Arc::default());
        }
        let read = self.files.text_of(path, LOCK_BYTES_MAX).and_then(|text| {
            Lock::parse(&text).map_err(|error| match error.place {
                Some((line, column)) => format!("{path} at {line}:{column}: {}", error.message),
                None => format!("{path}: {}", error.message),
            })
        });
        match read {
            Ok(lock) => Some(Arc::new(lock)),
            Err(reason) => {
                self.problems.error_with(place, reason, "`tollgate pins lock` writes it");
                None
            }
        }
    }

    pub(super) fn server_pins(section: &ServerPinsSection) -> ServerPins {
        ServerPins {
            enabled: section.enabled,
            first_use: section.first_use.map(first_use),
            changes: section.changes.map(changes),
        }
    }
}

fn first_use(section: FirstUseSection) -> FirstUse {
    match section {
        FirstUseSection::Trust => FirstUse::Trust,
        FirstUseSection::Approve => FirstUse::Approve,
    }
}

fn changes(section: PinChangesSection) -> OnChange {
    match section {
        PinChangesSection::Quarantine => OnChange::Quarantine,
        PinChangesSection::Report => OnChange::Report,
    }
}
