//! The kill switch: what is stopped, who is paused, and the forms that change it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use tollgate_model::{ServerName, TenantId};
use tollgate_store::{Blockable, Blocking, Pausing};

use super::{Shell, error, page};
use crate::acts::{self, blocks, pauses, see_through};
use crate::api::{pack, unpack};
use crate::front::{Posted, Shared};
use crate::problem::Problem;
use crate::roles::{Act, ChangeBlocks, ChangePauses, May, ReadBlocks, ReadPauses, Resource};

/// Where the page is.
const HERE: &str = "/kill-switch";

#[derive(Debug, Template)]
#[template(path = "kill.html")]
struct KillSwitch {
    shell: Shell,
    may_block: bool,
    may_pause: bool,
    /// Those over which they may do so.
    tenants: Vec<String>,
    /// Whether they may do so to what is no tenant's, too.
    is_everywhere: bool,
    blocks: Vec<Stopped>,
    pauses: Vec<Paused>,
}

#[derive(Debug)]
struct Stopped {
    id: String,
    kind: &'static str,
    tenant: String,
    name: String,
    reason: String,
    by: String,
    since: String,
    /// Whether there is such a server or tenant. Others need not be known before they come.
    is_known: bool,
}

impl Stopped {
    fn of(blocking: &Blocking, is_known: bool) -> Self {
        let (kind, whose, name) = blocking.what.parts();
        Self {
            id: pack(&[kind, &whose, &name]),
            is_known,
            kind,
            tenant: whose,
            name,
            reason: blocking.reason.to_string(),
            by: blocking.by.to_string(),
            since: blocking.since.to_string(),
        }
    }
}

#[derive(Debug)]
struct Paused {
    tenant: String,
    agent: String,
    why: String,
    until: String,
}

impl Paused {
    fn of(pausing: &Pausing) -> Self {
        Self {
            tenant: pausing.who.tenant.as_str().to_owned(),
            agent: pausing.who.agent.to_string(),
            why: pausing.why.to_string(),
            until: pausing.until.to_string(),
        }
    }
}

pub(super) async fn show(may: May<ReadBlocks>, State(plane): State<Shared>) -> Response {
    let shown = async {
        let blocks = blocks::all(&plane, &may).await?;
        let pauses = match May::<ReadPauses>::check(may.who.clone()) {
            Ok(may) => pauses::all(&plane, &may).await?,
            Err(_) => Vec::new(),
        };
        let configured = plane.parts()?.configured;
        let seen = plane.snapshot().servers.into_iter();
        let seen = seen.filter(|line| may.sees(line.server.holder().tenant()));
        let servers: Vec<ServerName> = seen.map(|line| line.server.name().clone()).collect();
        let is_known = |what: &Blockable| match what {
            Blockable::Tool { server, .. } | Blockable::Server { server, .. } => servers.contains(server),
            Blockable::Tenant { tenant } => configured.tenants.contains(tenant),
            Blockable::Agent { .. } | Blockable::User { .. } | Blockable::Key { .. } => true,
        };
        let over = May::<ChangeBlocks>::check(may.who.clone()).ok();
        let is_theirs = |tenant: &&TenantId| over.as_ref().is_some_and(|over| over.sees(Some(tenant)));
        Ok::<_, Problem>(KillSwitch {
            shell: Shell::of(&may.who, HERE),
            may_block: may.who.may(Resource::Blocks, Act::Change),
            may_pause: may.who.may(Resource::Pauses, Act::Change),
            tenants: configured
                .tenants
                .iter()
                .filter(is_theirs)
                .map(|tenant| tenant.as_str().to_owned())
                .collect(),
            is_everywhere: over.as_ref().is_some_and(May::is_everywhere),
            blocks: blocks.iter().map(|blocking| Stopped::of(blocking, is_known(&blocking.what))).collect(),
            pauses: pauses.iter().map(Paused::of).collect(),
        })
    };
    shown.await.map_or_else(|problem| error(&problem), |shown| page(&shown))
}

fn back(done: Result<(), Problem>) -> Response {
    match done {
        Ok(()) => Redirect::to(HERE).into_response(),
        Err(problem) => error(&problem),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct NewBlock {
    kind: String,
    tenant: String,
    name: String,
    reason: String,
    shown: Option<String>,
}

pub(super) async fn block(
    State(plane): State<Shared>,
    Posted { may, form }: Posted<ChangeBlocks, NewBlock>,
) -> Response {
    let done = async {
        // A key and a tenant are named without one; the form always has a choice.
        let tenant = Some(form.tenant.as_str()).filter(|_| !matches!(&*form.kind, "key" | "tenant"));
        let what = blocks::blockable(&form.kind, tenant, form.name.trim())?;
        let tenant = blocks::tenant_of(plane.store()?.as_deref(), &what).await?;
        let sure = may.over(tenant.as_ref())?;
        let plane = Arc::clone(&plane);
        see_through(async move { blocks::block(plane, sure, what, &form.reason, form.shown.is_some()).await })
            .await
            .map(drop)
    };
    back(done.await)
}

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    id: String,
    reason: Option<String>,
}

pub(super) async fn unblock(
    State(plane): State<Shared>,
    Posted { may, form }: Posted<ChangeBlocks, Which>,
) -> Response {
    let done = async {
        let parts = unpack::<3>(&form.id);
        let what = parts.and_then(|[kind, whose, name]| Blockable::from_parts(&kind, &whose, &name));
        let what = what.ok_or_else(|| Problem::not_found("nothing can have this id"))?;
        let tenant = blocks::tenant_of(plane.store()?.as_deref(), &what).await?;
        let sure = may.over(tenant.as_ref())?;
        let reason = form.reason.unwrap_or_default();
        let plane = Arc::clone(&plane);
        see_through(async move { blocks::unblock(plane, sure, what, &reason, |_| Ok(())).await }).await
    };
    back(done.await)
}

#[derive(Debug, Deserialize)]
pub(super) struct NewPause {
    tenant: String,
    agent: String,
    reason: String,
    minutes: u64,
}

pub(super) async fn pause(
    State(plane): State<Shared>,
    Posted { may, form }: Posted<ChangePauses, NewPause>,
) -> Response {
    let done = async {
        let sure = may.over(Some(&TenantId::new(&form.tenant)))?;
        let tenant = acts::tenant(&plane, &form.tenant)?;
        let who = pauses::pausable(&tenant, form.agent.trim())?;
        let seconds = form.minutes.saturating_mul(60);
        let plane = Arc::clone(&plane);
        see_through(async move { pauses::pause(plane, sure, who, &form.reason, seconds).await })
            .await
            .map(drop)
    };
    back(done.await)
}

#[derive(Debug, Deserialize)]
pub(super) struct Who {
    tenant: String,
    agent: String,
    reason: Option<String>,
}

pub(super) async fn resume(
    State(plane): State<Shared>,
    Posted { may, form }: Posted<ChangePauses, Who>,
) -> Response {
    let done = async {
        let tenant = TenantId::new(&form.tenant);
        let sure = may.over(Some(&tenant))?;
        let who = pauses::pausable(&tenant, &form.agent)?;
        let reason = form.reason.unwrap_or_default();
        let plane = Arc::clone(&plane);
        see_through(async move { pauses::resume(plane, sure, who, &reason).await }).await
    };
    back(done.await)
}
