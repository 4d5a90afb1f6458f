//! The time of day as logs write it: RFC 3339, UTC, always with milliseconds, so that lines stand below each other.

use tollgate_model::{Civil, Timestamp};

/// Now, as `2026-07-28T09:30:00.123Z`.
pub(crate) fn now() -> String {
    stamp(Timestamp::now())
}

fn stamp(at: Timestamp) -> String {
    let Civil { year, month, day, hour, minute, second, millisecond, .. } = at.civil();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_always_shown() {
        assert_eq!(stamp(Timestamp::from_ms(951_782_400_007)), "2000-02-29T00:00:00.007Z");
        assert_eq!(stamp(Timestamp::from_ms(0)), "1970-01-01T00:00:00.000Z");
    }
}
