//! Comparing numbers as they are written, without losing digits.

/// Whether two JSON numbers have the same value: `42`, `42.0` and `4.2e1` do. False if either is not a number.
pub fn numbers_equal(one: &[u8], other: &[u8]) -> bool {
    match (Decimal::read(one), Decimal::read(other)) {
        (Some(one), Some(other)) => one.equals(&other),
        _ => false,
    }
}

/// A number as its digits without zeros at either end, times a power of ten.
struct Decimal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    /// The power of ten of the last digit.
    exponent: i128,
}

impl<'a> Decimal<'a> {
    fn read(number: &'a [u8]) -> Option<Self> {
        let (negative, digits) = number.strip_prefix(b"-").map_or((false, number), |digits| (true, digits));
        let (mantissa, exponent) = match digits.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (digits.get(..at)?, read_exponent(digits.get(at + 1..)?)?),
            None => (digits, 0),
        };
        let (mut whole, mut fraction) = match mantissa.iter().position(|&byte| byte == b'.') {
            Some(at) => {
                (mantissa.get(..at)?, mantissa.get(at + 1..).filter(|fraction| !fraction.is_empty())?)
            }
            None => (mantissa, &[][..]),
        };
        let has_leading_zero = whole.len() > 1 && whole.first() == Some(&b'0');
        let all_digits = whole.iter().chain(fraction).all(u8::is_ascii_digit);
        if whole.is_empty() || has_leading_zero || !all_digits {
            return None;
        }
        let mut exponent = exponent - i128::try_from(fraction.len()).ok()?;
        while let Some((b'0', rest)) = fraction.split_last() {
            fraction = rest;
            exponent += 1;
        }
        if fraction.is_empty() {
            while let Some((b'0', rest)) = whole.split_last() {
                whole = rest;
                exponent += 1;
            }
        }
        while let Some((b'0', rest)) = whole.split_first() {
            whole = rest;
        }
        if whole.is_empty() {
            while let Some((b'0', rest)) = fraction.split_first() {
                fraction = rest;
            }
        }
        if whole.is_empty() && fraction.is_empty() {
            return Some(Self { negative: false, whole, fraction, exponent: 0 });
        }
        Some(Self { negative, whole, fraction, exponent })
    }

    fn equals(&self, other: &Self) -> bool {
        self.negative == other.negative
            && self.exponent == other.exponent
            && self.whole.iter().chain(self.fraction).eq(other.whole.iter().chain(other.fraction))
    }
}

/// An exponent; one that is absurdly large is held at a bound that no number of digits can make up for.
fn read_exponent(text: &[u8]) -> Option<i128> {
    const BOUND: i128 = i128::MAX / 4;
    let (sign, digits) = match text.split_first()? {
        (b'-', digits) => (-1, digits),
        (b'+', digits) => (1, digits),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0_i128, |size, digit| {
        size.saturating_mul(10).saturating_add(i128::from(digit - b'0')).min(BOUND)
    });
    Some(sign * size)
}

#[cfg(test)]
mod tests {
    use super::numbers_equal;

    #[test]
    fn values_count_and_not_how_they_are_written() {
        for (one, other) in [
            ("42", "42.0"),
            ("42", "4.2e1"),
            ("4200", "42E+2"),
            ("0.5", "5e-1"),
            ("0", "-0.0"),
            ("0e9", "0"),
            ("100000000000000000000000000000000001", "100000000000000000000000000000000001.00"),
            ("0.001", "1e-3"),
            ("10.01", "1001e-2"),
        ] {
            assert!(numbers_equal(one.as_bytes(), other.as_bytes()), "{one} = {other}");
        }
        for (one, other) in [
            ("42", "43"),
            ("42", "-42"),
            ("42", "420"),
            ("9007199254740993", "9007199254740992"),
            ("1", "true"),
            ("", ""),
            ("1.", "1"),
            ("01", "1"),
            ("1e", "1"),
            ("+1", "1"),
            (" 1", "1"),
            ("10.1", "1.01"),
        ] {
            assert!(!numbers_equal(one.as_bytes(), other.as_bytes()), "{one} ≠ {other}");
        }
    }
}
