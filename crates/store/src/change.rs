//! What the feed says: each change of the desired state, in the order in which they were made.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tollgate_model::{KeyHash, KeyId, KeyRecord, ServerName, TenantId, Timestamp};

use crate::{
    AdminGrant, AdminKey, Approval, Blockable, Blocking, DefinitionsOf, Digest, List, Pausable, Pausing,
    PinChange, PinMark, PinOf, Registration, Resuming, Revocable, Revocation, RuleSet, StoreError,
    Unblocking, registering,
};

/// A place in the feed: behind one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// The change's revision. Every change has a greater one than all before it, and none is left out.
    pub revision: u64,
    /// A random number that the change got with it: after a backup was restored, the same revisions may stand for other
    /// changes.
    pub mark: u32,
}

/// One change of the desired state. Applying one twice changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A key was made, or is different from before: the key as it is now.
    Key(Arc<KeyRecord>),
    /// Something was taken back.
    Revoked(Revocation),
    /// Something is no longer taken back.
    Reinstated(Revocable),
    /// Something is stopped, or for another reason than before.
    Blocked(Blocking),
    /// Something is no longer stopped.
    Unblocked(Unblocking),
    /// An agent is paused.
    Paused(Pausing),
    /// An agent is let go on.
    Resumed(Resuming),
    /// An approval is asked for, or stands otherwise than before: as it is now, without its arguments.
    Approval(Arc<Approval>),
    /// A server was registered, or its registration is different from before: as it is now.
    Registered(Arc<Registration>),
    /// A set of policies is different from before: as it is now, with the texts that decide or look on.
    Ruled(Arc<RuleSet>),
    /// An admin key was made or revoked: the key as it is now. Nobody goes by it; it is for the record.
    AdminKey(Arc<AdminKey>),
    /// A server lists something else than before.
    Defined(DefinitionsOf, Digest),
    /// What a server listed is forgotten.
    Forgotten(DefinitionsOf),
    /// A pin of a definition is not what it was.
    Pinned(PinChange),
}

/// A change, and the place behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// The place.
    pub cursor: Cursor,
    /// The change.
    pub change: Change,
}

/// What came after a place in the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// These, in their order; nothing, if there is no news.
    These(Vec<Numbered>),
    /// The place is not in the feed: it was cut off there, or another history stands in it. The state has to be read anew.
    Lost,
}

/// The whole desired state, as of one place in the feed.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The place.
    pub cursor: Cursor,
    /// All keys.
    pub keys: Vec<Arc<KeyRecord>>,
    /// All revocations.
    pub revocations: Vec<Revocation>,
    /// All that is stopped.
    pub blocks: Vec<Blocking>,
    /// All that are paused.
    pub pauses: Vec<Pausing>,
    /// All registrations that are not retired.
    pub registrations: Vec<Arc<Registration>>,
    /// All sets of policies, with the texts that decide or look on.
    pub rules: Vec<Arc<RuleSet>>,
    /// The digests of all definitions.
    pub definitions: Vec<(DefinitionsOf, Digest)>,
    /// What is approved and what waits of all that is pinned.
    pub pins: Vec<(PinOf, PinMark)>,
}

/// How a change stands in a feed: JSON.
#[derive(Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
enum Written {
    Key(WrittenKey),
    Revoked {
        kind: String,
        whose: String,
        name: String,
        since: u64,
        until: Option<u64>,
    },
    Reinstated {
        kind: String,
        whose: String,
        name: String,
    },
    Blocked {
        kind: String,
        whose: String,
        name: String,
        reason: String,
        public: bool,
        by: String,
        since: u64,
    },
    Unblocked {
        kind: String,
        whose: String,
        name: String,
        reason: String,
        by: String,
    },
    Paused {
        tenant: String,
        agent: String,
        why: String,
        since: u64,
        until: u64,
    },
    Resumed {
        tenant: String,
        agent: String,
        reason: String,
        by: String,
    },
    Approval {
        approval: String,
    },
    Registered(Box<registering::Written>),
    Ruled {
        set: String,
    },
    AdminKey(WrittenAdminKey),
    Defined {
        tenant: Option<String>,
        server: String,
        list: String,
        digest: String,
    },
    Forgotten {
        tenant: Option<String>,
        server: String,
        list: String,
    },
    Pinned {
        tenant: String,
        server: String,
        kind: String,
        item: String,
        pin: Option<WrittenMark>,
        by: String,
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
struct WrittenMark {
    approved: Option<String>,
    waiting: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct WrittenKey {
    id: String,
    tenant: String,
    agent: String,
    groups: Vec<String>,
    hash: String,
    created: u64,
    expires: Option<u64>,
    revoked: Option<u64>,
    replaced_by: Option<String>,
}

/// An admin key without its digest: nobody who follows the feed needs it.
#[derive(Serialize, Deserialize)]
struct WrittenAdminKey {
    id: String,
    name: String,
    grants: Vec<(String, Option<String>)>,
    created: u64,
    expires: Option<u64>,
    revoked: Option<u64>,
    by: String,
}

impl Change {
    /// As it stands in a feed.
    pub fn encode(&self) -> String {
        let written = match self {
            Self::Key(key) => Written::Key(WrittenKey {
                id: key.id.as_str().to_owned(),
                tenant: key.tenant.as_str().to_owned(),
                agent: key.agent.to_string(),
                groups: key.groups.iter().map(ToString::to_string).collect(),
                hash: Digest(key.hash.0).to_string(),
                created: key.created.as_ms(),
                expires: key.expires.map(Timestamp::as_ms),
                revoked: key.revoked.map(Timestamp::as_ms),
                replaced_by: key.replaced_by.as_ref().map(|id| id.as_str().to_owned()),
            }),
            Self::Revoked(revocation) => {
                let (kind, whose, name) = owned(&revocation.what);
                let (since, until) = (revocation.since.as_ms(), revocation.until.map(Timestamp::as_ms));
                Written::Revoked { kind, whose, name, since, until }
            }
            Self::Reinstated(what) => {
                let (kind, whose, name) = owned(what);
                Written::Reinstated { kind, whose, name }
            }
            Self::Blocked(Blocking { what, reason, is_public, by, since }) => {
                let ((kind, whose, name), public) = (what.parts(), *is_public);
                let (kind, reason, by) = (kind.to_owned(), reason.to_string(), by.to_string());
                Written::Blocked { kind, whose, name, reason, public, by, since: since.as_ms() }
            }
            Self::Unblocked(Unblocking { what, reason, by }) => {
                let (kind, whose, name) = what.parts();
                let (kind, reason, by) = (kind.to_owned(), reason.to_string(), by.to_string());
                Written::Unblocked { kind, whose, name, reason, by }
            }
            Self::Paused(Pausing { who, why, since, until }) => Written::Paused {
                tenant: who.tenant.as_str().to_owned(),
                agent: who.agent.to_string(),
                why: why.to_string(),
                since: since.as_ms(),
                until: until.as_ms(),
            },
            Self::Resumed(Resuming { who, reason, by }) => Written::Resumed {
                tenant: who.tenant.as_str().to_owned(),
                agent: who.agent.to_string(),
                reason: reason.to_string(),
                by: by.to_string(),
            },
            Self::Approval(approval) => Written::Approval { approval: approval.without_arguments().encode() },
            Self::Registered(registration) => Written::Registered(Box::new((&**registration).into())),
            Self::Ruled(set) => Written::Ruled { set: set.in_use().encode() },
            Self::AdminKey(key) => Written::AdminKey(WrittenAdminKey {
                id: key.id.as_str().to_owned(),
                name: key.name.to_string(),
                grants: key.grants.iter().map(AdminGrant::to_pair).collect(),
                created: key.created.as_ms(),
                expires: key.expires.map(Timestamp::as_ms),
                revoked: key.revoked.map(Timestamp::as_ms),
                by: key.by.to_string(),
            }),
            Self::Defined(of, digest) => {
                let (tenant, server, list) = owned_definitions(of);
                Written::Defined { tenant, server, list, digest: digest.to_string() }
            }
            Self::Forgotten(of) => {
                let (tenant, server, list) = owned_definitions(of);
                Written::Forgotten { tenant, server, list }
            }
            Self::Pinned(PinChange { of, mark, by, reason }) => {
                let hex = |digest: Option<Digest>| digest.map(|digest| digest.to_string());
                let pin =
                    mark.map(|mark| WrittenMark { approved: hex(mark.approved), waiting: hex(mark.waiting) });
                Written::Pinned {
                    tenant: of.tenant.as_ref().map_or("", TenantId::as_str).to_owned(),
                    server: of.server.to_string(),
                    kind: of.kind.as_str().to_owned(),
                    item: of.item.to_string(),
                    pin,
                    by: by.to_string(),
                    reason: reason.to_string(),
                }
            }
        };
        // Nothing in it can fail to be written.
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// From how it stands in a feed.
    ///
    /// # Errors
    /// [`StoreError::Broken`] for what this program does not know: whoever follows the feed cannot go on as if it were not
    /// there.
    pub fn decode(text: &str) -> Result<Self, StoreError> {
        let written: Written = serde_json::from_str(text).map_err(StoreError::broken)?;
        let strange = || StoreError::broken("the feed holds a change that this program does not know");
        Ok(match written {
            Written::Key(key) => Self::Key(Arc::new(KeyRecord {
                id: KeyId::new(&key.id),
                tenant: TenantId::new(&key.tenant),
                agent: key.agent.into(),
                groups: key.groups.into_iter().map(Arc::from).collect(),
                hash: KeyHash(unhex(&key.hash).ok_or_else(strange)?),
                created: Timestamp::from_ms(key.created),
                expires: key.expires.map(Timestamp::from_ms),
                revoked: key.revoked.map(Timestamp::from_ms),
                replaced_by: key.replaced_by.as_deref().map(KeyId::new),
            })),
            Written::Revoked { kind, whose, name, since, until } => Self::Revoked(Revocation {
                what: Revocable::from_parts(&kind, &whose, &name).ok_or_else(strange)?,
                since: Timestamp::from_ms(since),
                until: until.map(Timestamp::from_ms),
            }),
            Written::Reinstated { kind, whose, name } => {
                Self::Reinstated(Revocable::from_parts(&kind, &whose, &name).ok_or_else(strange)?)
            }
            Written::Blocked { kind, whose, name, reason, public, by, since } => Self::Blocked(Blocking {
                what: Blockable::from_parts(&kind, &whose, &name).ok_or_else(strange)?,
                reason: reason.into(),
                is_public: public,
                by: by.into(),
                since: Timestamp::from_ms(since),
            }),
            Written::Unblocked { kind, whose, name, reason, by } => Self::Unblocked(Unblocking {
                what: Blockable::from_parts(&kind, &whose, &name).ok_or_else(strange)?,
                reason: reason.into(),
                by: by.into(),
            }),
            Written::Paused { tenant, agent, why, since, until } => Self::Paused(Pausing {
                who: Pausable { tenant: TenantId::new(&tenant), agent: agent.into() },
                why: why.into(),
                since: Timestamp::from_ms(since),
                until: Timestamp::from_ms(until),
            }),
            Written::Resumed { tenant, agent, reason, by } => Self::Resumed(Resuming {
                who: Pausable { tenant: TenantId::new(&tenant), agent: agent.into() },
                reason: reason.into(),
                by: by.into(),
            }),
            Written::Approval { approval } => Self::Approval(Arc::new(Approval::decode(&approval)?)),
            Written::Registered(written) => Self::Registered(Arc::new((*written).try_into()?)),
            Written::Ruled { set } => Self::Ruled(Arc::new(RuleSet::decode(&set)?)),
            Written::AdminKey(key) => Self::AdminKey(Arc::new(AdminKey {
                id: KeyId::new(&key.id),
                name: key.name.into(),
                grants: key.grants.into_iter().map(AdminGrant::from_pair).collect(),
                hash: KeyHash([0; 32]),
                created: Timestamp::from_ms(key.created),
                expires: key.expires.map(Timestamp::from_ms),
                revoked: key.revoked.map(Timestamp::from_ms),
                by: key.by.into(),
            })),
            Written::Defined { tenant, server, list, digest } => {
                let of = definitions_of(tenant.as_deref(), &server, &list)?;
                Self::Defined(of, Digest(unhex(&digest).ok_or_else(strange)?))
            }
            Written::Forgotten { tenant, server, list } => {
                Self::Forgotten(definitions_of(tenant.as_deref(), &server, &list)?)
            }
            Written::Pinned { tenant, server, kind, item, pin, by, reason } => {
                let of = PinOf::from_parts(&tenant, &server, &kind, &item).ok_or_else(strange)?;
                let digest = |text: Option<String>| {
                    text.map(|text| unhex(&text).map(Digest).ok_or_else(strange)).transpose()
                };
                let mark = |pin: WrittenMark| {
                    Ok::<_, StoreError>(PinMark {
                        approved: digest(pin.approved)?,
                        waiting: digest(pin.waiting)?,
                    })
                };
                let mark = pin.map(mark).transpose()?;
                Self::Pinned(PinChange { of, mark, by: by.into(), reason: reason.into() })
            }
        })
    }
}

fn owned(what: &Revocable) -> (String, String, String) {
    let (kind, whose, name) = what.parts();
    (kind.to_owned(), whose.to_owned(), name.to_owned())
}

fn owned_definitions(of: &DefinitionsOf) -> (Option<String>, String, String) {
    let tenant = of.tenant.as_ref().map(|tenant| tenant.as_str().to_owned());
    (tenant, of.server.as_str().to_owned(), of.list.as_str().to_owned())
}

/// Whose definitions, from how it is stored.
///
/// # Errors
/// [`StoreError::Broken`] if there can be no such server or list.
pub fn definitions_of(tenant: Option<&str>, server: &str, list: &str) -> Result<DefinitionsOf, StoreError> {
    let server = ServerName::new(server).map_err(StoreError::broken)?;
    let list = List::from_stored(list)
        .ok_or_else(|| StoreError::broken("a list is stored that this program does not know"))?;
    Ok(DefinitionsOf { tenant: tenant.map(TenantId::new), server, list })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    Digest::from_hex(text).map(|digest| digest.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PinKind;

    fn key(expires: Option<u64>) -> KeyRecord {
        KeyRecord {
            id: KeyId::new("k1"),
            tenant: TenantId::new("acme"),
            agent: "support \"bot\"".into(),
            groups: vec!["a".into(), "b".into()],
            hash: KeyHash([7; 32]),
            created: Timestamp::from_ms(5),
            expires: expires.map(Timestamp::from_ms),
            revoked: None,
            replaced_by: Some(KeyId::new("k2")),
        }
    }

    fn admin_key() -> AdminKey {
        AdminKey {
            id: KeyId::new("a1"),
            name: "deploy \"bot\"".into(),
            grants: vec![
                AdminGrant { role: "viewer".into(), tenant: None },
                AdminGrant { role: "operator".into(), tenant: Some(TenantId::new("acme")) },
            ],
            hash: KeyHash([0; 32]),
            created: Timestamp::from_ms(1),
            expires: None,
            revoked: Some(Timestamp::from_ms(3)),
            by: "ö".into(),
        }
    }

    #[test]
    fn changes_come_back_as_they_went() {
        let server = ServerName::new("files").expect("a name");
        let of = DefinitionsOf { tenant: None, server: server.clone(), list: List::ResourceTemplates };
        let token = Revocable::Token { issuer: "https://idp".into(), id: "j".into() };
        let user = Revocable::User { tenant: TenantId::new("acme"), user: "ü".into() };
        let since = Timestamp::from_ms(1);
        let tool = Blockable::Tool { tenant: None, server: server.clone(), native: "a/b".into() };
        let blocking =
            Blocking { what: tool.clone(), reason: "\"?\"".into(), is_public: true, by: "ö".into(), since };
        let who = Pausable { tenant: TenantId::new("acme"), agent: "bot".into() };
        let pausing = Pausing { who: who.clone(), why: "surge".into(), since, until: Timestamp::from_ms(7) };
        let pinned = |mark| {
            let of = PinOf { tenant: None, server: server.clone(), kind: PinKind::Tool, item: "ü/b".into() };
            Change::Pinned(PinChange { of, mark, by: "ada".into(), reason: "\"so\"".into() })
        };
        for change in [
            pinned(None),
            pinned(Some(PinMark { approved: Some(Digest([7; 32])), waiting: None })),
            pinned(Some(PinMark { approved: None, waiting: Some(Digest([8; 32])) })),
            Change::Registered(Arc::new(crate::suite::registered("crm", "1.0 \"β\""))),
            Change::Paused(pausing),
            Change::Resumed(Resuming { who, reason: "ü".into(), by: "ada".into() }),
            Change::AdminKey(Arc::new(admin_key())),
            Change::Blocked(blocking),
            Change::Unblocked(Unblocking { what: tool, reason: "".into(), by: "ada".into() }),
            Change::Key(Arc::new(key(None))),
            Change::Key(Arc::new(key(Some(u64::MAX)))),
            Change::Revoked(Revocation { what: token, since, until: Some(Timestamp::from_ms(9)) }),
            Change::Reinstated(user),
            Change::Defined(of.clone(), Digest([0xab; 32])),
            Change::Forgotten(DefinitionsOf { tenant: Some(TenantId::new("acme")), ..of }),
        ] {
            assert_eq!(Change::decode(&change.encode()).expect("a change"), change);
        }
    }

    #[test]
    fn what_is_not_known_is_not_passed_over() {
        for text in [
            "",
            "{}",
            r#"{"change":"tomorrow"}"#,
            r#"{"change":"reinstated","kind":"group","whose":"a","name":"b"}"#,
            r#"{"change":"unblocked","kind":"tool","whose":"","name":"a","reason":"","by":""}"#,
            r#"{"change":"forgotten","tenant":null,"server":"a","list":"roots"}"#,
            r#"{"change":"forgotten","tenant":null,"server":"","list":"tools"}"#,
        ] {
            assert!(matches!(Change::decode(text), Err(StoreError::Broken(_))), "{text}");
        }
    }
}
