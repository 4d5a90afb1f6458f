//! Rates, and places among those under way, that all gateways count together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Digest, StoreError};

/// For how long a place is held that nobody keeps: what a gateway held that was killed is free again after it.
pub const LEASE: Duration = Duration::from_secs(20);

/// Where rates and places are counted together.
#[async_trait]
pub trait SharedCounters: fmt::Debug + Send + Sync {
    /// Counts a request in all of these, if all have room for it, in one round trip. `id` is what its places are held under.
    async fn count(&self, id: PlaceId, counts: &[SharedCount]) -> Result<Counted, StoreError>;

    /// A request is not carried out, or has left its places: it counts in these no more.
    async fn give_back(&self, id: PlaceId, counts: &[SharedCount]) -> Result<(), StoreError>;

    /// These places are held for another [`LEASE`], also where it is not known any more that they are. With none it only asks
    /// whether anybody counts.
    async fn keep(&self, places: &[(PlaceId, SharedCount)]) -> Result<(), StoreError>;
}

/// What places are held under: no two requests have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlaceId(pub u128);

impl fmt::Display for PlaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Something that is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedCount {
    /// Of what: a digest, since names of people may be in it.
    pub of: Digest,
    /// Whose it is; none is everybody's.
    pub tenant: Option<Arc<str>>,
    /// How much there is of it.
    pub bound: SharedBound,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedBound {
    /// A rate.
    Rate {
        /// The time that one request takes up.
        each: Duration,
        /// How far requests may be ahead of their time.
        window: Duration,
        /// How far they are, as far as the one who asks knows: believed where nothing is known any more.
        ahead: Duration,
    },
    /// So many places.
    Places(u64),
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The place of the one that has no room for the longest time, and how long it has none. None if it was counted.
    pub full: Option<(usize, Duration)>,
    /// How far requests are ahead of their time now: of each that was asked, in the same order; nothing for places.
    pub ahead: Vec<Duration>,
}
