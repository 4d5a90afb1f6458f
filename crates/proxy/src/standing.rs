//! What is open when something is taken back: whoever was let in stays in only as long as it would still be let in.
//!
//! Each request proves itself, and remembers by a [`Mark`] up to when nothing was taken back from it. Whenever something
//! may have been (the stored state has changed, the configuration was applied anew) the count goes on, and whoever waits
//! looks again. So a request that is answered at once compares two numbers, and a session that idles does nothing.
//!
//! A proof that ends by itself is another matter: streams that only listen end with it, what is under way may finish.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Sleep;
use tollgate_model::{Caller, Principal, Proof, Refusal, ServerName, Timestamp};

use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::stages::block;
use crate::stages::identify::{self, Identified};

/// The longest that a timer waits before it looks at the clock again, which may have been set meanwhile.
const LOOK: Duration = Duration::from_mins(1);

/// How often something may have been taken back.
#[derive(Debug)]
pub(crate) struct Standing {
    count: AtomicU64,
    changes: watch::Sender<u64>,
}

/// A moment in what was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u64);

/// The latest that a client proved of itself: what is done for it beside its requests is done for that.
pub(crate) type Latest = Arc<ArcSwap<Principal>>;

impl Default for Standing {
    fn default() -> Self {
        Self { count: AtomicU64::new(0), changes: watch::Sender::new(0) }
    }
}

impl Standing {
    /// Now.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.count.load(Ordering::Acquire))
    }

    /// Waits until something may have been taken back since.
    async fn moved_on(&self, since: Mark) {
        let mut changes = self.changes.subscribe();
        // It ends only with the gateway.
        let _ = changes.wait_for(|count| *count > since.0).await;
    }

    /// Something may have been taken back: everyone looks again.
    pub(crate) fn look_again(&self) {
        let count = self.count.fetch_add(1, Ordering::AcqRel) + 1;
        self.changes.send_modify(|known| *known = (*known).max(count));
    }
}

impl Gateway {
    /// Whether what this principal proved was taken back. A proof that has ended by itself was not.
    pub(crate) fn is_taken_back(&self, who: &Principal) -> bool {
        let identity = &self.snapshot().identity;
        match who.proof {
            Proof::Local => !identity.is_off() && !self.is_on_stdio(),
            _ if identity.is_off() => true,
            _ if identity.is_standing(who) => false,
            _ => {
                let lasting = Principal { expires: None, ..who.clone() };
                !who.is_expired(Timestamp::now()) || !identity.is_standing(&lasting)
            }
        }
    }

    /// When what this principal proved ends. A key that is replaced by another goes on for a while.
    fn ends(&self, who: &Principal) -> Option<Timestamp> {
        let replaced = match &who.proof {
            Proof::Key(id) => {
                self.snapshot().identity.follower().now().key_of(id).and_then(|key| key.expires)
            }
            _ => None,
        };
        who.expires.into_iter().chain(replaced).min()
    }

    /// Whether what this principal proved was taken back since. Costs next to nothing where nothing was.
    pub(crate) fn was_taken_back(&self, who: &Principal, since: Mark) -> bool {
        self.standing().mark() != since && self.is_taken_back(who)
    }

    /// Whether nothing goes on for this principal: what it proved was taken back, or an operator has stopped it.
    pub(crate) fn is_let_out(&self, who: &Principal) -> bool {
        self.is_taken_back(who) || block::admit(self, who).is_err()
    }

    /// Waits until nothing of a server goes on for a caller; for ever if that does not come.
    pub(crate) async fn let_out(&self, caller: &Caller, server: &ServerName, as_of: Mark) {
        let mut seen = as_of;
        loop {
            self.standing().moved_on(seen).await;
            seen = self.standing().mark();
            if self.is_taken_back(&caller.who) || block::server(self, caller, server).is_err() {
                return;
            }
        }
    }

    /// Waits until a request must not go on, and says why: what its caller proved is taken back, or an operator has stopped
    /// it. For ever if neither comes.
    pub(crate) async fn cut(&self, inbound: &Inbound) -> Refusal {
        let mut seen = inbound.as_of;
        loop {
            self.standing().moved_on(seen).await;
            seen = self.standing().mark();
            if self.is_taken_back(&inbound.caller.who) {
                return identify::taken_back();
            }
            if let Some(refusal) = block::cuts(self, inbound) {
                return refusal;
            }
        }
    }
}

/// Holds a stream to who it is for.
pub(crate) struct Leash {
    gateway: Gateway,
    who: Latest,
    seen: Mark,
    moved_on: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Whether it ends with a proof that ends by itself.
    ends: bool,
    /// Whether it ends as soon as who it is for is stopped. Others first say so to whoever waits for an answer.
    is_cut: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Leash {
    /// For a stream that only listens: it ends with the proof of the request that opened it.
    pub(crate) fn of_listener(gateway: &Gateway, opener: &Identified) -> Self {
        let who = Arc::new(ArcSwap::new(Arc::clone(opener.who())));
        Self { is_cut: true, ..Self::of_latest(gateway, who, opener.as_of()) }
    }

    /// For the answer to a request, which may outlive a proof that ends by itself.
    pub(crate) fn of_answer(gateway: &Gateway, who: &Arc<Principal>, as_of: Mark) -> Self {
        let who = Arc::new(ArcSwap::new(Arc::clone(who)));
        let gateway = gateway.clone();
        Self { gateway, who, seen: as_of, moved_on: None, ends: false, is_cut: false, timer: None }
    }

    /// For a stream beside which its client sends requests: it ends with the latest proof among them. Where its client is
    /// stopped, its connection ends it.
    pub(crate) fn of_latest(gateway: &Gateway, who: Latest, as_of: Mark) -> Self {
        let gateway = gateway.clone();
        let mut leash =
            Self { gateway, who, seen: as_of, moved_on: None, ends: true, is_cut: false, timer: None };
        leash.set_timer();
        leash
    }

    /// Ready when the stream has to end; else the reader is woken when it comes to that. To be asked before anything is
    /// given out.
    pub(crate) fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = self.gateway.standing().mark();
            if now != self.seen {
                let who = self.who.load();
                // The answer to who is stopped says so, and ends by itself.
                if self.gateway.is_taken_back(&who) || (self.is_cut && self.gateway.is_let_out(&who)) {
                    return Poll::Ready(());
                }
                (self.seen, self.moved_on) = (now, None);
                self.set_timer();
            }
            let (gateway, seen) = (&self.gateway, self.seen);
            let moved_on = self.moved_on.get_or_insert_with(|| {
                let gateway = gateway.clone();
                Box::pin(async move { gateway.standing().moved_on(seen).await })
            });
            if moved_on.as_mut().poll(cx).is_pending() {
                return self.poll_expired(cx);
            }
            self.moved_on = None;
        }
    }

    fn set_timer(&mut self) {
        let ends = self.ends.then(|| self.gateway.ends(&self.who.load())).flatten();
        self.timer = ends.map(|ends| Box::pin(tokio::time::sleep(until(ends))));
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(timer) = &mut self.timer {
            std::task::ready!(timer.as_mut().poll(cx));
            // Meanwhile the client may have proved anew who it is.
            if self.gateway.ends(&self.who.load()).is_some_and(|ends| ends <= Timestamp::now()) {
                return Poll::Ready(());
            }
            self.set_timer();
        }
        Poll::Pending
    }
}

/// Waits until what somebody proved ends by itself; for ever if it does not.
pub(crate) async fn ended(gateway: &Gateway, who: &Principal) {
    loop {
        let seen = gateway.standing().mark();
        let ends = gateway.ends(who);
        if ends.is_some_and(|ends| ends <= Timestamp::now()) {
            return;
        }
        let timer = async {
            match ends {
                Some(ends) => tokio::time::sleep(until(ends)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = gateway.standing().moved_on(seen) => {}
            () = timer => {}
        }
    }
}

/// How long to sleep before looking at the clock again.
fn until(expires: Timestamp) -> Duration {
    // A timer may be early by less than a millisecond.
    (expires.since(Timestamp::now()) + Duration::from_millis(1)).min(LOOK)
}
