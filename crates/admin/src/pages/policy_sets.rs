//! A set of policies that is written here: edited, tried out, put in force, and taken back.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use tollgate_store::{RuleSet, RuleVersion};

use super::policies::{Draft, not_made};
use super::{Path, Shell, error, hidden, page};
use crate::acts::policies::{self, Step};
use crate::acts::see_through;
use crate::api::policy_sets::{DAYS, id, named};
use crate::front::{Posted, Shared};
use crate::problem::Problem;
use crate::roles::{ChangePolicies, May, Operator, Permission, ReadPolicies};
use crate::world::{PolicyRemark, Shift, Simulated, Tested};

const HERE: &str = "/policies";

/// A set, as lists have it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) id: String,
    pub(super) tenant: Option<String>,
    pub(super) name: String,
    pub(super) latest: u64,
    pub(super) in_force: Option<u64>,
    pub(super) shadow: Option<u64>,
    pub(super) by: String,
    pub(super) at: String,
}

impl Line {
    pub(super) fn of(set: &RuleSet) -> Self {
        Self {
            id: id(&set.id),
            tenant: set.id.tenant.as_ref().map(|tenant| tenant.as_str().to_owned()),
            name: set.id.name.to_string(),
            latest: set.latest,
            in_force: set.in_force,
            shadow: set.shadow,
            by: set.last.by.to_string(),
            at: set.last.at.to_string(),
        }
    }
}

/// A version.
#[derive(Debug)]
struct Version {
    number: u64,
    digest: String,
    by: String,
    reason: String,
    at: String,
    text: String,
    is_in_force: bool,
    is_looking_on: bool,
}

impl Version {
    fn of(set: &RuleSet, version: &RuleVersion) -> Self {
        Self {
            number: version.number,
            digest: version.digest().to_string(),
            by: version.by.to_string(),
            reason: version.reason.to_string(),
            at: version.at.to_string(),
            text: hidden::in_text(&version.text),
            is_in_force: set.in_force == Some(version.number),
            is_looking_on: set.shadow == Some(version.number),
        }
    }
}

#[derive(Debug, Template)]
#[template(path = "policy_set.html")]
struct SetPage {
    shell: Shell,
    line: Line,
    revision: u64,
    /// The newest first.
    versions: Vec<Version>,
    /// What decided before the version that does, in words.
    before: Option<String>,
    may_change: bool,
    counts: bool,
    four_eyes: bool,
    text: String,
    cases: String,
    problem: Option<String>,
    found: Found,
}

/// What trying it out has come to.
#[derive(Debug, Default)]
struct Found {
    remarks: Option<Vec<PolicyRemark>>,
    tested: Option<Tested>,
    simulated: Option<Simulated>,
}

impl Found {
    fn usable(remarks: &[PolicyRemark]) -> bool {
        !remarks.iter().any(|remark| remark.is_error)
    }

    /// Decisions that would be others, each kind with what it is called.
    fn shifts(simulated: &Simulated) -> [(&'static str, &Shift); 3] {
        [
            ("Newly allowed", &simulated.newly_allowed),
            ("Newly denied", &simulated.newly_denied),
            ("Other obligations", &simulated.other_obligations),
        ]
    }
}

fn shown(plane: &Shared, who: &Operator, set: &RuleSet) -> Result<SetPage, Problem> {
    let configured = plane.parts()?.configured;
    let latest = set.version(set.latest).map(|version| version.text.to_string()).unwrap_or_default();
    Ok(SetPage {
        shell: Shell::of(who, HERE),
        line: Line::of(set),
        revision: set.revision,
        versions: set.versions.iter().rev().map(|version| Version::of(set, version)).collect(),
        before: set.past.last().map(|before| {
            before.map_or_else(|| "nothing in force".to_owned(), |version| format!("version {version}"))
        }),
        may_change: May::<ChangePolicies>::check(who.clone())
            .is_ok_and(|may| may.sees(set.id.tenant.as_ref())),
        counts: configured.stored_policies,
        four_eyes: configured.four_eyes,
        text: latest,
        cases: String::new(),
        problem: None,
        found: Found::default(),
    })
}

pub(super) async fn one(
    may: May<ReadPolicies>,
    State(plane): State<Shared>,
    Path(id): Path<String>,
) -> Response {
    let found = async {
        let set = policies::one(&plane, &may, &named(&id)?).await?;
        shown(&plane, &may.who, &set)
    };
    found.await.map_or_else(|problem| error(&problem), |shown| page(&shown))
}

/// Stands in the form for what is every tenant's; no tenant is called so.
pub(super) const OPERATOR: &str = "*";

pub(super) async fn create(
    State(plane): State<Shared>,
    Posted { may, form }: Posted<ChangePolicies, Draft>,
) -> Response {
    let done = async {
        let tenant = Some(form.tenant.as_str()).filter(|tenant| *tenant != OPERATOR);
        let of = policies::named(&plane, tenant, &form.name)?;
        let sure = may.over(of.tenant.as_ref())?;
        let (plane, text, reason) = (Arc::clone(&plane), form.text.clone(), form.reason.clone());
        see_through(async move { policies::create(plane, sure, of, &text, &reason).await }).await
    };
    let done = done.await;
    match done {
        Ok(set) => Redirect::to(&format!("{HERE}/sets/{}", id(&set.id))).into_response(),
        Err(problem) => not_made(&plane, &may.who, form, &problem).await,
    }
}

/// What the form of a set has.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Form {
    text: String,
    cases: String,
    reason: String,
    version: Option<String>,
    revision: u64,
}

impl Form {
    fn version(&self) -> Option<u64> {
        self.version.as_deref().and_then(|version| version.parse().ok())
    }
}

/// What is tried out of what stands in the form.
#[derive(Debug, Clone, Copy)]
enum Trial {
    Validate,
    Test,
    Simulate,
}

async fn tried_out(plane: &Shared, set: &RuleSet, form: &Form, trial: Trial) -> Result<Found, Problem> {
    let candidate = policies::candidate(set, None, Some(&form.text))?;
    let mut found = Found::default();
    match trial {
        Trial::Validate => found.remarks = Some(policies::check(plane, candidate).await?),
        Trial::Test => found.tested = Some(policies::test(plane, candidate, form.cases.clone()).await?),
        Trial::Simulate => found.simulated = Some(policies::simulate(plane, candidate, DAYS).await?),
    }
    Ok(found)
}

/// Tries out what stands in the form, and shows it with what was found.
async fn tried<P: Permission>(
    plane: Shared,
    may: May<P>,
    (id, form): (String, Form),
    trial: Trial,
) -> Response {
    let set = match named(&id) {
        Ok(of) => policies::one(&plane, &may, &of).await,
        Err(problem) => Err(problem),
    };
    let set = match set {
        Ok(set) => set,
        Err(problem) => return error(&problem),
    };
    let (found, problem) = match tried_out(&plane, &set, &form, trial).await {
        Ok(found) => (found, None),
        Err(problem) => (Found::default(), Some(problem.detail().to_owned())),
    };
    match shown(&plane, &may.who, &set) {
        Ok(shown) => page(&SetPage { text: form.text, cases: form.cases, problem, found, ..shown }),
        Err(problem) => error(&problem),
    }
}

pub(super) async fn validate(
    State(plane): State<Shared>,
    Path(id): Path<String>,
    Posted { may, form }: Posted<ReadPolicies, Form>,
) -> Response {
    tried(plane, may, (id, form), Trial::Validate).await
}

pub(super) async fn test(
    State(plane): State<Shared>,
    Path(id): Path<String>,
    Posted { may, form }: Posted<ReadPolicies, Form>,
) -> Response {
    tried(plane, may, (id, form), Trial::Test).await
}

pub(super) async fn simulate(
    State(plane): State<Shared>,
    Path(id): Path<String>,
    Posted { may, form }: Posted<ChangePolicies, Form>,
) -> Response {
    tried(plane, may, (id, form), Trial::Simulate).await
}

/// Does something with the set, and shows it again.
async fn stepped(
    plane: Shared,
    may: May<ChangePolicies>,
    (id, form): (String, Form),
    step: Step,
) -> Response {
    let is_removal = matches!(step, Step::Remove);
    let is_writing = matches!(step, Step::Write(_));
    let found = async {
        let of = named(&id)?;
        policies::one(&plane, &may, &of).await?;
        let sure = may.over(of.tenant.as_ref())?;
        Ok::<_, Problem>((of, sure))
    };
    let (of, sure) = match found.await {
        Ok(found) => found,
        Err(problem) => return error(&problem),
    };
    let (seen, reason) = (form.revision, form.reason.clone());
    let act = {
        let plane = Arc::clone(&plane);
        let fits = move |set: &RuleSet| {
            if set.revision == seen { Ok(()) } else { Err(tollgate_store::StoreError::Overtaken.into()) }
        };
        see_through(async move { policies::step(plane, sure, of, step, &reason, fits).await })
    };
    let problem = match act.await {
        Ok(_) if is_removal => return Redirect::to(HERE).into_response(),
        Ok(_) => return Redirect::to(&format!("{HERE}/sets/{id}")).into_response(),
        Err(problem) => problem,
    };
    let again = async {
        let set = policies::one(&plane, &may, &named(&id)?).await?;
        shown(&plane, &may.who, &set)
    };
    let Ok(again) = again.await else { return error(&problem) };
    // What was typed is not lost.
    let text = if is_writing { form.text } else { again.text.clone() };
    let mut response = page(&SetPage { text, problem: Some(problem.detail().to_owned()), ..again });
    *response.status_mut() = problem.status();
    response
}

pub(super) async fn write(
    State(plane): State<Shared>,
    Path(id): Path<String>,
    Posted { may, form }: Posted<ChangePolicies, Form>,
) -> Response {
    let step = Step::Write(form.text.clone());
    stepped(plane, may, (id, form), step).await
}

pub(super) async fn shadow(
    State(plane): State<Shared>,
    Path(id): Path<String>,
    Posted { may, form }: Posted<ChangePolicies, Form>,
) -> Response {
    let step = Step::Shadow(form.version());
    stepped(plane, may, (id, form), step).await
}

pub(super) async fn promote(
    State(plane): State<Shared>,
    Path(id): Path<String>,
    Posted { may, form }: Posted<ChangePolicies, Form>,
) -> Response {
    let step = Step::Promote(form.version().unwrap_or(0));
    stepped(plane, may, (id, form), step).await
}

pub(super) async fn roll_back(
    State(plane): State<Shared>,
    Path(id): Path<String>,
    Posted { may, form }: Posted<ChangePolicies, Form>,
) -> Response {
    stepped(plane, may, (id, form), Step::RollBack).await
}

pub(super) async fn withdraw(
    State(plane): State<Shared>,
    Path(id): Path<String>,
    Posted { may, form }: Posted<ChangePolicies, Form>,
) -> Response {
    stepped(plane, may, (id, form), Step::Withdraw).await
}

pub(super) async fn remove(
    State(plane): State<Shared>,
    Path(id): Path<String>,
    Posted { may, form }: Posted<ChangePolicies, Form>,
) -> Response {
    stepped(plane, may, (id, form), Step::Remove).await
}
