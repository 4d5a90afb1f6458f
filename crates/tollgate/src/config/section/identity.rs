//! Who is calling, as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::SecretSection;
use crate::config::forms::{Items, Several, Short, keys};
use crate::config::meaning::defaults;

/// By what callers are known: API keys, access tokens and client certificates. With this section (also an empty one: `{}`)
/// every caller has to prove who it is, and policy says what it may do; API keys made with `tollgate keys create` count too.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<IdentitySection>()))]
#[schemars(rename = "Identity")]
pub(in crate::config) struct IdentitySection {
    /// Lets callers in who present nothing, as the agent `anonymous`. A bad credential is never anonymous.
    pub(in crate::config) anonymous: Option<AnonymousSection>,
    /// API keys, declared by their digests.
    pub(in crate::config) keys: Option<Items<KeySection>>,
    /// Authorization servers whose access tokens are accepted (OAuth 2.1).
    pub(in crate::config) issuers: Option<Items<IssuerSection>>,
    /// Client certificates. They need `tls`.
    pub(in crate::config) certificates: Option<CertificatesSection>,
    /// The scopes that every access token needs. Clients are told to ask for them.
    pub(in crate::config) scopes: Option<Items<String>>,
    /// How many failed attempts to prove who calls may come from one address (IPv6: from one /64 block) within
    /// `failures_window_ms`. Further ones are refused unseen with 429.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::identity().failures.max))]
    pub(in crate::config) failures_max: Option<u32>,
    /// In what time so many failures are forgiven, in milliseconds.
    #[schemars(range(min = 1000, max = 86_400_000), extend("default" = defaults::ms(defaults::identity().failures.window)))]
    pub(in crate::config) failures_window_ms: Option<u64>,
    /// From how many addresses failures are counted at once. When full, the one that is forgiven next is forgotten.
    #[schemars(range(min = 16, max = 10_000_000), extend("default" = defaults::identity().failures.sources_max))]
    pub(in crate::config) failures_sources_max: Option<usize>,
    /// How many access tokens and certificates are remembered, so that they need not be verified again.
    #[schemars(range(min = 64, max = 10_000_000), extend("default" = defaults::identity().remembered_max))]
    pub(in crate::config) remembered_max: Option<usize>,
}

/// As whom callers come in who present nothing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<AnonymousSection>()))]
#[schemars(rename = "Anonymous")]
pub(in crate::config) struct AnonymousSection {
    /// Their tenant. Default: `default`.
    pub(in crate::config) tenant: Option<String>,
    /// The agent groups that they are in.
    pub(in crate::config) groups: Option<Items<String>>,
}

/// An API key, declared by its digest: `tollgate keys hash` prints it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<KeySection>()))]
#[schemars(rename = "Key")]
pub(in crate::config) struct KeySection {
    /// By what it is named in logs.
    #[schemars(length(min = 1, max = 64))]
    pub(in crate::config) id: Option<String>,
    /// The agent that calls with it.
    pub(in crate::config) agent: Option<String>,
    /// The agent's tenant. Default: `default`.
    pub(in crate::config) tenant: Option<String>,
    /// The agent's groups.
    pub(in crate::config) groups: Option<Items<String>>,
    /// The SHA-256 digest of the key, in hexadecimal.
    #[schemars(length(min = 64, max = 64))]
    pub(in crate::config) sha256: Option<String>,
    /// When it ends, as `2027-01-01T00:00:00Z`. Never if absent.
    pub(in crate::config) expires: Option<String>,
}

/// An authorization server.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<IssuerSection>()))]
#[schemars(rename = "Issuer")]
pub(in crate::config) struct IssuerSection {
    /// Its URL, to the letter as `iss` has it: `https`, or `http` on a loopback address.
    pub(in crate::config) issuer: Option<String>,
    /// Where its keys are. Default: what its metadata says (OpenID Connect Discovery, RFC 8414).
    pub(in crate::config) jwks_uri: Option<String>,
    /// Asks the server about tokens that are no JWT (RFC 7662). One issuer only: such a token does not say whose it is.
    pub(in crate::config) introspection: Option<IntrospectionSection>,
    /// What a token may be meant for (`aud`) beside the URL of the endpoint that it is presented to.
    pub(in crate::config) audiences: Option<Items<String>>,
    /// The signatures that are accepted. Default: all of them.
    pub(in crate::config) algorithms: Option<Items<AlgorithmSection>>,
    /// The values of `typ` that are accepted; `""` for a token without one. Default: `at+jwt`, `JWT` and `""`. ID tokens
    /// never are.
    pub(in crate::config) types: Option<Items<String>>,
    /// How far the server's clock may be off, in milliseconds.
    #[schemars(range(min = 0, max = 300_000), extend("default" = defaults::ms(defaults::issuer().clock_skew)))]
    pub(in crate::config) clock_skew_ms: Option<u64>,
    /// PEM file with the certificate authorities to trust instead of the platform's. Relative to this file.
    pub(in crate::config) ca_file: Option<String>,
    /// Lets the server be at a loopback or private address. Link-local addresses stay refused.
    #[schemars(extend("default" = false))]
    pub(in crate::config) allow_private_addresses: Option<bool>,
    /// The tenant whose callers its tokens name. Default: `default`; with `claims.tenant`, what that says.
    pub(in crate::config) tenant: Option<String>,
    /// What is put in front of its names of users, agents, groups and roles, as in `okta:`. Issuers that may name callers
    /// of one tenant need prefixes of which none begins with another, so that their users are never confused.
    #[schemars(length(max = 64))]
    pub(in crate::config) prefix: Option<String>,
    /// Where in a token everything stands.
    pub(in crate::config) claims: Option<ClaimsSection>,
    /// How long a request to the server may take, in milliseconds.
    #[schemars(range(min = 1, max = 60_000), extend("default" = defaults::ms(defaults::issuer().fetch.timeout)))]
    pub(in crate::config) timeout_ms: Option<u64>,
    /// The largest answer of the server, in bytes.
    #[schemars(range(min = 1024, max = 16_777_216), extend("default" = defaults::issuer().fetch.body_bytes_max))]
    pub(in crate::config) body_bytes_max: Option<usize>,
    /// The shortest time between two fetches of its keys, whatever keys tokens name, in milliseconds.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::ms(defaults::issuer().fetch.again_min)))]
    pub(in crate::config) keys_again_ms_min: Option<u64>,
    /// How long its keys are used before they are fetched again, if it does not say (`Cache-Control`), in milliseconds.
    #[schemars(range(min = 1000, max = 86_400_000), extend("default" = defaults::ms(defaults::issuer().fetch.fresh)))]
    pub(in crate::config) keys_fresh_ms: Option<u64>,
    /// The longest time that it may say, in milliseconds.
    #[schemars(range(min = 1000, max = 86_400_000), extend("default" = defaults::ms(defaults::issuer().fetch.fresh_max)))]
    pub(in crate::config) keys_fresh_ms_max: Option<u64>,
    /// How long after that its keys are used while it does not answer, in milliseconds.
    #[schemars(range(min = 0, max = 604_800_000), extend("default" = defaults::ms(defaults::issuer().fetch.stale_max)))]
    pub(in crate::config) keys_stale_ms_max: Option<u64>,
}

/// How an authorization server is asked about a token.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<IntrospectionSection>()))]
#[schemars(rename = "Introspection")]
pub(in crate::config) struct IntrospectionSection {
    /// Where. Default: what the server's metadata says.
    pub(in crate::config) url: Option<String>,
    /// As which client the gateway asks.
    pub(in crate::config) client_id: Option<String>,
    /// That client's secret.
    pub(in crate::config) client_secret: Option<Short<SecretSection>>,
    /// How long an answer is used, in milliseconds; never longer than the token lives. So long it may take until a token
    /// that was revoked at the server is refused.
    #[schemars(range(min = 0, max = 3_600_000), extend("default" = 60_000))]
    pub(in crate::config) cache_ms: Option<u64>,
}

/// Where in a token everything stands: a claim's name; names with dots between them for a claim within another
/// (`realm_access.roles`); a JSON Pointer for names that have dots themselves (`/resource_access/my.client/roles`); a URL for
/// a claim that is called so. Of several, the first that is there counts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ClaimsSection>()))]
#[schemars(rename = "Claims")]
pub(in crate::config) struct ClaimsSection {
    /// The user. A client that got the token for itself has none.
    #[schemars(extend("default" = "sub"))]
    pub(in crate::config) user: Option<Several>,
    /// The agent: the client that got the token.
    #[schemars(extend("default" = ["client_id", "azp"]))]
    pub(in crate::config) agent: Option<Several>,
    /// The user's groups: a text or a list.
    #[schemars(extend("default" = "groups"))]
    pub(in crate::config) groups: Option<Several>,
    /// The agent's groups.
    pub(in crate::config) agent_groups: Option<Several>,
    /// Roles.
    #[schemars(extend("default" = "roles"))]
    pub(in crate::config) roles: Option<Several>,
    /// The tenant. A token that names one that is not configured is refused.
    pub(in crate::config) tenant: Option<String>,
    /// Scopes: a list, or one text with spaces.
    #[schemars(extend("default" = ["scope", "scp"]))]
    pub(in crate::config) scopes: Option<Several>,
}

/// A signature that access tokens may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "Algorithm")]
pub(in crate::config) enum AlgorithmSection {
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "RS384")]
    Rs384,
    #[serde(rename = "RS512")]
    Rs512,
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "PS384")]
    Ps384,
    #[serde(rename = "PS512")]
    Ps512,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "ES384")]
    Es384,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// Client certificates: who vouches for them, and whom they stand for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<CertificatesSection>()))]
#[schemars(rename = "Certificates")]
pub(in crate::config) struct CertificatesSection {
    /// PEM file with the certificate authorities that vouch for clients. Read again when it changes. Relative to this file.
    pub(in crate::config) ca_file: Option<String>,
    /// Turns clients without a certificate away in the TLS handshake.
    #[schemars(extend("default" = false))]
    pub(in crate::config) required: Option<bool>,
    /// Whom certificates stand for. The first that fits counts; without one the certificate is nobody's.
    pub(in crate::config) map: Option<Items<CertificateSection>>,
}

/// Whom certificates of one kind stand for. Exactly one of `subject`, `dns`, `uri`, `email` and `spiffe` says which: its text
/// may have one `*` for any text without a separator (`/`, `.`, `@` or `,`), and so may `agent` and `user`, for the same text.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<CertificateSection>()))]
#[schemars(rename = "Certificate")]
pub(in crate::config) struct CertificateSection {
    /// The subject as RFC 4514 writes it, the most specific part first: `CN=support-bot,O=Example`.
    pub(in crate::config) subject: Option<String>,
    /// A DNS name: `*.agents.example.com`.
    pub(in crate::config) dns: Option<String>,
    /// A URI.
    pub(in crate::config) uri: Option<String>,
    /// An e-mail address.
    pub(in crate::config) email: Option<String>,
    /// The SPIFFE id: `spiffe://example.org/agent/*`.
    pub(in crate::config) spiffe: Option<String>,
    /// The agent.
    pub(in crate::config) agent: Option<String>,
    /// The user.
    pub(in crate::config) user: Option<String>,
    /// The tenant. Default: `default`.
    pub(in crate::config) tenant: Option<String>,
    /// The user's groups.
    pub(in crate::config) groups: Option<Items<String>>,
    /// The agent's groups.
    pub(in crate::config) agent_groups: Option<Items<String>>,
    /// Roles.
    pub(in crate::config) roles: Option<Items<String>>,
}
