//! `/api/v1`: what programs, and the command line, administer by. What it can do stands in its OpenAPI document, which is made
//! from the handlers.

#![allow(unused_qualifications, reason = "the macro that describes handlers writes them")]

mod about;
mod access;
mod approvals;
mod blocks;
mod document;
mod events;
pub(crate) mod findings;
mod heeded;
mod keys;
pub(crate) mod ledger;
mod pauses;
pub(crate) mod pins;
pub(crate) mod policies;
pub(crate) mod policy_sets;
pub(crate) mod queries;
pub(crate) mod registered;
pub(crate) mod servers;
pub(crate) mod tenants;
pub(crate) mod usage;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Path, Query};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderName, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_model::Timestamp;
use tollgate_store::{Digest, Once};
use utoipa::{IntoParams, ToSchema};

use crate::acts;
use crate::front::Shared;
use crate::plane::Plane;
use crate::problem::{OVERTAKEN, Problem};
use crate::roles::Operator;
use heeded::{Repeatable, Tagged};

pub use document::openapi_json;
pub use policy_sets::{policy_set_json, simulated_json, tested_json, verdict_json};

/// How many things a list gives at once.
const LIMIT: usize = 100;
/// How many it can be asked for.
const LIMIT_MAX: usize = 1000;
/// The longest key of a request that is to be carried out once.
const ONCE_BYTES_MAX: usize = 255;

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .merge(about::routes())
        .merge(access::routes())
        .merge(approvals::routes())
        .merge(blocks::routes())
        .merge(document::routes())
        .merge(events::routes())
        .merge(findings::routes())
        .merge(keys::routes())
        .merge(ledger::routes())
        .merge(pauses::routes())
        .merge(pins::routes())
        .merge(policies::routes())
        .merge(registered::routes())
        .merge(policy_sets::routes())
        .merge(servers::routes())
        .merge(tenants::routes())
        .merge(usage::routes())
        .route("/api/v1/{*rest}", any(nothing))
        .method_not_allowed_fallback(method)
}

#[allow(clippy::unused_async, reason = "handlers are")]
async fn nothing() -> Problem {
    Problem::not_found("there is nothing here; /api/v1/openapi.json says what there is")
}

/// A method that a path does not have.
#[allow(clippy::unused_async, reason = "handlers are")]
async fn method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "not with this method; /api/v1/openapi.json says with which",
    )
}

/// Which part of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// What the page before gave as `next`.
    pub(crate) after: Option<String>,
    /// How many at most: 100 if not said.
    #[param(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<usize>,
}

impl Paging {
    fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(LIMIT);
        if (1..=LIMIT_MAX).contains(&limit) {
            Ok(limit)
        } else {
            Err(Problem::invalid(format!("limit: from 1 to {LIMIT_MAX}")))
        }
    }

    /// The page of what is all there, in the order of its cursors.
    fn cut<T>(&self, all: Vec<T>, cursor: impl Fn(&T) -> String) -> Result<Page<T>, Problem> {
        let limit = self.limit()?;
        let from = match &self.after {
            None => 0,
            Some(after) => {
                let at = all.iter().position(|one| cursor(one) == *after);
                // What is gone meanwhile has nothing to go on behind; the beginning is no answer to that.
                at.ok_or_else(|| Problem::invalid("after: nothing of this name is in the list any more"))? + 1
            }
        };
        let mut items: Vec<T> = all.into_iter().skip(from).take(limit + 1).collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = more.then(|| items.last().map(&cursor)).flatten();
        Ok(Page { items, next })
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// What is on it.
    pub(crate) items: Vec<T>,
    /// What to ask for as `after` to have the next; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// A query; what is wrong with it is a problem.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, plane: &Shared) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, plane).await;
        query.map(|Query(query)| Self(query)).map_err(|error| Problem::invalid(error.body_text()))
    }
}

/// What stands in a path; what is wrong with it is a problem.
#[derive(Debug)]
pub(crate) struct At<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, plane: &Shared) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, plane).await;
        path.map(|Path(path)| Self(path)).map_err(|error| {
            Problem::new(StatusCode::BAD_REQUEST, "malformed", format!("the path: {}", error.body_text()))
        })
    }
}

/// Something as JSON, with the tag by which it is known again.
fn tagged(headers: &HeaderMap, value: &impl Serialize) -> Response {
    let body = serde_json::to_string(value).unwrap_or_default();
    let tag = tag(&body);
    let is_known = joined(headers, IF_NONE_MATCH).is_some_and(|known| {
        known.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
    });
    let mut response =
        if is_known { StatusCode::NOT_MODIFIED.into_response() } else { json(StatusCode::OK, body) };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}

/// All lines of a header as one: a list may come in several.
fn joined(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or_default());
    let lines: Vec<&str> = lines.collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

fn tag(body: &str) -> String {
    format!("\"{}\"", &Digest::of([body.as_bytes()]).to_string()[..32])
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// What somebody has seen of something that they now change (`If-Match`). Without it they change whatever is there.
#[derive(Debug, Clone)]
struct Seen(Option<String>);

impl Seen {
    fn of(headers: &HeaderMap) -> Self {
        Self(joined(headers, IF_MATCH))
    }

    /// Refuses what is another by now.
    fn fits(&self, now: &impl Serialize) -> Result<(), Problem> {
        let Some(seen) = &self.0 else { return Ok(()) };
        let tag = tag(&serde_json::to_string(now).unwrap_or_default());
        if seen.split(',').map(str::trim).any(|seen| seen == "*" || seen == tag) {
            return Ok(());
        }
        Err(changed())
    }

    /// What became of an act that another gateway's came before: it is checked with the change itself, so that of two who have seen
    /// the same one is told.
    fn overtaken(headers: &HeaderMap) -> impl FnOnce(Problem) -> Problem + Send + use<> {
        let is_seen = headers.contains_key(IF_MATCH);
        move |problem| if is_seen && problem.code() == OVERTAKEN { changed() } else { problem }
    }
}

fn changed() -> Problem {
    let text = "it is not what you have seen any more: look at it anew";
    Problem::new(StatusCode::PRECONDITION_FAILED, "changed", text)
}

/// What an act has made: how it is answered, and what of that is kept for whoever asks again.
#[derive(Debug)]
struct Made {
    status: StatusCode,
    body: Value,
    kept: Value,
}

impl Made {
    fn new(status: StatusCode, body: &impl Serialize) -> Self {
        let body = serde_json::to_value(body).unwrap_or_default();
        Self { status, kept: body.clone(), body }
    }

    fn response(&self) -> Response {
        match self.status {
            StatusCode::NO_CONTENT => self.status.into_response(),
            status => json(status, self.body.to_string()),
        }
    }
}

/// By what a request is known that is to be carried out once, however often it is sent.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Carries out an act, to its end; with an `Idempotency-Key` once.
async fn once(
    plane: &Arc<Plane>,
    who: &Operator,
    headers: &HeaderMap,
    (what, bytes): (&str, &[u8]),
    act: impl Future<Output = Result<Made, Problem>> + Send + 'static,
) -> Response {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else {
        return acts::see_through(act).await.map_or_else(Problem::into_response, |made| made.response());
    };
    let is_one = keys.next().is_none() && (1..=ONCE_BYTES_MAX).contains(&key.len());
    if !is_one || !key.as_bytes().iter().all(u8::is_ascii_graphic) {
        return Problem::invalid("Idempotency-Key: one, of 1 to 255 visible characters").into_response();
    }
    let key = Digest::of([who.by.as_bytes(), what.as_bytes(), key.as_bytes()]);
    let request = Digest::of([what.as_bytes(), bytes]);
    let conflict = |detail: &str| Problem::new(StatusCode::CONFLICT, "repeated", detail).into_response();
    let begun = async {
        Ok::<_, Problem>((
            plane.make_store()?.begin_once(&key, &request, Timestamp::now()).await?,
            plane.make_store()?,
        ))
    };
    let (begun, store) = match begun.await {
        Ok(begun) => begun,
        Err(problem) => return problem.into_response(),
    };
    match begun {
        Once::Begun => {}
        Once::UnderWay => return conflict("a request of this Idempotency-Key is under way"),
        Once::Another => return conflict("another request had this Idempotency-Key"),
        Once::Answered { status, body } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            let mut response = match status {
                StatusCode::NO_CONTENT => status.into_response(),
                status => json(status, body.to_string()),
            };
            response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
            return response;
        }
    }
    let done = acts::see_through(async move {
        let made = act.await;
        let kept = made.as_ref().ok().map(|made| (made.status.as_u16(), made.kept.to_string()));
        let ended = store.end_once(&key, kept.as_ref().map(|(status, body)| (*status, body.as_str()))).await;
        if let Err(error) = ended {
            tracing::warn!(%error, "what was answered to a request is not kept");
        }
        made
    });
    done.await.map_or_else(Problem::into_response, |made| made.response())
}

/// Something's name in a path, from its parts; and as a cursor.
pub fn pack(parts: &[&str]) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_string(parts).unwrap_or_default())
}

/// The parts of such a name. Nothing is called by a NUL, and not every database can be asked for it.
pub(crate) fn unpack<const N: usize>(text: &str) -> Option<[String; N]> {
    let parts: Vec<String> = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    if parts.iter().any(|part| part.contains('\0')) {
        return None;
    }
    parts.try_into().ok()
}

fn time(time: Timestamp) -> String {
    time.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths_come_back_as_they_went() {
        let packed = pack(&["tool", "", "crm/ü \"x\""]);
        assert!(packed.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{packed}");
        assert_eq!(unpack::<3>(&packed), Some(["tool".to_owned(), String::new(), "crm/ü \"x\"".to_owned()]));
        assert_eq!(unpack::<2>(&packed), None);
        assert_eq!(unpack::<3>("%"), None);
        assert_eq!(unpack::<1>(&pack(&["a\0"])), None);
    }

    #[test]
    fn pages_follow_each_other_without_a_gap() {
        let paging =
            |after: Option<&str>, limit| Paging { after: after.map(str::to_owned), limit: Some(limit) };
        let all = || vec!["a", "b", "c"];
        let of = |paging: Paging| paging.cut(all(), |one| (*one).to_owned()).expect("a page");
        let first = of(paging(None, 2));
        assert_eq!((first.items, first.next.as_deref()), (vec!["a", "b"], Some("b")));
        let second = of(paging(Some("b"), 2));
        assert_eq!((second.items, second.next), (vec!["c"], None));
        assert_eq!(of(paging(None, 3)).next, None, "no empty page behind the last");
        assert!(paging(Some("x"), 2).cut(all(), |one| (*one).to_owned()).is_err());
        assert!(paging(None, 0).cut(all(), |one| (*one).to_owned()).is_err());
    }
}
