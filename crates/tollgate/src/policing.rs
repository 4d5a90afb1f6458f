//! The policies of a running gateway: read at start, and taken over anew whenever their files change.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tollgate_model::{TenantId, Timestamp};
use tollgate_policy::{Finding, Level, Mode, Sources};
use tollgate_proxy::{CompiledPolicies, Gateway, PolicySettings, Setup};
use tollgate_store::{Digest, Store};
use tollgate_telemetry::events::{NothingAllowed, PolicyFinding};

use crate::config::Config;
use crate::exit::Failure;

/// How long servers may take at start to list the tools that policies are about. Those of slower ones are learnt later.
const LEARN_MAX: Duration = Duration::from_secs(5);

/// What is found of policies that cannot be used.
pub(crate) type Findings = Vec<(TenantId, Finding)>;

/// Whether policies decide. Without policies and identity the built-in one of this machine does.
pub(crate) fn are_on(config: &Config) -> bool {
    config.policies.are_configured || !config.identity.is_off()
}

/// Has the configured policies decide, before anybody is served.
///
/// # Errors
/// Policies that cannot be used, with all that is wrong.
pub(crate) async fn begin(
    config: &Config,
    gateway: &Gateway,
    setup: &Setup,
    store: Option<&Arc<dyn Store>>,
) -> Result<(), Failure> {
    if !are_on(config) {
        return Ok(());
    }
    gateway.await_policies();
    let known = accepted(config, store, &HashSet::new()).await;
    if let Some(store) = store
        && config.tenants.iter().all(|tenant| known.contains(&tenant.id))
    {
        // They stand whatever servers say now, so that no server has to be waited for.
        gateway.recall_tools(store).await;
        gateway.learn_tools(Some(Arc::clone(store)), Duration::ZERO).await;
    } else {
        gateway.learn_tools(store.cloned(), LEARN_MAX).await;
    }
    let compiled = compile(config, gateway, setup, store, &known).await;
    let compiled = compiled.map_err(|findings| {
        let file = config.file.display();
        Failure::config(format!("{file} cannot be served\n\n{}", render(&findings)))
    })?;
    take_over(gateway, compiled, config, store).await;
    Ok(())
}

/// Checks the policies against what a store knows of the servers' tools, and against nothing without one.
///
/// # Errors
/// All that is wrong with them.
pub(crate) async fn check(
    config: &Config,
    gateway: &Gateway,
    setup: &Setup,
    store: Option<&Arc<dyn Store>>,
) -> Result<CompiledPolicies, Findings> {
    if let Some(store) = store {
        gateway.recall_tools(store).await;
    }
    compile(config, gateway, setup, store, &HashSet::new()).await
}

/// Says what would be found of the policies of a configuration, against what is known of the servers' tools just now.
pub(crate) async fn try_out(config: &Config, gateway: &Gateway, setup: &Setup) -> Findings {
    match compile(config, gateway, setup, None, &HashSet::new()).await {
        Ok(compiled) => compiled.findings().map(|(tenant, one)| (tenant.clone(), one.clone())).collect(),
        Err(findings) => findings,
    }
}

/// Makes the policies of a changed configuration ready. Nothing decides otherwise yet. None where policies do not decide.
///
/// # Errors
/// What is wrong with them, in one text.
pub(crate) async fn renew(
    config: &Config,
    before: &Config,
    gateway: &Gateway,
    setup: &Setup,
    store: Option<&Arc<dyn Store>>,
) -> Result<Option<CompiledPolicies>, String> {
    if !are_on(config) {
        return Ok(None);
    }
    if !are_on(before) {
        // So far nobody has looked.
        gateway.learn_tools(store.cloned(), LEARN_MAX).await;
    }
    let same = |tenant: &&TenantId| config.policies.of(tenant) == before.policies.of(tenant);
    let ids = config.tenants.iter().map(|tenant| &tenant.id);
    let unchanged = if are_on(before) { ids.filter(same).cloned().collect() } else { HashSet::new() };
    compile(config, gateway, setup, store, &unchanged).await.map(Some).map_err(|findings| {
        report(&findings);
        render(&findings)
    })
}

/// Has these policies decide from now on.
pub(crate) async fn take_over(
    gateway: &Gateway,
    compiled: CompiledPolicies,
    config: &Config,
    store: Option<&Arc<dyn Store>>,
) {
    let findings: Findings = compiled.findings().map(|(tenant, one)| (tenant.clone(), one.clone())).collect();
    report(&findings);
    let closed: Vec<TenantId> = compiled.tenants_without_permits().cloned().collect();
    gateway.enforce(compiled);
    for tenant in &closed {
        NothingAllowed { tenant }.emit();
    }
    let Some(store) = store else { return };
    for tenant in &config.tenants {
        let text = digest(&config.policies.of(&tenant.id));
        if let Err(error) = store.accept(&tenant.id, text, Timestamp::now()).await {
            tracing::warn!(%error, "that these policies were accepted is not remembered over a restart");
        }
    }
}

/// Text that was accepted before stands although servers have changed since; new text has to fit.
async fn compile(
    config: &Config,
    gateway: &Gateway,
    setup: &Setup,
    store: Option<&Arc<dyn Store>>,
    unchanged: &HashSet<TenantId>,
) -> Result<CompiledPolicies, Findings> {
    let accepted = accepted(config, store, unchanged).await;
    let of = |tenant: &TenantId| (tenant.clone(), config.policies.of(tenant));
    let shadow_of = |tenant: &TenantId| Some((tenant.clone(), config.policies.shadow_of(tenant)?));
    let settings = PolicySettings {
        tenants: config.tenants.iter().map(|tenant| of(&tenant.id)).collect(),
        environment: config.environment.clone(),
        shadow: config.tenants.iter().filter_map(|tenant| shadow_of(&tenant.id)).collect(),
    };
    let mode = move |tenant: &TenantId| if accepted.contains(tenant) { Mode::Accepted } else { Mode::New };
    gateway.compile(settings, setup, mode).await
}

/// Whose text was accepted before, beside those of whom that is known.
async fn accepted(
    config: &Config,
    store: Option<&Arc<dyn Store>>,
    known: &HashSet<TenantId>,
) -> HashSet<TenantId> {
    let mut accepted = known.clone();
    for tenant in &config.tenants {
        if let (Some(store), false) = (store, accepted.contains(&tenant.id)) {
            let text = digest(&config.policies.of(&tenant.id));
            if store.was_accepted(&tenant.id, text).await.unwrap_or(false) {
                accepted.insert(tenant.id.clone());
            }
        }
    }
    accepted
}

/// By which texts are told apart: files in their order, each with its name, since ids of rules hold it.
fn digest(sources: &Sources) -> Digest {
    let files = |kind: &'static str, files: &'_ [tollgate_policy::Source]| -> Vec<Arc<str>> {
        let texts = files.iter().flat_map(|source| [Arc::clone(&source.path), Arc::clone(&source.text)]);
        std::iter::once(Arc::from(kind)).chain(texts).collect()
    };
    let parts = [files("tenant", &sources.tenant), files("operator", &sources.operator)].concat();
    Digest::of(parts.iter().map(|part| part.as_bytes()))
}

fn report(findings: &Findings) {
    for (tenant, Finding { level, path, line, message, suggestion, .. }) in findings {
        let (suggestion, is_error) = (suggestion.as_deref(), *level == Level::Error);
        PolicyFinding { tenant, path, line: *line, message, suggestion, is_error }.emit();
    }
}

/// The findings as people read them.
pub(crate) fn render(findings: &Findings) -> String {
    let mut texts: Vec<String> = Vec::new();
    for (tenant, finding) in findings {
        let level = match finding.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        let Finding { path, line, column, message, suggestion, .. } = finding;
        let mut text = format!("{level}: {message}\n  at {path}:{line}:{column}");
        if *tenant != TenantId::default() {
            text = format!("{text} (tenant {})", tenant.as_str());
        }
        if let Some(suggestion) = suggestion {
            text = format!("{text}\n  help: {suggestion}");
        }
        texts.push(text);
    }
    texts.join("\n\n")
}
