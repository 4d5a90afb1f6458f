//! What does not work although clients are served, or is why they are not: one list for whoever looks.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_model::{TenantId, Timestamp};

use crate::{ServerReach, Snapshot, StoreReach};

/// Each part with its name, why, and since when, as far as that is known.
pub(crate) fn of(snapshot: &Snapshot) -> Vec<Value> {
    let now = Timestamp::now();
    let ago = |ms: u64| Timestamp::from_ms(now.as_ms().saturating_sub(ms)).to_string();
    let mut parts = Vec::new();
    if let Some((reason, since)) = snapshot.ledger.as_ref().and_then(|ledger| ledger.down.as_ref()) {
        parts.push(json!({ "part": "ledger", "reason": &**reason, "since": ago(ms(*since)) }));
    }
    if let Some(store) = snapshot.store.filter(|store| store.reach != StoreReach::Up) {
        let reason = match store.reach {
            StoreReach::TooOld => {
                "it has not answered for too long: nobody is let in whom it would have to know"
            }
            StoreReach::Away | StoreReach::Up => "it does not answer; what it last said is used",
        };
        let since = store.age.map(|age| ago(ms(age)));
        parts.push(json!({ "part": "store", "reason": reason, "since": since }));
    }
    let limits = &snapshot.limits;
    let away = [("counters", &limits.shared_away), ("allowances", &limits.allowances_away)];
    for (part, away) in away {
        let Some((reason, since)) = away else { continue };
        let reason = format!("{reason}; this gateway counts by itself, up to its share");
        parts.push(json!({ "part": part, "reason": reason, "since": since.to_string() }));
    }
    for export in &snapshot.exports {
        let name = &export.export;
        if let Some((reason, away_ms)) = &export.away {
            parts.push(json!({ "part": "export", "name": name, "reason": reason, "since": ago(*away_ms) }));
        } else if export.behind_bytes > export.behind_bytes_max {
            let reason = "it lies too far behind: retention does not wait for it any more";
            parts.push(json!({ "part": "export", "name": name, "reason": reason }));
        }
    }
    for signal in tollgate_telemetry::export::not_sent() {
        let (name, since) = (signal.signal.as_str(), signal.since.to_string());
        parts.push(json!({ "part": "telemetry", "name": name, "reason": signal.reason, "since": since }));
    }
    for line in &snapshot.servers {
        if let ServerReach::Down { code, reason, since } = &line.reach {
            let tenant = line.server.holder().tenant().map(TenantId::as_str);
            let name = line.server.name().as_str();
            parts.push(json!({
                "part": "server", "name": name, "tenant": tenant, "code": code, "reason": reason,
                "since": since.to_string(),
            }));
        }
    }
    if snapshot.not_taken.is_some() {
        // Which policies, and what is wrong with them, is not everybody's to know.
        let reason = "what is stored does not fit this gateway: it goes on with what it had, and its log and console say why";
        parts.push(json!({ "part": "policies", "reason": reason }));
    }
    for (name, reason) in &snapshot.left_out {
        parts.push(json!({ "part": "registry", "name": name, "reason": reason }));
    }
    parts
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
