//! Requests of modern clients that have a legacy server's instance to themselves: each for its own, or one of those kept.

use std::sync::Arc;

use tokio::time::Instant;
use tollgate_mcp::{Span, find, methods};
use tollgate_model::{Caller, Era};

use super::{Registry, TURNS_MAX, Way};
use crate::greet::{presumed, presumed_at};
use crate::key::Key;
use crate::replicas::{Gate, Wish};
use crate::seats::{Lease, Seat, Taken};
use crate::shared::EraFact;
use crate::slot::Held;
use crate::{LegacySessions, Link, UpstreamError};

/// How a request has an instance to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alone {
    /// One that is begun for it and ends with it.
    Once,
    /// One of those that are kept.
    WhileAsked,
}

impl Registry {
    /// Whether a request needs an instance to itself, and which.
    pub(super) fn alone(&self, caller: &Caller, method: &str) -> Option<Alone> {
        let shared = &self.shared;
        let is_modern = match &self.way {
            Way::Child(_) => presumed(shared) == EraFact::Modern,
            Way::Http(replicas) => {
                replicas.gates.iter().all(|gate| presumed_at(&gate.site) == EraFact::Modern)
            }
        };
        if caller.session.is_some() || is_modern {
            return None;
        }
        if shared.settings.legacy_sessions == LegacySessions::Strict {
            return Some(Alone::Once);
        }
        let shares_a_stream = match &self.way {
            Way::Child(_) => true,
            Way::Http(replicas) => {
                let is_sse = |gate: &Gate| presumed_at(&gate.site) == EraFact::LegacySse;
                replicas.only_sse || replicas.gates.iter().any(is_sse)
            }
        };
        let asked = shares_a_stream && shared.asks() && methods::may_ask_for_input(method);
        (asked && can_be_asked(caller)).then_some(Alone::WhileAsked)
    }

    pub(super) async fn open_alone(
        self: &Arc<Self>,
        caller: &Caller,
        how: Alone,
        wish: Wish,
    ) -> Result<Link, UpstreamError> {
        let deadline = Instant::now() + self.shared.settings.timeouts.capacity;
        let mut turns = 1;
        loop {
            match self.try_alone(caller, how, wish).await {
                Err(UpstreamError::Capacity { .. }) if Instant::now() < deadline => {
                    self.seats.some_time().await;
                }
                Err(error) if error.is_stale() && turns < TURNS_MAX => turns += 1,
                outcome => return outcome,
            }
        }
    }

    async fn try_alone(
        self: &Arc<Self>,
        caller: &Caller,
        how: Alone,
        wish: Wish,
    ) -> Result<Link, UpstreamError> {
        let (key, _) = self.key(caller, false);
        let key = match how {
            Alone::Once => {
                self.seats.check()?;
                key.at(self.seats.once())
            }
            Alone::WhileAsked => self.seats.take(&key, |key| self.is_free(key)),
        };
        let seat = Taken::new(self, key);
        self.put_away(seat.key());
        let opened = self.open_at(caller, seat.key().seat, wish).await;
        if how == Alone::Once {
            self.seats.started(self.backoff, opened.as_ref().map(|_| ()));
        }
        let instance = opened?;
        if instance.revision.era() == Era::Modern {
            return Ok(Link::of(instance));
        }
        let lease = Lease::new(seat, &instance);
        Ok(Link(instance, Some(Arc::new(lease))))
    }

    /// Whether nothing is under way at this seat that the server may ask something about, and nothing that keeps an instance
    /// which must be put away.
    fn is_free(&self, key: &Key) -> bool {
        let entry = self.instances().get(key).cloned();
        match entry.map(|entry| entry.held()) {
            Some(Held::Ready(instance)) => {
                !(instance.may_ask() || instance.has_strays() && instance.is_busy())
            }
            _ => true,
        }
    }

    /// Lets go of an instance whose server may still ask something about a call that was left: whoever has the seat next must
    /// not be asked it. It ends with what still uses it.
    fn put_away(&self, key: &Key) {
        let mut instances = self.instances();
        if let Some(Held::Ready(instance)) = instances.get(key).map(|entry| entry.held())
            && instance.has_strays()
            && !instance.is_busy()
        {
            instances.remove(key);
            drop(instances);
            instance.retire();
        }
    }

    /// A seat is left: what served a single call ends.
    pub(crate) fn give_back(&self, key: &Key) {
        if matches!(key.seat, Seat::Once(_)) {
            let entry = self.instances().remove(key);
            if let Some(entry) = entry {
                self.retire(entry);
            }
        }
        self.seats.give_back(key);
    }

    /// How many instances are one call's alone.
    pub(crate) fn leased(&self) -> usize {
        let once = self.instances().keys().filter(|key| matches!(key.seat, Seat::Once(_))).count();
        once + self.seats.count()
    }
}

/// Whether the client declares anything that a server may ask for.
fn can_be_asked(caller: &Caller) -> bool {
    let capabilities = &caller.client.capabilities;
    ["elicitation", "sampling", "roots"]
        .into_iter()
        .any(|part| find(capabilities, Span::all(capabilities), part).is_some())
}
