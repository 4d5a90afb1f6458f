//! OTLP: each entry is a log record.

use async_trait::async_trait;
use bytes::Bytes;
use prost::Message as _;
use tollgate_telemetry::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use tollgate_telemetry::otlp::proto::common::v1::any_value::Value;
use tollgate_telemetry::otlp::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use tollgate_telemetry::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use tollgate_telemetry::otlp::proto::resource::v1::Resource;
use tollgate_telemetry::otlp::{self, Client, Endpoint, Signal};

use super::facts::{Weight, facts, kind_name, weight};
use super::record::Record;
use super::settings::{Format, Pace};
use super::target::{Batch, Failure, Sent, Target, Unfit};

/// What is put in front of the names of attributes and events.
const PREFIX: &str = "tollgate.ledger.";

/// Sends to a receiver of OTLP.
#[derive(Debug)]
pub(super) struct Otlp {
    client: Client,
    format: Format,
}

impl Otlp {
    pub(super) fn new(endpoint: Endpoint, format: Format, pace: &Pace) -> Result<Self, String> {
        let endpoint = Endpoint { timeout: pace.timeout, ..endpoint };
        let client = Client::new(Signal::Logs, &endpoint).map_err(|error| error.to_string())?;
        Ok(Self { client, format })
    }

    fn request(&self, batch: &Batch<'_>) -> ExportLogsServiceRequest {
        let resource = Resource {
            attributes: vec![
                text("service.name", "tollgate"),
                text("service.version", env!("CARGO_PKG_VERSION")),
                text("service.instance.id", batch.writer),
            ],
            ..Resource::default()
        };
        let scope = InstrumentationScope { name: "tollgate.ledger".to_owned(), ..Default::default() };
        let log_records = batch.records.iter().map(|record| self.log_record(batch, record)).collect();
        let scope_logs = vec![ScopeLogs { scope: Some(scope), log_records, ..ScopeLogs::default() }];
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs { resource: Some(resource), scope_logs, ..Default::default() }],
        }
    }

    fn log_record(&self, batch: &Batch<'_>, record: &Record) -> LogRecord {
        let mut body = Vec::new();
        batch.write(self.format, record, &mut body);
        let (severity, severity_text) = match weight(record) {
            Weight::Error => (SeverityNumber::Error, "ERROR"),
            Weight::Warning => (SeverityNumber::Warn, "WARN"),
            Weight::Notice => (SeverityNumber::Info2, "INFO"),
            Weight::Plain => (SeverityNumber::Info, "INFO"),
        };
        let time = record.entry.time_ms.saturating_mul(1_000_000);
        let attributes =
            facts(batch, record).into_iter().map(|(name, value)| text(&format!("{PREFIX}{name}"), &value));
        LogRecord {
            time_unix_nano: time,
            observed_time_unix_nano: time,
            severity_number: severity.into(),
            severity_text: severity_text.to_owned(),
            event_name: format!("{PREFIX}{}", kind_name(record.entry.kind)),
            body: Some(AnyValue {
                value: Some(Value::StringValue(String::from_utf8_lossy(&body).into_owned())),
            }),
            attributes: attributes.collect(),
            trace_id: record.entry.trace.as_deref().and_then(trace_id).unwrap_or_default(),
            ..LogRecord::default()
        }
    }
}

#[async_trait]
impl Target for Otlp {
    async fn send(&mut self, batch: &Batch<'_>) -> Result<Sent, Failure> {
        let request = Bytes::from(self.request(batch).encode_to_vec());
        match self.client.send(request).await {
            Ok(accepted) => Ok(Sent { unwanted: accepted.rejected, again: 0 }),
            Err(otlp::Failure::Again { after, reason }) => Err(Failure { after, ..Failure::unclear(reason) }),
            // It is not to be sent again as it is; perhaps a part of it can be.
            Err(otlp::Failure::Never { reason }) => {
                Err(Failure { unfit: Some(Unfit::Unwanted), ..Failure::unclear(reason) })
            }
        }
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// The bytes of a trace id.
fn trace_id(text: &str) -> Option<Vec<u8>> {
    let digits = (text.len() == 32 && text.is_ascii()).then_some(text)?;
    (0..16).map(|nth| u8::from_str_radix(&digits[2 * nth..2 * nth + 2], 16).ok()).collect()
}
