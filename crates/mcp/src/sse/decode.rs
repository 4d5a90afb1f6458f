//! From chunks of a stream to events.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use memchr::{memchr, memchr2};

use crate::peek::Oversize;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// What a line may have beyond what is kept of it: a field's name, or all of a reconnection time.
const FIELD_BYTES_MAX: usize = 32;
/// As many as any 64-bit number has.
const DIGITS_MAX: usize = 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The event's type, if it names one.
    pub event: Option<Cow<'static, str>>,
    /// The data, lines joined by line feeds; shared with the chunk if it is one line within one chunk. Not checked to
    /// be UTF-8. Empty also for a block that has no data and only carries an id or a reconnection time.
    pub data: Bytes,
    /// The id that this event sets. Empty: there is no last event any more.
    pub id: Option<String>,
    /// The reconnection time that this event sets, in milliseconds.
    pub retry: Option<u64>,
}

impl SseEvent {
    /// The event's type: `message` unless it says otherwise.
    pub fn event_type(&self) -> &str {
        self.event.as_deref().unwrap_or("message")
    }
}

/// An event could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// More bytes than one event may have. The event has been skipped to its end; what follows can still be read.
    #[error("an event is too large")]
    TooLarge {
        /// The first bytes of its data, at most 4 KiB.
        head: Bytes,
        /// The raw id of the JSON-RPC message in it, where one could be found: whoever waits for it waits in vain.
        id: Option<Bytes>,
    },
}

/// Decodes a stream of events, chunk by chunk: push a chunk, then take events until there are none.
///
/// Keeps at most the chunk that was pushed last and one event's bytes. Half an event at the end of the stream is
/// never given out; [`Self::has_partial`] tells of it.
#[derive(Debug)]
pub struct SseDecoder {
    event_bytes_max: usize,
    /// What was pushed and not yet read.
    chunk: Bytes,
    /// The beginning of a line whose end has not come yet.
    line: BytesMut,
    /// The line's rest is of no interest, or fed to `oversize`.
    line_is_skipped: bool,
    /// The last line ended in a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    /// A byte order mark may still come.
    at_start: bool,
    block: Block,
    last_event_id: Option<String>,
}

/// The event that is being read.
#[derive(Debug, Default)]
struct Block {
    event: Option<Cow<'static, str>>,
    data: Data,
    id: Option<String>,
    retry: Option<u64>,
    oversize: Option<Box<Oversize>>,
}

#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    OneLine(Bytes),
    Joined(BytesMut),
}

impl SseDecoder {
    /// A decoder that keeps at most `event_bytes_max` bytes of one event.
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            chunk: Bytes::new(),
            line: BytesMut::new(),
            line_is_skipped: false,
            after_return: false,
            at_start: true,
            block: Block::default(),
            last_event_id: None,
        }
    }

    /// Takes in the next bytes of the stream. Take all events before the next push: what is left is kept, and copied.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            self.chunk = [&*self.chunk, &*chunk].concat().into();
        }
    }

    /// Whether the stream, if it ended now, would end within an event, which would be lost.
    pub fn has_partial(&self) -> bool {
        let Block { event, data, id, retry, oversize } = &self.block;
        let has_fields = event.is_some() || id.is_some() || retry.is_some() || oversize.is_some();
        let has_line = self.line.first().is_some_and(|&byte| byte != b':');
        has_fields || has_line || !matches!(data, Data::None) || !self.chunk.is_empty()
    }

    /// The id that the stream last set, for `Last-Event-ID` when it is resumed.
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// Moves over a byte order mark at the start of the stream. False if the next chunk must tell.
    fn skip_mark(&mut self) -> bool {
        if self.at_start {
            if self.chunk.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&self.chunk) {
                return false;
            }
            self.at_start = false;
            if self.chunk.starts_with(BYTE_ORDER_MARK) {
                self.chunk = self.chunk.split_off(BYTE_ORDER_MARK.len());
            }
        }
        true
    }

    /// Takes the next line, without its end, if it has come to its end.
    fn next_line(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.after_return) {
            match self.chunk.first() {
                None => {
                    self.after_return = true;
                    return None;
                }
                Some(b'\n') => self.chunk = self.chunk.split_off(1),
                Some(_) => {}
            }
        }
        let Some(end) = memchr2(b'\n', b'\r', &self.chunk) else {
            let rest = std::mem::take(&mut self.chunk);
            self.extend_line(&rest);
            return None;
        };
        self.after_return = self.chunk.get(end) == Some(&b'\r');
        let rest = self.chunk.split_off(end + 1);
        let mut part = std::mem::replace(&mut self.chunk, rest);
        part.truncate(end);
        if self.line.is_empty() {
            return Some(part);
        }
        self.extend_line(&part);
        self.line_is_skipped = false;
        Some(std::mem::take(&mut self.line).freeze())
    }

    /// Adds to the line that is not complete. A comment is not kept, nor what would be too much.
    fn extend_line(&mut self, part: &[u8]) {
        if part.is_empty() {
            return;
        }
        if self.line_is_skipped {
            if let Some(oversize) = &mut self.block.oversize {
                oversize.feed(part);
            }
            return;
        }
        let is_comment = *self.line.first().unwrap_or(&b' ') == b':'
            || (self.line.is_empty() && part.first() == Some(&b':'));
        if is_comment {
            self.line = BytesMut::from(&b":"[..]);
            return;
        }
        self.line.extend_from_slice(part);
        if self.block.size() + self.line.len() > self.event_bytes_max.saturating_add(FIELD_BYTES_MAX) {
            let line = std::mem::take(&mut self.line).freeze();
            let (field, value) = split_field(&line);
            if field == b"data" {
                self.block.overflow(&line.slice_ref(value));
                self.line_is_skipped = true;
            }
            // Something must stand for the line, so that its end is not taken for a blank line.
            self.line = BytesMut::from(&b":"[..]);
        }
    }

    /// Takes in a line that is not blank.
    fn field(&mut self, line: &Bytes) {
        let (field, value) = split_field(line);
        let size = self.block.size();
        let fits = |length| size + length <= self.event_bytes_max;
        match field {
            b"data" if fits(value.len()) && self.block.oversize.is_none() => {
                self.block.add_data(line.slice_ref(value));
            }
            b"data" => self.block.overflow(&line.slice_ref(value)),
            b"event" => match value {
                b"" => self.block.event = None,
                b"message" => self.block.event = Some(Cow::Borrowed("message")),
                b"endpoint" => self.block.event = Some(Cow::Borrowed("endpoint")),
                other => {
                    let event = String::from_utf8_lossy(other);
                    if fits(event.len()) {
                        self.block.event = Some(Cow::Owned(event.into_owned()));
                    }
                }
            },
            b"id" if memchr(0, value).is_none() => {
                let id = String::from_utf8_lossy(value);
                if fits(id.len()) {
                    self.block.id = Some(id.into_owned());
                }
            }
            b"retry" if (1..=DIGITS_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_digit) => {
                self.block.retry = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
            }
            _ => {}
        }
    }

    /// Ends the block at a blank line.
    fn dispatch(&mut self) -> Option<Result<SseEvent, SseError>> {
        let Block { event, data, id, retry, oversize } = std::mem::take(&mut self.block);
        if let Some(id) = &id {
            self.last_event_id = Some(id.clone());
        }
        if let Some(oversize) = oversize {
            let (head, id) = oversize.end();
            return Some(Err(SseError::TooLarge { head, id }));
        }
        let data = match data {
            Data::None if id.is_none() && retry.is_none() => return None,
            Data::None => Bytes::new(),
            Data::OneLine(line) => line,
            Data::Joined(lines) => lines.freeze(),
        };
        Some(Ok(SseEvent { event, data, id, retry }))
    }
}

impl Iterator for SseDecoder {
    type Item = Result<SseEvent, SseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.chunk.is_empty() || !self.skip_mark() {
            return None;
        }
        while let Some(line) = self.next_line() {
            if !line.is_empty() {
                self.field(&line);
            } else if let Some(event) = self.dispatch() {
                return Some(event);
            }
        }
        None
    }
}

impl Block {
    /// How many bytes are kept of it.
    fn size(&self) -> usize {
        let data = match &self.data {
            Data::None => 0,
            // And the line feed before the next line.
            Data::OneLine(line) => line.len() + 1,
            Data::Joined(lines) => lines.len() + 1,
        };
        let event = match &self.event {
            Some(Cow::Owned(event)) => event.len(),
            Some(Cow::Borrowed(_)) | None => 0,
        };
        data + event + self.id.as_ref().map_or(0, String::len)
    }

    fn add_data(&mut self, value: Bytes) {
        self.data = match std::mem::take(&mut self.data) {
            Data::None => Data::OneLine(value),
            Data::OneLine(first) => Data::Joined(joined(BytesMut::from(&*first), &value)),
            Data::Joined(lines) => Data::Joined(joined(lines, &value)),
        };
    }

    /// Takes in data that does not fit any more.
    fn overflow(&mut self, value: &[u8]) {
        let data = std::mem::take(&mut self.data);
        let oversize = self.oversize.get_or_insert_default();
        match data {
            Data::None => {}
            Data::OneLine(line) => oversize.feed(&line),
            Data::Joined(lines) => oversize.feed(&lines),
        }
        if !oversize.is_empty() {
            oversize.feed(b"\n");
        }
        oversize.feed(value);
    }
}

fn joined(mut lines: BytesMut, line: &[u8]) -> BytesMut {
    lines.put_u8(b'\n');
    lines.extend_from_slice(line);
    lines
}

/// The field's name and its value without the one space that may precede it. A comment's name is empty.
fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(colon) = memchr(b':', line) else { return (line, &[]) };
    let (field, value) = line.split_at(colon);
    let value = value.get(1..).unwrap_or_default();
    (field, value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1000;

    /// Decodes a stream cut into chunks of `size` bytes.
    fn decode(stream: &[u8], size: usize, max: usize) -> (Vec<Result<SseEvent, SseError>>, bool) {
        let mut decoder = SseDecoder::new(max);
        let mut events = Vec::new();
        for chunk in stream.chunks(size) {
            decoder.push(Bytes::copy_from_slice(chunk));
            events.extend(decoder.by_ref());
        }
        let has_partial = decoder.has_partial();
        (events, has_partial)
    }

    /// Decodes in one piece, and checks that no way of cutting makes a difference.
    fn events(stream: &str) -> (Vec<SseEvent>, bool) {
        let stream = stream.as_bytes();
        let whole = decode(stream, stream.len().max(1), MAX);
        for size in 1..stream.len() {
            assert_eq!(decode(stream, size, MAX), whole, "in chunks of {size}");
        }
        (whole.0.into_iter().map(Result::unwrap).collect(), whole.1)
    }

    fn data(text: &'static str) -> SseEvent {
        SseEvent { data: Bytes::from_static(text.as_bytes()), ..SseEvent::default() }
    }

    #[test]
    fn every_line_ending_ends_lines() {
        for stream in ["data: a\n\ndata: b\n\n", "data: a\r\rdata: b\r\r", "data: a\r\n\r\ndata: b\r\n\r\n"] {
            assert_eq!(events(stream), (vec![data("a"), data("b")], false), "{stream:?}");
        }
    }

    #[test]
    fn fields_are_read_by_the_rules() {
        let stream =
            "\u{feff}: a comment\nevent: add\ndata:one\ndata:  two\ndata\nid: 7\nretry: 300\nother: x\n\n";
        let event = SseEvent {
            event: Some("add".into()),
            data: Bytes::from_static(b"one\n two\n"),
            id: Some("7".into()),
            retry: Some(300),
        };
        assert_eq!(events(stream), (vec![event], false));
        assert_eq!(events("id: a\0b\nretry: 1x\nevent:\ndata: d\n\n"), (vec![data("d")], false));
        assert_eq!(events("\n\n:\n\n: ping\n\nevent: x\n\n"), (vec![], false));
        let id_only = SseEvent { id: Some("7".into()), ..SseEvent::default() };
        assert_eq!(events("id: 7\n\nid: 7\ndata:\n\n"), (vec![id_only.clone(), id_only], false));
        assert_eq!(events("data: a\n\u{feff}data: b\n\n"), (vec![data("a")], false));
    }

    #[test]
    fn half_an_event_is_noticed_and_dropped() {
        assert_eq!(events("data: a\n\ndata: b\n"), (vec![data("a")], true));
        assert_eq!(events("data: a\n\ndata: b"), (vec![data("a")], true));
        assert_eq!(events("data: a\n\nid"), (vec![data("a")], true));
        assert_eq!(events("data: a\n\n: keep-al"), (vec![data("a")], false));
    }

    #[test]
    fn one_line_within_one_chunk_is_shared() {
        let chunk = Bytes::from_static(b"event: message\ndata: {\"x\":1}\n\n");
        let mut decoder = SseDecoder::new(MAX);
        decoder.push(chunk.clone());
        let event = decoder.next().unwrap().unwrap();
        assert!(chunk.as_ptr_range().contains(&event.data.as_ptr()));
        assert_eq!(event.event_type(), "message");
    }

    #[test]
    fn an_event_too_large_is_skipped_and_its_id_found() {
        let long = "x".repeat(3 * MAX);
        let in_one_line = format!("data: {{\"result\":\"{long}\",\"id\":7}}\n\ndata: next\n\n");
        let in_lines = format!(
            "data: {{\"result\":\ndata: \"{long}\"\nid: 3\ndata: ,\ndata: \"id\":7}}\n\ndata: next\n\n"
        );
        for stream in [in_one_line, in_lines] {
            for size in [1, 7, 64, 1000, stream.len()] {
                let (events, has_partial) = decode(stream.as_bytes(), size, MAX);
                let [Err(SseError::TooLarge { head, id }), Ok(next)] = events.as_slice() else {
                    panic!("{events:?} in chunks of {size}")
                };
                assert!(head.starts_with(b"{\"result\":"), "{head:?}");
                assert_eq!(id.as_deref(), Some(&b"7"[..]));
                assert_eq!((next, has_partial), (&data("next"), false));
            }
        }
    }

    #[test]
    fn long_lines_of_other_kinds_are_dropped_alone() {
        let stream = format!(": {0}\nfoo: {0}\nevent: {0}\ndata: a\n\n", "x".repeat(3 * MAX));
        for size in [1, 100, stream.len()] {
            assert_eq!(decode(stream.as_bytes(), size, MAX), (vec![Ok(data("a"))], false));
        }
    }

    #[test]
    fn the_bound_holds_for_what_is_kept() {
        // A line feed counts, and so does what replaces invalid UTF-8.
        let (events, _) = decode(b"data\ndata\n\n", 3, 0);
        assert!(matches!(events.as_slice(), [Err(SseError::TooLarge { .. })]));
        let invalid = [&b"event: "[..], &[0xff; 20], b"\ndata: a\n\n"].concat();
        for size in [1, 100] {
            assert_eq!(decode(&invalid, size, 30), (vec![Ok(data("a"))], false));
        }
    }

    #[test]
    fn the_last_id_is_remembered() {
        let mut decoder = SseDecoder::new(MAX);
        decoder.push(Bytes::from_static(b"id: 1\ndata: a\n\ndata: b\n\nid: 2\nda"));
        assert_eq!(decoder.by_ref().count(), 2);
        assert_eq!(decoder.last_event_id(), Some("1"));
    }
}
