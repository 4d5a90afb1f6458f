//! `tollgate policy test`: puts the cases of test files to the policies, and shows where they differ from what is said.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tollgate_admin::{Tested, TestedCase};
use tollgate_model::{Decision, RecordLevel, TenantId, Timestamp};
use tollgate_policy::{Mode, PolicySet};

use super::ask;
use super::setting::{Setting, refuse, show};
use super::who::describe;
use crate::cli::policy::PolicyTest;
use crate::config::cases::{self, Case, Expected};
use crate::exit::{Exit, Failure};
use crate::out::{Printer, To, safe};

/// The most characters of arguments that are shown.
const ARGUMENTS_SHOWN_MAX: usize = 400;

/// How a case went.
struct Outcome<'c> {
    case: &'c Case,
    decision: Decision,
    listed: bool,
    differences: Vec<Difference>,
}

/// One thing that is not as it was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Difference {
    what: &'static str,
    expected: String,
    found: String,
}

/// Runs all cases of all files. Every file is read before the first case is run.
pub(crate) async fn run(command: &PolicyTest) -> Result<(), Failure> {
    let setting = Setting::open(&command.basis).await?;
    setting.need_policies()?;
    let known =
        |id: &TenantId| setting.tenants.iter().find(|tenant| tenant.id == *id).map(|tenant| &tenant.known);
    let now = Timestamp::now();
    let mut all = Vec::new();
    let mut refused = None;
    for file in &command.files {
        match cases::load(file, now, &known) {
            Ok(cases) => all.extend(cases),
            Err(error) => refused = Some(refuse(file, &error)),
        }
    }
    if let Some(failure) = refused {
        return Err(failure);
    }

    let mut sets = Sets { setting: &setting, compiled: HashMap::new() };
    let mut outcomes = Vec::with_capacity(all.len());
    for case in &all {
        let set = sets.of(&case.principal.tenant, case.environment.as_deref())?;
        outcomes.push(outcome(case, &set));
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.differences.is_empty()).count();
    let passed = outcomes.len() - failed;
    if command.json {
        let cases: Vec<Value> = outcomes.iter().map(outcome_json).collect();
        let object = json!({ "passed": passed, "failed": failed, "cases": cases });
        Printer::new(To::Out).line(object.to_string());
    } else {
        report(&outcomes, &setting);
        Printer::new(To::Out).line(format!("{passed} passed, {failed} failed"));
    }
    match failed {
        0 => Ok(()),
        // What is to be said is said.
        _ => Err(Failure { code: Exit::Failed, text: String::new() }),
    }
}

/// The cases of a text, put to the policies of tenants. All that is wrong is in what comes back.
pub(crate) fn tried(setting: &Setting, cases: &str) -> Tested {
    let known =
        |id: &TenantId| setting.tenants.iter().find(|tenant| tenant.id == *id).map(|tenant| &tenant.known);
    let cases = match cases::parse(Path::new("cases.yaml"), cases, Timestamp::now(), &known) {
        Ok(cases) => cases,
        Err(error) => {
            let problems = error.problems.iter().map(ToString::to_string).collect();
            return Tested { problems, ..Tested::default() };
        }
    };
    let mut sets: HashMap<(TenantId, Option<String>), PolicySet> = HashMap::new();
    let mut tested = Tested::default();
    for case in &cases {
        let environment = case.environment.as_deref().or(setting.environment.as_deref());
        let key = (case.principal.tenant.clone(), environment.map(ToOwned::to_owned));
        let Some(of) = setting.tenants.iter().find(|tenant| tenant.id == key.0) else { continue };
        let set = match sets.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                match PolicySet::compile(&of.sources, &of.known, environment, Mode::New) {
                    Ok((set, _)) => place.insert(set),
                    Err(findings) => {
                        let problems = findings.iter().map(ToString::to_string).collect();
                        return Tested { problems, ..Tested::default() };
                    }
                }
            }
        };
        let outcome = outcome(case, set);
        let differences = outcome.differences.into_iter();
        tested.cases.push(TestedCase {
            name: case.name.clone(),
            line: case.line,
            differences: differences.map(|one| (one.what, one.expected, one.found)).collect(),
            policies: outcome.decision.policies.iter().map(|policy| policy.id.to_string()).collect(),
        });
    }
    tested
}

/// The policies of tenants, compiled once for each environment.
struct Sets<'s> {
    setting: &'s Setting,
    compiled: HashMap<(TenantId, Option<String>), Arc<PolicySet>>,
}

impl Sets<'_> {
    fn of(&mut self, tenant: &TenantId, environment: Option<&str>) -> Result<Arc<PolicySet>, Failure> {
        let environment = environment.or(self.setting.environment.as_deref());
        let key = (tenant.clone(), environment.map(ToOwned::to_owned));
        if let Some(set) = self.compiled.get(&key) {
            return Ok(Arc::clone(set));
        }
        let of = self.setting.tenant(tenant)?;
        let compiled = self.setting.compile(of, environment, Mode::New).map_err(|problems| {
            show(&problems, Printer::new(To::Err));
            Failure::config(format!("the policies of tenant `{}` cannot be used", tenant.as_str()))
        })?;
        let set = Arc::new(compiled.set);
        self.compiled.insert(key, Arc::clone(&set));
        Ok(set)
    }
}

fn outcome<'c>(case: &'c Case, set: &PolicySet) -> Outcome<'c> {
    let Case { principal, target, arguments, circumstances, .. } = case;
    let decision = ask::decide(set, principal, target, arguments.as_ref(), circumstances);
    let listed = ask::is_listed(set, principal, target, circumstances);
    let differences = differences(&case.expected, &decision, listed);
    Outcome { case, decision, listed, differences }
}

/// What is not as expected.
fn differences(expected: &Expected, decision: &Decision, listed: bool) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |what: &'static str, expected: String, got: String| {
        if expected != got {
            found.push(Difference { what, expected, found: got });
        }
    };
    compare("decision", allowed(expected.allowed).into(), allowed(decision.allowed).into());
    // Obligations of a call that is denied after all would only hide what matters.
    if expected.allowed == decision.allowed {
        compare("approvals", list(&expected.approvals), sorted(&decision.obligations.approvals));
        compare("redactions", list(&expected.redactions), sorted(&decision.obligations.redactions));
        compare("holds", list(&expected.holds), sorted(&decision.obligations.holds));
        if let Some(level) = expected.record {
            compare("record", record(Some(level)).into(), record(decision.obligations.record).into());
        }
    }
    if let Some(policies) = &expected.policies {
        let ids: Vec<Arc<str>> = decision.policies.iter().map(|policy| policy.id.clone()).collect();
        compare("policies", list(policies), sorted(&ids));
    }
    if let Some(reasons) = &expected.reasons {
        compare("reasons", list(reasons), sorted(&decision.reasons));
    }
    if let Some(could_differ) = expected.could_differ {
        compare("could differ", yes(could_differ).into(), yes(decision.could_differ).into());
    }
    if let Some(expected) = expected.listed {
        compare("listed", yes(expected).into(), yes(listed).into());
    }
    found
}

pub(crate) const fn allowed(allowed: bool) -> &'static str {
    if allowed { "allow" } else { "deny" }
}

const fn yes(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

pub(crate) const fn record(level: Option<RecordLevel>) -> &'static str {
    match level {
        None => "(not said)",
        Some(RecordLevel::Nothing) => "nothing",
        Some(RecordLevel::Digest) => "digest",
        Some(RecordLevel::Redacted) => "redacted",
        Some(RecordLevel::Full) => "full",
    }
}

fn sorted(texts: &[Arc<str>]) -> String {
    let mut texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
    texts.sort();
    texts.dedup();
    list(&texts)
}

fn list(texts: &[String]) -> String {
    if texts.is_empty() { "(none)".to_owned() } else { texts.join(", ") }
}

fn report(outcomes: &[Outcome<'_>], setting: &Setting) {
    let out = Printer::new(To::Out);
    for Outcome { case, decision, differences, .. } in outcomes {
        let name = safe(&case.name);
        if differences.is_empty() {
            out.line(format!("{} {name}", out.green("ok    ")));
            continue;
        }
        let place = format!("{}:{}", case.file.display(), case.line);
        out.line(format!("{} {} {}", out.red("FAILED"), out.bold(&name), out.dim(&place)));
        let row = |label: &str, text: &str| {
            out.line(format!("       {} {}", out.dim(&format!("{label:<13}")), safe(text)));
        };
        row("who", &describe(&case.principal));
        row("what", &what(case));
        let environment = case.environment.as_deref().or(setting.environment.as_deref());
        let environment = environment.map(|word| format!(", in {word}")).unwrap_or_default();
        row("when", &format!("{}{environment}", case.circumstances.describe()));
        for Difference { what, expected, found } in differences {
            row(what, &format!("expected {expected}"));
            out.line(format!("       {:13} found    {}", "", out.red(&safe(found))));
        }
        let said = |what: &str| differences.iter().any(|difference| difference.what == what);
        if !said("policies") && !decision.policies.is_empty() {
            let ids: Vec<&str> = decision.policies.iter().map(|policy| &*policy.id).collect();
            row("decided by", &ids.join(", "));
        }
        for error in &decision.errors {
            row("error", error);
        }
    }
}

fn what(case: &Case) -> String {
    let mut text = case.target.to_string();
    if let Some(arguments) = &case.arguments {
        let shown: String = String::from_utf8_lossy(arguments).chars().take(ARGUMENTS_SHOWN_MAX).collect();
        text.extend([" ", &shown]);
    }
    text
}

fn outcome_json(outcome: &Outcome<'_>) -> Value {
    let Outcome { case, decision, listed, differences } = outcome;
    let differences: Vec<Value> = differences
        .iter()
        .map(|one| json!({ "what": one.what, "expected": one.expected, "found": one.found }))
        .collect();
    json!({
        "file": case.file.display().to_string(),
        "line": case.line,
        "name": case.name,
        "passed": differences.is_empty(),
        "differences": differences,
        "found": decision_json(decision, *listed),
    })
}

/// A decision, for machines.
pub(crate) fn decision_json(decision: &Decision, listed: bool) -> Value {
    let texts = |texts: &[Arc<str>]| texts.iter().map(|text| json!(&**text)).collect::<Vec<Value>>();
    let policies: Vec<&str> = decision.policies.iter().map(|policy| &*policy.id).collect();
    json!({
        "decision": allowed(decision.allowed),
        "policies": policies,
        "approvals": texts(&decision.obligations.approvals),
        "redactions": texts(&decision.obligations.redactions),
        "holds": texts(&decision.obligations.holds),
        "record": decision.obligations.record.map(|level| record(Some(level))),
        "reasons": texts(&decision.reasons),
        "couldDiffer": !decision.allowed && decision.could_differ,
        "listed": listed,
        "errors": decision.errors,
    })
}

#[cfg(test)]
mod tests {
    use tollgate_model::{Obligations, PolicyRef};

    use super::*;

    fn expected() -> Expected {
        Expected {
            allowed: true,
            approvals: Vec::new(),
            redactions: Vec::new(),
            holds: Vec::new(),
            record: None,
            policies: None,
            reasons: None,
            could_differ: None,
            listed: None,
        }
    }

    fn decision() -> Decision {
        let approvals = vec![Arc::from("leads")];
        Decision {
            allowed: true,
            policies: vec![PolicyRef { id: Arc::from("b") }, PolicyRef { id: Arc::from("a") }],
            obligations: Obligations { approvals, record: Some(RecordLevel::Full), ..Obligations::default() },
            ..Decision::denied()
        }
    }

    fn told(expected: &Expected, decision: &Decision) -> Vec<(&'static str, String, String)> {
        let differences = differences(expected, decision, true);
        differences.into_iter().map(|one| (one.what, one.expected, one.found)).collect()
    }

    #[test]
    fn an_obligation_that_nobody_expects_is_a_difference() {
        let text = String::from;
        assert_eq!(told(&expected(), &decision()), [("approvals", text("(none)"), text("leads"))]);
        let expected = Expected { approvals: vec![text("leads")], ..expected() };
        assert_eq!(told(&expected, &decision()), []);
    }

    #[test]
    fn only_what_is_said_is_compared_and_order_means_nothing() {
        let text = String::from;
        let expected = Expected {
            approvals: vec![text("leads")],
            policies: Some(vec![text("a"), text("b")]),
            record: Some(RecordLevel::Digest),
            listed: Some(false),
            ..expected()
        };
        let differences = told(&expected, &decision());
        let wanted = [("record", text("digest"), text("full")), ("listed", text("no"), text("yes"))];
        assert_eq!(differences, wanted);
    }

    #[test]
    fn where_the_decision_differs_its_obligations_are_not_told() {
        let expected = Expected { allowed: false, ..expected() };
        let differences = told(&expected, &decision());
        assert_eq!(differences, [("decision", "deny".to_owned(), "allow".to_owned())]);
    }
}
