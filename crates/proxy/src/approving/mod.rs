//! What this process knows of approvals beside what is stored: who waits for which, which rounds of a call may go on without
//! another one, and the tasks that stand for calls that wait.

mod held;
mod rounds;
mod tell;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tollgate_store::{Approval, ApprovalId, Approvals, Digest};
use tollgate_telemetry::counters::Kept;

use self::held::HeldTasks;
pub(crate) use self::held::{create, serve};
use self::rounds::Rounds;
use self::tell::News;
pub(crate) use self::tell::begin as begin_telling;
pub use self::tell::{Tell, TellBody, TellWay};

use crate::inbound::Inbound;
use crate::places::{Places, Taken};

/// What people have agreed to, and by which approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cleared {
    /// The approval that was used.
    pub(crate) id: ApprovalId,
    /// The digest of the very call.
    pub(crate) call: Digest,
    /// The groups of which people agreed.
    pub(crate) groups: Vec<Arc<str>>,
}

/// Who waits for whose approval.
#[derive(Debug, Default)]
pub(crate) struct Approvings {
    store: OnceLock<Arc<dyn Approvals>>,
    waiting: Arc<Mutex<HashMap<ApprovalId, watch::Sender<()>>>>,
    held: Places,
    rounds: Rounds,
    tasks: HeldTasks,
    told: OnceLock<mpsc::Sender<News>>,
}

impl Approvings {
    /// Where approvals are kept; none if they are kept nowhere.
    pub(crate) fn store(&self) -> Option<&Arc<dyn Approvals>> {
        self.store.get()
    }

    pub(crate) fn keep_in(&self, store: Arc<dyn Approvals>) {
        _ = self.store.set(store);
    }

    /// An approval stands otherwise than before: whoever waits for it looks.
    pub(crate) fn news(&self, id: &ApprovalId) {
        if let Some(waiting) = lock(&self.waiting).get(id) {
            waiting.send_replace(());
        }
    }

    /// Any may stand otherwise.
    pub(crate) fn news_of_all(&self) {
        for waiting in lock(&self.waiting).values() {
            waiting.send_replace(());
        }
    }

    /// Waits for news of an approval.
    pub(crate) fn wait_for(&self, id: &ApprovalId) -> Waiter {
        let mut waiting = lock(&self.waiting);
        let news = waiting.entry(id.clone()).or_insert_with(|| watch::Sender::new(())).subscribe();
        Waiter { id: id.clone(), news: Some(news), waiting: Arc::clone(&self.waiting) }
    }

    /// A place among the calls that are held; none if as many as may are.
    pub(crate) fn hold(&self, inbound: &Inbound) -> Option<Taken> {
        let settings = &inbound.snapshot.settings;
        let (all, own) = (settings.approvals.held_max, settings.approvals.held_per_principal_max);
        self.held.take(Kept::HeldCall, inbound.caller.owner(), settings.room(all, own))
    }

    /// The next round of a call that people have agreed to goes on without asking them again, once, and within this time.
    pub(crate) fn expect(&self, round: [u8; 20], cleared: Cleared, wait: Duration) {
        self.rounds.expect(round, cleared, wait);
    }

    /// What people have agreed to with the call that this is a round of. A round is good once.
    pub(crate) fn take_round(&self, round: &[u8; 20]) -> Option<Cleared> {
        self.rounds.take(round)
    }

    /// Has people told that an approval waits for them.
    pub(crate) fn tell(&self, approval: &Approval) {
        if let Some(told) = self.told.get() {
            tell::hand_over(told, News::Asked(Box::new(approval.clone())));
        }
    }

    /// Has people told what has become of an approval, whoever did that.
    pub(crate) fn stands(&self, approval: &Arc<Approval>) {
        if let Some(told) = self.told.get() {
            tell::hand_over(told, News::Stands(Arc::clone(approval)));
        }
    }
}

/// Waits for news of one approval.
pub(crate) struct Waiter {
    id: ApprovalId,
    news: Option<watch::Receiver<()>>,
    waiting: Arc<Mutex<HashMap<ApprovalId, watch::Sender<()>>>>,
}

impl Waiter {
    /// Waits until there is news since it was last asked.
    pub(crate) async fn news(&mut self) {
        if let Some(news) = &mut self.news
            && news.changed().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = lock(&self.waiting);
        self.news = None;
        if waiting.get(&self.id).is_some_and(|news| news.receiver_count() == 0) {
            waiting.remove(&self.id);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_hears_of_what_came_before_he_listened() {
        let approvings = Approvings::default();
        let id = ApprovalId::new("a");
        let (mut one, mut other) = (approvings.wait_for(&id), approvings.wait_for(&ApprovalId::new("b")));
        approvings.news(&id);
        one.news().await;
        assert!(tokio::time::timeout(Duration::from_millis(1), other.news()).await.is_err());
        approvings.news_of_all();
        other.news().await;
        drop((one, other));
        assert!(lock(&approvings.waiting).is_empty(), "nobody is kept who does not wait");
    }
}
