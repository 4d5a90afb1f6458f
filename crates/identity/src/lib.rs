//! Who is calling: API keys, access tokens, client certificates, or nobody known.

mod settings;

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use tollgate_model::{Principal, Refusal, Stage, TenantId};
use tollgate_store::Follower;

pub use settings::IdentitySettings;

/// Under which path the metadata of a resource is served, in front of the resource's own path.
pub const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// What a request says of who sends it.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The client's certificate, in DER, if the connection's handshake verified one.
    pub certificate: Option<&'a [u8]>,
    /// The canonical URI of the endpoint that it is sent to: what a token must be meant for (RFC 8707).
    pub resource: &'a str,
    /// Where it comes from.
    pub source: IpAddr,
}

/// Knows callers by what they present. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Identity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: IdentitySettings,
    follower: Follower,
}

/// Why a caller is not let in, and what the response must say.
#[derive(Debug, Clone)]
pub struct NotKnown {
    /// The refusal.
    pub refusal: Refusal,
    /// The value of `WWW-Authenticate`, for 401 and 403 (RFC 6750, section 3; RFC 9728, section 5.1).
    pub challenge: Option<String>,
    /// After how many seconds to try again.
    pub retry_after_s: Option<u64>,
}

impl Identity {
    /// Callers as these settings know them. Nothing is fetched yet.
    pub fn new(settings: IdentitySettings, follower: Follower) -> Self {
        Self(Arc::new(Inner { settings, follower }))
    }

    /// Whether nothing is configured by which callers are known: only then whoever reaches loopback is let in.
    pub fn is_off(&self) -> bool {
        self.0.settings.is_off()
    }

    /// Finds out who calls. Does not wait for what was found out before.
    pub async fn authenticate(&self, _: Presented<'_>) -> Result<Arc<Principal>, NotKnown> {
        std::future::ready(()).await;
        let text = "no identity is configured";
        let refusal = Refusal::new(Stage::Identity, tollgate_model::Code::Unauthenticated, text);
        Err(NotKnown { refusal, challenge: None, retry_after_s: None })
    }

    /// Whether a principal that was let in would still be: its proof has not ended, and was not taken back.
    pub fn is_standing(&self, principal: &Principal) -> bool {
        let now = tollgate_model::Timestamp::now();
        !principal.is_expired(now) && !self.0.follower.now().is_revoked(principal, now)
    }

    /// What a 403 must say where a token was not granted for all that an operation needs.
    pub fn insufficient_scope(&self, _resource: &str, _needed: &[Arc<str>]) -> NotKnown {
        let text = "the access token was not granted for this";
        let refusal = Refusal::new(Stage::Identity, tollgate_model::Code::InsufficientScope, text);
        NotKnown { refusal, challenge: None, retry_after_s: None }
    }

    /// The protected resource metadata of an endpoint (RFC 9728), as JSON; none if there is no issuer to name.
    pub fn metadata(&self, _resource: &str) -> Option<bytes::Bytes> {
        None
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
