//! By what policy sets are told apart: everything that their decisions depend on, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, SHA256};
use tollgate_catalog::{Known, KnownServer, ToolDefinition};
use tollgate_model::TenantId;

use crate::{Source, Sources};

/// How texts become decisions: raised with every change of the schema, or of how rules are judged, that could make a
/// decision another one.
const SEMANTICS: u64 = 1;

/// The SHA-256 digest of what a set is compiled from, in base64url: the same in every process that compiles the same policies
/// against the same servers.
pub(crate) fn digest(sources: &Sources, known: &Known, environment: Option<&str>) -> Arc<str> {
    let mut parts = Parts(Context::new(&SHA256));
    parts.number(SEMANTICS);
    parts.text(known.tenant.as_str());
    parts.optional(environment);
    // Their order is that of the rules. Names of files are in the ids of rules.
    parts.files(&sources.tenant);
    parts.files(&sources.operator);
    // Which tenants there are matters only to who may name them.
    let tenants = if sources.operator.is_empty() { &[][..] } else { &sources.tenants };
    let mut tenants: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
    tenants.sort_unstable();
    parts.number(tenants.len());
    for tenant in tenants {
        parts.text(tenant);
    }
    let mut servers: Vec<&KnownServer> = known.servers.iter().collect();
    servers.sort_by(|one, other| one.name.cmp(&other.name));
    parts.number(servers.len());
    for server in servers {
        parts.server(server);
    }
    let mut toolsets: Vec<_> = known.toolsets.iter().collect();
    toolsets.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
    parts.number(toolsets.len());
    for toolset in toolsets {
        parts.text(toolset.name.as_str());
        parts.number(toolset.tools.len());
        for (server, native) in &toolset.tools {
            parts.text(server.as_str());
            parts.optional(native.as_deref());
        }
    }
    Arc::from(URL_SAFE_NO_PAD.encode(parts.0.finish()))
}

/// Parts that do not run into each other: each says how long it is.
struct Parts(Context);

impl Parts {
    fn number(&mut self, number: impl TryInto<u64>) {
        self.0.update(&number.try_into().unwrap_or(u64::MAX).to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.number(u64::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    fn flags(&mut self, flags: &[Option<bool>]) {
        let flags: Vec<u8> = flags.iter().map(|flag| flag.map_or(2, u8::from)).collect();
        self.bytes(&flags);
    }

    fn files(&mut self, files: &[Source]) {
        self.number(files.len());
        for file in files {
            self.text(&file.path);
            self.text(&file.text);
        }
    }

    fn server(&mut self, server: &KnownServer) {
        let facts = &server.facts;
        self.text(server.name.as_str());
        for fact in [&facts.risk, &facts.owner, &facts.environment] {
            self.optional(fact.as_deref());
        }
        self.number(facts.tools.len());
        for (native, facts) in &facts.tools {
            self.text(native);
            self.optional(facts.risk.as_deref());
            self.flags(&[facts.read_only, facts.destructive]);
        }
        self.number(u64::from(server.tools.is_some()));
        // Of two tools of one name the first counts. Otherwise their order means nothing.
        let mut tools: BTreeMap<&str, &ToolDefinition> = BTreeMap::new();
        for tool in server.tools.iter().flat_map(|tools| tools.iter()) {
            tools.entry(&tool.native).or_insert(tool);
        }
        self.number(tools.len());
        for tool in tools.into_values() {
            self.text(&tool.native);
            self.flags(&[Some(tool.read_only), Some(tool.destructive)]);
            self.number(u64::from(tool.input_schema.is_some()));
            self.bytes(tool.input_schema.as_deref().unwrap_or_default());
        }
    }
}
