//! What may be typed behind `tollgate servers`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::StoreArgs;
use super::keys::{Moment, moment};

const SERVERS_HELP: &str = "\
A server that is registered has a life: it is a draft, which can be edited; somebody submits it; somebody else looks at it and
approves it, or sends it back; it is deprecated, with a day on which it ends; and it is retired. Agents see and call it while it
is approved or deprecated, at every gateway on the same store, within a second, without a restart. What was approved is what is
served: an approved version cannot be edited, another version is registered beside it.

How a server is reached is said as under `servers` in tollgate.yaml. Credentials are named (`${CRM_TOKEN}`, or a file) and never
written down; the configuration says which of its own a gateway lends (`registry.credentials`). Servers of the file are
listed too, can only be changed there, and go before registered ones of the same name.

Examples:
  tollgate servers add crm -c tollgate.yaml --url https://crm.example.com/mcp --header 'Authorization: Bearer ${CRM_TOKEN}' \\
      --owner sales --risk high --docs https://wiki.example.com/crm
  tollgate servers submit crm -c tollgate.yaml
  tollgate servers show crm -c tollgate.yaml
  tollgate servers approve crm -c tollgate.yaml --reason 'looked at by security'
  tollgate servers add crm --version 2 -c tollgate.yaml --url https://crm2.example.com/mcp
  tollgate servers approve crm --version 2 --share 10 -c tollgate.yaml      one request in ten
  tollgate servers rollback crm -c tollgate.yaml --reason 'too many errors'
  tollgate servers deprecate crm --version 1 --sunset 2027-03-31T00:00:00Z -c tollgate.yaml
  tollgate servers import -c tollgate.yaml ~/.cursor/mcp.json";

/// Register servers while gateways run, and take them through their life
#[derive(Debug, Subcommand)]
#[command(after_help = SERVERS_HELP)]
pub enum Servers {
    /// List the servers, those of the file too
    List(ServersList),
    /// Show all that is known of a server, and what a gateway would say of it
    Show(ServersShow),
    /// Register a server or another version of it as a draft, or edit a draft
    Add(Box<ServersAdd>),
    /// Ask a server that is registered for its tools, from here, as a gateway would once it is approved
    Review(ServersReview),
    /// Hand a draft in for review
    Submit(ServersStep),
    /// Approve what is in review: it is served from now on
    Approve(ServersApprove),
    /// Send back what is in review: it is a draft again
    Reject(ServersStep),
    /// Give another part of the requests to a version that is served
    Share(ServersShare),
    /// Give all requests to the version that had them before
    Rollback(ServersRollback),
    /// Say when a server will end; clients are told
    Deprecate(ServersDeprecate),
    /// Take a server out of service for good
    Retire(ServersStep),
    /// Register the servers of another file as drafts
    Import(ServersImport),
}

/// Where a server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LifeArg {
    /// It can be edited
    Draft,
    /// It waits for somebody to look at it
    InReview,
    /// It is served
    Approved,
    /// It is served, and will end
    Deprecated,
    /// It is served no more
    Retired,
}

/// List the servers, those of the file too
#[derive(Debug, Args)]
pub struct ServersList {
    /// Only this tenant's
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Only those that are so
    #[arg(long, value_enum, value_name = "LIFE")]
    pub life: Option<LifeArg>,
    /// Those too that are retired
    #[arg(long)]
    pub all: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where they are stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Which server
#[derive(Debug, Args)]
pub struct WhichServer {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Whose it is [default: the only tenant]
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
}

/// Show all that is known of a server, and what a gateway would say of it
#[derive(Debug, Args)]
pub struct ServersShow {
    /// Which
    #[command(flatten)]
    pub which: WhichServer,
    /// One version alone
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Ask a server that is registered for its tools, from here, as a gateway would once it is approved
#[derive(Debug, Args)]
#[command(after_help = "\
It is asked with the credentials of this environment, and only as the configuration allows registered servers to be reached. Shown
are its tools, what guards find in their definitions, and which policies and known keys would let them be called.

Example:
  CRM_TOKEN=… tollgate servers review crm -c tollgate.yaml")]
pub struct ServersReview {
    /// Which
    #[command(flatten)]
    pub which: WhichServer,
    /// Which version [default: the only one that is a draft or in review]
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

const ADD_HELP: &str = "\
A file has what stands under the server's name in tollgate.yaml, as YAML or JSON; `-` is standard input. A draft of the same
version is edited: what is said anew takes the place of all that was said before.

Examples:
  tollgate servers add crm -c tollgate.yaml --url https://crm.example.com/mcp --owner sales --tag customers
  tollgate servers add crm -c tollgate.yaml --version 2 --file crm.yaml --reason 'the new API'
  tollgate servers add files -c tollgate.yaml -- npx -y @modelcontextprotocol/server-filesystem /srv/files";

/// Register a server or another version of it as a draft, or edit a draft
#[derive(Debug, Args)]
#[command(after_help = ADD_HELP)]
pub struct ServersAdd {
    /// Which
    #[command(flatten)]
    pub which: WhichServer,
    /// The version, in a word of your own
    #[arg(long, value_name = "VERSION", default_value = "1")]
    pub version: String,
    /// The URL of its MCP endpoint
    #[arg(long, value_name = "URL", conflicts_with_all = ["file", "command"])]
    pub url: Option<String>,
    /// A header of every request to it, with its credential by name: `Authorization: Bearer ${CRM_TOKEN}` (may be repeated)
    #[arg(long = "header", value_name = "NAME: VALUE", requires = "url")]
    pub headers: Vec<String>,
    /// A file that says how it is reached
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    pub file: Option<PathBuf>,
    /// The program to start, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Who answers for it
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
    /// Where it belongs, such as `production`
    #[arg(long, value_name = "WORD")]
    pub environment: Option<String>,
    /// How dangerous it is, in a word of your own
    #[arg(long, value_name = "WORD")]
    pub risk: Option<String>,
    /// A word to find it by (may be repeated)
    #[arg(long = "tag", value_name = "WORD")]
    pub tags: Vec<String>,
    /// The URL of its documentation
    #[arg(long, value_name = "URL")]
    pub docs: Option<String>,
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

/// One step in the life of a server
#[derive(Debug, Args)]
pub struct ServersStep {
    /// Which
    #[command(flatten)]
    pub which: WhichServer,
    /// Which version [default: the only one that it can be]
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
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

/// Approve what is in review: it is served from now on
#[derive(Debug, Args)]
pub struct ServersApprove {
    /// The step
    #[command(flatten)]
    pub step: ServersStep,
    /// Its part of the requests in percent: the version that has most of them now keeps the rest. With 100 the other versions
    /// stand by [default: 100; of one that was deprecated, what it has]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub share: Option<u8>,
}

/// Give another part of the requests to a version that is served
#[derive(Debug, Args)]
pub struct ServersShare {
    /// Its part of the requests in percent; the version that has most of the others' keeps the rest
    #[arg(value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub share: u8,
    /// The step
    #[command(flatten)]
    pub step: ServersStep,
}

/// Give all requests to the version that had them before
#[derive(Debug, Args)]
pub struct ServersRollback {
    /// Which
    #[command(flatten)]
    pub which: WhichServer,
    /// To which version [default: the one that was approved before the latest that is served]
    #[arg(long, value_name = "VERSION")]
    pub to: Option<String>,
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

/// Say when a server will end; clients are told
#[derive(Debug, Args)]
pub struct ServersDeprecate {
    /// The step
    #[command(flatten)]
    pub step: ServersStep,
    /// When it ends by itself: after a time (90d, 12h) or at one (2027-01-01T00:00:00Z)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub sunset: Moment,
}

const IMPORT_HELP: &str = "\
What is read: the files of Claude Desktop, Claude Code, Cursor and VS Code, `server.json` of the MCP Registry, and what a registry
lists (API v0.1), of which --only names one server each, with its version behind an `@` if it is not the latest. All servers
become drafts of this tenant, or none does. A secret that stands in such a file is refused: name it there as `${NAME}` first. What
a `server.json` asks its user for becomes a variable of the gateway, named after the server.

Examples:
  tollgate servers import -c tollgate.yaml ~/.cursor/mcp.json
  tollgate servers import -c tollgate.yaml claude_desktop_config.json --only github --only files
  tollgate servers import -c tollgate.yaml server.json --name crm
  tollgate servers import -c tollgate.yaml https://registry.modelcontextprotocol.io --only com.example/crm@1.2.0";

/// Register the servers of another file as drafts
#[derive(Debug, Args)]
#[command(after_help = IMPORT_HELP)]
pub struct ServersImport {
    /// A file, or the URL of a document or a registry
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// Only this server of it (may be repeated)
    #[arg(long = "only", value_name = "NAME")]
    pub only: Vec<String>,
    /// Take those that can be taken, and say of the others why not [default: all or none]
    #[arg(long)]
    pub each: bool,
    /// The name that it gets here, if it is one server
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Whose they become [default: the only tenant]
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Who answers for them
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
    /// Why: it goes on record
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where they are stored
    #[command(flatten)]
    pub store: StoreArgs,
}
