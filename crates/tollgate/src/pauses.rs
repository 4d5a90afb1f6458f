//! `tollgate paused` and `tollgate resume`: agents that have run away.

use serde_json::{Value, json};
use tollgate_model::Timestamp;
use tollgate_store::{Pausable, Pausing, Resuming};

use crate::blocks::{config_of, reason, tenant_of, user};
use crate::cli::pauses::{Paused, Resume};
use crate::door;
use crate::exit::Failure;
use crate::keys::table;
use crate::out::{Printer, To, safe};
use crate::state::{failure, open_store};

/// How many are read at once.
const PAGE: usize = 500;

/// Lists who is paused.
pub(crate) async fn list(command: &Paused) -> Result<(), Failure> {
    let store = open_store(&command.store).await?;
    let mut found: Vec<Pausing> = Vec::new();
    loop {
        let after = found.last().map(|last| last.who.clone());
        let page = store.pauses(after.as_ref(), PAGE).await.map_err(|error| failure(&error))?;
        let is_last = page.len() < PAGE;
        found.extend(page);
        if is_last {
            break;
        }
    }
    let now = Timestamp::now();
    found.retain(|pausing| pausing.until > now);
    if command.json {
        Printer::new(To::Out).line(found.iter().map(object).collect::<Value>().to_string());
    } else if found.is_empty() {
        Printer::new(To::Err).line("Nobody is paused.");
    } else {
        let rows: Vec<Vec<String>> = found.iter().map(row).collect();
        table(&["NAME", "TENANT", "WHY", "SINCE", "UNTIL"].map(str::to_owned), &rows);
    }
    Ok(())
}

/// Lets an agent go on.
pub(crate) async fn resume(command: &Resume) -> Result<(), Failure> {
    let tenant = tenant_of(command.tenant.as_deref(), config_of(&command.store).as_ref())?;
    let who = Pausable { tenant, agent: command.name.as_str().into() };
    let reason = reason(&command.reason)?;
    let was_paused = if let Some(gateway) = door::running(&command.store).await? {
        let names = ["pauses", who.tenant.as_str(), &who.agent];
        gateway.remove(&door::path(&names, &[("reason", &reason)])).await?
    } else {
        let store = open_store(&command.store).await?;
        let resuming = Resuming { who, reason, by: user() };
        store.resume(resuming).await.map_err(|error| failure(&error))?
    };
    if !was_paused {
        let text = format!("{} is not paused; `tollgate paused` lists who is", safe(&command.name));
        return Err(Failure::usage(text));
    }
    let out = Printer::new(To::Out);
    if command.json {
        out.line(json!({ "resumed": true }).to_string());
    } else {
        out.line(format!("{} {} goes on", out.green("ok:"), safe(&command.name)));
    }
    Ok(())
}

fn object(pausing: &Pausing) -> Value {
    let Pausing { who, why, since, until } = pausing;
    json!({
        "name": &*who.agent, "tenant": who.tenant.as_str(), "why": &**why,
        "since": since.to_string(), "until": until.to_string(),
    })
}

fn row(pausing: &Pausing) -> Vec<String> {
    let Pausing { who, why, since, until } = pausing;
    let texts = [&*who.agent, who.tenant.as_str(), &**why].map(safe);
    texts.into_iter().chain([since.to_string(), until.to_string()]).collect()
}
