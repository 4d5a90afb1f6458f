//! What may be typed behind `tollgate block`, `tollgate unblock` and `tollgate blocks`.

use clap::{Args, ValueEnum};

use super::StoreArgs;

const BLOCK_HELP: &str = "\
Every gateway on the same store refuses what is blocked within a second, ends what is under way and what is open, shows it
in no list, and goes on doing so over restarts, until it is unblocked. It works whether a gateway runs now or not. Blocking
something again replaces what was said of it.

A tool is named as clients see it (crm__search), or by its server and the server's own name of it (crm/search). Servers and
tools are blocked for the callers of every tenant, or of the one that --tenant names. Agents and users are named as policies
name them, keys by their id.

Examples:
  tollgate block tool crm__delete_account -c tollgate.yaml --reason 'deletes the wrong account'
  tollgate block server crm -c tollgate.yaml --reason 'answers with other people’s data' --show-reason
  tollgate block agent support-bot --tenant acme -c tollgate.yaml --reason 'runs amok'
  tollgate block user okta:ada -c tollgate.yaml --reason 'laptop stolen'
  tollgate block key 4fVbq0Zk81Yt -c tollgate.yaml --reason 'seen in a public repository'
  tollgate block tenant acme -c tollgate.yaml --reason 'asked us to stop everything'
  tollgate blocks -c tollgate.yaml
  tollgate unblock tool crm__delete_account -c tollgate.yaml --reason 'fixed in 2.1'";

/// What can be blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// One tool of a server
    Tool,
    /// Everything of a server
    Server,
    /// Everything that an agent does
    Agent,
    /// Everything that is done on behalf of a user
    User,
    /// Whoever comes by an API key
    Key,
    /// Every caller of a tenant
    Tenant,
}

/// What is blocked.
#[derive(Debug, Args)]
pub struct What {
    /// What it is
    #[arg(value_enum, value_name = "KIND")]
    pub kind: Kind,
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Of an agent or user: whose it is [default: the only tenant]. Of a server or tool: the callers of this tenant alone
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
}

/// Stop a tool, a server, an agent, a user, a key or a tenant at once, at every gateway
#[derive(Debug, Args)]
#[command(after_help = BLOCK_HELP)]
pub struct Block {
    /// What
    #[command(flatten)]
    pub what: What,
    /// Why: it goes on record, and is listed by `tollgate blocks`
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Tell those who are refused why
    #[arg(long)]
    pub show_reason: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Let go on what was blocked
#[derive(Debug, Args)]
#[command(after_help = "\
Whoever asks next is served again. What was cut off stays so: calls have to be made again, subscriptions of legacy clients too.

Example:
  tollgate unblock agent support-bot --tenant acme -c tollgate.yaml --reason 'fixed'")]
pub struct Unblock {
    /// What
    #[command(flatten)]
    pub what: What,
    /// Why: it goes on record
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// List what is blocked, why, by whom and since when
#[derive(Debug, Args)]
pub struct Blocks {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}
