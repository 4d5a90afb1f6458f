//! Where a call stands in a trace: W3C Trace Context (<https://www.w3.org/TR/trace-context/>).

use std::fmt;

use crate::random;

/// The longest `tracestate` that is passed on, in bytes; what is longer is left out, as the recommendation allows.
pub const TRACESTATE_BYTES_MAX: usize = 512;
/// The longest `baggage` that is passed on, in bytes (W3C Baggage, section 3.3.2).
pub const BAGGAGE_BYTES_MAX: usize = 8192;

/// The id of a trace: never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

/// The id of a span: never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(u64);

impl TraceId {
    /// A new one, at random in all its bits.
    pub(crate) fn random() -> Self {
        Self((u128::from(random::next()) << 64 | u128::from(random::next())).max(1))
    }

    /// As bytes, the first first.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// What a ratio is compared with: its last 56 bits, which are random in every trace of Level 2 (and in practice in those
    /// of Level 1).
    pub(crate) const fn randomness(self) -> u64 {
        (self.0 & 0x00ff_ffff_ffff_ffff) as u64
    }
}

impl SpanId {
    /// A new one.
    pub(crate) fn random() -> Self {
        Self(random::next().max(1))
    }

    /// As bytes, the first first.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&digits::<32>(self.0)).unwrap_or_default())
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&digits::<16>(self.0.into())).unwrap_or_default())
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A span, as others refer to it: what `traceparent` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether it is recorded.
    pub is_sampled: bool,
}

impl Context {
    /// Reads a `traceparent`. A version that is not known yet is read as this one, as the recommendation wants it; what is
    /// wrong is none.
    pub fn read(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (version, is_right_length) = match (bytes.get(..2)?, bytes.len()) {
            (b"00", length) => (0, length == 55),
            (version, length) => {
                (hex(version)?, length == 55 || (length > 55 && bytes.get(55) == Some(&b'-')))
            }
        };
        let has_dashes = [2, 35, 52].iter().all(|&at| bytes.get(at) == Some(&b'-'));
        if version == 0xff || !is_right_length || !has_dashes {
            return None;
        }
        let trace = hex(&bytes[3..35]).filter(|id| *id != 0)?;
        let span = hex(&bytes[36..52]).filter(|id| *id != 0)?;
        let flags = hex(&bytes[53..55])?;
        Some(Self {
            trace: TraceId(trace),
            span: SpanId(u64::try_from(span).ok()?),
            is_sampled: flags & 1 == 1,
        })
    }

    /// A span below this one, in another's hands.
    pub fn child(&self) -> Self {
        Self { span: SpanId::random(), ..*self }
    }
}

/// What `traceparent` says.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = *b"00-________________________________-________________-00";
        text[3..35].copy_from_slice(&digits::<32>(self.trace.0));
        text[36..52].copy_from_slice(&digits::<16>(self.span.0.into()));
        text[54] += u8::from(self.is_sampled);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// A number as so many lower-case hexadecimal digits: its last ones. Every call writes some of these, for which formatting
/// takes five times as long.
fn digits<const LENGTH: usize>(mut number: u128) -> [u8; LENGTH] {
    let mut text = [0; LENGTH];
    for place in text.iter_mut().rev() {
        *place = b"0123456789abcdef"[usize::try_from(number & 0xf).unwrap_or(0)];
        number >>= 4;
    }
    text
}

/// Lower-case hexadecimal digits, at most 32.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// Whether a `tracestate` or `baggage` may be passed on: visible ASCII and blanks, and not too long.
pub fn may_pass_on(text: &str, bytes_max: usize) -> bool {
    !text.is_empty()
        && text.len() <= bytes_max
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written_again() {
        let context = Context::read(GOOD).expect("a context");
        assert_eq!(context.to_string(), GOOD);
        assert!(context.is_sampled);
        let child = context.child();
        assert_eq!((child.trace, child.is_sampled), (context.trace, true));
        assert_ne!(child.span, context.span);
        let unsampled = GOOD.replace("-01", "-02");
        assert!(!Context::read(&unsampled).expect("a context").is_sampled, "another flag");
    }

    #[test]
    fn newer_versions_are_read_as_far_as_they_are_known() {
        assert!(Context::read(&GOOD.replacen("00", "01", 1)).is_some());
        assert!(Context::read(&format!("{}-what", GOOD.replacen("00", "cc", 1))).is_some());
        assert!(Context::read(&format!("{}what", GOOD.replacen("00", "cc", 1))).is_none());
    }

    #[test]
    fn what_is_wrong_is_none() {
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0é",
        ] {
            assert_eq!(Context::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_clean_text_is_passed_on() {
        assert!(may_pass_on("a=b,c=d e", 9) && !may_pass_on("a=b,c=d e", 8));
        assert!(!may_pass_on("a\r\nb", 99) && !may_pass_on("é", 99) && !may_pass_on("", 99));
    }
}
