//! `tollgate demo`: a gateway in front of two small servers, called in both eras.

pub(crate) mod calendar;
pub(crate) mod date;
pub(crate) mod notes;
