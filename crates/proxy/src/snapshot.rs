//! What is configured at one moment: the servers, and what each tenant sees of them.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tollgate_catalog::{Catalog, CatalogError, Endpoint, ListKind, Published, ServerFacts, ToolsetSettings};
use tollgate_guard::Guards;
use tollgate_identity::Identity;
use tollgate_ledger::Prices;
use tollgate_model::{EndpointName, ServerId, ServerName, TenantId, Timestamp};
use tollgate_upstream::{Server, ServerEvent, ServerSettings, SettingsError};

use crate::outsiders::Outsiders;
use crate::resource::Bound;
use crate::seal::NoRandomness;
use crate::settings::ProxySettings;
use crate::setup::{Setup, TenantSetup};
use crate::stages::{guard, scopes};

/// What is configured at one moment.
pub(crate) struct Snapshot {
    pub(crate) settings: ProxySettings,
    /// Every server, in the order of the configuration.
    servers: Vec<Server>,
    views: HashMap<TenantId, View>,
    /// The path under which the public URL puts this gateway, without a slash at its end. A reverse proxy may strip it
    /// or leave it.
    pub(crate) public_prefix: String,
    /// By what callers are known.
    pub(crate) identity: Identity,
    /// What the operator says of servers.
    facts: HashMap<ServerId, Arc<ServerFacts>>,
    /// What calls cost.
    pub(crate) prices: Prices,
    /// Ends with the last request that holds this snapshot.
    held: DropGuard,
    /// What is looked for in arguments and results.
    pub(crate) guards: Guards,
    /// Guards outside of the gateway.
    pub(crate) outsiders: Outsiders,
}

/// What the callers of one tenant may know of.
pub(crate) struct View {
    catalog: Catalog,
    /// By the names that callers use.
    servers: HashMap<ServerName, Server>,
}

/// Why a configuration cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A server's settings do not fit together.
    #[error("server `{}`: {error}", server.label())]
    Server {
        /// Which server.
        server: ServerId,
        /// What is wrong.
        error: SettingsError,
    },
    /// Names collide, or a toolset names a server that is not there.
    #[error("{}{error}", of_tenant(tenant))]
    Catalog {
        /// With which tenant.
        tenant: TenantId,
        /// What is wrong.
        error: CatalogError,
    },
    /// The operating system gives no random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

fn of_tenant(tenant: &TenantId) -> String {
    if *tenant == TenantId::default() { String::new() } else { format!("tenant `{}`: ", tenant.as_str()) }
}

impl Snapshot {
    /// Keeps what runs already under the same settings.
    pub(crate) fn new(
        setup: Setup,
        running: &[Server],
        events: &mpsc::Sender<ServerEvent>,
    ) -> Result<Self, GatewayError> {
        let Setup { mut settings, servers, facts, tenants, identity, prices, guards, .. } = setup;
        let outsiders = Outsiders::new(&guards.outside);
        let guards = Guards::new(&guards, guard::key()?);
        if tenants.len() < 2 {
            settings.tenant_share_percent = 100;
        }
        let running: HashMap<&ServerId, &Server> =
            running.iter().map(|server| (server.id(), server)).collect();
        let start = |wanted: ServerSettings| {
            let id = wanted.id();
            match running.get(&id) {
                Some(kept) if *kept.settings() == wanted => Ok((*kept).clone()),
                _ => Server::new(wanted, events.clone())
                    .map_err(|error| GatewayError::Server { server: id, error }),
            }
        };
        let servers = servers.into_iter().map(start).collect::<Result<Vec<_>, _>>()?;
        let mut views = HashMap::with_capacity(tenants.len());
        for TenantSetup { id, toolsets } in tenants {
            let view = View::new(&id, &servers, &toolsets)
                .map_err(|error| GatewayError::Catalog { tenant: id.clone(), error })?;
            views.insert(id, view);
        }
        let public_prefix = settings.public_url.as_deref().map(path_of).unwrap_or_default().to_owned();
        let held = CancellationToken::new().drop_guard();
        Ok(Self { settings, servers, views, public_prefix, identity, facts, prices, held, guards, outsiders })
    }

    /// Is over once nobody holds this snapshot any more.
    pub(crate) fn released(&self) -> WaitForCancellationFutureOwned {
        self.held.token().clone().cancelled_owned()
    }

    /// What the canonical URIs of endpoints begin with, for a client that sends this `Host`.
    pub(crate) fn base<'a>(&'a self, bound: Option<&'a Bound>, host: &str) -> &'a str {
        match (&self.settings.public_url, bound) {
            (Some(url), _) => url,
            (None, Some(bound)) => bound.base(host),
            // No listener of ours: whoever calls has one.
            (None, None) => "http://localhost",
        }
    }

    /// The scopes that an access token needs for a server's things, or for one of its tools.
    pub(crate) fn scopes(&self, server: &ServerId, tool: Option<&str>) -> Vec<Arc<str>> {
        self.facts.get(server).map_or_else(Vec::new, |facts| scopes::of(facts, tool))
    }

    /// The endpoints of a tenant, the merged one first, and then in no order.
    pub(crate) fn endpoints(&self, tenant: &TenantId) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.views.get(tenant).into_iter().flat_map(|view| view.catalog.endpoints())
    }

    /// What a registry says of a server, its newest version first; nothing of one that was not registered.
    pub(crate) fn published(&self, server: &ServerId) -> &[Published] {
        self.facts.get(server).map_or(&[], |facts| &facts.published)
    }

    /// When a server will be gone, if it is deprecated.
    pub(crate) fn sunset(&self, server: &ServerId) -> Option<Timestamp> {
        self.facts.get(server)?.sunset
    }

    /// What callers of a tenant could notice of a server: how it is reached, and when it will be gone.
    fn looks_of(&self, tenant: &TenantId, name: &ServerName) -> Option<(&ServerSettings, Option<Timestamp>)> {
        let server = self.server(tenant, name)?;
        Some((server.settings(), self.sunset(server.id())))
    }

    /// Whether what stands under a name may be another thing for another caller.
    pub(crate) fn has_tenants(&self) -> bool {
        self.views.len() > 1
    }

    /// Every server, in the order of the configuration.
    pub(crate) fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The tenants, in no order.
    pub(crate) fn tenants(&self) -> impl Iterator<Item = &TenantId> {
        self.views.keys()
    }

    /// This very server, if it is configured.
    pub(crate) fn server_of(&self, id: &ServerId) -> Option<&Server> {
        self.servers.iter().find(|server| server.id() == id)
    }

    /// A tenant's endpoint of this name, or its merged one without a name. None for a tenant that is not configured.
    pub(crate) fn endpoint(&self, tenant: &TenantId, name: Option<&EndpointName>) -> Option<&Arc<Endpoint>> {
        self.endpoint_named(tenant, name.map(EndpointName::as_str))
    }

    /// The same for a name as it stands in a URL.
    pub(crate) fn endpoint_named(&self, tenant: &TenantId, name: Option<&str>) -> Option<&Arc<Endpoint>> {
        self.views.get(tenant)?.catalog.endpoint(name)
    }

    /// The server that a tenant's callers know by this name.
    pub(crate) fn server(&self, tenant: &TenantId, name: &ServerName) -> Option<&Server> {
        self.views.get(tenant)?.servers.get(name)
    }

    /// The name by which a tenant's callers know a server; none if it is not theirs.
    pub(crate) fn name_of<'a>(&self, tenant: &TenantId, server: &'a ServerId) -> Option<&'a ServerName> {
        (self.server(tenant, server.name())?.id() == server).then(|| server.name())
    }

    /// Whether this endpoint of a tenant shows things of this kind from this very server.
    pub(crate) fn shows(
        &self,
        tenant: &TenantId,
        endpoint: Option<&EndpointName>,
        kind: ListKind,
        server: &ServerId,
    ) -> bool {
        let (Some(name), Some(endpoint)) = (self.name_of(tenant, server), self.endpoint(tenant, endpoint))
        else {
            return false;
        };
        endpoint.servers().contains(name) && endpoint.lists(kind, name)
    }
}

impl View {
    fn new(
        tenant: &TenantId,
        servers: &[Server],
        toolsets: &[ToolsetSettings],
    ) -> Result<Self, CatalogError> {
        let own: Vec<&Server> = servers.iter().filter(|server| server.id().holder().serves(tenant)).collect();
        let names: Vec<ServerName> = own.iter().map(|server| server.name().clone()).collect();
        let catalog = Catalog::new(&names, toolsets)?;
        let named = |server: &Server| (server.name().clone(), server.clone());
        Ok(Self { catalog, servers: own.into_iter().map(named).collect() })
    }
}

fn path_of(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    after_scheme.find('/').map_or("", |slash| after_scheme[slash..].trim_end_matches('/'))
}

/// Whether two configurations differ in what an endpoint of a tenant shows, or in how its servers are reached.
pub(crate) fn sees_other_things(
    before: &Snapshot,
    after: &Snapshot,
    tenant: &TenantId,
    endpoint: Option<&EndpointName>,
) -> bool {
    match (before.endpoint(tenant, endpoint), after.endpoint(tenant, endpoint)) {
        (Some(old), Some(new)) => {
            let differs = |name| before.looks_of(tenant, name) != after.looks_of(tenant, name);
            old != new || new.servers().iter().any(differs)
        }
        _ => true,
    }
}
