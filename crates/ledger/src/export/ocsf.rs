//! An entry in the words of the Open Cybersecurity Schema Framework: API Activity, class 6003. The mapping is written down in
//! `docs/ocsf.md`.

use std::net::IpAddr;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::facts::{Weight, kind_name, weight, word};
use super::record::Record;
use crate::{Decided, Entry, Kind, Outcome, VERSION};

/// The version of the schema. Every attribute that is used is in all later ones too.
const SCHEMA: &str = "1.2.0";
/// Application Activity.
const CATEGORY: u64 = 6;
/// API Activity.
const CLASS: u64 = 6003;

/// Writes it.
pub(super) fn write(record: &Record, writer: &str, redelivered: bool, out: &mut Vec<u8>) {
    let mut event = event(record, writer, redelivered).to_string().into_bytes();
    // What has no place of its own, and so the whole entry as it stands in the chain: with it an export vouches for the chain.
    let mut native = Vec::new();
    record.native(writer, redelivered, &mut native);
    if serde_json::from_slice::<&RawValue>(&native).is_ok() && event.pop() == Some(b'}') {
        event.extend_from_slice(b",\"unmapped\":{\"tollgate\":");
        event.extend_from_slice(&native);
        event.extend_from_slice(b"}}");
    }
    out.extend_from_slice(&event);
}

fn event(record: &Record, writer: &str, redelivered: bool) -> Value {
    let entry = &record.entry;
    let operation = operation(entry);
    let (activity, activity_name) = activity(entry, &operation);
    let (status, status_name) = status(entry);
    let severity = match weight(record) {
        Weight::Plain => 1,
        Weight::Notice => 2,
        Weight::Warning => 3,
        Weight::Error => 4,
    };
    let mut event = json!({
        "category_uid": CATEGORY,
        "category_name": "Application Activity",
        "class_uid": CLASS,
        "class_name": "API Activity",
        "activity_id": activity,
        "activity_name": activity_name,
        "type_uid": CLASS * 100 + activity,
        "time": entry.time_ms,
        "severity_id": severity,
        "status_id": status,
        "status": status_name,
        "message": message(entry, &operation),
        "metadata": metadata(entry, writer, redelivered),
        "actor": actor(record),
        "api": api(entry, writer, &operation),
        "src_endpoint": source(record),
    });
    if let Some(code) = &entry.code {
        event["status_code"] = code.as_ref().into();
    }
    if let Some(server) = &entry.server {
        event["dst_endpoint"] =
            present([("svc_name", Some(server.as_ref())), ("instance_uid", entry.instance.as_deref())]);
    }
    if let Some(name) = &entry.native_name {
        event["resources"] = json!([present([
            ("name", Some(name.as_ref())),
            ("uid", entry.public_name.as_deref()),
            ("type", Some(kind_of(&operation)))
        ])]);
    }
    if let Some(decision) = &entry.decision {
        // 1 is allowed, 2 is denied; and what became of it: allowed, or blocked.
        let id = if decision.allowed { 1 } else { 2 };
        event["action_id"] = id.into();
        event["disposition_id"] = id.into();
    }
    if let Some(strangers) = &entry.strangers {
        event["count"] = strangers.count.into();
        event["start_time"] = strangers.minute_ms.into();
        event["end_time"] = strangers.minute_ms.saturating_add(59_999).into();
    }
    event
}

/// What was called: a method of the protocol, what was changed, or the kind of entry where it is the gateway's own.
fn operation(entry: &Entry<'_>) -> String {
    let named = entry.method.as_deref().or(entry.change.as_deref());
    named.map_or_else(|| kind_name(entry.kind), str::to_owned)
}

/// The activity: create, read, update, delete; or another, named by the operation. What a tool does is the tool's affair.
fn activity(entry: &Entry<'_>, operation: &str) -> (u64, String) {
    let known = match (entry.kind, operation) {
        (Kind::SessionOpened, _) => Some((1, "Create")),
        (Kind::SessionEnded | Kind::Erasure | Kind::Retention, _) => Some((4, "Delete")),
        (Kind::Change, _) | (_, "tasks/cancel" | "tasks/update") => Some((3, "Update")),
        (Kind::List, _)
        | (
            _,
            "resources/read"
            | "prompts/get"
            | "completion/complete"
            | "tasks/get"
            | "tasks/result"
            | "tasks/list",
        ) => Some((2, "Read")),
        (_, list) if list.ends_with("/list") => Some((2, "Read")),
        _ => None,
    };
    known.map_or_else(|| (99, operation.to_owned()), |(id, name)| (id, name.to_owned()))
}

fn status(entry: &Entry<'_>) -> (u64, String) {
    match (entry.kind, entry.outcome) {
        (Kind::Refusal | Kind::Strangers | Kind::Gap, _)
        | (
            _,
            Some(
                Outcome::ToolError
                | Outcome::Error
                | Outcome::Refused
                | Outcome::Denied
                | Outcome::Cancelled
                | Outcome::ClientGone
                | Outcome::TakenBack
                | Outcome::Stopped,
            ),
        ) => (2, "Failure".to_owned()),
        (_, Some(Outcome::Ok)) => (1, "Success".to_owned()),
        (_, Some(Outcome::Unknown)) => (0, "Unknown".to_owned()),
        (_, Some(other)) => (99, word(other)),
        // Of an intent nothing is known yet.
        (Kind::Intent, None) => (99, "intent".to_owned()),
        (_, None) => (1, "Success".to_owned()),
    }
}

fn message(entry: &Entry<'_>, operation: &str) -> String {
    let mut message = operation.to_owned();
    for part in [&entry.server, &entry.native_name].into_iter().flatten() {
        message.push(' ');
        message.push_str(part);
    }
    let outcome = entry.outcome.map_or_else(|| kind_name(entry.kind), word);
    message + ": " + &outcome
}

fn metadata(entry: &Entry<'_>, writer: &str, redelivered: bool) -> Value {
    let mut metadata = json!({
        "version": SCHEMA,
        "profiles": ["security_control"],
        "product": { "name": "Tollgate", "vendor_name": "Tollgate", "version": env!("CARGO_PKG_VERSION") },
        "uid": format!("{writer}:{}", entry.seq),
        "sequence": entry.seq,
        "event_code": kind_name(entry.kind),
        "log_name": "ledger",
        "log_provider": writer,
        "log_version": VERSION.to_string(),
        "logged_time": entry.time_ms,
    });
    if let Some(call) = entry.call {
        metadata["correlation_uid"] = call.to_string().into();
    }
    if let Some(tenant) = &entry.tenant {
        metadata["tenant_uid"] = tenant.as_ref().into();
    }
    if redelivered {
        metadata["labels"] = json!(["redelivered"]);
    }
    metadata
}

/// Who: the user, and the agent as the application that acts for them. Where nobody did anything, it was the gateway.
fn actor(record: &Record) -> Value {
    let (entry, named) = (&record.entry, record.names.as_ref());
    let mut actor = Map::new();
    if let Some(reference) = &entry.user {
        let name = named.and_then(|named| named.user.as_deref());
        actor.insert("user".to_owned(), present([("name", name), ("uid", Some(reference.as_ref()))]));
    }
    if let Some(reference) = &entry.agent {
        let name = named.and_then(|named| named.agent.as_deref()).unwrap_or(reference);
        actor.insert("app_name".to_owned(), name.into());
        actor.insert("app_uid".to_owned(), reference.as_ref().into());
    }
    if let Some(reference) = &entry.session {
        actor.insert("session".to_owned(), json!({ "uid": reference }));
    }
    if let Some(decision) = &entry.decision {
        actor.insert("authorizations".to_owned(), authorizations(decision));
    }
    if !["user", "app_name", "session"].iter().any(|key| actor.contains_key(*key)) {
        let nobody = if entry.strangers.is_some() { "unknown" } else { "tollgate" };
        actor.insert("app_name".to_owned(), nobody.into());
    }
    actor.into()
}

fn authorizations(decision: &Decided<'_>) -> Value {
    let word = if decision.allowed { "allowed" } else { "denied" };
    let by = |policy: &str| {
        let policy = present([("name", Some(policy)), ("version", decision.set.as_deref())]);
        json!({ "decision": word, "policy": policy })
    };
    if decision.policies.is_empty() {
        return json!([{ "decision": word }]);
    }
    decision.policies.iter().map(|policy| by(policy)).collect()
}

fn api(entry: &Entry<'_>, writer: &str, operation: &str) -> Value {
    let request = match entry.call {
        Some(call) => format!("{call}:{}", entry.step),
        None => format!("{writer}:{}", entry.seq),
    };
    let mut api = json!({ "operation": operation, "request": { "uid": request } });
    if let Some(revision) = &entry.revision {
        api["version"] = revision.as_ref().into();
    }
    if let Some(server) = &entry.server {
        api["service"] = json!({ "name": server });
    }
    if let Some(outcome) = entry.outcome {
        let mut response = json!({ "message": word(outcome) });
        if let Some(code) = &entry.code {
            match code.parse::<i64>() {
                Ok(number) => response["code"] = number.into(),
                Err(_) => response["error"] = code.as_ref().into(),
            }
        }
        api["response"] = response;
    }
    api
}

/// From where: the address where it is named, else its reference; the gateway itself where nobody asked it.
fn source(record: &Record) -> Value {
    let Some(reference) = &record.entry.source else { return json!({ "svc_name": "tollgate" }) };
    let address = record.names.as_ref().and_then(|named| named.source.as_deref());
    let address = address.filter(|text| text.parse::<IpAddr>().is_ok());
    present([("ip", address), ("uid", Some(reference.as_ref()))])
}

/// What a method is about, in one word.
fn kind_of(operation: &str) -> &str {
    match operation.split('/').next().unwrap_or_default() {
        "tools" => "tool",
        "resources" => "resource",
        "prompts" => "prompt",
        "tasks" => "task",
        other => other,
    }
}

/// An object of the members that are there.
fn present<const N: usize>(members: [(&str, Option<&str>); N]) -> Value {
    let there = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
    Value::Object(there.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CallId;
    use crate::export::cursor::Place;
    use crate::export::record::Named;
    use tollgate_model::Timestamp;

    /// What the schema has, as of 1.2.0 and 1.9.0-dev alike: attributes of the class and of the objects that are used, the
    /// required ones with `!`.
    const SCHEMA_FACTS: [(&str, &str); 13] = [
        (
            "",
            "activity_id! activity_name category_name category_uid! class_name class_uid! count end_time message metadata! \
             severity_id! start_time status status_code status_id time! type_uid! unmapped actor! api! dst_endpoint resources \
             src_endpoint! action_id disposition_id",
        ),
        (
            "metadata",
            "version! profiles product! uid sequence event_code log_name log_provider log_version logged_time \
             correlation_uid tenant_uid labels",
        ),
        ("metadata.product", "name vendor_name! version"),
        ("actor", "user app_name app_uid session authorizations"),
        ("actor.user", "name uid"),
        ("actor.session", "uid"),
        ("actor.authorizations", "decision policy"),
        ("actor.authorizations.policy", "name uid version"),
        ("api", "operation! request response service version"),
        ("api.request", "uid!"),
        ("api.response", "code error message"),
        ("api.service", "name uid"),
        ("src_endpoint", "ip uid svc_name"),
    ];
    const LATER_FACTS: [(&str, &str); 2] =
        [("dst_endpoint", "svc_name instance_uid"), ("resources", "name uid type")];

    fn record(entry: Entry<'static>, names: Option<Named>) -> Record {
        let json = serde_json::to_vec(&entry).expect("JSON");
        Record {
            place: Place::default(),
            json,
            entry,
            names,
            payloads: None,
            missing_from: None,
            left_out: None,
        }
    }

    fn written(record: &Record, redelivered: bool) -> Value {
        let mut out = Vec::new();
        write(record, "w1", redelivered, &mut out);
        serde_json::from_slice(&out).expect("JSON")
    }

    fn call() -> Entry<'static> {
        Entry {
            seq: 9,
            time_ms: 1_700_000_000_000,
            call: Some(CallId::new(Timestamp::from_ms(1_700_000_000_000))),
            tenant: Some("acme".into()),
            agent: Some("a-ref".into()),
            user: Some("u-ref".into()),
            source: Some("s-ref".into()),
            session: Some("c-ref".into()),
            method: Some("tools/call".into()),
            revision: Some("2025-11-25".into()),
            server: Some("crm".into()),
            instance: Some("i1".into()),
            public_name: Some("crm__search".into()),
            native_name: Some("search".into()),
            decision: Some(Decided {
                allowed: true,
                set: Some("set1".into()),
                policies: vec!["p1".into()],
                ..Decided::default()
            }),
            outcome: Some(Outcome::Error),
            code: Some("-32602".into()),
            ..Entry::of(Kind::Outcome)
        }
    }

    /// Every attribute is one of the schema's, and every required one is there.
    fn assert_fits(at: &str, value: &Value) {
        if at == "unmapped" {
            return;
        }
        match value {
            Value::Array(items) => items.iter().for_each(|item| assert_fits(at, item)),
            Value::Object(members) => {
                let facts = SCHEMA_FACTS.iter().chain(&LATER_FACTS).find(|(path, _)| *path == at);
                let (_, attributes) = facts.unwrap_or_else(|| panic!("`{at}` is no object of the schema"));
                for attribute in attributes.split_ascii_whitespace().filter_map(|word| word.strip_suffix('!'))
                {
                    assert!(members.contains_key(attribute), "`{at}` lacks `{attribute}`");
                }
                for (name, member) in members {
                    let known =
                        attributes.split_ascii_whitespace().any(|word| word.trim_end_matches('!') == name);
                    assert!(known, "`{at}` has no `{name}`");
                    let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                    assert_fits(&path, member);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn every_kind_of_entry_fits_the_schema() {
        let kinds = [
            Kind::Segment,
            Kind::Started,
            Kind::Recovered,
            Kind::Stopped,
            Kind::Intent,
            Kind::Outcome,
            Kind::Refusal,
            Kind::List,
            Kind::Strangers,
            Kind::SessionOpened,
            Kind::SessionEnded,
            Kind::Upkeep,
            Kind::Change,
            Kind::Checkpoint,
            Kind::Retention,
            Kind::Erasure,
            Kind::Gap,
        ];
        for kind in kinds {
            for entry in [Entry { kind, ..call() }, Entry { outcome: None, ..Entry::of(kind) }] {
                let event = written(&record(entry, None), true);
                assert_fits("", &event);
                let (class, activity) = (event["class_uid"].as_u64(), event["activity_id"].as_u64());
                assert_eq!((class, event["category_uid"].as_u64()), (Some(6003), Some(6)));
                assert_eq!(event["type_uid"].as_u64(), Some(600_300 + activity.expect("a number")));
                assert_eq!(event["unmapped"]["tollgate"]["kind"], kind_name(kind));
                assert!(["ip", "uid", "svc_name"].iter().any(|key| event["src_endpoint"].get(key).is_some()));
                assert!(["user", "session", "app_name"].iter().any(|key| event["actor"].get(key).is_some()));
            }
        }
    }

    #[test]
    fn a_call_says_who_did_what_where_and_how_it_ended() {
        let names = Named {
            user: Some("alice".into()),
            agent: Some("bot".into()),
            source: Some("10.1.2.3".into()),
            ..Named::default()
        };
        let event = written(&record(call(), Some(names)), false);
        assert_eq!((&event["activity_id"], &event["activity_name"]), (&99.into(), &"tools/call".into()));
        assert_eq!((&event["status_id"], &event["status_code"]), (&2.into(), &"-32602".into()));
        assert_eq!(event["actor"]["user"], json!({ "name": "alice", "uid": "u-ref" }));
        assert_eq!(
            (&event["actor"]["app_name"], &event["actor"]["app_uid"]),
            (&"bot".into(), &"a-ref".into())
        );
        assert_eq!(event["actor"]["authorizations"][0]["policy"], json!({ "name": "p1", "version": "set1" }));
        assert_eq!(event["src_endpoint"], json!({ "ip": "10.1.2.3", "uid": "s-ref" }));
        assert_eq!(event["dst_endpoint"]["svc_name"], "crm");
        assert_eq!(event["resources"][0], json!({ "name": "search", "uid": "crm__search", "type": "tool" }));
        assert_eq!((&event["api"]["response"]["code"], &event["action_id"]), (&(-32602).into(), &1.into()));
        assert_eq!(
            (&event["metadata"]["uid"], &event["metadata"]["tenant_uid"]),
            (&"w1:9".into(), &"acme".into())
        );
        assert!(event["metadata"].get("labels").is_none());
        assert_eq!(written(&record(call(), None), true)["metadata"]["labels"], json!(["redelivered"]));
        let bare = written(&record(call(), None), false);
        assert_eq!(
            (&bare["actor"]["user"], &bare["src_endpoint"]),
            (&json!({ "uid": "u-ref" }), &json!({ "uid": "s-ref" }))
        );
    }
}
