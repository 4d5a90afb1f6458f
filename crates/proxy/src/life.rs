//! The life of a request, read top to bottom. The order is the security argument; `docs/REQUEST.md` draws it.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tollgate_catalog::{ListKind, Mirrored, uris};
use tollgate_guard::outside::Heard;
use tollgate_ledger::Outcome;
use tollgate_mcp::{Message, Span, codes, methods};
use tollgate_model::{Code, Era, Refusal, ServerId, Stage};
use tollgate_upstream::{Link, Traffic, Waits};

use crate::again::{self, Again};
use crate::aside;
use crate::bridge::{self, Answered, Beside, Round};
use crate::cache::{self, Taken};
use crate::gateway::Gateway;
use crate::hello;
use crate::inbound::Inbound;
use crate::input::{self, Brought, Retry};
use crate::lists;
use crate::logging;
use crate::mirror;
use crate::onward::Onward;
use crate::reply::Reply;
use crate::stages::approve::{self, Clearing};
use crate::stages::dispatch::{self, Departure, Listener, Sent};
use crate::stages::policy::Considered;
use crate::stages::record::{self, Effect, Ending, Lap};
use crate::stages::route::Spot;
use crate::stages::{
    Admitted, Permit, Route, guard, limits, outside, pins, policy, resolve, route, schema, size,
};
use crate::subscriptions;
use crate::tasks::{self, Plan};

/// Answers a request: always with exactly one reply, which is given back once its outcome is on record.
pub(crate) async fn answer(gateway: &Gateway, inbound: &Inbound) -> Reply {
    let _ending = Ending::of(gateway, inbound); // also where nobody waits for the answer any more
    let answer = match (inbound.message.method(), inbound.era()) {
        (
            methods::TOOLS_CALL
            | methods::RESOURCES_READ
            | methods::PROMPTS_GET
            | methods::COMPLETION_COMPLETE,
            _,
        ) => carry(gateway, inbound).await,
        // On the heap, here and below: what is rare must not make every call's state large.
        _ => Box::pin(beside(gateway, inbound)).await,
    };
    record::ends(gateway, inbound, answer).await
}

/// Answers what is no call, read, prompt or completion.
async fn beside(gateway: &Gateway, inbound: &Inbound) -> Result<Reply, Refusal> {
    let admitted = limits::admit_beside(gateway, inbound).await?;
    let answer = match (inbound.message.method(), inbound.era()) {
        (methods::PING, Era::Legacy) => Ok(Reply::result(&inbound.id, b"{}")),
        (methods::LOGGING_SET_LEVEL, Era::Legacy) => Box::pin(logging::set_level(gateway, inbound)).await,
        (methods::SUBSCRIPTIONS_LISTEN, Era::Modern) => {
            Box::pin(subscriptions::listen(gateway, inbound)).await
        }
        (methods::RESOURCES_SUBSCRIBE, Era::Legacy) => {
            Box::pin(subscriptions::subscribe(gateway, inbound)).await
        }
        (methods::RESOURCES_UNSUBSCRIBE, Era::Legacy) => {
            Box::pin(subscriptions::unsubscribe(gateway, inbound)).await
        }
        (methods::SERVER_DISCOVER, Era::Modern) => Box::pin(hello::discover(gateway, inbound)).await,
        (
            methods::TASKS_GET
            | methods::TASKS_UPDATE
            | methods::TASKS_CANCEL
            | methods::TASKS_RESULT
            | methods::TASKS_LIST,
            _,
        ) => Box::pin(tasks::serve(gateway, inbound)).await,
        (method, _) => match ListKind::of_method(method) {
            Some(kind) => Box::pin(lists::list(gateway, inbound, kind)).await,
            None => Err(Refusal::new(Stage::Envelope, Code::MethodNotFound, "Method not found")),
        },
    };
    answer.map(|reply| reply.holding(admitted.as_ref()))
}

/// Carries one call, read, prompt or completion from admission to reply.
async fn carry(gateway: &Gateway, inbound: &Inbound) -> Result<Reply, Refusal> {
    if aside::is_asked(inbound) {
        return Box::pin(aside::read(gateway, inbound)).await; // a page of a result that was too large
    }
    let mut resolved = resolve::resolve(gateway, inbound).await?; // what is really meant; pinned arguments put in
    inbound.record.means(inbound, &resolved);
    guard::knows(inbound, &resolved); // what is said of its tool
    inbound.record.lap(Lap::Resolve);
    let restored = guard::restored(gateway, inbound, &resolved).await; // texts in place of the names that stand for them
    let inbound = restored.as_deref().unwrap_or(inbound);
    let brought = Brought::read(gateway, inbound, &resolved); // which call it goes on with
    let mut considered = policy::consider(gateway, inbound, &resolved)?; // on exactly what will leave
    resolve::refuse_look_alikes(inbound, &resolved)?; // of pinned arguments
    pins::settle(gateway, inbound, &resolved).await?; // defined as it was approved
    let mut held = Vec::new(); // what people have to agree to, whatever policy says
    let changed = guard::arguments(gateway, inbound, &resolved, &mut held).await?; // what must not leave
    let inbound = changed.as_deref().unwrap_or(inbound);
    if changed.is_some() {
        considered = policy::consider(gateway, inbound, &resolved)?; // on what leaves now
        resolve::refuse_look_alikes(inbound, &resolved)?;
    }
    if outside::hears(gateway, inbound, &resolved, Heard::Arguments)
        && Box::pin(outside::arguments(gateway, inbound, &mut resolved, &mut held)).await?
    {
        considered = policy::consider(gateway, inbound, &resolved)?; // on what leaves now
    }
    if let Some(rule) = schema::looks_at(inbound, &resolved)
        && Box::pin(schema::arguments(gateway, inbound, &mut resolved, rule)).await?
    {
        // Arguments that their tool does not know are left out, so that something else will leave.
        inbound.record.means(inbound, &resolved);
        considered = policy::consider(gateway, inbound, &resolved)?;
    }
    size::arguments(gateway, inbound, &resolved)?;
    held.extend(guard::demanded(gateway, inbound, &resolved, (considered.obligations(), true))?);
    let considered = approve::hold(gateway, inbound, &resolved, considered, held); // what people have to agree to
    let admitted = limits::admit(gateway, inbound, &resolved, brought.round()).await?; // how often, and how many at once
    inbound.record.lap(Lap::Policy);
    let permit = match considered {
        Considered::Permit(permit) => permit,
        // Did people agree? What waits for them waits here, and is decided on again after that.
        Considered::Needs(needs) => {
            let clearing = approve::clear(gateway, inbound, &resolved, needs, (&admitted, &brought));
            match Box::pin(clearing).await? {
                Clearing::Goes(permit) => permit,
                Clearing::Waits(reply) => return Ok(reply.holding(Some(&admitted))),
                Clearing::Edited(edited) => {
                    drop(admitted); // it is counted with the arguments that leave
                    return carry_edited(gateway, &edited).await;
                }
            }
        }
    };
    let no_responses = brought.has_seen_approval(inbound).is_some(); // what its user said was said to the gateway
    let retry = Retry::of(gateway, inbound, &resolved, brought)?;
    let mut lead = None; // of those who want the same, where the answer may be kept
    if matches!(retry, Retry::First)
        && let Some(case) = cache::concerns(gateway, inbound, &resolved)
    {
        let looked = cache::look_up(gateway, inbound, &resolved, (&permit, &admitted), case);
        match Box::pin(looked).await? {
            Taken::Answered(reply) => return Ok(reply.holding(Some(&admitted))),
            Taken::Goes(first) => lead = Some(first),
        }
    }
    let attempted = match retry {
        Retry::First | Retry::Again => {
            let round = Round { no_responses, ..Round::default() };
            attempt(gateway, inbound, &resolved, (&permit, &admitted), &round).await
        }
        Retry::Server(state, replica) => {
            let round = Round { state: Some(state), replica, ..Round::default() };
            attempt(gateway, inbound, &resolved, (&permit, &admitted), &round).await
        }
        Retry::Parked(parked) => {
            Box::pin(input::take_up(gateway, inbound, &resolved, (&permit, &admitted), *parked)).await
        }
    };
    let (route, sent) = match (attempted, lead) {
        (Ok((route, sent)), lead) => {
            if let (Sent::Response(message), Some(lead)) = (&sent, lead)
                && is_final(inbound, message, route.link())
            {
                lead.keep(gateway, route.link(), message);
            }
            (route, sent)
        }
        (Err(refusal), Some(lead)) => {
            let stale = lead.failed(gateway, inbound, &resolved, (&permit, &admitted), refusal);
            return Box::pin(stale).await.map(|reply| reply.holding(Some(&admitted)));
        }
        (Err(refusal), None) => return Err(refusal),
    };
    let answer = match &sent {
        Sent::Response(message) if is_final(inbound, message, route.link()) => {
            respond(gateway, inbound, &resolved, &route, message).await
        }
        // What is rare, on the heap.
        _ => Box::pin(go_on(gateway, inbound, &resolved, &admitted, route, sent)).await,
    };
    answer.map(|reply| reply.holding(Some(&admitted)))
}

/// Carries a call with the arguments that an approver has put in place of its own: from the beginning, like any other.
fn carry_edited<'a>(
    gateway: &'a Gateway,
    edited: &'a Inbound,
) -> Pin<Box<dyn Future<Output = Result<Reply, Refusal>> + Send + 'a>> {
    Box::pin(carry(gateway, edited))
}

/// Whether a response is what the client waits for: no question, and no task.
fn is_final(inbound: &Inbound, message: &Message, link: &Link) -> bool {
    !input::asks_for_input(message, link.era())
        && !asks_for_urls(message)
        && !tasks::is_created(inbound, message, link)
}

/// Carries a request on whose server asks something first, or makes a task of it.
async fn go_on(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &resolve::Resolved,
    admitted: &Admitted,
    mut route: Route,
    mut sent: Sent,
) -> Result<Reply, Refusal> {
    let server = resolved.server().id();
    let mut followed = false;
    loop {
        let message = match sent {
            Sent::Response(message) => message,
            Sent::Paused(paused) => return input::park(gateway, inbound, server, route, paused),
        };
        let message = if is_final(inbound, &message, route.link()) {
            message
        } else {
            // What asks something, or has become a task. What must not arrive of answers is seen to as they are shown.
            outside::cleaned(gateway, inbound, resolved, message).await?
        };
        (route, sent) = match (route.link().era(), inbound.era()) {
            // The call has become a task, and its client cannot follow it.
            _ if !followed && tasks::must_be_followed(inbound, resolved, &message, route.link()) => {
                followed = true;
                let ended = Box::pin(tasks::follow(gateway, inbound, resolved, route, message)).await?;
                if let Sent::Response(message) = &ended.1 {
                    limits::pay_result(inbound, resolved, admitted, message);
                }
                ended
            }
            (Era::Modern, Era::Legacy) if input::asks_for_input(&message, Era::Modern) => {
                let (route, message) =
                    Box::pin(input::drive(gateway, inbound, resolved, admitted, (route, message))).await?;
                (route, Sent::Response(message))
            }
            (Era::Modern, Era::Modern) if input::asks_for_input(&message, Era::Modern) => {
                return input::pass(gateway, inbound, server, route.link(), &message);
            }
            (Era::Legacy, Era::Modern) if asks_for_urls(&message) => {
                return input::urls(gateway, inbound, server, route.link(), &message);
            }
            _ => return respond(gateway, inbound, resolved, &route, &message).await,
        };
    }
}

/// Sends a request, and again where it failed and that can do no harm.
pub(crate) async fn attempt(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &resolve::Resolved,
    (permit, admitted): (&Permit, &Admitted),
    round: &Round,
) -> Result<(Route, Sent), Refusal> {
    let server = resolved.server();
    let mut again = Again::of(inbound, resolved).going_on(round.goes_on());
    let mut looked_up = false;
    let mut spot = Spot::on(round.replica.as_deref());
    loop {
        if again.is_again() || looked_up {
            policy::decide(gateway, inbound, resolved)?;
        }
        let berth = route::enter(server, Traffic::Calls, again.until()).await?; // a place among those under way there
        let known = known_mirrors(gateway, inbound, resolved).await;
        let param_headers = mirror::headers_for(inbound, resolved, known.as_deref())?; // headers say what the body says
        let opening = route::open_for(server, &inbound.caller, inbound.message.method(), spot, permit);
        let mut route = again.in_time(opening).await?; // which session or process
        let plan = tasks::plan(gateway, inbound, resolved, route.link()).await; // whether the call may become a task
        if plan == Plan::Keep && route.link().is_leased() {
            let opening = route::open(server, &inbound.caller, permit);
            route = Box::pin(again.in_time(opening)).await?; // where the task can be found again
        }
        let responses = bridge::responses(inbound, route.link().era(), round);
        if inbound.record.was_approved() {
            approve::again(gateway, inbound, resolved)?; // getting here may have taken a while
        }
        let (permit, link) = (Some(permit), Some(route.link()));
        let effect = Effect { permit, link, responses, admitted: Some(admitted), ..Effect::default() };
        let receipt = record::intend(gateway, inbound, effect).await?; // on record before any effect
        let departure = depart(inbound, resolved, &route, (param_headers, again.begin()), round, plan);
        let listener = Listener::of(gateway, inbound).holding(admitted, &berth);
        inbound.record.sends(departure.body.len());
        // On the heap: it has the exchange and its trace in it, and would be the largest part of every call's state.
        let sent = dispatch::send(server.id(), &route, departure, Some(&listener), receipt); // no Receipt, no call
        let sent = Box::pin(sent).await;
        match &sent {
            Ok(Sent::Response(message)) => {
                limits::pay(inbound, resolved, admitted, message);
                inbound.record.answered(inbound, message, route.link().era());
            }
            Ok(Sent::Paused(_)) => inbound.record.comes_to(Outcome::InputRequired),
            Err(error) => inbound.record.failed(error),
        }
        match sent {
            // The tool's schema is not what it was: look it up, and compare or make the headers again, once.
            Ok(Sent::Response(message))
                if mirror::is_mismatch(&message, route.link().era()) && !looked_up && is_call(inbound) =>
            {
                looked_up = true;
                Box::pin(lists::learn(gateway, inbound, server.name(), ListKind::Tools)).await?;
            }
            Ok(sent) => return Ok((route, sent)),
            Err(error) => {
                let was_told = listener.was_told();
                drop(berth);
                let is_harmless = || {
                    let link = route.link();
                    !was_told && again::is_harmless(gateway, inbound, resolved, link, (plan, round))
                };
                if !Box::pin(again.pause(gateway, &error, is_harmless)).await {
                    return Err(error.refusal(server.name()));
                }
                if !error.is_stale() {
                    spot.leave(route.link());
                }
            }
        }
    }
}

/// The server's response as the client gets it.
async fn respond(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &resolve::Resolved,
    route: &Route,
    message: &Message,
) -> Result<Reply, Refusal> {
    let server = resolved.server().id();
    if guard::may_change_results(gateway, &inbound.snapshot)
        || gateway.limits().are_budgets()
        || inbound.snapshot.settings.looks_at_results()
    {
        tasks::remember_tool(gateway, inbound, resolved, route.link(), message);
    }
    tasks::remember_home(gateway, inbound, server, route.link(), message);
    if tasks::is_created(inbound, message, route.link()) {
        return tasks::created(gateway, inbound, server, route, message);
    }
    tasks::remember(gateway, inbound, server, message);
    let link = route.link();
    shown(gateway, inbound, resolved, (link.era(), link.hello().info.as_ref()), message).await
}

/// What a server of this era, which says this of itself, has answered now or before, as this client gets it.
pub(crate) async fn shown(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &resolve::Resolved,
    speaker: (Era, Option<&Bytes>),
    message: &Message,
) -> Result<Reply, Refusal> {
    let server = resolved.server().id();
    let said = message;
    let clean = guard::result(gateway, inbound, resolved, said).await?; // what must not arrive
    let message = clean.as_deref().unwrap_or(said);
    let cleaner = if outside::hears(gateway, inbound, resolved, Heard::Result) {
        Box::pin(outside::result(gateway, inbound, resolved, message)).await?
    } else {
        None
    };
    let message = cleaner.as_deref().unwrap_or(message);
    let left = if clean.is_some() || cleaner.is_some() {
        let tool = resolved.native().filter(|_| inbound.is_tool_call());
        schema::left(gateway, inbound, resolved, tool, (said, message, Message::body))?
    } else {
        None
    };
    let message = left.as_deref().unwrap_or(message);
    if !tasks::is_asked_for(inbound, message) {
        schema::result(gateway, inbound, resolved, message)?; // what its tool declares
    }
    let smaller = size::result(gateway, inbound, resolved, message)?; // no larger than allowed
    let message = smaller.as_deref().unwrap_or(message);
    let stand_ins = stand_ins(gateway, inbound, server, message)?;
    let (era, info) = speaker;
    let info = if era == Era::Legacy { guard::info(gateway, inbound, server, info) } else { info.cloned() };
    bridge::response(&Answered::from(inbound, (era, info.as_ref()), message).with(stand_ins))
        .map_err(|refusal| refusal.of(server.name()))
}

fn asks_for_urls(message: &Message) -> bool {
    message.error_code() == Some(i64::from(codes::URL_ELICITATION_REQUIRED))
}

fn is_call(inbound: &Inbound) -> bool {
    inbound.message.method() == methods::TOOLS_CALL
}

/// Which arguments of the called tool are repeated as headers. Headers that fit no known tool are a reason to read the
/// server's list; if that fails they are forwarded as they are.
pub(crate) async fn known_mirrors(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &resolve::Resolved,
) -> Option<Arc<[Mirrored]>> {
    let has_headers = inbound.param_headers.as_ref().is_some_and(|headers| !headers.is_empty());
    let mirrors = gateway.mirrors();
    if !is_call(inbound) || (!has_headers && mirrors.is_empty()) {
        return None;
    }
    let (server, native) = (resolved.server().id(), resolved.native()?);
    let known = mirrors.of(server, native);
    if known.is_none() && has_headers && mirrors.may_learn(server) {
        let _ = Box::pin(lists::learn(gateway, inbound, server.name(), ListKind::Tools)).await;
        return mirrors.of(server, native);
    }
    known
}

fn depart(
    inbound: &Inbound,
    resolved: &resolve::Resolved,
    route: &Route,
    (param_headers, waits): (Vec<(HeaderName, HeaderValue)>, Waits),
    round: &Round,
    plan: Plan,
) -> Departure {
    let link = route.link();
    let id = link.mint();
    let log_level = inbound.log_level();
    let client = plan.client(&inbound.caller.client);
    let own = plan.round(inbound, round);
    let round = own.as_ref().unwrap_or(round);
    let onward = Onward::of(&inbound.record);
    let beside = Beside { log_level, onward: Some(&onward) };
    let body =
        bridge::request(&inbound.message, &client, link.revision(), id, resolved.target(), round, &beside);
    let method = inbound.message.method();
    Departure {
        id,
        method: Cow::Owned(method.to_owned()),
        native: methods::name_param(method).and(resolved.native()).map(str::to_owned),
        param_headers,
        body,
        waits,
        log_level,
        onward: Some(onward),
    }
}

/// What must not reach this client as the server wrote it: the ids of tasks, and URIs that another server behind this
/// endpoint has too.
pub(crate) fn stand_ins(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerId,
    message: &Message,
) -> Result<Vec<(Span, String)>, Refusal> {
    let mut stand_ins = tasks::ids(gateway, inbound, server, message)?;
    // Only what a list has shown can collide; without a list the client knows no stand-ins either.
    if inbound.endpoint.native_server().is_some() {
        return Ok(stand_ins);
    }
    let seen = lists::known_uris(gateway, inbound, message);
    // A client that used one is answered in it, whatever is remembered.
    let used = inbound.message.text("uri").filter(|uri| uris::read_back(uri).is_some());
    if used.is_some() || seen.may_collide() {
        let named = bridge::resource_uris(message).into_iter();
        let named = named.map(|(place, uri)| (place, uris::rewrite(server.name(), &uri), uri));
        let colliding = named.filter(|(_, other, uri)| used.as_deref() == Some(other) || seen.collides(uri));
        stand_ins.extend(colliding.map(|(place, other, _)| (place, other)));
    }
    Ok(stand_ins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_answer<'a, F>(_: fn(&'a Gateway, &'a Inbound) -> F) -> usize {
        size_of::<F>()
    }

    /// Every request under way holds one of these on the heap. What is rare belongs into a box of its own.
    #[test]
    fn an_answer_in_the_making_is_small() {
        let bytes = size_of_answer(answer);
        assert!(bytes <= 6 * 1024 + 512, "{bytes} bytes");
    }
}
