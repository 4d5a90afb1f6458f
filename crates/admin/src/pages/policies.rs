//! Policies: read, and tried out.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::{Shell, error, page};
use crate::api::policies::{seen, try_out};
use crate::front::{Posted, Shared};
use crate::problem::Problem;
use crate::roles::{May, ReadPolicies};
use crate::world::{PolicyRemark, PolicyText};

const HERE: &str = "/policies";

#[derive(Debug, Template)]
#[template(path = "policies.html")]
struct PoliciesPage {
    shell: Shell,
    tenants: Vec<String>,
    policies: Vec<PolicyText>,
    tried: Option<Tried>,
}

/// What was tried out.
#[derive(Debug)]
struct Tried {
    tenant: String,
    text: String,
    usable: bool,
    remarks: Vec<PolicyRemark>,
}

fn shown(plane: &Shared, may: &May<ReadPolicies>, tried: Option<Tried>) -> Result<PoliciesPage, Problem> {
    let configured = plane.parts()?.configured;
    let tenants = configured.tenants.iter().filter(|tenant| may.sees(Some(tenant)));
    Ok(PoliciesPage {
        shell: Shell::of(&may.who, HERE),
        tenants: tenants.map(|tenant| tenant.as_str().to_owned()).collect(),
        policies: seen(plane, may)?,
        tried,
    })
}

pub(super) async fn show(may: May<ReadPolicies>, State(plane): State<Shared>) -> Response {
    shown(&plane, &may, None).map_or_else(|problem| error(&problem), |shown| page(&shown))
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
        shown(&plane, &may, Some(tried))
    };
    found.await.map_or_else(|problem| error(&problem), |shown| page(&shown))
}
