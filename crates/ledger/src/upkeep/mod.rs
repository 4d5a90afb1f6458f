//! What becomes of the record with time: what is too old goes, and what somebody has a right to have erased is erased.

mod erase;
mod followers;
mod left;
mod retention;

pub use erase::{EraseError, Erasing, Whose, erase};
pub use followers::{Followers, Following};
pub use retention::{Kept, Needs, Retention, RetentionSettings};
