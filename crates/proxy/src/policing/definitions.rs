//! What is known of servers' tools: what policies are written about.
//!
//! It is learnt from every list of tools that passes, and from what the gateway reads itself ([`super::upkeep`]). A server
//! that is down keeps what it listed last. A tool that no list has shown is unknown, and so is nobody's to call.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use tokio::sync::watch;
use tollgate_catalog::{Item, ListKind, ToolDefinition, names};
use tollgate_model::ServerId;

use super::upkeep::Changed;

/// How many tools one server may have that policies can speak of. The rest is unknown.
const TOOLS_MAX: usize = 20_000;
/// How many bytes of a server's tools are kept. A tool beyond it has no typed arguments, and is not kept over a restart.
const BYTES_MAX: usize = 16 << 20;
/// How many prompts and resources of one server are remembered, so that it can be told whose view of them has changed.
const OTHERS_MAX: usize = 4_096;

/// What is known of all servers.
#[derive(Debug)]
pub(crate) struct Definitions {
    servers: RwLock<HashMap<ServerId, Server>>,
    /// Counts changes of what policies are written about.
    changes: watch::Sender<u64>,
}

/// What is known of one server.
#[derive(Debug, Default)]
struct Server {
    tools: BTreeMap<Arc<str>, Known>,
    /// Whether it has ever listed its tools to the end.
    listed: bool,
    bytes: usize,
    /// Whether it is to be kept over a restart as it is now.
    is_news: bool,
    /// The digest of its tools that was recorded last.
    on_record: Option<Arc<str>>,
    /// Names of prompts, URIs of resources and templates, as far as they passed, and what they looked like.
    others: [BTreeMap<Arc<str>, u64>; 3],
}

#[derive(Debug)]
struct Known {
    definition: ToolDefinition,
    /// The tool as its server wrote it, which the definition's schema is a part of.
    raw: Option<Bytes>,
    /// Of the tool's own bytes.
    looks: u64,
    /// The same for the record, where it has to mean something tomorrow.
    digest: Arc<str>,
    /// Whether the gateway's own reading showed it: then the next one can take it away.
    own: bool,
}

impl Default for Definitions {
    fn default() -> Self {
        Self { servers: RwLock::default(), changes: watch::Sender::new(0) }
    }
}

impl Definitions {
    /// Learns from a page of a list that passed. What is not in it may be on another page. What is different now.
    pub(crate) fn learn(&self, server: &ServerId, kind: ListKind, items: &[Item]) -> Changed {
        let mut servers = self.lock();
        let known = servers.entry(server.clone()).or_default();
        if kind != ListKind::Tools {
            known.learn_others(kind, items);
            return Changed::Nothing;
        }
        let mut changed = Changed::Nothing;
        for item in items {
            changed = changed.and(known.learn(item, false));
        }
        known.is_news |= changed != Changed::Nothing;
        drop(servers);
        self.tell(changed == Changed::Definitions);
        changed
    }

    /// Takes a server's whole list of tools, as the gateway read it itself, in place of what it read before. What of its tools
    /// is different now: the first list may show nothing that lists that passed have not shown already.
    pub(crate) fn replace(&self, server: &ServerId, items: &[Item]) -> Changed {
        let mut servers = self.lock();
        let known = servers.entry(server.clone()).or_default();
        let listed: HashSet<&str> = items.iter().map(Item::key).collect();
        let is_first = !std::mem::replace(&mut known.listed, true);
        let mut changed = Changed::Nothing;
        let is_gone = |(native, tool): &(&Arc<str>, &Known)| tool.own && !listed.contains(&***native);
        let gone: Vec<Arc<str>> =
            known.tools.iter().filter(is_gone).map(|(native, _)| Arc::clone(native)).collect();
        for native in gone {
            changed = Changed::Definitions;
            known.forget(&native);
        }
        for item in items {
            changed = changed.and(known.learn(item, true));
        }
        known.is_news |= is_first || changed != Changed::Nothing;
        drop(servers);
        self.tell(is_first || changed == Changed::Definitions);
        changed
    }

    /// The servers of which something else is known than was kept last. They count as kept from then on.
    pub(crate) fn take_news(&self) -> Vec<ServerId> {
        let mut servers = self.lock();
        let news = |(server, known): (&ServerId, &mut Server)| {
            (known.listed && std::mem::take(&mut known.is_news)).then(|| server.clone())
        };
        servers.iter_mut().filter_map(news).collect()
    }

    /// What is known of a server has yet to be kept.
    pub(crate) fn is_news(&self, server: &ServerId) {
        if let Some(known) = self.lock().get_mut(server) {
            known.is_news = true;
        }
    }

    /// Takes what was known when the gateway ran last, of a server of which nothing is known yet.
    pub(crate) fn restore(&self, server: &ServerId, items: &[Bytes]) {
        let mut servers = self.lock();
        let known = servers.entry(server.clone()).or_default();
        if known.listed {
            return;
        }
        known.listed = true;
        for raw in items {
            if let Some(definition) = ToolDefinition::read(raw) {
                known.keep(definition, raw, looks_of(raw), true);
            }
        }
        drop(servers);
        self.tell(true);
    }

    /// A server's tools as it wrote them.
    pub(crate) fn items(&self, server: &ServerId) -> Vec<Bytes> {
        let servers = self.look();
        let tools = servers.get(server).into_iter().flat_map(|known| known.tools.values());
        tools.filter_map(|tool| tool.raw.clone()).collect()
    }

    /// A server's tools; none if it has never listed them.
    pub(crate) fn tools(&self, server: &ServerId) -> Option<Arc<[ToolDefinition]>> {
        let servers = self.look();
        let known = servers.get(server).filter(|known| known.listed || !known.tools.is_empty())?;
        Some(known.tools.values().map(|tool| tool.definition.clone()).collect())
    }

    /// Whether a server has ever listed its tools.
    pub(crate) fn has_listed(&self, server: &ServerId) -> bool {
        self.look().get(server).is_some_and(|known| known.listed)
    }

    /// Whether a server has a tool of this native name.
    pub(crate) fn has(&self, server: &ServerId, native: &str) -> bool {
        self.look().get(server).is_some_and(|known| known.tools.contains_key(native))
    }

    /// The digest of a tool as its server defines it.
    pub(crate) fn digest_of(&self, server: &ServerId, native: &str) -> Option<Arc<str>> {
        self.look().get(server)?.tools.get(native).map(|tool| Arc::clone(&tool.digest))
    }

    /// How many tools a server has, and the digest of all of them, unless they are on record as they are.
    pub(crate) fn not_on_record(&self, server: &ServerId) -> Option<(usize, Arc<str>)> {
        let mut servers = self.lock();
        let known = servers.get_mut(server)?;
        let digest = digest_of(known.tools.values().map(|tool| tool.digest.as_bytes()));
        if known.on_record.as_ref() == Some(&digest) {
            return None;
        }
        known.on_record = Some(Arc::clone(&digest));
        Some((known.tools.len(), digest))
    }

    /// The native name of the tool whose cut public name this is.
    pub(crate) fn uncut(&self, server: &ServerId, public: &str) -> Option<String> {
        let servers = self.look();
        let mut natives = servers.get(server)?.tools.keys();
        natives.find(|native| names::public_name(server.name(), native) == public).map(ToString::to_string)
    }

    /// A digest of what of a server's list is shown. It says nothing of the order.
    pub(crate) fn looks(&self, server: &ServerId, kind: ListKind, shows: impl Fn(&str) -> bool) -> u64 {
        let servers = self.look();
        let Some(known) = servers.get(server) else { return 0 };
        let mut all = 0_u64;
        let mut add = |native: &str, looks: u64| {
            let mut hasher = DefaultHasher::new();
            (server, native, looks).hash(&mut hasher);
            all = all.wrapping_add(hasher.finish());
        };
        match kind {
            ListKind::Tools => {
                for (native, tool) in known.tools.iter().filter(|(native, _)| shows(native)) {
                    add(native, tool.looks);
                }
            }
            other => {
                for (native, looks) in known.others[place(other)].iter().filter(|(native, _)| shows(native)) {
                    add(native, *looks);
                }
            }
        }
        all
    }

    /// Tells of every change of what policies are written about.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// How often what policies are written about has changed.
    pub(crate) fn count(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Has the policies compiled again.
    pub(crate) fn touch(&self) {
        self.tell(true);
    }

    fn tell(&self, changed: bool) {
        if changed {
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn lock(&self) -> RwLockWriteGuard<'_, HashMap<ServerId, Server>> {
        self.servers.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every call looks here, so that it must not keep others from looking.
    fn look(&self) -> RwLockReadGuard<'_, HashMap<ServerId, Server>> {
        self.servers.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Takes one tool in.
    fn learn(&mut self, item: &Item, own: bool) -> Changed {
        let looks = looks_of(item.original());
        let mut own = own;
        let mut before = None;
        if let Some(known) = self.tools.get_mut(item.key()) {
            known.own |= own;
            if known.looks == looks {
                return Changed::Nothing;
            }
            own = known.own;
            before = Some(known.definition.clone());
        }
        let Some(definition) = ToolDefinition::read(item.original()) else { return Changed::Nothing };
        self.forget(item.key());
        let is_same = before.as_ref() == Some(&definition);
        // Copied, since the item shares the buffer of a whole list.
        let raw = Bytes::copy_from_slice(item.original());
        match self.keep(definition, &raw, looks, own) {
            false => Changed::Nothing,
            true if is_same => Changed::Looks,
            true => Changed::Definitions,
        }
    }

    /// Keeps a tool that is not known. Says whether there is room.
    fn keep(&mut self, definition: ToolDefinition, raw: &Bytes, looks: u64, own: bool) -> bool {
        if self.tools.len() >= TOOLS_MAX || self.tools.contains_key(&definition.native) {
            return false;
        }
        let digest = digest_of([&**raw]);
        let raw = (self.bytes + raw.len() <= BYTES_MAX).then(|| raw.clone());
        self.bytes += raw.as_ref().map_or(0, Bytes::len);
        // Read once more, so that it holds a part of what is kept, and nothing else.
        let definition = match raw.as_ref().and_then(ToolDefinition::read) {
            Some(kept) => kept,
            None => ToolDefinition { input_schema: None, ..definition },
        };
        self.tools.insert(Arc::clone(&definition.native), Known { definition, raw, looks, digest, own });
        true
    }

    fn forget(&mut self, native: &str) {
        if let Some(gone) = self.tools.remove(native) {
            self.bytes -= gone.raw.as_ref().map_or(0, Bytes::len);
        }
    }

    fn learn_others(&mut self, kind: ListKind, items: &[Item]) {
        let others = &mut self.others[place(kind)];
        for item in items {
            if others.len() >= OTHERS_MAX && !others.contains_key(item.key()) {
                return;
            }
            others.insert(Arc::from(item.key()), looks_of(item.original()));
        }
    }
}

const fn place(kind: ListKind) -> usize {
    match kind {
        ListKind::Tools | ListKind::Prompts => 0,
        ListKind::Resources => 1,
        ListKind::Templates => 2,
    }
}

fn digest_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Arc<str> {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    parts.into_iter().for_each(|part| context.update(part));
    Arc::from(BASE64.encode(&context.finish().as_ref()[..16]))
}

fn looks_of(raw: &Bytes) -> u64 {
    let mut hasher = DefaultHasher::new();
    raw.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_catalog::Page;
    use tollgate_mcp::{Limits, Message};
    use tollgate_model::{Holder, ServerName};

    fn items(tools: &str) -> Vec<Item> {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{tools}]}}}}"#);
        let message = Message::parse(Bytes::from(text), &Limits::default()).expect("a message");
        Page::read(&message, ListKind::Tools).expect("a page").items
    }

    /// A server may say that its tools changed before the gateway has read them itself. Then whoever has seen them already
    /// learns of it by what the server said alone.
    #[test]
    fn a_first_reading_of_what_passed_already_shows_nothing_new_but_that_it_is_all() {
        let definitions = Definitions::default();
        let server = ServerId::new(Holder::default(), ServerName::new("a").expect("a name"));
        let pay = items(r#"{"name":"pay","inputSchema":{"type":"object"}}"#);
        assert_eq!(definitions.learn(&server, ListKind::Tools, &pay), Changed::Definitions);
        let mut changes = definitions.changes();
        changes.mark_unchanged();
        assert_eq!(definitions.replace(&server, &pay), Changed::Nothing);
        assert!(changes.has_changed().expect("open"), "policies are compiled of a server that is known");
        assert_eq!(definitions.take_news(), std::slice::from_ref(&server));
        changes.mark_unchanged();
        assert_eq!(definitions.replace(&server, &pay), Changed::Nothing);
        assert!(!changes.has_changed().expect("open") && definitions.take_news().is_empty());
        assert_eq!(definitions.replace(&server, &[]), Changed::Definitions);
    }
}
