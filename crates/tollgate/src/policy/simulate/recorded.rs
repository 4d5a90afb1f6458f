//! A decision on record, put again as it was.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;
use tollgate_ledger::{Decided, Entry, Line, NameKind, Read, Vault, is_altered};
use tollgate_mcp::{Span, find, methods};
use tollgate_model::{
    Actor, Decision, Era, KeyId, Principal, PrincipalId, Proof, ServerName, TenantId, Timestamp,
};
use tollgate_policy::{Ask, Gap, Gaps, PolicySet, Scene, What};

use super::tally::{Again, Reason, Tally};

/// The member of the params that holds the arguments.
const ARGUMENTS: &str = "arguments";

/// The names of a segment: sealed, until they are needed.
#[derive(Default)]
pub(super) struct Names(HashMap<Vec<u8>, Name>);

enum Name {
    Sealed(Vec<u8>),
    Who(Arc<Principal>),
    Source(IpAddr),
    /// It was erased, or is sealed under another key.
    Gone,
}

impl Names {
    /// Keeps the names that stand beside an entry.
    pub(super) fn learn(&mut self, read: &Read) {
        if read.side_lines.is_empty() {
            return;
        }
        for line in read.beside() {
            if let Line::Name { reference, sealed } = line {
                let name = if Line::is_erased(sealed) { Name::Gone } else { Name::Sealed(sealed.to_vec()) };
                self.0.insert(reference.to_vec(), name);
            }
        }
    }

    fn open(&mut self, vault: &Vault, tenant: &TenantId, reference: &str) -> &Name {
        let Some(name) = self.0.get_mut(reference.as_bytes()) else { return &Name::Gone };
        if let Name::Sealed(sealed) = name {
            let opened = vault.open_name(tenant.as_str(), reference, sealed);
            let read = opened.and_then(|name| match name.kind {
                NameKind::Who => principal(tenant, &name.text).map(|who| Name::Who(Arc::new(who))),
                NameKind::Source => name.text.as_str()?.parse().ok().map(Name::Source),
                _ => None,
            });
            *name = read.unwrap_or(Name::Gone);
        }
        name
    }
}

/// A principal, as the ledger describes it.
fn principal(tenant: &TenantId, text: &Value) -> Option<Principal> {
    let shared = |value: &Value| value.as_str().map(Arc::<str>::from);
    let list = |name: &str| -> Vec<Arc<str>> {
        text[name].as_array().into_iter().flatten().filter_map(shared).collect()
    };
    let proof = &text["proof"];
    let proof = match proof["kind"].as_str()? {
        "local" => Proof::Local,
        "anonymous" => Proof::Anonymous,
        "key" => Proof::Key(KeyId::new(proof["key"].as_str()?)),
        "token" => Proof::Token { issuer: shared(&proof["issuer"])?, id: shared(&proof["token"]) },
        "certificate" => Proof::Certificate { digest: shared(&proof["sha256"])? },
        _ => return None,
    };
    let actor = |value: &Value| {
        Some(Actor { issuer: shared(&value["issuer"])?, subject: shared(&value["subject"])? })
    };
    Some(Principal {
        agent: shared(&text["agent"]),
        user: shared(&text["user"]),
        groups: list("groups"),
        agent_groups: list("agent_groups"),
        roles: list("roles"),
        scopes: text["scopes"].is_array().then(|| list("scopes")),
        act: text["act"].as_array().into_iter().flatten().filter_map(actor).collect(),
        ..Principal::new(tenant.clone(), PrincipalId::new(text["id"].as_str()?), proof)
    })
}

/// Whether an entry may hold a decision on a request, by how it begins.
pub(super) fn is_decided(json: &[u8]) -> bool {
    const HEAD: usize = 120;
    let head = &json[..json.len().min(HEAD)];
    let holds = |part: &[u8]| head.windows(part.len()).any(|window| window == part);
    // An answer that the gateway had kept has an outcome without an intent.
    let is_of_no_intent = || holds(br#""kind":"outcome""#) && !holds(br#""of":"#);
    holds(br#""kind":"intent""#) || holds(br#""kind":"refusal""#) || is_of_no_intent()
}

/// What is known of the arguments.
struct Arguments {
    bytes: Option<Vec<u8>>,
    /// Where they stand in it; none if there are none.
    at: Option<Span>,
    parts: Vec<Vec<String>>,
    /// Why they are not known, if they are not.
    missing: Option<Reason>,
}

impl Arguments {
    fn of(vault: &Vault, tenant: &TenantId, read: &Read, entry: &Entry<'_>) -> Self {
        let known = |bytes: Option<Vec<u8>>| {
            let at = bytes.as_deref().map(Span::all);
            Self { bytes, at, parts: Vec::new(), missing: None }
        };
        let missing = |reason| Self { missing: Some(reason), ..known(None) };
        let Some(committed) = &entry.arguments else { return known(None) };
        let is_more = entry.detail.as_ref().is_some_and(|detail| detail.contains_key("members"));
        let sealed = read.beside().find_map(|line| match line {
            Line::Payload { is_result: false, sealed } => Some(sealed),
            _ => None,
        });
        match sealed {
            Some(sealed) if Line::is_erased(sealed) => missing(Reason::ArgumentsErased),
            Some(sealed) => match vault.open_payload(tenant.as_str(), false, sealed) {
                Some(payload) => {
                    let parts = committed.redacted.iter().map(|pointer| path(pointer)).collect();
                    let whole = Self { parts, ..known(Some(payload.bytes)) };
                    if is_more { whole.within() } else { whole }
                }
                None => missing(Reason::ArgumentsErased),
            },
            // There is only one object of two bytes.
            None if committed.bytes == 2 && !is_more => known(Some(b"{}".to_vec())),
            None => missing(Reason::ArgumentsNotKept),
        }
    }
}

impl Arguments {
    /// Of a payload that holds more of the params than the arguments.
    fn within(mut self) -> Self {
        let bytes = self.bytes.as_deref().unwrap_or_default();
        self.at = self.at.and_then(|all| find(bytes, all, ARGUMENTS));
        self.parts = self
            .parts
            .into_iter()
            // Where the whole is named, nobody knows what was taken out.
            .filter(|part| part.first().is_none_or(|first| first == ARGUMENTS))
            .map(|part| part.into_iter().skip(1).collect())
            .collect();
        self
    }

    fn given(&self) -> Option<(&[u8], Span)> {
        Some((self.bytes.as_deref()?, self.at?))
    }
}

/// The names that a JSON pointer leads by.
fn path(pointer: &str) -> Vec<String> {
    let parts = pointer.split('/').skip(1);
    parts.map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
}

/// Puts a decision that is on record to a set again, and counts what comes of it.
pub(super) fn again(
    vault: &Vault,
    set: Option<&PolicySet>,
    names: &mut Names,
    (read, entry, decided): (&Read, &Entry<'_>, &Decided<'_>),
    tenant: &TenantId,
    tally: &mut Tally,
) {
    let (Some(server), Some(native)) = (entry.server.as_deref(), entry.native_name.as_deref()) else {
        return tally.is_other();
    };
    let method = entry.method.as_deref().unwrap_or_default();
    let kind = match method {
        methods::TOOLS_CALL => "tool",
        methods::PROMPTS_GET => "prompt",
        methods::RESOURCES_READ | methods::RESOURCES_SUBSCRIBE => "resource",
        methods::COMPLETION_COMPLETE => "completion",
        _ => return tally.is_other(),
    };
    let who = entry.who.as_deref().map(|who| names.open(vault, tenant, who));
    let who = match who {
        Some(Name::Who(who)) => Some(Arc::clone(who)),
        _ => None,
    };
    let mut put = Again { entry, decided, kind, server, native, who: who.as_deref(), arguments: None };
    tally.found(decided);
    let (Some(set), Ok(server)) = (set, ServerName::new(server)) else {
        return tally.undecidable(Reason::TenantUnknown);
    };
    let Some(who) = &who else { return tally.undecidable(Reason::CallerErased) };
    if is_altered(native) {
        return tally.undecidable(Reason::NameRedacted);
    }
    if !set.knows_server(&server) {
        return tally.undecidable(Reason::DefinitionUnknown);
    }
    let (source, lacks_source) = match entry.source.as_deref() {
        None => (None, false),
        Some(reference) => match names.open(vault, tenant, reference) {
            Name::Source(source) => (Some(*source), false),
            _ => (None, true),
        },
    };
    let arguments = Arguments::of(vault, tenant, read, entry);
    let given = arguments.given();
    let completes = entry.detail.as_ref().and_then(|detail| detail.get("ref")?.as_str());
    let what = match (kind, completes) {
        ("tool", _) => What::Call { native, arguments: given },
        ("prompt", _) => What::Get { native, arguments: given },
        ("resource", _) | ("completion", Some("resource")) => What::Read { uri: native },
        // Of what completions are filled in, policies see nothing.
        ("completion", Some("prompt")) => What::Get { native, arguments: None },
        _ => return tally.undecidable(Reason::CompletionOfWhat),
    };
    let scene = Scene {
        now: Timestamp::from_ms(decided.at_ms),
        source,
        endpoint: entry.endpoint.as_deref().unwrap_or_default(),
        era: if entry.era.as_deref() == Some("legacy") { Era::Legacy } else { Era::Modern },
    };
    put.arguments = given.map(|(bytes, span)| span.of(bytes));
    if kind == "tool" {
        match set.knows_tool(&server, native) {
            Some(true) => {}
            // What no list shows is nobody's to call, whatever policies say.
            Some(false) if !decided.allowed => return tally.decided(&put, &Decision::denied()),
            _ => return tally.undecidable(Reason::DefinitionUnknown),
        }
    }
    let takes_arguments = matches!(kind, "tool" | "prompt");
    let is_missing = takes_arguments && arguments.missing.is_some();
    let parts: &[Vec<String>] = if takes_arguments { &arguments.parts } else { &[] };
    let gaps = Gaps { source: lacks_source, arguments: is_missing, parts };
    match set.decide_again(who, &Ask { server: &server, what, scene }, &gaps) {
        Ok(decision) => tally.decided(&put, &decision),
        Err(Gap::Source) => tally.undecidable(Reason::SourceErased),
        Err(Gap::Part) => tally.undecidable(Reason::ArgumentsRedacted),
        Err(Gap::Arguments) => tally.undecidable(arguments.missing.unwrap_or(Reason::ArgumentsNotKept)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_lead_by_names() {
        assert_eq!(path(""), Vec::<String>::new());
        assert_eq!(path("/a~1b/~01/0"), ["a/b", "~1", "0"]);
    }

    #[test]
    fn what_was_decided_stands_in_intents_refusals_and_outcomes_without_an_intent() {
        let is = |kind: &str, rest: &str| {
            is_decided(format!(r#"{{"seq":9,"time_ms":8,"kind":"{kind}","call":"c"{rest}}}"#).as_bytes())
        };
        assert!(is("intent", "") && is("refusal", "") && is("outcome", r#","step":1,"tenant":"t""#));
        assert!(!is("outcome", r#","step":1,"of":7"#) && !is("list", "") && !is("checkpoint", ""));
    }

    #[test]
    fn a_principal_is_read_as_it_was_described() {
        let text = serde_json::json!({
            "id": "bot for ann", "proof": {"kind": "token", "issuer": "i"}, "agent": "bot", "user": "ann",
            "groups": ["a", "b"], "roles": ["r"], "scopes": [], "act": [{"issuer": "i", "subject": "s"}],
        });
        let who = principal(&TenantId::default(), &text).expect("a principal");
        assert_eq!((who.id.as_str(), who.groups.len(), who.scopes), ("bot for ann", 2, Some(Vec::new())));
        assert_eq!(who.proof, Proof::Token { issuer: "i".into(), id: None });
        assert_eq!(principal(&TenantId::default(), &serde_json::json!({"id": "x"})), None);
    }
}
