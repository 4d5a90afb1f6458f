//! What the headers of a response say of a limit: when to come again (RFC 9110, section 10.2.3), and what the limit is
//! (`RateLimit` and `RateLimit-Policy`, draft-ietf-httpapi-ratelimit-headers-10).

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_model::{Exceeded, Limited};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Says of which limit there was too little left.
pub(crate) fn write(headers: &mut HeaderMap, exceeded: &Exceeded) {
    let seconds = write_wait(headers, exceeded.retry_after);
    // The draft has no unit for tokens or money, and no word for a pause.
    if matches!(exceeded.of, Limited::Budget | Limited::Runaway) {
        return;
    }
    let Exceeded { limit, allowed, left, .. } = exceeded;
    let unit = if exceeded.of == Limited::Concurrency { ";qu=\"concurrent-requests\"" } else { "" };
    // It counts whole seconds.
    let window = exceeded.window.map(|window| window.as_secs()).filter(|window| *window > 0);
    let window = window.map_or_else(String::new, |window| format!(";w={window}"));
    put(headers, RATE_LIMIT_POLICY, format!("\"{limit}\";q={allowed}{unit}{window}"));
    put(headers, RATE_LIMIT, format!("\"{limit}\";r={left};t={seconds}"));
}

/// Says when to come again, in whole seconds, which it gives back.
pub(crate) fn write_wait(headers: &mut HeaderMap, wait: Duration) -> u128 {
    let seconds = wait.as_nanos().div_ceil(1_000_000_000).max(1);
    put(headers, RETRY_AFTER, seconds.to_string());
    seconds
}

/// The names of limits have nothing in them that a header cannot have.
fn put(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}
