//! JSON over byte spans: validation in one pass, then navigation in place.
//!
//! [`validate`] (and [`Message::parse`](crate::Message::parse)) decide whether bytes are JSON, by RFC 8259 and
//! stricter where two readers could differ: no duplicate member names, no lone surrogates, no byte order mark, a bound
//! on nesting. Everything else here trusts that its input was validated, and gives nothing (never a panic) where it
//! was not.

mod canonical;
mod fault;
mod navigate;
mod number;
mod plain;
mod scan;
mod string;

use std::borrow::Cow;

use bytes::Bytes;

pub use canonical::canonical;
pub use fault::{Fault, ScanError};
pub use navigate::{Elements, Members, elements, find, kind_of, members, mentions};
pub use number::numbers_equal;
pub(crate) use plain::skip_plain;
pub use scan::validate;
pub(crate) use scan::{Scanner, Stop, whole};
pub(crate) use string::{key_is, name};
pub use string::{quote, text};

/// A half-open range of bytes. Offsets are 32 bits wide, so inputs are at most 4 GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The span between two offsets. Offsets beyond 4 GiB give a span that ends there.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start: narrow(start), end: narrow(end) }
    }

    /// The span of all of `bytes`.
    pub fn all(bytes: &[u8]) -> Self {
        Self::new(0, bytes.len())
    }

    /// The bytes of this span; empty if it lies outside of `bytes`.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// The span as a slice that shares `bytes`; empty if it lies outside.
    pub fn slice(self, bytes: &Bytes) -> Bytes {
        if self.start > self.end || self.end as usize > bytes.len() {
            return Bytes::new();
        }
        bytes.slice(self.start as usize..self.end as usize)
    }

    /// How many bytes it covers.
    pub const fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether it covers nothing.
    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }
}

/// An offset or a length, at most 4 GiB.
pub(crate) fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

/// A member of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The key, with its quotes.
    pub key: Span,
    /// The value.
    pub value: Span,
}

impl Member {
    /// Whether the key is `name`, compared after unescaping.
    pub fn key_is(&self, bytes: &[u8], name: &str) -> bool {
        key_is(bytes, self.key, name)
    }

    /// The key, unescaped.
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Cow<'a, str> {
        text(bytes, self.key).unwrap_or_default()
    }
}

/// What a JSON value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JsonKind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`.
    Null,
}

/// How much a reader accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How deeply arrays and objects may nest; the outermost counts as one.
    pub depth_max: usize,
    /// How many bytes a message may have. Never more than 4 GiB, whatever is said here.
    pub bytes_max: usize,
}

impl Default for Limits {
    /// 128 levels, 16 MiB.
    fn default() -> Self {
        Self { depth_max: 128, bytes_max: 16 << 20 }
    }
}
