//! What is sent, and to whom: as the configuration says, and where it says nothing, the environment.

use std::time::Duration;

use crate::otlp::proto::resource::v1::Resource;
use crate::otlp::{Endpoint, Environment, OtlpSettings, Signal};
use crate::random;
use crate::trace::attribute;

/// How often metrics are sent, unless it is said: the standard's default.
const METRICS_INTERVAL: Duration = Duration::from_mins(1);
/// How long a span waits for others, unless it is said: the standard's default.
const TRACES_DELAY: Duration = Duration::from_secs(5);
/// How long a log record waits for others, unless it is said: the standard's default.
const LOGS_DELAY: Duration = Duration::from_secs(1);
/// How many spans, or log records, wait at once, unless it is said: four times the standard's default, since a gateway has more
/// to tell than most programs. It is about 8 MiB at most.
const QUEUE_MAX: usize = 8192;
/// How many are sent at once, unless it is said: the standard's default.
const BATCH_MAX: usize = 512;
/// The name of the service, unless it is said.
const SERVICE_NAME: &str = "tollgate";

/// Which calls are traced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// The share of calls, 0 to 1.
    pub ratio: f64,
    /// Whether a caller that traces a call itself, or says that it does not, decides.
    pub respects_parent: bool,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { ratio: 0.01, respects_parent: true }
    }
}

/// What the configuration says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Configured {
    /// The name of the service.
    pub service_name: Option<String>,
    /// More of what is said of the sender.
    pub resource: Vec<(String, String)>,
    /// The receiver of all signals.
    pub general: OtlpSettings,
    /// What is said of each signal, in the order of [`Signal::ALL`].
    pub own: [ConfiguredSignal; 3],
    /// The share of calls that is traced.
    pub sample_ratio: Option<f64>,
    /// Whether a caller that traces a call itself, or says that it does not, decides.
    pub respects_parent: Option<bool>,
}

/// What the configuration says of one signal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConfiguredSignal {
    /// Whether it is sent.
    pub is_sent: Option<bool>,
    /// Its own receiver.
    pub otlp: OtlpSettings,
    /// How long something waits for others.
    pub delay: Option<Duration>,
    /// How many wait at most.
    pub queue_max: Option<usize>,
    /// How many are sent at once.
    pub batch_max: Option<usize>,
}

/// What is sent, and to whom.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TelemetrySettings {
    /// The attributes of the sender.
    pub resource: Vec<(String, String)>,
    /// Which calls are traced.
    pub sampler: Sampler,
    /// What of each signal, in the order of [`Signal::ALL`]; none if it is not sent.
    pub signals: [Option<SignalSettings>; 3],
}

/// How one signal is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalSettings {
    /// Its receiver.
    pub endpoint: Endpoint,
    /// How long something waits for others; how often metrics are sent.
    pub delay: Duration,
    /// How many wait at most; what comes on top is counted and dropped.
    pub queue_max: usize,
    /// How many are sent at once.
    pub batch_max: usize,
}

impl TelemetrySettings {
    /// What the configuration says, then the environment, then the standard. `OTEL_SDK_DISABLED` turns everything off,
    /// whatever the configuration says: it is there for when something has to stop at once.
    pub fn of(configured: &Configured, environment: &Environment) -> Self {
        let mut settings = Self { sampler: environment.sampler.unwrap_or_default(), ..Self::default() };
        settings.sampler.ratio = configured.sample_ratio.unwrap_or(settings.sampler.ratio);
        settings.sampler.respects_parent =
            configured.respects_parent.unwrap_or(settings.sampler.respects_parent);
        settings.resource = resource(configured, environment);
        if !environment.is_disabled {
            settings.signals = Signal::ALL.map(|signal| SignalSettings::of(signal, configured, environment));
        }
        settings
    }

    /// How a signal is sent; none if it is not.
    pub fn signal(&self, signal: Signal) -> Option<&SignalSettings> {
        self.signals[signal as usize].as_ref()
    }

    /// Who sends, with what only this process knows of itself.
    pub(crate) fn resource(&self) -> Resource {
        let own = [
            ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("service.instance.id", format!("{:016x}{:016x}", random::next(), random::next())),
            ("process.pid", std::process::id().to_string()),
            ("telemetry.sdk.name", "tollgate".to_owned()),
            ("telemetry.sdk.language", "rust".to_owned()),
            ("telemetry.sdk.version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let is_said = |key: &str| self.resource.iter().any(|(said, _)| said == key);
        let said = self.resource.iter().map(|(key, text)| attribute(key, text));
        let own = own.iter().filter(|(key, _)| !is_said(key)).map(|(key, text)| attribute(key, text));
        Resource { attributes: said.chain(own).collect(), ..Resource::default() }
    }
}

impl SignalSettings {
    fn of(signal: Signal, configured: &Configured, environment: &Environment) -> Option<Self> {
        let nth = signal as usize;
        let own = &configured.own[nth];
        let has_receiver = own.otlp.url.is_some() || configured.general.url.is_some();
        let is_sent = own.is_sent.unwrap_or_else(|| match environment.is_sent[nth] {
            Some(is_sent) => is_sent,
            None => has_receiver || environment.sends(signal),
        });
        if !is_sent {
            return None;
        }
        let said = [&own.otlp, &configured.general, &environment.own[nth], &environment.general];
        let delay = own.delay.or(match signal {
            Signal::Metrics => environment.metrics_interval,
            Signal::Traces | Signal::Logs => environment.delay[nth],
        });
        let usual = match signal {
            Signal::Traces => TRACES_DELAY,
            Signal::Metrics => METRICS_INTERVAL,
            Signal::Logs => LOGS_DELAY,
        };
        Some(Self {
            endpoint: OtlpSettings::endpoint(signal, &said)?,
            delay: delay.unwrap_or(usual).max(Duration::from_millis(1)),
            queue_max: own.queue_max.or(environment.queue_max[nth]).unwrap_or(QUEUE_MAX),
            batch_max: own.batch_max.or(environment.batch_max[nth]).unwrap_or(BATCH_MAX),
        })
    }
}

/// Who sends: what is said first counts.
fn resource(configured: &Configured, environment: &Environment) -> Vec<(String, String)> {
    let name = configured.service_name.clone().map(|name| ("service.name".to_owned(), name));
    let said = environment.service_name.clone().map(|name| ("service.name".to_owned(), name));
    let usual = ("service.name".to_owned(), SERVICE_NAME.to_owned());
    let all = name.into_iter().chain(configured.resource.iter().cloned()).chain(said);
    let all = all.chain(environment.resource.iter().cloned()).chain([usual]);
    let mut resource: Vec<(String, String)> = Vec::new();
    for (key, text) in all {
        if !resource.iter().any(|(earlier, _)| *earlier == key) {
            resource.push((key, text));
        }
    }
    resource
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::Protocol;

    fn environment(variables: &'static [(&str, &str)]) -> Environment {
        let find = |name: &str| variables.iter().find(|(variable, _)| *variable == name);
        Environment::read(&|name| find(name).map(|(_, value)| (*value).to_owned()))
    }

    fn urls(settings: &TelemetrySettings) -> [Option<String>; 3] {
        Signal::ALL.map(|signal| settings.signal(signal).map(|signal| signal.endpoint.url.to_string()))
    }

    #[test]
    fn nothing_is_sent_unless_somebody_says_where_or_that() {
        let nothing = TelemetrySettings::of(&Configured::default(), &environment(&[]));
        assert_eq!(urls(&nothing), [None, None, None]);
        assert_eq!(nothing.resource, [("service.name".to_owned(), "tollgate".to_owned())]);
        assert_eq!(nothing.sampler, Sampler { ratio: 0.01, respects_parent: true });
    }

    #[test]
    fn the_configuration_comes_before_the_environment() {
        let environment = environment(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://e:1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "7"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://logs:1/x"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_SERVICE_NAME", "env"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=ignored,a=env,b=env"),
            ("OTEL_TRACES_SAMPLER", "always_on"),
            ("OTEL_BSP_SCHEDULE_DELAY", "9"),
        ]);
        let alone = TelemetrySettings::of(&Configured::default(), &environment);
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(urls(&alone), [text("http://e:1/v1/traces"), None, text("http://logs:1/x")]);
        assert_eq!(alone.sampler, Sampler { ratio: 1.0, respects_parent: false });

        let general = OtlpSettings {
            url: "http://c:2".parse().ok(),
            protocol: Some(Protocol::Grpc),
            ..OtlpSettings::default()
        };
        let mut configured = Configured {
            service_name: text("conf"),
            resource: vec![("a".to_owned(), "conf".to_owned())],
            general,
            sample_ratio: Some(0.5),
            ..Configured::default()
        };
        configured.own[1].is_sent = Some(true);
        configured.own[2].is_sent = Some(false);
        let settings = TelemetrySettings::of(&configured, &environment);
        assert_eq!(urls(&settings), [text("http://c:2/"), text("http://c:2/"), None]);
        let traces = settings.signal(Signal::Traces).expect("traces");
        assert_eq!(
            (traces.endpoint.timeout, traces.delay),
            (Duration::from_millis(7), Duration::from_millis(9))
        );
        assert_eq!(settings.sampler, Sampler { ratio: 0.5, respects_parent: false });
        let pairs = [("service.name", "conf"), ("a", "conf"), ("b", "env")];
        assert_eq!(settings.resource, pairs.map(|(key, text)| (key.to_owned(), text.to_owned())));
    }

    #[test]
    fn everything_can_be_turned_off_at_once() {
        let general = OtlpSettings { url: "http://c:2".parse().ok(), ..OtlpSettings::default() };
        let configured = Configured { general, ..Configured::default() };
        let settings = TelemetrySettings::of(&configured, &environment(&[("OTEL_SDK_DISABLED", "True")]));
        assert_eq!(urls(&settings), [None, None, None]);
    }
}
