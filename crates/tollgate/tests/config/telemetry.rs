//! What is sent to receivers, as configured.

use std::time::Duration;

use tollgate_telemetry::TelemetrySettings;
use tollgate_telemetry::otlp::{Protocol, Signal};

use super::{Bench, yaml};

fn bench(text: &str) -> Bench {
    yaml(&format!("servers: {{ a: {{ url: 'http://127.0.0.1:9/' }} }}\n{text}"))
}

fn telemetry(text: &str) -> TelemetrySettings {
    bench(text).good("tollgate.yaml").telemetry
}

fn url(settings: &TelemetrySettings, signal: Signal) -> Option<String> {
    settings.signal(signal).map(|signal| signal.endpoint.url.to_string())
}

#[test]
fn nothing_is_sent_unless_somebody_says_where() {
    for text in ["", "telemetry: {}\n", "telemetry: { traces: { sample_ratio: 1 } }\n"] {
        assert!(Signal::ALL.iter().all(|signal| telemetry(text).signal(*signal).is_none()), "{text}");
    }
}

#[test]
fn every_key_has_its_meaning() {
    let settings = telemetry(
        "telemetry: { service_name: gate, resource: { a: b }, \
         otlp: { endpoint: 'http://c:4317', protocol: grpc, headers: { X-Key: secret }, timeout_ms: 7 }, \
         traces: { sample_ratio: 0.5, respect_parent: false, delay_ms: 1, queue_max: 2, batch_max: 3 }, \
         metrics: { interval_ms: 500 }, logs: { enabled: false } }\n",
    );
    let traces = settings.signal(Signal::Traces).expect("traces");
    assert_eq!((traces.delay, traces.queue_max, traces.batch_max), (Duration::from_millis(1), 2, 3));
    let endpoint = &traces.endpoint;
    assert_eq!((endpoint.protocol, endpoint.timeout), (Protocol::Grpc, Duration::from_millis(7)));
    assert_eq!((endpoint.headers[0].0.as_str(), endpoint.headers[0].1.expose()), ("x-key", "secret"));
    assert_eq!((settings.sampler.ratio, settings.sampler.respects_parent), (0.5, false));
    assert_eq!(settings.signal(Signal::Metrics).expect("metrics").delay, Duration::from_millis(500));
    assert!(settings.signal(Signal::Logs).is_none());
    let said = [("service.name", "gate"), ("a", "b")].map(|(key, text)| (key.to_owned(), text.to_owned()));
    assert_eq!(settings.resource, said);
}

#[test]
fn a_signal_may_have_a_receiver_of_its_own() {
    let settings = telemetry("telemetry: { logs: { endpoint: 'https://logs.example/in' } }\n");
    assert_eq!(url(&settings, Signal::Logs).as_deref(), Some("https://logs.example/in"));
    assert_eq!(url(&settings, Signal::Traces), None);
}

#[test]
fn the_file_comes_before_the_environment_and_what_cannot_be_used_is_said() {
    let text = "telemetry: { otlp: { endpoint: 'http://file:1' } }\n";
    let config = bench(text)
        .var("OTEL_EXPORTER_OTLP_ENDPOINT", "http://env:1")
        .var("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")
        .good("tollgate.yaml");
    assert_eq!(url(&config.telemetry, Signal::Traces).as_deref(), Some("http://file:1/v1/traces"));
    let warning = config.warnings.iter().map(ToString::to_string).find(|text| text.contains("OTEL_"));
    assert!(warning.expect("a warning").contains("OTEL_EXPORTER_OTLP_TIMEOUT"));
}

#[test]
fn a_credential_in_the_address_is_refused() {
    let said = bench("telemetry: { otlp: { endpoint: 'http://u:hunter2@c' } }\n").bad("tollgate.yaml");
    assert!(said.contains("under `headers`") && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_share_is_a_number_from_0_to_1() {
    for (written, said) in
        [("2", "2 is not a number from 0 to 1"), ("'half'", "expected a number, found text")]
    {
        let text = format!("telemetry: {{ traces: {{ sample_ratio: {written} }} }}\n");
        let bad = bench(&text).bad("tollgate.yaml");
        assert!(bad.contains(said), "{bad}");
    }
    let text = "telemetry: { traces: { sample_ratio: '${RATIO}' } }\n";
    let config = bench(text).var("RATIO", "0.25").good("tollgate.yaml");
    assert!((config.telemetry.sampler.ratio - 0.25).abs() < f64::EPSILON);
}
