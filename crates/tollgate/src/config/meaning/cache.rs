//! What servers have said, kept for a while.

use std::time::Duration;

use tollgate_proxy::{CacheSettings, ServerCache};

use super::Meaning;
use crate::config::node::Place;
use crate::config::section::{CacheSection, ServerCacheSection};

impl Meaning<'_> {
    pub(super) fn cache(&mut self, section: Option<&CacheSection>, place: &Place<'_>) -> CacheSettings {
        let own = CacheSettings::default();
        let Some(section) = section else { return own };
        let wait = |written: Option<u64>, usual| written.map_or(usual, Duration::from_millis);
        let settings = CacheSettings {
            enabled: section.enabled.unwrap_or(own.enabled),
            bytes_max: section.bytes_max.unwrap_or(own.bytes_max),
            entry_bytes_max: section.entry_bytes_max.unwrap_or(own.entry_bytes_max),
            list_ttl_max: wait(section.list_ttl_ms_max, own.list_ttl_max),
            list_ttl: wait(section.list_ttl_ms, own.list_ttl),
            read_ttl_max: wait(section.read_ttl_ms_max, own.read_ttl_max),
            stale_max: wait(section.stale_ms_max, own.stale_max),
            servers: own.servers,
        };
        if section.entry_bytes_max.is_some() && settings.entry_bytes_max > settings.bytes_max {
            let message = "`entry_bytes_max` is more than `bytes_max`";
            self.problems.error(&place.key("entry_bytes_max"), message);
        }
        settings
    }

    pub(super) fn server_cache(section: &ServerCacheSection) -> ServerCache {
        let wait = |written: Option<u64>| written.map(Duration::from_millis);
        ServerCache {
            enabled: section.enabled,
            list_ttl: wait(section.list_ttl_ms),
            read_ttl: wait(section.read_ttl_ms),
            stale_max: wait(section.stale_ms_max),
        }
    }
}
