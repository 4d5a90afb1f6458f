//! Whose servers and toolsets are: one namespace for each tenant, with what is shared in every one of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tollgate_catalog::{ServerFacts, ToolsetSettings};
use tollgate_model::{Holder, ServerId, ServerName, TenantId};
use tollgate_policy::Source;
use tollgate_proxy::{Handling, ServerCache, ServerPins, Unwritable};
use tollgate_upstream::ServerSettings;

use super::ledger::when_unwritable;
use super::{Meaning, Servers, Standing};
use crate::config::forms::Keyed;
use crate::config::node::Place;
use crate::config::section::{ConfigSection, ServerSection};

/// What one tenant has beside its servers.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantSettings {
    /// Which tenant.
    pub id: TenantId,
    /// Its toolsets, in the order of the file.
    pub toolsets: Vec<ToolsetSettings>,
}

/// Everything that is served, and to whom.
#[derive(Default)]
pub(in crate::config) struct Served {
    pub(in crate::config) servers: Vec<ServerSettings>,
    pub(in crate::config) facts: HashMap<ServerId, Arc<ServerFacts>>,
    /// The one that is always there first.
    pub(in crate::config) tenants: Vec<TenantSettings>,
    /// The policies of the others.
    pub(in crate::config) policies: BTreeMap<TenantId, Vec<Source>>,
    /// Those of them that only look on.
    pub(in crate::config) shadow: BTreeMap<TenantId, Vec<Source>>,
    /// How calls of servers' tools are handled, of servers of which anything is said.
    pub(in crate::config) handling: HashMap<ServerId, Arc<Handling>>,
    /// What is said of what is kept of servers.
    pub(in crate::config) caches: HashMap<ServerId, ServerCache>,
    /// What is said of how definitions of servers are pinned.
    pub(in crate::config) pins: HashMap<ServerId, ServerPins>,
    /// What is said of servers and toolsets for when the ledger cannot be written.
    pub(in crate::config) unwritable: Unwritable,
    /// Whether any server is named, be it left out.
    pub(in crate::config) names_a_server: bool,
}

impl Meaning<'_> {
    pub(super) fn served(&mut self, section: &ConfigSection, root: &Place<'_>) -> Served {
        let message_bytes_max = section.limits.as_ref().and_then(|limits| limits.message_bytes_max);
        let mut served = Served::default();
        let own = Holder::default();
        let mut names = Servers::default();
        let place = root.key("servers");
        self.servers(section.servers.as_ref(), &place, &own, message_bytes_max, &mut names, &mut served);
        let toolsets = self.toolsets(section.toolsets.as_ref(), &root.key("toolsets"), &names);
        Self::toolsets_unwritable(&mut served.unwritable, &TenantId::default(), section.toolsets.as_ref());
        served.tenants.push(TenantSettings { id: TenantId::default(), toolsets });
        let shared = names.shared();
        let place = root.key("tenants");
        for (label, section) in Keyed::iter(section.tenants.as_ref()) {
            let place = place.key(label);
            let Some(id) = self.tenant(label, &place) else { continue };
            let mut names = shared.clone();
            let holder = Holder::Tenant(id.clone());
            let servers_place = place.key("servers");
            let servers = section.servers.as_ref();
            self.servers(servers, &servers_place, &holder, message_bytes_max, &mut names, &mut served);
            let toolsets = self.toolsets(section.toolsets.as_ref(), &place.key("toolsets"), &names);
            Self::toolsets_unwritable(&mut served.unwritable, &id, section.toolsets.as_ref());
            if let Some(policy) = &section.policy {
                let own = self.policy_files(policy.files.as_ref(), &place.key("policy").key("files"));
                served.policies.insert(id.clone(), own);
                let shadow = self.shadow_files(policy.shadow.as_ref(), &place.key("policy").key("shadow"));
                served.shadow.extend(shadow.map(|shadow| (id.clone(), shadow)));
            }
            served.tenants.push(TenantSettings { id, toolsets });
        }
        served
    }

    /// The servers that stand alone, for one holder.
    pub(in crate::config) fn registered(
        &mut self,
        section: &ConfigSection,
        root: &Place<'_>,
        holder: &Holder,
        message_bytes_max: Option<usize>,
    ) -> Served {
        let (mut names, mut served) = (Servers::default(), Served::default());
        let place = root.key("servers");
        self.servers(section.servers.as_ref(), &place, holder, message_bytes_max, &mut names, &mut served);
        served
    }

    /// The tenant that a key stands for.
    fn tenant(&mut self, label: &str, place: &Place<'_>) -> Option<TenantId> {
        let name = self.name(label, place)?;
        if name.as_str() == TenantId::default().as_str() {
            let message = format!("the tenant `{label}` has what stands at the top of the file");
            self.problems.error_with(place, message, "move its servers and toolsets to the top");
            return None;
        }
        Some(TenantId::new(name.as_str()))
    }

    /// Adds the servers of one holder, or of all where the file says that they are shared.
    fn servers(
        &mut self,
        section: Option<&Keyed<ServerSection>>,
        place: &Place<'_>,
        holder: &Holder,
        message_bytes_max: Option<usize>,
        names: &mut Servers,
        served: &mut Served,
    ) {
        for (label, section) in Keyed::iter(section) {
            let place = place.key(label);
            let Some(name) = self.name(label, &place) else { continue };
            served.names_a_server = true;
            if let Some(other) = names.names.get(&name) {
                self.taken(label, &name, other, holder, &place);
                continue;
            }
            let shared = section.shared == Some(true);
            if shared && *holder != Holder::default() {
                let message = "a tenant's server is its own";
                let suggestion = "move it to `servers` at the top of the file to share it with every tenant";
                self.problems.error_with(&place.key("shared"), message, suggestion);
            }
            let disabled = section.disabled == Some(true);
            let standing = Standing { label: label.to_owned(), disabled, shared };
            names.names.insert(name.clone(), standing);
            let facts = self.facts(section, &place);
            if !disabled && let Some(settings) = self.server(name, section, &place, message_bytes_max) {
                let holder = if shared { Holder::Shared } else { holder.clone() };
                let settings = ServerSettings { holder, ..settings };
                let unwritable =
                    section.when_unwritable.map(|written| (settings.id(), when_unwritable(written)));
                served.unwritable.servers.extend(unwritable);
                let handling = Self::handling(section);
                served.handling.extend(handling.map(|handling| (settings.id(), handling)));
                let cache = section.cache.as_ref().map(Self::server_cache);
                served.caches.extend(cache.map(|cache| (settings.id(), cache)));
                let pins = section.pins.as_ref().map(Self::server_pins);
                served.pins.extend(pins.map(|pins| (settings.id(), pins)));
                served.facts.extend(facts.map(|facts| (settings.id(), facts)));
                served.servers.push(settings);
            }
        }
    }

    /// A name that another server has already.
    fn taken(
        &mut self,
        label: &str,
        name: &ServerName,
        other: &Standing,
        holder: &Holder,
        place: &Place<'_>,
    ) {
        let message = if other.shared && *holder != Holder::default() {
            format!("`{name}` is a shared server, which every tenant has under this name")
        } else if other.label == label {
            format!("`{label}` is already the name of another server")
        } else {
            format!("`{}` and `{label}` both become `{name}`", other.label)
        };
        self.problems.error_with(place, message, "rename one of them");
    }
}

impl Servers {
    /// The servers that every tenant has.
    fn shared(&self) -> Self {
        let shared = self.names.iter().filter(|(_, standing)| standing.shared);
        Self { names: shared.map(|(name, standing)| (name.clone(), standing.clone())).collect() }
    }
}
