//! What there is to write policies about: the servers and their tools, with the groups that each tool is in.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tollgate_catalog::{Known, KnownServer, KnownToolset, ServerFacts};
use tollgate_model::TenantId;

use crate::names::{self, Kind};
use crate::types::Input;

/// Everything that is known of one tenant's servers, as policies see it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) tenant: TenantId,
    pub(crate) servers: Vec<Server>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) toolsets: Vec<KnownToolset>,
    pub(crate) risks: BTreeSet<Arc<str>>,
    /// What can be taken out of what passes.
    pub(crate) redactions: Vec<Arc<str>>,
    by_server: HashMap<Arc<str>, usize>,
    by_action: HashMap<Arc<str>, usize>,
}

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: Arc<str>,
    pub(crate) facts: Arc<ServerFacts>,
    /// Its tools are not known yet.
    pub(crate) is_pending: bool,
    /// Its tools are those of [`World::tools`] from here to there.
    pub(crate) first: usize,
    pub(crate) end: usize,
    /// Their places, by native name.
    pub(crate) tools: HashMap<Arc<str>, usize>,
}

/// A tool.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) server: usize,
    pub(crate) native: Arc<str>,
    /// The id of its action and of its entity.
    pub(crate) id: Arc<str>,
    /// The groups that its action is in.
    pub(crate) groups: Vec<Arc<str>>,
    pub(crate) risk: Option<Arc<str>>,
    pub(crate) is_read_only: bool,
    pub(crate) is_destructive: bool,
    pub(crate) input: Input,
}

impl World {
    /// What policies see of what is known.
    pub(crate) fn of(known: &Known) -> Self {
        let mut world = Self {
            tenant: known.tenant.clone(),
            servers: Vec::new(),
            tools: Vec::new(),
            toolsets: known.toolsets.clone(),
            risks: BTreeSet::new(),
            redactions: known.redactions.clone(),
            by_server: HashMap::new(),
            by_action: HashMap::new(),
        };
        for server in &known.servers {
            world.add(server);
        }
        world
    }

    fn add(&mut self, known: &KnownServer) {
        let name: Arc<str> = Arc::from(known.name.as_str());
        self.risks.extend(known.facts.risk.clone());
        self.risks.extend(known.facts.tools.values().filter_map(|facts| facts.risk.clone()));
        let at = self.servers.len();
        self.by_server.insert(name.clone(), at);
        self.servers.push(Server {
            name,
            facts: known.facts.clone(),
            is_pending: known.tools.is_none(),
            first: self.tools.len(),
            end: self.tools.len(),
            tools: HashMap::new(),
        });
        for tool in known.tools.iter().flat_map(|tools| tools.iter()) {
            let hints = (tool.read_only, tool.destructive);
            let input = Input::of(tool.input_schema.as_deref());
            let tool = self.tool(at, &tool.native, hints, input);
            let place = self.tools.len();
            let Some(server) = self.servers.get_mut(at) else { continue };
            if server.tools.contains_key(&tool.native) {
                continue;
            }
            server.tools.insert(tool.native.clone(), place);
            server.end = place + 1;
            self.by_action.insert(tool.id.clone(), place);
            self.tools.push(tool);
        }
    }

    /// A tool of a server, with what its operator says of it.
    fn tool(&self, at: usize, native: &str, (read_only, destructive): (bool, bool), input: Input) -> Tool {
        let (name, facts) = match self.servers.get(at) {
            Some(server) => (server.name.clone(), server.facts.clone()),
            None => (Arc::from(""), Arc::default()),
        };
        let own = facts.tools.get(native);
        let is_read_only = own.and_then(|own| own.read_only).unwrap_or(read_only);
        let is_destructive = own.and_then(|own| own.destructive).unwrap_or(destructive && !is_read_only);
        let risk = own.and_then(|own| own.risk.clone()).or_else(|| facts.risk.clone());
        let mut groups: Vec<Arc<str>> = vec![Arc::from(names::CALL)];
        groups.extend(is_read_only.then(|| Arc::from(names::READ_ONLY)));
        groups.extend(is_destructive.then(|| Arc::from(names::DESTRUCTIVE)));
        groups.push(Arc::from(format!("server:{name}")));
        groups.extend(risk.as_ref().map(|risk| Arc::from(format!("risk:{risk}"))));
        let holds = |set: &&KnownToolset| {
            let mut tools = set.tools.iter();
            tools.any(|(server, one)| {
                server.as_str() == &*name && one.as_ref().is_none_or(|one| **one == *native)
            })
        };
        let toolsets = self.toolsets.iter().filter(holds);
        groups.extend(toolsets.map(|set| Arc::from(format!("toolset:{}", set.name))));
        Tool {
            server: at,
            native: Arc::from(native),
            id: Arc::from(names::of_server(&name, native)),
            groups,
            risk,
            is_read_only,
            is_destructive,
            input,
        }
    }

    /// A tool that its server has not listed: of it the worst is thought.
    pub(crate) fn unlisted(&self, server: usize, native: &str) -> Tool {
        self.tool(server, native, (false, true), Input::default())
    }

    pub(crate) fn server(&self, name: &str) -> Option<usize> {
        self.by_server.get(name).copied()
    }

    /// The tool of a server's native name, where it was listed.
    pub(crate) fn listed(&self, server: usize, native: &str) -> Option<usize> {
        self.servers.get(server)?.tools.get(native).copied()
    }

    /// The tool whose action has this id.
    pub(crate) fn by_action(&self, id: &str) -> Option<usize> {
        self.by_action.get(id).copied()
    }

    /// Whether an id is that of a tool which was listed.
    pub(crate) fn is_listed(&self, id: &str) -> bool {
        self.by_action.contains_key(id)
    }

    /// The server that an id names before its `__`, if there is one.
    pub(crate) fn server_of(&self, id: &str) -> Option<usize> {
        self.server(id.split_once("__")?.0)
    }

    /// All groups of actions.
    pub(crate) fn groups(&self) -> Vec<String> {
        let mut groups: Vec<String> =
            [names::CALL, names::READ_ONLY, names::DESTRUCTIVE].map(str::to_owned).into();
        groups.extend(self.servers.iter().map(|server| format!("server:{}", server.name)));
        groups.extend(self.toolsets.iter().map(|set| format!("toolset:{}", set.name)));
        groups.extend(self.risks.iter().map(|risk| format!("risk:{risk}")));
        groups
    }

    /// Whether there is an entity of this id; nothing where that cannot be known.
    pub(crate) fn has(&self, kind: Kind, id: &str) -> Option<Standing> {
        let found = |is_there: bool| if is_there { Standing::There } else { Standing::Missing };
        let on_server = |known: bool| match self.server_of(id).and_then(|at| self.servers.get(at)) {
            _ if known => Standing::There,
            Some(server) if server.is_pending => Standing::Pending,
            _ => Standing::Missing,
        };
        match kind {
            Kind::Agent | Kind::User | Kind::Group | Kind::AgentGroup | Kind::Role | Kind::Caller => None,
            Kind::Tenant => Some(found(self.tenant.as_str() == id)),
            Kind::Server => Some(found(self.server(id).is_some())),
            Kind::Prompt => Some(found(self.server_of(id).is_some())),
            Kind::Resource => {
                let server = id.split_once(' ').and_then(|(server, _)| self.server(server));
                Some(found(server.is_some()))
            }
            Kind::Action if id == names::READ || id == names::GET_PROMPT => Some(Standing::There),
            Kind::Action if self.groups().iter().any(|group| group == id) => Some(Standing::There),
            Kind::Tool | Kind::Action => Some(on_server(self.by_action(id).is_some())),
        }
    }

    /// Ids of this type that there are.
    pub(crate) fn ids(&self, kind: Kind) -> Vec<String> {
        let tools = || self.tools.iter().map(|tool| tool.id.to_string());
        match kind {
            Kind::Tenant => vec![self.tenant.as_str().to_owned()],
            Kind::Server => self.servers.iter().map(|server| server.name.to_string()).collect(),
            Kind::Tool => tools().collect(),
            Kind::Action => {
                let own = [names::READ, names::GET_PROMPT].map(str::to_owned);
                own.into_iter().chain(self.groups()).chain(tools()).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Whether something that a policy names is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    There,
    /// It may be: the tools of its server are not known yet.
    Pending,
    Missing,
}
