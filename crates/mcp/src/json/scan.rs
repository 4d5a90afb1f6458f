//! The validating scanner: RFC 8259, and stricter where two readers could differ.
//!
//! It never recurses over nesting, so no input can overflow the stack. The memory it takes is in proportion to the
//! members of objects that are open at one time.

use std::borrow::Cow;
use std::collections::HashSet;

use smallvec::SmallVec;

use super::plain::word_at;
use super::{Fault, Limits, ScanError, Span, narrow, skip_plain, string};

/// Objects with more members are checked for duplicates with a hash table (SipHash, randomly keyed) instead of by
/// comparing each with each.
const COMPARED_MEMBERS_MAX: usize = 32;

/// Stands for an array where objects note where their keys begin.
const ARRAY: u32 = u32::MAX;

/// What was wrong, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub(crate) fault: Fault,
    /// In bytes. Narrow, so that results fit into registers.
    pub(crate) offset: u32,
}

/// A key of an object that is still open.
#[derive(Clone, Copy, Debug)]
struct Key {
    span: Span,
    /// Equal for equal keys; so keys that differ in it need not be compared.
    print: u32,
    escaped: bool,
}

/// Validates one JSON value that fills the whole input, and gives its span without the whitespace around it.
///
/// As strict as [`Message::parse`](crate::Message::parse): no duplicate member names at any depth, no lone surrogates,
/// no byte order mark.
pub fn validate(bytes: &[u8], limits: &Limits) -> Result<Span, ScanError> {
    let check = || {
        let mut scanner = Scanner::new(bytes, limits)?;
        let span = scanner.value(0)?;
        scanner.end()?;
        Ok(span)
    };
    check().map_err(|stop: Stop| ScanError {
        fault: stop.fault,
        offset: stop.offset as usize,
        id: None,
        response_id: None,
    })
}

/// The value that fills the whole of already validated bytes, without the whitespace around it.
pub(crate) fn whole(bytes: &[u8]) -> Span {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    let start = bytes.iter().position(|byte| !is_blank(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    Span::new(start, end)
}

/// A cursor over the input.
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth_max: usize,
    /// The keys of all objects that are open, outermost first.
    keys: SmallVec<[Key; 24]>,
    /// For each open container within [`Self::value`]: where the keys of an object begin in `keys`, or [`ARRAY`].
    open: SmallVec<[u32; 24]>,
    has_escaped_keys: bool,
}

impl<'a> Scanner<'a> {
    /// Begins at the first byte that is not whitespace. Checks size and UTF-8.
    pub(crate) fn new(bytes: &'a [u8], limits: &Limits) -> Result<Self, Stop> {
        if bytes.len() > limits.bytes_max.min(u32::MAX as usize) {
            return Err(Stop { fault: Fault::TooLarge, offset: narrow(limits.bytes_max) });
        }
        // Most messages are ASCII, which is seen many bytes at a time.
        if !bytes.is_ascii()
            && let Err(error) = std::str::from_utf8(bytes)
        {
            return Err(Stop { fault: Fault::NotUtf8, offset: narrow(error.valid_up_to()) });
        }
        let mut scanner = Self {
            bytes,
            at: 0,
            depth_max: limits.depth_max,
            keys: SmallVec::new(),
            open: SmallVec::new(),
            has_escaped_keys: false,
        };
        scanner.blank();
        Ok(scanner)
    }

    /// Whether any key so far was written with escapes.
    pub(crate) fn has_escaped_keys(&self) -> bool {
        self.has_escaped_keys
    }

    /// The byte at the cursor.
    #[inline]
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// A fault at the cursor.
    #[cold]
    fn stop<T>(&self, fault: Fault) -> Result<T, Stop> {
        Err(Stop { fault, offset: narrow(self.at) })
    }

    /// Nothing but whitespace may be left.
    pub(crate) fn end(&mut self) -> Result<(), Stop> {
        self.blank();
        if self.at == self.bytes.len() { Ok(()) } else { self.stop(Fault::Trailing) }
    }

    #[inline]
    fn blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Validates the object at the cursor, which lies inside of `depth` containers, and lets `each` validate the value
    /// of each member: it gets the key (with quotes) and the cursor at the value, and returns the value's span.
    pub(crate) fn object(
        &mut self,
        depth: usize,
        mut each: impl FnMut(&mut Self, Span) -> Result<(), Stop>,
    ) -> Result<Span, Stop> {
        let start = self.at;
        if depth >= self.depth_max {
            return self.stop(Fault::TooDeep);
        }
        let keys_from = self.keys.len();
        self.at += 1;
        self.blank();
        if self.peek() != Some(b'}') {
            loop {
                let key = self.key()?;
                each(self, key)?;
                self.blank();
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        self.blank();
                    }
                    Some(b'}') => break,
                    _ => return self.stop(Fault::Syntax),
                }
            }
        }
        self.at += 1;
        self.close_keys(keys_from)?;
        Ok(Span::new(start, self.at))
    }

    /// Validates the value at the cursor, which lies inside of `depth` containers.
    pub(crate) fn value(&mut self, depth: usize) -> Result<Span, Stop> {
        let start = self.at;
        let outside = self.open.len();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(opening @ (b'{' | b'[')) => {
                    if depth + (self.open.len() - outside) >= self.depth_max {
                        return self.stop(Fault::TooDeep);
                    }
                    self.at += 1;
                    self.blank();
                    let is_object = opening == b'{';
                    // `{` and `[` lie two below what closes them.
                    if self.peek() == Some(opening + 2) {
                        self.at += 1;
                    } else if is_object {
                        self.open.push(narrow(self.keys.len()));
                        self.key()?;
                        continue;
                    } else {
                        self.open.push(ARRAY);
                        continue;
                    }
                }
                Some(b't') => self.literal(b"true")?,
                Some(b'f') => self.literal(b"false")?,
                Some(b'n') => self.literal(b"null")?,
                _ => return self.stop(Fault::Syntax),
            }
            // A value has ended; what encloses it says what may follow.
            loop {
                if self.open.len() == outside {
                    return Ok(Span::new(start, self.at));
                }
                let keys_from = self.open.last().copied().unwrap_or(ARRAY);
                self.blank();
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        self.blank();
                        if keys_from != ARRAY {
                            self.key()?;
                        }
                        break;
                    }
                    Some(b']') if keys_from == ARRAY => {}
                    Some(b'}') if keys_from != ARRAY => self.close_keys(keys_from as usize)?,
                    _ => return self.stop(Fault::Syntax),
                }
                self.at += 1;
                self.open.pop();
            }
        }
    }

    /// Validates a key and its colon, and notes the key. Leaves the cursor at the value.
    #[inline]
    fn key(&mut self) -> Result<Span, Stop> {
        if self.peek() != Some(b'"') {
            return self.stop(Fault::Syntax);
        }
        let start = self.at;
        let escaped = self.string()?;
        let span = Span::new(start, self.at);
        self.blank();
        if self.peek() != Some(b':') {
            return self.stop(Fault::Syntax);
        }
        self.at += 1;
        self.blank();
        let print = if escaped {
            self.has_escaped_keys = true;
            let name = string::name(self.bytes, span);
            print(&name, 0, name.len())
        } else {
            print(self.bytes, start + 1, span.len() - 2)
        };
        self.keys.push(Key { span, print, escaped });
        Ok(span)
    }

    /// Validates the string at the cursor; says whether it contains escapes.
    #[inline]
    fn string(&mut self) -> Result<bool, Stop> {
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at = skip_plain(self.bytes, self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return self.stop(Fault::Syntax),
            }
        }
    }

    /// Validates the escape at the cursor.
    fn escape(&mut self) -> Result<(), Stop> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let Some(unit) = string::code_unit(self.bytes, self.at) else {
                    return self.stop(Fault::Syntax);
                };
                match unit {
                    0xD800..=0xDBFF => {
                        let next = string::code_unit(self.bytes, self.at + 6);
                        if !matches!(next, Some(0xDC00..=0xDFFF)) {
                            return self.stop(Fault::LoneSurrogate);
                        }
                        self.at += 12;
                    }
                    0xDC00..=0xDFFF => return self.stop(Fault::LoneSurrogate),
                    _ => self.at += 6,
                }
                Ok(())
            }
            _ => self.stop(Fault::Syntax),
        }
    }

    /// Validates the number at the cursor. Its digits are of no interest, so there may be any number of them.
    #[inline]
    fn number(&mut self) -> Result<(), Stop> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    #[inline]
    fn digits(&mut self) -> Result<(), Stop> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { self.stop(Fault::Syntax) } else { Ok(()) }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Stop> {
        if !self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return self.stop(Fault::Syntax);
        }
        self.at += word.len();
        Ok(())
    }

    /// Ends an object whose keys begin at `from`: no two of them may be equal.
    #[inline]
    fn close_keys(&mut self, from: usize) -> Result<(), Stop> {
        let keys = self.keys.get(from..).unwrap_or_default();
        let twice = if keys.len() <= COMPARED_MEMBERS_MAX {
            compared(self.bytes, keys)
        } else {
            hashed(self.bytes, keys)
        };
        if let Some(key) = twice {
            return Err(Stop { fault: Fault::Duplicate, offset: key.start });
        }
        self.keys.truncate(from);
        Ok(())
    }
}

/// A summary of the key that begins at `at` and has `length` bytes: quick to make and to compare.
#[inline]
fn print(bytes: &[u8], mut at: usize, length: usize) -> u32 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |print: u64, word: u64| (print ^ word).wrapping_mul(ODD).rotate_left(29);
    let mut print = length as u64;
    let end = at + length;
    while at + 8 <= end {
        print = mix(print, word_at(bytes, at).unwrap_or(0));
        at += 8;
    }
    if at < end {
        // What follows the key is masked off.
        let word = word_at(bytes, at).unwrap_or_else(|| {
            let rest = bytes.get(at..end).unwrap_or_default();
            rest.iter().rev().fold(0, |word, &byte| (word << 8) | u64::from(byte))
        });
        print = mix(print, word & ((1 << (8 * (end - at))) - 1));
    }
    (print >> 32) as u32
}

/// Finds a key that is there twice, comparing each with each.
#[inline]
fn compared(bytes: &[u8], keys: &[Key]) -> Option<Span> {
    for (index, key) in keys.iter().enumerate().skip(1) {
        for earlier in keys.iter().take(index) {
            if earlier.print == key.print && same(bytes, *earlier, *key) {
                return Some(key.span);
            }
        }
    }
    None
}

#[cold]
fn same(bytes: &[u8], one: Key, other: Key) -> bool {
    if one.escaped || other.escaped {
        string::text(bytes, one.span) == string::text(bytes, other.span)
    } else {
        one.span.of(bytes) == other.span.of(bytes)
    }
}

/// Finds a key that is there twice, in time that no choice of keys can make quadratic.
#[inline(never)]
fn hashed(bytes: &[u8], keys: &[Key]) -> Option<Span> {
    let mut seen: HashSet<Cow<'_, str>> = HashSet::with_capacity(keys.len());
    keys.iter()
        .find(|key| !seen.insert(string::text(bytes, key.span).unwrap_or_default()))
        .map(|key| key.span)
}
