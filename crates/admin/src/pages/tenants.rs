//! Tenants: what each has, may, and uses.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::{Shell, error, page};
use crate::api::tenants::{TenantView, all};
use crate::front::Shared;
use crate::roles::{Act, May, ReadTenants, Resource};

const HERE: &str = "/tenants";

#[derive(Debug, Template)]
#[template(path = "tenants.html")]
struct Tenants {
    shell: Shell,
    tenants: Vec<TenantView>,
    sees_approvals: bool,
    sees_keys: bool,
    sees_calls: bool,
    sees_findings: bool,
}

pub(super) async fn show(may: May<ReadTenants>, State(plane): State<Shared>) -> Response {
    let sees = |what| may.who.may(what, Act::Read);
    match all(&plane, &may).await {
        Ok(tenants) => page(&Tenants {
            shell: Shell::of(&may.who, HERE),
            tenants,
            sees_approvals: sees(Resource::Approvals),
            sees_keys: sees(Resource::Keys),
            sees_calls: sees(Resource::Ledger),
            sees_findings: sees(Resource::Findings),
        }),
        Err(problem) => error(&problem),
    }
}
