//! A store that can be made to fail.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use tollgate_model::{KeyHash, KeyId, KeyRecord, TenantId, Timestamp};

use crate::{
    AdminKey, AdminSession, Admins, Allowance, Allowances, Anchor, Anchors, Approval, ApprovalId, ApprovalOf,
    Approvals, Approved, Approving, Arrived, Asking, AskingRoom, AuditBatch, AuditFound, AuditIndex,
    AuditQuery, AuditRow, Blockable, Blocking, Blocks, Changes, Cursor, Definitions, DefinitionsOf, Digest,
    Erasure, Erasures, Feed, FindingBy, FindingQuery, FindingRow, Followed, KeptName, Keys, LastKnown, Names,
    NamesGiven, NamesOf, NotCounted, Once, Pausable, Pauses, Pausing, Pin, PinOf, Pins, PolicySets,
    Registration, RegistrationId, Registrations, Resuming, Revocable, Revocation, Revocations, RuleSet,
    RuleSetId, RuleSets, Sightings, Snapshot, Store, StoreError, TakeAllowance, Unblocking, Usage,
    UsageQuery, UsageRow, Vote, WhichApprovals, WhichKeys, WhichPins, WhichRegistrations, WhichRules,
    WhoseNames,
};

/// How a [`Faulty`] store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is well.
    None,
    /// It cannot be reached.
    Away,
    /// It takes questions and never answers them.
    Hung,
    /// It does what it is told, but tells nobody of news.
    Silent,
}

/// A store that can be made to fail, in front of one that does not.
#[derive(Debug, Clone)]
pub struct Faulty {
    store: Arc<dyn Store>,
    fault: Arc<watch::Sender<Fault>>,
}

impl Faulty {
    /// In front of this store, and well.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, fault: Arc::new(watch::Sender::new(Fault::None)) }
    }

    /// From now on it is so.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    async fn reach(&self) -> Result<&dyn Store, StoreError> {
        let mut fault = self.fault.subscribe();
        let answers = fault.wait_for(|fault| *fault != Fault::Hung).await;
        if answers.is_ok_and(|fault| *fault == Fault::Away) {
            return Err(StoreError::away("it is said to be away"));
        }
        Ok(&*self.store)
    }
}

#[async_trait]
impl Store for Faulty {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.reach().await?.prepare().await
    }
}

#[async_trait]
impl Feed for Faulty {
    async fn head(&self) -> Result<Cursor, StoreError> {
        self.reach().await?.head().await
    }

    async fn changes(&self, after: Cursor, most: usize) -> Result<Changes, StoreError> {
        self.reach().await?.changes(after, most).await
    }

    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.reach().await?.snapshot().await
    }

    async fn news(&self, after: Cursor) {
        self.store.news(after).await;
        // Whoever waits has to be told in vain.
        _ = self.fault.subscribe().wait_for(|fault| *fault == Fault::None).await;
    }
}

#[async_trait]
impl Keys for Faulty {
    async fn add_key(&self, key: KeyRecord) -> Result<(), StoreError> {
        self.reach().await?.add_key(key).await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.reach().await?.key(id).await
    }

    async fn keys(&self, which: &WhichKeys) -> Result<Vec<KeyRecord>, StoreError> {
        self.reach().await?.keys(which).await
    }

    async fn rotate_key(
        &self,
        old: &KeyId,
        new: KeyRecord,
        until: Timestamp,
    ) -> Result<KeyRecord, StoreError> {
        self.reach().await?.rotate_key(old, new, until).await
    }

    async fn revoke_seen_key(
        &self,
        id: &KeyId,
        at: Timestamp,
        seen: Option<&KeyRecord>,
    ) -> Result<KeyRecord, StoreError> {
        self.reach().await?.revoke_seen_key(id, at, seen).await
    }
}

#[async_trait]
impl Revocations for Faulty {
    async fn revoke(&self, revocation: Revocation) -> Result<(), StoreError> {
        self.reach().await?.revoke(revocation).await
    }

    async fn reinstate(&self, what: &Revocable) -> Result<bool, StoreError> {
        self.reach().await?.reinstate(what).await
    }

    async fn revocations(
        &self,
        after: Option<&Revocable>,
        most: usize,
    ) -> Result<Vec<Revocation>, StoreError> {
        self.reach().await?.revocations(after, most).await
    }
}

#[async_trait]
impl Pauses for Faulty {
    async fn pause(&self, pausing: Pausing) -> Result<(), StoreError> {
        self.reach().await?.pause(pausing).await
    }

    async fn resume(&self, resuming: Resuming) -> Result<bool, StoreError> {
        self.reach().await?.resume(resuming).await
    }

    async fn pauses(&self, after: Option<&Pausable>, most: usize) -> Result<Vec<Pausing>, StoreError> {
        self.reach().await?.pauses(after, most).await
    }
}

#[async_trait]
impl Pins for Faulty {
    async fn sight(&self, sightings: Sightings) -> Result<usize, StoreError> {
        self.reach().await?.sight(sightings).await
    }

    async fn approve_pin(&self, approving: Approving) -> Result<Approved, StoreError> {
        self.reach().await?.approve_pin(approving).await
    }

    async fn forget_seen_pin(
        &self,
        of: &PinOf,
        doing: (&str, &str),
        seen: Option<&Pin>,
    ) -> Result<bool, StoreError> {
        self.reach().await?.forget_seen_pin(of, doing, seen).await
    }

    async fn pin(&self, of: &PinOf) -> Result<Option<Pin>, StoreError> {
        self.reach().await?.pin(of).await
    }

    async fn pins(&self, which: &WhichPins) -> Result<Vec<Pin>, StoreError> {
        self.reach().await?.pins(which).await
    }
}

#[async_trait]
impl Approvals for Faulty {
    async fn ask_approval(&self, approval: Approval, room: AskingRoom) -> Result<Asking, StoreError> {
        self.reach().await?.ask_approval(approval, room).await
    }

    async fn use_approval(
        &self,
        of: &ApprovalOf,
        call: &str,
        now: Timestamp,
    ) -> Result<Option<Approval>, StoreError> {
        self.reach().await?.use_approval(of, call, now).await
    }

    async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
        self.reach().await?.approval(id).await
    }

    async fn approvals(&self, which: &WhichApprovals) -> Result<Vec<Approval>, StoreError> {
        self.reach().await?.approvals(which).await
    }

    async fn vote_approval(
        &self,
        id: &ApprovalId,
        vote: Vote,
    ) -> Result<Result<Approval, NotCounted>, StoreError> {
        self.reach().await?.vote_approval(id, vote).await
    }

    async fn replace_approval(
        &self,
        id: &ApprovalId,
        by: Approval,
        vote: Vote,
    ) -> Result<Result<Approval, NotCounted>, StoreError> {
        self.reach().await?.replace_approval(id, by, vote).await
    }

    async fn withdraw_approval(&self, id: &ApprovalId, now: Timestamp) -> Result<bool, StoreError> {
        self.reach().await?.withdraw_approval(id, now).await
    }
}

#[async_trait]
impl RuleSets for Faulty {
    async fn put_rules(&self, set: RuleSet) -> Result<(), StoreError> {
        self.reach().await?.put_rules(set).await
    }

    async fn rules(&self, id: &RuleSetId) -> Result<Option<RuleSet>, StoreError> {
        self.reach().await?.rules(id).await
    }

    async fn all_rules(&self, which: &WhichRules) -> Result<Vec<RuleSet>, StoreError> {
        self.reach().await?.all_rules(which).await
    }
}

#[async_trait]
impl Registrations for Faulty {
    async fn put_registrations(&self, registrations: Vec<Registration>) -> Result<(), StoreError> {
        self.reach().await?.put_registrations(registrations).await
    }

    async fn registration(&self, id: &RegistrationId) -> Result<Option<Registration>, StoreError> {
        self.reach().await?.registration(id).await
    }

    async fn registrations(&self, which: &WhichRegistrations) -> Result<Vec<Registration>, StoreError> {
        self.reach().await?.registrations(which).await
    }
}

#[async_trait]
impl Blocks for Faulty {
    async fn block(&self, blocking: Blocking) -> Result<bool, StoreError> {
        self.reach().await?.block(blocking).await
    }

    async fn unblock_seen(
        &self,
        unblocking: Unblocking,
        seen: Option<&Blocking>,
    ) -> Result<bool, StoreError> {
        self.reach().await?.unblock_seen(unblocking, seen).await
    }

    async fn blocks(&self, after: Option<&Blockable>, most: usize) -> Result<Vec<Blocking>, StoreError> {
        self.reach().await?.blocks(after, most).await
    }
}

#[async_trait]
impl LastKnown for Faulty {
    async fn keep_definitions(&self, definitions: &Definitions) -> Result<bool, StoreError> {
        self.reach().await?.keep_definitions(definitions).await
    }

    async fn definitions(&self, of: &DefinitionsOf) -> Result<Option<Definitions>, StoreError> {
        self.reach().await?.definitions(of).await
    }

    async fn known(&self, tenant: Option<&TenantId>) -> Result<Vec<DefinitionsOf>, StoreError> {
        self.reach().await?.known(tenant).await
    }

    async fn forget_definitions(&self, of: &DefinitionsOf) -> Result<bool, StoreError> {
        self.reach().await?.forget_definitions(of).await
    }
}

#[async_trait]
impl PolicySets for Faulty {
    async fn accept(&self, tenant: &TenantId, text: Digest, at: Timestamp) -> Result<(), StoreError> {
        self.reach().await?.accept(tenant, text, at).await
    }

    async fn was_accepted(&self, tenant: &TenantId, text: Digest) -> Result<bool, StoreError> {
        self.reach().await?.was_accepted(tenant, text).await
    }
}

#[async_trait]
impl AuditIndex for Faulty {
    async fn followed(&self, writer: &str) -> Result<Option<Followed>, StoreError> {
        self.reach().await?.followed(writer).await
    }

    async fn arrived_so_far(&self) -> Result<Arrived, StoreError> {
        self.reach().await?.arrived_so_far().await
    }

    async fn open_calls(&self, writer: &str) -> Result<Vec<AuditRow>, StoreError> {
        self.reach().await?.open_calls(writer).await
    }

    async fn add_entries(&self, batch: &AuditBatch) -> Result<bool, StoreError> {
        self.reach().await?.add_entries(batch).await
    }

    async fn search(&self, query: &AuditQuery) -> Result<AuditFound, StoreError> {
        self.reach().await?.search(query).await
    }

    async fn arrived(
        &self,
        after: &mut Arrived,
        query: &AuditQuery,
        most: usize,
    ) -> Result<AuditFound, StoreError> {
        self.reach().await?.arrived(after, query, most).await
    }

    async fn names(&self, references: &[Arc<str>]) -> Result<HashMap<Arc<str>, Arc<str>>, StoreError> {
        self.reach().await?.names(references).await
    }

    async fn findings(&self, which: &FindingQuery) -> Result<Vec<FindingRow>, StoreError> {
        self.reach().await?.findings(which).await
    }

    async fn finding_sums(
        &self,
        which: &FindingQuery,
        by: FindingBy,
    ) -> Result<Vec<(Arc<str>, u64)>, StoreError> {
        self.reach().await?.finding_sums(which, by).await
    }

    async fn forget_findings(&self, before: Timestamp, most: usize) -> Result<usize, StoreError> {
        self.reach().await?.forget_findings(before, most).await
    }

    async fn forget_rows(&self, before: Timestamp, most: usize) -> Result<usize, StoreError> {
        self.reach().await?.forget_rows(before, most).await
    }

    async fn forget_names(&self, whose: &WhoseNames) -> Result<usize, StoreError> {
        self.reach().await?.forget_names(whose).await
    }

    async fn forget_index(&self, writer: Option<&str>) -> Result<(), StoreError> {
        self.reach().await?.forget_index(writer).await
    }
}

#[async_trait]
impl Usage for Faulty {
    async fn usage(&self, which: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        self.reach().await?.usage(which).await
    }

    async fn forget_usage(&self, before_day: u32) -> Result<usize, StoreError> {
        self.reach().await?.forget_usage(before_day).await
    }
}

#[async_trait]
impl Anchors for Faulty {
    async fn keep_anchor(&self, anchor: &Anchor) -> Result<(), StoreError> {
        self.reach().await?.keep_anchor(anchor).await
    }

    async fn anchors(&self, after: Option<(&str, u64)>, most: usize) -> Result<Vec<Anchor>, StoreError> {
        self.reach().await?.anchors(after, most).await
    }
}

#[async_trait]
impl Erasures for Faulty {
    async fn ask_erasure(&self, erasure: &Erasure) -> Result<u64, StoreError> {
        self.reach().await?.ask_erasure(erasure).await
    }

    async fn erasures(&self, after: u64, most: usize) -> Result<Vec<(u64, Erasure)>, StoreError> {
        self.reach().await?.erasures(after, most).await
    }
}

#[async_trait]
impl Allowances for Faulty {
    async fn take_allowance(&self, take: &TakeAllowance) -> Result<Allowance, StoreError> {
        self.reach().await?.take_allowance(take).await
    }
}

#[async_trait]
impl Names for Faulty {
    async fn keep_names(&self, of: NamesOf, names: &[KeptName]) -> Result<bool, StoreError> {
        self.reach().await?.keep_names(of, names).await
    }

    async fn names_of(&self, of: NamesOf) -> Result<NamesGiven, StoreError> {
        self.reach().await?.names_of(of).await
    }
}

#[async_trait]
impl Admins for Faulty {
    async fn add_admin_key(&self, key: AdminKey) -> Result<(), StoreError> {
        self.reach().await?.add_admin_key(key).await
    }

    async fn admin_key(&self, hash: &KeyHash) -> Result<Option<AdminKey>, StoreError> {
        self.reach().await?.admin_key(hash).await
    }

    async fn admin_keys(&self, after: Option<&KeyId>, most: usize) -> Result<Vec<AdminKey>, StoreError> {
        self.reach().await?.admin_keys(after, most).await
    }

    async fn revoke_seen_admin_key(
        &self,
        id: &KeyId,
        doing: (Timestamp, &str),
        seen: Option<&AdminKey>,
    ) -> Result<AdminKey, StoreError> {
        self.reach().await?.revoke_seen_admin_key(id, doing, seen).await
    }

    async fn begin_admin_session(&self, session: AdminSession) -> Result<(), StoreError> {
        self.reach().await?.begin_admin_session(session).await
    }

    async fn admin_session(&self, digest: &Digest) -> Result<Option<AdminSession>, StoreError> {
        self.reach().await?.admin_session(digest).await
    }

    async fn see_admin_session(&self, digest: &Digest, at: Timestamp) -> Result<(), StoreError> {
        self.reach().await?.see_admin_session(digest, at).await
    }

    async fn end_admin_session(&self, digest: &Digest) -> Result<bool, StoreError> {
        self.reach().await?.end_admin_session(digest).await
    }

    async fn begin_once(&self, key: &Digest, request: &Digest, now: Timestamp) -> Result<Once, StoreError> {
        self.reach().await?.begin_once(key, request, now).await
    }

    async fn end_once(&self, key: &Digest, answer: Option<(u16, &str)>) -> Result<(), StoreError> {
        self.reach().await?.end_once(key, answer).await
    }
}
