//! The schemas that servers' tools declare, ready to be used, and whether calls and results are checked against them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tollgate_catalog::Item;
use tollgate_guard::schema::{Schema, Unchecked};
use tollgate_mcp::{Span, find};
use tollgate_model::ServerId;

use crate::handling;
use crate::learnt::Learnt;
use crate::settings::ProxySettings;

/// How soon a server's list is read again since a tool of it is not known.
const AGAIN: Duration = Duration::from_secs(10);
/// The largest schemas of a tool that are kept, in bytes. Larger ones are not used.
const BYTES_MAX: usize = 256 * 1024;

/// Whether something is checked against a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SchemaMode {
    /// It is not.
    #[default]
    Off,
    /// What does not fit is on record, and passes.
    Report,
    /// What does not fit is refused.
    Strict,
}

/// What becomes of arguments that a tool's schema does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownMembers {
    /// They pass, unless the schema itself forbids them.
    #[default]
    Allow,
    /// They are taken out.
    Strip,
    /// The call is refused.
    Refuse,
}

/// How calls are checked, as far as it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SchemaSettings {
    /// Arguments against `inputSchema`.
    pub arguments: Option<SchemaMode>,
    /// Results against `outputSchema`.
    pub results: Option<SchemaMode>,
    /// Arguments that `inputSchema` does not name.
    pub unknown_members: Option<UnknownMembers>,
}

impl SchemaSettings {
    /// What this says, and where it says nothing what the other does.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            arguments: self.arguments.or(other.arguments),
            results: self.results.or(other.results),
            unknown_members: self.unknown_members.or(other.unknown_members),
        }
    }

    /// Whether anything is looked at.
    pub(crate) fn is_on(self) -> bool {
        self.looks_at_arguments() || self.results.unwrap_or_default() != SchemaMode::Off
    }

    /// Whether arguments are looked at.
    pub(crate) fn looks_at_arguments(self) -> bool {
        self.arguments.unwrap_or_default() != SchemaMode::Off
            || self.unknown_members.unwrap_or_default() != UnknownMembers::Allow
    }
}

/// How calls of a tool are checked.
pub(crate) fn of_tool(settings: &ProxySettings, server: &ServerId, native: &str) -> SchemaSettings {
    let own = handling::of_tool(settings, server, native).schemas;
    let servers = settings.handling.get(server).map(|handling| handling.schemas);
    own.or(servers.unwrap_or_default()).or(settings.schemas)
}

/// Whether calls of any tool are checked.
fn are_on(settings: &ProxySettings) -> bool {
    settings.schemas.is_on()
        || settings.handling.values().any(|handling| {
            handling.schemas.is_on() || handling.tools.iter().any(|(_, tool)| tool.schemas.is_on())
        })
}

/// The schemas of one tool.
#[derive(Debug)]
pub(crate) struct Declared {
    input: Lazy,
    output: Option<Lazy>,
}

/// A schema that is made ready when it is first needed.
#[derive(Debug)]
struct Lazy {
    raw: Bytes,
    ready: OnceLock<Result<Schema, Unchecked>>,
}

impl Lazy {
    fn new(raw: &[u8]) -> Self {
        // Copied, since the item shares the buffer of a whole list.
        Self { raw: Bytes::copy_from_slice(raw), ready: OnceLock::new() }
    }

    fn get(&self) -> Result<&Schema, Unchecked> {
        self.ready.get_or_init(|| Schema::compile(&self.raw)).as_ref().map_err(|why| *why)
    }
}

impl Declared {
    fn of(item: &Item) -> Self {
        let raw = item.original();
        let of = |member| find(raw, Span::all(raw), member).map(|span| span.of(raw));
        // What is too large is known to be, and not kept.
        let kept = |schema: &[u8]| Lazy::new(if schema.len() > BYTES_MAX { b"?" } else { schema });
        Self { input: kept(of("inputSchema").unwrap_or(b"{}")), output: of("outputSchema").map(kept) }
    }

    fn is(&self, other: &Self) -> bool {
        let raw = |lazy: &Option<Lazy>| lazy.as_ref().map(|lazy| lazy.raw.clone());
        self.input.raw == other.input.raw && raw(&self.output) == raw(&other.output)
    }

    /// The schema of its arguments.
    pub(crate) fn input(&self) -> Result<&Schema, Unchecked> {
        self.input.get()
    }

    /// The schema of its results, if it declares one.
    pub(crate) fn output(&self) -> Option<Result<&Schema, Unchecked>> {
        self.output.as_ref().map(Lazy::get)
    }
}

/// What is known of the schemas of servers' tools.
#[derive(Debug)]
pub(crate) struct Schemas(Learnt<Arc<Declared>>);

impl Default for Schemas {
    fn default() -> Self {
        Self(Learnt::reading_every(AGAIN))
    }
}

impl Schemas {
    /// Learns from a server's tools, if calls are checked at all, or results may be changed. What is the same stays ready.
    pub(crate) fn learn(
        &self,
        settings: &ProxySettings,
        server: &ServerId,
        items: &[Item],
        may_results_change: bool,
    ) {
        let are_checked = are_on(settings);
        if !are_checked && !may_results_change {
            return;
        }
        for item in items {
            let declared = Declared::of(item);
            let known = self.0.of(server, item.key());
            // Of a tool that promises nothing there is nothing to know then.
            if !are_checked && declared.output.is_none() && known.is_none() {
                continue;
            }
            if known.is_none_or(|known| !known.is(&declared)) {
                self.0.set(server, item.key(), Some(Arc::new(declared)));
            }
        }
    }

    /// The schemas of a tool, if any list has shown it.
    pub(crate) fn of(&self, server: &ServerId, native: &str) -> Option<Arc<Declared>> {
        self.0.of(server, native)
    }

    /// Whether the server's list may be read now, since a tool of it is not known.
    pub(crate) fn may_learn(&self, server: &ServerId) -> bool {
        self.0.may_learn(server)
    }

    /// The server's tools are others now.
    pub(crate) fn changed(&self, server: &ServerId) {
        self.0.changed(server);
    }
}
