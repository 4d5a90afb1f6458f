//! `tollgate policy`: what authors of policies need. Policies and servers are those of a configuration; what tools the servers
//! have comes from a saved catalogue, so that nothing has to run, or from what the gateway last saw.

pub(crate) mod ask;
pub(crate) mod callers;
mod catalog;
mod check;
mod explain;
mod sets;
pub(crate) mod setting;
pub(crate) mod simulate;
mod snapshot;
mod stored;
pub(crate) mod target;
pub(crate) mod test;
mod what_can;
pub(crate) mod who;
pub(crate) mod who_can;

use tollgate_model::TenantId;
use tollgate_policy::PolicySet;

use crate::cli::policy::{Policy, PolicySchema};
use crate::exit::Failure;
use crate::out::{Printer, To};

use setting::Setting;

/// Runs one of the commands.
pub(crate) async fn run(command: Policy) -> Result<(), Failure> {
    match command {
        Policy::Check(command) => check::run(&command).await,
        Policy::Test(command) => test::run(&command).await,
        Policy::Explain(command) => explain::run(&command).await,
        Policy::Schema(command) => schema(&command).await,
        Policy::WhoCan(command) => who_can::run(&command).await,
        Policy::WhatCan(command) => what_can::run(&command).await,
        Policy::Snapshot(command) => snapshot::run(&command).await,
        Policy::Simulate(command) => simulate::run(&command).await,
        Policy::Sets(command) => sets::run(command.command).await,
    }
}

/// Prints the schema of one tenant's tools.
async fn schema(command: &PolicySchema) -> Result<(), Failure> {
    let setting = Setting::open(&command.basis).await?;
    let tenant = command.tenant.as_deref().map(TenantId::new).unwrap_or_default();
    let text = PolicySet::schema_text(&setting.tenant(&tenant)?.known)
        .map_err(|error| Failure::failed(format!("the schema cannot be written: {error}")))?;
    Printer::new(To::Out).line(text.trim_end());
    Ok(())
}
