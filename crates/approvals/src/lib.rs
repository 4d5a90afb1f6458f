//! Did a person agree?
//!
//! A call that policy allows only once somebody has approved it, or that a guard holds, is written down as an approval and
//! waits. This crate says what such a call is bound to ([`Call`]), who may agree to it ([`Approver`], [`Desk`]), and what people
//! are shown ([`show`], [`tell`]). What may become of an approval, and that a grant is taken once, is said where it is kept
//! ([`tollgate_store::Approval`]). It knows nothing of the wire: the life of a call is the business of its only caller there.

mod call;
mod desk;
pub mod settings;
pub mod show;
pub mod tell;

pub use call::{Call, Hold, fresh_id};
pub use desk::{Approver, Desk, NotDecided, edited_of};
pub use settings::{ApprovalSettings, Group, Keeps};
pub use show::Sees;
