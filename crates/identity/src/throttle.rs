//! Failed attempts, by the address that they come from. Who fails too often is refused unseen for a while.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tollgate_model::Timestamp;

use crate::settings::FailureSettings;

const SHARDS: usize = 16;
/// How many things an address may have somebody asked about at once.
const ASKED_MAX: u32 = 8;

/// The failures of all addresses: each has a debt that grows with every failure and shrinks with time.
#[derive(Debug)]
pub(crate) struct Throttle {
    shards: Box<[Mutex<HashMap<Source, Debt>>]>,
    hasher: RandomState,
}

/// An address, as attempts are counted: whoever has an IPv6 address has all that share its first 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    V4(u32),
    V6(u64),
}

#[derive(Debug, Clone, Copy)]
struct Debt {
    /// When all is forgiven.
    until: Timestamp,
    /// Whether it was said that the address is refused, since it last was not.
    told: bool,
    /// How much somebody is being asked about now for this address.
    asked: u32,
}

/// Somebody is asked about what an address has presented, as long as this lives.
#[derive(Debug)]
pub(crate) struct Place {
    throttle: Arc<Throttle>,
    source: Source,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(debt) = self.throttle.shard(&self.source).get_mut(&self.source) {
            debt.asked = debt.asked.saturating_sub(1);
        }
    }
}

/// What a failure has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may try.
    Free,
    /// It is refused for so many seconds; `first` if it was not before.
    Refused { retry_after_s: u64, first: bool },
}

impl Default for Throttle {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new() }
    }
}

impl Throttle {
    /// Whether the address may try.
    pub(crate) fn check(&self, address: IpAddr, settings: &FailureSettings, now: Timestamp) -> Verdict {
        let source = source_of(address);
        let mut shard = self.shard(&source);
        let Some(debt) = shard.get_mut(&source) else { return Verdict::Free };
        let Some(wait_ms) = debt.wait_ms(settings, now) else {
            debt.told = false;
            return Verdict::Free;
        };
        let retry_after_s = u64::try_from(wait_ms.div_ceil(1000)).unwrap_or(u64::MAX);
        let first = !std::mem::replace(&mut debt.told, true);
        Verdict::Refused { retry_after_s, first }
    }

    /// Notes a failure.
    pub(crate) fn failed(&self, address: IpAddr, settings: &FailureSettings, now: Timestamp) {
        let source = source_of(address);
        debt_of(&mut self.shard(&source), source, settings, now).add(settings, now);
    }

    /// Begins to ask somebody about what an address has presented. It counts as a failure until it is given back, so that
    /// many at once are not all let through before the first is known to have failed. `None` if the address may not.
    pub(crate) fn begin(
        self: &Arc<Self>,
        address: IpAddr,
        settings: &FailureSettings,
        now: Timestamp,
    ) -> Option<Place> {
        let source = source_of(address);
        let mut shard = self.shard(&source);
        let debt = debt_of(&mut shard, source, settings, now);
        if debt.asked >= ASKED_MAX || debt.wait_ms(settings, now).is_some() {
            return None;
        }
        debt.add(settings, now);
        debt.asked += 1;
        Some(Place { throttle: Arc::clone(self), source })
    }

    /// Takes back what [`Self::begin`] has counted.
    pub(crate) fn give_back(&self, address: IpAddr, settings: &FailureSettings) {
        let source = source_of(address);
        if let Some(debt) = self.shard(&source).get_mut(&source) {
            debt.until = Timestamp::default()
                .after(debt.until.since(Timestamp::default()).saturating_sub(each(settings)));
        }
    }

    fn shard(&self, source: &Source) -> MutexGuard<'_, HashMap<Source, Debt>> {
        let nth = self.hasher.hash_one(source) % SHARDS as u64;
        let nth = usize::try_from(nth).unwrap_or(0);
        self.shards[nth].lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().expect("a shard").len()).sum()
    }
}

impl Debt {
    /// How long there is no further attempt, if there are too many failures.
    fn wait_ms(&self, settings: &FailureSettings, now: Timestamp) -> Option<u128> {
        let owed_ms = self.until.since(now).as_millis();
        let (window_ms, max) = (settings.window.as_millis(), u128::from(settings.max.max(1)));
        let each_ms = (window_ms / max).max(1);
        let is_free = owed_ms.div_ceil(each_ms) < max;
        (!is_free).then(|| owed_ms.saturating_sub(each_ms * (max - 1)).max(1))
    }

    fn add(&mut self, settings: &FailureSettings, now: Timestamp) {
        let most = now.after(settings.window);
        self.until = self.until.max(now).after(each(settings)).min(most);
    }
}

/// What one failure costs.
fn each(settings: &FailureSettings) -> Duration {
    settings.window / settings.max.max(1)
}

fn debt_of<'s>(
    shard: &'s mut HashMap<Source, Debt>,
    source: Source,
    settings: &FailureSettings,
    now: Timestamp,
) -> &'s mut Debt {
    if !shard.contains_key(&source) {
        make_room(shard, settings.sources_max.div_ceil(SHARDS).max(1), now);
    }
    shard.entry(source).or_insert(Debt { until: now, told: false, asked: 0 })
}

/// Forgets who is forgiven, and if that is not enough, who would be next.
fn make_room(shard: &mut HashMap<Source, Debt>, max: usize, now: Timestamp) {
    if shard.len() < max {
        return;
    }
    shard.retain(|_, debt| now < debt.until || debt.asked > 0);
    if shard.len() >= max
        && let Some(next) = shard
            .iter()
            .filter(|(_, debt)| debt.asked == 0)
            .min_by_key(|(_, debt)| debt.until)
            .map(|(source, _)| *source)
    {
        shard.remove(&next);
    }
}

fn source_of(address: IpAddr) -> Source {
    match address.to_canonical() {
        IpAddr::V4(address) => Source::V4(address.to_bits()),
        IpAddr::V6(address) => Source::V6(u64::try_from(address.to_bits() >> 64).unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: FailureSettings =
        FailureSettings { max: 3, window: Duration::from_secs(30), sources_max: 160 };

    fn at(s: u64) -> Timestamp {
        Timestamp::from_ms(1_000_000 + s * 1000)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_third_failure_closes_the_door_for_a_while() {
        let throttle = Throttle::default();
        let mallory = ip("192.0.2.1");
        for _ in 0..2 {
            throttle.failed(mallory, &SETTINGS, at(0));
            assert_eq!(throttle.check(mallory, &SETTINGS, at(0)), Verdict::Free);
        }
        throttle.failed(mallory, &SETTINGS, at(0));
        assert_eq!(
            throttle.check(mallory, &SETTINGS, at(0)),
            Verdict::Refused { retry_after_s: 10, first: true }
        );
        assert_eq!(
            throttle.check(mallory, &SETTINGS, at(1)),
            Verdict::Refused { retry_after_s: 9, first: false }
        );
        assert_eq!(throttle.check(ip("192.0.2.2"), &SETTINGS, at(0)), Verdict::Free);
        assert_eq!(
            throttle.check(ip("::ffff:192.0.2.1"), &SETTINGS, at(1)),
            Verdict::Refused { retry_after_s: 9, first: false }
        );
        assert_eq!(throttle.check(mallory, &SETTINGS, at(10)), Verdict::Free);
        throttle.failed(mallory, &SETTINGS, at(10));
        assert_eq!(
            throttle.check(mallory, &SETTINGS, at(10)),
            Verdict::Refused { retry_after_s: 10, first: true }
        );
        assert_eq!(throttle.check(mallory, &SETTINGS, at(41)), Verdict::Free);
    }

    #[test]
    fn what_is_asked_about_counts_until_it_is_given_back() {
        let (throttle, mallory) = (Arc::new(Throttle::default()), ip("192.0.2.1"));
        let begin = |from: IpAddr| throttle.begin(from, &SETTINGS, at(0));
        let places: Vec<_> = (0..300).map_while(|_| begin(mallory)).collect();
        assert_eq!(places.len(), 3, "not all are let through before the first has failed");
        assert_ne!(throttle.check(mallory, &SETTINGS, at(0)), Verdict::Free);
        assert!(begin(ip("192.0.2.2")).is_some());
        throttle.give_back(mallory, &SETTINGS);
        assert_eq!(throttle.check(mallory, &SETTINGS, at(0)), Verdict::Free);
        drop(places);
        throttle.give_back(mallory, &SETTINGS);
        throttle.give_back(mallory, &SETTINGS);
        assert_eq!((0..9).map_while(|_| begin(mallory)).count(), 3);
    }

    #[test]
    fn an_address_has_few_things_asked_about_at_once() {
        let (throttle, mallory) = (Arc::new(Throttle::default()), ip("192.0.2.1"));
        let settings = FailureSettings { max: 1000, ..SETTINGS };
        let mut places: Vec<_> = (0..300).map_while(|_| throttle.begin(mallory, &settings, at(0))).collect();
        assert_eq!(places.len(), 8);
        assert!(throttle.begin(ip("192.0.2.2"), &settings, at(0)).is_some());
        places.pop();
        assert!(throttle.begin(mallory, &settings, at(0)).is_some());
    }

    #[test]
    fn an_ipv6_neighbourhood_is_one_source() {
        let throttle = Throttle::default();
        for nth in 0..3 {
            throttle.failed(ip(&format!("2001:db8:0:1::{nth}")), &SETTINGS, at(0));
        }
        assert_ne!(throttle.check(ip("2001:db8:0:1:ffff::9"), &SETTINGS, at(0)), Verdict::Free);
        assert_eq!(throttle.check(ip("2001:db8:0:2::1"), &SETTINGS, at(0)), Verdict::Free);
    }

    #[test]
    fn many_sources_take_no_more_room_than_allowed() {
        let throttle = Throttle::default();
        for nth in 0..10_000_u32 {
            throttle.failed(IpAddr::V4(nth.into()), &SETTINGS, at(0));
        }
        assert!(throttle.len() <= 160, "{}", throttle.len());
    }
}
