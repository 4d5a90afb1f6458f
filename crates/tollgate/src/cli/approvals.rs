//! What may be typed behind `tollgate approvals`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::StoreArgs;

const HELP: &str = "\
A policy that permits a call with @require_approval(\"GROUP\") has it wait until people of that group agree. Who belongs to a
group, the section `approvals.groups` of the configuration says. A grant is good for exactly that call, once, for a while;
nobody approves their own call. Every gateway on the same store knows of it within a second.

Example:
  tollgate approvals list -c tollgate.yaml
  tollgate approvals show apr_6f1d… -c tollgate.yaml
  tollgate approvals approve apr_6f1d… -c tollgate.yaml --as okta:grace --reason 'invoice 77 checked'
  tollgate approvals approve apr_6f1d… -c tollgate.yaml --as okta:grace --arguments smaller.json --reason 'half of it'
  tollgate approvals deny apr_6f1d… -c tollgate.yaml --as okta:grace --reason 'not our customer'";

/// The commands about approvals.
#[derive(Debug, Subcommand)]
#[command(after_help = HELP)]
pub enum Approvals {
    /// List what waits for approval, the newest first
    List(List),
    /// Show one: the call, its arguments as far as they are kept, who is asked, and what was said
    Show(Show),
    /// Agree to one, perhaps with other arguments
    Approve(Approve),
    /// Deny one: the same call is refused until its time is over
    Deny(Deny),
}

/// List what waits for approval, the newest first
#[derive(Debug, Args)]
pub struct List {
    /// Only of this tenant's callers
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Also those that were decided, used, or have expired
    #[arg(long)]
    pub all: bool,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub most: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Show one: the call, its arguments as far as they are kept, who is asked, and what was said
#[derive(Debug, Args)]
pub struct Show {
    /// Its id
    #[arg(value_name = "ID")]
    pub id: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Who says something about an approval, and why.
#[derive(Debug, Args)]
pub struct Word {
    /// Its id
    #[arg(value_name = "ID")]
    pub id: String,
    /// Who says it, as `approvals.groups` names people [default: the operating system's user]. Who typed it is kept too
    #[arg(long = "as", value_name = "NAME")]
    pub who: Option<String>,
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

/// Agree to one, perhaps with other arguments
#[derive(Debug, Args)]
#[command(after_help = "\
With --arguments the call is made with the JSON object in that file in place of its own arguments. That is an approval of its
own, which is shown beside the first one; policies decide on the new arguments before they leave.")]
pub struct Approve {
    /// What is said
    #[command(flatten)]
    pub word: Word,
    /// A file with a JSON object: the arguments with which the call may be made instead of its own
    #[arg(long, value_name = "FILE")]
    pub arguments: Option<PathBuf>,
}

/// Deny one: the same call is refused until its time is over
#[derive(Debug, Args)]
pub struct Deny {
    /// What is said
    #[command(flatten)]
    pub word: Word,
}
