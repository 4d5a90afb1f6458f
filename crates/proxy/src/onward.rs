//! Requests in their traces: where a client's request stands in one, and how that is passed on to servers.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_mcp::{Change, Kind, Message, json, meta, methods};
use tollgate_model::ServerId;
use tollgate_telemetry::events::HopEnded;
use tollgate_telemetry::trace::{Hop, Said, Trace};
use tollgate_telemetry::{OTHER, OTHER_NAME, Operation, Transport};
use tollgate_upstream::{Link, UpstreamError};

use crate::gateway::Gateway;
use crate::stages::dispatch::Sent;
use crate::stages::record::CallRecord;

/// Where a request stands in a trace: by its own metadata, which is the message's wherever it travels (2026-07-28, base
/// protocol), or else by the HTTP request that it came in.
pub(crate) fn begin(message: &Message, headers: Option<&HeaderMap>) -> Trace {
    let header = |name| headers.and_then(|map| map.get(name)).and_then(|value| value.to_str().ok());
    let own = message.meta_text(meta::TRACEPARENT);
    let ambient = header(meta::TRACEPARENT);
    let baggage = message.meta_text(meta::BAGGAGE);
    let baggage = baggage.as_deref().or_else(|| header(meta::BAGGAGE));
    if own.is_none() && ambient.is_none() {
        return Trace::begin(Said { baggage, ..Said::default() });
    }
    let state = message.meta_text(meta::TRACESTATE);
    let tracestate = if own.is_some() { state.as_deref() } else { header(meta::TRACESTATE) };
    let traceparent = own.as_deref().or(ambient);
    Trace::begin(Said { traceparent, ambient: ambient.filter(|_| own.is_some()), tracestate, baggage })
}

/// A request to a server, in the trace of the client's request that it is for.
#[derive(Debug, Clone)]
pub(crate) struct Onward {
    record: Arc<CallRecord>,
    hop: Hop,
}

impl Onward {
    /// The next one for a client's request.
    pub(crate) fn of(record: &Arc<CallRecord>) -> Self {
        Self { record: Arc::clone(record), hop: record.trace().hop() }
    }

    /// What of the trace stands in the message's metadata.
    pub(crate) fn changes(&self, message: &Message) -> impl Iterator<Item = Change<'static>> {
        let (state, baggage) = self.record.beside_trace();
        let set = |key, text: &str| Change::Set(key, json::quote(text));
        let parent = self.hop.traceparent();
        let state = match (&parent, state, message.meta_member(meta::TRACESTATE)) {
            // It is of another's span.
            (Some(_), None, Some(_)) => Some(Change::Remove(meta::TRACESTATE)),
            (Some(_), Some(state), None) => Some(set(meta::TRACESTATE, state)),
            _ => None,
        };
        let has_baggage = message.meta_member(meta::BAGGAGE).is_some();
        let baggage = baggage.filter(|_| !has_baggage).map(|text| set(meta::BAGGAGE, text));
        parent.map(|parent| set(meta::TRACEPARENT, &parent)).into_iter().chain(state).chain(baggage)
    }

    /// What of it goes along as headers, for servers and proxies that look there.
    pub(crate) fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let (state, baggage) = self.record.beside_trace();
        let header = |key, text: Bytes| {
            Some((HeaderName::from_static(key), HeaderValue::from_maybe_shared(text).ok()?))
        };
        let text = |text: Option<&str>| text.map(|text| Bytes::copy_from_slice(text.as_bytes()));
        let parent = self.hop.traceparent();
        let state = text(state).filter(|_| parent.is_some());
        let pairs = [
            (meta::TRACEPARENT, parent.map(Bytes::from)),
            (meta::TRACESTATE, state),
            (meta::BAGGAGE, text(baggage)),
        ];
        pairs.into_iter().filter_map(|(key, text)| header(key, text?)).collect()
    }
}

/// A request on its way to a server and back. Whatever becomes of it, operators are told.
pub(crate) struct Crossing<'a> {
    gateway: Option<&'a Gateway>,
    onward: Onward,
    server: &'a ServerId,
    link: &'a Link,
    method: &'static str,
    began: Instant,
    is_told: bool,
}

impl<'a> Crossing<'a> {
    /// It leaves now.
    pub(crate) fn begin(
        gateway: Option<&'a Gateway>,
        onward: Onward,
        server: &'a ServerId,
        link: &'a Link,
        method: &str,
    ) -> Self {
        let method = known_method(method);
        Self { gateway, onward, server, link, method, began: Instant::now(), is_told: false }
    }

    /// It has come to this.
    pub(crate) fn ends(mut self, sent: &Result<Sent, UpstreamError>) {
        match sent {
            Ok(Sent::Response(message)) => {
                let code = message.error_code();
                let failed = self.method == methods::TOOLS_CALL && is_error(message);
                match code {
                    Some(code) => self.tell(Some(error_of(code)), Some(code)),
                    None => self.tell(failed.then_some("tool_error"), None),
                }
            }
            Ok(Sent::Paused(_)) => self.tell(None, None),
            Err(error) => self.tell(Some(error.code().row().name), None),
        }
    }

    fn tell(&mut self, error: Option<&str>, code: Option<i64>) {
        self.is_told = true;
        let native = self.onward.record.native();
        let is_known = |name: &str| {
            error.is_none_or(|error| error == "tool_error" && self.is_listed(name)) || self.is_listed(name)
        };
        let name = native.as_deref().map(|name| if is_known(name) { name } else { OTHER_NAME });
        let address = self.link.address();
        let operation = Operation {
            method: self.method,
            tool: name.filter(|_| self.method == methods::TOOLS_CALL),
            prompt: name.filter(|_| self.method == methods::PROMPTS_GET),
            error,
            code: code.filter(|code| error_of(*code) != OTHER),
            revision: self.link.revision().as_str(),
            transport: if address.is_some() { Transport::Http } else { Transport::Stdio },
            server: Some(self.server.name().as_str()),
        };
        let (trace, hop) = (self.onward.record.trace(), self.onward.hop);
        HopEnded { trace, hop, operation, server: self.server, address, took: self.began.elapsed() }.emit();
    }

    fn is_listed(&self, name: &str) -> bool {
        self.gateway.is_some_and(|gateway| gateway.names().knows(self.server, name))
    }
}

impl Drop for Crossing<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell(Some("cancelled"), None);
        }
    }
}

/// Whether a tool says that it failed.
fn is_error(message: &Message) -> bool {
    message.kind() == Kind::Result
        && message.member("isError").is_some_and(|span| span.of(message.bytes()) == b"true")
}

/// A code of JSON-RPC as a class of errors: those that JSON-RPC and MCP define or leave to implementations by itself, whatever a
/// server makes up together.
pub(crate) fn error_of(code: i64) -> &'static str {
    macro_rules! known {
        ($($code:literal)*) => {
            match code {
                $($code => stringify!($code),)*
                _ => OTHER,
            }
        };
    }
    known!(
        -32700
            - 32600
            - 32601
            - 32602
            - 32603
            - 32042
            - 32022
            - 32021
            - 32020
            - 32003
            - 32002
            - 32001
            - 32000
    )
}

/// The method as metrics name it.
pub(crate) fn known_method(method: &str) -> &'static str {
    const KNOWN: [&str; 20] = [
        methods::TOOLS_CALL,
        methods::TOOLS_LIST,
        methods::RESOURCES_READ,
        methods::RESOURCES_LIST,
        methods::RESOURCES_TEMPLATES_LIST,
        methods::RESOURCES_SUBSCRIBE,
        methods::RESOURCES_UNSUBSCRIBE,
        methods::PROMPTS_GET,
        methods::PROMPTS_LIST,
        methods::COMPLETION_COMPLETE,
        methods::SUBSCRIPTIONS_LISTEN,
        methods::SERVER_DISCOVER,
        methods::INITIALIZE,
        methods::PING,
        methods::LOGGING_SET_LEVEL,
        methods::TASKS_GET,
        methods::TASKS_UPDATE,
        methods::TASKS_CANCEL,
        methods::TASKS_RESULT,
        methods::TASKS_LIST,
    ];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or(OTHER)
}
