//! What is sent to operators' receivers.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tollgate_model::Secret;
use tollgate_telemetry::otlp::{Environment, OtlpSettings, Protocol, Signal};
use tollgate_telemetry::{Configured, ConfiguredSignal, TelemetrySettings};
use url::Url;

use super::{Meaning, shown};
use crate::config::forms::{Keyed, Short};
use crate::config::node::Place;
use crate::config::section::{OtlpSection, ProtocolSection, SecretSection, TelemetrySection};

impl Meaning<'_> {
    /// What is sent, and to whom.
    pub(super) fn telemetry(
        &mut self,
        section: Option<&TelemetrySection>,
        place: &Place<'_>,
    ) -> TelemetrySettings {
        let environment = Environment::read(&|name| self.env.var(name));
        for problem in &environment.problems {
            self.problems.warning(place, problem.clone(), None);
        }
        let none = TelemetrySection::default();
        let section = section.unwrap_or(&none);
        let resource = Keyed::iter(section.resource.as_ref());
        let mut configured = Configured {
            service_name: section.service_name.clone(),
            resource: resource.map(|(key, text)| (key.to_owned(), text.clone())).collect(),
            general: self.otlp(section.otlp.as_ref(), &place.key("otlp")),
            ..Configured::default()
        };
        let ms = |ms: Option<u64>| ms.map(Duration::from_millis);
        let mut own = |of: Signal, endpoint: Option<&str>, signal: ConfiguredSignal| {
            let place = place.key(of.as_str());
            let url = endpoint.and_then(|endpoint| self.receiver(endpoint, &place.key("endpoint")));
            let otlp = OtlpSettings { url, is_whole: true, ..OtlpSettings::default() };
            configured.own[of as usize] = ConfiguredSignal { otlp, ..signal };
        };
        if let Some(traces) = &section.traces {
            let signal = ConfiguredSignal {
                is_sent: traces.enabled,
                delay: ms(traces.delay_ms),
                queue_max: traces.queue_max,
                batch_max: traces.batch_max,
                ..ConfiguredSignal::default()
            };
            own(Signal::Traces, traces.endpoint.as_deref(), signal);
        }
        if let Some(metrics) = &section.metrics {
            let delay = ms(metrics.interval_ms);
            let signal = ConfiguredSignal { is_sent: metrics.enabled, delay, ..ConfiguredSignal::default() };
            own(Signal::Metrics, metrics.endpoint.as_deref(), signal);
        }
        if let Some(logs) = &section.logs {
            let signal = ConfiguredSignal {
                is_sent: logs.enabled,
                delay: ms(logs.delay_ms),
                queue_max: logs.queue_max,
                batch_max: logs.batch_max,
                ..ConfiguredSignal::default()
            };
            own(Signal::Logs, logs.endpoint.as_deref(), signal);
        }
        if let Some(traces) = &section.traces {
            configured.sample_ratio = traces.sample_ratio;
            configured.respects_parent = traces.respect_parent;
        }
        TelemetrySettings::of(&configured, &environment)
    }

    fn otlp(&mut self, section: Option<&OtlpSection>, place: &Place<'_>) -> OtlpSettings {
        let Some(section) = section else { return OtlpSettings::default() };
        let url = section.endpoint.as_deref();
        let ca_file = section.ca_file.as_deref().and_then(|path| {
            let read = self.files.authorities(path);
            read.map_err(|reason| self.problems.error(&place.key("ca_file"), reason)).ok()
        });
        OtlpSettings {
            url: url.and_then(|url| self.receiver(url, &place.key("endpoint"))),
            is_whole: false,
            protocol: section.protocol.map(|protocol| match protocol {
                ProtocolSection::Http => Protocol::Http,
                ProtocolSection::Grpc => Protocol::Grpc,
            }),
            headers: section.headers.as_ref().map(|headers| self.otlp_headers(headers, place)),
            timeout: section.timeout_ms.map(Duration::from_millis),
            ca_pem: ca_file,
            certificate: None,
        }
    }

    fn otlp_headers(
        &mut self,
        headers: &Keyed<Short<SecretSection>>,
        place: &Place<'_>,
    ) -> Vec<(String, Secret)> {
        let place = place.key("headers");
        let mut read = Vec::new();
        for (label, Short(value)) in Keyed::iter(Some(headers)) {
            let place = place.key(label);
            let Ok(name) = HeaderName::from_bytes(label.as_bytes()) else {
                self.problems.error(&place, "cannot be the name of a header");
                continue;
            };
            let Some(value) = self.secret(value, &place) else { continue };
            if HeaderValue::from_str(value.expose()).is_err() {
                self.problems.error(&place, "the value has characters that HTTP does not allow in a header");
                continue;
            }
            read.push((name.as_str().to_owned(), value));
        }
        read
    }

    fn receiver(&mut self, text: &str, place: &Place<'_>) -> Option<Url> {
        match Url::parse(text) {
            Ok(url) if url.has_host() && matches!(url.scheme(), "http" | "https") => {
                if url.username().is_empty() && url.password().is_none() {
                    return Some(url);
                }
                let suggestion = "write the credential under `headers`";
                self.problems.error_with(place, "a receiver's URL has no user name and password", suggestion);
            }
            _ => {
                let shown = shown(place, text);
                let suggestion = "write it whole: `http://localhost:4318`";
                self.problems.error_with(place, format!("{shown} is no http or https URL"), suggestion);
            }
        }
        None
    }
}
