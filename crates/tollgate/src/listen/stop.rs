//! How the parts of a running gateway are told to stop.

use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Running,
    Stopping,
    Over,
}

/// Tells everyone who holds a [`Stop`]. Dropping it says that the time is over.
#[derive(Debug)]
pub(crate) struct Stopper(watch::Sender<Phase>);

/// Hears when to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<Phase>);

impl Stopper {
    /// A pair of which nobody was told anything yet.
    pub(crate) fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(Phase::Running);
        (Self(sender), Stop(receiver))
    }

    /// Finish what is under way, begin nothing new.
    pub(crate) fn stop(&self) {
        self.0.send_replace(Phase::Stopping);
    }

    /// Leave what is not finished.
    pub(crate) fn over(&self) {
        self.0.send_replace(Phase::Over);
    }
}

impl Stop {
    /// Returns when nothing new may begin.
    pub(crate) async fn requested(&self) {
        self.reached(Phase::Stopping).await;
    }

    /// Returns when the time for what is under way is over.
    pub(crate) async fn over(&self) {
        self.reached(Phase::Over).await;
    }

    async fn reached(&self, phase: Phase) {
        // A stopper that is gone cannot ask for patience any more.
        drop(self.0.clone().wait_for(|now| *now >= phase).await);
    }
}
