//! What happens to calls. Each of these is a log line, a measurement and, where the call is traced, a span, all with the same
//! words. None says a credential, an argument or a result.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use tollgate_model::ServerId;
use tracing::{Level, debug, enabled};

use crate::operations::{ASKED, Operation, SERVED};
use crate::trace::{Hop, Recorded, Trace};
use crate::{Clean, bare_uri};

/// A client's request has ended, however.
pub struct CallEnded<'a> {
    /// The id of the call, as the ledger has it.
    pub call: &'a dyn fmt::Display,
    /// Its trace.
    pub trace: &'a Trace,
    /// What it was.
    pub operation: Operation<'a>,
    /// What became of it, in the ledger's word.
    pub outcome: &'a str,
    /// The tenant.
    pub tenant: &'a str,
    /// The endpoint; empty for the merged one.
    pub endpoint: &'a str,
    /// The client's id of the request, as raw JSON.
    pub request_id: &'a str,
    /// The resource that it is about.
    pub resource: Option<&'a str>,
    /// Where it came from.
    pub client: Option<IpAddr>,
    /// How long it took.
    pub took: Duration,
}

impl CallEnded<'_> {
    /// Logs it at `debug`, measures it, and keeps its span if the call is traced.
    pub fn emit(self) {
        SERVED.count(&self.operation, self.took);
        if enabled!(Level::DEBUG) {
            self.log();
        }
        if self.trace.is_recorded() {
            self.record();
        }
    }

    fn log(&self) {
        let Self { call, outcome, operation, .. } = self;
        let trace_id = self.trace.id().map(|id| id.to_string()).unwrap_or_default();
        let name = Clean(operation.tool.or(operation.prompt).unwrap_or_default());
        let (method, server) = (operation.method, operation.server.unwrap_or_default());
        let error = operation.error.unwrap_or_default();
        let (tenant, endpoint) = (Clean(self.tenant), Clean(self.endpoint));
        let took_us = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX);
        debug!(
            %call, trace_id, method, %name, server, outcome, error, %tenant, %endpoint, took_us, "request ended"
        );
    }

    fn record(&self) {
        let request_id = self.request_id.trim_matches('"');
        let own: Vec<(&'static str, Cow<'_, str>)> = [
            ("tollgate.call.id", Some(Cow::Owned(self.call.to_string()))),
            ("tollgate.outcome", Some(Cow::Borrowed(self.outcome))),
            ("tollgate.tenant", Some(Cow::Borrowed(self.tenant))),
            ("tollgate.endpoint", Some(Cow::Borrowed(self.endpoint)).filter(|name| !name.is_empty())),
            (
                "jsonrpc.request.id",
                Some(Cow::Borrowed(cut(request_id))).filter(|id| id != "null" && !id.is_empty()),
            ),
            ("mcp.resource.uri", self.resource.map(|uri| Cow::Owned(cut(&bare_uri(uri)).to_owned()))),
            ("client.address", self.client.map(|address| Cow::Owned(address.to_string()))),
        ]
        .into_iter()
        .filter_map(|(key, text)| Some((key, text?)))
        .collect();
        let operation = &self.operation;
        self.trace.record_request(Recorded { operation, own, took: self.took });
    }
}

/// A server has answered what it was asked, or has not.
pub struct HopEnded<'a> {
    /// The trace of the call that it was asked for.
    pub trace: &'a Trace,
    /// Its place in the trace.
    pub hop: Hop,
    /// What was asked, under the server's own names.
    pub operation: Operation<'a>,
    /// Which server.
    pub server: &'a ServerId,
    /// Where it is, for one that is reached over a network.
    pub address: Option<(&'a str, u16)>,
    /// How long it took.
    pub took: Duration,
}

impl HopEnded<'_> {
    /// Measures it, and keeps its span if the call is traced.
    pub fn emit(self) {
        ASKED.count(&self.operation, self.took);
        if !self.trace.is_recorded() {
            return;
        }
        let mut own: Vec<(&'static str, Cow<'_, str>)> = Vec::new();
        if let Some(tenant) = self.server.holder().tenant() {
            own.push(("tollgate.tenant", Cow::Borrowed(tenant.as_str())));
        }
        if let Some((host, port)) = self.address {
            own.push(("server.address", Cow::Borrowed(host)));
            own.push(("server.port", Cow::Owned(port.to_string())));
        }
        self.trace.record_hop(self.hop, Recorded { operation: &self.operation, own, took: self.took });
    }
}

/// The longest text of a client's that a span shows, in bytes.
const SHOWN_BYTES_MAX: usize = 256;

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN_BYTES_MAX)]
}

/// A receiver does not take what is sent to it.
#[derive(Debug)]
pub struct TelemetryNotSent<'a> {
    /// Which signal.
    pub signal: &'static str,
    /// Why.
    pub reason: &'a str,
}

impl TelemetryNotSent<'_> {
    /// Logs it, once until it is over.
    pub fn emit(self) {
        let (signal, reason) = (self.signal, Clean(self.reason));
        tracing::warn!(signal, %reason, "telemetry is not taken; trying again");
    }
}

/// A receiver takes again what is sent to it.
#[derive(Debug)]
pub struct TelemetrySentAgain {
    /// Which signal.
    pub signal: &'static str,
}

impl TelemetrySentAgain {
    /// Logs it.
    pub fn emit(self) {
        tracing::info!(signal = self.signal, "telemetry is taken again");
    }
}
