//! The section `approvals`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::SecretSection;
use crate::config::forms::{Items, Keyed, Short, keys};
use crate::config::meaning::defaults;

/// How people are asked to approve calls: those that a policy permits with `@require_approval("GROUP")`. A grant is good for
/// exactly one call, once, for a while.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ApprovalsSection>()))]
#[schemars(rename = "Approvals")]
pub(in crate::config) struct ApprovalsSection {
    /// Who may approve for which group, each under the name that policies write. A group that is not here is the group of that
    /// name of whoever is signed in.
    pub(in crate::config) groups: Option<Keyed<ApprovalGroupSection>>,
    /// Groups of which people have to approve calls of tools that the configuration calls `destructive`
    /// (`servers.NAME.tools`), whatever policies say. It takes policies: without them nobody knows when a tool has changed.
    pub(in crate::config) destructive: Option<Items<String>>,
    /// How many different people of each group have to approve a call.
    #[schemars(range(min = 1, max = 32), extend("default" = defaults::approvals().people_min))]
    pub(in crate::config) approvers_min: Option<u32>,
    /// How long people may take, in milliseconds.
    #[schemars(range(min = 1000, max = 2_592_000_000_u64), extend("default" = defaults::ms(defaults::approvals().expiry)))]
    pub(in crate::config) expiry_ms: Option<u64>,
    /// How long a grant is good, in milliseconds: its call has to be made in this time.
    #[schemars(range(min = 1000, max = 604_800_000), extend("default" = defaults::ms(defaults::approvals().grant)))]
    pub(in crate::config) grant_ms: Option<u64>,
    /// How long a call is held for people before its client is told to come back, in milliseconds. Clients give up by
    /// themselves, many after a minute.
    #[schemars(range(max = 3_600_000), extend("default" = defaults::ms(defaults::approvals().wait)))]
    pub(in crate::config) wait_ms: Option<u64>,
    /// How many calls may be held at once, on their streams or as tasks. Clients of further ones are told to come back at once.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::approvals().held_max))]
    pub(in crate::config) held_max: Option<usize>,
    /// How many of them may be one caller's.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::approvals().held_per_principal_max))]
    pub(in crate::config) held_per_principal_max: Option<usize>,
    /// How many approvals of one caller may wait, or were given up within their time. Further calls that need one are refused.
    #[schemars(range(min = 1, max = 100_000), extend("default" = defaults::approvals().waiting_per_principal_max))]
    pub(in crate::config) waiting_per_principal_max: Option<usize>,
    /// How many approvals of one tenant may wait.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::approvals().waiting_per_tenant_max))]
    pub(in crate::config) waiting_per_tenant_max: Option<usize>,
    /// What is kept of a call's arguments, for those who are asked.
    #[schemars(extend("default" = "redacted"))]
    pub(in crate::config) arguments: Option<ApprovalArgumentsSection>,
    /// Where people see an approval: `https`, or `http` on a loopback address. `{id}` stands for its id. Clients that can show
    /// a URL to their users are given it.
    pub(in crate::config) url: Option<String>,
    /// Web servers that are told when an approval waits, by POST, as Standard Webhooks describe it. No call waits for them.
    pub(in crate::config) webhooks: Option<Items<ApprovalWebhookSection>>,
    /// The mail relay by which people are told, and who is.
    pub(in crate::config) smtp: Option<SmtpSection>,
}

/// Who may approve for a group: whoever is named, or in one of the groups, or has one of the roles.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ApprovalGroupSection>()))]
#[schemars(rename = "ApprovalGroup")]
pub(in crate::config) struct ApprovalGroupSection {
    /// People, as the gateway names users (`okta:ada`), or as `tollgate approvals --as` does.
    pub(in crate::config) users: Option<Items<String>>,
    /// Groups, as who signs people in names them.
    pub(in crate::config) groups: Option<Items<String>>,
    /// Roles.
    pub(in crate::config) roles: Option<Items<String>>,
    /// How many different people of it have to approve a call. Default: `approvals.approvers_min`.
    #[schemars(range(min = 1, max = 32))]
    pub(in crate::config) approvers_min: Option<u32>,
}

/// What is kept of arguments, beside their digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ApprovalArguments")]
pub(in crate::config) enum ApprovalArgumentsSection {
    /// Nothing.
    Digest,
    /// They are, without what looks like a secret or personal data.
    Redacted,
    /// They are, for those who may see them whole, until the call is made or denied.
    Whole,
}

/// A web server that is told when an approval waits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ApprovalWebhookSection>()))]
#[schemars(rename = "ApprovalWebhook")]
pub(in crate::config) struct ApprovalWebhookSection {
    /// Where: `https`, or `http` on a loopback address.
    pub(in crate::config) url: Option<String>,
    /// The key of its signatures, at least 16 bytes.
    pub(in crate::config) secret: Option<Short<SecretSection>>,
    /// What is posted: an object for programs, or a message as Slack and its like take it.
    #[schemars(extend("default" = "generic"))]
    pub(in crate::config) body: Option<ApprovalBodySection>,
    /// Of which tenant's calls. Default: every tenant's.
    pub(in crate::config) tenant: Option<String>,
    /// Whether it is told the arguments, as far as they are kept without what is private.
    #[schemars(extend("default" = true))]
    pub(in crate::config) arguments: Option<bool>,
    /// Whether it may be at a private or loopback address.
    #[schemars(extend("default" = false))]
    pub(in crate::config) allow_private_addresses: Option<bool>,
    /// PEM file with the certificate authorities to trust instead of the platform's. Relative to this file.
    pub(in crate::config) ca_file: Option<String>,
}

/// What is posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ApprovalBody")]
pub(in crate::config) enum ApprovalBodySection {
    /// An object for programs.
    Generic,
    /// A message as Slack takes it.
    Slack,
}

/// A mail relay.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<SmtpSection>()))]
#[schemars(rename = "Smtp")]
pub(in crate::config) struct SmtpSection {
    /// Its name or address.
    pub(in crate::config) host: Option<String>,
    /// Its port. Default: 465 with `tls`, 587 with `starttls`, 25 with `none`.
    #[schemars(range(min = 1, max = 65_535))]
    pub(in crate::config) port: Option<u16>,
    /// How the way there is protected.
    #[schemars(extend("default" = "tls"))]
    pub(in crate::config) security: Option<SmtpSecuritySection>,
    /// As whom the gateway signs in there, with `password`.
    pub(in crate::config) user: Option<String>,
    /// The password of `user`. It is never sent unprotected.
    pub(in crate::config) password: Option<Short<SecretSection>>,
    /// PEM file with certificate authorities to trust beside the platform's. Relative to this file.
    pub(in crate::config) ca_file: Option<String>,
    /// Whose mail it is: an address, with a name if there is one (`Tollgate <gate@example.com>`).
    pub(in crate::config) from: Option<String>,
    /// Who gets it.
    pub(in crate::config) to: Option<Items<String>>,
    /// Of which tenant's calls. Default: every tenant's.
    pub(in crate::config) tenant: Option<String>,
    /// Whether the arguments stand in it, as far as they are kept without what is private.
    #[schemars(extend("default" = false))]
    pub(in crate::config) arguments: Option<bool>,
}

/// How the way to a mail relay is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SmtpSecurity")]
pub(in crate::config) enum SmtpSecuritySection {
    /// TLS from the beginning.
    Tls,
    /// TLS after STARTTLS; without it nothing is sent.
    Starttls,
    /// Not at all.
    None,
}
