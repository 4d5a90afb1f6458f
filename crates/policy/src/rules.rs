//! All rules of a set with what they are about, and the entities that Cedar is shown.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use cedar_policy::{Entities, Entity, EntityUid, RestrictedExpression};
use tollgate_catalog::ServerFacts;
use tollgate_model::{Obligations, Principal};

use crate::names::{self, Kind, Types};
use crate::rule::{Literals, Rule, Scope};
use crate::text::quoted;
use crate::types::Record;
use crate::world::{Tool, World};

/// Everything that decides, and never changes.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) world: World,
    pub(crate) all: Vec<Rule>,
    pub(crate) literals: Literals,
    pub(crate) types: Types,
    /// The tools, in the order of [`World::tools`].
    pub(crate) targets: Vec<Target>,
    pub(crate) environment: Option<Arc<str>>,
    /// Whether a condition reads attributes of the caller.
    pub(crate) reads_caller: bool,
    /// Of whatever has no typed arguments.
    pub(crate) no_types: Record,
    /// By server: whether a rule tells its resources apart by their URIs.
    reads_uris: Box<[bool]>,
    /// By server: it, its tools and their actions.
    on_servers: Box<[OnceLock<Option<Entities>>]>,
}

/// What a request is about: an action and a resource.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) on: Kind,
    pub(crate) server: usize,
    pub(crate) action_id: Arc<str>,
    pub(crate) groups: Vec<Arc<str>>,
    pub(crate) resource_id: Arc<str>,
    pub(crate) action: EntityUid,
    pub(crate) resource: EntityUid,
    /// What policies name of the action and its groups.
    pub(crate) actions: Vec<u32>,
    /// What policies name of the resource and its server.
    pub(crate) resources: Vec<u32>,
}

/// What policies can tell of a caller: two callers of whom this is the same are judged the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Traits {
    /// What policies name of the caller and all that it acts as, in order.
    pub(crate) ids: smallvec::SmallVec<[u32; 16]>,
    /// Its attributes, where a policy reads them.
    pub(crate) agent: Option<Arc<str>>,
    pub(crate) user: Option<Arc<str>>,
}

impl Rules {
    pub(crate) fn new(
        world: World,
        rules: Vec<Rule>,
        literals: Literals,
        types: Types,
        environment: Option<&str>,
    ) -> Self {
        let reads_caller = rules.iter().flat_map(|rule| &rule.parts).any(|part| part.uses.caller);
        let on_servers = world.servers.iter().map(|_| OnceLock::new()).collect();
        let mut all = Self {
            world,
            all: rules,
            literals,
            types,
            targets: Vec::new(),
            environment: environment.map(Arc::from),
            reads_caller,
            no_types: Record::new(),
            reads_uris: Box::default(),
            on_servers,
        };
        all.reads_uris = (0..all.world.servers.len()).map(|server| all.finds_uris(server)).collect();
        all.targets = all.world.tools.iter().map(|tool| all.tool(tool)).collect();
        all
    }

    pub(crate) fn rule(&self, at: u32) -> Option<&Rule> {
        self.all.get(at as usize)
    }

    /// A call of a tool.
    pub(crate) fn tool(&self, tool: &Tool) -> Target {
        self.target(Kind::Tool, tool.server, tool.id.clone(), tool.groups.clone(), tool.id.clone())
    }

    /// A read of a resource.
    pub(crate) fn resource(&self, server: usize, uri: &str) -> Target {
        let id = Arc::from(names::of_resource(self.server_name(server), uri));
        self.target(Kind::Resource, server, Arc::from(names::READ), Vec::new(), id)
    }

    /// A prompt.
    pub(crate) fn prompt(&self, server: usize, native: &str) -> Target {
        let id = Arc::from(names::of_server(self.server_name(server), native));
        self.target(Kind::Prompt, server, Arc::from(names::GET_PROMPT), Vec::new(), id)
    }

    /// Whether a rule tells the resources of a server apart by their URIs.
    fn finds_uris(&self, server: usize) -> bool {
        let name = self.server_name(server);
        let read = self.literals.find(Kind::Action, names::READ);
        let is_named =
            self.literals.of(Kind::Resource).any(|id| id.split_once(' ').is_none_or(|(one, _)| one == name));
        let reads = |rule: &Rule| {
            rule.parts.iter().any(|part| !part.uses.input.is_empty())
                && rule.on.is_none_or(|kind| kind == Kind::Resource)
                && rule.action.holds(read.as_slice())
                && self.reaches(&rule.resource, Kind::Resource, server)
        };
        is_named || self.all.iter().any(reads)
    }

    /// Whether rules cannot judge this URI: they compare texts, and it has another spelling.
    pub(crate) fn is_evasive(&self, server: usize, uri: &str) -> bool {
        self.reads_uris.get(server).copied().unwrap_or(true) && !crate::uri::is_normal(uri)
    }

    pub(crate) fn server_name(&self, server: usize) -> &str {
        self.world.servers.get(server).map_or("", |server| &server.name)
    }

    fn target(
        &self,
        on: Kind,
        server: usize,
        action_id: Arc<str>,
        groups: Vec<Arc<str>>,
        resource_id: Arc<str>,
    ) -> Target {
        let actions = std::iter::once(&action_id).chain(&groups);
        let actions = actions.filter_map(|id| self.literals.find(Kind::Action, id)).collect();
        let own = self.literals.find(on, &resource_id);
        let parent = self.literals.find(Kind::Server, self.server_name(server));
        Target {
            on,
            server,
            action: self.types.uid(Kind::Action, &action_id),
            resource: self.types.uid(on, &resource_id),
            action_id,
            groups,
            resource_id,
            actions,
            resources: own.into_iter().chain(parent).collect(),
        }
    }

    /// What policies can tell of a caller.
    pub(crate) fn traits(&self, who: &Principal) -> Traits {
        let find = |kind: Kind, id: &str| self.literals.find(kind, id);
        let agent = who.agent_name();
        let mut ids: smallvec::SmallVec<[u32; 16]> = smallvec::SmallVec::new();
        ids.extend(find(Kind::Caller, who.id.as_str()));
        ids.extend(find(Kind::Tenant, who.tenant.as_str()));
        ids.extend(agent.and_then(|agent| find(Kind::Agent, agent)));
        // The user's groups and the agent's own are told apart, and nobody is in a group of a user who is not there.
        if let Some(user) = &who.user {
            ids.extend(find(Kind::User, user));
            ids.extend(who.groups.iter().filter_map(|group| find(Kind::Group, group)));
        }
        if agent.is_some() {
            ids.extend(who.agent_groups.iter().filter_map(|group| find(Kind::AgentGroup, group)));
        }
        ids.extend(who.roles.iter().filter_map(|role| find(Kind::Role, role)));
        ids.sort_unstable();
        ids.dedup();
        let (mut of_agent, mut of_user) = (None, None);
        if self.reads_caller {
            of_agent = match (&who.agent, agent) {
                (Some(agent), _) => Some(agent.clone()),
                (None, agent) => agent.map(Arc::from),
            };
            of_user.clone_from(&who.user);
        }
        Traits { ids, agent: of_agent, user: of_user }
    }

    /// The caller as an entity.
    pub(crate) fn caller(&self, traits: &Traits) -> Option<Entity> {
        let named: Vec<&(Kind, Arc<str>)> =
            traits.ids.iter().filter_map(|id| self.literals.get(*id)).collect();
        // An id that no policy names is as good as any other.
        let own = named.iter().find(|(kind, _)| *kind == Kind::Caller).map_or("", |(_, id)| id);
        let parents = named.iter().filter(|(kind, _)| *kind != Kind::Caller);
        let parents = parents.map(|(kind, id)| self.types.uid(*kind, id)).collect();
        let text = |(name, value): (&str, &Option<Arc<str>>)| {
            let value = RestrictedExpression::new_string(value.as_ref()?.to_string());
            Some((name.to_owned(), value))
        };
        let attributes = [("agent", &traits.agent), ("user", &traits.user)].into_iter().filter_map(text);
        Entity::new(self.types.uid(Kind::Caller, own), attributes.collect(), parents).ok()
    }

    /// An entity that a condition names, with what is known of it.
    fn named(&self, kind: Kind, id: &str) -> Option<Entity> {
        match kind {
            Kind::Server => self.server_entity(self.world.server(id)?),
            Kind::Tool => self.tool_entity(self.world.tools.get(self.world.by_action(id)?)?),
            Kind::Action => {
                let tool = self.world.tools.get(self.world.by_action(id)?)?;
                Some(self.action_entity(&tool.id, &tool.groups))
            }
            Kind::Prompt => self.on_server(kind, id, self.world.server_of(id)?),
            Kind::Resource => self.on_server(kind, id, self.world.server(id.split_once(' ')?.0)?),
            _ => None,
        }
    }

    fn action_entity(&self, id: &str, groups: &[Arc<str>]) -> Entity {
        let groups = groups.iter().map(|group| self.types.uid(Kind::Action, group)).collect();
        Entity::new_no_attrs(self.types.uid(Kind::Action, id), groups)
    }

    fn server_entity(&self, server: usize) -> Option<Entity> {
        let server = self.world.servers.get(server)?;
        let uid = self.types.uid(Kind::Server, &server.name);
        Entity::new(uid, attributes(&server.facts, server.facts.risk.as_ref()), HashSet::new()).ok()
    }

    fn tool_entity(&self, tool: &Tool) -> Option<Entity> {
        let server = self.world.servers.get(tool.server)?;
        let mut attributes = attributes(&server.facts, tool.risk.as_ref());
        attributes.insert("read_only".to_owned(), RestrictedExpression::new_bool(tool.is_read_only));
        attributes.insert("destructive".to_owned(), RestrictedExpression::new_bool(tool.is_destructive));
        let parents = HashSet::from([self.types.uid(Kind::Server, &server.name)]);
        Entity::new(self.types.uid(Kind::Tool, &tool.id), attributes, parents).ok()
    }

    fn on_server(&self, kind: Kind, id: &str, server: usize) -> Option<Entity> {
        let server = self.world.servers.get(server)?;
        let parents = HashSet::from([self.types.uid(Kind::Server, &server.name)]);
        let attributes = attributes(&server.facts, server.facts.risk.as_ref());
        Entity::new(self.types.uid(kind, id), attributes, parents).ok()
    }

    /// What Cedar needs to see to judge these rules of this target.
    pub(crate) fn entities<'a>(
        &self,
        caller: &Entity,
        target: &Target,
        named: impl Iterator<Item = &'a (Kind, Arc<str>)>,
    ) -> Option<Entities> {
        let mut all: HashMap<EntityUid, Entity> = HashMap::new();
        let mut add = |entity: Entity| {
            all.entry(entity.uid()).or_insert(entity);
        };
        add(caller.clone());
        add(self.action_entity(&target.action_id, &target.groups));
        add(self.resource_entity(target)?);
        add(self.server_entity(target.server)?);
        named.filter_map(|(kind, id)| self.named(*kind, id)).for_each(add);
        Entities::from_entities(all.into_values(), None).ok()
    }

    fn resource_entity(&self, target: &Target) -> Option<Entity> {
        if target.on != Kind::Tool {
            return self.on_server(target.on, &target.resource_id, target.server);
        }
        let known = self.world.by_action(&target.action_id).and_then(|at| self.world.tools.get(at));
        match known {
            Some(tool) => self.tool_entity(tool),
            None => {
                let (_, native) = target.action_id.split_once("__")?;
                self.tool_entity(&self.world.unlisted(target.server, native))
            }
        }
    }

    /// What Cedar needs to see to judge rules of all tools of a server.
    pub(crate) fn whole_server<'a>(
        &self,
        caller: &Entity,
        server: usize,
        named: impl Iterator<Item = &'a (Kind, Arc<str>)>,
    ) -> Option<Entities> {
        let known = self.on_servers.get(server)?.get_or_init(|| {
            let known = self.world.servers.get(server)?;
            let tools = self.world.tools.get(known.first..known.end)?;
            let actions = tools.iter().map(|tool| self.action_entity(&tool.id, &tool.groups));
            let entities = tools.iter().filter_map(|tool| self.tool_entity(tool)).chain(actions);
            Entities::from_entities(entities.chain(self.server_entity(server)), None).ok()
        });
        let known = known.clone()?;
        let mut more: HashMap<EntityUid, Entity> = HashMap::from([(caller.uid(), caller.clone())]);
        for entity in named.filter_map(|(kind, id)| self.named(*kind, id)) {
            if known.get(&entity.uid()).is_none() {
                more.insert(entity.uid(), entity);
            }
        }
        known.add_entities(more.into_values(), None).ok()
    }

    /// What the permits that allow a call demand of it, all of them together.
    pub(crate) fn obligations(&self, permits: &[u32]) -> Obligations {
        let mut all = Obligations::default();
        for notes in permits.iter().filter_map(|at| self.rule(*at)).map(|rule| &rule.notes) {
            all.approvals.extend(notes.approval.clone().filter(|one| !all.approvals.contains(one)));
            for (all, more) in [(&mut all.redactions, &notes.redactions), (&mut all.holds, &notes.holds)] {
                for one in more {
                    if !all.contains(one) {
                        all.push(Arc::clone(one));
                    }
                }
            }
            all.record = all.record.max(notes.record);
        }
        all
    }

    /// An entity that policies name, as they write it.
    pub(crate) fn name(&self, id: u32) -> Option<String> {
        let (kind, id) = self.literals.get(id)?;
        Some(format!("{}::{}", kind.as_str(), quoted(id)))
    }

    /// What is known of a resource, by the names of its attributes.
    pub(crate) fn facts(&self, target: &Target) -> Vec<(&'static str, Option<String>)> {
        let Some(server) = self.world.servers.get(target.server) else { return Vec::new() };
        let unlisted;
        let tool = match (target.on, self.world.by_action(&target.action_id)) {
            (Kind::Tool, Some(at)) => self.world.tools.get(at),
            (Kind::Tool, None) => {
                let native = target.action_id.split_once("__").map_or("", |(_, native)| native);
                unlisted = self.world.unlisted(target.server, native);
                Some(&unlisted)
            }
            _ => None,
        };
        let text = |text: Option<&Arc<str>>| text.map(|text| quoted(text));
        let risk = tool.map_or(server.facts.risk.as_ref(), |tool| tool.risk.as_ref());
        let mut facts = vec![
            ("risk", text(risk)),
            ("owner", text(server.facts.owner.as_ref())),
            ("environment", text(server.facts.environment.as_ref())),
        ];
        if let Some(tool) = tool {
            facts.push(("read_only", Some(tool.is_read_only.to_string())));
            facts.push(("destructive", Some(tool.is_destructive.to_string())));
        }
        facts
    }

    /// Whether a scope names something of this server, or is about all of it.
    pub(crate) fn reaches(&self, scope: &Scope, on: Kind, server: usize) -> bool {
        let Scope::In(ids) = scope else { return *scope == Scope::Any };
        let name = self.server_name(server);
        ids.iter().filter_map(|id| self.literals.get(*id)).any(|(kind, id)| match kind {
            Kind::Server => **id == *name,
            Kind::Resource => *kind == on && id.split_once(' ').is_some_and(|(one, _)| one == name),
            Kind::Tool | Kind::Prompt => {
                *kind == on && id.split_once("__").is_some_and(|(one, _)| one == name)
            }
            _ => false,
        })
    }
}

fn attributes(facts: &ServerFacts, risk: Option<&Arc<str>>) -> HashMap<String, RestrictedExpression> {
    let text = |(name, value): (&str, Option<&Arc<str>>)| {
        let value = RestrictedExpression::new_string(value?.to_string());
        Some((name.to_owned(), value))
    };
    let all = [("risk", risk), ("owner", facts.owner.as_ref()), ("environment", facts.environment.as_ref())];
    all.into_iter().filter_map(text).collect()
}
