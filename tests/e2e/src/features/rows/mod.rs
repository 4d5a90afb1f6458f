//! The rows: what each feature is, what a pair must come to, and how that is shown.

mod asking;
mod changing;
mod long;
mod plain;
mod shapes;

use serde_json::Value;

use super::{Expected, Feature, Ground, Pair, Proof, Proving, Transport, Verdict, Way};
use crate::clients::Library;

const MODERN: [Library; 4] = [Library::TypeScriptV2, Library::PythonV2, Library::Rmcp, Library::FastMcp];
const LEGACY: [Library; 5] =
    [Library::TypeScriptV1, Library::PythonV1, Library::Rmcp, Library::TypeScriptV2, Library::PythonV2];

/// Libraries for what all of them can do.
fn any(way: Way) -> &'static [Library] {
    match (way.is_modern(), way.transport) {
        (true, _) => &MODERN,
        // The Rust SDK has no HTTP+SSE.
        (false, Transport::Sse) => &[Library::TypeScriptV1, Library::PythonV1, Library::PythonV2],
        (false, _) => &LEGACY,
    }
}

/// Libraries that can subscribe; FastMCP has no call for it.
fn listeners(way: Way) -> &'static [Library] {
    if way.is_modern() { &MODERN[..3] } else { any(way) }
}

/// Libraries that run a tool as a task: in the modern era the Rust SDK, in the legacy one those of their time.
fn taskers(way: Way) -> &'static [Library] {
    if way.is_modern() { &[Library::Rmcp] } else { &[Library::TypeScriptV1, Library::PythonV1] }
}

fn works(_: Pair) -> Expected {
    Expected::Works
}

/// A row that is shown by jobs, and that works everywhere.
fn row(title: &'static str, job: fn(Pair) -> Value, judge: fn(Pair, &Value) -> Verdict) -> Feature {
    Feature {
        title,
        expected: works,
        absent: "",
        proof: Proof::Job { by: any, job, judge },
        python: true,
        alone: false,
    }
}

/// A row that is shown by raw peers.
fn raw_row(
    title: &'static str,
    expected: fn(Pair) -> Expected,
    absent: &'static str,
    proof: for<'a> fn(&'a Ground, Pair) -> Proving<'a>,
) -> Feature {
    Feature { title, expected, absent, proof: Proof::Raw(proof), python: true, alone: false }
}

impl Feature {
    fn by(mut self, by: fn(Way) -> &'static [Library]) -> Self {
        if let Proof::Job { job, judge, .. } = self.proof {
            self.proof = Proof::Job { by, job, judge };
        }
        self
    }

    fn expects(mut self, expected: fn(Pair) -> Expected, absent: &'static str) -> Self {
        self.expected = expected;
        self.absent = absent;
        self
    }

    fn only_typescript(mut self) -> Self {
        self.python = false;
        self
    }

    fn alone(mut self) -> Self {
        self.alone = true;
        self
    }
}

/// All rows, in the order of the page.
pub fn features() -> Vec<Feature> {
    let mut rows = plain::rows();
    rows.extend(asking::rows());
    rows.extend(changing::rows());
    rows.extend(long::rows());
    rows.extend(shapes::rows());
    rows
}
