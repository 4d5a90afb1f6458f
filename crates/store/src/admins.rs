//! Who administers: the keys of machines, the sessions of people, and what either has asked for once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tollgate_model::{KeyHash, KeyId, TenantId, Timestamp};

use crate::{Digest, StoreError};

/// How many sessions are kept. Beyond it those that were not used for the longest time end.
pub const ADMIN_SESSIONS_MAX: usize = 10_000;
/// How long it is known what was answered to a request that is to be carried out once.
pub const ONCE_KEPT: Duration = Duration::from_hours(24);
/// How many of these answers are kept. Beyond it the oldest are forgotten.
pub const ONCE_MAX: usize = 10_000;
/// How long such a request may be under way. Whoever began it is gone after that, and it may be begun again.
pub const ONCE_UNDER_WAY: Duration = Duration::from_mins(2);

/// A role, and where it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdminGrant {
    /// The role's word. What it means is not decided here.
    pub role: Arc<str>,
    /// The tenant; none for all there are.
    pub tenant: Option<TenantId>,
}

impl AdminGrant {
    /// Role and tenant: the form in which it is stored.
    pub fn to_pair(&self) -> (String, Option<String>) {
        (self.role.to_string(), self.tenant.as_ref().map(|tenant| tenant.as_str().to_owned()))
    }

    /// The other way round.
    pub fn from_pair((role, tenant): (String, Option<String>)) -> Self {
        Self { role: role.into(), tenant: tenant.as_deref().map(TenantId::new) }
    }
}

/// An admin key: never the key, only its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminKey {
    /// By what it is listed and revoked.
    pub id: KeyId,
    /// What it is called.
    pub name: Arc<str>,
    /// What it may.
    pub grants: Vec<AdminGrant>,
    /// The digest of the whole key.
    pub hash: KeyHash,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// Who did the last thing to it: made it, or revoked it.
    pub by: Arc<str>,
}

impl AdminKey {
    /// Whether somebody may come in with it.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }
}

/// A session of somebody who has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSession {
    /// The digest of what the browser holds.
    pub digest: Digest,
    /// How they signed in: `oidc`, `key` or `link`.
    pub how: Arc<str>,
    /// Whose word it is that they are: the issuer, or the id of the key.
    pub proof: Arc<str>,
    /// Who they are there.
    pub subject: Arc<str>,
    /// What they are called.
    pub name: Arc<str>,
    /// The groups that they are in.
    pub groups: Vec<Arc<str>>,
    /// Since when.
    pub created: Timestamp,
    /// When it was last used, to the minute.
    pub seen: Timestamp,
    /// When it ends, whether it is used or not.
    pub expires: Timestamp,
}

/// What has become of a request that is to be carried out once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Once {
    /// It is carried out now, by whoever has asked.
    Begun,
    /// Somebody else carries it out.
    UnderWay,
    /// Another request has the same key.
    Another,
    /// It was carried out, and this was the answer.
    Answered {
        /// Its status.
        status: u16,
        /// Its body.
        body: Arc<str>,
    },
}

/// Who administers.
#[async_trait]
pub trait Admins: Sync {
    /// Adds an admin key.
    ///
    /// # Errors
    /// [`StoreError::KeyTaken`] if there is one of its id or digest.
    async fn add_admin_key(&self, key: AdminKey) -> Result<(), StoreError>;

    /// The admin key of this digest, good or not.
    async fn admin_key(&self, hash: &KeyHash) -> Result<Option<AdminKey>, StoreError>;

    /// Admin keys in the order of their ids, also those that have ended, after one that was listed last; at most so many.
    async fn admin_keys(&self, after: Option<&KeyId>, most: usize) -> Result<Vec<AdminKey>, StoreError>;

    /// Revokes an admin key for good. One that is revoked stays as it is. Gives back the key as it is then.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`].
    async fn revoke_admin_key(&self, id: &KeyId, at: Timestamp, by: &str) -> Result<AdminKey, StoreError> {
        self.revoke_seen_admin_key(id, (at, by), None).await
    }

    /// The same, if the key is still what somebody has `seen`.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`]; [`StoreError::Overtaken`].
    async fn revoke_seen_admin_key(
        &self,
        id: &KeyId,
        doing: (Timestamp, &str),
        seen: Option<&AdminKey>,
    ) -> Result<AdminKey, StoreError>;

    /// Begins a session. Those that are over go, and so do those beyond [`ADMIN_SESSIONS_MAX`].
    async fn begin_admin_session(&self, session: AdminSession) -> Result<(), StoreError>;

    /// The session of this digest, whether it is over or not.
    async fn admin_session(&self, digest: &Digest) -> Result<Option<AdminSession>, StoreError>;

    /// Notes that a session is used.
    async fn see_admin_session(&self, digest: &Digest, at: Timestamp) -> Result<(), StoreError>;

    /// Ends a session. Says whether there was one.
    async fn end_admin_session(&self, digest: &Digest) -> Result<bool, StoreError>;

    /// Begins what is to be carried out once: `key` is by what it is known again, `request` what it is.
    async fn begin_once(&self, key: &Digest, request: &Digest, now: Timestamp) -> Result<Once, StoreError>;

    /// Keeps what was answered; without an answer it was not carried out, and may be begun again.
    async fn end_once(&self, key: &Digest, answer: Option<(u16, &str)>) -> Result<(), StoreError>;
}

/// What the store in memory keeps.
#[derive(Debug, Default)]
pub(crate) struct Administration {
    pub(crate) keys: BTreeMap<KeyId, AdminKey>,
    sessions: BTreeMap<Digest, AdminSession>,
    once: BTreeMap<Digest, OnceKept>,
}

#[derive(Debug)]
struct OnceKept {
    request: Digest,
    at: Timestamp,
    answer: Option<(u16, Arc<str>)>,
}

impl Administration {
    pub(crate) fn begin_session(&mut self, session: AdminSession) {
        let now = session.created;
        self.sessions.retain(|_, old| now < old.expires);
        self.sessions.insert(session.digest, session);
        while self.sessions.len() > ADMIN_SESSIONS_MAX {
            let oldest = self.sessions.values().min_by_key(|old| (old.seen, old.digest));
            let Some(oldest) = oldest.map(|old| old.digest) else { break };
            self.sessions.remove(&oldest);
        }
    }

    pub(crate) fn session(&self, digest: &Digest) -> Option<&AdminSession> {
        self.sessions.get(digest)
    }

    pub(crate) fn see_session(&mut self, digest: &Digest, at: Timestamp) {
        if let Some(session) = self.sessions.get_mut(digest) {
            session.seen = session.seen.max(at);
        }
    }

    pub(crate) fn end_session(&mut self, digest: &Digest) -> bool {
        self.sessions.remove(digest).is_some()
    }

    pub(crate) fn begin_once(&mut self, key: &Digest, request: &Digest, now: Timestamp) -> Once {
        self.once.retain(|_, kept| now < kept.at.after(ONCE_KEPT));
        if let Some(kept) = self.once.get(key) {
            match &kept.answer {
                _ if kept.request != *request => return Once::Another,
                Some((status, body)) => return Once::Answered { status: *status, body: Arc::clone(body) },
                None if now < kept.at.after(ONCE_UNDER_WAY) => return Once::UnderWay,
                None => {}
            }
        }
        self.once.insert(*key, OnceKept { request: *request, at: now, answer: None });
        while self.once.len() > ONCE_MAX {
            let Some(oldest) = self.once.iter().min_by_key(|(key, kept)| (kept.at, **key)) else { break };
            let oldest = *oldest.0;
            self.once.remove(&oldest);
        }
        Once::Begun
    }

    pub(crate) fn end_once(&mut self, key: &Digest, answer: Option<(u16, &str)>) {
        match answer {
            None => drop(self.once.remove(key)),
            Some((status, body)) => {
                if let Some(kept) = self.once.get_mut(key) {
                    kept.answer = Some((status, body.into()));
                }
            }
        }
    }
}
