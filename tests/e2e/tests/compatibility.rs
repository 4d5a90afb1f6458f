//! Every client library with every server, without the gateway and through it, and the table that says so.
//!
//! The first half of `docs/reference/compatibility.md` is what this test saw; with `TOLLGATE_REGENERATE` set it is written
//! anew. The second half is the test `features`.

#![allow(clippy::expect_used, reason = "a test fails loudly")]

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tollgate_e2e::clients::{Driver, Library};
use tollgate_e2e::documents::compare_section;
use tollgate_e2e::gateway::{Gateway, servers};
use tollgate_e2e::samples::{Sample, Samples, Speaks};

/// How many drivers work at once.
const DRIVERS_MAX: usize = 2;

/// For one library: per server, what was wrong at the server's own endpoint and at the merged one.
struct Seen {
    library: Library,
    own: Vec<Vec<String>>,
    merged: Vec<Vec<String>>,
}

/// What the pairs do without a gateway. Where this fails, the test or the machine is at fault and not the gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pairs_that_share_a_revision_work_without_the_gateway() {
    let samples = Arc::new(Samples::start().await);
    let seen = with_each_library(|mut driver| {
        let samples = samples.clone();
        async move {
            let mut wrong = String::new();
            for sample in &samples.all {
                if impossible(driver.library(), sample).is_none() {
                    let may_be_modern = sample.speaks != Speaks::Legacy;
                    for problem in alone(&mut driver, sample, sample.connect.clone(), may_be_modern).await {
                        let _ = writeln!(wrong, "{:?} with {}: {problem}", driver.library(), sample.name);
                    }
                }
            }
            wrong
        }
    })
    .await;
    let wrong = seen.concat();
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_compatibility_table_says_what_works_through_the_gateway() {
    let samples = Arc::new(Samples::start().await);
    let gateway =
        Gateway::start(&servers(samples.all.iter().map(|sample| (sample.name, sample.entry())))).await;
    let base = format!("http://{}", gateway.listen);
    let seen = with_each_library(|mut driver| {
        let (samples, base) = (samples.clone(), base.clone());
        async move {
            let mut own = Vec::new();
            for sample in &samples.all {
                let url = json!({ "url": format!("{base}/mcp/{}", sample.name) });
                own.push(alone(&mut driver, sample, url, true).await);
            }
            let merged = merged(&mut driver, &samples, &base).await;
            Seen { library: driver.library(), own, merged }
        }
    })
    .await;

    let mut wrong = String::new();
    for seen in &seen {
        for (row, sample) in samples.all.iter().enumerate() {
            let places = [("at its own endpoint", &seen.own), ("at the merged endpoint", &seen.merged)];
            for (place, results) in places {
                for problem in &results[row] {
                    let _ = writeln!(wrong, "{:?} with {} {place}: {problem}", seen.library, sample.name);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    compare_section("docs/reference/compatibility.md", "pairs", &page(&samples, &seen));
}

/// Does the same with a driver of every library, a few at once, and gives the results in the libraries' order.
async fn with_each_library<T, F>(work: impl Fn(Driver) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let at_once = Arc::new(Semaphore::new(DRIVERS_MAX));
    let mut running = JoinSet::new();
    for (place, library) in Library::ALL.into_iter().enumerate() {
        let (at_once, done) = (at_once.clone(), work(Driver::start(library)));
        running.spawn(async move {
            let _turn = at_once.acquire().await.expect("it is never closed");
            (place, done.await)
        });
    }
    let mut results = running.join_all().await;
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Why two cannot talk without something in between.
fn impossible(library: Library, sample: &Sample) -> Option<&'static str> {
    if sample.speaks == Speaks::Modern && !library.is_modern() {
        return Some("no revision in common");
    }
    (sample.connect["sse"].is_string() && library == Library::Rmcp).then_some("the client has no HTTP+SSE")
}

/// One connection that serves one server, by its native names.
async fn alone(driver: &mut Driver, sample: &Sample, connect: Value, may_be_modern: bool) -> Vec<String> {
    let modern = may_be_modern && driver.library().is_modern();
    let answer = driver
        .job(&json!({
            "id": sample.name,
            "connect": connect,
            "lists": sample.lists(),
            "ping": !modern,
            "parts": { sample.name: sample.steps },
        }))
        .await;
    let mut wrong = lists(&answer, &sample.lists());
    wrong.extend(sample.check(&answer["parts"][sample.name], true));
    wrong.extend(connection(&answer, modern));
    wrong
}

/// One connection that serves all servers, by public names.
async fn merged(driver: &mut Driver, samples: &Samples, base: &str) -> Vec<Vec<String>> {
    let parts: serde_json::Map<String, Value> = samples
        .all
        .iter()
        .map(|sample| (sample.name.to_owned(), sample.public_steps(samples.shares_resource(sample))))
        .collect();
    let every = ["tools", "resources", "templates", "prompts"];
    let modern = driver.library().is_modern();
    let answer = driver
        .job(&json!({
            "id": "merged",
            "timeoutS": 120,
            "connect": { "url": format!("{base}/mcp") },
            "lists": every,
            "ping": !modern,
            "parts": parts,
        }))
        .await;
    let mut common = lists(&answer, &every);
    common.extend(connection(&answer, modern));
    let listed = |key: &str| -> Vec<&str> {
        answer[key]["ok"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let (tools, resources, prompts) = (listed("tools"), listed("resources"), listed("prompts"));
    let mut all = Vec::new();
    for sample in &samples.all {
        let mut wrong = common.clone();
        wrong.extend(sample.check(&answer["parts"][sample.name], false));
        let steps = &parts[sample.name];
        let offered = [(&steps["tool"]["name"], &tools), (&steps["prompt"]["name"], &prompts)];
        for (wanted, list) in offered.into_iter().chain([(&steps["resource"], &resources)]) {
            if let Some(wanted) = wanted.as_str()
                && !list.contains(&wanted)
            {
                wrong.push(format!("{wanted} is not in the list"));
            }
        }
        all.push(wrong);
    }
    all
}

fn lists(answer: &Value, wanted: &[&str]) -> Vec<String> {
    let missing = wanted.iter().filter(|list| !answer[**list]["ok"].is_array());
    missing.map(|list| format!("no list of {list}: {}", answer[*list])).collect()
}

fn connection(answer: &Value, modern: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    if !answer["error"].is_null() {
        wrong.push(format!("the connection failed: {}", answer["error"]));
    }
    let revision = if modern { "2026-07-28" } else { "2025-11-25" };
    if answer["protocol"] != revision {
        wrong.push(format!("{revision} was expected to be spoken, not {}", answer["protocol"]));
    }
    if !modern && answer["ping"]["ok"].is_null() {
        wrong.push(format!("no answer to a ping: {}", answer["ping"]));
    }
    wrong
}

fn page(samples: &Samples, seen: &[Seen]) -> String {
    let mut page = String::from("### Through Tollgate\n\n");
    table(&mut page, samples, seen, |seen, row, _| match (seen.own[row].first(), seen.merged[row].first()) {
        (None, None) => "works".into(),
        (Some(problem), _) | (None, Some(problem)) => format!("fails: {problem}"),
    });
    page.push_str("\n### The same pairs without Tollgate\n\n");
    table(&mut page, samples, seen, |seen, _, sample| match impossible(seen.library, sample) {
        Some(reason) => format!("impossible: {reason}"),
        None => "works".into(),
    });
    page
}

fn table(
    page: &mut String,
    samples: &Samples,
    seen: &[Seen],
    cell: impl Fn(&Seen, usize, &Sample) -> String,
) {
    page.push_str("| server | transport | speaks |");
    for seen in seen {
        let _ = write!(page, " {} |", seen.library.title());
    }
    page.push_str("\n|---|---|---|");
    page.push_str(&"---|".repeat(seen.len()));
    page.push('\n');
    for (row, sample) in samples.all.iter().enumerate() {
        let era = match sample.speaks {
            Speaks::Legacy => "legacy",
            Speaks::Modern => "modern",
            Speaks::Both => "both",
        };
        let _ = write!(page, "| {} | {} | {era} |", sample.title, sample.transport);
        for seen in seen {
            let _ = write!(page, " {} |", cell(seen, row, sample));
        }
        page.push('\n');
    }
}
