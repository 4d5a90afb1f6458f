//! Did a person agree?
//!
//! What policy allows only once people have agreed, or what a guard holds, waits here, after it was counted and before
//! anything is sent. A grant is good for one call and no other: whatever it is bound to ([`Bound`]) is computed anew of what
//! would leave now, by the policies and the definitions that hold now, and the grant is taken by that, once, in the store. So
//! nothing that was agreed to before a change goes on after it.
//!
//! How it waits depends on what its client can do:
//!
//! | client | while nobody has decided |
//! |---|---|
//! | modern, a call of a tool, with the tasks extension | it gets a task at once, and follows that |
//! | modern, with elicitation by URL, where the operator says where approvals are seen | its user is shown that page, once; then the next |
//! | any | the stream is held, with progress if it wants any, and then ends with an error that names the approval; the same call again takes it up |
//!
//! While it waits it has no place among those under way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tollgate_approvals::{Call, Hold, edited_of, fresh_id};
use tollgate_mcp::{Change, Limits, Message, Segments, Span, canonical, compose, find, meta, methods, quote};
use tollgate_model::{Code, Era, Judged, Refusal, ServerName, Stage, Timestamp};
use tollgate_store::{Approval, ApprovalOf, Approvals, Asked, Asking, Digest, Standing, StoreError};

use super::policy::{self, Considered, Needs};
use super::{Admitted, Permit, Resolved, guard, limits, resolve};
use crate::approving::{self, Cleared};
use crate::bridge;
use crate::gateway::Gateway;
use crate::handling;
use crate::inbound::Inbound;
use crate::input::{self, Brought, Later, State};
use crate::reply::Reply;
use crate::tasks::capability;

/// Members of the params that say nothing of what is called.
const PER_ROUND: [&str; 3] = ["_meta", "inputResponses", "requestState"];
/// Who is asked where nobody is named.
const APPROVERS: &str = "approvers";
/// How often a client that waits is told so.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// How often the store is looked at by itself, should no news of it arrive.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often a call begins again because something changed while it waited.
const TURNS_MAX: u32 = 8;
/// What is elicited under.
const KEY: &str = "approval";

/// What becomes of a request that people have to agree to.
pub(crate) enum Clearing {
    /// They have.
    Goes(Permit),
    /// They have, to other arguments: this goes on from the beginning, in its place.
    Edited(Box<Inbound>),
    /// It waits, and this is what its client is told.
    Waits(Reply),
}

/// Holds a request, whatever policies say: what guards want people to look at, and calls of tools that are dangerous, where
/// operators want people to agree to those.
pub(crate) fn hold(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    considered: Considered,
    held: Vec<Hold>,
) -> Considered {
    let held = held.into_iter().chain(dangerous(inbound, resolved));
    held.fold(considered, |considered, hold| hold_by(gateway, inbound, resolved, considered, hold))
}

/// What holds a call of a tool that operators call destructive.
fn dangerous(inbound: &Inbound, resolved: &Resolved) -> Option<Hold> {
    let settings = &inbound.snapshot.settings;
    let groups = &settings.approvals.destructive;
    if groups.is_empty() || !inbound.is_tool_call() {
        return None;
    }
    let native = resolved.native().unwrap_or_default();
    let is_destructive =
        handling::of_tool(settings, resolved.server().id(), native).destructive == Some(true);
    is_destructive.then(|| Hold {
        groups: groups.clone(),
        rules: vec!["approvals.destructive".into()],
        why: "the tool is destructive".into(),
    })
}

/// Holds a request, unless people have agreed to exactly this already. Without groups it is whoever approves.
fn hold_by(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    considered: Considered,
    mut hold: Hold,
) -> Considered {
    if hold.groups.is_empty() {
        hold.groups.push(APPROVERS.into());
    }
    match considered {
        Considered::Permit(permit) if covers(gateway, inbound, resolved, permit.judged(), &hold.groups) => {
            Considered::Permit(permit)
        }
        considered => considered.held(hold),
    }
}

/// Decides again on a request that people have agreed to, just before it leaves: it is still what they have agreed to.
pub(crate) fn again(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Result<(), Refusal> {
    let permit = policy::decide(gateway, inbound, resolved)?;
    if covers(gateway, inbound, resolved, permit.judged(), &[]) {
        return Ok(());
    }
    let text = "this is not what was approved any more: make the call again";
    let refusal = Refusal::new(Stage::Approval, Code::ApprovalRequired, text);
    Err(refusal.of(resolved.server().name()).judged(Arc::clone(permit.judged())))
}

/// Whether people can be asked about a request of this kind.
pub(crate) fn can_be_asked(inbound: &Inbound) -> bool {
    methods::may_ask_for_input(inbound.message.method())
}

/// Whether people have agreed to exactly this, as far as policy demands it.
pub(crate) fn is_cleared(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved, judged: &Judged) -> bool {
    covers(gateway, inbound, resolved, judged, &judged.decision.obligations.approvals)
}

fn covers(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    judged: &Judged,
    groups: &[Arc<str>],
) -> bool {
    let Some(cleared) = inbound.record.cleared() else { return false };
    groups.iter().all(|group| cleared.groups.contains(group))
        && cleared.call == Bound::of(gateway, inbound, resolved, judged).digest()
}

/// Waits until people have agreed to a request, or tells its client how it waits.
pub(crate) async fn clear(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    needs: Needs,
    (admitted, brought): (&Admitted, &Brought),
) -> Result<Clearing, Refusal> {
    let server = resolved.server().name();
    brought.check()?; // what it brings may not be this call's
    let store = gateway.approvals().store().ok_or_else(|| unavailable(server, None))?;
    let failed = |error: StoreError| unavailable(server, Some(&error));
    let settings = &inbound.snapshot.settings.approvals;
    let desk = Waiting { gateway, inbound, resolved, admitted, store, until: Instant::now() + settings.wait };
    // It goes on with a call that people have agreed to, if it is still that call.
    let agreed = brought.round().and_then(|round| gateway.approvals().take_round(&round));
    if let Some(agreed) = agreed {
        inbound.record.is_cleared(agreed);
    }
    let mut held = needs.held().to_vec();
    let mut considered = Considered::Needs(needs);
    for _ in 0..TURNS_MAX {
        let judged = match considered {
            Considered::Needs(needs) => Arc::clone(needs.judged()),
            Considered::Permit(permit) => return Ok(Clearing::Goes(permit)),
        };
        let hold = demanded(&judged, &held);
        if covers(gateway, inbound, resolved, &judged, &hold.groups) {
            return policy::decide(gateway, inbound, resolved).map(Clearing::Goes);
        }
        let bound = Bound::of(gateway, inbound, resolved, &judged);
        let needed = settings.needs(&hold.groups);
        let of = bound.call(inbound).of(&needed);
        let call = inbound.record.id().to_string();
        let now = Timestamp::now();
        if let Some(used) = store.use_approval(&of, &call, now).await.map_err(failed)? {
            // By what is decided now, since the store was asked meanwhile.
            inbound.record.is_cleared(Cleared { id: used.id, call: bound.digest(), groups: hold.groups });
            considered = hold_on(gateway, inbound, resolved, &mut held)?;
            continue;
        }
        let asked =
            ask(gateway, inbound, resolved, (&bound, &hold), now).ok_or_else(|| unavailable(server, None))?;
        let asking = store.ask_approval(asked.clone(), settings.room()).await.map_err(failed)?;
        let known = match asking {
            Asking::New => {
                gateway.approvals().tell(&asked);
                asked
            }
            Asking::Known(known) => *known,
            Asking::Full => return Err(full(server)),
        };
        let refusal = |refusal: Refusal| refusal.judged(Arc::clone(&judged));
        match known.standing {
            Standing::Denied => return Err(refusal(denied(inbound, server, &known))),
            Standing::Replaced => {
                match desk.replaced(&of, &known, &judged, hold.groups).await.map_err(failed)? {
                    Replaced::Used(edited) => return Ok(Clearing::Edited(edited)),
                    Replaced::Waits(other) => desk.wait_for(&other).await.map_err(refusal)?,
                    Replaced::Denied(other) => return Err(refusal(denied(inbound, server, &other))),
                    Replaced::Over => {}
                }
            }
            // Whoever was asked has just agreed, or its time is just over.
            _ if known.standing != Standing::Waiting => {}
            _ => {
                if let Some(reply) = tell(gateway, inbound, resolved, &known, brought)? {
                    return Ok(Clearing::Waits(reply));
                }
                desk.wait_for(&known).await.map_err(refusal)?;
            }
        }
        considered = hold_on(gateway, inbound, resolved, &mut held)?;
    }
    let text = "what has to be approved changes faster than it can be approved";
    Err(Refusal::new(Stage::Approval, Code::ApprovalUnavailable, text).of(server))
}

/// What policy makes of a request now. What holds it beside policies holds it whatever they come to say, and so does what they come
/// to demand of it.
fn hold_on(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    held: &mut Vec<Hold>,
) -> Result<Considered, Refusal> {
    let considered = policy::consider(gateway, inbound, resolved)?;
    for one in guard::demanded(gateway, inbound, resolved, (considered.obligations(), false))? {
        if held.iter().all(|hold| hold.rules != one.rules) {
            held.push(one);
        }
    }
    let by = |considered, hold| hold_by(gateway, inbound, resolved, considered, hold);
    Ok(held.iter().cloned().fold(considered, by))
}

/// What policies demand, and what holds it beside them.
fn demanded(judged: &Judged, held: &[Hold]) -> Hold {
    let asked = &judged.decision.obligations.approvals;
    let (mut groups, mut rules, mut why) = (asked.clone(), Vec::new(), Vec::new());
    if !asked.is_empty() {
        rules.extend(judged.decision.policies.iter().map(|policy| Arc::clone(&policy.id)));
        why.push("a policy demands it");
    }
    for hold in held {
        groups.extend(hold.groups.iter().cloned());
        rules.extend(hold.rules.iter().cloned());
        why.push(&hold.why);
    }
    groups.sort();
    groups.dedup();
    Hold { groups, rules, why: why.join("; ").into() }
}

/// What a grant is bound to, of a request as it would leave now.
struct Bound {
    endpoint: String,
    method: String,
    holder: String,
    server: String,
    native: String,
    arguments: Vec<u8>,
    definition: Arc<str>,
    policy: Arc<str>,
    /// What people are shown as its arguments.
    shown: Bytes,
}

impl Bound {
    fn of(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved, judged: &Judged) -> Self {
        let server = resolved.server().id();
        let native = resolved.native().unwrap_or_default();
        let definition = inbound
            .is_tool_call()
            .then(|| gateway.policing().definitions().digest_of(server, native))
            .flatten();
        let (arguments, shown) = arguments(inbound, resolved);
        Self {
            endpoint: inbound.endpoint.name().map_or_else(String::new, |name| name.as_str().to_owned()),
            method: inbound.message.method().to_owned(),
            holder: server.holder().tenant().map_or_else(String::new, |tenant| tenant.as_str().to_owned()),
            server: server.name().as_str().to_owned(),
            native: native.to_owned(),
            arguments,
            definition: definition.unwrap_or_default(),
            policy: judged.set.clone().unwrap_or_default(),
            shown,
        }
    }

    fn call<'a>(&'a self, inbound: &'a Inbound) -> Call<'a> {
        Call {
            tenant: inbound.caller.tenant(),
            principal: inbound.caller.principal(),
            endpoint: &self.endpoint,
            method: &self.method,
            holder: &self.holder,
            server: &self.server,
            native: &self.native,
            arguments: &self.arguments,
            definition: &self.definition,
            policy: &self.policy,
        }
    }

    /// Of the call itself, whoever has to agree. Within one request its caller is the same.
    fn digest(&self) -> Digest {
        let texts = [&*self.endpoint, &self.method, &self.holder, &self.server, &self.native];
        let texts = texts.into_iter().chain([&*self.definition, &self.policy]).map(str::as_bytes);
        Digest::of(texts.chain([&*self.arguments]))
    }
}

/// All that leaves of the params beside the name: in one form however it is written, and as people are shown it.
fn arguments(inbound: &Inbound, resolved: &Resolved) -> (Vec<u8>, Bytes) {
    let (message, target) = (&inbound.message, resolved.target());
    let bytes = message.bytes();
    let named = methods::name_param(message.method()).unwrap_or_default();
    let mut members: Vec<(String, Bytes)> = message
        .members()
        .iter()
        .map(|member| (member.key(bytes).into_owned(), message.raw(member.value)))
        .filter(|(key, _)| !PER_ROUND.contains(&key.as_str()) && key != named)
        .collect();
    // What a toolset pins, what guards have made of it, and what its tool does not know.
    if target.changes_arguments() {
        members.retain(|(key, _)| key != "arguments");
        members.push(("arguments".to_owned(), bridge::arguments(message, target)));
    }
    members.sort();
    let mut form = Vec::new();
    for (key, value) in &members {
        form.extend_from_slice(&quote(key));
        form.push(b':');
        canonical(value, Span::all(value), &mut form);
        form.push(0);
    }
    let shown = match &members[..] {
        [] => Bytes::from_static(b"{}"),
        [(key, only)] if key == "arguments" => only.clone(),
        // Nothing leaves that nobody was shown.
        all => compose::object(&all.iter().map(|(key, value)| (&**key, &**value)).collect::<Vec<_>>()),
    };
    (form, shown)
}

/// The approval to ask for.
fn ask(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    (bound, hold): (&Bound, &Hold),
    now: Timestamp,
) -> Option<Approval> {
    let who = &inbound.caller.who;
    let agent = who.agent_name().map(Arc::from);
    let acted = who.act.iter().map(|actor| Arc::clone(&actor.subject));
    let callers = agent.iter().cloned().chain(who.user.iter().cloned()).chain(acted).collect();
    let native = resolved.native().unwrap_or_default();
    let settings = &inbound.snapshot.settings;
    let server = resolved.server().id();
    let is_call = inbound.is_tool_call();
    let is_destructive = handling::of_tool(settings, server, native).destructive == Some(true);
    let risk = match handling::traits(gateway, settings, server, native) {
        _ if !is_call => "read",
        _ if is_destructive => "destructive",
        traits if traits.read_only => "read",
        _ => "",
    };
    let asked = Asked {
        agent,
        user: who.user.clone(),
        callers,
        risk: risk.into(),
        call: inbound.record.id().to_string().into(),
        // These are the call's own.
        endpoint: "".into(),
        method: "".into(),
        server: "".into(),
        native: "".into(),
        arguments_digest: "".into(),
        arguments: None,
        arguments_whole: None,
        definition: "".into(),
        policy: "".into(),
        rules: Vec::new(),
        why: "".into(),
    };
    let redacted = tollgate_ledger::redact(&bound.shown);
    let shown = (String::from_utf8_lossy(&bound.shown), String::from_utf8_lossy(&redacted.kept));
    let id = (fresh_id()?, now);
    Some(bound.call(inbound).ask(id, hold, (&shown.0, &shown.1), asked, &settings.approvals))
}

/// What became of the approval that stands in place of the caller's.
enum Replaced {
    Used(Box<Inbound>),
    Waits(Box<Approval>),
    Denied(Box<Approval>),
    Over,
}

/// A request with other arguments. What it brought from rounds before belonged to the old ones.
fn with_arguments(inbound: &Inbound, arguments: &Bytes) -> Option<Inbound> {
    let message = &inbound.message;
    let bytes = message.bytes();
    let params = find(bytes, Span::all(bytes), "params")?;
    let mut edit = message.edit();
    let changes = [
        Change::Set("arguments", arguments.clone()),
        Change::Remove("requestState"),
        Change::Remove("inputResponses"),
    ];
    edit.object(params, &changes);
    let limits = Limits { bytes_max: usize::MAX, ..Limits::default() };
    let message = Message::parse(edit.finish().into_bytes(), &limits).ok()?;
    Some(Inbound { message, ..inbound.at(&inbound.endpoint, &inbound.snapshot) })
}

/// What a client is told that need not hold a stream; none for one whose stream is held.
fn tell(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    approval: &Approval,
    brought: &Brought,
) -> Result<Option<Reply>, Refusal> {
    let server = resolved.server();
    if inbound.era() == Era::Legacy {
        return Ok(None);
    }
    if inbound.is_tool_call() && capability::declares_extension(&inbound.caller.client) {
        return approving::create(gateway, inbound, server.name(), approval);
    }
    match brought.has_seen_approval(inbound) {
        // It was shown; what is left is to wait.
        Some(true) => return Ok(None),
        Some(false) => return Err(required(inbound, server.name(), approval)),
        None => {}
    }
    let Some(url) = inbound.snapshot.settings.approvals.url_of(approval.id.as_str()) else { return Ok(None) };
    let groups: Vec<&str> = approval.needs.iter().map(|need| &*need.group).collect();
    let text = format!("Somebody of {} has to approve this call first.", groups.join(", "));
    let params = compose::object(&[
        ("mode", br#""url""#),
        ("message", &quote(&text)),
        ("url", &quote(&url)),
        ("elicitationId", &quote(approval.id.as_str())),
    ]);
    let request = compose::object(&[("method", &quote(methods::ELICITATION_CREATE)), ("params", &params)]);
    let Some(asked) = input::Asked::of_entry(&request, Span::all(&request)) else { return Ok(None) };
    if asked.missing(&inbound.caller.client.capabilities).is_some() {
        return Ok(None);
    }
    let wait = inbound.snapshot.settings.input_timeout;
    let sealed = input::seal(gateway, inbound, server.id(), &State::Approval, true, wait)?;
    let later = Later { key: KEY.to_owned(), owed: input::Owed::nothing(), asked };
    let requests = input::requests(&[later], server.name());
    Ok(Some(input::interrupted(&inbound.id, &requests, &sealed, None)))
}

/// A request that waits for people.
struct Waiting<'a> {
    gateway: &'a Gateway,
    inbound: &'a Inbound,
    resolved: &'a Resolved,
    admitted: &'a Admitted,
    store: &'a Arc<dyn Approvals>,
    /// When its client has to be told to come back.
    until: Instant,
}

impl Waiting<'_> {
    /// Takes the grant of other arguments, if there is one: the request with them in place of its own.
    async fn replaced(
        &self,
        of: &ApprovalOf,
        known: &Approval,
        judged: &Judged,
        groups: Vec<Arc<str>>,
    ) -> Result<Replaced, StoreError> {
        let Self { gateway, inbound, store, .. } = *self;
        let Some(id) = &known.replaced_by else { return Ok(Replaced::Over) };
        let Some(other) = store.approval(id).await? else { return Ok(Replaced::Over) };
        match other.standing {
            Standing::Waiting if !other.is_over(Timestamp::now()) => {
                return Ok(Replaced::Waits(Box::new(other)));
            }
            Standing::Denied => return Ok(Replaced::Denied(Box::new(other))),
            _ => {}
        }
        let Some(text) = other.edited.clone() else { return Ok(Replaced::Over) };
        let text = Bytes::copy_from_slice(text.as_bytes());
        let mut form = Vec::new();
        canonical(&text, Span::all(&text), &mut form);
        let Some(edited) = with_arguments(inbound, &text) else { return Ok(Replaced::Over) };
        let call = inbound.record.id().to_string();
        let Some(used) = store.use_approval(&edited_of(of, &form), &call, Timestamp::now()).await? else {
            return Ok(Replaced::Over);
        };
        // Guards look at it, and policy decides on it, from the beginning.
        let Ok(resolved) = Box::pin(resolve::resolve(gateway, &edited)).await else {
            return Ok(Replaced::Over);
        };
        let call = Bound::of(gateway, &edited, &resolved, judged).digest();
        edited.record.is_cleared(Cleared { id: used.id, call, groups });
        Ok(Replaced::Used(Box::new(edited)))
    }

    /// Waits until an approval waits no more. Meanwhile the request takes nobody's place.
    ///
    /// # Errors
    /// Its client has to be told to come back.
    async fn wait_for(&self, approval: &Approval) -> Result<(), Refusal> {
        let Self { inbound, resolved, admitted, .. } = *self;
        admitted.places().leave();
        if !self.is_decided(approval).await {
            return Err(required(inbound, resolved.server().name(), approval));
        }
        limits::come_back(inbound, resolved, admitted).await
    }

    /// Whether an approval waits no more, before the time is over.
    async fn is_decided(&self, approval: &Approval) -> bool {
        let Self { gateway, inbound, store, until, .. } = *self;
        let Some(_place) = gateway.approvals().hold(inbound) else { return false };
        let mut waiter = gateway.approvals().wait_for(&approval.id);
        let mut next_told = Instant::now();
        loop {
            // It may have been decided before anybody listened.
            match store.approval(&approval.id).await {
                Ok(Some(found))
                    if found.standing == Standing::Waiting && !found.is_over(Timestamp::now()) => {}
                Ok(_) => return true,
                // Its news may come yet.
                Err(error) => tracing::debug!(%error, "whether a call was approved cannot be looked up now"),
            }
            let now = Instant::now();
            if now >= until {
                return false;
            }
            if now >= next_told {
                progress(inbound, approval);
                next_told = now + PROGRESS_EVERY;
            }
            tokio::select! {
                () = waiter.news() => {}
                () = tokio::time::sleep_until(until.min(next_told).min(now + LOOK_EVERY)) => {}
                () = gateway.draining() => return false,
            }
        }
    }
}

/// Tells a client that wants to hear of it that its call waits.
fn progress(inbound: &Inbound, approval: &Approval) {
    let Some(token) = inbound.progress_token() else { return };
    let Some(progress) = inbound.record.ticks() else { return };
    let missing: Vec<String> = approval.missing().iter().map(|need| need.group.to_string()).collect();
    let text = format!("waiting for approval {} by {}", approval.id, missing.join(", "));
    let progress = progress.to_string();
    let params = compose::object(&[
        (meta::PROGRESS_TOKEN, &token),
        ("progress", progress.as_bytes()),
        ("message", &quote(&text)),
    ]);
    let told = compose::notification(methods::NOTIFICATIONS_PROGRESS, Some(&params));
    // A client that reads nothing loses it, never its reply.
    let _ = inbound.outlet.push(Segments::from(told));
}

fn required(inbound: &Inbound, server: &ServerName, approval: &Approval) -> Refusal {
    let id = approval.id.as_str();
    let groups: Vec<&str> = approval.needs.iter().map(|need| &*need.group).collect();
    let text = format!(
        "this call waits for approval {id} by {}: make the same call again once it is approved",
        groups.join(", ")
    );
    let url = inbound.snapshot.settings.approvals.url_of(id);
    Refusal::new(Stage::Approval, Code::ApprovalRequired, text).awaiting(id, url).of(server)
}

fn denied(inbound: &Inbound, server: &ServerName, approval: &Approval) -> Refusal {
    let id = approval.id.as_str();
    let said = approval.votes.iter().rev().find(|vote| !vote.agrees);
    let internal = said.map(|vote| format!("by {}: {}", vote.by, vote.reason)).unwrap_or_default();
    let url = inbound.snapshot.settings.approvals.url_of(id);
    let text = format!("this call was not approved ({id})");
    Refusal::new(Stage::Approval, Code::ApprovalDenied, text).because(internal).awaiting(id, url).of(server)
}

fn full(server: &ServerName) -> Refusal {
    let text = "people have to approve this call first, and as many as may wait for that do";
    Refusal::new(Stage::Approval, Code::ApprovalsFull, text).of(server)
}

fn unavailable(server: &ServerName, error: Option<&StoreError>) -> Refusal {
    let text = "people have to approve this call first, and they cannot be asked now";
    let refusal = Refusal::new(Stage::Approval, Code::ApprovalUnavailable, text).of(server);
    match error {
        Some(error) => refusal.because(error.to_string()),
        None => refusal
            .because("no store is configured that approvals could be kept in, or there is no randomness"),
    }
}
