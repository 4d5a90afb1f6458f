//! What operators see of callers who are not known.

use std::net::IpAddr;

use tollgate_telemetry::events::CallerRefused;

use crate::failure::{Failure, Why};

/// Counts a refusal, and logs it if it is news.
pub(crate) fn refused(failure: &Failure, source: IpAddr, is_news: bool) {
    CallerRefused {
        source,
        issuer: failure.issuer.as_deref().unwrap_or_default(),
        reason: failure.why.word(),
        detail: failure.detail.as_deref().unwrap_or_default(),
        // Clients find out by presenting nothing where to get a token.
        is_news: is_news && failure.why != Why::Nothing,
    }
    .emit();
}
