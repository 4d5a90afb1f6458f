//! The store that ends with its process: for tests, and to say what drivers mean.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::watch;
use tollgate_model::{KeyHash, KeyId, KeyRecord, TenantId, Timestamp};

use crate::admins::{AdminKey, AdminSession, Administration, Admins, Once};
use crate::allowances::{Allowance, Allowances, TakeAllowance, Used};
use crate::approving;
use crate::audit::Indexed;
use crate::pseudonyms::{Given, KeptName, Names, NamesGiven, NamesOf};
use crate::record::{Anchor, Anchors, Erasure, Erasures, Kept};
use crate::repositories::{ACCEPTED_MAX, Feed, Keys, LastKnown, PolicySets, Revocations, Store, WhichKeys};
use crate::{
    Approval, ApprovalId, ApprovalOf, Approvals, Approved, Approving, Asking, AskingRoom, Blockable,
    Blocking, Blocks, Change, Changes, Cursor, DEFINITIONS_BYTES_MAX, Definitions, DefinitionsOf, Digest,
    Life, NotCounted, Numbered, PAUSES_MAX, PINS_MAX, Pausable, Pauses, Pausing, Pin, PinChange, PinMark,
    PinOf, Pins, REGISTRATIONS_MAX, RULE_SETS_MAX, Registration, RegistrationId, Registrations, Resuming,
    Revocable, Revocation, RuleSet, RuleSetId, RuleSets, Sightings, Snapshot, StoreError, Unblocking,
    VERSIONS_MAX, Vote, WhichApprovals, WhichPins, WhichRegistrations, WhichRules, check_shares,
};

/// How many changes the feed keeps. Whoever is further behind reads the whole state anew.
pub const FEED_MAX: usize = 10_000;
/// Revocations are kept for so long after they ended: clocks differ.
pub const ENDED_KEPT: Duration = Duration::from_hours(24);
/// How many ended revocations go with each new one.
pub const ENDED_BATCH: usize = 100;

/// A store in memory.
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
    head: watch::Sender<u64>,
    feed_max: usize,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    keys: BTreeMap<KeyId, Arc<KeyRecord>>,
    revocations: BTreeMap<Revocable, Revocation>,
    blocks: BTreeMap<(&'static str, String, String), Blocking>,
    pauses: BTreeMap<Pausable, Pausing>,
    pins: BTreeMap<PinOf, Pin>,
    approvals: approving::Kept,
    registrations: BTreeMap<RegistrationId, Arc<Registration>>,
    rules: BTreeMap<RuleSetId, Arc<RuleSet>>,
    definitions: BTreeMap<DefinitionsOf, Definitions>,
    accepted: BTreeMap<TenantId, VecDeque<Digest>>,
    administration: Administration,
    pub(crate) indexed: Indexed,
    kept: Kept,
    used: Used,
    given: Given,
    head: Cursor,
    feed: VecDeque<Numbered>,
    /// The place before the oldest change of the feed.
    cut: Cursor,
}

impl Default for Memory {
    fn default() -> Self {
        Self::with_feed(FEED_MAX)
    }
}

impl Memory {
    /// An empty store whose feed keeps so many changes.
    pub fn with_feed(feed_max: usize) -> Self {
        let start = Cursor { revision: 0, mark: mark() };
        let state = State { head: start, cut: start, ..State::default() };
        Self { state: Mutex::new(state), head: watch::Sender::new(0), feed_max: feed_max.max(1) }
    }

    /// Puts keys into a store that nobody uses yet, without a word of each in the feed.
    pub fn load(&self, keys: impl IntoIterator<Item = KeyRecord>) {
        let mut state = self.state();
        for key in keys {
            state.put(key);
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and says so in the feed.
    fn change<T>(
        &self,
        make: impl FnOnce(&mut State) -> Result<(T, Vec<Change>), StoreError>,
    ) -> Result<T, StoreError> {
        let mut state = self.state();
        let (made, changes) = make(&mut state)?;
        for change in changes {
            let cursor = Cursor { revision: state.head.revision + 1, mark: mark() };
            state.head = cursor;
            state.feed.push_back(Numbered { cursor, change });
        }
        while state.feed.len() > self.feed_max {
            let Some(cut) = state.feed.pop_front() else { break };
            state.cut = cut.cursor;
        }
        self.head.send_replace(state.head.revision);
        Ok(made)
    }
}

/// The random number of a change.
pub fn mark() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness all marks are alike, and a restored backup may go unnoticed: no reason to stop.
    if SystemRandom::new().fill(&mut bytes).is_err() {
        return 0;
    }
    u32::from_be_bytes(bytes)
}

#[async_trait]
impl Store for Memory {
    async fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl Feed for Memory {
    async fn head(&self) -> Result<Cursor, StoreError> {
        Ok(self.state().head)
    }

    async fn changes(&self, after: Cursor, most: usize) -> Result<Changes, StoreError> {
        let state = self.state();
        let behind = if after == state.cut {
            0
        } else {
            match state.feed.iter().position(|numbered| numbered.cursor == after) {
                Some(at) => at + 1,
                None => return Ok(Changes::Lost),
            }
        };
        Ok(Changes::These(state.feed.iter().skip(behind).take(most).cloned().collect()))
    }

    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let state = self.state();
        Ok(Snapshot {
            cursor: state.head,
            keys: state.keys.values().cloned().collect(),
            revocations: state.revocations.values().cloned().collect(),
            blocks: state.blocks.values().cloned().collect(),
            pauses: state.pauses.values().cloned().collect(),
            registrations: state.living().cloned().collect(),
            rules: state.rules.values().map(|set| Arc::new(set.in_use())).collect(),
            definitions: state.definitions.values().map(|found| (found.of.clone(), found.digest)).collect(),
            pins: state.pins.values().map(|pin| (pin.of.clone(), pin.mark())).collect(),
        })
    }

    async fn news(&self, after: Cursor) {
        // Never fails: the sender lives as long as `self`.
        _ = self.head.subscribe().wait_for(|head| *head > after.revision).await;
    }
}

#[async_trait]
impl Keys for Memory {
    async fn add_key(&self, key: KeyRecord) -> Result<(), StoreError> {
        self.change(|state| {
            let key = state.add(key)?;
            Ok(((), vec![Change::Key(key)]))
        })
    }

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.state().keys.get(id).map(|key| KeyRecord::clone(key)))
    }

    async fn keys(&self, which: &WhichKeys) -> Result<Vec<KeyRecord>, StoreError> {
        let is_meant = |key: &KeyRecord| {
            which.tenant.as_ref().is_none_or(|tenant| *tenant == key.tenant)
                && which.agent.as_ref().is_none_or(|agent| *agent == key.agent)
                && which.after.as_ref().is_none_or(|after| *after < key.id)
        };
        let state = self.state();
        let keys = state.keys.values().filter(|key| is_meant(key)).take(which.most);
        Ok(keys.map(|key| KeyRecord::clone(key)).collect())
    }

    async fn rotate_key(
        &self,
        old: &KeyId,
        new: KeyRecord,
        until: Timestamp,
    ) -> Result<KeyRecord, StoreError> {
        self.change(|state| {
            let before = state.keys.get(old).ok_or(StoreError::NoSuchKey)?;
            let rotated = rotated(before, &new, until)?;
            let new = state.add(new)?;
            let old = state.put(rotated.clone());
            Ok((rotated, vec![Change::Key(new), Change::Key(old)]))
        })
    }

    async fn revoke_seen_key(
        &self,
        id: &KeyId,
        at: Timestamp,
        seen: Option<&KeyRecord>,
    ) -> Result<KeyRecord, StoreError> {
        self.change(|state| {
            let before = state.keys.get(id).ok_or(StoreError::NoSuchKey)?;
            StoreError::unless_seen(&**before, seen)?;
            if before.revoked.is_some() {
                return Ok((KeyRecord::clone(before), Vec::new()));
            }
            let revoked = KeyRecord { revoked: Some(at), ..KeyRecord::clone(before) };
            let key = state.put(revoked.clone());
            Ok((revoked, vec![Change::Key(key)]))
        })
    }
}

/// What becomes of a key that another replaces: the rule of [`Keys::rotate_key`], for all drivers.
pub fn rotated(old: &KeyRecord, new: &KeyRecord, until: Timestamp) -> Result<KeyRecord, StoreError> {
    if old.tenant != new.tenant || old.agent != new.agent {
        return Err(StoreError::KeyOfAnother);
    }
    if !old.is_good(new.created) || old.replaced_by.is_some() {
        return Err(StoreError::KeyEnded);
    }
    let expires = old.expires.map_or(until, |expires| expires.min(until));
    Ok(KeyRecord { expires: Some(expires), replaced_by: Some(new.id.clone()), ..old.clone() })
}

impl State {
    fn add(&mut self, key: KeyRecord) -> Result<Arc<KeyRecord>, StoreError> {
        if self.keys.contains_key(&key.id) || self.keys.values().any(|other| other.hash == key.hash) {
            return Err(StoreError::KeyTaken);
        }
        Ok(self.put(key))
    }

    fn put(&mut self, key: KeyRecord) -> Arc<KeyRecord> {
        let key = Arc::new(key);
        self.keys.insert(key.id.clone(), Arc::clone(&key));
        key
    }
}

#[async_trait]
impl Revocations for Memory {
    async fn revoke(&self, revocation: Revocation) -> Result<(), StoreError> {
        self.change(|state| {
            let has_ended = |found: &&Revocation| {
                found.until.is_some_and(|until| until.after(ENDED_KEPT) < revocation.since)
            };
            let ended = state.revocations.values().filter(has_ended).take(ENDED_BATCH);
            let ended: Vec<Revocable> = ended.map(|found| found.what.clone()).collect();
            for what in &ended {
                state.revocations.remove(what);
            }
            state.revocations.insert(revocation.what.clone(), revocation.clone());
            let changes = ended.into_iter().map(Change::Reinstated);
            Ok(((), changes.chain([Change::Revoked(revocation)]).collect()))
        })
    }

    async fn reinstate(&self, what: &Revocable) -> Result<bool, StoreError> {
        self.change(|state| match state.revocations.remove(what) {
            Some(_) => Ok((true, vec![Change::Reinstated(what.clone())])),
            None => Ok((false, Vec::new())),
        })
    }

    async fn revocations(
        &self,
        after: Option<&Revocable>,
        most: usize,
    ) -> Result<Vec<Revocation>, StoreError> {
        let state = self.state();
        let mut found: Vec<&Revocation> = state
            .revocations
            .values()
            .filter(|found| after.is_none_or(|after| after.parts() < found.what.parts()))
            .collect();
        found.sort_by_key(|found| found.what.parts());
        Ok(found.into_iter().take(most).cloned().collect())
    }
}

#[async_trait]
impl Pauses for Memory {
    async fn pause(&self, pausing: Pausing) -> Result<(), StoreError> {
        self.change(|state| {
            state.pauses.insert(pausing.who.clone(), pausing.clone());
            let is_own = |who: &Pausable| who.tenant == pausing.who.tenant;
            state.pauses.retain(|who, old| !is_own(who) || old.until > pausing.since);
            while state.pauses.keys().filter(|who| is_own(who)).count() > PAUSES_MAX {
                let own = state.pauses.values().filter(|old| is_own(&old.who));
                let Some(first) = own.min_by_key(|old| (old.until, std::cmp::Reverse(&old.who))) else {
                    break;
                };
                let first = first.who.clone();
                state.pauses.remove(&first);
            }
            Ok(((), vec![Change::Paused(pausing)]))
        })
    }

    async fn resume(&self, resuming: Resuming) -> Result<bool, StoreError> {
        self.change(|state| match state.pauses.remove(&resuming.who) {
            Some(_) => Ok((true, vec![Change::Resumed(resuming)])),
            None => Ok((false, Vec::new())),
        })
    }

    async fn pauses(&self, after: Option<&Pausable>, most: usize) -> Result<Vec<Pausing>, StoreError> {
        let state = self.state();
        let later = state.pauses.iter().filter(|(who, _)| after.is_none_or(|after| after < *who));
        Ok(later.take(most).map(|(_, pausing)| pausing.clone()).collect())
    }
}

#[async_trait]
impl Approvals for Memory {
    async fn ask_approval(&self, approval: Approval, room: AskingRoom) -> Result<Asking, StoreError> {
        self.change(|state| {
            let asking = state.approvals.ask(approval.clone(), room);
            let is_new = asking == Asking::New;
            Ok((asking, is_new.then(|| told(&approval)).into_iter().collect()))
        })
    }

    async fn use_approval(
        &self,
        of: &ApprovalOf,
        call: &str,
        now: Timestamp,
    ) -> Result<Option<Approval>, StoreError> {
        self.change(|state| {
            let used = state.approvals.use_up(of, call, now);
            let told = used.as_ref().map(told);
            Ok((used, told.into_iter().collect()))
        })
    }

    async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
        Ok(self.state().approvals.get(id))
    }

    async fn approvals(&self, which: &WhichApprovals) -> Result<Vec<Approval>, StoreError> {
        Ok(self.state().approvals.list(which))
    }

    async fn vote_approval(
        &self,
        id: &ApprovalId,
        vote: Vote,
    ) -> Result<Result<Approval, NotCounted>, StoreError> {
        self.change(|state| {
            let voted = state.approvals.vote(id, vote);
            let told = voted.as_ref().ok().map(told);
            Ok((voted, told.into_iter().collect()))
        })
    }

    async fn replace_approval(
        &self,
        id: &ApprovalId,
        by: Approval,
        vote: Vote,
    ) -> Result<Result<Approval, NotCounted>, StoreError> {
        self.change(|state| {
            Ok(match state.approvals.replace(id, by, vote) {
                // Who waits for the old one looks for the new one.
                Ok((old, new)) => {
                    let changes = vec![told(&new), told(&old)];
                    (Ok(new), changes)
                }
                Err(why) => (Err(why), Vec::new()),
            })
        })
    }

    async fn withdraw_approval(&self, id: &ApprovalId, now: Timestamp) -> Result<bool, StoreError> {
        self.change(|state| {
            let withdrawn = state.approvals.withdraw(id, now);
            Ok((withdrawn.is_some(), withdrawn.as_ref().map(told).into_iter().collect()))
        })
    }
}

fn told(approval: &Approval) -> Change {
    Change::Approval(Arc::new(approval.without_arguments()))
}

#[async_trait]
impl Blocks for Memory {
    async fn block(&self, blocking: Blocking) -> Result<bool, StoreError> {
        self.change(|state| {
            let before = state.blocks.insert(blocking.what.parts(), blocking.clone());
            Ok((before.is_none(), vec![Change::Blocked(blocking)]))
        })
    }

    async fn unblock_seen(
        &self,
        unblocking: Unblocking,
        seen: Option<&Blocking>,
    ) -> Result<bool, StoreError> {
        self.change(|state| {
            let parts = unblocking.what.parts();
            let Some(before) = state.blocks.get(&parts) else { return Ok((false, Vec::new())) };
            StoreError::unless_seen(before, seen)?;
            state.blocks.remove(&parts);
            Ok((true, vec![Change::Unblocked(unblocking)]))
        })
    }

    async fn blocks(&self, after: Option<&Blockable>, most: usize) -> Result<Vec<Blocking>, StoreError> {
        let after = after.map(Blockable::parts);
        let state = self.state();
        let later = state.blocks.iter().filter(|(parts, _)| after.as_ref().is_none_or(|after| after < parts));
        Ok(later.take(most).map(|(_, blocking)| blocking.clone()).collect())
    }
}

#[async_trait]
impl Pins for Memory {
    async fn sight(&self, sightings: Sightings) -> Result<usize, StoreError> {
        let Sightings { tenant, server, items, at, by } = sightings;
        self.change(|state| {
            let is_its = |of: &PinOf| of.tenant == tenant && of.server == server;
            let mut count = state.pins.keys().filter(|of| is_its(of)).count();
            let mut changes = Vec::new();
            for sighting in items {
                let (kind, item) = (sighting.kind, Arc::clone(&sighting.item));
                let of = PinOf { tenant: tenant.clone(), server: server.clone(), kind, item };
                let before = state.pins.get(&of);
                if (before.is_none() && count >= PINS_MAX) || !PinOf::can_be_kept(&of.item) {
                    continue;
                }
                let was_trusted = before.is_some_and(|pin| pin.by == by);
                let Some(mark) = Pin::sighted(before.map(Pin::mark), was_trusted, &sighting) else {
                    continue;
                };
                count += usize::from(before.is_none());
                let pin = state.pins.entry(of.clone()).or_insert_with(|| Pin {
                    of: of.clone(),
                    approved: None,
                    by: "".into(),
                    reason: "".into(),
                    since: None,
                    waiting: None,
                    seen: None,
                });
                let is_approved = mark.approved.is_some() && pin.mark().approved != mark.approved;
                if is_approved {
                    (pin.by, pin.since) = (Arc::clone(&by), Some(at));
                    pin.approved = Some(sighting.shape.clone());
                } else if mark.approved.is_none() {
                    (pin.approved, pin.by, pin.since) = (None, "".into(), None);
                }
                pin.waiting = mark.waiting.map(|_| sighting.shape);
                pin.seen = mark.waiting.map(|_| at);
                let by = if is_approved { Arc::clone(&by) } else { "".into() };
                changes.push(Change::Pinned(PinChange { of, mark: Some(mark), by, reason: "".into() }));
            }
            Ok((changes.len(), changes))
        })
    }

    async fn approve_pin(&self, approving: Approving) -> Result<Approved, StoreError> {
        let Approving { of, digest, by, reason, at } = approving;
        self.change(|state| {
            let Some(pin) = state.pins.get_mut(&of) else { return Ok((Approved::Unknown, Vec::new())) };
            match pin.mark() {
                PinMark { waiting, .. } if waiting == Some(digest) => {}
                PinMark { approved, .. } if approved == Some(digest) => {
                    return Ok((Approved::Before, Vec::new()));
                }
                _ => return Ok((Approved::Otherwise, Vec::new())),
            }
            (pin.approved, pin.seen) = (pin.waiting.take(), None);
            (pin.by, pin.reason, pin.since) = (Arc::clone(&by), Arc::clone(&reason), Some(at));
            let mark = Some(pin.mark());
            Ok((Approved::Now, vec![Change::Pinned(PinChange { of, mark, by, reason })]))
        })
    }

    async fn forget_seen_pin(
        &self,
        of: &PinOf,
        (by, reason): (&str, &str),
        seen: Option<&Pin>,
    ) -> Result<bool, StoreError> {
        self.change(|state| {
            let Some(before) = state.pins.get(of) else { return Ok((false, Vec::new())) };
            StoreError::unless_seen(before, seen)?;
            state.pins.remove(of);
            let (of, by, reason) = (of.clone(), by.into(), reason.into());
            Ok((true, vec![Change::Pinned(PinChange { of, mark: None, by, reason })]))
        })
    }

    async fn pin(&self, of: &PinOf) -> Result<Option<Pin>, StoreError> {
        Ok(self.state().pins.get(of).cloned())
    }

    async fn pins(&self, which: &WhichPins) -> Result<Vec<Pin>, StoreError> {
        let is_meant = |pin: &&Pin| {
            which.server.as_ref().is_none_or(|server| *server == pin.of.server)
                && (!which.is_waiting || pin.waiting.is_some())
                && which.after.as_ref().is_none_or(|after| *after < pin.of)
        };
        Ok(self.state().pins.values().filter(is_meant).take(which.most).cloned().collect())
    }
}

#[async_trait]
impl Registrations for Memory {
    async fn put_registrations(&self, registrations: Vec<Registration>) -> Result<(), StoreError> {
        self.change(|state| {
            // All or none.
            let before = state.registrations.clone();
            let put = registrations.into_iter().map(|one| state.register(one)).collect::<Result<Vec<_>, _>>();
            let put = put.and_then(|put| {
                for one in &put {
                    check_shares(state.versions(&one.id).map(|one| &**one))?;
                }
                Ok(put)
            });
            if put.is_err() {
                state.registrations = before;
            }
            Ok(((), put?.into_iter().map(Change::Registered).collect()))
        })
    }

    async fn registration(&self, id: &RegistrationId) -> Result<Option<Registration>, StoreError> {
        Ok(self.state().registrations.get(id).map(|one| Registration::clone(one)))
    }

    async fn registrations(&self, which: &WhichRegistrations) -> Result<Vec<Registration>, StoreError> {
        let is_meant = |id: &RegistrationId| {
            which.tenant.as_ref().is_none_or(|tenant| *tenant == id.tenant)
                && which.name.as_ref().is_none_or(|name| *name == id.name)
                && which.after.as_ref().is_none_or(|after| after < id)
        };
        let state = self.state();
        let found = state.registrations.iter().filter(|(id, _)| is_meant(id)).take(which.most);
        Ok(found.map(|(_, one)| Registration::clone(one)).collect())
    }
}

impl State {
    fn living(&self) -> impl Iterator<Item = &Arc<Registration>> {
        self.registrations.values().filter(|one| one.life != Life::Retired)
    }

    /// All versions of the same server.
    fn versions(&self, of: &RegistrationId) -> impl Iterator<Item = &Arc<Registration>> {
        let is_other = |other: &&Arc<Registration>| other.id.tenant == of.tenant && other.id.name == of.name;
        self.registrations.values().filter(is_other)
    }

    fn register(&mut self, one: Registration) -> Result<Arc<Registration>, StoreError> {
        let before = self.registrations.get(&one.id);
        one.check(before.map(|before| &**before))?;
        if before.is_none() {
            if self.versions(&one.id).filter(|other| other.life != Life::Retired).count() >= VERSIONS_MAX {
                return Err(StoreError::Full { most: VERSIONS_MAX });
            }
            if self.registrations.len() >= REGISTRATIONS_MAX {
                let retired = self.registrations.values().filter(|other| other.life == Life::Retired);
                let oldest = retired.min_by_key(|other| (other.last.at, &other.id));
                let oldest = oldest.ok_or(StoreError::Full { most: REGISTRATIONS_MAX })?.id.clone();
                self.registrations.remove(&oldest);
            }
        }
        let one = Arc::new(one);
        self.registrations.insert(one.id.clone(), Arc::clone(&one));
        Ok(one)
    }
}

#[async_trait]
impl RuleSets for Memory {
    async fn put_rules(&self, set: RuleSet) -> Result<(), StoreError> {
        self.change(|state| {
            let before = state.rules.get(&set.id);
            set.check(before.map(|before| &**before))?;
            if before.is_none() && state.rules.len() >= RULE_SETS_MAX {
                return Err(StoreError::Full { most: RULE_SETS_MAX });
            }
            let in_use = Arc::new(set.in_use());
            if set.is_removed() {
                state.rules.remove(&set.id);
            } else {
                state.rules.insert(set.id.clone(), Arc::new(set));
            }
            Ok(((), vec![Change::Ruled(in_use)]))
        })
    }

    async fn rules(&self, id: &RuleSetId) -> Result<Option<RuleSet>, StoreError> {
        Ok(self.state().rules.get(id).map(|set| RuleSet::clone(set)))
    }

    async fn all_rules(&self, which: &WhichRules) -> Result<Vec<RuleSet>, StoreError> {
        let is_meant = |id: &RuleSetId| which.after.as_ref().is_none_or(|after| after < id);
        let state = self.state();
        let found = state.rules.iter().filter(|(id, _)| is_meant(id)).take(which.most);
        Ok(found.map(|(_, set)| set.in_use()).collect())
    }
}

#[async_trait]
impl LastKnown for Memory {
    async fn keep_definitions(&self, definitions: &Definitions) -> Result<bool, StoreError> {
        definitions.check()?;
        self.change(|state| {
            let of = definitions.of.clone();
            if state.definitions.get(&of).is_some_and(|found| found.digest == definitions.digest) {
                return Ok((false, Vec::new()));
            }
            state.definitions.insert(of.clone(), definitions.clone());
            Ok((true, vec![Change::Defined(of, definitions.digest)]))
        })
    }

    async fn definitions(&self, of: &DefinitionsOf) -> Result<Option<Definitions>, StoreError> {
        Ok(self.state().definitions.get(of).cloned())
    }

    async fn known(&self, tenant: Option<&TenantId>) -> Result<Vec<DefinitionsOf>, StoreError> {
        let state = self.state();
        Ok(state.definitions.keys().filter(|of| of.tenant.as_ref() == tenant).cloned().collect())
    }

    async fn forget_definitions(&self, of: &DefinitionsOf) -> Result<bool, StoreError> {
        self.change(|state| match state.definitions.remove(of) {
            Some(_) => Ok((true, vec![Change::Forgotten(of.clone())])),
            None => Ok((false, Vec::new())),
        })
    }
}

impl Definitions {
    /// Whether they can be kept: the rule of [`LastKnown::keep_definitions`], for all drivers.
    pub fn check(&self) -> Result<(), StoreError> {
        let bytes = self.size();
        if bytes > DEFINITIONS_BYTES_MAX {
            return Err(StoreError::TooLarge { bytes, bytes_max: DEFINITIONS_BYTES_MAX });
        }
        for item in &self.items {
            let _: &serde_json::value::RawValue = serde_json::from_slice(item).map_err(StoreError::broken)?;
        }
        Ok(())
    }
}

#[async_trait]
impl PolicySets for Memory {
    async fn accept(&self, tenant: &TenantId, text: Digest, _: Timestamp) -> Result<(), StoreError> {
        let mut state = self.state();
        let texts = state.accepted.entry(tenant.clone()).or_default();
        texts.retain(|known| *known != text);
        texts.push_front(text);
        texts.truncate(ACCEPTED_MAX);
        Ok(())
    }

    async fn was_accepted(&self, tenant: &TenantId, text: Digest) -> Result<bool, StoreError> {
        Ok(self.state().accepted.get(tenant).is_some_and(|texts| texts.contains(&text)))
    }
}

#[async_trait]
impl Anchors for Memory {
    async fn keep_anchor(&self, anchor: &Anchor) -> Result<(), StoreError> {
        self.state().kept.keep_anchor(anchor);
        Ok(())
    }

    async fn anchors(&self, after: Option<(&str, u64)>, most: usize) -> Result<Vec<Anchor>, StoreError> {
        Ok(self.state().kept.anchors(after, most))
    }
}

#[async_trait]
impl Erasures for Memory {
    async fn ask_erasure(&self, erasure: &Erasure) -> Result<u64, StoreError> {
        Ok(self.state().kept.ask_erasure(erasure))
    }

    async fn erasures(&self, after: u64, most: usize) -> Result<Vec<(u64, Erasure)>, StoreError> {
        Ok(self.state().kept.erasures(after, most))
    }
}

#[async_trait]
impl Allowances for Memory {
    async fn take_allowance(&self, take: &TakeAllowance) -> Result<Allowance, StoreError> {
        Ok(self.state().used.take(take))
    }
}

#[async_trait]
impl Names for Memory {
    async fn keep_names(&self, of: NamesOf, names: &[KeptName]) -> Result<bool, StoreError> {
        Ok(self.state().given.keep(of, names))
    }

    async fn names_of(&self, of: NamesOf) -> Result<NamesGiven, StoreError> {
        Ok(self.state().given.of(of))
    }
}

#[async_trait]
impl Admins for Memory {
    async fn add_admin_key(&self, key: AdminKey) -> Result<(), StoreError> {
        self.change(|state| {
            let keys = &mut state.administration.keys;
            if keys.contains_key(&key.id) || keys.values().any(|other| other.hash == key.hash) {
                return Err(StoreError::KeyTaken);
            }
            keys.insert(key.id.clone(), key.clone());
            Ok(((), vec![Change::AdminKey(Arc::new(key))]))
        })
    }

    async fn admin_key(&self, hash: &KeyHash) -> Result<Option<AdminKey>, StoreError> {
        Ok(self.state().administration.keys.values().find(|key| key.hash == *hash).cloned())
    }

    async fn admin_keys(&self, after: Option<&KeyId>, most: usize) -> Result<Vec<AdminKey>, StoreError> {
        let state = self.state();
        let later =
            state.administration.keys.values().filter(|key| after.is_none_or(|after| *after < key.id));
        Ok(later.take(most).cloned().collect())
    }

    async fn revoke_seen_admin_key(
        &self,
        id: &KeyId,
        (at, by): (Timestamp, &str),
        seen: Option<&AdminKey>,
    ) -> Result<AdminKey, StoreError> {
        self.change(|state| {
            let key = state.administration.keys.get_mut(id).ok_or(StoreError::NoSuchKey)?;
            StoreError::unless_seen(key, seen)?;
            if key.revoked.is_some() {
                return Ok((key.clone(), Vec::new()));
            }
            (key.revoked, key.by) = (Some(at), by.into());
            Ok((key.clone(), vec![Change::AdminKey(Arc::new(key.clone()))]))
        })
    }

    async fn begin_admin_session(&self, session: AdminSession) -> Result<(), StoreError> {
        self.state().administration.begin_session(session);
        Ok(())
    }

    async fn admin_session(&self, digest: &Digest) -> Result<Option<AdminSession>, StoreError> {
        Ok(self.state().administration.session(digest).cloned())
    }

    async fn see_admin_session(&self, digest: &Digest, at: Timestamp) -> Result<(), StoreError> {
        self.state().administration.see_session(digest, at);
        Ok(())
    }

    async fn end_admin_session(&self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(self.state().administration.end_session(digest))
    }

    async fn begin_once(&self, key: &Digest, request: &Digest, now: Timestamp) -> Result<Once, StoreError> {
        Ok(self.state().administration.begin_once(key, request, now))
    }

    async fn end_once(&self, key: &Digest, answer: Option<(u16, &str)>) -> Result<(), StoreError> {
        self.state().administration.end_once(key, answer);
        Ok(())
    }
}
