//! How much? Limits on how often, and on how many at once, by whoever calls and whatever is called.
//!
//! An operator writes [`Rule`]s. Each counts for itself, once for each tenant, agent, server, … that it tells apart, and all
//! rules that are about a request have to leave room for it: so a tenant's rule bounds its agents', and an agent's its
//! tools'. All are looked at before any counts.
//!
//! A request is told apart by its [`Subject`]. What [`Limits::admit`] gives back holds what was counted: until it is settled
//! it is given back when dropped, and the places among those under way are held for as long as it lives.

mod admission;
mod counter;
mod gcra;
mod key;
mod limits;
mod meter;
mod metering;
mod notice;
mod prepaid;
mod reach;
mod room;
mod rule;
mod rules;
mod runaway;
mod settings;
mod subject;
mod table;
#[cfg(test)]
mod tests;
mod together;
mod tokens;
mod watching;
mod window;

pub use admission::{Admission, Charge, Places, Spent};
pub use limits::Limits;
pub use notice::Notice;
pub use reach::Away;
pub use rule::{About, Bound, Dimension, Every, Plan, Rule, Unit};
pub use runaway::{RunawaySettings, RunawayWebhook, Verdict, Why};
pub use settings::LimitSettings;
pub use subject::Subject;
pub use tokens::Encoding;
pub use tollgate_model::Glob;
pub use window::Zone;
