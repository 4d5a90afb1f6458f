//! How whoever keeps something at an instance hears that it is not what it was.

use tokio::sync::watch;

/// What has happened to an instance so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Beat {
    /// How often its session was forgotten by the server, or begun again.
    pub(crate) generation: u64,
    /// How often the stream of what it says unasked was interrupted in a way that may have lost something.
    pub(crate) gaps: u64,
}

/// Tells those who listen of every beat.
#[derive(Debug)]
pub(crate) struct Pulse(watch::Sender<Beat>);

impl Pulse {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Beat::default()))
    }

    pub(crate) fn listen(&self) -> watch::Receiver<Beat> {
        self.0.subscribe()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.0.borrow().generation
    }

    /// The session is another, or no longer known.
    pub(crate) fn renewed(&self) {
        self.0.send_modify(|beat| beat.generation += 1);
    }

    /// Something may have been missed.
    pub(crate) fn gap(&self) {
        self.0.send_modify(|beat| beat.gaps += 1);
    }

    /// The instance is given up.
    pub(crate) fn ended(&self) {
        self.0.send_modify(|_| {});
    }
}
