//! Reads and calls through the cache.
//!
//! Policy has allowed each of them, and limits have counted it, before anything is looked up: what is kept saves the way to
//! the server, and nothing else. The first of several equal requests goes as any other does, with its own record; the others
//! wait for what it comes to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use tollgate_mcp::{Change, Kind, Limits, Message, meta, methods};
use tollgate_model::{Code, Refusal, ServerName, Stage};
use tollgate_telemetry::counters::{self, Asked, Cached};
use tollgate_upstream::{Link, Server};

use super::flights::{Landed, Pilot, Seat};
use super::key::{Ask, What, says_only};
use super::pages::{is_away, stand_in};
use super::settings::Rule;
use super::{Cache, Current, Epoch, Kept, Look};
use crate::gateway::Gateway;
use crate::handling;
use crate::inbound::Inbound;
use crate::life;
use crate::lists::{STALE_KEY, stale};
use crate::mirror;
use crate::reply::Reply;
use crate::stages::{Admitted, Permit, Resolved, limits, policy, record, route};

/// How many may leave before those who waited for them go by themselves.
const TURNS_MAX: u32 = 4;

/// A request whose answer may be kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    rule: Rule,
    asked: Asked,
}

/// What is known of the answer of a request.
pub(crate) enum Taken {
    /// It is here.
    Answered(Reply),
    /// The request goes to its server, and what comes of it is kept.
    Goes(Box<Lead>),
}

/// A request whose answer is kept once it is here. Dropped, whoever waits for it goes without.
pub(crate) struct Lead {
    ask: Ask,
    case: Case,
    epoch: Epoch,
    pilot: Option<Pilot>,
}

/// Whether the answer of a request may be kept. Nearly none may: this is one look.
pub(crate) fn concerns(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Option<Case> {
    let (settings, server) = (&inbound.snapshot.settings, resolved.server().id());
    let (rule, asked, members): (_, _, &[&str]) = match inbound.message.method() {
        methods::RESOURCES_READ => (settings.cache.reads(server)?, Asked::Read, &["uri"]),
        methods::TOOLS_CALL => {
            let ttl = tool_ttl(gateway, inbound, resolved)?;
            (settings.cache.calls(server, ttl)?, Asked::Call, &["name", "arguments"])
        }
        _ => return None,
    };
    says_only(&inbound.message, members).then_some(Case { rule, asked })
}

/// How long results of a tool may be kept: only where the operator says so, of a tool that changes nothing however often it is
/// called.
fn tool_ttl(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Option<Duration> {
    let (settings, server, native) = (&inbound.snapshot.settings, resolved.server().id(), resolved.native()?);
    let ttl = handling::of_tool(settings, server, native).cache_ttl.filter(|ttl| !ttl.is_zero())?;
    let traits = handling::traits(gateway, settings, server, native);
    (traits.read_only && traits.idempotent).then_some(ttl)
}

/// Answers a request by what is kept, or by what another request like it comes to; or else says that it has to go.
pub(crate) async fn look_up(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    (permit, admitted): (&Permit, &Admitted),
    case: Case,
) -> Result<Taken, Refusal> {
    let (cache, server) = (gateway.cache(), resolved.server());
    let Some(what) = what(gateway, inbound, resolved, case).await? else {
        return Ok(Taken::Goes(Box::new(Lead::of_nothing(server, inbound, case))));
    };
    let ask = Ask::new(server, &inbound.caller, what);
    let given = |kept: Arc<Kept>| async move {
        give(gateway, inbound, resolved, (permit, admitted), &kept, None).await.map(Taken::Answered)
    };
    let alone = |ask: Ask| {
        let epoch = cache.epoch(&ask);
        Ok(Taken::Goes(Box::new(Lead { ask, case, epoch, pilot: None })))
    };
    let current = route::opened(server, &inbound.caller, permit).map(|route| Current::of(route.link()));
    let reach = match cache.look(&ask, &case.rule, current, Instant::now()) {
        Look::Fresh(kept) => {
            counters::cache_asked(case.asked, Cached::Hit);
            return given(kept).await;
        }
        Look::Pass => {
            counters::cache_asked(case.asked, Cached::Pass);
            return alone(ask);
        }
        Look::Missing(reach) => reach,
    };
    let patience = server.settings().timeouts.request;
    let until = Instant::now() + patience;
    let mut turns = 1;
    let landed = loop {
        let wait = match cache.board(&ask, reach) {
            (Seat::First(pilot, _), epoch) => {
                counters::cache_asked(case.asked, Cached::Miss);
                return Ok(Taken::Goes(Box::new(Lead { ask, case, epoch, pilot: Some(pilot) })));
            }
            (Seat::Alone, _) => return alone(ask),
            (Seat::Other(wait), _) => wait,
        };
        let Ok(landed) = timeout_at(until, wait.landed()).await else {
            let text = format!("the server did not answer the request within {} ms", patience.as_millis());
            return Err(Refusal::new(Stage::Dispatch, Code::UpstreamTimeout, text).of(server.name()));
        };
        // Policy may say something else by now, or an operator may have stopped it.
        policy::decide(gateway, inbound, resolved)?;
        match landed {
            // The next of them goes, and the others wait for that one.
            Landed::Left if turns < TURNS_MAX => turns += 1,
            landed => break landed,
        }
    };
    match landed {
        Landed::Answered(kept) if Cache::may_have(&ask, &kept, &case.rule, reach) => {
            counters::cache_asked(case.asked, Cached::Shared);
            given(kept).await
        }
        Landed::Refused(refusal, false) => {
            let lead = Lead { epoch: cache.epoch(&ask), ask, case, pilot: None };
            let refusal = (*refusal).clone();
            lead.failed(gateway, inbound, resolved, (permit, admitted), refusal).await.map(Taken::Answered)
        }
        // What came is not for this one.
        Landed::Answered(_) | Landed::Nothing | Landed::Refused(..) | Landed::Lost | Landed::Left => {
            alone(ask)
        }
    }
}

/// What a request asks for; none if it is too long to be told apart. The headers that repeat arguments have to say what the
/// body says here too.
async fn what(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    case: Case,
) -> Result<Option<What>, Refusal> {
    let Some(native) = resolved.native() else { return Ok(None) };
    let known = life::known_mirrors(gateway, inbound, resolved).await;
    let headers = mirror::headers_for(inbound, resolved, known.as_deref())?;
    Ok(match case.asked {
        Asked::Call => Some(What::call(native, inbound.record.arguments().as_ref(), &headers)),
        Asked::Read if headers.is_empty() => What::read(native),
        Asked::Read | Asked::List => None,
    })
}

impl Lead {
    /// Of a request of which nothing can be kept.
    fn of_nothing(server: &Server, inbound: &Inbound, case: Case) -> Self {
        let ask = Ask::new(server, &inbound.caller, What::Read(Arc::from("")));
        let rule = Rule { bytes_max: 0, ..case.rule };
        Self { ask, case: Case { rule, ..case }, epoch: Epoch::NEVER, pilot: None }
    }

    /// The server has answered for good: keeps it, if it may be kept, and gives it to those who wait.
    pub(crate) fn keep(self, gateway: &Gateway, link: &Link, message: &Message) {
        let is_good = message.kind() == Kind::Result
            && message.member("isError").is_none_or(|span| span.of(message.bytes()) != b"true")
            && message.meta_member(meta::RELATED_TASK).is_none();
        let kept = Kept::new(message.clone(), link, self.ask.what().part().capability());
        if !is_good {
            if let Some(pilot) = self.pilot {
                pilot.lands(Landed::Lost);
            }
            return;
        }
        let is_kept = !kept.ttl(&self.case.rule).is_zero();
        let kept = Arc::new(if is_kept { kept.compact() } else { kept });
        gateway.cache().keep(&self.ask, self.epoch, &kept, &self.case.rule);
        if let Some(pilot) = self.pilot {
            pilot.lands(Landed::Answered(kept));
        }
    }

    /// The server could not be asked: what is kept beyond its time stands in, if there is anything.
    pub(crate) async fn failed(
        self,
        gateway: &Gateway,
        inbound: &Inbound,
        resolved: &Resolved,
        (permit, admitted): (&Permit, &Admitted),
        refusal: Refusal,
    ) -> Result<Reply, Refusal> {
        if let Some(pilot) = self.pilot {
            let is_ours = is_away(&refusal);
            pilot.lands(if is_ours {
                Landed::Refused(Arc::new(refusal.clone()), false)
            } else {
                Landed::Lost
            });
        }
        let found = stand_in(gateway.cache(), resolved.server(), (&self.ask, &self.case.rule), &refusal);
        let Some(kept) = found else { return Err(refusal) };
        policy::decide(gateway, inbound, resolved)?;
        counters::cache_asked(self.case.asked, Cached::Stale);
        let age = kept.age(Instant::now());
        give(gateway, inbound, resolved, (permit, admitted), &kept, Some(age)).await
    }
}

/// Gives a request what is kept, on record as that.
async fn give(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    (permit, admitted): (&Permit, &Admitted),
    kept: &Kept,
    stale: Option<Duration>,
) -> Result<Reply, Refusal> {
    let server = resolved.server();
    let message = as_of_now(kept, server.name(), stale);
    let age = kept.age(Instant::now());
    record::from_cache(gateway, inbound, (permit, admitted), &message, (kept.era, age)).await?;
    limits::pay(inbound, resolved, admitted, &message);
    life::shown(gateway, inbound, resolved, (kept.era, kept.info.as_ref()), &message).await
}

/// What is kept, with what is left of its time.
fn as_of_now(kept: &Kept, server: &ServerName, age: Option<Duration>) -> Message {
    let message = &kept.message;
    let mut edit = message.edit();
    if let Some(age) = age {
        message.change_meta(&mut edit, &[Change::Set(STALE_KEY, Bytes::from(stale([(server, age)])))]);
    }
    if kept.says_how_long() {
        let left = if age.is_some() { 0 } else { kept.caching(kept.age(Instant::now())).ttl_ms };
        message.change_body(&mut edit, &[Change::Set("ttlMs", Bytes::from(left.to_string()))]);
    } else if age.is_none() {
        return message.clone();
    }
    // What was valid stays valid; were it not, the answer goes as the server sent it.
    let limits = Limits { bytes_max: usize::MAX, depth_max: usize::MAX };
    Message::parse(edit.finish().into_bytes(), &limits).unwrap_or_else(|_| message.clone())
}
