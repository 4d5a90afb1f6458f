//! What the gateway says of itself when asked.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_model::{ServerId, TenantId, Timestamp};
use tollgate_telemetry::counters::Metrics;

use crate::{ExportLine, IndexLine, LedgerLine, degraded};

/// Whether clients are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not yet.
    Starting,
    /// Yes.
    Serving,
    /// Not any more; requests under way may finish.
    Draining,
}

impl Standing {
    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
        }
    }
}

/// The gateway at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Whether clients are served.
    pub standing: Standing,
    /// The servers behind the gateway, in the order of the configuration.
    pub servers: Vec<ServerLine>,
    /// Stored state, if there is any.
    pub store: Option<StoreLine>,
    /// Who receives what is recorded.
    pub exports: Vec<ExportLine>,
    /// The ledger; none if nothing is recorded.
    pub ledger: Option<LedgerLine>,
    /// The index of the ledger, if there is one.
    pub index: Option<IndexLine>,
    /// How much operators have blocked, by kind.
    pub blocks: Vec<(&'static str, u64)>,
    /// How limits are counted.
    pub limits: LimitsLine,
    /// Registered servers that are approved and not served here, each with why.
    pub left_out: Vec<(String, String)>,
    /// Why what was stored or registered last is not used here, and what was before it is: policies do not fit it. It names
    /// what is every tenant's.
    pub not_taken: Option<String>,
}

/// How limits are counted.
#[derive(Debug, Clone, Default)]
pub struct LimitsLine {
    /// Whether rates and concurrency are meant to be counted together with other gateways.
    pub are_shared: bool,
    /// Why they cannot be, and since when.
    pub shared_away: Option<(Arc<str>, Timestamp)>,
    /// Why quotas and budgets cannot be counted in the store, and since when.
    pub allowances_away: Option<(Arc<str>, Timestamp)>,
}

/// What is known of stored state.
#[derive(Debug, Clone, Copy)]
pub struct StoreLine {
    /// Whether the store can be reached.
    pub reach: StoreReach,
    /// The revision that is known.
    pub revision: u64,
    /// How long ago the store confirmed it; none if it never has.
    pub age: Option<Duration>,
}

/// Whether a store can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreReach {
    /// It answered a moment ago.
    Up,
    /// It does not answer. What it last said is used.
    Away,
    /// It has not answered for longer than what it last said may be used, or never has: nobody is let in whom it would have
    /// to know.
    TooOld,
}

/// One server.
#[derive(Debug, Clone)]
pub struct ServerLine {
    /// Which server, and whose it is.
    pub server: ServerId,
    /// `http`, `sse` or `stdio`.
    pub transport: &'static str,
    /// Whether it can be reached, as last seen.
    pub reach: ServerReach,
    /// Its sessions or processes.
    pub instances: u64,
    /// Of these, how many are one call's alone just now.
    pub leased: u64,
    /// How often one was started since the gateway began.
    pub starts: u64,
    /// How often one was started again because it had died or was forgotten.
    pub restarts: u64,
    /// How often one did not start.
    pub start_failures: u64,
    /// Its replicas: one of a server with a single URL, none of a process.
    pub replicas: Vec<ReplicaLine>,
}

/// One replica of a server.
#[derive(Debug, Clone)]
pub struct ReplicaLine {
    /// Host and port, with a number behind where several are the same.
    pub name: Arc<str>,
    /// Its version, as configured.
    pub version: Option<Arc<str>>,
    /// How it stands with it: `well`, `failing`, `ejected`, `tried` or `unused`.
    pub health: &'static str,
    /// Until when it is left alone, at the least.
    pub ejected_until: Option<Timestamp>,
    /// Requests under way.
    pub in_flight: u64,
    /// Requests that it answered; not counted of an only one.
    pub answered: u64,
    /// Requests, and beginnings, that had no answer.
    pub failed: u64,
    /// How often it was left alone.
    pub ejections: u64,
}

/// Whether a server can be reached, as last seen.
#[derive(Debug, Clone)]
pub enum ServerReach {
    /// Nobody has asked yet.
    Unknown,
    /// It answered.
    Up {
        /// The revision spoken with it.
        revision: &'static str,
    },
    /// It did not.
    Down {
        /// The stable code of the refusal that callers get.
        code: &'static str,
        /// Why, fit for callers.
        reason: Cow<'static, str>,
        /// Since when.
        since: Timestamp,
    },
}

impl Snapshot {
    /// The body of `/readyz`.
    pub(crate) fn to_json(&self) -> Value {
        let servers: Vec<Value> = self.servers.iter().map(ServerLine::to_json).collect();
        let mut object = json!({
            "ready": self.is_ready(),
            "state": self.standing.as_str(),
            "degraded": degraded::of(self),
            "servers": servers,
        });
        object["ledger"] =
            self.ledger.as_ref().map_or_else(|| json!({ "state": "off" }), LedgerLine::to_json);
        if let Some(store) = &self.store {
            object["store"] = store.to_json();
        }
        if let Some(index) = &self.index {
            object["index"] = index.to_json();
        }
        let blocks = self.blocks.iter().map(|(kind, count)| ((*kind).to_owned(), (*count).into()));
        object["blocks"] = Value::Object(blocks.collect());
        object["limits"] = self.limits.to_json();
        if !self.exports.is_empty() {
            object["exports"] = self.exports.iter().map(ExportLine::to_json).collect();
        }
        object
    }

    /// Whether clients are served: not without a store that says who they are, nor without a record unless that is allowed.
    pub(crate) fn is_ready(&self) -> bool {
        let knows = self.store.is_none_or(|store| store.reach != StoreReach::TooOld);
        let records = self.ledger.as_ref().is_none_or(LedgerLine::is_ready);
        self.standing == Standing::Serving && knows && records
    }

    /// The servers' part of `/metrics`.
    pub fn write(&self, metrics: &mut Metrics) {
        let name = "tollgate_ready";
        metrics.family(name, "gauge", "1 while clients are served.");
        metrics.number(name, &[], u8::from(self.is_ready()));
        if let Some(store) = &self.store {
            store.write(metrics);
        }
        if let Some(ledger) = &self.ledger {
            ledger.write(metrics);
        }
        let name = "tollgate_blocks";
        metrics.family(name, "gauge", "What operators have blocked, by what that is.");
        for (kind, count) in &self.blocks {
            metrics.number(name, &[("kind", kind)], *count);
        }
        ExportLine::write(&self.exports, metrics);
        if let Some(index) = &self.index {
            index.write(metrics);
        }
        self.family(
            metrics,
            "tollgate_server_up",
            "gauge",
            "1 if the server answered when last asked.",
            |line| u64::from(matches!(line.reach, ServerReach::Up { .. })),
        );
        let help = "Sessions with the server, or processes of it.";
        self.family(metrics, "tollgate_server_instances", "gauge", help, |line| line.instances);
        let help = "Sessions or processes that are one call's alone just now.";
        self.family(metrics, "tollgate_server_instances_leased", "gauge", help, |line| line.leased);
        let help = "Sessions or processes started.";
        self.family(metrics, "tollgate_server_starts_total", "counter", help, |line| line.starts);
        let help = "Sessions or processes started because an earlier one died or was forgotten.";
        self.family(metrics, "tollgate_server_restarts_total", "counter", help, |line| line.restarts);
        let help = "Sessions or processes that did not start.";
        self.family(metrics, "tollgate_server_start_failures_total", "counter", help, |line| {
            line.start_failures
        });
        self.write_replicas(metrics);
    }

    /// What is known of each replica of the servers that have several.
    fn write_replicas(&self, metrics: &mut Metrics) {
        type Of = fn(&ReplicaLine) -> u64;
        let families: [(&str, &str, &str, Of); 5] = [
            ("up", "gauge", "1 while requests go to the replica.", |replica| {
                u64::from(!matches!(replica.health, "ejected" | "unused"))
            }),
            ("requests_in_flight", "gauge", "Requests under way to the replica.", |replica| {
                replica.in_flight
            }),
            ("requests_answered_total", "counter", "Requests that the replica answered.", |replica| {
                replica.answered
            }),
            (
                "failures_total",
                "counter",
                "Requests and beginnings that the replica left unanswered.",
                |replica| replica.failed,
            ),
            ("ejections_total", "counter", "How often the replica was left alone.", |replica| {
                replica.ejections
            }),
        ];
        let several = || self.servers.iter().filter(|line| line.replicas.len() > 1);
        if several().next().is_none() {
            return;
        }
        for (name, kind, help, of) in families {
            let family = format!("tollgate_replica_{name}");
            metrics.family(&family, kind, help);
            for line in several() {
                let tenant = line.server.holder().tenant().map(|tenant| ("tenant", tenant.as_str()));
                for replica in &line.replicas {
                    let labels = [("server", line.server.name().as_str()), ("replica", &*replica.name)];
                    let version = replica.version.as_deref().map(|version| ("version", version));
                    let labels: Vec<_> = labels.into_iter().chain(version).chain(tenant).collect();
                    metrics.number(&family, &labels, of(replica));
                }
            }
        }
    }

    fn family(
        &self,
        metrics: &mut Metrics,
        family: &str,
        kind: &str,
        help: &str,
        of: impl Fn(&ServerLine) -> u64,
    ) {
        metrics.family(family, kind, help);
        for line in &self.servers {
            // What every tenant has is no tenant's.
            let tenant = line.server.holder().tenant().map(|tenant| ("tenant", tenant.as_str()));
            let labels = [("server", line.server.name().as_str()), ("transport", line.transport)];
            let labels: Vec<_> = labels.into_iter().chain(tenant).collect();
            metrics.number(family, &labels, of(line));
        }
    }
}

impl StoreLine {
    fn to_json(self) -> Value {
        let state = match self.reach {
            StoreReach::Up => "up",
            StoreReach::Away => "away",
            StoreReach::TooOld => "too_old",
        };
        let age = self.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        json!({ "state": state, "revision": self.revision, "confirmedMsAgo": age })
    }

    fn write(self, metrics: &mut Metrics) {
        let mut gauge = |name: &str, help: &str, value: f64| {
            metrics.family(name, "gauge", help);
            metrics.number(name, &[], value);
        };
        let up = if self.reach == StoreReach::Up { 1.0 } else { 0.0 };
        gauge("tollgate_store_up", "1 while the store answers.", up);
        if let Some(age) = self.age {
            let help = "How long ago the store confirmed what is known of it.";
            gauge("tollgate_store_confirmed_age_seconds", help, age.as_secs_f64());
        }
        let name = "tollgate_store_revision";
        metrics.family(name, "gauge", "The revision of the stored state that is known.");
        metrics.number(name, &[], self.revision);
    }
}

impl LimitsLine {
    fn to_json(&self) -> Value {
        let counters = match (self.are_shared, &self.shared_away) {
            (false, _) => "own",
            (true, None) => "shared",
            (true, Some(_)) => "away",
        };
        let allowances = if self.allowances_away.is_some() { "away" } else { "up" };
        json!({ "counters": counters, "allowances": allowances })
    }
}

impl ServerLine {
    fn to_json(&self) -> Value {
        let mut object = json!({
            "server": self.server.name().as_str(),
            "tenant": self.server.holder().tenant().map(TenantId::as_str),
            "transport": self.transport,
            "instances": self.instances,
            "leased": self.leased,
        });
        match &self.reach {
            ServerReach::Unknown => object["state"] = "unknown".into(),
            ServerReach::Up { revision } => {
                object["state"] = "up".into();
                object["revision"] = (*revision).into();
            }
            ServerReach::Down { code, reason, since } => {
                object["state"] = "down".into();
                object["code"] = (*code).into();
                object["reason"] = reason.as_ref().into();
                object["since"] = since.to_string().into();
            }
        }
        // An only one has nothing to tell apart, unless it is left alone.
        if self.replicas.len() > 1 || self.replicas.iter().any(|replica| replica.health != "well") {
            object["replicas"] = self.replicas.iter().map(ReplicaLine::to_json).collect();
        }
        object
    }
}

impl ReplicaLine {
    fn to_json(&self) -> Value {
        let mut object = json!({
            "replica": &*self.name,
            "state": self.health,
            "inFlight": self.in_flight,
            "failed": self.failed,
            "ejections": self.ejections,
        });
        if let Some(version) = &self.version {
            object["version"] = (**version).into();
        }
        if let Some(until) = &self.ejected_until {
            object["until"] = until.to_string().into();
        }
        object
    }
}
