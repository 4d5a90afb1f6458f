//! What may be typed behind `tollgate admin-keys`.

use clap::{Args, Subcommand};

use super::StoreArgs;
use super::keys::{Moment, moment};

const HELP: &str = "\
Machines administer a gateway by these keys, at /api/v1 of its admin listener: `Authorization: Bearer tga_…`. A key is shown
once, when it is made; only its SHA-256 digest is kept. Roles are admin, security, operator, server-owner, approver, auditor
and viewer, each in all tenants, or as ROLE@TENANT in one.

Examples:
  tollgate admin-keys create -c tollgate.yaml --name deploy --role operator --expires 90d
  tollgate admin-keys create -c tollgate.yaml --name soc --role security@acme --role auditor@acme
  tollgate admin-keys list -c tollgate.yaml
  tollgate admin-keys revoke -c tollgate.yaml 4fVbq0Zk81Yt";

/// Make, list and revoke the keys of machines that administer
#[derive(Debug, Subcommand)]
#[command(after_help = HELP)]
pub enum AdminKeys {
    /// Make a key, and show it once
    Create(AdminKeysCreate),
    /// List the keys, also those that have ended
    List(AdminKeysList),
    /// Revoke a key for good, and end the sessions that were begun with it
    Revoke(AdminKeysRevoke),
}

/// Make a key, and show it once
#[derive(Debug, Args)]
pub struct AdminKeysCreate {
    /// What it is called
    #[arg(long, value_name = "NAME", default_value = "admin")]
    pub name: String,
    /// What it may: a role, or ROLE@TENANT (may be repeated)
    #[arg(long = "role", value_name = "ROLE", required = true)]
    pub roles: Vec<String>,
    /// When it ends: after a time (90d, 12h, 30m) or at one (2027-01-01T00:00:00Z) [default: never]
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub expires: Option<Moment>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// List the keys, also those that have ended
#[derive(Debug, Args)]
pub struct AdminKeysList {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where they are stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Revoke a key for good, and end the sessions that were begun with it
#[derive(Debug, Args)]
pub struct AdminKeysRevoke {
    /// The key's id
    #[arg(value_name = "ID")]
    pub id: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}
