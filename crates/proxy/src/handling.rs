//! How calls of a server's tools are handled: what the operator says of each, and what the server hints where it is trusted.
//!
//! Whether a call may be made twice, or its answer be kept, depends on what its tool does, and only the operator's word counts
//! for that. A server's annotations are a stranger's hints (2025-11-25, tools, annotations); they count where the operator
//! trusts them.

use std::time::Duration;

use tollgate_catalog::Item;
use tollgate_limits::Glob;
use tollgate_mcp::find;
use tollgate_mcp::json::Span;
use tollgate_model::ServerId;

use crate::gateway::Gateway;
use crate::learnt::Learnt;
use crate::schemas::SchemaSettings;
use crate::settings::ProxySettings;
use crate::sizes::SizeSettings;

/// What an operator says of how one server's tools are handled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Handling {
    /// Whether the server's own `readOnlyHint` and `idempotentHint` are believed.
    pub trust_annotations: bool,
    /// What is said of the tools of a native name, or of a pattern of names, in the order of the configuration. What is said
    /// of a tool by its very name goes before what is said by a pattern, and of patterns the first goes before the others, for
    /// each thing that is said.
    pub tools: Vec<(Glob, ToolHandling)>,
    /// How calls are checked against the schemas of tools.
    pub schemas: SchemaSettings,
    /// How large arguments and results may be.
    pub sizes: SizeSettings,
}

/// What is said of how a tool is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ToolHandling {
    /// Whether it changes nothing.
    pub read_only: Option<bool>,
    /// Whether calling it again with the same arguments changes nothing further.
    pub idempotent: Option<bool>,
    /// Whether it may destroy something: then it is not read-only, whatever the server hints.
    pub destructive: Option<bool>,
    /// How long a call may take from start to response, whatever progress arrives meanwhile.
    pub timeout: Option<Duration>,
    /// How long a call may take until the first of its answer is there.
    pub first_byte_timeout: Option<Duration>,
    /// How long the server may be silent in the midst of a call.
    pub idle_timeout: Option<Duration>,
    /// How often a call that failed is tried again at most, where that can do no harm.
    pub retries: Option<u32>,
    /// How long its results are kept, if it is both read-only and idempotent. Not at all if absent.
    pub cache_ttl: Option<Duration>,
    /// How calls are checked against its schemas.
    pub schemas: SchemaSettings,
    /// How large its arguments and results may be.
    pub sizes: SizeSettings,
}

impl ToolHandling {
    /// What this says, and where it says nothing what the other does.
    fn or(self, other: Self) -> Self {
        Self {
            read_only: self.read_only.or(other.read_only),
            idempotent: self.idempotent.or(other.idempotent),
            destructive: self.destructive.or(other.destructive),
            timeout: self.timeout.or(other.timeout),
            first_byte_timeout: self.first_byte_timeout.or(other.first_byte_timeout),
            idle_timeout: self.idle_timeout.or(other.idle_timeout),
            retries: self.retries.or(other.retries),
            cache_ttl: self.cache_ttl.or(other.cache_ttl),
            schemas: self.schemas.or(other.schemas),
            sizes: self.sizes.or(other.sizes),
        }
    }
}

impl Handling {
    /// What is said of a tool, by its native name.
    pub fn of(&self, native: &str) -> ToolHandling {
        let exact = self.tools.iter().filter(|(name, _)| name.is_exact());
        let patterns = self.tools.iter().filter(|(name, _)| !name.is_exact());
        let fitting = exact.chain(patterns).filter(|(name, _)| name.matches(native));
        fitting.fold(ToolHandling::default(), |said, (_, more)| said.or(*more))
    }
}

/// What is said of a tool of a server; nothing, of most.
pub(crate) fn of_tool(settings: &ProxySettings, server: &ServerId, native: &str) -> ToolHandling {
    // Most configurations say nothing of any.
    if settings.handling.is_empty() {
        return ToolHandling::default();
    }
    settings.handling.get(server).map(|handling| handling.of(native)).unwrap_or_default()
}

/// What is known of what a tool does. What is not known is not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Traits {
    /// It changes nothing.
    pub(crate) read_only: bool,
    /// Called again with the same arguments it changes nothing further.
    pub(crate) idempotent: bool,
}

impl Traits {
    /// Whether a call may be made twice without harm.
    pub(crate) fn is_repeatable(self) -> bool {
        self.read_only || self.idempotent
    }
}

/// What a tool does: as the operator says, or else as its server hinted when it last listed it, if the server is trusted.
pub(crate) fn traits(gateway: &Gateway, settings: &ProxySettings, server: &ServerId, native: &str) -> Traits {
    if settings.handling.is_empty() {
        return Traits::default();
    }
    let Some(handling) = settings.handling.get(server) else { return Traits::default() };
    let said = handling.of(native);
    let hinted = if handling.trust_annotations { gateway.hints().of(server, native) } else { None };
    let hinted = hinted.unwrap_or_default();
    Traits {
        read_only: said.read_only.unwrap_or(hinted.read_only && said.destructive != Some(true)),
        idempotent: said.idempotent.unwrap_or(hinted.idempotent),
    }
}

/// What servers that are trusted hint of their tools.
#[derive(Debug)]
pub(crate) struct Hints(Learnt<Traits>);

impl Default for Hints {
    fn default() -> Self {
        // No list is read for the sake of these: a tool of which nothing is known is called once.
        Self(Learnt::reading_every(Duration::MAX))
    }
}

impl Hints {
    /// Learns from a server's tools, if it is trusted.
    pub(crate) fn learn(&self, settings: &ProxySettings, server: &ServerId, items: &[Item]) {
        if settings.handling.get(server).is_some_and(|handling| handling.trust_annotations) {
            for item in items {
                self.0.set(server, item.key(), hints(item));
            }
        }
    }

    /// The server's tools are others now.
    pub(crate) fn changed(&self, server: &ServerId) {
        self.0.forget(server);
    }

    fn of(&self, server: &ServerId, native: &str) -> Option<Traits> {
        self.0.of(server, native)
    }
}

fn hints(item: &Item) -> Option<Traits> {
    let bytes = item.raw();
    let annotations = find(bytes, Span::all(bytes), "annotations")?;
    let hint = |key| find(bytes, annotations, key).is_some_and(|hint| hint.of(bytes) == b"true");
    let traits = Traits { read_only: hint("readOnlyHint"), idempotent: hint("idempotentHint") };
    traits.is_repeatable().then_some(traits)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use bytes::Bytes;
    use tollgate_catalog::{ListKind, Page};
    use tollgate_mcp::{Limits, Message};
    use tollgate_model::{Holder, ServerName};

    use super::*;
    use crate::setup::Setup;

    fn said(pattern: &str, handling: ToolHandling) -> (Glob, ToolHandling) {
        (Glob::new(pattern), handling)
    }

    #[test]
    fn a_name_goes_before_a_pattern_and_a_pattern_before_later_ones() {
        let reads = ToolHandling { read_only: Some(true), retries: Some(1), ..ToolHandling::default() };
        let all = ToolHandling { retries: Some(5), idempotent: Some(true), ..ToolHandling::default() };
        let get_key = ToolHandling { read_only: Some(false), ..ToolHandling::default() };
        let handling = Handling {
            tools: vec![said("get_*", reads), said("*", all), said("get_key", get_key)],
            ..Handling::default()
        };
        let of = |native| {
            let found = handling.of(native);
            (found.read_only, found.idempotent, found.retries)
        };
        assert_eq!(of("get_user"), (Some(true), Some(true), Some(1)));
        assert_eq!(of("get_key"), (Some(false), Some(true), Some(1)));
        assert_eq!(of("put"), (None, Some(true), Some(5)));
    }

    fn tools(annotations: &[(&str, &str)]) -> Vec<Item> {
        let tools: Vec<String> = annotations
            .iter()
            .map(|(name, hints)| format!(r#"{{"name":"{name}","annotations":{hints}}}"#))
            .collect();
        let list = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{}]}}}}"#, tools.join(","));
        let list = Message::parse(Bytes::from(list), &Limits::default()).expect("a message");
        Page::read(&list, ListKind::Tools).expect("a page").items
    }

    #[tokio::test]
    async fn hints_count_where_they_are_trusted_and_until_the_list_changes() {
        let server = |name| ServerId::new(Holder::default(), ServerName::new(name).expect("a name"));
        let (trusted, other) = (server("trusted"), server("other"));
        let deletes = ToolHandling { destructive: Some(true), ..ToolHandling::default() };
        let wipe = vec![said("wipe", deletes)];
        let trusting = Handling { trust_annotations: true, tools: wipe, ..Handling::default() };
        let settings = ProxySettings {
            handling: HashMap::from([
                (trusted.clone(), Arc::new(trusting)),
                (other.clone(), Arc::new(Handling::default())),
            ]),
            ..ProxySettings::default()
        };
        let gateway = Gateway::new(Setup::new(settings.clone(), vec![], vec![])).expect("a gateway");
        let items = tools(&[
            ("find", r#"{"readOnlyHint":true}"#),
            ("put", r#"{"idempotentHint":true,"destructiveHint":true}"#),
            ("wipe", r#"{"readOnlyHint":true}"#),
            ("add", r#"{"readOnlyHint":"true","destructiveHint":false}"#),
            ("plain", "{}"),
        ]);
        for server in [&trusted, &other] {
            gateway.hints().learn(&settings, server, &items);
        }
        let of = |server, native| {
            let Traits { read_only, idempotent } = traits(&gateway, &settings, server, native);
            (read_only, idempotent)
        };
        assert_eq!(of(&trusted, "find"), (true, false));
        assert_eq!(of(&trusted, "put"), (false, true));
        assert_eq!(of(&trusted, "wipe"), (false, false), "the operator knows better");
        for native in ["add", "plain", "unknown"] {
            assert_eq!(of(&trusted, native), (false, false), "{native}");
        }
        assert_eq!(of(&other, "find"), (false, false), "nobody trusts it");
        gateway.hints().changed(&trusted);
        assert_eq!(of(&trusted, "find"), (false, false), "it may be another tool now");
    }
}
