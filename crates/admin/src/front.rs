//! What is asked of every request before its handler: who it is, whether they may, and whether they meant it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Form, body};
use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::request::Parts;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use tollgate_model::Timestamp;

use crate::plane::Plane;
use crate::problem::Problem;
use crate::roles::{May, Operator, Permission};
use crate::service::{Owner, host_of};
use crate::{api, pages, sessions};

/// What handlers have in common.
pub(crate) type Shared = Arc<Plane>;

/// By what writes of a browser's script show that they are meant.
pub(crate) const CSRF_HEADER: &str = "x-csrf-token";

/// Nothing runs and nothing is loaded but what this listener itself serves as a file; nobody frames it; forms go here only.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Puts on what every answer has.
pub(crate) fn secure(headers: &mut HeaderMap) {
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // `no-referrer` would have browsers send forms without their origin.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    let own = HeaderValue::from_static("same-origin");
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), own.clone());
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), own);
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// Somebody who is signed in, whatever they may.
#[derive(Debug)]
pub(crate) struct Known(pub(crate) Operator);

impl FromRequestParts<Shared> for Known {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, plane: &Shared) -> Result<Self, Response> {
        let known = who(parts, plane).await.and_then(|who| api::queries::check(parts).map(|()| Self(who)));
        known.map_err(|problem| refused(parts, plane, problem))
    }
}

impl<P: Permission> FromRequestParts<Shared> for May<P> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, plane: &Shared) -> Result<Self, Response> {
        let checked = match who(parts, plane).await {
            Ok(who) => May::check(who)
                .map_err(Problem::from)
                .and_then(|may| api::queries::check(parts).map(|()| may)),
            Err(problem) => Err(problem),
        };
        checked.map_err(|problem| refused(parts, plane, problem))
    }
}

/// A form that somebody who may has sent, and meant to send.
#[derive(Debug)]
pub(crate) struct Posted<P, F> {
    pub(crate) may: May<P>,
    pub(crate) form: F,
}

impl<P: Permission, F: DeserializeOwned> FromRequest<Shared> for Posted<P, F> {
    type Rejection = Response;

    async fn from_request(request: Request, plane: &Shared) -> Result<Self, Response> {
        let (who, request) = meant(request, plane).await?;
        let may = May::check(who).map_err(|denied| pages::error(&denied.into()))?;
        let form = Form::<F>::from_request(request, plane).await;
        let Form(form) = form.map_err(|error| pages::error(&Problem::invalid(error.body_text())))?;
        Ok(Self { may, form })
    }
}

/// A form of somebody who is signed in, that they meant to send.
#[derive(Debug)]
pub(crate) struct Meant(pub(crate) Operator);

impl FromRequest<Shared> for Meant {
    type Rejection = Response;

    async fn from_request(request: Request, plane: &Shared) -> Result<Self, Response> {
        meant(request, plane).await.map(|(who, _)| Self(who))
    }
}

/// Who sends a form, if it is a form of their own session.
async fn meant(request: Request, plane: &Shared) -> Result<(Operator, Request), Response> {
    let (parts, body) = request.into_parts();
    let refuse = |problem: &Problem| pages::error(problem);
    is_own_page(&parts, plane).map_err(|problem| refuse(&problem))?;
    let found = sessions::find(plane, &parts.headers).await.map_err(|problem| refuse(&problem))?;
    let Some(who) = found else { return Err(Redirect::to("/sign-in").into_response()) };
    let bytes = body::to_bytes(body, crate::service::BODY_BYTES_MAX).await;
    let bytes = bytes.map_err(|_| refuse(&too_large()))?;
    let shown = url::form_urlencoded::parse(&bytes).find(|(name, _)| name == "csrf");
    if !shown.is_some_and(|(_, shown)| sessions::is_shown(&who, &shown)) {
        return Err(refuse(&not_meant(
            "the form is not one of your session's: go back, load the page again, and send it anew",
        )));
    }
    Ok((who, Request::from_parts(parts, body::Body::from(bytes))))
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        "the body is larger than anything that is taken here",
    )
}

fn not_meant(why: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "not_meant", why)
}

/// Who asks: by being the owner of the process, by an admin key, or by a session.
async fn who(parts: &Parts, plane: &Plane) -> Result<Operator, Problem> {
    if let Some(owner) = parts.extensions.get::<Owner>() {
        return Ok(sessions::owner(&owner.0));
    }
    if parts.headers.contains_key(AUTHORIZATION) {
        // What is presented counts, and if it is wrong nothing else does.
        let mut shown = parts.headers.get_all(AUTHORIZATION).iter();
        let (Some(one), None) = (shown.next(), shown.next()) else { return Err(Problem::signed_out()) };
        let text = one.to_str().ok().and_then(|text| text.split_once(' '));
        let key = text.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, key)| key.trim());
        let found = match key {
            Some(key) => sessions::by_key(plane, key, Timestamp::now()).await?,
            None => None,
        };
        return found.ok_or_else(Problem::signed_out);
    }
    let found = sessions::find(plane, &parts.headers).await?;
    let who = found.ok_or_else(Problem::signed_out)?;
    if !is_safe(&parts.method) {
        is_own_page(parts, plane)?;
        let shown = parts.headers.get(CSRF_HEADER).and_then(|shown| shown.to_str().ok());
        if !shown.is_some_and(|shown| sessions::is_shown(&who, shown)) {
            return Err(not_meant("a write of a browser has to show the session's token as `X-CSRF-Token`"));
        }
    }
    Ok(who)
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Refuses what a page of another origin makes a browser send. One of the two headers is there in every browser of today.
pub(crate) fn is_own_page(parts: &Parts, plane: &Plane) -> Result<(), Problem> {
    let refused = || Err(not_meant("this was sent by a page that is not one of this console"));
    let text = |name: &HeaderName| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = text(&HeaderName::from_static("sec-fetch-site"))
        && site != "same-origin"
    {
        return refused();
    }
    if let Some(origin) = text(&ORIGIN) {
        let host = host_of(&parts.headers, &parts.uri).unwrap_or_default();
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        let is_own = authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
            || origin.eq_ignore_ascii_case(&plane.base());
        if !is_own {
            return refused();
        }
    }
    Ok(())
}

/// How a refusal looks: to programs a problem; people are sent to sign in, after which they come back, or shown a page.
fn refused(parts: &Parts, plane: &Plane, problem: Problem) -> Response {
    if parts.uri.path().starts_with("/api/") {
        return problem.into_response();
    }
    if problem.status() == StatusCode::UNAUTHORIZED {
        let mut response = Redirect::to("/sign-in").into_response();
        if let Some(cookie) = sessions::remember(parts, plane.is_secure()) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        return response;
    }
    pages::error(&problem)
}

/// A body that is JSON, with its bytes.
#[derive(Debug)]
pub(crate) struct Input<T> {
    pub(crate) value: T,
    pub(crate) bytes: Bytes,
}

impl<T: DeserializeOwned> FromRequest<Shared> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Shared) -> Result<Self, Problem> {
        let kind = request.headers().get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media_type",
                "send the body as `Content-Type: application/json`",
            ));
        }
        let bytes = body::to_bytes(request.into_body(), crate::service::BODY_BYTES_MAX).await;
        let bytes = bytes.map_err(|_| too_large())?;
        // What is read would take a list for the members in their order.
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
            return Err(Problem::invalid("the body is a JSON object, and no list"));
        }
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            if error.is_data() {
                Problem::invalid(error.to_string())
            } else {
                Problem::new(StatusCode::BAD_REQUEST, "malformed", format!("the body is no JSON: {error}"))
            }
        })?;
        Ok(Self { value, bytes })
    }
}

/// Objects in a body, none of which is a list of its members in their order: that too would be read.
pub(crate) fn objects<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let found = Vec::<Object<T>>::deserialize(from)?;
    Ok(found.into_iter().map(|Object(one)| one).collect())
}

struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Members(PhantomData)).map(Self)
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}
