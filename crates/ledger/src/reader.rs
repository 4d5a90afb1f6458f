//! Reads what a writer has written, while it writes or later.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::Entry;
use crate::line::{Hash, Line};

/// The folder of segments in a writer's folder.
pub(crate) const SEGMENTS: &str = "segments";
/// How segment files end.
pub(crate) const SEGMENT_END: &str = ".log";
/// The longest line that is read.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why a segment cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk says no.
    #[error("{path} cannot be read: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A line is none of a segment's.
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
    open: Option<(u64, BufReader<File>)>,
    /// Where the next line begins.
    offset: u64,
    line: Vec<u8>,
}

impl Reader {
    /// Reads from the first entry that is there. `folder` is the writer's.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.join(SEGMENTS), open: None, offset: 0, line: Vec::new() }
    }

    /// Reads from a place in a segment.
    pub fn at(folder: &Path, segment: u64, offset: u64) -> Result<Self, ReadError> {
        let mut reader = Self::new(folder);
        reader.enter(segment, offset)?;
        Ok(reader)
    }

    /// The next entry; none if there is no more yet. The last entry of a segment that is still written is given only when
    /// its side lines are whole, which the writer sees to by writing them at once.
    pub fn next_entry(&mut self) -> Result<Option<Read>, ReadError> {
        loop {
            let Some((segment, _)) = self.open else {
                match self.segments()?.first() {
                    Some(first) => self.enter(*first, 0)?,
                    None => return Ok(None),
                }
                continue;
            };
            if let Some(read) = self.next_in(segment)? {
                return Ok(Some(read));
            }
            // Nothing is left here. Where a later segment is there, this one is done, but for what came just now.
            let Some(later) = self.segments()?.into_iter().find(|later| *later > segment) else {
                return Ok(None);
            };
            if let Some(read) = self.next_in(segment)? {
                return Ok(Some(read));
            }
            self.enter(later, 0)?;
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
            let name = file.map_err(failed)?.file_name();
            let number: Option<u64> =
                name.to_str().and_then(|name| name.strip_suffix(SEGMENT_END)?.parse().ok());
            segments.extend(number);
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
        let failed = |error| ReadError::Io { path: path.clone(), error };
        let mut file = BufReader::with_capacity(256 * 1024, File::open(&path).map_err(failed)?);
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        self.open = Some((segment, file));
        self.offset = offset;
        Ok(())
    }

    fn next_in(&mut self, segment: u64) -> Result<Option<Read>, ReadError> {
        if self.read_line()?.is_none() {
            return Ok(None);
        }
        let path = self.path(segment);
        let Some(Line::Entry { hash, side, json }) = Line::read(without_end(&self.line)) else {
            return Err(ReadError::NoLine { path, offset: self.offset });
        };
        let mut read = Read {
            segment,
            offset: self.offset,
            next: 0,
            hash,
            side: side.to_vec(),
            json: json.to_vec(),
            side_lines: Vec::new(),
        };
        self.offset += self.line.len() as u64;
        while self.peek()?.is_some_and(|byte| byte != b'e') {
            if self.read_line()?.is_none() {
                break;
            }
            read.side_lines.extend_from_slice(&self.line);
            self.offset += self.line.len() as u64;
        }
        read.next = self.offset;
        Ok(Some(read))
    }

    /// Reads a whole line with its end; none if there is none yet, and then stays where it was.
    fn read_line(&mut self) -> Result<Option<()>, ReadError> {
        self.line.clear();
        let Some((segment, file)) = &mut self.open else { return Ok(None) };
        let path = self.folder.join(file_name(*segment));
        let failed = |error| ReadError::Io { path: path.clone(), error };
        let mut limited = io::Read::take(&mut *file, LINE_BYTES_MAX as u64);
        limited.read_until(b'\n', &mut self.line).map_err(failed)?;
        if self.line.last() == Some(&b'\n') {
            return Ok(Some(()));
        }
        if self.line.len() >= LINE_BYTES_MAX {
            return Err(ReadError::NoLine { path, offset: self.offset });
        }
        file.seek(SeekFrom::Start(self.offset)).map_err(failed)?;
        Ok(None)
    }

    fn peek(&mut self) -> Result<Option<u8>, ReadError> {
        let Some((segment, file)) = &mut self.open else { return Ok(None) };
        let path = self.folder.join(file_name(*segment));
        let buffer = file.fill_buf().map_err(|error| ReadError::Io { path, error })?;
        Ok(buffer.first().copied())
    }
}

/// What the file of a segment is called.
pub(crate) fn file_name(segment: u64) -> String {
    format!("{segment:020}{SEGMENT_END}")
}

fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}
