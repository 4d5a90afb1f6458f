//! What is registered at run time, served beside what the file says: as it changes, without reading the file again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tollgate_identity::Identity;
use tollgate_model::{ServerId, TenantId, Timestamp};
use tollgate_proxy::{Gateway, GatewayError};
use tollgate_store::{
    Doing, RULE_SETS_MAX, Registration, RegistrationId, RuleSet, RuleSetId, Store, StoreError,
    WhichRegistrations, WhichRules,
};
use tollgate_telemetry::events::RegistrationLeftOut;

use crate::config::{Config, Env, LeftOut, ProcessEnv, label};
use crate::policing;
use crate::running::DRAIN;
use crate::serve::{guard_commands, setup};
use crate::state::State;

/// How often it is looked whether a server's end has come, at least: clocks are set.
const LOOK: Duration = Duration::from_secs(30);
/// How many registrations are read at once.
const PAGE: usize = 500;
/// Who retires what has come to its end.
const BY: &str = "tollgate";

/// All that is registered and not retired.
type All = Arc<BTreeMap<RegistrationId, Arc<Registration>>>;

/// All sets of policies that are kept in the store.
type Rules = Arc<BTreeMap<RuleSetId, Arc<RuleSet>>>;

/// What is left out, for whoever asks how the gateway does.
#[derive(Debug, Default)]
pub(crate) struct Left {
    servers: Mutex<Arc<[LeftOut]>>,
    /// Why nothing of what is stored now was taken over.
    all: Mutex<Option<String>>,
}

impl Left {
    /// Why what is stored now is not used, if it is not.
    pub(crate) fn not_taken(&self) -> Option<String> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_not_taken(&self, why: Option<String>) {
        *self.all.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Each with why it is not served.
    pub(crate) fn lines(&self) -> Vec<(String, String)> {
        let left = Arc::clone(&self.servers.lock().unwrap_or_else(PoisonError::into_inner));
        left.iter().map(|left| (label(&left.id), left.why.clone())).collect()
    }

    /// Says of what is left out that was not before, or for another reason.
    fn replace(&self, left: Vec<LeftOut>) {
        let left: Arc<[LeftOut]> = left.into();
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *servers, Arc::clone(&left));
        drop(servers);
        for LeftOut { id, why } in left.iter().filter(|left| !before.contains(left)) {
            RegistrationLeftOut { server: &label(id), reason: why }.emit();
        }
    }
}

/// What is served of a configuration together with what is registered.
pub(crate) struct Joined {
    /// What was registered when it was looked at last.
    all: All,
    /// What policies were stored then.
    rules: Rules,
    /// The servers of the file and of the registry, and the policies of files and of the store.
    pub(crate) config: Config,
    left_out: Vec<LeftOut>,
}

impl Joined {
    /// With all that is registered now.
    pub(crate) fn new(config: &Config, state: &State) -> Self {
        let desired = state.follower().now();
        let (all, rules) = (Arc::clone(desired.registrations()), Arc::clone(desired.rules()));
        let now = Timestamp::now();
        let (mut config, left_out) = config.joined(all.values().map(|one| &**one), Some(&ProcessEnv), now);
        guard_commands(&mut config);
        take_rules(&mut config, rules.values().map(|set| &**set));
        Self { all, rules, config, left_out }
    }

    /// Has a gateway serve it. A registered server that cannot be reached as it says is left out: only what the file says can
    /// keep a configuration from being served.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn apply(
        &mut self,
        gateway: &Gateway,
        identity: &Identity,
        state: &State,
    ) -> Result<(), GatewayError> {
        loop {
            match gateway.apply(setup(&self.config, identity), DRAIN) {
                Ok(()) => break,
                Err(GatewayError::Server { server, error })
                    if self.leave_out(&server, &error.to_string()) => {}
                Err(error) => return Err(error),
            }
        }
        state.left().replace(self.left_out.clone());
        Ok(())
    }

    /// Takes a registered server out. False if it is not one.
    fn leave_out(&mut self, server: &ServerId, why: &str) -> bool {
        let now = Timestamp::now();
        let of = |id: &RegistrationId| server.name() == &id.name && server.holder().serves(&id.tenant);
        let ids: Vec<RegistrationId> = self
            .all
            .values()
            .filter(|one| of(&one.id) && one.is_served(now))
            .filter(|one| !self.left_out.iter().any(|left| left.id == one.id))
            .map(|one| one.id.clone())
            .collect();
        if ids.is_empty() {
            return false;
        }
        self.left_out.extend(ids.into_iter().map(|id| LeftOut { id, why: why.to_owned() }));
        self.config.servers.retain(|known| known.id() != *server);
        true
    }

    /// Waits until something else is registered, or the end of something has come.
    pub(crate) async fn outdated(&self, state: &State) {
        let follower = state.follower();
        let mut changes = follower.changes();
        loop {
            let now = follower.now();
            // Where nothing is followed each look is another nothing.
            let is_same = Arc::ptr_eq(now.registrations(), &self.all) || *now.registrations() == self.all;
            let are_same = Arc::ptr_eq(now.rules(), &self.rules) || *now.rules() == self.rules;
            if !is_same || !are_same || self.ends(Timestamp::now()) {
                return;
            }
            let ends = tokio::time::sleep(self.next_end(Timestamp::now()));
            tokio::select! {
                changed = changes.changed() => if changed.is_err() {
                    // Nothing is followed. Another store comes with another follower.
                    std::future::pending::<()>().await;
                },
                () = ends => {}
            }
        }
    }

    /// Whether something is served whose end has come.
    fn ends(&self, now: Timestamp) -> bool {
        let is_served = |one: &Registration| {
            self.config
                .servers
                .iter()
                .any(|server| server.name == one.id.name && server.holder.serves(&one.id.tenant))
        };
        self.all.values().any(|one| one.is_over(now) && one.share > 0 && is_served(one))
    }

    fn next_end(&self, now: Timestamp) -> Duration {
        let ends = self.all.values().filter(|one| !one.is_over(now)).filter_map(|one| one.sunset);
        ends.min().map_or(LOOK, |end| end.since(now).min(LOOK)).max(Duration::from_millis(10))
    }
}

/// Serves what is registered by now, without cutting what is under way elsewhere. What cannot be served leaves all as it was.
pub(crate) async fn renew(before: Joined, file: &Config, gateway: &Gateway, state: &State) -> Joined {
    let mut joined = Joined::new(file, state);
    retire(&joined.all, state);
    if joined.config == before.config {
        state.left().replace(joined.left_out.clone());
        state.left().set_not_taken(None);
        return joined;
    }
    let (identity, store) = (gateway.identity(), state.store());
    let (store, described) = (store.as_ref(), setup(&joined.config, &identity));
    let policies = match policing::renew(&joined.config, &before.config, gateway, &described, store).await {
        Ok(policies) => policies,
        Err(findings) => {
            tracing::error!(reason = %findings, "what is registered is not taken over: policies do not fit it");
            state.left().set_not_taken(Some(findings));
            return Joined { all: joined.all, rules: joined.rules, ..before };
        }
    };
    if let Err(error) = joined.apply(gateway, &identity, state) {
        tracing::error!(%error, "what is registered is not taken over");
        state.left().set_not_taken(Some(error.to_string()));
        return Joined { all: joined.all, rules: joined.rules, ..before };
    }
    state.left().set_not_taken(None);
    if let Some(policies) = policies {
        policing::take_over(gateway, policies, &joined.config, store).await;
        gateway.learn_tools(store.cloned(), Duration::ZERO).await;
    }
    joined
}

/// A configuration with what is registered in a store, for commands that are about all servers.
///
/// # Errors
/// The store does not do its part.
pub(crate) async fn with_registered(
    config: &Config,
    store: &dyn Store,
    env: Option<&dyn Env>,
) -> Result<Config, StoreError> {
    Ok(with_left_out(config, store, env).await?.0)
}

/// The same, and what is registered and would not be served by it.
///
/// # Errors
/// The store does not do its part.
pub(crate) async fn with_left_out(
    config: &Config,
    store: &dyn Store,
    env: Option<&dyn Env>,
) -> Result<(Config, Vec<LeftOut>), StoreError> {
    let mut which = WhichRegistrations { most: PAGE, ..WhichRegistrations::default() };
    let mut all: Vec<Registration> = Vec::new();
    loop {
        let page = store.registrations(&which).await?;
        let is_last = page.len() < PAGE;
        all.extend(page);
        if is_last {
            let (mut config, left_out) = config.joined(&all, env, Timestamp::now());
            let rules = store.all_rules(&WhichRules { most: RULE_SETS_MAX, ..WhichRules::default() }).await?;
            take_rules(&mut config, rules.iter());
            return Ok((config, left_out));
        }
        which.after = all.last().map(|last| last.id.clone());
    }
}

/// With the policies that are kept in the store, where they count.
fn take_rules<'r>(config: &mut Config, rules: impl Iterator<Item = &'r RuleSet>) {
    let tenants: Vec<TenantId> = config.tenants.iter().map(|tenant| tenant.id.clone()).collect();
    config.policies.take_stored(rules, &tenants);
}

/// Puts into the store that the end of something has come. All gateways do, and one is first.
fn retire(all: &All, state: &State) {
    let Some(store) = state.any_store() else { return };
    let at = Timestamp::now();
    let over: Vec<Arc<Registration>> = all.values().filter(|one| one.is_over(at)).cloned().collect();
    if over.is_empty() {
        return;
    }
    tokio::spawn(async move {
        for one in over {
            let doing = Doing { by: BY.into(), reason: "its sunset has come".into(), at };
            let Ok(retired) = one.retired(&doing) else { continue };
            if let Err(error) = put(&*store, retired).await {
                tracing::debug!(%error, server = %label(&one.id), "its end is not in the store yet");
            }
        }
    });
}

async fn put(store: &dyn Store, retired: Registration) -> Result<(), StoreError> {
    store.put_registrations(vec![retired]).await
}
