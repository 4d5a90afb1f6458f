//! OTLP over HTTP.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{StatusCode, Uri};
use tollgate_egress::{Egress, EgressError, EgressSettings};
use tollgate_model::Timestamp;
use url::Url;

use super::client::Failure;
use super::endpoint::{Endpoint, OtlpError};

/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How much of an answer's text is shown.
const SHOWN_CHARS_MAX: usize = 200;

#[derive(Debug, Clone)]
pub(super) struct Sender {
    egress: Egress,
    url: Url,
    headers: HeaderMap,
}

impl Sender {
    pub(super) fn new(endpoint: &Endpoint) -> Result<Self, OtlpError> {
        // The address is the operator's own: receivers are mostly on this machine or beside it.
        let egress = Egress::new(&EgressSettings {
            allow_private: true,
            allow_plain: endpoint.url.scheme() == "http",
            ca_pem: endpoint.ca_pem.clone(),
            connect_timeout: endpoint.timeout,
            timeout: endpoint.timeout,
            body_bytes_max: ANSWER_BYTES_MAX,
        })?;
        let unusable =
            |reason: &str| OtlpError::Unusable { url: endpoint.shown(), reason: reason.to_owned() };
        if endpoint.certificate.is_some() {
            return Err(unusable("a client certificate is shown by gRPC only"));
        }
        if endpoint.url.as_str().parse::<Uri>().is_err() {
            return Err(unusable("it is no address"));
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        for (name, value) in &endpoint.headers {
            let wrong = || OtlpError::Header(name.clone());
            let key: HeaderName = name.parse().map_err(|_| wrong())?;
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        Ok(Self { egress, url: endpoint.url.clone(), headers })
    }

    pub(super) async fn send(&self, request: Bytes) -> Result<Bytes, Failure> {
        let reply = match self.egress.post(&self.url, self.headers.clone(), request).await {
            Ok(reply) => reply,
            // Settled by the address alone.
            Err(error @ EgressError::NotAllowed { .. }) => {
                return Err(Failure::Never { reason: error.to_string() });
            }
            Err(error) => return Err(Failure::again(error.to_string())),
        };
        if reply.status.is_success() {
            return Ok(reply.body);
        }
        let reason =
            format!("the receiver answered with status {}{}", reply.status.as_u16(), text(&reply.body));
        Err(match reply.status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Failure::Again { after: retry_after(&reply.headers), reason },
            _ => Failure::Never { reason },
        })
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(at.saturating_sub(Duration::from_millis(Timestamp::now().as_ms())))
}

/// What a failing receiver says (a protobuf `Status`, or just text), as far as it is text.
fn text(body: &[u8]) -> String {
    let text: String =
        String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect();
    if text.trim().is_empty() { String::new() } else { format!(": {}", text.trim()) }
}
