//! Servers with a URL: which replica serves a caller, and what has to be found out before.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tollgate_model::{Caller, Era};

use super::{Opened, Registry, Way, could_not_begin};
use crate::circuit::Standing;
use crate::greet::{begin_over_http, discover_over_http, looks_alive, presumed_at};
use crate::key::Key;
use crate::link::Instance;
use crate::replicas::{Gate, Replicas, Wish};
use crate::seats::Seat;
use crate::shared::EraFact;
use crate::slot::Held;
use crate::{Isolation, LegacySessions, ReplicaHealth, ReplicaStatus, UpstreamError};

/// So long is waited for the look at a server that was left alone, by who would be told that it still is. One that is back
/// answers sooner, and one that hangs must not hold up the lists of all others.
const LOOK_MAX: Duration = Duration::from_millis(200);

impl Registry {
    /// The modern instance that a request goes to, of several replicas that are modern all. None if anything has to be
    /// begun, or looked at; where it is the replica that was drawn, the wish is for that from then on. (Drawn anew each time, one
    /// of little weight would not be begun for long.)
    pub(super) fn modern_of_several(&self, replicas: &Replicas, wish: &mut Wish) -> Option<Arc<Instance>> {
        if replicas.any_legacy() || self.stopping.load(Ordering::Relaxed) || self.is_halted() {
            return None;
        }
        let choice = replicas.choose(*wish);
        if choice.due != 0 {
            // Whoever opens slowly sees to them.
            return None;
        }
        let number = choice.chosen.ok()?;
        let greeted = replicas.gates[number].greeted();
        if greeted.is_none() {
            wish.prefer = Some(number);
        }
        greeted
    }

    /// The replica of this name.
    pub(crate) fn named(&self, label: &str) -> Option<usize> {
        self.gates().iter().position(|gate| &*gate.replica().label == label)
    }

    /// The instance that serves this caller: the session that it has, or one on the replica that is chosen. Where nothing can
    /// be begun on that, on another.
    pub(super) async fn open_over_http(
        self: &Arc<Self>,
        replicas: &Replicas,
        caller: &Caller,
        seat: Seat,
        mut wish: Wish,
    ) -> Opened {
        let mut waited = false;
        loop {
            if let Some(instance) = self.session(replicas, caller, seat) {
                return Ok(instance);
            }
            wish.settles = self.is_settled(caller) && replicas.any_legacy() && !replicas.any_modern();
            let choice = replicas.choose(wish);
            let due = replicas.gates.iter().enumerate().filter(|(number, _)| choice.due & (1 << number) != 0);
            let looks: Vec<JoinHandle<()>> = due.filter_map(|(_, gate)| self.look(gate)).collect();
            let number = match choice.chosen {
                Ok(number) => number,
                Err(_) if !looks.is_empty() && !waited => {
                    waited = true;
                    let until = Instant::now() + LOOK_MAX;
                    for look in looks {
                        let _ = tokio::time::timeout_at(until, look).await;
                    }
                    continue;
                }
                Err(error) => {
                    self.shared.is_down(&error);
                    return Err(error);
                }
            };
            match self.open_on(replicas, &replicas.gates[number], caller, seat).await {
                Err(error) if error.is_ill_health() => {
                    wish.avoid = wish.avoid.with(number);
                    wish.prefer = None;
                    if !replicas.has_other(wish.avoid) {
                        self.shared.is_down(&error);
                        return Err(error);
                    }
                }
                outcome => return outcome,
            }
        }
    }

    /// The session that a caller has with a legacy server, wherever that is: it stays there until it is lost. One on a
    /// replica that is left alone is lost, if there is any other.
    fn session(&self, replicas: &Replicas, caller: &Caller, seat: Seat) -> Option<Arc<Instance>> {
        if replicas.only().is_some() || !replicas.any_legacy() || self.is_anywhere(caller) {
            return None;
        }
        let instance = self.held(&self.key(caller, false).0.at(seat))?;
        let number = instance.replica()?.number;
        let circuit = &instance.replica()?.circuit;
        let is_left_alone = circuit.standing() == Standing::Open;
        if is_left_alone && replicas.has_other(crate::Avoid::default().with(number)) {
            instance.retire();
            return None;
        }
        instance.touch();
        Some(instance)
    }

    /// Whether a session of the caller's has one of its own with a legacy server.
    fn is_settled(&self, caller: &Caller) -> bool {
        caller.session.is_some() && self.isolation(caller, false) == Isolation::Session
    }

    /// Whether the server keeps nothing of this caller's from one request to the next, so that any replica will do.
    fn is_anywhere(&self, caller: &Caller) -> bool {
        self.shared.settings.legacy_sessions == LegacySessions::Stateless && caller.session.is_none()
    }

    /// What serves a key on any replica.
    pub(super) fn held_on_any_replica(&self, key: &Key) -> Option<Arc<Instance>> {
        let several = self.gates().len() > 1;
        let keys = (0..self.gates().len()).map(|number| key.on(Some(number)));
        keys.filter(|_| several).find_map(|key| self.held(&key))
    }

    async fn open_on(
        self: &Arc<Self>,
        replicas: &Replicas,
        gate: &Gate,
        caller: &Caller,
        seat: Seat,
    ) -> Opened {
        if !replicas.only_sse
            && let Some(instance) = self.find(gate, Some(caller)).await?
        {
            return Ok(instance);
        }
        let (key, introduction) = self.key(caller, false);
        let several = replicas.only().is_none();
        let on = (several && self.is_anywhere(caller)).then_some(gate.replica().number);
        let key = key.at(seat).on(on);
        let (site, only_sse) = (Arc::clone(&gate.site), replicas.only_sse);
        let begin = move |beginning| begin_over_http(beginning, site, only_sse);
        self.instance(&key, introduction, Some(gate.replica()), begin).await
    }

    /// Asks a replica whether it is modern, once for everyone.
    async fn find(
        self: &Arc<Self>,
        gate: &Gate,
        caller: Option<&Caller>,
    ) -> Result<Option<Arc<Instance>>, UpstreamError> {
        if matches!(presumed_at(&gate.site), EraFact::Legacy | EraFact::LegacySse) {
            return Ok(None);
        }
        if let Held::Ready(found) = gate.found.held()
            && found.is_none_or(|instance| !instance.is_usable())
        {
            // It has stopped fitting, which is no failure of the probe's.
            gate.found.empty();
        }
        let shared = Arc::clone(&self.shared);
        let site = Arc::clone(&gate.site);
        let usable =
            |found: &Option<Arc<Instance>>| found.as_ref().is_some_and(|instance| instance.is_usable());
        let found = gate
            .found
            .get(self.backoff, usable, move |_| async move {
                match discover_over_http(&site).await {
                    Ok(Some(instance)) => {
                        shared.counters.starts.add();
                        site.replica.learn_era(EraFact::Modern);
                        site.replica.begun();
                        shared.is_up(instance.revision);
                        Ok(Some(Arc::new(instance)))
                    }
                    Ok(None) => {
                        site.replica.learn_era(EraFact::Legacy);
                        Ok(None)
                    }
                    Err(error) => {
                        could_not_begin(&shared, Some(&site.replica), &error);
                        Err(error)
                    }
                }
            })
            .await?;
        if let Some(instance) = &found
            && !self.stopping.load(Ordering::Relaxed)
            && !self.is_halted()
        {
            // While it is only tried, who asks is let through one by one.
            if gate.replica().circuit.standing() == Standing::Closed {
                gate.modern.store(Some(Arc::clone(instance)));
            }
            if let Some(caller) = caller {
                self.attend(caller, instance);
            }
        }
        Ok(found)
    }

    /// Looks whether a replica that was left alone for long enough is back, so that no caller has to. None if somebody does.
    pub(super) fn look(self: &Arc<Self>, gate: &Gate) -> Option<JoinHandle<()>> {
        if gate.looking.swap(true, Ordering::Relaxed) {
            return None;
        }
        let registry = Arc::clone(self);
        let number = gate.replica().number;
        let stop = self.stop.clone();
        let looking = self.tasks.spawn(async move {
            let Some(gate) = registry.gates().get(number) else { return };
            let looked = async {
                match looks_alive(&gate.site, registry.shared.settings.timeouts.probe).await {
                    Ok(()) => {
                        let found = registry.find(gate, None).await;
                        if !matches!(&found, Err(error) if error.is_ill_health()) {
                            gate.replica().begun();
                        }
                    }
                    Err(error) => gate.replica().could_not_begin(&error),
                }
            };
            stop.run_until_cancelled(looked).await;
            gate.looking.store(false, Ordering::Relaxed);
        });
        Some(looking)
    }

    /// How it stands with each replica.
    pub(crate) fn replicas(&self) -> Vec<ReplicaStatus> {
        let Way::Http(replicas) = &self.way else { return Vec::new() };
        let now = Instant::now();
        let of = |gate: &Gate| {
            let replica = gate.replica();
            let until = replica.circuit.until().map(|until| until.saturating_duration_since(now));
            let health = match replica.circuit.standing() {
                _ if !replicas.is_used(replica.number) => ReplicaHealth::Unused,
                Standing::Closed => ReplicaHealth::Well,
                Standing::Failing => ReplicaHealth::Failing,
                Standing::Open => {
                    ReplicaHealth::Ejected { until: SystemTime::now() + until.unwrap_or_default() }
                }
                Standing::HalfOpen => ReplicaHealth::Tried,
            };
            let in_flight = if replica.is_alone() { self.requests_under_way() } else { replica.in_flight() };
            ReplicaStatus {
                name: Arc::clone(&replica.label),
                version: replica.version.clone(),
                weight: replica.weight,
                priority: replica.priority,
                health,
                in_flight,
                answered: replica.answered.get(),
                failed: replica.failed.get(),
                ejections: replica.ejections(),
            }
        };
        replicas.gates.iter().map(of).collect()
    }

    fn requests_under_way(&self) -> usize {
        let instances = self.instances();
        let own = instances.values().filter_map(|entry| match entry.held() {
            Held::Ready(instance) => Some(instance),
            _ => None,
        });
        own.chain(self.gates().iter().filter_map(Gate::greeted)).map(|instance| instance.in_flight()).sum()
    }

    /// Another modern instance whose lists may be listened to, in the place of one that is lost.
    pub(crate) fn another_to_attend(&self) -> Option<Arc<Instance>> {
        let gates = self.gates();
        let usable = || gates.iter().filter_map(Gate::modern);
        usable().filter(|_| gates.len() > 1).find(|instance| instance.revision.era() == Era::Modern)
    }
}
