//! Setting the log up, once per process.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, Registry};

use crate::export::Exported;
use crate::line::Lines;
use crate::writer::{LineWriter, LogGuard};

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people; coloured on a terminal.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

impl FromStr for Format {
    type Err = InitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err(InitError::Format),
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// How a line looks.
    pub format: Format,
    /// A level (`error`, `warn`, `info`, `debug`, `trace`, `off`), or levels by part of the program, as in
    /// `warn,tollgate_upstream=debug`.
    pub filter: String,
    /// Whether lines for people may be coloured. Colours are used on a terminal only.
    pub colour: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: Format::Human, filter: "info".to_owned(), colour: true }
    }
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter is not a level, nor a list of `target=level`.
    #[error("{0:?} is not a log level (error, warn, info, debug, trace, off), nor a list of target=level")]
    Filter(String),
    /// The format is unknown.
    #[error("the log format is either human or json")]
    Format,
    /// The log's thread did not start.
    #[error("the log could not be started: {0}")]
    Thread(std::io::Error),
    /// The log was set up before in this process.
    #[error("the log is set up already")]
    Twice,
}

/// Starts logging to standard error. Keep the guard until the process ends: it flushes what is still waiting.
///
/// # Errors
/// A filter that cannot be read, or a second call in one process.
pub fn init(settings: &LogSettings) -> Result<LogGuard, InitError> {
    let filter = filter(&settings.filter).ok_or_else(|| InitError::Filter(settings.filter.clone()))?;
    let writer = LineWriter::start(std::io::stderr()).map_err(InitError::Thread)?;
    let colour = settings.colour && std::io::stderr().is_terminal();
    let lines = Lines { format: settings.format, colour, writer: writer.clone() };
    let subscriber = Registry::default().with(lines.and_then(Exported).with_filter(filter));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| InitError::Twice)?;
    Ok(LogGuard(writer))
}

/// What is logged. A lone word that is no level is a mistyped one, not a part of the program: taken for that, it would have all
/// else fall silent.
fn filter(text: &str) -> Option<Targets> {
    let is_meant = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
    text.split(',').all(is_meant).then(|| Targets::from_str(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn a_mistyped_level_is_refused() {
        for good in ["info", "WARN", "off", "warn,tollgate_upstream=debug", "tollgate_proxy=trace"] {
            assert!(filter(good).is_some(), "{good}");
        }
        for bad in ["debgu", "warn,debgu", "a=b=c", "tollgate_proxy=loud"] {
            assert!(filter(bad).is_none(), "{bad}");
        }
    }
}
