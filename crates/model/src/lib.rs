//! The words of Tollgate.
//!
//! Every other crate speaks in these types: revisions of the protocol, names, callers, and refusals. Nothing here
//! does I/O, knows a socket, or depends on an async runtime.

mod caller;
mod name;
mod refusal;
mod revision;
mod secret;

pub use caller::{Caller, ClientProfile, Owner, PrincipalId, SessionId, TenantId};
pub use name::{EndpointName, InvalidName, NAME_BYTES_MAX, ServerName};
pub use refusal::{Code, CodeRow, Refusal, Retry, Source, Stage};
pub use revision::{Era, Revision, UnknownRevision};
pub use secret::Secret;
