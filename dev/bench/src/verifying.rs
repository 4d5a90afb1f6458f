//! What it costs to verify a ledger, within one process.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Instant;

use hdrhistogram::Histogram;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tollgate_ledger::{Checkpoint, Entry, FORMAT, Position, PublicKey, SegmentHead, Verify, chain, side};

use crate::Result;
use crate::deciding::{Line, nanos};

/// 200,000 entries a second.
const ENTRY_US_MAX: f64 = 5.0;
/// How many entries a segment has, and how many stand between two checkpoints.
const SEGMENT: u64 = 50_000;
const CHECKPOINT: u64 = 5_000;

/// Writes a ledger as a busy gateway does, and verifies it a few times.
pub(crate) fn measure(is_quick: bool) -> Result<Vec<Line>> {
    let (calls, times) = if is_quick { (50_000, 2) } else { (1_000_000, 5) };
    let folder = tempfile::tempdir()?;
    let (entries, bytes) = write(&folder.path().join("w1/segments"), calls)?;
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
    for _ in 0..times {
        let began = Instant::now();
        let report = Verify::default().all(folder.path())?;
        let took = began.elapsed();
        let read = report.writers.first().map_or(0, |writer| writer.entries);
        if !report.is_good() || read != entries {
            return Err(format!("{read} of {entries} entries verified: {:?}", report.faults().next()).into());
        }
        histogram.record(nanos(took) / entries)?;
    }
    crate::say::note(&format!("{entries} entries of {} bytes on average were verified", bytes / entries));
    Ok(vec![Line::of("an entry is verified, half of them with a payload", &histogram, ENTRY_US_MAX)])
}

/// The line as a table.
pub(crate) fn table(text: &mut String, lines: &[Line]) {
    text.push_str("\n## The ledger\n\nWithin one process, one thread, files in the page cache.\n\n| what | p50 µs | p99 µs |\n|---|--:|--:|\n");
    for line in lines {
        let _ = writeln!(text, "| {} | {:.1} | {:.1} |", line.what, line.p50_us, line.p99_us);
    }
}

/// Gives how many entries and bytes were written.
fn write(folder: &Path, calls: u64) -> Result<(u64, u64)> {
    fs::create_dir_all(folder)?;
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).map_err(|error| error.to_string())?;
    let public = PublicKey(key.public_key().as_ref().try_into()?);
    let payload = format!("p a {}\n", "x".repeat(400));
    let (mut at, mut out, mut bytes) = (Position::default(), None, 0);
    let mut time_ms = 1_790_000_000_000;
    let mut put =
        |out: &mut BufWriter<fs::File>, at: &mut Position, json: &str, beside: &str| -> Result<()> {
            let side = side(beside.as_bytes());
            let hash = chain(at.hash, side.as_bytes(), json.as_bytes());
            *at = Position { seq: at.seq + 1, hash };
            let line = format!("e {} {side} {json}\n{beside}", hash.to_text());
            bytes += line.len() as u64;
            Ok(out.write_all(line.as_bytes())?)
        };
    let own = |entry: Entry<'_>, at: Position, time_ms: u64| {
        serde_json::to_string(&Entry { seq: at.seq + 1, time_ms, ..entry })
    };
    for call in 0..calls {
        if call % (SEGMENT / 2) == 0 {
            let file = fs::File::create(folder.join(format!("{:020}.log", at.seq + 1)))?;
            let out = out.insert(BufWriter::with_capacity(1 << 20, file));
            let head = SegmentHead {
                format: FORMAT,
                writer: "w1".to_owned(),
                before: at.seq,
                before_hash: at.hash,
                public_key: public.to_text(),
                open: Vec::new(),
            };
            let head = own(head.entry(), at, time_ms)?;
            put(out, &mut at, &head, "")?;
        }
        let Some(out) = &mut out else { continue };
        time_ms += u64::from(call % 10 == 0);
        let (intent, outcome) = (intent(at.seq + 1, time_ms, call), outcome(at.seq + 2, time_ms, call));
        put(out, &mut at, &intent, &payload)?;
        put(out, &mut at, &outcome, "")?;
        if (call + 1) % (CHECKPOINT / 2) == 0 {
            let signed = Checkpoint::sign("w1", at, time_ms, None, &key, &public.id());
            let signed = own(signed.entry(), at, time_ms)?;
            put(out, &mut at, &signed, "")?;
        }
    }
    Ok((at.seq, bytes))
}

fn intent(seq: u64, time_ms: u64, call: u64) -> String {
    format!(
        r#"{{"seq":{seq},"time_ms":{time_ms},"kind":"intent","call":"0{call:025}","tenant":"acme","who":"kmZpl1Sw4mUeqz9a","agent":"b1c2d3e4f5a6b7c8","user":"u1c2d3e4f5a6b7c8","source":"s1c2d3e4f5a6b7c8","session":"x1c2d3e4f5a6b7c8","method":"tools/call","revision":"2026-07-28","era":"modern","client":"claude-desktop 1.4.2","endpoint":"","server":"crm","instance":"h1","public_name":"crm__search_customers","native_name":"search_customers","definition":"4cbd60a1f0a94c53","decision":{{"allowed":true,"set":"9f8e7d6c5b4a3f2e","at_ms":{time_ms},"policies":["support.cedar/policy3"]}},"trace":"4bf92f3577b34da6a3ce929d0e0e4736","credential":"shared","arguments":{{"level":"redacted","bytes":212,"digest":"AAECAwQFBgcICQoLDA0ODw","commitment":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}}}}"#
    )
}

fn outcome(seq: u64, time_ms: u64, call: u64) -> String {
    format!(
        r#"{{"seq":{seq},"time_ms":{time_ms},"kind":"outcome","call":"0{call:025}","of":{},"tenant":"acme","outcome":"ok","sizes":{{"sent_bytes":412,"received_bytes":1893,"sent_tokens":103,"received_tokens":473}},"latency":{{"total_us":1834,"resolve_us":3,"policy_us":6,"route_us":9,"ledger_us":11,"upstream_us":1790}},"result":{{"level":"digest","bytes":1893,"digest":"AAECAwQFBgcICQoLDA0ODw"}}}}"#,
        seq - 1
    )
}
