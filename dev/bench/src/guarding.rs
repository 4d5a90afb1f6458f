//! What guards cost, within one process: clean results of several kinds, beside a plain scan of the same bytes.

mod hostile;

use std::fmt::Write;
use std::hint::black_box;

use bytes::Bytes;
use hdrhistogram::Histogram;
use tollgate_guard::{Action, Guard, Scanner};
use tollgate_mcp::{Span, quote};

use self::hostile::Growth;
use crate::Result;
use crate::deciding::{Line, nanos};

const SMALL: usize = 2 << 10;
const LARGE: usize = 1 << 20;
/// What a result of either size may take.
const AIMS_US: [(usize, f64); 2] = [(SMALL, 10.0), (LARGE, 5_000.0)];

/// What is in the results, repeated.
const KINDS: [(&str, &str, &str); 4] = [
    (
        "prose, 2 KB",
        "prose, 1 MB",
        "The quick brown fox jumps over the lazy dog, and the report of 2026-03-14 says that 1,284 units were sold at 12.50 each. ",
    ),
    (
        "source code, 2 KB",
        "source code, 1 MB",
        "    let total = items.iter().map(|item| item.price * 2).sum::<u64>(); // see issue #4711\n",
    ),
    (
        "log lines, 2 KB",
        "log lines, 1 MB",
        "2026-03-14T09:26:53.589Z INFO request_id=5f2b8c1e9a7d4e3f status=200 path=/api/v1/items/4711 ms=12\n",
    ),
    (
        "rows of JSON in a text, 2 KB",
        "rows of JSON in a text, 1 MB",
        "{\"id\": 4711, \"name\": \"lamp\", \"uuid\": \"550e8400-e29b-41d4-a716-446655440000\", \"price\": 12.5}, ",
    ),
];

/// What was measured.
#[derive(Debug)]
pub(crate) struct Guarding {
    /// Of clean results.
    pub(crate) lines: Vec<Line>,
    /// Of texts that were made to keep guards busy.
    hostile: Vec<Growth>,
}

impl Guarding {
    /// Whether each kind of text takes time in its length alone: the aim, what was found, and whether that is enough.
    pub(crate) fn aims(&self) -> impl Iterator<Item = (String, String, bool)> {
        self.hostile.iter().map(|growth| {
            let most = hostile::RATIO_MAX;
            let aim =
                format!("guard, {}: a byte of 10 MB costs at most {most} times one of 1 MB", growth.what);
            (aim, format!("{:.2} times", growth.ratio()), growth.is_linear())
        })
    }
}

/// Measures everything. The plain scan looks for one byte.
pub(crate) fn measure(is_quick: bool) -> Result<Guarding> {
    Ok(Guarding { lines: clean(is_quick)?, hostile: hostile::measure(is_quick)? })
}

/// Each of these results has to be found clean.
fn clean(is_quick: bool) -> Result<Vec<Line>> {
    let guard = Guard::new(Scanner::default(), 0, |_| Action::Mask, b"key", true);
    let mut lines = Vec::new();
    for (size, aim_us) in AIMS_US {
        let rounds = (if is_quick { 50_000_000 } else { 500_000_000 }) / size;
        for (small, large, unit) in KINDS {
            let mut text = unit.repeat(size / unit.len() + 1);
            text.truncate(size);
            let json = [&b"{\"content\":[{\"type\":\"text\",\"text\":"[..], &quote(&text), b"}]}"].concat();
            let json = Bytes::from(json);
            let what = if size == SMALL { small } else { large };
            let inspect = || -> Result<()> {
                let inspection = guard.inspect(black_box(&json), Span::all(&json), &[], "bench");
                if inspection.is_clean() { Ok(()) } else { Err(format!("{what}: {inspection:?}").into()) }
            };
            lines.push(Line::of(what, &timed(rounds, inspect)?, aim_us));
            if small == KINDS[0].0 {
                let what = if size == SMALL { "a plain scan of 2 KB" } else { "a plain scan of 1 MB" };
                let scan = || -> Result<()> {
                    black_box(memchr::memchr_iter(b'@', black_box(&json)).count());
                    Ok(())
                };
                lines.push(Line::of(what, &timed(rounds, scan)?, aim_us));
            }
        }
    }
    Ok(lines)
}

fn timed(rounds: usize, mut one: impl FnMut() -> Result<()>) -> Result<Histogram<u64>> {
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
    for _ in 0..rounds {
        let began = std::time::Instant::now();
        one()?;
        histogram.record(nanos(began.elapsed()))?;
    }
    Ok(histogram)
}

/// The lines as a table.
pub(crate) fn table(text: &mut String, found: &Guarding) {
    text.push_str(
        "\n## Guards\n\nWithin one process, one thread: a clean result is inspected by all detectors that are on. The plain scan looks \
         for one byte.\n\n| what | p50 µs | p99 µs | MB/s |\n|---|--:|--:|--:|\n",
    );
    for line in &found.lines {
        let bytes = if line.what.ends_with("1 MB") { 1_048_576.0 } else { 2_048.0 };
        let _ = writeln!(
            text,
            "| {} | {:.1} | {:.1} | {:.0} |",
            line.what,
            line.p50_us,
            line.p99_us,
            bytes / line.p50_us
        );
    }
    hostile::table(text, &found.hostile);
}
