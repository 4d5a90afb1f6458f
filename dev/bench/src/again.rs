//! What it costs to decide again what is on record: by the real command, from files on disk, on all cores.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hdrhistogram::Histogram;
use serde_json::Value;
use tempfile::TempDir;
use tollgate_ledger::{CallId, Content, Decided, Draft, Entry, Kind, Ledger, LedgerSettings};
use tollgate_model::{Decision, Judged, Principal, PrincipalId, Proof, RecordLevel, TenantId, Timestamp};

use crate::Result;
use crate::deciding::{self, Line, nanos};

/// What one decision may take on two cores, for a million of them in a minute.
const AIM_US: f64 = 60.0;
/// So many callers take turns.
const CALLERS: usize = 200;
/// Small, so that there are several segments, each of which one core reads.
const SEGMENT_BYTES: u64 = 8 << 20;

/// Writes a record, and has all of it decided again.
pub(crate) fn measure(binary: &Path, is_quick: bool) -> Result<Line> {
    let count = if is_quick { 20_000 } else { 200_000 };
    let folder = TempDir::with_prefix("tollgate-bench-")?;
    write(&folder.path().join("data/ledger"), count)?;
    let config = folder.path().join("tollgate.yaml");
    fs::write(
        &config,
        "servers: { server0: { url: \"http://127.0.0.1:9/mcp\" } }\npolicy: { files: [rules.cedar] }\n",
    )?;
    fs::write(folder.path().join("rules.cedar"), deciding::rules_of_one_server())?;
    fs::write(folder.path().join("catalog.json"), deciding::catalog())?;
    let began = Instant::now();
    let output = Command::new(binary)
        .args(["policy", "simulate", "--format", "json", "--config"])
        .arg(&config)
        .arg("--catalog")
        .arg(folder.path().join("catalog.json"))
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .output()?;
    let elapsed = began.elapsed();
    let told: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?;
    if told["decided"] != count {
        return Err(format!("not all of {count} were decided again: {told}").into());
    }
    let mut times = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
    times.record(nanos(elapsed) / u64::from(count))?;
    Ok(Line::of("one decision on record made again, start of the command included", &times, AIM_US))
}

fn write(folder: &Path, count: u32) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let settings = LedgerSettings { segment_bytes_max: SEGMENT_BYTES, ..LedgerSettings::default() };
        let ledger = Ledger::open(folder, settings)?;
        let callers: Vec<Principal> = (0..CALLERS).map(caller).collect();
        let decision = Decision { allowed: true, ..Decision::denied() };
        for at in 0..count {
            let now = Timestamp::now();
            let judged = Judged::new(decision.clone(), None, now);
            let arguments = Bytes::from(format!(
                "{{\"amount\":{}.5,\"to\":\"somebody\",\"count\":{at},\"tags\":[\"a\",\"b\"]}}",
                at % 300
            ));
            let native = format!("tool{}", at % 50);
            let entry = Entry {
                call: Some(CallId::new(now)),
                method: Some("tools/call".into()),
                era: Some("modern".into()),
                endpoint: Some("".into()),
                server: Some("server0".into()),
                native_name: Some(native.as_str().into()),
                decision: Some(Decided::from(&judged)),
                ..Entry::of(Kind::Refusal)
            };
            let draft = Draft {
                who: callers.get(at as usize % CALLERS),
                source: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, (at % 250) as u8))),
                arguments: Some(Content { bytes: arguments, level: RecordLevel::Redacted }),
                ..Draft::of(entry)
            };
            ledger.note(draft).await?;
        }
        ledger.close().await;
        Ok(())
    })
}

fn caller(at: usize) -> Principal {
    let id = format!("bot for user{at}");
    let mut who = Principal::new(TenantId::default(), PrincipalId::new(&id), Proof::Anonymous);
    who.agent = Some(Arc::from("bot"));
    who.user = Some(Arc::from(format!("user{at}")));
    who.groups = (0..40).step_by(5).map(|group| Arc::from(format!("group{group}"))).collect();
    who
}
