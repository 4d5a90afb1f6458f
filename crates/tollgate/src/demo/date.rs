//! Dates of the proleptic Gregorian calendar, for the demo's calendar server.

use std::fmt;
use std::str::FromStr;

/// A day between the years 1 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Date {
    year: i64,
    month: i64,
    day: i64,
}

/// The text is not a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotADate;

impl fmt::Display for NotADate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a date is written as 2026-07-28")
    }
}

impl FromStr for Date {
    type Err = NotADate;

    fn from_str(text: &str) -> Result<Self, NotADate> {
        let mut parts = text.split('-').map(str::parse::<i64>);
        let (Some(Ok(year)), Some(Ok(month)), Some(Ok(day)), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotADate);
        };
        let fits = (1..=9999).contains(&year) && (1..=12).contains(&month) && day >= 1;
        if fits && day <= month_days(year, month) { Ok(Self { year, month, day }) } else { Err(NotADate) }
    }
}

impl Date {
    /// Days since 0001-01-01, which was a Monday.
    pub(crate) fn number(self) -> i64 {
        let years = self.year - 1;
        let months: i64 = (1..self.month).map(|month| month_days(self.year, month)).sum();
        years * 365 + years / 4 - years / 100 + years / 400 + months + self.day - 1
    }

    /// The day of the week, in English.
    pub(crate) fn weekday(self) -> &'static str {
        match self.number().rem_euclid(7) {
            0 => "Monday",
            1 => "Tuesday",
            2 => "Wednesday",
            3 => "Thursday",
            4 => "Friday",
            5 => "Saturday",
            _ => "Sunday",
        }
    }
}

fn month_days(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        let date = |text: &str| text.parse::<Date>();
        assert_eq!(date("2026-07-28").map(Date::weekday), Ok("Tuesday"));
        assert_eq!(date("2000-02-29").map(Date::weekday), Ok("Tuesday"));
        let days =
            date("2027-01-01").map(Date::number).unwrap() - date("2026-01-01").map(Date::number).unwrap();
        assert_eq!(days, 365);
        for bad in ["", "2026", "2026-13-01", "2025-02-29", "2026-07-28-1", "x-y-z"] {
            assert_eq!(date(bad), Err(NotADate), "{bad}");
        }
    }
}
