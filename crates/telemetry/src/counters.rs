//! The numbers behind `/metrics`: process-wide, atomic, in the Prometheus text format (version 0.0.4).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tollgate_model::Code;

pub use crate::metrics::{Metrics, Number};
use crate::{export, operations, process};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A result, or an error that the server itself gave, reached the client.
    Answered,
    /// The gateway refused it, or answered for a server that could not.
    Refused(Code),
}

static NOT_RECORDED: AtomicU64 = AtomicU64::new(0);
static ANSWERED: AtomicU64 = AtomicU64::new(0);
static REFUSED: [AtomicU64; Code::ALL.len()] = [const { AtomicU64::new(0) }; Code::ALL.len()];
static DECISIONS: [AtomicU64; Verdict::ALL.len()] = [const { AtomicU64::new(0) }; Verdict::ALL.len()];
static SHADOWED: [AtomicU64; Shadow::ALL.len()] = [const { AtomicU64::new(0) }; Shadow::ALL.len()];
static SESSIONS: AtomicI64 = AtomicI64::new(0);
static CONNECTIONS: AtomicI64 = AtomicI64::new(0);
static KEPT: [AtomicI64; Kept::ALL.len()] = [const { AtomicI64::new(0) }; Kept::ALL.len()];
static BLOCKED: [AtomicU64; BLOCKED_KINDS.len()] = [const { AtomicU64::new(0) }; BLOCKED_KINDS.len()];
static CALLERS: Labelled = Labelled::new();
static ISSUERS: Labelled = Labelled::new();
static LIMITS: Labelled = Labelled::new();
static GUARDS: Labelled = Labelled::new();
static PINS: Labelled = Labelled::new();
static PINS_WAITING: AtomicU64 = AtomicU64::new(0);
static GUARDS_ASKED: Labelled = Labelled::new();
static SCHEMAS: Labelled = Labelled::new();
static RETRIES: Labelled = Labelled::new();
static BUSY: Labelled = Labelled::new();
static BUDGETS: Labelled = Labelled::new();
static PAUSED: Labelled = Labelled::new();
static ALERTS_LOST: AtomicU64 = AtomicU64::new(0);
static ALLOWANCES_AWAY: AtomicI64 = AtomicI64::new(0);
static SHARED_COUNTERS_AWAY: AtomicI64 = AtomicI64::new(0);
static LIMIT_COUNTERS: AtomicU64 = AtomicU64::new(0);
static LIMIT_COUNTERS_SHARED: AtomicU64 = AtomicU64::new(0);
static CACHED: [[AtomicU64; Cached::ALL.len()]; Asked::ALL.len()] =
    [const { [const { AtomicU64::new(0) }; Cached::ALL.len()] }; Asked::ALL.len()];
static CACHE_EVICTED: AtomicU64 = AtomicU64::new(0);
static CACHE_BYTES: AtomicU64 = AtomicU64::new(0);
static CACHE_ENTRIES: AtomicU64 = AtomicU64::new(0);
static RELOADS_OK: AtomicU64 = AtomicU64::new(0);
static RELOADS_FAILED: AtomicU64 = AtomicU64::new(0);

/// What operators can block.
const BLOCKED_KINDS: [&str; 6] = ["agent", "key", "server", "tenant", "tool", "user"];

/// Counts one refusal of what an operator has blocked, by its kind.
pub fn blocked(kind: &str) {
    if let Some(place) = BLOCKED_KINDS.iter().position(|known| *known == kind) {
        BLOCKED[place].fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts one request from a client.
pub fn request(outcome: Outcome) {
    match outcome {
        Outcome::Answered => ANSWERED.fetch_add(1, Ordering::Relaxed),
        Outcome::Refused(code) => REFUSED[code as usize].fetch_add(1, Ordering::Relaxed),
    };
}

/// What policy said of one thing that a caller wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Allowed,
    /// It may not.
    Denied,
    /// It may not, and is not to know that there is such a thing.
    Hidden,
    /// It may under an obligation that cannot be kept.
    Withheld,
}

impl Verdict {
    const ALL: [Self; 4] = [Self::Allowed, Self::Denied, Self::Hidden, Self::Withheld];

    /// The verdict as text, for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Hidden => "hidden",
            Self::Withheld => "withheld",
        }
    }
}

/// Counts one decision.
pub fn decided(verdict: Verdict) {
    DECISIONS[verdict as usize].fetch_add(1, Ordering::Relaxed);
}

/// Something was served that could not be put on record.
pub fn not_recorded() {
    NOT_RECORDED.fetch_add(1, Ordering::Relaxed);
}

/// How much was served that could not be put on record.
pub fn not_recorded_count() -> u64 {
    NOT_RECORDED.load(Ordering::Relaxed)
}

/// What policies that only look on would have said of what was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shadow {
    /// The same.
    Agrees,
    /// It may, which it may not.
    Allows,
    /// It may not, which it may.
    Denies,
    /// It may too, under other obligations.
    Demands,
    /// They were not asked: it would have taken too much.
    LeftOut,
}

impl Shadow {
    const ALL: [Self; 5] = [Self::Agrees, Self::Allows, Self::Denies, Self::Demands, Self::LeftOut];

    /// As text, for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::Allows => "allows",
            Self::Denies => "denies",
            Self::Demands => "demands",
            Self::LeftOut => "left_out",
        }
    }
}

/// Counts one decision that others looked on.
pub fn shadowed(verdict: Shadow) {
    SHADOWED[verdict as usize].fetch_add(1, Ordering::Relaxed);
}

/// What was asked of a server, or of what is kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A page of a list.
    List,
    /// A resource.
    Read,
    /// A tool whose results may be kept.
    Call,
}

impl Asked {
    const ALL: [Self; 3] = [Self::List, Self::Read, Self::Call];

    const fn label(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Read => "read",
            Self::Call => "call",
        }
    }
}

/// Where its answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cached {
    /// It was kept.
    Hit,
    /// The server, on behalf of whoever asked first.
    Miss,
    /// The same, on behalf of another who asked before.
    Shared,
    /// It was kept beyond its time, and the server could not be asked.
    Stale,
    /// The server: such answers are not kept.
    Pass,
}

impl Cached {
    const ALL: [Self; 5] = [Self::Hit, Self::Miss, Self::Shared, Self::Stale, Self::Pass];

    const fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Shared => "shared",
            Self::Stale => "stale",
            Self::Pass => "pass",
        }
    }
}

/// Counts one answer that could have been kept.
pub fn cache_asked(asked: Asked, cached: Cached) {
    CACHED[asked as usize][cached as usize].fetch_add(1, Ordering::Relaxed);
}

/// So many answers had to make room for others.
pub fn cache_evicted(count: usize) {
    if count > 0 {
        CACHE_EVICTED.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// So many bytes are kept, in so many entries.
pub fn cache_holds(bytes: usize, entries: usize) {
    CACHE_BYTES.store(bytes as u64, Ordering::Relaxed);
    CACHE_ENTRIES.store(entries as u64, Ordering::Relaxed);
}

/// A legacy session with a client began.
pub fn session_opened() {
    SESSIONS.fetch_add(1, Ordering::Relaxed);
}

/// A legacy session with a client ended.
pub fn session_closed() {
    SESSIONS.fetch_sub(1, Ordering::Relaxed);
}

/// Counts a client's connection for as long as it lives.
#[derive(Debug)]
pub struct Connection(());

impl Connection {
    /// A connection was accepted.
    pub fn opened() -> Self {
        CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        CONNECTIONS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the gateway keeps for clients between messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// A call that waits for its client's answer to a server's question.
    ParkedCall,
    /// A server's question that a client has not answered yet.
    Question,
    /// A call that waits for people to approve it, on its stream or as a task.
    HeldCall,
    /// A task that the gateway follows for a client that cannot, or whose questions it keeps.
    FollowedTask,
    /// A modern client that listens for changes.
    Listener,
    /// A resource that a legacy client's session is subscribed to.
    Subscription,
    /// A request over HTTP that is under way.
    Request,
}

impl Kept {
    const ALL: [Self; 7] = [
        Self::ParkedCall,
        Self::Question,
        Self::HeldCall,
        Self::FollowedTask,
        Self::Listener,
        Self::Subscription,
        Self::Request,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::ParkedCall => "parked_call",
            Self::Question => "question",
            Self::HeldCall => "held_call",
            Self::FollowedTask => "followed_task",
            Self::Listener => "listener",
            Self::Subscription => "subscription",
            Self::Request => "request",
        }
    }
}

/// Counts a thing that is kept for as long as it lives.
#[derive(Debug)]
pub struct Keeping(Kept);

impl Keeping {
    /// One more is kept.
    pub fn new(what: Kept) -> Self {
        KEPT[what as usize].fetch_add(1, Ordering::Relaxed);
        Self(what)
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        KEPT[self.0 as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

/// Numbers by the name of an issuer or a limit, and a word. There are as many as the configuration has names, since the process
/// began, up to a bound; what comes beyond it is counted without a name.
struct Labelled(Mutex<BTreeMap<(String, &'static str), u64>>);

impl Labelled {
    const MAX: usize = 2000;

    const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    fn count(&self, label: &str, word: &'static str) {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (label.to_owned(), word);
        let key =
            if numbers.len() < Self::MAX || numbers.contains_key(&key) { key } else { (String::new(), word) };
        *numbers.entry(key).or_default() += 1;
    }

    fn write(&self, metrics: &mut Metrics, name: &str, labels: [&'static str; 2]) {
        let numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((label, text), number) in &*numbers {
            metrics.number(name, &[(labels[0], label), (labels[1], text)], number);
        }
    }
}

pub(crate) fn caller_refused(issuer: &str, reason: &'static str) {
    CALLERS.count(issuer, reason);
}

pub(crate) fn issuer_asked(issuer: &str, ok: bool) {
    ISSUERS.count(issuer, if ok { "ok" } else { "failed" });
}

pub(crate) fn limit_reached(limit: &str, of: &'static str) {
    LIMITS.count(limit, of);
}

pub(crate) fn guard_found(rule: &str, action: &'static str) {
    GUARDS.count(rule, action);
}

/// So many items of servers wait to be approved.
pub fn pins_waiting(count: usize) {
    PINS_WAITING.store(count as u64, Ordering::Relaxed);
}

pub(crate) fn pin_turned(kind: &str, why: &'static str) {
    PINS.count(kind, why);
}

pub(crate) fn guard_asked(guard: &str, outcome: &'static str) {
    GUARDS_ASKED.count(guard, outcome);
}

pub(crate) fn schema_fault(place: &str, action: &'static str) {
    SCHEMAS.count(place, action);
}

pub(crate) fn tried_again(server: &str, outcome: &'static str) {
    RETRIES.count(server, outcome);
}

pub(crate) fn server_busy(server: &str, why: &'static str) {
    BUSY.count(server, why);
}

pub(crate) fn agent_paused(why: &'static str) {
    PAUSED.count("runaway", why);
}

/// So many things are counted apart, and so often there was no room for one more.
pub fn limit_counters(count: usize, shared: usize) {
    LIMIT_COUNTERS.store(count as u64, Ordering::Relaxed);
    LIMIT_COUNTERS_SHARED.store(shared as u64, Ordering::Relaxed);
}

pub(crate) fn alert_lost() {
    ALERTS_LOST.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn budget_warned(limit: &str) {
    BUDGETS.count(limit, "warned");
}

pub(crate) fn shared_counters_away(is_away: bool) {
    SHARED_COUNTERS_AWAY.store(i64::from(is_away), Ordering::Relaxed);
}

pub(crate) fn allowances_away(is_away: bool) {
    ALLOWANCES_AWAY.store(i64::from(is_away), Ordering::Relaxed);
}

pub(crate) fn reload(ok: bool) {
    let counter = if ok { &RELOADS_OK } else { &RELOADS_FAILED };
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Writes every process-wide number.
pub fn write(metrics: &mut Metrics) {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);

    let name = "tollgate_requests_total";
    metrics.family(name, "counter", "Requests from clients by how they ended.");
    metrics.number(name, &[("outcome", "answered")], load(&ANSWERED));
    for (code, counter) in Code::ALL.iter().zip(&REFUSED) {
        let row = code.row();
        let labels = [("outcome", "refused"), ("code", row.name), ("source", row.source.as_str())];
        metrics.number(name, &labels, load(counter));
    }

    let name = "tollgate_blocked_total";
    metrics.family(name, "counter", "Refusals of what operators have blocked, by what that is.");
    for (kind, counter) in BLOCKED_KINDS.iter().zip(&BLOCKED) {
        metrics.number(name, &[("kind", kind)], load(counter));
    }

    let name = "tollgate_policy_decisions_total";
    metrics.family(name, "counter", "What policy said of what callers wanted.");
    for verdict in Verdict::ALL {
        metrics.number(name, &[("verdict", verdict.label())], load(&DECISIONS[verdict as usize]));
    }

    let name = "tollgate_policy_shadow_total";
    metrics.family(name, "counter", "What policies that only look on would have said of what was decided.");
    for verdict in Shadow::ALL {
        metrics.number(name, &[("verdict", verdict.label())], load(&SHADOWED[verdict as usize]));
    }

    let name = "tollgate_sessions";
    metrics.family(name, "gauge", "Legacy sessions that clients hold.");
    metrics.number(name, &[], SESSIONS.load(Ordering::Relaxed));

    let name = "tollgate_connections";
    metrics.family(name, "gauge", "Open connections from clients, all listeners.");
    metrics.number(name, &[], CONNECTIONS.load(Ordering::Relaxed));

    let name = "tollgate_kept";
    metrics.family(name, "gauge", "What is kept for clients between messages.");
    for what in Kept::ALL {
        metrics.number(name, &[("what", what.label())], KEPT[what as usize].load(Ordering::Relaxed));
    }

    let name = "tollgate_callers_refused_total";
    metrics.family(
        name,
        "counter",
        "Requests that did not prove who calls, by why and by the issuer of their token.",
    );
    CALLERS.write(metrics, name, ["issuer", "reason"]);

    let name = "tollgate_issuer_keys_total";
    metrics.family(name, "counter", "Times that an issuer's keys were asked for, by whether they were had.");
    ISSUERS.write(metrics, name, ["issuer", "outcome"]);

    let name = "tollgate_upstream_retries_total";
    metrics.family(
        name,
        "counter",
        "Requests to servers that failed and were tried again, or were not since too many were.",
    );
    RETRIES.write(metrics, name, ["server", "outcome"]);

    let name = "tollgate_upstream_busy_total";
    metrics.family(
        name,
        "counter",
        "Requests refused since as many as allowed were under way on their server.",
    );
    BUSY.write(metrics, name, ["server", "why"]);
    let name = "tollgate_limits_reached_total";
    metrics.family(
        name,
        "counter",
        "Requests that a limit left no room for, by its name and by what it is of.",
    );
    LIMITS.write(metrics, name, ["limit", "of"]);
    let name = "tollgate_guard_findings_total";
    metrics.family(
        name,
        "counter",
        "What guards found in arguments and results, by rule and by what became of it.",
    );
    GUARDS.write(metrics, name, ["rule", "action"]);
    let name = "tollgate_pins_turned_total";
    metrics.family(
        name,
        "counter",
        "Items of servers that were found to be another than approved, or as approved again, by kind and why.",
    );
    PINS.write(metrics, name, ["kind", "why"]);
    let name = "tollgate_pins_waiting";
    metrics.family(
        name,
        "gauge",
        "Items of servers that are hidden and refused until somebody approves them.",
    );
    metrics.number(name, &[], load(&PINS_WAITING));
    let name = "tollgate_guard_external_total";
    metrics.family(
        name,
        "counter",
        "Times that guards outside of the gateway were to be asked, by guard and by what it came to.",
    );
    GUARDS_ASKED.write(metrics, name, ["guard", "outcome"]);
    let name = "tollgate_schema_faults_total";
    metrics.family(
        name,
        "counter",
        "Arguments and results that did not fit what their tool declares, or were too large, by what became of them.",
    );
    SCHEMAS.write(metrics, name, ["in", "action"]);

    let name = "tollgate_limit_counters";
    metrics.family(name, "gauge", "Things that limits count apart.");
    metrics.number(name, &[], load(&LIMIT_COUNTERS));

    let name = "tollgate_limit_counters_shared_total";
    metrics.family(name, "counter", "Times that there was no room to count something apart.");
    metrics.number(name, &[], load(&LIMIT_COUNTERS_SHARED));

    let name = "tollgate_budgets_warned_total";
    metrics.family(name, "counter", "Budgets used up to the share that operators wanted to hear of.");
    BUDGETS.write(metrics, name, ["limit", "what"]);

    let name = "tollgate_agents_paused_total";
    metrics.family(name, "counter", "Agents that have run away and were paused, by why.");
    PAUSED.write(metrics, name, ["limit", "why"]);

    let name = "tollgate_alerts_lost_total";
    metrics.family(name, "counter", "Alerts that did not reach their receiver.");
    metrics.number(name, &[], ALERTS_LOST.load(Ordering::Relaxed));

    let name = "tollgate_shared_counters_away";
    metrics.family(
        name,
        "gauge",
        "Whether each gateway counts rates and concurrency for itself, up to its share: the server of shared counters is away.",
    );
    metrics.number(name, &[], SHARED_COUNTERS_AWAY.load(Ordering::Relaxed));

    let name = "tollgate_allowances_away";
    metrics.family(
        name,
        "gauge",
        "Whether each process counts quotas and budgets for itself, since the store does not answer.",
    );
    metrics.number(name, &[], ALLOWANCES_AWAY.load(Ordering::Relaxed));

    let name = "tollgate_cache_total";
    metrics.family(name, "counter", "Answers of servers that may be kept, by where they came from.");
    for asked in Asked::ALL {
        for cached in Cached::ALL {
            let labels = [("what", asked.label()), ("from", cached.label())];
            metrics.number(name, &labels, load(&CACHED[asked as usize][cached as usize]));
        }
    }

    let name = "tollgate_cache_evicted_total";
    metrics.family(name, "counter", "Answers that had to make room for others.");
    metrics.number(name, &[], load(&CACHE_EVICTED));

    let name = "tollgate_cache_bytes";
    metrics.family(name, "gauge", "Memory that answers of servers take which are kept.");
    metrics.number(name, &[], load(&CACHE_BYTES));

    let name = "tollgate_cache_entries";
    metrics.family(name, "gauge", "Answers of servers that are kept, and what is remembered of others.");
    metrics.number(name, &[], load(&CACHE_ENTRIES));

    let name = "tollgate_config_reloads_total";
    metrics.family(name, "counter", "Changes of the configuration by whether they were taken over.");
    metrics.number(name, &[("outcome", "ok")], load(&RELOADS_OK));
    metrics.number(name, &[("outcome", "failed")], load(&RELOADS_FAILED));

    let name = "tollgate_log_lines_dropped_total";
    metrics.family(name, "counter", "Log lines dropped because nobody read them fast enough.");
    metrics.number(name, &[], crate::writer::dropped());

    export::write(metrics);
    process::write(metrics);
    operations::write(metrics);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_and_every_kind_of_thing_has_its_own_counter() {
        for (nth, code) in Code::ALL.iter().enumerate() {
            assert_eq!(*code as usize, nth);
        }
        for (nth, what) in Kept::ALL.iter().enumerate() {
            assert_eq!(*what as usize, nth);
        }
        for (nth, verdict) in Verdict::ALL.iter().enumerate() {
            assert_eq!(*verdict as usize, nth);
        }
        for (nth, asked) in Asked::ALL.iter().enumerate() {
            assert_eq!(*asked as usize, nth);
        }
        for (nth, cached) in Cached::ALL.iter().enumerate() {
            assert_eq!(*cached as usize, nth);
        }
        for (nth, verdict) in Shadow::ALL.iter().enumerate() {
            assert_eq!(*verdict as usize, nth);
        }
    }
}
