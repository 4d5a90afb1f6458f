//! Everything that a process sends, to a receiver that is cut off in between. One test: there is one sender per process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use tollgate_model::{Holder, ServerId, ServerName, TenantId};
use tollgate_telemetry::counters::{self, Metrics};
use tollgate_telemetry::events::{CallEnded, HopEnded};
use tollgate_telemetry::export::{Telemetry, not_sent};
use tollgate_telemetry::otlp::{OtlpSettings, Protocol, Signal};
use tollgate_telemetry::trace::{Said, Trace};
use tollgate_telemetry::{
    Configured, ConfiguredSignal, Format, LogSettings, Operation, TelemetrySettings, Transport,
};
use tollgate_testkit::collector::proto::metrics::v1::metric::Data;
use tollgate_testkit::collector::proto::trace::v1::Span;
use tollgate_testkit::collector::proto::trace::v1::span::SpanKind;
use tollgate_testkit::collector::{Answer, Collector, Received, attribute, text};

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn settings(collector: &Collector) -> TelemetrySettings {
    let general = OtlpSettings {
        url: collector.url().parse().ok(),
        protocol: Some(Protocol::Grpc),
        ..OtlpSettings::default()
    };
    let signal = ConfiguredSignal { delay: Some(Duration::from_millis(20)), ..ConfiguredSignal::default() };
    let own = [signal.clone(), signal.clone(), signal];
    let configured = Configured { general, own, ..Configured::default() };
    TelemetrySettings::of(&configured, &tollgate_telemetry::otlp::Environment::read(&|_| None))
}

fn operation(tool: &'static str) -> Operation<'static> {
    Operation {
        method: "tools/call",
        tool: Some(tool),
        prompt: None,
        error: None,
        code: None,
        revision: "2026-07-28",
        transport: Transport::Http,
        server: Some("crm"),
    }
}

fn call(nth: usize) {
    let trace = &Trace::begin(Said { traceparent: Some(CALLER), ..Said::default() });
    let server =
        ServerId::new(Holder::Tenant(TenantId::new("acme")), ServerName::new("crm").expect("a name"));
    let operation = Operation { error: Some("tool_error"), ..operation("search") };
    let (hop, took) = (trace.hop(), Duration::from_millis(30));
    HopEnded { trace, hop, operation, server: &server, address: Some(("crm.example", 443)), took }.emit();
    CallEnded {
        call: &format!("call-{nth}"),
        trace,
        operation: Operation { tool: Some("crm__search"), ..operation },
        outcome: "tool_error",
        tenant: "acme",
        endpoint: "",
        request_id: "\"r-7\"",
        resource: Some("https://u:hunter2@h.example/x?token=hunter2"),
        client: None,
        took: Duration::from_millis(40),
    }
    .emit();
}

fn of_call<'a>(received: &'a Received, id: &str) -> Vec<&'a Span> {
    let is = |span: &&Span| attribute(&span.attributes, "tollgate.call.id").as_deref() == Some(id);
    received.spans.iter().map(|(_, span)| span).filter(is).collect()
}

#[tokio::test]
async fn everything_arrives_also_where_the_receiver_was_away() {
    let log = LogSettings { format: Format::Json, filter: "debug".to_owned(), colour: false };
    let _log = tollgate_telemetry::init(&log).expect("a log");
    let collector = Collector::start().await.expect("a receiver");
    let collect = |metrics: &mut Metrics| counters::write(metrics);
    let telemetry = Telemetry::start(&settings(&collector), collect).expect("exporters");

    call(0);
    let received = collector.wait(|received| received.spans.len() >= 2).await.expect("spans");
    let (resource, server) =
        received.spans.iter().find(|(_, span)| span.kind() == SpanKind::Server).expect("it");
    let (_, client) = received.spans.iter().find(|(_, span)| span.kind() == SpanKind::Client).expect("it");
    assert_eq!(attribute(resource, "service.name").as_deref(), Some("tollgate"));
    assert_eq!((server.name.as_str(), client.name.as_str()), ("tools/call crm__search", "tools/call search"));
    assert_eq!(server.trace_id, client.trace_id);
    assert_eq!(server.parent_span_id, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
    assert_eq!(client.parent_span_id, server.span_id);
    let sent = client.span_id.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    assert!(!sent.is_empty() && server.end_time_unix_nano - server.start_time_unix_nano == 40_000_000);
    for (key, expected) in [
        ("mcp.method.name", "tools/call"),
        ("gen_ai.operation.name", "execute_tool"),
        ("gen_ai.tool.name", "crm__search"),
        ("error.type", "tool_error"),
        ("jsonrpc.request.id", "r-7"),
        ("mcp.resource.uri", "https://h.example/x"),
        ("tollgate.tenant", "acme"),
    ] {
        assert_eq!(attribute(&server.attributes, key).as_deref(), Some(expected), "{key}");
    }
    assert_eq!(server.status.as_ref().expect("a status").code, 2);

    let has_metrics = |received: &Received| {
        received.metrics.iter().any(|(_, metric)| metric.name == "mcp.server.operation.duration")
    };
    let received = collector.wait(has_metrics).await.expect("metrics");
    let named = |name: &str| received.metrics.iter().rev().find(|(_, metric)| metric.name == name);
    let (_, durations) = named("mcp.client.operation.duration").expect("it");
    let Some(Data::Histogram(histogram)) = &durations.data else { panic!("{durations:?}") };
    assert_eq!((histogram.data_points[0].count, durations.unit.as_str()), (1, "s"));
    assert!(named("process.cpu.time").is_some() && named("tollgate.requests").is_some());

    let logged = |received: &Received| {
        received.logs.iter().any(|(_, record)| {
            attribute(&record.attributes, "call").as_deref() == Some("call-0")
                && record.trace_id == server.trace_id
                && record.body.as_ref().and_then(text).as_deref() == Some("request ended")
        })
    };
    collector.wait(logged).await.expect("the line");

    // Away, and cut off in the middle of an exchange once it is back: nothing is lost, and what may be there twice has one id.
    let (address, received) = (collector.address(), collector.received());
    drop(collector);
    for nth in 1..=2000 {
        call(nth);
    }
    while !not_sent().iter().any(|signal| signal.signal == Signal::Traces) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let collector = Collector::start_at(address, received).await.expect("the port again");
    collector.answer([Answer::Lost, Answer::Cut, Answer::Refused(503, 14, None)]);
    let all =
        |received: &Received| (1..=2000).all(|nth| !of_call(received, &format!("call-{nth}")).is_empty());
    let received =
        collector.wait(all).await.unwrap_or_else(|received| panic!("{} spans", received.spans.len()));
    let mut ids: Vec<_> = received.spans.iter().map(|(_, span)| span.span_id.clone()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2 * 2001, "each span once, whatever arrived twice");
    while !not_sent().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    // What still waits at the end is sent.
    call(3000);
    telemetry.stop(Duration::from_secs(10)).await;
    assert_eq!(of_call(&collector.received(), "call-3000").len(), 1);
}
