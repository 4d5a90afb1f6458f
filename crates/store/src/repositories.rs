//! What a store can be asked, by any driver. All traits can be used as `dyn`; a driver's calls end in bounded time.
//!
//! Everything that changes what is desired gets its place in the [`Feed`] in the same transaction: whoever follows the feed
//! knows of it, and of nothing that was not done.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tollgate_model::{KeyId, KeyRecord, TenantId, Timestamp};

use crate::{
    Admins, Allowances, Anchors, Approvals, AuditIndex, Blocks, Changes, Cursor, Definitions, DefinitionsOf,
    Digest, Erasures, Names, Pauses, Pins, Registrations, Revocable, Revocation, RuleSets, Snapshot,
    StoreError, Usage,
};

/// How many of the texts that were accepted for a tenant are remembered.
pub const ACCEPTED_MAX: usize = 16;

/// Everything that outlives the process.
#[async_trait]
pub trait Store:
    Feed
    + Keys
    + Revocations
    + Blocks
    + Pauses
    + Pins
    + Approvals
    + Registrations
    + RuleSets
    + LastKnown
    + PolicySets
    + AuditIndex
    + Usage
    + Anchors
    + Erasures
    + Allowances
    + Admins
    + Names
    + fmt::Debug
    + Send
    + Sync
{
    /// Connects, and brings what is stored to the version that this program knows. All other calls do this by themselves
    /// first; `serve` asks for it to find out at start what cannot get better by waiting.
    async fn prepare(&self) -> Result<(), StoreError>;
}

/// The feed of changes.
#[async_trait]
pub trait Feed {
    /// The place behind the latest change.
    async fn head(&self) -> Result<Cursor, StoreError>;

    /// The changes that came after a place, at most so many of them.
    async fn changes(&self, after: Cursor, most: usize) -> Result<Changes, StoreError>;

    /// Everything, as of one place in the feed.
    async fn snapshot(&self) -> Result<Snapshot, StoreError>;

    /// Ends when there may be changes after a place. Not every driver hears of every change, so whoever waits asks
    /// [`Feed::changes`] now and then as well. May be dropped at any time.
    async fn news(&self, after: Cursor);
}

/// API keys.
#[async_trait]
pub trait Keys: Sync {
    /// Adds a key.
    ///
    /// # Errors
    /// [`StoreError::KeyTaken`] if there is one of its id or digest.
    async fn add_key(&self, key: KeyRecord) -> Result<(), StoreError>;

    /// The key of this id.
    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError>;

    /// Keys in the order of their ids, also those that have ended.
    async fn keys(&self, which: &WhichKeys) -> Result<Vec<KeyRecord>, StoreError>;

    /// Puts a key in another's place. The old one stays good until `until`, or until it would have ended anyway, and says
    /// what replaces it. Gives back the old key as it is then.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`]; [`StoreError::KeyEnded`] if the old one was revoked, has expired when the new one is
    /// made, or was rotated before; [`StoreError::KeyOfAnother`] if tenant or agent differ; [`StoreError::KeyTaken`].
    async fn rotate_key(
        &self,
        old: &KeyId,
        new: KeyRecord,
        until: Timestamp,
    ) -> Result<KeyRecord, StoreError>;

    /// Revokes a key for good. One that is revoked stays as it is. Gives back the key as it is then.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`].
    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<KeyRecord, StoreError> {
        self.revoke_seen_key(id, at, None).await
    }

    /// The same, if the key is still what somebody has `seen`.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`]; [`StoreError::Overtaken`].
    async fn revoke_seen_key(
        &self,
        id: &KeyId,
        at: Timestamp,
        seen: Option<&KeyRecord>,
    ) -> Result<KeyRecord, StoreError>;
}

/// Which keys to list.
#[derive(Debug, Clone, Default)]
pub struct WhichKeys {
    /// Only this tenant's.
    pub tenant: Option<TenantId>,
    /// Only this agent's.
    pub agent: Option<Arc<str>>,
    /// Only those whose ids come after this one.
    pub after: Option<KeyId>,
    /// At most so many.
    pub most: usize,
}

/// What is taken back before it ends by itself.
#[async_trait]
pub trait Revocations {
    /// Takes something back; what was said of it before is replaced.
    async fn revoke(&self, revocation: Revocation) -> Result<(), StoreError>;

    /// Takes that back again. Says whether there was anything.
    async fn reinstate(&self, what: &Revocable) -> Result<bool, StoreError>;

    /// What is taken back, in a stable order, at most so many, after one that was listed last. Those that no longer hold
    /// may be among them.
    async fn revocations(
        &self,
        after: Option<&Revocable>,
        most: usize,
    ) -> Result<Vec<Revocation>, StoreError>;
}

/// What servers last listed.
#[async_trait]
pub trait LastKnown {
    /// Keeps what a server lists, if it is not what is kept already. Says whether it was news.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] beyond [`crate::DEFINITIONS_BYTES_MAX`]; [`StoreError::Broken`] if an item is no JSON.
    async fn keep_definitions(&self, definitions: &Definitions) -> Result<bool, StoreError>;

    /// What a server last listed.
    async fn definitions(&self, of: &DefinitionsOf) -> Result<Option<Definitions>, StoreError>;

    /// What is known of: all of one tenant's, or of the shared servers.
    async fn known(&self, tenant: Option<&TenantId>) -> Result<Vec<DefinitionsOf>, StoreError>;

    /// Forgets it. Says whether there was anything.
    async fn forget_definitions(&self, of: &DefinitionsOf) -> Result<bool, StoreError>;
}

/// Which policy texts were valid once: after a restart they may stand although servers have changed meanwhile. Replicas may
/// differ for a while, so the latest [`ACCEPTED_MAX`] are remembered for each tenant. Not in the feed: each replica has its
/// policies from its configuration.
#[async_trait]
pub trait PolicySets {
    /// Remembers that a text was accepted for a tenant. Saying it again costs little.
    async fn accept(&self, tenant: &TenantId, text: Digest, at: Timestamp) -> Result<(), StoreError>;

    /// Whether it was.
    async fn was_accepted(&self, tenant: &TenantId, text: Digest) -> Result<bool, StoreError>;
}
