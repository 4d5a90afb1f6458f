//! The main facts of an entry, for protocols that have places for them beside the entry itself.

use std::sync::Arc;

use super::record::Record;
use super::target::Batch;
use crate::{Kind, Outcome, Text};

/// How much somebody should look at an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// What happened is not known, or not recorded.
    Error,
    /// Somebody was not let do something.
    Warning,
    /// Something was changed, or failed.
    Notice,
    /// All is as usual.
    Plain,
}

/// How much somebody should look at an entry.
pub(super) fn weight(record: &Record) -> Weight {
    match (record.entry.kind, record.entry.outcome) {
        (Kind::Gap, _) | (_, Some(Outcome::Unknown)) => Weight::Error,
        (Kind::Refusal | Kind::Strangers | Kind::Recovered, _)
        | (_, Some(Outcome::Refused | Outcome::Denied | Outcome::TakenBack)) => Weight::Warning,
        (Kind::Change | Kind::Retention | Kind::Erasure | Kind::Started | Kind::Stopped, _)
        | (_, Some(Outcome::Error | Outcome::ToolError)) => Weight::Notice,
        _ => Weight::Plain,
    }
}

/// The main facts, those that are there. Names take the place of references where they are known.
pub(super) fn facts(batch: &Batch<'_>, record: &Record) -> Vec<(&'static str, String)> {
    let entry = &record.entry;
    let named = record.names.as_ref();
    let text = |text: &Option<Text<'_>>| text.as_deref().map(str::to_owned);
    let name = |name: Option<&Arc<str>>, reference: &Option<Text<'_>>| {
        name.map(ToString::to_string).or_else(|| text(reference))
    };
    let all = [
        ("writer", Some(batch.writer.to_owned())),
        ("seq", Some(entry.seq.to_string())),
        ("redelivered", batch.is_again(record).then(|| "true".to_owned())),
        ("missing_from", record.missing_from.map(|seq| seq.to_string())),
        ("call", entry.call.map(|call| call.to_string())),
        ("tenant", text(&entry.tenant)),
        ("agent", name(named.and_then(|named| named.agent.as_ref()), &entry.agent)),
        ("user", name(named.and_then(|named| named.user.as_ref()), &entry.user)),
        ("source", name(named.and_then(|named| named.source.as_ref()), &entry.source)),
        ("server", text(&entry.server)),
        ("method", text(&entry.method)),
        ("name", text(&entry.native_name)),
        ("outcome", entry.outcome.map(word)),
        ("code", text(&entry.code)),
        ("trace", text(&entry.trace)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// A kind as it stands in entries.
pub(super) fn kind_name(kind: Kind) -> String {
    word(kind)
}

/// A value of an enumeration as it stands in entries.
pub(super) fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
