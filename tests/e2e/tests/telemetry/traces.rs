//! Calls in their traces, from any client to any server.

use serde_json::json;
use tollgate_e2e::gateway::{Gateway, servers, with};
use tollgate_e2e::upstream::{Kind, Upstream};
use tollgate_testkit::collector::proto::trace::v1::Span;
use tollgate_testkit::collector::proto::trace::v1::span::SpanKind;
use tollgate_testkit::collector::{Answer, Collector, Received, attribute};
use tollgate_testkit::fake::{Call, Dialect, Script, json as raw, until};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

fn telemetry(collector: &Collector) -> serde_json::Value {
    json!({
        "telemetry": {
            "otlp": { "endpoint": collector.url() },
            "traces": { "sample_ratio": 0, "delay_ms": 20 },
            "metrics": { "interval_ms": 200 },
            "logs": { "delay_ms": 20 },
        }
    })
}

fn of_kind(received: &Received, kind: SpanKind, method: &str) -> Vec<Span> {
    let is = |span: &Span| {
        span.kind() == kind && attribute(&span.attributes, "mcp.method.name").as_deref() == Some(method)
    };
    received.spans.iter().map(|(_, span)| span).filter(|span| is(span)).cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_followed_to_any_server_and_passed_on_in_its_transports_way() {
    for kind in [Kind::ModernJson, Kind::LegacyStream, Kind::LegacySse, Kind::ModernStdio, Kind::LegacyStdio]
    {
        for dialect in [Dialect::Modern, Dialect::Legacy] {
            let what = format!("{dialect:?} to {kind:?}");
            let collector = Collector::start().await.unwrap();
            let upstream = Upstream::start(kind, Script::legacy()).await;
            let gateway =
                Gateway::start(&with(&servers([("there", upstream.entry())]), telemetry(&collector))).await;
            let mut peer = gateway.peer(dialect, "/mcp").await;
            peer.tools().await;
            let meta = format!(r#""traceparent":"{PARENT}","tracestate":"a=b","baggage":"c=d""#);
            peer.request(&Call::tool("there__echo", "{}").meta(meta)).await.result();

            let sent = upstream.wait_method("tools/call", 1).await;
            let said = |key: &str| raw::text_at(sent.text(), &["params", "_meta", key]);
            let parent = said("traceparent").unwrap_or_else(|| panic!("{what}: {}", sent.text()));
            assert!(
                parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-01"),
                "{what}: {parent}"
            );
            assert_eq!(
                (said("tracestate").as_deref(), said("baggage").as_deref()),
                (Some("a=b"), Some("c=d")),
                "{what}"
            );
            if !kind.is_stdio() && kind != Kind::LegacySse {
                assert_eq!(sent.header("traceparent"), Some(&*parent), "{what}");
                assert_eq!(
                    (sent.header("tracestate"), sent.header("baggage")),
                    (Some("a=b"), Some("c=d")),
                    "{what}"
                );
            }

            let has = |received: &Received| {
                let of = |kind| !of_kind(received, kind, "tools/call").is_empty();
                of(SpanKind::Server) && of(SpanKind::Client)
            };
            let received =
                collector.wait(has).await.unwrap_or_else(|received| panic!("{what}: {received:?}"));
            let server = of_kind(&received, SpanKind::Server, "tools/call").remove(0);
            let client = of_kind(&received, SpanKind::Client, "tools/call").remove(0);
            assert_eq!(
                (hex(&server.trace_id), hex(&server.parent_span_id)),
                (TRACE.to_owned(), PARENT[36..52].to_owned())
            );
            assert_eq!(
                (&client.trace_id, &client.parent_span_id),
                (&server.trace_id, &server.span_id),
                "{what}"
            );
            assert_eq!(hex(&client.span_id), parent[36..52], "{what}: the server goes on below the hop");
            let of = |span: &Span, key: &str| attribute(&span.attributes, key).unwrap_or_default();
            assert_eq!(
                (of(&server, "gen_ai.tool.name"), of(&client, "gen_ai.tool.name")),
                ("there__echo".into(), "echo".into())
            );
            let transport = if kind.is_stdio() { "pipe" } else { "tcp" };
            assert_eq!(
                (of(&client, "network.transport").as_str(), of(&client, "tollgate.server").as_str()),
                (transport, "there")
            );
            assert_eq!(of(&server, "tollgate.outcome"), "ok", "{what}");
            assert!(server.status.is_none(), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_marked_and_found_by_one_id() {
    let collector = Collector::start().await.unwrap();
    let upstream = Upstream::start(Kind::ModernJson, Script::modern()).await;
    let config = with(&servers([("there", upstream.entry())]), telemetry(&collector));
    let gateway = Gateway::start_with(&config, &[("TOLLGATE_LOG", "debug")]).await;
    let mut peer = gateway.modern("/mcp");
    let traced = |call: Call| call.meta(format!(r#""traceparent":"{PARENT}""#));
    let answer = peer.request(&traced(Call::tool("nowhere__echo", "{}"))).await;
    let call =
        raw::text_at(&answer.error().unwrap(), &["data", "dev.tollgate/refusal", "requestId"]).unwrap();
    let is = |span: &&Span| attribute(&span.attributes, "tollgate.call.id").as_deref() == Some(&call);
    let has = |received: &Received| received.spans.iter().any(|(_, span)| is(&span));
    let received = collector.wait(has).await.unwrap_or_else(|received| panic!("{received:?}"));
    let span = received.spans.iter().map(|(_, span)| span).find(is).unwrap();
    assert_eq!(span.status.as_ref().unwrap().code, 2);
    assert_eq!(
        attribute(&span.attributes, "gen_ai.tool.name").as_deref(),
        Some("_other"),
        "no list has shown it"
    );
    let line = until("the refusal in the log", async || {
        let log = gateway.log();
        log.lines().find(|line| line.contains(&call) && line.contains("refused")).map(str::to_owned)
    })
    .await;
    assert!(line.contains(TRACE), "{line}");
    // Nobody asked for the others.
    peer.request(&Call::tool("there__echo", "{}")).await.result();
    let counted = r#"mcp_server_operation_duration_seconds_count{mcp_method_name="tools/call",gen_ai_operation_name="execute_tool",gen_ai_tool_name="there__echo""#;
    let text = until("the call among the metrics", async || {
        Some(gateway.metrics().await).filter(|text| text.contains(counted))
    })
    .await;
    assert!(text.contains(r#"gen_ai_tool_name="_other""#) && !text.contains("nowhere"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_cut_off_and_comes_back_misses_nothing() {
    let collector = Collector::start().await.unwrap();
    let upstream = Upstream::start(Kind::ModernJson, Script::modern()).await;
    let config = with(&servers([("there", upstream.entry())]), telemetry(&collector));
    let mut gateway = Gateway::start_with(&config, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "5000")]).await;
    let mut peer = gateway.modern("/mcp");
    let mut sent = 0;
    let mut calls = async |count: usize| {
        for _ in 0..count {
            sent += 1;
            let meta = format!(r#""traceparent":"00-{TRACE}-{sent:016x}-01""#);
            peer.request(&Call::tool("there__echo", "{}").meta(meta)).await.result();
        }
    };
    calls(20).await;
    collector.answer([Answer::Lost, Answer::Cut, Answer::Refused(503, 14, Some(1))]);
    calls(20).await;
    let address = collector.address();
    let received = collector.leave();
    calls(20).await;
    gateway.logged("telemetry is not taken").await;
    let ready = gateway.readiness().await;
    assert!(ready["degraded"].as_array().unwrap().iter().any(|part| part["part"] == "telemetry"), "{ready}");
    assert_eq!(ready["ready"], true, "clients are served all the same");
    let collector = Collector::start_at(address, received).await.unwrap();
    calls(20).await;
    // What is still waiting at the end is sent, too.
    gateway.signal(rustix::process::Signal::TERM);
    assert!(gateway.ended().await.success());
    let received = collector.received();
    let mut ids: Vec<String> = of_kind(&received, SpanKind::Server, "tools/call")
        .iter()
        .map(|span| hex(&span.parent_span_id))
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids, (1..=sent).map(|nth| format!("{nth:016x}")).collect::<Vec<_>>());
    assert!(received.metrics.iter().any(|(_, metric)| metric.name == "mcp.server.operation.duration"));
}
