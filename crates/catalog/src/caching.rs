//! Caching hints: for how long a result may be kept, and by whom (2026-07-28, caching).

use tollgate_mcp::json::{self, Span};

/// The longest time that is told on: a week, which is the longest that the gateway itself can be told to keep anything. What a
/// server says beyond that has no end, and numbers beyond 2^53 are an error to many a client.
const TTL_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1000;

/// What a result says of its own keeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caching {
    /// For how many milliseconds it may be kept.
    pub ttl_ms: u64,
    /// Whether it is the same for everyone.
    pub shared: bool,
}

impl Caching {
    /// Not to be kept, and nobody else's: what holds wherever a server says nothing, or nothing valid.
    pub const NONE: Self = Self { ttl_ms: 0, shared: false };

    /// Reads the hints of a result; what is missing or invalid is as in [`Self::NONE`], and what is too long is a week.
    pub fn read(bytes: &[u8], result: Span) -> Self {
        let ttl_ms = ttl(bytes, result).map_or(0, |ttl| ttl.min(TTL_MS_MAX));
        Self { ttl_ms, shared: scope(bytes, result).unwrap_or(false) }
    }

    /// Whether both hints are there, valid, and no longer than is told on.
    pub fn is_whole(bytes: &[u8], result: Span) -> bool {
        ttl(bytes, result).is_some_and(|ttl| ttl <= TTL_MS_MAX) && scope(bytes, result).is_some()
    }

    /// The hints of a result that is made of all these: kept as long as the shortest-lived part, and shared only if
    /// every part is. [`Self::NONE`] if there are none.
    pub fn merged(parts: impl IntoIterator<Item = Self>) -> Self {
        let both = |a: Self, b: Self| Self { ttl_ms: a.ttl_ms.min(b.ttl_ms), shared: a.shared && b.shared };
        parts.into_iter().reduce(both).unwrap_or(Self::NONE)
    }

    /// `cacheScope` as it is written.
    pub const fn scope(self) -> &'static str {
        if self.shared { "public" } else { "private" }
    }
}

/// Digits only: a negative number, a fraction and an exponent are no times to live.
fn ttl(bytes: &[u8], result: Span) -> Option<u64> {
    let raw = json::find(bytes, result, "ttlMs")?.of(bytes);
    std::str::from_utf8(raw).ok()?.parse().ok()
}

fn scope(bytes: &[u8], result: Span) -> Option<bool> {
    match &*json::text(bytes, json::find(bytes, result, "cacheScope")?)? {
        "public" => Some(true),
        "private" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(result: &str) -> (u64, &'static str) {
        let caching = Caching::read(result.as_bytes(), Span::all(result.as_bytes()));
        (caching.ttl_ms, caching.scope())
    }

    #[test]
    fn what_is_invalid_is_not_kept_and_not_shared() {
        assert_eq!(read(r#"{"ttlMs":5000,"cacheScope":"public"}"#), (5000, "public"));
        for ttl in ["-1", "1.5", "5.0", "1e3", "\"5\"", "null", "true", "99999999999999999999"] {
            let result = format!(r#"{{"ttlMs":{ttl},"cacheScope":"public"}}"#);
            assert_eq!(read(&result), (0, "public"), "{ttl}");
            assert!(!Caching::is_whole(result.as_bytes(), Span::all(result.as_bytes())), "{ttl}");
        }
        for scope in ["\"Public\"", "\"shared\"", "1", "null", "true"] {
            let result = format!(r#"{{"ttlMs":7,"cacheScope":{scope}}}"#);
            assert_eq!(read(&result), (7, "private"), "{scope}");
        }
        assert_eq!(read("{}"), (0, "private"));
    }

    #[test]
    fn nothing_is_kept_for_longer_than_a_week() {
        for (said, told) in
            [("604800000", 604_800_000), ("604800001", 604_800_000), ("18446744073709551615", 604_800_000)]
        {
            let result = format!(r#"{{"ttlMs":{said},"cacheScope":"public"}}"#);
            assert_eq!(read(&result), (told, "public"));
            let is_as_said = said == told.to_string();
            assert_eq!(
                Caching::is_whole(result.as_bytes(), Span::all(result.as_bytes())),
                is_as_said,
                "{said}"
            );
        }
    }

    #[test]
    fn the_whole_lives_as_long_as_its_shortest_part() {
        let part = |ttl_ms, shared| Caching { ttl_ms, shared };
        assert_eq!(Caching::merged([part(9, true), part(5, true)]), part(5, true));
        assert_eq!(Caching::merged([part(9, true), part(5, false), part(7, true)]), part(5, false));
        assert_eq!(Caching::merged([]), Caching::NONE);
    }
}
