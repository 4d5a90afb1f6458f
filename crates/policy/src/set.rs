//! The policies that hold for the callers of one tenant, ready to decide.

use std::sync::{Arc, PoisonError};

use tollgate_catalog::Known;
use tollgate_model::{Decision, PolicyRef, Principal, ServerName};

use crate::again::NOTHING;
use crate::compile::compile;
use crate::digest::digest;
use crate::explain::{About, Case, Explanation};
use crate::names::{Kind, Types};
use crate::plan::Arguments;
use crate::profile::{Profile, Profiles};
use crate::rule::{Rule, State};
use crate::rules::{Rules, Target};
use crate::visible::{View, Visible};
use crate::world::World;
use crate::{Ask, Finding, Gap, Gaps, Level, Mode, Scene, Sources, What, schema};

/// The policies of one tenant and the operator's forbids, compiled against what is known of its servers.
#[derive(Debug)]
pub struct PolicySet {
    rules: Arc<Rules>,
    profiles: Profiles,
    digest: Arc<str>,
}

/// A tool, or an argument of one, of which policies cannot read anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untyped {
    /// The server.
    pub server: Arc<str>,
    /// The server's own name of the tool.
    pub native: Arc<str>,
    /// The argument; none where the tool has no typed arguments at all.
    pub argument: Option<String>,
    /// Why.
    pub why: String,
}

impl PolicySet {
    /// Reads policies, off the hot path. What is found of them comes back in either case.
    ///
    /// # Errors
    /// Gives all findings, at least one of them an error.
    pub fn compile(
        sources: &Sources,
        known: &Known,
        environment: Option<&str>,
        mode: Mode,
    ) -> Result<(Self, Vec<Finding>), Vec<Finding>> {
        let world = World::of(known);
        let compiled = compile(sources, &world, mode);
        let mut findings = compiled.findings;
        let types = Types::new();
        if findings.iter().any(|finding| finding.level == Level::Error) {
            return Err(findings);
        }
        let Some(types) = types else {
            findings.push(Finding {
                level: Level::Error,
                path: Arc::from(""),
                line: 1,
                column: 1,
                message: "the types of entities could not be made".to_owned(),
                suggestion: None,
            });
            return Err(findings);
        };
        let rules = Rules::new(world, compiled.rules, compiled.literals, types, environment);
        let digest = digest(sources, known, environment);
        Ok((Self { rules: Arc::new(rules), profiles: Profiles::default(), digest }, findings))
    }

    /// By what it is told apart: the same wherever the same policies are compiled against the same servers, tools and
    /// circumstances, so that two sets of one digest decide alike.
    pub fn digest(&self) -> &Arc<str> {
        &self.digest
    }

    /// Everything that any permit demands to be taken out of what passes.
    pub fn redactions(&self) -> Vec<Arc<str>> {
        let mut all: Vec<Arc<str>> =
            self.rules.all.iter().flat_map(|rule| &rule.notes.redactions).cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    /// The schema that policies are checked against, in Cedar's own words.
    ///
    /// # Errors
    /// Gives what Cedar says if it does not take the schema.
    pub fn schema_text(known: &Known) -> Result<String, String> {
        schema::text(&World::of(known))
    }

    /// What policies cannot read, since it has no type.
    pub fn untyped(known: &Known) -> Vec<Untyped> {
        let world = World::of(known);
        let mut all = Vec::new();
        for tool in &world.tools {
            let server =
                world.servers.get(tool.server).map_or_else(|| Arc::from(""), |server| server.name.clone());
            all.extend(tool.input.untyped.iter().map(|(path, why)| Untyped {
                server: server.clone(),
                native: tool.native.clone(),
                argument: (!path.is_empty()).then(|| path.clone()),
                why: why.to_string(),
            }));
        }
        all
    }

    /// Whether there is no permit at all, so that nothing is allowed.
    pub fn allows_nothing(&self) -> bool {
        !self.rules.all.iter().any(|rule| rule.is_permit && rule.state == State::Live)
    }

    fn profile(&self, who: &Principal) -> Option<Arc<Profile>> {
        // The policies of one tenant say nothing of another's callers.
        if who.tenant != self.rules.world.tenant {
            return None;
        }
        self.profiles.of(&self.rules, self.rules.traits(who))
    }

    /// Decides.
    pub fn decide(&self, principal: &Principal, ask: &Ask<'_>) -> Decision {
        // Nothing is missing, so that there is always a decision.
        self.decide_again(principal, ask, &NOTHING).unwrap_or_else(|_| Decision::denied())
    }

    /// Decides on what was decided before, and of which not everything is known any more. What is missing may stand for
    /// anything.
    ///
    /// # Errors
    /// If a rule that matters looks at what is missing.
    pub fn decide_again(
        &self,
        principal: &Principal,
        ask: &Ask<'_>,
        gaps: &Gaps<'_>,
    ) -> Result<Decision, Gap> {
        self.try_decide(principal, ask, gaps).unwrap_or_else(|| Ok(Decision::denied()))
    }

    /// Whether a server has a tool; none where the server, or what tools it has, is not known.
    pub fn knows_tool(&self, server: &ServerName, native: &str) -> Option<bool> {
        let world = &self.rules.world;
        let at = world.server(server.as_str())?;
        let is_pending = world.servers.get(at).is_none_or(|server| server.is_pending);
        let listed = world.listed(at, native).is_some();
        (listed || !is_pending).then_some(listed)
    }

    /// Whether there is such a server.
    pub fn knows_server(&self, server: &ServerName) -> bool {
        self.rules.world.server(server.as_str()).is_some()
    }

    fn try_decide(
        &self,
        principal: &Principal,
        ask: &Ask<'_>,
        gaps: &Gaps<'_>,
    ) -> Option<Result<Decision, Gap>> {
        let rules = &*self.rules;
        let server = rules.world.server(ask.server.as_str())?;
        let profile = self.profile(principal)?;
        if let What::Call { native, arguments } = ask.what
            && let Some(at) = rules.world.listed(server, native)
        {
            let (target, tool) = (rules.targets.get(at)?, rules.world.tools.get(at)?);
            let plan = profile.plan(rules, &self.profiles, at, target)?;
            if let Some(gap) = plan.lacks(rules, gaps) {
                return Some(Err(gap));
            }
            let arguments = Arguments::Json(arguments, &tool.input.record);
            return Some(Ok(plan.decide(rules, &profile.caller, target, arguments, &ask.scene)));
        }
        if let What::Read { uri } = ask.what
            && rules.is_evasive(server, uri)
        {
            let errors =
                vec!["the URI is not in normal form, so that rules on URIs cannot judge it".to_owned()];
            return Some(Ok(Decision { errors, ..Decision::denied() }));
        }
        let (target, arguments) = self.target(server, ask);
        // What one resource's plan is, is another's, unless a rule names one of them.
        let slot = match ask.what {
            What::Read { .. } if !rules.literals.any(Kind::Resource) => profile.reads.get(server),
            What::Get { .. } if !rules.literals.any(Kind::Prompt) => profile.prompts.get(server),
            _ => None,
        };
        let fresh;
        let plan = match slot {
            Some(slot) => profile.planned(rules, &self.profiles, slot, &target),
            None => {
                fresh = profile.fresh(rules, &target);
                &fresh
            }
        };
        if let Some(gap) = plan.lacks(rules, gaps) {
            return Some(Err(gap));
        }
        Some(Ok(plan.decide(rules, &profile.caller, &target, arguments, &ask.scene)))
    }

    /// What a question is about, and the arguments with what is known of them.
    fn target<'a>(&'a self, server: usize, ask: &Ask<'a>) -> (Target, Arguments<'a>) {
        let rules = &*self.rules;
        match ask.what {
            What::Call { native, arguments } => {
                let listed = rules.world.listed(server, native);
                let tool = listed.and_then(|at| Some((rules.targets.get(at)?, rules.world.tools.get(at)?)));
                match tool {
                    Some((target, tool)) => (target.clone(), Arguments::Json(arguments, &tool.input.record)),
                    None => {
                        let tool = rules.world.unlisted(server, native);
                        (rules.tool(&tool), Arguments::Json(arguments, &rules.no_types))
                    }
                }
            }
            What::Read { uri } => (rules.resource(server, uri), Arguments::Uri(uri)),
            What::Get { native, arguments } => {
                (rules.prompt(server, native), Arguments::Json(arguments, &rules.no_types))
            }
        }
    }

    /// Decides, and says of every rule that is about this caller and this request what became of it. Slow; for whoever
    /// writes policies.
    pub fn explain(&self, principal: &Principal, ask: &Ask<'_>) -> Explanation {
        let decision = self.decide(principal, ask);
        let server = self.rules.world.server(ask.server.as_str());
        let (Some(server), Some(profile)) = (server, self.profile(principal)) else {
            return Explanation { decision, rules: Vec::new() };
        };
        let (target, arguments) = self.target(server, ask);
        let case =
            Case { rules: &self.rules, profile: &profile, target: &target, arguments, scene: &ask.scene };
        case.explain(decision)
    }

    /// The rules that are about a tool, whoever calls it: the permits say who could, the forbids who could not.
    pub fn about_tool(&self, server: &ServerName, native: &str) -> Vec<About> {
        let Some(server) = self.rules.world.server(server.as_str()) else { return Vec::new() };
        let listed = self.rules.world.listed(server, native).and_then(|at| self.rules.targets.get(at));
        match listed {
            Some(target) => self.rules.about(target),
            None => self.rules.about(&self.rules.tool(&self.rules.world.unlisted(server, native))),
        }
    }

    /// What this caller could be allowed of a server; nothing of one that is not known.
    pub fn visible(&self, principal: &Principal, server: &ServerName, scene: &Scene<'_>) -> Arc<Visible> {
        self.try_visible(principal, server, scene).unwrap_or_else(|| Arc::new(Visible::nothing(&self.rules)))
    }

    fn try_visible(
        &self,
        principal: &Principal,
        server: &ServerName,
        scene: &Scene<'_>,
    ) -> Option<Arc<Visible>> {
        let server = self.rules.world.server(server.as_str())?;
        let profile = self.profile(principal)?;
        let slot = profile.views.get(server)?;
        let found = slot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let view = found.unwrap_or_else(|| {
            let made = Arc::new(View::new(&self.rules, &profile, server));
            self.profiles.keep(made.weight());
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(made.clone());
            made
        });
        Some(view.now(&self.rules, &self.profiles, &profile, server, scene))
    }

    /// All rules, in the order of their files: the tenant's own, then the operator's.
    pub fn rules(&self) -> impl Iterator<Item = RuleInfo> + '_ {
        self.rules.all.iter().map(RuleInfo::of)
    }
}

/// A rule, as it is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleInfo {
    /// Its id.
    pub policy: PolicyRef,
    /// The file that it stands in.
    pub path: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// Whether it permits; otherwise it forbids.
    pub is_permit: bool,
    /// Whether it is the operator's.
    pub is_operator: bool,
    /// Its `@description`.
    pub description: Option<Arc<str>>,
    /// Why it does not mean what it says: a permit has no effect then, and a forbid denies all that it is about.
    pub misfit: Option<String>,
}

impl RuleInfo {
    pub(crate) fn of(rule: &Rule) -> Self {
        Self {
            policy: rule.id.clone(),
            path: rule.place.path.clone(),
            line: rule.place.line,
            column: rule.place.column,
            is_permit: rule.is_permit,
            is_operator: rule.is_operator,
            description: rule.notes.description.clone(),
            misfit: rule.why.clone(),
        }
    }
}
