//! What an operator says of servers and tools: facts that policies read, the scopes that access tokens need, and how calls are
//! handled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tollgate_catalog::{ServerFacts, ToolFacts};
use tollgate_identity::names::is_scope;
use tollgate_limits::Glob;
use tollgate_proxy::{Handling, ToolHandling};

use super::schemas::schemas;
use super::sizes::sizes;
use super::{Meaning, shown};
use crate::config::forms::{Items, Keyed};
use crate::config::node::Place;
use crate::config::section::{ServerSection, ToolFactsSection};

impl Meaning<'_> {
    /// What is said of a server; none if nothing is.
    pub(super) fn facts(&mut self, section: &ServerSection, place: &Place<'_>) -> Option<Arc<ServerFacts>> {
        let tools_place = place.key("tools");
        let mut tools = BTreeMap::new();
        for (native, section) in Keyed::iter(section.tools.as_ref()) {
            let place = tools_place.key(native);
            if !Glob::new(native).is_exact() {
                self.pattern(section, &place);
                continue;
            }
            let facts = self.tool_facts(section, &place);
            if facts != ToolFacts::default() {
                tools.insert(Arc::from(native), facts);
            }
        }
        let facts = ServerFacts {
            risk: self.word(section.risk.as_deref(), &place.key("risk")),
            owner: section.owner.as_deref().map(Arc::from),
            environment: self.word(section.environment.as_deref(), &place.key("environment")),
            scopes: self.scopes(section.scopes.as_ref(), &place.key("scopes")),
            tools,
            sunset: None,
            published: Vec::new(),
        };
        (facts != ServerFacts::default()).then(|| Arc::new(facts))
    }

    fn tool_facts(&mut self, section: &ToolFactsSection, place: &Place<'_>) -> ToolFacts {
        self.contradiction(section, place);
        ToolFacts {
            risk: self.word(section.risk.as_deref(), &place.key("risk")),
            read_only: section.read_only,
            destructive: section.destructive,
            scopes: self.scopes(section.scopes.as_ref(), &place.key("scopes")),
        }
    }

    /// Policies go by single tools: what they need to know is not said by a pattern.
    fn pattern(&mut self, section: &ToolFactsSection, place: &Place<'_>) {
        let said = [("risk", section.risk.is_some()), ("scopes", section.scopes.is_some())];
        for (key, _) in said.into_iter().filter(|(_, is_said)| *is_said) {
            let message = "cannot be said of all tools that fit a pattern";
            self.problems.error_with(&place.key(key), message, "say it of each tool by its name");
        }
        self.contradiction(section, place);
    }

    fn contradiction(&mut self, section: &ToolFactsSection, place: &Place<'_>) {
        if section.read_only == Some(true) && section.destructive == Some(true) {
            let message = "a tool that changes nothing destroys nothing";
            self.problems.error_with(&place.key("destructive"), message, "leave one of the two out");
        }
    }

    /// What is said of how calls of a server's tools are handled; none if nothing is.
    pub(super) fn handling(section: &ServerSection) -> Option<Arc<Handling>> {
        let ms = |ms: Option<u64>| ms.map(Duration::from_millis);
        let tools = Keyed::iter(section.tools.as_ref()).map(|(native, section)| {
            let handling = ToolHandling {
                read_only: section.read_only,
                idempotent: section.idempotent,
                destructive: section.destructive,
                timeout: ms(section.timeout_ms),
                first_byte_timeout: ms(section.first_byte_timeout_ms),
                idle_timeout: ms(section.idle_timeout_ms),
                retries: section.retries,
                cache_ttl: ms(section.cache_ttl_ms),
                schemas: schemas(section.schemas.as_ref()),
                sizes: sizes(section.sizes.as_ref()),
            };
            (Glob::new(native), handling)
        });
        let tools = tools.filter(|(_, handling)| *handling != ToolHandling::default()).collect();
        let handling = Handling {
            trust_annotations: section.trust_annotations == Some(true),
            tools,
            schemas: schemas(section.schemas.as_ref()),
            sizes: sizes(section.sizes.as_ref()),
        };
        (handling != Handling::default()).then(|| Arc::new(handling))
    }

    /// A word that policies name.
    fn word(&mut self, text: Option<&str>, place: &Place<'_>) -> Option<Arc<str>> {
        let text = text?;
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
            let message = format!("{} is no single word", shown(place, text));
            self.problems.error_with(place, message, "write letters, digits, `-`, `_` and `.` only");
        }
        Some(Arc::from(text))
    }

    /// Scopes as access tokens have them (RFC 6749, section 3.3).
    pub(super) fn scopes(&mut self, scopes: Option<&Items<String>>, place: &Place<'_>) -> Vec<Arc<str>> {
        let mut found: Vec<Arc<str>> = Vec::new();
        for (index, scope) in Items::iter(scopes) {
            if !is_scope(scope) {
                let place = place.item(index);
                let message = format!("{} is no scope", shown(&place, scope));
                self.problems.error_with(&place, message, "write each scope for itself, without spaces");
            } else if !found.iter().any(|known| **known == **scope) {
                found.push(Arc::from(scope.as_str()));
            }
        }
        found
    }
}
