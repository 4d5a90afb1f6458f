//! The task behind a desk: it sees to it that there is an instance as long as somebody watches.

use std::sync::{Arc, Weak};

use tollgate_model::Era;

use super::{Desk, legacy, modern};
use crate::backoff::Backoff;
use crate::link::Instance;
use crate::registry::Registry;
use crate::replicas::Wish;

/// Why an instance is no longer attended to.
pub(crate) enum End {
    /// Nobody watches any more.
    Unwanted,
    /// It has ended, or does not fit any more.
    Lost,
}

/// Runs until nobody wants anything.
pub(crate) async fn keep(desk: Arc<Desk>, registry: Weak<Registry>) {
    let timeouts = &desk.shared.settings.timeouts;
    let backoff = Backoff::new(timeouts.backoff_min, timeouts.backoff_max);
    let mut failures = 0;
    let mut missed = false;
    loop {
        let opened = {
            let Some(registry) = registry.upgrade() else { return };
            if desk.has_lost_whom_it_attends()
                && let Some(other) = registry.another_to_attend()
            {
                desk.attend(&other);
            }
            if registry.close_desk(&desk) {
                return;
            }
            match desk.attended() {
                Some(instance) => Ok(instance),
                None => registry.open_settled(&desk.caller, Wish::MAIN).await,
            }
        };
        match opened {
            Ok(instance) => {
                failures = 0;
                let end = attend(&desk, &instance, missed).await;
                instance.set_watched(false);
                missed |= matches!(end, End::Lost);
                if matches!(end, End::Unwanted) {
                    missed = false;
                }
            }
            Err(error) => {
                desk.fail(&error);
                missed = true;
                failures += 1;
                tokio::time::sleep(backoff.after(failures)).await;
            }
        }
    }
}

async fn attend(desk: &Desk, instance: &Arc<Instance>, missed: bool) -> End {
    match instance.revision.era() {
        Era::Legacy => legacy::attend(desk, instance, missed).await,
        Era::Modern => modern::attend(desk, instance, missed).await,
    }
}
