//! Policies that are written here: sets with versions, tried out, put in force, and taken back.

use std::sync::Arc;

use serde_json::{Value, json};
use tollgate_model::{TenantId, Timestamp};
use tollgate_store::{
    RULE_SETS_MAX, RULES_BYTES_MAX, RuleDoing, RuleSet, RuleSetId, RuleVersion, WhichRules,
};

use super::keys::makers;
use super::{reason, tried};
use crate::plane::Plane;
use crate::problem::Problem;
use crate::record::{self, Act};
use crate::roles::{ChangePolicies, May, Permission, Sure};
use crate::world::{PolicyRemark, RuleCandidate, Simulated, Tested};

/// How many findings a refusal tells of.
const TOLD_MAX: usize = 20;
/// How many days are looked back, at most.
const DAYS_MAX: u32 = 31;
/// How policies are called that no version is of yet.
const UNSAVED: &str = "draft";

/// The sets that whoever asks may see, with the texts that decide or look on.
pub(crate) async fn all<P: Permission>(plane: &Plane, may: &May<P>) -> Result<Vec<RuleSet>, Problem> {
    let Some(store) = plane.store()? else { return Ok(Vec::new()) };
    let found = store.all_rules(&WhichRules { most: RULE_SETS_MAX, ..WhichRules::default() }).await?;
    Ok(found.into_iter().filter(|set| may.sees(set.id.tenant.as_ref())).collect())
}

/// One of them, with all versions.
pub(crate) async fn one<P: Permission>(
    plane: &Plane,
    may: &May<P>,
    id: &RuleSetId,
) -> Result<RuleSet, Problem> {
    let store = plane.store()?.ok_or_else(missing)?;
    if !may.sees(id.tenant.as_ref()) {
        return Err(missing());
    }
    store.rules(id).await?.ok_or_else(missing)
}

fn missing() -> Problem {
    Problem::not_found("there is no such set of policies")
}

/// A version of a set.
pub(crate) fn version(set: &RuleSet, number: u64) -> Result<&RuleVersion, Problem> {
    set.version(number).ok_or_else(|| Problem::not_found("there is no such version"))
}

/// A set by its tenant and name, as somebody writes them. The operator's is of no tenant.
pub(crate) fn named(plane: &Plane, tenant: Option<&str>, name: &str) -> Result<RuleSetId, Problem> {
    let tenant = tenant.filter(|tenant| !tenant.is_empty());
    let tenant = tenant.map(|tenant| super::tenant(plane, tenant)).transpose()?;
    RuleSetId::new(tenant, name.trim()).map_err(|bad| Problem::invalid(format!("name: {bad}")))
}

fn policies(text: &str) -> Result<Arc<str>, Problem> {
    // Browsers send lines of forms so.
    let text = text.replace("\r\n", "\n");
    if text.trim().is_empty() {
        return Err(Problem::invalid("text: there are no policies in it"));
    }
    if text.len() > RULES_BYTES_MAX {
        return Err(Problem::invalid(format!("text: more than {RULES_BYTES_MAX} bytes")));
    }
    if text.contains('\0') {
        return Err(Problem::invalid("text: there is a NUL in it"));
    }
    Ok(text.into())
}

/// What is tried out: a version of a set, or a text that is none yet.
pub(crate) fn candidate(
    set: &RuleSet,
    number: Option<u64>,
    text: Option<&str>,
) -> Result<RuleCandidate, Problem> {
    let (version, text) = match (number, text) {
        (None, Some(text)) => (UNSAVED.into(), policies(text)?),
        (number, None) => {
            let found = version(set, number.unwrap_or(set.latest))?;
            (found.number.to_string().into(), Arc::clone(&found.text))
        }
        (Some(_), Some(_)) => return Err(Problem::invalid("version: say a version or a text")),
    };
    Ok(RuleCandidate { id: set.id.clone(), version, text })
}

/// What would be found of it.
pub(crate) async fn check(
    plane: &Arc<Plane>,
    candidate: RuleCandidate,
) -> Result<Vec<PolicyRemark>, Problem> {
    let world = Arc::clone(plane);
    let trial = async move { world.world().try_rules(&candidate).await.map_err(Problem::unavailable) };
    tried(plane, trial).await
}

/// What cases come to.
pub(crate) async fn test(
    plane: &Arc<Plane>,
    candidate: RuleCandidate,
    cases: String,
) -> Result<Tested, Problem> {
    let world = Arc::clone(plane);
    let trial =
        async move { world.world().test_rules(&candidate, &cases).await.map_err(Problem::unavailable) };
    tried(plane, trial).await
}

/// What would have been decided otherwise in the last days.
pub(crate) async fn simulate(
    plane: &Arc<Plane>,
    candidate: RuleCandidate,
    days: u32,
) -> Result<Simulated, Problem> {
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(Problem::invalid(format!("days: from 1 to {DAYS_MAX}")));
    }
    let world = Arc::clone(plane);
    let trial = async move { world.world().simulate_rules(&candidate, days).await.map_err(Problem::invalid) };
    tried(plane, trial).await
}

/// What is to become of a set.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Another version is written.
    Write(String),
    /// A version looks on; none to have none.
    Shadow(Option<u64>),
    /// A version decides.
    Promote(u64),
    /// What decided before decides again.
    RollBack,
    /// None of it decides any more.
    Withdraw,
    /// It is gone.
    Remove,
}

impl Step {
    const fn word(&self) -> &'static str {
        match self {
            Self::Write(_) => "policies.write",
            Self::Shadow(_) => "policies.shadow",
            Self::Promote(_) => "policies.promote",
            Self::RollBack => "policies.roll_back",
            Self::Withdraw => "policies.withdraw",
            Self::Remove => "policies.remove",
        }
    }
}

/// Makes a set, with a first version.
pub(crate) async fn create(
    plane: Arc<Plane>,
    sure: Sure<ChangePolicies>,
    id: RuleSetId,
    text: &str,
    why: &str,
) -> Result<RuleSet, Problem> {
    let (why, text) = (reason(why, false)?, policies(text)?);
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let _one = plane.changing.lock().await;
    if store.rules(&id).await?.is_some() {
        return Err(Problem::new(http::StatusCode::CONFLICT, "taken", "there is a set of this name already"));
    }
    let set = RuleSet::draft(id, text, &doing(&sure, &why));
    store.put_rules(set.clone()).await?;
    let act = Act {
        word: "policies.write",
        what: what(&set),
        before: Value::Null,
        after: said(&set),
        reason: Some(why.to_string()),
    };
    record::record(&plane, &sure.who, sure.tenant.as_ref(), act).await?;
    Ok(set)
}

/// Does something with a set. What would decide or look on has to be valid, or nothing changes.
pub(crate) async fn step(
    plane: Arc<Plane>,
    sure: Sure<ChangePolicies>,
    id: RuleSetId,
    step: Step,
    why: &str,
    fits: impl FnOnce(&RuleSet) -> Result<(), Problem> + Send,
) -> Result<RuleSet, Problem> {
    let why = reason(why, false)?;
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let before = store.rules(&id).await?.ok_or_else(missing)?;
    fits(&before)?;
    let doing = doing(&sure, &why);
    let after = match &step {
        Step::Write(text) => before.written(policies(text)?, &doing),
        Step::Shadow(version) => before.shadowed(*version, &doing)?,
        Step::Promote(version) => before.promoted(*version, &doing)?,
        Step::RollBack => before.rolled_back(&doing)?,
        Step::Withdraw => before.withdrawn(&doing)?,
        Step::Remove => before.removed(&doing)?,
    };
    // Nothing waits meanwhile: it may take long, and something else may have to be stopped. A change that comes first is found by
    // the store.
    may_count(&plane, &sure, &step, &before, &after).await?;
    let _one = plane.changing.lock().await;
    store.put_rules(after.clone()).await?;
    let gone = after.is_removed();
    let act = Act {
        word: step.word(),
        what: what(&after),
        before: said(&before),
        after: if gone { Value::Null } else { said(&after) },
        reason: Some(why.to_string()),
    };
    record::record(&plane, &sure.who, sure.tenant.as_ref(), act).await?;
    Ok(after)
}

/// Refuses to have something decide, or look on, that may not.
async fn may_count(
    plane: &Arc<Plane>,
    sure: &Sure<ChangePolicies>,
    step: &Step,
    before: &RuleSet,
    after: &RuleSet,
) -> Result<(), Problem> {
    let counts = match step {
        Step::Promote(_) | Step::RollBack => after.deciding(),
        Step::Shadow(_) => after.looking_on(),
        Step::Write(_) | Step::Withdraw | Step::Remove => None,
    };
    let Some(counts) = counts else { return Ok(()) };
    let configured = plane.parts()?.configured;
    if !configured.stored_policies {
        return Err(Problem::new(
            http::StatusCode::CONFLICT,
            "turned_off",
            "policies that are written here do not count: `policy: { stored: true }` in the configuration turns them on",
        ));
    }
    // What decided before was agreed to by somebody else then.
    let is_new = !matches!(step, Step::RollBack);
    if is_new && configured.four_eyes {
        let makers = makers(&*plane.make_store()?, &sure.who.by).await?;
        if counts.by == sure.who.by || makers.contains(&counts.by) {
            return Err(Problem::new(
                http::StatusCode::FORBIDDEN,
                "four_eyes",
                "you wrote this version: somebody else has to look at it and put it in force (`policy.four_eyes`)",
            ));
        }
    }
    let found = check(plane, candidate(before, Some(counts.number), None)?).await?;
    let errors: Vec<String> =
        found.iter().filter(|remark| remark.is_error).map(told).take(TOLD_MAX).collect();
    if errors.is_empty() {
        return Ok(());
    }
    let detail = format!("nothing has changed, since these policies cannot be used: {}", errors.join("; "));
    Err(Problem::new(http::StatusCode::UNPROCESSABLE_ENTITY, "not_valid", detail))
}

/// A remark in a line.
fn told(remark: &PolicyRemark) -> String {
    let PolicyRemark { path, line, column, message, suggestion, .. } = remark;
    let suggestion = suggestion.as_ref().map(|suggestion| format!(" ({suggestion})")).unwrap_or_default();
    format!("{path}:{line}:{column}: {message}{suggestion}")
}

fn doing(sure: &Sure<ChangePolicies>, why: &Arc<str>) -> RuleDoing {
    RuleDoing { by: Arc::clone(&sure.who.by), reason: Arc::clone(why), at: Timestamp::now() }
}

fn what(set: &RuleSet) -> Value {
    json!({ "tenant": set.id.tenant.as_ref().map(TenantId::as_str), "name": &*set.id.name })
}

/// What is so, by the digests of the texts.
fn said(set: &RuleSet) -> Value {
    let version = |version: Option<&RuleVersion>| {
        version.map(|version| json!({ "version": version.number, "digest": version.digest().to_string() }))
    };
    json!({
        "latest": version(set.version(set.latest)),
        "in_force": version(set.deciding()),
        "shadow": version(set.looking_on()),
    })
}
