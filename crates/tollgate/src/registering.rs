//! What is registered at run time, served beside what the file says: as it changes, without reading the file again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tollgate_identity::Identity;
use tollgate_model::{ServerId, Timestamp};
use tollgate_proxy::{Gateway, GatewayError};
use tollgate_store::{Doing, Registration, RegistrationId, Store, StoreError, WhichRegistrations};
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

/// What is left out, for whoever asks how the gateway does.
#[derive(Debug, Default)]
pub(crate) struct Left(Mutex<Arc<[LeftOut]>>);

impl Left {
    /// Each with why it is not served.
    pub(crate) fn lines(&self) -> Vec<(String, String)> {
        let left = Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        left.iter().map(|left| (label(&left.id), left.why.clone())).collect()
    }

    /// Says of what is left out that was not before, or for another reason.
    fn replace(&self, left: Vec<LeftOut>) {
        let left: Arc<[LeftOut]> = left.into();
        let before =
            std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), Arc::clone(&left));
        for LeftOut { id, why } in left.iter().filter(|left| !before.contains(left)) {
            RegistrationLeftOut { server: &label(id), reason: why }.emit();
        }
    }
}

/// What is served of a configuration together with what is registered.
pub(crate) struct Joined {
    /// What was registered when it was looked at last.
    all: All,
    /// The servers of the file and of the registry.
    pub(crate) config: Config,
    left_out: Vec<LeftOut>,
}

impl Joined {
    /// With all that is registered now.
    pub(crate) fn new(config: &Config, state: &State) -> Self {
        let all = Arc::clone(state.follower().now().registrations());
        let now = Timestamp::now();
        let (mut config, left_out) = config.joined(all.values().map(|one| &**one), Some(&ProcessEnv), now);
        guard_commands(&mut config);
        Self { all, config, left_out }
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
            if !is_same || self.ends(Timestamp::now()) {
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
        return joined;
    }
    let (identity, store) = (gateway.identity(), state.store());
    let (store, described) = (store.as_ref(), setup(&joined.config, &identity));
    let policies = match policing::renew(file, file, gateway, &described, store).await {
        Ok(policies) => policies,
        Err(findings) => {
            tracing::error!(reason = %findings, "what is registered is not taken over: policies do not fit it");
            return Joined { all: joined.all, ..before };
        }
    };
    if let Err(error) = joined.apply(gateway, &identity, state) {
        tracing::error!(%error, "what is registered is not taken over");
        return Joined { all: joined.all, ..before };
    }
    if let Some(policies) = policies {
        policing::take_over(gateway, policies, file, store).await;
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
    let mut which = WhichRegistrations { most: PAGE, ..WhichRegistrations::default() };
    let mut all: Vec<Registration> = Vec::new();
    loop {
        let page = store.registrations(&which).await?;
        let is_last = page.len() < PAGE;
        all.extend(page);
        if is_last {
            return Ok(config.joined(&all, env, Timestamp::now()).0);
        }
        which.after = all.last().map(|last| last.id.clone());
    }
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
