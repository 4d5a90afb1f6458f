//! Rates and places that several gateways count together.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::time::Instant;
use tollgate_store::{Counted, Digest, PlaceId, SharedBound, SharedCount, SharedCounters, StoreError};

use super::*;

/// A server that counts, in memory.
#[derive(Debug)]
struct Joint {
    began: Instant,
    is_away: AtomicBool,
    trips: AtomicUsize,
    rates: Mutex<HashMap<Digest, Duration>>,
    places: Mutex<HashMap<Digest, HashSet<PlaceId>>>,
}

impl Joint {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            is_away: AtomicBool::new(false),
            trips: AtomicUsize::new(0),
            rates: Mutex::default(),
            places: Mutex::default(),
        })
    }

    fn put_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }

    /// It is started anew, with nothing.
    fn forget(&self) {
        self.rates.lock().expect("rates").clear();
        self.places.lock().expect("places").clear();
    }

    fn under_way(&self) -> usize {
        self.places.lock().expect("places").values().map(HashSet::len).sum()
    }

    fn answer(&self) -> Result<Duration, StoreError> {
        self.trips.fetch_add(1, Ordering::Relaxed);
        if self.is_away.load(Ordering::Relaxed) {
            Err(StoreError::away("gone"))
        } else {
            Ok(self.began.elapsed())
        }
    }
}

#[async_trait]
impl SharedCounters for Joint {
    async fn count(&self, id: PlaceId, counts: &[SharedCount]) -> Result<Counted, StoreError> {
        let now = self.answer()?;
        let (mut rates, mut places) =
            (self.rates.lock().expect("rates"), self.places.lock().expect("places"));
        let mut full: Option<(usize, Duration)> = None;
        let mut all = Vec::new();
        for (nth, count) in counts.iter().enumerate() {
            let (ahead, wait) = match count.bound {
                SharedBound::Rate { each, window, ahead } => {
                    let ahead = rates.get(&count.of).map_or(ahead, |at| at.saturating_sub(now));
                    (ahead, (ahead + each).saturating_sub(window))
                }
                SharedBound::Places(most) => {
                    let taken = places.entry(count.of).or_default().len() as u64;
                    (Duration::ZERO, Duration::from_secs(u64::from(taken >= most)))
                }
            };
            all.push(ahead);
            if wait > full.map_or(Duration::ZERO, |(_, longest)| longest) {
                full = Some((nth, wait));
            }
        }
        if full.is_none() {
            for (count, ahead) in counts.iter().zip(&mut all) {
                match count.bound {
                    SharedBound::Rate { each, .. } => {
                        *ahead += each;
                        rates.insert(count.of, now + *ahead);
                    }
                    SharedBound::Places(_) => {
                        places.entry(count.of).or_default().insert(id);
                    }
                }
            }
        }
        Ok(Counted { full, ahead: all })
    }

    async fn give_back(&self, id: PlaceId, counts: &[SharedCount]) -> Result<(), StoreError> {
        self.answer()?;
        for count in counts {
            match count.bound {
                SharedBound::Rate { each, .. } => {
                    if let Some(at) = self.rates.lock().expect("rates").get_mut(&count.of) {
                        *at -= each;
                    }
                }
                SharedBound::Places(_) => {
                    self.places.lock().expect("places").entry(count.of).or_default().remove(&id);
                }
            }
        }
        Ok(())
    }

    async fn keep(&self, places: &[(PlaceId, SharedCount)]) -> Result<(), StoreError> {
        self.answer()?;
        for (id, count) in places {
            self.places.lock().expect("places").entry(count.of).or_default().insert(*id);
        }
        Ok(())
    }
}

fn gateways(joint: &Arc<Joint>, rules: &[Rule]) -> [Limits; 2] {
    [(); 2].map(|()| {
        let limits = Limits::default();
        limits.share_by(Arc::clone(joint) as Arc<dyn SharedCounters>);
        limits.apply(&LimitSettings { replicas: some(2), ..settings(rules.to_vec()) });
        limits
    })
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

/// Lets go of the thread until everything that was spawned has done what it can.
async fn settled() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn hourly(most: u32) -> Rule {
    rule("joint", &[Dimension::Tenant], rate(most, Duration::from_hours(1)))
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_one_for_all_and_costs_one_question() {
    let joint = Joint::new();
    let wide = rule("wide", &[], rate(1000, Duration::from_hours(1)));
    let own = rule("agent", &[Dimension::Agent], rate(500, Duration::from_hours(1)));
    let [one, two] = gateways(&joint, &[hourly(20), wide, own]);
    settled().await;
    joint.trips.store(0, Ordering::Relaxed);
    assert_eq!(admits(&one, 12).await, 12);
    assert_eq!(joint.trips.load(Ordering::Relaxed), 12, "one for each, whatever it is counted in");
    assert_eq!(admits(&two, 12).await, 8);
    let exceeded = one.admit(&call("acme", "a")).await.expect_err("no room");
    assert_eq!((&*exceeded.limit, exceeded.of), ("joint", Limited::Rate));
    assert!(exceeded.retry_after > Duration::from_mins(2), "{:?}", exceeded.retry_after);
    assert_eq!(admits(&two, 1).await, 0);
    drop(one.admit(&call("globex", "a")).await.expect("another tenant has its own"));
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_counts_for_nobody() {
    let joint = Joint::new();
    let [one, two] = gateways(&joint, &[hourly(3)]);
    for _ in 0..10 {
        drop(one.admit(&call("acme", "a")).await.expect("it is given back each time"));
        settled().await;
    }
    assert_eq!(admits(&two, 9).await, 3);
}

/// While it is away, and when it comes back with nothing: there is never more than what was left.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_restarted_gives_nothing_twice() {
    let joint = Joint::new();
    let [one, two] = gateways(&joint, &[hourly(40)]);
    let mut notices = one.notices().expect("notices");
    // Both know how much is left: 20.
    assert_eq!(admits(&one, 19).await + admits(&two, 1).await, 20);
    drop(one.admit(&call("acme", "a")).await.expect("room"));
    settled().await;
    joint.put_away(true);
    let meanwhile = admits(&one, 40).await + admits(&two, 40).await;
    assert!((18..=20).contains(&meanwhile), "{meanwhile}: each has its half of what was left");
    assert!(matches!(notices.try_recv(), Ok(Notice::SharedAway { .. })) && one.shared_away().is_some());
    joint.forget();
    joint.put_away(false);
    tokio::time::advance(Duration::from_secs(1)).await;
    settled().await;
    assert!(matches!(notices.try_recv(), Ok(Notice::SharedBack)) && one.shared_away().is_none());
    assert!(admits(&one, 40).await + admits(&two, 40).await <= 2, "what is remembered is told");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_server_that_is_away() {
    let joint = Joint::new();
    let [one, _two] = gateways(&joint, &[hourly(1000)]);
    settled().await;
    joint.put_away(true);
    admits(&one, 1).await;
    settled().await;
    joint.trips.store(0, Ordering::Relaxed);
    assert_eq!(admits(&one, 400).await, 400);
    assert_eq!(joint.trips.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn places_are_held_together() {
    let joint = Joint::new();
    let parallel = rule("parallel", &[Dimension::Tenant], Bound::Concurrency(some(3)));
    let [one, two] = gateways(&joint, &[parallel]);
    let subject = call("acme", "a");
    let held = [one.admit(&subject).await, one.admit(&subject).await].map(|held| held.expect("a place"));
    let other = two.admit(&subject).await.expect("the third place");
    for gateway in [&one, &two] {
        let exceeded = gateway.admit(&subject).await.expect_err("no place");
        assert_eq!((exceeded.of, exceeded.allowed), (Limited::Concurrency, 3));
    }
    assert_eq!(joint.under_way(), 3, "what found no place holds none");
    drop(held);
    settled().await;
    assert_eq!(joint.under_way(), 1);
    // It has forgotten who holds one, and hears of it again.
    joint.forget();
    tokio::time::advance(Duration::from_secs(6)).await;
    settled().await;
    assert_eq!(joint.under_way(), 1);
    drop(other);
    settled().await;
    assert_eq!(joint.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_place_that_was_left_is_taken_again_when_others_leave_theirs() {
    let joint = Joint::new();
    let parallel = rule("parallel", &[Dimension::Tenant], Bound::Concurrency(some(1)));
    let [one, two] = gateways(&joint, &[parallel]);
    let subject = call("acme", "a");
    let first = one.admit(&subject).await.expect("a place");
    first.places.leave();
    settled().await;
    let second = two.admit(&subject).await.expect("it was left");
    assert!(!first.places.come_back(Duration::from_secs(1)).await);
    let waits = tokio::spawn(async move {
        let is_back = first.places.come_back(Duration::from_secs(10)).await;
        (is_back, first)
    });
    settled().await;
    drop(second);
    let (is_back, first) = waits.await.expect("it comes back");
    assert!(is_back && two.admit(&subject).await.is_err());
    drop(first);
    settled().await;
    assert!(two.admit(&subject).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_round_needs_only_its_place() {
    let joint = Joint::new();
    let parallel = rule("parallel", &[], Bound::Concurrency(some(1)));
    let [one, two] = gateways(&joint, &[hourly(1), parallel]);
    let subject = call("acme", "a");
    let first = one.admit(&subject).await.expect("room");
    first.charge.settle();
    one.expect([7; 20], Duration::from_mins(1));
    assert!(one.go_on(&subject, [7; 20]).await.is_err(), "there is no place");
    drop(first);
    settled().await;
    let round = one.go_on(&subject, [7; 20]).await.expect("it was counted already");
    assert!(two.admit(&subject).await.is_err());
    drop(round);
    assert!(one.go_on(&subject, [7; 20]).await.is_err(), "once");
}
