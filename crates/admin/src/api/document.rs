//! The OpenAPI document, made from the handlers.

use std::collections::BTreeMap;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::{
    about, access, approvals, blocks, events, findings, heeded, json, keys, ledger, pauses, pins, policies,
    policy_sets, registered, servers, tenants, usage,
};
use crate::front::Shared;
use crate::problem::Problem;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/api/v1/openapi.json", get(document))
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tollgate administration",
        version = "1",
        description = "What programs administer a Tollgate by. Send an admin key as `Authorization: Bearer tga_…`. Each \
            operation names the permission that it needs as `x-tollgate-permission`; roles give permissions in a tenant or in \
            all. Refusals are problems (RFC 9457).",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        about::whoami, about::overview, about::settings,
        access::list_keys, access::one_key, access::create_key, access::revoke_key,
        access::list, access::revoke, access::reinstate,
        approvals::list, approvals::one, approvals::approve, approvals::deny,
        blocks::list, blocks::one, blocks::block, blocks::unblock,
        events::events,
        keys::list, keys::one, keys::create, keys::rotate, keys::revoke,
        ledger::search, ledger::call, ledger::verify,
        pauses::list, pauses::pause, pauses::resume,
        pins::list, pins::one, pins::approve, pins::forget,
        policies::list, policies::validate,
        servers::list, servers::one, servers::tools,
        registered::register, registered::one, registered::edit, registered::submit, registered::review,
        registered::approve, registered::reject, registered::deprecate, registered::share, registered::roll_back,
        registered::retire, registered::import, registered::callers,
        policy_sets::list, policy_sets::one, policy_sets::create, policy_sets::write, policy_sets::remove,
        policy_sets::validate, policy_sets::test, policy_sets::simulate, policy_sets::shadow, policy_sets::promote,
        policy_sets::roll_back, policy_sets::withdraw,
        tenants::list,
        findings::list, findings::sums,
        usage::usage, usage::limits,
    ),
    components(schemas(Problem, events::ChangeEvent)),
    modifiers(&Common),
    security(("adminKey" = []), ("session" = [])),
)]
struct Api;

/// What all operations have in common.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let key = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("tga_…")
            .description(Some("An admin key: `tollgate admin-keys create` makes one."));
        components.add_security_scheme("adminKey", SecurityScheme::Http(key.build()));
        let cookie = ApiKeyValue::with_description(
            "__Host-tollgate",
            "The session of a browser. Writes show its token as `X-CSRF-Token`; `/api/v1/whoami` says it.",
        );
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        for item in document.paths.paths.values_mut() {
            let all = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete, &mut item.patch];
            for operation in all.into_iter().flatten() {
                heeded::answers(operation);
                refusals(operation);
            }
        }
    }
}

/// How operations are refused.
fn refusals(operation: &mut Operation) {
    let is_another = ("412", "It is not what was seen (`If-Match`) any more");
    let is_another = heeded::heeds(operation, heeded::IF_MATCH).then_some(is_another);
    for (status, description) in [
        ("400", "The request is malformed"),
        ("401", "Nobody is signed in, or the key is none"),
        ("403", "The roles of whoever asks do not allow it, or a browser's request was not meant"),
        ("404", "There is no such thing, or whoever asks may not know of it"),
        ("408", "The request, or its answer, took too long"),
        ("409", "It is there already, has ended, or another request has the same `Idempotency-Key`"),
        ("413", "The body is too large"),
        ("415", "The body is no JSON"),
        ("422", "What was sent means nothing here"),
        ("503", "The gateway is starting, or the store does not answer, or nothing can be put on record"),
    ]
    .into_iter()
    .chain(is_another)
    {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().description(description);
        let response = response.content("application/problem+json", content).build();
        operation.responses.responses.entry(status.to_owned()).or_insert(RefOr::T(response));
    }
}

/// By path, the methods that there are, and what the query of each may name.
pub(super) type Queries = BTreeMap<String, Vec<(&'static str, Vec<String>)>>;

/// What queries may name.
pub(super) fn queries() -> Queries {
    let named = |operation: Operation| {
        let parameters = operation.parameters.into_iter().flatten();
        let of_query = parameters.filter_map(|one| match one {
            RefOr::T(one) if one.parameter_in == ParameterIn::Query => Some(one.name),
            _ => None,
        });
        of_query.collect::<Vec<_>>()
    };
    let of_path = |item: PathItem| {
        let all = [("GET", item.get), ("POST", item.post), ("PUT", item.put), ("DELETE", item.delete)];
        let some = all.into_iter().filter_map(|(method, operation)| Some((method, named(operation?))));
        some.collect::<Vec<_>>()
    };
    Api::openapi().paths.paths.into_iter().map(|(path, item)| (path, of_path(item))).collect()
}

/// The document, as it is kept in `docs/reference/openapi.json`.
pub fn openapi_json() -> String {
    let mut text = Api::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

async fn document() -> Response {
    json(StatusCode::OK, openapi_json())
}
