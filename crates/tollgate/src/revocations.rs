//! `tollgate revocations`: what is taken back before it ends by itself.

use std::sync::Arc;

use serde_json::{Value, json};
use tollgate_identity::names;
use tollgate_model::{TenantId, Timestamp};
use tollgate_store::{Revocable, Revocation};

use crate::cli::keys::{Revocations, RevocationsAdd, RevocationsList, RevocationsRemove, What};
use crate::door;
use crate::exit::Failure;
use crate::keys::{check_tenant, table};
use crate::out::{Printer, To, safe};
use crate::state::{failure, open_store};

/// How many are read at once.
const PAGE: usize = 500;

/// Runs one of the commands.
pub(crate) async fn run(command: Revocations) -> Result<(), Failure> {
    match command {
        Revocations::Add(command) => add(&command).await,
        Revocations::List(command) => list(&command).await,
        Revocations::Remove(command) => remove(&command).await,
    }
}

async fn add(command: &RevocationsAdd) -> Result<(), Failure> {
    let what = revocable(&command.what)?;
    if !matches!(what, Revocable::Token { .. }) {
        check_tenant(&command.store, &command.what.tenant)?;
    }
    let now = Timestamp::now();
    let until = command.until.map(|until| until.from(now));
    if until.is_some_and(|until| until <= now) {
        return Err(Failure::usage("--for: this time is over"));
    }
    let revocation = Revocation { what, since: now, until };
    let revocation = match door::running(&command.store).await? {
        Some(gateway) => {
            let (kind, whose, name) = revocation.what.parts();
            let mut body = json!({ "kind": kind, "of": whose, "name": name });
            door::ends(&mut body, ("seconds", "until"), command.until);
            let (_, made) = gateway.post(&door::path(&["revocations"], &[]), &body).await?;
            let since = door::time(&made, "since").unwrap_or(now);
            Revocation { since, until: door::time(&made, "until"), ..revocation }
        }
        None => {
            let store = open_store(&command.store).await?;
            store.revoke(revocation.clone()).await.map_err(|error| failure(&error))?;
            revocation
        }
    };
    let until = revocation.until;
    let out = Printer::new(To::Out);
    if command.json {
        out.line(object(&revocation).to_string());
    } else {
        let ends = until.map_or_else(|| "for good".to_owned(), |until| format!("until {until}"));
        out.line(format!("{} {} is taken back {ends}", out.green("ok:"), shown(&revocation.what)));
    }
    Ok(())
}

async fn list(command: &RevocationsList) -> Result<(), Failure> {
    let store = open_store(&command.store).await?;
    let now = Timestamp::now();
    let mut after: Option<Revocable> = None;
    let mut found: Vec<Revocation> = Vec::new();
    loop {
        let page = store.revocations(after.as_ref(), PAGE).await.map_err(|error| failure(&error))?;
        after = page.last().map(|last| last.what.clone());
        let is_last = page.len() < PAGE;
        found.extend(page.into_iter().filter(|revocation| revocation.holds(now)));
        if is_last {
            break;
        }
    }
    if command.json {
        Printer::new(To::Out).line(found.iter().map(object).collect::<Value>().to_string());
    } else if found.is_empty() {
        Printer::new(To::Err).line("Nothing is taken back.");
    } else {
        let rows: Vec<Vec<String>> = found.iter().map(row).collect();
        table(&["WHAT", "NAME", "OF", "SINCE", "UNTIL"].map(str::to_owned), &rows);
    }
    Ok(())
}

async fn remove(command: &RevocationsRemove) -> Result<(), Failure> {
    let what = revocable(&command.what)?;
    let was_there = if let Some(gateway) = door::running(&command.store).await? {
        let (kind, whose, name) = what.parts();
        let id = tollgate_admin::pack(&[kind, whose, name]);
        gateway.remove(&door::path(&["revocations", &id], &[])).await?
    } else {
        let store = open_store(&command.store).await?;
        store.reinstate(&what).await.map_err(|error| failure(&error))?
    };
    if !was_there {
        return Err(Failure::usage(format!("{} is not taken back", shown(&what))));
    }
    let out = Printer::new(To::Out);
    if command.json {
        out.line(json!({ "removed": true }).to_string());
    } else {
        out.line(format!("{} {} is let in again", out.green("ok:"), shown(&what)));
    }
    Ok(())
}

fn revocable(what: &What) -> Result<Revocable, Failure> {
    let name = |option: &str, name: &str| {
        names::check(name).map_err(|bad| Failure::usage(format!("{option}: {bad}")))?;
        Ok::<Arc<str>, Failure>(Arc::from(name))
    };
    let tenant = TenantId::new(&what.tenant);
    match (&what.token, &what.issuer, &what.user, &what.agent) {
        (Some(id), Some(issuer), ..) => {
            Ok(Revocable::Token { issuer: name("--issuer", issuer)?, id: name("--token", id)? })
        }
        (_, _, Some(user), _) => Ok(Revocable::User { tenant, user: name("--user", user)? }),
        (_, _, _, Some(agent)) => Ok(Revocable::Agent { tenant, agent: name("--agent", agent)? }),
        _ => Err(Failure::usage("say what: --token and --issuer, --user, or --agent")),
    }
}

fn shown(what: &Revocable) -> String {
    let (kind, whose, name) = what.parts();
    format!("the {kind} {} of {}", safe(name), safe(whose))
}

fn object(revocation: &Revocation) -> Value {
    let (kind, whose, name) = revocation.what.parts();
    let of = if kind == "token" { "issuer" } else { "tenant" };
    json!({
        "what": kind,
        "name": name,
        of: whose,
        "since": revocation.since.to_string(),
        "until": revocation.until.map(|until| until.to_string()),
    })
}

fn row(revocation: &Revocation) -> Vec<String> {
    let (kind, whose, name) = revocation.what.parts();
    let until = revocation.until.map_or_else(|| "for good".to_owned(), |until| until.to_string());
    [kind, name, whose, &revocation.since.to_string(), &until].map(safe).to_vec()
}
