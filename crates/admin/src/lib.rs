//! How people run it, on a listener of their own: health, readiness and metrics for everybody who reaches it; the API and the
//! console for those who have signed in.
//!
//! What it knows of the living gateway comes through [`World`], as values: nothing here calls the proxy or a server.

mod acts;
mod api;
mod degraded;
mod export;
mod front;
mod host;
mod index;
mod ledger;
mod link;
mod pages;
mod plane;
mod problem;
mod record;
mod registry;
mod roles;
mod service;
mod sessions;
mod settings;
mod shelf;
mod sign_in;
mod snapshot;
mod world;

pub use api::{openapi_json, pack, policy_set_json, simulated_json, tested_json, verdict_json};
pub use export::ExportLine;
pub use index::IndexLine;
pub use ledger::LedgerLine;
pub use link::LINK_MAX;
pub use plane::Reached;
pub use registry::{
    FoundServer, ImportSource, Judged, KeyCard, ReadServer, Registry, Review, ReviewedItem, ReviewedList,
    ReviewedTool, RuleCard, ToolCallers, ToolFinding,
};
pub use roles::{Grant, Role};
pub use service::{Admin, Body};
pub use settings::{AdminSettings, RoleRule};
pub use snapshot::{
    LimitsLine, ReplicaLine, ServerLine, ServerReach, Snapshot, Standing, StoreLine, StoreReach,
};
pub use world::{
    Configured, LimitCard, Parts, PolicyRemark, PolicyText, RuleCandidate, ServerCard, Shift, ShiftExample,
    Simulated, Tested, TestedCase, World,
};
