//! How a command ends.

use std::process::ExitCode;

/// Why a command failed, and the exit code that says so. `--help` lists the codes.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: Exit,
    /// What to tell the person who typed the command; may have several lines.
    pub(crate) text: String,
}

/// The exit codes other than success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Something failed while running.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The other side cannot be reached, or does not answer as MCP (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// The tool was called and said that it failed.
    ToolFailed = 70,
    /// The configuration is wrong (`EX_CONFIG`).
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Failure {
    /// Something failed while running.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self { code: Exit::Failed, text: text.into() }
    }

    /// The command line is wrong.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { code: Exit::Usage, text: text.into() }
    }

    /// The other side cannot be reached.
    pub(crate) fn unavailable(text: impl Into<String>) -> Self {
        Self { code: Exit::Unavailable, text: text.into() }
    }

    /// The tool said that it failed.
    pub(crate) fn tool(text: impl Into<String>) -> Self {
        Self { code: Exit::ToolFailed, text: text.into() }
    }

    /// The configuration is wrong.
    pub(crate) fn config(text: impl Into<String>) -> Self {
        Self { code: Exit::Config, text: text.into() }
    }
}
