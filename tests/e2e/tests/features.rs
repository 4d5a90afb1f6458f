//! The feature matrix: each cell is shown by a real exchange through the real binary, and the page that says so.
//!
//! `TOLLGATE_FEATURE` restricts it to the rows whose title contains that text, `TOLLGATE_PAIR` to the pairs whose
//! description does; the page is then left alone.

#![allow(clippy::expect_used, reason = "a test fails loudly")]

use std::fmt::Write as _;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tollgate_e2e::documents::compare_section;
use tollgate_e2e::features::{Expected, Ground, Language, Pair, Way, features, page};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_feature_matrix_says_what_works_between_every_pair() {
    let wanted = |name: &str, text: &str| std::env::var(name).is_ok_and(|part| !text.contains(&part));
    let ground = Ground::new().await;
    let alone = Arc::new(Mutex::new(()));
    let mut running = JoinSet::new();
    for (row, feature) in features().into_iter().enumerate() {
        for pair in Pair::all() {
            let skipped =
                wanted("TOLLGATE_FEATURE", feature.title) || wanted("TOLLGATE_PAIR", &pair.to_string());
            if skipped || (feature.expected)(pair) == Expected::Absent {
                continue;
            }
            let mut pair = pair;
            if feature.python && (row + pair.place() / Way::ALL.len()) % 2 == 1 {
                pair.language = Language::Python;
            }
            let (ground, alone) = (ground.clone(), alone.clone());
            running.spawn(async move {
                let _alone = if feature.alone { Some(alone.lock().await) } else { None };
                // A raw peer panics where it is answered with an error.
                let shown =
                    tokio::spawn(async move { ground.show(&feature, pair, row + pair.place()).await });
                let verdict = shown.await.unwrap_or_else(|panic| Err(panic.to_string()));
                (row, pair, feature.title, verdict)
            });
        }
    }
    let mut seen = running.join_all().await;
    seen.sort_by_key(|(row, pair, ..)| (*row, pair.place()));
    let mut wrong = String::new();
    for (_, pair, title, verdict) in &seen {
        if let Err(problem) = verdict {
            let _ = writeln!(wrong, "{title}, {pair}: {problem}");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    if std::env::var_os("TOLLGATE_FEATURE").is_none() && std::env::var_os("TOLLGATE_PAIR").is_none() {
        compare_section("docs/reference/compatibility.md", "features", &page::section());
    }
}
