//! Policies: read, and tried out.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::policy_sets::{Line, OPERATOR};
use super::{Shell, error, hidden, page};
use crate::acts;
use crate::api::policies::{seen, try_out};
use crate::front::{Posted, Shared};
use crate::problem::Problem;
use crate::roles::{Act, May, Operator, Over, ReadPolicies, Resource};
use crate::world::{PolicyRemark, PolicyText};

const HERE: &str = "/policies";

#[derive(Debug, Template)]
#[template(path = "policies.html")]
struct PoliciesPage {
    shell: Shell,
    tenants: Vec<String>,
    policies: Vec<PolicyText>,
    sets: Vec<Line>,
    may_change: bool,
    is_everywhere: bool,
    counts: bool,
    /// Whether this gateway does not use what is stored, and why, as far as whoever looks may know.
    not_taken: Option<String>,
    tried: Option<Tried>,
    /// Why a set was not made, and what was typed of it.
    problem: Option<String>,
    draft: Draft,
}

/// A set of policies as it is typed.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Draft {
    pub(super) tenant: String,
    pub(super) name: String,
    pub(super) text: String,
    pub(super) reason: String,
}

/// What was tried out.
#[derive(Debug)]
struct Tried {
    tenant: String,
    text: String,
    usable: bool,
    remarks: Vec<PolicyRemark>,
}

async fn shown(
    plane: &Shared,
    may: &May<ReadPolicies>,
    tried: Option<Tried>,
) -> Result<PoliciesPage, Problem> {
    let configured = plane.parts()?.configured;
    let tenants = configured.tenants.iter().filter(|tenant| may.sees(Some(tenant)));
    let readable = |policy: PolicyText| PolicyText { text: hidden::in_text(&policy.text).into(), ..policy };
    Ok(PoliciesPage {
        shell: Shell::of(&may.who, HERE),
        tenants: tenants.map(|tenant| tenant.as_str().to_owned()).collect(),
        policies: seen(plane, may)?.into_iter().map(readable).collect(),
        sets: acts::policies::all(plane, may).await?.iter().map(Line::of).collect(),
        may_change: may.who.may(Resource::Policies, Act::Change),
        is_everywhere: Over::of(&may.who.grants, Resource::Policies, Act::Change) == Some(Over::All),
        counts: configured.stored_policies,
        not_taken: plane
            .snapshot()
            .not_taken
            .map(|why| if may.is_everywhere() { why } else { String::new() }),
        tried,
        problem: None,
        draft: Draft::default(),
    })
}

/// The page again for whoever typed a set that was not made: what was typed is not lost.
pub(super) async fn not_made(plane: &Shared, who: &Operator, draft: Draft, problem: &Problem) -> Response {
    let again = async {
        let may = May::<ReadPolicies>::check(who.clone())?;
        shown(plane, &may, None).await
    };
    let Ok(again) = again.await else { return error(problem) };
    let mut response = page(&PoliciesPage { problem: Some(problem.detail().to_owned()), draft, ..again });
    *response.status_mut() = problem.status();
    response
}

pub(super) async fn show(may: May<ReadPolicies>, State(plane): State<Shared>) -> Response {
    shown(&plane, &may, None).await.map_or_else(|problem| error(&problem), |shown| page(&shown))
}

#[derive(Debug, Deserialize)]
pub(super) struct Candidate {
    tenant: String,
    text: String,
}

pub(super) async fn validate(
    State(plane): State<Shared>,
    Posted { may, form }: Posted<ReadPolicies, Candidate>,
) -> Response {
    let found = async {
        let files = vec![("candidate.cedar".to_owned(), form.text.clone())];
        let remarks = try_out(&plane, &may, &form.tenant, files).await?;
        let usable = !remarks.iter().any(|remark| remark.is_error);
        let tried = Tried { tenant: form.tenant, text: form.text, usable, remarks };
        shown(&plane, &may, Some(tried)).await
    };
    found.await.map_or_else(|problem| error(&problem), |shown| page(&shown))
}
