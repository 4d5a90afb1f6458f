//! How a segment is written: lines of text.
//!
//! | line | what |
//! |---|---|
//! | `e HASH SIDE JSON` | an entry of the chain |
//! | `p a SEALED`, `p r SEALED` | the arguments or the result of the entry before it |
//! | `n REF SEALED` | the name behind a reference that the entry before it uses for the first time in this segment |
//!
//! `HASH` is SHA-256 over the hash before it (32 bytes), `SIDE` and `JSON`, as they stand in the line. `SIDE` is SHA-256 over the
//! `p` and `n` lines that follow the entry, with their line ends, or `-` where there are none. Digests and sealed records are in
//! base64url without padding. What was erased stands as `!` and dots of the same length: then `SIDE` fits no more, and the
//! chain still does.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::digest::{Context, SHA256};

/// The length of a digest as text.
const DIGEST_LEN: usize = 43;
/// Says that nothing follows an entry.
const NO_SIDE: &str = "-";

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// As it stands in a segment.
    pub fn to_text(self) -> String {
        BASE64.encode(self.0)
    }

    /// From a segment's text.
    pub fn read(text: &[u8]) -> Option<Self> {
        let mut hash = Self::default();
        let len = BASE64.decode_slice(text, &mut hash.0).ok()?;
        (text.len() == DIGEST_LEN && len == hash.0.len()).then_some(hash)
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_text())
    }
}

/// The digest of the lines that follow an entry, as it stands before the entry's JSON.
pub(crate) fn side(lines: &[u8]) -> String {
    if lines.is_empty() {
        return NO_SIDE.to_owned();
    }
    let digest = ring::digest::digest(&SHA256, lines);
    BASE64.encode(digest.as_ref())
}

/// The hash of an entry.
pub fn chain(before: Hash, side: &[u8], json: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in [&before.0[..], side, json] {
        context.update(part);
    }
    let mut hash = Hash::default();
    hash.0.copy_from_slice(context.finish().as_ref());
    hash
}

/// One line of a segment, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// An entry.
    Entry {
        /// Its hash.
        hash: Hash,
        /// The digest of the lines that follow it, as it stands there.
        side: &'a [u8],
        /// What it says.
        json: &'a [u8],
    },
    /// A payload of the entry before it.
    Payload {
        /// Whether it is the result; else it is the arguments.
        is_result: bool,
        /// Sealed, in base64url, or erased.
        sealed: &'a [u8],
    },
    /// The name behind a reference.
    Name {
        /// The reference.
        reference: &'a [u8],
        /// Sealed, in base64url, or erased.
        sealed: &'a [u8],
    },
}

impl<'a> Line<'a> {
    /// Reads a line.
    pub fn read(line: &'a [u8]) -> Option<Self> {
        let (head, rest) = (line.get(..2)?, line.get(2..)?);
        match head {
            b"e " => {
                let (hash, rest) = word(rest)?;
                let (side, json) = word(rest)?;
                let is_side = side == NO_SIDE.as_bytes() || Hash::read(side).is_some();
                (is_side && !json.is_empty()).then_some(Self::Entry { hash: Hash::read(hash)?, side, json })
            }
            b"p " => {
                let (which, sealed) = word(rest)?;
                let is_result = match which {
                    b"a" => false,
                    b"r" => true,
                    _ => return None,
                };
                Some(Self::Payload { is_result, sealed })
            }
            b"n " => {
                let (reference, sealed) = word(rest)?;
                Some(Self::Name { reference, sealed })
            }
            _ => None,
        }
    }

    /// Whether a sealed record was erased.
    pub fn is_erased(sealed: &[u8]) -> bool {
        sealed.first() == Some(&b'!')
    }
}

/// A word, and what follows the space behind it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b' ')?;
    Some((&text[..end], &text[end + 1..]))
}
