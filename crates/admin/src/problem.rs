//! Refusals as people and programs read them (RFC 9457).

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use tollgate_store::StoreError;
use utoipa::ToSchema;

use crate::roles::Denied;

/// The problem of whoever was overtaken by another's change.
pub(crate) const OVERTAKEN: &str = "overtaken";

/// Why something was not done.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// `about:blank`: the title says what the status means.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status, in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// A stable name of the problem.
    code: &'static str,
    /// What was wrong with this request.
    detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { kind: "about:blank", title, status: status.as_u16(), code, detail: detail.into() }
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    pub(crate) fn signed_out() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "signed_out",
            "show an admin key as `Authorization: Bearer tga_…`, or sign in",
        )
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn title(&self) -> &'static str {
        self.title
    }
}

impl From<Denied> for Problem {
    fn from(_: Denied) -> Self {
        Self::new(StatusCode::FORBIDDEN, "not_allowed", "your roles do not allow this here")
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Overtaken => Self::new(StatusCode::CONFLICT, OVERTAKEN, error.to_string()),
            StoreError::NotInLife { .. } => Self::new(StatusCode::CONFLICT, "not_in_life", error.to_string()),
            StoreError::OwnWork => Self::new(StatusCode::FORBIDDEN, "own_work", error.to_string()),
            StoreError::Full { .. } => Self::new(StatusCode::CONFLICT, "full", error.to_string()),
            StoreError::KeyTaken => Self::new(StatusCode::CONFLICT, "taken", error.to_string()),
            StoreError::NoSuchServer | StoreError::NoSuchKey => Self::not_found(error.to_string()),
            StoreError::KeyEnded | StoreError::KeyOfAnother => {
                Self::new(StatusCode::CONFLICT, "ended", error.to_string())
            }
            StoreError::TooLarge { .. } => Self::invalid(error.to_string()),
            StoreError::Unfit { .. } => Self::new(StatusCode::CONFLICT, "unfit", error.to_string()),
            error => {
                // What lies behind it may name hosts and files: that is for the log.
                tracing::warn!(%error, "the store did not do what an operator wanted");
                Self::unavailable("the store does not answer; the log says why")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tollgate-admin\""));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_race_that_is_lost_is_no_store_that_does_not_answer() {
        let overtaken = Problem::from(StoreError::Overtaken);
        assert_eq!((overtaken.status().as_u16(), overtaken.code), (409, "overtaken"));
        assert!(overtaken.detail().contains("somebody else was faster"), "{}", overtaken.detail());
        assert_eq!(Problem::from(StoreError::OwnWork).status().as_u16(), 403);
        assert_eq!(Problem::from(StoreError::Full { most: 3 }).status().as_u16(), 409);
        assert_eq!(Problem::from(StoreError::away("host db1")).status().as_u16(), 503);
    }
}
