//! What may be typed behind `tollgate policy sets`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::StoreArgs;

const SETS_HELP: &str = "\
A set is kept in the store, beside the policies of files, and has versions. Writing one keeps a draft: nothing decides otherwise
until a version is promoted, and then it does at every gateway on the store. A version can be tried out before (validate, test,
simulate), look on (shadow), and be taken back (roll-back, withdraw). They count where the configuration has
`policy: { stored: true }`.

While a gateway runs on this machine it does what is typed, and its own tools and record are what a version is tried on.

Examples:
  tollgate policy sets write payments -c tollgate.yaml policies/payments.cedar --reason 'limit is 500 now'
  tollgate policy sets validate payments -c tollgate.yaml
  tollgate policy sets test payments -c tollgate.yaml tests.yaml
  tollgate policy sets simulate payments -c tollgate.yaml --days 7
  tollgate policy sets shadow payments -c tollgate.yaml --version 3
  tollgate policy sets promote payments -c tollgate.yaml --version 3 --reason 'looked at by security'
  tollgate policy sets roll-back payments -c tollgate.yaml --reason 'denies the night shift'";

/// Write policies that are kept in the store, try them out, and put them in force
#[derive(Debug, Args)]
#[command(after_help = SETS_HELP)]
pub struct SetsCommand {
    /// The command.
    #[command(subcommand)]
    pub command: Sets,
}

/// What is done with sets.
#[derive(Debug, Subcommand)]
pub enum Sets {
    /// List the sets: which version decides, which looks on
    List(SetsList),
    /// Show a set and its versions, or the text of one
    Show(SetsShow),
    /// Keep another version of a set, or the first of a new one. Nothing decides otherwise
    Write(SetsWrite),
    /// Say what would be found if a version decided
    Validate(SetsTry),
    /// Put the cases of test files to a version, beside the policies that decide
    Test(SetsTest),
    /// Decide again, under a version, what is on record, and say what would be different
    Simulate(SetsSimulate),
    /// Have a version look on: what it would decide otherwise is on record and counted
    Shadow(SetsShadow),
    /// Have a version decide, at every gateway on the store
    Promote(SetsPromote),
    /// Have that decide which did before: an earlier version, or nothing of the set
    RollBack(SetsStep),
    /// Have nothing of a set decide any more
    Withdraw(SetsStep),
    /// Remove a set of which nothing decides or looks on
    Remove(SetsStep),
}

/// Which set
#[derive(Debug, Args)]
pub struct WhichSet {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// About whose callers it is [default: the only tenant]
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// The operator's, which is about the callers of every tenant
    #[arg(long, conflicts_with = "tenant")]
    pub operator: bool,
}

/// List the sets: which version decides, which looks on
#[derive(Debug, Args)]
pub struct SetsList {
    /// Only this tenant's
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where they are stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Show a set and its versions, or the text of one
#[derive(Debug, Args)]
pub struct SetsShow {
    /// Which
    #[command(flatten)]
    pub which: WhichSet,
    /// Print the text of this version and nothing else
    #[arg(long, value_name = "VERSION", conflicts_with = "json")]
    pub version: Option<u64>,
    /// Print JSON, with all texts
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Keep another version of a set, or the first of a new one. Nothing decides otherwise
#[derive(Debug, Args)]
pub struct SetsWrite {
    /// Which
    #[command(flatten)]
    pub which: WhichSet,
    /// A file of policies, a folder, whose `*.cedar` files are joined in the order of their names, or `-` for standard input
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Why: it is kept, and goes on record
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// What is tried out
#[derive(Debug, Args)]
pub struct SetsCandidate {
    /// Which version [default: the latest]
    #[arg(long, value_name = "VERSION")]
    pub version: Option<u64>,
    /// A file or folder of policies instead of a version that is kept
    #[arg(long, value_name = "PATH", conflicts_with = "version")]
    pub policies: Option<PathBuf>,
}

/// Say what would be found if a version decided
#[derive(Debug, Args)]
pub struct SetsTry {
    /// Which
    #[command(flatten)]
    pub which: WhichSet,
    /// What of it
    #[command(flatten)]
    pub candidate: SetsCandidate,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Put the cases of test files to a version, beside the policies that decide
#[derive(Debug, Args)]
pub struct SetsTest {
    /// Which
    #[command(flatten)]
    pub which: WhichSet,
    /// Files of cases, as `tollgate policy test` takes them
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What of it
    #[command(flatten)]
    pub candidate: SetsCandidate,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Decide again, under a version, what is on record, and say what would be different
#[derive(Debug, Args)]
#[command(after_help = "\
The newest decisions are looked at first, for 20 seconds and 200,000 of them at most. `tollgate policy simulate` has no such bounds.")]
pub struct SetsSimulate {
    /// Which
    #[command(flatten)]
    pub which: WhichSet,
    /// What of it
    #[command(flatten)]
    pub candidate: SetsCandidate,
    /// How many days are looked back
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=31))]
    pub days: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Have a version look on: what it would decide otherwise is on record and counted
#[derive(Debug, Args)]
pub struct SetsShadow {
    /// What is done.
    #[command(flatten)]
    pub step: SetsStep,
    /// Which version [default: the latest]
    #[arg(long, value_name = "VERSION")]
    pub version: Option<u64>,
    /// None looks on any more
    #[arg(long, conflicts_with = "version")]
    pub none: bool,
}

/// Have a version decide, at every gateway on the store
#[derive(Debug, Args)]
#[command(after_help = "\
A version that is not valid is refused, and nothing changes. The version has to be named: it is the one that somebody has looked at.")]
pub struct SetsPromote {
    /// What is done.
    #[command(flatten)]
    pub step: SetsStep,
    /// Which version
    #[arg(long, value_name = "VERSION")]
    pub version: u64,
}

/// What is done with a set, and why
#[derive(Debug, Args)]
pub struct SetsStep {
    /// Which
    #[command(flatten)]
    pub which: WhichSet,
    /// Why: it is kept, and goes on record
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}
