//! Versions are tried out before they decide. A gateway that runs tries them on what it knows and has on record; where none
//! does, the same is done here, with what a gateway has left.

use std::sync::Arc;

use serde_json::{Value, json};
use tollgate_admin::{RuleCandidate, simulated_json, tested_json, verdict_json};
use tollgate_store::{RuleSetId, Store};

use super::{found, named, no_version, path, show, text};
use crate::blocks::config_of;
use crate::cli::StoreArgs;
use crate::cli::policy_sets::{SetsCandidate, SetsSimulate, SetsTest, SetsTry, WhichSet};
use crate::config::Config;
use crate::door::{self, Gateway};
use crate::exit::{Exit, Failure};
use crate::out::{Printer, To};
use crate::policy::setting::Setting;
use crate::policy::{simulate as again, test as cases};
use crate::ruling;
use crate::serve::LEDGER;
use crate::servers::input;
use crate::state::open_store;

/// How policies are called that no version is of.
const UNSAVED: &str = "draft";

/// A text that is tried out.
pub(super) fn candidate(id: &RuleSetId, version: String, text: &Arc<str>) -> RuleCandidate {
    RuleCandidate { id: id.clone(), version: version.into(), text: Arc::clone(text) }
}

/// Who tries it out.
enum Place {
    /// A gateway, which is told this.
    There(Gateway, Value),
    /// This process.
    Here(Box<(Config, Arc<dyn Store>, RuleCandidate)>),
}

/// Where something is tried out, and what.
async fn place(
    (which, of, args): (&WhichSet, &SetsCandidate, &StoreArgs),
) -> Result<(RuleSetId, Place), Failure> {
    let config = config_of(args);
    let id = named(which, config.as_ref())?;
    let policies = of.policies.as_deref().map(text).transpose()?;
    if let Some(gateway) = door::running(args).await? {
        let mut body = json!({});
        if let Some(text) = policies {
            body["text"] = text.into();
        } else if let Some(version) = of.version {
            body["version"] = version.into();
        }
        return Ok((id, Place::There(gateway, body)));
    }
    let config = config.ok_or_else(|| Failure::usage("say for which configuration: --config FILE"))?;
    let store = open_store(args).await?;
    let tried = match policies {
        Some(text) => candidate(&id, UNSAVED.to_owned(), &text.into()),
        None => {
            let set = found(&*store, &id).await?;
            let number = of.version.unwrap_or(set.latest);
            let version = set.version(number).ok_or_else(|| no_version(&set, number))?;
            candidate(&id, number.to_string(), &version.text)
        }
    };
    Ok((id, Place::Here(Box::new((config, store, tried)))))
}

/// Says what would be found.
pub(super) async fn validate(command: &SetsTry) -> Result<(), Failure> {
    let (id, place) = place((&command.which, &command.candidate, &command.store)).await?;
    let found = match place {
        Place::There(gateway, body) => gateway.post(&path(&id, "validate", &[]), &body).await?.1,
        Place::Here(here) => {
            let (config, store, tried) = *here;
            Box::pin(verdict(config, &command.store, &*store, &tried)).await?
        }
    };
    let is_usable = found["usable"] == true;
    if command.json {
        Printer::new(To::Out).line(found.to_string());
    } else {
        show::verdict(&found);
        if is_usable {
            let out = Printer::new(To::Out);
            out.line(format!("{} it could decide", out.green("ok:")));
        }
    }
    if is_usable {
        return Ok(());
    }
    Err(Failure::config("these policies cannot be used"))
}

/// What would be found of it, beside all that decides, as the API says it.
pub(super) async fn verdict(
    config: Config,
    args: &StoreArgs,
    store: &dyn Store,
    candidate: &RuleCandidate,
) -> Result<Value, Failure> {
    let setting = Box::pin(Setting::trying(of_folder(config, args), store, candidate)).await?;
    Ok(verdict_json(setting.remarks()))
}

/// Puts cases to it.
pub(super) async fn test(command: &SetsTest) -> Result<(), Failure> {
    let texts = command.files.iter().map(|file| input(file)).collect::<Result<Vec<_>, _>>()?;
    let (id, place) = place((&command.which, &command.candidate, &command.store)).await?;
    let mut tested = Vec::with_capacity(texts.len());
    match place {
        Place::There(gateway, body) => {
            for text in texts {
                let mut body = body.clone();
                body["cases"] = text.into();
                tested.push(gateway.post(&path(&id, "test", &[]), &body).await?.1);
            }
        }
        Place::Here(here) => {
            let (config, store, tried) = *here;
            let setting =
                Box::pin(Setting::trying(of_folder(config, &command.store), &*store, &tried)).await?;
            tested.extend(texts.iter().map(|text| tested_json(cases::tried(&setting, text))));
        }
    }
    let passed = tested.iter().all(|one| one["passed"] == true);
    let files = || command.files.iter().map(|file| file.display().to_string());
    if command.json {
        let files: Value = files()
            .zip(tested)
            .map(|(file, mut one)| {
                one["file"] = file.into();
                one
            })
            .collect();
        Printer::new(To::Out).line(json!({ "passed": passed, "files": files }).to_string());
    } else {
        let counts = files().zip(&tested).map(|(file, one)| show::tested(&file, one));
        let (good, bad) = counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        Printer::new(To::Out).line(format!("{good} passed, {bad} failed"));
    }
    if passed {
        return Ok(());
    }
    // What is to be said is said.
    Err(Failure { code: Exit::Failed, text: String::new() })
}

/// Makes the decisions of the last days again.
pub(super) async fn simulate(command: &SetsSimulate) -> Result<(), Failure> {
    let (id, place) = place((&command.which, &command.candidate, &command.store)).await?;
    let simulated = match place {
        Place::There(gateway, mut body) => {
            body["days"] = command.days.into();
            gateway.post(&path(&id, "simulate", &[]), &body).await?.1
        }
        Place::Here(here) => {
            let (config, store, tried) = *here;
            let config = of_folder(config, &command.store);
            let folder = config.data_dir.join(LEDGER);
            let vault = again::vault(&config, &folder)?;
            let setting = Box::pin(Setting::trying(config, &*store, &tried)).await?;
            let latest = ruling::latest(setting.tenants, setting.environment.as_deref(), command.days);
            let latest = latest.map_err(Failure::config)?;
            let running = tokio::task::spawn_blocking(move || again::latest(&vault, &folder, latest));
            let simulated = running.await.map_err(|error| Failure::failed(error.to_string()))??;
            simulated_json(simulated)
        }
    };
    if command.json {
        Printer::new(To::Out).line(simulated.to_string());
    } else {
        show::simulated(&simulated);
    }
    Ok(())
}

/// The configuration with the state that is meant.
fn of_folder(config: Config, args: &StoreArgs) -> Config {
    let data_dir = args.data_dir.clone().unwrap_or_else(|| config.data_dir.clone());
    Config { data_dir, ..config }
}
