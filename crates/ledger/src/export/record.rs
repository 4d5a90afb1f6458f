//! An entry on its way out, and how it looks in the ledger's own words.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use super::cursor::Place;
use crate::Entry;

/// An entry on its way out.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// Where it stands.
    pub(super) place: Place,
    /// What it says, as it stands there.
    pub(super) json: Vec<u8>,
    /// The same, read.
    pub(super) entry: Entry<'static>,
    /// The names behind its references.
    pub(super) names: Option<Named>,
    /// Its payloads.
    pub(super) payloads: Option<Payloads>,
    /// The number of the first entry that is missing before it, if any is: it was removed before it was sent, or cannot be
    /// read.
    pub(super) missing_from: Option<u64>,
    /// What was left out of it for the receiver's sake.
    pub(super) left_out: Option<LeftOut>,
}

/// What was left out of an entry for the receiver's sake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftOut {
    /// Its payloads: the receiver takes no entry so large.
    Payloads,
    /// Everything but what it is, for this reason.
    Entry(&'static str),
}

/// Names behind references. What was erased is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// The principal, in JSON.
    pub(super) who: Option<Arc<str>>,
    /// The agent.
    pub(super) agent: Option<Arc<str>>,
    /// The user.
    pub(super) user: Option<Arc<str>>,
    /// The address.
    pub(super) source: Option<Arc<str>>,
    /// The client's session.
    pub(super) session: Option<Arc<str>>,
}

/// Payloads as far as they were kept: JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Payloads {
    pub(super) arguments: Option<Vec<u8>>,
    pub(super) result: Option<Vec<u8>>,
}

/// What stands in front of an entry's own members.
#[derive(Serialize)]
struct Head<'a> {
    writer: &'a str,
    hash: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    redelivered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_from: Option<u64>,
}

/// What stands behind them.
#[derive(Serialize)]
struct Tail<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    names: Option<NamesOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payloads: Option<PayloadsOut<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    payloads_left_out: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_left_out: Option<&'static str>,
}

#[derive(Serialize)]
struct NamesOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
}

#[derive(Serialize)]
struct PayloadsOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
}

impl Record {
    /// Writes it in the ledger's own words: the entry's members as they stand in the chain, between the writer's and what is
    /// kept beside the chain.
    pub(super) fn native(&self, writer: &str, redelivered: bool, out: &mut Vec<u8>) {
        let head =
            Head { writer, hash: self.place.hash.to_text(), redelivered, missing_from: self.missing_from };
        let tail = Tail {
            names: self.names.as_ref().filter(|names| **names != Named::default()).map(Named::out),
            payloads: self.payloads.as_ref().and_then(Payloads::out),
            payloads_left_out: self.left_out == Some(LeftOut::Payloads),
            entry_left_out: match self.left_out {
                Some(LeftOut::Entry(why)) => Some(why),
                Some(LeftOut::Payloads) | None => None,
            },
        };
        // Nothing in them can fail to be written.
        let head = serde_json::to_vec(&head).unwrap_or_default();
        let tail = serde_json::to_vec(&tail).unwrap_or_default();
        let begin = out.len();
        out.push(b'{');
        let mut is_first = true;
        for object in [&head[..], &self.json, &tail] {
            let Some(members) = object.get(1..object.len().saturating_sub(1)) else { continue };
            if members.is_empty() {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            out.extend_from_slice(members);
        }
        out.push(b'}');
        // A payload may have line ends between its members, and nowhere else: within texts they are escaped.
        for byte in &mut out[begin..] {
            if matches!(*byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }

    /// Leaves the payloads out, if there are any: whether that changed anything.
    pub(super) fn cut(&mut self) -> bool {
        let has_payloads = self.payloads.take().is_some_and(|payloads| payloads != Payloads::default());
        if has_payloads {
            self.left_out = Some(LeftOut::Payloads);
        }
        has_payloads
    }

    /// What takes its place where the receiver does not take it in any way: that it is there, and what it is.
    pub(super) fn stub(&self, why: &'static str) -> Self {
        let Entry { seq, time_ms, kind, call, step, of, outcome, .. } = self.entry;
        let entry = Entry { seq, time_ms, kind, call, step, of, outcome, ..Entry::default() };
        let json = serde_json::to_vec(&entry).unwrap_or_default();
        let left_out = Some(LeftOut::Entry(why));
        Self { json, entry, names: None, payloads: None, left_out, ..*self }
    }
}

impl Named {
    fn out(&self) -> NamesOut<'_> {
        NamesOut {
            who: self.who.as_deref().and_then(|json| serde_json::from_str(json).ok()),
            agent: self.agent.as_deref(),
            user: self.user.as_deref(),
            source: self.source.as_deref(),
            session: self.session.as_deref(),
        }
    }
}

impl Payloads {
    fn out(&self) -> Option<PayloadsOut<'_>> {
        let out = PayloadsOut {
            arguments: raw_value(self.arguments.as_deref()),
            result: raw_value(self.result.as_deref()),
        };
        (out.arguments.is_some() || out.result.is_some()).then_some(out)
    }
}

fn raw_value(bytes: Option<&[u8]>) -> Option<&RawValue> {
    serde_json::from_slice(bytes?).ok()
}
