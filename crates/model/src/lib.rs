//! The words of Tollgate.
//!
//! Every other crate speaks in these types: revisions of the protocol, names, callers, and refusals. Nothing here
//! does I/O, knows a socket, or depends on an async runtime.

mod address;
mod calendar;
mod caller;
mod case;
mod decision;
mod glob;
mod key;
mod money;
mod name;
mod principal;
mod refusal;
mod revision;
mod secret;
mod server;
mod time;
mod unseen;

pub use address::{Reach, is_public};
pub use calendar::{Civil, InvalidTime};
pub use caller::{Caller, ClientProfile, Owner, PrincipalId, SessionId, TenantId};
pub use case::folded;
pub use decision::{Decision, Judged, Obligations, PolicyRef, RecordLevel};
pub use glob::Glob;
pub use key::{KeyHash, KeyRecord};
pub use money::money;
pub use name::{EndpointName, InvalidName, NAME_BYTES_MAX, ServerName};
pub use principal::{Actor, KeyId, Principal, Proof};
pub use refusal::{Code, CodeRow, Denial, Exceeded, Limited, Refusal, Retry, Source, Stage, Why};
pub use revision::{Era, Revision, UnknownRevision};
pub use secret::Secret;
pub use server::{Holder, Label, ServerId};
pub use time::{Clock, SystemClock, Timestamp};
pub use unseen::{hiding, is_unseen};
