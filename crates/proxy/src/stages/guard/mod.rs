//! Is what passes clean?
//!
//! Arguments are looked at once policy has allowed them, before they count; what servers say before it becomes a message for
//! the client, and what they define when it is learnt ([`definitions`]). What is found is on record and counted, never itself. Where nothing is found no byte is changed.

mod definitions;
mod neighbours;
mod pseudonyms;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tollgate_approvals::Hold;
use tollgate_guard::{
    Action, Beyond, Bound, Guard, Guards, Inspection, Noted, PseudonymSettings, Pseudonyms, Reading, Set,
    Subject,
};
use tollgate_mcp::{Limits, Message, Span, meta, methods, quote};
use tollgate_model::{Caller, Code, Era, Obligations, Refusal, Secret, ServerId, Stage, TenantId};
use tollgate_store::StoreError;
use tollgate_telemetry::events::GuardFound;

use super::Resolved;
use super::approve;
use super::record::{self, CallRecord};
use crate::bridge;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::seal::NoRandomness;
use crate::snapshot::Snapshot;

pub(crate) use definitions::{Definitions, are_judged, hello, hides_resource, items, page};
use pseudonyms::Shared;
pub(crate) use pseudonyms::{Owner, Table as PseudonymTable};

/// Members of results that are the protocol's own.
const OF_PROTOCOL: &[&str] = &["resultType", "nextCursor", "requestState"];
/// Members of notifications that are.
const OF_NOTIFICATIONS: &[&str] = &["progressToken", "level"];
/// Members of a request that are never changed, since they would name something else; and the gateway's own.
const NAMING: &[&str] = &["uri", "ref", "requestState"];
/// Metadata of a request that is the protocol's own, or made anew.
const OF_METADATA: &[&str] =
    &[meta::PROTOCOL_VERSION, meta::CLIENT_CAPABILITIES, meta::LOG_LEVEL, meta::PROGRESS_TOKEN];
/// Members of an envelope that JSON-RPC knows.
const OF_ENVELOPE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];

/// Messages of more bytes than this are looked at apart, and so many at once.
const APART_BYTES: usize = 256 << 10;
static APART: Semaphore = Semaphore::const_new(2);
/// How often a result is looked at while other gateways are quicker to give names.
const TURNS_MAX: u32 = 8;
/// How many findings are told one by one.
const FOUND_MAX: usize = 32;

/// What becomes of something that a server says during a request.
pub(crate) enum Said {
    /// It passes.
    AsItIs,
    /// This passes.
    Changed(Box<Message>),
    /// It does not.
    Never,
}

/// The key of this process that digests are made with: of one text the same for as long as it runs.
pub(crate) fn key() -> Result<&'static [u8], NoRandomness> {
    static KEY: OnceLock<[u8; 32]> = OnceLock::new();
    if let Some(key) = KEY.get() {
        return Ok(key);
    }
    let mut key = [0; 32];
    SystemRandom::new().fill(&mut key).map_err(|_| NoRandomness)?;
    Ok(KEY.get_or_init(|| key))
}

/// Whose words are looked at, and where it is told what was found in them.
pub(crate) struct Desk<'a> {
    gateway: &'a Gateway,
    set: Arc<Set>,
    bound: Bound,
    tenant: &'a TenantId,
    /// Who gets the names that stand for texts.
    caller: Option<(&'a Caller, PseudonymSettings)>,
    record: Option<&'a CallRecord>,
    /// The key by which other gateways know them too.
    key: Option<Secret>,
    /// What takes out of it what policy demands.
    redacting: Option<Arc<Guard>>,
}

impl<'a> Desk<'a> {
    /// The words are of a request's.
    pub(crate) fn of(gateway: &'a Gateway, inbound: &'a Inbound, server: &ServerId) -> Self {
        let tenant = inbound.caller.tenant();
        let tool = inbound.record.tool();
        let set = inbound.snapshot.guards.at(tenant.as_str(), server.name().as_str(), tool.as_deref());
        let words = inbound.record.redactions();
        // Whoever allowed it has seen to it that each of them stands for something.
        let redacting = if words.is_empty() { None } else { set.redacting(&words) };
        let caller = Some((&inbound.caller, inbound.snapshot.guards.pseudonyms()));
        let bound = inbound.snapshot.guards.bound();
        let key = inbound.snapshot.guards.pseudonym_key().cloned();
        Self { gateway, set, bound, tenant, caller, record: Some(&inbound.record), key, redacting }
    }

    /// They belong to no request.
    pub(crate) fn beside(
        gateway: &'a Gateway,
        guards: &Guards,
        (tenant, caller): (&'a TenantId, Option<&'a Caller>),
        (server, tool): (&ServerId, Option<&str>),
    ) -> Self {
        let set = guards.at(tenant.as_str(), server.name().as_str(), tool);
        let caller = caller.map(|caller| (caller, guards.pseudonyms()));
        let (bound, key) = (guards.bound(), guards.pseudonym_key().cloned());
        Self { gateway, set, bound, tenant, caller, record: None, key, redacting: None }
    }

    /// The same of a request that is not there any more: what had to be taken out of its answer still has to be.
    pub(crate) fn redacting(self, words: &[Arc<str>]) -> Self {
        let redacting = if words.is_empty() { None } else { self.set.redacting(words) };
        Self { redacting: redacting.or(self.redacting), ..self }
    }

    /// What looks at what servers say.
    fn of_results(&self) -> Option<&Guard> {
        self.redacting.as_deref().or(self.set.results.as_ref())
    }

    /// Looks at a part of a message, and tells of what was found.
    fn look(
        &self,
        guard: &Guard,
        (place, server): (&'static str, &ServerId),
        (message, part): (&Message, Span),
        (reading, except): (Reading<'_>, &[&str]),
    ) -> Inspection {
        self.look_at(guard, (place, server), (message.bytes(), part), (reading, except), true)
    }

    /// The same of a part of other bytes.
    fn look_at(
        &self,
        guard: &Guard,
        (place, server): (&'static str, &ServerId),
        (bytes, part): (&Bytes, Span),
        (reading, except): (Reading<'_>, &[&str]),
        tells: bool,
    ) -> Inspection {
        let length = part.of(bytes).len();
        if length > self.bound.bytes_max {
            return self.too_large(guard, place, server, length);
        }
        // What waits for nobody gets no name that the store would have to hear of first.
        let names = self.caller.as_ref().filter(|_| guard.pseudonymises());
        let names = names.and_then(|(caller, settings)| self.names(caller, *settings));
        let names = names.as_deref();
        let inspection = self.inspect(guard, (bytes, part), (reading, except), names);
        if tells {
            self.tell(guard, place, server, &inspection);
        }
        inspection
    }

    /// Has something looked at on a thread of its own: others wait for those that serve connections. None if nobody could.
    async fn apart<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Desk<'_>) -> T + Send + 'static,
    ) -> Option<T> {
        let (gateway, set, redacting) = (self.gateway.clone(), Arc::clone(&self.set), self.redacting.clone());
        let (bound, tenant, key) = (self.bound, self.tenant.clone(), self.key.clone());
        let caller = self.caller.map(|(caller, settings)| (caller.clone(), settings));
        // It is never closed.
        let place = APART.acquire().await;
        let looking = tokio::task::spawn_blocking(move || {
            let caller = caller.as_ref().map(|(caller, settings)| (caller, *settings));
            let desk =
                Desk { gateway: &gateway, set, bound, tenant: &tenant, caller, record: None, key, redacting };
            let looked = look(&desk);
            drop(place);
            looked
        });
        looking.await.ok()
    }

    /// Looks at much that a server has answered, and at what stands beside it, on a thread of its own.
    async fn look_apart(
        &self,
        guard: &Guard,
        server: &ServerId,
        (message, body): (&Message, Span),
    ) -> (Inspection, Vec<(Span, Inspection)>) {
        let bytes = body.of(message.bytes()).len();
        let too_large =
            (bytes > self.bound.bytes_max).then(|| self.too_large(guard, "result", server, bytes));
        let is_read = too_large.is_none();
        let (apart, at) = (message.clone(), server.clone());
        let looked = self.apart(move |desk| {
            let (guard, of) = (desk.of_results()?, ("result", &at));
            let how = (reading_of(&apart), OF_PROTOCOL);
            let look = || desk.look_at(guard, of, (apart.bytes(), body), how, false);
            let inspection = if is_read { look() } else { Inspection::default() };
            Some((inspection, desk.look_around(guard, of, &apart, false)))
        });
        let Some((inspection, around)) = looked.await.flatten() else {
            // What could not be looked at does not pass.
            return (Inspection { blocked: Some(None), ..Inspection::default() }, Vec::new());
        };
        self.tell(guard, "result", server, &inspection);
        for (_, beside) in &around {
            self.tell(guard, "result", server, beside);
        }
        (too_large.unwrap_or(inspection), around)
    }

    fn names<'n>(&'n self, caller: &Caller, settings: PseudonymSettings) -> Option<Box<dyn Pseudonyms + 'n>> {
        match shared(self.gateway, self.key.as_ref(), caller, settings) {
            Some(shared) => Some(Box::new(shared)),
            None => Some(Box::new(self.gateway.pseudonyms().of(
                Owner::of(caller),
                (self.gateway.sealer(), key().ok()?),
                settings,
            ))),
        }
    }

    fn inspect(
        &self,
        guard: &Guard,
        (bytes, part): (&Bytes, Span),
        (reading, except): (Reading<'_>, &[&str]),
        pseudonyms: Option<&dyn Pseudonyms>,
    ) -> Inspection {
        let subject = Subject { reading, except, tenant: self.tenant.as_str(), pseudonyms };
        guard.inspect_as(bytes, part, &subject)
    }

    /// Looks at what a server has answered to somebody whose names other gateways know too: none leaves that the store does not have.
    async fn look_shared(
        &self,
        guard: &Guard,
        server: &ServerId,
        (message, body): (&Message, Span),
        mut names: Shared<'_>,
    ) -> Inspection {
        let bytes = body.of(message.bytes()).len();
        if bytes > self.bound.bytes_max {
            return self.too_large(guard, "result", server, bytes);
        }
        let how = || (reading_of(message), OF_PROTOCOL);
        let mut kept = names.read(false).await;
        names = names.giving();
        let mut inspection = self.inspect(guard, (message.bytes(), body), how(), Some(&names));
        for turn in 1.. {
            kept = match kept {
                Ok(()) => match names.keep().await {
                    Ok(true) => break,
                    // Another gateway was quicker.
                    Ok(false) if turn < TURNS_MAX => names.read(true).await,
                    Ok(false) => Err(StoreError::Overtaken),
                    Err(error) => Err(error),
                },
                Err(error) => {
                    tracing::warn!(server = %server.label(), %error, "no new name could be given: texts are masked");
                    // Then only those that are known stand there.
                    names = names.giving_none();
                    inspection = self.inspect(guard, (message.bytes(), body), how(), Some(&names));
                    break;
                }
            };
            inspection = self.inspect(guard, (message.bytes(), body), how(), Some(&names));
        }
        self.tell(guard, "result", server, &inspection);
        inspection
    }

    fn tell(&self, guard: &Guard, place: &'static str, server: &ServerId, inspection: &Inspection) {
        if inspection.noted.is_empty() {
            return;
        }
        for noted in &inspection.noted {
            let (rule, action) = (guard.scanner().id(noted.rule), noted.action.as_str());
            GuardFound { rule: &rule, action, place, path: &noted.path, server, tenant: self.tenant }.emit();
        }
        if !self.gateway.ledger().is_on() {
            return;
        }
        let all = inspection.noted.iter().map(|noted| found(guard, place, noted));
        if let Some(record) = self.record {
            record.guarded(all);
        } else {
            let all: Vec<Value> = all.collect();
            record::upkeep(self.gateway, server, None, [("guard", all.into())]);
        }
    }

    /// What is larger than what is looked at: on record, whatever becomes of it.
    fn too_large(&self, guard: &Guard, place: &'static str, server: &ServerId, bytes: usize) -> Inspection {
        let is_let = !guard.acts() || self.bound.beyond == Beyond::Report;
        // What has to be taken out cannot be known to be out.
        let does_pass = is_let && !guard.has_demands();
        let action = if does_pass { Action::Report } else { Action::Block }.as_str();
        let rule = "guard.too_large";
        GuardFound { rule, action, place, path: "", server, tenant: self.tenant }.emit();
        if self.gateway.ledger().is_on() {
            let found = json!({"rule": rule, "bytes": bytes, "action": action, "in": place});
            match self.record {
                Some(record) => record.guarded(std::iter::once(found)),
                None => record::upkeep(self.gateway, server, None, [("guard", vec![found].into())]),
            }
        }
        let blocked = if does_pass { None } else { Some(None) };
        Inspection { is_too_large: true, blocked, ..Inspection::default() }
    }

    /// Looks at what a server says by itself: progress, lines of its log, how a task is.
    pub(crate) fn said(&self, server: &ServerId, message: &Message) -> Said {
        let Some(guard) = self.of_results() else { return Said::AsItIs };
        self.passes(guard, ("notification", server), message, (reading_of(message), OF_NOTIFICATIONS))
    }

    /// Looks at what a server asks.
    pub(crate) fn asked(&self, server: &ServerId, message: &Message) -> Said {
        let Some(guard) = self.of_results() else { return Said::AsItIs };
        self.passes(guard, ("question", server), message, (Reading::Question, &[]))
    }

    /// Looks at what a client answers to what a server asks.
    pub(crate) fn answered(&self, server: &ServerId, message: &Message) -> Said {
        let Some(guard) = &self.set.arguments else { return Said::AsItIs };
        self.passes(guard, ("arguments", server), message, (Reading::Words, &[]))
    }

    fn passes(
        &self,
        guard: &Guard,
        place: (&'static str, &ServerId),
        message: &Message,
        how: (Reading<'_>, &[&str]),
    ) -> Said {
        // Also where there is nothing but what stands beside it.
        let body = message.body();
        let inspection =
            body.map_or_else(Inspection::default, |body| self.look(guard, place, (message, body), how));
        let Some(around) = changes(self.look_around(guard, place, message, true)) else {
            return Said::Never;
        };
        match changed(message, body.unwrap_or_default(), &inspection, around) {
            // Nobody can be asked about it.
            Ok(_) if inspection.blocked.is_some() || !inspection.held.is_empty() => Said::Never,
            Ok(None) => Said::AsItIs,
            Ok(Some(changed)) => Said::Changed(changed),
            Err(()) => Said::Never,
        }
    }

    /// Looks at what stands beside the body of a message, since whoever gets it gets that too.
    fn look_around(
        &self,
        guard: &Guard,
        place: (&'static str, &ServerId),
        message: &Message,
        tells: bool,
    ) -> Vec<(Span, Inspection)> {
        let bytes = message.bytes();
        let beside = message.envelope().iter().filter(|member| !OF_ENVELOPE.contains(&&*member.key(bytes)));
        let look = |part| self.look_at(guard, place, (bytes, part), (Reading::Words, &[]), tells);
        beside.map(|member| (member.value, look(member.value))).collect()
    }
}

/// What is to be changed of parts that were looked at. None if one of them may not pass.
fn changes(looked: Vec<(Span, Inspection)>) -> Option<Vec<(Span, Bytes)>> {
    let mut changes = Vec::new();
    for (part, inspection) in looked {
        if inspection.blocked.is_some() || !inspection.held.is_empty() {
            return None;
        }
        changes.extend(inspection.changed.map(|changed| (part, changed)));
    }
    Some(changes)
}

/// The names of a caller, where other gateways know them too.
fn shared<'a>(
    gateway: &'a Gateway,
    key: Option<&Secret>,
    caller: &Caller,
    settings: PseudonymSettings,
) -> Option<Shared<'a>> {
    let (key, owner) = (key?, Owner::of(caller));
    if !owner.moves() {
        return None;
    }
    Shared::new(&gateway.pseudonyms().shared, gateway.pins().store()?, &owner, (key, settings)).ok()
}

/// Whether anything may be taken out of results: by what is configured, by somebody outside, or since policy demands it.
pub(crate) fn may_change_results(gateway: &Gateway, snapshot: &Snapshot) -> bool {
    snapshot.guards.may_change_results()
        || snapshot.outsiders.iter().next().is_some()
        || gateway.policing().is_on()
}

/// Remembers which tool a request is about, where something may be said of it alone.
pub(crate) fn knows(inbound: &Inbound, resolved: &Resolved) {
    if inbound.snapshot.guards.tell_tools_apart()
        && inbound.is_tool_call()
        && let Some(native) = resolved.native()
    {
        inbound.record.is_about_tool(native.into());
    }
}

/// Whether there is a guard that takes out what policy demands, and one that looks for what it wants people to agree to. What is
/// to be taken out is from now on.
pub(crate) fn will_keep(inbound: &Inbound, obligations: &Obligations) -> bool {
    let (words, guards) = (&obligations.redactions, &inbound.snapshot.guards);
    if !obligations.holds.is_empty() && guards.holding(&obligations.holds).is_none() {
        return false;
    }
    if words.is_empty() {
        return true;
    }
    let will = guards.can_redact(words);
    if will {
        inbound.record.redacts(words);
    }
    will
}

/// Puts texts back into the arguments of a call or prompt in place of the names that the caller was given for them, if its server
/// may have them. Gives back the request as it goes on, where that is another. Nothing has been decided yet.
pub(crate) async fn restored(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
) -> Option<Box<Inbound>> {
    let guards = &inbound.snapshot.guards;
    if !guards.may_restore() {
        return None;
    }
    let (server, tenant) = (resolved.server(), inbound.caller.tenant());
    let tool = inbound.record.tool();
    if !guards.at(tenant.as_str(), server.name().as_str(), tool.as_deref()).restores {
        return None;
    }
    let arguments = inbound.message.member("arguments")?;
    let (caller, settings) = (&inbound.caller, guards.pseudonyms());
    let names: Box<dyn Pseudonyms + Send + Sync> = match shared(
        gateway,
        guards.pseudonym_key(),
        caller,
        settings,
    ) {
        None => {
            Box::new(gateway.pseudonyms().of(Owner::of(caller), (gateway.sealer(), key().ok()?), settings))
        }
        Some(shared) => {
            let written = tollgate_guard::written(inbound.message.bytes(), arguments);
            if written.is_empty() {
                return None;
            }
            let is_known = shared.knows(written.into_iter());
            if let Err(error) = Box::pin(shared.read(!is_known)).await {
                tracing::warn!(%error, "what names stand for could not be read: they leave as they are written");
            }
            Box::new(shared)
        }
    };
    let mut put_back = BTreeSet::new();
    let text = |name: &str| names.text(name);
    let restored = tollgate_guard::restored(inbound.message.bytes(), arguments, |name| {
        let text = text(name)?;
        put_back.insert(name.to_owned());
        Some(text)
    })?;
    let message = with(&inbound.message, &[(arguments, restored)])?;
    let told = put_back
        .iter()
        .take(FOUND_MAX)
        .map(|name| json!({"in": "arguments", "action": "restore", "name": name}));
    inbound.record.guarded(told);
    Some(goes_on(inbound, resolved, message))
}

/// Looks at what a call, read, prompt or completion is about, at its arguments, and at whatever else of it leaves. Gives back the
/// request as it goes on, where that is another: it has to be decided on again. What people have to agree to is put into `held`.
pub(crate) async fn arguments(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    held: &mut Vec<Hold>,
) -> Result<Option<Box<Inbound>>, Refusal> {
    let is_much = inbound.message.bytes().len() > APART_BYTES;
    let apart = if is_much { Box::pin(much(gateway, inbound, resolved)).await } else { Vec::new() };
    leaving(gateway, inbound, resolved, &apart, held)
}

/// The parts of a request that leave, but for what it is about: that is known, or a server's own.
fn parts<'m>(message: &'m Message, resolved: &'m Resolved) -> impl Iterator<Item = (Cow<'m, str>, Span)> {
    let meant = resolved.target().key.as_ref().map_or("cursor", |(member, _)| *member);
    let leaving = message.members().iter().map(move |member| (member, NAMING, meant));
    // Servers get what stands beside the parameters too.
    let leaving = leaving.chain(message.envelope().iter().map(|member| (member, OF_ENVELOPE, "")));
    leaving.filter_map(move |(member, known, meant)| {
        let name = member.key(message.bytes());
        (name != meant && !known.contains(&&*name)).then_some((name, member.value))
    })
}

/// What of a part that leaves is not looked at.
const fn except(is_metadata: bool) -> &'static [&'static str] {
    if is_metadata { OF_METADATA } else { &[] }
}

/// Looks at the parts of a large request on a thread of its own. What is too large is left to whoever tells of that.
async fn much(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Vec<(Span, Inspection)> {
    let (server, message) = (resolved.server(), &inbound.message);
    let desk = Desk::of(gateway, inbound, server.id());
    let Some(guard) = &desk.set.arguments else { return Vec::new() };
    let all: Vec<(Span, bool)> = parts(message, resolved)
        .filter(|(_, part)| part.of(message.bytes()).len() <= desk.bound.bytes_max)
        .map(|(name, part)| (part, name == "_meta"))
        .collect();
    let (apart, at) = (message.clone(), server.id().clone());
    let looked = desk.apart(move |desk| {
        let guard = desk.set.arguments.as_ref()?;
        let look = |(part, is_metadata)| {
            let how = (Reading::Words, except(is_metadata));
            (part, desk.look_at(guard, ("arguments", &at), (apart.bytes(), part), how, false))
        };
        Some(all.into_iter().map(look).collect::<Vec<_>>())
    });
    let looked = looked.await.flatten().unwrap_or_default();
    for (_, inspection) in &looked {
        desk.tell(guard, "arguments", server.id(), inspection);
    }
    looked
}

/// Judges a request by what is found in what leaves of it. `apart`: what was looked at before, in the same order.
fn leaving(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    apart: &[(Span, Inspection)],
    held: &mut Vec<Hold>,
) -> Result<Option<Box<Inbound>>, Refusal> {
    definitions::refuse_withheld(gateway, inbound, resolved)?;
    let (server, message) = (resolved.server(), &inbound.message);
    let desk = Desk::of(gateway, inbound, server.id());
    let Some(guard) = &desk.set.arguments else { return Ok(None) };
    let look = |part, except: &[&str]| {
        desk.look(guard, ("arguments", server.id()), (message, part), (Reading::Words, except))
    };
    let refused = |inspection: &Inspection| refuse("arguments", guard, inspection).of(server.name());
    let (mut changes, mut apart) = (Vec::new(), apart.iter().peekable());
    for (name, part) in parts(message, resolved) {
        let before = apart.next_if(|(looked, _)| *looked == part);
        let before = before.map(|(_, inspection)| inspection.clone());
        let mut inspection = before.unwrap_or_else(|| look(part, except(name == "_meta")));
        // What people agree to is the call: not what its client answers meanwhile.
        wait(&mut inspection, name != "inputResponses" && approve::can_be_asked(inbound), guard, held);
        match inspection.changed {
            _ if inspection.blocked.is_some() => return Err(refused(&inspection)),
            Some(changed) => changes.push((part, changed)),
            None => {}
        }
    }
    // Another URI would be another resource.
    for part in ["uri", "ref"].iter().filter_map(|member| message.member(member)) {
        let mut inspection = look(part, &[]);
        wait(&mut inspection, approve::can_be_asked(inbound), guard, held);
        if inspection.blocked.is_some() || inspection.changed.is_some() {
            return Err(refused(&inspection));
        }
    }
    // What is said beside a trace leaves as headers too, and may have come as such. It stays here where it may not leave as it is.
    let (state, baggage) = inbound.record.beside_trace();
    for (key, text) in [(meta::TRACESTATE, state), (meta::BAGGAGE, baggage)] {
        let Some(text) = text.map(quote) else { continue };
        let (place, part) = (("arguments", server.id()), (&text, Span::all(&text)));
        let is_untold = message.meta_member(key).is_none();
        let inspection = desk.look_at(guard, place, part, (Reading::Words, &[]), is_untold);
        if inspection.blocked.is_some() || inspection.changed.is_some() || !inspection.held.is_empty() {
            inbound.record.leaves_bare();
        }
    }
    if changes.is_empty() {
        return Ok(None);
    }
    let message = with(message, &changes).ok_or_else(|| refused(&Inspection::default()))?;
    Ok(Some(goes_on(inbound, resolved, message)))
}

/// Looks at the URI of a resource that a client wants to hear of: it leaves as it is, or not at all.
pub(crate) fn watches(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Result<(), Refusal> {
    let (server, Some(native)) = (resolved.server(), resolved.native()) else { return Ok(()) };
    let desk = Desk::of(gateway, inbound, server.id());
    let Some(guard) = &desk.set.arguments else { return Ok(()) };
    let uri = quote(native);
    let (place, part) = (("arguments", server.id()), (&uri, Span::all(&uri)));
    let inspection = desk.look_at(guard, place, part, (Reading::Words, &[]), true);
    // Nobody can be asked about it, and another URI would be another resource.
    if inspection.blocked.is_some() || inspection.changed.is_some() || !inspection.held.is_empty() {
        return Err(refuse("arguments", guard, &inspection).of(server.name()));
    }
    Ok(())
}

/// What people have to agree to before it leaves, since a policy demands that of what is found in it: arguments, what is completed,
/// and URIs, as they leave. Tells of what it finds, unless it did before.
pub(crate) fn demanded(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    (obligations, tells): (&Obligations, bool),
) -> Result<Vec<Hold>, Refusal> {
    let mut held = Vec::new();
    if obligations.holds.is_empty() {
        return Ok(held);
    }
    let (server, message, target) = (resolved.server(), &inbound.message, resolved.target());
    let desk = Desk::of(gateway, inbound, server.id());
    let denied = |why| Refusal::new(Stage::Guard, Code::GuardBlocked, why).of(server.name());
    // Policy has seen to it that there is one.
    let guard = inbound.snapshot.guards.holding(&obligations.holds);
    let guard = guard.ok_or_else(|| denied("no guard knows what a policy wants looked for".to_owned()))?;
    let mut parts: Vec<(Bytes, Span)> = Vec::new();
    let of = |member: &str| Some((message.bytes().clone(), message.member(member)?));
    if target.changes_arguments() {
        let leaving = bridge::arguments(message, target);
        parts.push((leaving.clone(), Span::all(&leaving)));
    } else {
        parts.extend(of("arguments"));
    }
    parts.extend(["argument", "context", "uri"].iter().filter_map(|member| of(member)));
    for (bytes, part) in parts {
        let place = ("arguments", server.id());
        let mut inspection = desk.look_at(&guard, place, (&bytes, part), (Reading::Words, &[]), tells);
        wait(&mut inspection, approve::can_be_asked(inbound), &guard, &mut held);
        if inspection.blocked.is_some() {
            return Err(refuse("arguments", &guard, &inspection).of(server.name()));
        }
    }
    for hold in &mut held {
        let rules = hold.rules.join(", ");
        hold.why = format!("a policy demands it of arguments with `{rules}`").into();
    }
    Ok(held)
}

/// Has a request wait for people, or not pass where nobody can be asked.
fn wait(inspection: &mut Inspection, can_be_asked: bool, guard: &Guard, held: &mut Vec<Hold>) {
    let rules = std::mem::take(&mut inspection.held);
    if inspection.blocked.is_none() && !can_be_asked {
        inspection.blocked = rules.first().copied().map(Some);
        return;
    }
    for rule in rules {
        let id: Arc<str> = guard.scanner().id(rule).into();
        if held.iter().any(|hold| hold.rules.contains(&id)) {
            continue;
        }
        let why = format!("a content guard found `{id}` in the arguments");
        held.push(Hold { groups: Vec::new(), rules: vec![id], why: why.into() });
    }
}

/// A request as it goes on with another message. Headers that repeat its arguments are made anew.
fn goes_on(inbound: &Inbound, resolved: &Resolved, message: Message) -> Box<Inbound> {
    let inbound = Box::new(Inbound { message, ..inbound.at(&inbound.endpoint, &inbound.snapshot) });
    inbound.record.leaves(&inbound, resolved);
    inbound
}

/// A message with parts of it changed. None of what would be no message.
fn with(message: &Message, changes: &[(Span, Bytes)]) -> Option<Message> {
    let mut edit = message.edit();
    for (part, changed) in changes {
        edit.replace(*part, changed.clone());
    }
    // It was within its bounds before, and grows by what stands in place of something alone.
    let limits = Limits { bytes_max: usize::MAX, ..Limits::default() };
    Message::parse(edit.finish().into_bytes(), &limits).ok()
}

/// Looks at what a server has answered. Gives back the answer as it may pass, where that is another.
pub(crate) async fn result(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    message: &Message,
) -> Result<Option<Box<Message>>, Refusal> {
    let (server, desk) = (resolved.server(), Desk::of(gateway, inbound, resolved.server().id()));
    let Some(guard) = desk.of_results() else { return Ok(None) };
    let Some(body) = message.body() else { return Ok(None) };
    let shared = match &desk.caller {
        Some((caller, settings)) if guard.pseudonymises() => {
            shared(gateway, desk.key.as_ref(), caller, *settings)
        }
        _ => None,
    };
    let of = ("result", server.id());
    let beside = || desk.look_around(guard, of, message, true);
    let (inspection, around) = match shared {
        Some(names) => {
            (Box::pin(desk.look_shared(guard, server.id(), (message, body), names)).await, beside())
        }
        None if message.bytes().len() <= APART_BYTES => {
            (desk.look(guard, of, (message, body), (reading_of(message), OF_PROTOCOL)), beside())
        }
        None => Box::pin(desk.look_apart(guard, server.id(), (message, body))).await,
    };
    if inspection.blocked.is_some() {
        return Err(refuse("result", guard, &inspection).of(server.name()));
    }
    let refused = || refuse("result", guard, &inspection).of(server.name());
    let around = changes(around).ok_or_else(refused)?;
    changed(message, body, &inspection, around).map_err(|()| refused())
}

/// How something that a server says is read: what asks something, or names something, has to stay what it is.
fn reading_of(message: &Message) -> Reading<'static> {
    let asks = match message.method() {
        "" => message.member("inputRequests").is_some(),
        methods::NOTIFICATIONS_PROGRESS
        | methods::NOTIFICATIONS_MESSAGE
        | methods::NOTIFICATIONS_TASKS_STATUS => false,
        _ => true,
    };
    if asks { Reading::Question } else { Reading::Words }
}

/// What a server says of itself beside each of its answers, as this client may get it. Clients of the older era get none of it.
pub(crate) fn info(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerId,
    info: Option<&Bytes>,
) -> Option<Bytes> {
    let info = info?;
    if inbound.era() == Era::Legacy {
        return Some(info.clone());
    }
    let info = definitions::info(gateway, &inbound.snapshot, server, info.clone())?;
    let desk = Desk::of(gateway, inbound, server);
    let Some(guard) = desk.of_results() else { return Some(info) };
    let subject = Subject { tenant: desk.tenant.as_str(), ..Subject::default() };
    let inspection = guard.inspect_as(&info, Span::all(&info), &subject);
    if inspection.blocked.is_some() {
        return None;
    }
    Some(inspection.changed.unwrap_or(info))
}

/// What a client answers to what a server asks, as it may leave.
pub(crate) fn answer(
    gateway: &Gateway,
    caller: &Caller,
    server: &ServerId,
    message: Message,
) -> Option<Message> {
    let snapshot = gateway.snapshot();
    let desk = Desk::beside(gateway, &snapshot.guards, (caller.tenant(), Some(caller)), (server, None));
    match desk.answered(server, &message) {
        Said::AsItIs => Some(message),
        Said::Changed(changed) => Some(*changed),
        Said::Never => None,
    }
}

/// The same, with what may pass as it is given back.
pub(crate) async fn cleaned(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    message: Message,
) -> Result<Message, Refusal> {
    Ok(result(gateway, inbound, resolved, &message).await?.map_or(message, |clean| *clean))
}

/// A finding as it stands on record: never itself.
fn found(guard: &Guard, place: &'static str, noted: &Noted) -> Value {
    json!({
        "rule": guard.scanner().id(noted.rule),
        "severity": guard.scanner().severity(noted.rule).as_str(),
        "confidence": noted.confidence,
        "action": noted.action.as_str(),
        "in": place,
        "path": noted.path,
    })
}

/// The message with the part as it may pass, and with these changes around it; none if it may as it is. What cannot be a message does
/// not pass.
fn changed(
    message: &Message,
    part: Span,
    inspection: &Inspection,
    mut changes: Vec<(Span, Bytes)>,
) -> Result<Option<Box<Message>>, ()> {
    changes.extend(inspection.changed.clone().map(|changed| (part, changed)));
    if changes.is_empty() {
        return Ok(None);
    }
    with(message, &changes).map(|message| Some(Box::new(message))).ok_or(())
}

/// The refusal of something that a server says beside its results.
pub(crate) fn kept_back() -> Refusal {
    Refusal::new(Stage::Guard, Code::GuardBlocked, "a content guard keeps this from the client")
}

/// The refusal of what may not pass. It names the rule, and nothing of what it found.
fn refuse(place: &'static str, guard: &Guard, inspection: &Inspection) -> Refusal {
    let rule = inspection.blocked.or_else(|| inspection.held.first().copied().map(Some));
    let why = match rule {
        _ if inspection.is_too_large => format!("the {place} is larger than what content guards look at"),
        Some(Some(rule)) => format!("a content guard found `{}` in the {place}", guard.scanner().id(rule)),
        _ => format!("a content guard could not make the {place} clean"),
    };
    Refusal::new(Stage::Guard, Code::GuardBlocked, why)
}
