//! Whether a policy fits what is known: what it names is there, what it reads has a type.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use cedar_policy::ffi::DetailedError;
use cedar_policy::pst::{
    ActionConstraint, EntityOrSlot, EntityUID, PrincipalConstraint, ResourceConstraint, Template,
};
use cedar_policy::{Policy, PolicySet, Schema, ValidationMode, Validator};
use tollgate_model::TenantId;

use crate::names::{self, Kind};
use crate::schema::{self, Action, read_input};
use crate::text::quoted;
use crate::types::{Record, Type, emit_record};
use crate::uses::{Uses, literal};
use crate::world::{Standing, World};

/// Something that is wrong with a policy, and where in its text.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) offset: usize,
    pub(crate) message: String,
    pub(crate) suggestion: Option<String>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Fit {
    /// It does not fit.
    pub(crate) misfits: Vec<Problem>,
    /// Whether it fits will be known when a server's tools are.
    pub(crate) pending: Vec<Problem>,
    /// It fits, but may not mean what it seems to.
    pub(crate) warnings: Vec<Problem>,
}

/// A policy to be judged.
pub(crate) struct Subject<'a> {
    pub(crate) text: &'a str,
    pub(crate) policy: &'a Policy,
    pub(crate) body: &'a Template,
    /// What its conditions read.
    pub(crate) uses: &'a Uses,
    pub(crate) is_operator: bool,
}

/// Judges policies, one after the other.
pub(crate) struct Fitter<'a> {
    world: &'a World,
    /// All tenants, where they are known.
    tenants: &'a [TenantId],
    /// Validators by the actions that they know: many policies need the same.
    validators: HashMap<String, Option<Arc<Validator>>>,
    of_reads: Record,
    of_prompts: Record,
}

/// Something that a policy can be about.
#[derive(Clone, Copy)]
enum Target {
    Tool(usize),
    Read,
    GetPrompt,
}

impl<'a> Fitter<'a> {
    pub(crate) fn new(world: &'a World, tenants: &'a [TenantId]) -> Self {
        let (of_reads, of_prompts) = (read_input(), Record::new());
        Self { world, tenants, validators: HashMap::new(), of_reads, of_prompts }
    }

    /// Judges one policy.
    pub(crate) fn judge(&mut self, subject: &Subject<'_>) -> Fit {
        let mut fit = Fit::default();
        self.scope(subject, &mut fit);
        self.literals(subject, &mut fit);
        let targets = self.targets(subject.body);
        self.arguments(subject, &targets, &mut fit);
        if fit.misfits.is_empty() && fit.pending.is_empty() {
            self.validate(subject, &targets, &mut fit);
        }
        if !fit.misfits.is_empty() {
            fit.warnings.clear();
        }
        fit
    }

    /// Whether it is a rule of the operator about another tenant.
    pub(crate) fn is_elsewhere(&self, subject: &Subject<'_>) -> bool {
        let named = match &subject.body.principal {
            PrincipalConstraint::In(EntityOrSlot::Entity(uid))
            | PrincipalConstraint::IsIn(_, EntityOrSlot::Entity(uid)) => literal(uid),
            _ => None,
        };
        let is_known =
            |id: &str| self.tenants.is_empty() || self.tenants.iter().any(|one| one.as_str() == id);
        subject.is_operator
            && named.is_some_and(|(kind, id)| {
                kind == Kind::Tenant && *id != *self.world.tenant.as_str() && is_known(&id)
            })
    }

    /// Says what can never be, where Cedar would say only that the policy never applies.
    fn scope(&self, subject: &Subject<'_>, fit: &mut Fit) {
        let body = subject.body;
        let mut say = |uid: &EntityUID, message: String, suggestion: String| {
            let offset = locate(subject.text, uid.eid.as_str());
            fit.misfits.push(Problem { offset, message, suggestion: Some(suggestion) });
        };
        if let PrincipalConstraint::Eq(EntityOrSlot::Entity(uid)) = &body.principal
            && uid.ty.0.id.as_str() != Kind::Caller.as_str()
        {
            let name = show(uid);
            say(uid, format!("no caller is `{name}` itself"), format!("write `principal in {name}`"));
        }
        if let ResourceConstraint::Eq(EntityOrSlot::Entity(uid)) = &body.resource
            && uid.ty.0.id.as_str() == Kind::Server.as_str()
        {
            let name = show(uid);
            say(uid, format!("no resource is `{name}` itself"), format!("write `resource in {name}`"));
        }
        if let ActionConstraint::Eq(uid) = &body.action
            && self.world.groups().iter().any(|group| *group == uid.eid.as_str())
        {
            let name = show(uid);
            say(
                uid,
                format!("`{name}` is a group of actions, never an action itself"),
                format!("write `action in {name}`"),
            );
        }
    }

    /// Everything that is named, where it can be known, must be there.
    fn literals(&self, subject: &Subject<'_>, fit: &mut Fit) {
        let mut named: BTreeSet<(Kind, Arc<str>)> = subject.uses.literals.iter().cloned().collect();
        named.extend(scope_uids(subject.body).into_iter().filter_map(literal));
        for (kind, id) in named {
            let is_tenant = kind == Kind::Tenant && subject.is_operator;
            let standing = if is_tenant {
                let is_there = self.tenants.is_empty() || self.tenants.iter().any(|one| *one.as_str() == *id);
                Some(if is_there { Standing::There } else { Standing::Missing })
            } else {
                self.world.has(kind, &id)
            };
            let offset = locate(subject.text, &id);
            let name = format!("{}::{}", kind.as_str(), quoted(&id));
            match standing {
                None | Some(Standing::There) => {}
                Some(Standing::Pending) => fit.pending.push(Problem {
                    offset,
                    message: format!(
                        "whether there is `{name}` is not known yet: its server has never listed its tools"
                    ),
                    suggestion: None,
                }),
                Some(Standing::Missing) => {
                    let ids: Vec<String> = if is_tenant {
                        self.tenants.iter().map(|one| one.as_str().to_owned()).collect()
                    } else {
                        self.world.ids(kind)
                    };
                    let near = nearest(&id, ids.iter().map(String::as_str));
                    let suggestion = near
                        .map(|near| format!("did you mean `{}::{}`?", kind.as_str(), quoted(near)))
                        .or_else(|| {
                            let text = "of a rule for one tenant alone, say so: `principal in Tenant::\"…\"`";
                            subject.is_operator.then(|| text.to_owned())
                        });
                    fit.misfits.push(Problem {
                        offset,
                        message: format!("there is no `{name}`"),
                        suggestion,
                    });
                }
            }
        }
    }

    /// What a policy can be about, as far as its scope says, and whether servers of unknown tools are among it.
    fn targets(&self, body: &Template) -> Targets {
        let world = self.world;
        let actions: Option<Vec<&str>> = match &body.action {
            ActionConstraint::Any => None,
            ActionConstraint::Eq(uid) => Some(vec![uid.eid.as_str()]),
            ActionConstraint::In(uids) => Some(uids.iter().map(|uid| uid.eid.as_str()).collect()),
        };
        let (on, resource) = match &body.resource {
            ResourceConstraint::Any => (None, None),
            ResourceConstraint::Eq(one) | ResourceConstraint::In(one) => (None, entity(one)),
            ResourceConstraint::Is(kind) => (Some(kind), None),
            ResourceConstraint::IsIn(kind, one) => (Some(kind), entity(one)),
        };
        let fits_kind = |kind: Kind| {
            on.is_none_or(|on| on.0.id.as_str() == kind.as_str())
                && resource.as_ref().is_none_or(|(of, _)| *of == kind || *of == Kind::Server)
        };
        let is_named = |id: &str| actions.as_ref().is_none_or(|all| all.contains(&id));
        let mut all = Vec::new();
        if fits_kind(Kind::Tool) {
            for (at, tool) in world.tools.iter().enumerate() {
                let in_action = is_named(&tool.id) || tool.groups.iter().any(|group| is_named(group));
                let in_resource = resource.as_ref().is_none_or(|(kind, id)| match kind {
                    Kind::Server => world.servers.get(tool.server).is_some_and(|server| server.name == *id),
                    _ => tool.id == *id,
                });
                if in_action && in_resource {
                    all.push(Target::Tool(at));
                }
            }
        }
        if is_named(names::READ) && fits_kind(Kind::Resource) {
            all.push(Target::Read);
        }
        if is_named(names::GET_PROMPT) && fits_kind(Kind::Prompt) {
            all.push(Target::GetPrompt);
        }
        let is_open = world.servers.iter().filter(|server| server.is_pending).any(|server| {
            let name = &*server.name;
            let in_action = actions.as_ref().is_none_or(|all| {
                all.iter().any(|id| {
                    let of_server = |set: &str| {
                        let sets = world.toolsets.iter().filter(|known| known.name.as_str() == set);
                        sets.flat_map(|known| &known.tools).any(|(server, _)| server.as_str() == name)
                    };
                    [names::CALL, names::READ_ONLY, names::DESTRUCTIVE].contains(id)
                        || id.starts_with("risk:")
                        || id.strip_prefix("server:") == Some(name)
                        || id.strip_prefix("toolset:").is_some_and(of_server)
                        || id.split_once("__").is_some_and(|(server, _)| server == name)
                })
            });
            let in_resource = resource.as_ref().is_none_or(|(kind, id)| match kind {
                Kind::Server => **id == *name,
                Kind::Tool => id.split_once("__").is_some_and(|(server, _)| server == name),
                _ => false,
            });
            in_action && in_resource && fits_kind(Kind::Tool)
        });
        Targets { all, is_open }
    }

    fn input(&self, target: Target) -> &Record {
        match target {
            Target::Tool(at) => self.world.tools.get(at).map_or(&self.of_prompts, |tool| &tool.input.record),
            Target::Read => &self.of_reads,
            Target::GetPrompt => &self.of_prompts,
        }
    }

    /// Every argument that is read, if only by `has`, must be one of something that the policy is about.
    fn arguments(&self, subject: &Subject<'_>, targets: &Targets, fit: &mut Fit) {
        let reads: BTreeSet<&[Arc<str>]> =
            subject.uses.input.iter().map(|read| &*read.path).filter(|path| !path.is_empty()).collect();
        if reads.is_empty() {
            return;
        }
        let inputs: Vec<&Record> = targets.all.iter().map(|target| self.input(*target)).collect();
        for path in reads {
            if inputs.iter().any(|record| declares(record, path)) {
                continue;
            }
            let shown = path.join(".");
            let offset = locate_attribute(subject.text, path);
            if targets.all.is_empty() && targets.is_open {
                let message = format!(
                    "whether there is an argument `{shown}` is not known yet: the server has never listed its tools"
                );
                fit.pending.push(Problem { offset, message, suggestion: None });
                continue;
            }
            let untyped = targets.all.iter().find_map(|target| self.untyped(*target, path));
            let (message, suggestion) = match untyped {
                Some((tool, why)) => (
                    format!("the argument `{shown}` of `{tool}` has no type that a policy could read: {why}"),
                    None,
                ),
                None => {
                    let known: BTreeSet<String> =
                        inputs.iter().flat_map(|record| paths(record, path.len())).collect();
                    let near = nearest(&shown, known.iter().map(String::as_str));
                    let message = format!("nothing that this rule is about has an argument `{shown}`");
                    (message, near.map(|near| format!("did you mean `{near}`?")))
                }
            };
            let problem = Problem { offset, message, suggestion };
            if targets.is_open { fit.warnings.push(problem) } else { fit.misfits.push(problem) }
        }
    }

    /// Why an argument of a tool has no type.
    fn untyped(&self, target: Target, path: &[Arc<str>]) -> Option<(Arc<str>, String)> {
        let Target::Tool(at) = target else { return None };
        let tool = self.world.tools.get(at)?;
        let shown = path.join(".");
        let is_it = |place: &str| {
            place.is_empty()
                || shown == *place
                || shown.strip_prefix(place).is_some_and(|rest| rest.starts_with('.'))
        };
        let (_, why) = tool.input.untyped.iter().find(|(place, _)| is_it(place))?;
        Some((tool.id.clone(), why.to_string()))
    }

    /// Has Cedar check the types, strictly.
    fn validate(&mut self, subject: &Subject<'_>, targets: &Targets, fit: &mut Fit) {
        let mut key = String::new();
        let mut actions = self.representatives(subject, targets, &mut key);
        if let (true, ActionConstraint::In(uids)) = (targets.all.is_empty(), &subject.body.action) {
            // Where there is no tool yet, one without arguments stands for those to come.
            let groups = uids.iter().filter_map(action_id).collect();
            let input = emit_record(self.of_prompts.iter().map(|(name, field)| (&**name, field)));
            actions.push(Action { id: "", groups, on: Kind::Tool, input });
            if !targets.is_open {
                let message = "there is nothing that this rule is about".to_owned();
                fit.warnings.push(Problem { offset: 0, message, suggestion: None });
            }
        }
        let mut bare: BTreeSet<&str> = scope_uids(subject.body).into_iter().filter_map(action_id).collect();
        let of_conditions = subject.uses.literals.iter().filter(|(kind, _)| *kind == Kind::Action);
        bare.extend(of_conditions.map(|(_, id)| &**id));
        for id in &bare {
            key.push('\n');
            key.push_str(id);
        }
        let validator = self.validators.entry(key).or_insert_with(|| {
            let schema = Schema::from_json_value(schema::fragment(actions, &bare)).ok()?;
            Some(Arc::new(Validator::new(schema)))
        });
        let Some(validator) = validator else {
            let message = "the schema of what this rule is about could not be made".to_owned();
            fit.misfits.push(Problem { offset: 0, message, suggestion: None });
            return;
        };
        let Ok(set) = PolicySet::from_policies([subject.policy.clone()]) else { return };
        let result = validator.validate(&set, ValidationMode::Strict);
        fit.misfits
            .extend(result.validation_errors().map(|error| problem(&DetailedError::from(error), subject)));
        fit.warnings.extend(
            result.validation_warnings().map(|warning| problem(&DetailedError::from(warning), subject)),
        );
    }

    /// One action of each kind that the policy cannot tell apart: those whose arguments, as far as the policy reads them,
    /// have the same types. What holds for one holds for all.
    fn representatives<'b>(
        &self,
        subject: &Subject<'b>,
        targets: &Targets,
        key: &mut String,
    ) -> Vec<Action<'b>>
    where
        'a: 'b,
    {
        let reads = &subject.uses.input;
        let is_whole = reads.iter().any(|read| read.path.is_empty());
        let read: BTreeSet<&str> =
            reads.iter().filter_map(|read| read.path.first()).map(|name| &**name).collect();
        let is_read = |name: &Arc<str>| is_whole || read.contains(&**name);
        let sees_groups = subject.uses.action || !subject.uses.literals.is_empty();
        let mut classes: BTreeMap<String, Action<'b>> = BTreeMap::new();
        let mut class = String::new();
        for target in &targets.all {
            let record = self.input(*target);
            class.clear();
            let (world, target) = (self.world, *target);
            let tool = match target {
                Target::Tool(at) => world.tools.get(at),
                Target::Read | Target::GetPrompt => None,
            };
            class.push_str(match target {
                Target::Tool(_) => "tool",
                Target::Read => names::READ,
                Target::GetPrompt => names::GET_PROMPT,
            });
            for (name, field) in record.iter().filter(|(name, _)| is_read(name)) {
                let _ = write!(class, " {}{}", quoted(name), if field.is_required { "" } else { "?" });
                sketch(&field.kind, &mut class);
            }
            if let Some(tool) = tool.filter(|_| sees_groups) {
                tool.groups.iter().for_each(|group| class.extend([" ", group]));
                let is_named = subject.uses.literals.iter().any(|(_, id)| *id == tool.id);
                class.push_str(if is_named { &tool.id } else { "" });
            }
            if classes.contains_key(&class) {
                continue;
            }
            let mut action = match (target, tool) {
                (_, Some(tool)) => Action::of_tool_without_input(tool),
                (Target::Read, None) => Action::read(),
                (_, None) => Action::get_prompt(),
            };
            let read = record.iter().filter(|(name, _)| is_read(name));
            action.input = emit_record(read.map(|(name, field)| (&**name, field)));
            classes.insert(class.clone(), action);
        }
        for (class, action) in &classes {
            key.push_str(action.id);
            key.push(' ');
            key.push_str(class);
            key.push('\n');
        }
        classes.into_values().collect()
    }
}

struct Targets {
    all: Vec<Target>,
    /// Servers whose tools are not known are in scope.
    is_open: bool,
}

fn entity(one: &EntityOrSlot) -> Option<(Kind, Arc<str>)> {
    match one {
        EntityOrSlot::Entity(uid) => literal(uid),
        EntityOrSlot::Slot(_) => None,
    }
}

fn action_id(uid: &EntityUID) -> Option<&str> {
    (uid.ty.0.id.as_str() == Kind::Action.as_str()).then_some(uid.eid.as_str())
}

/// Everything that the scope of a policy names.
fn scope_uids(body: &Template) -> Vec<&EntityUID> {
    let mut uids = Vec::new();
    match &body.principal {
        PrincipalConstraint::Eq(EntityOrSlot::Entity(uid))
        | PrincipalConstraint::In(EntityOrSlot::Entity(uid))
        | PrincipalConstraint::IsIn(_, EntityOrSlot::Entity(uid)) => uids.push(uid),
        _ => {}
    }
    match &body.action {
        ActionConstraint::Any => {}
        ActionConstraint::Eq(uid) => uids.push(uid),
        ActionConstraint::In(all) => uids.extend(all),
    }
    match &body.resource {
        ResourceConstraint::Eq(EntityOrSlot::Entity(uid))
        | ResourceConstraint::In(EntityOrSlot::Entity(uid))
        | ResourceConstraint::IsIn(_, EntityOrSlot::Entity(uid)) => uids.push(uid),
        _ => {}
    }
    uids
}

fn show(uid: &EntityUID) -> String {
    format!("{}::{}", uid.ty.0, quoted(uid.eid.as_str()))
}

/// Whether arguments of this type can have something at this path.
fn declares(record: &Record, path: &[Arc<str>]) -> bool {
    let Some((first, rest)) = path.split_first() else { return true };
    let Some(field) = record.get(first) else { return false };
    match &field.kind {
        Type::Record(record) => declares(record, rest),
        // What is no object has no members: the validator says so better.
        _ => true,
    }
}

/// A short text of a type, the same for the same type.
fn sketch(kind: &Type, text: &mut String) {
    match kind {
        Type::Text => text.push('s'),
        Type::Long => text.push('l'),
        Type::Bool => text.push('b'),
        Type::Decimal => text.push('d'),
        Type::Set(element) => {
            text.push('[');
            sketch(element, text);
        }
        Type::Record(record) => {
            text.push('{');
            for (name, field) in record {
                let _ = write!(text, "{}{}", quoted(name), if field.is_required { "" } else { "?" });
                sketch(&field.kind, text);
            }
            text.push('}');
        }
    }
}

/// All paths of this length at most, as they are written.
fn paths(record: &Record, length: usize) -> Vec<String> {
    let mut found = Vec::new();
    if length == 0 {
        return found;
    }
    for (name, field) in record {
        found.push(name.to_string());
        if let Type::Record(record) = &field.kind {
            found.extend(paths(record, length - 1).into_iter().map(|rest| format!("{name}.{rest}")));
        }
    }
    found
}

/// The known text that is most like this one, if any is like it.
pub(crate) fn nearest<'t>(text: &str, known: impl Iterator<Item = &'t str>) -> Option<&'t str> {
    let alike = |known: &str| strsim::jaro_winkler(text, known);
    let best = known.map(|known| (alike(known), known)).max_by(|one, other| one.0.total_cmp(&other.0))?;
    (best.0 > 0.75).then_some(best.1)
}

/// Where a text stands between quotes; the beginning of the policy if it is written otherwise.
fn locate(text: &str, id: &str) -> usize {
    text.find(&quoted(id)).unwrap_or(0)
}

/// Where the last name of a path of arguments stands.
fn locate_attribute(text: &str, path: &[Arc<str>]) -> usize {
    let Some(last) = path.last() else { return 0 };
    let plain = format!("input.{}", path.join("."));
    let written = [
        (plain.clone(), plain.len() - last.len()),
        (format!("has {last}"), 4),
        (format!(".{last}"), 1),
        (quoted(last), 0),
    ];
    written.iter().find_map(|(text_of, within)| Some(text.find(text_of.as_str())? + within)).unwrap_or(0)
}

/// What Cedar says, as a problem of ours.
pub(crate) fn problem(error: &DetailedError, subject: &Subject<'_>) -> Problem {
    let prefix = format!("for policy `{}`, ", subject.policy.id());
    let message = error.message.strip_prefix(&prefix).unwrap_or(&error.message).to_owned();
    let offset = error.source_locations.first().map_or(0, |label| label.loc.start);
    Problem { offset, message, suggestion: error.help.clone() }
}
