//! References of people and agents, and the lines that name them. Both are made once for each, and kept at hand.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, PoisonError, RwLock};

use ring::error::Unspecified;
use serde_json::{Value, json};
use tollgate_model::{Actor, Principal, Proof};

use crate::Text;
use crate::line::{self, Hash};
use crate::vault::{Name, NameKind, REFERENCE_LEN, Vault};

/// How many of each are kept at hand. When there are more, they are forgotten and made again.
const KNOWN_MAX: usize = 16_384;

/// A reference as it stands in segments.
pub(crate) type Reference = [u8; REFERENCE_LEN];

/// A name that has its reference, and the line that says so.
#[derive(Debug)]
pub(crate) struct Known {
    tenant: Box<str>,
    kind: NameKind,
    text: Box<str>,
    reference: String,
    /// The `n` line, with its end.
    pub(crate) line: Vec<u8>,
    /// The line's digest.
    pub(crate) digest: Hash,
}

impl Known {
    pub(crate) fn new(
        vault: &Vault,
        tenant: &str,
        kind: NameKind,
        text: &str,
        shown: Value,
    ) -> Result<Arc<Self>, Unspecified> {
        let reference = vault.reference(tenant, kind, text);
        let sealed = vault.seal_name(tenant, &reference, &Name { kind, text: shown })?;
        let (mut line, head) = (Vec::new(), format!("n {reference} "));
        let digest = line::push_side(&mut line, head.as_bytes(), sealed.as_bytes());
        Ok(Arc::new(Self { tenant: tenant.into(), kind, text: text.into(), reference, line, digest }))
    }

    /// The reference as an entry has it.
    pub(crate) fn reference(&self) -> Text<'_> {
        self.reference.as_str().into()
    }

    /// The reference as a key of what a segment has.
    pub(crate) fn key(&self) -> Reference {
        let mut key = Reference::default();
        for (place, byte) in key.iter_mut().zip(self.reference.bytes()) {
            *place = byte;
        }
        key
    }
}

/// The names of a principal.
#[derive(Debug)]
pub(crate) struct KnownPrincipal {
    pub(crate) who: Arc<Known>,
    pub(crate) agent: Option<Arc<Known>>,
    pub(crate) user: Option<Arc<Known>>,
}

/// The names at hand.
#[derive(Debug, Default)]
pub(crate) struct Names {
    principals: RwLock<HashMap<Principal, Arc<KnownPrincipal>>>,
    /// By a keyed hash of what they are the names of.
    others: RwLock<HashMap<u64, Arc<Known>>>,
    hasher: RandomState,
}

impl Names {
    /// The names of a principal.
    pub(crate) fn principal(
        &self,
        vault: &Vault,
        who: &Principal,
    ) -> Result<Arc<KnownPrincipal>, Unspecified> {
        if let Some(known) = self.principals.read().unwrap_or_else(PoisonError::into_inner).get(who) {
            return Ok(Arc::clone(known));
        }
        let tenant = who.tenant.as_str();
        let shown = describe(who);
        let text = shown.to_string();
        let plain = |kind, text: &Option<Arc<str>>| {
            text.as_deref().map(|text| self.plain(vault, tenant, kind, text)).transpose()
        };
        let known = Arc::new(KnownPrincipal {
            who: Known::new(vault, tenant, NameKind::Who, &text, shown)?,
            agent: plain(NameKind::Agent, &who.agent)?,
            user: plain(NameKind::User, &who.user)?,
        });
        let mut principals = self.principals.write().unwrap_or_else(PoisonError::into_inner);
        if principals.len() >= KNOWN_MAX {
            principals.clear();
        }
        principals.insert(who.clone(), Arc::clone(&known));
        Ok(known)
    }

    /// The name of anything else.
    pub(crate) fn plain(
        &self,
        vault: &Vault,
        tenant: &str,
        kind: NameKind,
        text: &str,
    ) -> Result<Arc<Known>, Unspecified> {
        let hash = self.hasher.hash_one((tenant, kind, text));
        if let Some(known) = self.others.read().unwrap_or_else(PoisonError::into_inner).get(&hash)
            && (&*known.tenant, known.kind, &*known.text) == (tenant, kind, text)
        {
            return Ok(Arc::clone(known));
        }
        let known = Known::new(vault, tenant, kind, text, text.into())?;
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        if others.len() >= KNOWN_MAX {
            others.clear();
        }
        others.insert(hash, Arc::clone(&known));
        Ok(known)
    }
}

/// A principal as it was: all that policies see of it, and by what it was proved, without any secret. The members are in the
/// order of their names, so that the same principal has the same text.
fn describe(who: &Principal) -> Value {
    let mut shown = json!({ "id": who.id.as_str(), "proof": prove(&who.proof) });
    let mut put = |name: &str, value: Value| shown[name] = value;
    if let Some(agent) = &who.agent {
        put("agent", (**agent).into());
    }
    if let Some(user) = &who.user {
        put("user", (**user).into());
    }
    for (name, texts) in [("groups", &who.groups), ("agent_groups", &who.agent_groups), ("roles", &who.roles)]
    {
        if !texts.is_empty() {
            put(name, list(texts));
        }
    }
    if let Some(scopes) = &who.scopes {
        put("scopes", list(scopes));
    }
    if !who.act.is_empty() {
        let actor = |Actor { issuer, subject }: &Actor| json!({ "issuer": **issuer, "subject": **subject });
        put("act", who.act.iter().map(actor).collect());
    }
    sorted(shown)
}

fn list(texts: &[Arc<str>]) -> Value {
    texts.iter().map(|text| Value::from(&**text)).collect()
}

fn prove(proof: &Proof) -> Value {
    match proof {
        Proof::Local => json!({ "kind": "local" }),
        Proof::Anonymous => json!({ "kind": "anonymous" }),
        Proof::Key(id) => json!({ "kind": "key", "key": id.as_str() }),
        Proof::Token { issuer, id: None } => json!({ "kind": "token", "issuer": **issuer }),
        Proof::Token { issuer, id: Some(id) } => {
            json!({ "kind": "token", "issuer": **issuer, "token": **id })
        }
        Proof::Certificate { digest } => json!({ "kind": "certificate", "sha256": **digest }),
    }
}

/// With members in the order of their names, whatever order the JSON library was built to keep.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> =
                members.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(members.into_iter().collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use tollgate_model::{KeyId, PrincipalId, TenantId};

    use super::*;

    #[test]
    fn a_principal_has_the_same_references_each_time_and_another_has_others() {
        let vault = Vault::new(&[1; 32]).expect("random bytes");
        let names = Names::default();
        let principal = |user: &str| Principal {
            agent: Some("desk".into()),
            user: Some(user.into()),
            act: vec![Actor { issuer: "i".into(), subject: "s".into() }],
            ..Principal::new(TenantId::new("acme"), PrincipalId::local(), Proof::Key(KeyId::new("k1")))
        };
        let references = |names: &Names, user: &str| {
            let known = names.principal(&vault, &principal(user)).expect("names");
            [&known.who, known.agent.as_ref().expect("agent"), known.user.as_ref().expect("user")]
                .map(|known| known.reference.clone())
        };
        let ann = references(&names, "ann");
        assert_eq!(ann, references(&names, "ann"));
        assert_eq!(ann, references(&Names::default(), "ann"), "made anew");
        let bob = references(&names, "bob");
        assert_eq!(ann[1], bob[1], "the same agent");
        assert!(ann[0] != bob[0] && ann[2] != bob[2]);

        let known = names.principal(&vault, &principal("ann")).expect("names");
        let sealed = known.who.line.strip_prefix(format!("n {} ", ann[0]).as_bytes()).expect("a name line");
        let name = vault.open_name("acme", &ann[0], &sealed[..sealed.len() - 1]).expect("a name");
        assert_eq!(
            (name.kind, &name.text["user"], &name.text["act"][0]["subject"]),
            (NameKind::Who, &json!("ann"), &json!("s"))
        );
        assert_eq!(known.who.digest, line::line_digest(&known.who.line));
    }
}
