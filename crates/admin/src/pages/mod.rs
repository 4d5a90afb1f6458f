//! The console: pages made here, from templates in the binary. Whatever servers, agents and callers wrote is escaped by the
//! templates, and no page has a script or a style of its own.

mod access;
mod activity;
mod approvals;
mod asked;
mod assets;
mod calls;
mod chart;
mod findings;
mod hidden;
mod kill;
mod overview;
mod pins;
mod policies;
mod policy_sets;
mod registering;
mod review;
mod servers;
mod settings;
mod shell;
mod tenants;
mod usage;

use askama::Template;
use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode, Uri};

use crate::front::Shared;
use crate::problem::Problem;

use asked::Path;

pub(crate) use asked::Query;
pub(crate) use shell::Shell;

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/", get(overview::show))
        .route("/servers", get(servers::show))
        .route("/servers/{name}", get(servers::one).post(servers::act))
        .route("/servers-new", get(registering::begin).post(registering::register))
        .route("/servers-import", get(registering::begin_import).post(registering::import))
        .route("/review", get(review::show).post(review::say))
        .route("/calls", get(calls::show))
        .route("/calls/{call}", get(calls::one))
        .route("/approvals", get(approvals::show_all))
        .route("/approvals/{id}", get(approvals::one).post(approvals::say))
        .route("/pins", get(pins::show))
        .route("/pins/{id}", get(pins::one).post(pins::approve))
        .route("/policies", get(policies::show))
        .route("/policies/validate", post(policies::validate))
        .route("/policies/sets", post(policy_sets::create))
        .route("/policies/sets/{id}", get(policy_sets::one))
        .route("/policies/sets/{id}/validate", post(policy_sets::validate))
        .route("/policies/sets/{id}/test", post(policy_sets::test))
        .route("/policies/sets/{id}/simulate", post(policy_sets::simulate))
        .route("/policies/sets/{id}/write", post(policy_sets::write))
        .route("/policies/sets/{id}/shadow", post(policy_sets::shadow))
        .route("/policies/sets/{id}/promote", post(policy_sets::promote))
        .route("/policies/sets/{id}/roll-back", post(policy_sets::roll_back))
        .route("/policies/sets/{id}/withdraw", post(policy_sets::withdraw))
        .route("/policies/sets/{id}/remove", post(policy_sets::remove))
        .route("/tenants", get(tenants::show))
        .route("/findings", get(findings::show))
        .route("/access", get(access::show))
        .route("/access/keys", post(access::create))
        .route("/access/keys/revoke", post(access::revoke_key))
        .route("/access/revocations", post(access::revoke))
        .route("/access/revocations/remove", post(access::reinstate))
        .route("/access/admin-keys", post(access::create_admin))
        .route("/access/admin-keys/revoke", post(access::revoke_admin))
        .route("/usage", get(usage::show))
        .route("/settings", get(settings::show))
        .route("/settings/verify", post(settings::verify))
        .route("/kill-switch", get(kill::show))
        .route("/kill-switch/block", post(kill::block))
        .route("/kill-switch/unblock", post(kill::unblock))
        .route("/kill-switch/pause", post(kill::pause))
        .route("/kill-switch/resume", post(kill::resume))
        .route("/assets/console.css", get(assets::style))
        .route("/assets/console.js", get(assets::script))
        .route("/assets/icon.svg", get(assets::icon))
        .method_not_allowed_fallback(above)
}

/// Where only forms are sent to there is nothing to read. Whoever comes there all the same, since the page that a form has made
/// stands at that address, is led to the page above it, which has the form.
#[allow(clippy::unused_async, reason = "handlers are")]
pub(crate) async fn above(method: Method, uri: Uri) -> Response {
    if !matches!(method, Method::GET | Method::HEAD) {
        return error(&Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "Nothing can be sent there."));
    }
    let above = uri.path().rsplit_once('/').map_or("", |(above, _)| above);
    Redirect::to(if above.is_empty() { "/" } else { above }).into_response()
}

/// The ways in.
#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
pub(crate) struct SignInPage {
    pub(crate) has_oidc: bool,
    pub(crate) has_link: bool,
    pub(crate) secret: Option<String>,
    pub(crate) problem: Option<String>,
}

#[derive(Debug, Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    title: &'a str,
    detail: &'a str,
}

/// A page as it is sent.
pub(crate) fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => {
            let kind = HeaderValue::from_static("text/html; charset=utf-8");
            ([(CONTENT_TYPE, kind)], html).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a page cannot be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// What people call a status.
fn title(problem: &Problem) -> &str {
    match problem.status() {
        StatusCode::BAD_REQUEST => "This address means nothing",
        StatusCode::UNAUTHORIZED => "Sign in first",
        StatusCode::FORBIDDEN => "You may not do this",
        StatusCode::NOT_FOUND => "There is nothing here",
        StatusCode::CONFLICT | StatusCode::METHOD_NOT_ALLOWED => "This was not done",
        StatusCode::PRECONDITION_FAILED => "It has changed meanwhile",
        StatusCode::PAYLOAD_TOO_LARGE => "This is too much",
        StatusCode::UNPROCESSABLE_ENTITY => "Something is not right yet",
        StatusCode::SERVICE_UNAVAILABLE => "This cannot be done just now",
        _ => problem.title(),
    }
}

/// A refusal, as people read it.
pub(crate) fn error(problem: &Problem) -> Response {
    let mut response = page(&ErrorPage { title: title(problem), detail: problem.detail() });
    *response.status_mut() = problem.status();
    response
}
