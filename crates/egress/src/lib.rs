//! How the gateway calls out, to whatever is no MCP server: key sets, introspection, exports of the ledger,
//! webhooks, mail, and later call-outs.
//!
//! Where such a call goes may be in the hands of strangers: a document of theirs names the next address. So [`Egress`] never
//! follows a redirect, never connects to an address that is not public unless it is told to, whatever the name was resolved
//! to, takes no proxy from the environment and keeps no cookie; an answer is bounded in size and time.

mod address;
mod client;
mod dial;
mod error;
mod mail;
mod roots;

pub use client::{Answer, Egress, EgressSettings, Posted};
pub use dial::{Dialer, DialerSettings, Wire};
pub use error::EgressError;
pub use mail::{MailError, MailSecurity, MailSettings, Mailer};
pub use roots::trusted;
pub use tollgate_model::is_public;
