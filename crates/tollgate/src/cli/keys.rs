//! What may be typed behind `tollgate keys` and `tollgate revocations`.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use tollgate_model::Timestamp;

use super::StoreArgs;

const KEYS_HELP: &str = "\
A key is shown once, when it is made; only its SHA-256 digest is kept. Its form is tg_ID_SECRET, with a checksum at its end:
scanners for leaked secrets find it by tg_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}. Callers send it as `Authorization: Bearer tg_…`.

What is changed here every gateway on the same store knows within a second, whether one runs now or not.

Examples:
  tollgate keys create -c tollgate.yaml --agent support-bot --tenant acme --group support --expires 90d
  tollgate keys list -c tollgate.yaml
  tollgate keys rotate -c tollgate.yaml 4fVbq0Zk81Yt --overlap 24h
  tollgate keys revoke -c tollgate.yaml 4fVbq0Zk81Yt
  tollgate keys create --declare --agent ci-bot     a key for the configuration file (GitOps), stored nowhere
  pass tollgate/ci | tollgate keys hash             the digest of a key for the configuration file";

/// Make, list, rotate and revoke API keys
#[derive(Debug, Subcommand)]
#[command(after_help = KEYS_HELP)]
pub enum Keys {
    /// Make a key for an agent, and show it once
    Create(KeysCreate),
    /// List the keys, also those that have ended
    List(KeysList),
    /// Make a key that takes another one's place; both are good for a while
    Rotate(KeysRotate),
    /// Revoke a key for good
    Revoke(KeysRevoke),
    /// Read a key from standard input and print its digest, as the configuration file declares keys
    Hash(KeysHash),
}

/// Make a key for an agent, and show it once
#[derive(Debug, Args)]
pub struct KeysCreate {
    /// The agent that will call with it
    #[arg(long, value_name = "NAME")]
    pub agent: String,
    /// The agent's tenant
    #[arg(long, value_name = "TENANT", default_value = "default")]
    pub tenant: String,
    /// A group of the agent (may be repeated)
    #[arg(long = "group", value_name = "GROUP")]
    pub groups: Vec<String>,
    /// When it ends: after a time (90d, 12h, 30m) or at one (2027-01-01T00:00:00Z) [default: never]
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub expires: Option<Moment>,
    /// Store nothing: show what declares the key in a configuration file
    #[arg(long)]
    pub declare: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// List the keys, also those that have ended
#[derive(Debug, Args)]
pub struct KeysList {
    /// Only this tenant's
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Only this agent's
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where they are stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Make a key that takes another one's place; both are good for a while
#[derive(Debug, Args)]
pub struct KeysRotate {
    /// The id of the old key
    #[arg(value_name = "ID")]
    pub id: String,
    /// How long the old key stays good
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = span)]
    pub overlap: Duration,
    /// When the new key ends [default: after as long as the old one was made for]
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub expires: Option<Moment>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where they are stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Revoke a key for good
#[derive(Debug, Args)]
pub struct KeysRevoke {
    /// The id of the key
    #[arg(value_name = "ID")]
    pub id: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Read a key from standard input and print its digest, as the configuration file declares keys
#[derive(Debug, Args)]
pub struct KeysHash {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

const REVOCATIONS_HELP: &str = "\
What is taken back is refused within a second by every gateway on the same store, and ends what is under way. Users and
agents are named as policies name them, with their issuer's prefix.

Examples:
  tollgate revocations add -c tollgate.yaml --issuer https://idp.example.com --token 8b1c --for 12h
  tollgate revocations add -c tollgate.yaml --user okta:ada --tenant acme
  tollgate revocations list -c tollgate.yaml
  tollgate revocations remove -c tollgate.yaml --user okta:ada --tenant acme";

/// Take back tokens, users and agents before they end by themselves
#[derive(Debug, Subcommand)]
#[command(after_help = REVOCATIONS_HELP)]
pub enum Revocations {
    /// Take something back
    Add(RevocationsAdd),
    /// List what is taken back
    List(RevocationsList),
    /// Let it in again
    Remove(RevocationsRemove),
}

/// What is taken back: exactly one of a token, a user and an agent.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["token", "user", "agent"]))]
pub struct What {
    /// One access token, by its `jti`
    #[arg(long, value_name = "JTI", requires = "issuer")]
    pub token: Option<String>,
    /// The token's issuer
    #[arg(long, value_name = "URL", conflicts_with_all = ["user", "agent"])]
    pub issuer: Option<String>,
    /// Everything that is done on behalf of a user
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Everything that an agent does
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// The user's or agent's tenant
    #[arg(long, value_name = "TENANT", default_value = "default")]
    pub tenant: String,
}

/// Take something back
#[derive(Debug, Args)]
pub struct RevocationsAdd {
    /// What
    #[command(flatten)]
    pub what: What,
    /// How long it holds: for a time (12h) or until one (2027-01-01T00:00:00Z) [default: for good]
    #[arg(long = "for", value_name = "WHEN", value_parser = moment)]
    pub until: Option<Moment>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// List what is taken back
#[derive(Debug, Args)]
pub struct RevocationsList {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Let it in again
#[derive(Debug, Args)]
pub struct RevocationsRemove {
    /// What
    #[command(flatten)]
    pub what: What,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where it is stored
    #[command(flatten)]
    pub store: StoreArgs,
}

/// A point in time, as people say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// After so long.
    After(Duration),
    /// At this time.
    At(Timestamp),
}

impl Moment {
    /// When it is, seen from now.
    pub fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::After(span) => now.after(span),
            Self::At(time) => time,
        }
    }

    /// When it was: a time ago rather than after one.
    pub fn ago(self, now: Timestamp) -> Timestamp {
        match self {
            Self::After(span) => {
                Timestamp::from_ms(now.as_ms().saturating_sub(Timestamp::default().after(span).as_ms()))
            }
            Self::At(time) => time,
        }
    }
}

pub(super) fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(time) = text.parse() {
        return Ok(Moment::At(time));
    }
    span(text).map(Moment::After).map_err(|_| "write 90d, 12h or 30m, or 2027-01-01T00:00:00Z".to_owned())
}

fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "write 90d, 12h, 30m or 45s".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        "d" => 86_400,
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number
        .checked_mul(seconds)
        .filter(|all| (1..=3_155_760_000).contains(all))
        .map(Duration::from_secs)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(span("90d"), Ok(Duration::from_hours(90 * 24)));
        assert_eq!(span("45s"), Ok(Duration::from_secs(45)));
        assert_eq!(moment("1970-01-01T00:00:01Z"), Ok(Moment::At(Timestamp::from_ms(1000))));
        let now = Timestamp::from_ms(90_000);
        assert_eq!(Moment::After(Duration::from_mins(1)).ago(now), Timestamp::from_ms(30_000));
        assert_eq!(Moment::After(Duration::from_hours(1)).ago(now), Timestamp::from_ms(0));
        for bad in ["", "d", "-1d", "1", "1w", "1.5h", "0s", "99999999999999d", "é"] {
            assert!(span(bad).is_err() && moment(bad).is_err(), "{bad}");
        }
    }
}
