//! What every gateway has to know within a second, on machines that now and then stand still for longer than that.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How soon every gateway has to know.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How late one may be that was held up. What is still open then ends by itself, or does not end at all.
const HELD_UP_MAX: Duration = Duration::from_secs(10);
/// So many may be late, and so many of a hundred beside them: a gateway that takes its time is late each time.
const LATE: u32 = 4;
const LATE_PERCENT: u32 = 20;

/// What the tests of this program have looked at so far, and how much of it was late.
static LOOKED_AT: AtomicU32 = AtomicU32::new(0);
static WERE_LATE: AtomicU32 = AtomicU32::new(0);

/// Asserts that something which took so long came about at once.
///
/// # Panics
/// If it was much too late, or if too many of all that this program has looked at were late.
pub fn at_once(what: &str, took: Duration) {
    let all = LOOKED_AT.fetch_add(1, Ordering::Relaxed) + 1;
    if took < AT_ONCE {
        return;
    }
    assert!(took < HELD_UP_MAX, "{what}: {took:?}");
    let late = WERE_LATE.fetch_add(1, Ordering::Relaxed) + 1;
    assert!(late <= LATE + all * LATE_PERCENT / 100, "{what}: {took:?}, as {late} of {all} were late");
}
