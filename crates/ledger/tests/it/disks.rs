//! A disk that is full, and is emptied again: nothing is forgotten, and nothing is said to be written that is not.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tollgate_ledger::{
    Content, Draft, Durability, Entry, Health, Kind, Ledger, LedgerSettings, Outcome, Receipt, Truncation,
};
use tollgate_model::{Principal, RecordLevel};

use crate::record::{Record, ended, intend, open, read, try_intend};

/// A small disk, if this user may have one.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(mib: u32) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tollgate-test"]).arg(folder.path());
        let is_mounted = mount.output().is_ok_and(|output| output.status.success());
        if !is_mounted {
            assert!(!rustix_is_root(), "root may mount");
            return None;
        }
        Some(Self(folder))
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("ledger")
    }

    /// Takes all room that is left.
    fn fill(&self) -> PathBuf {
        let path = self.0.path().join("filling");
        let mut file = OpenOptions::new().append(true).create(true).open(&path).expect("a file");
        for size in [1 << 16, 1 << 12, 1] {
            let some = vec![0; size];
            while file.write_all(&some).is_ok() {}
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn rustix_is_root() -> bool {
    rustix::process::geteuid().is_root()
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("never: {what}"));
}

fn is_down(ledger: &Ledger) -> bool {
    matches!(ledger.health(), Health::Down { .. })
}

fn gaps(folder: &Path) -> Vec<serde_json::Value> {
    let all = read(folder);
    let entries = all.iter().map(|read| read.entry().expect("an entry"));
    entries
        .filter(|entry| entry.kind == Kind::Gap)
        .map(|entry| entry.detail.expect("a detail").into())
        .collect()
}

async fn is_survived(durability: Durability) {
    let Some(disk) = Disk::new(24) else { return };
    let settings = LedgerSettings { durability, ..LedgerSettings::default() };
    let ledger = open(&disk.root(), settings);
    let who = Principal::local();
    intend(&ledger, &who).await.close(ended(&who)).await.expect("on record");
    let reserve = ledger.folder().expect("a folder").join("reserve");
    until("room is kept", || reserve.metadata().is_ok_and(|kept| kept.len() >= 8 << 20)).await;
    let mut waiting = Vec::new();
    for _ in 0..500 {
        waiting.push(intend(&ledger, &who).await);
    }

    let filling = disk.fill();
    // The room of the last page is used up, and then nothing more begins.
    let mut refused = 0_u64;
    while refused < 3 {
        match try_intend(&ledger, &who).await {
            Ok(receipt) => waiting.push(receipt),
            Err(failure) => {
                assert!(failure.reason.contains("No space"), "{failure}");
                refused += 1;
            }
        }
    }
    assert!(is_down(&ledger));
    assert!(ledger.note(Draft::of(Entry::of(Kind::Refusal))).await.is_err());
    // What has begun gets its outcome in the room that was kept.
    let open = waiting.len();
    for receipt in waiting {
        receipt.close(ended(&who)).await.expect("there is room for outcomes");
    }
    assert!(is_down(&ledger), "but not for more");
    assert!(try_intend(&ledger, &who).await.is_err());

    std::fs::remove_file(filling).expect("removed");
    until("it can be written again", || !is_down(&ledger)).await;
    intend(&ledger, &who).await.close(ended(&who)).await.expect("on record");
    until("room is kept again", || reserve.exists()).await;
    ledger.close().await;
    let record = Record::of(&disk.root());
    assert!(record.is_closed());
    assert_eq!(record.count(Outcome::Ok), open + 2);
    let lost: u64 =
        gaps(ledger.folder().expect("a folder")).iter().map(|gap| gap["entries"].as_u64().unwrap()).sum();
    assert_eq!(lost, refused + 2, "everything that was not written is counted");
}

#[tokio::test]
async fn a_full_disk_refuses_and_closes_what_is_open_and_recovers() {
    is_survived(Durability::Process).await;
}

#[tokio::test]
async fn so_it_does_where_entries_have_to_reach_the_disk() {
    is_survived(Durability::Power).await;
}

/// An outcome with a large result, all of which is to be kept.
fn ended_largely(who: &Principal) -> Draft<'_> {
    let bytes = format!("{{\"text\":\"{}\"}}", "x".repeat(60_000)).into();
    let result = Content { bytes, level: RecordLevel::Full };
    Draft { result: Some(result), ..ended(who) }
}

/// How many outcomes have their whole result, and how many only its digest since there was no room.
fn kept_and_not(folder: &Path) -> (usize, usize) {
    let (mut kept, mut not) = (0, 0);
    for read in read(folder) {
        let Some(result) = read.entry().expect("an entry").result else { continue };
        assert!(result.digest.is_some());
        kept += usize::from(result.commitment.is_some());
        not += usize::from(result.truncated == Some(Truncation::NoRoom));
    }
    (kept, not)
}

/// Fills the disk until no call can begin.
async fn fill(disk: &Disk, ledger: &Ledger, who: &Principal, waiting: &mut Vec<Receipt>) -> PathBuf {
    let filling = disk.fill();
    // The room of the last page is used up, and then nothing more begins.
    let mut refused = 0;
    while refused < 3 {
        match try_intend(ledger, who).await {
            Ok(receipt) => waiting.push(receipt),
            Err(_) => refused += 1,
        }
    }
    until("it cannot be written", || is_down(ledger)).await;
    filling
}

#[tokio::test]
async fn large_outcomes_fit_in_the_room_that_is_kept() {
    let Some(disk) = Disk::new(24) else { return };
    let ledger = open(&disk.root(), LedgerSettings::default());
    let who = Principal::local();
    let reserve = ledger.folder().expect("a folder").join("reserve");
    until("room is kept", || reserve.exists()).await;
    let mut waiting = Vec::new();
    for _ in 0..400 {
        waiting.push(intend(&ledger, &who).await);
    }
    let filling = fill(&disk, &ledger, &who, &mut waiting).await;
    let open = waiting.len();
    for receipt in waiting {
        receipt.close(ended_largely(&who)).await.expect("there is room for outcomes");
    }
    std::fs::remove_file(filling).expect("removed");
    until("it can be written again", || !is_down(&ledger)).await;
    intend(&ledger, &who).await.close(ended_largely(&who)).await.expect("on record");
    ledger.close().await;
    let record = Record::of(&disk.root());
    assert!(record.is_closed());
    assert_eq!(record.count(Outcome::Ok), open + 1);
    let (kept, not) = kept_and_not(ledger.folder().expect("a folder"));
    assert_eq!(kept + not, open + 1);
    assert!(kept >= 1 && not >= 300, "{kept} {not}");
}

#[tokio::test]
async fn as_much_room_is_kept_as_there_are_calls_under_way() {
    let Some(disk) = Disk::new(160) else { return };
    let ledger = open(&disk.root(), LedgerSettings::default());
    let who = Principal::local();
    let reserve = ledger.folder().expect("a folder").join("reserve");
    let mut waiting = Vec::new();
    for _ in 0..24_000 {
        waiting.push(intend(&ledger, &who).await);
    }
    until("room is kept", || reserve.metadata().is_ok_and(|kept| kept.len() >= 32 << 20)).await;
    fill(&disk, &ledger, &who, &mut waiting).await;
    for receipt in waiting {
        receipt.close(ended(&who)).await.expect("there is room for outcomes");
    }
    ledger.close().await;
    assert!(Record::of(&disk.root()).is_closed());
}

#[tokio::test]
async fn outcomes_that_wait_fill_no_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path(), LedgerSettings { segment_bytes_max: 16 * 1024, ..Default::default() });
    let who = Principal::local();
    let mut waiting = Vec::new();
    // Its folder goes: nothing can be written from the next segment on.
    let segments = ledger.folder().expect("a folder").join("segments");
    for _ in 0..1500 {
        waiting.push(intend(&ledger, &who).await);
    }
    let gone = ledger.folder().expect("a folder").join("gone");
    std::fs::rename(&segments, &gone).expect("moved");
    std::fs::remove_dir_all(&gone).expect("removed");
    while let Ok(receipt) = try_intend(&ledger, &who).await {
        waiting.push(receipt);
    }
    assert!(is_down(&ledger));
    let open = waiting.len();
    for receipt in waiting {
        receipt.close_later(ended_largely(&who));
    }
    let bytes = ledger.work().waiting_bytes;
    assert!((60 << 20..70 << 20).contains(&bytes), "{bytes}");
    std::fs::create_dir(&segments).expect("made again");
    until("it can be written again", || !is_down(&ledger)).await;
    ledger.close().await;
    let (kept, not) = kept_and_not(ledger.folder().expect("a folder"));
    assert_eq!(kept + not, open);
    assert!(kept > 500 && not > 300, "{kept} {not}");
}

#[tokio::test]
async fn a_disk_that_is_full_from_the_start_is_waited_for() {
    let Some(disk) = Disk::new(4) else { return };
    std::fs::create_dir(disk.root()).expect("a folder");
    let first = open(&disk.root(), LedgerSettings::default());
    until("it cannot keep room", || is_down(&first)).await;
    assert!(try_intend(&first, &Principal::local()).await.is_err());
    first.close().await;
    let remounted = Command::new("mount").args(["-o", "remount,size=24m"]).arg(disk.0.path()).status();
    assert!(remounted.expect("mount").success());
    let again = open(&disk.root(), LedgerSettings::default());
    let who = Principal::local();
    intend(&again, &who).await.close(ended(&who)).await.expect("on record");
    again.close().await;
    assert!(Record::of(&disk.root()).is_closed());
}

#[tokio::test]
async fn where_no_segment_can_begin_the_last_one_is_gone_on_with() {
    for durability in [Durability::Process, Durability::Power] {
        let folder = tempfile::tempdir().expect("a folder");
        let settings =
            LedgerSettings { durability, segment_bytes_max: 16 * 1024, ..LedgerSettings::default() };
        let ledger = open(folder.path(), settings);
        let who = Principal::local();
        let mut waiting = vec![intend(&ledger, &who).await];
        // No other segment can begin there; what is open can be written.
        let segments = ledger.folder().expect("a folder").join("segments");
        let gone = ledger.folder().expect("a folder").join("gone");
        std::fs::rename(&segments, &gone).expect("moved");
        let mut written = 0;
        while ledger.stuck().is_none() || written < 200 {
            waiting.push(try_intend(&ledger, &who).await.expect("it is gone on with"));
            written += 1;
            assert!(written < 10_000, "it never fails");
        }
        let (reason, _) = ledger.stuck().expect("a reason");
        assert!(reason.contains("No such file"), "{reason}");
        let half = waiting.split_off(waiting.len() / 2);
        for receipt in waiting {
            receipt.close(ended(&who)).await.expect("outcomes are written");
        }
        assert!(!is_down(&ledger));
        std::fs::rename(&gone, &segments).expect("moved back");
        until("a segment begins", || ledger.stuck().is_none()).await;
        for receipt in half {
            receipt.close(ended(&who)).await.expect("on record");
        }
        let work = ledger.work();
        assert!(work.stuck > 0 && work.lost == 0, "{work:?}");
        ledger.close().await;
        let record = Record::of(folder.path());
        assert!(record.is_closed());
        assert_eq!(record.count(Outcome::Ok), written + 1);
        assert!(std::fs::read_dir(segments).expect("a folder").count() > 1);
    }
}

#[tokio::test]
async fn a_folder_that_is_gone_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = LedgerSettings { segment_bytes_max: 16 * 1024, ..LedgerSettings::default() };
    let ledger = open(folder.path(), settings);
    let who = Principal::local();
    let receipt = intend(&ledger, &who).await;
    // What is written to a file that nobody finds any more is written nowhere.
    let segments = ledger.folder().expect("a folder").join("segments");
    let gone = ledger.folder().expect("a folder").join("gone");
    std::fs::rename(&segments, &gone).expect("moved");
    std::fs::remove_dir_all(&gone).expect("removed");
    let mut written = 0;
    while try_intend(&ledger, &who).await.is_ok() {
        written += 1;
        assert!(written < 10_000, "it never fails");
    }
    assert!(is_down(&ledger));
    std::fs::create_dir(&segments).expect("made again");
    until("it can be written again", || !is_down(&ledger)).await;
    receipt.close(ended(&who)).await.expect("on record");
    ledger.close().await;
    assert_eq!(gaps(ledger.folder().expect("a folder")).len(), 1);
}
