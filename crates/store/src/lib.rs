//! What must outlive the process: repositories, and the feed of changes that every replica follows.

mod desired;
mod follower;

pub use desired::{Desired, Revocable, Revocation};
pub use follower::{Confirmed, Follower};
