//! How a server is reached: Streamable HTTP of every revision, HTTP+SSE, and stdio children.

mod error;
mod event;
pub mod guard;
mod link;
mod server;
mod settings;
mod status;

pub use error::UpstreamError;
pub use event::{Audience, EventKind, ServerEvent};
pub use link::{Exchange, Hello, Incoming, Link, Outbound};
pub use server::Server;
pub use settings::{
    EraChoice, HttpSettings, HttpVersion, Isolation, Limits, ServerSettings, SettingsError, StdioSettings,
    Timeouts, Transport,
};
pub use status::{Counters, Reach, ServerStatus};
