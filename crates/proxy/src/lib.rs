//! The life of a request: downstream transports, sessions, and the stages in order.
//!
//! [`serve_http`] and [`serve_stdio`] take clients' messages in. Each request goes through `life::answer`, which names
//! the stages from top to bottom; each stage hands the next a value that only it can make.

mod again;
mod alerts;
mod approving;
mod aside;
mod blocking;
mod bridge;
mod cache;
mod connections;
mod downstream;
mod gateway;
mod handling;
mod hello;
mod in_flight;
mod inbound;
mod index;
mod input;
mod learnt;
mod life;
mod lists;
mod load;
mod logging;
mod mailbox;
mod mirror;
mod names;
mod onward;
mod outsiders;
mod pinning;
mod places;
mod policing;
mod refuse;
mod replay;
mod reply;
mod resource;
mod roots;
mod schemas;
mod seal;
mod session;
mod settings;
mod setup;
mod shares;
mod signed;
mod sizes;
mod snapshot;
mod stages;
mod standing;
mod subscriptions;
mod tasks;

pub use approving::{Tell, TellBody, TellWay};
pub use aside::AsideSettings;
pub use cache::{CacheSettings, ServerCache};
pub use downstream::{Body, Peer, StdioError, serve_http, serve_stdio};
pub use gateway::{Gateway, Overview};
pub use handling::{Handling, ToolHandling};
pub use load::LoadSettings;
pub use pinning::{FirstUse, LiveServer, OnChange, PinSettings, ServerPins};
pub use policing::{CompiledPolicies, PolicySettings};
pub use schemas::{SchemaMode, SchemaSettings, UnknownMembers};
pub use seal::NoRandomness;
pub use settings::{Cidr, ProxySettings, ResumeSettings, Unwritable};
pub use setup::{Setup, TenantSetup};
pub use sizes::{SizeSettings, WhenLarger};
pub use snapshot::GatewayError;
pub use tasks::TaskSettings;
