//! How people run it: health, readiness and metrics, on a listener of their own.
//!
//! Read-only, without sign-in: it says which servers there are and how they do, never what passes through them.

mod degraded;
mod export;
mod host;
mod index;
mod ledger;
mod service;
mod snapshot;

pub use export::ExportLine;
pub use index::IndexLine;
pub use ledger::LedgerLine;
pub use service::{Admin, Body};
pub use snapshot::{
    LimitsLine, ReplicaLine, ServerLine, ServerReach, Snapshot, Standing, StoreLine, StoreReach,
};
