//! What the admin plane is told of the gateway: the living one at each moment, and what the configuration says.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use tollgate_admin::{
    Configured, LimitCard, LimitsLine, Parts, PolicyRemark, PolicyText, RuleCandidate, ServerCard, Simulated,
    Snapshot, Standing, Tested, World,
};
use tollgate_identity::Identity;
use tollgate_limits::{Bound, Every, Rule, Unit};
use tollgate_model::{TenantId, money};
use tollgate_policy::{Finding, Level, Source};
use tollgate_proxy::Gateway;
use tollgate_store::Store;

use crate::config::{Config, is_stored};
use crate::exporting::Exporting;
use crate::policing;
use crate::ruling;
use crate::running;
use crate::serve::setup;
use crate::state::State;

/// What operators are told of.
#[derive(Default)]
pub(crate) struct About {
    pub(crate) parts: OnceLock<(Gateway, State, Exporting, Identity)>,
    pub(crate) config: ArcSwapOption<(Config, Arc<Configured>)>,
    /// What is served: the same, with what is registered and which policies are stored.
    pub(crate) served: ArcSwapOption<Config>,
    pub(crate) serving: AtomicBool,
    pub(crate) draining: AtomicBool,
}

/// The same, as the admin plane asks for it.
pub(crate) struct Told(pub(crate) Arc<About>);

impl About {
    /// From now on it is known what is told of.
    pub(crate) fn knows(&self, gateway: &Gateway, state: &State, exporting: &Exporting, identity: &Identity) {
        _ = self.parts.set((gateway.clone(), state.clone(), exporting.clone(), identity.clone()));
    }

    /// From now on this is configured.
    pub(crate) fn configured(&self, config: &Config) {
        self.config.store(Some(Arc::new((config.clone(), Arc::new(configured(config))))));
    }

    /// From now on this is served.
    pub(crate) fn serves(&self, config: &Config) {
        self.served.store(Some(Arc::new(config.clone())));
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut now = match self.parts.get() {
            Some((gateway, state, exporting, _)) => {
                running::snapshot((gateway, state, exporting), self.draining.load(Ordering::Acquire))
            }
            None => Snapshot {
                standing: Standing::Starting,
                servers: Vec::new(),
                store: None,
                exports: Vec::new(),
                ledger: None,
                index: None,
                blocks: Vec::new(),
                limits: LimitsLine::default(),
                left_out: Vec::new(),
                not_taken: None,
            },
        };
        if !self.serving.load(Ordering::Acquire) {
            now.standing = Standing::Starting;
        }
        now
    }
}

#[async_trait]
impl World for Told {
    fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }

    fn parts(&self) -> Option<Parts> {
        let (gateway, state, ..) = self.0.parts.get()?;
        let config = self.0.config.load_full()?;
        Some(Parts {
            store: state.any_store(),
            follower: state.follower(),
            ledger: gateway.ledger().clone(),
            configured: Arc::clone(&config.1),
        })
    }

    fn make_store(&self) -> Result<Arc<dyn Store>, String> {
        let (parts, config) = (self.0.parts.get(), self.0.config.load_full());
        let ((_, state, ..), config) = parts.zip(config).ok_or("the gateway is starting")?;
        state.make_store(&config.0).map_err(|failure| failure.text)
    }

    async fn try_policies(
        &self,
        tenant: &TenantId,
        texts: Vec<PolicyText>,
    ) -> Result<Vec<PolicyRemark>, String> {
        let ((gateway, identity), config) = self.known()?;
        let mut config = Config::clone(&config);
        let sources = texts.into_iter().map(|text| Source { path: text.path, text: text.text });
        // What is stored stays beside them.
        let before = config.policies.tenants.get(tenant).cloned().unwrap_or_default();
        let stored = before.into_iter().filter(|source| is_stored(&source.path));
        let sources = sources.chain(stored).collect();
        config.policies.tenants.insert(tenant.clone(), sources);
        // Those of others are as good as they are.
        config.policies.shadow.clear();
        let found = policing::try_out(&config, gateway, &setup(&config, identity)).await;
        let remarks = found.into_iter().filter(|(of, _)| of == tenant);
        Ok(remarks.map(|(_, finding)| remark(finding)).collect())
    }

    async fn try_rules(&self, candidate: &RuleCandidate) -> Result<Vec<PolicyRemark>, String> {
        let (parts, config) = self.known()?;
        let found = ruling::check(parts, &config, candidate).await;
        Ok(found.into_iter().map(|(_, finding)| remark(finding)).collect())
    }

    async fn test_rules(&self, candidate: &RuleCandidate, cases: &str) -> Result<Tested, String> {
        let (parts, config) = self.known()?;
        ruling::test(parts, &config, candidate, cases).await
    }

    async fn simulate_rules(&self, candidate: &RuleCandidate, days: u32) -> Result<Simulated, String> {
        let (parts, config) = self.known()?;
        ruling::simulate(parts, &config, candidate, days).await
    }
}

impl Told {
    /// The gateway, and what it serves.
    fn known(&self) -> Result<((&Gateway, &Identity), Arc<Config>), String> {
        let (parts, config) = (self.0.parts.get(), self.0.served.load_full());
        let ((gateway, .., identity), config) = parts.zip(config).ok_or("the gateway is starting")?;
        Ok(((gateway, identity), config))
    }
}

/// What is found of a policy, as operators are told.
pub(crate) fn remark(finding: Finding) -> PolicyRemark {
    let Finding { level, path, line, column, message, suggestion } = finding;
    PolicyRemark { is_error: level == Level::Error, path, line, column, message, suggestion }
}

/// What a configuration says, as operators are shown it: never a secret.
fn configured(config: &Config) -> Configured {
    let servers = config.servers.iter().map(|server| {
        let server = tollgate_model::ServerId::new(server.holder.clone(), server.name.clone());
        let facts = config.facts.get(&server);
        ServerCard {
            owner: facts.and_then(|facts| facts.owner.clone()),
            environment: facts.and_then(|facts| facts.environment.clone()),
            risk: facts.and_then(|facts| facts.risk.clone()),
            scopes: facts.map(|facts| facts.scopes.clone()).unwrap_or_default(),
            server,
        }
    });
    Configured {
        tenants: config.tenants.iter().map(|tenant| tenant.id.clone()).collect(),
        plans: config.tenants.iter().filter_map(|tenant| plan(config, &tenant.id)).collect(),
        stored_policies: config.policies.are_stored,
        four_eyes: config.policies.four_eyes,
        servers: servers.collect(),
        policies: policies(config),
        limits: config.limits.rules.iter().map(limit).collect(),
        pins_locked: config.proxy.pins.lock.is_some(),
        approvals: Arc::clone(&config.proxy.approvals),
        self_approval: config.registry.self_approval,
        currency: config
            .index
            .as_ref()
            .map(|index| index.prices.currency.as_str().into())
            .unwrap_or_default(),
        settings: settings(config),
    }
}

fn policies(config: &Config) -> Vec<PolicyText> {
    let text = |tenant: Option<&TenantId>, source: &Source, is_shadow| PolicyText {
        tenant: tenant.cloned(),
        path: Arc::clone(&source.path),
        text: Arc::clone(&source.text),
        is_shadow,
    };
    let policies = &config.policies;
    let of = |files: &std::collections::BTreeMap<TenantId, Vec<Source>>, is_shadow| -> Vec<PolicyText> {
        let files = files.iter().flat_map(|(tenant, files)| files.iter().map(move |file| (tenant, file)));
        files.map(|(tenant, file)| text(Some(tenant), file, is_shadow)).collect()
    };
    let operator = policies.operator.iter().map(|file| text(None, file, false));
    operator.chain(of(&policies.tenants, false)).chain(of(&policies.shadow, true)).collect()
}

/// The plan of a tenant, if it has one.
fn plan(config: &Config, tenant: &TenantId) -> Option<(TenantId, Arc<str>)> {
    let plans = config.limits.rules.iter().filter_map(|rule| rule.plan.as_ref());
    let mut own = plans.filter(|plan| plan.tenants.contains(tenant));
    own.next().map(|plan| (tenant.clone(), Arc::clone(&plan.name)))
}

fn limit(rule: &Rule) -> LimitCard {
    let every = |every: &Every| match every {
        Every::Hour => "hour",
        Every::Day => "day",
        Every::Month => "month",
    };
    let mut says = match &rule.bound {
        Bound::Rate { requests, per, burst } => {
            let within = match per.as_millis() {
                1_000 => "each second".to_owned(),
                60_000 => "each minute".to_owned(),
                3_600_000 => "each hour".to_owned(),
                ms if ms.is_multiple_of(1_000) => format!("in {} s", ms / 1_000),
                ms => format!("in {ms} ms"),
            };
            format!("{requests} requests {within}, {burst} at once")
        }
        Bound::Concurrency(most) => format!("{most} under way at once"),
        Bound::Quota { calls, every: window } => format!("{calls} calls each {}", every(window)),
        Bound::Budget { allowed, of, every: window, is_soft, .. } => {
            let amount = match of {
                Unit::Tokens => format!("{allowed} tokens"),
                Unit::Cost => money(*allowed),
            };
            let soft = if *is_soft { ", then operators are told" } else { "" };
            format!("{amount} each {}{soft}", every(window))
        }
    };
    if !rule.per.is_empty() {
        let per: Vec<&str> = rule.per.iter().map(|dimension| dimension.as_str()).collect();
        says = format!("{says}, for each {}", per.join(" and "));
    }
    LimitCard {
        plan: rule.plan.as_ref().map(|plan| Arc::clone(&plan.name)),
        name: Arc::clone(&rule.name),
        says,
    }
}

fn settings(config: &Config) -> Vec<(&'static str, String)> {
    let shown = |path: &Path| path.display().to_string();
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let sign_in = config.admin.sign_in.as_ref();
    vec![
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("configuration", shown(&config.file)),
        ("listen", config.listen.to_string()),
        ("admin_listen", config.admin_listen.to_string()),
        ("public_url", config.proxy.public_url.clone().unwrap_or_default()),
        ("tls", yes(config.tls.is_some())),
        ("admin_tls", yes(config.admin_tls.is_some())),
        ("data_dir", shown(&config.data_dir)),
        ("environment", config.environment.as_deref().unwrap_or_default().to_owned()),
        ("identity", yes(!config.identity.is_off())),
        ("policies", yes(config.policies.are_configured)),
        ("ledger", yes(config.ledger.is_some())),
        ("ledger.index", yes(config.index.is_some())),
        ("exports", config.exports.len().to_string()),
        ("admin.sign_in", sign_in.map(|sign_in| sign_in.issuer.issuer.to_string()).unwrap_or_default()),
        ("servers", config.servers.len().to_string()),
        ("tenants", config.tenants.len().to_string()),
    ]
}
