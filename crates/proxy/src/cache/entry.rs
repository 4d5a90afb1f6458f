//! An answer as it is kept: the server's own, before policy, blocks and public names.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tollgate_catalog::{Caching, Page};
use tollgate_mcp::{Kind, Limits, Message};
use tollgate_model::Era;
use tollgate_upstream::Link;

use super::settings::Rule;

/// For how long what is never fresh stands in at most, where its server is late.
const NEED_MAX: Duration = Duration::from_secs(5);
/// What is counted for an item of a page beside its bytes.
const ITEM_BYTES: usize = 320;
/// What is counted for an entry beside what is in it.
const ENTRY_BYTES: usize = 512;

/// An answer, and what is known of it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) message: Message,
    /// Of a list: its items, without those that must not be shown to anyone.
    pub(crate) page: Option<Page>,
    /// Of a list: how many items the server named.
    pub(crate) listed: usize,
    pub(crate) era: Era,
    /// What the server says of itself.
    pub(crate) info: Option<Bytes>,
    /// How long the server lets it be kept, if it says so.
    pub(super) hint: Option<Duration>,
    /// Whether the server says that it is everyone's.
    pub(super) shared: bool,
    /// Whether a legacy server tells when it changes. What a modern one lets nobody keep is not kept, whatever it tells of
    /// (2026-07-28, caching: no `ttlMs` is one of 0).
    pub(super) announces: bool,
    /// The session or process that said it, of a server that may keep something there.
    pub(super) instance: Option<u64>,
    pub(super) received: Instant,
}

/// Which session or process would answer now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Current {
    pub(super) era: Era,
    pub(super) number: u64,
}

impl Current {
    pub(crate) fn of(link: &Link) -> Self {
        Self { era: link.era(), number: link.number() }
    }
}

impl Kept {
    /// An answer that came now. `part` is the capability that declares whether its changes are told of.
    pub(crate) fn new(message: Message, link: &Link, part: &str) -> Self {
        let era = link.era();
        let (mut hint, mut shared) = (None, false);
        if let (Era::Modern, Some(body)) = (era, message.body()) {
            let caching = Caching::read(message.bytes(), body);
            let is_said = message.member("ttlMs").is_some();
            hint = is_said.then(|| Duration::from_millis(caching.ttl_ms));
            shared = caching.shared;
        }
        Self {
            message,
            page: None,
            listed: 0,
            era,
            info: link.hello().info.clone(),
            hint,
            shared,
            announces: era == Era::Legacy && link.hello().may_change(part),
            instance: (era == Era::Legacy).then(|| link.number()),
            received: Instant::now(),
        }
    }

    /// The same with the items of its page. `listed`: how many the server named.
    pub(crate) fn with_page(self, page: Page, listed: usize) -> Self {
        Self { page: Some(page), listed, ..self }
    }

    /// For how long it is fresh by a rule: no time, if it is none that may be kept.
    pub(super) fn ttl(&self, rule: &Rule) -> Duration {
        if self.is_whole(rule) { rule.ttl(self.hint, self.announces) } else { Duration::ZERO }
    }

    /// Whether it is a result that has come to its end, and no larger than what is kept.
    pub(super) fn is_whole(&self, rule: &Rule) -> bool {
        self.message.kind() == Kind::Result
            && self.message.bytes().len() <= rule.bytes_max
            && self.message.text("resultType").is_none_or(|result| result == "complete")
    }

    /// Whether it is fresh, if this would answer now. Nothing is known of a server that nobody has reached yet, or that is
    /// away: a modern one keeps nothing of anyone, so its word holds; a legacy one's holds for the session that gave it.
    pub(super) fn is_fresh(&self, rule: &Rule, current: Option<Current>, now: Instant) -> bool {
        let fits = match (self.instance, current) {
            (None, current) => current.is_none_or(|current| current.era == self.era),
            (Some(instance), current) => current.is_some_and(|current| current.number == instance),
        };
        fits && self.age(now) < self.ttl(rule)
    }

    /// Whether it may stand in for an answer that cannot be had, or is late.
    pub(super) fn stands_in(&self, rule: &Rule, is_late: bool, now: Instant) -> bool {
        (is_late || !self.ttl(rule).is_zero())
            && !rule.stale_max.is_zero()
            && self.age(now) < self.stands_in_for(rule)
    }

    /// For how long after it was received it may be given out at all.
    pub(super) fn stands_in_for(&self, rule: &Rule) -> Duration {
        let ttl = self.ttl(rule);
        if ttl.is_zero() { rule.stale_max.min(NEED_MAX) } else { ttl + rule.stale_max }
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.received)
    }

    /// What is left of what the server said of its keeping. What a legacy server said may depend on its session, whatever
    /// else it says in words that its revision does not have.
    pub(crate) fn caching(&self, age: Duration) -> Caching {
        if self.era == Era::Legacy {
            return Caching::NONE;
        }
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let said = ms(self.hint.unwrap_or_default());
        Caching { ttl_ms: said.saturating_sub(ms(age)), shared: self.shared }
    }

    /// Whether the server said how long it may be kept.
    pub(crate) fn says_how_long(&self) -> bool {
        self.hint.is_some()
    }

    /// The same in memory of its own: what came shares the buffer that it came in.
    pub(crate) fn compact(self) -> Self {
        let limits = Limits { bytes_max: usize::MAX, depth_max: usize::MAX };
        let copy = Bytes::copy_from_slice(self.message.bytes());
        match Message::parse(copy, &limits) {
            Ok(message) => {
                Self { message, info: self.info.as_ref().map(|info| Bytes::copy_from_slice(info)), ..self }
            }
            // It was read before.
            Err(_) => self,
        }
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        let items = self.page.iter().flat_map(|page| &page.items);
        // Each item is there once more as it is shown.
        let items: usize = items.map(|item| item.key().len() + item.raw().len() + ITEM_BYTES).sum();
        self.message.bytes().len() + items + self.info.as_ref().map_or(0, Bytes::len) + ENTRY_BYTES
    }
}
