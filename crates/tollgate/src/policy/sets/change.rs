//! Versions are written, look on, decide, and are taken back.

use serde_json::{Value, json};
use tollgate_admin::policy_set_json;
use tollgate_store::{RuleDoing, RuleSet, RuleSetId, Store, StoreError};

use super::{doing, found, label, missing, named, path, text, tries};
use crate::blocks::{config_of, user};
use crate::cli::policy_sets::{SetsPromote, SetsShadow, SetsStep, SetsWrite};
use crate::config::Config;
use crate::door::{self, Gateway};
use crate::exit::Failure;
use crate::out::{Printer, To, safe};
use crate::state::{failure, open_store};

/// Keeps another version, or the first.
pub(super) async fn write(command: &SetsWrite) -> Result<(), Failure> {
    let config = config_of(&command.store);
    let id = named(&command.which, config.as_ref())?;
    let (text, doing) = (text(&command.path)?, doing(&command.reason)?);
    if text.trim().is_empty() {
        return Err(Failure::usage(format!("{}: there are no policies in it", command.path.display())));
    }
    let set = if let Some(gateway) = door::running(&command.store).await? {
        write_there(&gateway, &id, &text, &doing).await?
    } else {
        let store = open_store(&command.store).await?;
        let before = store.rules(&id).await.map_err(|error| failure(&error))?;
        let set = match before {
            Some(before) => before.written(text.into(), &doing),
            None => {
                is_tenant(&id, config.as_ref())?;
                RuleSet::draft(id.clone(), text.into(), &doing)
            }
        };
        put(&*store, set).await?
    };
    if command.json {
        Printer::new(To::Out).line(set.to_string());
        return Ok(());
    }
    say(&format!("version {} of {} is kept; nothing decides otherwise", set["latest"], label(&id)));
    Ok(())
}

async fn write_there(
    gateway: &Gateway,
    id: &RuleSetId,
    text: &str,
    doing: &RuleDoing,
) -> Result<Value, Failure> {
    let reason = &*doing.reason;
    if gateway.find(&path(id, "", &[])).await?.is_some() {
        return Ok(gateway.put(&path(id, "", &[]), &json!({ "text": text, "reason": reason })).await?);
    }
    let mut body = json!({ "name": &*id.name, "text": text, "reason": reason });
    if let Some(tenant) = &id.tenant {
        body["tenant"] = tenant.as_str().into();
    }
    Ok(gateway.post(&door::path(&["policy-sets"], &[]), &body).await?.1)
}

/// A set of a tenant that nobody knows would never count.
fn is_tenant(id: &RuleSetId, config: Option<&Config>) -> Result<(), Failure> {
    let (Some(tenant), Some(config)) = (&id.tenant, config) else { return Ok(()) };
    if config.tenants.iter().any(|known| known.id == *tenant) {
        return Ok(());
    }
    Err(Failure::usage(format!("--tenant: the configuration has no tenant {:?}", tenant.as_str())))
}

async fn put(store: &dyn Store, set: RuleSet) -> Result<Value, Failure> {
    store.put_rules(set.clone()).await.map_err(|error| failure(&error))?;
    Ok(policy_set_json(&set, true))
}

/// Has a version look on, or none.
pub(super) async fn shadow(command: &SetsShadow) -> Result<(), Failure> {
    let config = config_of(&command.step.store);
    let id = named(&command.step.which, config.as_ref())?;
    let version = match (command.none, command.version) {
        (true, _) => None,
        (false, Some(version)) => Some(version),
        (false, None) => Some(latest(&command.step, &id).await?),
    };
    let body = json!({ "version": version });
    let set = step(&command.step, ("shadow", body), |set, doing| set.shadowed(version, doing)).await?;
    tell(&command.step, &set, || match version {
        Some(version) => format!("version {version} of {} looks on", label(&id)),
        None => format!("nothing of {} looks on", label(&id)),
    });
    Ok(())
}

/// The number of the latest version.
async fn latest(command: &SetsStep, id: &RuleSetId) -> Result<u64, Failure> {
    if let Some(gateway) = door::running(&command.store).await? {
        let set = gateway.find(&path(id, "", &[])).await?.ok_or_else(|| missing(id))?;
        let latest = set["latest"].as_u64();
        return latest.ok_or_else(|| Failure::failed("the gateway's answer has no \"latest\""));
    }
    Ok(found(&*open_store(&command.store).await?, id).await?.latest)
}

/// Has a version decide.
pub(super) async fn promote(command: &SetsPromote) -> Result<(), Failure> {
    let version = command.version;
    let body = json!({ "version": version });
    let set = step(&command.step, ("promote", body), |set, doing| set.promoted(version, doing)).await?;
    decides(&command.step, &set)
}

/// Has that decide which did before.
pub(super) async fn roll_back(command: &SetsStep) -> Result<(), Failure> {
    let set = step(command, ("roll-back", json!({})), RuleSet::rolled_back).await?;
    decides(command, &set)
}

/// Has nothing of it decide.
pub(super) async fn withdraw(command: &SetsStep) -> Result<(), Failure> {
    let set = step(command, ("withdraw", json!({})), RuleSet::withdrawn).await?;
    decides(command, &set)
}

fn decides(command: &SetsStep, set: &Value) -> Result<(), Failure> {
    let id = named(&command.which, config_of(&command.store).as_ref())?;
    tell(command, set, || match set["inForce"].as_u64() {
        Some(version) => format!("version {version} of {} decides", label(&id)),
        None => format!("nothing of {} decides any more", label(&id)),
    });
    Ok(())
}

/// Removes a set.
pub(super) async fn remove(command: &SetsStep) -> Result<(), Failure> {
    let id = named(&command.which, config_of(&command.store).as_ref())?;
    if let Some(gateway) = door::running(&command.store).await? {
        let reason = doing(&command.reason)?.reason;
        if !gateway.remove(&path(&id, "", &[("reason", &reason)])).await? {
            return Err(missing(&id));
        }
    } else {
        let store = open_store(&command.store).await?;
        let gone = found(&*store, &id).await?.removed(&doing(&command.reason)?);
        put(&*store, gone.map_err(|error| failure(&error))?).await?;
    }
    tell(command, &json!({ "removed": true }), || format!("{} is gone", label(&id)));
    Ok(())
}

/// Does something with a set, by the gateway that runs or in the store.
async fn step(
    command: &SetsStep,
    (word, mut body): (&str, Value),
    next: impl FnOnce(&RuleSet, &RuleDoing) -> Result<RuleSet, StoreError>,
) -> Result<Value, Failure> {
    let config = config_of(&command.store);
    let id = named(&command.which, config.as_ref())?;
    let doing = doing(&command.reason)?;
    if let Some(gateway) = door::running(&command.store).await? {
        body["reason"] = (*doing.reason).into();
        return Ok(gateway.post(&path(&id, word, &[]), &body).await?.1);
    }
    let store = open_store(&command.store).await?;
    let before = found(&*store, &id).await?;
    let after = next(&before, &doing).map_err(|error| failure(&error))?;
    Box::pin(may_count(command, config, &*store, (word, &after))).await?;
    put(&*store, after).await
}

/// Refuses to have something decide, or look on, that may not: as the gateway would.
async fn may_count(
    command: &SetsStep,
    config: Option<Config>,
    store: &dyn Store,
    (word, after): (&str, &RuleSet),
) -> Result<(), Failure> {
    let counts = match word {
        "shadow" => after.looking_on(),
        "promote" | "roll-back" => after.deciding(),
        _ => None,
    };
    let Some(counts) = counts else { return Ok(()) };
    let config = config.ok_or_else(|| {
        let text =
            "what is to decide is checked first against the configuration that it is for: say --config FILE";
        Failure::usage(text)
    })?;
    if !config.policies.are_stored {
        let text = "policies in the store do not count: `policy: { stored: true }` in the configuration turns them on";
        return Err(Failure::usage(text));
    }
    if word != "roll-back" && config.policies.four_eyes && counts.by == user() {
        let text = "you wrote this version: somebody else has to look at it and put it in force (`policy.four_eyes`)";
        return Err(Failure::usage(text));
    }
    let candidate = tries::candidate(&after.id, counts.number.to_string(), &counts.text);
    let verdict = Box::pin(tries::verdict(config, &command.store, store, &candidate)).await?;
    super::show::verdict(&verdict);
    if verdict["usable"] == true {
        return Ok(());
    }
    Err(Failure::config("nothing has changed, since these policies cannot be used"))
}

fn say(text: &str) {
    let out = Printer::new(To::Out);
    out.line(format!("{} {}", out.green("ok:"), safe(text)));
}

fn tell(command: &SetsStep, set: &Value, text: impl FnOnce() -> String) {
    if command.json {
        Printer::new(To::Out).line(set.to_string());
    } else {
        say(&text());
    }
}
