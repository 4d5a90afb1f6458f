//! Reads what a writer has written, while it writes or later.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::Entry;
use crate::line::{self, Hash, Line};
use crate::lines::{Lines, Next};

/// The folder of segments in a writer's folder.
pub(crate) const SEGMENTS: &str = "segments";
/// How segment files end.
pub(crate) const SEGMENT_END: &str = ".log";
/// How much beside one entry is read.
const SIDE_BYTES_MAX: usize = 3 * crate::lines::LINE_BYTES_MAX;

/// Why a segment cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk says no. What is asked again is read from the same place.
    #[error("{path} cannot be read: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A line is none of a segment's. It is said once: what is asked again is read behind it.
    #[error("{path}, byte {offset}: no line of a ledger")]
    NoLine {
        /// Which file.
        path: PathBuf,
        /// Where the line begins.
        offset: u64,
    },
}

/// An entry as it was read, with the records beside it.
#[derive(Debug, Clone, Default)]
pub struct Read {
    /// The segment, by the number of its first entry.
    pub segment: u64,
    /// Where the entry's line begins in it.
    pub offset: u64,
    /// Where the next entry's line begins, if it is in the same segment.
    pub next: u64,
    /// The hash of the entry, as it stands there.
    pub hash: Hash,
    /// The digest of its side lines, as it stands there.
    pub side: Vec<u8>,
    /// What it says.
    pub json: Vec<u8>,
    /// The lines that follow it, with their ends.
    pub side_lines: Vec<u8>,
}

impl Read {
    /// The entry.
    pub fn entry(&self) -> Result<Entry<'_>, serde_json::Error> {
        serde_json::from_slice(&self.json)
    }

    /// The records beside it.
    pub fn beside(&self) -> impl Iterator<Item = Line<'_>> {
        self.side_lines.split(|byte| *byte == b'\n').filter_map(Line::read)
    }
}

/// Reads one writer's entries, one after the other. Where nothing is left it can be asked again later: it goes on from there.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    /// The segment that is read, if there is one.
    open: Option<(u64, Lines)>,
    /// Whether what comes next is damaged, which was said already.
    is_damaged: bool,
    /// The segment to begin with, or the first after it, where none is open.
    from: u64,
}

impl Reader {
    /// Reads from the first entry that is there. `folder` is the writer's.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.join(SEGMENTS), open: None, is_damaged: false, from: 0 }
    }

    /// Reads from a place in a segment. Where the segment is gone, from the first later one; where no line begins at that
    /// place (the file is another than it was, as after a loss of power), from the segment's begin.
    pub fn at(folder: &Path, segment: u64, offset: u64) -> Result<Self, ReadError> {
        let mut reader = Self::new(folder);
        let Some(found) = reader.segments()?.into_iter().find(|found| *found >= segment) else {
            return Ok(reader);
        };
        let is_there = found == segment && reader.is_begin(segment, offset)?;
        reader.enter(found, if is_there { offset } else { 0 })?;
        Ok(reader)
    }

    /// The next entry; none if there is no more yet. The last entry of a segment that is still written is given only when
    /// its side lines are whole.
    pub fn next_entry(&mut self) -> Result<Option<Read>, ReadError> {
        loop {
            let Some((segment, _)) = self.open else {
                match self.segments()?.into_iter().find(|segment| *segment >= self.from) {
                    Some(first) => self.enter(first, 0)?,
                    None => return Ok(None),
                }
                continue;
            };
            if let Some(read) = self.next_in(segment, false)? {
                return Ok(Some(read));
            }
            // Nothing is left here. Where a later segment is there, this one is done, but for what came just now.
            let Some(later) = self.segments()?.into_iter().find(|later| *later > segment) else {
                if self.open.as_ref().is_some_and(|(_, lines)| lines.offset() == 0) {
                    // A segment whose begin failed is removed, and another may begin under its name.
                    (self.open, self.from) = (None, segment);
                }
                return Ok(None);
            };
            if let Some(read) = self.next_in(segment, true)? {
                return Ok(Some(read));
            }
            self.enter(later, 0)?;
        }
    }

    /// Gives an entry back that was read last: it is read anew, and may be another then. Of what is not said to be written yet,
    /// nobody knows whether it stays.
    pub(crate) fn give_back(&mut self, read: &Read) -> Result<(), ReadError> {
        match &mut self.open {
            Some((segment, lines)) if *segment == read.segment => {
                let gone_back = lines.go_to(read.offset);
                gone_back.map_err(|error| ReadError::Io { path: self.path(read.segment), error })
            }
            _ => Ok(()),
        }
    }

    /// The segments of the writer, by the numbers of their first entries, in order.
    pub fn segments(&self) -> Result<Vec<u64>, ReadError> {
        let failed = |error| ReadError::Io { path: self.folder.clone(), error };
        let files = match std::fs::read_dir(&self.folder) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut segments = Vec::new();
        for file in files {
            segments.extend(file.map_err(failed)?.file_name().to_str().and_then(number));
        }
        segments.sort_unstable();
        Ok(segments)
    }

    /// The file of a segment.
    pub fn path(&self, segment: u64) -> PathBuf {
        self.folder.join(file_name(segment))
    }

    fn enter(&mut self, segment: u64, offset: u64) -> Result<(), ReadError> {
        let path = self.path(segment);
        let lines = File::open(&path).and_then(|file| Lines::at(file, offset));
        self.open = Some((segment, lines.map_err(|error| ReadError::Io { path, error })?));
        self.is_damaged = false;
        Ok(())
    }

    /// Whether a line begins here, or may be written here next.
    fn is_begin(&self, segment: u64, offset: u64) -> Result<bool, ReadError> {
        let Some(before) = offset.checked_sub(1) else { return Ok(true) };
        let path = self.path(segment);
        let mut byte = [0];
        let read = File::open(&path)
            .and_then(|file| std::os::unix::fs::FileExt::read_at(&file, &mut byte, before))
            .map_err(|error| ReadError::Io { path, error })?;
        Ok(read == 1 && byte[0] == b'\n')
    }

    /// The next entry of the segment that is open. `is_done`: nothing more is written to it.
    fn next_in(&mut self, segment: u64, is_done: bool) -> Result<Option<Read>, ReadError> {
        let (folder, Some((_, lines))) = (&self.folder, &mut self.open) else { return Ok(None) };
        // Made where it has to be said, and not for every entry.
        let path = || folder.join(file_name(segment));
        let failed = |error| ReadError::Io { path: path(), error };
        loop {
            let offset = lines.offset();
            let line = match lines.next().map_err(failed)? {
                Next::Line(line) => Line::read(without_end(line)),
                Next::Part(_) if is_done => None,
                Next::TooLong => None,
                Next::Part(_) | Next::End => return Ok(None),
            };
            let Some(Line::Entry { hash, side, json }) = line else {
                let was_said = std::mem::replace(&mut self.is_damaged, true);
                if is_done && lines.offset() == offset {
                    // It has no end: nothing follows it.
                    if was_said {
                        return Ok(None);
                    }
                } else if was_said {
                    continue;
                }
                return Err(ReadError::NoLine { path: path(), offset });
            };
            self.is_damaged = false;
            let (side, json) = (side.to_vec(), json.to_vec());
            let mut read = Read { segment, offset, next: 0, hash, side, json, side_lines: Vec::new() };
            if read.side != line::NO_SIDE.as_bytes() && !beside(lines, &mut read, is_done).map_err(failed)? {
                lines.go_to(offset).map_err(failed)?;
                return Ok(None);
            }
            read.next = lines.offset();
            return Ok(Some(read));
        }
    }
}

/// Reads the lines beside an entry. Says whether they are whole.
fn beside(lines: &mut Lines, read: &mut Read, is_done: bool) -> io::Result<bool> {
    while lines.peek()?.is_some_and(|byte| byte != b'e') && read.side_lines.len() < SIDE_BYTES_MAX {
        let offset = lines.offset();
        let is_beside = match lines.next()? {
            Next::Line(line) => {
                let is_beside =
                    matches!(Line::read(without_end(line)), Some(Line::Payload { .. } | Line::Name { .. }));
                if is_beside {
                    read.side_lines.extend_from_slice(line);
                }
                is_beside
            }
            Next::Part(_) => return Ok(is_done),
            Next::TooLong | Next::End => false,
        };
        if !is_beside {
            lines.go_to(offset)?;
            return Ok(true);
        }
    }
    // Where the next entry is there, nothing is missing but what somebody took away.
    Ok(is_done || lines.peek()?.is_some() || line::side(&read.side_lines).as_bytes() == read.side)
}

/// What the file of a segment is called.
pub(crate) fn file_name(segment: u64) -> String {
    format!("{segment:020}{SEGMENT_END}")
}

/// Which segment is in a file of this name; none if it is no segment.
fn number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(SEGMENT_END)?.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

/// The folders of all writers in a ledger's folder, in a stable order.
pub fn writers(ledger: &Path) -> io::Result<Vec<PathBuf>> {
    let mut writers = Vec::new();
    for folder in std::fs::read_dir(ledger)? {
        let folder = folder?.path();
        if folder.join(SEGMENTS).is_dir() {
            writers.push(folder);
        }
    }
    writers.sort_unstable();
    Ok(writers)
}

fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}
