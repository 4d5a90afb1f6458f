//! The command line: what may be typed. What it means is in the module of each command.

pub mod admin_keys;
pub mod approvals;
pub mod audit;
pub mod blocks;
pub mod guard;
pub mod keys;
pub mod pauses;
pub mod pins;
pub mod policy;
pub mod policy_sets;
pub mod search;
pub mod servers;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

/// The configuration that a command takes where none is named.
pub const CONFIG_FILE: &str = "tollgate.yaml";

const AFTER_HELP: &str = "\
Examples:
  tollgate demo                                  try it out, nothing else needed
  tollgate serve --config tollgate.yaml          serve what a configuration names
  tollgate serve --config claude_desktop_config.json
  tollgate check tollgate.yaml                   say what would be served, or all that is wrong
  tollgate keys create -c tollgate.yaml --agent support-bot
  tollgate block tool crm__search -c tollgate.yaml --reason 'leaks'  stop it at once, everywhere
  tollgate servers list -c tollgate.yaml         see which servers there are, and where in their life
  tollgate policy check -c tollgate.yaml         say what is wrong with the policies
  tollgate tools list http://127.0.0.1:8080/mcp  see the tools of any MCP endpoint
  tollgate client-config --for cursor            print what a client's configuration needs
  tollgate connect http://127.0.0.1:8080/mcp     for clients that can only start a process

Exit codes:
  0   success
  1   something failed while running
  2   the command line is wrong
  69  the server or gateway at the given URL cannot be reached or does not answer as MCP
  70  the tool was called and said that it failed
  78  the configuration is wrong";

/// An MCP gateway: one address that AI agents connect to, and every MCP server behind it.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, after_help = AFTER_HELP, max_term_width = 100)]
#[command(propagate_version = false, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// What is logged to standard error: error, warn, info, debug, trace or off, or levels by part of the program as
    /// in `warn,tollgate_upstream=debug` [default: info for serve, error for tools, warn otherwise]
    #[arg(long, global = true, value_name = "LEVEL", env = "TOLLGATE_LOG", hide_env_values = true)]
    pub log: Option<String>,
    /// How log lines look
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Human)]
    #[arg(env = "TOLLGATE_LOG_FORMAT", hide_env_values = true)]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    Human,
    /// One JSON object per line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve everything that a configuration names behind one address
    Serve(Serve),
    /// Bridge a client that can only start a process (over stdio) to an MCP endpoint over HTTP
    Connect(Connect),
    /// Read a configuration as `serve` would, and say what would be served or everything that is wrong
    Check(Check),
    /// List and call the tools of any MCP endpoint
    #[command(subcommand)]
    Tools(Tools),
    /// Make, list, rotate and revoke API keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Make, list and revoke the keys of machines that administer
    #[command(subcommand)]
    AdminKeys(admin_keys::AdminKeys),
    /// Take back tokens, users and agents before they end by themselves
    #[command(subcommand)]
    Revocations(keys::Revocations),
    /// Stop a tool, a server, an agent, a user, a key or a tenant at once, at every gateway
    Block(blocks::Block),
    /// Let go on what was blocked
    Unblock(blocks::Unblock),
    /// List what is blocked, why, by whom and since when
    Blocks(blocks::Blocks),
    /// List what waits for approval, and approve or deny it
    #[command(subcommand)]
    Approvals(approvals::Approvals),
    /// List which agents have run away and are paused, why and until when
    Paused(pauses::Paused),
    /// Let an agent go on that is paused, at every gateway
    Resume(pauses::Resume),
    /// See and approve how servers define their tools, prompts, resources and instructions
    Pins(pins::PinsCommand),
    /// Register servers while gateways run, and take them through their life
    #[command(subcommand)]
    Servers(Box<servers::Servers>),
    /// Check, test and explain policies
    #[command(subcommand)]
    Policy(Box<policy::Policy>),
    /// Check and try rules of content guards
    #[command(subcommand)]
    Guard(Box<guard::Guard>),
    /// Examine the record of what happened
    #[command(subcommand)]
    Audit(Box<audit::Audit>),
    /// Show how much was used: calls, errors, bytes, tokens, cost
    Usage(search::Usage),
    /// Print what to put into a client's configuration so that it uses a gateway
    ClientConfig(ClientConfig),
    /// Start a gateway in front of two small servers, call their tools through it, and show how to connect a client
    Demo(Demo),
    /// Print the completion script of a shell
    Completions(Completions),
    /// One of the demo's servers
    #[command(subcommand, hide = true)]
    DemoServer(DemoServer),
    /// Started in front of a server's process: ends the process group when the gateway is gone
    #[command(hide = true, disable_help_flag = true)]
    ChildGuard(ChildGuard),
}

const SERVE_HELP: &str = "\
The configuration is an `mcpServers` JSON file as Claude Desktop and Cursor write it, a `servers` file as VS Code
writes it, or a `tollgate.yaml`, which can say more. It is read again when it changes and on SIGHUP, without dropping
a call; a bad edit keeps the last good configuration and says why.

SIGTERM and SIGINT stop it: requests under way may finish for 20 seconds. A second signal ends it at once.

SIGUSR2 hands over to a new process of the same command line, and of the program that lies there by then. No connection is
refused. If the new process does not start, this one says why and goes on. Sockets that a service manager has opened
(LISTEN_FDS; called `data` and `admin`, or in this order) are used in place of --listen and --admin-listen.

Examples:
  tollgate serve --config tollgate.yaml
  tollgate serve --config tollgate.yaml --listen 127.0.0.1:0 --json
  tollgate serve --config claude_desktop_config.json --stdio";

/// Serve everything that a configuration names behind one address
#[derive(Debug, Args)]
#[command(after_help = SERVE_HELP)]
pub struct Serve {
    /// The configuration
    #[arg(long, short, value_name = "FILE", env = "TOLLGATE_CONFIG", hide_env_values = true)]
    pub config: PathBuf,
    /// Where clients connect; port 0 takes a free one [default: 127.0.0.1:8080, or as configured]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Where health and metrics are served; port 0 takes a free one [default: 127.0.0.1:8081, or as configured]
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<SocketAddr>,
    /// Where state is kept, if not where the configuration says; created if it is missing
    #[arg(long, value_name = "DIR", env = "TOLLGATE_DATA_DIR", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
    /// Print the bound addresses as one JSON line on standard output
    #[arg(long, conflicts_with = "stdio")]
    pub json: bool,
    /// Serve one client on standard input and output instead of HTTP, until its input ends
    #[arg(long, conflicts_with_all = ["listen", "admin_listen"])]
    pub stdio: bool,
}

const CONNECT_HELP: &str = "\
Claude Desktop and other clients that start a process can use any endpoint this way:

  { \"mcpServers\": { \"tollgate\": {
      \"command\": \"tollgate\", \"args\": [\"connect\", \"http://127.0.0.1:8080/mcp\"] } } }

A gateway that is restarted is found again: the client's session is opened anew and the call repeated once if it was
not carried out.";

/// Bridge a client that can only start a process (over stdio) to an MCP endpoint over HTTP
#[derive(Debug, Args)]
#[command(after_help = CONNECT_HELP)]
pub struct Connect {
    /// The endpoint, as http://127.0.0.1:8080/mcp
    pub url: String,
    /// What is needed to reach the endpoint
    #[command(flatten)]
    pub remote: Remote,
}

/// What is needed to reach an endpoint.
#[derive(Debug, Args)]
pub struct Remote {
    /// A header for every request; `${NAME}` in the value is read from the environment (may be repeated)
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// Trust the certificate authorities in this PEM file instead of the system's
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

impl Remote {
    /// Nothing is needed.
    pub fn none() -> Self {
        Self { headers: Vec::new(), ca_file: None }
    }
}

/// Where stored state is: what a gateway on the same configuration uses
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// The gateway's configuration [default: tollgate.yaml, where neither --data-dir nor DATABASE_URL is given]
    #[arg(long, short, value_name = "FILE", env = "TOLLGATE_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Where state is kept, if not where the configuration says
    #[arg(long, value_name = "DIR", env = "TOLLGATE_DATA_DIR", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
    /// Change the store itself, also while a gateway runs on this machine that would do it and put it on record
    #[arg(long)]
    pub direct: bool,
}

/// Read a configuration as `serve` would, and say what would be served or everything that is wrong
#[derive(Debug, Args)]
pub struct Check {
    /// The configuration
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// List and call the tools of any MCP endpoint
#[derive(Debug, Subcommand)]
pub enum Tools {
    /// List the tools of an MCP endpoint
    List(ToolsList),
    /// Call a tool of an MCP endpoint
    #[command(
        after_help = "Example:\n  tollgate tools call http://127.0.0.1:8080/mcp calendar__days_between \
        --args '{\"from\": \"2026-07-28\", \"to\": \"2026-12-31\"}'"
    )]
    Call(ToolsCall),
}

/// List the tools of an MCP endpoint
#[derive(Debug, Args)]
pub struct ToolsList {
    /// The endpoint, as http://127.0.0.1:8080/mcp
    pub url: String,
    /// Print the tools as one JSON array, each as the server sent it
    #[arg(long)]
    pub json: bool,
    /// What is needed to reach the endpoint
    #[command(flatten)]
    pub remote: Remote,
}

/// Call a tool of an MCP endpoint
#[derive(Debug, Args)]
pub struct ToolsCall {
    /// The endpoint, as http://127.0.0.1:8080/mcp
    pub url: String,
    /// The tool's name as the endpoint lists it
    #[arg(value_name = "NAME")]
    pub tool: String,
    /// The arguments, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub args: String,
    /// Print the whole result as JSON, as the server sent it
    #[arg(long)]
    pub json: bool,
    /// What is needed to reach the endpoint
    #[command(flatten)]
    pub remote: Remote,
}

const CLIENT_CONFIG_HELP: &str = "\
Where callers have to be known, the client is told to send an API key (see `tollgate keys create`). No key is ever
printed: the configuration names where the client finds it.

Examples:
  tollgate client-config --for cursor -c tollgate.yaml > ~/.cursor/mcp.json
  tollgate client-config --for vscode --endpoint research
  tollgate client-config --for claude-code --url https://mcp.example.com/mcp --key-env TEAM_KEY";

/// Print what to put into a client's configuration so that it uses a gateway
#[derive(Debug, Args)]
#[command(after_help = CLIENT_CONFIG_HELP)]
pub struct ClientConfig {
    /// The client
    #[arg(long = "for", value_enum, value_name = "CLIENT")]
    pub client: Client,
    /// The gateway's configuration, which says where clients connect [default: tollgate.yaml]
    #[arg(long, short, value_name = "FILE", env = "TOLLGATE_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Where state is kept, and with it the servers that are registered, if not where the configuration says
    #[arg(long, value_name = "DIR", env = "TOLLGATE_DATA_DIR", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
    /// The server or toolset whose own address the client is to use, instead of that of everything
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    pub endpoint: Option<String>,
    /// The endpoint itself, where the configuration is not at hand
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The environment variable in which the client has its API key [default: TOLLGATE_KEY, where a key is needed]
    #[arg(long, value_name = "NAME")]
    pub key_env: Option<String>,
}

/// A client whose configuration can be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// Claude Desktop, which starts `tollgate connect`
    ClaudeDesktop,
    /// Cursor
    Cursor,
    /// Visual Studio Code
    Vscode,
    /// Claude Code
    ClaudeCode,
}

/// Start a gateway in front of two small servers, call their tools through it, and show how to connect a client
#[derive(Debug, Args)]
pub struct Demo {
    /// Exit after the calls instead of staying up
    #[arg(long)]
    pub once: bool,
}

/// Print the completion script of a shell
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  tollgate completions bash > ~/.local/share/bash-completion/completions/tollgate"
)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// One of the demo's servers
#[derive(Debug, Subcommand)]
pub enum DemoServer {
    /// The notes server, on standard input and output
    Stdio,
    /// The calendar server, over HTTP on a free port of this machine; prints its URL
    Http {
        /// End when standard input ends, so as never to outlive whoever started it
        #[arg(long)]
        until_stdin_ends: bool,
    },
}

/// What the guard is told: everything after the command's name is the guard's own affair
#[derive(Debug, Args)]
pub struct ChildGuard {
    /// The guard's arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}

/// The page `docs/reference/cli.md`, made from the definitions above.
pub fn reference_md() -> String {
    let mut root = Cli::command().term_width(100);
    root.build();
    let mut page = String::from(
        "# The command line\n\nMade from `tollgate --help` by a test; do not edit.\n\n\
         Results go to standard output, everything else to standard error. Colours are used on a terminal only, and \
         never when `NO_COLOR` is set.\n",
    );
    section(&mut page, &mut root, "tollgate", 2);
    page
}

fn section(page: &mut String, command: &mut clap::Command, path: &str, level: usize) {
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let (marks, text) = ("#".repeat(level), help.join("\n"));
    page.extend(["\n", &marks, " `", path, "`\n\n```text\n", text.trim_end(), "\n```\n"]);
    for sub in command.get_subcommands_mut() {
        if !sub.is_hide_set() && sub.get_name() != "help" {
            let path = format!("{path} {}", sub.get_name());
            section(page, sub, &path, level + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }
}
