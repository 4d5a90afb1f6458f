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
        let Meant { server, facts, handling, cache, pins, unwritable } = meant;
        let id = server.id();
        self.facts.extend(facts.map(|facts| (id.clone(), facts)));
        self.proxy.handling.extend(handling.map(|handling| (id.clone(), handling)));
        self.proxy.cache.servers.extend(cache.map(|cache| (id.clone(), cache)));
        self.proxy.pins.servers.extend(pins.map(|pins| (id, pins)));
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

#[cfg(test)]
mod tests {
    use tollgate_store::{About, Doing, approve};

    use super::*;
    use crate::config::load;

    const TENANTS: &str = "servers: { files: { url: 'https://files.example/mcp' } }\n\
        toolsets: { all: { tools: [files__read] } }\n\
        tenants: { acme: { servers: { own: { url: 'https://own.example/mcp' } } } }\n\
        registry: { allow_stdio: true, credentials: [TOKEN] }\n";

    fn config() -> Config {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tollgate.yaml");
        std::fs::write(&file, TENANTS).expect("a file");
        load(&file, &BTreeMap::new()).unwrap_or_else(|error| panic!("{}", error.render(false)))
    }

    fn served((tenant, name, version): (&str, &str, &str), share: u8, reach: &str) -> Registration {
        let name = ServerName::new(name).expect("a name");
        let id = RegistrationId { tenant: TenantId::new(tenant), name, version: version.into() };
        let at = |ms| Doing { by: "ada".into(), reason: "".into(), at: Timestamp::from_ms(ms) };
        let draft = Registration::draft(id, reach.into(), About::default(), "cli", &at(1));
        let in_review = draft.submitted(&at(2)).expect("a draft");
        let approved = approve(&[in_review], version, None, true, &at(3)).expect("in review").remove(0);
        Registration { share, ..approved }
    }

    fn joined(registered: &[Registration]) -> (Config, Vec<String>) {
        let (config, left) = config().joined(registered, None, Timestamp::from_ms(9));
        (config, left.into_iter().map(|left| format!("{}: {}", label(&left.id), left.why)).collect())
    }

    #[test]
    fn versions_share_the_requests_whatever_their_replicas() {
        let two = r#"{"replicas":[{"url":"https://a.example","weight":3},{"url":"https://b.example"}],
                      "headers":{"X-Key":"${TOKEN}"}}"#;
        let (config, left) = joined(&[
            served(("default", "crm", "1"), 90, two),
            served(("default", "crm", "2"), 10, r#"{"url":"https://c.example"}"#),
            served(("default", "crm", "3"), 0, r#"{"url":"https://d.example"}"#),
        ]);
        assert_eq!(left, [""; 0]);
        let server = config.servers.last().expect("a server");
        let Transport::Http(http) = &server.transport else { panic!("over HTTP") };
        let of = |replica: &ReplicaSettings| {
            let version = replica.version.as_deref().unwrap_or_default().to_owned();
            (
                replica.url.host().unwrap_or_default().to_owned(),
                version,
                replica.weight,
                replica.headers.len(),
            )
        };
        let replicas: Vec<_> = http.replicas.iter().map(of).collect();
        let expected = [("a", "1", 675_000, 1), ("b", "1", 225_000, 1), ("c", "2", 100_000, 0)];
        let expected = expected.map(|(host, version, weight, headers)| {
            (format!("{host}.example"), version.to_owned(), weight, headers)
        });
        assert_eq!(replicas, expected);
        assert!(http.headers.is_empty(), "one version's credential is not sent to another");
    }

    #[test]
    fn what_cannot_be_served_beside_the_rest_is_left_out() {
        let url = r#"{"url":"https://a.example"}"#;
        let (config, left) = joined(&[
            served(("default", "files", "1"), 100, url),
            served(("default", "all", "1"), 100, url),
            served(("default", "own", "1"), 100, url),
            served(("acme", "own", "1"), 100, url),
            served(("acme", "all", "1"), 100, url),
            served(("globex", "crm", "1"), 100, url),
            served(("default", "mixed", "1"), 90, url),
            served(("default", "mixed", "2"), 10, r#"{"command":"crm"}"#),
            served(("default", "both", "1"), 90, url),
            served(("default", "both", "2"), 10, r#"{"url":"https://a.example","shared":true}"#),
            served(("acme", "late", "1"), 100, url),
            served(("default", "late", "1"), 100, r#"{"url":"https://a.example","shared":true}"#),
        ]);
        let mut left = left;
        left.sort();
        assert_eq!(
            left,
            [
                "acme/late@1: there is another server `late`, which goes first",
                "acme/own@1: there is another server `own`, which goes first",
                "all@1: there is another toolset `all`, which goes first",
                "both@2: one version is `shared`, and the other is not",
                "files@1: there is another server `files`, which goes first",
                "globex/crm@1: the configuration has no tenant `globex`",
                "mixed@2: only versions with a URL and the same transport are served beside each other",
            ]
        );
        let names: Vec<String> =
            config.servers.iter().map(|server| server.id().label().to_string()).collect();
        assert_eq!(names, ["files", "acme/own", "both", "late", "acme/all", "mixed", "own"]);
    }
}
