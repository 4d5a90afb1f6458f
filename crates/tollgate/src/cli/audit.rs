//! What may be typed behind `tollgate audit`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::StoreArgs;
use super::keys::{Moment, moment};
use super::search::{AuditReindex, AuditSearch, AuditShow, AuditTail};

const AUDIT_HELP: &str = "\
What is on record, and whether it is what was written. Nothing has to run for it: the record is files in the data directory,
and what is searched is an index of it in the store.

Examples:
  tollgate audit search -c tollgate.yaml --since 24h --outcome denied
  tollgate audit show -c tollgate.yaml 06e9gf7p8s41x0r9w4c2hz5bqt
  tollgate audit verify -c tollgate.yaml --anchor store
  tollgate audit verify --dir /mnt/evidence/ledger --public-key signing.pub --anchor export.jsonl --json
  tollgate audit keys -c tollgate.yaml                the key that signs the record, for whoever is to verify it
  tollgate audit erase -c tollgate.yaml --user okta:ada --tenant acme";

/// Examine the record of what happened
#[derive(Debug, Subcommand)]
#[command(after_help = AUDIT_HELP)]
pub enum Audit {
    /// Find out whether the record is what was written, or name the first entry that is not
    Verify(AuditVerify),
    /// Find calls and other entries, the newest first
    Search(AuditSearch),
    /// Follow calls and other entries as they are completed
    Tail(AuditTail),
    /// Show all that is on record of one call
    Show(AuditShow),
    /// Forget the index, so that gateways make it again from the record
    Reindex(AuditReindex),
    /// Show the public key by which the record is signed, and its id
    Keys(AuditKeys),
    /// Erase the payloads and names of a user or a tenant, for good
    Erase(AuditErase),
}

/// Where the record is
#[derive(Debug, Args)]
pub struct LedgerArgs {
    /// The ledger's folder, or one writer's folder in it [default: `ledger` in the data directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where else it is
    #[command(flatten)]
    pub store: StoreArgs,
}

const VERIFY_HELP: &str = "\
Every hash and every signature is computed again. What is found: entries, payloads and names that were changed, removed,
added or moved; segments that are missing, swapped or another writer's; what was erased although no entry says so; a chain
that was written anew without the key. That the end was cut off is found by an anchor: a checkpoint that was kept elsewhere.

What was removed for its age, or erased on demand, is no fault: entries say so.

The exit code is 0 if all is as it was written, and 1 if not.";

/// Find out whether the record is what was written, or name the first entry that is not
#[derive(Debug, Args)]
#[command(after_help = VERIFY_HELP)]
pub struct AuditVerify {
    /// Where the record is
    #[command(flatten)]
    pub ledger: LedgerArgs,
    /// Only files with entries since then: a time ago (7d, 12h, 30m) or a time (2027-01-01T00:00:00Z)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub since: Option<Moment>,
    /// A public key that may have signed: a PEM file, or the key as text (may be repeated) [default: `signing.pub` beside
    /// the record, which proves nothing against whoever could write there]
    #[arg(long = "public-key", value_name = "FILE|KEY")]
    pub public_keys: Vec<String>,
    /// Where checkpoints were kept: `store`, or a file with entries as an export delivered them (may be repeated)
    #[arg(long = "anchor", value_name = "store|FILE")]
    pub anchors: Vec<String>,
    /// Do not mind that anchors know of writers that are not here: several gateways sign with one key, each with a folder of
    /// its own
    #[arg(long)]
    pub part: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Show the public key by which the record is signed, and its id
#[derive(Debug, Args)]
pub struct AuditKeys {
    /// Where the record is
    #[command(flatten)]
    pub ledger: LedgerArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

const ERASE_HELP: &str = "\
Payloads and names are overwritten where they stand; the entries stay, with references that nobody can resolve any more, and
an entry says what was erased. So the record can be verified as before. The request is kept in the store, without gateways
too: each gateway carries it out in its own record, and this command does where none runs.

Of a user go: the arguments and results of what was done for them, their name wherever it stands, and the addresses and
sessions that were theirs alone. What was exported, and backups, are beyond the reach of this command.";

/// Erase the payloads and names of a user or a tenant, for good
#[derive(Debug, Args)]
#[command(after_help = ERASE_HELP)]
#[command(group = ArgGroup::new("whose").required(true).multiple(true).args(["user", "tenant"]))]
pub struct AuditErase {
    /// The user, named as policies name them
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// The user's tenant; without a user, everything of the tenant
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Only what is older: than a time (90d) or from before one (2027-01-01T00:00:00Z) [default: now]
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub before: Option<Moment>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the record and the store are
    #[command(flatten)]
    pub store: StoreArgs,
}
