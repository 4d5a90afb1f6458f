//! The index says what the segments say, whatever happens on the way.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tollgate_ledger::export::Unseal;
use tollgate_ledger::{
    CallId, Draft, Entry, Index, IndexSettings, IndexStatus, Kind, Latency, Ledger, LedgerSettings, Outcome,
    Price, Prices, Sizes,
};
use tollgate_model::Timestamp;
use tollgate_store::suite::{Fault, Faulty};
use tollgate_store::{AuditQuery, AuditRow, Memory, OPEN, Store, UsageBy, UsageQuery, UsageRow};

use crate::written::Written;

const PATIENCE: Duration = Duration::from_secs(20);

/// The name is in the record, in plain text.
#[derive(Debug)]
struct Plain;

impl Unseal for Plain {
    fn name(&self, tenant: &str, reference: &[u8], sealed: &[u8]) -> Option<String> {
        assert_eq!(tenant, "acme");
        assert_eq!(reference.len(), 16);
        Some(String::from_utf8_lossy(sealed).trim_end_matches('A').to_owned())
    }

    fn payload(&self, _: &str, _: bool, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

fn settings() -> IndexSettings {
    let price = Price {
        server: Some("crm".into()),
        per_call_nano: 1_000,
        per_million_result_tokens_nano: 5_000_000,
        ..Price::default()
    };
    IndexSettings {
        prices: Prices { currency: "EUR".into(), prices: vec![price] },
        ..IndexSettings::default()
    }
}

fn intent(tool: &'static str) -> Entry<'static> {
    Entry {
        method: Some("tools/call".into()),
        server: Some("crm".into()),
        public_name: Some(format!("crm__{tool}").into()),
        native_name: Some(tool.into()),
        trace: Some("0af7651916cd43dd8448eb211c80319c".into()),
        ..Entry::of(Kind::Intent)
    }
}

fn outcome(outcome: Outcome) -> Entry<'static> {
    Entry {
        outcome: Some(outcome),
        latency: Some(Latency { total_us: 1234, ..Latency::default() }),
        sizes: Some(Sizes { sent_bytes: 10, received_bytes: 20, sent_tokens: 3, received_tokens: 400 }),
        ..Entry::of(Kind::Outcome)
    }
}

fn all() -> AuditQuery {
    AuditQuery { most: 1000, ..AuditQuery::default() }
}

async fn search(store: &dyn Store, query: AuditQuery) -> Vec<AuditRow> {
    store.search(&query).await.expect("found").rows
}

async fn calls(store: &dyn Store) -> Vec<AuditRow> {
    search(store, AuditQuery { kind: Some("call".into()), ..all() }).await
}

async fn usage(store: &dyn Store) -> Vec<UsageRow> {
    let by = UsageBy { tool: true, ..UsageBy::default() };
    store
        .usage(&UsageQuery { until_day: u32::MAX, by, most: 99, ..UsageQuery::default() })
        .await
        .expect("sums")
}

/// Waits until a row is there.
async fn until(store: &dyn Store, what: &str, is_so: impl AsyncFn(&dyn Store) -> bool) {
    let begun = std::time::Instant::now();
    while !is_so(store).await {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn open(root: &Path) -> Ledger {
    Ledger::open(root, LedgerSettings::default()).expect("a ledger")
}

#[tokio::test]
async fn a_call_is_found_from_its_intent_on() {
    let root = tempfile::tempdir().expect("a folder");
    let ledger = open(root.path());
    let store: Arc<dyn Store> = Arc::new(Memory::default());
    let index =
        Index::start(&ledger, Arc::clone(&store), settings(), Some(Arc::new(Plain))).expect("it is on");
    let receipt = ledger.intend(Draft::of(intent("search"))).await.expect("written");
    let call = receipt.call();
    index.settle(PATIENCE).await;
    let open_calls = AuditQuery { outcome: Some(OPEN.into()), ..all() };
    let rows = search(&*store, open_calls.clone()).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].call, Some(u128::from_be_bytes(call.to_bytes())));
    receipt.close(Draft::of(outcome(Outcome::ToolError))).await.expect("written");
    ledger
        .note(Draft::of(Entry { change: Some("key.created".into()), ..Entry::of(Kind::Change) }))
        .await
        .expect("written");
    index.settle(PATIENCE).await;
    assert_eq!(search(&*store, open_calls).await, []);
    let tool_error =
        AuditQuery { outcome: Some("tool_error".into()), tool: Some("crm__search".into()), ..all() };
    let rows = search(&*store, tool_error).await;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].total_us, rows[0].received_tokens), (1234, 400));
    assert_eq!(rows[0].trace, Some(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c));
    let changes = search(&*store, AuditQuery { kind: Some("change".into()), ..all() }).await;
    assert_eq!(changes[0].change.as_deref(), Some("key.created"));
    let sums = usage(&*store).await;
    assert_eq!(sums.len(), 1);
    assert_eq!((sums[0].sum.calls, sums[0].sum.errors, sums[0].sum.cost_nano), (1, 1, 1_000 + 2_000));
    assert_eq!((&*sums[0].key.server, &*sums[0].key.tool), ("crm", "search"));
    let status = index.status();
    assert_eq!((status.behind, status.failure), (0, None));
    assert!(status.entries >= 3);
}

#[tokio::test]
async fn a_store_that_is_away_is_told_when_it_is_back() {
    let root = tempfile::tempdir().expect("a folder");
    let ledger = open(root.path());
    let store = Faulty::new(Arc::new(Memory::default()));
    store.set(Fault::Away);
    let index =
        Index::start(&ledger, Arc::new(store.clone()), settings(), Some(Arc::new(Plain))).expect("it is on");
    for _ in 0..100 {
        let receipt = ledger.intend(Draft::of(intent("search"))).await.expect("no call waits for the index");
        receipt.close(Draft::of(outcome(Outcome::Ok))).await.expect("written");
    }
    let begun = std::time::Instant::now();
    while index.status().failure.is_none() {
        assert!(begun.elapsed() < PATIENCE, "it says that it does not go on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(index.status().behind >= 200);
    store.set(Fault::None);
    index.settle(PATIENCE).await;
    assert_eq!(calls(&store).await.len(), 100);
    assert_eq!(usage(&store).await[0].sum.calls, 100);
    until(&store, "it is well", async |_| {
        matches!(index.status(), IndexStatus { behind: 0, failure: None, .. })
    })
    .await;
}

/// Another writer in the folder, which ended long ago.
struct Left(Written);

impl Left {
    fn new(root: &Path) -> Self {
        let writer = CallId::new(Timestamp::from_ms(1_000)).to_string();
        let mut written = Written::beside(root, &writer);
        // Not so long ago that it would be forgotten.
        written.time_ms = Timestamp::now().as_ms() - 3_600_000;
        Self(written)
    }

    fn begin(&mut self, step: u32) -> u64 {
        let (agent, user) = ("agent-of-acme-00", "user-of-acme-000");
        let names = format!(
            "n {agent} support-bot{0}\nn {user} ada_at_acme{0}\nn who-of-acme-0000 x{0}\n",
            "A".repeat(50)
        );
        let entry = Entry {
            call: Some(CallId::new(Timestamp::from_ms(2_000))),
            step,
            tenant: Some("acme".into()),
            who: Some("who-of-acme-0000".into()),
            agent: Some(agent.into()),
            user: Some(user.into()),
            ..intent("delete")
        };
        self.0.entry(entry, if step == 0 { &names } else { "" });
        self.0.at.seq
    }

    fn end(&mut self, of: u64, as_: Outcome) {
        self.0.entry(Entry { of: Some(of), ..outcome(as_) }, "");
    }

    /// Nothing was written for a while.
    fn age(&self) {
        let file = File::options().append(true).open(self.0.file(self.0.segment)).expect("a segment");
        let long_ago = SystemTime::now() - Duration::from_mins(10);
        file.set_modified(long_ago).expect("set");
    }
}

#[tokio::test]
async fn what_a_writer_left_is_found_too() {
    let root = tempfile::tempdir().expect("a folder");
    let mut left = Left::new(root.path());
    let first = left.begin(0);
    left.end(first, Outcome::InputRequired);
    let second = left.begin(1);
    left.age();
    let store: Arc<dyn Store> = Arc::new(Memory::default());
    let ledger = open(root.path());
    let index = Index::start(&ledger, Arc::clone(&store), settings(), Some(Arc::new(Plain)));
    until(&*store, "both steps", async |store| calls(store).await.len() == 2).await;
    let of_ada = AuditQuery { user: Some("ada_at_acme".into()), agent: Some("support-bot".into()), ..all() };
    assert_eq!(search(&*store, of_ada.clone()).await.len(), 2);
    assert_eq!(store.open_calls(&left.0.writer).await.expect("read").len(), 1);
    drop((index, ledger));

    // Somebody took it over, closed what was open, and is gone too: the next one goes on where the first one was.
    left.0.rotate();
    left.end(second, Outcome::Unknown);
    left.age();
    let ledger = open(root.path());
    let index = Index::start(&ledger, Arc::clone(&store), settings(), Some(Arc::new(Plain)));
    until(&*store, "the outcome", async |store| {
        store.open_calls(&left.0.writer).await.expect("read").is_empty()
    })
    .await;
    let rows = search(&*store, of_ada.clone()).await;
    assert_eq!(
        rows.iter().filter_map(|row| row.outcome.as_deref()).collect::<Vec<_>>(),
        ["unknown", "input_required"]
    );
    assert_eq!(rows[0].begin.seq, second);
    let of_left = async |store: &dyn Store| {
        let mut rows = search(store, all()).await;
        rows.retain(|row| *row.writer == *left.0.writer);
        rows
    };
    let (before, sums) = (of_left(&*store).await, usage(&*store).await);
    assert_eq!((sums[0].sum.calls, sums[0].sum.errors), (1, 1), "two rounds are one call");

    // The index is made again from the segments, and says the same; what was used is not counted twice.
    drop((index, ledger));
    store.forget_index(None).await.expect("forgotten");
    assert_eq!(search(&*store, all()).await, []);
    let ledger = open(root.path());
    let _index = Index::start(&ledger, Arc::clone(&store), settings(), Some(Arc::new(Plain)));
    until(&*store, "all again", async |store| of_left(store).await.len() == before.len()).await;
    assert_eq!((of_left(&*store).await, usage(&*store).await), (before, sums));
    assert_eq!(search(&*store, of_ada).await.len(), 2, "names are found again too");
}

#[tokio::test]
async fn an_index_that_is_ahead_of_its_ledger_is_made_again() {
    let root = tempfile::tempdir().expect("a folder");
    let mut left = Left::new(root.path());
    for _ in 0..5 {
        let intent = left.begin(0);
        left.end(intent, Outcome::Ok);
    }
    left.age();
    let store: Arc<dyn Store> = Arc::new(Memory::default());
    let ledger = open(root.path());
    let index = Index::start(&ledger, Arc::clone(&store), settings(), Some(Arc::new(Plain)));
    until(&*store, "all", async |store| calls(store).await.len() == 5).await;
    drop((index, ledger));

    // The power went, and with it the last lines; then it went on from there.
    left.0.change(1, |lines| lines.truncate(6));
    left.0.at.seq = 3;
    let intent = left.begin(0);
    left.end(intent, Outcome::Error);
    left.age();
    let ledger = open(root.path());
    let _index = Index::start(&ledger, Arc::clone(&store), settings(), Some(Arc::new(Plain)));
    until(&*store, "what is there now", async |store| {
        let outcomes: Vec<_> = calls(store).await.into_iter().filter_map(|row| row.outcome).collect();
        outcomes.iter().map(|outcome| &**outcome).collect::<Vec<_>>() == ["error", "ok"]
    })
    .await;
}
