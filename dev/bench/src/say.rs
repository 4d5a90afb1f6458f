//! The one place that prints: results on standard output, the course of things on standard error.

use std::io::Write;

/// A result.
pub(crate) fn line(text: &str) {
    // Whoever closed the output does not want it.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// News of the run.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
