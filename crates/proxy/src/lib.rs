//! The life of a request: downstream transports, sessions, and the stages in order.

mod settings;

pub use settings::{Cidr, ProxySettings};
