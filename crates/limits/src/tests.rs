use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tollgate_model::{Exceeded, Holder, Limited, ServerId, ServerName, TenantId};

use super::*;

mod meters;
mod runaways;
mod together;

/// Where nobody has to be asked.
trait AtOnce {
    fn admit_now(&self, subject: &Subject<'_>) -> Result<Admission, Exceeded>;
    fn go_on_now(&self, subject: &Subject<'_>, round: [u8; 20]) -> Result<Admission, Exceeded>;
}

impl AtOnce for Limits {
    fn admit_now(&self, subject: &Subject<'_>) -> Result<Admission, Exceeded> {
        self.try_admit(subject).expect("nobody has to be asked")
    }

    fn go_on_now(&self, subject: &Subject<'_>, round: [u8; 20]) -> Result<Admission, Exceeded> {
        self.try_go_on(subject, round).expect("nobody has to be asked")
    }
}

fn some(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).expect("some")
}

fn rule(name: &str, per: &[Dimension], bound: Bound) -> Rule {
    Rule { name: Arc::from(name), plan: None, per: per.to_vec(), about: About::default(), bound }
}

fn rate(requests: u32, per: Duration) -> Bound {
    Bound::Rate { requests: some(requests), per, burst: some(requests) }
}

fn limits(rules: Vec<Rule>) -> Limits {
    Limits::new(&settings(rules))
}

fn settings(rules: Vec<Rule>) -> LimitSettings {
    let tenants = ["acme", "globex"].map(TenantId::new).to_vec();
    LimitSettings { rules, tenants, ..LimitSettings::default() }
}

fn call<'a>(tenant: &'a str, agent: &'a str) -> Subject<'a> {
    Subject {
        tenant,
        agent: Some(agent),
        user: None,
        key: None,
        server: None,
        tool: None,
        toolset: None,
        endpoint: "",
        method: "tools/call",
    }
}

/// Admits and settles as many as there is room for.
fn run(limits: &Limits, subject: &Subject<'_>, times: usize) -> usize {
    let admit = |_| {
        let admission = limits.admit_now(subject)?;
        admission.charge.settle();
        Ok::<_, Exceeded>(())
    };
    (0..times).filter(|number| admit(*number).is_ok()).count()
}

#[tokio::test(start_paused = true)]
async fn a_tenants_limit_bounds_its_agents() {
    let limits = limits(vec![
        rule("tenant", &[Dimension::Tenant], rate(5, Duration::from_secs(10))),
        rule("agent", &[Dimension::Agent], rate(3, Duration::from_secs(10))),
    ]);
    assert_eq!(run(&limits, &call("acme", "a"), 9), 3);
    assert_eq!(run(&limits, &call("acme", "b"), 9), 2, "the tenant has five in all");
    assert_eq!(
        run(&limits, &call("globex", "a"), 9),
        3,
        "another tenant's agent of the same name is another"
    );
    let exceeded = limits.admit_now(&call("acme", "a")).expect_err("no room");
    assert_eq!((&*exceeded.limit, exceeded.of, exceeded.left), ("agent", Limited::Rate, 0));
    let wait = exceeded.retry_after;
    tokio::time::advance(wait.saturating_sub(Duration::from_nanos(1))).await;
    assert!(limits.admit_now(&call("acme", "a")).is_err());
    tokio::time::advance(Duration::from_nanos(1)).await;
    assert!(limits.admit_now(&call("acme", "a")).is_ok(), "{wait:?} was the time to wait");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_or_given_up_counts_nowhere() {
    let limits = limits(vec![
        rule("wide", &[Dimension::Tenant], rate(4, Duration::from_hours(1))),
        rule("narrow", &[Dimension::Agent], rate(1, Duration::from_hours(1))),
    ]);
    assert_eq!(run(&limits, &call("acme", "a"), 50), 1, "49 are refused by the narrow one");
    for _ in 0..20 {
        drop(limits.admit_now(&call("acme", "b")).expect("room: it is given back each time"));
    }
    let left = ["b", "c", "d", "e"].map(|agent| run(&limits, &call("acme", agent), 1));
    assert_eq!(left, [1, 1, 1, 0], "the wide one has counted one");
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_late_makes_no_more_room_than_there_was() {
    let limits = limits(vec![rule("calls", &[], rate(5, Duration::from_secs(5)))]);
    let subject = call("acme", "a");
    let admit = |_| limits.admit_now(&subject).expect("room");
    let (waiting, late): (Vec<_>, Vec<_>) = ((0..4).map(admit).collect(), (0..1).map(admit).collect());
    tokio::time::advance(Duration::from_millis(4500)).await;
    assert_eq!(run(&limits, &subject, 9), 4);
    drop(waiting);
    assert_eq!(run(&limits, &subject, 9), 0, "what they had taken is over");
    drop(late);
    assert_eq!(run(&limits, &subject, 9), 1, "half of it was still to come, and half a place was left");
}

#[test]
fn places_are_held_and_left() {
    let limits = limits(vec![rule("parallel", &[Dimension::Agent], Bound::Concurrency(some(2)))]);
    let subject = call("acme", "a");
    let first = limits.admit_now(&subject).expect("a place");
    let second = limits.admit_now(&subject).expect("a place");
    let exceeded = limits.admit_now(&subject).expect_err("two at once");
    assert_eq!((exceeded.of, exceeded.allowed, exceeded.window), (Limited::Concurrency, 2, None));
    assert!(limits.admit_now(&call("acme", "b")).is_ok());
    second.places.leave();
    let third = limits.admit_now(&subject).expect("the place that was left");
    drop(first);
    drop(second);
    drop((limits.admit_now(&subject).expect("one is free"), third));
    assert_eq!(std::iter::repeat_with(|| limits.admit_now(&subject)).take(2).flatten().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_back_waits_for_a_place() {
    let limits = limits(vec![rule("parallel", &[], Bound::Concurrency(some(1)))]);
    let subject = call("acme", "a");
    let asked = limits.admit_now(&subject).expect("a place").places;
    asked.leave();
    let other = limits.admit_now(&subject).expect("the place that was left");
    assert!(!asked.come_back(Duration::from_secs(5)).await, "there is none");
    let frees = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(other);
    };
    let (came, ()) = tokio::join!(asked.come_back(Duration::from_secs(5)), frees);
    assert!(came && limits.admit_now(&subject).is_err());
    drop(asked);
    assert!(limits.admit_now(&subject).is_ok());
}

#[test]
fn many_threads_never_get_more() {
    const THREADS: usize = 64;
    let limits = limits(vec![
        rule("rate", &[Dimension::Tenant], rate(1000, Duration::from_hours(1000))),
        rule("agents", &[Dimension::Agent], rate(40, Duration::from_hours(1000))),
        rule("parallel", &[Dimension::Tenant], Bound::Concurrency(some(8))),
    ]);
    let under_way = std::sync::atomic::AtomicUsize::new(0);
    let (limits, under_way) = (&limits, &under_way);
    let done: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                scope.spawn(move || {
                    let agent = format!("agent {}", number % 32);
                    let mut done = 0;
                    for _ in 0..300 {
                        let Ok(admission) = limits.admit_now(&call("acme", &agent)) else { continue };
                        let now = under_way.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        assert!(now < 8, "{now} were under way already");
                        std::thread::yield_now();
                        under_way.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        admission.charge.settle();
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread")).sum()
    });
    assert!(done <= 1000, "{done}");
    // What was given back on the way was given back whole: the rest is there.
    let rest: usize = (0..64).map(|number| run(limits, &call("acme", &format!("late {number}")), 40)).sum();
    assert_eq!(done + rest, 1000);
}

#[test]
fn rules_are_about_calls_unless_they_say_more() {
    let mut lists = rule("lists", &[], rate(1, Duration::from_hours(1)));
    lists.about.method = vec![Glob::new("*/list")];
    let limits = limits(vec![rule("calls", &[], rate(1, Duration::from_hours(1))), lists]);
    let method = |method| Subject { method, ..call("acme", "a") };
    for (name, expected) in
        [("tools/list", 1), ("prompts/list", 0), ("tasks/get", 5), ("prompts/get", 1), ("tools/call", 0)]
    {
        assert_eq!(run(&limits, &method(name), 5), expected, "{name}");
    }
}

#[test]
fn servers_and_tools_are_told_apart() {
    let server = |holder: Holder, name: &str| ServerId::new(holder, ServerName::new(name).expect("a name"));
    let own = |tenant: &str| server(Holder::Tenant(TenantId::new(tenant)), "crm");
    let shared = server(Holder::Shared, "mail");
    let per_tool = rule("tools", &[Dimension::Tool], rate(2, Duration::from_hours(1)));
    let limits = limits(vec![per_tool]);
    let of = |tenant: &str, server: &ServerId, tool: &str| {
        run(&limits, &Subject { server: Some(server), tool: Some(tool), ..call(tenant, "a") }, 5)
    };
    assert_eq!(of("acme", &own("acme"), "find"), 2);
    assert_eq!(of("acme", &own("acme"), "put"), 2);
    assert_eq!(of("globex", &own("globex"), "find"), 2, "another server of the same name");
    assert_eq!(of("acme", &shared, "find"), 2);
    assert_eq!(of("globex", &shared, "find"), 0, "the same server for both");
    assert_eq!(run(&limits, &call("acme", "a"), 5), 5, "no tool, and so not what the rule is about");
}

#[test]
fn a_tool_is_counted_in_whatever_case_it_is_called() {
    let mut named = rule("named", &[], rate(3, Duration::from_hours(1)));
    named.about.tool = vec![Glob::new("deleteA*")];
    let limits = limits(vec![named, rule("each", &[Dimension::Tool], rate(2, Duration::from_hours(1)))]);
    let crm = ServerId::new(Holder::Shared, ServerName::new("crm").expect("a name"));
    let of = |tool| run(&limits, &Subject { server: Some(&crm), tool: Some(tool), ..call("acme", "a") }, 5);
    assert_eq!(of("deleteAll"), 2);
    assert_eq!(of("DELETEALL"), 0, "it may be the same tool");
    assert_eq!(of("DeleteAny"), 1, "three of all that begin so");
    assert_eq!(of("find"), 2);
}

#[test]
fn plans_are_for_their_tenants() {
    let plan =
        |name: &str, tenant| Some(Plan { name: Arc::from(name), tenants: vec![TenantId::new(tenant)] });
    let gold = Rule { plan: plan("gold", "acme"), ..rule("calls", &[], rate(5, Duration::from_hours(1))) };
    let free = Rule { plan: plan("free", "globex"), ..rule("calls", &[], rate(2, Duration::from_hours(1))) };
    let limits = limits(vec![gold, free]);
    assert_eq!(run(&limits, &call("acme", "a"), 9), 5);
    assert_eq!(run(&limits, &call("globex", "a"), 9), 2);
    assert_eq!(run(&limits, &call("unknown", "a"), 9), 9);
}

#[test]
fn a_reload_forgets_nothing() {
    let calls = |most| rule("calls", &[Dimension::Agent], rate(most, Duration::from_hours(1)));
    let parallel = |most| rule("parallel", &[Dimension::Agent], Bound::Concurrency(some(most)));
    let limits = limits(vec![calls(4), parallel(2)]);
    let subject = call("acme", "a");
    assert_eq!(run(&limits, &subject, 2), 2);
    let held = limits.admit_now(&subject).expect("room");
    limits.apply(&settings(vec![parallel(1), calls(4)]));
    assert_eq!(limits.admit_now(&subject).expect_err("no place").of, Limited::Concurrency);
    drop(held);
    assert_eq!(run(&limits, &subject, 9), 2, "two of the four were used before");
    limits.apply(&settings(vec![calls(3)]));
    assert_eq!(run(&limits, &subject, 9), 3, "another rate begins anew");
    limits.apply(&settings(Vec::new()));
    assert!(!limits.are_any());
    assert_eq!(run(&limits, &subject, 9), 9);
}

#[test]
fn a_round_that_was_counted_counts_once() {
    let limits = limits(vec![
        rule("calls", &[], rate(2, Duration::from_hours(1))),
        rule("parallel", &[], Bound::Concurrency(some(1))),
    ]);
    let subject = call("acme", "a");
    assert_eq!(run(&limits, &subject, 1), 1);
    limits.expect([7; 20], Duration::from_mins(1));
    let held = limits.go_on_now(&subject, [7; 20]).expect("it is counted already");
    assert!(held.is_round && !limits.expects(&[7; 20]));
    limits.expect([8; 20], Duration::from_mins(1));
    assert!(limits.go_on_now(&subject, [8; 20]).is_err(), "but needs a place");
    drop(held);
    drop(limits.go_on_now(&subject, [8; 20]).expect("it is expected still"));
    for (expected, name) in [(1, "a round that took place"), (0, "and there is no more")] {
        let again = limits.go_on_now(&subject, [8; 20]);
        if let Ok(admission) = &again {
            assert!(!admission.is_round, "a second time it is a request of its own");
            admission.charge.settle();
        }
        assert_eq!(usize::from(again.is_ok()), expected, "{name}");
    }
}

#[test]
fn those_without_a_counter_share_one() {
    let mut settings = settings(vec![rule("agents", &[Dimension::Agent], rate(2, Duration::from_hours(1)))]);
    (settings.counters_max, settings.tenant_share_percent) = (10, 50);
    let limits = Limits::new(&settings);
    let agents: usize = (0..100).map(|number| run(&limits, &call("acme", &format!("{number}")), 2)).sum();
    assert_eq!(agents, 5 * 2 + 2, "five have their own, and ninety-five have one together");
    assert_eq!(run(&limits, &call("acme", "0"), 1), 0, "what was counted is not forgotten");
    assert_eq!(run(&limits, &call("globex", "0"), 2), 2, "another tenant has its share");
    assert!(limits.shared_count() > 0);
}
