//! Metrics on their way out: the same families as a text for Prometheus and as messages of OTLP.
//!
//! A family is known by two names that follow from each other as the OpenTelemetry specification maps them: whoever
//! scrapes, and whoever has a collector write to Prometheus, finds the same series.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A family of metrics being written, and all before it.
#[derive(Debug, Default)]
pub struct Metrics {
    families: Vec<Family>,
}

#[derive(Debug)]
pub(crate) struct Family {
    /// As Prometheus knows it.
    pub(crate) name: Cow<'static, str>,
    /// As OpenTelemetry knows it.
    pub(crate) instrument: String,
    pub(crate) unit: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: Cow<'static, str>,
    pub(crate) points: Vec<Point>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug)]
pub(crate) struct Point {
    /// Keys as OpenTelemetry writes them: with dots, where the conventions have them.
    pub(crate) labels: Vec<(Cow<'static, str>, String)>,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Number(Number),
    Distribution(Distribution),
}

/// A number, whole or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole one.
    Whole(i64),
    /// Any.
    Real(f64),
}

/// How often values fell where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Distribution {
    pub(crate) bounds: &'static [f64],
    /// By bucket, not summed up; one more than there are bounds.
    pub(crate) counts: Vec<u64>,
    pub(crate) sum: f64,
}

macro_rules! whole {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Number {
            fn from(number: $kind) -> Self {
                Self::Whole(i64::try_from(number).unwrap_or(i64::MAX))
            }
        }
        impl From<&$kind> for Number {
            fn from(number: &$kind) -> Self {
                Self::from(*number)
            }
        }
    )*};
}
whole!(u8, u16, u32, u64, u128, usize, i32, i64);

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(number) => write!(f, "{number}"),
            Self::Real(number) => write!(f, "{number}"),
        }
    }
}

impl Metrics {
    /// Begins a family by its name in Prometheus: its type (`counter` or `gauge`) and its help. What ends in `_total`,
    /// `_seconds` or `_bytes` is called without it by OpenTelemetry, which knows units apart, with a dot after the first
    /// word.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        let kind = if kind == "counter" { Kind::Counter } else { Kind::Gauge };
        let rest = name.strip_suffix("_total").filter(|_| kind == Kind::Counter).unwrap_or(name);
        let (rest, unit) = match (rest.strip_suffix("_seconds"), rest.strip_suffix("_bytes")) {
            (Some(rest), _) => (rest, "s"),
            (_, Some(rest)) => (rest, "By"),
            _ => (rest, ""),
        };
        self.begin(Cow::Owned(name.to_owned()), rest.replacen('_', ".", 1), unit, kind, help.to_owned());
    }

    /// Begins a family that the semantic conventions name otherwise than Prometheus does.
    pub(crate) fn named(
        &mut self,
        name: &'static str,
        (instrument, unit): (&str, &'static str),
        kind: Kind,
        help: &'static str,
    ) {
        self.begin(Cow::Borrowed(name), instrument.to_owned(), unit, kind, help);
    }

    fn begin(
        &mut self,
        name: Cow<'static, str>,
        instrument: String,
        unit: &'static str,
        kind: Kind,
        help: impl Into<Cow<'static, str>>,
    ) {
        self.families.push(Family { name, instrument, unit, kind, help: help.into(), points: Vec::new() });
    }

    /// One number of the family begun last. Label values are escaped here.
    pub fn number(&mut self, name: &str, labels: &[(&str, &str)], value: impl Into<Number>) {
        let labels = labels.iter().map(|(key, text)| (Cow::Owned((*key).to_owned()), (*text).to_owned()));
        let (labels, value) = (labels.collect(), Value::Number(value.into()));
        debug_assert!(self.families.last().is_some_and(|family| family.name == name), "{name} was not begun");
        self.point(Point { labels, value });
    }

    pub(crate) fn point(&mut self, point: Point) {
        if let Some(family) = self.families.last_mut() {
            family.points.push(point);
        }
    }

    pub(crate) fn into_families(self) -> Vec<Family> {
        self.families
    }

    /// The text that Prometheus reads (exposition format 0.0.4).
    pub fn into_text(self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        for family in self.families {
            let Family { name, help, points, .. } = family;
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for Point { labels, value } in points {
                match value {
                    Value::Number(number) => line(&mut text, &name, "", &labels, None, number),
                    Value::Distribution(values) => distribution(&mut text, &name, &labels, &values),
                }
            }
        }
        text
    }
}

fn distribution(
    text: &mut String,
    name: &str,
    labels: &[(Cow<'static, str>, String)],
    values: &Distribution,
) {
    let mut below = 0;
    for (nth, count) in values.counts.iter().enumerate() {
        below += count;
        let bound = values.bounds.get(nth).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
        line(text, name, "_bucket", labels, Some(&bound), below.into());
    }
    line(text, name, "_sum", labels, None, values.sum.into());
    line(text, name, "_count", labels, None, below.into());
}

fn line(
    text: &mut String,
    name: &str,
    suffix: &str,
    labels: &[(Cow<'static, str>, String)],
    bound: Option<&str>,
    value: Number,
) {
    let _ = write!(text, "{name}{suffix}");
    let labels = labels.iter().map(|(key, value)| (&**key, value.as_str()));
    let mut open = '{';
    for (key, value) in labels.chain(bound.map(|bound| ("le", bound))) {
        text.push(open);
        open = ',';
        text.extend(key.chars().map(|c| if c == '.' { '_' } else { c }));
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "=\"{value}\"");
    }
    let close = if open == ',' { "}" } else { "" };
    let _ = writeln!(text, "{close} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut metrics = Metrics::default();
        metrics.family("x", "gauge", "An x.");
        metrics.number("x", &[("a", "q\"\\\n"), ("b", "c")], 3);
        let text = metrics.into_text();
        assert_eq!(text, "# HELP x An x.\n# TYPE x gauge\nx{a=\"q\\\"\\\\\\n\",b=\"c\"} 3\n");
    }

    #[test]
    fn buckets_are_summed_up_for_prometheus() {
        let mut metrics = Metrics::default();
        metrics.named("a_b_seconds", ("a.b", "s"), Kind::Histogram, "Ab.");
        let labels = vec![(Cow::Borrowed("m.n"), "v".to_owned())];
        let values = Distribution { bounds: &[0.5, 1.0], counts: vec![1, 0, 2], sum: 4.25 };
        metrics.point(Point { labels, value: Value::Distribution(values) });
        let text = metrics.into_text();
        let expected = [
            "# HELP a_b_seconds Ab.",
            "# TYPE a_b_seconds histogram",
            "a_b_seconds_bucket{m_n=\"v\",le=\"0.5\"} 1",
            "a_b_seconds_bucket{m_n=\"v\",le=\"1\"} 1",
            "a_b_seconds_bucket{m_n=\"v\",le=\"+Inf\"} 3",
            "a_b_seconds_sum{m_n=\"v\"} 4.25",
            "a_b_seconds_count{m_n=\"v\"} 3",
            "",
        ];
        assert_eq!(text, expected.join("\n"));
    }

    #[test]
    fn one_name_follows_from_the_other() {
        let mut metrics = Metrics::default();
        metrics.family("tollgate_log_lines_dropped_total", "counter", "");
        metrics.family("tollgate_store_confirmed_age_seconds", "gauge", "");
        metrics.family("tollgate_ledger_bytes_total", "counter", "");
        let names = metrics.into_families().into_iter().map(|family| (family.instrument, family.unit));
        let expected = [
            ("tollgate.log_lines_dropped", ""),
            ("tollgate.store_confirmed_age", "s"),
            ("tollgate.ledger", "By"),
        ];
        assert!(names.eq(expected.map(|(name, unit)| (name.to_owned(), unit))));
    }
}
