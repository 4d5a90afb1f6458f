//! The store in memory passes the suite.

use std::sync::{Arc, OnceLock};

use tollgate_store::suite::Place;
use tollgate_store::{Memory, Store};

/// Memory is shared by all who open it.
#[derive(Default)]
struct Here(OnceLock<Arc<Memory>>);

impl Place for Here {
    fn open(&self, feed_max: usize) -> Arc<dyn Store> {
        self.0.get_or_init(|| Arc::new(Memory::with_feed(feed_max))).clone()
    }
}

tollgate_store::suite!(Here::default());
