//! How often a principal may ask about tasks: polling in a tight loop must not become a load for servers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_model::{Caller, Code, Owner, Refusal, Stage};

const WINDOW: Duration = Duration::from_secs(1);
/// How many principals are counted at once. Beyond it those that have been quiet are forgotten.
const PRINCIPALS_MAX: usize = 10_000;

/// Who asked how often in the current window.
#[derive(Debug, Default)]
pub(crate) struct Rate(Mutex<HashMap<Owner, (Instant, u32)>>);

impl Rate {
    /// Counts one request, and refuses it if it is one too many.
    pub(crate) fn count(&self, caller: &Caller, per_s_max: u32) -> Result<(), Refusal> {
        let now = Instant::now();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = caller.owner();
        if counts.len() >= PRINCIPALS_MAX && !counts.contains_key(&key) {
            counts.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
        }
        let (since, count) = counts.entry(key).or_insert((now, 0));
        if now.duration_since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        if *count <= per_s_max {
            return Ok(());
        }
        let text = "too many requests about tasks within a second";
        Err(Refusal::new(Stage::Envelope, Code::Capacity, text))
    }
}
