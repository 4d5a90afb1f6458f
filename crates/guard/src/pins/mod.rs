//! Is what a server defines still what was approved? What of a definition is pinned, how two definitions differ, and what
//! that risks.
//!
//! Nothing here does I/O. All of it takes time that grows with the length of what is compared, but for the readable
//! difference, which is bounded in time.

mod compare;
mod definition;
mod diff;
mod lock;
mod schema;
mod twin;

pub use compare::{Difference, FieldChange, How, Risk, compare};
pub use definition::Definition;
pub use diff::{readable, unified};
pub use lock::{Lock, LockError, LockItem, LockedServer};
pub use twin::{Twins, has_hidden, skeletons};
