//! What servers that are registered at run time may be, as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::forms::{Items, keys};

/// What servers may be that are registered while the gateway runs (`tollgate servers`). Whoever registers one says where
/// requests go and with which credentials: what is not allowed here is not served.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<RegistrySection>()))]
#[schemars(rename = "Registry")]
pub(in crate::config) struct RegistrySection {
    /// Whether a registered server may have any `command`. It runs with the rights of the gateway: whoever registers and
    /// approves such a server can do on this machine whatever the gateway can.
    #[schemars(extend("default" = false))]
    pub(in crate::config) allow_stdio: Option<bool>,
    /// The command lines that registered servers may have where `allow_stdio` does not let them have any: the program and its
    /// arguments with one space between each, `*` for anything, such as `npx -y @acme/*`. They get no `cwd`, no `env_file`, and
    /// of environment variables only those that `credentials` names.
    pub(in crate::config) stdio_commands: Option<Items<String>>,
    /// Whether a registered server may be at an address of a private network, or on this machine. Link-local addresses are
    /// never allowed.
    #[schemars(extend("default" = false))]
    pub(in crate::config) allow_private: Option<bool>,
    /// The environment variables and files of this gateway that registered servers may name as their credentials, such as
    /// `CRM_TOKEN`, `CRM_*` or `/run/secrets/crm-*`; a file by its absolute path. Without it none. The gateway's own
    /// (`TOLLGATE_*`, `DATABASE_URL`, `REDIS_URL`) never are among them.
    pub(in crate::config) credentials: Option<Items<String>>,
    /// Whether whoever registered, edited or submitted a server may approve it too. It is on record as such. Without a word only
    /// where nobody signs in by a provider (`admin.sign_in`): there whoever is on this machine may, by the command line and by the
    /// link that `tollgate serve` shows, and nobody else.
    pub(in crate::config) self_approval: Option<bool>,
}
