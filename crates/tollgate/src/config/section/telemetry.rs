//! The `telemetry` section.

use schemars::JsonSchema;
use serde::Deserialize;

use super::SecretSection;
use crate::config::forms::{Keyed, Short, keys};
use crate::config::meaning::defaults;

/// What is sent to a receiver of OpenTelemetry's protocol (OTLP), such as a Collector: traces, metrics and logs. What is not
/// said here is taken from the standard variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME` and the others); a
/// signal is sent if a receiver is named for it here or there. `OTEL_SDK_DISABLED=true` turns everything off. Prometheus finds the same metrics
/// at `/metrics` of the admin listener in any case. A change takes effect after a restart.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<TelemetrySection>()))]
#[schemars(rename = "Telemetry")]
pub(in crate::config) struct TelemetrySection {
    /// The name of the service (`service.name`). Default: `tollgate`.
    #[schemars(length(min = 1, max = 255))]
    pub(in crate::config) service_name: Option<String>,
    /// More that is said of the sender with everything that is sent, such as `deployment.environment.name`.
    pub(in crate::config) resource: Option<Keyed<String>>,
    /// The receiver of all signals.
    pub(in crate::config) otlp: Option<OtlpSection>,
    /// Spans: one for each request of a client, and one below it for each time that a server is asked.
    pub(in crate::config) traces: Option<TracesSection>,
    /// Numbers, the same as at `/metrics`.
    pub(in crate::config) metrics: Option<MetricsSection>,
    /// What stands in the log.
    pub(in crate::config) logs: Option<LogsSection>,
}

/// A receiver of OTLP.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<OtlpSection>()))]
#[schemars(rename = "Otlp")]
pub(in crate::config) struct OtlpSection {
    /// Its URL: `https`, or `http` in a network that is trusted. By HTTP `v1/traces`, `v1/metrics` and `v1/logs` are put behind
    /// it. Default: `http://localhost:4318`, or with gRPC `http://localhost:4317`.
    pub(in crate::config) endpoint: Option<String>,
    /// How requests travel: `http` (with protobuf bodies) or `grpc`.
    pub(in crate::config) protocol: Option<ProtocolSection>,
    /// Headers that go with every request, such as one with a key.
    pub(in crate::config) headers: Option<Keyed<Short<SecretSection>>>,
    /// How long one try may take, in milliseconds.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::otlp_timeout_ms()))]
    pub(in crate::config) timeout_ms: Option<u64>,
    /// PEM file with the certificate authorities to trust instead of the platform's. Relative to this file.
    pub(in crate::config) ca_file: Option<String>,
}

/// How requests travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "http"))]
#[schemars(rename = "Protocol")]
pub(in crate::config) enum ProtocolSection {
    Http,
    Grpc,
}

/// What is traced.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<TracesSection>()))]
#[schemars(rename = "Traces")]
pub(in crate::config) struct TracesSection {
    /// Whether spans are sent. Default: if a receiver is named.
    pub(in crate::config) enabled: Option<bool>,
    /// The whole URL of a receiver of spans alone.
    pub(in crate::config) endpoint: Option<String>,
    /// The share of requests that is traced.
    #[schemars(range(min = 0.0, max = 1.0), extend("default" = 0.01))]
    pub(in crate::config) sample_ratio: Option<f64>,
    /// Whether a client that traces a request itself, or says that it does not, decides, whatever the share.
    #[schemars(extend("default" = true))]
    pub(in crate::config) respect_parent: Option<bool>,
    /// How long a span waits for others before it is sent, in milliseconds.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = 5000))]
    pub(in crate::config) delay_ms: Option<u64>,
    /// How many spans wait at most. What comes on top is counted and dropped.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 8192))]
    pub(in crate::config) queue_max: Option<usize>,
    /// How many spans are sent at once.
    #[schemars(range(min = 1, max = 100_000), extend("default" = 512))]
    pub(in crate::config) batch_max: Option<usize>,
}

/// How metrics are sent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<MetricsSection>()))]
#[schemars(rename = "Metrics")]
pub(in crate::config) struct MetricsSection {
    /// Whether metrics are sent. Default: if a receiver is named.
    pub(in crate::config) enabled: Option<bool>,
    /// The whole URL of a receiver of metrics alone.
    pub(in crate::config) endpoint: Option<String>,
    /// How often they are sent, in milliseconds.
    #[schemars(range(min = 100, max = 86_400_000), extend("default" = 60_000))]
    pub(in crate::config) interval_ms: Option<u64>,
}

/// How the log is sent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<LogsSection>()))]
#[schemars(rename = "Logs")]
pub(in crate::config) struct LogsSection {
    /// Whether the log is sent. Default: if a receiver is named.
    pub(in crate::config) enabled: Option<bool>,
    /// The whole URL of a receiver of logs alone.
    pub(in crate::config) endpoint: Option<String>,
    /// How long a line waits for others before it is sent, in milliseconds.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = 1000))]
    pub(in crate::config) delay_ms: Option<u64>,
    /// How many lines wait at most. What comes on top is counted and dropped.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 8192))]
    pub(in crate::config) queue_max: Option<usize>,
    /// How many lines are sent at once.
    #[schemars(range(min = 1, max = 100_000), extend("default" = 512))]
    pub(in crate::config) batch_max: Option<usize>,
}
