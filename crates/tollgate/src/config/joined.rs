//! What is served of registered servers, beside those of the file.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use tollgate_catalog::{Published, ServerFacts};
use tollgate_model::{Holder, ServerName, TenantId, Timestamp};
use tollgate_store::{Registration, RegistrationId};
use tollgate_upstream::{HttpSettings, REPLICAS_MAX, ReplicaSettings, ServerSettings, Transport};

use super::expand::Env;
use super::folder_of;
use super::meaning::Config;
use super::registered::{Meant, Written, read};

/// A version's part of the requests is shared out among its replicas in such parts of it.
const PARTS: u64 = 10_000;

/// A registration that ought to be served and is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Which.
    pub(crate) id: RegistrationId,
    /// Why not, in one line.
    pub(crate) why: String,
}

/// One version that is to be served.
struct Version<'a> {
    registration: &'a Registration,
    meant: Meant,
}

impl Config {
    /// This configuration with the registered servers that are to be served now, and what is left out of them. `env` as for
    /// [`read`].
    pub(crate) fn joined<'r>(
        &self,
        registrations: impl IntoIterator<Item = &'r Registration>,
        env: Option<&dyn Env>,
        now: Timestamp,
    ) -> (Self, Vec<LeftOut>) {
        let mut config = self.clone();
        let mut left_out = Vec::new();
        let mut servers: BTreeMap<(&TenantId, &ServerName), Vec<Version<'_>>> = BTreeMap::new();
        for registration in registrations.into_iter().filter(|one| one.is_served(now)) {
            let id = &registration.id;
            let label = label(id);
            let written = Written {
                tenant: &id.tenant,
                name: &id.name,
                label: &label,
                reach: &registration.reach,
                about: &registration.about,
            };
            match read(written, &self.registry, (env, folder_of(&self.file))) {
                Ok((meant, _)) => {
                    servers.entry((&id.tenant, &id.name)).or_default().push(Version { registration, meant });
                }
                Err(error) => left_out.push(LeftOut { id: id.clone(), why: one_line(&error.to_string()) }),
            }
        }
        let mut servers: Vec<Vec<Version<'_>>> = servers.into_values().collect();
        // What every tenant has goes first, as in a file.
        servers.sort_by_key(|versions| {
            !versions.iter().any(|version| version.meant.server.holder == Holder::Shared)
        });
        for versions in servers {
            let ids: Vec<RegistrationId> =
                versions.iter().map(|version| version.registration.id.clone()).collect();
            let Some(meant) = united(versions, &mut left_out) else { continue };
            match config.room_for(&meant.server) {
                Ok(()) => config.take(meant),
                Err(why) => left_out.extend(ids.into_iter().map(|id| LeftOut { id, why: why.clone() })),
            }
        }
        (config, left_out)
    }

    /// Whether a server's name is free for all who would see it.
    fn room_for(&self, server: &ServerSettings) -> Result<(), String> {
        if let Holder::Tenant(tenant) = &server.holder
            && !self.tenants.iter().any(|known| known.id == *tenant)
        {
            return Err(format!("the configuration has no tenant `{}`", tenant.as_str()));
        }
        for tenant in self.tenants.iter().filter(|tenant| server.holder.serves(&tenant.id)) {
            let mut servers = self.servers.iter().filter(|other| other.holder.serves(&tenant.id));
            let kind = if servers.any(|other| other.name == server.name) {
                "server"
            } else if tenant.toolsets.iter().any(|toolset| toolset.name == server.name) {
                "toolset"
            } else {
                continue;
            };
            return Err(format!("there is another {kind} `{}`, which goes first", server.name));
        }
        Ok(())
    }

    fn take(&mut self, meant: Meant) {
        let Meant { server, facts, handling, cache, unwritable } = meant;
        let id = server.id();
        self.facts.extend(facts.map(|facts| (id.clone(), facts)));
        self.proxy.handling.extend(handling.map(|handling| (id.clone(), handling)));
        self.proxy.cache.servers.extend(cache.map(|cache| (id.clone(), cache)));
        self.proxy.unwritable.servers.extend(unwritable.servers);
        self.servers.push(server);
    }
}

/// How people name a registration.
pub(crate) fn label(id: &RegistrationId) -> String {
    let RegistrationId { tenant, name, version } = id;
    if *tenant == TenantId::default() {
        format!("{name}@{version}")
    } else {
        format!("{}/{name}@{version}", tenant.as_str())
    }
}

fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join("; ")
}

/// All versions of a server as one, each with its part of the requests. What is said of the server as a whole is what the
/// version with most of them says.
fn united(mut versions: Vec<Version<'_>>, left_out: &mut Vec<LeftOut>) -> Option<Meant> {
    versions.sort_by_key(|version| Reverse((version.registration.share, version.registration.approved)));
    let mut versions = versions.into_iter();
    let Version { registration: main, mut meant } = versions.next()?;
    let mut replicas = replicas_of(main, &meant.server.transport);
    // While one version stays, the server does.
    let mut sunset = main.sunset;
    let mut published = vec![published_of(main)];
    for other in versions {
        let id = other.registration.id.clone();
        let leave = |why: &str| LeftOut { id: id.clone(), why: why.to_owned() };
        let own = replicas_of(other.registration, &other.meant.server.transport);
        if replicas.is_empty() || own.is_empty() || !is_alike(&meant.server, &other.meant.server) {
            left_out
                .push(leave("only versions with a URL and the same transport are served beside each other"));
        } else if other.meant.server.holder != meant.server.holder {
            left_out.push(leave("one version is `shared`, and the other is not"));
        } else if replicas.len() + own.len() > REPLICAS_MAX {
            left_out.push(leave("all versions together have too many replicas"));
        } else {
            replicas.extend(own);
            published.push(published_of(other.registration));
            sunset = sunset.and_then(|sunset| Some(sunset.max(other.registration.sunset?)));
        }
    }
    if let (Transport::Http(http) | Transport::Sse(http), Some(first)) =
        (&mut meant.server.transport, replicas.first())
    {
        http.url = first.url.clone();
        http.headers.clear();
        http.ca_file = None;
        http.replicas = replicas;
    }
    published.sort_by_key(|one| Reverse(one.since));
    let facts = meant.facts.map_or_else(ServerFacts::default, Arc::unwrap_or_clone);
    meant.facts = Some(Arc::new(ServerFacts { sunset, published, ..facts }));
    Some(meant)
}

/// What a registry says of a version.
fn published_of(registration: &Registration) -> Published {
    let Registration { id, about, created, approved, sunset, last, .. } = registration;
    Published {
        version: id.version.clone(),
        description: about.description.clone(),
        documentation: about.documentation.clone(),
        since: approved.unwrap_or(*created),
        changed: last.at,
        sunset: *sunset,
    }
}

fn is_alike(one: &ServerSettings, other: &ServerSettings) -> bool {
    std::mem::discriminant(&one.transport) == std::mem::discriminant(&other.transport)
}

/// The places of one version; none of one that is started.
fn replicas_of(registration: &Registration, transport: &Transport) -> Vec<ReplicaSettings> {
    let (Transport::Http(http) | Transport::Sse(http)) = transport else { return Vec::new() };
    let own = if http.replicas.is_empty() {
        vec![ReplicaSettings::new(http.url.clone())]
    } else {
        http.replicas.clone()
    };
    let total: u64 = own.iter().map(|replica| u64::from(replica.weight)).sum();
    let weight = |replica: &ReplicaSettings| {
        let (own, total) = if total == 0 { (1, 1) } else { (u64::from(replica.weight), total) };
        let part = u64::from(registration.share) * PARTS * own / total;
        u32::try_from(part.max(u64::from(own > 0))).unwrap_or(u32::MAX)
    };
    let placed = own.iter().map(|replica| ReplicaSettings {
        weight: weight(replica),
        version: Some(registration.id.version.clone()),
        headers: headers_of(http, replica),
        ca_file: replica.ca_file.clone().or_else(|| http.ca_file.clone()),
        ..replica.clone()
    });
    placed.collect()
}

/// The headers of a replica, with those of its server that it does not replace.
fn headers_of(
    http: &HttpSettings,
    replica: &ReplicaSettings,
) -> Vec<(http::HeaderName, tollgate_model::Secret)> {
    let is_own = |name: &http::HeaderName| replica.headers.iter().any(|(own, _)| own == name);
    let servers = http.headers.iter().filter(|(name, _)| !is_own(name));
    servers.chain(&replica.headers).cloned().collect()
}
