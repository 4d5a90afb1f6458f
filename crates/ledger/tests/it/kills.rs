//! A process that is killed while it writes: whatever it was told is written is there, and the next one closes what is open.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tollgate_ledger::{CallId, Durability, Entry, Kind, LedgerSettings, Outcome, Reader, chain, side};
use tollgate_model::Principal;

use crate::record::{Record, ended, good, intend, open, read};

const FOLDER: &str = "TOLLGATE_TEST_LEDGER";
const POWER: &str = "TOLLGATE_TEST_POWER";
/// How often each kind of writer is killed.
const KILLS: usize = 100;

fn settings(is_power: bool) -> LedgerSettings {
    let durability = if is_power { Durability::Power } else { Durability::Process };
    LedgerSettings { durability, segment_bytes_max: 256 * 1024, ..LedgerSettings::default() }
}

/// Is killed: the body of the process that writes. It tells by one line each what it was told is written.
#[test]
#[ignore = "another test starts it as a process of its own"]
fn writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let ledger = open(Path::new(&folder), settings(std::env::var_os(POWER).is_some()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let tell = |what: char, call: CallId| {
        let mut out = std::io::stdout();
        out.write_all(format!("{what} {call}\n").as_bytes())
            .and_then(|()| out.flush())
            .expect("somebody reads");
    };
    runtime.expect("a runtime").block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for caller in 0..64 {
            let ledger = ledger.clone();
            tasks.spawn(async move {
                let who = Principal::local();
                for turn in 0.. {
                    let receipt = intend(&ledger, &who).await;
                    let call = receipt.call();
                    tell('i', call);
                    if (caller + turn) % 7 == 0 {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                    receipt.close(ended(&who)).await.expect("on record");
                    tell('o', call);
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    });
}

/// What a writer told before it was killed: intents and outcomes.
#[derive(Default)]
struct Told {
    intents: Vec<CallId>,
    outcomes: Vec<CallId>,
}

fn killed_after(folder: &Path, is_power: bool, wait: Duration, told: &mut Told) {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "kills::writes_until_it_is_killed", "--ignored", "--nocapture"]);
    command.env(FOLDER, folder).stdout(Stdio::piped()).stderr(Stdio::null());
    if is_power {
        command.env(POWER, "1");
    }
    let mut child = command.spawn().expect("a process");
    let mut out = BufReader::new(child.stdout.take().expect("its output"));
    // It writes: the first line says so.
    let mut text = String::new();
    while !text.contains("\ni ") && !text.starts_with("i ") {
        assert!(out.read_line(&mut text).expect("read") > 0, "it ended: {text}");
    }
    let killer = std::thread::spawn(move || {
        std::thread::sleep(wait);
        child.kill().expect("killed");
        child.wait().expect("reaped");
    });
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).expect("read");
    killer.join().expect("it ended");
    text.push_str(&String::from_utf8_lossy(&rest));
    // The last line may be half of one.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for line in whole.lines() {
        match line.split_at_checked(2) {
            Some(("i ", call)) => told.intents.push(call.parse().expect("a call")),
            Some(("o ", call)) => told.outcomes.push(call.parse().expect("a call")),
            _ => {}
        }
    }
}

fn survives(is_power: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut told = Told::default();
    for round in 0..KILLS {
        // From the first entries to some segments.
        let wait = Duration::from_micros((round as u64 * 7919) % 40_000);
        killed_after(folder.path(), is_power, wait, &mut told);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(open(folder.path(), settings(is_power)).close());
    let record = Record::of(folder.path());
    for call in &told.intents {
        assert!(record.intents.contains_key(call), "the server saw {call}, and it is not on record");
    }
    for call in &told.outcomes {
        assert_eq!(
            record.outcomes.get(call),
            Some(&vec![Outcome::Ok]),
            "the client has its answer of {call}"
        );
    }
    assert!(record.is_closed(), "after the restart every intent has an outcome");
    assert!(record.count(Outcome::Unknown) > 0, "some were open");
    let recovered = record.kinds.iter().filter(|kind| **kind == Kind::Recovered).count();
    assert_eq!(recovered, KILLS, "each crash is on record");
    assert!(told.intents.len() > KILLS * 10, "{}", told.intents.len());
}

#[test]
fn what_the_operating_system_has_survives_hundreds_of_kills() {
    survives(false);
}

#[test]
fn what_the_disk_has_survives_hundreds_of_kills() {
    survives(true);
}

/// A ledger of one writer that was not ended, with one call open, and the file of its last segment.
///
/// What stands there is signed every second. Where the machine stood still for one, it is begun again: nothing but the begin is signed.
async fn left(folder: &Path) -> PathBuf {
    let began = Instant::now();
    let ledger = open(folder, settings(false));
    let who = Principal::local();
    for _ in 0..3 {
        intend(&ledger, &who).await.close(ended(&who)).await.expect("on record");
    }
    let open = intend(&ledger, &who).await;
    let own = ledger.folder().expect("a folder").to_owned();
    let copy = folder.join("copy");
    std::fs::create_dir_all(copy.join("segments")).expect("a folder");
    for segment in Reader::new(&own).segments().expect("readable") {
        let name = format!("segments/{segment:020}.log");
        std::fs::copy(own.join(&name), copy.join(&name)).expect("copied");
    }
    let is_signed = began.elapsed() > Duration::from_millis(900);
    drop(open);
    ledger.close().await;
    if is_signed {
        for found in std::fs::read_dir(folder).expect("a folder") {
            let path = found.expect("readable").path();
            let removed =
                if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            removed.expect("removed");
        }
        return Box::pin(left(folder)).await;
    }
    // As it was before the end.
    std::fs::remove_dir_all(own.join("segments")).expect("removed");
    std::fs::rename(copy.join("segments"), own.join("segments")).expect("moved");
    std::fs::remove_dir(copy).expect("removed");
    let last = *Reader::new(&own).segments().expect("readable").last().expect("a segment");
    own.join(format!("segments/{last:020}.log"))
}

fn detail(folder: &Path, kind: Kind) -> serde_json::Value {
    let all = read(folder);
    let found = all.iter().find(|read| read.entry().expect("an entry").kind == kind).expect("it is there");
    found.entry().expect("an entry").detail.expect("a detail").into()
}

#[tokio::test]
async fn an_end_that_was_not_finished_is_cut_off_and_said() {
    for torn in ["e ", "e abc - {}", "p a ", "\0\0\0\0"] {
        let folder = tempfile::tempdir().expect("a folder");
        let last = left(folder.path()).await;
        let mut file = OpenOptions::new().append(true).open(&last).expect("a file");
        file.write_all(torn.as_bytes()).expect("written");
        let ledger = open(folder.path(), settings(false));
        ledger.close().await;
        let record = Record::of(folder.path());
        assert_eq!((record.count(Outcome::Unknown), record.is_closed()), (1, true), "{torn:?}");
        let said = detail(ledger.folder().expect("a folder"), Kind::Recovered);
        assert_eq!((&said["cut_bytes"], &said["closed"]), (&torn.len().into(), &1.into()), "{said}");
        assert!(said["damage"].is_null());
        // Nothing was signed within the first second but the begin.
        let report = tollgate_ledger::Verify::default().all(folder.path()).expect("readable");
        let [range] = report.writers[0].unsigned_until_recovered[..] else { panic!("{report:?}") };
        assert_eq!(
            (&said["unsigned"], &said["unsigned_from"]),
            (&range.entries().into(), &range.first.seq.into())
        );
    }
}

/// Adds entries of these kinds to the end of a writer's chain, as whoever may write its files can. Gives the numbers of the first
/// and the last.
fn forge(own: &Path, kinds: &[Kind]) -> (u64, u64) {
    let all = read(own);
    let end = all.last().expect("an entry");
    let (before, mut hash, mut text) = (end.entry().expect("an entry"), end.hash, String::new());
    let mut last = before.seq;
    for kind in kinds {
        last += 1;
        let entry = Entry { seq: last, time_ms: before.time_ms, ..Entry::of(*kind) };
        let (json, side) = (serde_json::to_string(&entry).expect("JSON"), side(b""));
        hash = chain(hash, side.as_bytes(), json.as_bytes());
        let _ = writeln!(text, "e {} {side} {json}", hash.to_text());
    }
    let file = OpenOptions::new().append(true).open(Reader::new(own).path(end.segment));
    file.expect("a segment").write_all(text.as_bytes()).expect("written");
    (before.seq + 1, last)
}

/// What stood unsigned until the next process found it, by number.
fn unsigned_until_recovered(ledger: &Path) -> Vec<(u64, u64)> {
    let report = good(ledger);
    report.writers[0].unsigned_until_recovered.iter().map(|range| (range.first.seq, range.last.seq)).collect()
}

#[tokio::test]
async fn that_a_writer_stopped_is_believed_only_where_it_is_signed() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path(), settings(false));
    let own = ledger.folder().expect("a folder").to_owned();
    ledger.close().await;
    let (first, last) = forge(&own, &[Kind::Started, Kind::Refusal, Kind::Stopped]);
    open(folder.path(), settings(false)).close().await;
    let said = detail(&own, Kind::Recovered);
    assert_eq!((&said["unsigned"], &said["unsigned_from"]), (&3.into(), &first.into()), "{said}");
    assert_eq!(unsigned_until_recovered(folder.path()), [(first, last)]);
}

#[tokio::test]
async fn what_stands_unsigned_in_a_full_segment_is_listed_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let full = left(folder.path()).await;
    let segment_bytes_max = std::fs::metadata(&full).expect("a segment").len();
    let ledger = open(folder.path(), LedgerSettings { segment_bytes_max, ..settings(false) });
    let own = ledger.folder().expect("a folder").to_owned();
    ledger.close().await;
    let said = detail(&own, Kind::Recovered);
    let [from, count] = ["unsigned_from", "unsigned"].map(|name| said[name].as_u64().expect("a number"));
    assert_eq!(Reader::new(&own).segments().expect("readable")[1], from + count, "the next begins behind it");
    // The head of the next segment stands before the entry that says so.
    assert_eq!(unsigned_until_recovered(folder.path()), [(from, from + count)]);
}

#[tokio::test]
async fn damage_stays_where_it_is_and_the_chain_goes_on_behind_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let last = left(folder.path()).await;
    let before = std::fs::read_to_string(&last).expect("text").replacen("tools/call", "tools/cAll", 1);
    std::fs::write(&last, &before).expect("written");
    let ledger = open(folder.path(), settings(false));
    let who = Principal::local();
    intend(&ledger, &who).await.close(ended(&who)).await.expect("on record");
    ledger.close().await;
    assert_eq!(std::fs::read_to_string(&last).expect("text"), before, "what is damaged is evidence");
    let own = ledger.folder().expect("a folder");
    assert_eq!(Reader::new(own).segments().expect("readable").len(), 2);
    let said = detail(own, Kind::Recovered);
    assert!(said["damage"]["offset"].as_u64().is_some_and(|offset| offset > 0), "{said}");
    let report = tollgate_ledger::Verify::default().all(folder.path()).expect("readable");
    let faults: Vec<_> = report.faults().collect();
    assert_eq!(faults.len(), 1, "only the damage is found: {faults:#?}");
}

#[tokio::test]
async fn every_dead_writer_is_brought_to_an_end() {
    let root = tempfile::tempdir().expect("a folder");
    // Two writers, each copied as it was with a call open.
    let dead = tempfile::tempdir().expect("a folder");
    for _ in 0..2 {
        let one = tempfile::tempdir().expect("a folder");
        let last = left(one.path()).await;
        let own = last.parent().and_then(Path::parent).expect("the writer's folder");
        std::fs::rename(own, root.path().join(own.file_name().expect("a name"))).expect("moved");
        for key in ["signing.key", "payload.key"] {
            std::fs::rename(one.path().join(key), dead.path().join(key)).expect("moved");
        }
    }
    let ledger = open(root.path(), settings(false));
    let who = Principal::local();
    intend(&ledger, &who).await.close(ended(&who)).await.expect("on record");
    ledger.close().await;
    let is_closed = || {
        let mut open = 0;
        for folder in tollgate_ledger::writers(root.path()).expect("readable") {
            for read in read(&folder) {
                match read.entry().expect("an entry").kind {
                    Kind::Intent => open += 1,
                    Kind::Outcome => open -= 1,
                    _ => {}
                }
            }
        }
        open == 0
    };
    tokio::time::timeout(Duration::from_secs(20), async {
        while !is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("both are closed");
}
