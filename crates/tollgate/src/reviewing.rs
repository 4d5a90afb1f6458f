//! What operators are told of registered servers by the running gateway: what it understands of them, what they say when they are
//! asked, and who could call them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use tollgate_admin::{
    FoundServer, ImportSource, Judged, KeyCard, ReadServer, Registry, Review, ReviewedItem, ReviewedList,
    ReviewedTool, RuleCard, ToolCallers, ToolFinding,
};
use tollgate_catalog::ListKind;
use tollgate_guard::Guard;
use tollgate_guard::pins::{Definition, Lock};
use tollgate_model::{KeyRecord, ServerId, ServerName, TenantId, Timestamp};
use tollgate_policy::PolicySet;
use tollgate_proxy::Gateway;
use tollgate_store::{
    About, Digest, List, PinKind, PinMarks, PinOf, Registration, RegistrationId, Store, WhichKeys,
};

use crate::administering::Told;
use crate::client::Client;
use crate::config::foreign::{self, Apart, Found};
use crate::config::{Config, ConfigError, ProcessEnv, label, registered};
use crate::exit::Failure;
use crate::policing;
use crate::policy::ask::{self, Circumstances};
use crate::policy::callers::Callers;
use crate::policy::target::{Kind, Target};
use crate::policy::who::Who;
use crate::serve::guard_command;
use crate::servers::add::faults;
use crate::servers::{import, review};
use crate::state::State;

/// How long a server may take to list what it has, and to fetch servers from elsewhere may take.
const ASK_MAX: Duration = Duration::from_secs(30);
/// How long each step towards a server, and away from it, may take.
const STEP_MAX: Duration = Duration::from_secs(10);
const FETCH_MAX: Duration = Duration::from_secs(45);
/// How many bytes of tools are looked at.
const TOOLS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Of how many keys it is said whether they could call.
const KEYS_MAX: usize = 200;

impl Told {
    fn gateway(&self) -> Result<(&Gateway, &State), String> {
        let (gateway, state, ..) = self.0.parts.get().ok_or("the gateway is starting")?;
        Ok((gateway, state))
    }

    fn configured(&self) -> Result<Config, String> {
        let config = self.0.config.load_full().ok_or("the gateway is starting")?;
        let mut config = config.0.clone();
        if let Some(served) = self.0.served.load_full() {
            config.policies = served.policies.clone();
        }
        Ok(config)
    }
}

fn problems(error: &ConfigError) -> Vec<String> {
    error.problems.iter().map(ToString::to_string).collect()
}

#[async_trait]
impl Registry for Told {
    fn read_server(&self, id: &RegistrationId, reach: &str, about: About) -> Result<ReadServer, Vec<String>> {
        let config = self.configured().map_err(|why| vec![why])?;
        let Apart { reach, about: within } =
            foreign::apart(Path::new("reach"), reach).map_err(|error| problems(&error))?;
        let about = About {
            owner: about.owner.or(within.owner),
            environment: about.environment.or(within.environment),
            risk: about.risk.or(within.risk),
            ..about
        };
        faults(&about).map_err(|(what, why)| vec![format!("{what}: {why}")])?;
        let label = label(id);
        let written = registered::Written {
            tenant: &id.tenant,
            name: &id.name,
            label: &label,
            reach: &reach,
            about: &about,
        };
        let read = registered::read(written, &config.registry, (None, PathBuf::new()));
        read.map_err(|error| problems(&error))?;
        Ok(ReadServer { reach, about })
    }

    async fn find_servers(&self, source: ImportSource) -> Result<Vec<FoundServer>, String> {
        let allow_private = self.configured()?.registry.allow_private;
        let found = match source {
            ImportSource::Document(text) => found_in("document", &text),
            ImportSource::Url(url, only) => {
                let fetched = import::fetch((&url, &only), allow_private, &found_in);
                let fetched = tokio::time::timeout(FETCH_MAX, fetched).await;
                fetched.unwrap_or_else(|_| Err(Failure::unavailable("it took too long to fetch")))
            }
        };
        let found = found.map_err(|failure| failure.text)?;
        let server = |found: Found| {
            let (reach, about) = match found.apart {
                Ok(Apart { reach, about }) => (Ok(reach), about),
                Err(why) => (Err(why), About::default()),
            };
            FoundServer { full: found.full, label: found.label, version: found.version, reach, about }
        };
        Ok(found.into_iter().map(server).collect())
    }

    async fn review(&self, registration: &Registration) -> Result<Review, String> {
        let ((_, state), config) = (self.gateway()?, self.configured()?);
        let store = state.any_store().ok_or("there is no store")?;
        let Asked { revision, id, tools, others } = asked(registration, &config).await?;
        let guard =
            review::guard(Some(&config), (registration.id.tenant.as_str(), registration.id.name.as_str()));
        let (joined, not_served) = review::if_approved(&config, registration, Some(&ProcessEnv));
        let tenant = &registration.id.tenant;
        let set = if policing::are_on(&config) && not_served.is_none() {
            Some(Callers::set_of(&joined, &*store, (tenant, &id), &tools).await?)
        } else {
            None
        };
        let keys = if set.is_some() { keys(&config, &*store, tenant).await } else { Vec::new() };
        let desired = state.follower().now();
        let marks = desired.pins_of(id.holder().tenant(), id.name());
        let pinned = Pinned {
            lock: config.proxy.pins.lock.as_deref(),
            marks: marks.map(|marks| &**marks),
            server: &id,
        };
        let item = |list: ListKind, item: &Bytes| {
            let name = name_of(list, item);
            Some(ReviewedItem {
                definition: serde_json::from_slice(item).ok()?,
                digest: Digest::of([&item[..]]).to_string(),
                findings: findings(guard.as_ref(), tenant.as_str(), item),
                pin: pinned.compare(list, &name, item),
                name,
            })
        };
        let tool = |tool: &Bytes| {
            let ReviewedItem { name, definition, digest, findings, pin } = item(ListKind::Tools, tool)?;
            let callers = set.as_ref().map(|set| could(set, &keys, id.name(), &name));
            Some(ReviewedTool { name, definition, digest, findings, pin, callers })
        };
        let list = |(list, read): &(ListKind, Result<Vec<Bytes>, String>)| ReviewedList {
            list: stored(*list).as_str(),
            unread: read.as_ref().err().cloned(),
            items: read.iter().flatten().filter_map(|one| item(*list, one)).collect(),
        };
        let (tools, lists) = (tools.iter().filter_map(tool).collect(), others.iter().map(list).collect());
        Ok(Review { revision, not_served, tools, lists })
    }

    fn judge(&self, server: &ServerId, list: List, items: &[Bytes]) -> Vec<Judged> {
        let (Ok((_, state)), Ok(config)) = (self.gateway(), self.configured()) else { return Vec::new() };
        let tenant = server.holder().tenant().cloned().unwrap_or_default();
        let guard = review::guard(Some(&config), (tenant.as_str(), server.name().as_str()));
        let desired = state.follower().now();
        let marks = desired.pins_of(server.holder().tenant(), server.name());
        let pins = &config.proxy.pins;
        let pinned = Pinned { lock: pins.lock.as_deref(), marks: marks.map(|marks| &**marks), server };
        let are_pinned = pins.are_of(server);
        let kind = kind_of(list);
        let judge = |item: &Bytes| Judged {
            findings: findings(guard.as_ref(), tenant.as_str(), item),
            pin: are_pinned.then(|| pinned.compare(kind, &name_of(kind, item), item)),
        };
        items.iter().map(judge).collect()
    }

    async fn callers(
        &self,
        tenant: &TenantId,
        server: &ServerName,
        tools: &[Arc<str>],
    ) -> Option<Vec<ToolCallers>> {
        let ((gateway, state), config) = (self.gateway().ok()?, self.configured().ok()?);
        if !gateway.decides_by_policies() {
            return None;
        }
        let Some(set) = gateway.policies_of(tenant) else {
            // A tenant without any may do nothing.
            return Some(tools.iter().map(|_| ToolCallers::default()).collect());
        };
        let keys = match state.any_store() {
            Some(store) => keys(&config, &*store, tenant).await,
            None => Vec::new(),
        };
        Some(tools.iter().map(|tool| could(&set, &keys, server, tool)).collect())
    }
}

/// Finds servers in a document.
fn found_in(source: &str, text: &str) -> Result<Vec<Found>, Failure> {
    let found = foreign::found(Path::new(source), text);
    found.map(|(found, _)| found).map_err(|error| Failure::usage(problems(&error).join("; ")))
}

/// What a server says of itself.
struct Asked {
    revision: String,
    id: ServerId,
    tools: Vec<Bytes>,
    /// Its other lists, or why they could not be read.
    others: Vec<(ListKind, Result<Vec<Bytes>, String>)>,
}

/// What a server says of itself, if it does within its time.
async fn asked(one: &Registration, config: &Config) -> Result<Asked, String> {
    let mut server = review::reached(one, Some(config), false).map_err(|failure| failure.text)?;
    guard_command(&mut server);
    // Whatever is said of its timeouts: it has a place among few until it is done with.
    let timeouts = &mut server.timeouts;
    for wait in [&mut timeouts.connect, &mut timeouts.probe, &mut timeouts.stop] {
        *wait = (*wait).min(STEP_MAX);
    }
    let id = server.id();
    // To its end, also if nobody waits any more: a process that was started is ended.
    let asking = tokio::spawn(async move {
        let until = tokio::time::Instant::now() + ASK_MAX;
        let client = Client::of(server).await?;
        let tools = client.list_within(ListKind::Tools, TOOLS_BYTES_MAX);
        let tools = tokio::time::timeout_at(until, tools).await;
        let mut others = Vec::with_capacity(review::OTHERS.len());
        if matches!(tools, Ok(Ok(_))) {
            for list in review::OTHERS {
                let read =
                    tokio::time::timeout_at(until, review::other(&client, list, TOOLS_BYTES_MAX)).await;
                others.push((list, read.unwrap_or_else(|_| Err("it did not list them in time".to_owned()))));
            }
        }
        let revision = client.revision().as_str().to_owned();
        client.close().await;
        let tools = tools.map_err(|_| Failure::unavailable("it did not list its tools in time"))?;
        Ok::<_, Failure>((revision, tools?, others))
    });
    let (revision, tools, others) =
        asking.await.map_err(|error| error.to_string())?.map_err(|failure| failure.text)?;
    Ok(Asked { revision, id, tools, others })
}

/// A list as it is kept.
const fn stored(list: ListKind) -> List {
    match list {
        ListKind::Tools => List::Tools,
        ListKind::Prompts => List::Prompts,
        ListKind::Resources => List::Resources,
        ListKind::Templates => List::ResourceTemplates,
    }
}

const fn kind_of(list: List) -> ListKind {
    match list {
        List::Tools => ListKind::Tools,
        List::Prompts => ListKind::Prompts,
        List::Resources => ListKind::Resources,
        List::ResourceTemplates => ListKind::Templates,
    }
}

/// By what an item is told apart from others of its list.
fn name_of(list: ListKind, item: &Bytes) -> String {
    let read: Value = serde_json::from_slice(item).unwrap_or_default();
    read[list.key_member()].as_str().unwrap_or_default().to_owned()
}

/// What guards find in a definition.
fn findings(guard: Option<&Guard>, tenant: &str, item: &Bytes) -> Vec<ToolFinding> {
    let found = review::find(guard, tenant, item).into_iter().map(|noted| {
        let rule = noted.rule.short().to_string();
        ToolFinding { rule, confidence: noted.confidence, path: noted.path }
    });
    found.collect()
}

/// What is approved of a server: in a file and nowhere else, where there is one, or else in the store.
struct Pinned<'a> {
    lock: Option<&'a Lock>,
    marks: Option<&'a PinMarks>,
    server: &'a ServerId,
}

impl Pinned<'_> {
    /// How a definition compares with it.
    fn compare(&self, list: ListKind, name: &str, item: &Bytes) -> &'static str {
        let kind = match list {
            ListKind::Tools => PinKind::Tool,
            ListKind::Prompts => PinKind::Prompt,
            ListKind::Resources => PinKind::Resource,
            ListKind::Templates => PinKind::Template,
        };
        let digest = Definition::read(kind, item).digest();
        if let Some(lock) = self.lock {
            let (tenant, server) = (self.server.holder().tenant().cloned(), self.server.name().clone());
            return match lock.item(&PinOf { tenant, server, kind, item: name.into() }) {
                Some(locked) if locked.digest == digest => "same",
                Some(_) => "other",
                None => "new",
            };
        }
        match self.marks.and_then(|marks| marks.get(&kind)?.get(name)) {
            Some(mark) if mark.approved == Some(digest) => "same",
            Some(mark) if mark.waiting == Some(digest) => "waiting",
            Some(mark) if mark.approved.is_some() => "other",
            _ => "new",
        }
    }
}

/// The keys of a tenant that are good: of the file, and as many of the store as are looked at, and one more.
async fn keys(config: &Config, store: &dyn Store, tenant: &TenantId) -> Vec<KeyRecord> {
    let which = WhichKeys { tenant: Some(tenant.clone()), most: KEYS_MAX + 1, ..WhichKeys::default() };
    let stored = store.keys(&which).await.unwrap_or_default();
    let now = Timestamp::now();
    let all = config.identity.keys.iter().filter(|key| key.tenant == *tenant).cloned().chain(stored);
    all.filter(|key| key.is_good(now)).take(KEYS_MAX + 1).collect()
}

/// Who could call a tool by these policies.
fn could(set: &PolicySet, keys: &[KeyRecord], server: &ServerName, native: &str) -> ToolCallers {
    let target = Target { kind: Kind::Tool, server: server.clone(), native: native.to_owned() };
    let circumstances = Circumstances::now();
    let could = |key: &&KeyRecord| {
        let principal = Who::from(*key).principal();
        principal.is_ok_and(|principal| ask::is_listed(set, &principal, &target, &circumstances))
    };
    let rules = set.about_tool(server, native).into_iter().map(|about| RuleCard {
        id: about.rule.policy.id.to_string(),
        is_permit: about.rule.is_permit,
        is_operator: about.rule.is_operator,
        path: about.rule.path.to_string(),
        line: about.rule.line,
        description: about.rule.description.map(|text| text.to_string()),
        principal: about.principal,
        conditions: about.conditions,
    });
    let card = |key: &KeyRecord| KeyCard {
        id: key.id.as_str().to_owned(),
        agent: key.agent.to_string(),
        groups: key.groups.iter().map(ToString::to_string).collect(),
    };
    ToolCallers {
        rules: rules.collect(),
        keys: keys.iter().take(KEYS_MAX).filter(could).map(card).collect(),
        has_more_keys: keys.len() > KEYS_MAX,
    }
}
