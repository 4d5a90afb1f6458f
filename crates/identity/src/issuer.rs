//! One authorization server: what it says of itself, its keys, and what it says of tokens. Each thing is asked for once,
//! however many wait for it, and not again before its time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::HeaderMap;
use http::header::CACHE_CONTROL;
use serde_json::Value;
use tollgate_egress::{Egress, EgressSettings};
use tollgate_model::{Clock, Timestamp};
use tollgate_telemetry::events::IssuerAsked;
use url::Url;

use crate::discovery::{self, Metadata};
use crate::failure::{Failure, Why};
use crate::flights::{Flight, Flights};
use crate::jwks::KeySet;
use crate::seen::Fingerprint;
use crate::settings::{FetchSettings, IntrospectionSettings, IssuerSettings};
use crate::throttle::Place;
use crate::token::Claims;

/// How many tokens may be asked about at once.
const ASKED_MAX: usize = 256;

/// An authorization server whose tokens are accepted.
#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) settings: IssuerSettings,
    egress: Result<Egress, Arc<str>>,
    clock: Arc<dyn Clock>,
    /// Counts up with every change of any issuer's keys: whatever was found out under others is found out again.
    epoch: Arc<AtomicU64>,
    keys: ArcSwapOption<Keys>,
    fetching: Flights<(), ()>,
    asking: Flights<Fingerprint, Result<Arc<Claims>, Failure>>,
    attempts: Mutex<Attempts>,
}

/// Keys, and how long they may be used.
#[derive(Debug)]
struct Keys {
    set: Arc<KeySet>,
    fresh_until: Timestamp,
    usable_until: Timestamp,
}

#[derive(Debug, Default)]
struct Attempts {
    /// When the keys were last asked for.
    last: Option<Timestamp>,
    /// What was wrong then.
    problem: Option<String>,
    /// What the server says of itself, and how long that is believed.
    metadata: Option<(Arc<Metadata>, Timestamp)>,
    /// When that was last asked for, and what was wrong then.
    discovery: Option<(Timestamp, String)>,
}

impl Issuer {
    pub(crate) fn new(settings: IssuerSettings, clock: Arc<dyn Clock>, epoch: Arc<AtomicU64>) -> Arc<Self> {
        let fetch = &settings.fetch;
        let egress = Egress::new(&EgressSettings {
            allow_private: settings.allow_private_addresses,
            allow_plain: false,
            ca_pem: settings.ca_pem.clone(),
            connect_timeout: fetch.timeout,
            timeout: fetch.timeout,
            body_bytes_max: fetch.body_bytes_max,
        });
        let egress = egress.map_err(|error| Arc::from(error.to_string()));
        Arc::new(Self {
            settings,
            egress,
            clock,
            epoch,
            keys: ArcSwapOption::empty(),
            fetching: Flights::new(1),
            asking: Flights::new(ASKED_MAX),
            attempts: Mutex::default(),
        })
    }

    /// The issuer's keys, fetched if need be: if there are none, if they are too old, or if none is called `kid`. What
    /// strangers write into tokens never makes it fetch more often than the settings say. With them comes the epoch in which
    /// they were the issuer's keys.
    pub(crate) async fn keys(self: &Arc<Self>, kid: Option<&str>) -> Result<(Arc<KeySet>, u64), Failure> {
        let now = self.clock.now();
        // Before the keys: when they are changed, the epoch is counted up after that.
        let epoch = self.epoch.load(Ordering::Acquire);
        if let Some(set) = self.at_hand(kid, now) {
            self.keep_fresh(now);
            return Ok((set, epoch));
        }
        if let Some(flight) = self.fetch(now) {
            let _ = flight.landed().await;
        }
        let epoch = self.epoch.load(Ordering::Acquire);
        match &*self.keys.load() {
            Some(keys) if self.clock.now() < keys.usable_until => Ok((Arc::clone(&keys.set), epoch)),
            _ => {
                let problem = self.attempts().problem.clone().unwrap_or_default();
                Err(Failure::with(Why::IssuerAway, problem))
            }
        }
    }

    /// The issuer's keys, if they need not be fetched.
    pub(crate) fn at_hand(&self, kid: Option<&str>, now: Timestamp) -> Option<Arc<KeySet>> {
        let keys = self.keys.load();
        let keys = keys.as_ref().filter(|keys| now < keys.usable_until)?;
        kid.is_none_or(|kid| keys.set.has(kid)).then(|| Arc::clone(&keys.set))
    }

    /// Asks for the keys again if it is time, without anybody waiting for them. Nothing is asked of an issuer that nobody
    /// has come with a token of.
    pub(crate) fn keep_fresh(self: &Arc<Self>, now: Timestamp) {
        if self.keys.load().as_ref().is_some_and(|keys| keys.fresh_until <= now) {
            self.fetch(now);
        }
    }

    /// Joins a fetch that is under way, or begins one if the last is long enough ago.
    fn fetch(self: &Arc<Self>, now: Timestamp) -> Option<Flight<()>> {
        // Held to the end: who comes between noting an attempt and beginning it would find neither.
        let mut attempts = self.attempts();
        if let Some(flight) = self.fetching.find(&()) {
            return Some(flight);
        }
        if attempts.last.is_some_and(|last| now < last.after(self.settings.fetch.again_min)) {
            return None;
        }
        attempts.last = Some(now);
        let issuer = Arc::clone(self);
        self.fetching.join((), || async move { issuer.fetch_now().await }).ok()
    }

    async fn fetch_now(&self) {
        match self.fetched().await {
            Ok(keys) => {
                let same = self.keys.load().as_ref().is_some_and(|known| known.set == keys.set);
                self.keys.store(Some(Arc::new(keys)));
                if !same {
                    self.epoch.fetch_add(1, Ordering::AcqRel);
                }
                self.attempts().problem = None;
                IssuerAsked { issuer: &self.settings.issuer, problem: None }.emit();
            }
            Err(problem) => {
                IssuerAsked { issuer: &self.settings.issuer, problem: Some(&problem) }.emit();
                let mut attempts = self.attempts();
                attempts.problem = Some(problem);
                // They may be elsewhere by now.
                attempts.metadata = None;
            }
        }
    }

    async fn fetched(&self) -> Result<Keys, String> {
        let url = match &self.settings.jwks_uri {
            Some(url) => url.clone(),
            None => {
                let metadata = self.metadata().await?;
                metadata.jwks_uri.clone().ok_or("its metadata names no `jwks_uri`")?
            }
        };
        let answer = self.egress()?.get(&url).await.map_err(|error| error.to_string())?;
        let set = KeySet::read(&answer.body).ok_or_else(|| format!("{url} answered with no key set"))?;
        let fetch = &self.settings.fetch;
        let fresh_until = self.clock.now().after(freshness(&answer.headers, fetch));
        Ok(Keys { set: Arc::new(set), fresh_until, usable_until: fresh_until.after(fetch.stale_max) })
    }

    /// What the issuer says of itself, from its well-known addresses.
    pub(crate) async fn metadata(&self) -> Result<Arc<Metadata>, String> {
        let now = self.clock.now();
        {
            let attempts = self.attempts();
            if let Some((metadata, until)) = &attempts.metadata
                && now < *until
            {
                return Ok(Arc::clone(metadata));
            }
            if let Some((tried, problem)) = &attempts.discovery
                && now < tried.after(self.settings.fetch.again_min / 2)
            {
                return Err(problem.clone());
            }
        }
        let found = discovery::discover(self.egress()?, &self.settings).await;
        let mut attempts = self.attempts();
        match found {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                let until = now.after(self.settings.fetch.fresh_max);
                attempts.metadata = Some((Arc::clone(&metadata), until));
                attempts.discovery = None;
                Ok(metadata)
            }
            Err(problem) => {
                // Half the time: a fetch of keys has waited its whole time already, and shall not meet this again.
                attempts.discovery = Some((now, problem.clone()));
                Err(problem)
            }
        }
    }

    /// Whether it is being asked about this token already.
    pub(crate) fn is_asked(&self, print: &Fingerprint) -> bool {
        self.asking.find(print).is_some()
    }

    /// What the issuer says of an opaque token. `place` is kept until it has said it, also if nobody waits any more.
    pub(crate) async fn introspect(
        self: &Arc<Self>,
        token: &str,
        print: Fingerprint,
        place: Option<Place>,
    ) -> Result<Arc<Claims>, Failure> {
        let (issuer, token) = (Arc::clone(self), tollgate_model::Secret::new(token.to_owned()));
        let flight = self.asking.join(print, || async move {
            let _place = place;
            issuer.ask(token.expose()).await.map(Arc::new)
        });
        let flight =
            flight.map_err(|_| Failure::with(Why::IssuerAway, "too many tokens are asked about at once"))?;
        flight.landed().await.unwrap_or_else(|| Err(Failure::new(Why::IssuerAway)))
    }

    async fn ask(&self, token: &str) -> Result<Claims, Failure> {
        let away = |problem: String| Failure::with(Why::IssuerAway, problem);
        let Some(introspection) = &self.settings.introspection else { return Err(Failure::new(Why::Opaque)) };
        let url = self.introspection_url(introspection).await.map_err(away)?;
        let egress = self.egress().map_err(away)?;
        let form = [("token", token), ("token_type_hint", "access_token")];
        // RFC 6749, section 2.3.1: both are encoded before they are put together.
        let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let secret = tollgate_model::Secret::new(encoded(introspection.client_secret.expose()));
        let basic = Some((encoded(&introspection.client_id), secret));
        let basic = basic.as_ref().map(|(name, secret)| (name.as_str(), secret));
        let answer = egress.post_form(&url, &form, basic).await.map_err(|error| away(error.to_string()))?;
        let claims = crate::json::object(&answer.body)
            .ok_or_else(|| away(format!("{url} answered with no object")))?;
        if claims.get("active") != Some(&Value::Bool(true)) {
            return Err(Failure::new(Why::Inactive));
        }
        let is_own = |issuer: &Value| issuer.as_str() == Some(&self.settings.issuer);
        if !claims.get("iss").is_none_or(is_own) {
            return Err(Failure::with(Why::UnknownIssuer, "the answer names another issuer"));
        }
        let kind = claims.get("token_type").and_then(Value::as_str).unwrap_or("bearer");
        if !kind.eq_ignore_ascii_case("bearer") && !kind.eq_ignore_ascii_case("access_token") {
            return Err(Failure::with(Why::Type, "the answer says that it is no bearer token"));
        }
        Ok(claims)
    }

    async fn introspection_url(&self, settings: &IntrospectionSettings) -> Result<Url, String> {
        match &settings.url {
            Some(url) => Ok(url.clone()),
            None => {
                let metadata = self.metadata().await?;
                metadata.introspection.clone().ok_or_else(|| "its metadata names no introspection".to_owned())
            }
        }
    }

    pub(crate) fn egress(&self) -> Result<&Egress, String> {
        self.egress.as_ref().map_err(ToString::to_string)
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long keys are fresh, as far as the issuer may say (RFC 9111, section 5.2.2).
fn freshness(headers: &HeaderMap, fetch: &FetchSettings) -> Duration {
    let mut fresh = None;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or_default().split(',') {
            let directive = directive.trim().to_ascii_lowercase();
            if directive == "no-store" || directive == "no-cache" {
                fresh = Some(Duration::ZERO);
            } else if let Some(seconds) = directive.strip_prefix("max-age=")
                && let Ok(seconds) = seconds.trim_matches('"').parse()
            {
                fresh = fresh.or(Some(Duration::from_secs(seconds)));
            }
        }
    }
    fresh.unwrap_or(fetch.fresh).min(fetch.fresh_max).max(fetch.again_min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn freshness_is_what_the_issuer_says_within_bounds() {
        let fetch = FetchSettings::default();
        let fresh = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(value));
            }
            freshness(&headers, &fetch).as_secs()
        };
        assert_eq!(fresh(&[]), 300);
        assert_eq!(fresh(&["public, max-age=600"]), 600);
        assert_eq!(fresh(&["public", "Max-Age=600"]), 600);
        assert_eq!(fresh(&["max-age=99999999999"]), 3600);
        assert_eq!(fresh(&["max-age=0"]), 10);
        assert_eq!(fresh(&["max-age=600, no-store"]), 10);
        assert_eq!(fresh(&["max-age=much"]), 300);
    }
}
