//! What is signed as Standard Webhooks describe it (<https://github.com/standard-webhooks/standard-webhooks>).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac;
use tollgate_model::{Secret, Timestamp};

/// An id that nobody can guess.
pub(crate) fn id() -> String {
    let random = ring::rand::SystemRandom::new();
    let id = ring::rand::generate::<[u8; 12]>(&random).map(ring::rand::Random::expose).unwrap_or_default();
    format!("msg_{}", URL_SAFE_NO_PAD.encode(id))
}

/// The headers of a JSON body that is posted: `webhook-id`, `webhook-timestamp` and `webhook-signature`, the HMAC-SHA-256 of both
/// and the body.
pub(crate) fn headers(secret: &Secret, id: &str, at: Timestamp, body: &[u8]) -> HeaderMap {
    let seconds = (at.as_ms() / 1000).to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let mut signed = hmac::Context::with_key(&key);
    for part in [id.as_bytes(), b".", seconds.as_bytes(), b".", body] {
        signed.update(part);
    }
    let signature = format!("v1,{}", STANDARD.encode(signed.sign()));
    let said =
        [("webhook-id", id.to_owned()), ("webhook-timestamp", seconds), ("webhook-signature", signature)];
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in said {
        // Digits, letters and signs of base64.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers
}
