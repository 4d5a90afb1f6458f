//! What an operator says of callers, as meant.

use tollgate_model::TenantId;

/// How callers are known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdentitySettings {
    /// The tenants that there are. A proof that names another is none.
    pub tenants: Vec<TenantId>,
}

impl IdentitySettings {
    /// Whether nothing is configured by which callers are known.
    pub fn is_off(&self) -> bool {
        true
    }
}
