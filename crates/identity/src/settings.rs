//! What an operator says of callers, as meant.

use std::sync::Arc;
use std::time::Duration;

use tollgate_model::{KeyRecord, Secret, TenantId};
use url::Url;

use crate::algorithm::Algorithm;
use crate::certificate::CertificateRule;
use crate::claims::{ClaimPath, ClaimSettings};

/// How callers are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentitySettings {
    /// Whether callers have to be known at all. Without it, whoever reaches loopback is let in.
    pub configured: bool,
    /// The tenants that there are. A proof that names another is none.
    pub tenants: Vec<TenantId>,
    /// Lets callers in who present nothing.
    pub anonymous: Option<AnonymousSettings>,
    /// The keys that the configuration declares, beside those that are stored.
    pub keys: Vec<KeyRecord>,
    /// Whose access tokens are accepted.
    pub issuers: Vec<IssuerSettings>,
    /// Which client certificates stand for whom; the first rule that fits counts.
    pub certificates: Vec<CertificateRule>,
    /// The scopes that every access token needs.
    pub scopes: Vec<Arc<str>>,
    /// How failed attempts are slowed down.
    pub failures: FailureSettings,
    /// How many access tokens and certificates are remembered at once, so that they need not be verified again.
    pub remembered_max: usize,
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self {
            configured: false,
            tenants: vec![TenantId::default()],
            anonymous: None,
            keys: Vec::new(),
            issuers: Vec::new(),
            certificates: Vec::new(),
            scopes: Vec::new(),
            failures: FailureSettings::default(),
            remembered_max: 20_000,
        }
    }
}

impl IdentitySettings {
    /// Whether nothing is configured by which callers are known.
    pub fn is_off(&self) -> bool {
        !self.configured
    }
}

/// As whom callers come in who present nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AnonymousSettings {
    /// Their tenant.
    pub tenant: TenantId,
    /// The agent groups that they are in.
    pub groups: Vec<Arc<str>>,
}

/// How failed attempts to prove who calls are slowed down, by the address that they come from (IPv6: by its first 64 bits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureSettings {
    /// How many failures an address may have within [`Self::window`] before further attempts are refused unseen.
    pub max: u32,
    /// In what time so many failures are forgiven.
    pub window: Duration,
    /// How many addresses are remembered at once.
    pub sources_max: usize,
}

impl Default for FailureSettings {
    fn default() -> Self {
        Self { max: 30, window: Duration::from_mins(1), sources_max: 20_000 }
    }
}

/// An authorization server whose access tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerSettings {
    /// As it stands in `iss`, to the letter.
    pub issuer: Arc<str>,
    /// Where its keys are; discovered if absent.
    pub jwks_uri: Option<Url>,
    /// Where opaque tokens are asked about (RFC 7662).
    pub introspection: Option<IntrospectionSettings>,
    /// What a token may be meant for beside the endpoint's canonical URI.
    pub audiences: Vec<Arc<str>>,
    /// The signatures that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// The values of `typ` that are accepted, in lower case and without `application/`; an empty text stands for none.
    pub types: Vec<Arc<str>>,
    /// How far the issuer's clock may be off.
    pub clock_skew: Duration,
    /// The certificate authorities (PEM) to trust instead of the platform's.
    pub ca_pem: Option<Arc<str>>,
    /// Whether its endpoints may be at private or loopback addresses.
    pub allow_private_addresses: bool,
    /// Whose its tokens are.
    pub tenant: TenantSource,
    /// What is put in front of its names of users, agents, groups and roles, so that they differ from everybody else's.
    pub prefix: Arc<str>,
    /// What its claims mean.
    pub claims: ClaimSettings,
    /// How its keys are fetched.
    pub fetch: FetchSettings,
}

impl IssuerSettings {
    /// An issuer of which only the name is known.
    pub fn new(issuer: &str) -> Self {
        Self {
            issuer: Arc::from(issuer),
            jwks_uri: None,
            introspection: None,
            audiences: Vec::new(),
            algorithms: Algorithm::ALL.to_vec(),
            types: ["at+jwt", "jwt", ""].into_iter().map(Arc::from).collect(),
            clock_skew: Duration::from_secs(30),
            ca_pem: None,
            allow_private_addresses: false,
            tenant: TenantSource::Fixed(TenantId::default()),
            prefix: Arc::from(""),
            claims: ClaimSettings::default(),
            fetch: FetchSettings::default(),
        }
    }
}

/// Whose the tokens of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantSource {
    /// Always this tenant's.
    Fixed(TenantId),
    /// The tenant's whom the claim names, if it is configured.
    Claim(ClaimPath),
}

/// How opaque tokens are asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntrospectionSettings {
    /// Where; discovered if absent.
    pub url: Option<Url>,
    /// As whom the gateway asks.
    pub client_id: String,
    /// By what it proves that.
    pub client_secret: Secret,
    /// How long an answer is used, at most. A token that ends sooner is not used longer.
    pub cache: Duration,
}

/// How an issuer's keys are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchSettings {
    /// How long a fetch may take.
    pub timeout: Duration,
    /// The largest answer.
    pub body_bytes_max: usize,
    /// The shortest time between two fetches, whatever tokens ask for.
    pub again_min: Duration,
    /// How long keys are used without asking again, if the issuer does not say.
    pub fresh: Duration,
    /// The longest time for which the issuer may say so.
    pub fresh_max: Duration,
    /// How long keys are used after that while the issuer is away.
    pub stale_max: Duration,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            body_bytes_max: 256 * 1024,
            again_min: Duration::from_secs(10),
            fresh: Duration::from_mins(5),
            fresh_max: Duration::from_hours(1),
            stale_max: Duration::from_hours(6),
        }
    }
}
