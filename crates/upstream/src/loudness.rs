//! How much of its log a legacy server is asked for. It knows one level for a whole session (2025-11-25, logging), and
//! requests that share the session may want different ones: it is told the most verbose of those under way.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tollgate_mcp::{Kind, LogLevel, Message, methods};
use tollgate_model::Era;

use crate::exchange::Ticket;
use crate::hello;
use crate::link::{Instance, Outbound, Wire};
use crate::pace::{Pace, Waits};
use crate::{Incoming, Link, UpstreamError};

/// How long a request waits at most for the server to take its level. One that is slower than this has been told all
/// the same.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is wanted of one session, and what its server was told.
#[derive(Debug, Default)]
pub(crate) struct Loudness {
    /// How many of the requests under way want which level.
    wanted: [AtomicU32; LogLevel::ALL.len()],
    told: Mutex<Option<Told>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    level: LogLevel,
    /// Which of the sessions that were begun one after the other was told.
    session: u64,
}

impl Loudness {
    pub(crate) fn want(&self, level: LogLevel) {
        if let Some(count) = self.wanted.get(level as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn want_no_more(&self, level: LogLevel) {
        if let Some(count) = self.wanted.get(level as usize) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The most verbose level that a request under way wants.
    fn most_verbose(&self) -> Option<LogLevel> {
        let is_wanted = |level: &LogLevel| {
            self.wanted.get(*level as usize).is_some_and(|count| count.load(Ordering::Relaxed) > 0)
        };
        LogLevel::ALL.into_iter().find(is_wanted)
    }
}

impl Instance {
    /// Whether its server has levels to be told.
    pub(crate) fn has_levels(&self) -> bool {
        self.revision.era() == Era::Legacy && self.hello.declares("logging")
    }

    /// Tells the server which level is wanted now, if it was told another. Whatever comes of it, requests go on: those
    /// who get too much have it filtered, and those who get too little miss a log.
    ///
    /// Not an `async fn`, since a request may have to begin the session anew, and that asks for this again.
    pub(crate) fn adjust_loudness(self: &Arc<Self>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let mut told = self.loudness.told.lock().await;
            let Some(level) = self.loudness.most_verbose() else { return };
            if *told == Some(Told { level, session: self.session_number() }) {
                return;
            }
            let patience = PATIENCE.min(self.shared.settings.timeouts.probe);
            match tokio::time::timeout(patience, self.say_level(level)).await {
                Ok(Ok(answer)) if answer.kind() == Kind::Result => {}
                Ok(Ok(answer)) => {
                    tracing::debug!(server = %self.shared.id.label(), code = answer.error_code(), "the server took no log level");
                }
                Ok(Err(error)) => {
                    tracing::debug!(server = %self.shared.id.label(), %error, "the server took no log level");
                }
                Err(_) => {
                    tracing::debug!(server = %self.shared.id.label(), "the server did not answer to a log level in time");
                }
            }
            // Also when it refused: it is not asked the same before every request.
            *told = Some(Told { level, session: self.session_number() });
        })
    }

    /// Tells the server the level that a client asked for, or a more verbose one that others want. Its answer.
    pub(crate) async fn ask_for_log(self: &Arc<Self>, level: LogLevel) -> Result<Message, UpstreamError> {
        let mut told = self.loudness.told.lock().await;
        let level = self.loudness.most_verbose().map_or(level, |wanted| wanted.min(level));
        let answer = self.say_level(level).await?;
        if answer.kind() == Kind::Result {
            *told = Some(Told { level, session: self.session_number() });
        }
        Ok(answer)
    }

    async fn say_level(self: &Arc<Self>, level: LogLevel) -> Result<Message, UpstreamError> {
        let id = self.mint();
        let wait = self.shared.settings.timeouts.list;
        let pace = Pace::begin(Waits::within(wait), &self.shared.settings.timeouts);
        let request = Outbound {
            id,
            method: methods::LOGGING_SET_LEVEL.into(),
            mcp_name: None,
            params: Vec::new(),
            also: Vec::new(),
            body: hello::set_level(id, level),
            waits: Waits::default(),
            log_level: None,
        };
        let mut exchange = self.send(request, Ticket::own(self, id), pace).await?;
        loop {
            match exchange.next().await? {
                Incoming::Response(answer) => return Ok(answer),
                Incoming::Request(request) => {
                    if let Some(raw_id) = request.id_raw() {
                        Link::of(Arc::clone(self)).notify(hello::nobody(&raw_id)).await?;
                    }
                }
                Incoming::Notification(_) => {}
            }
        }
    }

    fn session_number(&self) -> u64 {
        match &self.wire {
            Wire::Session(session) => session.number(),
            Wire::Modern(_) | Wire::Shared(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_verbose_level_wins_while_it_is_wanted() {
        let loudness = Loudness::default();
        assert_eq!(loudness.most_verbose(), None);
        loudness.want(LogLevel::Error);
        loudness.want(LogLevel::Debug);
        loudness.want(LogLevel::Info);
        assert_eq!(loudness.most_verbose(), Some(LogLevel::Debug));
        loudness.want_no_more(LogLevel::Debug);
        assert_eq!(loudness.most_verbose(), Some(LogLevel::Info));
        loudness.want_no_more(LogLevel::Error);
        loudness.want_no_more(LogLevel::Info);
        assert_eq!(loudness.most_verbose(), None);
    }
}
