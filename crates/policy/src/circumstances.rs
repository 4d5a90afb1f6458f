//! `context.env`: the circumstances of a request as Cedar values.

use std::net::IpAddr;

use cedar_policy::RestrictedExpression;
use tollgate_model::{Era, Timestamp};

use crate::Scene;
use crate::quick::Plain;
use crate::text::quoted;
use crate::uses::env;

const DAY_MS: u64 = 86_400_000;
const WEEKDAYS: [&str; 7] = ["thursday", "friday", "saturday", "sunday", "monday", "tuesday", "wednesday"];

/// The members of `context.env` that are wanted.
pub(crate) fn record(scene: &Scene<'_>, environment: Option<&str>, wanted: u16) -> RestrictedExpression {
    let mut pairs: Vec<(String, RestrictedExpression)> = Vec::new();
    let mut add = |bit: u16, name: &str, value: &dyn Fn() -> Option<RestrictedExpression>| {
        if wanted & bit != 0 {
            pairs.extend(value().map(|value| (name.to_owned(), value)));
        }
    };
    let single = |bit| plain(scene, environment, bit).map(expression);
    add(env::NOW, "now", &|| Some(RestrictedExpression::new_datetime(datetime(scene.now))));
    add(env::HOUR, "hour", &|| single(env::HOUR));
    add(env::MINUTE, "minute", &|| single(env::MINUTE));
    add(env::WEEKDAY, "weekday", &|| single(env::WEEKDAY));
    add(env::SOURCE, "source", &|| scene.source.map(|source| RestrictedExpression::new_ip(address(source))));
    add(env::ENVIRONMENT, "environment", &|| single(env::ENVIRONMENT));
    add(env::ENDPOINT, "endpoint", &|| single(env::ENDPOINT));
    add(env::ERA, "era", &|| single(env::ERA));
    // It fails only on names that stand twice.
    RestrictedExpression::new_record(pairs).unwrap_or_else(|_| RestrictedExpression::new_bool(false))
}

/// Whether a member is a text or a whole number.
pub(crate) fn is_plain(bit: u16) -> bool {
    const PLAIN: [u16; 6] = [env::HOUR, env::MINUTE, env::WEEKDAY, env::ENVIRONMENT, env::ENDPOINT, env::ERA];
    PLAIN.contains(&bit)
}

/// A member that is one; none if it is not there.
pub(crate) fn plain<'a>(scene: &Scene<'a>, environment: Option<&'a str>, bit: u16) -> Option<Plain<'a>> {
    let long = |value: u64| i64::try_from(value).ok().map(Plain::Long);
    let day = scene.now.as_ms() % DAY_MS;
    match bit {
        env::HOUR => long(day / 3_600_000),
        env::MINUTE => long(day / 60_000 % 60),
        env::WEEKDAY => Some(Plain::Text(weekday(scene.now))),
        env::ENVIRONMENT => environment.map(Plain::Text),
        env::ENDPOINT => Some(Plain::Text(scene.endpoint)),
        env::ERA => Some(Plain::Text(era(scene.era))),
        _ => None,
    }
}

fn expression(value: Plain<'_>) -> RestrictedExpression {
    match value {
        Plain::Text(text) => RestrictedExpression::new_string(text.to_owned()),
        Plain::Long(value) => RestrictedExpression::new_long(value),
        Plain::Bool(value) => RestrictedExpression::new_bool(value),
    }
}

/// The wanted members by name, as policies would write their values.
pub(crate) fn shown(
    scene: &Scene<'_>,
    environment: Option<&str>,
    wanted: u16,
) -> Vec<(&'static str, Option<String>)> {
    let day = scene.now.as_ms() % DAY_MS;
    let text = |text: &str| Some(quoted(text));
    let all = [
        (env::NOW, "now", text(&datetime(scene.now))),
        (env::HOUR, "hour", Some((day / 3_600_000).to_string())),
        (env::MINUTE, "minute", Some((day / 60_000 % 60).to_string())),
        (env::WEEKDAY, "weekday", text(weekday(scene.now))),
        (env::SOURCE, "source", scene.source.map(address)),
        (env::ENVIRONMENT, "environment", environment.and_then(text)),
        (env::ENDPOINT, "endpoint", text(scene.endpoint)),
        (env::ERA, "era", text(era(scene.era))),
    ];
    let wanted = all.into_iter().filter(|(bit, ..)| wanted & bit != 0);
    wanted.map(|(_, name, value)| (name, value)).collect()
}

/// The wanted members as text: the same where all of them are.
pub(crate) fn fingerprint(scene: &Scene<'_>, wanted: u16) -> String {
    let day = scene.now.as_ms() % DAY_MS;
    let mut parts = Vec::new();
    let mut add = |bit: u16, value: String| {
        if wanted & bit != 0 {
            parts.push(value);
        }
    };
    add(env::NOW, scene.now.as_ms().to_string());
    add(env::HOUR, (day / 3_600_000).to_string());
    add(env::MINUTE, (day / 60_000 % 60).to_string());
    add(env::WEEKDAY, weekday(scene.now).to_owned());
    add(env::SOURCE, scene.source.map(address).unwrap_or_default());
    add(env::ENDPOINT, scene.endpoint.to_owned());
    add(env::ERA, era(scene.era).to_owned());
    parts.join(" ")
}

fn era(era: Era) -> &'static str {
    match era {
        Era::Legacy => "legacy",
        Era::Modern => "modern",
    }
}

/// An address as policies write it: one of IPv4 that came over IPv6 is one of IPv4.
fn address(source: IpAddr) -> String {
    source.to_canonical().to_string()
}

fn weekday(now: Timestamp) -> &'static str {
    let day = usize::try_from(now.as_ms() / DAY_MS % 7).unwrap_or_default();
    WEEKDAYS.get(day).copied().unwrap_or_default()
}

/// A point in time as Cedar reads it.
pub(crate) fn datetime(now: Timestamp) -> String {
    let (days, ms) = (now.as_ms() / DAY_MS, now.as_ms() % DAY_MS);
    let (year, month, day) = date(days);
    let (hour, minute, second, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// The date so many days after 1970-01-01. Years are taken to begin in March, so that the odd day is the last one.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time_are_read_from_the_calendar() {
        for (ms, text, day) in [
            (0, "1970-01-01T00:00:00.000Z", "thursday"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z", "monday"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z", "tuesday"),
            (1_764_093_194_000, "2025-11-25T17:53:14.000Z", "tuesday"),
            (4_102_444_799_000, "2099-12-31T23:59:59.000Z", "thursday"),
        ] {
            let now = Timestamp::from_ms(ms);
            assert_eq!((datetime(now).as_str(), weekday(now)), (text, day));
        }
    }
}
