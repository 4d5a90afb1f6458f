//! Lists through the cache.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tollgate_catalog::Caching;
use tollgate_model::{Code, Refusal};
use tollgate_telemetry::counters::{self, Asked, Cached};
use tollgate_upstream::Server;

use super::flights::{Landed, Pilot, Seat};
use super::key::{Ask, Reach, What, says_only};
use super::settings::Rule;
use super::{Cache, Current, Epoch, Kept, Look};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::lists::fetch::{self, Asks, Fault, Wanted};
use crate::stages::{Permit, policy, route};

/// A page, and where it comes from.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) kept: Arc<Kept>,
    from: From,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// The server has just said it.
    Server,
    /// It said it some time ago.
    Memory,
    /// It said it too long ago, and cannot be asked.
    Need,
}

impl Found {
    fn new(kept: Arc<Kept>, from: From) -> Self {
        Self { kept, from }
    }

    /// Whether nothing of it is new.
    pub(crate) fn was_kept(&self) -> bool {
        self.from == From::Memory
    }

    /// How old it is, if it stands in for one that cannot be had.
    pub(crate) fn stale_age(&self) -> Option<Duration> {
        (self.from == From::Need).then(|| self.kept.age(Instant::now()))
    }

    /// What whoever gets it may be told of its keeping.
    pub(crate) fn caching(&self) -> Caching {
        let age = match self.from {
            From::Server => Duration::ZERO,
            From::Memory => self.kept.age(Instant::now()),
            From::Need => Duration::MAX,
        };
        self.kept.caching(age)
    }
}

/// What is asked, and by what rule its answer is kept.
struct Kind<'a> {
    ask: &'a Ask,
    rule: Rule,
}

/// One page of a server's list: kept, or fetched together with whoever else asks for it now. None if the server has no such
/// list at all.
pub(crate) async fn page(
    gateway: &Gateway,
    inbound: &Inbound,
    permit: &Permit,
    server: &Server,
    wanted: Wanted<'_>,
) -> Result<Option<Found>, Refusal> {
    let rule = inbound.snapshot.settings.cache.lists(server.id());
    let (Some(rule), Some(what)) = (rule, what(inbound, wanted)) else {
        let fetching = Box::pin(fetch::page(gateway, inbound, permit, server, wanted, |_| false));
        let fetched = in_time(server, wanted, fetching).await.map_err(|fault| fault.refusal)?;
        return Ok(fetched.map(|kept| Found::new(kept, From::Server)));
    };
    let ask = Ask::new(server, &inbound.caller, what);
    let kind = Kind { ask: &ask, rule };
    // On the heap, here and below: what is kept makes no list's state large.
    let alone = || Box::pin(alone(gateway, inbound, permit, server, wanted, &kind));
    if wanted.anew {
        return in_time(server, wanted, alone()).await.map_err(|fault| fault.refusal);
    }
    let current = route::opened(server, &inbound.caller, permit).map(|route| Current::of(route.link()));
    let found = match gateway.cache().look(&ask, &rule, current, Instant::now()) {
        Look::Fresh(kept) => {
            counters::cache_asked(Asked::List, Cached::Hit);
            return Ok(Some(Found::new(kept, From::Memory)));
        }
        Look::Pass => {
            counters::cache_asked(Asked::List, Cached::Pass);
            in_time(server, wanted, alone()).await
        }
        Look::Missing(reach) => {
            let together = Box::pin(together(gateway, inbound, permit, server, wanted, &kind, reach));
            in_time(server, wanted, together).await
        }
    };
    found.or_else(|fault| match stand_in(gateway.cache(), server, (&ask, &rule), &fault.refusal) {
        Some(kept) if !fault.is_said => {
            counters::cache_asked(Asked::List, Cached::Stale);
            Ok(Some(Found::new(kept, From::Need)))
        }
        _ => Err(fault.refusal),
    })
}

/// Waits as long as whoever asks can.
async fn in_time<T>(
    server: &Server,
    wanted: Wanted<'_>,
    fetching: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match wanted.until {
        Some(until) => timeout_at(until, fetching).await.unwrap_or_else(|_| Err(Fault::late(server))),
        None => fetching.await,
    }
}

/// What the request asks for; none if there is more in it than a key can tell apart.
fn what(inbound: &Inbound, wanted: Wanted<'_>) -> Option<What> {
    let is_plain = wanted.asks == Asks::Own
        || (says_only(&inbound.message, &["cursor"])
            && inbound.message.member("cursor").is_some() == wanted.cursor.is_some()
            && inbound.param_headers.as_ref().is_none_or(Vec::is_empty));
    if is_plain { What::list(wanted.kind, wanted.cursor) } else { None }
}

/// Fetches a page for one who asks, and keeps it for those who come later.
async fn alone(
    gateway: &Gateway,
    inbound: &Inbound,
    permit: &Permit,
    server: &Server,
    wanted: Wanted<'_>,
    kind: &Kind<'_>,
) -> Result<Option<Found>, Fault> {
    let epoch = gateway.cache().epoch(kind.ask);
    let kept = Box::pin(fetch::page(gateway, inbound, permit, server, wanted, kind.keeps())).await?;
    Ok(kept.map(|kept| {
        gateway.cache().keep(kind.ask, epoch, &kept, &kind.rule);
        Found::new(kept, From::Server)
    }))
}

/// Fetches a page for all who ask for it meanwhile.
async fn together(
    gateway: &Gateway,
    inbound: &Inbound,
    permit: &Permit,
    server: &Server,
    wanted: Wanted<'_>,
    kind: &Kind<'_>,
    reach: Reach,
) -> Result<Option<Found>, Fault> {
    let (wait, is_first) = match gateway.cache().board(kind.ask, reach) {
        (Seat::First(pilot, wait), epoch) => {
            counters::cache_asked(Asked::List, Cached::Miss);
            take_off(gateway, inbound, server, wanted, kind, (pilot, epoch));
            (wait, true)
        }
        (Seat::Other(wait), _) => {
            counters::cache_asked(Asked::List, Cached::Shared);
            (wait, false)
        }
        (Seat::Alone, _) => {
            return Box::pin(alone(gateway, inbound, permit, server, wanted, kind)).await;
        }
    };
    match wait.landed().await {
        Landed::Answered(kept) if is_first || Cache::may_have(kind.ask, &kept, &kind.rule, reach) => {
            Ok(Some(Found::new(kept, From::Server)))
        }
        Landed::Nothing if is_first => Ok(None),
        Landed::Refused(refusal, is_said) if is_first || !is_said => {
            Err(Fault { refusal: (*refusal).clone(), is_said })
        }
        // What came is not for this one.
        Landed::Answered(_) | Landed::Nothing | Landed::Refused(..) | Landed::Lost => {
            Box::pin(alone(gateway, inbound, permit, server, wanted, kind)).await
        }
    }
}

/// Begins a fetch that goes on when whoever asked has left. It asks policy for itself.
fn take_off(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &Server,
    wanted: Wanted<'_>,
    kind: &Kind<'_>,
    (pilot, epoch): (Pilot, Epoch),
) {
    let param_headers = inbound.param_headers.clone();
    let inbound = Inbound { param_headers, ..inbound.at(&inbound.endpoint, &inbound.snapshot) };
    let (own, server) = (gateway.clone(), server.clone());
    let (ask, rule) = (kind.ask.clone(), kind.rule);
    let cursor = wanted.cursor.map(str::to_owned);
    let (list, asks, anew) = (wanted.kind, wanted.asks, wanted.anew);
    gateway.spawn(async move {
        let gateway = own;
        let Some((permit, _)) =
            policy::look(&gateway, &inbound.caller, inbound.endpoint.name(), server.name())
        else {
            return;
        };
        let wanted = Wanted { kind: list, cursor: cursor.as_deref(), asks, anew, until: None };
        let kind = Kind { ask: &ask, rule };
        let landed = match fetch::page(&gateway, &inbound, &permit, &server, wanted, kind.keeps()).await {
            Ok(Some(kept)) => {
                gateway.cache().keep(&ask, epoch, &kept, &rule);
                Landed::Answered(kept)
            }
            Ok(None) => Landed::Nothing,
            Err(fault) => Landed::Refused(Arc::new(fault.refusal), fault.is_said),
        };
        pilot.lands(landed);
    });
}

impl Kind<'_> {
    fn keeps(&self) -> impl Fn(&Kept) -> bool {
        let rule = self.rule;
        move |kept| !kept.ttl(&rule).is_zero()
    }
}

/// Whether a refusal says that the server could not be asked, or gave no answer: nothing about whoever asked.
pub(super) fn is_away(refusal: &Refusal) -> bool {
    matches!(
        refusal.code,
        Code::UpstreamUnavailable
            | Code::UpstreamTimeout
            | Code::UpstreamClosed
            | Code::UpstreamProtocol
            | Code::Capacity
    )
}

/// What stands in where a server could not be asked. A credential that it takes no more ends everything that it said.
pub(super) fn stand_in(
    cache: &Cache,
    server: &Server,
    (ask, rule): (&Ask, &Rule),
    refusal: &Refusal,
) -> Option<Arc<Kept>> {
    if refusal.code == Code::UpstreamAuth {
        cache.forget(server.number());
    }
    if is_away(refusal) { cache.stand_in(ask, rule, Instant::now()) } else { None }
}
