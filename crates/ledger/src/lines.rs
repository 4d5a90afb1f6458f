//! The lines of a segment's file, one after the other, by a buffer that is as large as the longest of them.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use memchr::memchr;

/// The longest line that is read.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How much is read at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// A line with its end.
    Line(&'a [u8]),
    /// A part of a line, of so many bytes: its end is not there, or not yet.
    Part(u64),
    /// Nothing.
    End,
    /// A line that is longer than lines may be: it is passed over, up to its end.
    TooLong,
}

/// The lines of a file.
#[derive(Debug)]
pub(crate) struct Lines {
    file: File,
    buffer: Vec<u8>,
    /// What of the buffer was read from the file and not given yet.
    from: usize,
    to: usize,
    /// Where in the file that begins.
    offset: u64,
    /// Whether what begins there belongs to a line that is passed over.
    is_passing: bool,
}

impl Lines {
    /// From a place in a file.
    pub(crate) fn at(mut file: File, offset: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self { file, buffer: Vec::new(), from: 0, to: 0, offset, is_passing: false })
    }

    /// Where the next line begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line. Where there is none yet, it can be asked for again later.
    pub(crate) fn next(&mut self) -> io::Result<Next<'_>> {
        let mut seen = 0;
        loop {
            if let Some(end) = memchr(b'\n', &self.buffer[self.from + seen..self.to]) {
                let len = seen + end + 1;
                let from = self.from;
                self.give(len);
                if std::mem::take(&mut self.is_passing) {
                    return Ok(Next::TooLong);
                }
                return Ok(Next::Line(&self.buffer[from..from + len]));
            }
            seen = self.to - self.from;
            if seen >= LINE_BYTES_MAX {
                self.give(seen);
                self.is_passing = true;
                seen = 0;
            }
            if !self.fill()? {
                // What is written next may be something else: it is read anew.
                self.go_to(self.offset)?;
                return Ok(match (seen, self.is_passing) {
                    (0, false) => Next::End,
                    (part, _) => Next::Part(part as u64),
                });
            }
        }
    }

    /// The first byte of the next line, if there is any.
    pub(crate) fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.from == self.to && !self.fill()? {
            return Ok(None);
        }
        Ok(Some(self.buffer[self.from]))
    }

    /// Goes to another place in the file.
    pub(crate) fn go_to(&mut self, offset: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        (self.from, self.to, self.offset) = (0, 0, offset);
        Ok(())
    }

    fn give(&mut self, len: usize) {
        self.from += len;
        self.offset += len as u64;
    }

    /// Reads more. Says whether there was more.
    fn fill(&mut self) -> io::Result<bool> {
        if self.from > 0 {
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        if self.to == self.buffer.len() {
            let more = self.buffer.len().max(BUFFER_BYTES);
            self.buffer.resize(self.buffer.len() + more, 0);
        }
        loop {
            match self.file.read(&mut self.buffer[self.to..]) {
                Ok(read) => {
                    self.to += read;
                    return Ok(read > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn lines_come_as_they_are_written() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let mut lines = Lines::at(file.reopen().expect("open"), 0).expect("lines");
        assert_eq!(lines.next().expect("read"), Next::End);
        file.write_all(b"one\ntw").expect("written");
        assert_eq!(lines.next().expect("read"), Next::Line(b"one\n"));
        assert_eq!(lines.next().expect("read"), Next::Part(2));
        // What was not whole may be cut off, and something else may come in its place.
        file.as_file().set_len(4).expect("cut");
        file.write_all(b"").expect("written");
        file.seek(SeekFrom::End(0)).expect("the end");
        file.write_all(b"three\n\nx").expect("written");
        assert_eq!(lines.peek().expect("read"), Some(b't'));
        assert_eq!(lines.next().expect("read"), Next::Line(b"three\n"));
        assert_eq!(lines.next().expect("read"), Next::Line(b"\n"));
        assert_eq!(lines.next().expect("read"), Next::Part(1));
        assert_eq!(lines.offset(), 11);
    }

    #[test]
    fn a_line_without_end_fills_no_memory() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(LINE_BYTES_MAX as u64 * 5 / 2).expect("a hole");
        file.seek(SeekFrom::End(0)).expect("the end");
        let mut lines = Lines::at(file.reopen().expect("open"), 0).expect("lines");
        file.write_all(b"\nafter\n").expect("written");
        assert_eq!(lines.next().expect("read"), Next::TooLong);
        assert!(lines.buffer.len() <= 2 * LINE_BYTES_MAX, "{}", lines.buffer.len());
        assert_eq!(lines.next().expect("read"), Next::Line(b"after\n"));
    }
}
