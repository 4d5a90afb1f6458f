//! Between what the client speaks and what the server speaks.
//!
//! Each function takes a message of one side and gives the bytes for the other. Between two peers of one era they
//! change only what the gateway itself owns: ids, progress tokens, names.

mod notification;
mod older;
mod request;
mod response;

pub(crate) use notification::{Hearing, Relay, relay, tick};
pub(crate) use older::fit_info;
pub(crate) use request::{Beside, Round, Target, arguments, own_request, request, responses};
pub(crate) use response::{Answered, array_of, created, resource_uris, response};
