//! What several tenants have together: how much of it may be one's, and who gives way when it is full.

use std::collections::HashMap;
use std::hash::Hash;

/// How many of something there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// In all.
    pub(crate) all: usize,
    /// Of one tenant.
    pub(crate) tenant: usize,
    /// Of one principal.
    pub(crate) own: usize,
}

impl Room {
    /// As many as anyone likes.
    pub(crate) const UNBOUNDED: Self = Self { all: usize::MAX, tenant: usize::MAX, own: usize::MAX };

    /// Whether one more fits in beside `taken`, of which `of_tenant` counts those of the same tenant. It is asked for only
    /// where it can matter.
    pub(crate) fn has_place(&self, taken: usize, of_tenant: impl FnOnce() -> usize) -> bool {
        taken < self.all && (taken < self.tenant || of_tenant() < self.tenant)
    }
}

/// Whose parts of something are the largest together: it is theirs that is forgotten when there is too much, so that nobody
/// is put out by what others have.
pub(crate) fn largest<P: Eq + Hash + Clone>(parts: impl IntoIterator<Item = (P, usize)>) -> Option<P> {
    let mut sums: HashMap<P, usize> = HashMap::new();
    for (whose, size) in parts {
        *sums.entry(whose).or_default() += size;
    }
    sums.into_iter().max_by_key(|(_, sum)| *sum).map(|(whose, _)| whose)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenant_takes_no_more_than_its_share() {
        let room = Room { all: 10, tenant: 5, own: 5 };
        assert!(room.has_place(4, || unreachable!("nobody can have five")));
        assert!(room.has_place(9, || 4));
        assert!(!room.has_place(9, || 5));
        assert!(!room.has_place(10, || 0));
    }

    #[test]
    fn the_largest_is_whoever_has_most_in_all() {
        assert_eq!(largest([("a", 3), ("b", 4), ("a", 3)]), Some("a"));
        assert_eq!(largest::<&str>([]), None);
    }
}
