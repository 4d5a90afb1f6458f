//! What may be typed behind `tollgate pins`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::StoreArgs;

const PINS_HELP: &str = "\
An item is a tool, prompt, resource or template by its server and the server's own name of it, `SERVER/NAME`, or the
instructions of a server, `SERVER/` with nothing behind it.

Examples:
  tollgate pins list -c tollgate.yaml --waiting
  tollgate pins diff -c tollgate.yaml crm/search
  tollgate pins approve -c tollgate.yaml crm/search --reason 'reads one more field'
  tollgate pins lock -c tollgate.yaml            write what servers show now as tollgate.lock
  tollgate pins check -c tollgate.yaml           say whether what servers show is what is in it";

/// See and approve how servers define their tools, prompts, resources and instructions
#[derive(Debug, Args)]
#[command(after_help = PINS_HELP)]
pub struct PinsCommand {
    /// The command.
    #[command(subcommand)]
    pub command: Pins,
}

/// What is done with pins.
#[derive(Debug, Subcommand)]
pub enum Pins {
    /// List what is pinned, and what waits to be approved
    List(List),
    /// Show how what waits differs from what was approved, and what that risks
    Diff(Diff),
    /// Approve what waits: from then on it is seen and used again, at every gateway
    Approve(Approve),
    /// Forget a pin, as if its item had never been seen
    Forget(Forget),
    /// Write what servers show now as a lock file
    Lock(Lock),
    /// Compare what servers show now with the lock file, and fail if it is not the same
    Check(Check),
}

/// List what is pinned, and what waits to be approved
#[derive(Debug, Args)]
pub struct List {
    /// Only what waits to be approved
    #[arg(long)]
    pub waiting: bool,
    /// Only what is of this server
    #[arg(long, value_name = "NAME")]
    pub server: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Which items are meant.
#[derive(Debug, Args)]
pub struct Items {
    /// The items, as SERVER/NAME
    #[arg(value_name = "ITEM")]
    pub items: Vec<String>,
    /// All of this server of which something waits
    #[arg(long, value_name = "NAME")]
    pub server: Option<String>,
    /// Only those of this kind, where several have one name
    #[arg(long, value_enum, value_name = "KIND")]
    pub kind: Option<Kind>,
    /// Only those of this tenant's servers, where several tenants have one of a name
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
}

/// What kind of thing is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// What a server says of itself for models to read
    Instructions,
    /// A prompt
    Prompt,
    /// A resource
    Resource,
    /// A template of resources
    Template,
    /// A tool
    Tool,
}

/// Show how what waits differs from what was approved, and what that risks
#[derive(Debug, Args)]
pub struct Diff {
    /// Which items; all that wait if none are named
    #[command(flatten)]
    pub items: Items,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Approve what waits: from then on it is seen and used again, at every gateway
#[derive(Debug, Args)]
pub struct Approve {
    /// Which items
    #[command(flatten)]
    pub items: Items,
    /// Everything that waits
    #[arg(long, conflicts_with_all = ["items", "server"])]
    pub all: bool,
    /// Only if the definition that waits has this digest, as `diff` shows it
    #[arg(long, value_name = "HEX")]
    pub digest: Option<String>,
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

/// Forget a pin, as if its item had never been seen
#[derive(Debug, Args)]
pub struct Forget {
    /// Which items
    #[command(flatten)]
    pub items: Items,
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

/// Write what servers show now as a lock file
#[derive(Debug, Args)]
pub struct Lock {
    /// The gateway's configuration [default: tollgate.yaml]
    #[arg(long, short, value_name = "FILE", env = "TOLLGATE_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Where to write it; `-` is standard output [default: as configured, or tollgate.lock beside the configuration]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// How long each server may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
}

/// Compare what servers show now with the lock file, and fail if it is not the same
#[derive(Debug, Args)]
pub struct Check {
    /// The gateway's configuration [default: tollgate.yaml]
    #[arg(long, short, value_name = "FILE", env = "TOLLGATE_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// The lock file [default: as configured, or tollgate.lock beside the configuration]
    #[arg(long, value_name = "FILE")]
    pub lock: Option<PathBuf>,
    /// How long each server may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
