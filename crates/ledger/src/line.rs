//! How a segment is written: lines of text.
//!
//! | line | what |
//! |---|---|
//! | `e HASH SIDE JSON` | an entry of the chain |
//! | `p a SEALED`, `p r SEALED` | the arguments or the result of the entry before it |
//! | `n REF SEALED` | the name behind a reference that the entry before it uses for the first time in this segment |
//!
//! `HASH` is SHA-256 over the hash before it (32 bytes), `SIDE` and `JSON`, as they stand in the line. `SIDE` is SHA-256 over the
//! digests (32 bytes each) of the `p` and `n` lines that follow the entry, or `-` where there are none. The digest of such a line
//! is SHA-256 over what stands before `SEALED`, and the SHA-256 (32 bytes) of `SEALED`. Digests and sealed records are in
//! base64url without padding.
//!
//! What was erased stands as `!`, the SHA-256 of the `SEALED` that was there, and dots up to the same length. So `SIDE` fits as
//! before, whatever was erased, and an erasure can be told from a line that somebody changed. Hence no `SEALED` is shorter
//! than [`SEALED_LEN_MIN`]: short names are filled up before they are sealed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The length of a digest as text.
const DIGEST_LEN: usize = 43;
/// The least length of a sealed record: what says that it was erased takes its place.
pub const SEALED_LEN_MIN: usize = 1 + DIGEST_LEN;
/// With what a record begins that was erased.
const ERASED: u8 = b'!';
/// Says that nothing follows an entry.
pub(crate) const NO_SIDE: &str = "-";

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

/// The digest of the lines that follow an entry, as it stands before the entry's JSON: whatever of them was erased.
pub fn side(lines: &[u8]) -> String {
    if lines.is_empty() {
        return NO_SIDE.to_owned();
    }
    let mut context = Context::new(&SHA256);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        context.update(&line_digest(line).0);
    }
    BASE64.encode(context.finish().as_ref())
}

/// The digest of a `p` or `n` line, with or without its end, as it was before it was erased.
pub fn line_digest(line: &[u8]) -> Hash {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let sealed = Line::read(text).and_then(Line::sealed).unwrap_or_default();
    let digest = erased(sealed).unwrap_or_else(|| sha256(&[sealed]));
    sha256(&[&text[..text.len() - sealed.len()], &digest.0])
}

/// Writes a `p` or `n` line with its end: what stands before the sealed record, and that. Gives the line's digest.
pub(crate) fn push_side(lines: &mut Vec<u8>, head: &[u8], sealed: &[u8]) -> Hash {
    lines.reserve(head.len() + sealed.len() + 1);
    for part in [head, sealed, b"\n"] {
        lines.extend_from_slice(part);
    }
    sha256(&[head, &sha256(&[sealed]).0])
}

/// What stands for the lines with these digests, before the entry's JSON.
pub(crate) fn side_of(digests: impl Iterator<Item = Hash>) -> Side {
    let mut context = Context::new(&SHA256);
    let mut are_there = false;
    for digest in digests {
        context.update(&digest.0);
        are_there = true;
    }
    if !are_there {
        return Side { text: [NO_SIDE.as_bytes()[0]; DIGEST_LEN], len: NO_SIDE.len() };
    }
    let mut side = Side { text: [0; DIGEST_LEN], len: DIGEST_LEN };
    // The length of a digest is the length of its text.
    _ = BASE64.encode_slice(context.finish().as_ref(), &mut side.text);
    side
}

/// A `SIDE` as text.
pub(crate) struct Side {
    text: [u8; DIGEST_LEN],
    len: usize,
}

impl Side {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }
}

/// Writes an entry's line with its end, and gives its hash.
pub(crate) fn push_entry(lines: &mut Vec<u8>, before: Hash, side: &Side, json: &[&[u8]]) -> Hash {
    lines.extend_from_slice(b"e ");
    let place = lines.len();
    lines.extend_from_slice(&[b'.'; DIGEST_LEN]);
    lines.push(b' ');
    lines.extend_from_slice(side.as_bytes());
    lines.push(b' ');
    let begin = lines.len();
    for part in json {
        lines.extend_from_slice(part);
    }
    let hash = chain(before, side.as_bytes(), &lines[begin..]);
    _ = BASE64.encode_slice(hash.0, &mut lines[place..place + DIGEST_LEN]);
    lines.push(b'\n');
    hash
}

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = Hash::default();
    hash.0.copy_from_slice(context.finish().as_ref());
    hash
}

/// Of a record that was erased: the digest of what was there. Nothing but this can stand in its place.
fn erased(sealed: &[u8]) -> Option<Hash> {
    let (digest, dots) = sealed.strip_prefix(&[ERASED])?.split_at_checked(DIGEST_LEN)?;
    dots.iter().all(|byte| *byte == b'.').then(|| Hash::read(digest)).flatten()
}

/// A `p` or `n` line as it stands when it is erased, with the same length and line end; none if it is none, too short, or
/// erased already.
pub fn erase(line: &[u8]) -> Option<Vec<u8>> {
    let text = line.strip_suffix(b"\n")?;
    let sealed = Line::read(text)?.sealed()?;
    if sealed.len() < SEALED_LEN_MIN || Line::is_erased(sealed) {
        return None;
    }
    let digest = sha256(&[sealed]).to_text();
    let kept = text.len() - sealed.len();
    let dots = vec![b'.'; sealed.len() - SEALED_LEN_MIN];
    Some([&text[..kept], &[ERASED], digest.as_bytes(), &dots, b"\n"].concat())
}

/// The hash of an entry.
pub fn chain(before: Hash, side: &[u8], json: &[u8]) -> Hash {
    sha256(&[&before.0, side, json])
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
        sealed.first() == Some(&ERASED)
    }

    /// The sealed record, if it has one.
    fn sealed(self) -> Option<&'a [u8]> {
        match self {
            Self::Entry { .. } => None,
            Self::Payload { sealed, .. } | Self::Name { sealed, .. } => Some(sealed),
        }
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::read(text.as_bytes()).ok_or_else(|| serde::de::Error::custom("no digest"))
    }
}

/// A word, and what follows the space behind it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b' ')?;
    Some((&text[..end], &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let (mut lines, sealed) = (Vec::new(), "x".repeat(50));
        let digests = [
            push_side(&mut lines, b"p a ", sealed.as_bytes()),
            push_side(&mut lines, b"n reference ", sealed.as_bytes()),
        ];
        let text = side_of(digests.into_iter());
        assert_eq!(text.as_bytes(), side(&lines).as_bytes());
        assert_eq!(side_of(std::iter::empty()).as_bytes(), side(b"").as_bytes());
        let (mut entry, before) = (Vec::new(), Hash([1; 32]));
        let hash = push_entry(&mut entry, before, &text, &[b"{\"seq\":1,", b"\"kind\":\"gap\"}"]);
        let json: &[u8] = b"{\"seq\":1,\"kind\":\"gap\"}";
        assert_eq!(hash, chain(before, text.as_bytes(), json));
        let read = Line::read(entry.strip_suffix(b"\n").expect("an end"));
        assert_eq!(read, Some(Line::Entry { hash, side: text.as_bytes(), json }));
    }

    #[test]
    fn what_is_erased_leaves_the_digest_as_it_was() {
        let (payload, name) = (format!("p a {}\n", "x".repeat(44)), format!("n ref {}\n", "y".repeat(60)));
        let before = side([payload.as_bytes(), name.as_bytes()].concat().as_slice());
        let erased = erase(payload.as_bytes()).expect("erased");
        assert_eq!(erased.len(), payload.len());
        assert_eq!(side(&[&erased, name.as_bytes()].concat()), before);
        let both = [erased.clone(), erase(name.as_bytes()).expect("erased")].concat();
        assert_eq!(side(&both), before);
        assert_eq!(erase(&erased), None, "twice");
        for wrong in
            ["p a short\n", "e x y\n", "p a \n", "p a no end of a line that is long enough to be erased xxx"]
        {
            assert_eq!(erase(wrong.as_bytes()), None, "{wrong}");
        }
        // Nothing else passes for it: another digest, other filling, another line.
        let changed = |from: &str, to: &str| {
            let text = String::from_utf8(both.clone()).expect("text").replacen(from, to, 1);
            assert_ne!(side(text.as_bytes()), before, "{from} {to}");
        };
        changed(".\n", "x\n");
        changed("n ref", "n rex");
        changed("p a !", "p r !");
    }
}
