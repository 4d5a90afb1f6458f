//! Sending traces, metrics and logs by OTLP: once per process, from queues that are never waited for.

mod logs;
mod metrics;
mod queue;
mod status;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) use self::logs::Exported;
pub(crate) use self::queue::Queue;
pub use self::status::NotSent;
use self::status::Status;
use crate::counters::Metrics;
use crate::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use crate::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use crate::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use crate::otlp::proto::common::v1::InstrumentationScope;
use crate::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use crate::otlp::proto::metrics::v1::{ResourceMetrics, ScopeMetrics};
use crate::otlp::proto::resource::v1::Resource;
use crate::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use crate::otlp::{Client, OtlpError, Signal};
use crate::settings::{SignalSettings, TelemetrySettings};
use crate::trace::{self, Tracer};

/// For how long one batch is sent again before it is given up.
const PATIENCE: Duration = Duration::from_mins(5);

static STATUS: [Status; 3] =
    [Status::new(Signal::Traces), Status::new(Signal::Metrics), Status::new(Signal::Logs)];
static SPANS: OnceLock<Arc<Queue<Span>>> = OnceLock::new();
static RECORDS: OnceLock<Arc<Queue<LogRecord>>> = OnceLock::new();

/// What is being sent, until it is stopped.
#[derive(Debug)]
pub struct Telemetry {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Telemetry {
    /// Sends what is to be sent from now on. `collect` writes every metric. Must be called within a runtime; what an earlier
    /// one in this process has begun to send stays its.
    ///
    /// # Errors
    /// If a receiver's address, headers or certificates cannot be used.
    pub fn start(
        settings: &TelemetrySettings,
        collect: impl Fn(&mut Metrics) + Send + Sync + 'static,
    ) -> Result<Self, OtlpError> {
        let (stop, stopped) = watch::channel(false);
        let resource = settings.resource();
        let client = |signal| match settings.signal(signal) {
            Some(signal_settings) => {
                Client::new(signal, &signal_settings.endpoint).map(|client| Some((client, signal_settings)))
            }
            None => Ok(None),
        };
        let (spans, numbers, records) =
            (client(Signal::Traces)?, client(Signal::Metrics)?, client(Signal::Logs)?);
        let mut tasks = Vec::new();
        if let Some((client, settings_of)) = spans {
            let queue = Arc::new(Queue::new(settings_of.queue_max, settings_of.batch_max));
            _ = SPANS.set(Arc::clone(&queue));
            trace::install(Tracer { sampler: settings.sampler, queue: Arc::clone(&queue) });
            let resource = resource.clone();
            let encode = move |spans| encode_spans(&resource, spans);
            let sender = Sender { client, status: &STATUS[0], stopped: stopped.clone() };
            tasks.push(tokio::spawn(sender.run(queue, settings_of.clone(), encode)));
        }
        if let Some((client, settings_of)) = records {
            let queue = Arc::new(Queue::new(settings_of.queue_max, settings_of.batch_max));
            _ = RECORDS.set(Arc::clone(&queue));
            let resource = resource.clone();
            let encode = move |records| encode_records(&resource, records);
            let sender = Sender { client, status: &STATUS[2], stopped: stopped.clone() };
            tasks.push(tokio::spawn(sender.run(queue, settings_of.clone(), encode)));
        }
        if let Some((client, settings_of)) = numbers {
            let sender = Sender { client, status: &STATUS[1], stopped };
            tasks.push(tokio::spawn(sender.report(settings_of.delay, resource, collect)));
        }
        Ok(Self { stop, tasks })
    }

    /// Sends what waits, for at most this long, and stops.
    pub async fn stop(self, patience: Duration) {
        self.stop.send_replace(true);
        let deadline = tokio::time::Instant::now() + patience;
        for mut task in self.tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

/// The signals that their receivers do not take.
pub fn not_sent() -> Vec<NotSent> {
    STATUS.iter().filter_map(Status::not_sent).collect()
}

/// Where log records go; none if they go nowhere.
pub(crate) fn records() -> Option<&'static Arc<Queue<LogRecord>>> {
    RECORDS.get()
}

/// Writes how sending goes.
pub(crate) fn write(metrics: &mut Metrics) {
    let dropped =
        [SPANS.get().map_or(0, |queue| queue.dropped()), 0, RECORDS.get().map_or(0, |queue| queue.dropped())];
    let name = "tollgate_telemetry_items_total";
    let help = "Spans, points and log records to be sent by OTLP, by what became of them.";
    metrics.family(name, "counter", help);
    for (status, dropped) in STATUS.iter().zip(dropped) {
        status.write_items(metrics, name, dropped);
    }
    let name = "tollgate_telemetry_failures_total";
    metrics.family(name, "counter", "Times that a receiver of OTLP did not take what was sent.");
    for status in &STATUS {
        status.write_failures(metrics, name);
    }
}

struct Sender {
    client: Client,
    status: &'static Status,
    stopped: watch::Receiver<bool>,
}

impl Sender {
    /// Sends what a queue has, until it is told to stop and the queue is empty.
    async fn run<T>(
        mut self,
        queue: Arc<Queue<T>>,
        settings: SignalSettings,
        encode: impl Fn(Vec<T>) -> Bytes,
    ) {
        loop {
            let is_stopping = tokio::select! {
                () = tokio::time::sleep(settings.delay) => false,
                () = queue.filled() => false,
                _ = self.stopped.wait_for(|stopped| *stopped) => true,
            };
            loop {
                let batch = queue.take(settings.batch_max);
                if batch.is_empty() {
                    break;
                }
                let items = batch.len();
                self.deliver(encode(batch), items, PATIENCE).await;
            }
            if is_stopping {
                return;
            }
        }
    }

    /// Sends every metric now and then, and once more at the end.
    async fn report(mut self, every: Duration, resource: Resource, collect: impl Fn(&mut Metrics)) {
        loop {
            let is_stopping = tokio::select! {
                () = tokio::time::sleep(every) => false,
                _ = self.stopped.wait_for(|stopped| *stopped) => true,
            };
            let mut collected = Metrics::default();
            collect(&mut collected);
            let metrics = metrics::encode(collected);
            let items = metrics.len();
            let scope = ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() };
            let resource_metrics = vec![ResourceMetrics {
                resource: Some(resource.clone()),
                scope_metrics: vec![scope],
                ..ResourceMetrics::default()
            }];
            let request = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec().into();
            // The next report says all of it again.
            self.deliver(request, items, every).await;
            if is_stopping {
                return;
            }
        }
    }

    async fn deliver(&self, request: Bytes, items: usize, patience: Duration) {
        let tell = |failure: &crate::otlp::Failure| self.status.trouble(&failure.to_string());
        match self.client.deliver(request, patience, tell).await {
            Ok(accepted) => self.status.taken(items, accepted.rejected),
            Err(failure) => {
                tell(&failure);
                self.status.gave_up(items);
            }
        }
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "tollgate".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn encode_spans(resource: &Resource, spans: Vec<Span>) -> Bytes {
    let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans, ..ScopeSpans::default() }];
    let resource = Some(resource.clone());
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

fn encode_records(resource: &Resource, log_records: Vec<LogRecord>) -> Bytes {
    let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records, ..ScopeLogs::default() }];
    let resource = Some(resource.clone());
    let resource_logs = vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec().into()
}
