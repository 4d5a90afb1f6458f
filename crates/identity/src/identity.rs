//! Finds out who calls. The order is the security argument: what is presented, whether it is known already, whether its
//! sender may still try, and only then what takes time.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use subtle::ConstantTimeEq as _;
use tollgate_model::{
    Clock, KeyHash, KeyId, KeyRecord, Principal, PrincipalId, Proof, SystemClock, TenantId, Timestamp,
};
use tollgate_store::{Confirmed, Follower};

use crate::challenge::{self, NotKnown};
use crate::failure::{Failure, Why};
use crate::key;
use crate::names::{principal_id, sorted};
use crate::presented::{Credential, Presented};
use crate::seen::{Outcome, Seen, fingerprint};
use crate::settings::IdentitySettings;
use crate::throttle::{Throttle, Verdict};

/// Knows callers by what they present. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Identity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: IdentitySettings,
    follower: Follower,
    clock: Arc<dyn Clock>,
    /// The keys that the configuration declares.
    declared: HashMap<KeyHash, (KeyRecord, Arc<Principal>)>,
    anonymous: Option<Arc<Principal>>,
    seen: Seen,
    throttle: Arc<Throttle>,
}

impl Identity {
    /// Callers as these settings know them. Nothing is fetched yet.
    pub fn new(settings: IdentitySettings, follower: Follower) -> Self {
        Self::with_clock(settings, follower, Arc::new(SystemClock))
    }

    /// The same with a clock of one's own.
    pub fn with_clock(settings: IdentitySettings, follower: Follower, clock: Arc<dyn Clock>) -> Self {
        Self::build(settings, follower, clock, Arc::default())
    }

    /// Callers as other settings know them. What was found out under the old ones is forgotten; failed attempts are not.
    #[must_use]
    /// `follower`: of the same store as before, or of the first one.
    pub fn renewed(&self, settings: IdentitySettings, follower: Follower) -> Self {
        if settings == self.0.settings && follower.follows() == self.0.follower.follows() {
            return self.clone();
        }
        Self::build(settings, follower, Arc::clone(&self.0.clock), Arc::clone(&self.0.throttle))
    }

    fn build(
        settings: IdentitySettings,
        follower: Follower,
        clock: Arc<dyn Clock>,
        throttle: Arc<Throttle>,
    ) -> Self {
        let declared = settings
            .keys
            .iter()
            .map(|record| (record.hash, (record.clone(), Arc::new(principal_of(record)))))
            .collect();
        let anonymous = settings.anonymous.as_ref().map(|anonymous| {
            let id = PrincipalId::new("anonymous");
            let mut principal = Principal::new(anonymous.tenant.clone(), id, Proof::Anonymous);
            principal.agent = Some(Arc::from("anonymous"));
            principal.agent_groups = sorted(anonymous.groups.clone());
            Arc::new(principal)
        });
        let seen = Seen::new(settings.remembered_max);
        Self(Arc::new(Inner { settings, follower, clock, declared, anonymous, seen, throttle }))
    }

    /// Whether nothing is configured by which callers are known: only then whoever reaches loopback is let in.
    pub fn is_off(&self) -> bool {
        self.0.settings.is_off()
    }

    /// Finds out who calls. Does not wait for what was found out before.
    pub async fn authenticate(&self, presented: Presented<'_>) -> Result<Arc<Principal>, NotKnown> {
        let inner = &*self.0;
        let now = inner.clock.now();
        let known = match presented.credential() {
            Ok(credential) => inner.at_once(credential, now),
            Err(failure) => Some(Err(failure)),
        };
        let failure = match known {
            Some(Ok(principal)) => return Ok(principal),
            Some(Err(failure)) => failure,
            None => Failure::new(Why::Opaque),
        };
        std::future::ready(()).await;
        Err(inner.refused(&presented, &failure, now))
    }

    /// Whether a principal that was let in would still be: its proof has not ended, and was not taken back.
    pub fn is_standing(&self, principal: &Principal) -> bool {
        let inner = &*self.0;
        let now = inner.clock.now();
        let configured = match &principal.proof {
            Proof::Local => return true,
            Proof::Anonymous => inner.anonymous.as_deref() == Some(principal),
            // One that is not stored has to be declared still.
            Proof::Key(id) if inner.follower.now().key_of(id).is_none() => {
                inner.is_declared(id, principal, now)
            }
            _ => inner.settings.tenants.contains(&principal.tenant),
        };
        configured && !principal.is_expired(now) && inner.standing(principal, now).is_ok()
    }

    /// What a 403 must say where a token was not granted for all that an operation needs.
    pub fn insufficient_scope(&self, resource: &str, needed: &[Arc<str>]) -> NotKnown {
        challenge::insufficient_scope(&self.0.settings, resource, needed)
    }

    /// The protected resource metadata of an endpoint (RFC 9728), as JSON; none if there is no issuer to name.
    pub fn metadata(&self, resource: &str) -> Option<Bytes> {
        challenge::metadata(&self.0.settings, resource)
    }

    /// The stored state that callers are known by.
    pub fn follower(&self) -> &Follower {
        &self.0.follower
    }

    /// The tenants that callers may belong to.
    pub fn tenants(&self) -> &[TenantId] {
        &self.0.settings.tenants
    }
}

impl Inner {
    /// What can be said without waiting; `None` if somebody has to be asked.
    fn at_once(&self, credential: Credential<'_>, now: Timestamp) -> Option<Result<Arc<Principal>, Failure>> {
        match credential {
            Credential::Nothing => Some(self.anonymous.clone().ok_or_else(|| Failure::new(Why::Nothing))),
            Credential::Bearer(text) if key::is_meant(text) => Some(self.by_key(text, now)),
            Credential::Bearer(_) => None,
            Credential::Certificate(_) => Some(Err(Failure::new(Why::UnknownCertificate))),
        }
    }

    fn by_key(&self, text: &str, now: Timestamp) -> Result<Arc<Principal>, Failure> {
        let hash = key::hash(text)
            .ok_or_else(|| Failure::with(Why::Malformed, "the checksum of the key is wrong"))?;
        // The table finds a digest, which says nothing of the key; the comparison that counts takes the same time always.
        let is_same = |record: &KeyRecord| bool::from(record.hash.0.ct_eq(&hash.0));
        if let Some((record, principal)) = self.declared.get(&hash).filter(|(record, _)| is_same(record)) {
            self.good(record, principal, now)?;
            return Ok(Arc::clone(principal));
        }
        let desired = self.follower.now();
        let Some(record) = desired.key(&hash).filter(|record| is_same(record)) else {
            self.confirmed()?;
            return Err(Failure::new(Why::UnknownKey));
        };
        let print = fingerprint(&[b"key", &hash.0]);
        let remembered = match self.seen.get(&print, 0, now) {
            Some(Outcome::Known(principal)) => Some(principal).filter(|known| is_of(known, record)),
            _ => None,
        };
        let principal = remembered.unwrap_or_else(|| {
            let principal = Arc::new(principal_of(record));
            let known = Outcome::Known(Arc::clone(&principal));
            self.seen.put(print, 0, known, principal.expires.unwrap_or(Timestamp::from_ms(u64::MAX)));
            principal
        });
        self.good(record, &principal, now)?;
        Ok(principal)
    }

    fn is_declared(&self, id: &KeyId, principal: &Principal, now: Timestamp) -> bool {
        self.declared.values().any(|(record, known)| {
            record.id == *id
                && record.is_good(now)
                && (&known.id, &known.tenant) == (&principal.id, &principal.tenant)
        })
    }

    /// Whether a caller may come in with this key.
    fn good(&self, record: &KeyRecord, principal: &Principal, now: Timestamp) -> Result<(), Failure> {
        if !record.is_good(now) {
            let detail = format!("the key {} has ended or was revoked", record.id.as_str());
            return Err(Failure::with(Why::UnknownKey, detail));
        }
        if !self.settings.tenants.contains(&record.tenant) {
            let detail = format!("the key {} is of the tenant {:?}", record.id.as_str(), record.tenant);
            return Err(Failure::with(Why::Tenant, detail));
        }
        self.standing(principal, now)
    }

    /// Whether nothing by which it came in was taken back.
    fn standing(&self, principal: &Principal, now: Timestamp) -> Result<(), Failure> {
        self.confirmed()?;
        if self.follower.now().is_revoked(principal, now) {
            return Err(Failure::with(Why::Revoked, format!("{:?}", principal.id)));
        }
        Ok(())
    }

    fn confirmed(&self) -> Result<(), Failure> {
        match self.follower.confirmed() {
            Confirmed::Now | Confirmed::Since(_) => Ok(()),
            Confirmed::TooOld => Err(Failure::new(Why::StoreAway)),
        }
    }

    /// The answer to a failure: counted by address, and once too many are there, the same for all.
    fn refused(&self, presented: &Presented<'_>, failure: &Failure, now: Timestamp) -> NotKnown {
        let (settings, failures) = (&self.settings, &self.settings.failures);
        if !failure.why.counts() {
            return challenge::not_known(settings, presented.resource, failure, None);
        }
        match self.throttle.check(presented.source, failures, now) {
            Verdict::Free => {
                self.throttle.failed(presented.source, failures, now);
                challenge::not_known(settings, presented.resource, failure, None)
            }
            Verdict::Refused { retry_after_s, .. } => {
                let failure = Failure::new(Why::Throttled);
                challenge::not_known(settings, presented.resource, &failure, Some(retry_after_s))
            }
        }
    }
}

/// Who comes in with a key.
fn principal_of(record: &KeyRecord) -> Principal {
    let id = principal_id(Some(&record.agent), None).unwrap_or_else(|| PrincipalId::new(record.id.as_str()));
    let mut principal = Principal::new(record.tenant.clone(), id, Proof::Key(record.id.clone()));
    principal.agent = Some(Arc::clone(&record.agent));
    principal.agent_groups = sorted(record.groups.clone());
    principal.expires = end_of(record);
    principal
}

fn end_of(record: &KeyRecord) -> Option<Timestamp> {
    [record.expires, record.revoked].into_iter().flatten().min()
}

/// Whether a principal is still what the record says.
fn is_of(principal: &Principal, record: &KeyRecord) -> bool {
    principal.tenant == record.tenant
        && principal.agent.as_ref() == Some(&record.agent)
        && principal.expires == end_of(record)
        && principal.agent_groups.len() == record.groups.len()
        && principal.agent_groups.iter().zip(&record.groups).all(|(one, other)| one == other)
        && matches!(&principal.proof, Proof::Key(id) if *id == record.id)
}
