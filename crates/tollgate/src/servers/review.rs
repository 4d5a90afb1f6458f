//! `tollgate servers review`: what a server says of itself, what guards find in it and who could call it, before anybody may.

use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_catalog::ListKind;
use tollgate_guard::{
    Direction, Guard, GuardSettings, Guards, Noted, Reading, Rule, Subject, usual_of_definitions,
};
use tollgate_mcp::Span;
use tollgate_model::{ServerId, Timestamp};
use tollgate_store::{Digest, Life, Registration, Store, WHOLE};
use tollgate_upstream::ServerSettings;

use super::{Named, meant};
use crate::blocks::config_of;
use crate::cli::servers::ServersReview;
use crate::client::{CallError, Client};
use crate::config::{Config, Env, ProcessEnv, RegistrySettings, folder_of, label, registered};
use crate::exit::Failure;
use crate::out::{Printer, To, safe};
use crate::policy::callers::Callers;
use crate::state::open_store;

/// What is listed beside tools.
pub(crate) const OTHERS: [ListKind; 3] = [ListKind::Prompts, ListKind::Resources, ListKind::Templates];
/// How many bytes of each of them are looked at.
const OTHERS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What tools say of themselves that whoever approves them should know.
const HINTS: [&str; 4] = ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"];

/// Asks for its tools, and judges them as a gateway would.
pub(super) async fn review(command: &ServersReview) -> Result<(), Failure> {
    let config = config_of(&command.store);
    let named = Named::new(&command.which, config.as_ref())?;
    let store = open_store(&command.store).await?;
    let versions = named.versions(&*store).await?;
    let lives = [Life::Draft, Life::InReview];
    let one = meant(&versions, command.version.as_deref(), &lives, &named)?;
    let server = reached(one, config.as_ref(), Printer::new(To::Err).coloured())?;
    let id = server.id();
    let client = Client::of(server).await?;
    let tools = client.tools(|_| {}).await;
    let mut others = Vec::with_capacity(OTHERS.len());
    if tools.is_ok() {
        for list in OTHERS {
            others.push((list, other(&client, list, OTHERS_BYTES_MAX).await));
        }
    }
    client.close().await;
    let tools = tools?;
    let callers = callers(config.as_ref(), &*store, one, &id, &tools).await?;
    let guard = guard(config.as_ref(), (one.id.tenant.as_str(), one.id.name.as_str()));
    let find = |tool: &Bytes| find(guard.as_ref(), one.id.tenant.as_str(), tool);
    if command.json {
        let mut all = Vec::with_capacity(tools.len());
        for tool in &tools {
            all.push(json!({
                "definition": serde_json::from_slice::<Value>(tool).unwrap_or(Value::Null),
                "digest": Digest::of([&tool[..]]).to_string(),
                "findings": find(tool).iter().map(finding_json).collect::<Value>(),
                "callers": callers.as_ref().map(|callers| callers.json(tool)).transpose()?,
            }));
        }
        let mut object =
            json!({ "server": label(&one.id), "digest": one.digest().to_string(), "tools": all });
        for (list, read) in &others {
            let item = |item: &Bytes| {
                json!({
                    "definition": serde_json::from_slice::<Value>(item).unwrap_or(Value::Null),
                    "digest": Digest::of([&item[..]]).to_string(),
                    "findings": find(item).iter().map(finding_json).collect::<Value>(),
                })
            };
            object[list.items_member()] = match read {
                Ok(items) => items.iter().map(item).collect(),
                Err(why) => json!({ "unread": why }),
            };
        }
        Printer::new(To::Out).line(object.to_string());
        return Ok(());
    }
    let out = Printer::new(To::Out);
    out.line(out.bold(&safe(&label(&one.id))));
    for tool in &tools {
        describe(out, ListKind::Tools, tool);
        tell(out, find(tool));
        if let Some(callers) = &callers {
            callers.print(out, tool)?;
        }
    }
    if callers.is_none() {
        out.line("no policy is configured: whoever is let in could call them");
    }
    let plural = if tools.len() == 1 { "" } else { "s" };
    out.line(format!("{} tool{plural}", tools.len()));
    for (list, read) in &others {
        let what = match list {
            ListKind::Templates => "resource templates",
            list => list.items_member(),
        };
        match read {
            Ok(items) if items.is_empty() => {}
            Ok(items) => {
                out.line(format!("{} {what}", items.len()));
                for item in items {
                    describe(out, *list, item);
                    tell(out, find(item));
                }
            }
            Err(why) => {
                let err = Printer::new(To::Err);
                err.line(format!("{} {what} could not be read: {}", err.bold("note:"), safe(why)));
            }
        }
    }
    Ok(())
}

/// A list of a server beside its tools. One that does not know the list has none of it.
pub(crate) async fn other(client: &Client, list: ListKind, bytes_max: usize) -> Result<Vec<Bytes>, String> {
    match client.list_within(list, bytes_max).await {
        Ok(items) => Ok(items),
        Err(CallError::Rpc(_)) => Ok(Vec::new()),
        Err(broken) => Err(Failure::from(broken).text),
    }
}

fn tell(out: Printer, found: Vec<Noted>) {
    for Noted { rule, confidence, path, .. } in found {
        let text = format!("{} at {} ({confidence}%)", rule.short(), safe(&path));
        out.line(format!("    {} {text}", out.red("found:")));
    }
}

/// How it is reached from here.
pub(crate) fn reached(
    one: &Registration,
    config: Option<&Config>,
    is_coloured: bool,
) -> Result<ServerSettings, Failure> {
    let anything = RegistrySettings::anything();
    let settings = config.map_or(&anything, |config| &config.registry);
    let folder = config.map_or_else(Default::default, |config| folder_of(&config.file));
    let label = label(&one.id);
    let written = registered::Written {
        tenant: &one.id.tenant,
        name: &one.id.name,
        label: &label,
        reach: &one.reach,
        about: &one.about,
    };
    match registered::read(written, settings, (Some(&ProcessEnv), folder)) {
        Ok((meant, _)) => Ok(meant.server),
        Err(error) => {
            let text = error.render(is_coloured);
            Err(Failure::usage(format!("{label} cannot be asked\n\n{}", text.trim_end())))
        }
    }
}

/// Who could call it, were it approved now.
async fn callers(
    config: Option<&Config>,
    store: &dyn Store,
    one: &Registration,
    id: &ServerId,
    tools: &[Bytes],
) -> Result<Option<Callers>, Failure> {
    let Some(config) = config else { return Ok(None) };
    let (config, left_out) = if_approved(config, one, None);
    if let Some(why) = left_out {
        let err = Printer::new(To::Err);
        err.line(format!("{} no gateway would serve it: {}", err.bold("note:"), safe(&why)));
        return Ok(None);
    }
    Callers::of(&config, store, (&one.id.tenant, id), tools).await
}

/// The configuration with this server, as if it were approved, and why no gateway would serve it all the same.
pub(crate) fn if_approved(
    config: &Config,
    one: &Registration,
    env: Option<&dyn Env>,
) -> (Config, Option<String>) {
    let approved = Registration { life: Life::Approved, share: WHOLE, sunset: None, ..one.clone() };
    let (config, left_out) = config.joined([&approved], env, Timestamp::now());
    (config, left_out.into_iter().next().map(|left| left.why))
}

/// What is found in a definition.
pub(crate) fn find(guard: Option<&Guard>, tenant: &str, tool: &Bytes) -> Vec<Noted> {
    let subject = Subject { reading: Reading::Definition(None), tenant, ..Subject::default() };
    guard.map_or_else(Vec::new, |guard| guard.inspect_as(tool, Span::all(tool), &subject).noted)
}

/// What looks at definitions: as configured, or for everything that it knows.
pub(crate) fn guard(config: Option<&Config>, (tenant, server): (&str, &str)) -> Option<Guard> {
    let mut settings = config.map_or_else(GuardSettings::default, |config| config.guards.clone());
    settings.definitions.get_or_insert_with(|| Direction {
        acts: false,
        rules: Rule::ALL.iter().map(|rule| (*rule, usual_of_definitions(*rule))).collect(),
    });
    // No digest of it goes anywhere.
    Guards::new(&settings, &[0; 32]).at(tenant, server, None).definitions.clone()
}

fn describe(out: Printer, list: ListKind, item: &Bytes) {
    let read: Value = serde_json::from_slice(item).unwrap_or_default();
    let text = |key: &str| safe(read[key].as_str().unwrap_or_default());
    let digest = Digest::of([&item[..]]).to_string();
    out.line(format!("  {}  {}", out.bold(&text(list.key_member())), out.dim(&digest[..16])));
    for line in text("description").lines() {
        out.line(format!("    {line}"));
    }
    let hints: Vec<&str> = HINTS.into_iter().filter(|hint| read["annotations"][*hint] == true).collect();
    if !hints.is_empty() {
        out.line(format!("    {}", out.dim(&format!("says of itself: {}", hints.join(", ")))));
    }
}

fn finding_json(noted: &Noted) -> Value {
    let Noted { rule, confidence, path, action } = noted;
    json!({ "rule": rule.short(), "confidence": confidence, "path": path, "action": action.as_str() })
}
