//! What must outlive the process: repositories, and the feed of changes that every replica follows.
//!
//! A driver implements [`Store`]; whoever needs one repository asks for that trait. Processes that only need to know what is
//! desired have a [`Follower`]. Every driver passes the same suite (feature `suite`).

mod admins;
mod allowances;
mod approving;
mod audit;
mod blocking;
mod change;
mod definitions;
mod desired;
mod digest;
mod error;
mod follower;
mod memory;
mod pausing;
mod pinning;
mod pseudonyms;
mod record;
mod registering;
mod repositories;
mod revocation;
mod ruling;
mod shards;
#[cfg(any(test, feature = "suite"))]
pub mod suite;
mod together;

pub use admins::{
    ADMIN_SESSIONS_MAX, AdminGrant, AdminKey, AdminSession, Admins, ONCE_KEPT, ONCE_MAX, ONCE_UNDER_WAY, Once,
};
pub use allowances::{ALLOWANCES_KEPT, Allowance, Allowances, TakeAllowance};
pub use approving::{
    APPROVAL_TEXT_MAX, APPROVAL_VOTES_MAX, APPROVALS_BATCH, APPROVALS_KEPT, Approval, ApprovalId, ApprovalOf,
    Approvals, Asked, Asking, AskingRoom, Needed, NotCounted, Standing, Vote, WhichApprovals,
};
pub use audit::{
    Arrived, AuditBatch, AuditFound, AuditIndex, AuditName, AuditQuery, AuditRow, BLOCK_ROWS_MAX, BLOCK_SPAN,
    Block, BrokenBlock, COLUMNS, FOUND_MAX, Filter, FindingAt, FindingBy, FindingQuery, FindingRow, Followed,
    OPEN, Place, SMALL_BLOCKS_MAX, Sieve, Usage, UsageBy, UsageKey, UsageOrder, UsageQuery, UsageRow,
    UsageSum, WhoseNames,
};
pub use blocking::{Blockable, Blocking, Blocks, Unblocking};
pub use change::{Change, Changes, Cursor, Numbered, Snapshot, definitions_of};
pub use definitions::{DEFINITIONS_BYTES_MAX, Definitions, DefinitionsOf, List};
pub use desired::{Desired, PinMarks};
pub use digest::Digest;
pub use error::{Cause, StoreError};
pub use follower::{Confirmed, Follower, FollowerSettings};
pub use memory::{ENDED_BATCH, ENDED_KEPT, FEED_MAX, Memory, mark, rotated};
pub use pausing::{PAUSES_MAX, Pausable, Pauses, Pausing, Resuming};
pub use pinning::{
    Approved, Approving, PIN_ITEM_BYTES_MAX, PIN_TEXT_BYTES_MAX, PINS_MAX, Pin, PinChange, PinKind, PinMark,
    PinOf, PinShape, Pins, Sighting, Sightings, WhichPins,
};
pub use pseudonyms::{KeptName, NAMES_BATCH, NUMBERS_KEPT_MS, Names, NamesGiven, NamesOf, numbered};
pub use record::{ANCHORS_KEPT, ANCHORS_MAX, Anchor, Anchors, ERASURES_KEPT, Erasure, Erasures};
pub use registering::{
    About, Act, Doing, Life, REACH_BYTES_MAX, REGISTRATIONS_MAX, Registration, RegistrationId, Registrations,
    Step, VERSIONS_MAX, WHOLE, WhichRegistrations, approve, check_shares, earlier, gap, shift,
};
pub use repositories::{ACCEPTED_MAX, Feed, Keys, LastKnown, PolicySets, Revocations, Store, WhichKeys};
pub use revocation::{Revocable, Revocation};
pub use ruling::{
    RULE_SETS_MAX, RULE_VERSIONS_MAX, RULES_BYTES_MAX, RULES_NAME_BYTES_MAX, RuleAct, RuleDoing, RuleSet,
    RuleSetId, RuleSets, RuleStep, RuleVersion, WhichRules,
};
pub use together::{Counted, LEASE, PlaceId, SharedBound, SharedCount, SharedCounters};
