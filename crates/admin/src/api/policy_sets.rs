//! Sets of policies that are written here.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tollgate_model::TenantId;
use tollgate_store::{RuleSet, RuleSetId, RuleVersion};
use utoipa::ToSchema;

use super::blocks::Why as Reason;
use super::policies::Verdict;
use super::{
    Asked, At, Made, Page, Paging, Repeatable, Seen, Tagged, json, once, pack, tagged, time, unpack,
};
use crate::acts::policies::{self, Step};
use crate::front::{Input, Shared};
use crate::problem::Problem;
use crate::roles::{ChangePolicies, May, ReadPolicies};
use crate::world::{Shift, ShiftExample, Simulated, Tested, TestedCase};

/// How many days are looked back if nothing is said.
pub(crate) const DAYS: u32 = 7;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/policy-sets", get(list).post(create))
        .route("/api/v1/policy-sets/{id}", get(one).put(write).delete(remove))
        .route("/api/v1/policy-sets/{id}/validate", post(validate))
        .route("/api/v1/policy-sets/{id}/test", post(test))
        .route("/api/v1/policy-sets/{id}/simulate", post(simulate))
        .route("/api/v1/policy-sets/{id}/shadow", post(shadow))
        .route("/api/v1/policy-sets/{id}/promote", post(promote))
        .route("/api/v1/policy-sets/{id}/roll-back", post(roll_back))
        .route("/api/v1/policy-sets/{id}/withdraw", post(withdraw))
}

/// By what a set is named in paths.
pub(crate) fn id(of: &RuleSetId) -> String {
    let (tenant, name) = of.parts();
    pack(&[tenant, name])
}

/// The other way round.
pub(crate) fn named(id: &str) -> Result<RuleSetId, Problem> {
    let missing = || Problem::not_found("nothing can have this id");
    let [tenant, name] = unpack(id).ok_or_else(missing)?;
    let tenant = Some(tenant).filter(|tenant| !tenant.is_empty()).map(|tenant| TenantId::new(&tenant));
    RuleSetId::new(tenant, &name).map_err(|_| missing())
}

/// A set of policies.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PolicySet)]
pub(crate) struct SetView {
    /// By what it is named in paths.
    id: String,
    /// About whose callers it is; absent: the operator's forbids for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// What it is called.
    name: String,
    /// 1 at first, and one more with each change.
    revision: u64,
    /// The number of the latest version.
    latest: u64,
    /// The version that decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_force: Option<u64>,
    /// The version that looks on.
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<u64>,
    /// Whether rolling back leads anywhere.
    can_roll_back: bool,
    /// What was done with it last: `written`, `shadowed`, `promoted`, `rolled_back` or `withdrawn`.
    last: &'static str,
    /// Who did that.
    by: String,
    /// Why.
    reason: String,
    /// When.
    at: String,
}

impl SetView {
    fn of(set: &RuleSet) -> Self {
        Self {
            id: id(&set.id),
            tenant: set.id.tenant.as_ref().map(|tenant| tenant.as_str().to_owned()),
            name: set.id.name.to_string(),
            revision: set.revision,
            latest: set.latest,
            in_force: set.in_force,
            shadow: set.shadow,
            can_roll_back: !set.past.is_empty(),
            last: set.last.act.as_str(),
            by: set.last.by.to_string(),
            reason: set.last.reason.to_string(),
            at: time(set.last.at),
        }
    }
}

/// A version of a set.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = PolicyVersion)]
struct VersionView {
    /// Its number.
    version: u64,
    /// The digest of its text.
    digest: String,
    /// The policies, in Cedar.
    text: String,
    /// Who wrote it.
    by: String,
    /// Why.
    reason: String,
    /// When.
    at: String,
}

impl VersionView {
    fn of(version: &RuleVersion) -> Self {
        Self {
            version: version.number,
            digest: version.digest().to_string(),
            text: version.text.to_string(),
            by: version.by.to_string(),
            reason: version.reason.to_string(),
            at: time(version.at),
        }
    }
}

/// A set of policies, with its versions.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct PolicySetShown {
    /// The set.
    #[serde(flatten)]
    set: SetView,
    /// Its versions, the oldest first.
    versions: Vec<VersionView>,
}

impl PolicySetShown {
    fn of(set: &RuleSet) -> Self {
        Self { set: SetView::of(set), versions: set.versions.iter().map(VersionView::of).collect() }
    }
}

fn value(shown: &impl Serialize) -> serde_json::Value {
    // Nothing in it can fail to be written.
    serde_json::to_value(shown).unwrap_or_default()
}

/// A set of policies as the API shows it: in a list, or with its versions.
pub fn policy_set_json(set: &RuleSet, with_versions: bool) -> serde_json::Value {
    if with_versions { value(&PolicySetShown::of(set)) } else { value(&SetView::of(set)) }
}

/// What is said of policies, as the API shows it.
pub fn verdict_json(remarks: Vec<crate::world::PolicyRemark>) -> serde_json::Value {
    value(&Verdict::of(remarks))
}

/// What cases came to, as the API shows it.
pub fn tested_json(tested: Tested) -> serde_json::Value {
    value(&TestedView::of(tested))
}

/// What would have been decided otherwise, as the API shows it.
pub fn simulated_json(simulated: Simulated) -> serde_json::Value {
    value(&SimulatedView::of(simulated))
}

/// Lists the sets of policies that are written here. Those of files are in `/api/v1/policies`.
#[utoipa::path(get, path = "/api/v1/policy-sets", tag = "policies", params(Paging, Tagged),
    responses((status = 200, body = Page<SetView>)),
    extensions(("x-tollgate-permission" = json!("policies:read"))))]
async fn list(
    may: May<ReadPolicies>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Asked(paging): Asked<Paging>,
) -> Result<Response, Problem> {
    let found = policies::all(&plane, &may).await?;
    let page = paging.cut(found, |set: &RuleSet| id(&set.id))?;
    Ok(tagged(&headers, &Page { items: page.items.iter().map(SetView::of).collect(), next: page.next }))
}

/// Shows a set of policies, with its versions.
#[utoipa::path(get, path = "/api/v1/policy-sets/{id}", tag = "policies", params(("id" = String, Path), Tagged),
    responses((status = 200, body = PolicySetShown)),
    extensions(("x-tollgate-permission" = json!("policies:read"))))]
async fn one(
    may: May<ReadPolicies>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
) -> Result<Response, Problem> {
    let found = policies::one(&plane, &may, &named(&id)?).await?;
    Ok(tagged(&headers, &PolicySetShown::of(&found)))
}

/// A new set of policies.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSet {
    /// About whose callers it is; absent: the operator's forbids for all.
    tenant: Option<String>,
    /// What it is called: up to 64 of a to z, 0 to 9, `-`, `_` and `.`.
    name: String,
    /// The policies, in Cedar.
    text: String,
    /// Why. It is on record.
    #[serde(default)]
    reason: String,
}

/// Makes a set of policies, of a first version. Nothing decides otherwise.
#[utoipa::path(post, path = "/api/v1/policy-sets", tag = "policies", params(Repeatable), request_body = NewSet,
    responses((status = 201, body = PolicySetShown)),
    extensions(("x-tollgate-permission" = json!("policies:change"))))]
async fn create(
    may: May<ChangePolicies>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Input { value: new, bytes }: Input<NewSet>,
) -> Result<Response, Problem> {
    let id = policies::named(&plane, new.tenant.as_deref(), &new.name)?;
    let sure = may.over(id.tenant.as_ref())?;
    let act = {
        let plane = Arc::clone(&plane);
        async move {
            let made = policies::create(plane, sure, id, &new.text, &new.reason).await?;
            Ok(Made::new(StatusCode::CREATED, &PolicySetShown::of(&made)))
        }
    };
    Ok(once(&plane, &may.who, &headers, ("POST /api/v1/policy-sets", &bytes), act).await)
}

/// Does something with a set, if it is what was seen.
async fn stepped(
    (plane, may): (&Shared, &May<ChangePolicies>),
    headers: &HeaderMap,
    (method, id, what): (&str, &str, &str),
    bytes: &[u8],
    (step, reason): (Step, String),
) -> Result<Response, Problem> {
    let of = named(id)?;
    policies::one(plane, may, &of).await?;
    let sure = may.over(of.tenant.as_ref())?;
    let seen = Seen::of(headers);
    let overtaken = Seen::overtaken(headers);
    let is_removal = matches!(step, Step::Remove);
    let act = {
        let plane = Arc::clone(plane);
        async move {
            let fits = move |set: &RuleSet| seen.fits(&PolicySetShown::of(set));
            let after = policies::step(plane, sure, of, step, &reason, fits).await.map_err(overtaken)?;
            Ok(if is_removal {
                Made::new(StatusCode::NO_CONTENT, &())
            } else {
                Made::new(StatusCode::OK, &PolicySetShown::of(&after))
            })
        }
    };
    let what = format!("{method} /api/v1/policy-sets/{id}{what}");
    Ok(once(plane, &may.who, headers, (&what, bytes), act).await)
}

/// Another version.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewVersion {
    /// The policies, in Cedar.
    text: String,
    /// Why. It is on record.
    #[serde(default)]
    reason: String,
}

/// Writes another version of a set. Nothing decides otherwise. With `If-Match` only if the set is what was seen.
#[utoipa::path(put, path = "/api/v1/policy-sets/{id}", tag = "policies", params(("id" = String, Path), Seen, Repeatable),
    request_body = NewVersion, responses((status = 200, body = PolicySetShown)),
    extensions(("x-tollgate-permission" = json!("policies:change"))))]
async fn write(
    may: May<ChangePolicies>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
    Input { value: new, bytes }: Input<NewVersion>,
) -> Result<Response, Problem> {
    stepped((&plane, &may), &headers, ("PUT", &id, ""), &bytes, (Step::Write(new.text), new.reason)).await
}

/// Removes a set of which nothing decides or looks on.
#[utoipa::path(delete, path = "/api/v1/policy-sets/{id}", tag = "policies",
    params(("id" = String, Path), Reason, Seen, Repeatable),
    responses((status = 204)),
    extensions(("x-tollgate-permission" = json!("policies:change"))))]
async fn remove(
    may: May<ChangePolicies>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
    Asked(why): Asked<Reason>,
) -> Result<Response, Problem> {
    stepped(
        (&plane, &may),
        &headers,
        ("DELETE", &id, ""),
        &[],
        (Step::Remove, why.reason.unwrap_or_default()),
    )
    .await
}

/// Which version looks on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Shadowing {
    /// The version; absent: none any more.
    version: Option<u64>,
    /// Why. It is on record.
    #[serde(default)]
    reason: String,
}

/// Has a version look on: what it would decide otherwise is on record and counted, and nothing acts on it.
#[utoipa::path(post, path = "/api/v1/policy-sets/{id}/shadow", tag = "policies",
    params(("id" = String, Path), Seen, Repeatable),
    request_body = Shadowing, responses((status = 200, body = PolicySetShown)),
    extensions(("x-tollgate-permission" = json!("policies:change"))))]
async fn shadow(
    may: May<ChangePolicies>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
    Input { value, bytes }: Input<Shadowing>,
) -> Result<Response, Problem> {
    let step = (Step::Shadow(value.version), value.reason);
    stepped((&plane, &may), &headers, ("POST", &id, "/shadow"), &bytes, step).await
}

/// Which version decides.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Promotion {
    /// The version.
    version: u64,
    /// Why. It is on record.
    #[serde(default)]
    reason: String,
}

/// Has a version decide, at every gateway on the store. One that is not valid is refused, and nothing changes.
#[utoipa::path(post, path = "/api/v1/policy-sets/{id}/promote", tag = "policies",
    params(("id" = String, Path), Seen, Repeatable),
    request_body = Promotion, responses((status = 200, body = PolicySetShown)),
    extensions(("x-tollgate-permission" = json!("policies:change"))))]
async fn promote(
    may: May<ChangePolicies>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
    Input { value, bytes }: Input<Promotion>,
) -> Result<Response, Problem> {
    let step = (Step::Promote(value.version), value.reason);
    stepped((&plane, &may), &headers, ("POST", &id, "/promote"), &bytes, step).await
}

/// Why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicyReason)]
struct Why {
    /// Why. It is on record.
    #[serde(default)]
    reason: String,
}

/// Has that decide which did before: an earlier version, or nothing of the set.
#[utoipa::path(post, path = "/api/v1/policy-sets/{id}/roll-back", tag = "policies",
    params(("id" = String, Path), Seen, Repeatable),
    request_body = Why, responses((status = 200, body = PolicySetShown)),
    extensions(("x-tollgate-permission" = json!("policies:change"))))]
async fn roll_back(
    may: May<ChangePolicies>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
    Input { value, bytes }: Input<Why>,
) -> Result<Response, Problem> {
    let step = (Step::RollBack, value.reason);
    stepped((&plane, &may), &headers, ("POST", &id, "/roll-back"), &bytes, step).await
}

/// Has nothing of a set decide any more.
#[utoipa::path(post, path = "/api/v1/policy-sets/{id}/withdraw", tag = "policies",
    params(("id" = String, Path), Seen, Repeatable),
    request_body = Why, responses((status = 200, body = PolicySetShown)),
    extensions(("x-tollgate-permission" = json!("policies:change"))))]
async fn withdraw(
    may: May<ChangePolicies>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
    Input { value, bytes }: Input<Why>,
) -> Result<Response, Problem> {
    let step = (Step::Withdraw, value.reason);
    stepped((&plane, &may), &headers, ("POST", &id, "/withdraw"), &bytes, step).await
}

/// What is tried out: a version of the set, or a text; the latest version if nothing is said.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicyCandidate)]
struct Candidate {
    /// The version.
    version: Option<u64>,
    /// The policies, in Cedar.
    text: Option<String>,
}

/// Says what would be found of a version or a text if it decided. Nothing is changed.
#[utoipa::path(post, path = "/api/v1/policy-sets/{id}/validate", tag = "policies", params(("id" = String, Path)),
    request_body = Candidate, responses((status = 200, body = Verdict)),
    extensions(("x-tollgate-permission" = json!("policies:read"))))]
async fn validate(
    may: May<ReadPolicies>,
    State(plane): State<Shared>,
    At(id): At<String>,
    Input { value, .. }: Input<Candidate>,
) -> Result<Response, Problem> {
    let set = policies::one(&plane, &may, &named(&id)?).await?;
    let candidate = policies::candidate(&set, value.version, value.text.as_deref())?;
    let found = policies::check(&plane, candidate).await?;
    Ok(json(StatusCode::OK, serde_json::to_string(&Verdict::of(found)).unwrap_or_default()))
}

/// Cases to be tried.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicyTest)]
struct TestAsked {
    /// The version.
    version: Option<u64>,
    /// The policies, in Cedar.
    text: Option<String>,
    /// The cases: YAML or JSON, as in files of `tollgate policy test`.
    cases: String,
}

/// What cases came to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PolicyTested)]
struct TestedView {
    /// Whether all cases came out as expected.
    passed: bool,
    /// What is wrong with the policies or the cases; if there is any, nothing was tried.
    problems: Vec<String>,
    /// Each case.
    cases: Vec<CaseView>,
}

/// A case.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PolicyCase)]
struct CaseView {
    /// What it is called.
    name: String,
    /// The line on which it begins.
    line: usize,
    /// Whether it came out as expected.
    passed: bool,
    /// What did not.
    differences: Vec<DifferenceView>,
    /// Which policies decided.
    policies: Vec<String>,
}

/// What is not as expected.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PolicyDifference)]
struct DifferenceView {
    /// What.
    what: &'static str,
    /// What was expected.
    expected: String,
    /// What was found.
    found: String,
}

impl TestedView {
    fn of(Tested { problems, cases }: Tested) -> Self {
        let passed = problems.is_empty() && cases.iter().all(|case| case.differences.is_empty());
        let difference = |(what, expected, found): (&'static str, String, String)| DifferenceView {
            what,
            expected,
            found,
        };
        let case = |TestedCase { name, line, differences, policies }: TestedCase| CaseView {
            name,
            line,
            passed: differences.is_empty(),
            differences: differences.into_iter().map(difference).collect(),
            policies,
        };
        Self { passed, problems, cases: cases.into_iter().map(case).collect() }
    }
}

/// Puts cases to a version or a text, beside the policies that decide. Nothing is changed.
#[utoipa::path(post, path = "/api/v1/policy-sets/{id}/test", tag = "policies", params(("id" = String, Path)),
    request_body = TestAsked, responses((status = 200, body = TestedView)),
    extensions(("x-tollgate-permission" = json!("policies:read"))))]
async fn test(
    may: May<ReadPolicies>,
    State(plane): State<Shared>,
    At(id): At<String>,
    Input { value, .. }: Input<TestAsked>,
) -> Result<Response, Problem> {
    let set = policies::one(&plane, &may, &named(&id)?).await?;
    let candidate = policies::candidate(&set, value.version, value.text.as_deref())?;
    let tested = policies::test(&plane, candidate, value.cases).await?;
    Ok(json(StatusCode::OK, serde_json::to_string(&TestedView::of(tested)).unwrap_or_default()))
}

/// What is tried on the record.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicySimulation)]
struct SimulationAsked {
    /// The version.
    version: Option<u64>,
    /// The policies, in Cedar.
    text: Option<String>,
    /// How many days are looked back: 7 if absent, 31 at most.
    #[schema(minimum = 1, maximum = 31)]
    days: Option<u32>,
}

/// What would have been decided otherwise.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PolicySimulated)]
struct SimulatedView {
    /// How many decisions on record were looked at.
    found: u64,
    /// Those of them that could be made again.
    decided: u64,
    /// Those that would be the same.
    same: u64,
    /// Those that cannot be made again, by why.
    undecidable: Vec<CountView>,
    /// What would be denied that was allowed.
    newly_denied: ShiftView,
    /// What would be allowed that was denied.
    newly_allowed: ShiftView,
    /// What would be allowed under other obligations.
    other_obligations: ShiftView,
    /// When the first was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<String>,
    /// When the last was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
    /// Whether there is more on record than was looked at: it takes 20 seconds and 200,000 decisions at most.
    cut: bool,
}

/// How many of something.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PolicyCount)]
struct CountView {
    /// Of what.
    name: String,
    /// How many.
    count: u64,
}

/// Decisions that would be others.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PolicyShift)]
struct ShiftView {
    /// How many.
    count: u64,
    /// By tool, prompt or resource; most first, at most ten.
    by_tool: Vec<CountView>,
    /// By agent.
    by_agent: Vec<CountView>,
    /// By policy.
    by_policy: Vec<CountView>,
    /// Some of them.
    examples: Vec<ExampleView>,
}

/// A decision that would be another.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PolicyExample)]
struct ExampleView {
    /// When it was made.
    time: String,
    /// The call.
    call: String,
    /// Who called.
    agent: String,
    /// On whose behalf.
    user: String,
    /// What.
    what: String,
    /// Which policies decided.
    before: Vec<String>,
    /// Which would.
    after: Vec<String>,
}

fn counts(rows: Vec<(String, u64)>) -> Vec<CountView> {
    rows.into_iter().map(|(name, count)| CountView { name, count }).collect()
}

impl ShiftView {
    fn of(Shift { count, by_tool, by_agent, by_policy, examples }: Shift) -> Self {
        let example = |ShiftExample { time: at, call, agent, user, what, before, after }: ShiftExample| {
            ExampleView { time: time(at), call, agent, user, what, before, after }
        };
        Self {
            count,
            by_tool: counts(by_tool),
            by_agent: counts(by_agent),
            by_policy: counts(by_policy),
            examples: examples.into_iter().map(example).collect(),
        }
    }
}

impl SimulatedView {
    fn of(simulated: Simulated) -> Self {
        let undecidable = simulated.undecidable.into_iter();
        Self {
            found: simulated.found,
            decided: simulated.decided,
            same: simulated.same,
            undecidable: undecidable.map(|(why, count)| CountView { name: why.to_owned(), count }).collect(),
            newly_denied: ShiftView::of(simulated.newly_denied),
            newly_allowed: ShiftView::of(simulated.newly_allowed),
            other_obligations: ShiftView::of(simulated.other_obligations),
            first: simulated.span.map(|(first, _)| time(first)),
            last: simulated.span.map(|(_, last)| time(last)),
            cut: simulated.is_cut,
        }
    }
}

/// Makes the decisions of the last days again, as they would come out if a version or a text decided: the newest first, of this
/// gateway's record. Nothing is changed. It shows who called what, so it takes who may put it in force.
#[utoipa::path(post, path = "/api/v1/policy-sets/{id}/simulate", tag = "policies", params(("id" = String, Path)),
    request_body = SimulationAsked, responses((status = 200, body = SimulatedView)),
    extensions(("x-tollgate-permission" = json!("policies:change"))))]
async fn simulate(
    may: May<ChangePolicies>,
    State(plane): State<Shared>,
    At(id): At<String>,
    Input { value, .. }: Input<SimulationAsked>,
) -> Result<Response, Problem> {
    let set = policies::one(&plane, &may, &named(&id)?).await?;
    let candidate = policies::candidate(&set, value.version, value.text.as_deref())?;
    let simulated = policies::simulate(&plane, candidate, value.days.unwrap_or(DAYS)).await?;
    Ok(json(StatusCode::OK, serde_json::to_string(&SimulatedView::of(simulated)).unwrap_or_default()))
}
