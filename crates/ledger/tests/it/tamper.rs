//! A real ledger, and whoever changes a bit of it: found each time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ring::signature::KeyPair as _;
use tempfile::TempDir;
use tollgate_ledger::upkeep::{Erasing, Whose, erase};
use tollgate_ledger::{
    Checkpoint, Entry, Kind, LedgerSettings, Line, PUBLIC_FILE, PublicKey, Reader, Verify,
};
use tollgate_model::{Principal, PrincipalId, Proof, TenantId};

use crate::record::{ended, intend, open};

/// How many changes are tried.
const TRIES: u64 = 2_500;

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound as u64).expect("small")
    }
}

/// The files of a ledger by name, as they were.
type Files = BTreeMap<PathBuf, Vec<u8>>;

struct Original {
    folder: TempDir,
    keys: Vec<PublicKey>,
    files: Files,
    anchors: Vec<Checkpoint>,
    /// A segment of another ledger.
    foreign: Vec<u8>,
}

async fn write(root: &Path, segments: usize) -> PathBuf {
    let settings = LedgerSettings { segment_bytes_max: 24_000, ..LedgerSettings::default() };
    let ledger = open(root, settings);
    let users = ["ada", "bob", "eve"].map(|user| Principal {
        user: Some(user.into()),
        ..Principal::new(TenantId::new("acme"), PrincipalId::local(), Proof::Anonymous)
    });
    let reader = Reader::new(ledger.folder().expect("it is on"));
    while reader.segments().expect("readable").len() < segments {
        for who in &users {
            intend(&ledger, who).await.close(ended(who)).await.expect("on record");
        }
        // The ledger's thread begins segments.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let whose = Whose::User { user: "eve".to_owned(), tenant: None };
    let erased = erase(&ledger, &Erasing { whose, before_ms: None, request: None }).await.expect("erased");
    assert!(erased > 0);
    let folder = ledger.folder().expect("it is on").to_owned();
    ledger.close().await;
    folder
}

impl Original {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let elsewhere = tempfile::tempdir().expect("a folder");
        let writer = write(folder.path(), 4).await;
        let other = write(elsewhere.path(), 2).await;
        let foreign = fs::read(Reader::new(&other).path(1)).expect("a segment");
        let public = fs::read_to_string(folder.path().join(PUBLIC_FILE)).expect("keys");
        let keys = PublicKey::read_all(&public).expect("keys");
        let reader = Reader::new(&writer);
        let paths = reader.segments().expect("readable").into_iter().map(|segment| reader.path(segment));
        let files: Files = paths.map(|path| (path.clone(), fs::read(&path).expect("a segment"))).collect();
        assert!(files.len() >= 3, "{}", files.len());
        let mut anchors = Vec::new();
        for text in files.values() {
            anchors.extend(Checkpoint::all_in(lines_of_json(text).as_bytes()).expect("checkpoints"));
        }
        let original = Self { folder, keys, files, anchors, foreign };
        assert!(original.verdict().is_none(), "{:?}", original.verdict());
        original
    }

    /// The first fault, in words; none if there is none.
    fn verdict(&self) -> Option<String> {
        let verify = Verify { keys: self.keys.clone(), anchors: self.anchors.clone(), ..Verify::default() };
        let report = verify.all(self.folder.path()).expect("readable");
        report.faults().next().map(ToString::to_string)
    }

    fn put_back(&self) {
        for (path, text) in &self.files {
            fs::write(path, text).expect("written");
        }
    }

    fn pick(&self, dice: &mut Dice) -> (&PathBuf, &Vec<u8>) {
        self.files.iter().nth(dice.below(self.files.len())).expect("a file")
    }
}

fn lines_of_json(text: &[u8]) -> String {
    String::from_utf8(text.to_vec()).expect("text")
}

fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// One change of one kind. Says what it did; none if it would change nothing.
fn change(original: &Original, dice: &mut Dice) -> Option<String> {
    let (path, text) = original.pick(dice);
    let name = path.file_name()?.to_string_lossy().into_owned();
    let mut lines = lines(text);
    let at = dice.below(lines.len());
    let what = match dice.below(12) {
        0 | 1 => {
            let (byte, bit) = (dice.below(text.len()), dice.below(8));
            let mut text = text.clone();
            text[byte] ^= 1 << bit;
            fs::write(path, text).ok()?;
            return Some(format!("{name}: bit {bit} of byte {byte} flipped"));
        }
        2 => {
            lines.remove(at);
            "deleted"
        }
        3 => {
            let count = 1 + dice.below(5).min(lines.len() - at - 1);
            lines.drain(at..at + count);
            "a few deleted"
        }
        4 => {
            lines.insert(at, lines[at].clone());
            "doubled"
        }
        5 => {
            let to = dice.below(lines.len());
            if lines[at] == lines[to] {
                return None;
            }
            lines.swap(at, to);
            "swapped with another"
        }
        6 => {
            let (_, other) = original.pick(dice);
            let other = self::lines(other);
            let other = other[dice.below(other.len())].clone();
            if lines[at] == other {
                return None;
            }
            lines[at] = other;
            "replaced by another"
        }
        7 => {
            // Behind the last anchor nothing is known: at least one signed entry goes.
            lines.truncate(at.min(lines.len().saturating_sub(4)));
            "and all behind it cut off"
        }
        8 => {
            let (other_path, other) = original.pick(dice);
            if path == other_path {
                return None;
            }
            fs::write(path, other).ok()?;
            fs::write(other_path, text).ok()?;
            return Some(format!("{name}: swapped with {}", other_path.display()));
        }
        9 => {
            if dice.below(2) == 0 {
                fs::remove_file(path).ok()?;
                return Some(format!("{name}: removed"));
            }
            fs::write(path, &original.foreign).ok()?;
            return Some(format!("{name}: another writer's"));
        }
        10 => {
            let erased = tollgate_ledger::erase(&lines[at])?;
            lines[at] = erased;
            "erased unseen"
        }
        _ => return rewritten(original, path, at, dice),
    };
    fs::write(path, lines.concat()).ok()?;
    Some(format!("{name}: line {at} {what}"))
}

/// From one entry on everything is computed anew, through all segments, by somebody who has no key: the entry says
/// something else, or is left out.
fn rewritten(original: &Original, from: &Path, at: usize, dice: &mut Dice) -> Option<String> {
    let leaves_out = dice.below(2) == 0;
    let signs = dice.below(2) == 0;
    let forger = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[9; 32]).ok()?;
    let forged_key = PublicKey(forger.public_key().as_ref().try_into().ok()?);
    let (mut before, mut seq, mut is_changed) = (tollgate_ledger::Hash::default(), 0, false);
    for (path, text) in &original.files {
        let mut new = Vec::new();
        let mut skips = false;
        for (nth, line) in lines(text).into_iter().enumerate() {
            let Some(Line::Entry { side, json, hash }) = Line::read(line.strip_suffix(b"\n")?) else {
                if !skips {
                    new.extend(line);
                }
                continue;
            };
            skips = false;
            let is_here = path == from && nth >= at && !is_changed && nth > 0;
            if !is_changed && !is_here {
                (before, seq) = (hash, seq + 1);
                new.extend(line);
                continue;
            }
            let mut entry: Entry<'_> = serde_json::from_slice(json).ok()?;
            if is_here {
                // What is signed cannot be made to say something else by leaving its own entry out.
                is_changed = true;
                if leaves_out && entry.kind != Kind::Checkpoint {
                    skips = true;
                    continue;
                }
                entry.code = Some("forged".into());
            }
            seq += 1;
            entry.seq = seq;
            if let Some(head) = tollgate_ledger::SegmentHead::of(&entry) {
                let head = tollgate_ledger::SegmentHead { before: seq - 1, before_hash: before, ..head };
                entry.detail = head.entry().detail;
            }
            if let Some(checkpoint) = Checkpoint::of(&entry).filter(|_| signs) {
                let at = tollgate_ledger::Position { seq: seq - 1, hash: before };
                let id = if dice.below(2) == 0 { forged_key.id() } else { checkpoint.key.clone() };
                let forged = Checkpoint::sign(
                    &checkpoint.writer,
                    at,
                    entry.time_ms,
                    checkpoint.open_from,
                    &forger,
                    &id,
                );
                entry.detail = forged.entry().detail;
            }
            let json = serde_json::to_vec(&entry).ok()?;
            before = tollgate_ledger::chain(before, side, &json);
            new.extend([b"e ", before.to_text().as_bytes(), b" ", side, b" ", &json, b"\n"].concat());
        }
        fs::write(path, new).ok()?;
    }
    is_changed.then(|| {
        format!("{}: computed anew from line {at}, left out {leaves_out}, signed {signs}", from.display())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_changed_is_found() {
    let original = Original::new().await;
    let mut unseen = Vec::new();
    let mut tried = 0;
    for seed in 0..TRIES {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let done = change(&original, &mut dice);
        if let Some(done) = &done {
            tried += 1;
            if original.verdict().is_none() {
                unseen.push(format!("{seed}: {done}"));
            }
        }
        original.put_back();
    }
    assert!(unseen.is_empty(), "{} of {tried} unseen: {:#?}", unseen.len(), &unseen[..unseen.len().min(20)]);
    assert!(tried > TRIES * 3 / 4, "{tried}");
    assert!(original.verdict().is_none(), "put back");
}
