//! How often requests to one server may be tried again, all of them together.
//!
//! Each request earns a share of a retry, and a retry spends one. So while few fail, those are tried again; while all fail, the
//! server gets a little more than its usual load, and not a multiple of it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::RetrySettings;
use crate::backoff::Backoff;

/// A retry, in the unit of the account.
const RETRY: u64 = 100_000;
/// How many retries the account holds at most: how many requests may be tried again at once.
const HELD_MAX: u64 = 100 * RETRY;
/// How many it begins with.
const HELD_FIRST: u64 = 10 * RETRY;
/// What it gets in a millisecond beside its share of the requests: a retry in a second.
const EARNED_PER_MS: u64 = RETRY / 1000;

/// The account of one server.
#[derive(Debug)]
pub struct RetryBudget {
    earned_by_request: u64,
    backoff: Backoff,
    account: Mutex<Account>,
}

#[derive(Debug)]
struct Account {
    held: u64,
    since: Instant,
}

impl RetryBudget {
    pub(crate) fn new(settings: &RetrySettings) -> Self {
        Self {
            earned_by_request: u64::from(settings.percent) * RETRY / 100,
            backoff: Backoff::new(settings.wait_min, settings.wait_max),
            account: Mutex::new(Account { held: HELD_FIRST, since: Instant::now() }),
        }
    }

    /// A request is sent for the first time.
    pub fn earn(&self) {
        let mut account = self.lock();
        account.held = (account.held + self.earned_by_request).min(HELD_MAX);
    }

    /// Takes one retry, if there is one.
    pub fn spend(&self) -> bool {
        let now = Instant::now();
        let mut account = self.lock();
        let ms = u64::try_from(now.duration_since(account.since).as_millis()).unwrap_or(u64::MAX);
        account.since += Duration::from_millis(ms);
        account.held = account.held.saturating_add(ms.saturating_mul(EARNED_PER_MS)).min(HELD_MAX);
        let is_there = account.held >= RETRY;
        if is_there {
            account.held -= RETRY;
        }
        is_there
    }

    /// How long to wait after so many failures of one request.
    pub fn wait(&self, failures: u32) -> Duration {
        self.backoff.after_by(failures, 0.5)
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(budget: &RetryBudget) -> usize {
        std::iter::from_fn(|| budget.spend().then_some(())).count()
    }

    #[test]
    fn retries_are_a_share_of_requests() {
        let budget = RetryBudget::new(&RetrySettings::default());
        assert_eq!(spent(&budget), 10, "the first ones");
        (0..50).for_each(|_| budget.earn());
        assert_eq!(spent(&budget), 10, "a fifth");
        (0..4).for_each(|_| budget.earn());
        assert_eq!(spent(&budget), 0);
        (0..10_000).for_each(|_| budget.earn());
        assert_eq!(spent(&budget), 100, "not so many at once");
    }

    #[test]
    fn a_server_that_is_rarely_asked_has_some_too() {
        let budget = RetryBudget::new(&RetrySettings { percent: 0, ..RetrySettings::default() });
        assert_eq!(spent(&budget), 10);
        (0..100).for_each(|_| budget.earn());
        assert_eq!(spent(&budget), 0);
        let mut account = budget.lock();
        account.since = account.since.checked_sub(Duration::from_secs(3)).expect("a while ago");
        drop(account);
        assert_eq!(spent(&budget), 3);
    }
}
