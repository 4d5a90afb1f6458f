//! Log lines as records of OTLP: whatever the gateway itself logs, as soon as there is a receiver.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::records;
use crate::otlp::proto::common::v1::KeyValue;
use crate::otlp::proto::common::v1::any_value::Value;
use crate::otlp::proto::logs::v1::{LogRecord, SeverityNumber};
use crate::process;
use crate::trace::{attribute, value};

/// The fields that records have places of their own for.
const TRACE_ID: &str = "trace_id";
const SPAN_ID: &str = "span_id";

/// The layer that makes records of events.
pub(crate) struct Exported;

impl<S: Subscriber> Layer<S> for Exported {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(queue) = records() else { return };
        let metadata = event.metadata();
        // What others log, the connections to the receiver among them, would beget itself.
        if !metadata.target().starts_with("tollgate") {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (number, text) = severity(*metadata.level());
        let now = process::now_ns();
        fields.attributes.push(attribute("log.target", metadata.target()));
        queue.push(LogRecord {
            time_unix_nano: now,
            observed_time_unix_nano: now,
            severity_number: number.into(),
            severity_text: text.to_owned(),
            body: Some(value(Value::StringValue(fields.message))),
            attributes: fields.attributes,
            trace_id: fields.trace_id,
            span_id: fields.span_id,
            ..LogRecord::default()
        });
    }
}

const fn severity(level: Level) -> (SeverityNumber, &'static str) {
    match level {
        Level::ERROR => (SeverityNumber::Error, "ERROR"),
        Level::WARN => (SeverityNumber::Warn, "WARN"),
        Level::INFO => (SeverityNumber::Info, "INFO"),
        Level::DEBUG => (SeverityNumber::Debug, "DEBUG"),
        Level::TRACE => (SeverityNumber::Trace, "TRACE"),
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    attributes: Vec<KeyValue>,
    trace_id: Vec<u8>,
    span_id: Vec<u8>,
}

impl Fields {
    fn put(&mut self, field: &Field, put: Value) {
        self.attributes.push(KeyValue {
            key: field.name().to_owned(),
            value: Some(value(put)),
            ..KeyValue::default()
        });
    }

    fn text(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => self.message = text,
            TRACE_ID => self.trace_id = bytes(&text),
            SPAN_ID => self.span_id = bytes(&text),
            // What does not apply is left out.
            _ if text.is_empty() => {}
            _ => self.put(field, Value::StringValue(text)),
        }
    }
}

/// The bytes of hexadecimal digits; none if they are no such.
fn bytes(hex: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(pair).collect::<Option<_>>().unwrap_or_default()
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::IntValue(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::BoolValue(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }
}
