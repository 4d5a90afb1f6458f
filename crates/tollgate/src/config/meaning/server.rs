//! One server: how it is reached.

use std::path::{Component, Path};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use tollgate_model::{Secret, ServerName};
use tollgate_upstream::{
    EraChoice, HttpSettings, HttpVersion, Isolation, LegacySessions, ServerSettings, StdioSettings, Transport,
};
use url::Url;

use super::{Meaning, shown};
use crate::config::client::Format;
use crate::config::forms::{Items, Keyed, Scalar, Short};
use crate::config::node::Place;
use crate::config::section::{
    EraSection, HttpVersionSection, IsolationSection, LegacySessionsSection, SecretSection, ServerSection,
    TransportSection,
};

/// Keys that only a server with a `command` has, and those that only one with a `url` has.
const COMMAND_KEYS: [&str; 4] = ["args", "env", "env_file", "cwd"];
const URL_KEYS: [&str; 6] =
    ["headers", "ca_file", "http_version", "circuit", "health", "answer_messages_max"];
/// Keys that only a server with several `replicas` has.
const REPLICA_KEYS: [&str; 2] = ["version", "failover_percent"];
/// Headers that the gateway sets itself, beside all that begin with `mcp-`.
const OWN_HEADERS: [&str; 12] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Meaning<'_> {
    /// What the section of a server means; `None` if something is wrong with it, which is then reported.
    pub(super) fn server(
        &mut self,
        name: ServerName,
        section: &ServerSection,
        place: &Place<'_>,
        message_bytes_max: Option<usize>,
    ) -> Option<ServerSettings> {
        let transport = self.transport(section, place)?;
        let mut settings = ServerSettings::new(name, transport);
        settings.era = match section.era {
            None | Some(EraSection::Auto) => EraChoice::Auto,
            Some(EraSection::Legacy) => EraChoice::Legacy,
            Some(EraSection::Modern) => EraChoice::Modern,
        };
        settings.isolation = section.isolation.map(|isolation| match isolation {
            IsolationSection::Shared => Isolation::Shared,
            IsolationSection::Tenant => Isolation::Tenant,
            IsolationSection::Principal => Isolation::Principal,
            IsolationSection::Session => Isolation::Session,
        });
        settings.legacy_sessions = match section.legacy_sessions {
            None | Some(LegacySessionsSection::Pooled) => LegacySessions::Pooled,
            Some(LegacySessionsSection::Strict) => LegacySessions::Strict,
            Some(LegacySessionsSection::Stateless) => LegacySessions::Stateless,
        };
        if settings.legacy_sessions == LegacySessions::Stateless
            && settings.isolation.is_some_and(|isolation| isolation != Isolation::Shared)
        {
            let message = "a `stateless` server is shared by all clients, and `isolation` keeps them apart";
            self.problems.error(&place.key("legacy_sessions"), message);
        }
        let wait =
            |target: &mut Duration, ms: Option<u64>| *target = ms.map_or(*target, Duration::from_millis);
        let timeouts = &mut settings.timeouts;
        wait(&mut timeouts.connect, section.connect_timeout_ms);
        wait(&mut timeouts.probe, section.probe_timeout_ms);
        wait(&mut timeouts.request, section.request_timeout_ms);
        wait(&mut timeouts.list, section.list_timeout_ms);
        wait(&mut timeouts.list_patience, section.list_patience_ms);
        timeouts.first_byte = section.first_byte_timeout_ms.map(Duration::from_millis);
        wait(&mut timeouts.silence, section.idle_timeout_ms);
        wait(&mut timeouts.capacity, section.capacity_timeout_ms);
        wait(&mut timeouts.queue, section.queue_timeout_ms);
        wait(&mut timeouts.idle, section.idle_ms);
        wait(&mut timeouts.stop, section.stop_timeout_ms);
        wait(&mut timeouts.backoff_min, section.backoff_ms_min);
        wait(&mut timeouts.backoff_max, section.backoff_ms_max);
        if timeouts.backoff_min > timeouts.backoff_max {
            let key = if section.backoff_ms_min.is_some() { "backoff_ms_min" } else { "backoff_ms_max" };
            self.problems.error(&place.key(key), "`backoff_ms_min` is longer than `backoff_ms_max`");
        }
        let retries = &mut settings.retries;
        retries.max = section.retries.unwrap_or(retries.max);
        retries.percent = section.retry_percent.unwrap_or(retries.percent);
        wait(&mut retries.wait_min, section.retry_ms_min);
        wait(&mut retries.wait_max, section.retry_ms_max);
        if retries.wait_min > retries.wait_max {
            let key = if section.retry_ms_min.is_some() { "retry_ms_min" } else { "retry_ms_max" };
            self.problems.error(&place.key(key), "`retry_ms_min` is longer than `retry_ms_max`");
        }
        if let Some(circuit) = &section.circuit {
            settings.circuit = Self::circuit(circuit);
        }
        settings.health = match &section.health {
            Some(health) => Some(self.health(health, &place.key("health"))?),
            None => None,
        };
        let limits = &mut settings.limits;
        limits.instances_max = section.instances_max.unwrap_or(limits.instances_max);
        limits.concurrency_max = section.concurrency_max.unwrap_or(limits.concurrency_max);
        limits.queue_max = section.queue_max.unwrap_or(limits.queue_max);
        limits.watched_max = section.watched_max.unwrap_or(limits.watched_max);
        limits.answer_messages_max = section.answer_messages_max.unwrap_or(limits.answer_messages_max);
        limits.message_bytes_max =
            section.message_bytes_max.or(message_bytes_max).unwrap_or(limits.message_bytes_max);
        Some(settings)
    }

    fn transport(&mut self, section: &ServerSection, place: &Place<'_>) -> Option<Transport> {
        match (&section.command, &section.url, &section.replicas) {
            (Some(command), None, None) => {
                if let Some(TransportSection::Http | TransportSection::Sse) = section.transport {
                    self.problems
                        .error(&place.key("transport"), "this transport needs a `url`, not a `command`");
                }
                self.without_effect(&URL_KEYS, "command", place);
                self.without_effect(&REPLICA_KEYS, "command", place);
                self.stdio(command, section, place)
            }
            (None, Some(url), None) => {
                self.without_effect(&COMMAND_KEYS, "url", place);
                self.without_effect(&REPLICA_KEYS, "url", place);
                let url = self.server_url(url, &place.key("url"));
                let http = self.http(section, place, HttpSettings::new(url?))?;
                Some(self.over_http(http, section, place))
            }
            (None, None, Some(_)) => {
                self.without_effect(&COMMAND_KEYS, "replicas", place);
                let http = self.replicas(section, place)?;
                let http = self.http(section, place, http)?;
                Some(self.over_http(http, section, place))
            }
            (Some(_), Some(_), _) => {
                let message = "either `command` or `url`: a server is started or reached, not both";
                self.problems.error(&place.key("url"), message);
                None
            }
            (_, _, Some(_)) => {
                let message =
                    "either `url` or `replicas`, and no `command`: each replica has a `url` of its own";
                self.problems.error(&place.key("replicas"), message);
                None
            }
            (None, None, None) => {
                // If a key was refused it may have been meant as one of the two.
                if !self.problems.below(&place.path) {
                    self.problems.error(place, "needs a `command` to start or a `url` to reach");
                }
                None
            }
        }
    }

    fn over_http(&mut self, http: HttpSettings, section: &ServerSection, place: &Place<'_>) -> Transport {
        if section.transport == Some(TransportSection::Stdio) {
            self.problems.error(&place.key("transport"), "stdio needs a `command`, not a `url`");
        }
        match section.transport {
            Some(TransportSection::Sse) => Transport::Sse(http),
            _ => Transport::Http(http),
        }
    }

    /// Keys that do not go with how the server is reached.
    fn without_effect(&mut self, keys: &[&str], because: &str, place: &Place<'_>) {
        for key in keys {
            let place = place.key(key);
            if place.node.is_none() {
                continue;
            }
            self.idle(&place, format!("has no meaning for a server with a `{because}`"));
        }
    }

    /// What has no effect is a mistake in our own file, and what some client needed in a client's.
    fn idle(&mut self, place: &Place<'_>, message: impl Into<String>) {
        match self.format {
            Format::Tollgate => self.problems.error(place, message),
            Format::McpServers | Format::VsCode => self.problems.warning(place, message, None),
        }
    }

    fn stdio(&mut self, command: &str, section: &ServerSection, place: &Place<'_>) -> Option<Transport> {
        let command_place = place.key("command");
        if command.trim().is_empty() || command.contains('\0') {
            self.problems.error(&command_place, "is empty, or holds a character that no command has");
            return None;
        }
        let mut stdio = StdioSettings::new(self.command(command, &command_place));
        for (index, Scalar(argument)) in Items::iter(section.args.as_ref()) {
            if argument.contains('\0') {
                self.problems.error(&place.key("args").item(index), "holds a NUL character");
            }
            stdio.args.push(argument.clone());
        }
        if let Some(path) = &section.env_file {
            match self.files.variables(path) {
                Ok(variables) => stdio.env = variables,
                Err(reason) => self.problems.error(&place.key("env_file"), reason),
            }
        }
        let env_place = place.key("env");
        for (name, Short(value)) in Keyed::iter(section.env.as_ref()) {
            let place = env_place.key(name);
            if name.is_empty() || name.contains(['=', '\0']) {
                self.problems.error(&place, "cannot be the name of an environment variable");
                continue;
            }
            let Some(value) = self.secret(value, &place) else { continue };
            if value.expose().contains('\0') {
                self.problems.error(&place, "the value holds a NUL character");
            }
            stdio.env.retain(|(earlier, _)| earlier != name);
            stdio.env.push((name.to_owned(), value));
        }
        if let Some(cwd) = &section.cwd {
            let cwd = self.files.path(cwd);
            if !cwd.is_dir() {
                self.problems.warning(&place.key("cwd"), format!("{} is no directory", cwd.display()), None);
            }
            stdio.cwd = Some(cwd);
        }
        Some(Transport::Stdio(stdio))
    }

    /// The program as it can be started: a path becomes absolute, a bare name is left for the search in `PATH`.
    fn command(&mut self, command: &str, place: &Place<'_>) -> String {
        let path = Path::new(command);
        let is_bare = matches!(path.components().collect::<Vec<_>>()[..], [Component::Normal(_)])
            && !command.contains(std::path::MAIN_SEPARATOR);
        if !is_bare {
            let path = self.files.path(command);
            if !path.exists() {
                self.problems.warning(place, format!("{} does not exist", shown_path(place, &path)), None);
            }
            return path.to_string_lossy().into_owned();
        }
        if let Some(folders) = self.env.var("PATH")
            && !std::env::split_paths(&folders).any(|folder| folder.join(command).is_file())
        {
            let message = format!("{} is not found in `PATH`", shown(place, command));
            let suggestion = if command.contains(char::is_whitespace) {
                "write the program alone, and its arguments under `args`"
            } else {
                "install it, or write its whole path"
            };
            self.problems.warning(place, message, Some(suggestion.to_owned()));
        }
        command.to_owned()
    }

    /// What all replicas have in common.
    fn http(
        &mut self,
        section: &ServerSection,
        place: &Place<'_>,
        mut http: HttpSettings,
    ) -> Option<HttpSettings> {
        http.headers = self.headers(section.headers.as_ref(), &place.key("headers"));
        http.ca_file = match &section.ca_file {
            Some(path) => Some(self.readable(path, &place.key("ca_file"))?),
            None => None,
        };
        http.version = match section.http_version {
            None | Some(HttpVersionSection::Auto) => HttpVersion::Auto,
            Some(HttpVersionSection::Http1) => HttpVersion::Http1,
            Some(HttpVersionSection::Http2) => HttpVersion::Http2,
        };
        Some(http)
    }

    pub(super) fn server_url(&mut self, text: &str, place: &Place<'_>) -> Option<Uri> {
        let url = match Url::parse(text) {
            Ok(url) if url.has_host() && matches!(url.scheme(), "http" | "https") => url,
            parsed => {
                let message = format!("{} is no http or https URL", shown(place, text));
                let bare = parsed.is_err() && !text.contains("://") && !text.trim().is_empty();
                if bare && !text.contains(char::is_whitespace) && shown(place, text) != "the value" {
                    self.problems.error_with(place, message, format!("did you mean `https://{text}`?"));
                } else {
                    self.problems.error(place, message);
                }
                return None;
            }
        };
        if !url.username().is_empty() || url.password().is_some() {
            let suggestion = "put the credential into `headers`: `Authorization: \"Bearer ${TOKEN}\"`";
            self.problems.error_with(place, "a URL must not carry a user name or password", suggestion);
            return None;
        }
        if url.fragment().is_some() {
            self.problems.error(place, "a fragment (`#…`) is never sent to a server");
            return None;
        }
        match url.as_str().parse() {
            Ok(uri) => Some(uri),
            Err(_) => {
                self.problems.error(place, "has characters that a URL may not have");
                None
            }
        }
    }

    pub(super) fn headers(
        &mut self,
        section: Option<&Keyed<Short<SecretSection>>>,
        place: &Place<'_>,
    ) -> Vec<(HeaderName, Secret)> {
        let mut headers: Vec<(HeaderName, Secret)> = Vec::new();
        for (label, Short(value)) in Keyed::iter(section) {
            let place = place.key(label);
            let Ok(name) = HeaderName::from_bytes(label.as_bytes()) else {
                self.problems.error(&place, "cannot be the name of a header");
                continue;
            };
            if headers.iter().any(|(earlier, _)| *earlier == name) {
                self.idle(&place, "the same header twice: upper and lower case do not count");
                continue;
            }
            if OWN_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("mcp-") {
                self.idle(&place, "the gateway sets this header itself");
                continue;
            }
            let Some(value) = self.secret(value, &place) else { continue };
            if HeaderValue::from_str(value.expose()).is_err() {
                self.problems.error(&place, "the value has characters that HTTP does not allow in a header");
                continue;
            }
            headers.push((name, value));
        }
        headers
    }

    pub(super) fn secret(&mut self, section: &SecretSection, place: &Place<'_>) -> Option<Secret> {
        match (&section.text, &section.file) {
            (Some(text), _) => Some(Secret::new(text.clone())),
            (None, Some(path)) => {
                let read = self.files.secret(path);
                read.map_err(|reason| self.problems.error(&place.key("file"), reason)).ok()
            }
            // A mapping without `file` has been reported.
            (None, None) => None,
        }
    }
}

fn shown_path(place: &Place<'_>, path: &Path) -> String {
    shown(place, &path.display().to_string())
}
