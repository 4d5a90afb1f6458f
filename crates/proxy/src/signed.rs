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

/// What is signed with: the text as it is, or what stands behind `whsec_` in base64, as secrets are handed out for the libraries of
/// receivers.
fn key(secret: &Secret) -> hmac::Key {
    let handed_out = secret.expose().strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
    let handed_out = handed_out.filter(|key| !key.is_empty());
    hmac::Key::new(hmac::HMAC_SHA256, handed_out.as_deref().unwrap_or(secret.expose().as_bytes()))
}

/// The headers of a JSON body that is posted: `webhook-id`, `webhook-timestamp` and `webhook-signature`, the HMAC-SHA-256 of both
/// and the body.
pub(crate) fn headers(secret: &Secret, id: &str, at: Timestamp, body: &[u8]) -> HeaderMap {
    let seconds = (at.as_ms() / 1000).to_string();
    let mut signed = hmac::Context::with_key(&key(secret));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the description itself.
    #[test]
    fn a_secret_that_was_handed_out_signs_as_libraries_expect() {
        let signature = |secret: &str| {
            let (at, body) = (Timestamp::from_ms(1_614_265_330_000), br#"{"test": 2432232314}"#);
            let headers = headers(&Secret::new(secret.to_owned()), "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body);
            headers["webhook-signature"].to_str().expect("text").to_owned()
        };
        let handed_out = signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        assert_eq!(handed_out, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_ne!(
            signature("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            handed_out,
            "any other text is the key itself"
        );
    }
}
