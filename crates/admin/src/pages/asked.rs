//! What stands in the address of a page. What is wrong with it is said on a page too.

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::error;
use crate::front::Shared;
use crate::problem::Problem;

/// A query.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Query<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, plane: &Shared) -> Result<Self, Response> {
        let found = axum::extract::Query::<T>::from_request_parts(parts, plane).await;
        found.map(|axum::extract::Query(query)| Self(query)).map_err(|why| refused(why.body_text()))
    }
}

/// A part of the path.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for Path<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, plane: &Shared) -> Result<Self, Response> {
        let found = axum::extract::Path::<T>::from_request_parts(parts, plane).await;
        found.map(|axum::extract::Path(path)| Self(path)).map_err(|why| refused(why.body_text()))
    }
}

fn refused(why: String) -> Response {
    error(&Problem::new(StatusCode::BAD_REQUEST, "malformed", why))
}
