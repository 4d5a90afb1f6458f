//! The outcome that is owed to an intent.

use std::sync::Arc;

use tollgate_ledger::{Content, Draft, Entry, Intending, Receipt, Unrecorded};
use tollgate_model::Principal;

use crate::gateway::Gateway;

/// An effect that has left, until its outcome is on record. Dropped, it gets one that says that nobody waited.
#[derive(Debug)]
pub(super) enum Open {
    /// The intent is written.
    Written(Receipt),
    /// It was carried out before that: its intent may be written yet, and then its outcome follows.
    Late(Box<Intending>),
}

/// What something has come to.
pub(super) struct End<'a> {
    pub(super) entry: Entry<'a>,
    pub(super) who: &'a Arc<Principal>,
    pub(super) result: Option<Content>,
}

impl<'a> End<'a> {
    fn draft(self) -> Draft<'a> {
        Draft { entry: self.entry, who: Some(&**self.who), result: self.result, ..Draft::default() }
    }
}

impl Open {
    /// Puts the outcome on record. None if there is nothing to wait for: the record is late, and follows by itself.
    pub(super) fn close(
        self,
        gateway: &Gateway,
        end: End<'_>,
    ) -> Option<impl Future<Output = Result<(), Unrecorded>> + Send + use<>> {
        match self {
            Self::Written(receipt) => Some(receipt.close(end.draft())),
            Self::Late(intending) => {
                follow(gateway, *intending, end);
                None
            }
        }
    }

    /// The same without waiting.
    pub(super) fn close_later(self, gateway: &Gateway, end: End<'_>) {
        match self {
            Self::Written(receipt) => receipt.close_later(end.draft()),
            Self::Late(intending) => follow(gateway, *intending, end),
        }
    }
}

/// Closes a call as soon as its intent is written. So many wait for that as intents may be open at once.
fn follow(gateway: &Gateway, intending: Intending, end: End<'_>) {
    let End { entry, who, result } = end;
    let owned = serde_json::to_value(&entry).and_then(serde_json::from_value::<Entry<'static>>);
    let (Ok(entry), Ok(_)) = (owned, tokio::runtime::Handle::try_current()) else { return };
    let (who, ledger) = (Arc::clone(who), gateway.ledger().clone());
    gateway.spawn(async move {
        match intending.await {
            Ok(receipt) => receipt.close_later(End { entry, who: &who, result }.draft()),
            Err(_) => ledger.passed_by(),
        }
    });
}
