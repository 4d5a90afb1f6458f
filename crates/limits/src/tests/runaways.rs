//! Agents that run away, and loops that are meant.

use std::path::Path;

use tollgate_store::{Desired, Feed, Memory, Pausable, Pauses, Resuming};

use super::*;

fn watched() -> Limits {
    let settings = LimitSettings { runaway: Some(RunawaySettings::default()), ..settings(Vec::new()) };
    Limits::new(&settings)
}

fn of_tool<'a>(agent: &'a str, tool: &'a str) -> Subject<'a> {
    Subject { tool: Some(tool), ..call("acme", agent) }
}

/// Makes calls with so long between them, and waits when it is told to. How many were let through until it was paused.
async fn calls(
    limits: &Limits,
    agent: &str,
    pause: Duration,
    times: usize,
    arguments: impl Fn(usize) -> String,
) -> (usize, usize) {
    let mut slowed = 0;
    for number in 0..times {
        match limits.watch(&of_tool(agent, "find"), agent, arguments(number).as_bytes()) {
            Verdict::Go => {}
            Verdict::Slow(wait) => {
                slowed += 1;
                tokio::time::advance(wait).await;
            }
            Verdict::Paused { .. } => return (number, slowed),
        }
        tokio::time::advance(pause).await;
    }
    (times, slowed)
}

#[tokio::test(start_paused = true)]
async fn the_same_call_again_and_again_is_slowed_and_paused() {
    let limits = watched();
    let mut notices = limits.notices().expect("notices");
    let (made, slowed) = calls(&limits, "a", Duration::from_millis(1), 1000, |_| "{}".to_owned()).await;
    assert!(made <= 160 && slowed > 10, "{made} calls, {slowed} slowed");
    let Some(Notice::Runaway { agent, why, .. }) = notices.recv().await else { panic!("a notice") };
    assert_eq!((&*agent, why), ("a", Why::Repeats));
    // Nothing of it is let through, and nobody else is paused.
    assert!(matches!(limits.watch(&of_tool("a", "put"), "a", b"1"), Verdict::Paused { is_new: None, .. }));
    assert_eq!(limits.watch(&of_tool("b", "find"), "b", b"{}"), Verdict::Go);
    tokio::time::advance(RunawaySettings::default().pause).await;
    assert_eq!(limits.watch(&of_tool("a", "put"), "a", b"1"), Verdict::Go, "it is over by itself");
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_is_taken_over_ends_pauses() {
    let limits = watched();
    calls(&limits, "a", Duration::ZERO, 1000, |_| "{}".to_owned()).await;
    let paused = || matches!(limits.watch(&of_tool("a", "put"), "a", b"1"), Verdict::Paused { .. });
    assert!(paused());
    limits.apply(&LimitSettings { runaway: Some(RunawaySettings::default()), ..settings(Vec::new()) });
    assert!(!paused());
}

/// Loops that people build: asking whether something is done, page after page, retries with growing pauses.
#[tokio::test(start_paused = true)]
async fn loops_that_are_meant_are_left_alone() {
    let limits = watched();
    let same = |_: usize| "{\"job\":7}".to_owned();
    for (agent, pause, times) in [("polls", 1000, 5000), ("polls-fast", 500, 5000), ("burst", 0, 49)] {
        let done = calls(&limits, agent, Duration::from_millis(pause), times, same).await;
        assert_eq!(done, (times, 0), "{agent}");
    }
    let page = |number: usize| format!("{{\"cursor\":{number}}}");
    assert_eq!(calls(&limits, "pages", Duration::from_millis(20), 5000, page).await, (5000, 0));
}

#[tokio::test(start_paused = true)]
async fn a_surge_against_its_own_past_is_paused() {
    let limits = watched();
    let other = |number: usize| format!("{{\"n\":{number}}}");
    // A call every two seconds, for twenty minutes.
    assert_eq!(calls(&limits, "a", Duration::from_secs(2), 600, other).await, (600, 0));
    let surges = |number: usize| format!("{{\"s\":{number}}}");
    let (made, _) = calls(&limits, "a", Duration::from_millis(5), 5000, surges).await;
    assert!(made < 1000, "{made} calls at a hundred times its pace");
    // Whoever always goes fast is in order.
    assert_eq!(calls(&limits, "fast", Duration::from_millis(10), 200_000, other).await, (200_000, 0));
}

/// What docs/limits.md promises: being slowed keeps no loop from being paused, however much it is slowed.
#[tokio::test(start_paused = true)]
async fn a_loop_is_paused_within_so_many_calls_however_it_is_slowed() {
    let same = |_: usize| "{}".to_owned();
    for slow_ms in [1, 250, 1000, 60_000] {
        let runaway = RunawaySettings { slow: Duration::from_millis(slow_ms), ..RunawaySettings::default() };
        let settings = LimitSettings { runaway: Some(runaway), ..LimitSettings::default() };
        // For each how long its calls take, and how many are let through.
        for (took_ms, least, most) in [(0, 95, 101), (100, 120, 127), (250, 195, 203)] {
            let limits = Limits::new(&settings);
            let took = Duration::from_millis(took_ms);
            let (made, slowed) = calls(&limits, "a", took, 1000, same).await;
            assert!(
                (least..=most).contains(&made),
                "slowed by {slow_ms} ms, {took_ms} ms each: {made} calls"
            );
            assert!(slowed >= 40, "{slowed} of them slowed");
        }
        let limits = Limits::new(&settings);
        assert_eq!(
            calls(&limits, "a", Duration::from_millis(500), 1000, same).await,
            (1000, 0),
            "2 a second"
        );
    }
}

/// Many at once that wait together are slowed once.
#[tokio::test(start_paused = true)]
async fn calls_that_wait_together_wait_once() {
    let limits = watched();
    let of = of_tool("a", "find");
    let made =
        (0..1000).take_while(|_| !matches!(limits.watch(&of, "a", b"{}"), Verdict::Paused { .. })).count();
    assert!((98..=101).contains(&made), "{made} calls");
}

/// A loop that was recorded: for each call the pause before it, its tool and its arguments.
fn recorded(name: &str) -> Vec<(Duration, String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/loops").join(format!("{name}.tsv"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let call = |line: &str| {
        let mut parts = line.splitn(3, '\t');
        let mut next = || parts.next().unwrap_or_else(|| panic!("{name}: {line}"));
        let (ms, tool, arguments) = (next(), next(), next());
        (Duration::from_millis(ms.parse().expect("a number")), tool.to_owned(), arguments.to_owned())
    };
    text.lines().filter(|line| !line.starts_with('#')).map(call).collect()
}

/// How many calls of a recorded loop are let through, of how many, and how many of them are slowed.
async fn play(limits: &Limits, name: &str) -> (usize, usize, usize) {
    let calls = recorded(name);
    let mut slowed = 0;
    for (number, (pause, tool, arguments)) in calls.iter().enumerate() {
        tokio::time::advance(*pause).await;
        match limits.watch(&of_tool(name, tool), name, arguments.as_bytes()) {
            Verdict::Go => {}
            Verdict::Slow(wait) => {
                slowed += 1;
                tokio::time::advance(wait).await;
            }
            Verdict::Paused { .. } => return (number, calls.len(), slowed),
        }
    }
    (calls.len(), calls.len(), slowed)
}

#[tokio::test(start_paused = true)]
async fn recorded_loops_that_are_meant_are_neither_paused_nor_slowed() {
    let limits = watched();
    for name in ["polling", "pagination", "coding", "fan-out", "retries", "heartbeat"] {
        let (made, all, slowed) = play(&limits, name).await;
        assert_eq!((made, slowed), (all, 0), "{name}");
    }
}

/// What docs/limits.md promises.
#[tokio::test(start_paused = true)]
async fn recorded_attacks_are_paused_within_the_promised_number_of_calls() {
    let limits = watched();
    let (made, all, _) = play(&limits, "attack-repeats").await;
    assert!(made <= 200, "{made} of {all}");
    let (made, all, _) = play(&limits, "attack-surge").await;
    let calm = 400;
    assert!((calm..=calm + 500).contains(&made), "{made} of {all}");
}

/// What one gateway pauses is paused at all, until an operator resumes it.
#[tokio::test(start_paused = true)]
async fn a_pause_is_known_everywhere_and_can_be_ended() {
    let store = Arc::new(Memory::default());
    let [one, two] = [(); 2].map(|()| {
        let limits = watched();
        limits.pause_in(Arc::clone(&store) as Arc<dyn Pauses>);
        limits
    });
    let is_paused = |limits: &Limits| limits.is_paused("acme", "a").is_some();
    calls(&one, "a", Duration::from_millis(1), 1000, |_| "{}".to_owned()).await;
    while store.pauses(None, 9).await.expect("read").is_empty() {
        tokio::task::yield_now().await;
    }
    let take = async |limits: &Limits| {
        let desired = Desired::from(store.snapshot().await.expect("read"));
        limits.take_pauses(desired.pauses());
    };
    assert!(is_paused(&one) && !is_paused(&two));
    take(&one).await;
    take(&two).await;
    assert!(is_paused(&one) && is_paused(&two));
    assert!(matches!(two.watch(&of_tool("a", "put"), "a", b"1"), Verdict::Paused { is_new: None, .. }));
    let who = Pausable { tenant: TenantId::new("acme"), agent: "a".into() };
    let resuming = Resuming { who, reason: "".into(), by: "ops".into() };
    assert!(store.resume(resuming).await.expect("written"));
    take(&one).await;
    take(&two).await;
    assert!(!is_paused(&one) && !is_paused(&two));
    // Also where it makes no call before what says nothing any more is forgotten.
    one.sweep();
    let same = |_: usize| "{}".to_owned();
    assert_eq!(calls(&one, "a", Duration::from_millis(1), 40, same).await, (40, 0), "it begins anew");
}
