//! Tenants: what each has, may, and uses.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::{Shell, error, page};
use crate::api::tenants::{TenantView, all};
use crate::front::Shared;
use crate::roles::{Act, May, Operator, ReadTenants, Resource};

const HERE: &str = "/tenants";

#[derive(Debug, Template)]
#[template(path = "tenants.html")]
struct Tenants {
    shell: Shell,
    all: Vec<TenantView>,
    who: Operator,
}

impl Tenants {
    /// Whether whoever looks at it may go on there.
    fn sees_approvals(&self) -> bool {
        self.who.may(Resource::Approvals, Act::Read)
    }

    fn sees_keys(&self) -> bool {
        self.who.may(Resource::Keys, Act::Read)
    }

    fn sees_calls(&self) -> bool {
        self.who.may(Resource::Ledger, Act::Read)
    }

    fn sees_findings(&self) -> bool {
        self.who.may(Resource::Findings, Act::Read)
    }
}

pub(super) async fn show(may: May<ReadTenants>, State(plane): State<Shared>) -> Response {
    match all(&plane, &may).await {
        Ok(tenants) => {
            page(&Tenants { shell: Shell::of(&may.who, HERE), all: tenants, who: may.who.clone() })
        }
        Err(problem) => error(&problem),
    }
}
