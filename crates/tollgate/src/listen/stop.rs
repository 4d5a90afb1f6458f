//! How the parts of a running gateway are told to stop.

use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Running,
    Leaving,
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

    /// Somebody else accepts from now on. Whoever is connected may still ask, and is told to connect anew.
    pub(crate) fn leave(&self) {
        self.0.send_replace(Phase::Leaving);
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
    /// Returns when nobody is accepted any more.
    pub(crate) async fn leaving(&self) {
        self.reached(Phase::Leaving).await;
    }

    /// Whether whoever asks is to connect anew. Cheap: each answer is asked.
    pub(crate) fn is_leaving(&self) -> bool {
        // This receiver was made while the first phase lasted, and has marked nothing as seen since.
        self.0.has_changed().unwrap_or(true)
    }

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
