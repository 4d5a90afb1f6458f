//! Quotas and budgets.

use std::sync::Mutex;

use tollgate_model::{Clock, Timestamp};
use tollgate_store::suite::{Fault, Faulty};
use tollgate_store::{Allowances, Memory};

use super::*;

const DAY_MS: u64 = 86_400_000;

/// A clock that is put where a test wants it.
#[derive(Debug, Clone, Default)]
struct Hand(Arc<Mutex<u64>>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(*self.0.lock().expect("a clock"))
    }
}

impl Hand {
    fn put(&self, ms: u64) {
        *self.0.lock().expect("a clock") = ms;
    }
}

fn quota(calls: u64) -> Bound {
    Bound::Quota { calls, every: Every::Day }
}

fn budget(allowed: u64, is_soft: bool) -> Bound {
    Bound::Budget { allowed, of: Unit::Tokens, every: Every::Day, warn_at: Some(800), is_soft }
}

/// A process that counts in this store.
fn process(bound: Bound, store: &Arc<dyn Allowances>, clock: &Hand, replicas: u32) -> Limits {
    let limits = Limits::with_clock(Box::new(clock.clone()));
    limits.keep_in(Arc::clone(store));
    let rules = vec![rule("metered", &[Dimension::Tenant], bound)];
    limits.apply(&LimitSettings { replicas: some(replicas), ..settings(rules) });
    limits
}

fn memory() -> Arc<dyn Allowances> {
    Arc::new(Memory::default())
}

async fn admits(limits: &Limits, times: usize) -> usize {
    let mut done = 0;
    for _ in 0..times {
        if let Ok(admission) = limits.admit(&call("acme", "a")).await {
            admission.charge.settle();
            done += 1;
        }
    }
    done
}

/// Uses up so many tokens with each request, until there is no more room.
async fn spends(limits: &Limits, tokens: u64, times: usize) -> usize {
    let mut done = 0;
    for _ in 0..times {
        let Ok(admission) = limits.admit(&call("acme", "a")).await else { break };
        admission.charge.settle();
        admission.charge.spend(Spent { tokens, cost_nano: 0 });
        done += 1;
        // What has to be written down at once is.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    done
}

#[tokio::test(start_paused = true)]
async fn processes_share_a_quota_until_its_window_ends() {
    let (store, clock) = (memory(), Hand::default());
    let [one, two] = [(); 2].map(|()| process(quota(250), &store, &clock, 2));
    assert_eq!(admits(&one, 100).await, 100);
    assert_eq!(admits(&two, 250).await, 150);
    assert_eq!(admits(&one, 250).await, 0);
    let exceeded = one.admit(&call("acme", "a")).await.expect_err("nothing is left");
    assert_eq!((exceeded.of, exceeded.allowed, exceeded.left), (Limited::Quota, 250, 0));
    assert_eq!(exceeded.retry_after, Duration::from_millis(DAY_MS));
    assert!(one.admit(&call("globex", "a")).await.is_ok(), "another tenant has its own");
    clock.put(DAY_MS);
    assert_eq!(admits(&one, 300).await, 250, "another day");
}

/// What a process that is killed had taken is lost, and no more; and nothing is given out twice.
#[tokio::test(start_paused = true)]
async fn a_killed_process_gives_back_nothing() {
    let (store, clock) = (memory(), Hand::default());
    let mut done = 0;
    let mut kills = 0;
    loop {
        let process = process(quota(1000), &store, &clock, 1);
        let now = admits(&process, 34).await;
        // Dropped without a word.
        done += now;
        if now == 0 {
            break;
        }
        kills += 1;
    }
    assert!(done <= 1000, "{done}");
    assert!(done + kills * 10 >= 1000, "{done} after {kills} kills: each loses a hundredth at most");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ends_gives_back_what_it_did_not_need() {
    let (store, clock) = (memory(), Hand::default());
    for _ in 0..100 {
        let process = process(quota(1000), &store, &clock, 1);
        assert_eq!(admits(&process, 5).await, 5);
        process.settle_up(true).await;
    }
    let last = process(quota(1000), &store, &clock, 1);
    assert_eq!(admits(&last, 1000).await, 500);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_carried_out_is_not_counted() {
    let (store, clock) = (memory(), Hand::default());
    let limits = process(quota(10), &store, &clock, 1);
    for _ in 0..30 {
        drop(limits.admit(&call("acme", "a")).await.expect("room"));
    }
    assert_eq!(admits(&limits, 20).await, 10);
}

/// What servers say meanwhile waits for no store, and counts all the same.
#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_is_counted_too() {
    let (store, clock) = (memory(), Hand::default());
    let limits = process(quota(10), &store, &clock, 1);
    let mut done = 0;
    for _ in 0..3000 {
        if let Ok(admission) = limits.admit_here(&call("acme", "a")) {
            admission.charge.settle();
            done += 1;
        }
        // What is asked meanwhile is answered.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(done, 10);
    clock.put(DAY_MS);
    assert!(limits.admit_here(&call("acme", "a")).is_ok(), "another day");
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_used_up_by_what_requests_use() {
    let (store, clock) = (memory(), Hand::default());
    let [one, two] = [(); 2].map(|()| process(budget(10_000, false), &store, &clock, 1));
    let mut notices = one.notices().expect("notices");
    assert_eq!(spends(&one, 700, 5).await, 5);
    assert_eq!(spends(&two, 700, 5).await, 5);
    let more = spends(&one, 700, 50).await;
    assert_eq!(more, 5, "10 of 700 are 7000: the one that uses up the rest is seen through");
    assert_eq!(spends(&two, 700, 5).await, 1, "what the other had taken of it");
    let exceeded = two.admit(&call("acme", "a")).await;
    assert_eq!(exceeded.expect_err("the other process knows").of, Limited::Budget);
    let Some(Notice::BudgetShare { limit, whose, used, allowed, currency }) = notices.recv().await else {
        panic!("a notice")
    };
    assert_eq!((&*whose, currency), ("tenant=acme", None));
    assert!(&*limit == "metered" && (8_000..10_000).contains(&used) && allowed == 10_000, "{used}");
    assert!(notices.try_recv().is_err(), "once in a window");
    clock.put(DAY_MS);
    assert_eq!(spends(&two, 700, 3).await, 3);
}

/// Not again by a process that begins in the midst of it, nor after a while without requests.
#[tokio::test(start_paused = true)]
async fn operators_are_told_once_in_a_window() {
    let (store, clock) = (memory(), Hand::default());
    let told = |limits: &Limits| limits.notices().expect("notices");
    let [one, two] = [(); 2].map(|()| process(budget(10_000, false), &store, &clock, 1));
    let (mut first, mut second) = (told(&one), told(&two));
    assert_eq!(spends(&one, 500, 17).await, 17);
    assert!(matches!(first.try_recv(), Ok(Notice::BudgetShare { .. })));
    one.settle_up(true).await;
    assert_eq!(spends(&one, 100, 1).await, 1);
    assert!(first.try_recv().is_err(), "it has only given back what it did not need");
    assert_eq!(spends(&two, 100, 3).await, 3);
    assert!(second.try_recv().is_err(), "it was told before it began");
    clock.put(DAY_MS);
    assert_eq!(spends(&two, 500, 17).await, 17);
    assert!(matches!(second.try_recv(), Ok(Notice::BudgetShare { .. })), "another window");
}

#[tokio::test(start_paused = true)]
async fn of_a_soft_budget_operators_hear_when_it_is_used_up() {
    let (store, clock) = (memory(), Hand::default());
    let bound =
        Bound::Budget { allowed: 1000, of: Unit::Tokens, every: Every::Day, warn_at: None, is_soft: true };
    let limits = process(bound, &store, &clock, 1);
    let mut notices = limits.notices().expect("notices");
    assert_eq!(spends(&limits, 300, 3).await, 3);
    assert!(notices.try_recv().is_err());
    assert_eq!(spends(&limits, 300, 3).await, 3);
    assert!(matches!(notices.try_recv(), Ok(Notice::BudgetShare { used: 1200, allowed: 1000, .. })));
}

#[tokio::test(start_paused = true)]
async fn a_soft_budget_refuses_nothing() {
    let (store, clock) = (memory(), Hand::default());
    let limits = process(budget(1000, true), &store, &clock, 1);
    let mut notices = limits.notices().expect("notices");
    assert_eq!(spends(&limits, 300, 20).await, 20);
    assert!(matches!(notices.recv().await, Some(Notice::BudgetShare { .. })));
}

/// Requests whose answer nobody learns of cost what they cost at least.
#[tokio::test(start_paused = true)]
async fn whoever_leaves_pays() {
    let (store, clock) = (memory(), Hand::default());
    let bound =
        Bound::Budget { allowed: 100, of: Unit::Cost, every: Every::Day, warn_at: None, is_soft: false };
    let limits = process(bound, &store, &clock, 1);
    let mut done = 0;
    while let Ok(admission) = limits.admit(&call("acme", "a")).await {
        admission.charge.costs_at_least(10);
        admission.charge.settle();
        drop(admission);
        tokio::time::sleep(Duration::from_millis(1)).await;
        done += 1;
        assert!(done <= 10);
    }
    assert_eq!(done, 10);
}

#[tokio::test(start_paused = true)]
async fn without_the_store_each_gives_out_its_share() {
    let clock = Hand::default();
    let faulty = Faulty::new(Arc::new(Memory::default()));
    let store: Arc<dyn Allowances> = Arc::new(faulty.clone());
    let [one, two] = [(); 2].map(|()| process(quota(1000), &store, &clock, 4));
    let mut notices = one.notices().expect("notices");
    assert_eq!(admits(&one, 50).await, 50);
    faulty.set(Fault::Away);
    assert_eq!(admits(&one, 1000).await, 200, "a quarter in all");
    assert_eq!(admits(&two, 1000).await, 250);
    assert!(one.allowances_away().is_some() && matches!(notices.recv().await, Some(Notice::Away { .. })));
    faulty.set(Fault::None);
    tokio::time::advance(Duration::from_secs(2)).await;
    // What was given out meanwhile is written down: so much less is left.
    two.settle_up(false).await;
    let rest = admits(&one, 1000).await + admits(&two, 1000).await;
    assert_eq!(rest, 500);
    assert!(one.allowances_away().is_none() && matches!(notices.recv().await, Some(Notice::Back)));
}
