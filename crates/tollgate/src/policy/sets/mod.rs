//! `tollgate policy sets`: policies that are kept in the store. A gateway that runs does what is typed, and puts it on record;
//! where none does, the store is changed, by the same rules.

mod change;
mod show;
mod tries;

use std::path::Path;

use tollgate_model::{TenantId, Timestamp};
use tollgate_store::{RuleDoing, RuleSet, RuleSetId, Store, WhichRules};

use super::simulate;
use crate::blocks::{reason, tenant_of, user};
use crate::cli::policy_sets::{Sets, SetsList, SetsShow, WhichSet};
use crate::config::Config;
use crate::door;
use crate::exit::Failure;
use crate::out::{Printer, To};
use crate::servers::input;
use crate::state::{failure, open_store};

/// Runs one of the commands.
pub(super) async fn run(command: Sets) -> Result<(), Failure> {
    match command {
        Sets::List(command) => list(&command).await,
        Sets::Show(command) => show(&command).await,
        Sets::Write(command) => change::write(&command).await,
        Sets::Validate(command) => tries::validate(&command).await,
        Sets::Test(command) => tries::test(&command).await,
        Sets::Simulate(command) => tries::simulate(&command).await,
        Sets::Shadow(command) => change::shadow(&command).await,
        Sets::Promote(command) => change::promote(&command).await,
        Sets::RollBack(command) => change::roll_back(&command).await,
        Sets::Withdraw(command) => change::withdraw(&command).await,
        Sets::Remove(command) => change::remove(&command).await,
    }
}

/// The set that the command line names.
fn named(which: &WhichSet, config: Option<&Config>) -> Result<RuleSetId, Failure> {
    let tenant = if which.operator { None } else { Some(tenant_of(which.tenant.as_deref(), config)?) };
    RuleSetId::new(tenant, &which.name)
        .map_err(|bad| Failure::usage(format!("{:?} is no name of a set: {bad}", which.name)))
}

/// Where the API has it, or something that is done with it.
fn path(id: &RuleSetId, act: &str, query: &[(&str, &str)]) -> String {
    let (tenant, name) = id.parts();
    let packed = tollgate_admin::pack(&[tenant, name]);
    let names: Vec<&str> =
        ["policy-sets", &packed, act].into_iter().filter(|part| !part.is_empty()).collect();
    door::path(&names, query)
}

/// As people read which set it is.
fn label(id: &RuleSetId) -> String {
    match &id.tenant {
        None => format!("the operator's set `{}`", id.name),
        Some(tenant) if *tenant == TenantId::default() => format!("the set `{}`", id.name),
        Some(tenant) => format!("the set `{}` of {}", id.name, tenant.as_str()),
    }
}

fn missing(id: &RuleSetId) -> Failure {
    let text =
        format!("there is no such set: {}; `tollgate policy sets list` lists those that are", label(id));
    Failure::usage(text)
}

async fn found(store: &dyn Store, id: &RuleSetId) -> Result<RuleSet, Failure> {
    store.rules(id).await.map_err(|error| failure(&error))?.ok_or_else(|| missing(id))
}

fn doing(why: &str) -> Result<RuleDoing, Failure> {
    Ok(RuleDoing { by: user(), reason: reason(why)?, at: Timestamp::now() })
}

/// The policies of a file, of standard input, or of all files of a folder, in one text.
fn text(from: &Path) -> Result<String, Failure> {
    if !from.is_dir() {
        let text = input(from)?;
        return Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned());
    }
    let files = simulate::read_policies(from)?;
    if files.is_empty() {
        return Err(Failure::usage(format!("no file in {} ends in `.cedar`", from.display())));
    }
    let one = |file: &tollgate_policy::Source| {
        let name: String = file.path.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        format!("// {name}\n{}\n", file.text.trim_end())
    };
    Ok(files.iter().map(one).collect::<Vec<_>>().join("\n"))
}

async fn list(command: &SetsList) -> Result<(), Failure> {
    let store = open_store(&command.store).await?;
    let which = WhichRules { most: tollgate_store::RULE_SETS_MAX, ..WhichRules::default() };
    let mut sets = store.all_rules(&which).await.map_err(|error| failure(&error))?;
    if let Some(tenant) = &command.tenant {
        sets.retain(|set| set.id.tenant.as_ref().is_some_and(|of| of.as_str() == tenant));
    }
    if command.json {
        let objects = sets.iter().map(|set| tollgate_admin::policy_set_json(set, false));
        Printer::new(To::Out).line(objects.collect::<serde_json::Value>().to_string());
    } else if sets.is_empty() {
        Printer::new(To::Err)
            .line("There are no policies in the store: `tollgate policy sets write` makes a set.");
    } else {
        show::list(&sets);
    }
    Ok(())
}

async fn show(command: &SetsShow) -> Result<(), Failure> {
    let config = crate::blocks::config_of(&command.store);
    let id = named(&command.which, config.as_ref())?;
    let set = found(&*open_store(&command.store).await?, &id).await?;
    let out = Printer::new(To::Out);
    if command.json {
        out.line(tollgate_admin::policy_set_json(&set, true).to_string());
    } else if let Some(number) = command.version {
        let version = set.version(number).ok_or_else(|| no_version(&set, number))?;
        out.raw(version.text.as_bytes());
    } else {
        show::set(&set, config.as_ref());
    }
    Ok(())
}

fn no_version(set: &RuleSet, number: u64) -> Failure {
    let known: Vec<String> = set.versions.iter().map(|version| version.number.to_string()).collect();
    Failure::usage(format!("{} has no version {number}; it has {}", label(&set.id), known.join(", ")))
}
