//! Definitions of servers that are pinned: what was approved of each item, and what its server shows in its place.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tollgate_model::{ServerName, TenantId, Timestamp};

use crate::{Digest, StoreError};

/// How many items are pinned of one server. What comes beyond them is not kept, and so never approved.
pub const PINS_MAX: usize = 10_000;
/// How many bytes a definition may have to be kept as a text. Of a larger one only the digest is.
pub const PIN_TEXT_BYTES_MAX: usize = 256 * 1024;
/// The longest name or URI of an item that can be pinned, in bytes.
pub const PIN_ITEM_BYTES_MAX: usize = 2048;

/// What kind of thing is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PinKind {
    /// What a server says of itself for models to read.
    Instructions,
    /// A prompt, by its name.
    Prompt,
    /// A resource, by its URI.
    Resource,
    /// A template of resources, by its URI template.
    Template,
    /// A tool, by its name.
    Tool,
}

impl PinKind {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [Self::Instructions, Self::Prompt, Self::Resource, Self::Template, Self::Tool];

    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
            Self::Template => "template",
            Self::Tool => "tool",
        }
    }

    /// The other way round.
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What is pinned: one item of one server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PinOf {
    /// The tenant whose server it is; none for a shared one.
    pub tenant: Option<TenantId>,
    /// The server.
    pub server: ServerName,
    /// What kind of thing.
    pub kind: PinKind,
    /// The server's own name or URI of it; empty for instructions.
    pub item: Arc<str>,
}

impl PinOf {
    /// Whether an item of this name can be pinned at all: a database keeps neither a NUL nor any length.
    pub fn can_be_kept(item: &str) -> bool {
        item.len() <= PIN_ITEM_BYTES_MAX && !item.contains('\0')
    }

    /// From how it is stored; none if there can be no such thing.
    pub fn from_parts(tenant: &str, server: &str, kind: &str, item: &str) -> Option<Self> {
        Some(Self {
            tenant: (!tenant.is_empty()).then(|| TenantId::new(tenant)),
            server: ServerName::new(server).ok()?,
            kind: PinKind::from_stored(kind)?,
            item: item.into(),
        })
    }
}

/// A definition as it is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinShape {
    /// Of all that is pinned of it.
    pub digest: Digest,
    /// All that is pinned of it, as canonical JSON; none if it has more than [`PIN_TEXT_BYTES_MAX`].
    pub text: Option<Bytes>,
}

impl PinShape {
    /// With its text, if that is not too large.
    pub fn new(digest: Digest, text: Bytes) -> Self {
        Self { digest, text: (text.len() <= PIN_TEXT_BYTES_MAX).then_some(text) }
    }
}

/// What is approved of an item, and what waits to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PinMark {
    /// The definition that is approved.
    pub approved: Option<Digest>,
    /// What its server shows in its place.
    pub waiting: Option<Digest>,
}

/// A pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Of what.
    pub of: PinOf,
    /// The definition that is approved; none if none ever was.
    pub approved: Option<PinShape>,
    /// Who approved it; empty if nobody has.
    pub by: Arc<str>,
    /// Why, in the operator's words.
    pub reason: Arc<str>,
    /// When it was approved.
    pub since: Option<Timestamp>,
    /// What its server shows in its place, which nobody has approved.
    pub waiting: Option<PinShape>,
    /// When that was first seen.
    pub seen: Option<Timestamp>,
}

impl Pin {
    /// As the feed says it.
    pub fn mark(&self) -> PinMark {
        let digest = |shape: &Option<PinShape>| shape.as_ref().map(|shape| shape.digest);
        PinMark { approved: digest(&self.approved), waiting: digest(&self.waiting) }
    }

    /// What becomes of a pin when its item is seen so: none if nothing does. `was_trusted` says whether it was approved by being
    /// seen, and by nobody since. The rule of [`Pins::sight`], for all drivers.
    pub fn sighted(mark: Option<PinMark>, was_trusted: bool, sighting: &Sighting) -> Option<PinMark> {
        let seen = sighting.shape.digest;
        match mark {
            Some(PinMark { approved, .. }) if sighting.is_held && was_trusted && approved == Some(seen) => {
                Some(PinMark { approved: None, waiting: Some(seen) })
            }
            None if sighting.is_trusted && !sighting.is_held => {
                Some(PinMark { approved: Some(seen), waiting: None })
            }
            None => Some(PinMark { approved: None, waiting: Some(seen) }),
            Some(PinMark { approved, waiting }) if approved == Some(seen) => {
                waiting.is_some().then_some(PinMark { approved, waiting: None })
            }
            Some(PinMark { waiting, .. }) if waiting == Some(seen) => None,
            Some(PinMark { approved, .. }) => Some(PinMark { approved, waiting: Some(seen) }),
        }
    }
}

/// An item is seen in a server's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// What kind of thing.
    pub kind: PinKind,
    /// The server's own name or URI of it.
    pub item: Arc<str>,
    /// How it is defined.
    pub shape: PinShape,
    /// Whether it is approved by being seen, if it never was before.
    pub is_trusted: bool,
    /// Whether somebody has to approve it, so that having been seen is not enough.
    pub is_held: bool,
}

/// What is seen of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sightings {
    /// The tenant whose server it is; none for a shared one.
    pub tenant: Option<TenantId>,
    /// The server.
    pub server: ServerName,
    /// What is seen of it.
    pub items: Vec<Sighting>,
    /// When.
    pub at: Timestamp,
    /// In whose name that is approved which is approved by being seen.
    pub by: Arc<str>,
}

/// A definition is approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approving {
    /// Of what.
    pub of: PinOf,
    /// The very definition: that which was looked at, and no other that came since.
    pub digest: Digest,
    /// Who does it.
    pub by: Arc<str>,
    /// Why, in the operator's words; empty if nothing was said.
    pub reason: Arc<str>,
    /// When.
    pub at: Timestamp,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approved {
    /// It is approved from now on.
    Now,
    /// It was before.
    Before,
    /// It does not wait any more: the server shows something else by now.
    Otherwise,
    /// There is no such pin.
    Unknown,
}

/// A pin is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinChange {
    /// Of what.
    pub of: PinOf,
    /// What is approved and what waits from now on; none if the pin is forgotten.
    pub mark: Option<PinMark>,
    /// Who did it; empty where a server did, by showing something else.
    pub by: Arc<str>,
    /// Why; empty if nothing was said.
    pub reason: Arc<str>,
}

/// Which pins to list.
#[derive(Debug, Clone, Default)]
pub struct WhichPins {
    /// Only those of servers of this name, whosever they are.
    pub server: Option<ServerName>,
    /// Only those of which something waits.
    pub is_waiting: bool,
    /// Only those that come after this one.
    pub after: Option<PinOf>,
    /// At most so many.
    pub most: usize,
}

/// What is pinned.
#[async_trait]
pub trait Pins: fmt::Debug + Send + Sync {
    /// Takes in how a server defines its items. What was never approved is, if it is trusted; what differs from what was
    /// approved waits; what is again as it was approved waits no more, and what is held waits again if nobody but its being seen has
    /// approved it. Of more than [`PINS_MAX`] the last are left out. Says
    /// how many pins have changed.
    async fn sight(&self, sightings: Sightings) -> Result<usize, StoreError>;

    /// Approves what waits.
    async fn approve_pin(&self, approving: Approving) -> Result<Approved, StoreError>;

    /// Forgets a pin, as if its item had never been seen. Says whether there was one.
    async fn forget_pin(&self, of: &PinOf, by: &str, reason: &str) -> Result<bool, StoreError> {
        self.forget_seen_pin(of, (by, reason), None).await
    }

    /// The same, if the pin is still what somebody has `seen`.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`].
    async fn forget_seen_pin(
        &self,
        of: &PinOf,
        doing: (&str, &str),
        seen: Option<&Pin>,
    ) -> Result<bool, StoreError>;

    /// One pin.
    async fn pin(&self, of: &PinOf) -> Result<Option<Pin>, StoreError>;

    /// Pins in the order of what they are of: tenant, server, kind, item.
    async fn pins(&self, which: &WhichPins) -> Result<Vec<Pin>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_sort_as_their_texts_do() {
        let texts: Vec<&str> = PinKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert!(texts.is_sorted() && PinKind::ALL.is_sorted());
        for kind in PinKind::ALL {
            assert_eq!(PinKind::from_stored(kind.as_str()), Some(kind));
        }
        assert_eq!(PinKind::from_stored("tools"), None);
    }
}
