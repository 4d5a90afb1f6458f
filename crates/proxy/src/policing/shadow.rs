//! Policies that only look on: what they would have decided is counted and recorded, and nothing acts on it.
//!
//! They decide after those that count, of what is allowed beside the request and not before its answer is there. All of it
//! together takes a bounded part of one core: what is beyond that is counted as left out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tollgate_mcp::Span;
use tollgate_model::{Caller, Decision, EndpointName, Judged, ServerId, Timestamp};
use tollgate_policy::{Ask, PolicySet, Scene, What};
use tollgate_telemetry::counters::{self, Shadow};
use tollgate_telemetry::events::ShadowDiffers;

use super::Policing;

/// How much of each second may be spent on looking on.
const SPENT_MAX: Duration = Duration::from_millis(100);
/// How many differences are logged in a second. All are counted.
const LOGGED_MAX: u64 = 10;

/// What looking on has taken in the current second.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    second: AtomicU64,
    spent_ns: AtomicU64,
    logged: AtomicU64,
}

impl Budget {
    /// Does something that takes time, unless too much was taken already.
    fn spend<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        self.spend_in(Timestamp::now().as_ms() / 1_000, work)
    }

    fn spend_in<T>(&self, second: u64, work: impl FnOnce() -> T) -> Option<T> {
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.spent_ns.store(0, Ordering::Relaxed);
            self.logged.store(0, Ordering::Relaxed);
        }
        if u128::from(self.spent_ns.load(Ordering::Relaxed)) >= SPENT_MAX.as_nanos() {
            return None;
        }
        let began = Instant::now();
        let done = work();
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.spent_ns.fetch_add(took, Ordering::Relaxed);
        Some(done)
    }

    fn may_log(&self) -> bool {
        self.logged.fetch_add(1, Ordering::Relaxed) < LOGGED_MAX
    }
}

/// Policies that look on.
pub(crate) struct Looker<'a> {
    pub(crate) policing: &'a Policing,
    pub(crate) set: &'a PolicySet,
    pub(crate) caller: &'a Caller,
    pub(crate) server: &'a ServerId,
}

impl Looker<'_> {
    /// Takes as long as looking, and says nothing.
    pub(crate) fn wait(&self, ask: &Ask<'_>) {
        _ = self.policing.budget.spend(|| self.set.decide(&self.caller.who, ask));
    }

    /// What they would have said, if that is something else than what was.
    pub(crate) fn look(&self, ask: &Ask<'_>, judged: &Judged) -> Option<Box<Judged>> {
        let decided = self.policing.budget.spend(|| self.set.decide(&self.caller.who, ask));
        let Some(decision) = decided else {
            counters::shadowed(Shadow::LeftOut);
            return None;
        };
        let verdict = compare(&judged.decision, &decision);
        counters::shadowed(verdict);
        if verdict == Shadow::Agrees {
            return None;
        }
        let (kind, native) = match ask.what {
            What::Call { native, .. } => ("tool", native),
            What::Read { uri } => ("resource", uri),
            What::Get { native, .. } => ("prompt", native),
        };
        if self.policing.budget.may_log() {
            let (who, endpoint, server) = (&*self.caller.who, ask.scene.endpoint, self.server);
            let (live, shadow) = (&judged.decision, &decision);
            ShadowDiffers { who, endpoint, server, kind, native, live, shadow, verdict }.emit();
        }
        Some(Box::new(Judged::new(decision, Some(Arc::clone(self.set.digest())), judged.at)))
    }
}

/// How what they say differs from what was decided.
fn compare(live: &Decision, shadow: &Decision) -> Shadow {
    match (live.allowed, shadow.allowed) {
        (true, false) => Shadow::Denies,
        (false, true) => Shadow::Allows,
        (true, true) if live.obligations != shadow.obligations => Shadow::Demands,
        _ => Shadow::Agrees,
    }
}

/// What was allowed, for policies that look on: answered once, whoever asks first.
#[derive(Debug)]
pub(crate) struct Question {
    policing: Arc<Policing>,
    set: Arc<PolicySet>,
    caller: Caller,
    endpoint: Option<EndpointName>,
    server: ServerId,
    kind: Kind,
    native: Box<str>,
    arguments: Option<(Bytes, Span)>,
    judged: Arc<Judged>,
    answer: OnceLock<Option<Box<Judged>>>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Call,
    Read,
    Get,
}

impl Question {
    /// About what was asked, with a message that holds the arguments.
    pub(crate) fn new(
        policing: Arc<Policing>,
        set: &Arc<PolicySet>,
        (caller, endpoint): (&Caller, Option<&EndpointName>),
        (server, what): (&ServerId, What<'_>),
        message: &Bytes,
        judged: &Arc<Judged>,
    ) -> Arc<Self> {
        let (kind, native, arguments) = match what {
            What::Call { native, arguments } => (Kind::Call, native, arguments),
            What::Read { uri } => (Kind::Read, uri, None),
            What::Get { native, arguments } => (Kind::Get, native, arguments),
        };
        Arc::new(Self {
            policing,
            set: Arc::clone(set),
            caller: caller.clone(),
            endpoint: endpoint.cloned(),
            server: server.clone(),
            kind,
            native: native.into(),
            arguments: arguments.map(|(_, span)| (message.clone(), span)),
            judged: Arc::clone(judged),
            answer: OnceLock::new(),
        })
    }

    /// What they would have said, if that is something else than what was.
    pub(crate) fn answer(&self) -> Option<&Judged> {
        self.answer.get_or_init(|| self.ask()).as_deref()
    }

    fn ask(&self) -> Option<Box<Judged>> {
        let native = &*self.native;
        let arguments = self.arguments.as_ref().map(|(message, span)| (&**message, *span));
        let what = match self.kind {
            Kind::Call => What::Call { native, arguments },
            Kind::Read => What::Read { uri: native },
            Kind::Get => What::Get { native, arguments },
        };
        let scene = Scene {
            now: self.judged.at,
            source: self.caller.source,
            endpoint: self.endpoint.as_ref().map_or("", EndpointName::as_str),
            era: self.caller.client.revision.era(),
        };
        let looker =
            Looker { policing: &self.policing, set: &self.set, caller: &self.caller, server: &self.server };
        looker.look(&Ask { server: self.server.name(), what, scene }, &self.judged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_on_takes_no_more_than_it_may() {
        let budget = Budget::default();
        let slow = || std::thread::sleep(Duration::from_millis(20));
        for second in 1..=2 {
            let done = (0..30).filter(|_| budget.spend_in(second, slow).is_some()).count();
            let spent = u128::from(budget.spent_ns.load(Ordering::Relaxed));
            assert!((1..=5).contains(&done) && spent >= SPENT_MAX.as_nanos(), "{done} took {spent} ns");
        }
    }

    #[test]
    fn only_what_would_matter_is_a_difference() {
        let denied = Decision::denied();
        let allowed = Decision { allowed: true, ..Decision::denied() };
        let mut demanding = allowed.clone();
        demanding.obligations.approvals.push("leads".into());
        let other = Decision { reasons: vec!["no".into()], ..Decision::denied() };
        assert_eq!(compare(&allowed, &denied), Shadow::Denies);
        assert_eq!(compare(&denied, &allowed), Shadow::Allows);
        assert_eq!(compare(&allowed, &demanding), Shadow::Demands);
        assert_eq!(compare(&denied, &other), Shadow::Agrees);
    }
}
