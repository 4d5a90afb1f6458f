//! What is known of one replica of a server: how it is chosen, which era it speaks, how it fares.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tollgate_model::ServerId;
use tollgate_telemetry::events::{ReplicaEjected, ReplicaReturned};

use crate::backoff::Backoff;
use crate::circuit::{Change, Circuit, Floor, Rules};
use crate::shared::{Counter, EraFact};
use crate::{HttpSettings, ReplicaSettings, ServerSettings, UpstreamError};

/// A server with a URL is asked again at least this often when nothing could be begun: a refused connection costs next to
/// nothing.
const BEGINNING_MAX: Duration = Duration::from_secs(5);

/// One replica of a server with a URL; the only one, of most.
#[derive(Debug)]
pub(crate) struct Replica {
    server: ServerId,
    /// Its place among the replicas as configured.
    pub(crate) number: usize,
    /// What people call it: host and port, told apart where several are the same.
    pub(crate) label: Arc<str>,
    pub(crate) weight: u32,
    pub(crate) version: Option<Arc<str>>,
    pub(crate) priority: u32,
    pub(crate) circuit: Circuit,
    alone: bool,
    era: Mutex<EraFact>,
    /// Requests under way; not counted of an only one.
    in_flight: AtomicUsize,
    pub(crate) answered: Counter,
    pub(crate) failed: Counter,
    ejections: AtomicU64,
}

impl Replica {
    /// The replicas of a server.
    pub(crate) fn all(
        settings: &ServerSettings,
        http: &HttpSettings,
        places: &[ReplicaSettings],
    ) -> Vec<Arc<Self>> {
        let timeouts = &settings.timeouts;
        let max = timeouts.backoff_max;
        let between = settings.health.as_ref().map_or(max, |health| health.interval);
        let rules = Rules {
            failures_max: settings.circuit.failures_max,
            trials_max: settings.circuit.trials_max,
            beginnings: Backoff::new(timeouts.backoff_min, max.min(BEGINNING_MAX)),
            requests: Backoff::new(timeouts.backoff_min, max),
            checks: Backoff::new(between, between),
        };
        let is_used = |place: &&ReplicaSettings| http.pinned.is_none() || place.version == http.pinned;
        let used = places.iter().filter(is_used).count();
        let floor = Arc::new(Floor::new(used, settings.circuit.ejected_percent_max));
        let mut replicas: Vec<Arc<Self>> = Vec::with_capacity(places.len());
        for (number, place) in places.iter().enumerate() {
            let host = place.url.authority().map_or("", http::uri::Authority::as_str);
            let same = |replica: &&Arc<Self>| replica.label.split('#').next() == Some(host);
            let label = match replicas.iter().filter(same).count() {
                0 => host.into(),
                others => format!("{host}#{}", others + 1).into(),
            };
            replicas.push(Arc::new(Self {
                server: settings.id(),
                number,
                label,
                weight: place.weight,
                version: place.version.clone(),
                priority: place.priority,
                circuit: Circuit::new(rules, Arc::clone(&floor)),
                alone: places.len() == 1,
                era: Mutex::new(EraFact::Unknown),
                in_flight: AtomicUsize::new(0),
                answered: Counter::default(),
                failed: Counter::default(),
                ejections: AtomicU64::new(0),
            }));
        }
        replicas
    }

    /// Whether the server has no other.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone
    }

    pub(crate) fn era(&self) -> EraFact {
        *self.era.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn learn_era(&self, era: EraFact) {
        *self.era.lock().unwrap_or_else(PoisonError::into_inner) = era;
    }

    /// What was believed of the era does not fit any more.
    pub(crate) fn forget_era(&self, why: &str) {
        tracing::info!(
            server = %self.server.label(), replica = %self.label, why, "the server's era is probed again"
        );
        self.learn_era(EraFact::Unknown);
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How often it was left alone.
    pub(crate) fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    pub(crate) fn begin_call(&self) {
        if !self.alone {
            self.in_flight.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn end_call(&self) {
        if !self.alone {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A request was answered.
    pub(crate) fn succeeded(&self, epoch: u32) {
        if !self.alone {
            self.answered.add();
        }
        self.tell(self.circuit.succeeded(epoch), None);
    }

    /// A request had no answer. Gives back whether the replica is left alone from now on.
    pub(crate) fn failed(&self, error: &UpstreamError, epoch: u32) -> bool {
        if !error.is_ill_health() {
            return false;
        }
        self.failed.add();
        let change = self.circuit.failed(error, epoch);
        self.tell(change, Some(error));
        change == Change::Opened
    }

    /// A session was begun, or the server said what it is.
    pub(crate) fn begun(&self) {
        self.tell(self.circuit.begun(), None);
    }

    /// Nothing could be begun.
    pub(crate) fn could_not_begin(&self, error: &UpstreamError) {
        match error {
            error if error.is_ill_health() => {
                self.failed.add();
                self.tell(self.circuit.could_not_begin(error), Some(error));
            }
            UpstreamError::Stale { .. } | UpstreamError::Capacity { .. } | UpstreamError::Stopping => {}
            // It answers, if not as it should.
            _ => self.begun(),
        }
    }

    /// It leaves more unanswered than the others. Gives back whether it is left alone from now on.
    pub(crate) fn is_outlier(&self, error: &UpstreamError) -> bool {
        let change = self.circuit.is_outlier(error);
        self.tell(change, Some(error));
        change == Change::Opened
    }

    /// Checks say that it is ill. Gives back whether it is left alone from now on.
    pub(crate) fn condemn(&self, error: &UpstreamError) -> bool {
        let change = self.circuit.condemn(error);
        self.tell(change, Some(error));
        change == Change::Opened
    }

    /// Checks say that it is well.
    pub(crate) fn acquit(&self) {
        self.tell(self.circuit.acquit(), None);
    }

    fn tell(&self, change: Change, why: Option<&UpstreamError>) {
        match change {
            Change::None => {}
            Change::Opened => {
                self.ejections.fetch_add(1, Ordering::Relaxed);
                let reason = why.map(ToString::to_string).unwrap_or_default();
                let alone = self.alone;
                ReplicaEjected { server: &self.server, replica: &self.label, alone, reason: &reason }.emit();
            }
            Change::Closed => {
                ReplicaReturned { server: &self.server, replica: &self.label, alone: self.alone }.emit();
            }
        }
    }
}
