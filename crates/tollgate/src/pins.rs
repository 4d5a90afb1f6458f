//! `tollgate pins`: how servers define what they offer, and what of it was approved.

mod live;

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use tollgate_guard::pins::{Definition, Difference, compare, skeletons, unified};
use tollgate_model::{ServerName, TenantId, Timestamp};
use tollgate_store::{Approved, Approving, Pin, PinKind, PinOf, Store, WhichPins};

use crate::blocks::{config_of, reason, user};
use crate::cli::pins::{Approve, Diff, Forget, Items, Kind, List, Pins, PinsCommand};
use crate::door::{self, Gateway, NotDone};
use crate::exit::Failure;
use crate::keys::table;
use crate::out::{Printer, To, safe};
use crate::state::{failure, open_store};

/// How many are read at once.
const PAGE: usize = 200;

/// Does what was typed.
pub(crate) async fn run(command: PinsCommand) -> Result<(), Failure> {
    match command.command {
        Pins::List(command) => list(&command).await,
        Pins::Diff(command) => diff(&command).await,
        Pins::Approve(command) => approve(&command).await,
        Pins::Forget(command) => forget(&command).await,
        Pins::Lock(command) => live::lock(&command).await,
        Pins::Check(command) => Box::pin(live::check(&command)).await,
    }
}

async fn list(command: &List) -> Result<(), Failure> {
    let server = command.server.as_deref().map(server_name).transpose()?;
    let store = open_store(&command.store).await?;
    let found = pins(&*store, server.as_ref(), command.waiting).await?;
    if command.json {
        Printer::new(To::Out).line(found.iter().map(object).collect::<Value>().to_string());
    } else if found.is_empty() {
        let text = if command.waiting { "Nothing waits to be approved." } else { "Nothing is pinned." };
        Printer::new(To::Err).line(text);
    } else {
        let rows: Vec<Vec<String>> = found.iter().map(|pin| row(pin, &found)).collect();
        table(&["KIND", "ITEM", "TENANT", "STATE", "RISK", "SINCE", "BY"].map(str::to_owned), &rows);
    }
    Ok(())
}

async fn diff(command: &Diff) -> Result<(), Failure> {
    let store = open_store(&command.store).await?;
    let all = pins(&*store, None, false).await?;
    let chosen = choose(&all, &command.items, true)?;
    let out = Printer::new(To::Out);
    if command.json {
        let shown = |pin: &&Pin| {
            let mut object = object(pin);
            let difference = difference(pin, &all);
            object["fields"] = difference
                .fields
                .iter()
                .map(|change| json!({"field": change.field, "how": change.how.as_str()}))
                .collect();
            object["risks"] = difference
                .risks
                .iter()
                .map(|risk| json!({"id": risk.id, "severity": risk.severity.as_str(), "text": risk.text}))
                .collect();
            object["diff"] = text_of(pin).into();
            object
        };
        out.line(chosen.iter().map(shown).collect::<Value>().to_string());
        return Ok(());
    }
    if chosen.is_empty() {
        Printer::new(To::Err).line("Nothing waits to be approved.");
    }
    for pin in chosen {
        let waiting = pin.waiting.as_ref().map(|shape| shape.digest.to_string()).unwrap_or_default();
        out.line(out.bold(&format!("{} {}", pin.of.kind.as_str(), shown(&pin.of))));
        out.line(format!("digest: {waiting}"));
        for risk in difference(pin, &all).risks {
            let severity = risk.severity.as_str();
            let severity = if severity == "high" { out.red(severity) } else { severity.to_owned() };
            out.line(format!("{severity}: {}", safe(&risk.text)));
        }
        for line in text_of(pin).lines() {
            out.line(match line.as_bytes().first() {
                Some(b'+') => out.green(line),
                Some(b'-') => out.red(line),
                _ => line.to_owned(),
            });
        }
        out.line("");
    }
    Ok(())
}

async fn approve(command: &Approve) -> Result<(), Failure> {
    if command.items.items.is_empty() && command.items.server.is_none() && !command.all {
        return Err(Failure::usage("say what: SERVER/NAME, --server NAME, or --all"));
    }
    if config_of(&command.store).is_some_and(|config| config.proxy.pins.lock.is_some()) {
        let text =
            "the configuration has a lock file, and nothing else is approved: `tollgate pins lock` writes it";
        return Err(Failure::usage(text));
    }
    let (reason, by) = (reason(&command.reason)?, user());
    let gateway = door::running(&command.store).await?;
    let store = open_store(&command.store).await?;
    let all = pins(&*store, None, false).await?;
    let chosen = choose(&all, &command.items, true)?;
    let mut done = Vec::new();
    let out = Printer::new(To::Out);
    for pin in chosen {
        let Some(waiting) = &pin.waiting else { continue };
        if command.digest.as_ref().is_some_and(|wanted| *wanted != waiting.digest.to_string()) {
            let text = format!("what waits of {} has the digest {}", shown(&pin.of), waiting.digest);
            return Err(Failure::failed(text));
        }
        let approving = Approving {
            of: pin.of.clone(),
            digest: waiting.digest,
            by: Arc::clone(&by),
            reason: Arc::clone(&reason),
            at: Timestamp::now(),
        };
        let approved = match &gateway {
            Some(gateway) => approve_there(gateway, &approving).await?,
            None => store.approve_pin(approving).await.map_err(|error| failure(&error))?,
        };
        match approved {
            Approved::Now | Approved::Before => {
                if !command.json {
                    out.line(format!(
                        "{} {} {} is approved",
                        out.green("ok:"),
                        pin.of.kind.as_str(),
                        shown(&pin.of)
                    ));
                }
                done.push(pin);
            }
            Approved::Otherwise | Approved::Unknown => {
                let text = format!(
                    "{} is another by now: look at it again with `tollgate pins diff`",
                    shown(&pin.of)
                );
                return Err(Failure::failed(text));
            }
        }
    }
    if command.json {
        let approved = |pin: &&Pin| json!({"kind": pin.of.kind.as_str(), "item": name(&pin.of), "digest": pin.waiting.as_ref().map(|shape| shape.digest.to_string())});
        out.line(done.iter().map(approved).collect::<Value>().to_string());
    } else if done.is_empty() {
        Printer::new(To::Err).line("Nothing waits to be approved.");
    }
    Ok(())
}

/// Has the gateway that runs approve what was looked at.
async fn approve_there(gateway: &Gateway, approving: &Approving) -> Result<Approved, Failure> {
    let body = json!({ "digest": approving.digest.to_string(), "reason": &*approving.reason });
    match gateway.post(&format!("{}/approve", path(&approving.of, "")), &body).await {
        Ok(_) => Ok(Approved::Now),
        Err(NotDone::Refused(StatusCode::CONFLICT, _)) => Ok(Approved::Otherwise),
        Err(NotDone::Refused(StatusCode::NOT_FOUND, _)) => Ok(Approved::Unknown),
        Err(not_done) => Err(not_done.into()),
    }
}

fn path(of: &PinOf, reason: &str) -> String {
    let tenant = of.tenant.as_ref().map_or("", TenantId::as_str);
    let id = tollgate_admin::pack(&[tenant, of.server.as_str(), of.kind.as_str(), &of.item]);
    door::path(&["pins", &id], &[("reason", reason)])
}

async fn forget(command: &Forget) -> Result<(), Failure> {
    if command.items.items.is_empty() && command.items.server.is_none() {
        return Err(Failure::usage("say what: SERVER/NAME, or --server NAME"));
    }
    let (reason, by) = (reason(&command.reason)?, user());
    let gateway = door::running(&command.store).await?;
    let store = open_store(&command.store).await?;
    let all = pins(&*store, None, false).await?;
    let chosen = choose(&all, &command.items, false)?;
    for pin in &chosen {
        match &gateway {
            Some(gateway) => drop(gateway.remove(&path(&pin.of, &reason)).await?),
            None => drop(store.forget_pin(&pin.of, &by, &reason).await.map_err(|error| failure(&error))?),
        }
    }
    let out = Printer::new(To::Out);
    if command.json {
        out.line(json!({ "forgotten": chosen.len() }).to_string());
    } else {
        out.line(format!("{} {} forgotten", out.green("ok:"), chosen.len()));
    }
    Ok(())
}

/// All pins, or those of a server.
async fn pins(store: &dyn Store, server: Option<&ServerName>, is_waiting: bool) -> Result<Vec<Pin>, Failure> {
    let mut found: Vec<Pin> = Vec::new();
    loop {
        let after = found.last().map(|last| last.of.clone());
        let which = WhichPins { server: server.cloned(), is_waiting, after, most: PAGE };
        let page = store.pins(&which).await.map_err(|error| failure(&error))?;
        let is_last = page.len() < PAGE;
        found.extend(page);
        if is_last {
            return Ok(found);
        }
    }
}

/// The pins that are meant.
fn choose<'a>(all: &'a [Pin], items: &Items, is_waiting: bool) -> Result<Vec<&'a Pin>, Failure> {
    let kind = items.kind.map(|kind| match kind {
        Kind::Instructions => PinKind::Instructions,
        Kind::Prompt => PinKind::Prompt,
        Kind::Resource => PinKind::Resource,
        Kind::Template => PinKind::Template,
        Kind::Tool => PinKind::Tool,
    });
    let tenant = items.tenant.as_deref().map(TenantId::new);
    let server = items.server.as_deref().map(server_name).transpose()?;
    let fits = |pin: &&Pin| {
        kind.is_none_or(|kind| kind == pin.of.kind)
            && tenant.as_ref().is_none_or(|tenant| Some(tenant) == pin.of.tenant.as_ref())
            && server.as_ref().is_none_or(|server| *server == pin.of.server)
    };
    if items.items.is_empty() {
        return Ok(all.iter().filter(fits).filter(|pin| !is_waiting || pin.waiting.is_some()).collect());
    }
    let mut chosen = Vec::new();
    for item in &items.items {
        let found: Vec<&Pin> = all.iter().filter(fits).filter(|pin| name(&pin.of) == *item).collect();
        match found[..] {
            [] => {
                let text = format!("nothing is pinned as {}; `tollgate pins list` lists what is", safe(item));
                return Err(Failure::usage(text));
            }
            [pin] if is_waiting && pin.waiting.is_none() => {
                return Err(Failure::usage(format!(
                    "nothing waits of {}: it is as it was approved",
                    safe(item)
                )));
            }
            [pin] => chosen.push(pin),
            _ => {
                return Err(Failure::usage(format!(
                    "several things are pinned as {}: say which by --kind or --tenant",
                    safe(item)
                )));
            }
        }
    }
    Ok(chosen)
}

fn server_name(text: &str) -> Result<ServerName, Failure> {
    ServerName::new(text).map_err(|bad| Failure::usage(format!("{text:?} is no name of a server: {bad}")))
}

fn name(of: &PinOf) -> String {
    format!("{}/{}", of.server, of.item)
}

fn shown(of: &PinOf) -> String {
    let tenant = of.tenant.as_ref().filter(|tenant| **tenant != TenantId::default());
    let whose = tenant.map(|tenant| format!(" of {}", safe(tenant.as_str()))).unwrap_or_default();
    format!("{}{whose}", visible(&name(of)))
}

/// A name of which everything is seen: it may be that of a look-alike.
fn visible(name: &str) -> String {
    let is_plain = name.is_ascii() && !name.chars().any(char::is_control);
    if is_plain { name.to_owned() } else { name.escape_default().to_string() }
}

fn definitions(pin: &Pin) -> (Option<Definition>, Option<Definition>) {
    let read = |shape: &Option<tollgate_store::PinShape>| {
        let text = shape.as_ref()?.text.as_ref()?;
        Some(Definition::from_text(pin.of.kind, text))
    };
    (read(&pin.approved), read(&pin.waiting))
}

/// How what waits differs, and what that risks.
fn difference(pin: &Pin, all: &[Pin]) -> Difference {
    let (approved, waiting) = definitions(pin);
    let Some(waiting) = waiting else { return Difference::default() };
    let difference = compare(approved.as_ref(), &waiting);
    let is_named = matches!(pin.of.kind, PinKind::Tool | PinKind::Prompt);
    if pin.approved.is_some() || !is_named {
        return difference;
    }
    let own = skeletons(&pin.of.item);
    let is_twin = |other: &&Pin| {
        other.approved.is_some()
            && other.of.kind == pin.of.kind
            && other.of.item != pin.of.item
            && skeletons(&other.of.item).iter().any(|one| own.contains(one))
    };
    match all.iter().find(is_twin) {
        Some(twin) => difference.like(&twin.of.item),
        None => difference,
    }
}

fn text_of(pin: &Pin) -> String {
    match definitions(pin) {
        (approved, Some(waiting)) => unified(approved.as_ref(), &waiting),
        (_, None) if pin.waiting.is_some() => "the definition is too large to be kept as a text\n".to_owned(),
        _ => String::new(),
    }
}

fn state(pin: &Pin) -> &'static str {
    match (&pin.approved, &pin.waiting) {
        (Some(_), None) => "approved",
        (Some(_), Some(_)) => "changed",
        (None, _) => "new",
    }
}

fn object(pin: &Pin) -> Value {
    let digest =
        |shape: &Option<tollgate_store::PinShape>| shape.as_ref().map(|shape| shape.digest.to_string());
    json!({
        "kind": pin.of.kind.as_str(),
        "tenant": pin.of.tenant.as_ref().map(TenantId::as_str),
        "server": pin.of.server.as_str(),
        "name": &*pin.of.item,
        "state": state(pin),
        "approved": digest(&pin.approved),
        "waiting": digest(&pin.waiting),
        "by": &*pin.by,
        "reason": &*pin.reason,
        "since": pin.since.map(|since| since.to_string()),
        "seen": pin.seen.map(|seen| seen.to_string()),
    })
}

fn row(pin: &Pin, all: &[Pin]) -> Vec<String> {
    let tenant = pin.of.tenant.as_ref().map_or("-", TenantId::as_str);
    let risk = if pin.waiting.is_some() {
        difference(pin, all).worst().map_or("?", tollgate_guard::Severity::as_str)
    } else {
        "-"
    };
    let when = pin.seen.or(pin.since).map(|when| when.to_string()).unwrap_or_default();
    let by = if pin.by.is_empty() { "-" } else { &pin.by };
    let texts = [tenant, state(pin), risk, &when, by].map(safe);
    [pin.of.kind.as_str().to_owned(), visible(&name(&pin.of))].into_iter().chain(texts).collect()
}
