//! Lists through the cache.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use tollgate_catalog::{Caching, ListKind};
use tollgate_model::{Code, Refusal};
use tollgate_telemetry::counters::{self, Asked, Cached};
use tollgate_upstream::Server;

use super::flights::{Landed, Pilot, Seat};
use super::key::{Ask, Reach, What, says_only};
use super::patience::Stand;
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
#[derive(Clone, Copy)]
struct Kind<'a> {
    ask: &'a Ask,
    rule: Rule,
    /// Whether an answer that is never fresh is kept too, since its server is late.
    for_need: bool,
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
    // Whoever wants this server's list and no other's waits for it, and so does whoever has to know it as it is.
    let goes_without = wanted.asks == Asks::Own && wanted.until.is_some() && !wanted.anew;
    let stand = goes_without.then(|| gateway.cache().patience.of(server));
    let (Some(rule), Some(what)) = (rule, what(inbound, wanted)) else {
        let fetched = match stand {
            Some(Stand::Silent(why)) => Box::pin(look_at(gateway, inbound, server, wanted, None, &why)).await,
            _ => Box::pin(fetch(gateway, inbound, permit, server, wanted, |_| false)).await,
        };
        return Ok(fetched.map_err(|fault| fault.refusal)?.map(|kept| Found::new(kept, From::Server)));
    };
    let ask = Ask::new(server, &inbound.caller, what);
    let for_need = matches!(stand, Some(Stand::Late));
    let kind = Kind { ask: &ask, rule, for_need };
    // On the heap, here and below: what is kept makes no list's state large.
    let alone = || Box::pin(alone(gateway, inbound, permit, server, wanted, kind));
    if wanted.anew {
        return in_time(server, wanted, alone()).await.map_err(|fault| fault.refusal);
    }
    let current = route::opened(server, &inbound.caller, permit).map(|route| Current::of(route.link()));
    let together = |reach| Box::pin(together(gateway, inbound, permit, server, wanted, kind, reach));
    let found = match (gateway.cache().look(&ask, &rule, current, Instant::now()), stand) {
        (Look::Fresh(kept), _) => {
            counters::cache_asked(Asked::List, Cached::Hit);
            return Ok(Some(Found::new(kept, From::Memory)));
        }
        (Look::Missing(_) | Look::Pass, Some(Stand::Silent(why))) => {
            let looked = Box::pin(look_at(gateway, inbound, server, wanted, Some(kind), &why)).await;
            looked.map(|kept| kept.map(|kept| Found::new(kept, From::Server)))
        }
        (Look::Missing(reach), Some(stand)) => {
            let epoch = gateway.cache().epoch(&ask);
            let older = gateway.cache().older(&ask, &rule, for_need, Instant::now());
            let soon = match stand {
                _ if older.is_none() => None,
                Stand::Well(patience) => Some(patience),
                // The fetch begins all the same, and goes on.
                Stand::Late | Stand::Silent(_) => Some(Duration::ZERO),
            };
            match (or_later(soon, in_time(server, wanted, together(reach))).await, older) {
                (Some(found), _) => found,
                // What the server has told of meanwhile ends what was kept.
                (None, Some(older)) if gateway.cache().epoch(&ask) == epoch => {
                    counters::cache_asked(Asked::List, Cached::Stale);
                    return Ok(Some(Found::new(older, From::Need)));
                }
                (None, _) => in_time(server, wanted, together(reach)).await,
            }
        }
        (Look::Missing(reach), None) => in_time(server, wanted, together(reach)).await,
        (Look::Pass, _) => {
            counters::cache_asked(Asked::List, Cached::Pass);
            in_time(server, wanted, alone()).await
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

/// A server that does not answer is looked at by one at a time, who waits for it as long as its lists usually take. Whoever else
/// asks hears why it does not.
async fn look_at(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &Server,
    wanted: Wanted<'_>,
    kind: Option<Kind<'_>>,
    why: &Arc<Refusal>,
) -> Result<Option<Arc<Kept>>, Fault> {
    let patience = &gateway.cache().patience;
    let unanswered = || {
        patience.went_without(server, wanted.kind);
        Fault { refusal: (**why).clone(), is_said: false }
    };
    let Some(look) = patience.look(server) else { return Err(unanswered()) };
    let (told, answer) = oneshot::channel();
    let (ask, rule) = match kind {
        Some(Kind { ask, rule, .. }) => (Some(ask.clone()), Some(rule)),
        None => (None, None),
    };
    let epoch = ask.as_ref().map_or(Epoch::NEVER, |ask| gateway.cache().epoch(ask));
    let kept = ask.zip(rule);
    let own = Own::of(gateway, inbound, server, wanted);
    gateway.spawn(async move {
        let _look = look;
        let Some(permit) = own.permit() else { return };
        let (Own { gateway, inbound, server, .. }, wanted) = (&own, own.wanted());
        let fetched = match &kept {
            Some((ask, rule)) => {
                let kind = Kind { ask, rule: *rule, for_need: false };
                fetch_and_keep(gateway, inbound, &permit, server, wanted, kind, epoch).await
            }
            None => fetch(gateway, inbound, &permit, server, wanted, |_| false).await,
        };
        let _ = told.send(fetched);
    });
    match timeout(patience.glance(server), answer).await {
        Ok(Ok(Ok(kept))) => Ok(kept),
        Ok(Ok(Err(fault))) => {
            patience.went_without(server, wanted.kind);
            Err(fault)
        }
        Ok(Err(_)) | Err(_) => Err(unanswered()),
    }
}

/// What comes, if it comes soon.
async fn or_later<T>(soon: Option<Duration>, coming: impl Future<Output = T>) -> Option<T> {
    match soon {
        Some(soon) => timeout(soon, coming).await.ok(),
        None => Some(coming.await),
    }
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

/// Fetches a page in time, and remembers how long that took.
async fn fetch(
    gateway: &Gateway,
    inbound: &Inbound,
    permit: &Permit,
    server: &Server,
    wanted: Wanted<'_>,
    keeps: impl Fn(&Kept) -> bool,
) -> Result<Option<Arc<Kept>>, Fault> {
    let began = Instant::now();
    let fetching = Box::pin(fetch::page(gateway, inbound, permit, server, wanted, keeps));
    let fetched = in_time(server, wanted, fetching).await;
    let fault = match &fetched {
        Ok(Some(_)) => None,
        // It answers, if not with a list.
        Err(fault) if fault.is_said => None,
        Err(fault) if speaks_against_it(&fault.refusal) => Some(&fault.refusal),
        // It was not asked, or is not to blame.
        Ok(None) | Err(_) => return fetched,
    };
    if wanted.asks == Asks::Own {
        let without = gateway.cache().patience.ended(server, began.elapsed(), fault);
        for kind in without {
            gateway.tell_of_list(server.id(), kind);
        }
    }
    fetched
}

/// The same, and keeps it for those who come later.
async fn fetch_and_keep(
    gateway: &Gateway,
    inbound: &Inbound,
    permit: &Permit,
    server: &Server,
    wanted: Wanted<'_>,
    kind: Kind<'_>,
    epoch: Epoch,
) -> Result<Option<Arc<Kept>>, Fault> {
    let fetched = fetch(gateway, inbound, permit, server, wanted, kind.keeps()).await;
    match &fetched {
        Ok(Some(kept)) => gateway.cache().keep_as(kind.ask, epoch, kept, &kind.rule, kind.for_need),
        Err(fault) if fault.refusal.code == Code::UpstreamAuth => gateway.cache().forget(server.number()),
        Ok(None) | Err(_) => {}
    }
    fetched
}

/// Fetches a page for one who asks, and keeps it for those who come later.
async fn alone(
    gateway: &Gateway,
    inbound: &Inbound,
    permit: &Permit,
    server: &Server,
    wanted: Wanted<'_>,
    kind: Kind<'_>,
) -> Result<Option<Found>, Fault> {
    let epoch = gateway.cache().epoch(kind.ask);
    let kept = fetch_and_keep(gateway, inbound, permit, server, wanted, kind, epoch).await?;
    Ok(kept.map(|kept| Found::new(kept, From::Server)))
}

/// Fetches a page for all who ask for it meanwhile.
async fn together(
    gateway: &Gateway,
    inbound: &Inbound,
    permit: &Permit,
    server: &Server,
    wanted: Wanted<'_>,
    kind: Kind<'_>,
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
        Landed::Answered(_) | Landed::Nothing | Landed::Refused(..) | Landed::Lost | Landed::Left => {
            Box::pin(alone(gateway, inbound, permit, server, wanted, kind)).await
        }
    }
}

/// Begins a fetch that goes on when whoever asked has left.
fn take_off(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &Server,
    wanted: Wanted<'_>,
    kind: Kind<'_>,
    (pilot, epoch): (Pilot, Epoch),
) {
    let (ask, rule, for_need) = (kind.ask.clone(), kind.rule, kind.for_need);
    let own = Own::of(gateway, inbound, server, wanted);
    gateway.spawn(async move {
        let Some(permit) = own.permit() else { return };
        let kind = Kind { ask: &ask, rule, for_need };
        let Own { gateway, inbound, server, .. } = &own;
        let fetching = fetch_and_keep(gateway, inbound, &permit, server, own.wanted(), kind, epoch);
        pilot.lands(match fetching.await {
            Ok(Some(kept)) => Landed::Answered(kept),
            Ok(None) => Landed::Nothing,
            Err(fault) => Landed::Refused(Arc::new(fault.refusal), fault.is_said),
        });
    });
}

/// What a fetch takes along that goes on when whoever asked has left. It asks policy for itself.
struct Own {
    gateway: Gateway,
    inbound: Inbound,
    server: Server,
    list: ListKind,
    cursor: Option<String>,
    asks: Asks,
    anew: bool,
}

impl Own {
    fn of(gateway: &Gateway, inbound: &Inbound, server: &Server, wanted: Wanted<'_>) -> Self {
        let param_headers = inbound.param_headers.clone();
        Self {
            gateway: gateway.clone(),
            inbound: Inbound { param_headers, ..inbound.at(&inbound.endpoint, &inbound.snapshot) },
            server: server.clone(),
            list: wanted.kind,
            cursor: wanted.cursor.map(str::to_owned),
            asks: wanted.asks,
            anew: wanted.anew,
        }
    }

    fn permit(&self) -> Option<Permit> {
        let (caller, endpoint) = (&self.inbound.caller, self.inbound.endpoint.name());
        policy::look(&self.gateway, caller, endpoint, self.server.name()).map(|(permit, _)| permit)
    }

    fn wanted(&self) -> Wanted<'_> {
        let Self { list: kind, asks, anew, .. } = *self;
        Wanted { kind, cursor: self.cursor.as_deref(), asks, anew, until: None }
    }
}

impl Kind<'_> {
    fn keeps(&self) -> impl Fn(&Kept) -> bool {
        let (rule, for_need) = (self.rule, self.for_need);
        move |kept| !kept.ttl(&rule).is_zero() || (for_need && kept.is_whole(&rule))
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
            | Code::UpstreamTooLarge
            | Code::Capacity
    )
}

/// Whether a refusal is one that its server is to blame for, and not how much there is to do.
fn speaks_against_it(refusal: &Refusal) -> bool {
    is_away(refusal) && refusal.code != Code::Capacity
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
