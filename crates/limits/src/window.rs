//! Hours, days and months of a time zone.

use std::fmt;

use jiff::tz::TimeZone;
use jiff::{ToSpan as _, ZonedDateTime};
use tollgate_model::Timestamp;

use crate::rule::Every;

const HOUR_MS: u64 = 3_600_000;

/// A time zone of the IANA database, which comes with the program.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// A stretch of time, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Window {
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
}

impl Zone {
    /// The zone of this name, such as `Europe/Berlin`. None if there is none.
    pub fn named(name: &str) -> Option<Self> {
        TimeZone::get(name).ok().map(Self)
    }

    /// The window in which a moment lies. Where clocks are put back over midnight a day may be over before it is: then it is that
    /// of UTC. At the end of time there is none that ends: it then lasts one millisecond.
    pub(crate) fn window(&self, every: Every, now: Timestamp) -> Window {
        let until = Timestamp::from_ms(now.as_ms().saturating_add(1));
        let has = |window: &Window| window.from <= now && now < window.until;
        let own = self.around(every, now).filter(has);
        own.or_else(|| Self::default().around(every, now)).unwrap_or(Window { from: now, until })
    }

    fn around(&self, every: Every, at: Timestamp) -> Option<Window> {
        let moment = jiff::Timestamp::from_millisecond(i64::try_from(at.as_ms()).ok()?).ok()?;
        let now = moment.to_zoned_datetime(self.0.clone());
        let (from, until) = match every {
            Every::Hour => return Some(hour(at)),
            Every::Day => (now.start_of_day().ok()?, now.tomorrow().ok()?.start_of_day().ok()?),
            Every::Month => {
                let from = now.first_of_month().ok()?.start_of_day().ok()?;
                let until = from.checked_add(1.month()).ok()?.start_of_day().ok()?;
                (from, until)
            }
        };
        Some(Window { from: stamp(&from)?, until: stamp(&until)? })
    }
}

/// The hour of UTC, in all zones: where clocks are put back by half an hour, one of the time of day would end before it is over.
fn hour(now: Timestamp) -> Window {
    let from = now.as_ms() - now.as_ms() % HOUR_MS;
    Window { from: Timestamp::from_ms(from), until: Timestamp::from_ms(from.saturating_add(HOUR_MS)) }
}

fn stamp(moment: &ZonedDateTime) -> Option<Timestamp> {
    u64::try_from(moment.timestamp().as_millisecond()).ok().map(Timestamp::from_ms)
}

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_those_of_the_zone() {
        let named = |name| Zone::named(name).expect("a zone");
        let (utc, berlin) = (Zone::default(), named("Europe/Berlin"));
        let (kolkata, lord_howe) = (named("Asia/Kolkata"), named("Australia/Lord_Howe"));
        assert_eq!(Zone::named("Europe/Nowhere"), None);
        let at = |text: &str| text.parse::<Timestamp>().expect("a moment");
        for (zone, every, now, from, until) in [
            (&utc, Every::Hour, "2026-11-26T01:18:00Z", "2026-11-26T01:00:00Z", "2026-11-26T02:00:00Z"),
            (&utc, Every::Day, "2026-11-26T01:18:00Z", "2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z"),
            (&berlin, Every::Day, "2026-11-25T23:30:00Z", "2026-11-25T23:00:00Z", "2026-11-26T23:00:00Z"),
            (&berlin, Every::Month, "2026-11-30T23:30:00Z", "2026-11-30T23:00:00Z", "2026-12-31T23:00:00Z"),
            // Clocks are put forward: the day has 23 hours.
            (&berlin, Every::Day, "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            (&berlin, Every::Month, "2026-03-10T12:00:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"),
            // Hours are those of UTC, also where the time of day differs by half an hour, and where clocks are put back by that.
            (&kolkata, Every::Hour, "2026-11-26T01:18:00Z", "2026-11-26T01:00:00Z", "2026-11-26T02:00:00Z"),
            (&lord_howe, Every::Hour, "2027-04-03T15:15:00Z", "2027-04-03T15:00:00Z", "2027-04-03T16:00:00Z"),
        ] {
            let window = zone.window(every, at(now));
            assert_eq!(window, Window { from: at(from), until: at(until) }, "{zone:?} {every:?} {now}");
        }
    }

    /// A window that does not have its moment would be asked for again and again.
    #[test]
    fn every_moment_is_in_its_window() {
        for (zone, from) in [
            ("Australia/Lord_Howe", "2027-04-03T00:00:00Z"),
            ("Australia/Lord_Howe", "2027-10-02T00:00:00Z"),
            ("America/Havana", "2027-11-06T12:00:00Z"),
            ("Asia/Beirut", "2027-03-27T12:00:00Z"),
            ("America/St_Johns", "2010-11-06T12:00:00Z"),
            ("Pacific/Apia", "2011-12-29T12:00:00Z"),
        ] {
            let from = from.parse::<Timestamp>().expect("a moment").as_ms();
            for minutes in 0..2 * 24 * 60 {
                let now = Timestamp::from_ms(from + minutes * 60_000);
                for every in [Every::Hour, Every::Day, Every::Month] {
                    let window = Zone::named(zone).expect("a zone").window(every, now);
                    assert!(window.from <= now && now < window.until, "{zone} {every:?} {now:?} {window:?}");
                }
            }
        }
    }
}
