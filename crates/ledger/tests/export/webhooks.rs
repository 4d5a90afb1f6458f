//! A web server that fails, hangs, breaks off and comes back.

use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tollgate_ledger::export::{ExportSettings, Flavour, TargetSettings, WebhookSettings};
use tollgate_ledger::{CallId, Entry, Kind};
use tollgate_model::{Secret, Timestamp};

use crate::rig::{Rig, assert_whole, export, numbers};

/// What a receiver does with a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Does {
    /// It takes it and says so.
    Take,
    /// It takes it, and breaks off before it says so.
    TakeAndBreak,
    /// It says this instead.
    Say(&'static str),
    /// It says nothing.
    Hang,
    /// It takes bodies up to this size, and says of larger ones that they are too large.
    TakeSmall(usize),
}

/// A request that was taken.
#[derive(Debug, Clone)]
struct Taken {
    head: String,
    body: Vec<u8>,
}

struct Receiver {
    url: String,
    does: Arc<Mutex<Does>>,
    taken: Arc<Mutex<Vec<Taken>>>,
}

impl Receiver {
    async fn new(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let url = format!("http://{}/in", listener.local_addr().expect("an address"));
        let (does, taken) = (Arc::new(Mutex::new(does)), Arc::default());
        let (what, into) = (Arc::clone(&does), Arc::clone(&taken));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&what), Arc::clone(&into)));
            }
        });
        Self { url, does, taken }
    }

    fn now(&self, does: Does) {
        *self.does.lock().expect("a lock") = does;
    }

    fn entries(&self) -> Vec<Value> {
        let taken = self.taken.lock().expect("a lock");
        let arrays =
            taken.iter().map(|taken| serde_json::from_slice::<Vec<Value>>(&taken.body).expect("an array"));
        arrays.flatten().collect()
    }

    fn settings(&self) -> WebhookSettings {
        WebhookSettings {
            url: self.url.parse().expect("a URL"),
            flavour: Flavour::Array,
            headers: Vec::new(),
            gzip: false,
            ca_pem: None,
            allow_private: true,
        }
    }

    fn export(&self) -> ExportSettings {
        export(TargetSettings::Webhook(self.settings()))
    }
}

async fn serve(mut stream: TcpStream, does: Arc<Mutex<Does>>, into: Arc<Mutex<Vec<Taken>>>) {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let length: usize = length.expect("a length");
        while read.len() < end + length {
            assert!(stream.read_buf(&mut read).await.unwrap_or(0) > 0, "it broke off");
        }
        let body = read[end..end + length].to_vec();
        read.drain(..end + length);
        let what = *does.lock().expect("a lock");
        let answer = match what {
            Does::Say(answer) => answer,
            Does::TakeSmall(bytes) if body.len() > bytes => "413 Too Large",
            Does::Hang => return std::future::pending().await,
            Does::Take | Does::TakeSmall(_) | Does::TakeAndBreak => {
                into.lock().expect("a lock").push(Taken { head, body });
                "200 OK"
            }
        };
        if what == Does::TakeAndBreak {
            return;
        }
        let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_receiver_that_fails_gets_everything_when_it_is_back_and_is_told_what_it_may_have() {
    for fault in [Does::Say("500 No"), Does::Say("429 Later"), Does::TakeAndBreak, Does::Hang] {
        let mut rig = Rig::new();
        let receiver = Receiver::new(fault).await;
        let mut settings = receiver.export();
        settings.pace.timeout = Duration::from_secs(2);
        rig.exports.apply(&[settings]);
        rig.write(5);
        let line = rig.until(|line| line.away.is_some()).await;
        assert_eq!((line.seq, line.sent), (0, 0), "{fault:?}");
        receiver.now(Does::Take);
        let line = rig.until(|line| line.seq == 5 && line.away.is_none()).await;
        assert!(line.redelivered > 0 && line.failures > 0, "{fault:?}: {line:?}");
        rig.write(2);
        rig.until(|line| line.seq == 7).await;
        let entries = receiver.entries();
        assert_whole(&entries, 7);
        assert!(entries[entries.len() - 2..].iter().all(|entry| entry["redelivered"].is_null()), "{fault:?}");
    }
}

#[tokio::test]
async fn nothing_is_marked_that_cannot_have_arrived() {
    let mut rig = Rig::new();
    let receiver = Receiver::new(Does::Take).await;
    let mut settings = receiver.export();
    let TargetSettings::Webhook(webhook) = &mut settings.target else { unreachable!() };
    webhook.allow_private = false;
    rig.exports.apply(std::slice::from_ref(&settings));
    rig.write(3);
    let line = rig.until(|line| line.away.is_some()).await;
    assert!(line.away.expect("a reason").0.contains("no public address"), "private addresses are not called");
    assert!(receiver.entries().is_empty());
    rig.exports.apply(&[receiver.export()]);
    rig.until(|line| line.seq == 3).await;
    assert!(receiver.entries().iter().all(|entry| entry["redelivered"].is_null()));
}

#[tokio::test]
async fn a_receiver_of_small_bodies_gets_small_batches() {
    let mut rig = Rig::new();
    let receiver = Receiver::new(Does::TakeSmall(400)).await;
    rig.write(20);
    rig.exports.apply(&[receiver.export()]);
    rig.until(|line| line.seq == 20).await;
    let entries = receiver.entries();
    assert_whole(&entries, 20);
    assert!(receiver.taken.lock().expect("a lock").len() > 5);
}

#[tokio::test]
async fn a_receiver_says_how_long_it_wants_to_be_left_alone() {
    let mut rig = Rig::new();
    let receiver = Receiver::new(Does::Say("503 Later\r\nretry-after: 3600")).await;
    rig.exports.apply(&[receiver.export()]);
    rig.write(1);
    rig.until(|line| line.failures == 1).await;
    receiver.now(Does::Take);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(receiver.entries().is_empty(), "pauses of its own would long be over");
}

#[tokio::test]
async fn splunk_gets_events_with_their_time_and_its_token() {
    let mut rig = Rig::new();
    let receiver = Receiver::new(Does::Take).await;
    let (token, host) = (Secret::new("t0ken".to_owned()), "gate".into());
    let flavour = Flavour::SplunkHec { token, index: Some("audit".into()), host };
    let settings = WebhookSettings { flavour, gzip: true, ..receiver.settings() };
    rig.exports.apply(&[export(TargetSettings::Webhook(settings))]);
    rig.write(2);
    rig.until(|line| line.seq == 2).await;
    let taken = receiver.taken.lock().expect("a lock").clone();
    assert!(taken[0].head.contains("authorization: splunk t0ken\r\n"), "{}", taken[0].head);
    assert!(taken[0].head.contains("content-encoding: gzip\r\n"), "{}", taken[0].head);
    let mut text = String::new();
    for taken in &taken {
        flate2::read::GzDecoder::new(&taken.body[..]).read_to_string(&mut text).expect("gzip");
    }
    assert!(text.contains("\"time\":1700000000.001,"), "{text}");
    let events: Vec<Value> =
        serde_json::Deserializer::from_str(&text).into_iter().map(|event| event.expect("JSON")).collect();
    assert_eq!(events.len(), 2);
    assert_eq!((&events[0]["index"], &events[0]["host"]), (&"audit".into(), &"gate".into()));
    assert_eq!(events[0]["sourcetype"], "tollgate:ledger");
    let inner: Vec<Value> = events.iter().map(|event| event["event"].clone()).collect();
    assert_eq!(numbers(&inner), [1, 2]);
}

#[tokio::test]
async fn a_receiver_of_otlp_gets_log_records() {
    use prost::Message as _;
    use tollgate_ledger::{Entry, Kind};
    use tollgate_telemetry::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
    use tollgate_telemetry::otlp::proto::common::v1::any_value::Value::StringValue;
    use tollgate_telemetry::otlp::{Endpoint, Protocol};

    let mut rig = Rig::new();
    let receiver = Receiver::new(Does::Say("503 Later")).await;
    let url = receiver.url.parse().expect("a URL");
    rig.exports.apply(&[export(TargetSettings::Otlp(Endpoint::new(url, Protocol::Http)))]);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    rig.scribe.write(Entry { trace: Some(trace.into()), ..Entry::of(Kind::Gap) }, "");
    rig.until(|line| line.away.is_some()).await;
    receiver.now(Does::Take);
    rig.until(|line| line.seq == 1).await;
    let taken = receiver.taken.lock().expect("a lock").clone();
    let request = ExportLogsServiceRequest::decode(&taken[0].body[..]).expect("a request");
    let logs = &request.resource_logs[0].scope_logs[0].log_records;
    let record = &logs[0];
    assert_eq!(
        (logs.len(), record.time_unix_nano, &*record.severity_text),
        (1, 1_700_000_000_001_000_000, "ERROR")
    );
    assert_eq!((&*record.event_name, record.trace_id[0]), ("tollgate.ledger.gap", 0x0a));
    let Some(StringValue(body)) = record.body.as_ref().and_then(|body| body.value.as_ref()) else {
        panic!("{record:?}")
    };
    let entry: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!((&entry["seq"], &entry["redelivered"]), (&1.into(), &true.into()));
    assert!(
        record.attributes.iter().any(|attribute| attribute.key == "tollgate.ledger.redelivered"),
        "{record:?}"
    );
}

#[tokio::test]
async fn an_entry_that_is_too_large_for_the_receiver_holds_nothing_up() {
    let mut rig = Rig::new();
    let receiver = Receiver::new(Does::TakeSmall(1000)).await;
    rig.write(3);
    let call = CallId::new(Timestamp::now());
    let large = Entry {
        call: Some(call),
        tenant: Some("acme".into()),
        native_name: Some("x".repeat(2000).into()),
        ..Entry::of(Kind::Intent)
    };
    rig.scribe.write(large, "");
    rig.write(3);
    rig.exports.apply(&[receiver.export()]);
    let line = rig.until(|line| line.seq == 7).await;
    assert_eq!((line.lost, line.away), (1, None));
    let entries = receiver.entries();
    assert_whole(&entries, 7);
    let stub = entries.iter().find(|entry| entry["seq"] == 4).expect("a stub");
    let said = [&stub["kind"], &stub["call"], &stub["entry_left_out"], &stub["native_name"]];
    assert_eq!(
        said,
        [&"intent".into(), &call.to_string().into(), &"too large for this receiver".into(), &Value::Null]
    );
    assert!(stub["hash"].is_string() && stub["writer"] == "w1", "{stub}");
}

#[tokio::test]
async fn a_receiver_that_takes_nothing_at_all_gets_whole_entries_later() {
    let mut rig = Rig::new();
    let receiver = Receiver::new(Does::Say("400 Bad Request")).await;
    rig.write(3);
    rig.exports.apply(&[receiver.export()]);
    rig.until(|line| line.failures > 15).await;
    receiver.now(Does::Take);
    let line = rig.until(|line| line.seq == 3).await;
    let entries = receiver.entries();
    assert_eq!((numbers(&entries), line.lost <= 1), (vec![1, 2, 3], true));
    assert!(entries[1..].iter().all(|entry| entry["tenant"] == "acme"), "{entries:?}");
}

#[tokio::test]
async fn a_receiver_of_otlp_over_grpc_gets_log_records_and_what_it_refuses_is_passed_over() {
    use tollgate_telemetry::otlp::{Endpoint, Protocol};
    use tollgate_testkit::collector::{Answer, Collector, text};

    let mut rig = Rig::new();
    let collector = Collector::start().await.expect("a receiver");
    // Away, cut off, and back.
    collector.answer([Answer::Refused(503, 14, None), Answer::Cut]);
    let url = collector.url().parse().expect("a URL");
    rig.exports.apply(&[export(TargetSettings::Otlp(Endpoint::new(url, Protocol::Grpc)))]);
    rig.write(3);
    let line = rig.until(|line| line.seq == 3).await;
    assert!(line.failures >= 2 && line.redelivered >= 3 && line.lost == 0, "{line:?}");
    let entries = || -> Vec<Value> {
        let logs = collector.received().logs;
        let bodies = logs.iter().filter_map(|(_, record)| text(record.body.as_ref()?));
        bodies.map(|body| serde_json::from_str(&body).expect("JSON")).collect()
    };
    assert_whole(&entries(), 3);
    assert!(entries().iter().all(|entry| entry["writer"] == "w1" && entry["kind"] == "refusal"));
    // Of a batch it takes only a part, for good.
    collector.answer([Answer::Partly(1)]);
    rig.write(2);
    let line = rig.until(|line| line.seq == 5).await;
    assert_eq!(line.lost, 1, "{line:?}");
    // One that it does not take in any form that it has.
    collector.answer((0..5).map(|_| Answer::Refused(400, 3, None)));
    let call = CallId::new(Timestamp::now());
    rig.scribe.write(Entry { call: Some(call), method: Some("m".into()), ..Entry::of(Kind::Intent) }, "");
    let line = rig.until(|line| line.seq == 6).await;
    assert_eq!(line.lost, 2, "{line:?}");
    let last = entries().pop().expect("a stub");
    assert_eq!(
        (&last["seq"], &last["call"], &last["method"], &last["entry_left_out"]),
        (&6.into(), &call.to_string().into(), &Value::Null, &"not taken by this receiver".into())
    );
}
