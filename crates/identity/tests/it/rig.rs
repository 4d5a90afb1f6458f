//! A clock that stands still until it is moved, and requests with this and that in them.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use tollgate_identity::{Identity, IdentitySettings, NotKnown, Presented};
use tollgate_model::{Clock, Principal, Timestamp};
use tollgate_store::Follower;

/// The endpoint that everything is presented to.
pub(crate) const RESOURCE: &str = "https://gate.example/mcp";

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub(crate) struct Watch(AtomicU64);

impl Watch {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(Timestamp::now().as_ms())))
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).expect("a time"), Ordering::Relaxed);
    }
}

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.load(Ordering::Relaxed))
    }
}

/// Callers as these settings know them.
pub(crate) struct Gate {
    pub(crate) identity: Identity,
    pub(crate) clock: Arc<Watch>,
}

impl Gate {
    pub(crate) fn new(settings: IdentitySettings) -> Self {
        Self::following(settings, Follower::of_nothing())
    }

    pub(crate) fn following(settings: IdentitySettings, follower: Follower) -> Self {
        let clock = Watch::new();
        let settings = IdentitySettings { configured: true, ..settings };
        let identity = Identity::with_clock(settings, follower, clock.clone());
        Self { identity, clock }
    }

    /// What a request with this `Authorization` leads to.
    pub(crate) async fn try_value(
        &self,
        value: Option<&str>,
        from: &str,
    ) -> Result<Arc<Principal>, NotKnown> {
        self.at(RESOURCE, value, from).await
    }

    /// What it leads to at this endpoint.
    pub(crate) async fn at(
        &self,
        resource: &str,
        value: Option<&str>,
        from: &str,
    ) -> Result<Arc<Principal>, NotKnown> {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(value).expect("a value"));
        }
        let source: IpAddr = from.parse().expect("an address");
        let presented = Presented { headers: &headers, certificate: None, resource, source };
        self.identity.authenticate(presented).await
    }

    /// Waits until something is so that comes by itself.
    pub(crate) async fn until(&self, is_so: impl AsyncFn() -> bool) {
        let waiting = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it comes");
    }

    /// What a request with this key or token leads to.
    pub(crate) async fn bearer(&self, token: &str) -> Result<Arc<Principal>, NotKnown> {
        self.try_value(Some(&format!("Bearer {token}")), "192.0.2.1").await
    }
}

/// The code of a refusal and what the log says of it.
pub(crate) fn told(refused: Result<Arc<Principal>, NotKnown>) -> (&'static str, String) {
    match refused {
        Ok(principal) => panic!("let in: {principal:?}"),
        Err(not_known) => {
            (not_known.refusal.code.row().name, not_known.refusal.internal.unwrap_or_default().into_string())
        }
    }
}
