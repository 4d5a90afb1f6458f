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
    /// Whether payloads were left out since the receiver does not take an entry so large.
    pub(super) is_cut: bool,
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
        let head = Head { writer, hash: self.place.hash.to_text(), redelivered };
        let tail = Tail {
            names: self.names.as_ref().filter(|names| **names != Named::default()).map(Named::out),
            payloads: self.payloads.as_ref().filter(|_| !self.is_cut).and_then(Payloads::out),
            payloads_left_out: self.is_cut,
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
        self.is_cut |= has_payloads;
        has_payloads
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
