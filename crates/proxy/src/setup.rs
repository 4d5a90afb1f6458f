//! Everything that a gateway is to serve, as meant: what [`crate::Gateway::new`] and [`crate::Gateway::apply`] take.

use std::collections::HashMap;
use std::sync::Arc;

use tollgate_catalog::{
    Known, KnownServer, KnownToolset, Pick, ServerFacts, ToolDefinition, ToolsetSettings,
};
use tollgate_guard::{GuardSettings, redactions};
use tollgate_identity::{Identity, IdentitySettings};
use tollgate_ledger::{Ledger, Prices};
use tollgate_limits::LimitSettings;
use tollgate_model::{ServerId, TenantId};
use tollgate_store::Follower;
use tollgate_upstream::ServerSettings;

use crate::settings::ProxySettings;

/// Everything that a gateway is to serve.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How the gateway itself behaves.
    pub settings: ProxySettings,
    /// Every server of every tenant, in the order of the configuration. Each says whose it is
    /// ([`ServerSettings::holder`]).
    pub servers: Vec<ServerSettings>,
    /// What the operator says of servers. Nothing is said of one that is not in here.
    pub facts: HashMap<ServerId, Arc<ServerFacts>>,
    /// The tenants, each once. Callers of any other are served nothing.
    pub tenants: Vec<TenantSetup>,
    /// By what callers are known.
    pub identity: Identity,
    /// Where everything is recorded. A gateway keeps the one that it began with.
    pub ledger: Ledger,
    /// How much is allowed.
    pub limits: LimitSettings,
    /// What calls cost, for budgets of money.
    pub prices: Prices,
    /// What is looked for in arguments and results.
    pub guards: GuardSettings,
}

/// What one tenant has beside its servers.
#[derive(Debug, Clone)]
pub struct TenantSetup {
    /// Which tenant.
    pub id: TenantId,
    /// Its toolsets.
    pub toolsets: Vec<ToolsetSettings>,
}

impl Setup {
    /// These servers and toolsets, for the one tenant that is there without tenants, and without identity.
    pub fn new(
        settings: ProxySettings,
        servers: Vec<ServerSettings>,
        toolsets: Vec<ToolsetSettings>,
    ) -> Self {
        let tenants = vec![TenantSetup { id: TenantId::default(), toolsets }];
        let identity = Identity::new(IdentitySettings::default(), Follower::of_nothing());
        let (facts, ledger) = (HashMap::new(), Ledger::off());
        let (limits, prices) = (LimitSettings::default(), Prices::default());
        let guards = GuardSettings::default();
        Self { settings, servers, facts, tenants, identity, ledger, limits, prices, guards }
    }

    /// Everything that policies of a tenant may be about. `tools` says what is known of a server's tools.
    pub fn known(
        &self,
        tenant: &TenantSetup,
        mut tools: impl FnMut(&ServerId) -> Option<Arc<[ToolDefinition]>>,
    ) -> Known {
        let own = self.servers.iter().filter(|server| server.holder.serves(&tenant.id));
        let servers = own.map(|server| {
            let id = server.id();
            let facts = self.facts.get(&id).cloned().unwrap_or_default();
            KnownServer { name: server.name.clone(), facts, tools: tools(&id) }
        });
        let servers = servers.collect();
        Known {
            tenant: tenant.id.clone(),
            servers,
            toolsets: tenant.toolsets.iter().map(known_toolset).collect(),
            redactions: redactions(&self.guards).map(Arc::from).collect(),
        }
    }
}

fn known_toolset(toolset: &ToolsetSettings) -> KnownToolset {
    let tools = toolset.tools.iter().map(|choice| {
        let native = match &choice.pick {
            Pick::All => None,
            Pick::Native(native) => Some(Arc::from(native.as_str())),
        };
        (choice.server.clone(), native)
    });
    KnownToolset { name: toolset.name.clone(), tools: tools.collect() }
}
