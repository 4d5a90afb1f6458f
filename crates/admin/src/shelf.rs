//! The record itself, beside its index: read by few at once, on threads that may wait for the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tollgate_ledger::{Checkpoint, PUBLIC_FILE, PublicKey, Reader, Report, Verify};
use tollgate_store::{Anchor, Anchors, AuditRow, Place};

use crate::plane::Plane;
use crate::problem::Problem;

/// How many anchors are read at once.
const PAGE: usize = 1000;
/// How long is waited for others who read.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The folder of the ledger, around that of its writer.
fn folder(plane: &Plane) -> Result<PathBuf, Problem> {
    let folder = plane.parts()?.ledger.folder().and_then(Path::parent).map(Path::to_owned);
    folder.ok_or_else(|| Problem::not_found("nothing is recorded by this gateway"))
}

async fn reading<T: Send + 'static>(
    plane: &Plane,
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let busy = || Problem::unavailable("others read the record just now");
    let place = tokio::time::timeout(WAIT_MAX, Arc::clone(&plane.reading).acquire_owned()).await;
    let place = place.map_err(|_| busy())?.map_err(|_| busy())?;
    let read = move || {
        // Held to its end, also if whoever asked leaves.
        let _place = place;
        read()
    };
    tokio::task::spawn_blocking(read).await.map_err(|error| {
        tracing::error!(%error, "the record cannot be read");
        Problem::unavailable("the record cannot be read; the log says why")
    })
}

/// The entries of rows, and how many of them are on record elsewhere.
pub(crate) async fn entries(plane: &Plane, rows: Vec<AuditRow>) -> Result<(Vec<Value>, usize), Problem> {
    let Ok(folder) = folder(plane) else { return Ok((Vec::new(), rows.len())) };
    reading(plane, move || {
        let (mut found, mut elsewhere) = (Vec::new(), 0);
        for row in &rows {
            let end = row.end.filter(|end| end.seq != row.begin.seq);
            for place in [Some(row.begin), end].into_iter().flatten() {
                match entry(&folder, &row.writer, place) {
                    Some(entry) => found.push(entry),
                    None => elsewhere += 1,
                }
            }
        }
        (found, elsewhere)
    })
    .await
}

fn entry(folder: &Path, writer: &str, place: Place) -> Option<Value> {
    // The name of a folder of ours, and no path.
    writer.parse::<tollgate_ledger::CallId>().ok()?;
    let folder = folder.join(writer);
    let segments = Reader::new(&folder).segments().ok()?;
    let segment = segments.into_iter().rev().find(|segment| *segment <= place.seq)?;
    let read = Reader::at(&folder, segment, place.offset).ok()?.next_entry().ok()??;
    let is_it = read.entry().is_ok_and(|entry| entry.seq == place.seq);
    if is_it { serde_json::from_slice(&read.json).ok() } else { None }
}

/// Whether the record is what was written.
pub(crate) async fn verify(plane: &Plane) -> Result<Report, Problem> {
    let folder = folder(plane)?;
    let anchors = anchors(plane).await?;
    let verified = reading(plane, move || {
        let keys = std::fs::read_to_string(folder.join(PUBLIC_FILE)).ok();
        let keys = keys.and_then(|text| PublicKey::read_all(&text).ok()).unwrap_or_default();
        Verify { keys, anchors, since: None, is_part: false }.all(&folder)
    });
    verified.await?.map_err(|error| {
        tracing::error!(%error, "the record cannot be verified");
        Problem::unavailable("the record cannot be read; the log says why")
    })
}

/// All checkpoints that the store keeps.
async fn anchors(plane: &Plane) -> Result<Vec<Checkpoint>, Problem> {
    let Some(store) = plane.store()? else { return Ok(Vec::new()) };
    let mut found: Vec<Anchor> = Vec::new();
    loop {
        let after = found.last().map(|last| (Arc::clone(&last.writer), last.seq));
        let after = after.as_ref().map(|(writer, seq)| (&**writer, *seq));
        let page = Anchors::anchors(&*store, after, PAGE).await?;
        let is_last = page.len() < PAGE;
        found.extend(page);
        if is_last {
            break;
        }
    }
    Ok(found.iter().filter_map(|anchor| serde_json::from_str(&anchor.body).ok()).collect())
}
