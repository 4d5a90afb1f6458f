//! How far an export has come, as it is kept on disk.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::line::Hash;

/// The folder of cursors in a writer's folder.
const EXPORTS: &str = "exports";

/// An entry's place in a writer's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// Its segment, by the number of the segment's first entry; 0: before any.
    pub(super) segment: u64,
    /// Where its line begins in it.
    pub(super) offset: u64,
    /// Where the next line begins.
    pub(super) next: u64,
    /// Its number.
    pub(super) seq: u64,
    /// Its hash.
    pub(super) hash: Hash,
}

/// How far an export has come. One write per batch: before it is sent, with the end of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cursor {
    /// The last entry that was received, or passed over.
    pub(super) done: Place,
    /// The number up to which entries may have been received already.
    pub(super) sent_to: u64,
}

/// As it stands in the file.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    segment: u64,
    offset: u64,
    next: u64,
    seq: u64,
    hash: String,
    sent_to: u64,
}

const VERSION: u32 = 1;

/// The file of a cursor.
#[derive(Debug, Clone)]
pub(super) struct CursorFile {
    folder: PathBuf,
    name: String,
}

impl CursorFile {
    /// The cursor of an export in a writer's folder.
    pub(super) fn new(writer: &Path, export: &str) -> Self {
        Self { folder: writer.join(EXPORTS), name: format!("{export}.json") }
    }

    /// What it says; the begin where there is none yet.
    pub(super) fn read(&self) -> io::Result<Cursor> {
        let text = match std::fs::read(self.path()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Cursor::default()),
            Err(error) => return Err(error),
        };
        let wrong = |what: String| io::Error::other(format!("{}: {what}", self.path().display()));
        let written: Written = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if written.version != VERSION {
            return Err(wrong(format!("a cursor of version {}", written.version)));
        }
        let hash = Hash::read(written.hash.as_bytes()).ok_or_else(|| wrong("no hash".to_owned()))?;
        let Written { segment, offset, next, seq, sent_to, .. } = written;
        Ok(Cursor { done: Place { segment, offset, next, seq, hash }, sent_to })
    }

    /// Puts it in the place of what was there. When it returns, the disk has it.
    pub(super) fn write(&self, cursor: &Cursor) -> io::Result<()> {
        let Place { segment, offset, next, seq, hash } = cursor.done;
        let sent_to = cursor.sent_to;
        let written = Written { version: VERSION, segment, offset, next, seq, hash: hash.to_text(), sent_to };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let beside = self.folder.join(format!("{}.new", self.name));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&serde_json::to_vec(&written)?)?;
        file.sync_all()?;
        std::fs::rename(&beside, self.path())?;
        File::open(&self.folder)?.sync_all()
    }

    fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_what_was_written_and_a_broken_one_is_no_begin() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = CursorFile::new(folder.path(), "siem");
        assert_eq!(file.read().expect("a cursor"), Cursor::default());
        let done = Place { segment: 1, offset: 20, next: 90, seq: 3, hash: Hash([7; 32]) };
        let cursor = Cursor { done, sent_to: 9 };
        file.write(&cursor).expect("written");
        assert_eq!(file.read().expect("a cursor"), cursor);
        std::fs::write(file.path(), b"{").expect("written");
        assert!(file.read().is_err(), "starting over would send everything again, unmarked");
    }
}
