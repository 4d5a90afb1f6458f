//! A ledger that is really written, and what is found in it afterwards.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bytes::Bytes;
use tollgate_ledger::{
    CallId, Content, Draft, Entry, Kind, Ledger, LedgerSettings, Outcome, Read, Reader, Receipt, Report,
    Verify, writers,
};
use tollgate_model::{Principal, RecordLevel};

/// Opens the ledger in a folder.
pub(crate) fn open(root: &Path, settings: LedgerSettings) -> Ledger {
    Ledger::open(root, settings).expect("a ledger")
}

/// An intent of a call of tools.
pub(crate) async fn intend(ledger: &Ledger, who: &Principal) -> Receipt {
    try_intend(ledger, who).await.expect("on record")
}

pub(crate) async fn try_intend(
    ledger: &Ledger,
    who: &Principal,
) -> Result<Receipt, tollgate_ledger::Unrecorded> {
    let arguments = Content { bytes: Bytes::from_static(b"{\"path\":\"/tmp\"}"), level: RecordLevel::Full };
    let entry = Entry { method: Some("tools/call".into()), ..Entry::of(Kind::Intent) };
    ledger.intend(Draft { who: Some(who), arguments: Some(arguments), ..Draft::of(entry) }).await
}

/// What has become of it.
pub(crate) fn ended(who: &Principal) -> Draft<'_> {
    let result = Content { bytes: Bytes::from_static(b"{\"content\":[]}"), level: RecordLevel::Digest };
    let entry = Entry { outcome: Some(Outcome::Ok), ..Entry::of(Kind::Outcome) };
    Draft { who: Some(who), result: Some(result), ..Draft::of(entry) }
}

/// All entries of one writer.
pub(crate) fn read(folder: &Path) -> Vec<Read> {
    let mut reader = Reader::new(folder);
    let mut all = Vec::new();
    while let Some(read) = reader.next_entry().expect("readable") {
        all.push(read);
    }
    all
}

/// What stands in a ledger.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) intents: HashMap<CallId, u64>,
    /// By call.
    pub(crate) outcomes: HashMap<CallId, Vec<Outcome>>,
}

impl Record {
    /// Of all writers of a ledger. Every chain is whole, and in every one each intent has at most one outcome, later than it.
    pub(crate) fn of(root: &Path) -> Self {
        good(root);
        let mut record = Self::default();
        for folder in writers(root).expect("readable") {
            record.add(&read(&folder));
        }
        record
    }

    fn add(&mut self, all: &[Read]) {
        let mut open = BTreeMap::new();
        let mut last = 0;
        for (place, read) in all.iter().enumerate() {
            let entry = read.entry().expect("an entry");
            assert_eq!(entry.seq, place as u64 + 1, "numbers have no gaps");
            assert!(entry.time_ms >= last, "time does not go back");
            last = entry.time_ms;
            self.kinds.push(entry.kind);
            match (entry.kind, entry.call) {
                (Kind::Intent, Some(call)) => {
                    assert_eq!(self.intents.insert(call, entry.seq), None, "one intent");
                    open.insert(entry.seq, call);
                }
                (Kind::Outcome, Some(call)) => {
                    let of = entry.of.expect("of an intent");
                    assert_eq!(open.remove(&of), Some(call), "the outcome of an open intent: {entry:?}");
                    self.outcomes.entry(call).or_default().push(entry.outcome.expect("an outcome"));
                }
                _ => {}
            }
        }
    }

    /// Whether every intent has its outcome.
    pub(crate) fn is_closed(&self) -> bool {
        self.intents.keys().all(|call| self.outcomes.get(call).is_some_and(|outcomes| outcomes.len() == 1))
    }

    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.outcomes.values().flatten().filter(|found| **found == outcome).count()
    }
}

/// Verifies a ledger: nothing is wrong with it.
pub(crate) fn good(root: &Path) -> Report {
    let report = Verify::default().all(root).expect("readable");
    assert!(report.is_good(), "{:#?}", report.faults().collect::<Vec<_>>());
    report
}
