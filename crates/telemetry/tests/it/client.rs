//! Sending over a real connection.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tollgate_model::Secret;
use tollgate_telemetry::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use tollgate_telemetry::otlp::proto::common::v1::AnyValue;
use tollgate_telemetry::otlp::proto::common::v1::any_value::Value;
use tollgate_telemetry::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use tollgate_telemetry::otlp::{
    Accepted, Client, Endpoint, Environment, Failure, Message as _, OtlpSettings, Protocol, Signal,
};
use tollgate_testkit::collector::{Answer, Collector, text};

const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::Http];

/// Far longer than any test takes.
const LONG: Duration = Duration::from_mins(10);

fn endpoint(collector: &Collector, protocol: Protocol) -> Endpoint {
    let settings = OtlpSettings {
        url: Some(collector.url().parse().expect("a URL")),
        protocol: Some(protocol),
        headers: Some(vec![("x-key".to_owned(), Secret::new("hunter2".to_owned()))]),
        ..OtlpSettings::default()
    };
    OtlpSettings::endpoint(Signal::Logs, &[&settings]).expect("an endpoint")
}

fn request(word: &str) -> Bytes {
    let body = Some(AnyValue { value: Some(Value::StringValue(word.to_owned())) });
    let record = LogRecord { body, ..LogRecord::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec().into()
}

fn words(collector: &Collector) -> Vec<String> {
    let logs = collector.received().logs;
    logs.iter().filter_map(|(_, record)| text(record.body.as_ref()?)).collect()
}

#[tokio::test]
async fn what_is_sent_arrives_with_its_headers() {
    for protocol in BOTH {
        let collector = Collector::start().await.expect("a receiver");
        let client = Client::new(Signal::Logs, &endpoint(&collector, protocol)).expect("a client");
        assert_eq!(client.send(request("one")).await, Ok(Accepted::default()), "{protocol:?}");
        collector.answer([Answer::Partly(1)]);
        let partly = Accepted { rejected: 1, message: Some("too many".to_owned()) };
        assert_eq!(client.deliver(request("two"), LONG, |_| ()).await, Ok(partly), "{protocol:?}");
        assert_eq!(words(&collector), ["one", "two"], "what was taken in part is not sent again");
        let headers = &collector.received().headers[0];
        assert_eq!(headers["x-key"], "hunter2");
        assert!(!format!("{client:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn only_what_may_get_better_is_sent_again() {
    for protocol in BOTH {
        let collector = Collector::start().await.expect("a receiver");
        let client = Client::new(Signal::Logs, &endpoint(&collector, protocol)).expect("a client");
        collector.answer([Answer::Refused(400, 3, None)]);
        let failure = client.deliver(request("bad"), LONG, |_| ()).await.expect_err("a refusal");
        assert!(!failure.may_retry() && failure.to_string().contains("not now"), "{failure}");

        collector.answer([Answer::Refused(503, 14, None), Answer::Refused(429, 8, Some(1)), Answer::Cut]);
        let (begun, mut tries) = (Instant::now(), 0);
        let delivered = client.deliver(request("good"), LONG, |_| tries += 1).await;
        assert_eq!((delivered, tries), (Ok(Accepted::default()), 3), "{protocol:?}");
        assert!(
            begun.elapsed() >= Duration::from_secs(2),
            "it waits between tries, and as long as it is asked to"
        );
        assert_eq!(words(&collector), ["good"], "{protocol:?}");

        collector.answer([Answer::Refused(503, 14, Some(60))]);
        let failure = client.deliver(request("late"), Duration::from_secs(30), |_| ()).await;
        let asked = Some(Duration::from_mins(1));
        assert!(matches!(failure, Err(Failure::Again { after, .. }) if after == asked), "{failure:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_comes_back_gets_what_it_missed() {
    for protocol in BOTH {
        let collector = Collector::start().await.expect("a receiver");
        let (address, endpoint) = (collector.address(), endpoint(&collector, protocol));
        let client = Client::new(Signal::Logs, &endpoint).expect("a client");
        assert_eq!(client.send(request("one")).await, Ok(Accepted::default()), "{protocol:?}");
        let received = collector.received();
        drop(collector);
        let (first_failed, failed) = tokio::sync::oneshot::channel();
        let mut first_failed = Some(first_failed);
        let sending = tokio::spawn(async move {
            let tell = |failure: &Failure| {
                assert!(failure.may_retry(), "{failure}");
                first_failed.take().map(|first| first.send(()));
            };
            client.deliver(request("two"), LONG, tell).await
        });
        failed.await.expect("a failure");
        let collector = Collector::start_at(address, received).await.expect("the port again");
        assert_eq!(sending.await.expect("a task"), Ok(Accepted::default()), "{protocol:?}");
        assert_eq!(words(&collector), ["one", "two"]);
    }
}

#[tokio::test]
async fn a_receiver_that_says_nothing_is_left_in_time() {
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("an address")).parse().expect("a URL");
    for protocol in BOTH {
        let endpoint =
            Endpoint { timeout: Duration::from_millis(100), ..Endpoint::new(Clone::clone(&url), protocol) };
        let client = Client::new(Signal::Logs, &endpoint).expect("a client");
        let failure = client.send(request("x")).await.expect_err("no answer");
        assert!(failure.may_retry(), "{failure}");
    }
}

#[tokio::test]
async fn what_cannot_work_is_said_at_once() {
    let environment = Environment::read(&|name| {
        (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| "https://127.0.0.1:1".to_owned())
    });
    for protocol in BOTH {
        let own = OtlpSettings {
            protocol: Some(protocol),
            ca_pem: Some("no certificate".into()),
            ..OtlpSettings::default()
        };
        let said = [&own, &environment.general];
        let endpoint = OtlpSettings::endpoint(Signal::Logs, &said).expect("an endpoint");
        assert!(Client::new(Signal::Logs, &endpoint).is_err());
        let headers = vec![("x y".to_owned(), Secret::new("v".to_owned()))];
        let endpoint = Endpoint { ca_pem: None, headers, ..endpoint };
        assert!(Client::new(Signal::Logs, &endpoint).is_err());
    }
}
