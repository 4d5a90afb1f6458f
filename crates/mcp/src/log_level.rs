//! How severe a log message is (all revisions, logging: the levels of RFC 5424, section 6.2.1).

use std::str::FromStr;

/// A severity, the most verbose first: a client that asks for one gets that and all that are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are the specification's own")]
pub enum LogLevel {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

impl LogLevel {
    /// All levels, the most verbose first.
    pub const ALL: [Self; 8] = [
        Self::Debug,
        Self::Info,
        Self::Notice,
        Self::Warning,
        Self::Error,
        Self::Critical,
        Self::Alert,
        Self::Emergency,
    ];

    /// As it stands in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Alert => "alert",
            Self::Emergency => "emergency",
        }
    }
}

/// The text is no level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoLogLevel;

impl FromStr for LogLevel {
    type Err = NoLogLevel;

    fn from_str(text: &str) -> Result<Self, NoLogLevel> {
        Self::ALL.into_iter().find(|level| level.as_str() == text).ok_or(NoLogLevel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_they_are_written_and_ordered_by_severity() {
        for (place, level) in LogLevel::ALL.into_iter().enumerate() {
            assert_eq!(level.as_str().parse(), Ok(level));
            assert_eq!(level as usize, place);
        }
        assert!(LogLevel::ALL.is_sorted());
        assert_eq!("Info".parse::<LogLevel>(), Err(NoLogLevel));
    }
}
