//! A body or a line as it is gathered: large parts are kept as they came and joined once at the end, so that one that never ends is
//! not moved about again and again while it grows.

use bytes::{Bytes, BytesMut};

/// Parts below this size are copied behind one another: a part shares the buffer that it was read into, and many small ones
/// would hold a buffer each.
const LARGE: usize = 64 * 1024;
/// How much is copied into one piece.
const PIECE: usize = 256 * 1024;

/// What has come of a body or a line.
#[derive(Debug, Default)]
pub struct Gathered {
    pieces: Vec<Bytes>,
    /// The small parts that came after the last piece.
    crumbs: BytesMut,
    len: usize,
}

impl Gathered {
    /// Of a body of which so much is announced: it is held once.
    pub fn announced(len: usize) -> Self {
        Self { crumbs: BytesMut::with_capacity(len), ..Self::default() }
    }

    /// How many bytes have come.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has come.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What has come, in its order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(|piece| &**piece).chain([&*self.crumbs])
    }

    /// Takes in the next part.
    pub fn push(&mut self, part: Bytes) {
        self.len += part.len();
        let fits = self.crumbs.capacity() - self.crumbs.len() >= part.len();
        if part.len() < LARGE || fits {
            if !fits && self.crumbs.len() >= PIECE {
                self.pieces.push(self.crumbs.split().freeze());
            }
            self.crumbs.extend_from_slice(&part);
        } else {
            if !self.crumbs.is_empty() {
                self.pieces.push(self.crumbs.split().freeze());
            }
            self.pieces.push(part);
        }
    }

    /// All of it in one piece.
    pub fn join(self) -> Bytes {
        let Self { pieces, crumbs, len } = self;
        if pieces.is_empty() {
            return crumbs.freeze();
        }
        let mut whole = BytesMut::with_capacity(len);
        for piece in pieces {
            whole.extend_from_slice(&piece);
        }
        whole.extend_from_slice(&crumbs);
        whole.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(mut gathered: Gathered, parts: &[usize]) {
        let mut whole = Vec::new();
        for (nth, size) in parts.iter().enumerate() {
            let part = vec![u8::try_from(nth % 251).unwrap_or_default(); *size];
            whole.extend_from_slice(&part);
            gathered.push(part.into());
            assert_eq!(gathered.len(), whole.len());
            assert_eq!(gathered.is_empty(), whole.is_empty());
        }
        assert!(gathered.parts().collect::<Vec<_>>().concat() == whole, "{parts:?}");
        assert!(gathered.join() == whole, "{parts:?}");
    }

    #[test]
    fn parts_of_any_size_are_joined_in_their_order() {
        let small = [1, 2, 3];
        let large = [LARGE, 1, LARGE + 1, LARGE - 1, 0, 3 * PIECE, 7];
        let many: Vec<usize> = (0..400).map(|nth| nth * 37 % (LARGE + 500)).collect();
        for parts in [&[][..], &[5], &small, &large, &many] {
            joined(Gathered::default(), parts);
            joined(Gathered::announced(parts.iter().sum()), parts);
            joined(Gathered::announced(10), parts);
        }
    }

    #[test]
    fn crumbs_hold_no_buffer_each() {
        let mut gathered = Gathered::default();
        let buffer = Bytes::from(vec![b'x'; 1024 * 1024]);
        for at in 0..100_000 {
            gathered.push(buffer.slice(at..=at));
        }
        assert!(gathered.pieces.len() < 2, "{}", gathered.pieces.len());
        assert!(gathered.crumbs.capacity() <= 2 * PIECE);
    }
}
