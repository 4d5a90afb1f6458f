//! A small world to write policies about.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use tollgate_catalog::{Known, KnownServer, KnownToolset, ServerFacts, ToolDefinition};
use tollgate_mcp::Span;
use tollgate_model::{
    Decision, EndpointName, Era, Principal, PrincipalId, Proof, ServerName, TenantId, Timestamp,
};
use tollgate_policy::{Ask, Finding, Mode, PolicySet, Scene, Source, Sources, What};

pub(crate) fn name(text: &str) -> ServerName {
    ServerName::new(text).unwrap()
}

pub(crate) fn tool(native: &str, schema: &str) -> ToolDefinition {
    ToolDefinition {
        native: Arc::from(native),
        input_schema: (!schema.is_empty()).then(|| Bytes::copy_from_slice(schema.as_bytes())),
        read_only: native.starts_with("read"),
        destructive: native.starts_with("delete"),
    }
}

pub(crate) fn server(label: &str, risk: Option<&str>, tools: Option<Vec<ToolDefinition>>) -> KnownServer {
    let facts = ServerFacts { risk: risk.map(Arc::from), ..ServerFacts::default() };
    KnownServer { name: name(label), facts: Arc::new(facts), tools: tools.map(Arc::from) }
}

pub(crate) const PAY: &str = r#"{"type":"object","required":["amount","to"],"properties":{
    "amount":{"type":"number"},"to":{"type":"string"},"note":{"type":"string"},"count":{"type":"integer"},
    "urgent":{"type":"boolean"},"tags":{"type":"array","items":{"type":"string"}},
    "from":{"type":"object","properties":{"account":{"type":"string"},"branch":{"type":"integer"}}},
    "odd":{"type":["string","integer"]}}}"#;

/// `bank` with typed tools, `files` with some that have none, and `later`, which has not listed its tools yet.
pub(crate) fn known() -> Known {
    let path = r#"{"type":"object","required":["path"],"properties":{"path":{"type":"string"}}}"#;
    Known {
        tenant: TenantId::default(),
        servers: vec![
            server(
                "bank",
                Some("high"),
                Some(vec![tool("pay", PAY), tool("read_balance", r#"{"type":"object"}"#)]),
            ),
            server(
                "files",
                None,
                Some(vec![
                    tool("read-file", path),
                    tool("delete_file", path),
                    tool("odd", ""),
                    tool("a/b.c", path),
                ]),
            ),
            server("later", None, None),
        ],
        toolsets: vec![KnownToolset {
            name: EndpointName::new("office").unwrap(),
            tools: vec![(name("bank"), Some(Arc::from("pay"))), (name("files"), None)],
        }],
        redactions: ["pii", "personal", "personal.email", "secret"].map(Arc::from).to_vec(),
    }
}

pub(crate) fn sources(text: &str) -> Sources {
    Sources { tenant: vec![source("main.cedar", text)], ..Sources::default() }
}

pub(crate) fn source(path: &str, text: &str) -> Source {
    Source { path: Arc::from(path), text: Arc::from(text) }
}

pub(crate) fn compile(text: &str) -> Result<(PolicySet, Vec<Finding>), Vec<Finding>> {
    PolicySet::compile(&sources(text), &known(), Some("production"), Mode::New)
}

pub(crate) fn set(text: &str) -> PolicySet {
    match compile(text) {
        Ok((set, findings)) => {
            assert_eq!(findings, [], "{text}");
            set
        }
        Err(findings) => panic!("{text}: {findings:#?}"),
    }
}

/// An agent, and the user that it acts for.
pub(crate) fn who(agent: &str, user: Option<&str>, groups: &[&str]) -> Principal {
    let id = format!("{agent} {}", user.unwrap_or_default());
    let mut who = Principal::new(TenantId::default(), PrincipalId::new(&id), Proof::Local);
    who.agent = Some(Arc::from(agent));
    who.user = user.map(Arc::from);
    who.groups = groups.iter().map(|group| Arc::from(*group)).collect();
    who
}

/// Wednesday, 2026-11-25, 12:34 UTC.
pub(crate) const NOON: u64 = 1_795_610_040_000;

pub(crate) fn scene() -> Scene<'static> {
    let source = Some(IpAddr::from([10, 0, 0, 7]));
    Scene { now: Timestamp::from_ms(NOON), source, endpoint: "", era: Era::Modern }
}

/// Decides on a call of `server__native`.
pub(crate) fn call(set: &PolicySet, who: &Principal, tool: &str, arguments: &str) -> Decision {
    call_in(set, who, tool, arguments, &scene())
}

pub(crate) fn call_in(
    set: &PolicySet,
    who: &Principal,
    tool: &str,
    arguments: &str,
    scene: &Scene<'_>,
) -> Decision {
    let (server, native) = tool.split_once("__").unwrap();
    let bytes = arguments.as_bytes();
    let arguments = (!arguments.is_empty()).then(|| (bytes, Span::all(bytes)));
    let what = What::Call { native, arguments };
    set.decide(who, &Ask { server: &name(server), what, scene: *scene })
}

pub(crate) fn ids(decision: &Decision) -> Vec<&str> {
    decision.policies.iter().map(|policy| &*policy.id).collect()
}
