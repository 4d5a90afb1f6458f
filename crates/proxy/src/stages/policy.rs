//! May they?
//!
//! Where policies are configured, the caller's tenant's set decides on exactly what will leave, every time that something
//! does. While no identity and no policy are configured, there is one built-in policy: whoever reaches this machine's
//! loopback address may use everything, and nobody else may use anything. The data plane then binds nowhere else.
//!
//! What policy hides from a caller is answered as what does not exist, before any server is asked.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tollgate_approvals::Hold;
use tollgate_catalog::{Endpoint, ListKind, Pick, Shape, UriPick};
use tollgate_guard::Guards;
use tollgate_mcp::{Span, methods};
use tollgate_model::{
    Caller, Code, Decision, Denial, EndpointName, Era, Judged, Obligations, Proof, Refusal, ServerId,
    ServerName, Stage, TenantId, Timestamp,
};
use tollgate_policy::{Ask, PolicySet, Scene, Visible, What};
use tollgate_telemetry::counters::{self, Verdict};
use tollgate_telemetry::events::Denied;

use super::{Identified, Resolved, approve, block, guard, pins, resolve, scopes};
use crate::bridge;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::policing::{Looker, Question, Rules};

/// Policy has allowed this request. Only this module makes one.
pub(crate) struct Permit {
    judged: Arc<Judged>,
    shadow: Option<Arc<Question>>,
}

impl Permit {
    fn new(judged: Judged) -> Self {
        Self { judged: Arc::new(judged), shadow: None }
    }

    /// The same, for policies that only look on. They are asked beside the request.
    fn watched(
        self,
        gateway: &Gateway,
        set: &Arc<PolicySet>,
        inbound: &Inbound,
        about: (&ServerId, What<'_>),
        message: &Bytes,
    ) -> Self {
        let whose = (&inbound.caller, inbound.endpoint.name());
        let question = Question::new(gateway.shared_policing(), set, whose, about, message, &self.judged);
        let asked = Arc::clone(&question);
        gateway.spawn(async move {
            asked.answer();
        });
        Self { shadow: Some(question), ..self }
    }

    /// What policy said, for the record. It holds how much is to be recorded, if a policy says so.
    pub(crate) fn judged(&self) -> &Arc<Judged> {
        &self.judged
    }

    /// What policies that only look on would have said can be asked here, once it is no matter how long that takes.
    pub(crate) fn shadow(&self) -> Option<&Arc<Question>> {
        self.shadow.as_ref()
    }
}

/// Policy allows this request, and people have to agree to it before it goes on. Only this module makes one.
pub(crate) struct Needs {
    judged: Arc<Judged>,
    /// What holds it beside policy.
    held: Vec<Hold>,
}

impl Needs {
    /// What policy said, for the record.
    pub(crate) fn judged(&self) -> &Arc<Judged> {
        &self.judged
    }

    /// What holds it beside policy.
    pub(crate) fn held(&self) -> &[Hold] {
        &self.held
    }
}

/// What policy makes of a request that it does not refuse.
pub(crate) enum Considered {
    /// It may go on.
    Permit(Permit),
    /// It may, once people have agreed.
    Needs(Needs),
}

impl Considered {
    /// The same, held by something beside policy.
    pub(crate) fn held(self, hold: Hold) -> Self {
        let (judged, mut held) = match self {
            Self::Permit(permit) => (permit.judged, Vec::new()),
            Self::Needs(Needs { judged, held }) => (judged, held),
        };
        held.push(hold);
        Self::Needs(Needs { judged, held })
    }

    /// What it demands.
    pub(crate) fn obligations(&self) -> &Obligations {
        let (Self::Permit(Permit { judged, .. }) | Self::Needs(Needs { judged, .. })) = self;
        &judged.decision.obligations
    }

    fn judged(self) -> Arc<Judged> {
        match self {
            Self::Permit(permit) => permit.judged,
            Self::Needs(needs) => needs.judged,
        }
    }
}

/// What of a server's lists a caller may see.
#[derive(Clone)]
pub(crate) enum View {
    /// All of them.
    Whole,
    /// What policy does not hide.
    Of(Arc<Sight>),
}

/// Who looks, from where, and what could be allowed there.
pub(crate) struct Sight {
    visible: Arc<Visible>,
    set: Arc<PolicySet>,
    caller: Caller,
    endpoint: Option<EndpointName>,
    server: ServerName,
}

impl View {
    /// Whether an item is shown, by the server's own name or URI of it.
    pub(crate) fn shows(&self, kind: ListKind, native: &str) -> bool {
        match (self, kind) {
            (Self::Whole, _) => true,
            (Self::Of(sight), ListKind::Tools) => sight.visible.tool(native),
            (Self::Of(sight), ListKind::Prompts) => sight.visible.prompt(native),
            (Self::Of(sight), ListKind::Templates) => sight.visible.resource(native),
            // Of a resource nothing is left open.
            (Self::Of(sight), ListKind::Resources) => sight.visible.resource(native) && sight.reads(native),
        }
    }

    /// Whether everybody sees the same.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, Self::Whole)
    }
}

impl Sight {
    fn reads(&self, uri: &str) -> bool {
        let scene = scene(&self.caller, self.endpoint.as_ref());
        let ask = Ask { server: &self.server, what: What::Read { uri }, scene };
        self.set.decide(&self.caller.who, &ask).allowed
    }
}

/// Decides on exactly what will leave. What is hidden from the caller is refused as unknown. What is allowed may still be
/// stopped by an operator, or wait to be approved by one. What people have to agree to, and have not, is refused.
pub(crate) fn decide(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Result<Permit, Refusal> {
    match consider(gateway, inbound, resolved)? {
        Considered::Permit(permit) => Ok(permit),
        Considered::Needs(needs) => {
            let groups = needs.judged.decision.obligations.approvals.join(", ");
            let text = format!("policy allows this only once somebody of {groups} has approved it");
            let refusal = Refusal::new(Stage::Approval, Code::ApprovalRequired, text);
            Err(refusal.of(resolved.server().name()).judged(needs.judged))
        }
    }
}

/// The same, where people can be asked for what they have not agreed to yet.
pub(crate) fn consider(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
) -> Result<Considered, Refusal> {
    let considered = judge(gateway, inbound, resolved)?;
    let checked = block::check(gateway, inbound, resolved);
    match checked.and_then(|()| pins::check(gateway, inbound, resolved)) {
        Ok(()) => Ok(considered),
        Err(refusal) => Err(refusal.judged(considered.judged())),
    }
}

fn judge(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Result<Considered, Refusal> {
    let rules = gateway.policing().rules();
    let Some(sets) = rules.sets() else {
        let permit = built_in(&inbound.caller).map_err(|refusal| refusal.of(resolved.server().name()));
        return permit.map(Considered::Permit);
    };
    let considered = match sets.get(inbound.caller.tenant()) {
        Some(set) => by_set(gateway, (set, rules.shadow(inbound.caller.tenant())), inbound, resolved)?,
        None => return Err(unknown(inbound, resolved).judged(hidden(None))),
    };
    let is_call = inbound.message.method() == methods::TOOLS_CALL;
    match scopes::check(inbound, resolved.server().id(), resolved.native().filter(|_| is_call)) {
        Ok(()) => Ok(considered),
        Err(refusal) => Err(refusal.judged(considered.judged())),
    }
}

/// What a caller may see of a server at an endpoint, and the permit to look at it there. None where nothing may be seen:
/// the server is not to be asked on the caller's behalf, and not to be named. Nor is one that an operator has stopped.
pub(crate) fn look(
    gateway: &Gateway,
    caller: &Caller,
    endpoint: Option<&EndpointName>,
    server: &ServerName,
) -> Option<(Permit, View)> {
    let seen = look_by(&gateway.policing().rules(), caller, endpoint, server)?;
    block::server(gateway, caller, server).is_ok().then_some(seen)
}

/// The same by rules that may decide no more, whatever operators have stopped.
pub(crate) fn look_by(
    rules: &Rules,
    caller: &Caller,
    endpoint: Option<&EndpointName>,
    server: &ServerName,
) -> Option<(Permit, View)> {
    let Some(sets) = rules.sets() else { return Some((built_in(caller).ok()?, View::Whole)) };
    let set = sets.get(caller.tenant())?;
    let scene = scene(caller, endpoint);
    let visible = set.visible(&caller.who, server, &scene);
    if visible.is_nothing() {
        return None;
    }
    let permit = Permit::new(Judged::allowed(Some(Arc::clone(set.digest())), scene.now));
    let (set, caller, endpoint) = (Arc::clone(set), caller.clone(), endpoint.cloned());
    let sight = Sight { visible, set, caller, endpoint, server: server.clone() };
    Some((permit, View::Of(Arc::new(sight))))
}

/// Whether policy lets a caller see anything of a server, whatever operators have stopped.
pub(crate) fn sees(
    gateway: &Gateway,
    caller: &Caller,
    endpoint: Option<&EndpointName>,
    server: &ServerName,
) -> bool {
    look_by(&gateway.policing().rules(), caller, endpoint, server).is_some()
}

/// Whether a caller may hear of changes of a resource, by the server's own URI.
pub(crate) fn hears(
    gateway: &Gateway,
    caller: &Caller,
    endpoint: Option<&EndpointName>,
    server: &ServerId,
    uri: &str,
) -> bool {
    let rules = gateway.policing().rules();
    if block::server(gateway, caller, server.name()).is_err()
        || pins::hides_resource(gateway, server, uri)
        || guard::hides_resource(gateway, server, uri)
    {
        return false;
    }
    let Some(sets) = rules.sets() else { return built_in(caller).is_ok() };
    let ask = Ask { server: server.name(), what: What::Read { uri }, scene: scene(caller, endpoint) };
    sets.get(caller.tenant()).is_some_and(|set| {
        let decision = set.decide(&caller.who, &ask);
        decision.allowed && decision.obligations.approvals.is_empty()
    })
}

/// Everything that any permit of the caller's tenant demands to be taken out of what passes, as far as a guard can.
pub(crate) fn redactions(gateway: &Gateway, inbound: &Inbound) -> Vec<Arc<str>> {
    redactions_of(gateway, &inbound.snapshot.guards, Some(inbound.caller.tenant()))
}

/// The same of a tenant's permits, or of all tenants', where something belongs to no request.
pub(crate) fn redactions_of(gateway: &Gateway, guards: &Guards, tenant: Option<&TenantId>) -> Vec<Arc<str>> {
    let rules = gateway.policing().rules();
    let Some(sets) = rules.sets() else { return Vec::new() };
    let mut words = match tenant {
        Some(tenant) => sets.get(tenant).map(|set| set.redactions()).unwrap_or_default(),
        None => sets.values().flat_map(|set| set.redactions()).collect(),
    };
    words.sort_unstable();
    words.dedup();
    words.retain(|word| guards.can_redact(std::slice::from_ref(word)));
    words
}

/// The permit to read a server's lists for the gateway's own sake: what comes back reaches no caller.
pub(crate) fn upkeep() -> (Permit, View) {
    (Permit::new(Judged::allowed(None, Timestamp::now())), View::Whole)
}

/// Whether an endpoint is as good as not there for whoever comes: it has a name, and nothing of it may be seen.
pub(crate) fn hides(gateway: &Gateway, caller: &Identified, era: Era, at: &Endpoint) -> bool {
    let (Some(name), rules) = (at.name(), gateway.policing().rules()) else { return false };
    let Some(sets) = rules.sets() else { return false };
    let who = caller.who();
    let Some(set) = sets.get(&who.tenant) else { return true };
    let scene = Scene { now: Timestamp::now(), source: caller.source(), endpoint: name.as_str(), era };
    let visible = |server: &ServerName| set.visible(who, server, &scene);
    let Shape::Toolset(toolset) = at.shape() else {
        return at.servers().iter().all(|server| visible(server).is_nothing());
    };
    let could_be = |pick: &Pick, server: &ServerName, one: fn(&Visible, &str) -> bool| match pick {
        Pick::All => !visible(server).is_nothing(),
        Pick::Native(native) => one(&visible(server), native),
    };
    let tools = toolset.tools.iter().any(|choice| could_be(&choice.pick, &choice.server, Visible::tool));
    let prompts =
        toolset.prompts.iter().any(|choice| could_be(&choice.pick, &choice.server, Visible::prompt));
    let resources = toolset.resources.iter().any(|choice| match &choice.uris {
        UriPick::Exact(uri) => visible(&choice.server).resource(uri),
        UriPick::All | UriPick::Prefix(_) => !visible(&choice.server).is_nothing(),
    });
    !(tools || prompts || resources)
}

/// The permit to look at the one server of an endpoint.
pub(crate) fn look_at(
    gateway: &Gateway,
    caller: &Caller,
    server: &ServerName,
) -> Result<(Permit, View), Refusal> {
    let rules = gateway.policing().rules();
    let seen = look_by(&rules, caller, Some(server), server).ok_or_else(|| {
        let set = rules.sets().and_then(|sets| sets.get(caller.tenant()));
        no_endpoint().judged(hidden(set))
    })?;
    block::server(gateway, caller, server)?;
    Ok(seen)
}

/// The refusal of an endpoint that is not there, as far as a caller can know.
pub(crate) fn no_endpoint() -> Refusal {
    let text = "no server or toolset of this name is served here";
    Refusal::new(Stage::Transport, Code::UnknownEndpoint, text)
}

fn built_in(caller: &Caller) -> Result<Permit, Refusal> {
    let now = Timestamp::now();
    if caller.who.proof == Proof::Local {
        return Ok(Permit::new(Judged::allowed(None, now)));
    }
    let refusal = Refusal::new(Stage::Policy, Code::Denied, "no policy allows this caller to use it");
    Err(refusal.judged(Arc::new(Judged::new(Decision::denied(), None, now))))
}

/// That nothing is to be seen of what a caller asks for, by these policies.
fn hidden(set: Option<&Arc<PolicySet>>) -> Arc<Judged> {
    Arc::new(Judged::hidden(set.map(|set| Arc::clone(set.digest())), Timestamp::now()))
}

/// The circumstances of what a caller does now.
fn scene<'a>(caller: &Caller, endpoint: Option<&'a EndpointName>) -> Scene<'a> {
    Scene {
        now: Timestamp::now(),
        source: caller.source,
        endpoint: endpoint.map_or("", EndpointName::as_str),
        era: caller.client.revision.era(),
    }
}

fn by_set(
    gateway: &Gateway,
    (set, shadow): (&Arc<PolicySet>, Option<&Arc<PolicySet>>),
    inbound: &Inbound,
    resolved: &Resolved,
) -> Result<Considered, Refusal> {
    let started = Instant::now();
    let (caller, server) = (&inbound.caller, resolved.server().name());
    let scene = scene(caller, inbound.endpoint.name());
    let mut joined = Bytes::new();
    let message;
    let what = match &resolved.target().key {
        Some(("uri", uri)) => {
            message = inbound.message.bytes();
            What::Read { uri }
        }
        Some(("name", native)) if inbound.message.method() == methods::TOOLS_CALL => {
            let arguments;
            (message, arguments) = leaving(inbound, resolved, &mut joined);
            What::Call { native, arguments }
        }
        Some(("name", native)) => {
            let is_get = inbound.message.method() == methods::PROMPTS_GET;
            let arguments;
            (message, arguments) = leaving(inbound, resolved, &mut joined);
            What::Get { native, arguments: if is_get { arguments } else { None } }
        }
        // About a server, or a task of it, as a whole.
        key => {
            let task = key.as_ref().map(|(_, native)| native.as_str());
            return match look_by(&gateway.policing().rules(), caller, inbound.endpoint.name(), server) {
                Some((permit, view))
                    if task.is_none_or(|task| shows_task(gateway, resolved, caller, task, &view)) =>
                {
                    Ok(Considered::Permit(permit))
                }
                _ => Err(unknown(inbound, resolved).judged(hidden(Some(set)))),
            };
        }
    };
    let ask = Ask { server, what, scene };
    let mut judged = Judged::new(set.decide(&caller.who, &ask), Some(Arc::clone(set.digest())), scene.now);
    let looker = shadow.map(|set| Looker {
        policing: gateway.policing(),
        set,
        caller,
        server: resolved.server().id(),
    });
    if let What::Call { native, .. } = what
        && !gateway.policing().definitions().has(resolved.server().id(), native)
    {
        // Whatever a rule over all tools says. It takes no less time than for one that is hidden.
        let errors = vec!["no list of its server has shown such a tool".to_owned()];
        judged.decision = Decision { errors, ..Decision::denied() };
        judged.is_hidden = true;
        if let Some(looker) = looker {
            looker.wait(&ask);
        }
        return Err(refuse(inbound, resolved, judged, what, started));
    }
    let obligations = &judged.decision.obligations;
    if judged.decision.allowed && obligations.approvals.is_empty() && guard::will_keep(inbound, obligations) {
        counters::decided(Verdict::Allowed);
        let permit = Permit::new(judged);
        return Ok(Considered::Permit(match shadow {
            None => permit,
            Some(set) => permit.watched(gateway, set, inbound, (resolved.server().id(), what), message),
        }));
    }
    judged.shadow = looker.and_then(|looker| looker.look(&ask, &judged));
    let obligations = &judged.decision.obligations;
    if judged.decision.allowed && guard::will_keep(inbound, obligations) && approve::can_be_asked(inbound) {
        let needs = Needs { judged: Arc::new(judged), held: Vec::new() };
        if !approve::is_cleared(gateway, inbound, resolved, &needs.judged) {
            return Ok(Considered::Needs(needs));
        }
        counters::decided(Verdict::Allowed);
        return Ok(Considered::Permit(Permit { judged: needs.judged, shadow: None }));
    }
    let visible = set.visible(&caller.who, server, &scene);
    judged.is_hidden = !judged.decision.allowed
        && match what {
            What::Call { native, .. } => !visible.tool(native),
            What::Read { .. } => true,
            What::Get { native, .. } => !visible.prompt(native),
        };
    Err(refuse(inbound, resolved, judged, what, started))
}

/// The refusal of what policy does not allow, as a line in the log and as the caller gets it.
fn refuse(
    inbound: &Inbound,
    resolved: &Resolved,
    judged: Judged,
    what: What<'_>,
    started: Instant,
) -> Refusal {
    let (caller, server) = (&inbound.caller, resolved.server().name());
    let request_id = inbound.record.id().to_string();
    let (kind, native) = match what {
        What::Call { native, .. } => ("tool", native),
        What::Read { uri } => ("resource", uri),
        What::Get { native, .. } => ("prompt", native),
    };
    Denied {
        who: &caller.who,
        endpoint: inbound.endpoint.name().map_or("", EndpointName::as_str),
        server: resolved.server().id(),
        kind,
        native,
        decision: &judged.decision,
        is_hidden: judged.is_hidden,
        request_id: &request_id,
        elapsed: started.elapsed(),
    }
    .emit();
    let refusal =
        if judged.is_hidden { unknown(inbound, resolved) } else { denied(&judged.decision, kind).of(server) };
    refusal.judged(Arc::new(judged))
}

/// Whether a caller may still follow a task: it is as the tool that was called. Of the oldest tasks of very many that tool
/// is not remembered any more.
fn shows_task(gateway: &Gateway, resolved: &Resolved, caller: &Caller, task: &str, view: &View) -> bool {
    let tool = gateway.tasks().tool_of(caller, resolved.server().id(), task);
    tool.is_none_or(|tool| view.shows(ListKind::Tools, &tool))
}

/// The arguments as they leave, and the bytes that they stand in. `joined` is room for what is put together.
fn leaving<'a>(
    inbound: &'a Inbound,
    resolved: &Resolved,
    joined: &'a mut Bytes,
) -> (&'a Bytes, Option<(&'a [u8], Span)>) {
    let target = resolved.target();
    if !target.changes_arguments() {
        let message = inbound.message.bytes();
        return (message, inbound.message.member("arguments").map(|span| (&**message, span)));
    }
    *joined = bridge::arguments(&inbound.message, target);
    (joined, Some((&**joined, Span::all(joined))))
}

/// The refusal of what does not exist for this caller: exactly as if it did not for anyone.
fn unknown(inbound: &Inbound, resolved: &Resolved) -> Refusal {
    resolve::unknown(inbound, resolved)
}

fn denied(decision: &Decision, kind: &str) -> Refusal {
    let text = if !decision.obligations.approvals.is_empty() {
        let groups = decision.obligations.approvals.join(", ");
        format!(
            "policy allows this only once somebody of {groups} has approved it, which cannot be asked for here"
        )
    } else if !decision.obligations.redactions.is_empty() {
        let what = decision.obligations.redactions.join(", ");
        format!("policy allows this only with {what} taken out of it, which no guard can do")
    } else if !decision.obligations.holds.is_empty() {
        let what = decision.obligations.holds.join(", ");
        format!("policy allows this only once people have agreed to {what} in it, which no guard looks for")
    } else if !decision.reasons.is_empty() {
        format!("policy does not allow this: {}", decision.reasons.join("; "))
    } else if decision.could_differ {
        format!("policy does not allow this {kind} with these arguments, now or from here")
    } else {
        format!("policy does not allow this {kind}")
    };
    let could_differ = decision.could_differ && !decision.allowed;
    let (policies, reasons) = (decision.policies.clone(), decision.reasons.clone());
    let denial = Denial { policies, reasons, could_differ };
    Refusal::new(Stage::Policy, Code::Denied, text).denying(denial)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_model::Why;

    #[test]
    fn an_obligation_that_cannot_be_kept_denies_and_says_so() {
        let mut decision = Decision { allowed: true, could_differ: true, ..Decision::denied() };
        decision.obligations.approvals.push("finance-leads".into());
        let refusal = denied(&decision, "tool");
        assert!(refusal.public.contains("finance-leads") && refusal.public.contains("approved"));
        let why = refusal.why.expect("a reason");
        assert!(matches!(*why, Why::Denied(denial) if !denial.could_differ), "other arguments need it too");
    }
}
