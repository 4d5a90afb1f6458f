//! Policies: read, and tried out.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use tollgate_model::TenantId;
use utoipa::ToSchema;

use super::{Tagged, json, tagged};
use crate::front::{Input, Shared};
use crate::plane::Plane;
use crate::problem::Problem;
use crate::roles::{May, Permission, ReadPolicies};
use crate::world::{PolicyRemark, PolicyText};

/// How many files are tried out at once.
const FILES_MAX: usize = 100;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/api/v1/policies", get(list)).route("/api/v1/policies/validate", post(validate))
}

/// A file of policies.
#[derive(Debug, Serialize, ToSchema)]
struct PolicyView {
    /// Whose callers it is about; absent: the operator's forbids for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// The file.
    path: String,
    /// Whether it only looks on.
    shadow: bool,
    /// Where it comes from: `file`. What is written here is in `/api/v1/policy-sets`.
    origin: &'static str,
    /// Its text.
    text: String,
}

/// The policies that whoever asks may see.
pub(crate) fn seen<P: Permission>(plane: &Plane, may: &May<P>) -> Result<Vec<PolicyText>, Problem> {
    let configured = plane.parts()?.configured;
    Ok(configured.policies.iter().filter(|policy| may.sees(policy.tenant.as_ref())).cloned().collect())
}

/// Lists the policies.
#[utoipa::path(get, path = "/api/v1/policies", tag = "policies", params(Tagged),
    responses((status = 200, body = Vec<PolicyView>)),
    extensions(("x-tollgate-permission" = json!("policies:read"))))]
async fn list(
    may: May<ReadPolicies>,
    State(plane): State<Shared>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let shown = seen(&plane, &may)?.into_iter().map(|policy| PolicyView {
        tenant: policy.tenant.map(|tenant| tenant.as_str().to_owned()),
        path: policy.path.to_string(),
        shadow: policy.is_shadow,
        origin: "file",
        text: policy.text.to_string(),
    });
    Ok(tagged(&headers, &shown.collect::<Vec<_>>()))
}

/// Policies to be tried out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Tried {
    /// Whose policies they would be.
    tenant: String,
    /// The files, in the place of those that the tenant has.
    #[serde(deserialize_with = "crate::front::objects")]
    files: Vec<TriedFile>,
}

/// A file of policies to be tried out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TriedFile {
    /// How messages name it.
    path: String,
    /// Its text.
    text: String,
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Verdict {
    /// Whether they could be used.
    usable: bool,
    /// What is to be said of them.
    findings: Vec<RemarkView>,
}

impl Verdict {
    pub(super) fn of(remarks: Vec<PolicyRemark>) -> Self {
        let view = |remark: PolicyRemark| RemarkView {
            level: if remark.is_error { "error" } else { "warning" },
            path: remark.path.to_string(),
            line: remark.line,
            column: remark.column,
            message: remark.message,
            suggestion: remark.suggestion,
        };
        let usable = !remarks.iter().any(|remark| remark.is_error);
        Self { usable, findings: remarks.into_iter().map(view).collect() }
    }
}

/// Something that is to be said of a policy.
#[derive(Debug, Serialize, ToSchema)]
struct RemarkView {
    /// `error` or `warning`.
    level: &'static str,
    /// The file.
    path: String,
    /// The line, from 1.
    line: u32,
    /// The column, from 1.
    column: u32,
    /// What is wrong.
    message: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<String>,
}

/// Says what would be found of policies. Nothing is changed.
#[utoipa::path(post, path = "/api/v1/policies/validate", tag = "policies", request_body = Tried,
    responses((status = 200, body = Verdict)),
    extensions(("x-tollgate-permission" = json!("policies:read"))))]
async fn validate(
    may: May<ReadPolicies>,
    State(plane): State<Shared>,
    Input { value: tried, .. }: Input<Tried>,
) -> Result<Response, Problem> {
    let files = tried.files.into_iter().map(|file| (file.path, file.text)).collect();
    let remarks = try_out(&plane, &may, &tried.tenant, files).await?;
    let shown = Verdict::of(remarks);
    Ok(json(http::StatusCode::OK, serde_json::to_string(&shown).unwrap_or_default()))
}

/// What would be found of these files, as the policies of a tenant that whoever asks may see.
pub(crate) async fn try_out<P: Permission>(
    plane: &Arc<Plane>,
    may: &May<P>,
    tenant: &str,
    files: Vec<(String, String)>,
) -> Result<Vec<PolicyRemark>, Problem> {
    if !may.sees(Some(&TenantId::new(tenant))) {
        return Err(crate::roles::Denied.into());
    }
    let tenant = crate::acts::tenant(plane, tenant)?;
    if files.len() > FILES_MAX {
        return Err(Problem::invalid(format!("files: more than {FILES_MAX}")));
    }
    let text = |(path, text): (String, String)| PolicyText {
        tenant: Some(tenant.clone()),
        path: path.into(),
        text: text.into(),
        is_shadow: false,
    };
    let texts = files.into_iter().map(text).collect();
    let world = Arc::clone(plane);
    let trial = async move { world.world().try_policies(&tenant, texts).await.map_err(Problem::unavailable) };
    crate::acts::tried(plane, trial).await
}
