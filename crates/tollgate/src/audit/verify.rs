//! `tollgate audit verify`: whether the record is what was written.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tollgate_ledger::{Checkpoint, PUBLIC_FILE, Point, PublicKey, Report, Verified, Verify};
use tollgate_model::Timestamp;
use tollgate_store::Anchor;

use super::ledger_folder;
use crate::cli::audit::AuditVerify;
use crate::exit::{Exit, Failure};
use crate::out::{Printer, To, safe};
use crate::state::{failure, open_store};

/// The longest file that could hold public keys.
const KEYS_BYTES_MAX: u64 = 1024 * 1024;
/// How many faults of a writer people are shown.
const SHOWN_MAX: usize = 10;
/// How `--anchor` names the store.
const STORE: &str = "store";
/// How many anchors are read at once.
const PAGE: usize = 1000;

/// Verifies, and says what was found.
pub(super) async fn run(command: &AuditVerify) -> Result<(), Failure> {
    let folder = ledger_folder(&command.ledger)?;
    let verify = Verify {
        keys: keys(command, &folder)?,
        anchors: anchors(command).await?,
        since: command.since.map(|since| since.ago(Timestamp::now())),
        is_part: command.part,
    };
    let read = folder.clone();
    // It reads files for as long as it takes.
    let verified = tokio::task::spawn_blocking(move || verify.all(&read)).await;
    let report = match verified {
        Ok(report) => report.map_err(|error| Failure::failed(format!("{}: {error}", folder.display())))?,
        Err(error) => return Err(Failure::failed(error.to_string())),
    };
    if command.json {
        Printer::new(To::Out).line(shown(&folder, command, &report).to_string());
    } else {
        show(&folder, command, &report);
    }
    // Where nothing is, nothing is good: somebody has mistyped the folder, or taken the record away.
    if report.is_good() && report.writers.is_empty() {
        return Err(Failure::failed(format!("there is no record in {}", folder.display())));
    }
    if report.is_good() {
        return Ok(());
    }
    Err(Failure { code: Exit::Failed, text: "the record is not what was written".to_owned() })
}

/// The keys that are trusted; none if there is no file of them, and the segments' own are taken.
fn keys(command: &AuditVerify, folder: &Path) -> Result<Vec<PublicKey>, Failure> {
    let mut keys = Vec::new();
    for given in &command.public_keys {
        let wrong = |what: String| Failure::usage(format!("--public-key {given}: {what}"));
        let text = match File::open(given) {
            Ok(file) => io::read_to_string(io::Read::take(file, KEYS_BYTES_MAX))
                .map_err(|error| wrong(error.to_string()))?,
            Err(error) => match PublicKey::read_all(given) {
                Ok(_) => given.clone(),
                Err(no_key) => return Err(wrong(format!("no file ({error}), and {no_key}"))),
            },
        };
        keys.extend(PublicKey::read_all(&text).map_err(|error| wrong(error.to_string()))?);
    }
    if !command.public_keys.is_empty() {
        return Ok(keys);
    }
    // Of one writer's folder, the ledger is the folder around it.
    let places = [Some(folder), folder.parent()];
    let found =
        places.into_iter().flatten().find_map(|place| std::fs::read_to_string(place.join(PUBLIC_FILE)).ok());
    Ok(found.and_then(|text| PublicKey::read_all(&text).ok()).unwrap_or_default())
}

async fn anchors(command: &AuditVerify) -> Result<Vec<Checkpoint>, Failure> {
    let mut anchors = Vec::new();
    for place in &command.anchors {
        let wrong = |what: String| Failure::usage(format!("--anchor {place}: {what}"));
        if place == STORE {
            anchors.extend(stored(command).await?);
            continue;
        }
        let file = File::open(place).map_err(|error| wrong(error.to_string()))?;
        let found = Checkpoint::all_in(BufReader::new(file)).map_err(|error| wrong(error.to_string()))?;
        if found.is_empty() {
            return Err(wrong("no checkpoint is in it".to_owned()));
        }
        anchors.extend(found);
    }
    Ok(anchors)
}

/// All that the store keeps.
async fn stored(command: &AuditVerify) -> Result<Vec<Checkpoint>, Failure> {
    let store = open_store(&command.ledger.store).await?;
    let mut found: Vec<Anchor> = Vec::new();
    loop {
        let after = found.last().map(|last| (Arc::clone(&last.writer), last.seq));
        let after = after.as_ref().map(|(writer, seq)| (&**writer, *seq));
        let page = store.anchors(after, PAGE).await.map_err(|error| failure(&error))?;
        let is_last = page.len() < PAGE;
        found.extend(page);
        if is_last {
            break;
        }
    }
    let read = |anchor: &Anchor| {
        serde_json::from_str(&anchor.body).map_err(|_| {
            let Anchor { writer, seq, .. } = anchor;
            Failure::failed(format!("the store's anchor of entry {seq} of {writer} is none"))
        })
    };
    found.iter().map(read).collect()
}

fn shown(folder: &Path, command: &AuditVerify, report: &Report) -> Value {
    let mut shown = serde_json::to_value(report).unwrap_or_default();
    shown["ledger"] = folder.display().to_string().into();
    shown["good"] = (report.is_good() && !report.writers.is_empty()).into();
    shown["keys_given"] = (!command.public_keys.is_empty()).into();
    shown["anchors_given"] = (!command.anchors.is_empty()).into();
    shown
}

fn show(folder: &Path, command: &AuditVerify, report: &Report) {
    let out = Printer::new(To::Out);
    out.line(format!("The ledger in {}", safe(&folder.display().to_string())));
    if report.writers.is_empty() {
        out.line("Nothing was recorded here.");
    }
    for writer in &report.writers {
        show_writer(out, command, writer);
    }
    for fault in &report.faults {
        out.line(format!("\n{} {}", out.red("bad"), safe(&fault.to_string())));
    }
    for (writer, point) in &report.elsewhere {
        let at = Timestamp::from_ms(point.time_ms);
        out.line(format!(
            "\nThe writer {} is elsewhere: anchors know it up to entry {}, {at}.",
            safe(writer),
            point.seq
        ));
    }
    if !report.keys_are_their_own && command.public_keys.is_empty() {
        let mut keys: Vec<&str> =
            report.writers.iter().flat_map(|writer| &writer.keys).map(String::as_str).collect();
        keys.sort_unstable();
        keys.dedup();
        out.line(format!(
            "\nNo public key was given: those beside the record were taken ({}). Whoever can write there can put their own in \
             their place. Keep the key elsewhere, and give it with --public-key.",
            keys.join(", ")
        ));
    }
    if report.keys_are_their_own && !report.writers.is_empty() {
        out.line(
            "\nNo public key was given: the keys that the segments name were taken. Whoever wrote everything anew with a key \
             of their own is not found out. Keep the key elsewhere, and give it with --public-key.",
        );
    }
}

fn show_writer(out: Printer, command: &AuditVerify, writer: &Verified) {
    let verdict = if writer.faults.is_empty() { out.green("good") } else { out.red("bad ") };
    out.line(format!("\n{verdict} writer {}", safe(&writer.writer)));
    let line = |what: &str, text: String| out.line(format!("     {what:<9} {text}"));
    match (writer.first, writer.last) {
        (Some(first), Some(last)) => line(
            "read",
            format!(
                "{} entries in {} segments, {} to {}",
                writer.entries,
                writer.segments,
                at(first),
                at(last)
            ),
        ),
        _ => line("read", "no entry".to_owned()),
    }
    match writer.signed {
        Some(signed) => {
            line("signed", format!("up to {}, by the key {}", at(signed), writer.keys.join(" and ")));
        }
        None => line("signed", "nothing".to_owned()),
    }
    if let Some(since_ms) = writer.unsigned_since_ms {
        line("", format!("not since {}: {} entries", Timestamp::from_ms(since_ms), writer.unsigned));
    }
    for unsigned in &writer.unsigned_until_recovered {
        let (first, last) = (at(unsigned.first), at(unsigned.last));
        line(
            "",
            format!(
                "{first} to {last} only by the next process: what a crash left, or what somebody added then"
            ),
        );
    }
    match writer.anchored {
        Some(anchored) => {
            line("anchored", format!("up to {}; whether later ones were cut off is not known", at(anchored)));
        }
        None if command.anchors.is_empty() => {
            line("anchored", "no anchor was given: whether the end was cut off is not known".to_owned());
        }
        None => line("anchored", "no anchor knows an entry that is here".to_owned()),
    }
    if let Some(removed) = writer.removed {
        line("removed", format!("the entries up to {removed}, for their age or size"));
    }
    if writer.erased > 0 || writer.not_yet_erased > 0 {
        let left = match writer.not_yet_erased {
            0 => String::new(),
            left => format!("; {left} are still to be erased"),
        };
        line("erased", format!("{} payloads and names, as entries say{left}", writer.erased));
    }
    if writer.torn_bytes > 0 {
        line("torn", format!("{} bytes at the end are no whole entry", writer.torn_bytes));
    }
    for (nth, fault) in writer.faults.iter().take(SHOWN_MAX).enumerate() {
        line(if nth == 0 { "first bad" } else { "then" }, out.red(&safe(&fault.to_string())));
    }
    if let Some(more) = writer.faults.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
        line("", format!("and {more} more"));
    }
}

fn at(point: Point) -> String {
    format!("entry {} ({})", point.seq, Timestamp::from_ms(point.time_ms))
}
