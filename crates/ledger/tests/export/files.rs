//! The engine, and the file: what is sent, what is marked, what is remembered.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tollgate_ledger::export::{FileSettings, TargetSettings};
use tollgate_ledger::{Content, Draft, Entry, Kind, Ledger, LedgerSettings};
use tollgate_model::{Principal, RecordLevel, TenantId};

use crate::rig::{Rig, SOON, Scribe, assert_whole, beside, lines, numbers, to_file, until};

#[tokio::test]
async fn every_entry_arrives_in_order_with_its_writer_and_hash() {
    let mut rig = Rig::new();
    let out = rig.path("out.jsonl");
    rig.write(3);
    rig.exports.apply(&[to_file(&out)]);
    rig.until(|line| line.seq == 3).await;
    rig.write(4);
    let line = rig.until(|line| line.seq == 7).await;
    let entries = lines(&out);
    assert_eq!(numbers(&entries), [1, 2, 3, 4, 5, 6, 7]);
    assert!(entries.iter().all(|entry| entry["writer"] == "w1" && entry["hash"].is_string()), "{entries:?}");
    assert!(entries.iter().all(|entry| entry["redelivered"].is_null() && entry["kind"] == "refusal"));
    assert_eq!((line.sent, line.redelivered, line.away), (7, 0, None));
}

#[tokio::test]
async fn a_new_process_goes_on_where_the_last_one_was() {
    let mut rig = Rig::new();
    let out = rig.path("out.jsonl");
    rig.write(5);
    rig.exports.apply(&[to_file(&out)]);
    rig.until(|line| line.seq == 5).await;
    rig.exports.drain().await;
    rig.write(5);
    rig.restart(&[to_file(&out)]);
    rig.until(|line| line.seq == 10).await;
    let entries = lines(&out);
    assert_eq!(numbers(&entries), (1..=10).collect::<Vec<_>>());
    assert!(
        entries.iter().all(|entry| entry["redelivered"].is_null()),
        "it ended in order: nothing is in doubt"
    );
}

#[tokio::test]
async fn what_may_have_been_received_before_a_crash_comes_again_and_says_so() {
    let mut rig = Rig::new();
    let out = rig.path("out.jsonl");
    rig.write(5);
    rig.exports.apply(&[to_file(&out)]);
    rig.until(|line| line.seq == 5).await;
    rig.exports.drain().await;
    // As a crash leaves it: the batch was announced and sent, and its end was not noted.
    let cursor = rig.path("w1/exports/siem.json");
    let text = std::fs::read_to_string(&cursor).expect("a cursor");
    let mut written: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&written["seq"], &written["sent_to"]), (&5.into(), &5.into()));
    for member in ["segment", "offset", "next", "seq"] {
        written[member] = 0.into();
    }
    std::fs::write(&cursor, written.to_string()).expect("written");
    rig.write(2);
    rig.restart(&[to_file(&out)]);
    let line = rig.until(|line| line.seq == 7).await;
    let entries = lines(&out);
    assert_whole(&entries, 7);
    assert_eq!(numbers(&entries), [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6, 7]);
    assert!(entries[10..].iter().all(|entry| entry["redelivered"].is_null()), "those are new");
    assert_eq!(line.redelivered, 5);
}

#[tokio::test]
async fn a_target_that_is_away_holds_nobody_up_and_gets_everything_later() {
    let mut rig = Rig::new();
    let folder = rig.path("not-yet");
    rig.exports.apply(&[to_file(&folder.join("out.jsonl"))]);
    rig.write(20);
    let line = rig.until(|line| line.away.is_some() && line.behind_bytes > 0).await;
    let (reason, _) = line.away.expect("a reason");
    assert!(reason.contains("not-yet"), "{reason}");
    assert_eq!(line.sent, 0);
    std::fs::create_dir(&folder).expect("a folder");
    rig.until(|line| line.seq == 20 && line.away.is_none()).await;
    let entries = lines(&folder.join("out.jsonl"));
    assert_whole(&entries, 20);
    assert!(entries.iter().all(|entry| entry["redelivered"].is_null()), "nothing had arrived");
    rig.until(|line| line.behind_bytes == 0).await;
}

#[tokio::test]
async fn a_full_disk_is_away_and_leaves_no_half_lines() {
    let mut rig = Rig::new();
    let out = rig.path("out.jsonl");
    // The system's own full disk.
    std::os::unix::fs::symlink("/dev/full", &out).expect("a link");
    rig.exports.apply(&[to_file(&out)]);
    rig.write(3);
    let line = rig.until(|line| line.away.is_some()).await;
    assert!(line.away.expect("a reason").0.contains("No space left"), "it says why");
    std::fs::remove_file(&out).expect("removed");
    rig.until(|line| line.seq == 3).await;
    assert_whole(&lines(&out), 3);
}

#[tokio::test]
async fn a_file_that_is_moved_away_is_begun_anew_and_one_that_is_too_large_is_moved() {
    let mut rig = Rig::new();
    let out = rig.path("out.jsonl");
    let mut settings = to_file(&out);
    rig.exports.apply(std::slice::from_ref(&settings));
    rig.write(2);
    rig.until(|line| line.seq == 2).await;
    std::fs::rename(&out, rig.path("taken.jsonl")).expect("moved");
    rig.write(2);
    rig.until(|line| line.seq == 4).await;
    assert_eq!(numbers(&lines(&rig.path("taken.jsonl"))), [1, 2]);
    assert_eq!(numbers(&lines(&out)), [3, 4]);

    settings.target =
        TargetSettings::File(FileSettings { path: out.clone(), rotate_bytes: 600, keep_files: 2 });
    settings.pace.batch_entries_max = 1;
    rig.exports.apply(&[settings]);
    rig.write(20);
    rig.until(|line| line.seq == 24).await;
    let mut files: Vec<_> = std::fs::read_dir(rig.folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().contains("out.jsonl"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 3, "the file and two that were moved: {files:?}");
    let kept: Vec<u64> =
        files[1..].iter().chain(&files[..1]).flat_map(|path| numbers(&lines(path))).collect();
    assert_eq!(kept.last(), Some(&24));
    assert!(kept.windows(2).all(|pair| pair[1] == pair[0] + 1), "{kept:?}");
}

#[tokio::test]
async fn half_a_line_of_a_crash_is_cut_off() {
    let mut rig = Rig::new();
    let out = rig.path("out.jsonl");
    std::fs::write(&out, "{\"seq\":0}\n{\"seq\":9,\"ki").expect("written");
    rig.exports.apply(&[to_file(&out)]);
    rig.write(1);
    rig.until(|line| line.seq == 1).await;
    assert_eq!(numbers(&lines(&out)), [0, 1]);
}

#[tokio::test]
async fn only_what_is_asked_for_goes_out_and_the_rest_is_passed_over() {
    let mut rig = Rig::new();
    let (out, none) = (rig.path("out.jsonl"), rig.path("none.jsonl"));
    let mut other = to_file(&out);
    other.kinds = Some(vec![Kind::Intent]);
    let mut elsewhere = to_file(&none);
    elsewhere.name = "elsewhere".into();
    elsewhere.tenants = Some(vec![TenantId::new("globex")]);
    rig.exports.apply(&[other, elsewhere]);
    rig.write(5);
    rig.until(|line| line.seq == 5 && &*line.name == "siem").await;
    rig.until(|line| line.seq == 5 && &*line.name == "elsewhere").await;
    assert!(!out.exists() && !none.exists());
}

#[tokio::test]
async fn a_good_end_waits_for_what_is_left_but_not_forever() {
    let mut rig = Rig::new();
    let out = rig.path("out.jsonl");
    let mut slow = to_file(&out);
    slow.pace.batch_wait = Duration::from_hours(1);
    let mut away = to_file(&rig.path("nowhere/out.jsonl"));
    away.name = "away".into();
    away.pace.drain = Duration::from_millis(200);
    rig.exports.apply(&[slow, away]);
    rig.until(|line| &*line.name == "siem").await;
    rig.write(50);
    rig.exports.drain().await;
    assert_whole(&lines(&out), 50);
}

#[tokio::test]
async fn entries_that_took_the_place_of_exported_ones_are_exported_too() {
    let mut rig = Rig::new();
    let out = rig.path("out.jsonl");
    rig.write(3);
    rig.exports.apply(&[to_file(&out)]);
    rig.until(|line| line.seq == 3).await;
    rig.exports.drain().await;
    // Power was lost: the last entry is another now.
    let segment = rig.scribe.file();
    let text = std::fs::read_to_string(&segment).expect("a segment");
    let mut entries: Vec<&str> = text.lines().collect();
    let other = format!("e AAAA{}", &entries[2][6..]);
    entries[2] = &other;
    std::fs::write(&segment, entries.join("\n") + "\n").expect("written");
    rig.restart(&[to_file(&out)]);
    rig.until(|line| line.seq == 3 && line.sent == 3).await;
    let entries = lines(&out);
    assert_eq!(numbers(&entries), [1, 2, 3, 1, 2, 3]);
    assert!(entries[3..].iter().all(|entry| entry["redelivered"] == true), "{entries:?}");
    assert_ne!(entries[2]["hash"], entries[5]["hash"]);
}

#[tokio::test]
async fn segments_are_followed_and_those_that_were_removed_unsent_are_said_to_be_lost() {
    let mut rig = Rig::new();
    let out = rig.path("out.jsonl");
    rig.write(3);
    rig.exports.apply(&[to_file(&out)]);
    rig.until(|line| line.seq == 3).await;
    rig.scribe.rotate();
    rig.write(3);
    rig.until(|line| line.seq == 6 && line.lost == 0).await;
    let deadline = Instant::now() + SOON;
    while rig.exports.needs_from() != Some(4) {
        assert!(Instant::now() < deadline, "{:?}: the first segment is done with", rig.exports.needs_from());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.exports.drain().await;
    rig.write(2);
    let unsent = rig.scribe.file();
    rig.scribe.rotate();
    rig.write(2);
    std::fs::remove_file(unsent).expect("removed");
    rig.restart(&[to_file(&out)]);
    let line = rig.until(|line| line.seq == 10).await;
    assert_eq!(line.lost, 2);
    let entries = lines(&out);
    assert_eq!(numbers(&entries), [1, 2, 3, 4, 5, 6, 9, 10]);
    assert_eq!((&entries[6]["missing_from"], &entries[7]["missing_from"]), (&7.into(), &Value::Null));
}

#[tokio::test]
async fn names_and_payloads_go_out_only_where_it_says_so() {
    let mut rig = Rig::new();
    let (bare, full) = (rig.path("bare.jsonl"), rig.path("full.jsonl"));
    let by = |user: &'static str| Entry {
        tenant: Some("acme".into()),
        user: Some(user.into()),
        ..Entry::of(Kind::Intent)
    };
    let name = beside("n u1", "alice");
    rig.scribe.write(by("u1"), &[beside("p a", "{\"path\":\n\"/tmp\"}"), name].concat());
    rig.scribe.write(by("u2"), "n u2 !erased.................................................\n");
    let with = |wanted: bool| {
        let mut settings = to_file(if wanted { &full } else { &bare });
        settings.name = if wanted { "full".into() } else { "bare".into() };
        (settings.names, settings.payloads) = (wanted, wanted);
        settings
    };
    let both = [with(true), with(false)];
    rig.exports.apply(&both);
    for name in ["full", "bare"] {
        rig.until(|line| line.seq == 2 && &*line.name == name).await;
    }
    // The name stands beside the first entry that uses it; another process has to look for it there.
    rig.exports.drain().await;
    rig.scribe.write(by("u1"), "");
    rig.restart(&both);
    for name in ["full", "bare"] {
        rig.until(|line| line.seq == 3 && &*line.name == name).await;
    }
    let (bare, full) = (lines(&bare), lines(&full));
    assert_eq!((bare.len(), full.len()), (3, 3));
    assert!(bare.iter().all(|entry| entry["names"].is_null() && entry["payloads"].is_null()), "{bare:?}");
    assert_eq!((&bare[0]["user"], &full[0]["user"]), (&"u1".into(), &"u1".into()));
    assert_eq!((&full[0]["names"]["user"], &full[2]["names"]["user"]), (&"alice".into(), &"alice".into()));
    assert!(full[1]["names"].is_null(), "erased");
    assert_eq!(full[0]["payloads"]["arguments"]["path"], "/tmp");
}

#[tokio::test]
async fn the_entries_of_a_real_ledger_arrive() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(folder.path(), LedgerSettings::default()).expect("a ledger");
    let exports = Rig::of(&ledger);
    let out = folder.path().join("out.jsonl");
    let mut settings = to_file(&out);
    (settings.names, settings.payloads) = (true, true);
    exports.apply(&[settings]);
    let mut alice = Principal::local();
    (alice.agent, alice.user) = (Some("bot".into()), Some("alice".into()));
    for _ in 0..100 {
        let content = Content { bytes: Bytes::from_static(b"{\"q\":1}"), level: RecordLevel::Full };
        let draft =
            Draft { who: Some(&alice), arguments: Some(content), ..Draft::of(Entry::of(Kind::Refusal)) };
        ledger.note(draft).await.expect("written");
    }
    ledger.close().await;
    let last = ledger.position().expect("a position").borrow().seq;
    until(&exports, |line| line.seq == last).await;
    let entries = lines(&out);
    assert_whole(&entries, last);
    let refusals: Vec<_> = entries.iter().filter(|entry| entry["kind"] == "refusal").collect();
    assert_eq!(refusals.len(), 100);
    for refusal in refusals {
        let names = &refusal["names"];
        assert_eq!((&names["user"], &names["agent"]), (&"alice".into(), &"bot".into()), "{refusal}");
        assert!(names["who"].is_object() && refusal["user"] != "alice", "{refusal}");
        assert_eq!(refusal["payloads"]["arguments"]["q"], 1);
    }
    assert!(entries.iter().any(|entry| entry["kind"] == "checkpoint"), "an export vouches for the chain");
}

#[tokio::test]
async fn what_a_writer_that_is_gone_has_left_behind_is_sent_by_whoever_is_left() {
    let mut rig = Rig::new();
    let out = rig.path("out.jsonl");
    let gone = rig.path("01hzzzzzzzzzzzzzzzzzzzzzzz");
    let mut scribe = Scribe::new(&gone);
    for _ in 0..3 {
        scribe.write(Entry::of(Kind::Refusal), "");
    }
    std::fs::write(gone.join("lock"), b"").expect("written");
    rig.write(2);
    rig.exports.apply(&[to_file(&out)]);
    let deadline = Instant::now() + SOON;
    while numbers(&lines(&out)).len() < 5 {
        assert!(Instant::now() < deadline, "it never came");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let entries = lines(&out);
    let of =
        |writer: &str| entries.iter().filter(|entry| entry["writer"] == writer).cloned().collect::<Vec<_>>();
    assert_eq!(numbers(&of("01hzzzzzzzzzzzzzzzzzzzzzzz")), [1, 2, 3]);
    assert_eq!(numbers(&of("w1")), [1, 2]);
    // Then the folder is free for the next process.
    let lock = std::fs::File::open(gone.join("lock")).expect("a lock");
    while lock.try_lock().is_err() {
        assert!(Instant::now() < deadline, "it was never let go");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn retention_waits_for_an_export_that_is_away_but_not_for_one_too_far_behind() {
    let mut rig = Rig::new();
    let mut settings = to_file(&rig.path("nowhere/out.jsonl"));
    settings.pace.behind_bytes_max = 1000;
    assert_eq!(rig.exports.needs_from(), None);
    rig.exports.apply(&[settings]);
    rig.write(1);
    rig.until(|line| line.away.is_some() && line.behind_bytes > 0).await;
    assert_eq!(rig.exports.needs_from(), Some(0), "everything");
    rig.write(20);
    rig.until(tollgate_ledger::export::ExportLine::is_behind).await;
    assert_eq!(rig.exports.needs_from(), None);
}

#[tokio::test]
async fn where_reading_fails_what_was_read_before_goes_out_and_the_rest_later() {
    let mut rig = Rig::new();
    let out = rig.path("out.jsonl");
    rig.write(3);
    rig.scribe.rotate();
    // A file that cannot be read, whoever asks.
    std::fs::create_dir(rig.scribe.file()).expect("a folder");
    rig.exports.apply(&[to_file(&out)]);
    rig.until(|line| line.seq == 3 && line.away.is_some()).await;
    assert_eq!(numbers(&lines(&out)), [1, 2, 3]);
    std::fs::remove_dir(rig.scribe.file()).expect("removed");
    rig.write(3);
    let line = rig.until(|line| line.seq == 6 && line.away.is_none()).await;
    assert_eq!(numbers(&lines(&out)), [1, 2, 3, 4, 5, 6]);
    assert_eq!((line.lost, line.redelivered), (0, 0));
}

#[tokio::test]
async fn what_is_damaged_is_said_to_be_missing_and_what_is_behind_it_goes_out() {
    let mut rig = Rig::new();
    let out = rig.path("out.jsonl");
    rig.write(7);
    let segment = rig.scribe.file();
    let text = std::fs::read_to_string(&segment).expect("a segment");
    let mut entries: Vec<String> = text.lines().map(str::to_owned).collect();
    entries[2] = "x".repeat(entries[2].len());
    // One that has a line's form, and says nothing.
    entries[3] = entries[3].replace('{', "[");
    entries[5].clear();
    std::fs::write(&segment, entries.join("\n") + "\n").expect("written");
    rig.exports.apply(&[to_file(&out)]);
    let line = rig.until(|line| line.seq == 7).await;
    let entries = lines(&out);
    assert_eq!(numbers(&entries), [1, 2, 5, 7]);
    assert_eq!((line.lost, line.away), (3, None));
    let missing: Vec<_> = entries.iter().map(|entry| entry["missing_from"].as_u64()).collect();
    assert_eq!(missing, [None, None, Some(3), Some(6)]);
    rig.write(2);
    rig.until(|line| line.seq == 9).await;
    assert_eq!(numbers(&lines(&out)), [1, 2, 5, 7, 8, 9]);
}

#[tokio::test]
async fn what_is_not_said_to_be_written_is_not_sent() {
    let mut rig = Rig::new();
    let out = rig.path("out.jsonl");
    let mut exports = vec![to_file(&out)];
    rig.exports.apply(&exports);
    rig.write(2);
    rig.until(|line| line.seq == 2).await;
    rig.write(1);
    let failing = Entry { tenant: Some("nobody".into()), ..Entry::of(Kind::Refusal) };
    let all = &rig.exports;
    rig.scribe
        .fail(failing, async |position| {
            // Another that begins now, and one that is told once more, read what is there.
            exports.push(to_file(&folder_of(&out).join("late.jsonl")));
            exports[1].name = "late".into();
            all.apply(&exports);
            position.send_modify(|_| ());
            for name in ["siem", "late"] {
                until(all, |line| &*line.name == name && line.seq >= 3).await;
            }
        })
        .await;
    rig.write(2);
    for name in ["siem", "late"] {
        rig.until(|line| &*line.name == name && line.seq == 5).await;
    }
    for file in [out.clone(), rig.path("late.jsonl")] {
        let entries = lines(&file);
        assert_eq!(numbers(&entries), [1, 2, 3, 4, 5]);
        assert!(entries.iter().all(|entry| entry["tenant"] == "acme"), "{entries:?}");
    }
}

fn folder_of(path: &std::path::Path) -> &std::path::Path {
    path.parent().expect("a folder")
}
