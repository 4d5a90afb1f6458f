//! What the index wants to know of an entry: read without copying, and the rest passed over.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{CallId, Sizes};

/// A text that is not copied where it can be helped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Word<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = Word<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Word<'de>, E> {
                Ok(Word(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Word<'de>, E> {
                Ok(Word(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Words)
    }
}

/// A part of [`crate::Entry`].
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Indexed<'a> {
    pub(super) seq: u64,
    pub(super) time_ms: u64,
    #[serde(borrow)]
    pub(super) kind: Word<'a>,
    pub(super) call: Option<CallId>,
    #[serde(default)]
    pub(super) step: u32,
    pub(super) of: Option<u64>,
    pub(super) tenant: Option<Word<'a>>,
    pub(super) agent: Option<Word<'a>>,
    pub(super) user: Option<Word<'a>>,
    pub(super) session: Option<Word<'a>>,
    pub(super) method: Option<Word<'a>>,
    pub(super) client: Option<Word<'a>>,
    pub(super) endpoint: Option<Word<'a>>,
    pub(super) server: Option<Word<'a>>,
    pub(super) public_name: Option<Word<'a>>,
    pub(super) native_name: Option<Word<'a>>,
    pub(super) decision: Option<Decided<'a>>,
    pub(super) outcome: Option<Word<'a>>,
    pub(super) code: Option<Word<'a>>,
    pub(super) stage: Option<Word<'a>>,
    pub(super) sizes: Option<Sizes>,
    pub(super) latency: Option<Took>,
    pub(super) trace: Option<Word<'a>>,
    pub(super) element: Option<u32>,
    pub(super) change: Option<Word<'a>>,
    pub(super) arguments: Option<Committed<'a>>,
    /// Read only where guards have found something.
    #[serde(borrow)]
    pub(super) detail: Option<Beside<'a>>,
}

/// What an entry says beside, as it is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Beside<'a>(pub(super) &'a str);

impl<'de: 'a, 'a> Deserialize<'de> for Beside<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'de RawValue>::deserialize(deserializer).map(|detail| Self(detail.get()))
    }
}

impl<'a> Indexed<'a> {
    /// What guards found, as far as it is said as expected.
    pub(super) fn found(&self) -> Vec<Found<'a>> {
        let detail = self.detail.as_ref().map(|Beside(detail)| *detail);
        let Some(detail) = detail.filter(|detail| detail.contains("\"guard\"")) else {
            return Vec::new();
        };
        let guarded =
            serde_json::from_str::<Guarded<'a>>(detail).map(|detail| detail.guard).unwrap_or_default();
        let found = guarded.into_iter().filter_map(|one| serde_json::from_str::<Found<'a>>(one.get()).ok());
        found.filter(|found| found.rule.is_some()).collect()
    }
}

/// What an entry says beside.
#[derive(Debug, Default, Deserialize)]
struct Guarded<'a> {
    #[serde(borrow, default)]
    guard: Vec<&'a RawValue>,
}

/// What a guard found: never the text.
#[derive(Debug, Deserialize)]
pub(super) struct Found<'a> {
    #[serde(borrow)]
    pub(super) rule: Option<Word<'a>>,
    pub(super) severity: Option<Word<'a>>,
    pub(super) action: Option<Word<'a>>,
    #[serde(rename = "in")]
    pub(super) place: Option<Word<'a>>,
    /// What was listed, of definitions.
    pub(super) item: Option<Word<'a>>,
}

/// A part of [`crate::Decided`].
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Decided<'a> {
    #[serde(borrow, default)]
    pub(super) policies: Vec<Word<'a>>,
}

/// A part of [`crate::Latency`].
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Took {
    pub(super) total_us: u64,
}

/// A part of [`crate::Committed`].
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Committed<'a> {
    #[serde(borrow)]
    pub(super) digest: Option<Word<'a>>,
}
