//! The policies that hold for the callers of one tenant, ready to decide.

use std::sync::{Arc, PoisonError};

use tollgate_catalog::Known;
use tollgate_model::{Decision, PolicyRef, Principal, ServerName};

use crate::compile::compile;
use crate::names::{Kind, Types};
use crate::plan::Arguments;
use crate::profile::{Profile, Profiles};
use crate::rule::{Rule, State};
use crate::rules::Rules;
use crate::visible::{View, Visible};
use crate::world::World;
use crate::{Ask, Finding, Level, Mode, Scene, Sources, What, schema};

/// The policies of one tenant and the operator's forbids, compiled against what is known of its servers.
#[derive(Debug)]
pub struct PolicySet {
    rules: Arc<Rules>,
    profiles: Profiles,
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
        Ok((Self { rules: Arc::new(rules), profiles: Profiles::default() }, findings))
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
        self.try_decide(principal, ask).unwrap_or_else(Decision::denied)
    }

    fn try_decide(&self, principal: &Principal, ask: &Ask<'_>) -> Option<Decision> {
        let rules = &*self.rules;
        let server = rules.world.server(ask.server.as_str())?;
        let profile = self.profile(principal)?;
        let (caller, scene) = (&profile.caller, &ask.scene);
        Some(match ask.what {
            What::Call { native, arguments } => match rules.world.listed(server, native) {
                Some(at) => {
                    let (target, tool) = (rules.targets.get(at)?, rules.world.tools.get(at)?);
                    let plan = profile.plan(rules, &self.profiles, at, target)?;
                    let arguments = Arguments::Json(arguments, &tool.input.record);
                    plan.decide(rules, caller, target, arguments, scene)
                }
                None => {
                    let tool = rules.world.unlisted(server, native);
                    let target = rules.tool(&tool);
                    let arguments = Arguments::Json(arguments, &tool.input.record);
                    profile.fresh(rules, &target).decide(rules, caller, &target, arguments, scene)
                }
            },
            What::Read { uri } => {
                let target = rules.resource(server, uri);
                let arguments = Arguments::Uri(uri);
                // What one resource's plan is, is another's, unless a rule names one of them.
                if rules.literals.any(Kind::Resource) {
                    profile.fresh(rules, &target).decide(rules, caller, &target, arguments, scene)
                } else {
                    let plan = profile.planned(rules, &self.profiles, profile.reads.get(server)?, &target);
                    plan.decide(rules, caller, &target, arguments, scene)
                }
            }
            What::Get { native, arguments } => {
                let target = rules.prompt(server, native);
                let arguments = Arguments::Json(arguments, &rules.of_prompts);
                if rules.literals.any(Kind::Prompt) {
                    profile.fresh(rules, &target).decide(rules, caller, &target, arguments, scene)
                } else {
                    let plan = profile.planned(rules, &self.profiles, profile.prompts.get(server)?, &target);
                    plan.decide(rules, caller, &target, arguments, scene)
                }
            }
        })
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
        Some(view.now(&self.rules, &profile, server, scene))
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
