//! The feature matrix: every feature of the bridge over every way in and every way out, one real exchange per cell.
//!
//! A **way** is an era and a transport. A row is a [`Feature`]: what each pair of ways must come to, and how that is
//! shown. Most rows are shown by a client library and a server that is written in TypeScript or Python on an SDK of its
//! generation (`servers/contract_v1.*` for legacy ways, `contract_v2.*` for modern ones); which ones changes from cell to
//! cell. What no library does is shown by the raw peers of the testkit. A cell that works asserts what the *receiver* observed: the server that
//! asked got the very answer that the client gave, the client heard what the server said, and so on.

pub mod ground;
mod judge;
pub mod page;
mod raw;
mod rows;
mod ways;

use std::pin::Pin;

use serde_json::Value;

pub use ground::Ground;
pub use rows::features;
pub use ways::{Language, Pair, Transport, Way};

use crate::clients::Library;

/// What a pair must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It works.
    Works,
    /// It cannot work, for this reason; the honest error is asserted in its place.
    Impossible(&'static str),
    /// One of the two does not have the feature at all; the row says why.
    Absent,
}

/// What a proof comes to: what is wrong, if anything is.
pub type Verdict = Result<(), String>;

/// A proof that is under way.
pub type Proving<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// How a cell is shown.
#[derive(Clone, Copy)]
pub enum Proof {
    /// A job for the driver of a client library, and what is looked for in its answer.
    Job {
        /// The libraries that can do it over this way.
        by: fn(Way) -> &'static [Library],
        /// The job, without `connect` (but for its `answers`).
        job: fn(Pair) -> Value,
        /// Looks at the answer.
        judge: fn(Pair, &Value) -> Verdict,
    },
    /// Raw peers.
    Raw(for<'a> fn(&'a Ground, Pair) -> Proving<'a>),
}

/// One row.
#[derive(Clone, Copy)]
pub struct Feature {
    /// What a reader calls it.
    pub title: &'static str,
    /// What each pair must come to.
    pub expected: fn(Pair) -> Expected,
    /// Why a pair may not have it at all.
    pub absent: &'static str,
    /// How a cell is shown.
    pub proof: Proof,
    /// Whether the servers written in Python have it too; else it is left to those in TypeScript.
    pub python: bool,
    /// Whether its cells would disturb each other at one server, and so are shown one after the other.
    pub alone: bool,
}
