//! A span as it is sent.

use std::borrow::Cow;
use std::time::Duration;

use super::{Context, SpanId};
use crate::operations::Operation;
use crate::otlp::proto::common::v1::any_value::Value;
use crate::otlp::proto::common::v1::{AnyValue, KeyValue};
use crate::otlp::proto::trace::v1::span::{Link, SpanKind};
use crate::otlp::proto::trace::v1::status::StatusCode;
use crate::otlp::proto::trace::v1::{Span, Status};
use crate::process;

/// Bits of a span's flags (opentelemetry-proto, `SpanFlags`): whether it is known, and so, that its parent is remote.
const PARENT_IS_KNOWN: u32 = 0x100;
const PARENT_IS_REMOTE: u32 = 0x200;

/// Whose side of an exchange a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client,
}

/// What has happened, as a span says it.
pub(crate) struct Recorded<'a> {
    pub(crate) operation: &'a Operation<'a>,
    /// What this span alone has.
    pub(crate) own: Vec<(&'static str, Cow<'a, str>)>,
    pub(crate) took: Duration,
}

impl Recorded<'_> {
    pub(super) fn into_span(self, side: Side, here: Context, parent: Option<SpanId>) -> Span {
        let end = process::now_ns();
        let took = u64::try_from(self.took.as_nanos()).unwrap_or(0);
        let operation = self.operation;
        let name = match operation.tool.or(operation.prompt) {
            Some(target) => format!("{} {target}", operation.method),
            None => operation.method.to_owned(),
        };
        let attributes = operation.attributes().chain(self.own).map(|(key, text)| attribute(key, &text));
        let kind = match side {
            Side::Server => SpanKind::Server,
            Side::Client => SpanKind::Client,
        };
        let remote = if side == Side::Server && parent.is_some() { PARENT_IS_REMOTE } else { 0 };
        let status =
            operation.error.map(|error| Status { message: error.to_owned(), code: StatusCode::Error.into() });
        Span {
            trace_id: here.trace.to_bytes().to_vec(),
            span_id: here.span.to_bytes().to_vec(),
            parent_span_id: parent.map(|parent| parent.to_bytes().to_vec()).unwrap_or_default(),
            flags: u32::from(here.is_sampled) | PARENT_IS_KNOWN | remote,
            name,
            kind: kind.into(),
            start_time_unix_nano: end.saturating_sub(took),
            end_time_unix_nano: end,
            attributes: attributes.collect(),
            status,
            ..Span::default()
        }
    }
}

pub(super) fn link(to: Context) -> Link {
    Link {
        trace_id: to.trace.to_bytes().to_vec(),
        span_id: to.span.to_bytes().to_vec(),
        flags: u32::from(to.is_sampled) | PARENT_IS_KNOWN | PARENT_IS_REMOTE,
        ..Link::default()
    }
}

/// An attribute that is a text.
pub(crate) fn attribute(key: &str, text: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(value(Value::StringValue(text.to_owned()))),
        ..KeyValue::default()
    }
}

pub(crate) fn value(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}
