//! `tollgate audit search`, `tail` and `reindex`: what the index has.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tollgate_ledger::{CallId, Kind, Outcome};
use tollgate_model::Timestamp;
use tollgate_store::{AuditFound, AuditQuery, AuditRow, OPEN};

use super::full::Entries;
use crate::cli::search::{AuditReindex, AuditSearch, AuditTail, Filters};
use crate::exit::Failure;
use crate::keys::table;
use crate::out::{Printer, To, safe};
use crate::state::{failure, open_store};

/// How often what arrives is asked for.
const ASKED: Duration = Duration::from_millis(500);
/// How many rows are asked for at once.
const AT_ONCE: usize = 500;

/// Finds, and shows the newest first.
pub(super) async fn run(command: &AuditSearch) -> Result<(), Failure> {
    let now = Timestamp::now();
    let query = AuditQuery {
        since: command.since.map(|since| since.ago(now)),
        until: command.until.map(|until| until.ago(now)),
        most: command.limit as usize,
        ..query(&command.filters)?
    };
    let found = open_store(&command.store).await?.search(&query).await.map_err(|error| failure(&error))?;
    let out = Printer::new(To::Out);
    if command.full {
        let entries = Entries::of(&command.store)?;
        let missing = found.rows.iter().filter(|row| !entries.print(row, None, out)).count();
        return said_missing(missing);
    }
    if command.json {
        for row in &found.rows {
            out.line(object(row, &found).to_string());
        }
        return Ok(());
    }
    show(&found);
    if found.rows.len() == command.limit as usize {
        let err = Printer::new(To::Err);
        err.line(err.dim(&format!("There may be more: these are the newest {}.", command.limit)));
    }
    Ok(())
}

/// Says how many entries are on record elsewhere.
pub(super) fn said_missing(missing: usize) -> Result<(), Failure> {
    match missing {
        0 => Ok(()),
        1 => Err(Failure::failed("one of them is not in the record on this machine")),
        missing => Err(Failure::failed(format!("{missing} of them are not in the record on this machine"))),
    }
}

/// Shows what arrives, until it is stopped.
pub(super) async fn tail(command: &AuditTail) -> Result<(), Failure> {
    let query = query(&command.filters)?;
    let store = open_store(&command.store).await?;
    let out = Printer::new(To::Out);
    let show = |found: &AuditFound, row: &AuditRow| {
        out.line(if command.json { object(row, found).to_string() } else { line(row, found, out) });
    };
    // The place first: what comes meanwhile is rather shown twice than never.
    let mut seen = store.arrived_so_far().await.map_err(|error| failure(&error))?;
    if command.lines > 0 {
        let last = AuditQuery { most: command.lines as usize, ..query.clone() };
        let found = store.search(&last).await.map_err(|error| failure(&error))?;
        for row in found.rows.iter().rev().filter(|row| is_seen(row, &seen)) {
            show(&found, row);
        }
    }
    loop {
        let found = match store.arrived(&mut seen, &query, AT_ONCE).await {
            Ok(found) => found,
            Err(error) if error.is_away() => {
                tracing::warn!(%error, "the store does not answer; trying again");
                AuditFound::default()
            }
            Err(error) => return Err(failure(&error)),
        };
        for row in &found.rows {
            show(&found, row);
        }
        if found.rows.len() < AT_ONCE {
            tokio::time::sleep(ASKED).await;
        }
    }
}

fn is_seen(row: &AuditRow, seen: &tollgate_store::Arrived) -> bool {
    row.end_seq().is_some_and(|end| seen.get(&row.writer).is_some_and(|seen| end <= *seen))
}

/// Has the index made again.
pub(super) async fn reindex(command: &AuditReindex) -> Result<(), Failure> {
    let store = open_store(&command.store).await?;
    if let Some(writer) = &command.writer
        && store.followed(writer).await.map_err(|error| failure(&error))?.is_none()
    {
        return Err(Failure::usage(format!("nothing of a writer {writer:?} is in the index")));
    }
    store.forget_index(command.writer.as_deref()).await.map_err(|error| failure(&error))?;
    let err = Printer::new(To::Err);
    err.line("The index is empty. Gateways that run make it again from the record, others when they start.");
    Ok(())
}

fn query(filters: &Filters) -> Result<AuditQuery, Failure> {
    let trace = |text: &String| {
        let trace = Some(text).filter(|text| text.len() == 32);
        trace
            .and_then(|text| u128::from_str_radix(text, 16).ok())
            .ok_or_else(|| Failure::usage("--trace: a trace id is 32 hexadecimal digits"))
    };
    let word = |option: &str, given: &Option<String>, words: &[&str], more: &[&str]| match given {
        Some(word) if !words.iter().chain(more).any(|known| *known == word) => {
            let words: Vec<&str> = words.iter().chain(more).copied().collect();
            Err(Failure::usage(format!("{option}: there is no {word:?}; there are {}", words.join(", "))))
        }
        word => Ok(word.clone()),
    };
    Ok(AuditQuery {
        kind: word("--kind", &filters.kind, &Kind::ROWS, &[])?,
        tenant: filters.tenant.clone(),
        agent: filters.agent.clone(),
        user: filters.user.clone(),
        server: filters.server.clone(),
        tool: filters.tool.clone(),
        outcome: word("--outcome", &filters.outcome, &Outcome::WORDS, &[OPEN])?,
        code: filters.code.clone(),
        policy: filters.policy.clone(),
        trace: filters.trace.as_ref().map(trace).transpose()?,
        call: filters.call.as_ref().map(|text| call("--call", text)).transpose()?,
        digest: filters.digest.clone(),
        ..AuditQuery::default()
    })
}

/// The number of a call.
pub(super) fn call(option: &str, text: &str) -> Result<u128, Failure> {
    let call: CallId = text.parse().map_err(|error| Failure::usage(format!("{option}: {error}")))?;
    Ok(u128::from_be_bytes(call.to_bytes()))
}

/// A row as JSON: the words of the ledger's entries, and names beside references.
pub(super) fn object(row: &AuditRow, found: &AuditFound) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            object.insert(name.to_owned(), value);
        }
    };
    let text = |text: &Option<std::sync::Arc<str>>| json!(text.as_deref());
    let name = |reference: &Option<std::sync::Arc<str>>| {
        json!(reference.as_ref().and_then(|reference| found.names.get(reference)).map(|name| &**name))
    };
    let some = |number: u64| if number == 0 { Value::Null } else { json!(number) };
    put("time", json!(row.time.to_string()));
    put("kind", json!(&*row.kind));
    put("call", json!(row.call.map(|call| CallId::from_bytes(call.to_be_bytes()).to_string())));
    put("step", some(row.step.into()));
    put("element", json!(row.element));
    put("tenant", text(&row.tenant));
    put("agent", text(&row.agent));
    put("agent_name", name(&row.agent));
    put("user", text(&row.user));
    put("user_name", name(&row.user));
    for (member, value) in [
        ("session", &row.session),
        ("client", &row.client),
        ("method", &row.method),
        ("endpoint", &row.endpoint),
        ("server", &row.server),
        ("public_name", &row.public_name),
        ("native_name", &row.native_name),
        ("outcome", &row.outcome),
        ("code", &row.code),
        ("stage", &row.stage),
        ("change", &row.change),
    ] {
        put(member, text(value));
    }
    if row.end.is_none() {
        put("open", json!(true));
    }
    if !row.policies.is_empty() {
        put("policies", row.policies.iter().map(|policy| &**policy).collect());
    }
    put("trace", json!(row.trace.map(|trace| format!("{trace:032x}"))));
    put("arguments_digest", text(&row.digest));
    for (member, number) in [
        ("total_us", row.total_us),
        ("sent_bytes", row.sent_bytes),
        ("received_bytes", row.received_bytes),
        ("sent_tokens", row.sent_tokens),
        ("received_tokens", row.received_tokens),
    ] {
        put(member, some(number));
    }
    put("writer", json!(&*row.writer));
    put("seq", json!(row.begin.seq));
    put("end_seq", json!(row.end_seq().filter(|end| *end != row.begin.seq)));
    Value::Object(object)
}

/// The columns that people are shown.
const HEAD: [&str; 8] = ["TIME", "TENANT", "AGENT", "USER", "WHAT", "OUTCOME", "MS", "CALL"];

fn cells(row: &AuditRow, found: &AuditFound) -> [String; 8] {
    let name = |reference: &Option<std::sync::Arc<str>>| match reference {
        None => "-".to_owned(),
        Some(reference) => {
            found.names.get(reference).map_or_else(|| format!("({reference})"), |name| safe(name))
        }
    };
    let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().unwrap_or("-").to_owned();
    let what = match (&*row.kind, &row.public_name, &row.method, &row.change) {
        (_, Some(name), ..) => name.to_string(),
        (_, None, Some(method), _) => method.to_string(),
        (_, _, _, Some(change)) => change.to_string(),
        (kind, ..) => kind.replace('_', " "),
    };
    let outcome = match (&row.outcome, &row.code) {
        _ if row.end.is_none() => "open".to_owned(),
        (Some(outcome), Some(code)) => format!("{outcome} ({code})"),
        (Some(outcome), None) => outcome.to_string(),
        (None, Some(code)) => code.to_string(),
        (None, None) => "-".to_owned(),
    };
    let ms = match row.total_us {
        0 => "-".to_owned(),
        us => format!("{}.{}", us / 1000, us % 1000 / 100),
    };
    let call = row.call.map(|call| CallId::from_bytes(call.to_be_bytes()).to_string());
    let call = call.unwrap_or_else(|| "-".to_owned());
    [row.time.to_string(), text(&row.tenant), name(&row.agent), name(&row.user), what, outcome, ms, call]
        .map(|cell| safe(&cell).replace(['\n', '\t'], " "))
}

/// Shows rows to a person.
pub(super) fn show(found: &AuditFound) {
    if found.rows.is_empty() {
        let err = Printer::new(To::Err);
        err.line("Nothing is found.");
        return;
    }
    let rows: Vec<Vec<String>> = found.rows.iter().map(|row| cells(row, found).to_vec()).collect();
    table(&HEAD.map(str::to_owned), &rows);
}

/// A row of which nobody knows yet how wide its columns will be.
fn line(row: &AuditRow, found: &AuditFound, out: Printer) -> String {
    let [time, tenant, agent, user, what, outcome, ms, call] = cells(row, found);
    let outcome = if outcome == "ok" { outcome } else { out.bold(&outcome) };
    format!("{}  {tenant}  {agent}  {user}  {what}  {outcome}  {ms}  {}", out.dim(&time), out.dim(&call))
}
