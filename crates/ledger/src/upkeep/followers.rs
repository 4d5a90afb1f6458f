//! Who follows the segments, and has to have had them before they are removed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Whoever reads a writer's segments one after the other. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Followers(Arc<Mutex<Vec<Weak<Place>>>>);

/// The place of one of them. Whoever drops it follows no more.
#[derive(Debug)]
pub struct Following(Arc<Place>);

#[derive(Debug)]
struct Place {
    name: Arc<str>,
    /// The number of the entry that it needs next.
    next: AtomicU64,
}

/// Nothing is waited for.
const NOTHING: u64 = u64::MAX;

impl Followers {
    /// Somebody follows from now on. Until it says how far it has come, it needs everything.
    pub fn add(&self, name: &str) -> Following {
        let place = Arc::new(Place { name: name.into(), next: AtomicU64::new(0) });
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|place| place.strong_count() > 0);
        places.push(Arc::downgrade(&place));
        Following(place)
    }

    /// The first entry that somebody still needs, and who does; none if nobody needs any.
    pub fn needed_from(&self) -> Option<(u64, Arc<str>)> {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let needed = places
            .iter()
            .filter_map(Weak::upgrade)
            .map(|place| (place.next.load(Ordering::Relaxed), Arc::clone(&place.name)));
        needed.filter(|(next, _)| *next != NOTHING).min()
    }
}

impl Following {
    /// It has had all entries before this one.
    pub fn has_come_to(&self, seq: u64) {
        self.0.next.store(seq, Ordering::Relaxed);
    }

    /// It is too far behind to be waited for.
    pub fn is_left_behind(&self) {
        self.0.next.store(NOTHING, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_is_waited_for_until_it_is_gone() {
        let followers = Followers::default();
        assert_eq!(followers.needed_from(), None);
        let (index, export) = (followers.add("index"), followers.add("siem"));
        index.has_come_to(9);
        assert_eq!(followers.needed_from(), Some((0, "siem".into())));
        export.has_come_to(12);
        assert_eq!(followers.needed_from(), Some((9, "index".into())));
        index.is_left_behind();
        assert_eq!(followers.needed_from(), Some((12, "siem".into())));
        drop(export);
        assert_eq!(followers.needed_from(), None);
    }
}
