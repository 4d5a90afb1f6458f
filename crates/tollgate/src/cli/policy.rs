//! What may be typed behind `tollgate policy`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use tollgate_model::Timestamp;

use super::CONFIG_FILE;
use super::keys::{Moment, moment};
use super::policy_sets::SetsCommand;

const POLICY_HELP: &str = "\
Every command reads the configuration for policies, tenants and what it says of servers. What tools servers have comes from
a saved catalogue (--catalog FILE), which needs no server, or from what the gateway last saw of them.

Examples:
  tollgate policy snapshot -c tollgate.yaml > catalog.json       ask the servers once
  tollgate policy check -c tollgate.yaml --catalog catalog.json
  tollgate policy test -c tollgate.yaml --catalog catalog.json tests.yaml
  tollgate policy explain -c tollgate.yaml bank__transfer --args '{\"amount\": 5000}' --agent payments --user ada
  tollgate policy what-can -c tollgate.yaml agent:payments --user ada --group finance
  tollgate policy simulate -c tollgate.yaml --policies candidate/ --since 7d";

/// Check, test and explain policies
#[derive(Debug, Subcommand)]
#[command(after_help = POLICY_HELP)]
pub enum Policy {
    /// Say everything that is wrong with the policies of every tenant, with file and line
    Check(PolicyCheck),
    /// Put the cases of test files to the policies
    Test(PolicyTest),
    /// Say what policy says of a call, which rules decided it and why, and which nearly applied
    Explain(PolicyExplain),
    /// Print the Cedar schema that policies are checked against
    Schema(PolicySchema),
    /// Say whom the rules could allow a tool
    WhoCan(PolicyWhoCan),
    /// List the tools that a caller could be allowed
    WhatCan(PolicyWhatCan),
    /// Ask the servers for their tools, and print them as a catalogue for --catalog
    Snapshot(PolicySnapshot),
    /// Decide again, under other policies, what is on record, and say what would be different
    Simulate(PolicySimulate),
    /// Write policies that are kept in the store, try them out, and put them in force
    Sets(SetsCommand),
}

/// Where policies, and what they are about, come from.
#[derive(Debug, Args)]
pub struct Basis {
    /// The configuration
    #[arg(long, short, value_name = "FILE", env = "TOLLGATE_CONFIG", hide_env_values = true, default_value = CONFIG_FILE)]
    pub config: PathBuf,
    /// A saved catalogue of the servers' tools, instead of what the gateway last saw of them
    #[arg(long, value_name = "FILE")]
    pub catalog: Option<PathBuf>,
    /// Where the gateway keeps its state [default: as configured]
    #[arg(long, value_name = "DIR", env = "TOLLGATE_DATA_DIR", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
}

/// Who calls.
#[derive(Debug, Args)]
#[command(next_help_heading = "Who calls")]
pub struct WhoFlags {
    /// The tenant
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// The program that calls
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// The user on whose behalf it calls
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// A group of the user (may be repeated)
    #[arg(long = "group", value_name = "GROUP")]
    pub groups: Vec<String>,
    /// A group of the agent (may be repeated)
    #[arg(long = "agent-group", value_name = "GROUP")]
    pub agent_groups: Vec<String>,
    /// A role (may be repeated)
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<String>,
}

/// In which circumstances.
#[derive(Debug, Args)]
#[command(next_help_heading = "In which circumstances")]
pub struct SceneFlags {
    /// When, as 2026-07-28T09:30:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    pub time: Option<Timestamp>,
    /// The address that the call comes from [default: none, as on standard input]
    #[arg(long, value_name = "IP")]
    pub source: Option<IpAddr>,
    /// The endpoint at which the client is, behind /mcp/ [default: the merged one]
    #[arg(long, value_name = "NAME")]
    pub endpoint: Option<String>,
    /// The era in which the client speaks
    #[arg(long, value_enum, value_name = "ERA", default_value_t = EraFlag::Modern)]
    pub era: EraFlag,
    /// Where the gateway runs [default: as configured]
    #[arg(long, value_name = "WORD")]
    pub environment: Option<String>,
}

/// An era of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EraFlag {
    /// Revisions up to 2025-11-25
    Legacy,
    /// 2026-07-28 and later
    Modern,
}

/// Say everything that is wrong with the policies of every tenant, with file and line
#[derive(Debug, Args)]
pub struct PolicyCheck {
    /// Where policies, and what they are about, come from.
    #[command(flatten)]
    pub basis: Basis,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Put the cases of test files to the policies
#[derive(Debug, Args)]
pub struct PolicyTest {
    /// Files of cases
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where policies, and what they are about, come from.
    #[command(flatten)]
    pub basis: Basis,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Say what policy says of a call, which rules decided it and why, and which nearly applied
#[derive(Debug, Args)]
pub struct PolicyExplain {
    /// What is called.
    #[command(flatten)]
    pub what: WhatFlags,
    /// The server that has it
    #[arg(long, value_name = "SERVER")]
    pub server: Option<String>,
    /// The arguments, a JSON object
    #[arg(long, value_name = "JSON")]
    pub args: Option<String>,
    /// Where policies, and what they are about, come from.
    #[command(flatten)]
    pub basis: Basis,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Who calls.
    #[command(flatten)]
    pub who: WhoFlags,
    /// In which circumstances.
    #[command(flatten)]
    pub scene: SceneFlags,
}

/// What is called.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct WhatFlags {
    /// The tool: its public name (server__tool), or the server's own name beside --server
    #[arg(value_name = "TOOL")]
    pub tool: Option<String>,
    /// A prompt that is got, instead of a tool
    #[arg(long, value_name = "PROMPT")]
    pub prompt: Option<String>,
    /// The URI of a resource that is read, instead of a tool; needs --server
    #[arg(long, value_name = "URI", requires = "server")]
    pub resource: Option<String>,
}

/// Print the Cedar schema that policies are checked against
#[derive(Debug, Args)]
pub struct PolicySchema {
    /// Where policies, and what they are about, come from.
    #[command(flatten)]
    pub basis: Basis,
    /// The tenant whose tools it is about
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
}

const WHO_CAN_HELP: &str = "\
Users and groups are not known by name, so the answer is given in the words of the rules: whom each permit names, under which
conditions, and what forbids. Keys that are known are named where a permit could be theirs.";

/// Say whom the rules could allow a tool
#[derive(Debug, Args)]
#[command(after_help = WHO_CAN_HELP)]
pub struct PolicyWhoCan {
    /// The tool: its public name (server__tool), or the server's own name beside --server
    #[arg(value_name = "TOOL")]
    pub tool: String,
    /// The server that has it
    #[arg(long, value_name = "SERVER")]
    pub server: Option<String>,
    /// The tenant
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Where policies, and what they are about, come from.
    #[command(flatten)]
    pub basis: Basis,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// List the tools that a caller could be allowed
#[derive(Debug, Args)]
pub struct PolicyWhatCan {
    /// The caller: agent:NAME, user:NAME, or key:ID for the agent of a known API key; flags say the rest
    #[arg(value_name = "PRINCIPAL")]
    pub principal: Option<String>,
    /// Where policies, and what they are about, come from.
    #[command(flatten)]
    pub basis: Basis,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Who calls.
    #[command(flatten)]
    pub who: WhoFlags,
    /// In which circumstances.
    #[command(flatten)]
    pub scene: SceneFlags,
}

const SNAPSHOT_HELP: &str = "\
The catalogue is JSON, made to be read and kept beside the policies: the tools of each server, as it lists them. It holds no
credential, but whatever servers write into their tools.";

/// Ask the servers for their tools, and print them as a catalogue for --catalog
#[derive(Debug, Args)]
#[command(after_help = SNAPSHOT_HELP)]
pub struct PolicySnapshot {
    /// The configuration
    #[arg(long, short, value_name = "FILE", env = "TOLLGATE_CONFIG", hide_env_values = true, default_value = CONFIG_FILE)]
    pub config: PathBuf,
    /// Take what the gateway last saw of the servers instead of asking them
    #[arg(long)]
    pub stored: bool,
    /// Where the gateway keeps its state [default: as configured]
    #[arg(long, value_name = "DIR", env = "TOLLGATE_DATA_DIR", hide_env_values = true, requires = "stored")]
    pub data_dir: Option<PathBuf>,
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

const SIMULATE_HELP: &str = "\
Every request on record is put again as it was: caller, groups, arguments, time, address, endpoint. What cannot be is counted
with the reason, above all where a rule looks at arguments that were not kept, or at what was taken out of them. Servers and
tools are as they are known now. The record is read from files, with the key that it was written under; nothing has to run.

Without --policies the configured ones decide again: what is different then has come of changed policies, servers or facts.";

/// Decide again, under other policies, what is on record, and say what would be different
#[derive(Debug, Args)]
#[command(after_help = SIMULATE_HELP)]
pub struct PolicySimulate {
    /// A file of policies, or a folder with `*.cedar` files, in place of the tenant's own (may be repeated) [default: the
    /// configured ones]
    #[arg(long, value_name = "PATH")]
    pub policies: Vec<PathBuf>,
    /// Only what was decided since then: a time ago (7d, 12h, 30m) or a time (2027-01-01T00:00:00Z)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub since: Option<Moment>,
    /// Only what was decided before then, written as --since
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub until: Option<Moment>,
    /// The tenant [default: all; with --policies the only one]
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// The ledger's folder [default: `ledger` in the data directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// How it is shown
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    pub format: Format,
    /// How many examples of each kind are shown
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    pub examples: usize,
    /// Where policies, and what they are about, come from.
    #[command(flatten)]
    pub basis: Basis,
}

/// How something is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For machines
    Json,
}
