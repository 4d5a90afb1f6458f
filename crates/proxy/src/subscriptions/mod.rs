//! Who hears of which change: `subscriptions/listen` of modern clients, `resources/subscribe` of legacy ones.
//!
//! Both end at the same two places. Upstream, a watch per server says what is wanted of it ([`crate::stages::watch`]);
//! here, the fan-out knows who is to be told when it comes ([`fanout`]). Either is given back by being dropped.

mod asked;
pub(crate) mod fanout;
mod listen;
mod notice;
mod session;

pub(crate) use fanout::{Fanout, whole_and_parents};
pub(crate) use listen::listen;
pub(crate) use session::{Subscriptions, renew, subscribe, unsubscribe};
