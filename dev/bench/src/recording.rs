//! What it costs to put a call on record, within one process: its intent and its outcome, in either durability.

use std::fmt::Write;
use std::time::Instant;

use bytes::Bytes;
use hdrhistogram::Histogram;
use tollgate_ledger::{Content, Draft, Durability, Entry, Kind, Ledger, LedgerSettings, Outcome};
use tollgate_model::{KeyId, Principal, PrincipalId, Proof, RecordLevel, TenantId};

use crate::Result;
use crate::deciding::{Line, nanos};

const ARGUMENTS: &[u8] = br#"{"amount":12.5,"to":"somebody","count":3,"tags":["a","b"]}"#;
const RESULT: &[u8] = br#"{"content":[{"type":"text","text":"Sent 12.50 to somebody."}],"isError":false}"#;

/// Measures everything, on the disk that temporary files are on.
pub(crate) fn measure(is_quick: bool) -> Result<Vec<Line>> {
    let (many, some) = if is_quick { (20_000, 200) } else { (500_000, 5_000) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let line = |what, durability, times, aim_us| -> Result<Line> {
        Ok(Line::of(what, &runtime.block_on(timed(durability, times))?, aim_us))
    };
    Ok(vec![
        line("an intent and its outcome, `process`", Durability::Process, many, 5.0)?,
        line("an intent and its outcome, `power`, one at a time", Durability::Power, some, 20_000.0)?,
    ])
}

/// The lines as a table.
pub(crate) fn table(text: &mut String, lines: &[Line]) {
    let _ = write!(
        text,
        "\n## Ledger\n\nWithin one process, one thread: arguments of {} bytes redacted and sealed, a digest of the result.\n\n\
         | what | p50 µs | p99 µs |\n|---|--:|--:|\n",
        ARGUMENTS.len()
    );
    for line in lines {
        let _ = writeln!(text, "| {} | {:.1} | {:.1} |", line.what, line.p50_us, line.p99_us);
    }
}

async fn timed(durability: Durability, times: usize) -> Result<Histogram<u64>> {
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
    let folder = tempfile::tempdir()?;
    let ledger = Ledger::open(folder.path(), LedgerSettings { durability, ..LedgerSettings::default() })?;
    let who = Principal {
        agent: Some("bot".into()),
        user: Some("ann".into()),
        ..Principal::new(TenantId::default(), PrincipalId::local(), Proof::Key(KeyId::new("k1")))
    };
    for _ in 0..times {
        let began = Instant::now();
        let receipt = ledger.intend(intent(&who)).await?;
        receipt.close(outcome(&who)).await?;
        histogram.record(nanos(began.elapsed()))?;
    }
    ledger.close().await;
    Ok(histogram)
}

fn intent(who: &Principal) -> Draft<'_> {
    let entry = Entry {
        method: Some("tools/call".into()),
        revision: Some("2026-07-28".into()),
        era: Some("modern".into()),
        client: Some("bench 1".into()),
        server: Some("bank".into()),
        public_name: Some("bank__transfer".into()),
        native_name: Some("transfer".into()),
        definition: Some("RIkhYaGy8Km7ojbTgp6r8w".into()),
        ..Entry::of(Kind::Intent)
    };
    let arguments = Content { bytes: Bytes::from_static(ARGUMENTS), level: RecordLevel::Redacted };
    let source = Some(std::net::IpAddr::from([10, 0, 0, 7]));
    Draft { who: Some(who), source, arguments: Some(arguments), ..Draft::of(entry) }
}

fn outcome(who: &Principal) -> Draft<'_> {
    let entry = Entry { outcome: Some(Outcome::Ok), server: Some("bank".into()), ..Entry::of(Kind::Outcome) };
    let result = Content { bytes: Bytes::from_static(RESULT), level: RecordLevel::Digest };
    Draft { who: Some(who), result: Some(result), ..Draft::of(entry) }
}
