//! What operators want to be so, as of one revision of the feed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tollgate_model::{KeyHash, KeyId, KeyRecord, Principal, Proof, ServerName, TenantId, Timestamp};

use crate::shards::Shards;
use crate::{
    Blockable, Blocking, Change, DefinitionsOf, Digest, Life, Pausable, Pausing, PinChange, PinKind, PinMark,
    PinOf, Registration, RegistrationId, Revocable, Revocation, RuleSet, RuleSetId, Snapshot,
};

/// The desired state as of one revision. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Desired {
    revision: u64,
    keys: Shards<KeyId, Arc<KeyRecord>>,
    hashes: Shards<KeyHash, Arc<KeyRecord>>,
    revocations: Shards<Revocable, Revocation>,
    blocks: Arc<HashMap<Blockable, Arc<Blocking>>>,
    pauses: Arc<HashMap<Pausable, Pausing>>,
    registrations: Arc<BTreeMap<RegistrationId, Arc<Registration>>>,
    rules: Arc<BTreeMap<RuleSetId, Arc<RuleSet>>>,
    definitions: Shards<DefinitionsOf, Digest>,
    pins: Arc<HashMap<PinsOf, Arc<PinMarks>>>,
}

/// Whose pins: a server's, and the tenant's whose it is, if it is not shared.
type PinsOf = (Option<TenantId>, ServerName);

/// What is approved and what waits of each item of a server, by kind.
pub type PinMarks = HashMap<PinKind, HashMap<Arc<str>, PinMark>>;

impl Desired {
    /// As of which revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The key of this digest, good or not.
    pub fn key(&self, hash: &KeyHash) -> Option<&Arc<KeyRecord>> {
        self.hashes.get(hash)
    }

    /// The key of this id, good or not.
    pub fn key_of(&self, id: &KeyId) -> Option<&Arc<KeyRecord>> {
        self.keys.get(id)
    }

    /// All that is stopped: the very same as before while nothing of it has changed.
    pub fn blocks(&self) -> &Arc<HashMap<Blockable, Arc<Blocking>>> {
        &self.blocks
    }

    /// Who is paused, or was: the very same as before while nothing of it has changed.
    pub fn pauses(&self) -> &Arc<HashMap<Pausable, Pausing>> {
        &self.pauses
    }

    /// All registrations that are not retired: the very same as before while nothing of them has changed.
    pub fn registrations(&self) -> &Arc<BTreeMap<RegistrationId, Arc<Registration>>> {
        &self.registrations
    }

    /// All sets of policies, with the texts that decide or look on: the very same as before while nothing of them has changed.
    pub fn rules(&self) -> &Arc<BTreeMap<RuleSetId, Arc<RuleSet>>> {
        &self.rules
    }

    /// How many agents of each tenant have keys that are good, and how many such keys there are.
    pub fn keys_by_tenant(&self, now: Timestamp) -> HashMap<TenantId, (usize, usize)> {
        let mut agents: HashMap<&TenantId, HashMap<&str, usize>> = HashMap::new();
        for key in self.keys.values().filter(|key| key.is_good(now)) {
            *agents.entry(&key.tenant).or_default().entry(&key.agent).or_default() += 1;
        }
        let counted = agents.into_iter();
        counted.map(|(tenant, agents)| (tenant.clone(), (agents.len(), agents.values().sum()))).collect()
    }

    /// How many keys there are, good or not.
    pub fn keys_len(&self) -> usize {
        self.keys.len()
    }

    /// The digest of what a server last listed, as far as anybody kept it: when it is another than before, the items can be
    /// read from the store.
    pub fn definitions(&self, of: &DefinitionsOf) -> Option<Digest> {
        self.definitions.get(of).copied()
    }

    /// What is approved and what waits of the items of a server: the very same as before while nothing of it has changed. None
    /// if nothing of it was ever pinned.
    pub fn pins_of(&self, tenant: Option<&TenantId>, server: &ServerName) -> Option<&Arc<PinMarks>> {
        if self.pins.is_empty() {
            return None;
        }
        self.pins.get(&(tenant.cloned(), server.clone()))
    }

    /// Whether a principal that came in before is refused by now.
    pub fn is_revoked(&self, principal: &Principal, now: Timestamp) -> bool {
        let key_gone = match &principal.proof {
            // Keys of the configuration are not here: the configuration takes them back. That a key ends by itself is in
            // what it proves. Whatever the clocks say, a revoked one is gone.
            Proof::Key(id) => self.keys.get(id).is_some_and(|key| key.revoked.is_some()),
            _ => false,
        };
        key_gone || (!self.revocations.is_empty() && self.is_taken_back(principal, now))
    }

    fn is_taken_back(&self, principal: &Principal, now: Timestamp) -> bool {
        let holds = |what: Revocable| self.revocations.get(&what).is_some_and(|found| found.holds(now));
        let tenant = &principal.tenant;
        let of_token = || match &principal.proof {
            Proof::Token { issuer, id: Some(id) } => {
                holds(Revocable::Token { issuer: Arc::clone(issuer), id: Arc::clone(id) })
            }
            _ => false,
        };
        let of_user = || {
            let user = principal.user.as_ref();
            user.is_some_and(|user| holds(Revocable::User { tenant: tenant.clone(), user: Arc::clone(user) }))
        };
        let of_agent = || {
            let agent = principal.agent.as_ref();
            agent.is_some_and(|agent| {
                holds(Revocable::Agent { tenant: tenant.clone(), agent: Arc::clone(agent) })
            })
        };
        of_token() || of_user() || of_agent()
    }

    /// Takes in one change.
    pub(crate) fn apply(&mut self, revision: u64, change: Change) {
        self.revision = revision;
        match change {
            Change::Key(key) => self.put(key),
            Change::Revoked(revocation) => self.revocations.insert(revocation.what.clone(), revocation),
            Change::Reinstated(what) => self.revocations.remove(&what),
            Change::Blocked(blocking) => {
                Arc::make_mut(&mut self.blocks).insert(blocking.what.clone(), Arc::new(blocking));
            }
            Change::Unblocked(unblocking) => {
                Arc::make_mut(&mut self.blocks).remove(&unblocking.what);
            }
            Change::Paused(pausing) => {
                let pauses = Arc::make_mut(&mut self.pauses);
                // As the store does.
                pauses.retain(|who, old| who.tenant != pausing.who.tenant || old.until > pausing.since);
                pauses.insert(pausing.who.clone(), pausing);
            }
            Change::Resumed(resuming) => {
                Arc::make_mut(&mut self.pauses).remove(&resuming.who);
            }
            // Whoever waits for an approval hears of it, and looks at the store.
            Change::Approval(_) | Change::AdminKey(_) => {}
            Change::Registered(registration) => {
                let registrations = Arc::make_mut(&mut self.registrations);
                if registration.life == Life::Retired {
                    registrations.remove(&registration.id);
                } else {
                    registrations.insert(registration.id.clone(), registration);
                }
            }
            Change::Ruled(set) => {
                let rules = Arc::make_mut(&mut self.rules);
                if set.is_removed() {
                    rules.remove(&set.id);
                } else {
                    rules.insert(set.id.clone(), set);
                }
            }
            Change::Defined(of, digest) => self.definitions.insert(of, digest),
            Change::Forgotten(of) => self.definitions.remove(&of),
            Change::Pinned(change) => self.pin(change),
        }
    }

    fn pin(&mut self, PinChange { of, mark, .. }: PinChange) {
        let PinOf { tenant, server, kind, item } = of;
        let pins = Arc::make_mut(&mut self.pins);
        let marks = Arc::make_mut(pins.entry((tenant, server)).or_default());
        let items = marks.entry(kind).or_default();
        match mark {
            Some(mark) => items.insert(item, mark),
            None => items.remove(&item),
        };
    }

    fn put(&mut self, key: Arc<KeyRecord>) {
        self.hashes.insert(key.hash, Arc::clone(&key));
        self.keys.insert(key.id.clone(), key);
    }
}

impl From<Snapshot> for Desired {
    fn from(snapshot: Snapshot) -> Self {
        let mut desired = Self { revision: snapshot.cursor.revision, ..Self::default() };
        for key in snapshot.keys {
            desired.put(key);
        }
        for revocation in snapshot.revocations {
            desired.revocations.insert(revocation.what.clone(), revocation);
        }
        let blocks = snapshot.blocks.into_iter();
        desired.blocks = Arc::new(blocks.map(|block| (block.what.clone(), Arc::new(block))).collect());
        let pauses = snapshot.pauses.into_iter();
        desired.pauses = Arc::new(pauses.map(|pausing| (pausing.who.clone(), pausing)).collect());
        let mut pins: HashMap<PinsOf, PinMarks> = HashMap::new();
        for (PinOf { tenant, server, kind, item }, mark) in snapshot.pins {
            pins.entry((tenant, server)).or_default().entry(kind).or_default().insert(item, mark);
        }
        desired.pins = Arc::new(pins.into_iter().map(|(of, marks)| (of, Arc::new(marks))).collect());
        let registrations = snapshot.registrations.into_iter();
        desired.registrations = Arc::new(registrations.map(|one| (one.id.clone(), one)).collect());
        desired.rules = Arc::new(snapshot.rules.into_iter().map(|set| (set.id.clone(), set)).collect());
        for (of, digest) in snapshot.definitions {
            desired.definitions.insert(of, digest);
        }
        desired
    }
}

#[cfg(test)]
mod tests {
    use tollgate_model::PrincipalId;

    use super::*;

    fn key(id: &str, hash: u8) -> KeyRecord {
        KeyRecord {
            id: KeyId::new(id),
            tenant: TenantId::new("acme"),
            agent: "bot".into(),
            groups: Vec::new(),
            hash: KeyHash([hash; 32]),
            created: Timestamp::from_ms(0),
            expires: None,
            revoked: None,
            replaced_by: None,
        }
    }

    fn caller(proof: Proof) -> Principal {
        Principal {
            agent: Some("bot".into()),
            user: Some("ada".into()),
            ..Principal::new(TenantId::new("acme"), PrincipalId::new("p"), proof)
        }
    }

    #[test]
    fn a_revoked_key_is_gone_whatever_the_clock_says() {
        let mut desired = Desired::default();
        let by_key = caller(Proof::Key(KeyId::new("k")));
        let now = Timestamp::from_ms(100);
        assert!(!desired.is_revoked(&by_key, now), "a key of the configuration");
        desired.apply(1, Change::Key(Arc::new(key("k", 1))));
        assert!(!desired.is_revoked(&by_key, now));
        // Whoever revoked it has a clock that is ahead of this one.
        let revoked = KeyRecord { revoked: Some(Timestamp::from_ms(5_000)), ..key("k", 1) };
        desired.apply(2, Change::Key(Arc::new(revoked)));
        assert!(desired.is_revoked(&by_key, now));
        assert!(desired.key(&KeyHash([1; 32])).is_some_and(|key| !key.is_good(now)));
        assert_eq!(desired.revision(), 2);
    }

    #[test]
    fn tokens_users_and_agents_are_taken_back() {
        let now = Timestamp::from_ms(100);
        let by_token = caller(Proof::Token { issuer: "i".into(), id: Some("j".into()) });
        let tenant = TenantId::new("acme");
        let of_others = [
            Revocable::Token { issuer: "other".into(), id: "j".into() },
            Revocable::User { tenant: TenantId::new("other"), user: "ada".into() },
            Revocable::Agent { tenant: tenant.clone(), agent: "ada".into() },
        ];
        let own = [
            Revocable::Token { issuer: "i".into(), id: "j".into() },
            Revocable::User { tenant: tenant.clone(), user: "ada".into() },
            Revocable::Agent { tenant, agent: "bot".into() },
        ];
        let revoked = |what: &Revocable, until: Option<u64>| {
            let until = until.map(Timestamp::from_ms);
            Change::Revoked(Revocation { what: what.clone(), since: Timestamp::from_ms(900), until })
        };
        let mut desired = Desired::default();
        for what in &of_others {
            desired.apply(1, revoked(what, None));
        }
        assert!(!desired.is_revoked(&by_token, now));
        for what in &own {
            let mut desired = desired.clone();
            desired.apply(2, revoked(what, Some(100)));
            assert!(!desired.is_revoked(&by_token, now), "it no longer holds");
            desired.apply(3, revoked(what, Some(101)));
            assert!(desired.is_revoked(&by_token, now), "{what:?}");
            desired.apply(4, Change::Reinstated(what.clone()));
            assert!(!desired.is_revoked(&by_token, now));
        }
    }
}
