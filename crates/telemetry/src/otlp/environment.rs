//! The standard variables of the environment
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/> and the exporter's own page).

use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tollgate_model::Secret;
use url::Url;

use super::endpoint::{ClientCertificate, Endpoint, Protocol, Signal};
use crate::settings::Sampler;

/// The largest file that a variable may name.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What somebody says of a receiver. What is left open is taken from who is asked next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtlpSettings {
    /// Where it is.
    pub url: Option<Url>,
    /// Whether `url` is whole: by HTTP each signal has a path of its own behind one that is not.
    pub is_whole: bool,
    /// How requests travel.
    pub protocol: Option<Protocol>,
    /// Headers that go with every request.
    pub headers: Option<Vec<(String, Secret)>>,
    /// How long one try may take.
    pub timeout: Option<Duration>,
    /// The certificate authorities (PEM) to trust.
    pub ca_pem: Option<Arc<str>>,
    /// The client's own certificate.
    pub certificate: Option<ClientCertificate>,
}

impl OtlpSettings {
    /// The receiver of a signal, by what these say, the first of them first, and the standard's defaults last.
    pub fn endpoint(signal: Signal, said: &[&Self]) -> Option<Endpoint> {
        let protocol = said.iter().find_map(|said| said.protocol).unwrap_or_default();
        let (mut url, is_whole) = match said.iter().find_map(|said| Some((said.url.clone()?, said.is_whole)))
        {
            Some(found) => found,
            None => (Url::parse(protocol.usual_url()).ok()?, false),
        };
        if protocol == Protocol::Http && !is_whole {
            let path = format!("{}/{}", url.path().trim_end_matches('/'), signal.path());
            url.set_path(&path);
        }
        Some(Endpoint {
            headers: said.iter().find_map(|said| said.headers.clone()).unwrap_or_default(),
            timeout: said.iter().find_map(|said| said.timeout).unwrap_or(Endpoint::TIMEOUT),
            ca_pem: said.iter().find_map(|said| said.ca_pem.clone()),
            certificate: said.iter().find_map(|said| said.certificate.clone()),
            ..Endpoint::new(url, protocol)
        })
    }
}

/// What the environment says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Environment {
    /// `OTEL_SDK_DISABLED`.
    pub is_disabled: bool,
    /// `OTEL_SERVICE_NAME`.
    pub service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`.
    pub resource: Vec<(String, String)>,
    /// `OTEL_TRACES_SAMPLER` and its argument.
    pub sampler: Option<Sampler>,
    /// `OTEL_METRIC_EXPORT_INTERVAL`.
    pub metrics_interval: Option<Duration>,
    /// `OTEL_{BSP,BLRP}_SCHEDULE_DELAY`, by signal.
    pub delay: [Option<Duration>; 3],
    /// `OTEL_{BSP,BLRP}_MAX_QUEUE_SIZE`, by signal.
    pub queue_max: [Option<usize>; 3],
    /// `OTEL_{BSP,BLRP}_MAX_EXPORT_BATCH_SIZE`, by signal.
    pub batch_max: [Option<usize>; 3],
    /// `OTEL_…_EXPORTER`, by signal: whether it is to be sent.
    pub is_sent: [Option<bool>; 3],
    /// What `OTEL_EXPORTER_OTLP_…` says for all signals.
    pub general: OtlpSettings,
    /// What `OTEL_EXPORTER_OTLP_{TRACES,METRICS,LOGS}_…` says.
    pub own: [OtlpSettings; 3],
    /// What stands there and cannot be used. Values are not shown: they may be secret.
    pub problems: Vec<String>,
}

impl Environment {
    /// Reads the variables, and the files that they name. What is empty counts as not set; what cannot be read is left
    /// out, and a problem.
    pub fn read(var: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut reader = Reader { var, problems: Vec::new() };
        let mut environment = Self {
            is_disabled: reader
                .text("OTEL_SDK_DISABLED")
                .is_some_and(|text| text.eq_ignore_ascii_case("true")),
            service_name: reader.text("OTEL_SERVICE_NAME"),
            resource: reader.pairs("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default(),
            sampler: reader.sampler(),
            metrics_interval: reader.ms("OTEL_METRIC_EXPORT_INTERVAL"),
            general: reader.receiver("OTEL_EXPORTER_OTLP", false),
            ..Self::default()
        };
        for (nth, signal) in Signal::ALL.into_iter().enumerate() {
            let name = signal.variable();
            environment.own[nth] = reader.receiver(&format!("OTEL_EXPORTER_OTLP_{name}"), true);
            environment.is_sent[nth] = reader.exporter(&format!("OTEL_{name}_EXPORTER"));
            let batches = match signal {
                Signal::Traces => "OTEL_BSP",
                Signal::Logs => "OTEL_BLRP",
                Signal::Metrics => continue,
            };
            environment.delay[nth] = reader.ms(&format!("{batches}_SCHEDULE_DELAY"));
            environment.queue_max[nth] = reader.size(&format!("{batches}_MAX_QUEUE_SIZE"));
            environment.batch_max[nth] = reader.size(&format!("{batches}_MAX_EXPORT_BATCH_SIZE"));
        }
        environment.problems = reader.problems;
        environment
    }

    /// Whether the environment asks for a signal to be sent: it names a receiver, or says so outright.
    pub fn sends(&self, signal: Signal) -> bool {
        let nth = signal as usize;
        self.is_sent[nth].unwrap_or(self.general.url.is_some() || self.own[nth].url.is_some())
    }
}

struct Reader<'a> {
    var: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn text(&self, name: &str) -> Option<String> {
        (self.var)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn problem<T>(&mut self, name: &str, what: &str) -> Option<T> {
        self.problems.push(format!("{name} is left out: {what}"));
        None
    }

    fn ms(&mut self, name: &str) -> Option<Duration> {
        match self.text(name)?.parse() {
            Ok(ms) => Some(Duration::from_millis(ms)),
            Err(_) => self.problem(name, "it is no number of milliseconds"),
        }
    }

    fn size(&mut self, name: &str) -> Option<usize> {
        match self.text(name)?.parse() {
            Ok(size) if size > 0 => Some(size),
            _ => self.problem(name, "it is no number above 0"),
        }
    }

    fn exporter(&mut self, name: &str) -> Option<bool> {
        let text = self.text(name)?;
        let mut words = text.split(',').map(str::trim);
        if words.clone().any(|word| word == "otlp") {
            return Some(true);
        }
        // What is scraped is there in any case.
        if words.all(|word| matches!(word, "none" | "prometheus")) {
            Some(false)
        } else {
            self.problem(name, "there are `otlp` and `none`")
        }
    }

    fn sampler(&mut self) -> Option<Sampler> {
        const NAME: &str = "OTEL_TRACES_SAMPLER";
        const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
        let name = self.text(NAME)?;
        let (respects_parent, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name.as_str()),
        };
        let ratio = match root {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => match self.text(ARGUMENT).map(|text| text.parse::<f64>()) {
                None => 1.0,
                Some(Ok(ratio)) if (0.0..=1.0).contains(&ratio) => ratio,
                Some(_) => return self.problem(ARGUMENT, "it is no number from 0 to 1"),
            },
            _ => return self.problem(NAME, "this sampler is not known here"),
        };
        Some(Sampler { ratio, respects_parent })
    }

    /// `key1=value1,key2=value2`, values percent-encoded, as in W3C Baggage.
    fn pairs(&mut self, name: &str) -> Option<Vec<(String, String)>> {
        let text = self.text(name)?;
        let decoded = |text: &str| Some(percent_decode_str(text.trim()).decode_utf8().ok()?.into_owned());
        let pair = |part: &str| {
            let (key, value) = part.split_once('=')?;
            Some((decoded(key).filter(|key| !key.is_empty())?, decoded(value)?))
        };
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        match parts.map(pair).collect() {
            Some(pairs) => Some(pairs),
            None => self.problem(name, "it is no list of key=value"),
        }
    }

    fn file(&mut self, name: &str) -> Option<String> {
        let path = self.text(name)?;
        let is_small = std::fs::metadata(&path).is_ok_and(|file| file.len() <= FILE_BYTES_MAX);
        match std::fs::read_to_string(&path) {
            Ok(text) if is_small => Some(text),
            _ => self.problem(name, "the file cannot be read"),
        }
    }

    fn receiver(&mut self, prefix: &str, is_whole: bool) -> OtlpSettings {
        let named = |what: &str| format!("{prefix}_{what}");
        let protocol = match self.text(&named("PROTOCOL")).as_deref() {
            None => None,
            Some("grpc") => Some(Protocol::Grpc),
            Some("http/protobuf") => Some(Protocol::Http),
            Some(_) => self.problem(&named("PROTOCOL"), "there are `grpc` and `http/protobuf`"),
        };
        if self.text(&named("COMPRESSION")).is_some_and(|text| text != "none") {
            let _: Option<()> = self.problem(&named("COMPRESSION"), "nothing is compressed here");
        }
        let (chain, key) = (self.file(&named("CLIENT_CERTIFICATE")), self.file(&named("CLIENT_KEY")));
        let certificate = chain
            .zip(key)
            .map(|(chain, key)| ClientCertificate { chain_pem: Arc::from(chain), key_pem: Secret::new(key) });
        let headers = self.pairs(&named("HEADERS")).map(|pairs| {
            let header = |(name, value): (String, String)| (name.to_ascii_lowercase(), Secret::new(value));
            pairs.into_iter().map(header).collect()
        });
        OtlpSettings {
            url: self.url(&named("ENDPOINT"), &named("INSECURE")),
            is_whole,
            protocol,
            headers,
            timeout: self.ms(&named("TIMEOUT")),
            ca_pem: self.file(&named("CERTIFICATE")).map(Arc::from),
            certificate,
        }
    }

    fn url(&mut self, name: &str, insecure: &str) -> Option<Url> {
        let text = self.text(name)?;
        // gRPC knows addresses without a scheme.
        let text = if text.contains("://") {
            text
        } else {
            let is_plain = self.text(insecure).is_some_and(|text| text.eq_ignore_ascii_case("true"));
            format!("{}://{text}", if is_plain { "http" } else { "https" })
        };
        match Url::parse(&text) {
            Ok(url) if url.has_host() && matches!(url.scheme(), "http" | "https") => Some(url),
            _ => self.problem(name, "it is no http or https URL"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Environment {
        let var = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Environment::read(&var)
    }

    fn endpoint(environment: &Environment, signal: Signal) -> Endpoint {
        let said = [&environment.own[signal as usize], &environment.general];
        OtlpSettings::endpoint(signal, &said).expect("an endpoint")
    }

    #[test]
    fn signals_are_all_in_their_place() {
        assert!(Signal::ALL.iter().enumerate().all(|(nth, signal)| *signal as usize == nth));
    }

    #[test]
    fn a_base_gets_each_signals_path_and_an_own_address_none() {
        let environment = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/otlp/"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "https://logs.example/in?x=1"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "Api-Key=a%20b%2C, other = c=d "),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x=y"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ]);
        let (traces, logs) = (endpoint(&environment, Signal::Traces), endpoint(&environment, Signal::Logs));
        assert_eq!(traces.url.as_str(), "http://collector:4318/otlp/v1/traces");
        assert_eq!(logs.url.as_str(), "https://logs.example/in?x=1");
        assert_eq!(
            (logs.shown().as_str(), logs.timeout),
            ("https://logs.example/in", Duration::from_millis(1500))
        );
        let headers = |endpoint: &Endpoint| -> Vec<(String, String)> {
            endpoint.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect()
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(headers(&logs), [pair("api-key", "a b,"), pair("other", "c=d")]);
        assert_eq!(headers(&traces), [pair("x", "y")]);
        assert!(environment.sends(Signal::Metrics) && environment.problems.is_empty(), "{environment:?}");
        assert!(!format!("{environment:?}").contains("a b,"));
    }

    #[test]
    fn grpc_needs_no_scheme_and_nothing_said_is_nothing_sent() {
        let environment = read(&[
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_METRICS_INSECURE", "true"),
            ("OTEL_LOGS_EXPORTER", "otlp"),
        ]);
        let metrics = endpoint(&environment, Signal::Metrics);
        assert_eq!((metrics.url.as_str(), metrics.protocol), ("http://collector:4317/", Protocol::Grpc));
        assert_eq!(endpoint(&environment, Signal::Logs).url.as_str(), "http://localhost:4317/");
        assert_eq!(Signal::ALL.map(|signal| environment.sends(signal)), [false, true, true]);
        assert_eq!(Signal::ALL.map(|signal| read(&[]).sends(signal)), [false; 3]);
        let environment =
            read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"), ("OTEL_METRICS_EXPORTER", "none")]);
        assert_eq!(Signal::ALL.map(|signal| environment.sends(signal)), [true, false, true]);
    }

    #[test]
    fn samplers_are_known_by_their_names() {
        for (name, argument, ratio, respects_parent) in [
            ("always_on", "", 1.0, false),
            ("always_off", "", 0.0, false),
            ("traceidratio", "0.25", 0.25, false),
            ("parentbased_always_on", "", 1.0, true),
            ("parentbased_traceidratio", "", 1.0, true),
        ] {
            let environment = read(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)]);
            assert_eq!(environment.sampler, Some(Sampler { ratio, respects_parent }), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_and_not_shown() {
        let environment = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://hunter2"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "hunter2"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/hunter2"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "hunter2"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_TRACES_SAMPLER", "hunter2"),
            ("OTEL_TRACES_EXPORTER", "hunter2"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ]);
        assert_eq!(environment.problems.len(), 9, "{:?}", environment.problems);
        assert!(!format!("{environment:?}").contains("hunter2"));
        assert!(!environment.sends(Signal::Traces));
    }
}
