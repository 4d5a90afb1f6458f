//! Making policy sets of texts, off the hot path, and taking them over all at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tollgate_catalog::Known;
use tollgate_model::TenantId;
use tollgate_policy::{Finding, Level, Mode, PolicySet, Sources};
use tollgate_telemetry::events::PolicyFinding;

use super::{Definitions, Rules, Sets, upkeep};
use crate::gateway::{Gateway, Inner};
use crate::setup::{Setup, TenantSetup};
use crate::stages::record;

/// How long it has to be quiet before sets are compiled again because servers' tools have changed.
const QUIET: Duration = Duration::from_millis(50);
/// Of the time of one core, compiling again and again takes this part at most.
const SHARE: u32 = 4;

/// The policies as they are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicySettings {
    /// Of each tenant, with the operator's forbids. A tenant that is not here may do nothing.
    pub tenants: BTreeMap<TenantId, Sources>,
    /// What `context.env.environment` says.
    pub environment: Option<Arc<str>>,
    /// Policies that only look on, of tenants that have such. Whatever is wrong with them, those that decide do.
    pub shadow: BTreeMap<TenantId, Sources>,
}

/// What sets are made of, beside what is known of tools.
#[derive(Debug)]
pub(crate) struct About {
    settings: PolicySettings,
    setup: Setup,
}

impl About {
    fn known(&self, definitions: &Definitions) -> Vec<Known> {
        let known = |tenant: &TenantSetup| self.setup.known(tenant, |server| definitions.tools(server));
        self.setup.tenants.iter().map(known).collect()
    }
}

/// Policies that are ready to decide. [`Gateway::enforce`] takes them over.
#[derive(Debug)]
pub struct CompiledPolicies {
    about: Arc<About>,
    sets: Sets,
    shadow: Sets,
    findings: Vec<(TenantId, Finding)>,
    /// How often what policies are written about had changed by then.
    as_of: u64,
}

impl CompiledPolicies {
    /// What is to be said of the texts.
    pub fn findings(&self) -> impl Iterator<Item = (&TenantId, &Finding)> {
        self.findings.iter().map(|(tenant, finding)| (tenant, finding))
    }

    /// What decides on a tenant's callers.
    pub fn set(&self, tenant: &TenantId) -> Option<&Arc<PolicySet>> {
        self.sets.get(tenant)
    }

    /// Whether nobody may do anything.
    pub fn allow_nothing(&self) -> bool {
        self.sets.values().all(|set| set.allows_nothing())
    }

    /// The tenants whose callers may do nothing.
    pub fn tenants_without_permits(&self) -> impl Iterator<Item = &TenantId> {
        self.sets.iter().filter(|(_, set)| set.allows_nothing()).map(|(tenant, _)| tenant)
    }
}

/// Compiles all tenants' policies, on a thread where it may take long. An error of one is an error of all. `is_new`: the
/// texts have just been read.
pub(crate) async fn compile(
    about: Arc<About>,
    known: Vec<Known>,
    as_of: u64,
    is_new: bool,
    mode: impl Fn(&TenantId) -> Mode + Send + 'static,
) -> Result<CompiledPolicies, Vec<(TenantId, Finding)>> {
    let compiling = move || {
        let (mut sets, mut findings, mut failed) = (Sets::new(), Vec::new(), false);
        for known in &known {
            let tenant = known.tenant.clone();
            let Some(sources) = about.settings.tenants.get(&tenant) else { continue };
            let environment = about.settings.environment.as_deref();
            let found = match PolicySet::compile(sources, known, environment, mode(&tenant)) {
                Ok((set, found)) => {
                    sets.insert(tenant.clone(), Arc::new(set));
                    found
                }
                Err(found) => {
                    failed = true;
                    found
                }
            };
            findings.extend(found.into_iter().map(|finding| (tenant.clone(), finding)));
        }
        if failed {
            return Err(findings);
        }
        let (shadow, about) = compile_shadow(about, &known, &mut findings, is_new);
        Ok(CompiledPolicies { about, sets, shadow, findings, as_of })
    };
    tokio::task::spawn_blocking(compiling).await.unwrap_or_else(|_| Err(Vec::new()))
}

/// Compiles the policies that only look on. What is wrong with them is a warning, and those that cannot be used are left
/// out until they are read again.
fn compile_shadow(
    about: Arc<About>,
    known: &[Known],
    findings: &mut Vec<(TenantId, Finding)>,
    is_new: bool,
) -> (Sets, Arc<About>) {
    let mode = if is_new { Mode::New } else { Mode::Accepted };
    let (mut sets, mut unusable) = (Sets::new(), Vec::new());
    for known in known {
        let tenant = &known.tenant;
        let Some(sources) = about.settings.shadow.get(tenant) else { continue };
        let found = match PolicySet::compile(sources, known, about.settings.environment.as_deref(), mode) {
            Ok((set, found)) => {
                sets.insert(tenant.clone(), Arc::new(set));
                found
            }
            Err(found) => {
                unusable.push(tenant.clone());
                found
            }
        };
        let is_unusable = unusable.last() == Some(tenant);
        findings.extend(found.into_iter().map(|mut finding| {
            let effect = if is_unusable { "; the shadow policies are not used" } else { "" };
            finding.message = format!("in the shadow policies: {}{effect}", finding.message);
            finding.level = Level::Warning;
            (tenant.clone(), finding)
        }));
    }
    if unusable.is_empty() {
        return (sets, about);
    }
    let mut settings = about.settings.clone();
    settings.shadow.retain(|tenant, _| !unusable.contains(tenant));
    (sets, Arc::new(About { settings, setup: about.setup.clone() }))
}

impl Gateway {
    /// From now on nothing is allowed but what policies permit, which come by [`Gateway::enforce`]. What is read of
    /// servers until then is what policies will be written about.
    pub fn await_policies(&self) {
        let policing = self.policing();
        if !policing.is_on() {
            policing.rules.store(Arc::new(Rules::Sets { live: Sets::new(), shadow: Sets::new() }));
        }
    }

    /// Makes policies ready to decide on what this sets up. Nothing changes yet. The settings may name tenants that are not
    /// set up: nothing is read of theirs.
    ///
    /// # Errors
    /// All findings of all tenants, at least one of them an error.
    pub async fn compile(
        &self,
        settings: PolicySettings,
        setup: &Setup,
        mode: impl Fn(&TenantId) -> Mode + Send + 'static,
    ) -> Result<CompiledPolicies, Vec<(TenantId, Finding)>> {
        let about = Arc::new(About { settings, setup: setup.clone() });
        let as_of = self.policing().definitions().count();
        compile(Arc::clone(&about), about.known(self.policing().definitions()), as_of, true, mode).await
    }

    /// What policies of each tenant of a setup are written about, as it is known just now.
    pub fn known_to_policies(&self, setup: &Setup) -> Vec<Known> {
        let known =
            |tenant: &TenantSetup| setup.known(tenant, |server| self.policing().definitions().tools(server));
        setup.tenants.iter().map(known).collect()
    }

    /// Has these policies decide from now on. What is under way has been decided on. Clients that see something else by
    /// them are told.
    pub fn enforce(&self, compiled: CompiledPolicies) {
        let policing = self.policing();
        let mut current = policing.lock();
        let as_of = compiled.as_of;
        for (tenant, set) in &compiled.sets {
            let said = [("tenant", tenant.as_str().into()), ("set", (**set.digest()).into())];
            record::changed(self, "policies.enforced", said);
        }
        *current = Some(compiled.about);
        self.take_over(compiled.sets, compiled.shadow);
        drop(current);
        if policing.definitions().count() != as_of {
            policing.definitions().touch();
        }
    }

    fn take_over(&self, live: Sets, shadow: Sets) {
        self.policing().rules.store(Arc::new(Rules::Sets { live, shadow }));
        // What they say of names was seen under other policies.
        self.uri_indexes().clear();
        self.tool_indexes().clear();
        self.policing().swaps.send_replace(());
        self.look_after_views();
    }
}

/// Compiles the policies again whenever what they are written about has changed: one at a time, and what changes
/// meanwhile together. The text has been accepted before, so no rule of it is an error any more.
pub(crate) async fn follow(gateway: Weak<Inner>) {
    let Some(mut changes) = changes(&gateway) else { return };
    let mut reported = Vec::new();
    while changes.changed().await.is_ok() {
        tokio::time::sleep(QUIET).await;
        let as_of = *changes.borrow_and_update();
        let Some(gateway) = gateway.upgrade().map(Gateway::of) else { return };
        let Some(about) = gateway.policing().lock().clone() else {
            upkeep::keep(&gateway).await;
            continue;
        };
        let began = Instant::now();
        let known = about.known(gateway.policing().definitions());
        let compiled = compile(Arc::clone(&about), known, as_of, false, |_| Mode::Accepted).await;
        match compiled {
            Ok(compiled) => {
                let current = gateway.policing().lock();
                // A newer text is not replaced by an older one.
                if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &about)) {
                    report(&compiled.findings, &mut reported);
                    gateway.take_over(compiled.sets, compiled.shadow);
                }
            }
            // The sets before it go on deciding.
            Err(findings) => report(&findings, &mut reported),
        }
        upkeep::keep(&gateway).await;
        drop(gateway);
        tokio::time::sleep(began.elapsed() * (SHARE - 1)).await;
    }
}

fn changes(gateway: &Weak<Inner>) -> Option<watch::Receiver<u64>> {
    gateway.upgrade().map(|inner| Gateway::of(inner).policing().definitions().changes())
}

/// Says what has not been said before.
fn report(findings: &[(TenantId, Finding)], reported: &mut Vec<(TenantId, Finding)>) {
    for (tenant, finding) in findings.iter().filter(|finding| !reported.contains(finding)) {
        let is_error = finding.level == Level::Error;
        let suggestion = finding.suggestion.as_deref();
        let Finding { path, line, message, .. } = finding;
        PolicyFinding { tenant, path, line: *line, message, suggestion, is_error }.emit();
    }
    *reported = findings.to_vec();
}
