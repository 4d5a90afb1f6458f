//! What is asked of policy.

use std::net::IpAddr;

use tollgate_mcp::Span;
use tollgate_model::{Era, ServerName, Timestamp};

/// The circumstances of a request: `context.env`.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// When.
    pub now: Timestamp,
    /// From where; none for a client on standard input.
    pub source: Option<IpAddr>,
    /// At which endpoint; empty for the merged one.
    pub endpoint: &'a str,
    /// In which era the client speaks.
    pub era: Era,
}

/// What a caller wants of a server.
#[derive(Debug, Clone, Copy)]
pub enum What<'a> {
    /// To call a tool.
    Call {
        /// The server's own name of it.
        native: &'a str,
        /// The arguments exactly as they will leave: a whole message, and where in it they are. None is no arguments.
        arguments: Option<(&'a [u8], Span)>,
    },
    /// To read, or hear of changes of, a resource.
    Read {
        /// The server's own URI of it.
        uri: &'a str,
    },
    /// To get a prompt.
    Get {
        /// The server's own name of it.
        native: &'a str,
        /// The arguments, all of them texts.
        arguments: Option<(&'a [u8], Span)>,
    },
}

/// One question.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The server that would carry it out.
    pub server: &'a ServerName,
    /// What.
    pub what: What<'a>,
    /// The circumstances.
    pub scene: Scene<'a>,
}
