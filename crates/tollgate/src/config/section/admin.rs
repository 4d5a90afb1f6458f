//! How people administer, as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::SecretSection;
use crate::config::forms::{Items, Several, Short, keys};
use crate::config::meaning::defaults;

/// How people administer: the console and the API of the admin listener. Without `sign_in` both are served on a loopback address
/// only; machines show admin keys (`tollgate admin-keys`).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<AdminSection>()))]
#[schemars(rename = "Admin")]
pub(in crate::config) struct AdminSection {
    /// The URL by which browsers know the admin listener: scheme and host, and a port if there is one. `https`, or `http` on a
    /// loopback address. Default: the address that is listened on.
    pub(in crate::config) public_url: Option<String>,
    /// How people sign in: OpenID Connect. The provider has to know `PUBLIC_URL/sign-in/callback` as a redirect URI.
    pub(in crate::config) sign_in: Option<SignInSection>,
    /// What people are who sign in. Somebody whom no rule names may nothing.
    pub(in crate::config) roles: Option<Items<RoleSection>>,
    /// How long a session lasts, in milliseconds.
    #[schemars(range(min = 60_000, max = 2_592_000_000_u64), extend("default" = defaults::ms(defaults::admin().session_max)))]
    pub(in crate::config) session_ms_max: Option<u64>,
    /// How long a session lasts that is not used, in milliseconds.
    #[schemars(range(min = 60_000, max = 2_592_000_000_u64), extend("default" = defaults::ms(defaults::admin().session_idle)))]
    pub(in crate::config) session_idle_ms: Option<u64>,
}

/// An identity provider by which people sign in to administer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<SignInSection>()))]
#[schemars(rename = "SignIn")]
pub(in crate::config) struct SignInSection {
    /// Its URL, to the letter as `iss` has it: `https`, or `http` on a loopback address.
    pub(in crate::config) issuer: Option<String>,
    /// As which client the gateway asks.
    pub(in crate::config) client_id: Option<String>,
    /// That client's secret. A public client has none: PKCE is used either way.
    pub(in crate::config) client_secret: Option<Short<SecretSection>>,
    /// What is asked for beside `openid`.
    #[schemars(extend("default" = ["profile", "email"]))]
    pub(in crate::config) scopes: Option<Items<String>>,
    /// The claim of the ID token that says who somebody is: what `roles` name as users, and what is on record. An `email` counts
    /// only if it is verified.
    #[schemars(extend("default" = "sub"))]
    pub(in crate::config) user: Option<Several>,
    /// The claim that says what they are called.
    #[schemars(extend("default" = ["name", "preferred_username", "email"]))]
    pub(in crate::config) name: Option<Several>,
    /// The claim that says in which groups they are.
    #[schemars(extend("default" = "groups"))]
    pub(in crate::config) groups: Option<Several>,
    /// PEM file with the certificate authorities to trust instead of the platform's. Relative to this file.
    pub(in crate::config) ca_file: Option<String>,
    /// Lets the provider be at a loopback or private address. Link-local addresses stay refused.
    #[schemars(extend("default" = false))]
    pub(in crate::config) allow_private_addresses: Option<bool>,
}

/// What some people are, and where.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<RoleSection>()))]
#[schemars(rename = "Role")]
pub(in crate::config) struct RoleSection {
    /// What they are: `admin`, `security`, `operator`, `server-owner`, `approver`, `auditor` or `viewer`; one or several.
    pub(in crate::config) role: Option<Several>,
    /// These people, as the claim `user` names them.
    pub(in crate::config) users: Option<Items<String>>,
    /// The people in these groups.
    pub(in crate::config) groups: Option<Items<String>>,
    /// The tenants in which they are. Default: all of them, and what is no tenant's.
    pub(in crate::config) tenants: Option<Items<String>>,
}
