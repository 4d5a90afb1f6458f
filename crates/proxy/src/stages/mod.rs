//! The stages of a request's life, one module each. Each gives the next a value that only it can make, so that a
//! stage left out does not compile.

pub(crate) mod approve;
pub(crate) mod block;
pub(crate) mod dispatch;
pub(crate) mod guard;
pub(crate) mod identify;
pub(crate) mod limits;
pub(crate) mod outside;
pub(crate) mod pins;
pub(crate) mod policy;
pub(crate) mod record;
pub(crate) mod resolve;
pub(crate) mod route;
pub(crate) mod schema;
pub(crate) mod scopes;
pub(crate) mod size;
pub(crate) mod watch;

pub(crate) use identify::Identified;
pub(crate) use limits::Admitted;
pub(crate) use policy::Permit;
pub(crate) use resolve::Resolved;
pub(crate) use route::Route;
