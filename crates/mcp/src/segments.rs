//! Bytes in pieces, so that what passes through is not copied.

use bytes::{Bytes, BytesMut};
use memchr::memchr2;
use smallvec::SmallVec;

/// Results below this size are made one piece: one copy is cheaper than several writes.
pub(crate) const ONE_PIECE_BYTES_MAX: usize = 16 * 1024;
/// Smaller parts are copied together, also within a large result.
const PART_BYTES_MIN: usize = 1024;

/// Bytes in one or more pieces, in order. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Segments(SmallVec<[Bytes; 4]>);

impl Segments {
    /// No bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes all pieces have together.
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    /// Adds a piece at the end.
    pub fn push(&mut self, piece: impl Into<Bytes>) {
        let piece = piece.into();
        if !piece.is_empty() {
            self.0.push(piece);
        }
    }

    /// The pieces. None of them is empty, unless the whole is.
    pub fn iter(&self) -> std::slice::Iter<'_, Bytes> {
        self.0.iter()
    }

    /// All bytes as one piece; copies only if there are several.
    pub fn to_bytes(&self) -> Bytes {
        match self.0.as_slice() {
            [] => Bytes::new(),
            [one] => one.clone(),
            several => {
                let mut whole = BytesMut::with_capacity(self.len());
                for piece in several {
                    whole.extend_from_slice(piece);
                }
                whole.freeze()
            }
        }
    }

    /// All bytes as one piece; copies only if there are several.
    pub fn into_bytes(self) -> Bytes {
        self.to_bytes()
    }

    /// These bytes as one line between `prefix` and `suffix`. Line breaks in them become spaces: JSON has them only
    /// where whitespace means nothing.
    pub(crate) fn on_one_line(&self, prefix: &[u8], suffix: &'static [u8]) -> Self {
        let length = prefix.len() + self.len() + suffix.len();
        let mut gather = Gather::new(length);
        gather.copy(prefix);
        for piece in self {
            if memchr2(b'\n', b'\r', piece).is_some() {
                let is_break = |byte: u8| matches!(byte, b'\n' | b'\r');
                let line: BytesMut =
                    piece.iter().map(|&byte| if is_break(byte) { b' ' } else { byte }).collect();
                gather.add(line.freeze());
            } else {
                gather.add(piece.clone());
            }
        }
        gather.copy(suffix);
        gather.finish()
    }
}

impl From<Bytes> for Segments {
    fn from(bytes: Bytes) -> Self {
        Self(SmallVec::from_iter([bytes]))
    }
}

impl From<Vec<u8>> for Segments {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl FromIterator<Bytes> for Segments {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        Self(pieces.into_iter().filter(|piece| !piece.is_empty()).collect())
    }
}

impl IntoIterator for Segments {
    type Item = Bytes;
    type IntoIter = smallvec::IntoIter<[Bytes; 4]>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Segments {
    type Item = &'a Bytes;
    type IntoIter = std::slice::Iter<'a, Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Collects parts into segments, copying the small ones together.
pub(crate) struct Gather {
    segments: Segments,
    run: BytesMut,
    is_one_piece: bool,
}

impl Gather {
    /// For a result of `length` bytes.
    pub(crate) fn new(length: usize) -> Self {
        let is_one_piece = length < ONE_PIECE_BYTES_MAX;
        let run = BytesMut::with_capacity(if is_one_piece { length } else { PART_BYTES_MIN });
        Self { segments: Segments::new(), run, is_one_piece }
    }

    /// Adds bytes by copying them.
    pub(crate) fn copy(&mut self, part: &[u8]) {
        self.run.extend_from_slice(part);
    }

    /// Adds bytes, by sharing them if that is worth a piece of its own.
    pub(crate) fn add(&mut self, part: Bytes) {
        if self.is_one_piece || part.len() < PART_BYTES_MIN {
            self.copy(&part);
        } else {
            self.flush();
            self.segments.push(part);
        }
    }

    fn flush(&mut self) {
        if !self.run.is_empty() {
            self.segments.push(std::mem::take(&mut self.run).freeze());
        }
    }

    pub(crate) fn finish(mut self) -> Segments {
        self.flush();
        self.segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_add_up() {
        let mut segments = Segments::from(Bytes::from_static(b"ab"));
        segments.push(Bytes::new());
        segments.push(Bytes::from_static(b"c"));
        assert_eq!((segments.len(), segments.is_empty(), segments.iter().count()), (3, false, 2));
        assert_eq!(segments.into_bytes(), "abc");
        assert!(Segments::from(Bytes::new()).is_empty());
    }

    #[test]
    fn large_parts_are_shared_and_small_ones_copied_together() {
        let large = Bytes::from(vec![b'x'; ONE_PIECE_BYTES_MAX]);
        let message: Segments =
            [Bytes::from_static(b"{\n"), large.clone(), Bytes::from_static(b"}")].into_iter().collect();
        let line = message.on_one_line(b"data: ", b"\n\n");
        let pieces: Vec<_> = line.iter().collect();
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces[0], "data: { ");
        assert_eq!(pieces[1].as_ptr(), large.as_ptr());
        assert_eq!(pieces[2], "}\n\n");
    }
}
