//! Which client certificate stands for whom.

use std::sync::Arc;

use tollgate_model::TenantId;

/// A part of a certificate that a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertificatePart {
    /// The subject, as RFC 4514 writes it: `CN=support-bot,O=Example`.
    Subject,
    /// A DNS name.
    Dns,
    /// A URI.
    Uri,
    /// An e-mail address.
    Email,
    /// The SPIFFE id: the only URI of a certificate, `spiffe://…`.
    Spiffe,
}

/// What certificates of one kind stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRule {
    /// Where it looks.
    pub part: CertificatePart,
    /// What stands there; `*`, at most once, stands for any text that is not empty and has no separator.
    pub pattern: Arc<str>,
    /// Whose it is.
    pub tenant: TenantId,
    /// The agent; `*` stands for what the pattern's `*` stood for.
    pub agent: Option<Arc<str>>,
    /// The user, likewise.
    pub user: Option<Arc<str>>,
    /// The user's groups.
    pub groups: Vec<Arc<str>>,
    /// The agent's groups.
    pub agent_groups: Vec<Arc<str>>,
    /// Roles.
    pub roles: Vec<Arc<str>>,
}
