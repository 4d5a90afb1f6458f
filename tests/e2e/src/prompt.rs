//! What every gateway has to know within a second, on machines that now and then stand still for longer than that.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How soon every gateway has to know.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How late one may be that was held up. What is still open then ends by itself, or does not end at all.
const HELD_UP_MAX: Duration = Duration::from_secs(10);
/// How often that may be in one program of tests: a gateway that takes its time is late each time.
const LATE_MAX: u32 = 1;

/// How much was late of what the tests of this program have looked at so far.
static WERE_LATE: AtomicU32 = AtomicU32::new(0);

/// Asserts that something which took so long came about at once.
///
/// # Panics
/// If it was much too late, or if something was before.
pub fn at_once(what: &str, took: Duration) {
    if took < AT_ONCE {
        return;
    }
    assert!(took < HELD_UP_MAX, "{what}: {took:?}");
    let late = WERE_LATE.fetch_add(1, Ordering::Relaxed) + 1;
    assert!(late <= LATE_MAX, "{what}: {took:?}, and it is not the first that is late");
}
