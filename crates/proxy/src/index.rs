//! What the gateway remembers of servers' lists, so that names and URIs find their server: which native name a cut
//! public name stands for, which server has which resource, and which tool is the only one of its native name. All of it
//! is bounded and may be forgotten at any time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tollgate_catalog::ListKind;
use tollgate_catalog::uris::{may_rewrite, scheme, template_takes};
use tollgate_model::{Caller, EndpointName, PrincipalId, ServerId, ServerName, SessionId, TenantId};

use crate::shares;

const CUT_NAMES_MAX: usize = 50_000;
const INDEXES_MAX: usize = 256;
/// For how long an index is believed. A server that announces changes ends it earlier.
const INDEX_AGE: Duration = Duration::from_mins(1);

/// Cut public names and what they stand for at each server. A name depends on server and native name alone, so that one
/// table serves every caller of a server; and no server says what a name of another's stands for.
#[derive(Debug, Default)]
pub(crate) struct CutNames(Mutex<Cut>);

#[derive(Debug, Default)]
struct Cut {
    names: HashMap<ServerId, HashMap<String, String>>,
    count: usize,
}

impl CutNames {
    /// When there are too many, those of whoever has most are forgotten.
    pub(crate) fn remember(&self, server: &ServerId, public: &str, native: &str) {
        let mut cut = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = cut.names.get(server).is_some_and(|names| names.contains_key(public));
        if cut.count >= CUT_NAMES_MAX && !known {
            let sizes = cut.names.iter().map(|(server, names)| (server.holder().clone(), names.len()));
            let largest = shares::largest(sizes);
            cut.names.retain(|server, _| Some(server.holder()) != largest.as_ref());
            cut.count = cut.names.values().map(HashMap::len).sum();
        }
        cut.names.entry(server.clone()).or_default().insert(public.to_owned(), native.to_owned());
        cut.count += usize::from(!known);
    }

    pub(crate) fn native(&self, server: &ServerId, public: &str) -> Option<String> {
        let cut = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cut.names.get(server)?.get(public).cloned()
    }
}

/// Which server has which resource (or which template), as one caller sees it at one endpoint.
#[derive(Debug, Default)]
pub(crate) struct UriIndex {
    /// The servers that list a URI or a template, in the order of the configuration.
    owners: HashMap<String, Vec<ServerName>>,
    collisions: usize,
}

impl UriIndex {
    pub(crate) fn add(&mut self, server: &ServerName, uri: &str) {
        let owners = self.owners.entry(uri.to_owned()).or_default();
        if !owners.contains(server) {
            owners.push(server.clone());
            self.collisions += usize::from(owners.len() == 2 && may_rewrite(uri));
        }
    }

    /// Whether any URI has to be rewritten.
    pub(crate) fn has_collisions(&self) -> bool {
        self.collisions > 0
    }

    /// The servers that list exactly this.
    pub(crate) fn exact(&self, uri: &str) -> &[ServerName] {
        self.owners.get(uri).map_or(&[], Vec::as_slice)
    }

    /// The templates in this index that could have made a URI, with their servers.
    pub(crate) fn templates_for<'a>(
        &'a self,
        uri: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a ServerName)> {
        self.owners
            .iter()
            .filter(move |(template, _)| template_takes(template, uri))
            .flat_map(|(template, owners)| owners.iter().map(move |owner| (template.as_str(), owner)))
    }

    /// The servers that use the scheme of a URI.
    pub(crate) fn scheme_owners<'a>(&'a self, uri: &'a str) -> impl Iterator<Item = &'a ServerName> {
        let wanted = scheme(uri).unwrap_or_default();
        self.owners
            .iter()
            .filter(move |(known, _)| scheme(known).is_some_and(|scheme| scheme.eq_ignore_ascii_case(wanted)))
            .flat_map(|(_, owners)| owners)
    }
}

/// Whose the tools are that one caller sees at one endpoint.
#[derive(Debug, Default)]
pub(crate) struct ToolIndex {
    /// The name here of each native name; none where two tools have it.
    names: HashMap<String, Option<String>>,
    /// Which servers' tools name which views of MCP Apps.
    pub(crate) views: UriIndex,
}

impl ToolIndex {
    pub(crate) fn add_name(&mut self, native: &str, public: &str) {
        let taken = self.names.contains_key(native);
        self.names.insert(native.to_owned(), (!taken).then(|| public.to_owned()));
    }

    /// The name here of the only tool of this native name.
    pub(crate) fn only(&self, native: &str) -> Option<&str> {
        self.names.get(native)?.as_deref()
    }
}

/// What is known of the URIs of several servers, so that one that two of them have is told apart.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// What the servers list.
    pub(crate) resources: Option<Arc<UriIndex>>,
    /// What their tools name: the view of an MCP App need not be listed.
    pub(crate) tools: Option<Arc<ToolIndex>>,
}

impl Seen {
    /// Whether a server's URI must be rewritten, since another server has the same one.
    pub(crate) fn collides(&self, uri: &str) -> bool {
        let listed = self.resources.as_deref().map_or(&[][..], |index| index.exact(uri));
        let named = self.tools.as_deref().map_or(&[][..], |index| index.views.exact(uri));
        let mut owners = listed.iter().chain(named);
        may_rewrite(uri) && owners.next().is_some_and(|first| owners.any(|other| other != first))
    }

    /// Whether it is worth while to look at single URIs.
    pub(crate) fn may_collide(&self) -> bool {
        self.tools.is_some() || self.resources.as_deref().is_some_and(UriIndex::has_collisions)
    }
}

/// The indexes of several callers. Lists may vary by session, caller and capabilities, so no index is shared beyond
/// them.
#[derive(Debug)]
pub(crate) struct Indexes<T>(Mutex<HashMap<Key, (Instant, Arc<T>)>>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    kind: ListKind,
    endpoint: Option<EndpointName>,
    tenant: TenantId,
    principal: PrincipalId,
    session: Option<SessionId>,
    capabilities: Bytes,
}

impl Key {
    pub(crate) fn new(kind: ListKind, endpoint: Option<&EndpointName>, caller: &Caller) -> Self {
        Self {
            kind,
            endpoint: endpoint.cloned(),
            tenant: caller.tenant().clone(),
            principal: caller.principal().clone(),
            session: caller.session.clone(),
            // Copied, since the original shares the buffer of a whole request.
            capabilities: Bytes::copy_from_slice(&caller.client.capabilities),
        }
    }
}

impl<T> Default for Indexes<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Indexes<T> {
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<T>> {
        let indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (made, index) = indexes.get(key)?;
        (made.elapsed() < INDEX_AGE).then(|| Arc::clone(index))
    }

    pub(crate) fn put(&self, key: Key, index: Arc<T>) {
        let mut indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if indexes.len() >= INDEXES_MAX {
            indexes.retain(|_, (made, _)| made.elapsed() < INDEX_AGE);
        }
        if indexes.len() >= INDEXES_MAX {
            let largest = shares::largest(indexes.keys().map(|key| (key.tenant.clone(), 1)));
            indexes.retain(|key, _| Some(&key.tenant) != largest.as_ref());
        }
        indexes.insert(key, (Instant::now(), index));
    }

    /// A server is not what it was: whoever may see it looks again.
    pub(crate) fn changed(&self, server: &ServerId) {
        let mut indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        indexes.retain(|key, _| !server.holder().serves(&key.tenant));
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_finds_its_server() {
        let (a, b) = (ServerName::new("a").expect("a name"), ServerName::new("b").expect("a name"));
        let mut index = UriIndex::default();
        for (server, uri) in [
            (&a, "file:///x"),
            (&b, "file:///x"),
            (&b, "memo:///y"),
            (&a, "https://example.com/"),
            (&b, "https://example.com/"),
            (&a, "demo://{id}"),
        ] {
            index.add(server, uri);
        }
        assert!(index.has_collisions());
        assert_eq!(index.templates_for("demo://7").next(), Some(("demo://{id}", &a)));
        assert!(index.scheme_owners("memo:///z").eq([&b]));
        assert_eq!(index.scheme_owners("file:///z").count(), 2);
        let seen = Seen { resources: Some(Arc::new(index)), tools: None };
        assert!(seen.collides("file:///x"));
        assert!(!seen.collides("memo:///y"));
        assert!(!seen.collides("https://example.com/"), "clients may fetch these directly");
    }

    #[test]
    fn a_native_name_of_two_tools_is_nobodys() {
        let mut index = ToolIndex::default();
        index.add_name("one", "a__one");
        for public in ["a__two", "b__two", "c__two"] {
            index.add_name("two", public);
        }
        assert_eq!(index.only("one"), Some("a__one"));
        assert_eq!(index.only("two"), None);
        assert_eq!(index.only("three"), None);
    }

    #[test]
    fn a_view_that_one_server_lists_and_anothers_tool_names_is_told_apart() {
        let (a, b) = (ServerName::new("a").expect("a name"), ServerName::new("b").expect("a name"));
        let (mut resources, mut tools) = (UriIndex::default(), ToolIndex::default());
        resources.add(&a, "ui://x");
        resources.add(&a, "ui://y");
        tools.views.add(&a, "ui://y");
        tools.views.add(&b, "ui://x");
        let seen = Seen { resources: Some(Arc::new(resources)), tools: Some(Arc::new(tools)) };
        assert!(seen.collides("ui://x"));
        assert!(!seen.collides("ui://y"), "one server's own, said twice");
    }
}
