//! How long what servers have said is kept, and how much of it.

use std::collections::HashMap;
use std::time::Duration;

use tollgate_model::ServerId;

/// How answers of servers are kept, so that they are not asked for again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// Whether anything is kept at all.
    pub enabled: bool,
    /// How many bytes may be kept in all.
    pub bytes_max: usize,
    /// How many bytes one answer may have to be kept.
    pub entry_bytes_max: usize,
    /// How long a list is kept at most, however long its server lets it be.
    pub list_ttl_max: Duration,
    /// How long a list is kept of a server that says nothing of that, but tells when the list changes.
    pub list_ttl: Duration,
    /// How long what was read is kept at most, however long its server lets it be.
    pub read_ttl_max: Duration,
    /// For how long beyond its time a list, or what was read, stands in where its server cannot be asked.
    pub stale_max: Duration,
    /// What is otherwise for single servers.
    pub servers: HashMap<ServerId, ServerCache>,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            bytes_max: 64 << 20,
            entry_bytes_max: 4 << 20,
            list_ttl_max: Duration::from_hours(1),
            list_ttl: Duration::from_secs(5),
            read_ttl_max: Duration::from_mins(5),
            stale_max: Duration::from_mins(1),
            servers: HashMap::new(),
        }
    }
}

/// What is otherwise for one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServerCache {
    /// Whether anything of it is kept.
    pub enabled: Option<bool>,
    /// How long its lists are kept where it says nothing of that, whether it tells of changes or not.
    pub list_ttl: Option<Duration>,
    /// How long what was read of it is kept where it says nothing of that. Not at all if absent.
    pub read_ttl: Option<Duration>,
    /// For how long beyond its time something of it stands in where it cannot be asked.
    pub stale_max: Option<Duration>,
}

/// How long one kind of answer of one server may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    /// However long the server lets it be.
    pub(super) ttl_max: Duration,
    /// Where the server says nothing, but tells of changes.
    pub(super) announced: Duration,
    /// Where it says nothing at all.
    pub(super) otherwise: Duration,
    /// For how long beyond that it stands in for a server that cannot be asked.
    pub(super) stale_max: Duration,
    pub(super) bytes_max: usize,
}

impl Rule {
    /// For how long an answer is fresh, by what its server says of it and whether it tells of changes.
    pub(super) fn ttl(&self, hint: Option<Duration>, announces: bool) -> Duration {
        match hint {
            Some(hint) => hint.min(self.ttl_max),
            None if announces => self.announced.max(self.otherwise),
            None => self.otherwise,
        }
    }
}

impl CacheSettings {
    /// The rule for a server's lists; none if they are not kept.
    pub(crate) fn lists(&self, server: &ServerId) -> Option<Rule> {
        let own = self.own(server)?;
        Some(Rule {
            ttl_max: self.list_ttl_max,
            announced: own.list_ttl.unwrap_or(self.list_ttl),
            otherwise: own.list_ttl.unwrap_or_default(),
            stale_max: own.stale_max.unwrap_or(self.stale_max),
            bytes_max: self.entry_bytes_max,
        })
    }

    /// The rule for what is read of a server; none if it is not kept.
    pub(crate) fn reads(&self, server: &ServerId) -> Option<Rule> {
        let own = self.own(server)?;
        let silent = own.read_ttl.unwrap_or_default();
        Some(Rule {
            ttl_max: self.read_ttl_max,
            announced: silent,
            otherwise: silent,
            stale_max: own.stale_max.unwrap_or(self.stale_max),
            bytes_max: self.entry_bytes_max,
        })
    }

    /// The rule for results of a tool that the operator lets be kept so long. They never stand in for anything.
    pub(crate) fn calls(&self, server: &ServerId, ttl: Duration) -> Option<Rule> {
        self.own(server)?;
        Some(Rule {
            ttl_max: ttl,
            announced: ttl,
            otherwise: ttl,
            stale_max: Duration::ZERO,
            bytes_max: self.entry_bytes_max,
        })
    }

    /// What is said of a server alone; none if nothing of it is kept.
    fn own(&self, server: &ServerId) -> Option<ServerCache> {
        let own = self.servers.get(server).copied().unwrap_or_default();
        (self.enabled && own.enabled.unwrap_or(true)).then_some(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_model::{Holder, ServerName};

    #[test]
    fn what_a_server_says_counts_up_to_the_bound_and_what_it_does_not_say_is_the_operators() {
        let server = ServerId::new(Holder::default(), ServerName::new("a").expect("a name"));
        let mut settings = CacheSettings::default();
        let ms = Duration::from_millis;
        let rule = settings.lists(&server).expect("a rule");
        assert_eq!(rule.ttl(Some(ms(7)), false), ms(7));
        assert_eq!(rule.ttl(Some(Duration::from_hours(9)), false), settings.list_ttl_max);
        assert_eq!(rule.ttl(Some(Duration::ZERO), true), Duration::ZERO, "it says that it may not be kept");
        assert_eq!((rule.ttl(None, true), rule.ttl(None, false)), (settings.list_ttl, Duration::ZERO));
        assert_eq!(settings.reads(&server).map(|rule| rule.ttl(None, true)), Some(Duration::ZERO));
        let own = ServerCache { list_ttl: Some(ms(3)), read_ttl: Some(ms(2)), ..ServerCache::default() };
        settings.servers.insert(server.clone(), own);
        let rule = settings.lists(&server).expect("a rule");
        assert_eq!((rule.ttl(None, true), rule.ttl(None, false)), (ms(3), ms(3)));
        assert_eq!(settings.reads(&server).map(|rule| rule.ttl(None, false)), Some(ms(2)));
        settings.servers.insert(server.clone(), ServerCache { enabled: Some(false), ..own });
        assert_eq!(settings.lists(&server), None);
        assert_eq!(settings.calls(&server, ms(1)), None);
    }
}
