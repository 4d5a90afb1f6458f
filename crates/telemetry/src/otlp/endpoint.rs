//! A receiver of one signal.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tollgate_egress::EgressError;
use tollgate_model::Secret;
use url::Url;

/// What is sent: each kind has a service and a path of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Numbers.
    Metrics,
    /// Log records.
    Logs,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    /// As it stands in the names of variables.
    pub(super) const fn variable(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
            Self::Logs => "LOGS",
        }
    }

    /// What is put behind a base URL.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Traces => "v1/traces",
            Self::Metrics => "v1/metrics",
            Self::Logs => "v1/logs",
        }
    }

    /// The method of the gRPC service.
    pub(super) const fn method(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }
}

/// How requests travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// gRPC over HTTP/2.
    Grpc,
    /// HTTP, each body in the binary form of protobuf. The standard's default.
    #[default]
    Http,
}

impl Protocol {
    /// As the standard variables write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http/protobuf",
        }
    }

    /// Where a receiver on this machine listens if nobody says anything else.
    pub(super) const fn usual_url(self) -> &'static str {
        match self {
            Self::Grpc => "http://localhost:4317",
            Self::Http => "http://localhost:4318",
        }
    }
}

/// By what a client shows who it is, in TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate chain, as PEM.
    pub chain_pem: Arc<str>,
    /// Its key, as PEM.
    pub key_pem: Secret,
}

/// A receiver.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its whole URL for HTTP; for gRPC only scheme, host and port count. `http` is without TLS.
    pub url: Url,
    /// How requests travel.
    pub protocol: Protocol,
    /// Headers (gRPC metadata) that go with every request, names in lower case.
    pub headers: Vec<(String, Secret)>,
    /// How long one try may take.
    pub timeout: Duration,
    /// The certificate authorities (PEM) to trust instead of the platform's.
    pub ca_pem: Option<Arc<str>>,
    /// The client's own certificate. By gRPC only.
    pub certificate: Option<ClientCertificate>,
}

impl Endpoint {
    /// How long one try may take, as the standard has it.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// A receiver at a URL, with the standard's defaults.
    pub fn new(url: Url, protocol: Protocol) -> Self {
        Self { url, protocol, headers: Vec::new(), timeout: Self::TIMEOUT, ca_pem: None, certificate: None }
    }

    /// The URL without what may be secret.
    pub fn shown(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.to_string()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &self.shown())
            .field("protocol", &self.protocol)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// Why nothing can be sent to a receiver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OtlpError {
    /// The authorities cannot be used.
    #[error(transparent)]
    Roots(#[from] EgressError),
    /// A header cannot be sent.
    #[error("the header {0:?} cannot be sent")]
    Header(String),
    /// The address, or the client's certificate, cannot be used.
    #[error("{url} cannot be called: {reason}")]
    Unusable {
        /// The address.
        url: String,
        /// Why.
        reason: String,
    },
}
