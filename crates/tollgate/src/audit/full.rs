//! Entries as they stand in the record, for rows of the index.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tollgate_ledger::{Read, Reader};
use tollgate_store::{AuditRow, Place};

use crate::cli::StoreArgs;
use crate::exit::Failure;
use crate::out::Printer;
use crate::serve::LEDGER;
use crate::state::data_dir;

/// The record on this machine.
pub(super) struct Entries {
    folder: PathBuf,
}

/// What to add to an entry that is printed, from the records beside it.
pub(super) type Add<'a> = &'a dyn Fn(&Read, &mut Value);

impl Entries {
    /// The record of the gateway that keeps its state there.
    pub(super) fn of(args: &StoreArgs) -> Result<Self, Failure> {
        let folder = data_dir(args)?.ok_or_else(|| {
            Failure::usage("where is the record? Say --config FILE or --data-dir DIR of the gateway")
        })?;
        Ok(Self { folder: folder.join(LEDGER) })
    }

    /// The ledger's folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Prints the entries of a row, each a line of JSON. Says whether they are all there.
    pub(super) fn print(&self, row: &AuditRow, add: Option<Add<'_>>, out: Printer) -> bool {
        let end = row.end.filter(|end| end.seq != row.begin.seq);
        [Some(row.begin), end].into_iter().flatten().all(|place| {
            let Some(read) = self.read(&row.writer, place) else { return false };
            let Ok(mut entry) = serde_json::from_slice::<Value>(&read.json) else { return false };
            if let Some(add) = add {
                add(&read, &mut entry);
            }
            out.line(entry.to_string());
            true
        })
    }

    fn read(&self, writer: &str, place: Place) -> Option<Read> {
        // The name of a folder of ours, and no path.
        writer.parse::<tollgate_ledger::CallId>().ok()?;
        let folder = self.folder.join(writer);
        let segments = Reader::new(&folder).segments().ok()?;
        let segment = segments.into_iter().rev().find(|segment| *segment <= place.seq)?;
        let read = Reader::at(&folder, segment, place.offset).ok()?.next_entry().ok()??;
        let is_it = read.entry().is_ok_and(|entry| entry.seq == place.seq);
        is_it.then_some(read)
    }
}
