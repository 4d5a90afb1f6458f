//! A web server that takes batches by POST.

use std::io::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tollgate_egress::{Egress, EgressSettings, Posted};
use tollgate_model::Secret;

use super::record::Record;
use super::settings::{Flavour, Format, Pace, WebhookSettings};
use super::target::{Batch, Failure, Sent, Target, Unfit};

/// How much of an answer is read.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// The longest that a receiver may ask to be left alone.
const AFTER_MAX: Duration = Duration::from_mins(10);

/// Posts batches.
#[derive(Debug)]
pub(super) struct Webhook {
    settings: WebhookSettings,
    format: Format,
    egress: Egress,
    headers: HeaderMap,
}

impl Webhook {
    pub(super) fn new(settings: WebhookSettings, format: Format, pace: &Pace) -> Result<Self, String> {
        let egress = Egress::new(&EgressSettings {
            allow_private: settings.allow_private,
            allow_plain: false,
            ca_pem: settings.ca_pem.clone(),
            connect_timeout: pace.timeout,
            timeout: pace.timeout,
            body_bytes_max: ANSWER_BYTES_MAX,
        });
        let egress = egress.map_err(|error| error.to_string())?;
        let headers = headers(&settings)?;
        Ok(Self { settings, format, egress, headers })
    }

    fn body(&self, batch: &Batch<'_>) -> Vec<u8> {
        let mut body = Vec::new();
        match &self.settings.flavour {
            Flavour::Array => {
                for (nth, record) in batch.records.iter().enumerate() {
                    body.push(if nth == 0 { b'[' } else { b',' });
                    batch.write(self.format, record, &mut body);
                }
                body.push(b']');
            }
            Flavour::SplunkHec { index, host, .. } => {
                for record in batch.records {
                    self.event(batch, record, (index.as_deref(), host), &mut body);
                    body.push(b'\n');
                }
            }
        }
        body
    }

    /// An event of the HTTP Event Collector: its metadata, and the entry.
    fn event(
        &self,
        batch: &Batch<'_>,
        record: &Record,
        (index, host): (Option<&str>, &str),
        body: &mut Vec<u8>,
    ) {
        let source_type = match self.format {
            Format::Native => "tollgate:ledger",
            Format::Ocsf => "tollgate:ocsf",
        };
        let time = record.entry.time_ms;
        let mut head = serde_json::json!({
            "host": host, "source": "tollgate", "sourcetype": source_type,
            "fields": { "writer": batch.writer, "seq": record.entry.seq, "redelivered": batch.is_again(record) },
        });
        if let Some(index) = index {
            head["index"] = index.into();
        }
        let head = head.to_string();
        let open = head.strip_suffix('}').unwrap_or_default();
        // Seconds, with three digits behind the point: as a number of JSON it would be rounded.
        let time = format!(",\"time\":{}.{:03},\"event\":", time / 1000, time % 1000);
        body.extend_from_slice(open.as_bytes());
        body.extend_from_slice(time.as_bytes());
        batch.write(self.format, record, body);
        body.push(b'}');
    }
}

#[async_trait]
impl Target for Webhook {
    async fn send(&mut self, batch: &Batch<'_>) -> Result<Sent, Failure> {
        let mut body = self.body(batch);
        if self.settings.gzip {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            let finished = packed.write_all(&body).and_then(|()| packed.finish());
            body = finished.map_err(|error| Failure::before(error.to_string()))?;
        }
        match self.egress.post(&self.settings.url, self.headers.clone(), Bytes::from(body)).await {
            Ok(posted) => judge(&posted).map(|()| Sent::default()),
            Err(error) if error.is_before_sending() => Err(Failure::before(error.to_string())),
            Err(error) => Err(Failure::unclear(error.to_string())),
        }
    }
}

/// What an answer says of the batch. Only a status of success says that it was received.
fn judge(posted: &Posted) -> Result<(), Failure> {
    if posted.status.is_success() {
        return Ok(());
    }
    let after = posted.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let unfit = match posted.status {
        StatusCode::PAYLOAD_TOO_LARGE => Some(Unfit::TooLarge),
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Some(Unfit::Unwanted),
        // It may be the way, the credential or the receiver.
        _ => None,
    };
    Err(Failure {
        unfit,
        after: after.map(|seconds| Duration::from_secs(seconds).min(AFTER_MAX)),
        ..Failure::unclear(format!("the receiver answered with status {}", posted.status.as_u16()))
    })
}

fn headers(settings: &WebhookSettings) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if settings.gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let secret = |name: &str, value: &Secret| {
        let mut value = HeaderValue::from_str(value.expose())
            .map_err(|_| format!("the value of the header `{name}` cannot be sent"))?;
        value.set_sensitive(true);
        Ok::<_, String>(value)
    };
    for (name, value) in &settings.headers {
        let value = secret(name, value)?;
        let name: HeaderName = name.parse().map_err(|_| format!("`{name}` is no name of a header"))?;
        headers.insert(name, value);
    }
    if let Flavour::SplunkHec { token, .. } = &settings.flavour {
        let token = Secret::new(format!("Splunk {}", token.expose()));
        headers.insert(AUTHORIZATION, secret("authorization", &token)?);
    }
    Ok(headers)
}
