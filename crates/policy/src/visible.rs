//! What a caller could be allowed, whatever the arguments: what lists show.
//!
//! The policies are weakened: of a permit, the parts that read arguments are taken to hold; a forbid that reads them is
//! taken not to. What the weakened policies do not allow, no argument can make allowed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use cedar_policy::{Context, Entities, Entity, Request, RestrictedExpression};
use tollgate_model::Timestamp;

use crate::names::Kind;
use crate::plan::{Outcome, evaluate, request};
use crate::profile::{Profile, Profiles};
use crate::rule::{Part, Rule, Scope, State};
use crate::rules::{Rules, Target};
use crate::uses::env;
use crate::{Scene, circumstances};

/// How many circumstances are kept for one kind of callers and one server.
const KEPT_MAX: usize = 8;

/// What one caller could be allowed of one server's tools, prompts and resources in these circumstances.
#[derive(Debug)]
pub struct Visible {
    rules: Arc<Rules>,
    server: usize,
    caller: Entity,
    /// The rules that are about the caller and the server.
    about: Arc<[u32]>,
    /// `context`, without arguments.
    context: Option<Context>,
    /// Of the server's tools, in their order, whether some arguments could be allowed.
    tools: Box<[bool]>,
    is_nothing: bool,
}

/// Which conditions on circumstances hold, and the circumstances that other conditions read.
type Circumstances = (Vec<u8>, String);

/// What lists show depends on: the conditions on circumstances alone, and the circumstances that other conditions read.
#[derive(Debug)]
pub(crate) struct View {
    about: Arc<[u32]>,
    /// The rule and the part of it.
    conditions: Vec<(u32, usize)>,
    /// What they read.
    read: u16,
    /// What conditions read that depend on caller or target as well.
    mixed: u16,
    any: Target,
    kept: Mutex<HashMap<Circumstances, Arc<Visible>>>,
}

impl View {
    /// Gathers what the view of a server depends on.
    pub(crate) fn new(rules: &Rules, profile: &Profile, server: usize) -> Self {
        let reaches = |rule: &Rule| {
            let kinds = [Kind::Tool, Kind::Prompt, Kind::Resource];
            rule.state != State::Inert
                && kinds.into_iter().any(|on| {
                    rule.on.is_none_or(|kind| kind == on) && rules.reaches(&rule.resource, on, server)
                })
        };
        let about = profile.about.iter().copied().filter(|at| rules.rule(*at).is_some_and(reaches));
        let about: Arc<[u32]> = about.collect();
        let mut conditions: Vec<(u32, usize)> = Vec::new();
        let mut seen = HashSet::new();
        let (mut read, mut mixed) = (0, 0);
        for at in about.iter().copied() {
            let Some(rule) = rules.rule(at) else { continue };
            for (place, part) in rule.parts.iter().enumerate() {
                if part.uses.env == 0 || !part.uses.input.is_empty() {
                    continue;
                }
                if part.uses.reads_entities() {
                    mixed |= part.uses.env;
                } else if seen.insert(part.text.as_str()) {
                    read |= part.uses.env;
                    conditions.push((at, place));
                }
            }
        }
        let any = rules.resource(server, "");
        Self { about, conditions, read, mixed, any, kept: Mutex::new(HashMap::new()) }
    }

    /// How much it takes to keep, in units of some 64 bytes.
    pub(crate) fn weight(&self) -> usize {
        8 + self.about.len() / 16 + self.conditions.len() / 4
    }

    /// What is visible now.
    pub(crate) fn now(
        &self,
        rules: &Arc<Rules>,
        all: &Profiles,
        profile: &Profile,
        server: usize,
        scene: &Scene<'_>,
    ) -> Arc<Visible> {
        // A view that is made anew for every millisecond would be no use to anybody.
        let ms = scene.now.as_ms();
        let scene = &Scene { now: Timestamp::from_ms(ms - ms % 1_000), ..*scene };
        let mut bits: Vec<u8> = Vec::with_capacity(self.conditions.len());
        let mut known = HashMap::new();
        if !self.conditions.is_empty() {
            // These conditions read neither caller nor target, so that any will do.
            let target = &self.any;
            let context = context(rules, scene, self.read);
            let request = context.and_then(|context| request(&profile.caller, target, context).ok());
            for (at, place) in &self.conditions {
                let Some(part) = rules.rule(*at).and_then(|rule| rule.parts.get(*place)) else { continue };
                let truth = match &request {
                    Some(request) => truth(&evaluate(request, &Entities::empty(), &part.expr)),
                    None => Truth::Failed,
                };
                known.insert(part.text.as_str(), truth);
                bits.push(truth as u8);
            }
        }
        let key = (bits, circumstances::fingerprint(scene, self.mixed));
        if let Some(found) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return found.clone();
        }
        let context = context(rules, scene, env::ALL);
        let made = Arc::new(Visible::new(rules, profile, server, self.about.clone(), context, &known));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(key, made.clone());
        drop(kept);
        // Its context, above all.
        all.keep(32 + made.tools.len() / 64);
        made
    }
}

fn context(rules: &Rules, scene: &Scene<'_>, read: u16) -> Option<Context> {
    let env = circumstances::record(scene, rules.environment.as_deref(), read);
    let input = RestrictedExpression::new_record([]).ok()?;
    Context::from_pairs([("input".to_owned(), input), ("env".to_owned(), env)]).ok()
}

/// What is known of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    True,
    False,
    Failed,
    /// It depends on what is not known.
    Open,
}

fn truth(outcome: &Outcome) -> Truth {
    match outcome {
        Outcome::True => Truth::True,
        Outcome::False => Truth::False,
        Outcome::Failed(_) => Truth::Failed,
    }
}

/// Looks at one target, or at any of a kind on a server.
struct Look<'a> {
    rules: &'a Rules,
    about: &'a [u32],
    on: Kind,
    /// What is known of conditions on circumstances alone.
    known: &'a HashMap<&'a str, Truth>,
    /// Nothing where any target of the kind is meant.
    target: Option<&'a Target>,
    request: Option<Request>,
    entities: &'a Entities,
}

impl Look<'_> {
    /// Whether something could be allowed, of the rules that `is_about` says are about it.
    fn could(&self, is_about: impl Fn(&Rule) -> bool) -> bool {
        let found: Vec<&Rule> =
            self.about.iter().filter_map(|at| self.rules.rule(*at)).filter(|rule| is_about(rule)).collect();
        let forbids = || found.iter().filter(|rule| !rule.is_permit);
        let permits = || found.iter().filter(|rule| rule.is_permit && rule.state == State::Live);
        permits().next().is_some()
            && !forbids().any(|rule| self.forbids(rule))
            && permits().any(|rule| self.permits(rule))
    }

    fn permits(&self, rule: &Rule) -> bool {
        rule.parts.iter().all(|part| matches!(self.truth(part), Truth::True | Truth::Open))
    }

    fn forbids(&self, rule: &Rule) -> bool {
        // What names one of many is not about any of them.
        if self.target.is_none() && !matches!(rule.resource, Scope::Any) && !self.is_of_server(&rule.resource)
        {
            return false;
        }
        if rule.parts.iter().any(|part| !part.uses.input.is_empty()) {
            return false;
        }
        for part in &rule.parts {
            match self.truth(part) {
                Truth::True => {}
                Truth::Failed => return true,
                Truth::False | Truth::Open => return false,
            }
        }
        true
    }

    fn is_of_server(&self, scope: &Scope) -> bool {
        let Scope::In(ids) = scope else { return false };
        ids.iter().filter_map(|id| self.rules.literals.get(*id)).any(|(kind, _)| *kind == Kind::Server)
    }

    fn truth(&self, part: &Part) -> Truth {
        if !part.uses.input.is_empty() {
            return Truth::Open;
        }
        if let Some(known) = self.known.get(part.text.as_str()) {
            return *known;
        }
        if self.target.is_none() && !is_one_for_all(self.on, part) {
            return Truth::Open;
        }
        match &self.request {
            Some(request) => truth(&evaluate(request, self.entities, &part.expr)),
            None => Truth::Failed,
        }
    }
}

/// Whether a part of a condition says the same of everything of a kind on one server, so that any of it will do to find
/// out what: it asks for the server, say. Prompts and resources differ in nothing but what they are called; tools in more.
fn is_one_for_all(on: Kind, part: &Part) -> bool {
    let uses = &part.uses;
    if !uses.resource && !uses.action {
        return true;
    }
    let names_one = uses.literals.iter().any(|(kind, _)| *kind == on);
    !names_one && (on != Kind::Tool || !(uses.action || uses.attributes))
}

impl Visible {
    /// Nothing at all.
    pub(crate) fn nothing(rules: &Arc<Rules>) -> Self {
        Self {
            rules: rules.clone(),
            server: usize::MAX,
            caller: Entity::with_uid(rules.types.uid(Kind::Caller, "")),
            about: Arc::from([]),
            context: None,
            tools: Box::default(),
            is_nothing: true,
        }
    }

    fn new(
        rules: &Arc<Rules>,
        profile: &Profile,
        server: usize,
        about: Arc<[u32]>,
        context: Option<Context>,
        known: &HashMap<&str, Truth>,
    ) -> Self {
        let parts = about.iter().filter_map(|at| rules.rule(*at)).flat_map(|rule| &rule.parts);
        let needs_entities =
            parts.clone().any(|part| part.uses.input.is_empty() && part.uses.reads_entities());
        let named = parts.flat_map(|part| &part.uses.literals);
        let entities = if needs_entities {
            rules.whole_server(&profile.caller, server, named)
        } else {
            Some(Entities::empty())
        };
        let mut visible = Self {
            rules: rules.clone(),
            server,
            caller: profile.caller.clone(),
            about,
            context,
            tools: Box::default(),
            is_nothing: true,
        };
        let Some(entities) = entities else { return visible };
        let of_server = rules.world.servers.get(server).map_or(0..0, |server| server.first..server.end);
        let targets = rules.targets.get(of_server).unwrap_or_default();
        visible.tools = targets.iter().map(|target| visible.could(target, &entities, known)).collect();
        let any = |on: Kind| visible.any(on, &entities, known);
        let is_open = rules.world.servers.get(server).is_some_and(|server| server.is_pending);
        let could_more = any(Kind::Prompt) || any(Kind::Resource) || (is_open && any(Kind::Tool));
        visible.is_nothing = !could_more && !visible.tools.contains(&true);
        visible
    }

    fn could(&self, target: &Target, entities: &Entities, known: &HashMap<&str, Truth>) -> bool {
        let request = self.context.clone().and_then(|context| request(&self.caller, target, context).ok());
        let look = Look {
            rules: &self.rules,
            about: &self.about,
            on: target.on,
            known,
            target: Some(target),
            request,
            entities,
        };
        look.could(|rule| rule.is_about(target.on, &target.actions, &target.resources))
    }

    /// Whether anything of a kind on the server could be allowed, as far as no name is looked at.
    fn any(&self, on: Kind, entities: &Entities, known: &HashMap<&str, Truth>) -> bool {
        let action = match on {
            Kind::Resource => Some(crate::names::READ),
            Kind::Prompt => Some(crate::names::GET_PROMPT),
            _ => None,
        };
        let target = match on {
            Kind::Prompt => self.rules.prompt(self.server, ""),
            Kind::Tool => self.rules.tool(&self.rules.world.unlisted(self.server, "")),
            _ => self.rules.resource(self.server, ""),
        };
        // One that stands for all of them, where that is enough.
        let parts = self.about.iter().filter_map(|at| self.rules.rule(*at)).flat_map(|rule| &rule.parts);
        let stands_for_all =
            |part: &&Part| (part.uses.resource || part.uses.action) && is_one_for_all(on, part);
        let own = if parts.clone().any(|part| stands_for_all(&part)) {
            let named = parts.flat_map(|part| &part.uses.literals);
            let Some(own) = self.rules.entities(&self.caller, &target, named) else { return false };
            Some(own)
        } else {
            None
        };
        let entities = own.as_ref().unwrap_or(entities);
        let request = self.context.clone().and_then(|context| request(&self.caller, &target, context).ok());
        let look =
            Look { rules: &self.rules, about: &self.about, on, known, target: None, request, entities };
        let is_action = |scope: &Scope| {
            let Scope::In(ids) = scope else { return *scope == Scope::Any };
            ids.iter().filter_map(|id| self.rules.literals.get(*id)).any(|(kind, id)| {
                *kind == Kind::Action
                    && action.map_or(!self.rules.world.is_listed(id), |action| action == &**id)
            })
        };
        look.could(|rule| {
            let is_on = rule.on.is_none_or(|kind| kind == look.on);
            // A forbid of some tools is not one of any.
            let is_for_any = rule.is_permit || action.is_some() || rule.action == Scope::Any;
            is_on
                && is_for_any
                && is_action(&rule.action)
                && self.rules.reaches(&rule.resource, on, self.server)
        })
    }

    fn fresh(&self, target: &Target) -> bool {
        let named = self.about.iter().filter_map(|at| self.rules.rule(*at));
        let named = named.flat_map(|rule| &rule.parts).flat_map(|part| &part.uses.literals);
        let Some(entities) = self.rules.entities(&self.caller, target, named) else { return false };
        self.could(target, &entities, &HashMap::new())
    }

    /// Whether some arguments could be allowed for the tool of this native name.
    pub fn tool(&self, native: &str) -> bool {
        let world = &self.rules.world;
        let first = world.servers.get(self.server).map_or(0, |server| server.first);
        match world.listed(self.server, native) {
            Some(at) => self.tools.get(at.saturating_sub(first)).copied().unwrap_or(false),
            None => self.fresh(&self.rules.tool(&world.unlisted(self.server, native))),
        }
    }

    /// Whether the prompt of this native name could be allowed.
    pub fn prompt(&self, native: &str) -> bool {
        self.fresh(&self.rules.prompt(self.server, native))
    }

    /// Whether the resource of this URI could be allowed.
    pub fn resource(&self, uri: &str) -> bool {
        !self.rules.is_evasive(self.server, uri) && self.fresh(&self.rules.resource(self.server, uri))
    }

    /// Whether some resource of the server could be allowed: whether its templates are to be shown.
    pub fn template(&self) -> bool {
        let named = self.about.iter().filter_map(|at| self.rules.rule(*at));
        let named = named.flat_map(|rule| &rule.parts).flat_map(|part| &part.uses.literals);
        let target = self.rules.resource(self.server, "");
        let Some(entities) = self.rules.entities(&self.caller, &target, named) else { return false };
        self.any(Kind::Resource, &entities, &HashMap::new())
    }

    /// Whether nothing of the server could be allowed: then even its name is not to be shown.
    pub fn is_nothing(&self) -> bool {
        self.is_nothing
    }
}
