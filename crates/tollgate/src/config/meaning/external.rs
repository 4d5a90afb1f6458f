//! Guards outside of the gateway.

use std::time::Duration;

use tollgate_guard::Action;
use tollgate_guard::outside::{
    ClassifierRule, ClassifierSettings, OnFailure, OutsideKind, OutsideSettings, PresidioSettings,
};
use url::Url;

use super::guard::action_of;
use super::limits::{SECRET_BYTES_MIN, key_bytes};
use super::{Meaning, defaults, is_loopback, shown};
use crate::config::forms::{Items, Keyed, Short};
use crate::config::node::Place;
use crate::config::section::{
    ClassifierSection, ExternalDirectionSection, ExternalGuardSection, ExternalKindSection, OnFailureSection,
    PresidioSection,
};

/// The longest name of a guard.
const NAME_MAX: usize = 32;
/// The most guards: each is asked after the other.
const GUARDS_MAX: usize = 16;
/// Where a label usually is.
const LABEL: &str = "/label";

impl Meaning<'_> {
    pub(super) fn external_guards(
        &mut self,
        section: Option<&Keyed<ExternalGuardSection>>,
        place: &Place<'_>,
    ) -> Vec<OutsideSettings> {
        let mut guards = Vec::new();
        for (name, section) in Keyed::iter(section) {
            let place = place.key(name);
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_name) {
                let message = format!("{} is no name of a guard", shown(&place, name));
                let how = format!("write letters, digits, `-` and `_`, {NAME_MAX} characters at most");
                self.problems.error_with(&place, message, how);
            }
            guards.extend(self.external_guard(name, section, &place));
        }
        if guards.len() > GUARDS_MAX {
            self.problems.error(place, format!("there are more than {GUARDS_MAX} guards"));
        }
        guards
    }

    fn external_guard(
        &mut self,
        name: &str,
        section: &ExternalGuardSection,
        place: &Place<'_>,
    ) -> Option<OutsideSettings> {
        let usual = defaults::external_guard();
        let allow_private = section.allow_private_addresses == Some(true);
        let allow_plain = section.allow_plain_http == Some(true);
        let url = self.required(section.url.as_deref(), "url", place);
        let url = url.and_then(|url| self.guard_url(&url, (allow_private, allow_plain), &place.key("url")));
        let kind = self.external_kind(section, place);
        let secret = section.secret.as_ref().and_then(|Short(secret)| {
            let secret = self.secret(secret, &place.key("secret"))?;
            if key_bytes(&secret) < SECRET_BYTES_MIN {
                let message = format!("it has less than {SECRET_BYTES_MIN} bytes, and could be guessed");
                self.problems.error(&place.key("secret"), message);
            }
            Some(secret)
        });
        let tools = all(section.tools.as_ref());
        for (index, tool) in Items::iter(section.tools.as_ref()) {
            if !tool.contains('/') {
                let message = format!("{} is no tool of a server", shown(place, tool));
                let place = place.key("tools").item(index);
                self.problems.error_with(&place, message, "write `SERVER/TOOL`");
            }
        }
        let direction = section.direction.unwrap_or(ExternalDirectionSection::Both);
        let ms = |ms: Option<u64>, usual: Duration| ms.map_or(usual, Duration::from_millis);
        Some(OutsideSettings {
            name: name.to_owned(),
            url: url?.as_str().into(),
            kind: kind?,
            results: direction != ExternalDirectionSection::Arguments,
            arguments: direction != ExternalDirectionSection::Results,
            tenants: all(section.tenants.as_ref()),
            servers: all(section.servers.as_ref()),
            tools,
            timeout: ms(section.timeout_ms, usual.timeout),
            on_failure: match section.on_failure {
                None | Some(OnFailureSection::Refuse) => OnFailure::Refuse,
                Some(OnFailureSection::Pass) => OnFailure::Pass,
            },
            request_bytes_max: section.request_bytes_max.unwrap_or(usual.request_bytes_max),
            answer_bytes_max: section.answer_bytes_max.unwrap_or(usual.answer_bytes_max),
            concurrency_max: section.concurrency_max.unwrap_or(usual.concurrency_max),
            failures_max: section.failures_max.unwrap_or(usual.failures_max),
            open: ms(section.open_ms, usual.open),
            secret,
            headers: self.export_headers(section.headers.as_ref(), &place.key("headers")),
            allow_private,
            allow_plain,
            ca_pem: self.authorities(section.ca_file.as_deref(), place),
        })
    }

    fn external_kind(&mut self, section: &ExternalGuardSection, place: &Place<'_>) -> Option<OutsideKind> {
        let kind = section.kind.unwrap_or(ExternalKindSection::Tollgate);
        let unused = [
            ("presidio", section.presidio.is_some() && kind != ExternalKindSection::Presidio),
            ("classifier", section.classifier.is_some() && kind != ExternalKindSection::Classifier),
        ];
        for (key, _) in unused.into_iter().filter(|(_, is_unused)| *is_unused) {
            self.problems.error(&place.key(key), format!("it is only for a guard of the kind `{key}`"));
        }
        match kind {
            ExternalKindSection::Tollgate => Some(OutsideKind::Tollgate),
            ExternalKindSection::Presidio => {
                Some(OutsideKind::Presidio(section.presidio.as_ref().map(presidio).unwrap_or_default()))
            }
            ExternalKindSection::Classifier => {
                let place = place.key("classifier");
                let settings = section.classifier.as_ref().map(classifier).unwrap_or_default();
                if let Err(why) = settings.check() {
                    self.problems.error(&place, format!("it cannot be used: {why}"));
                    return None;
                }
                Some(OutsideKind::Classifier(settings))
            }
        }
    }

    fn guard_url(&mut self, text: &str, (private, plain): (bool, bool), place: &Place<'_>) -> Option<Url> {
        if !plain {
            return self.receiver_url(text, private, place);
        }
        match Url::parse(text) {
            Ok(url) if url.has_host() && url.scheme() == "http" && !is_loopback(&url) => Some(url),
            _ => self.receiver_url(text, private, place),
        }
    }
}

fn all(list: Option<&Items<String>>) -> Vec<String> {
    Items::iter(list).map(|(_, one)| one.clone()).collect()
}

fn presidio(section: &PresidioSection) -> PresidioSettings {
    let usual = PresidioSettings::default();
    PresidioSettings {
        language: section.language.clone().unwrap_or(usual.language),
        entities: all(section.entities.as_ref()),
        confidence_min: section.confidence_min.unwrap_or(usual.confidence_min),
        action: section.action.map_or(usual.action, action_of),
        actions: Keyed::iter(section.actions.as_ref())
            .map(|(kind, action)| (kind.to_owned(), action_of(*action)))
            .collect(),
    }
}

fn classifier(section: &ClassifierSection) -> ClassifierSettings {
    let rules = Items::iter(section.rules.as_ref()).filter_map(|(nth, rule)| {
        let at = section.label.as_deref().unwrap_or(LABEL);
        let label = rule.label.clone().map(|label| (at.to_owned(), label));
        let name = rule.name.clone().or_else(|| rule.label.clone());
        Some(ClassifierRule {
            name: name.unwrap_or_else(|| format!("rule-{nth}")),
            label,
            score: rule.score.clone().or_else(|| section.score.clone()),
            score_min: rule.confidence_min.unwrap_or(50),
            action: rule.action.map_or(Some(Action::Block), action_of)?,
        })
    });
    ClassifierSettings {
        request: section.request.clone().unwrap_or_default(),
        items: section.items.clone().unwrap_or_default(),
        rules: rules.collect(),
    }
}
