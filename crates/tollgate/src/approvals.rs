//! `tollgate approvals`: what waits for people, and what they say.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tollgate_approvals::{ApprovalSettings, Approver, Desk, NotDecided, Sees, show};
use tollgate_model::{TenantId, Timestamp};
use tollgate_store::{Approval, ApprovalId, WhichApprovals};

use crate::blocks;
use crate::cli::StoreArgs;
use crate::cli::approvals::{Approvals, Approve, List, Show, Word};
use crate::door::{self, Gateway};
use crate::exit::Failure;
use crate::keys::table;
use crate::out::{Printer, To, safe};
use crate::state::{failure, open_store};

/// The largest file of arguments, in bytes.
const ARGUMENTS_BYTES_MAX: u64 = 1024 * 1024;

/// Does what is asked about approvals.
pub(crate) async fn run(command: &Approvals) -> Result<(), Failure> {
    match command {
        Approvals::List(list) => self::list(list).await,
        Approvals::Show(show) => self::show(show).await,
        Approvals::Approve(Approve { word, arguments }) => decide(word, true, arguments.as_deref()).await,
        Approvals::Deny(deny) => decide(&deny.word, false, None).await,
    }
}

/// Who types, and by whose name. Who reaches the store itself may see everything that it keeps.
fn approver(who: Option<&str>) -> Approver {
    let user = blocks::user();
    let name = who.map_or_else(|| Arc::clone(&user), Arc::from);
    let via = format!("cli {user}").into();
    Approver { tenant: None, name, also: Vec::new(), groups: Vec::new(), roles: Vec::new(), via }
}

/// By which rules: those of the configuration, if there is one.
fn settings(store: &StoreArgs) -> Arc<ApprovalSettings> {
    blocks::config_of(store).map(|config| config.proxy.approvals).unwrap_or_default()
}

async fn list(command: &List) -> Result<(), Failure> {
    let store = open_store(&command.store).await?;
    let settings = settings(&command.store);
    let now = Timestamp::now();
    let which = WhichApprovals {
        tenant: command.tenant.as_deref().map(TenantId::new),
        waiting_at: (!command.all).then_some(now),
        after: None,
        most: usize::try_from(command.most).unwrap_or(usize::MAX),
    };
    let found = Desk::new(&*store, &settings).list(&approver(None), &which).await;
    let found = found.map_err(|error| failure(&error))?;
    if command.json {
        let objects = found.iter().map(|approval| show::object(approval, Sees::Whole, now));
        Printer::new(To::Out).line(objects.collect::<Value>().to_string());
    } else if found.is_empty() {
        Printer::new(To::Err).line("Nothing waits for approval.");
    } else {
        let rows: Vec<Vec<String>> = found.iter().map(|approval| row(approval, now)).collect();
        table(&["ID", "STATE", "TENANT", "CALLER", "CALL", "ASKED", "UNTIL"].map(str::to_owned), &rows);
    }
    Ok(())
}

async fn show(command: &Show) -> Result<(), Failure> {
    let store = open_store(&command.store).await?;
    let settings = settings(&command.store);
    let found = Desk::new(&*store, &settings).show(&approver(None), &ApprovalId::new(&command.id)).await;
    let found = found.map_err(|error| failure(&error))?.ok_or_else(no_such)?;
    let now = Timestamp::now();
    let out = Printer::new(To::Out);
    if command.json {
        out.line(show::object(&found, Sees::Whole, now).to_string());
        return Ok(());
    }
    for (name, value) in facts(&found, now) {
        out.line(format!("{name:<18}{}", safe(&value)));
    }
    Ok(())
}

async fn decide(word: &Word, agrees: bool, arguments: Option<&Path>) -> Result<(), Failure> {
    let reason = blocks::reason(&word.reason)?;
    let arguments = arguments.map(read).transpose()?;
    if let Some(gateway) = door::running(&word.store).await? {
        return decide_there(&gateway, word, (&reason, arguments.as_deref(), agrees)).await;
    }
    let store = open_store(&word.store).await?;
    let settings = settings(&word.store);
    let (desk, who) = (Desk::new(&*store, &settings), approver(word.who.as_deref()));
    let (id, now) = (ApprovalId::new(&word.id), Timestamp::now());
    let redact = |bytes: &[u8]| String::from_utf8_lossy(&tollgate_ledger::redact(bytes).kept).into_owned();
    let decided = match &arguments {
        Some(text) => desk.edit(&who, &id, (text, redact), (&reason, now)).await,
        None => desk.decide(&who, &id, agrees, (&reason, now)).await,
    };
    let decided = decided.map_err(|error| match error {
        NotDecided::Store(error) => failure(&error),
        other => Failure::failed(other.to_string()),
    })?;
    let out = Printer::new(To::Out);
    if word.json {
        out.line(show::object(&decided, Sees::Whole, now).to_string());
        return Ok(());
    }
    tell(&show::object(&decided, Sees::Digest, now), agrees);
    Ok(())
}

/// What somebody says.
#[derive(Serialize)]
struct Said<'a> {
    reason: &'a str,
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    /// As they were written: numbers keep their digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a RawValue>,
}

/// Has the gateway that runs take somebody's word.
async fn decide_there(
    gateway: &Gateway,
    word: &Word,
    (reason, arguments, agrees): (&str, Option<&str>, bool),
) -> Result<(), Failure> {
    let arguments = arguments.map(serde_json::from_str::<&RawValue>).transpose();
    let arguments =
        arguments.map_err(|error| Failure::usage(format!("--arguments: this is no JSON: {error}")))?;
    let said = Said { reason, name: word.who.as_deref(), arguments };
    let act = if agrees { "approve" } else { "deny" };
    let (_, decided) = gateway.post(&door::path(&["approvals", &word.id, act], &[]), &said).await?;
    if word.json {
        Printer::new(To::Out).line(decided.to_string());
    } else {
        tell(&decided, agrees);
    }
    Ok(())
}

/// Says how an approval stands now.
fn tell(decided: &Value, agrees: bool) {
    let text = |name: &str| safe(decided[name].as_str().unwrap_or_default());
    let missing = decided["missing"].as_array().map(Vec::as_slice).unwrap_or_default();
    let missing: Vec<String> = missing
        .iter()
        .map(|need| format!("{} of {}", need["people"], need["group"].as_str().unwrap_or_default()))
        .collect();
    let more = match (agrees, missing.is_empty()) {
        (true, false) => format!("; still needed: {}", safe(&missing.join(", "))),
        (true, true) => format!("; the call may be made until {}", text("until")),
        (false, _) => format!("; the same call is refused until {}", text("until")),
    };
    let of = match decided["replaces"].as_str() {
        Some(replaced) => format!(", in place of {},", safe(replaced)),
        None => String::new(),
    };
    let out = Printer::new(To::Out);
    out.line(format!("{} {}{of} is {}{more}", out.green("ok:"), text("id"), text("state")));
}

fn no_such() -> Failure {
    Failure::usage("there is no such approval; `tollgate approvals list --all` lists them")
}

/// A file's text; `-` is standard input.
fn read(file: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::usage(format!("--arguments: {}: {error}", file.display()));
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(ARGUMENTS_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    } else {
        let open = std::fs::File::open(file).map_err(failed)?;
        open.take(ARGUMENTS_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    }
    Ok(text)
}

fn caller(approval: &Approval) -> String {
    let asked = &approval.asked;
    let agent = asked.agent.as_deref().unwrap_or("somebody");
    match &asked.user {
        Some(user) => format!("{agent} for {user}"),
        None => agent.to_owned(),
    }
}

fn groups(approval: &Approval) -> String {
    let said = approval.needs.iter().map(|need| match need.people {
        1 => need.group.to_string(),
        people => format!("{people} of {}", need.group),
    });
    said.collect::<Vec<_>>().join(", ")
}

fn row(approval: &Approval, now: Timestamp) -> Vec<String> {
    let asked = &approval.asked;
    vec![
        approval.id.to_string(),
        approval.word(now).to_owned(),
        safe(approval.of.tenant.as_str()),
        safe(&caller(approval)),
        safe(&format!("{}/{}", asked.server, asked.native)),
        safe(&groups(approval)),
        approval.until.to_string(),
    ]
}

fn facts(approval: &Approval, now: Timestamp) -> Vec<(&'static str, String)> {
    let asked = &approval.asked;
    let mut facts = vec![
        ("approval", approval.id.to_string()),
        ("state", approval.word(now).to_owned()),
        ("tenant", approval.of.tenant.as_str().to_owned()),
        ("caller", caller(approval)),
        ("call", format!("{}/{} ({})", asked.server, asked.native, asked.method)),
        (
            "endpoint",
            if asked.endpoint.is_empty() { "/mcp".to_owned() } else { format!("/mcp/{}", asked.endpoint) },
        ),
        ("risk", if asked.risk.is_empty() { "not known".to_owned() } else { asked.risk.to_string() }),
        ("why", asked.why.to_string()),
        ("policies", asked.rules.join(", ")),
        ("asked", groups(approval)),
        ("since", approval.at.to_string()),
        ("until", approval.until.to_string()),
        ("arguments", show::arguments(approval, Sees::Whole).unwrap_or("not kept").to_owned()),
        ("arguments digest", asked.arguments_digest.to_string()),
        ("definition digest", asked.definition.to_string()),
        ("policy digest", asked.policy.to_string()),
        ("record", asked.call.to_string()),
    ];
    facts.extend(approval.replaces.as_ref().map(|id| ("in place of", id.to_string())));
    facts.extend(approval.replaced_by.as_ref().map(|id| ("replaced by", id.to_string())));
    facts.extend(approval.used_by.as_ref().map(|call| ("used by", call.to_string())));
    for vote in &approval.votes {
        let said = if vote.agrees { "approved" } else { "denied" };
        let via = format!("{} ({}) at {}: {}", vote.by, vote.via, vote.at, vote.reason);
        facts.push((said, via));
    }
    facts
}
