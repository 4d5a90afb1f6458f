//! How many tasks the gateway follows itself, for callers who cannot: bounded for each principal and for all together.

use tollgate_model::{Caller, Code, Refusal, Stage};
use tollgate_telemetry::counters::Kept;

use crate::places::{Places, Taken};
use crate::settings::ProxySettings;

/// The tasks that are followed now.
#[derive(Debug, Default)]
pub(crate) struct Waits(Places);

/// A place among them. Dropping it gives the place back.
pub(crate) type Wait = Taken;

impl Waits {
    /// Takes a place, if there is one.
    pub(crate) fn enter(&self, caller: &Caller, settings: &ProxySettings) -> Result<Wait, Refusal> {
        let room = settings.room(settings.tasks.followed_max, settings.tasks.followed_per_principal_max);
        self.0.take(Kept::FollowedTask, caller.owner(), room).ok_or_else(|| {
            let text = "the gateway follows as many tasks as allowed";
            Refusal::new(Stage::Dispatch, Code::Capacity, text)
        })
    }

    /// How many tasks are followed.
    pub(crate) fn count(&self) -> usize {
        self.0.count()
    }
}
