//! How much of what is allowed in an hour, a day or a month is used up, by all processes together.
//!
//! A process takes a part of what is allowed, and gives it out by itself. What it has taken counts as used at once: a process
//! that is killed gives out no more than it took, and what it took and did not give out is lost for that window.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tollgate_model::Timestamp;

use crate::{Digest, StoreError};

/// For how long after its end what was used in a window is kept: clocks differ.
pub const ALLOWANCES_KEPT: Duration = Duration::from_hours(1);

/// What is known of allowances.
#[async_trait]
pub trait Allowances: fmt::Debug + Send + Sync {
    /// Takes a part of an allowance, gives back what was not used of others, and writes down what was used beyond them.
    async fn take_allowance(&self, take: &TakeAllowance) -> Result<Allowance, StoreError>;
}

/// A part of an allowance that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakeAllowance {
    /// Of what: a digest, since names of people may be in it.
    pub of: Digest,
    /// When its window began.
    pub from: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// Now, as whoever asks knows it: what ended long ago is forgotten.
    pub now: Timestamp,
    /// How much is allowed in it.
    pub allowed: u64,
    /// How much is wanted. Less is given if there is less.
    pub wanted: u64,
    /// How much was used beyond what was taken.
    pub owed: u64,
    /// How much of what was taken will not be used.
    pub unused: u64,
}

/// What was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowance {
    /// How much.
    pub taken: u64,
    /// How much is used up in all, with what was given now.
    pub used: u64,
}

impl TakeAllowance {
    /// What is given where so much is used up: the rule of [`Allowances::take_allowance`], for all drivers.
    pub fn of_used(&self, used: u64) -> Allowance {
        let used = used.saturating_sub(self.unused).saturating_add(self.owed);
        let taken = self.allowed.saturating_sub(used).min(self.wanted);
        Allowance { taken, used: used.saturating_add(taken) }
    }

    /// What ended before this is forgotten.
    pub fn forgets_before(&self) -> Timestamp {
        let kept = u64::try_from(ALLOWANCES_KEPT.as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_ms(self.now.as_ms().saturating_sub(kept))
    }
}

/// What the store in memory keeps: until when, and how much is used.
#[derive(Debug, Default)]
pub(crate) struct Used(BTreeMap<(Digest, Timestamp), (Timestamp, u64)>);

impl Used {
    pub(crate) fn take(&mut self, take: &TakeAllowance) -> Allowance {
        let old = take.forgets_before();
        self.0.retain(|_, (until, _)| *until >= old);
        let (_, used) = self.0.entry((take.of, take.from)).or_insert((take.until, 0));
        let allowance = take.of_used(*used);
        *used = allowance.used;
        allowance
    }
}
