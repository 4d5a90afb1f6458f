//! How long operations of MCP take: `mcp.server.operation.duration` for what clients ask of the gateway,
//! `mcp.client.operation.duration` for what the gateway asks of servers, with the attributes and buckets of the GenAI semantic
//! conventions (`docs/gen-ai/mcp.md` of open-telemetry/semantic-conventions-genai).

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::Duration;

use crate::metrics::{Distribution, Kind, Metrics, Point, Value};

/// What the conventions advise, in seconds.
const BOUNDS: [f64; 14] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// How many series each of the two has; what comes beyond is counted together, marked as the OpenTelemetry
/// specification says (`otel.metric.overflow`).
const SERIES_MAX: usize = 2000;
/// How many names of tools and prompts each has; later ones are counted as [`OTHER_NAME`].
const NAMES_MAX: usize = 1000;

/// Stands for a tool or prompt that no list has shown, or one too many.
pub const OTHER_NAME: &str = "_other";
/// Stands for a method or an error that is not known.
pub const OTHER: &str = "_OTHER";

/// By what a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP.
    Http,
    /// Standard input and output.
    Stdio,
}

/// One operation, in the conventions' words. Every text is one of few: whoever fills it sees to that, and what it misses is
/// bounded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Operation<'a> {
    /// `mcp.method.name`: a method that is known, or [`OTHER`].
    pub method: &'a str,
    /// `gen_ai.tool.name`: one that a list has shown, or [`OTHER_NAME`].
    pub tool: Option<&'a str>,
    /// `gen_ai.prompt.name`: likewise.
    pub prompt: Option<&'a str>,
    /// `error.type`.
    pub error: Option<&'a str>,
    /// `rpc.response.status_code`: the code of the JSON-RPC error.
    pub code: Option<i64>,
    /// `mcp.protocol.version`.
    pub revision: &'a str,
    /// `network.transport` and `network.protocol.name`.
    pub transport: Transport,
    /// `tollgate.server`: the server that is asked, by its name.
    pub server: Option<&'a str>,
}

/// The series of one histogram.
#[derive(Debug)]
pub(crate) struct Durations {
    hasher: RandomState,
    series: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By the hash of what they are of.
    series: HashMap<u64, Vec<(Key, Arc<Histogram>)>>,
    count: usize,
    names: HashSet<Box<str>>,
    overflow: Option<Arc<Histogram>>,
}

#[derive(Debug)]
struct Key {
    method: Box<str>,
    tool: Option<Box<str>>,
    prompt: Option<Box<str>>,
    error: Option<Box<str>>,
    code: Option<i64>,
    revision: Box<str>,
    transport: Transport,
    server: Option<Box<str>>,
}

#[derive(Debug, Default)]
struct Histogram {
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_us: AtomicU64,
}

/// What clients ask of the gateway.
pub(crate) static SERVED: LazyLock<Durations> = LazyLock::new(Durations::new);
/// What the gateway asks of servers.
pub(crate) static ASKED: LazyLock<Durations> = LazyLock::new(Durations::new);

impl Durations {
    fn new() -> Self {
        Self { hasher: RandomState::new(), series: RwLock::default() }
    }

    /// Counts one operation.
    pub(crate) fn count(&self, operation: &Operation<'_>, took: Duration) {
        let hash = self.hasher.hash_one(operation);
        let known = {
            let known = self.series.read().unwrap_or_else(PoisonError::into_inner);
            known.find(hash, operation).cloned()
        };
        known.unwrap_or_else(|| self.add(operation)).count(took);
    }

    fn add(&self, operation: &Operation<'_>) -> Arc<Histogram> {
        let mut known = self.series.write().unwrap_or_else(PoisonError::into_inner);
        let mut operation = *operation;
        for name in [&mut operation.tool, &mut operation.prompt] {
            *name = name.map(|name| known.name(name));
        }
        let hash = self.hasher.hash_one(operation);
        if let Some(histogram) = known.find(hash, &operation) {
            return Arc::clone(histogram);
        }
        if known.count >= SERIES_MAX {
            return Arc::clone(known.overflow.get_or_insert_default());
        }
        let histogram = Arc::<Histogram>::default();
        known.count += 1;
        known.series.entry(hash).or_default().push((Key::of(&operation), Arc::clone(&histogram)));
        histogram
    }

    fn write(&self, metrics: &mut Metrics) {
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner);
        let mut points: Vec<Point> = known
            .series
            .values()
            .flatten()
            .map(|(key, histogram)| Point {
                labels: key.labels(),
                value: Value::Distribution(histogram.distribution()),
            })
            .collect();
        points.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        let overflow = known.overflow.iter().map(|histogram| Point {
            labels: vec![
                (Cow::Borrowed("mcp.method.name"), OTHER.to_owned()),
                (Cow::Borrowed("otel.metric.overflow"), "true".to_owned()),
            ],
            value: Value::Distribution(histogram.distribution()),
        });
        for point in points.into_iter().chain(overflow) {
            metrics.point(point);
        }
    }
}

impl Known {
    fn find(&self, hash: u64, operation: &Operation<'_>) -> Option<&Arc<Histogram>> {
        let same = |(key, _): &&(Key, _)| key.borrowed() == *operation;
        self.series.get(&hash)?.iter().find(same).map(|(_, histogram)| histogram)
    }

    /// The name, if there is room for it.
    fn name<'a>(&mut self, name: &'a str) -> &'a str {
        if self.names.contains(name) {
            return name;
        }
        if self.names.len() >= NAMES_MAX {
            return OTHER_NAME;
        }
        self.names.insert(name.into());
        name
    }
}

impl Key {
    fn of(operation: &Operation<'_>) -> Self {
        Self {
            method: operation.method.into(),
            tool: operation.tool.map(Into::into),
            prompt: operation.prompt.map(Into::into),
            error: operation.error.map(Into::into),
            code: operation.code,
            revision: operation.revision.into(),
            transport: operation.transport,
            server: operation.server.map(Into::into),
        }
    }

    fn borrowed(&self) -> Operation<'_> {
        Operation {
            method: &self.method,
            tool: self.tool.as_deref(),
            prompt: self.prompt.as_deref(),
            error: self.error.as_deref(),
            code: self.code,
            revision: &self.revision,
            transport: self.transport,
            server: self.server.as_deref(),
        }
    }

    fn labels(&self) -> Vec<(Cow<'static, str>, String)> {
        let attributes = self.borrowed().attributes();
        attributes.map(|(key, text)| (Cow::Borrowed(key), text.into_owned())).collect()
    }
}

impl<'a> Operation<'a> {
    /// The attributes that spans and metrics have in common.
    pub(crate) fn attributes(self) -> impl Iterator<Item = (&'static str, Cow<'a, str>)> {
        let (transport, protocol) = match self.transport {
            Transport::Http => ("tcp", Some("http")),
            Transport::Stdio => ("pipe", None),
        };
        let borrowed = |text: Option<&'a str>| text.map(Cow::Borrowed);
        [
            ("mcp.method.name", Some(Cow::Borrowed(self.method))),
            ("gen_ai.operation.name", borrowed(self.tool.map(|_| "execute_tool"))),
            ("gen_ai.tool.name", borrowed(self.tool)),
            ("gen_ai.prompt.name", borrowed(self.prompt)),
            ("error.type", borrowed(self.error)),
            ("rpc.response.status_code", self.code.map(|code| Cow::Owned(code.to_string()))),
            ("mcp.protocol.version", borrowed(Some(self.revision).filter(|text| !text.is_empty()))),
            ("network.transport", borrowed(Some(transport))),
            ("network.protocol.name", borrowed(protocol)),
            ("tollgate.server", borrowed(self.server)),
        ]
        .into_iter()
        .filter_map(|(key, text)| Some((key, text?)))
    }
}

impl Histogram {
    fn count(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(0), Ordering::Relaxed);
    }

    fn distribution(&self) -> Distribution {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let sum = Duration::from_micros(self.sum_us.load(Ordering::Relaxed)).as_secs_f64();
        Distribution { bounds: &BOUNDS, counts, sum }
    }
}

/// Writes both.
pub(crate) fn write(metrics: &mut Metrics) {
    let (name, instrument) = ("mcp_server_operation_duration_seconds", "mcp.server.operation.duration");
    let help = "How long clients' requests took, from their first byte to the reply.";
    metrics.named(name, (instrument, "s"), Kind::Histogram, help);
    SERVED.write(metrics);
    let (name, instrument) = ("mcp_client_operation_duration_seconds", "mcp.client.operation.duration");
    let help = "How long servers took to answer.";
    metrics.named(name, (instrument, "s"), Kind::Histogram, help);
    ASKED.write(metrics);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call<'a>(tool: &'a str, revision: &'a str) -> Operation<'a> {
        Operation {
            method: "tools/call",
            tool: Some(tool),
            prompt: None,
            error: None,
            code: None,
            revision,
            transport: Transport::Http,
            server: None,
        }
    }

    fn points(durations: &Durations) -> Vec<Point> {
        let mut metrics = Metrics::default();
        metrics.named("d_seconds", ("d", "s"), Kind::Histogram, "D.");
        durations.write(&mut metrics);
        metrics.into_families().remove(0).points
    }

    fn counted(point: &Point) -> u64 {
        match &point.value {
            Value::Distribution(values) => values.counts.iter().sum(),
            Value::Number(_) => 0,
        }
    }

    #[test]
    fn equal_operations_are_one_series() {
        let durations = Durations::new();
        for ms in [10, 11, 400_000] {
            durations.count(&call("a", "2026-07-28"), Duration::from_millis(ms));
        }
        durations.count(&Operation { error: Some("tool_error"), ..call("a", "2026-07-28") }, Duration::ZERO);
        let points = points(&durations);
        assert_eq!(points.iter().map(counted).collect::<Vec<_>>(), [1, 3]);
        let Value::Distribution(values) = &points[1].value else { panic!("{points:?}") };
        assert_eq!((values.counts[0], values.counts[1], values.counts[14]), (1, 1, 1));
        assert!((values.sum - 400.021).abs() < 0.000_1, "{}", values.sum);
    }

    #[test]
    fn whatever_comes_there_are_only_so_many_series() {
        let durations = Durations::new();
        let total = (NAMES_MAX + 500) * 3;
        for nth in 0..NAMES_MAX + 500 {
            for revision in ["1", "2", "3"] {
                durations.count(&call(&format!("tool{nth}"), revision), Duration::from_millis(1));
            }
        }
        let points = points(&durations);
        assert_eq!(points.len(), SERIES_MAX + 1);
        assert_eq!(points.iter().map(counted).sum::<u64>(), total as u64, "none is lost");
        let tools: HashSet<_> = points
            .iter()
            .flat_map(|point| &point.labels)
            .filter(|(key, _)| key == "gen_ai.tool.name")
            .collect();
        assert!(tools.len() <= NAMES_MAX + 1, "{}", tools.len());
        assert!(points.last().expect("a point").labels.iter().any(|(key, _)| key == "otel.metric.overflow"));
    }
}
