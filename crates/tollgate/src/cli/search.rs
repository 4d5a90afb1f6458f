//! What may be typed behind `tollgate audit search`, `tail`, `show` and `reindex`, and behind `tollgate usage`.

use clap::{Args, ValueEnum};

use super::StoreArgs;
use super::keys::{Moment, moment};

/// Which entries
#[derive(Debug, Args)]
pub struct Filters {
    /// Only calls, or another kind of entry: call, refusal, list, session_opened, session_ended, strangers, change, upkeep, …
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Only this tenant's
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Only this agent's, by name or reference
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// Only this user's, by name or reference
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Only of this server
    #[arg(long, value_name = "SERVER")]
    pub server: Option<String>,
    /// Only of the tool, resource or prompt that clients or its server call so
    #[arg(long, value_name = "NAME")]
    pub tool: Option<String>,
    /// Only what ended so: ok, tool_error, error, denied, refused, cancelled, client_gone, unknown, …; or open
    #[arg(long, value_name = "OUTCOME")]
    pub outcome: Option<String>,
    /// Only with this code of a refusal, or of a server's error
    #[arg(long, value_name = "CODE", allow_hyphen_values = true)]
    pub code: Option<String>,
    /// Only what this policy decided
    #[arg(long, value_name = "ID")]
    pub policy: Option<String>,
    /// Only of this trace (W3C trace id)
    #[arg(long, value_name = "HEX")]
    pub trace: Option<String>,
    /// Only of this call: what clients are told as `requestId`
    #[arg(long, value_name = "ID")]
    pub call: Option<String>,
    /// Only with arguments of this keyed digest, as entries show it
    #[arg(long, value_name = "DIGEST", allow_hyphen_values = true)]
    pub digest: Option<String>,
}

const SEARCH_HELP: &str = "\
What is found is what the index in the store has: about a second after it happened, and as long as `ledger.index` says. Names
that were erased find nothing; their references do.

Examples:
  tollgate audit search -c tollgate.yaml --since 24h --outcome denied
  tollgate audit search --user ada@acme.example --tool crm__delete_customer --since 30d --json
  tollgate audit search --trace 0af7651916cd43dd8448eb211c80319c --full";

/// Find calls and other entries, the newest first
#[derive(Debug, Args)]
#[command(after_help = SEARCH_HELP)]
pub struct AuditSearch {
    /// Which
    #[command(flatten)]
    pub filters: Filters,
    /// Only from then on: a time ago (7d, 12h, 30m) or a time (2027-01-01T00:00:00Z)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub since: Option<Moment>,
    /// Only before then
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub until: Option<Moment>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
    /// Print the entries themselves as JSON, as they stand in the record, where it is on this machine
    #[arg(long)]
    pub full: bool,
    /// Where the gateway keeps its state
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Follow calls and other entries as they are completed
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tollgate audit tail -c tollgate.yaml --outcome denied")]
pub struct AuditTail {
    /// Which
    #[command(flatten)]
    pub filters: Filters,
    /// First show so many of the last ones
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub lines: u32,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
    /// Where the gateway keeps its state
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Show all that is on record of one call
#[derive(Debug, Args)]
pub struct AuditShow {
    /// The call: what clients are told as `requestId`
    #[arg(value_name = "CALL")]
    pub call: String,
    /// Also show arguments and results, as far as they were kept and their key is at hand
    #[arg(long)]
    pub payloads: bool,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
    /// Where the gateway keeps its state
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Forget the index, so that gateways make it again from the record
#[derive(Debug, Args)]
#[command(
    after_help = "Entries whose files were removed for their age are not found any more afterwards. What was used stays \
    as it was added up."
)]
pub struct AuditReindex {
    /// Only what this writer wrote: the name of its folder
    #[arg(long, value_name = "WRITER")]
    pub writer: Option<String>,
    /// Where the gateway keeps its state
    #[command(flatten)]
    pub store: StoreArgs,
}

const USAGE_HELP: &str = "\
Days are those of UTC. What calls cost is added up by the prices of their time (`usage.prices`).

Examples:
  tollgate usage -c tollgate.yaml --by tenant --since 30d
  tollgate usage --by tenant,agent,tool --since 2027-01-01T00:00:00Z --until 2027-02-01T00:00:00Z --format csv";

/// Show how much was used: calls, errors, bytes, tokens, cost
#[derive(Debug, Args)]
#[command(after_help = USAGE_HELP)]
pub struct Usage {
    /// By what it is told apart (may be several, with commas between)
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',', default_value = "tenant")]
    pub by: Vec<By>,
    /// From the day of then: a time ago (30d) or a time (2027-01-01T00:00:00Z)
    #[arg(long, value_name = "WHEN", value_parser = moment, default_value = "30d")]
    pub since: Moment,
    /// Only days before the day of then, or, of a time within a day, up to it
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub until: Option<Moment>,
    /// Only this tenant's
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// How it is shown
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub format: Format,
    /// Where the gateway keeps its state
    #[command(flatten)]
    pub store: StoreArgs,
}

/// By what usage is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Day by day.
    Day,
    /// By tenant.
    Tenant,
    /// By agent.
    Agent,
    /// By server.
    Server,
    /// By tool, with its server.
    Tool,
}

/// How usage is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For spreadsheets (RFC 4180).
    Csv,
    /// One JSON array.
    Json,
}
