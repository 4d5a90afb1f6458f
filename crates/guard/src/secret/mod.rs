//! What gives access.

mod assigned;
mod key;
mod token;
mod url;

pub(crate) use assigned::{assigned, named};
pub(crate) use key::{private_key, putty};
pub(crate) use token::{TOKENS, azure, jwt, marked_within, scheme, telegram, token};
pub(crate) use url::url;
