//! Points in time as people write them: RFC 3339, in UTC.

use std::fmt;
use std::str::FromStr;

use crate::Timestamp;

const DAY_SECONDS: u64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: u64 = 719_468;
/// Days in 400 years.
const ERA_DAYS: u64 = 146_097;

/// A point in time on the calendar and the clock of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// The year.
    pub year: u64,
    /// The month, from 1.
    pub month: u64,
    /// The day of the month, from 1.
    pub day: u64,
    /// The hour, from 0 to 23.
    pub hour: u64,
    /// The minute, from 0 to 59.
    pub minute: u64,
    /// The second, from 0 to 59.
    pub second: u64,
    /// The millisecond, from 0 to 999.
    pub millisecond: u64,
    /// The day of the week: `monday`, `tuesday`, …
    pub weekday: &'static str,
}

impl Timestamp {
    /// Where this is on the calendar and the clock of UTC.
    pub fn civil(self) -> Civil {
        let seconds = self.as_ms() / 1000;
        let (days, second_of_day) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
        let (year, month, day) = date(days);
        Civil {
            year,
            month,
            day,
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
            millisecond: self.as_ms() % 1000,
            weekday: weekday(days),
        }
    }
}

/// As `2026-07-28T09:30:00Z`, with milliseconds where there are any.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, hour, minute, second, millisecond, .. } = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if millisecond > 0 {
            write!(f, ".{millisecond:03}")?;
        }
        f.write_str("Z")
    }
}

/// A text is no point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time is written as 2026-07-28T09:30:00Z")]
pub struct InvalidTime;

/// Reads RFC 3339 (`2026-07-28T09:30:00.5+02:00`), from 1970 to 9999. What is finer than a millisecond is cut off; a leap
/// second is the one before it.
impl FromStr for Timestamp {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let (date, rest) = text.split_at_checked(10).ok_or(InvalidTime)?;
        let rest = rest.strip_prefix(['T', 't', ' ']).ok_or(InvalidTime)?;
        let (clock, rest) = rest.split_at_checked(8).ok_or(InvalidTime)?;
        let [year, month, day] = parts(date, '-', [4, 2, 2])?;
        let [hour, minute, second] = parts(clock, ':', [2, 2, 2])?;
        let (millisecond, zone) = match rest.strip_prefix('.') {
            Some(rest) => fraction(rest)?,
            None => (0, rest),
        };
        let fits = (1970..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=month_days(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second <= 60;
        if !fits {
            return Err(InvalidTime);
        }
        let seconds = days(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second.min(59);
        let (is_ahead, ahead) = offset(zone)?;
        let seconds = if is_ahead { seconds.checked_sub(ahead) } else { seconds.checked_add(ahead) };
        seconds.map(|seconds| Self::from_ms(seconds * 1000 + millisecond)).ok_or(InvalidTime)
    }
}

/// Three numbers of so many digits.
fn parts(text: &str, separator: char, digits: [usize; 3]) -> Result<[u64; 3], InvalidTime> {
    let mut found = text.split(separator);
    let mut numbers = [0; 3];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        *number = whole(found.next().filter(|part| part.len() == digits).ok_or(InvalidTime)?)?;
    }
    if found.next().is_some() { Err(InvalidTime) } else { Ok(numbers) }
}

fn whole(digits: &str) -> Result<u64, InvalidTime> {
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        digits.parse().map_err(|_| InvalidTime)
    } else {
        Err(InvalidTime)
    }
}

/// The milliseconds of a fraction of a second, and what follows it.
fn fraction(text: &str) -> Result<(u64, &str), InvalidTime> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Err(InvalidTime);
    }
    let shown: String = digits.chars().chain("000".chars()).take(3).collect();
    Ok((whole(&shown)?, rest))
}

/// How far a zone is from UTC in seconds, and whether it is ahead.
fn offset(zone: &str) -> Result<(bool, u64), InvalidTime> {
    if zone == "Z" || zone == "z" {
        return Ok((true, 0));
    }
    let is_ahead = zone.starts_with('+');
    let (hour, minute) =
        zone.strip_prefix(['+', '-']).and_then(|zone| zone.split_once(':')).ok_or(InvalidTime)?;
    if hour.len() != 2 || minute.len() != 2 {
        return Err(InvalidTime);
    }
    let (hour, minute) = (whole(hour)?, whole(minute)?);
    if hour < 24 && minute < 60 { Ok((is_ahead, hour * 3600 + minute * 60)) } else { Err(InvalidTime) }
}

fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The day of the week of a day counted from 1970-01-01, which was a Thursday.
fn weekday(days: u64) -> &'static str {
    const NAMES: [&str; 7] = ["thursday", "friday", "saturday", "sunday", "monday", "tuesday", "wednesday"];
    NAMES[usize::try_from(days % 7).unwrap_or_default()]
}

/// The Gregorian date of a day counted from 1970-01-01. Years are counted from March, so that the leap day is the
/// last of its year and every month's first day follows from one linear rule.
fn date(days: u64) -> (u64, u64, u64) {
    let day = days + DAYS_TO_1970;
    let of_era = day % ERA_DAYS;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = day / ERA_DAYS * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day_of_month)
}

/// The day of a Gregorian date from 1970 on, counted from 1970-01-01.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let march_month = (month + 9) % 12;
    let of_year = (153 * march_month + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - DAYS_TO_1970
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> Result<u64, InvalidTime> {
        text.parse::<Timestamp>().map(Timestamp::as_ms)
    }

    #[test]
    fn known_moments_are_written_and_read_back() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_785_231_000, "2026-07-28T09:30:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Timestamp::from_ms(seconds * 1000).to_string(), text);
            assert_eq!(ms(text), Ok(seconds * 1000));
        }
        assert_eq!(Timestamp::from_ms(7).to_string(), "1970-01-01T00:00:00.007Z");
    }

    #[test]
    fn zones_and_fractions_are_understood() {
        let noon = ms("2026-07-28T12:00:00Z").unwrap_or_default();
        assert_eq!(ms("2026-07-28T14:00:00+02:00"), Ok(noon));
        assert_eq!(ms("2026-07-28t06:30:00-05:30"), Ok(noon));
        assert_eq!(ms("2026-07-28 12:00:00.5z"), Ok(noon + 500));
        assert_eq!(ms("2026-07-28T12:00:00.0019Z"), Ok(noon + 1));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "2026-07-28",
            "2026-07-28T12:00:00",
            "2026-02-29T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-07-28T24:00:00Z",
            "2026-07-28T12:00:00.Z",
            "2026-7-28T12:00:00Z",
            "2026-07-28T12:00:00+0200",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "+026-07-28T12:00:00Z",
            "2026-07-28T12:00:0éZ",
        ] {
            assert_eq!(ms(text), Err(InvalidTime), "{text}");
        }
    }

    #[test]
    fn days_of_the_week_follow_one_another() {
        for (text, weekday) in [
            ("1970-01-01T23:59:59Z", "thursday"),
            ("2026-07-28T09:30:00Z", "tuesday"),
            ("2000-02-29T00:00:00Z", "tuesday"),
            ("2024-12-01T00:00:00Z", "sunday"),
        ] {
            let civil = text.parse::<Timestamp>().map(Timestamp::civil);
            assert_eq!(civil.map(|civil| civil.weekday), Ok(weekday), "{text}");
        }
    }
}
