//! How clients reach the gateway: Streamable HTTP of every revision, HTTP+SSE, and stdio.
//!
//! A transport finds out who sent a message and where to, hands a request to [`crate::life`], and brings the reply
//! back in the way its revision wants.

mod address;
mod batch;
mod body;
mod call;
mod classify;
mod connection;
mod front;
mod headers;
mod intake;
mod limited;
mod metadata;
mod registry;
mod resume;
mod sse;
mod stdio;
mod streamable;
mod taken;

pub use address::Peer;
pub use body::Body;
pub(crate) use connection::Connection;
pub use front::serve_http;
pub use stdio::{StdioError, serve_stdio};
