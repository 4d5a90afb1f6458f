//! Stored policies tried out on the living gateway, before they decide: checked, tested, and put to what is on record.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tollgate_admin::{RuleCandidate, Simulated, Tested};
use tollgate_identity::Identity;
use tollgate_model::{TenantId, Timestamp};
use tollgate_policy::{Mode, PolicySet, Source};
use tollgate_proxy::Gateway;

use crate::config::{Config, stored_path};
use crate::policing::{self, Findings};
use crate::policy::setting::{Setting, Tenant};
use crate::policy::simulate::{self, Latest};
use crate::policy::test;
use crate::serve::{LEDGER, setup};

/// How many decisions on record are looked at.
const DECISIONS_MAX: u64 = 200_000;
/// How long that may take.
const TAKES_MAX: Duration = Duration::from_secs(20);
/// How many of each kind are shown.
const EXAMPLES: usize = 10;
const DAY_MS: u64 = 86_400_000;

/// The configuration as it would be if a candidate decided. Those that only look on are as good as they are.
pub(crate) fn with(config: &Config, candidate: &RuleCandidate) -> Config {
    let mut config = config.clone();
    let path = stored_path(&candidate.id, &candidate.version);
    config.policies.try_stored(&candidate.id, Source { path, text: Arc::clone(&candidate.text) });
    config.policies.shadow.clear();
    config.policies.shadow_operator = None;
    config
}

/// What would be found, of each tenant that it is about.
pub(crate) async fn check(
    (gateway, identity): (&Gateway, &Identity),
    config: &Config,
    candidate: &RuleCandidate,
) -> Findings {
    let config = with(config, candidate);
    let found = policing::try_out(&config, gateway, &setup(&config, identity)).await;
    let mut findings = Findings::new();
    for (tenant, finding) in found {
        let is_meant = candidate.id.tenant.as_ref().is_none_or(|of| *of == tenant);
        if is_meant && !findings.iter().any(|(_, known)| *known == finding) {
            findings.push((tenant, finding));
        }
    }
    findings
}

/// What the tenants are, whom a candidate is about.
fn tenants(
    gateway: &Gateway,
    identity: &Identity,
    config: &Config,
    candidate: &RuleCandidate,
) -> Vec<Tenant> {
    let known = gateway.known_to_policies(&setup(config, identity)).into_iter();
    let is_meant = |id: &TenantId| candidate.id.tenant.as_ref().is_none_or(|of| of == id);
    known
        .filter(|known| is_meant(&known.tenant))
        .map(|known| Tenant {
            id: known.tenant.clone(),
            sources: config.policies.of(&known.tenant),
            known,
            shadow: None,
        })
        .collect()
}

/// What cases come to.
///
/// # Errors
/// It ended before its time.
pub(crate) async fn test(
    (gateway, identity): (&Gateway, &Identity),
    config: &Config,
    candidate: &RuleCandidate,
    cases: &str,
) -> Result<Tested, String> {
    let config = with(config, candidate);
    let setting = Setting {
        file: config.file.clone(),
        environment: config.environment.clone(),
        are_configured: true,
        tenants: tenants(gateway, identity, &config, candidate),
        keys: Vec::new(),
    };
    let cases = cases.to_owned();
    let trying = tokio::task::spawn_blocking(move || test::tried(&setting, &cases));
    trying.await.map_err(|error| error.to_string())
}

/// What would have been decided otherwise.
///
/// # Errors
/// The candidate cannot be used, or the record not be read.
pub(crate) async fn simulate(
    (gateway, identity): (&Gateway, &Identity),
    config: &Config,
    candidate: &RuleCandidate,
    days: u32,
) -> Result<Simulated, String> {
    let config = with(config, candidate);
    let ledger = gateway.ledger().clone();
    if ledger.vault().is_none() {
        return Err("nothing is put on record, so there is nothing to try it on".to_owned());
    }
    let tenants = tenants(gateway, identity, &config, candidate);
    let simulating = move || {
        let latest = latest(tenants, config.environment.as_deref(), days)?;
        let vault = ledger.vault().ok_or("nothing is put on record")?;
        simulate::latest(vault, &config.data_dir.join(LEDGER), latest).map_err(|failure| failure.text)
    };
    tokio::task::spawn_blocking(simulating).await.map_err(|error| error.to_string())?
}

/// The decisions of the last days, to be made again by these policies.
///
/// # Errors
/// The policies cannot be used.
pub(crate) fn latest(tenants: Vec<Tenant>, environment: Option<&str>, days: u32) -> Result<Latest, String> {
    let mut sets = HashMap::new();
    for Tenant { id, known, sources, .. } in tenants {
        let compiled = PolicySet::compile(&sources, &known, environment, Mode::New);
        let (set, _) = compiled
            .map_err(|findings| findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        sets.insert(id, Arc::new(set));
    }
    let since = Timestamp::now().as_ms().saturating_sub(u64::from(days) * DAY_MS);
    Ok(Latest {
        sets,
        since: Timestamp::from_ms(since),
        takes_max: TAKES_MAX,
        most: DECISIONS_MAX,
        examples: EXAMPLES,
    })
}
