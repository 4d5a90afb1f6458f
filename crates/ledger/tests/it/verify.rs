//! What verification finds.

use std::fmt::Write as _;
use std::fs;

use tollgate_ledger::{
    Checkpoint, Entry, Erased, ErasedIn, Fault, Hash, Kind, OwnSignature, Point, PublicKey, Removed, Report,
    Verify, Wrong, erase, line_digest,
};
use tollgate_model::Timestamp;

use crate::written::{Written, beside, key};

/// Two segments, each with names and payloads, all signed: entries 1 to 6 and 7 to 12.
fn ledger() -> Written {
    let mut written = Written::new();
    some(&mut written);
    written.rotate();
    some(&mut written);
    written
}

fn some(written: &mut Written) {
    written.entry(Entry::of(Kind::Intent), &[beside("p a", 'x'), beside("n ada", 'y')].concat());
    written.entry(Entry::of(Kind::Outcome), &beside("p r", 'z'));
    written.sign();
    written.intent();
    written.sign();
}

fn trusting(written: &Written) -> Verify {
    Verify { keys: vec![written.public()], ..Verify::default() }
}

fn found(written: &Written) -> Report {
    trusting(written).all(written.ledger()).expect("readable")
}

/// What is wrong first: line, entry and what.
fn first(report: &Report) -> (Option<u64>, Option<u64>, Wrong) {
    let fault: &Fault = report.faults().next().expect("a fault");
    (fault.line, fault.seq, fault.what.clone())
}

#[test]
fn what_is_as_it_was_is_found_good() {
    let written = ledger();
    for verify in [trusting(&written), Verify::default()] {
        let report = verify.all(written.ledger()).expect("readable");
        assert!(report.is_good(), "{report:?}");
        let writer = &report.writers[0];
        assert_eq!((&*writer.writer, writer.segments, writer.entries), ("w1", 2, 12));
        assert_eq!(writer.signed.map(|signed| signed.seq), Some(11));
        assert_eq!((writer.unsigned, writer.unsigned_since_ms, writer.anchored), (0, None, None));
        assert_eq!(writer.keys, [written.public().id()]);
        assert_eq!(report.keys_are_their_own, verify.keys.is_empty());
    }
    let alone = trusting(&written).all(&written.folder).expect("readable");
    assert_eq!(alone.writers.len(), 1, "one writer's folder");
}

/// One line of the first segment is changed, and this entry is named.
fn changed(change: impl FnOnce(&mut Vec<String>)) -> (Option<u64>, Option<u64>, Wrong) {
    let written = ledger();
    written.change(1, change);
    first(&found(&written))
}

#[test]
fn changes_are_found_where_they_are() {
    let json = changed(|lines| lines[4] = lines[4].replace("outcome", "refusal"));
    assert_eq!(json, (Some(5), Some(3), Wrong::Changed));
    let hash = changed(|lines| {
        let other = if lines[4].starts_with("e A") { "e B" } else { "e A" };
        lines[4].replace_range(..3, other);
    });
    assert_eq!(hash, (Some(5), Some(3), Wrong::Changed));
    let payload = changed(|lines| lines[2] = lines[2].replacen('x', "w", 1));
    assert_eq!(payload, (Some(2), Some(2), Wrong::Beside));
    let number = changed(|lines| lines[4] = lines[4].replace("\"seq\":3", "\"seq\":8"));
    assert_eq!(number, (Some(5), Some(8), Wrong::Order { expected: 3 }));
    let garbage = changed(|lines| lines[4] = "what is this\n".to_owned());
    assert_eq!(garbage, (Some(5), Some(3), Wrong::NoLine));
}

#[test]
fn lines_that_are_missing_or_too_many_are_found() {
    let deleted = changed(|lines| drop(lines.drain(4..6)));
    assert_eq!(deleted, (Some(5), Some(4), Wrong::Order { expected: 3 }));
    let payload = changed(|lines| drop(lines.remove(2)));
    assert_eq!(payload, (Some(2), Some(2), Wrong::Beside));
    let doubled = changed(|lines| lines.insert(7, lines[6].clone()));
    assert_eq!(doubled, (Some(8), Some(4), Wrong::Order { expected: 5 }));
    let reordered = changed(|lines| lines.swap(6, 7));
    assert_eq!(reordered, (Some(7), Some(5), Wrong::Order { expected: 4 }));
    let inserted = changed(|lines| lines.insert(7, beside("p a", 'x')));
    assert_eq!(inserted, (Some(8), Some(4), Wrong::Beside));
    let torn = changed(|lines| *lines.last_mut().expect("a line") = "e half".to_owned());
    assert_eq!(torn, (Some(9), None, Wrong::Torn));
    let headless = changed(|lines| drop(lines.remove(0)));
    assert_eq!(headless.2, Wrong::NoHead);
}

/// Every entry is where its neighbours expect it, and the hashes are right: only the key is missing.
#[test]
fn a_chain_that_was_computed_anew_is_found() {
    let written = ledger();
    let lines = written.lines(1);
    let (mut before, mut text) = (Hash::default(), lines[0].clone());
    // The head as it was; entry 3 says something else; the checkpoint as it was, or signed by somebody else.
    for (nth, line) in lines.iter().enumerate() {
        let Some(rest) = line.strip_prefix("e ") else {
            if nth > 0 {
                text.push_str(line);
            }
            continue;
        };
        let (side, json) = rest[44..].trim_end().split_once(' ').expect("two parts");
        let json = json.replace("outcome", "refusal");
        before = tollgate_ledger::chain(before, side.as_bytes(), json.as_bytes());
        if nth > 0 {
            writeln!(text, "e {} {side} {json}", before.to_text()).expect("written");
        }
    }
    fs::write(written.file(1), text).expect("written");
    assert_eq!(first(&found(&written)), (Some(7), Some(4), Wrong::NotSigned));
}

#[test]
fn a_checkpoint_by_another_key_is_found() {
    let mut written = ledger();
    let trusted = trusting(&written);
    let (other, public) = key(2);
    written.key = other;
    written.intent();
    written.sign();
    let report = trusted.all(written.ledger()).expect("readable");
    assert_eq!(first(&report), (Some(11), Some(14), Wrong::OtherKey { key: public.id() }));
    let both = Verify { keys: vec![trusted.keys[0], public], ..Verify::default() };
    let report = both.all(written.ledger()).expect("readable");
    assert!(report.is_good(), "after a change of keys, both are given: {report:?}");
    assert_eq!(report.writers[0].keys, [trusted.keys[0].id(), public.id()]);
    written.rotate();
    let report = trusted.all(written.ledger()).expect("readable");
    assert!(report.faults().any(|fault| fault.seq == Some(15)), "a head that names another key: {report:?}");
}

#[test]
fn a_wrong_signature_is_found() {
    let mut written = ledger();
    written.intent();
    let id = written.public().id();
    let time_ms = written.time_ms + 100;
    let good = Checkpoint::sign(&written.writer, written.at, time_ms, None, &written.key, &id);
    let forgeries = [
        (Checkpoint { open_from: Some(1), ..good.clone() }.entry(), Wrong::Signature),
        (Checkpoint { key: key(2).1.id(), ..good.clone() }.entry(), Wrong::OtherKey { key: key(2).1.id() }),
        (Entry { code: Some("more".into()), ..good.entry() }, Wrong::Signature),
        (Entry { detail: None, ..good.entry() }, Wrong::Detail),
        (Checkpoint::sign("w2", written.at, time_ms, None, &written.key, &id).entry(), Wrong::NotSigned),
    ];
    let (at, before) = (written.at, fs::read(written.file(7)).expect("a file"));
    for (entry, wrong) in forgeries {
        written.entry(entry, "");
        assert_eq!(first(&found(&written)), (Some(11), Some(14), wrong));
        (written.at, written.time_ms) = (at, time_ms - 100);
        fs::write(written.file(7), &before).expect("written");
    }
    written.entry(good.entry(), "");
    assert!(found(&written).is_good());
}

#[test]
fn segments_that_are_missing_swapped_or_anothers_are_found() {
    let mut written = ledger();
    written.rotate();
    some(&mut written);
    let other = {
        let elsewhere = tempfile::tempdir().expect("a folder");
        let mut other = Written::beside(elsewhere.path(), "w2");
        some(&mut other);
        other.rotate();
        some(&mut other);
        fs::read(other.file(7)).expect("a segment")
    };
    let (one, two, three) = (written.file(1), written.file(7), written.file(13));
    let [first_one, second, third] = [&one, &two, &three].map(|file| fs::read(file).expect("a segment"));
    let restore = || {
        for (file, text) in [(&one, &first_one), (&two, &second), (&three, &third)] {
            fs::write(file, text).expect("written");
        }
        assert!(found(&written).is_good());
    };
    fs::remove_file(&two).expect("removed");
    let missing = Wrong::NotNext { before: 6, follows: 12 };
    assert_eq!(first(&found(&written)), (Some(1), Some(13), missing));
    restore();
    fs::write(&two, &third).expect("written");
    fs::write(&three, &second).expect("written");
    assert_eq!(first(&found(&written)), (Some(1), Some(13), Wrong::FileName));
    restore();
    fs::write(&two, other).expect("written");
    assert_eq!(first(&found(&written)), (Some(1), Some(7), Wrong::OtherWriter { writer: "w2".to_owned() }));
    restore();
    fs::remove_file(&one).expect("removed");
    assert_eq!(first(&found(&written)), (Some(1), Some(7), Wrong::MissingFront { through: 6 }));
    restore();
    fs::write(&one, "").expect("written");
    assert_eq!(first(&found(&written)).2, Wrong::NoHead);
}

#[test]
fn what_was_removed_for_its_age_is_not_missed() {
    let mut written = ledger();
    let hash = written.lines(7)[0].clone();
    let hash = hash.split("before_hash\":\"").nth(1).and_then(|rest| Hash::read(&rest.as_bytes()[..43]));
    let mut removed = Removed {
        through: 6,
        through_hash: hash.expect("a hash"),
        segments: 1,
        bytes: 9,
        newest_ms: 1,
        why: "age".to_owned(),
        signed: OwnSignature::default(),
    };
    let (before, at) = (fs::read(written.file(7)).expect("a segment"), written.at);
    let first_segment = fs::read(written.file(1)).expect("a segment");
    // Who has no key says so, and the writer signs the chain afterwards, unknowing.
    let id = written.public().id();
    let other = Removed { through_hash: Hash::default(), ..removed.clone() };
    let signed = |removed: &Removed, key: &ring::signature::Ed25519KeyPair, writer: &str| {
        OwnSignature::of(&removed.statement(writer), key, &id)
    };
    for (forged, wrong) in [
        (removed.clone(), Wrong::Signature),
        (Removed { signed: signed(&removed, &key(2).0, "w1"), ..removed.clone() }, Wrong::Signature),
        (Removed { signed: signed(&removed, &written.key, "w2"), ..removed.clone() }, Wrong::Signature),
        (Removed { signed: signed(&other, &written.key, "w1"), ..other }, Wrong::MissingFront { through: 6 }),
    ] {
        written.entry(forged.entry(), "");
        written.sign();
        fs::remove_file(written.file(1)).expect("removed");
        assert_eq!(first(&found(&written)).2, wrong);
        fs::write(written.file(7), &before).expect("written");
        fs::write(written.file(1), &first_segment).expect("written");
        written.at = at;
    }
    removed.signed = signed(&removed, &written.key, "w1");
    written.entry(removed.entry(), "");
    written.sign();
    assert!(found(&written).is_good(), "it was only said yet");
    fs::remove_file(written.file(1)).expect("removed");
    let report = found(&written);
    assert!(report.is_good(), "{report:?}");
    assert_eq!(report.writers[0].removed, Some(6));
    written.rotate();
    written.sign();
    fs::remove_file(written.file(7)).expect("removed");
    assert_eq!(first(&found(&written)).2, Wrong::MissingFront { through: written.segment - 1 });
}

/// Erases the lines of a segment that begin so, and gives back what an entry has to say about it.
fn erase_in(written: &Written, segment: u64, heads: &[&str]) -> ErasedIn {
    let (mut records, mut digests) = (0, Vec::new());
    written.change(segment, |lines| {
        for line in lines.iter_mut().filter(|line| heads.iter().any(|head| line.starts_with(head))) {
            if let Some(erased) = erase(line.as_bytes()) {
                *line = String::from_utf8(erased).expect("text");
            }
            records += 1;
            digests.extend(line_digest(line.as_bytes()).0);
        }
    });
    let digest = ring::digest::digest(&ring::digest::SHA256, &digests);
    let mut hash = Hash::default();
    hash.0.copy_from_slice(digest.as_ref());
    ErasedIn { segment, records, digest: hash }
}

fn erasure(written: &Written, segments: Vec<ErasedIn>) -> Entry<'static> {
    let mut erased = Erased {
        why: "user".to_owned(),
        request: None,
        tenant: Some("acme".to_owned()),
        user: None,
        before_ms: None,
        segments,
        signed: OwnSignature::default(),
    };
    let statement = erased.statement(&written.writer);
    erased.signed = OwnSignature::of(&statement, &written.key, &written.public().id());
    erased.entry()
}

#[test]
fn an_erasure_that_is_on_record_is_no_fault() {
    let mut written = ledger();
    let before = fs::read(written.file(1)).expect("a segment");
    let names = erase_in(&written, 1, &["n "]);
    assert_eq!(first(&found(&written)).2, Wrong::Erased { records: 1, named: 0 }, "nobody said so");
    written.entry(erasure(&written, vec![names]), "");
    written.sign();
    let report = found(&written);
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.writers[0].erased, report.writers[0].not_yet_erased), (1, 0));
    // A second erasure names all that is erased in the segment by then.
    let both = erase_in(&written, 1, &["n ", "p r"]);
    assert_eq!(first(&found(&written)).2, Wrong::Erased { records: 2, named: 1 });
    written.entry(erasure(&written, vec![both]), "");
    written.sign();
    assert!(found(&written).is_good());
    // The same number of records, but others.
    fs::write(written.file(1), &before).expect("written");
    erase_in(&written, 1, &["n ", "p a"]);
    assert_eq!(first(&found(&written)).2, Wrong::Erased { records: 2, named: 2 });
    // It is said before it is done.
    fs::write(written.file(1), &before).expect("written");
    let report = found(&written);
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.writers[0].erased, report.writers[0].not_yet_erased), (0, 2));
    // What is left beside an erased line is protected as before.
    erase_in(&written, 1, &["n ", "p r"]);
    written.change(1, |lines| lines[2] = lines[2].replacen('x', "w", 1));
    assert_eq!(first(&found(&written)), (Some(2), Some(2), Wrong::Beside));
}

#[test]
fn a_tail_that_was_cut_off_is_found_by_an_anchor() {
    let mut written = ledger();
    let anchor = written.sign();
    let verify = Verify { anchors: vec![anchor.clone()], ..trusting(&written) };
    let report = verify.all(written.ledger()).expect("readable");
    assert!(report.is_good(), "{report:?}");
    let point = Point { seq: 12, time_ms: anchor.time_ms };
    assert_eq!(report.writers[0].anchored, Some(point));
    written.change(7, |lines| lines.truncate(lines.len() - 2));
    assert!(found(&written).is_good(), "without an anchor nobody can know");
    let cut_off = Wrong::CutOff { seq: 13, time_ms: anchor.time_ms };
    assert_eq!(first(&verify.all(written.ledger()).expect("readable")), (None, Some(12), cut_off));
    fs::remove_file(written.file(7)).expect("removed");
    assert!(!verify.all(written.ledger()).expect("readable").is_good());
    // All that was in a writer's folder, and no key is given.
    let first_segment = fs::read(written.file(1)).expect("a segment");
    fs::remove_file(written.file(1)).expect("removed");
    for verify in [&verify, &Verify { keys: Vec::new(), ..verify.clone() }] {
        let report = verify.all(written.ledger()).expect("readable");
        assert!(matches!(first(&report).2, Wrong::CutOff { .. }), "{report:?}");
    }
    fs::write(written.file(1), first_segment).expect("written");
    // All of a writer.
    fs::rename(&written.folder, written.ledger().join("elsewhere")).expect("renamed");
    fs::remove_dir_all(written.ledger().join("elsewhere/segments")).expect("removed");
    let report = verify.all(written.ledger()).expect("readable");
    assert_eq!(first(&report).2, Wrong::NoWriter { writer: "w1".to_owned(), seq: 12 });
    let part = Verify { is_part: true, ..verify };
    let report = part.all(written.ledger()).expect("readable");
    assert!(report.is_good() && report.elsewhere["w1"] == point, "{report:?}");
}

#[test]
fn a_chain_that_its_own_key_rewrote_is_found_by_an_anchor() {
    let written = ledger();
    let mut rewritten = Written::new();
    some(&mut rewritten);
    rewritten.rotate();
    rewritten.intent();
    let anchor = rewritten.sign();
    let verify = Verify { anchors: vec![anchor.clone()], ..trusting(&written) };
    let report = verify.all(written.ledger()).expect("readable");
    assert_eq!(first(&report), (Some(2), Some(8), Wrong::Anchor { time_ms: anchor.time_ms }));
    // An anchor that nobody signed says nothing about the chain.
    let forged = Checkpoint { hash: Hash([1; 32]), ..anchor };
    let verify = Verify { anchors: vec![forged], ..verify };
    assert_eq!(first(&verify.all(written.ledger()).expect("readable")).2, Wrong::AnchorSignature);
}

#[test]
fn it_says_since_when_nothing_is_signed() {
    let mut written = ledger();
    written.intent();
    let since = written.time_ms;
    written.intent();
    let report = found(&written);
    assert!(report.is_good());
    assert_eq!((report.writers[0].unsigned, report.writers[0].unsigned_since_ms), (2, Some(since)));
    written.append("e half an entr");
    let report = found(&written);
    assert!(report.is_good() && report.writers[0].torn_bytes == 14, "{report:?}");
    written.change(7, |lines| drop(lines.pop()));
    written.time_ms += 61_000;
    written.intent();
    assert_eq!(first(&found(&written)), (None, Some(13), Wrong::Unsigned { since_ms: since }));
    // That a writer began anew says whoever likes to. Also when it signs, nobody knows whose the entries before it are.
    written.entry(Entry::of(Kind::Recovered), "");
    assert!(!found(&written).is_good());
    let last = written.at.seq - 1;
    written.sign();
    let report = found(&written);
    let faults: Vec<_> = report.faults().map(|fault| (fault.seq, fault.what.clone())).collect();
    assert_eq!(faults, [(Some(13), Wrong::Unsigned { since_ms: since })]);
    let ranges = report.writers[0].unsigned_until_recovered.iter();
    assert_eq!(ranges.map(|range| (range.first.seq, range.last.seq)).collect::<Vec<_>>(), [(13, last)]);
}

#[test]
fn nothing_comes_after_a_good_end_but_another_begin() {
    let mut written = ledger();
    written.entry(Entry::of(Kind::Stopped), "");
    written.sign();
    assert!(found(&written).is_good());
    let (at, time_ms, before) = (written.at, written.time_ms, fs::read(written.file(7)).expect("a segment"));
    written.intent();
    assert_eq!(first(&found(&written)), (Some(12), Some(15), Wrong::AfterEnd));
    (written.at, written.time_ms) = (at, time_ms);
    fs::write(written.file(7), &before).expect("written");
    written.sign();
    written.rotate();
    written.entry(Entry::of(Kind::Started), "");
    written.intent();
    written.sign();
    let report = found(&written);
    assert!(report.is_good(), "{report:?}");
    written.time_ms -= 1_000;
    written.intent();
    assert_eq!(first(&found(&written)).2, Wrong::TimeBack);
}

/// What stood unsigned in a good ledger until the next process found it, by number.
fn unsigned_until_recovered(written: &Written) -> Vec<(u64, u64)> {
    let report = found(written);
    assert!(report.is_good(), "{report:?}");
    let ranges = report.writers[0].unsigned_until_recovered.iter();
    ranges.map(|range| (range.first.seq, range.last.seq)).collect()
}

#[test]
fn an_end_that_nobody_signed_is_listed_where_another_began_behind_it() {
    let mut written = ledger();
    written.intent();
    written.entry(Entry::of(Kind::Stopped), "");
    written.entry(Entry::of(Kind::Started), "");
    written.sign();
    assert_eq!(unsigned_until_recovered(&written), [(13, 14)]);
}

#[test]
fn a_process_may_begin_a_segment_long_after_the_crash_of_the_one_before() {
    let mut written = ledger();
    written.intent();
    written.time_ms += 3_600_000;
    written.rotate();
    written.entry(Entry::of(Kind::Recovered), "");
    written.sign();
    assert_eq!(unsigned_until_recovered(&written), [(13, 14)]);
}

#[test]
fn only_what_came_since_then_is_read() {
    let mut written = ledger();
    written.time_ms += 60_000;
    let since = written.time_ms;
    written.rotate();
    some(&mut written);
    written.change(1, |lines| lines[4] = lines[4].replace("outcome", "refusal"));
    let verify = Verify { since: Some(Timestamp::from_ms(since)), ..trusting(&written) };
    let report = verify.all(written.ledger()).expect("readable");
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.writers[0].segments, report.writers[0].first.map(|first| first.seq)), (2, Some(7)));
    assert!(!found(&written).is_good());
}

#[test]
fn a_key_is_a_key() {
    let public: PublicKey = key(1).1;
    assert_eq!(PublicKey::read_all(&public.to_pem()), Ok(vec![public]));
}

/// A process that did not end, after whose last checkpoint there are three entries; and the next one, which signs.
fn taken_over(seconds_between: u64) -> (Written, Report) {
    let mut written = Written::new();
    written.intent();
    written.sign();
    for _ in 0..3 {
        written.intent();
        written.time_ms += seconds_between * 1000;
    }
    written.entry(Entry::of(Kind::Recovered), "");
    written.sign();
    let report = found(&written);
    (written, report)
}

#[test]
fn what_was_unsigned_until_somebody_else_signed_it_is_listed_for_good() {
    let (_written, report) = taken_over(1);
    assert!(report.is_good(), "{report:?}");
    let writer = &report.writers[0];
    let ranges: Vec<_> =
        writer.unsigned_until_recovered.iter().map(|range| (range.first.seq, range.last.seq)).collect();
    assert_eq!((ranges, writer.unsigned), (vec![(4, 6)], 0));
    // For longer than any writer waits: it is another's.
    let (written, report) = taken_over(40);
    let since_ms = report.writers[0].unsigned_until_recovered[0].first.time_ms;
    let (line, _, wrong) = first(&report);
    assert_eq!(wrong, Wrong::Unsigned { since_ms });
    assert!(line.is_some(), "{}", written.folder.display());
}
