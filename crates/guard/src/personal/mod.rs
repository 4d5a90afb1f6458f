//! Data about persons.

mod checks;
mod code;
mod countries;
mod email;
mod network;
mod number;
mod phone;

pub(crate) use code::{code, company};
pub(crate) use email::email;
pub(crate) use network::{address, colons};
pub(crate) use number::number;
pub(crate) use phone::{international, parenthesis};
