//! Watching a server: changes of its lists, of resources and of tasks, for as long as somebody wants to hear of them.
//!
//! Whoever wants something holds a [`Watch`]. All watches that one instance serves meet at one desk, which counts who
//! wants what, and asks the server once for all of them: by `resources/subscribe` (legacy), or by one
//! `subscriptions/listen` stream (modern). The desk outlives instances: when one ends or forgets, everything that is
//! still wanted is asked for again on the next, and is told as changed, since a change may have been missed.

mod desk;
mod filter;
mod keep;
mod legacy;
mod modern;

use std::sync::Arc;
use std::time::Duration;

use tollgate_mcp::Message;

use crate::{Origin, UpstreamError};

pub(crate) use desk::Desk;
pub(crate) use filter::Filter;
pub(crate) use keep::keep;

/// What somebody wants to hear of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interest {
    /// Changes of the server's lists, as far as it tells them.
    pub lists: bool,
    /// Resources, by the server's own URIs.
    pub uris: Vec<Arc<str>>,
    /// Tasks of the 2026-07-28 extension, by the server's own ids.
    pub task_ids: Vec<Arc<str>>,
}

/// Which lists a server tells the changes of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lists {
    /// `notifications/tools/list_changed`.
    pub tools: bool,
    /// `notifications/prompts/list_changed`.
    pub prompts: bool,
    /// `notifications/resources/list_changed`.
    pub resources: bool,
}

/// What the server made of a wish.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It has not answered yet.
    Pending,
    /// It tells of changes.
    Honoured,
    /// It declares no such thing.
    Undeclared,
    /// It left the wish out of what it acknowledged, or takes no such wishes after all.
    Withheld,
    /// It answered with this error.
    Refused(Box<Message>),
    /// It could not be asked. It is asked again when its process or session is another.
    Failed(UpstreamError),
}

impl Verdict {
    /// Whether changes are told of, or may be later.
    pub fn is_hopeful(&self) -> bool {
        matches!(self, Self::Honoured | Self::Pending | Self::Failed(_))
    }
}

/// Somebody's wishes. Dropping it takes them back; with the last one the server is told.
#[derive(Debug)]
pub struct Watch {
    desk: Arc<Desk>,
    interest: Interest,
}

impl Watch {
    pub(crate) fn new(desk: Arc<Desk>, interest: Interest) -> Self {
        Self { desk, interest }
    }

    /// What the events carry that these wishes lead to.
    pub fn origin(&self) -> &Origin {
        &self.desk.source.origin
    }

    /// Takes back every wish that the server does not honour.
    pub fn keep_honoured(&mut self) {
        self.keep(|verdict| matches!(verdict, Verdict::Honoured));
    }

    /// Takes back every wish that the server has said no to.
    pub fn keep_hopeful(&mut self) {
        self.keep(Verdict::is_hopeful);
    }

    fn keep(&mut self, is_kept: impl Fn(&Verdict) -> bool) {
        let part = |texts: &mut Vec<Arc<str>>, verdict: &dyn Fn(&str) -> Verdict| {
            texts.extract_if(.., |text| !is_kept(&verdict(text))).collect()
        };
        let uris = part(&mut self.interest.uris, &|uri| self.desk.resource(uri));
        let task_ids = part(&mut self.interest.task_ids, &|id| self.desk.task(id));
        self.desk.take_back(&Interest { lists: false, uris, task_ids });
    }

    /// Waits until the server has answered to every wish, but no longer than this.
    pub async fn settled(&self, wait: Duration) {
        let _ = tokio::time::timeout(wait, self.desk.settled(&self.interest)).await;
    }

    /// What became of the wish to hear of this resource.
    pub fn resource(&self, uri: &str) -> Verdict {
        self.desk.resource(uri)
    }

    /// What became of the wish to hear of this task.
    pub fn task(&self, task_id: &str) -> Verdict {
        self.desk.task(task_id)
    }

    /// Which lists are told of. None before the server has answered.
    pub fn lists(&self) -> Lists {
        self.desk.lists()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.desk.release(&self.interest);
    }
}
