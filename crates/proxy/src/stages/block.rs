//! Has an operator stopped it?
//!
//! What is stopped comes with the stored state, and is looked at wherever policy decides: at every step of a call, so also
//! after whatever it had to wait for. It is looked at once policy has allowed something, so that a block tells nobody of what
//! is hidden from them. What is under way when a block comes is cut by [`cuts`], together with what was taken back.
//!
//! Nearly always nothing is stopped, and then all of this is one relaxed load.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tollgate_model::{Caller, Code, Principal, Refusal, ServerId, ServerName, Stage, TenantId, folded};
use tollgate_store::{Blockable, Blocking};

use super::Resolved;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::snapshot::Snapshot;

/// All that is stopped.
type All = HashMap<Blockable, Arc<Blocking>>;

/// What is stopped now.
#[derive(Debug)]
pub(crate) struct Blocks {
    /// Whether there is nothing to be looked at.
    is_quiet: AtomicBool,
    now: ArcSwap<Now>,
    /// Tells of every change of what servers and tools are stopped.
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Now {
    all: Arc<All>,
    /// The tools among it, by their names as a server takes them that does not look at case: it must not be asked for a tool
    /// that is stopped under another spelling of its name.
    tools: HashMap<Box<str>, Vec<Arc<Blocking>>>,
    /// Whether it cannot be found out what is stopped.
    is_unknown: bool,
}

/// Which servers and tools are stopped, or no longer, of which callers: none is those of every tenant.
pub(crate) type Changed = Vec<Blockable>;

impl Default for Blocks {
    fn default() -> Self {
        Self { is_quiet: AtomicBool::new(true), now: ArcSwap::default(), changes: watch::Sender::new(()) }
    }
}

impl Blocks {
    /// Whether nothing is stopped.
    #[inline]
    pub(crate) fn are_none(&self) -> bool {
        self.is_quiet.load(Ordering::Relaxed)
    }

    /// Tells of every change of what servers and tools are stopped.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Takes in what is stopped from now on. The servers and tools of which that is another word than before.
    pub(crate) fn take(&self, all: &Arc<All>, is_unknown: bool) -> Changed {
        let before = self.now.load_full();
        if Arc::ptr_eq(&before.all, all) && before.is_unknown == is_unknown {
            return Vec::new();
        }
        let mut tools: HashMap<Box<str>, Vec<Arc<Blocking>>> = HashMap::new();
        for (what, blocking) in &**all {
            if let Blockable::Tool { native, .. } = what {
                tools.entry(folded(native).into()).or_default().push(Arc::clone(blocking));
            }
        }
        self.now.store(Arc::new(Now { all: Arc::clone(all), tools, is_unknown }));
        self.is_quiet.store(all.is_empty() && !is_unknown, Ordering::Relaxed);
        let is_of_callers =
            |what: &&Blockable| matches!(what, Blockable::Server { .. } | Blockable::Tool { .. });
        let differs = |what: &&Blockable| before.all.contains_key(what) != all.contains_key(what);
        let changed: HashSet<&Blockable> = before.all.keys().chain(all.keys()).collect();
        changed.into_iter().filter(is_of_callers).filter(differs).cloned().collect()
    }

    /// Tells those who wait for it that servers or tools are stopped, or no longer.
    pub(crate) fn tell(&self) {
        self.changes.send_replace(());
    }

    /// How much of each kind is stopped.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let now = self.now.load();
        let of = |kind: &str| now.all.keys().filter(|what| what.kind() == kind).count() as u64;
        Blockable::KINDS.into_iter().map(|kind| (kind, of(kind))).collect()
    }

    /// All that is stopped.
    pub(crate) fn all(&self) -> Vec<Arc<Blocking>> {
        self.now.load().all.values().cloned().collect()
    }

    fn of_caller(&self, who: &Principal) -> Result<(), Refusal> {
        let now = self.now.load();
        if now.is_unknown {
            let text = "whether this is blocked cannot be found out: the stored state is not to be had";
            return Err(Refusal::new(Stage::Block, Code::IdentityUnavailable, text));
        }
        match Blockable::of_caller(who).find_map(|what| now.all.get(&what)) {
            Some(blocking) => Err(refusal(blocking)),
            None => Ok(()),
        }
    }

    fn of_server(&self, tenant: &TenantId, server: &ServerName) -> Result<(), Refusal> {
        let now = self.now.load();
        for tenant in [None, Some(tenant.clone())] {
            if let Some(blocking) = now.all.get(&Blockable::Server { tenant, server: server.clone() }) {
                return Err(refusal(blocking).of(server));
            }
        }
        Ok(())
    }

    fn of_tool(&self, tenant: &TenantId, server: &ServerName, native: &Arc<str>) -> Result<(), Refusal> {
        let now = self.now.load();
        let is_it = |blocking: &&Arc<Blocking>| match &blocking.what {
            Blockable::Tool { tenant: whose, server: of, .. } => {
                of == server && whose.as_ref().is_none_or(|whose| whose == tenant)
            }
            _ => false,
        };
        match now.tools.get(&*folded(native)).into_iter().flatten().find(is_it) {
            Some(blocking) => Err(refusal(blocking).of(server)),
            None => Ok(()),
        }
    }

    /// Whether no caller of any tenant that there is may use a server.
    pub(crate) fn stops(&self, snapshot: &Snapshot, server: &ServerId) -> bool {
        if self.are_none() {
            return false;
        }
        let now = self.now.load();
        let is_stopped = |tenant: &TenantId| {
            now.all.contains_key(&Blockable::Tenant { tenant: tenant.clone() })
                || self.of_server(tenant, server.name()).is_err()
        };
        let mut users = snapshot.tenants().filter(|tenant| server.holder().serves(tenant)).peekable();
        users.peek().is_some() && users.all(is_stopped)
    }
}

/// What is said to whoever is stopped: the operator's reason only where the operator wants it.
fn refusal(blocking: &Blocking) -> Refusal {
    let what = match &blocking.what {
        Blockable::Tool { .. } => "this tool",
        Blockable::Server { .. } => "this server",
        Blockable::Agent { .. } => "this agent",
        Blockable::User { .. } => "this user",
        Blockable::Key { .. } => "this key",
        Blockable::Tenant { .. } => "this tenant",
    };
    let text = if blocking.is_public {
        format!("an operator has blocked {what}: {}", blocking.reason)
    } else {
        format!("an operator has blocked {what}")
    };
    let internal = format!("by {}: {}", blocking.by, blocking.reason);
    Refusal::new(Stage::Block, Code::Blocked, text).because(internal).blocking(blocking.what.kind())
}

/// Whether a caller may come in at all.
pub(crate) fn admit(gateway: &Gateway, who: &Principal) -> Result<(), Refusal> {
    if gateway.blocks().are_none() { Ok(()) } else { gateway.blocks().of_caller(who) }
}

/// Whether a caller may go on with what policy has allowed.
pub(crate) fn check(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Result<(), Refusal> {
    let blocks = gateway.blocks();
    if blocks.are_none() {
        return Ok(());
    }
    blocks.of_caller(&inbound.caller.who)?;
    let (tenant, server) = (inbound.caller.tenant(), resolved.server().name());
    blocks.of_server(tenant, server)?;
    match tool_of(gateway, inbound, resolved) {
        Some(native) => blocks.of_tool(tenant, server, &native),
        None => Ok(()),
    }
}

/// The tool that is called, or whose call became the task that is meant, as far as that is remembered.
fn tool_of(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Option<Arc<str>> {
    let native = resolved.native()?;
    match resolved.target().key {
        Some(("name", _)) if inbound.is_tool_call() => Some(Arc::from(native)),
        Some(("taskId", _)) => gateway.tasks().tool_of(&inbound.caller, resolved.server().id(), native),
        _ => None,
    }
}

/// Whether a caller may see and use things of a server at all.
pub(crate) fn server(gateway: &Gateway, caller: &Caller, server: &ServerName) -> Result<(), Refusal> {
    let blocks = gateway.blocks();
    if blocks.are_none() {
        return Ok(());
    }
    blocks.of_caller(&caller.who)?;
    blocks.of_server(caller.tenant(), server)
}

/// Whether a server is stopped for the callers of a tenant.
pub(crate) fn stops_server(gateway: &Gateway, tenant: &TenantId, server: &ServerName) -> bool {
    let blocks = gateway.blocks();
    !blocks.are_none() && blocks.of_server(tenant, server).is_err()
}

/// Whether a tool of a server is stopped for a caller.
pub(crate) fn hides(gateway: &Gateway, caller: &Caller, server: &ServerName, native: &str) -> bool {
    let blocks = gateway.blocks();
    !blocks.are_none() && blocks.of_tool(caller.tenant(), server, &Arc::from(native)).is_err()
}

/// Whether something that waits, of this server and tool, is stopped.
pub(crate) fn stops(
    gateway: &Gateway,
    caller: &Caller,
    about: Option<(&ServerName, Option<&Arc<str>>)>,
) -> Option<Refusal> {
    let blocks = gateway.blocks();
    if blocks.are_none() {
        return None;
    }
    let check = || {
        blocks.of_caller(&caller.who)?;
        let Some((server, native)) = about else { return Ok(()) };
        blocks.of_server(caller.tenant(), server)?;
        native.map_or(Ok(()), |native| blocks.of_tool(caller.tenant(), server, native))
    };
    check().err()
}

/// Why a request that is under way must not go on, if it must not.
pub(crate) fn cuts(gateway: &Gateway, inbound: &Inbound) -> Option<Refusal> {
    if gateway.blocks().are_none() {
        return None;
    }
    let meant = inbound.record.server();
    let of_endpoint = inbound.endpoint.native_server();
    let server = meant.as_ref().map(ServerId::name).or(of_endpoint);
    let native = inbound.record.native().filter(|_| inbound.is_tool_call());
    stops(gateway, &inbound.caller, server.map(|server| (server, native.as_ref())))
}

#[cfg(test)]
mod tests {
    use tollgate_model::{KeyId, PrincipalId, Proof, Timestamp, Why};

    use super::*;

    fn blocking(what: Blockable) -> Blocking {
        let (reason, by) = ("it leaks".into(), "ops".into());
        Blocking { what, reason, is_public: false, by, since: Timestamp::from_ms(1) }
    }

    fn all(blocked: impl IntoIterator<Item = Blocking>) -> Arc<All> {
        Arc::new(blocked.into_iter().map(|block| (block.what.clone(), Arc::new(block))).collect())
    }

    fn acme() -> TenantId {
        TenantId::new("acme")
    }

    fn crm() -> ServerName {
        ServerName::new("crm").expect("a name")
    }

    fn caller(tenant: TenantId, agent: &str, key: &str) -> Principal {
        let proof = Proof::Key(KeyId::new(key));
        Principal { agent: Some(agent.into()), ..Principal::new(tenant, PrincipalId::new("p"), proof) }
    }

    #[test]
    fn another_tenants_agent_of_the_same_name_goes_on() {
        let blocks = Blocks::default();
        assert!(blocks.are_none());
        let bot = Blockable::Agent { tenant: acme(), agent: "bot".into() };
        assert!(blocks.take(&all([blocking(bot)]), false).is_empty(), "no list looks otherwise");
        assert!(!blocks.are_none());
        let refusal = blocks.of_caller(&caller(acme(), "bot", "k")).expect_err("blocked");
        assert_eq!((refusal.code, refusal.stage), (Code::Blocked, Stage::Block));
        assert_eq!(refusal.why.as_deref(), Some(&Why::Blocked("agent")));
        for free in [caller(acme(), "other", "k"), caller(TenantId::new("globex"), "bot", "k")] {
            assert!(blocks.of_caller(&free).is_ok());
        }
        blocks.take(&all([]), false);
        assert!(blocks.are_none() && blocks.of_caller(&caller(acme(), "bot", "k")).is_ok());
    }

    #[test]
    fn the_reason_is_the_operators_own_unless_it_is_to_be_shown() {
        let key = Blockable::Key { id: KeyId::new("k") };
        let hidden = refusal(&blocking(key.clone()));
        assert_eq!(hidden.public, "an operator has blocked this key");
        assert_eq!(hidden.internal.as_deref(), Some("by ops: it leaks"));
        let shown = refusal(&Blocking { is_public: true, ..blocking(key) });
        assert_eq!(shown.public, "an operator has blocked this key: it leaks");
    }

    #[test]
    fn servers_and_tools_are_blocked_for_everybody_or_for_one_tenants_callers() {
        let blocks = Blocks::default();
        let tool = |tenant| Blockable::Tool { tenant, server: crm(), native: "search".into() };
        let server = Blockable::Server { tenant: Some(acme()), server: crm() };
        let other = TenantId::new("globex");
        let changed = blocks.take(&all([blocking(tool(None)), blocking(server.clone())]), false);
        assert_eq!(changed.len(), 2);
        assert!(blocks.of_server(&acme(), &crm()).is_err() && blocks.of_server(&other, &crm()).is_ok());
        for tenant in [acme(), other.clone()] {
            assert!(blocks.of_tool(&tenant, &crm(), &"search".into()).is_err());
            assert!(blocks.of_tool(&tenant, &crm(), &"find".into()).is_ok());
            let another = ServerName::new("shop").expect("a name");
            assert!(blocks.of_tool(&tenant, &another, &"search".into()).is_ok());
        }
        // Another reason is no other list.
        let again = Blocking { reason: "worse".into(), ..blocking(server) };
        assert_eq!(blocks.take(&all([again]), false), [tool(None)], "only what is lifted is news");
        assert!(blocks.of_tool(&other, &crm(), &"search".into()).is_ok());
    }

    #[test]
    fn a_tool_is_blocked_in_whatever_case_it_is_called() {
        let blocks = Blocks::default();
        let tool = Blockable::Tool { tenant: Some(acme()), server: crm(), native: "deleteAll".into() };
        blocks.take(&all([blocking(tool)]), false);
        for native in ["deleteAll", "DELETEALL", "deleteall"] {
            assert!(blocks.of_tool(&acme(), &crm(), &native.into()).is_err(), "{native}");
            assert!(blocks.of_tool(&TenantId::new("globex"), &crm(), &native.into()).is_ok(), "{native}");
        }
    }

    #[test]
    fn where_it_cannot_be_known_what_is_blocked_nobody_goes_on() {
        let blocks = Blocks::default();
        let nothing = all([]);
        blocks.take(&nothing, true);
        assert!(!blocks.are_none());
        let refusal = blocks.of_caller(&Principal::local()).expect_err("unknown");
        assert_eq!((refusal.code, refusal.stage), (Code::IdentityUnavailable, Stage::Block));
        blocks.take(&nothing, false);
        assert!(blocks.are_none());
    }
}
