//! Finds out who calls. The order is the security argument: what is presented, whether it is known already, whether its
//! sender may still try, and only then what takes time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use subtle::ConstantTimeEq as _;
use tollgate_model::{
    Clock, KeyHash, KeyId, KeyRecord, Principal, PrincipalId, Proof, SystemClock, TenantId, Timestamp,
};
use tollgate_store::{Confirmed, Follower};

use crate::certificate;
use crate::challenge::{self, NotKnown};
use crate::failure::{Failure, Why};
use crate::issuer::Issuer;
use crate::jws::Jws;
use crate::key;
use crate::names::{principal_id, sorted};
use crate::presented::{Credential, Presented};
use crate::seen::{Fingerprint, Outcome, Seen, fingerprint};
use crate::settings::IdentitySettings;
use crate::telling;
use crate::throttle::{Throttle, Verdict};
use crate::token::{Claims, Judge};

/// How long it is remembered that an issuer does not know an opaque token, or that a token has ended.
const INACTIVE: Duration = Duration::from_secs(10);
/// How long it is remembered that a token has not begun.
const NOT_YET: Duration = Duration::from_secs(2);

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
    issuers: Vec<Arc<Issuer>>,
    /// Counts the changes of the issuers' keys.
    epoch: Arc<AtomicU64>,
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
        Self::build(settings, follower, clock, None)
    }

    /// Callers as other settings know them. What was found out under the old ones is forgotten; failed attempts are not, and
    /// an issuer whose settings are the same keeps its keys.
    ///
    /// `follower`: of the same store as before, or of the first one.
    #[must_use]
    pub fn renewed(&self, settings: IdentitySettings, follower: Follower) -> Self {
        if settings == self.0.settings && follower.follows() == self.0.follower.follows() {
            return self.clone();
        }
        Self::build(settings, follower, Arc::clone(&self.0.clock), Some(&self.0))
    }

    fn build(
        settings: IdentitySettings,
        follower: Follower,
        clock: Arc<dyn Clock>,
        before: Option<&Inner>,
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
        let epoch = before.map(|before| Arc::clone(&before.epoch)).unwrap_or_default();
        let throttle = before.map(|before| Arc::clone(&before.throttle)).unwrap_or_default();
        let issuers = settings.issuers.iter().map(|settings| {
            let known =
                before.and_then(|before| before.issuers.iter().find(|known| known.settings == *settings));
            known.map_or_else(
                || Issuer::new(settings.clone(), Arc::clone(&clock), Arc::clone(&epoch)),
                Arc::clone,
            )
        });
        let issuers = issuers.collect();
        let seen = Seen::new(settings.remembered_max);
        Self(Arc::new(Inner {
            settings,
            follower,
            clock,
            declared,
            anonymous,
            issuers,
            epoch,
            seen,
            throttle,
        }))
    }

    /// Whether nothing is configured by which callers are known: only then whoever reaches loopback is let in.
    pub fn is_off(&self) -> bool {
        self.0.settings.is_off()
    }

    /// Finds out who calls. Does not wait for what was found out before.
    pub async fn authenticate(&self, presented: Presented<'_>) -> Result<Arc<Principal>, NotKnown> {
        let inner = &*self.0;
        let now = inner.clock.now();
        let credential = match presented.credential() {
            Ok(credential) => credential,
            Err(failure) => return Err(inner.refused(&presented, &failure, now)),
        };
        match inner.at_once(credential, &presented, now) {
            Ok(Some(principal)) => return Ok(principal),
            Ok(None) => {}
            Err(failure) => return Err(inner.refused(&presented, &failure, now)),
        }
        // On the heap: it is rare, and large.
        Box::pin(inner.find_out(credential, &presented, now)).await
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
            Proof::Token { issuer, .. }
                if !inner.issuers.iter().any(|known| known.settings.issuer == *issuer) =>
            {
                false
            }
            Proof::Certificate { .. } if inner.settings.certificates.is_empty() => false,
            _ => inner.settings.tenants.contains(&principal.tenant),
        };
        configured && !principal.is_expired(now) && inner.standing(principal, now).is_ok()
    }

    /// What a 403 must say where a token was not granted for all that an operation needs.
    pub fn insufficient_scope(&self, resource: &str, needed: &[Arc<str>]) -> NotKnown {
        challenge::insufficient_scope(&self.0.settings, resource, needed)
    }

    /// `WWW-Authenticate` of a 401 to a caller who was let in, and whose proof was taken back before there was an answer.
    pub fn taken_back(&self, resource: &str) -> String {
        challenge::taken_back(&self.0.settings, resource)
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
    /// Who it is, if that can be said without verifying anything anew; `None` if it cannot.
    fn at_once(
        &self,
        credential: Credential<'_>,
        presented: &Presented<'_>,
        now: Timestamp,
    ) -> Result<Option<Arc<Principal>>, Failure> {
        let print = match credential {
            Credential::Nothing => {
                return self.anonymous.clone().map(Some).ok_or_else(|| Failure::new(Why::Nothing));
            }
            Credential::Bearer(text) if key::is_meant(text) => return self.by_key(text, now).map(Some),
            Credential::Bearer(token) => token_print(token, presented),
            Credential::Certificate(der) => fingerprint(&[b"certificate", der]),
        };
        for issuer in &self.issuers {
            issuer.keep_fresh(now);
        }
        match self.seen.get(&print, self.epoch.load(Ordering::Acquire), now) {
            Some(Outcome::Known(principal)) => {
                self.standing(&principal, now)?;
                Ok(Some(principal))
            }
            Some(Outcome::Refused(why)) => Err(Failure::with(why, "as before")),
            None => Ok(None),
        }
    }

    /// Who it is that was not seen before. Nobody is asked for an address that has failed too often; what can be verified
    /// without is, so that a good caller behind the same address gets in. Whatever fails then has the same answer.
    async fn find_out(
        &self,
        credential: Credential<'_>,
        presented: &Presented<'_>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, NotKnown> {
        let token = match credential {
            Credential::Bearer(text) => Jws::read(text),
            _ => None,
        };
        let is_at_hand = match &token {
            Some(Ok(token)) => self
                .issuer_of(token)
                .is_some_and(|issuer| issuer.at_hand(token.kid.as_deref(), now).is_some()),
            _ => matches!(credential, Credential::Certificate(_)),
        };
        if !is_at_hand && let Some(refused) = self.held_up(presented, now) {
            return Err(refused);
        }
        self.verify(credential, token, presented).await.map_err(|failure| {
            let held_up = is_at_hand.then(|| self.held_up(presented, now)).flatten();
            held_up.unwrap_or_else(|| self.refused(presented, &failure, now))
        })
    }

    /// Verifies what was not seen before, and remembers it.
    async fn verify(
        &self,
        credential: Credential<'_>,
        token: Option<Result<Jws<'_>, Failure>>,
        presented: &Presented<'_>,
    ) -> Result<Arc<Principal>, Failure> {
        let found = match credential {
            Credential::Nothing => return Err(Failure::new(Why::Nothing)),
            Credential::Certificate(der) => self.by_certificate(der)?,
            Credential::Bearer(text) => match token {
                Some(token) => self.by_token(text, &token?, presented).await?,
                None => self.by_asking(text, presented).await?,
            },
        };
        let now = self.clock.now();
        if found.principal.is_expired(now) {
            return Err(Failure::new(Why::Expired));
        }
        self.standing(&found.principal, now)?;
        let principal = Arc::new(found.principal);
        if let Some(print) = found.print {
            self.seen.put(print, found.epoch, Outcome::Known(Arc::clone(&principal)), found.until);
        }
        Ok(principal)
    }

    fn by_certificate(&self, der: &[u8]) -> Result<Found, Failure> {
        let principal = certificate::principal(&self.settings.certificates, der)?;
        let until = principal.expires.unwrap_or_default();
        let epoch = self.epoch.load(Ordering::Acquire);
        Ok(Found { principal, print: Some(fingerprint(&[b"certificate", der])), until, epoch })
    }

    /// Verifies a signed token: its issuer first, then only that issuer's keys count.
    async fn by_token(
        &self,
        text: &str,
        token: &Jws<'_>,
        presented: &Presented<'_>,
    ) -> Result<Found, Failure> {
        let issuer = self.issuer_of(token).ok_or_else(|| Failure::new(Why::UnknownIssuer))?;
        let found = async {
            let algorithm = token.algorithm(&issuer.settings.algorithms)?;
            let (keys, epoch) = issuer.keys(token.kid.as_deref()).await?;
            keys.verify(token, algorithm)?;
            let judge = self.judge(issuer, presented);
            judge.kind(&token.typ, &token.claims)?;
            let principal = judge.principal(&token.claims);
            let principal = principal.inspect_err(|failure| self.note(failure, text, presented, epoch))?;
            Ok((principal, epoch))
        };
        let (principal, epoch) =
            found.await.map_err(|failure: Failure| failure.of(&issuer.settings.issuer))?;
        let until = principal.expires.unwrap_or_default();
        Ok(Found { principal, print: print_unless_bound(text, &token.claims, presented), until, epoch })
    }

    fn issuer_of(&self, token: &Jws<'_>) -> Option<&Arc<Issuer>> {
        let named = token.issuer();
        self.issuers.iter().find(|issuer| Some(&*issuer.settings.issuer) == named)
    }

    /// Remembers for a while that a token is not accepted, if that is its issuer's word and another try would be the same.
    fn note(&self, failure: &Failure, token: &str, presented: &Presented<'_>, epoch: u64) {
        let held = match failure.why {
            Why::Inactive | Why::Expired => INACTIVE,
            Why::NotYet => NOT_YET,
            _ => return,
        };
        let until = self.clock.now().after(held);
        self.seen.put(token_print(token, presented), epoch, Outcome::Refused(failure.why), until);
    }

    /// Asks the one issuer that can be asked about a token that does not say whose it is.
    async fn by_asking(&self, token: &str, presented: &Presented<'_>) -> Result<Found, Failure> {
        let asked =
            self.issuers.iter().find_map(|issuer| Some((issuer, issuer.settings.introspection.as_ref()?)));
        let (issuer, introspection) = asked.ok_or_else(|| Failure::new(Why::Opaque))?;
        let (now, epoch) = (self.clock.now(), self.epoch.load(Ordering::Acquire));
        let found = async {
            let claims = self.introspected(issuer, token, presented).await?;
            let principal = self.judge(issuer, presented).principal(&claims)?;
            let until = now.after(introspection.cache);
            let until = principal.expires.map_or(until, |expires| expires.min(until));
            Ok(Found { principal, print: print_unless_bound(token, &claims, presented), until, epoch })
        };
        found.await.map_err(|failure: Failure| {
            self.note(&failure, token, presented, epoch);
            failure.of(&issuer.settings.issuer)
        })
    }

    /// What an issuer says of a token. Whoever makes it be asked has failed until it is known; those who only wait for the
    /// same answer cost nothing.
    async fn introspected(
        &self,
        issuer: &Arc<Issuer>,
        token: &str,
        presented: &Presented<'_>,
    ) -> Result<Arc<Claims>, Failure> {
        let print = fingerprint(&[b"ask", token.as_bytes()]);
        if issuer.is_asked(&print) {
            return issuer.introspect(token, print, None).await;
        }
        let (source, failures) = (presented.source, &self.settings.failures);
        let place = self.throttle.begin(source, failures, self.clock.now());
        let place = place.ok_or_else(|| Failure::new(Why::Throttled))?;
        let claims = issuer.introspect(token, print, Some(place)).await;
        // A failure is counted when it is answered. Whoever leaves before has failed.
        self.throttle.give_back(source, failures);
        claims
    }

    fn judge<'a>(&'a self, issuer: &'a Issuer, presented: &Presented<'a>) -> Judge<'a> {
        Judge {
            issuer: &issuer.settings,
            resource: presented.resource,
            tenants: &self.settings.tenants,
            scopes: &self.settings.scopes,
            certificate: presented.certificate,
            now: self.clock.now(),
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
                // One that ends by itself is not taken back by that.
                && (record.is_good(now) || record.expires == principal.expires)
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

    /// The answer to whoever has failed too often.
    fn held_up(&self, presented: &Presented<'_>, now: Timestamp) -> Option<NotKnown> {
        match self.throttle.check(presented.source, &self.settings.failures, now) {
            Verdict::Free => None,
            Verdict::Refused { retry_after_s, first } => {
                let failure = Failure::new(Why::Throttled);
                telling::refused(&failure, presented.source, first);
                Some(challenge::not_known(&self.settings, presented.resource, &failure, Some(retry_after_s)))
            }
        }
    }

    /// The answer to a failure: counted by address, and once too many are there, the same for all.
    fn refused(&self, presented: &Presented<'_>, failure: &Failure, now: Timestamp) -> NotKnown {
        let is_throttled = failure.why == Why::Throttled;
        if (is_throttled || failure.why.counts())
            && let Some(refused) = self.held_up(presented, now)
        {
            return refused;
        }
        if failure.why.counts() {
            self.throttle.failed(presented.source, &self.settings.failures, now);
        }
        telling::refused(failure, presented.source, !is_throttled);
        let retry_after_s =
            matches!(failure.why, Why::Throttled | Why::IssuerAway | Why::StoreAway).then_some(1);
        challenge::not_known(&self.settings, presented.resource, failure, retry_after_s)
    }
}

/// Who it is, and for how long that may be remembered.
struct Found {
    principal: Principal,
    /// Under what; not at all if there is none.
    print: Option<Fingerprint>,
    until: Timestamp,
    /// In which epoch of the issuers' keys it was found out.
    epoch: u64,
}

/// What the outcome of a token depends on, beside the settings and the issuers' keys.
fn token_print(token: &str, presented: &Presented<'_>) -> Fingerprint {
    fingerprint(&[b"token", token.as_bytes(), presented.resource.as_bytes()])
}

/// None for a token that is bound to what is shown with it: that is looked at anew each time.
fn print_unless_bound(token: &str, claims: &Claims, presented: &Presented<'_>) -> Option<Fingerprint> {
    (!claims.contains_key("cnf")).then(|| token_print(token, presented))
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
