//! How much?
//!
//! Asked of what policy has allowed: what a limit says of a server or tool tells nobody of one that is hidden from them. What
//! was counted is given back until the request is on record, and counts from then on, whatever becomes of it. A request that
//! a server interrupts with questions is counted once, and has no place among those under way while it waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tollgate_catalog::{Endpoint, ListKind, Shape};
use tollgate_ledger::Consumed;
use tollgate_limits::{Admission, Charge, Notice, Places, Subject, Verdict};
use tollgate_mcp::{Message, Span, canonical, methods};
use tollgate_model::{
    Caller, Code, Exceeded, Limited, Proof, Refusal, ServerId, ServerName, Stage, TenantId, folded, money,
};
use tollgate_telemetry::events::{
    AgentPaused, AllowancesAway, AllowancesBack, BudgetShareUsed, LimitReached, PauseNotStored,
    SharedCountersAway, SharedCountersBack,
};
use tollgate_upstream::Server;

use super::{Resolved, policy, resolve};
use crate::alerts::{self, Alert};
use crate::gateway::{Gateway, Inner};
use crate::inbound::Inbound;
use crate::snapshot::Snapshot;

/// What stands for the name of a limit where agents are paused.
const RUNAWAY: &str = "runaway";

/// The request is within its limits. Only this module makes one.
#[derive(Debug)]
pub(crate) struct Admitted {
    charge: Charge,
    places: Arc<Places>,
    /// Whether nothing was paid for it yet.
    is_new: AtomicBool,
}

impl Admitted {
    fn new(admission: Admission) -> Self {
        let Admission { charge, places, is_round } = admission;
        Self { charge, places: Arc::new(places), is_new: AtomicBool::new(!is_round) }
    }

    /// The request is on record: it counts.
    pub(crate) fn settle(&self) {
        self.charge.settle();
    }

    /// Its places among those under way: for as long as anybody holds them.
    pub(crate) fn places(&self) -> &Arc<Places> {
        &self.places
    }
}

/// Counts a call, read, prompt or completion, unless it is a round of one that was counted.
pub(crate) async fn admit(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    round: Option<[u8; 20]>,
) -> Result<Admitted, Refusal> {
    let limits = gateway.limits();
    let watches = limits.watches();
    if !limits.are_any() && !watches {
        return Ok(Admitted::new(Admission::default()));
    }
    let is_call = inbound.message.method() == methods::TOOLS_CALL;
    let server = resolved.server().id();
    let subject = subject(inbound, Some(server), resolved.native().filter(|_| is_call));
    // What is brought a second time goes on with nothing.
    let round = round.filter(|round| limits.expects(round));
    if watches && round.is_some() {
        let wait = limits.is_paused(subject.tenant, who(inbound, &subject));
        wait.map_or(Ok(()), |wait| Err(paused(inbound, wait).of(server.name())))?;
    } else if watches {
        let watched = Box::pin(watch(gateway, inbound, &subject)).await;
        if watched.map_err(|refusal| refusal.of(server.name()))? == Watched::Waited {
            // The policy may be another by now, or an operator may have stopped it.
            policy::decide(gateway, inbound, resolved)?;
        }
    }
    let tried = match round {
        Some(round) => limits.try_go_on(&subject, round),
        None => limits.try_admit(&subject),
    };
    let admitted = match tried {
        Some(admitted) => admitted,
        None => match round {
            Some(round) => Box::pin(limits.go_on(&subject, round)).await,
            None => Box::pin(limits.admit(&subject)).await,
        },
    };
    let admitted = admitted.map_err(|exceeded| refuse(inbound, exceeded).of(server.name()))?;
    let admitted = Admitted::new(admitted);
    if admitted.charge.is_paid_for() && admitted.is_new.load(Ordering::Relaxed) {
        let least = consumed(inbound, resolved, 1);
        admitted.charge.costs_at_least(inbound.snapshot.prices.cost_nano(least));
    }
    Ok(admitted)
}

/// What watching a call has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    Passed,
    Waited,
}

/// Looks whether whoever calls has run away. What is slowed waits here, before it takes anybody's place.
async fn watch(gateway: &Gateway, inbound: &Inbound, subject: &Subject<'_>) -> Result<Watched, Refusal> {
    let arguments = asked_for(inbound);
    let who = who(inbound, subject);
    let limits = gateway.limits();
    match limits.watch(subject, who, &arguments) {
        Verdict::Go => Ok(Watched::Passed),
        Verdict::Slow(wait) => {
            tokio::time::sleep(wait).await;
            // Others of its calls may have come too far meanwhile.
            limits
                .is_paused(subject.tenant, who)
                .map_or(Ok(Watched::Waited), |wait| Err(paused(inbound, wait)))
        }
        Verdict::Paused { wait, .. } => Err(paused(inbound, wait)),
    }
}

/// Under which name a caller is watched.
fn who<'a>(inbound: &'a Inbound, subject: &Subject<'a>) -> &'a str {
    subject.agent.unwrap_or(inbound.caller.principal().as_str())
}

/// The refusal of whoever is paused for so long.
fn paused(inbound: &Inbound, wait: Duration) -> Refusal {
    let (limit, of) = (RUNAWAY.into(), Limited::Runaway);
    let nothing =
        Exceeded { limit, of, allowed: 0, window: None, left: 0, currency: None, retry_after: wait };
    refuse(inbound, nothing)
}

/// What a request asks for, in one form however it is written.
fn asked_for(inbound: &Inbound) -> Vec<u8> {
    let native = inbound.record.native();
    let native = native.as_deref().unwrap_or_default();
    // A server that does not look at case takes all spellings of a tool for one.
    let native = if inbound.is_tool_call() { folded(native) } else { native.into() };
    let mut form = native.as_bytes().to_vec();
    form.push(0);
    if let Some(arguments) = inbound.record.arguments().filter(|arguments| !arguments.is_empty()) {
        canonical(&arguments, Span::all(&arguments), &mut form);
    }
    form
}

/// The server has answered a request: that is paid for from its budgets.
pub(crate) fn pay(inbound: &Inbound, resolved: &Resolved, admitted: &Admitted, message: &Message) {
    if !admitted.charge.is_paid_for() {
        return;
    }
    let calls = u64::from(admitted.is_new.swap(false, Ordering::Relaxed));
    let arguments = inbound.record.arguments().unwrap_or_default();
    let bytes = inbound.record.sent().0 + message.bytes().len();
    let priced = Priced::of(inbound, resolved, (calls, bytes));
    admitted.charge.pay([&arguments, result(message)], move |tokens| priced.cost_nano(tokens));
}

/// The task that a call became has come to its end: its result is paid for too.
pub(crate) fn pay_result(inbound: &Inbound, resolved: &Resolved, admitted: &Admitted, message: &Message) {
    if admitted.charge.is_paid_for() {
        let priced = Priced::of(inbound, resolved, (0, message.bytes().len()));
        admitted.charge.pay([&[], result(message)], move |tokens| priced.cost_nano(tokens));
    }
}

/// A client has got the result of a task that it follows itself: whoever gets one pays for it.
pub(crate) fn pay_for_task(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved, result: &[u8]) {
    if !gateway.limits().are_budgets() || result.is_empty() {
        return;
    }
    let (server, task) = (resolved.server().id(), resolved.native().unwrap_or_default());
    let tool = gateway.tasks().tool_of(&inbound.caller, server, task);
    let subject = Subject { method: methods::TOOLS_CALL, ..subject(inbound, Some(server), tool.as_deref()) };
    let charge = gateway.limits().budgets(&subject);
    let tool = tool.as_deref().unwrap_or(methods::TOOLS_CALL).to_owned();
    let priced = Priced { tool, ..Priced::of(inbound, resolved, (0, result.len())) };
    charge.pay([&[], result], move |tokens| priced.cost_nano(tokens));
}

fn result(message: &Message) -> &[u8] {
    message.body().map_or(&[][..], |span| span.of(message.bytes()))
}

/// What is priced once its tokens are counted.
struct Priced {
    snapshot: Arc<Snapshot>,
    tenant: TenantId,
    server: ServerName,
    tool: String,
    calls: u64,
    bytes: u64,
}

impl Priced {
    fn of(inbound: &Inbound, resolved: &Resolved, (calls, bytes): (u64, usize)) -> Self {
        Self {
            snapshot: Arc::clone(&inbound.snapshot),
            tenant: inbound.caller.tenant().clone(),
            server: resolved.server().name().clone(),
            tool: consumed(inbound, resolved, 0).tool.to_owned(),
            calls,
            bytes: bytes as u64,
        }
    }

    fn cost_nano(&self, [argument_tokens, result_tokens]: [u64; 2]) -> u64 {
        let Self { tenant, server, tool, calls, bytes, .. } = self;
        let (tenant, server, calls, bytes) = (tenant.as_str(), server.as_str(), *calls, *bytes);
        let consumed = Consumed { tenant, server, tool, calls, argument_tokens, result_tokens, bytes };
        self.snapshot.prices.cost_nano(consumed)
    }
}

/// What a request is, as prices tell requests apart.
fn consumed<'a>(inbound: &'a Inbound, resolved: &'a Resolved, calls: u64) -> Consumed<'a> {
    let method = inbound.message.method();
    let is_call = method == methods::TOOLS_CALL;
    Consumed {
        tenant: inbound.caller.tenant().as_str(),
        server: resolved.server().name().as_str(),
        tool: resolved.native().filter(|_| is_call).unwrap_or(method),
        calls,
        ..Consumed::default()
    }
}

/// Tells operators what they have to be told of limits. Ends with the gateway.
pub(crate) async fn tell(gateway: Weak<Inner>, notices: Option<Receiver<Notice>>) {
    let Some(mut notices) = notices else { return };
    let alerts = alerts::begin(Weak::clone(&gateway));
    while let Some(notice) = notices.recv().await {
        match notice {
            Notice::BudgetShare { limit, whose, used, allowed, currency } => {
                let said =
                    |amount: u64| currency.as_ref().map_or_else(|| amount.to_string(), |_| money(amount));
                let (used, allowed) = (said(used), said(allowed));
                let unit = currency.as_deref().unwrap_or("tokens");
                let (used, allowed) = (used.as_str(), allowed.as_str());
                BudgetShareUsed { limit: &limit, whose: &whose, used, allowed, unit }.emit();
            }
            Notice::Runaway { tenant, agent, why, pause } => {
                AgentPaused { tenant: &tenant, agent: &agent, why: why.as_str(), pause }.emit();
                alerts::send(&gateway, &alerts, Alert::paused(&tenant, &agent, why, pause));
            }
            Notice::PauseNotStored { reason } => PauseNotStored { reason: &reason }.emit(),
            Notice::SharedAway { reason } => SharedCountersAway { reason: &reason }.emit(),
            Notice::SharedBack => SharedCountersBack.emit(),
            Notice::Away { reason } => AllowancesAway { reason: &reason }.emit(),
            Notice::Back => AllowancesBack.emit(),
        }
    }
}

/// Counts what is none of these: lists, subscriptions, tasks, levels. It counts at once, since it need not come on record.
pub(crate) async fn admit_beside(gateway: &Gateway, inbound: &Inbound) -> Result<Option<Admitted>, Refusal> {
    if !gateway.limits().are_any_beside_calls() {
        return Ok(None);
    }
    count_beside(gateway, inbound).await
}

/// Counts a read of what the gateway itself has: as any other read, but that no server is asked.
pub(crate) async fn admit_kept(gateway: &Gateway, inbound: &Inbound) -> Result<Option<Admitted>, Refusal> {
    if !gateway.limits().are_any() {
        return Ok(None);
    }
    count_beside(gateway, inbound).await
}

async fn count_beside(gateway: &Gateway, inbound: &Inbound) -> Result<Option<Admitted>, Refusal> {
    let server = inbound.endpoint.native_server().and_then(|name| inbound.server(name).ok());
    // What is about a task is for the server that has it.
    let server = server.or_else(|| {
        let is_of_task = matches!(
            inbound.message.method(),
            methods::TASKS_GET | methods::TASKS_UPDATE | methods::TASKS_CANCEL | methods::TASKS_RESULT
        );
        let task = is_of_task.then(|| resolve::task(gateway, inbound).ok()).flatten();
        task.map(|task| task.server().clone())
    });
    let subject = subject(inbound, server.as_ref().map(Server::id), None);
    let admitted = gateway.limits().admit(&subject).await;
    let admitted = admitted.map_err(|exceeded| refuse(inbound, exceeded))?;
    admitted.charge.settle();
    Ok(Some(Admitted::new(admitted)))
}

/// Counts a look into a server's list for the sake of a name that nobody knows: as a list, which it is to the server.
pub(crate) async fn admit_look(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerId,
    kind: ListKind,
) -> Result<(), Refusal> {
    if !gateway.limits().are_any_beside_calls() {
        return Ok(());
    }
    let subject = Subject { method: kind.method(), ..subject(inbound, Some(server), None) };
    let admitted = gateway.limits().admit(&subject).await;
    admitted.map_err(|exceeded| refuse_as(kind.method(), &inbound.caller, exceeded))?.charge.settle();
    Ok(())
}

/// Counts what a server says to the client during a request: progress, and lines of its log. What there is no room for is lost,
/// as it is where a client reads too slowly.
pub(crate) fn lets_pass(gateway: &Gateway, inbound: &Inbound, server: &ServerId, method: &str) -> bool {
    if !gateway.limits().are_any_beside_calls() {
        return true;
    }
    let tool = inbound.record.native().filter(|_| inbound.message.method() == methods::TOOLS_CALL);
    let subject = Subject { method, ..subject(inbound, Some(server), tool.as_deref()) };
    // Nobody waits for what others have used to hear of progress.
    match gateway.limits().admit_here(&subject) {
        Ok(admission) => admission.charge.settle(),
        Err(exceeded) => {
            LimitReached { exceeded: &exceeded, tenant: inbound.caller.tenant(), method }.emit();
            return false;
        }
    }
    true
}

/// Takes the places of a request again that it left while its client was asked, as soon as there are free ones.
pub(crate) async fn come_back(
    inbound: &Inbound,
    resolved: &Resolved,
    admitted: &Admitted,
) -> Result<(), Refusal> {
    if admitted.places.come_back(inbound.snapshot.settings.input_timeout).await {
        return Ok(());
    }
    let text = "as many requests as allowed were under way when the client had answered";
    let refusal = Refusal::new(Stage::Limits, Code::ConcurrencyLimited, text);
    Err(refusal.of(resolved.server().name()))
}

/// Counts `initialize`, which comes before there is a session, and counts at once.
pub(crate) async fn admit_session(
    gateway: &Gateway,
    snapshot: &Snapshot,
    endpoint: &Endpoint,
    caller: &Caller,
) -> Result<(), Refusal> {
    if !gateway.limits().are_any_beside_calls() {
        return Ok(());
    }
    let server = endpoint.native_server().and_then(|name| snapshot.server(caller.tenant(), name));
    let of = Subject { method: methods::INITIALIZE, ..subject_at(caller, endpoint, server.map(Server::id)) };
    let admitted = gateway.limits().admit(&of).await;
    admitted.map_err(|exceeded| refuse_as(methods::INITIALIZE, caller, exceeded))?.charge.settle();
    Ok(())
}

fn subject<'a>(inbound: &'a Inbound, server: Option<&'a ServerId>, tool: Option<&'a str>) -> Subject<'a> {
    let at = subject_at(&inbound.caller, &inbound.endpoint, server);
    Subject { tool, method: inbound.message.method(), ..at }
}

fn subject_at<'a>(caller: &'a Caller, at: &'a Endpoint, server: Option<&'a ServerId>) -> Subject<'a> {
    let who = &caller.who;
    let endpoint = at.name().map_or("", |name| name.as_str());
    Subject {
        tenant: who.tenant.as_str(),
        agent: who.agent_name(),
        user: who.user.as_deref(),
        key: match &who.proof {
            Proof::Key(key) => Some(key.as_str()),
            _ => None,
        },
        server,
        tool: None,
        toolset: matches!(at.shape(), Shape::Toolset(_)).then_some(endpoint),
        endpoint,
        method: "",
    }
}

/// The refusal of what a limit leaves no room for.
fn refuse(inbound: &Inbound, exceeded: Exceeded) -> Refusal {
    refuse_as(inbound.message.method(), &inbound.caller, exceeded)
}

fn refuse_as(method: &str, caller: &Caller, exceeded: Exceeded) -> Refusal {
    LimitReached { exceeded: &exceeded, tenant: caller.tenant(), method }.emit();
    let limit = &exceeded.limit;
    let text = match exceeded.of {
        Limited::Rate => format!("the limit `{limit}` leaves no room for this now"),
        Limited::Concurrency => format!("as many requests as the limit `{limit}` allows are under way"),
        Limited::Quota => format!("the quota `{limit}` is used up for now"),
        Limited::Budget => format!("the budget `{limit}` is used up for now"),
        Limited::Runaway => "this agent seems to have run away, and is paused".to_owned(),
    };
    Refusal::new(Stage::Limits, exceeded.of.code(), text).exceeding(exceeded)
}
