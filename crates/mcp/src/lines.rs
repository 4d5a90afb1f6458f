//! One message per line: the framing of stdio, the same in all revisions.

use bytes::Bytes;
use memchr::memchr;

use crate::peek::Oversize;
use crate::{Gathered, Segments};

/// A line that has become longer than this is searched for its id from then on, as it comes: to search one of many MiB all at
/// once, when it turns out to be too long, takes long enough for everybody else to notice.
const LARGE: usize = 1 << 20;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A line within the bound, without its line break. Not blank, and otherwise unchecked: it may be anything that a
    /// process prints.
    Message(Bytes),
    /// A line beyond the bound. It has been skipped to its end; what follows can still be read.
    Oversize {
        /// Its first bytes, at most 4 KiB.
        head: Bytes,
        /// The raw id of the JSON-RPC message in it, where one could be found: whoever waits for it waits in vain.
        id: Option<Bytes>,
    },
}

/// Splits a stream into lines, chunk by chunk: push a chunk, then take lines until there are none.
///
/// Lines end in a line feed, before which a carriage return is tolerated. Blank lines are skipped. Keeps at most the
/// chunk that was pushed last and one line.
#[derive(Debug)]
pub struct LineDecoder {
    line_bytes_max: usize,
    /// What was pushed and not yet read.
    chunk: Bytes,
    /// The beginning of a line whose end has not come yet.
    line: Gathered,
    /// What is found in a large line, in case that it becomes too long.
    found: Option<Box<Oversize>>,
    /// Whether the line is too long, and being skipped.
    is_oversize: bool,
}

impl LineDecoder {
    /// A decoder for lines of at most `line_bytes_max` bytes, line break not counted.
    pub fn new(line_bytes_max: usize) -> Self {
        Self {
            line_bytes_max,
            chunk: Bytes::new(),
            line: Gathered::default(),
            found: None,
            is_oversize: false,
        }
    }

    /// Takes in the next bytes of the stream. Take all lines before the next push: what is left is kept, and copied.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            self.chunk = [&*self.chunk, &*chunk].concat().into();
        }
    }

    /// Whether the stream, if it ended now, would end within a line.
    pub fn has_partial(&self) -> bool {
        !self.line.is_empty() || !self.chunk.is_empty() || self.is_oversize
    }

    /// The last line of a stream that ended without a line break. Whether it is whole, its JSON will tell.
    pub fn finish(&mut self) -> Option<Line> {
        let rest = std::mem::take(&mut self.chunk);
        self.end_line(rest)
    }

    /// Ends a line of which `part` is the last part.
    fn end_line(&mut self, part: Bytes) -> Option<Line> {
        let mut found = self.found.take();
        if let Some(found) = &mut found {
            found.feed(&part);
        }
        if std::mem::take(&mut self.is_oversize) {
            return Some(Line::oversize(*found.unwrap_or_default()));
        }
        let mut line = if self.line.is_empty() {
            part
        } else {
            self.line.push(part);
            std::mem::take(&mut self.line).join()
        };
        let length = line.strip_suffix(b"\r").unwrap_or(&line).len();
        if length > self.line_bytes_max {
            let found = found.unwrap_or_else(|| Box::new(Oversize::of([&*line])));
            return Some(Line::oversize(*found));
        }
        line.truncate(length);
        let is_blank = line.iter().all(u8::is_ascii_whitespace);
        (!is_blank).then_some(Line::Message(line))
    }

    /// Keeps the beginning of a line, unless it is too long already.
    fn keep(&mut self, part: Bytes) {
        if let Some(found) = &mut self.found {
            found.feed(&part);
        }
        if self.is_oversize {
            return;
        }
        self.line.push(part);
        // One byte more may be a carriage return.
        self.is_oversize = self.line.len() > self.line_bytes_max.saturating_add(1);
        if self.found.is_none() && (self.is_oversize || self.line.len() > LARGE) {
            self.found = Some(Box::new(Oversize::of(self.line.parts())));
        }
        if self.is_oversize {
            self.line = Gathered::default();
        }
    }
}

impl Line {
    fn oversize(oversize: Oversize) -> Self {
        let (head, id) = oversize.end();
        Self::Oversize { head, id }
    }
}

impl Iterator for LineDecoder {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        while let Some(end) = memchr(b'\n', &self.chunk) {
            let rest = self.chunk.split_off(end + 1);
            let mut part = std::mem::replace(&mut self.chunk, rest);
            part.truncate(end);
            if let Some(line) = self.end_line(part) {
                return Some(line);
            }
        }
        let part = std::mem::take(&mut self.chunk);
        if !part.is_empty() {
            self.keep(part);
        }
        None
    }
}

/// A message as one line, with its line break. Line breaks within it become spaces; valid JSON has them only between
/// tokens. Large messages are not copied.
pub fn encode_line(message: &Segments) -> Segments {
    message.on_one_line(b"", b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes a stream cut into chunks of `size` bytes.
    fn decode(stream: &[u8], size: usize, max: usize) -> Vec<Line> {
        let mut decoder = LineDecoder::new(max);
        let mut lines = Vec::new();
        for chunk in stream.chunks(size) {
            decoder.push(Bytes::copy_from_slice(chunk));
            lines.extend(decoder.by_ref());
        }
        assert_eq!(decoder.has_partial(), !stream.ends_with(b"\n"));
        lines.extend(decoder.finish());
        assert!(!decoder.has_partial());
        lines
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let stream = b"{\"a\":1}\n\r\n  \n{\"b\":\"\xff\"}\r\n\n{\"c\":3}";
        for size in 1..=stream.len() {
            let lines = decode(stream, size, 10);
            let expected = [&b"{\"a\":1}"[..], b"{\"b\":\"\xff\"}", b"{\"c\":3}"];
            assert_eq!(
                lines,
                expected.map(|line| Line::Message(Bytes::from_static(line))),
                "in chunks of {size}"
            );
        }
    }

    #[test]
    fn a_line_within_one_chunk_is_shared() {
        let chunk = Bytes::from_static(b"one\ntwo\n");
        let mut decoder = LineDecoder::new(100);
        decoder.push(chunk.clone());
        let Some(Line::Message(line)) = decoder.nth(1) else { panic!() };
        assert!(chunk.as_ptr_range().contains(&line.as_ptr()));
    }

    #[test]
    fn a_line_too_long_is_skipped_and_its_id_found() {
        let stream = format!("{{\"result\":\"{}\",\"id\":7}}\n{{}}\n", "x".repeat(5000));
        for size in [1, 9, 10, 11, 4096, stream.len()] {
            let lines = decode(stream.as_bytes(), size, 10);
            let [Line::Oversize { head, id }, Line::Message(next)] = lines.as_slice() else {
                panic!("{lines:?}")
            };
            assert!(head.starts_with(b"{\"result\"") && head.len() <= 4096);
            assert_eq!((id.as_deref(), &**next), (Some(&b"7"[..]), &b"{}"[..]));
        }
        assert_eq!(decode(b"0123456789\r\n", 3, 10).len(), 1);
        assert!(matches!(decode(b"0123456789a\n", 3, 10).as_slice(), [Line::Oversize { id: None, .. }]));
        assert!(matches!(
            decode(b"{\"id\":1, \"jsonrpc", 3, 10).as_slice(),
            [Line::Oversize { id: Some(_), .. }]
        ));
    }

    #[test]
    fn a_large_line_is_whole_or_its_id_is_found_however_it_is_cut() {
        let max = LARGE + 100_000;
        for filling in [LARGE - 100, LARGE + 10, max - 100, max + 1, max + LARGE] {
            let message = format!("{{\"result\":[\"{}\"],\"id\":7}}", "x".repeat(filling));
            let stream = format!("{message}\r\n{{}}\n");
            for size in [10_000, 64 * 1024, 300_000, LARGE + 1, stream.len()] {
                let lines = decode(stream.as_bytes(), size, max);
                let [first, Line::Message(next)] = lines.as_slice() else { panic!("{} lines", lines.len()) };
                match first {
                    Line::Message(line) => {
                        assert!(filling < max && **line == *message.as_bytes(), "{filling}");
                    }
                    Line::Oversize { id, .. } => {
                        assert!(filling > max && id.as_deref() == Some(&b"7"[..]), "{filling}: {id:?}");
                    }
                }
                assert_eq!(&**next, b"{}");
            }
        }
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        let mut decoder = LineDecoder::new(2 * LARGE);
        for _ in 0..100 {
            decoder.push(Bytes::from(vec![b' '; LARGE / 10]));
            assert_eq!(decoder.next(), None);
            assert!(decoder.line.len() <= 2 * LARGE + 1, "{}", decoder.line.len());
        }
        assert!(decoder.line.is_empty() && decoder.has_partial());
        assert!(matches!(decoder.finish(), Some(Line::Oversize { id: None, .. })));
        assert!(!decoder.has_partial());
    }

    #[test]
    fn a_message_becomes_one_line() {
        let message = Segments::from(Bytes::from_static(b"{\n\t\"a\": 1\r\n}"));
        assert_eq!(encode_line(&message).into_bytes(), "{ \t\"a\": 1  }\n");
    }
}
