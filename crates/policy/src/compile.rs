//! From files to rules: parsing, annotations, ids, and what becomes of rules that do not fit.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use cedar_policy::ffi::DetailedError;
use cedar_policy::pst::{Effect, Template};
use cedar_policy::{Policy, PolicyId};
use tollgate_model::{PolicyRef, RecordLevel};

use crate::fit::{Fit, Fitter, Problem, Subject, nearest};
use crate::quick::Quick;
use crate::rule::{Literals, Notes, Part, Place, Rule, Shape, State, expression};
use crate::text::{pieces, position};
use crate::uses::{Uses, conjuncts};
use crate::world::World;
use crate::{Finding, Level, Mode, Source, Sources};

/// How many bytes all policies of a set may have.
pub const POLICY_BYTES_MAX: usize = 8 << 20;
/// How many policies a set may have.
pub const POLICIES_MAX: usize = 10_000;

/// The annotations that there are.
pub const ANNOTATIONS: [&str; 7] =
    ["id", "description", "reason", "require_approval", "hold", "redact", "record"];

/// What was made of the sources.
pub(crate) struct Compiled {
    pub(crate) rules: Vec<Rule>,
    pub(crate) literals: Literals,
    pub(crate) findings: Vec<Finding>,
}

/// Reads all policies. What is found of them comes back in either case; with an error among it the rules are not to be
/// used.
pub(crate) fn compile(sources: &Sources, world: &World, mode: Mode) -> Compiled {
    let mut compiler = Compiler {
        mode,
        fitter: Fitter::new(world, &sources.tenants),
        redactions: &world.redactions,
        ids: HashMap::new(),
        out: Compiled { rules: Vec::new(), literals: Literals::default(), findings: Vec::new() },
        count: 0,
    };
    let bytes: usize = sources.tenant.iter().chain(&sources.operator).map(|source| source.text.len()).sum();
    let all = sources.tenant.iter().map(|source| (source, false));
    let all = all.chain(sources.operator.iter().map(|source| (source, true)));
    for (source, is_operator) in all {
        if bytes > POLICY_BYTES_MAX {
            compiler.say(
                source,
                0,
                Level::Error,
                format!("all policies together have more than {POLICY_BYTES_MAX} bytes"),
                None,
            );
            break;
        }
        compiler.file(source, is_operator);
    }
    compiler.out
}

struct Compiler<'a> {
    mode: Mode,
    fitter: Fitter<'a>,
    /// The words that `@redact` and `@hold` know.
    redactions: &'a [Arc<str>],
    /// Where each id was first used.
    ids: HashMap<Arc<str>, String>,
    out: Compiled,
    count: usize,
}

impl Compiler<'_> {
    fn say(
        &mut self,
        source: &Source,
        offset: usize,
        level: Level,
        message: String,
        suggestion: Option<String>,
    ) {
        let (line, column) = position(&source.text, offset);
        let path = source.path.clone();
        self.out.findings.push(Finding { level, path, line, column, message, suggestion });
    }

    fn file(&mut self, source: &Source, is_operator: bool) {
        for piece in pieces(&source.text) {
            self.count += 1;
            if self.count > POLICIES_MAX {
                let message = format!("there are more than {POLICIES_MAX} policies");
                self.say(source, piece.start, Level::Error, message, None);
                return;
            }
            self.piece(source, piece, is_operator);
        }
    }

    fn piece(&mut self, source: &Source, piece: Range<usize>, is_operator: bool) {
        let start = piece.start;
        let text = source.text.get(piece).unwrap_or_default();
        let (line, column) = position(&source.text, start);
        let parsed = match Policy::parse(Some(PolicyId::new("rule")), text) {
            Ok(parsed) => parsed,
            Err(errors) => {
                let error = DetailedError::from(&errors);
                let all = std::iter::once(&error).chain(&error.related);
                for error in all {
                    let offset = error.source_locations.first().map_or(0, |label| label.loc.start);
                    self.say(source, start + offset, Level::Error, error.message.clone(), error.help.clone());
                }
                return;
            }
        };
        let Ok(pst) = parsed.to_pst() else {
            self.say(source, start, Level::Error, "the policy cannot be read".to_owned(), None);
            return;
        };
        let body = pst.body();
        let errors = self.out.findings.len();
        let notes = self.notes(source, start, text, body, is_operator);
        let id = self.id(source, start, body, (line, column));
        if self.out.findings.len() > errors {
            return;
        }
        let policy = parsed.new_id(PolicyId::new(&id));
        let mut parts = Vec::new();
        let mut all = Uses::default();
        for expr in conjuncts(body.clauses()) {
            let Some((text, parsed)) = expression(&expr) else {
                self.say(source, start, Level::Error, "a condition cannot be read".to_owned(), None);
                return;
            };
            let uses = Uses::of(&expr);
            all.add(&uses);
            parts.push(Part { text, expr: parsed, quick: Quick::of(&expr), uses });
        }
        let subject = Subject { text, policy: &policy, body, uses: &all, is_operator };
        if self.fitter.is_elsewhere(&subject) {
            return;
        }
        let fit = self.fitter.judge(&subject);
        let is_permit = body.effect == Effect::Permit;
        let Some((state, why)) = self.state(source, start, fit, is_permit) else { return };
        let place = Place { path: source.path.clone(), line, column };
        let rule = self.rule(body, PolicyRef { id }, place, parts, (state, why), notes, is_operator);
        match rule {
            Some(rule) => self.out.rules.push(rule),
            None => self.say(source, start, Level::Error, "a condition cannot be read".to_owned(), None),
        }
    }

    /// The rule's id: its own, or its place.
    fn id(&mut self, source: &Source, start: usize, body: &Template, (line, column): (u32, u32)) -> Arc<str> {
        let own = body.annotations.get("id");
        let mut id = own.map_or_else(|| format!("{}:{line}", source.path), ToString::to_string);
        if own.is_none() && self.ids.contains_key(&*id) {
            id = format!("{id}:{column}");
        }
        let id: Arc<str> = Arc::from(id);
        let place = format!("{}:{line}:{column}", source.path);
        if let Some(first) = self.ids.get(&id) {
            let message = format!("the id `{id}` is used already, at {first}");
            self.say(source, start, Level::Error, message, None);
        } else {
            self.ids.insert(id.clone(), place);
        }
        id
    }

    /// What the annotations say, and whether they may.
    fn notes(
        &mut self,
        source: &Source,
        start: usize,
        text: &str,
        body: &Template,
        is_operator: bool,
    ) -> Notes {
        let is_permit = body.effect == Effect::Permit;
        let mut notes = Notes::default();
        let mut wrong = Vec::new();
        if is_permit && is_operator {
            let text = "the operator's policies forbid; what is permitted is said by each tenant's own";
            wrong.push((text.to_owned(), None, "permit"));
        }
        for (name, value) in &body.annotations {
            let text: Arc<str> = Arc::from(value.as_str());
            let is_for_other = match name.as_str() {
                "id" | "description" => false,
                "reason" => is_permit,
                "require_approval" | "hold" | "redact" | "record" => !is_permit,
                _ => {
                    let near = nearest(name, ANNOTATIONS.into_iter());
                    let suggestion = near.map(|near| format!("did you mean `@{near}`?"));
                    wrong.push((format!("there is no annotation `@{name}`"), suggestion, name));
                    continue;
                }
            };
            if is_for_other {
                let on = if is_permit { "forbids" } else { "permits" };
                wrong.push((format!("`@{name}` stands only on {on}"), None, name));
                continue;
            }
            if value.trim().is_empty() {
                wrong.push((
                    format!("`@{name}` says nothing"),
                    Some(format!("write `@{name}(\"…\")`")),
                    name,
                ));
                continue;
            }
            match name.as_str() {
                "reason" => notes.reason = Some(text),
                "description" => notes.description = Some(text),
                "require_approval" => notes.approval = Some(text),
                "redact" | "hold" => {
                    let named =
                        if name.as_str() == "hold" { &mut notes.holds } else { &mut notes.redactions };
                    let words = value.split(|one: char| one == ',' || one.is_whitespace());
                    for word in words.filter(|word| !word.is_empty()) {
                        match self.redactions.iter().find(|known| ***known == *word) {
                            Some(known) => named.push(Arc::clone(known)),
                            None => {
                                let near = nearest(word, self.redactions.iter().map(|known| &**known));
                                let meant = near.map(|near| format!("did you mean `{near}`?"));
                                let all = || {
                                    "`docs/reference/guards.md` lists the rules; `pii`, `personal`, `secret` and \
                                     `injection` stand for many"
                                        .to_owned()
                                };
                                let message = format!("`@{name}` does not know `{word}`");
                                wrong.push((message, Some(meant.unwrap_or_else(all)), name));
                            }
                        }
                    }
                }
                "record" => match RecordLevel::of_word(value) {
                    Some(level) => notes.record = Some(level),
                    None => {
                        let words =
                            Some("it is one of `nothing`, `digest`, `redacted` and `full`".to_owned());
                        wrong.push((format!("`@record` does not know `{value}`"), words, name));
                    }
                },
                _ => {}
            }
        }
        for (message, suggestion, near) in wrong {
            let offset = text.find(&format!("@{near}")).unwrap_or_else(|| text.find(near).unwrap_or(0));
            self.say(source, start + offset, Level::Error, message, suggestion);
        }
        notes
    }

    /// What becomes of a rule, and why; nothing where it is refused.
    fn state(
        &mut self,
        source: &Source,
        start: usize,
        fit: Fit,
        is_permit: bool,
    ) -> Option<(State, Option<String>)> {
        let put = |this: &mut Self, level: Level, problem: Problem| {
            this.say(source, start + problem.offset, level, problem.message, problem.suggestion);
        };
        for warning in fit.warnings {
            put(self, Level::Warning, warning);
        }
        let is_misfit = !fit.misfits.is_empty();
        let problems = if is_misfit { fit.misfits } else { fit.pending };
        let Some(first) = problems.first() else { return Some((State::Live, None)) };
        if is_misfit && self.mode == Mode::New {
            for misfit in problems {
                put(self, Level::Error, misfit);
            }
            return None;
        }
        let (state, effect) = if is_permit {
            (State::Inert, "this permit has no effect")
        } else {
            (State::Whole, "this forbid denies all that it is about, whatever its conditions")
        };
        let why = first.message.clone();
        for mut problem in problems {
            problem.message = format!("{}; {effect}", problem.message);
            put(self, Level::Warning, problem);
        }
        Some((state, Some(why)))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one rule, each made by its own step")]
    fn rule(
        &mut self,
        body: &Template,
        id: PolicyRef,
        place: Place,
        parts: Vec<Part>,
        (state, why): (State, Option<String>),
        notes: Notes,
        is_operator: bool,
    ) -> Option<Rule> {
        let shape = Shape::of(body, &mut self.out.literals);
        let parts = if state == State::Live { parts } else { Vec::new() };
        for (kind, id) in parts.iter().flat_map(|part| &part.uses.literals) {
            self.out.literals.intern(*kind, id);
        }
        let fixed = parts.iter().position(|part| !part.uses.is_static()).unwrap_or(parts.len());
        let mut uses = Uses::default();
        let rest: Vec<String> = parts.iter().skip(fixed).map(|part| format!("({})", part.text)).collect();
        parts.iter().skip(fixed).for_each(|part| uses.add(&part.uses));
        let rest = match rest.as_slice() {
            [] => None,
            rest => Some(rest.join(" && ").parse().ok()?),
        };
        Some(Rule {
            id,
            place,
            is_permit: body.effect == Effect::Permit,
            is_operator,
            state,
            why,
            notes,
            principal: shape.principal,
            action: shape.action,
            resource: shape.resource,
            on: shape.on,
            parts,
            fixed,
            rest,
            uses,
        })
    }
}
