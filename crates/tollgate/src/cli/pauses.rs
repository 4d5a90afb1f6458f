//! What may be typed behind `tollgate paused` and `tollgate resume`.

use clap::Args;

use super::StoreArgs;

const RESUME_HELP: &str = "\
Every gateway on the same store lets it through again within a second. What it did before counts no more: it is watched as if
it had just come.

Examples:
  tollgate paused -c tollgate.yaml
  tollgate resume support-bot --tenant acme -c tollgate.yaml --reason 'its loop is mended'";

/// List which agents have run away and are paused, why and until when
#[derive(Debug, Args)]
pub struct Paused {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Let an agent go on that is paused, at every gateway
#[derive(Debug, Args)]
#[command(after_help = RESUME_HELP)]
pub struct Resume {
    /// Its name, as `tollgate paused` lists it
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Whose it is [default: the only tenant]
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
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
