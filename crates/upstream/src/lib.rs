//! How a server is reached: Streamable HTTP of every revision, HTTP+SSE, and stdio children.
//!
//! A [`Server`] is one configured server. [`Server::open`] gives a caller a [`Link`]: the session, process or
//! stateless origin that may serve it. [`Link::request`] gives an [`Exchange`], whose messages are read one by one and
//! which cancels its request when it is dropped early. All bytes pass as they are; who sends a request has put the
//! link's id into it.

mod appetite;
mod backoff;
mod budget;
mod bulkhead;
mod circuit;
mod comeback;
mod conversation;
mod error;
mod event;
mod exchange;
mod flow;
mod greet;
pub mod guard;
mod hello;
mod http;
mod key;
mod link;
mod listener;
mod loudness;
mod mux;
mod pace;
mod pulse;
mod registry;
mod replica;
mod replicas;
mod replies;
mod seats;
mod server;
mod session;
mod settings;
mod shared;
mod site;
mod slot;
mod sse;
mod status;
mod stdio;
mod strays;
mod stream;
mod watch;

pub use budget::RetryBudget;
pub use bulkhead::{Berth, Bulkhead, Traffic};
pub use error::UpstreamError;
pub use event::{Audience, EventKind, Origin, Question, ServerEvent, URI_BYTES_MAX};
pub use exchange::{Exchange, Incoming};
pub use hello::Hello;
pub use link::{Link, Outbound};
pub use pace::Waits;
pub use replicas::Avoid;
pub use replies::Replies;
pub use server::Server;
pub use settings::{
    CircuitSettings, EraChoice, HealthSettings, HttpSettings, HttpVersion, Isolation, LegacySessions, Limits,
    OutlierSettings, REPLICAS_MAX, ReplicaSettings, RetrySettings, ServerSettings, SettingsError,
    StdioSettings, Timeouts, Transport,
};
pub use status::{Counters, Reach, ReplicaHealth, ReplicaStatus, ServerStatus};
pub use watch::{Interest, Lists, Verdict, Watch};
