//! What gives access.

mod assigned;
mod key;
mod token;
mod url;

pub(crate) use assigned::{assigned, named};
pub(crate) use key::private_key;
pub(crate) use token::{TOKENS, jwt, scheme, token};
pub(crate) use url::url;
