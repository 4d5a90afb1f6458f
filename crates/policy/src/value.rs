//! Arguments as values that Cedar can hold, one by one, from their bytes.
//!
//! What Cedar cannot hold exactly is never rounded and never left out in silence: it comes back as unreadable, and a
//! policy that reads it denies. Nothing here goes through JSON values, which Cedar would search for entities and extensions.

use std::sync::Arc;

use cedar_policy::RestrictedExpression;
use tollgate_mcp::{JsonKind, Span, elements, kind_of, members, text};

use crate::quick::Plain;
use crate::types::{Record, Type};
use crate::uses::Read;

/// How deeply arguments may nest, as far as policies read them.
const DEPTH_MAX: usize = 32;
/// How many values arguments may have, as far as policies read them.
const VALUES_MAX: usize = 10_000;

/// What some policies read of the arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// All of it.
    is_whole: bool,
    parts: Vec<(Arc<str>, Wanted)>,
}

impl Wanted {
    /// Adds what one policy reads.
    pub(crate) fn add(&mut self, read: &Read) {
        let mut at = self;
        for name in &read.path {
            let place = at.parts.iter().position(|(known, _)| known == name);
            let place = place.unwrap_or_else(|| {
                at.parts.push((name.clone(), Self::default()));
                at.parts.len() - 1
            });
            let Some((_, next)) = at.parts.get_mut(place) else { return };
            at = next;
        }
        at.is_whole |= !read.is_presence;
    }

    /// Whether nothing is read.
    pub(crate) fn is_nothing(&self) -> bool {
        !self.is_whole && self.parts.is_empty()
    }

    fn part(&self, name: &str) -> Option<&Self> {
        self.parts.iter().find(|(known, _)| **known == *name).map(|(_, part)| part)
    }

    /// The wanted names that this one is taken for where case is not looked at.
    fn twins<'a>(&'a self, name: &'a str, types: &'a Record) -> impl Iterator<Item = &'a str> {
        let parts = self.parts.iter().map(|(known, _)| &**known);
        let whole = types.keys().map(|known| &**known).filter(|_| self.is_whole);
        parts.chain(whole).filter(move |known| *known != name && is_same(known, name))
    }
}

static WHOLE: Wanted = Wanted { is_whole: true, parts: Vec::new() };

/// Whether two names are the same but for case: a server that reads names leniently takes one for the other.
pub fn is_same(one: &str, other: &str) -> bool {
    if one.is_ascii() && other.is_ascii() {
        return one.eq_ignore_ascii_case(other);
    }
    folded(one).eq(folded(other))
}

/// Upper case comes first: only that way a long s becomes an `s`.
fn folded(name: &str) -> impl Iterator<Item = char> {
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// Why a value cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Why {
    #[error("has more than four decimals, or is too large a number")]
    Number,
    #[error("is no integer of 64 bits")]
    Integer,
    #[error("is null")]
    Null,
    #[error("is of another type than the tool's schema says")]
    Kind,
    #[error("is not in the tool's schema, or has no type there")]
    Undeclared,
    #[error("may be meant by a name that differs in case alone")]
    Case,
    #[error("nests too deeply")]
    Depth,
    #[error("has too many parts")]
    Size,
}

/// An argument, or a part of one, that cannot be read. An empty path is all arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) path: Vec<String>,
    pub(crate) why: Why,
}

impl Unreadable {
    /// Whether a policy that reads this cannot be judged.
    pub(crate) fn concerns(&self, read: &Read) -> bool {
        let is_same = self.path.iter().zip(&read.path).all(|(one, other)| **one == **other);
        // Whether something is there can be said even if its parts cannot be read.
        is_same && (!read.is_presence || self.path.len() <= read.path.len())
    }
}

/// Reads the arguments that are wanted.
pub(crate) fn read(
    arguments: Option<(&[u8], Span)>,
    types: &Record,
    wanted: &Wanted,
) -> (Value, Vec<Unreadable>) {
    let mut reader = Reader { left: VALUES_MAX, path: Vec::new(), unreadable: Vec::new() };
    let value = match arguments {
        None => Ok(Value::Record(Vec::new())),
        Some((bytes, span)) => reader.record(bytes, span, types, wanted, DEPTH_MAX),
    };
    let value = value.unwrap_or_else(|why| {
        reader.unreadable.push(Unreadable { path: Vec::new(), why });
        Value::Record(Vec::new())
    });
    (value, reader.unreadable)
}

/// An argument, or a part of one, as far as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Bool(bool),
    Long(i64),
    /// In ten-thousandths.
    Decimal(i64),
    Set(Vec<Value>),
    Record(Vec<(String, Value)>),
}

impl Value {
    /// As Cedar has it.
    pub(crate) fn expression(&self) -> RestrictedExpression {
        match self {
            Self::Text(text) => RestrictedExpression::new_string(text.clone()),
            Self::Bool(value) => RestrictedExpression::new_bool(*value),
            Self::Long(value) => RestrictedExpression::new_long(*value),
            Self::Decimal(value) => RestrictedExpression::new_decimal(decimal(*value)),
            Self::Set(values) => RestrictedExpression::new_set(values.iter().map(Self::expression)),
            Self::Record(members) => {
                let members = members.iter().map(|(name, value)| (name.clone(), value.expression()));
                // It fails only on names that stand twice, which no message has.
                RestrictedExpression::new_record(members)
                    .unwrap_or_else(|_| RestrictedExpression::new_bool(false))
            }
        }
    }

    /// The member of a record, if there is one of this name. None of all else.
    #[expect(clippy::option_option, reason = "that there is no such member is not that there can be none")]
    pub(crate) fn member(&self, name: &str) -> Option<Option<&Self>> {
        let Self::Record(members) = self else { return None };
        Some(members.iter().find(|(known, _)| known == name).map(|(_, value)| value))
    }

    /// A single value that Cedar has of itself.
    pub(crate) fn plain(&self) -> Option<Plain<'_>> {
        match self {
            Self::Text(text) => Some(Plain::Text(text)),
            Self::Bool(value) => Some(Plain::Bool(*value)),
            Self::Long(value) => Some(Plain::Long(*value)),
            Self::Decimal(_) | Self::Set(_) | Self::Record(_) => None,
        }
    }
}

struct Reader {
    left: usize,
    path: Vec<String>,
    unreadable: Vec<Unreadable>,
}

impl Reader {
    /// The wanted members of an object. What cannot be read of them is noted and left out.
    fn record(
        &mut self,
        bytes: &[u8],
        span: Span,
        types: &Record,
        wanted: &Wanted,
        depth: usize,
    ) -> Result<Value, Why> {
        if kind_of(bytes, span) != JsonKind::Object {
            return Err(if kind_of(bytes, span) == JsonKind::Null { Why::Null } else { Why::Kind });
        }
        let depth = depth.checked_sub(1).ok_or(Why::Depth)?;
        let mut pairs = Vec::new();
        for member in members(bytes, span) {
            let name = member.key(bytes);
            // Many servers read names without regard to case, and take the last: which value that is cannot be said.
            for twin in wanted.twins(&name, types) {
                let path = self.path.iter().cloned().chain([twin.to_owned()]).collect();
                self.unreadable.push(Unreadable { path, why: Why::Case });
            }
            let part = if wanted.is_whole { Some(&WHOLE) } else { wanted.part(&name) };
            let Some(part) = part else { continue };
            self.path.push(name.into_owned());
            let value = match types.get(self.path.last().map_or("", String::as_str)) {
                None => Err(Why::Undeclared),
                Some(field) => self.value(bytes, member.value, &field.kind, part, depth),
            };
            match value {
                Ok(value) => pairs.extend(self.path.last().map(|name| (name.clone(), value))),
                Err(why) => self.unreadable.push(Unreadable { path: self.path.clone(), why }),
            }
            self.path.pop();
        }
        Ok(Value::Record(pairs))
    }

    fn value(
        &mut self,
        bytes: &[u8],
        span: Span,
        kind: &Type,
        wanted: &Wanted,
        depth: usize,
    ) -> Result<Value, Why> {
        self.left = self.left.checked_sub(1).ok_or(Why::Size)?;
        match (kind, kind_of(bytes, span)) {
            (_, JsonKind::Null) => Err(Why::Null),
            (Type::Text, JsonKind::String) => {
                let text = text(bytes, span).ok_or(Why::Kind)?;
                Ok(Value::Text(text.into_owned()))
            }
            (Type::Bool, JsonKind::Bool) => Ok(Value::Bool(span.of(bytes) == b"true")),
            (Type::Long, JsonKind::Number) => Ok(Value::Long(scaled(span.of(bytes), 0).ok_or(Why::Integer)?)),
            (Type::Decimal, JsonKind::Number) => {
                Ok(Value::Decimal(scaled(span.of(bytes), 4).ok_or(Why::Number)?))
            }
            (Type::Record(types), JsonKind::Object) => self.record(bytes, span, types, wanted, depth),
            (Type::Set(element), JsonKind::Array) => {
                let depth = depth.checked_sub(1).ok_or(Why::Depth)?;
                // Whether it is there does not depend on what is in it.
                if wanted.is_nothing() {
                    return Ok(Value::Set(Vec::new()));
                }
                let noted = self.unreadable.len();
                let mut values = Vec::new();
                for item in elements(bytes, span) {
                    values.push(self.value(bytes, item, element, &WHOLE, depth)?);
                }
                // A set of which one element is not whole is another set.
                if let Some(first) = self.unreadable.get(noted) {
                    let why = first.why;
                    self.unreadable.truncate(noted);
                    return Err(why);
                }
                Ok(Value::Set(values))
            }
            _ => Err(Why::Kind),
        }
    }
}

/// A JSON number times a power of ten, if that is an integer of 64 bits.
fn scaled(number: &[u8], places: i64) -> Option<i64> {
    let (is_negative, rest) = match number.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, number),
    };
    let end = rest.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(rest.len());
    let (mantissa, exponent) = rest.split_at(end);
    let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
    let decimals = i64::try_from(mantissa.len().saturating_sub(point + 1)).ok()?;
    let mut digits: Vec<u8> = Vec::new();
    for byte in mantissa.iter().filter(|byte| byte.is_ascii_digit()) {
        if *byte != b'0' || !digits.is_empty() {
            digits.push(byte - b'0');
        }
    }
    let zeros = digits.iter().rev().take_while(|digit| **digit == 0).count();
    digits.truncate(digits.len() - zeros);
    if digits.is_empty() {
        return Some(0);
    }
    let exponent = match exponent.get(1..) {
        None => 0,
        Some(text) => {
            let text = std::str::from_utf8(text).ok()?;
            text.parse::<i64>().ok()?
        }
    };
    let power =
        exponent.checked_sub(decimals)?.checked_add(i64::try_from(zeros).ok()?)?.checked_add(places)?;
    let power = u32::try_from(power).ok().filter(|power| *power <= 19)?;
    if digits.len() > 20 {
        return None;
    }
    let mut value = digits.iter().fold(0_i128, |value, digit| value * 10 + i128::from(*digit));
    value = value.checked_mul(10_i128.checked_pow(power)?)?;
    i64::try_from(if is_negative { -value } else { value }).ok()
}

/// Ten-thousandths as Cedar reads a decimal.
fn decimal(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let value = value.unsigned_abs();
    format!("{sign}{}.{:04}", value / 10_000, value % 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_folded_as_lenient_readers_do() {
        for name in ["AMOUNTS", "Amounts", "amount\u{17f}"] {
            assert!(is_same("amounts", name), "{name}");
        }
        assert!(is_same("stra\u{df}e", "STRASSE") && is_same("\u{e9}", "\u{c9}") && is_same("k", "\u{212a}"));
        assert!(!is_same("from_account", "from-account") && !is_same("a", "\u{e4}"));
    }

    #[test]
    fn numbers_are_exact_or_nothing() {
        for (number, places, value) in [
            ("1", 0, Some(1)),
            ("1.0", 0, Some(1)),
            ("-1.50e1", 0, Some(-15)),
            ("100e-2", 0, Some(1)),
            ("1.5", 0, None),
            ("9223372036854775807", 0, Some(i64::MAX)),
            ("-9223372036854775808", 0, Some(i64::MIN)),
            ("9223372036854775808", 0, None),
            ("1e19", 0, None),
            ("1e99999999999999999999", 0, None),
            ("0e99999999999999999999", 0, Some(0)),
            ("-0", 0, Some(0)),
            ("0.0001", 4, Some(1)),
            ("0.00010000", 4, Some(1)),
            ("0.00001", 4, None),
            ("1.00005", 4, None),
            ("-0.5", 4, Some(-5_000)),
            ("922337203685477.5807", 4, Some(i64::MAX)),
            ("922337203685477.5808", 4, None),
            ("1E+2", 4, Some(1_000_000)),
        ] {
            assert_eq!(scaled(number.as_bytes(), places), value, "{number}");
        }
        assert_eq!(decimal(-5_000), "-0.5000");
        assert_eq!(decimal(i64::MIN), "-922337203685477.5808");
        assert_eq!(decimal(12_345_678), "1234.5678");
    }
}
