//! What the gateway remembers of servers' lists, so that names and URIs find their server: which native name a cut
//! public name stands for, and which server has which resource. Both are bounded and may be forgotten at any time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tollgate_catalog::uris::{may_rewrite, scheme, template_takes};
use tollgate_model::{Caller, EndpointName, PrincipalId, ServerName, SessionId, TenantId};

const CUT_NAMES_MAX: usize = 50_000;
const URI_INDEXES_MAX: usize = 256;
/// For how long an index of resources is believed. A server that announces changes ends it earlier.
const URI_INDEX_AGE: Duration = Duration::from_secs(60);

/// Cut public names and what they stand for. A name depends on server and native name alone, so that one table serves
/// every caller.
#[derive(Debug, Default)]
pub(crate) struct CutNames(Mutex<HashMap<String, String>>);

impl CutNames {
    pub(crate) fn remember(&self, public: &str, native: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= CUT_NAMES_MAX && !names.contains_key(public) {
            names.clear();
        }
        names.insert(public.to_owned(), native.to_owned());
    }

    pub(crate) fn native(&self, public: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(public).cloned()
    }
}

/// Which server has which resource, as one caller sees it at one endpoint.
#[derive(Debug, Default)]
pub(crate) struct UriIndex {
    /// The servers that list a URI or a template, in the order of the configuration.
    owners: HashMap<String, Vec<ServerName>>,
    templates: Vec<(String, ServerName)>,
}

impl UriIndex {
    pub(crate) fn add_resource(&mut self, server: &ServerName, uri: &str) {
        self.add(server, uri);
    }

    pub(crate) fn add_template(&mut self, server: &ServerName, template: &str) {
        self.add(server, template);
        self.templates.push((template.to_owned(), server.clone()));
    }

    fn add(&mut self, server: &ServerName, uri: &str) {
        let owners = self.owners.entry(uri.to_owned()).or_default();
        if !owners.contains(server) {
            owners.push(server.clone());
        }
    }

    /// Whether a server's URI must be rewritten, since another server has the same one.
    pub(crate) fn collides(&self, uri: &str) -> bool {
        may_rewrite(uri) && self.owners.get(uri).is_some_and(|owners| owners.len() > 1)
    }

    /// The servers that list exactly this URI or template.
    pub(crate) fn exact(&self, uri: &str) -> &[ServerName] {
        self.owners.get(uri).map_or(&[], Vec::as_slice)
    }

    /// The templates that could have made this URI.
    pub(crate) fn templates_for<'a>(
        &'a self,
        uri: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a ServerName)> {
        self.templates
            .iter()
            .filter(move |(template, _)| template_takes(template, uri))
            .map(|(template, server)| (template.as_str(), server))
    }

    /// The only server that uses the scheme of this URI, if there is just one.
    pub(crate) fn scheme_owner(&self, uri: &str) -> Option<&ServerName> {
        let wanted = scheme(uri)?;
        let mut owners = self
            .owners
            .iter()
            .filter(|(known, _)| scheme(known).is_some_and(|scheme| scheme.eq_ignore_ascii_case(wanted)))
            .flat_map(|(_, owners)| owners);
        let first = owners.next()?;
        owners.all(|other| other == first).then_some(first)
    }
}

/// The indexes of several callers. Lists may vary by session, caller and capabilities, so no index is shared beyond
/// them.
#[derive(Debug, Default)]
pub(crate) struct UriIndexes(Mutex<HashMap<Key, (Instant, Arc<UriIndex>)>>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    endpoint: Option<EndpointName>,
    tenant: TenantId,
    principal: PrincipalId,
    session: Option<SessionId>,
    capabilities: Bytes,
}

impl Key {
    pub(crate) fn new(endpoint: Option<&EndpointName>, caller: &Caller) -> Self {
        Self {
            endpoint: endpoint.cloned(),
            tenant: caller.tenant.clone(),
            principal: caller.principal.clone(),
            session: caller.session.clone(),
            // Copied, since the original shares the buffer of a whole request.
            capabilities: Bytes::copy_from_slice(&caller.client.capabilities),
        }
    }
}

impl UriIndexes {
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<UriIndex>> {
        let indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (made, index) = indexes.get(key)?;
        (made.elapsed() < URI_INDEX_AGE).then(|| Arc::clone(index))
    }

    pub(crate) fn put(&self, key: Key, index: Arc<UriIndex>) {
        let mut indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if indexes.len() >= URI_INDEXES_MAX {
            indexes.retain(|_, (made, _)| made.elapsed() < URI_INDEX_AGE);
        }
        if indexes.len() >= URI_INDEXES_MAX {
            indexes.clear();
        }
        indexes.insert(key, (Instant::now(), index));
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
        index.add_resource(&a, "file:///x");
        index.add_resource(&b, "file:///x");
        index.add_resource(&b, "memo:///y");
        index.add_resource(&a, "https://example.com/");
        index.add_resource(&b, "https://example.com/");
        index.add_template(&a, "demo://{id}");
        assert!(index.collides("file:///x"));
        assert!(!index.collides("memo:///y"));
        assert!(!index.collides("https://example.com/"), "clients may fetch these directly");
        assert_eq!(index.templates_for("demo://7").next(), Some(("demo://{id}", &a)));
        assert_eq!(index.scheme_owner("memo:///z"), Some(&b));
        assert_eq!(index.scheme_owner("file:///z"), None, "two servers use it");
    }
}
