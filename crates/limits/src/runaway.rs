//! Agents that have run away: the same call again and again, or far more calls than they used to make.
//!
//! What they do is slowed first, and then paused: nothing of theirs is let through until the pause is over, or somebody has the
//! configuration taken over anew. Loops that people build on purpose, such as asking now and then whether something is done, or
//! reading page after page, stay below.
//!
//! Calls are told apart by digests under keys of this process and of the tenant: they mean nothing elsewhere, and are never
//! written down.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tollgate_model::Secret;

use crate::gcra::Rate;

/// When an agent is taken to have run away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunawaySettings {
    /// How many of the same call an agent may make beyond [`Self::repeats_per_s`] before it is paused. From half of it on each
    /// is slowed.
    pub repeats_max: NonZeroU32,
    /// How often the same call may be made for as long as anybody likes.
    pub repeats_per_s: NonZeroU32,
    /// How many times as many calls as it used to make an agent may make. Beyond it is slowed, at twice as many paused.
    pub surge: NonZeroU32,
    /// How many calls within ten seconds are no surge, whatever there was before.
    pub surge_min: NonZeroU32,
    /// By how much a call is slowed.
    pub slow: Duration,
    /// How long an agent is paused.
    pub pause: Duration,
    /// Who is told when one is.
    pub webhook: Option<RunawayWebhook>,
}

/// Whom operators have told when an agent is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunawayWebhook {
    /// Where: `https`, or `http` on a loopback address.
    pub url: Arc<str>,
    /// By which it is known that the gateway has sent it.
    pub secret: Secret,
    /// Whether it may be an address that is not public.
    pub allow_private: bool,
    /// The certificate authorities to trust instead of the platform's: PEM.
    pub ca_pem: Option<Arc<str>>,
}

impl Default for RunawaySettings {
    fn default() -> Self {
        let some = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        Self {
            repeats_max: some(100),
            repeats_per_s: some(2),
            surge: some(10),
            surge_min: some(200),
            slow: Duration::from_millis(250),
            pause: Duration::from_mins(5),
            webhook: None,
        }
    }
}

impl RunawaySettings {
    /// How often the same call may be made.
    pub(crate) fn repeats(&self) -> Rate {
        Rate::new(self.repeats_per_s, Duration::from_secs(1), self.repeats_max)
    }
}

/// What becomes of a call of an agent that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Go,
    /// It is made to wait.
    Slow(Duration),
    /// It is refused.
    Paused {
        /// Until the pause is over.
        wait: Duration,
        /// Whether the pause begins with this call.
        is_new: Option<Why>,
    },
}

/// Why an agent is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It made the same call again and again.
    Repeats,
    /// It made far more calls than it used to.
    Surge,
}

impl Why {
    /// As text, for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Repeats => "repeats",
            Self::Surge => "surge",
        }
    }
}

/// The keys of this process.
#[derive(Debug, Default)]
pub(crate) struct Keys([RandomState; 2]);

impl Keys {
    /// What stands for a call of a tenant.
    pub(crate) fn digest(&self, parts: &[&[u8]]) -> [u8; 16] {
        let [one, other] = &self.0;
        let half = |key: &RandomState| key.hash_one(parts).to_be_bytes();
        let mut digest = [0; 16];
        digest[..8].copy_from_slice(&half(one));
        digest[8..].copy_from_slice(&half(other));
        digest
    }
}

/// How long the short memory is, and the long one, in nanoseconds.
const SHORT: f64 = 10e9;
const LONG: f64 = 600e9;
/// For how long after it was let go on an agent is remembered, in nanoseconds.
const REMEMBERED: u64 = 3_600_000_000_000;

/// How fast an agent goes, and whether it is paused.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Going>);

#[derive(Debug, Default)]
struct Going {
    /// Calls, each of which counts less the longer ago it was.
    short: f64,
    long: f64,
    /// The first one, and the last.
    since: Option<u64>,
    last: u64,
    paused_until: u64,
    /// Until when calls of its are made to wait.
    slowed_until: u64,
    /// Which configuration paused it.
    epoch: u64,
    /// How often it was let go on before its pause was over: what it did before counts no more.
    resumed: u32,
    /// Until when that has to be remembered, since what it did before would be found again without it.
    remembered_until: u64,
}

impl Pace {
    /// Whether a new one would say the same.
    pub(crate) fn is_as_new(&self, now: u64) -> bool {
        let mut going = self.lock();
        going.fade(now);
        going.long < 1.0 && going.paused_until <= now && going.remembered_until <= now
    }

    /// Until when it is paused by this configuration.
    pub(crate) fn paused(&self, epoch: u64, now: u64) -> Option<Duration> {
        let going = self.lock();
        let is_paused = going.epoch == epoch && going.paused_until > now;
        is_paused.then(|| Duration::from_nanos(going.paused_until - now))
    }

    /// It is paused from now on.
    pub(crate) fn pause(&self, epoch: u64, now: u64, pause: Duration) {
        let mut going = self.lock();
        going.epoch = epoch;
        going.paused_until = now.saturating_add(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX));
    }

    /// A call is made to wait: by how much longer than others of its that wait already. Whoever waits makes no calls, which does
    /// not make it any better: else being slowed would keep it from ever being paused.
    pub(crate) fn slows(&self, now: u64, slow: Duration) -> u64 {
        let mut going = self.lock();
        let until = now.saturating_add(u64::try_from(slow.as_nanos()).unwrap_or(u64::MAX));
        let longer = until.saturating_sub(going.slowed_until.max(now));
        going.slowed_until = going.slowed_until.max(until);
        going.last = going.last.max(until);
        longer
    }

    /// It is let go on, and begins anew.
    pub(crate) fn resume(&self, now: u64) {
        let mut going = self.lock();
        let resumed = going.resumed.wrapping_add(1);
        *going = Going { resumed, remembered_until: now.saturating_add(REMEMBERED), ..Going::default() };
    }

    /// How often it was let go on.
    pub(crate) fn resumed(&self) -> u32 {
        self.lock().resumed
    }

    /// Another call. How many times as many they are as they used to be, where that is a surge.
    pub(crate) fn goes(&self, settings: &RunawaySettings, now: u64) -> u32 {
        let mut going = self.lock();
        going.fade(now);
        going.short += 1.0;
        going.long += 1.0;
        let since = *going.since.get_or_insert(now);
        // What is new has no past to be compared with. Another call may have read the clock later, and come first.
        #[expect(clippy::cast_precision_loss, reason = "ages are far below 2^52 ns")]
        let age = now.saturating_sub(since) as f64;
        if age < LONG || going.short < f64::from(settings.surge_min.get()) {
            return 0;
        }
        // What is in the short memory is no past.
        let past = ((going.long - going.short) / (LONG - SHORT)).max(0.0);
        let times = going.short / SHORT / past.max(1.0 / LONG);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is cut to its bounds"
        )]
        let times = times.clamp(0.0, 1e9) as u32;
        times / settings.surge.get()
    }

    fn lock(&self) -> MutexGuard<'_, Going> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Going {
    fn fade(&mut self, now: u64) {
        #[expect(clippy::cast_precision_loss, reason = "pauses are far below 2^52 ns")]
        let pause = now.saturating_sub(self.last) as f64;
        self.last = self.last.max(now);
        self.short *= (-pause / SHORT).exp();
        self.long *= (-pause / LONG).exp();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of two calls at once the one that read the clock later may come first: the other is no surge.
    #[test]
    fn a_call_that_read_the_clock_earlier_may_come_later() {
        let pace = Pace::default();
        let settings = RunawaySettings { surge_min: NonZeroU32::MIN, ..RunawaySettings::default() };
        assert_eq!(pace.goes(&settings, 1_000), 0);
        assert_eq!(pace.goes(&settings, 999), 0);
    }
}
