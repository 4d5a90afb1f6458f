//! A server that is at several places, and when one of them, or its only one, is left alone.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use tollgate_upstream::{
    CircuitSettings, HealthSettings, HttpSettings, OutlierSettings, REPLICAS_MAX, ReplicaSettings,
};

use super::Meaning;
use crate::config::forms::{Items, Scalar};
use crate::config::node::Place;
use crate::config::section::{CircuitSection, HealthSection, ReplicaSection, ServerSection};

/// The longest name of a version.
const VERSION_CHARS_MAX: usize = 64;

impl Meaning<'_> {
    /// The replicas of a server, and which of them are used; `None` if something is wrong with one, which is then reported.
    pub(super) fn replicas(&mut self, section: &ServerSection, place: &Place<'_>) -> Option<HttpSettings> {
        let list = place.key("replicas");
        let mut replicas = Vec::new();
        let mut good = true;
        for (index, section) in Items::iter(section.replicas.as_ref()) {
            match self.replica(section, &list.item(index)) {
                Some(replica) => replicas.push(replica),
                None => good = false,
            }
        }
        if replicas.len() > REPLICAS_MAX {
            self.problems.error(&list, format!("more than {REPLICAS_MAX} replicas"));
            return None;
        }
        let pinned = self.version(section.version.as_ref(), &place.key("version"));
        if good && pinned.is_some() && !replicas.iter().any(|replica| replica.version == pinned) {
            self.problems.error(&place.key("version"), "no replica is of this version");
            return None;
        }
        if replicas.is_empty() {
            if good && !self.problems.below(&list.path) {
                self.problems.error(&list, "needs at least one replica");
            }
            return None;
        }
        let mut http = HttpSettings::of(replicas).ok()?;
        http.pinned = pinned;
        http.failover_percent = section.failover_percent.unwrap_or(http.failover_percent);
        good.then_some(http)
    }

    fn replica(&mut self, section: &ReplicaSection, place: &Place<'_>) -> Option<ReplicaSettings> {
        let Some(url) = &section.url else {
            if !self.problems.below(&place.path) {
                self.problems.error(place, "needs a `url`");
            }
            return None;
        };
        let url = self.server_url(url, &place.key("url"));
        let headers = self.headers(section.headers.as_ref(), &place.key("headers"));
        let ca_file = match &section.ca_file {
            Some(path) => Some(self.readable(path, &place.key("ca_file"))?),
            None => None,
        };
        let plain = ReplicaSettings::new(url?);
        Some(ReplicaSettings {
            weight: section.weight.unwrap_or(plain.weight),
            version: self.version(section.version.as_ref(), &place.key("version")),
            priority: section.priority.unwrap_or(plain.priority),
            headers,
            ca_file,
            ..plain
        })
    }

    /// When a replica is left alone.
    pub(super) fn circuit(section: &CircuitSection) -> CircuitSettings {
        let plain = CircuitSettings::default();
        let mut outliers = Some(OutlierSettings::default());
        if let (Some(section), Some(own)) = (&section.outliers, &mut outliers) {
            own.interval = section.interval_ms.map_or(own.interval, Duration::from_millis);
            own.requests_min = section.requests_min.unwrap_or(own.requests_min);
            own.margin_percent = section.margin_percent.unwrap_or(own.margin_percent);
            if section.disabled == Some(true) {
                outliers = None;
            }
        }
        CircuitSettings {
            failures_max: section.failures_max.unwrap_or(plain.failures_max),
            trials_max: section.trials_max.unwrap_or(plain.trials_max),
            ejected_percent_max: section.ejected_percent_max.unwrap_or(plain.ejected_percent_max),
            outliers,
        }
    }

    /// How a server is looked at beside all requests.
    pub(super) fn health(&mut self, section: &HealthSection, place: &Place<'_>) -> Option<HealthSettings> {
        let plain = HealthSettings::default();
        let path = match &section.path {
            None => None,
            Some(text) => match text.parse::<PathAndQuery>() {
                Ok(path) if text.starts_with('/') => Some(path),
                _ => {
                    self.problems.error(&place.key("path"), "is no path that begins with `/`");
                    return None;
                }
            },
        };
        Some(HealthSettings {
            interval: section.interval_ms.map_or(plain.interval, Duration::from_millis),
            timeout: section.timeout_ms.map_or(plain.timeout, Duration::from_millis),
            unhealthy_after: section.unhealthy_after.unwrap_or(plain.unhealthy_after),
            healthy_after: section.healthy_after.unwrap_or(plain.healthy_after),
            path,
        })
    }

    fn version(&mut self, section: Option<&Scalar>, place: &Place<'_>) -> Option<Arc<str>> {
        let Scalar(text) = section?;
        if text.is_empty() || text.chars().count() > VERSION_CHARS_MAX || text.contains(char::is_control) {
            let message = format!("a version has 1 to {VERSION_CHARS_MAX} characters");
            self.problems.error(place, message);
            return None;
        }
        Some(Arc::from(text.as_str()))
    }
}
