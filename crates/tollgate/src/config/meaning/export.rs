//! Who receives what is recorded.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tollgate_ledger::Kind;
use tollgate_ledger::export::{
    Confirm, ExportSettings, FileSettings, Flavour, Format, Pace, SyslogSettings, TargetSettings,
    WebhookSettings,
};
use tollgate_model::{Secret, TenantId};
use tollgate_telemetry::otlp::{OtlpSettings, Protocol, Signal};
use url::{Host, Url};

use super::{Meaning, is_loopback, shown};
use crate::config::forms::{Items, Keyed, Short};
use crate::config::node::Place;
use crate::config::section::{
    ConfirmSection, ExportFileSection, ExportFormatSection, ExportOtlpSection, ExportProtocolSection,
    ExportSection, SecretSection, SplunkSection, SyslogSection, WebhookSection,
};

/// The longest name of an export.
const NAME_CHARS_MAX: usize = 64;
/// Where Splunk takes events.
const SPLUNK_PATH: &str = "/services/collector/event";

impl Meaning<'_> {
    /// The exports, in the order of the file.
    pub(super) fn exports(
        &mut self,
        (sections, is_on): (Option<&Items<ExportSection>>, bool),
        tenants: &[TenantId],
        place: &Place<'_>,
    ) -> Vec<ExportSettings> {
        let mut exports: Vec<ExportSettings> = Vec::new();
        if !is_on && sections.is_some() {
            self.problems.warning(place, "nothing is exported: nothing is recorded", None);
        }
        for (index, section) in Items::iter(sections) {
            let place = place.item(index);
            let Some(settings) = self.export(section, tenants, &place) else { continue };
            if exports.iter().any(|other| other.name == settings.name) {
                self.problems.error(&place.key("name"), "another export has this name");
            }
            exports.push(settings);
        }
        exports
    }

    fn export(
        &mut self,
        section: &ExportSection,
        tenants: &[TenantId],
        place: &Place<'_>,
    ) -> Option<ExportSettings> {
        let name = self.required(section.name.as_deref(), "name", place);
        if let Some(name) = &name
            && !(1..=NAME_CHARS_MAX).contains(&name.len())
                | !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        {
            let message = "a name of letters, digits, `-` and `_`, at most 64 characters";
            self.problems.error(&place.key("name"), message);
        }
        let target = self.target(section, place);
        let format = match section.format {
            None | Some(ExportFormatSection::Native) => Format::Native,
            Some(ExportFormatSection::Ocsf) => Format::Ocsf,
        };
        let kinds = section.kinds.as_ref().map(|kinds| {
            let place = place.key("kinds");
            let known = Items::iter(Some(kinds));
            known.filter_map(|(index, word)| self.kind(word, &place.item(index))).collect()
        });
        let chosen = section.tenants.as_ref().map(|chosen| {
            let place = place.key("tenants");
            let known = Items::iter(Some(chosen));
            known
                .filter_map(|(index, name)| self.exported_tenant(name, tenants, &place.item(index)))
                .collect()
        });
        let pace = pace(section);
        if pace.retry_min > pace.retry_max {
            let key = if section.retry_ms_min.is_some() { "retry_ms_min" } else { "retry_ms_max" };
            self.problems.error(&place.key(key), "`retry_ms_min` is longer than `retry_ms_max`");
        }
        Some(ExportSettings {
            name: name?,
            target: target?,
            format,
            names: section.names != Some(false),
            payloads: section.payloads == Some(true),
            kinds,
            tenants: chosen,
            pace,
        })
    }

    fn kind(&mut self, word: &str, place: &Place<'_>) -> Option<Kind> {
        let kind = serde_json::from_value(serde_json::Value::from(word)).ok();
        if kind.is_none() {
            let suggestion = "such as `intent`, `outcome`, `refusal` or `change`";
            self.problems.error_with(place, format!("there are no entries of the kind `{word}`"), suggestion);
        }
        kind
    }

    fn exported_tenant(&mut self, name: &str, tenants: &[TenantId], place: &Place<'_>) -> Option<TenantId> {
        let known = tenants.iter().find(|tenant| tenant.as_str() == name).cloned();
        if known.is_none() {
            self.problems.error(place, format!("there is no tenant `{name}`"));
        }
        known
    }

    fn target(&mut self, section: &ExportSection, place: &Place<'_>) -> Option<TargetSettings> {
        let private = section.allow_private_addresses == Some(true);
        let ExportSection { file, syslog, webhook, splunk, otlp, .. } = section;
        match (file, syslog, webhook, splunk, otlp) {
            (Some(file), None, None, None, None) => self.export_file(file, &place.key("file")),
            (None, Some(syslog), None, None, None) => self.syslog(syslog, private, &place.key("syslog")),
            (None, None, Some(webhook), None, None) => self.webhook(webhook, private, &place.key("webhook")),
            (None, None, None, Some(splunk), None) => self.splunk(splunk, private, &place.key("splunk")),
            (None, None, None, None, Some(otlp)) => self.export_otlp(otlp, private, &place.key("otlp")),
            _ => {
                if !self.problems.below(&place.path) {
                    let message = "exactly one of `file`, `syslog`, `webhook`, `splunk` and `otlp` says who receives it";
                    self.problems.error(place, message);
                }
                None
            }
        }
    }

    fn export_file(&mut self, section: &ExportFileSection, place: &Place<'_>) -> Option<TargetSettings> {
        let path = self.required(section.path.as_deref(), "path", place)?;
        Some(TargetSettings::File(FileSettings {
            path: self.files.path(&path),
            rotate_bytes: section.rotate_bytes.unwrap_or(FileSettings::ROTATE_BYTES),
            keep_files: section.keep_files.unwrap_or(0),
        }))
    }

    fn syslog(
        &mut self,
        section: &SyslogSection,
        private: bool,
        place: &Place<'_>,
    ) -> Option<TargetSettings> {
        let tls = section.tls != Some(false);
        if !tls && !private {
            let suggestion = "or add `allow_private_addresses: true` for a server in your own network";
            let message = "without TLS whoever is on the way reads and changes the record";
            self.problems.error_with(&place.key("tls"), message, suggestion);
        }
        if !tls && section.ca_file.is_some() {
            self.problems.error(&place.key("ca_file"), "only TLS has certificate authorities");
        }
        let ca_pem = self.authorities(section.ca_file.as_deref(), place);
        let address = self.required(section.address.as_deref(), "address", place)?;
        let split = address.rsplit_once(':').and_then(|(host, port)| {
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            Some((Arc::<str>::from(host), port.parse().ok()?)).filter(|(host, _)| !host.is_empty())
        });
        let Some((host, port)) = split else {
            let place = place.key("address");
            let message = format!("{} is no host with a port", shown(&place, &address));
            self.problems.error_with(&place, message, "write `siem.example.com:6514`");
            return None;
        };
        let sd_id = section.sd_id.as_deref().unwrap_or(SyslogSettings::SD_ID);
        let is_number =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let is_word = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"=]\"@".contains(&byte))
        };
        if !sd_id.split_once('@').is_some_and(|(word, number)| is_word(word) && is_number(number)) {
            self.problems.error_with(
                &place.key("sd_id"),
                "no name of structured data",
                "write `tollgate@NUMBER`",
            );
        }
        Some(TargetSettings::Syslog(SyslogSettings {
            host,
            port,
            tls,
            ca_pem,
            allow_private: private,
            facility: section.facility.unwrap_or(SyslogSettings::FACILITY),
            hostname: section.hostname.as_deref().map_or_else(hostname, Arc::from),
            sd_id: sd_id.into(),
            confirm: match section.confirm {
                None | Some(ConfirmSection::Close) => Confirm::Close,
                Some(ConfirmSection::Sent) => Confirm::Sent,
            },
            message_bytes_max: section.message_bytes_max.unwrap_or(SyslogSettings::MESSAGE_BYTES_MAX),
        }))
    }

    fn webhook(
        &mut self,
        section: &WebhookSection,
        private: bool,
        place: &Place<'_>,
    ) -> Option<TargetSettings> {
        let headers = self.export_headers(section.headers.as_ref(), &place.key("headers"));
        let ca_pem = self.authorities(section.ca_file.as_deref(), place);
        let url = self.required(section.url.as_deref(), "url", place)?;
        Some(TargetSettings::Webhook(WebhookSettings {
            url: self.receiver_url(&url, private, &place.key("url"))?,
            flavour: Flavour::Array,
            headers,
            gzip: section.gzip == Some(true),
            ca_pem,
            allow_private: private,
        }))
    }

    fn splunk(
        &mut self,
        section: &SplunkSection,
        private: bool,
        place: &Place<'_>,
    ) -> Option<TargetSettings> {
        let ca_pem = self.authorities(section.ca_file.as_deref(), place);
        let token = match &section.token {
            Some(Short(token)) => self.secret(token, &place.key("token")),
            None => {
                self.required(None, "token", place);
                None
            }
        };
        let url = self.required(section.url.as_deref(), "url", place)?;
        let mut url = self.receiver_url(&url, private, &place.key("url"))?;
        if url.path() == "/" {
            url.set_path(SPLUNK_PATH);
        }
        let index = section.index.as_deref().map(Arc::from);
        Some(TargetSettings::Webhook(WebhookSettings {
            url,
            flavour: Flavour::SplunkHec { token: token?, index, host: hostname() },
            headers: Vec::new(),
            gzip: section.gzip == Some(true),
            ca_pem,
            allow_private: private,
        }))
    }

    fn export_otlp(
        &mut self,
        section: &ExportOtlpSection,
        private: bool,
        place: &Place<'_>,
    ) -> Option<TargetSettings> {
        let headers = self.export_headers(section.headers.as_ref(), &place.key("headers"));
        let ca_pem = self.authorities(section.ca_file.as_deref(), place);
        let endpoint = self.required(section.endpoint.as_deref(), "endpoint", place)?;
        let url = self.receiver_url(&endpoint, private, &place.key("endpoint"))?;
        let protocol = match section.protocol {
            None | Some(ExportProtocolSection::Http) => Protocol::Http,
            Some(ExportProtocolSection::Grpc) => Protocol::Grpc,
        };
        let headers = headers.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        let said = OtlpSettings {
            url: Some(url),
            protocol: Some(protocol),
            headers: Some(headers),
            ca_pem,
            ..OtlpSettings::default()
        };
        OtlpSettings::endpoint(Signal::Logs, &[&said]).map(TargetSettings::Otlp)
    }

    /// Names of headers, in lower case, and their values.
    pub(super) fn export_headers(
        &mut self,
        section: Option<&Keyed<Short<SecretSection>>>,
        place: &Place<'_>,
    ) -> Vec<(Arc<str>, Secret)> {
        let mut headers = Vec::new();
        for (label, Short(value)) in Keyed::iter(section) {
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
            headers.push((name.as_str().into(), value));
        }
        headers
    }

    pub(super) fn authorities(&mut self, path: Option<&str>, place: &Place<'_>) -> Option<Arc<str>> {
        let read = self.files.authorities(path?);
        read.map_err(|reason| self.problems.error(&place.key("ca_file"), reason)).ok()
    }

    pub(super) fn receiver_url(&mut self, text: &str, private: bool, place: &Place<'_>) -> Option<Url> {
        let url = match Url::parse(text) {
            Ok(url) if url.has_host() && matches!(url.scheme(), "http" | "https") => url,
            _ => {
                let message = format!("{} is no https URL", shown(place, text));
                self.problems.error_with(place, message, "write it whole: `https://siem.example.com/in`");
                return None;
            }
        };
        if !url.username().is_empty() || url.password().is_some() {
            self.problems.error(place, "a URL must not carry a user name or password");
            return None;
        }
        if url.scheme() == "http" && !(private && is_loopback(&url)) {
            let suggestion =
                "use https; http is only for a loopback address, with `allow_private_addresses: true`";
            let message = "whoever is on the way could read and change the record";
            self.problems.error_with(place, message, suggestion);
            return None;
        }
        let is_here = match url.host() {
            Some(Host::Ipv4(address)) => !tollgate_egress::is_public(address.into()),
            Some(Host::Ipv6(address)) => !tollgate_egress::is_public(address.into()),
            _ => false,
        };
        if is_here && !private {
            let suggestion = "add `allow_private_addresses: true` to the export";
            self.problems.error_with(place, "private addresses are not called", suggestion);
            return None;
        }
        Some(url)
    }
}

fn pace(section: &ExportSection) -> Pace {
    let mut pace = Pace::default();
    let wait = |target: &mut Duration, ms: Option<u64>| *target = ms.map_or(*target, Duration::from_millis);
    pace.batch_bytes_max = section.batch_bytes_max.unwrap_or(pace.batch_bytes_max);
    pace.batch_entries_max = section.batch_entries_max.unwrap_or(pace.batch_entries_max);
    wait(&mut pace.batch_wait, section.batch_wait_ms);
    wait(&mut pace.timeout, section.timeout_ms);
    wait(&mut pace.retry_min, section.retry_ms_min);
    wait(&mut pace.retry_max, section.retry_ms_max);
    pace.behind_bytes_max = section.behind_bytes_max.unwrap_or(pace.behind_bytes_max);
    wait(&mut pace.drain, section.drain_ms);
    pace
}

/// The name of this machine, where the system tells it without being asked through C.
fn hostname() -> Arc<str> {
    let read = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = read.trim();
    if name.is_empty() { "localhost".into() } else { name.into() }
}
