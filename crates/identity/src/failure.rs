//! Why a caller is not known, in a word for metrics, a text for the caller and one for the log.

use std::sync::Arc;

use tollgate_model::{Code, Refusal, Stage};

/// Why a caller is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Why {
    /// Nothing was presented.
    Nothing,
    /// More than one credential.
    SeveralCredentials,
    /// Another scheme than `Bearer`.
    Scheme,
    /// It is neither key nor token.
    Malformed,
    /// A key that is not known, or not any more.
    UnknownKey,
    /// A token of an issuer that is not configured.
    UnknownIssuer,
    /// An opaque token, and nobody to ask about it.
    Opaque,
    /// An algorithm that is not allowed, or does not fit the key.
    Algorithm,
    /// No key of the issuer has this `kid`.
    UnknownKid,
    /// The signature is wrong.
    Signature,
    /// Another kind of token, such as an ID token.
    Type,
    /// Meant for another address.
    Audience,
    /// It has ended.
    Expired,
    /// It has not begun.
    NotYet,
    /// The issuer says that it is not active.
    Inactive,
    /// It was taken back.
    Revoked,
    /// What it says of the caller cannot be used.
    Claims,
    /// It names a tenant that is not configured.
    Tenant,
    /// It is bound to a key or certificate that was not shown.
    Binding,
    /// It was not granted for what every request needs.
    Scope,
    /// A certificate for which no rule stands.
    UnknownCertificate,
    /// Too many failures came from this address.
    Throttled,
    /// The issuer cannot be asked.
    IssuerAway,
    /// The stored state is not known, or too old.
    StoreAway,
}

impl Why {
    /// Every reason.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 24] = [
        Self::Nothing,
        Self::SeveralCredentials,
        Self::Scheme,
        Self::Malformed,
        Self::UnknownKey,
        Self::UnknownIssuer,
        Self::Opaque,
        Self::Algorithm,
        Self::UnknownKid,
        Self::Signature,
        Self::Type,
        Self::Audience,
        Self::Expired,
        Self::NotYet,
        Self::Inactive,
        Self::Revoked,
        Self::Claims,
        Self::Tenant,
        Self::Binding,
        Self::Scope,
        Self::UnknownCertificate,
        Self::Throttled,
        Self::IssuerAway,
        Self::StoreAway,
    ];

    /// For metrics and logs.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Nothing => "nothing_presented",
            Self::SeveralCredentials => "several_credentials",
            Self::Scheme => "scheme",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Opaque => "opaque_token",
            Self::Algorithm => "algorithm",
            Self::UnknownKid => "unknown_kid",
            Self::Signature => "signature",
            Self::Type => "type",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYet => "not_yet_valid",
            Self::Inactive => "inactive",
            Self::Revoked => "revoked",
            Self::Claims => "claims",
            Self::Tenant => "tenant",
            Self::Binding => "binding",
            Self::Scope => "scope",
            Self::UnknownCertificate => "unknown_certificate",
            Self::Throttled => "throttled",
            Self::IssuerAway => "issuer_away",
            Self::StoreAway => "store_away",
        }
    }

    /// What the caller may read. It says what the holder of a good credential has to do, and nothing of what is
    /// configured: which issuers, keys or tenants there are.
    pub(crate) const fn public(self) -> &'static str {
        match self {
            Self::Nothing => "an API key or access token is needed: `Authorization: Bearer …`",
            Self::SeveralCredentials => "more than one `Authorization` header",
            Self::Scheme => "`Authorization` has to be `Bearer` and an API key or access token",
            Self::UnknownKey => "the API key is not known, or not any more",
            Self::Expired => "the access token has expired",
            Self::NotYet => "the access token is not valid yet",
            Self::Audience => "the access token is meant for another address",
            Self::Scope => "the access token was not granted for what every request needs",
            Self::UnknownCertificate => "the certificate is not known",
            Self::Throttled => "too many failed attempts from this address",
            Self::IssuerAway => "who calls cannot be found out: the authorization server does not answer",
            Self::StoreAway => "who calls cannot be found out: the stored state is not to be had",
            _ => "the credential is not valid here",
        }
    }

    const fn code(self) -> Code {
        match self {
            Self::Scope => Code::InsufficientScope,
            Self::Throttled => Code::TooManyFailures,
            Self::IssuerAway | Self::StoreAway => Code::IdentityUnavailable,
            _ => Code::Unauthenticated,
        }
    }

    /// Whether it counts as a failed attempt. What the holder of a credential that is genuine could not help does not:
    /// a token that has just ended, or a gateway that cannot find out.
    pub(crate) const fn counts(self) -> bool {
        !matches!(
            self,
            Self::Nothing
                | Self::Expired
                | Self::NotYet
                | Self::Scope
                | Self::Throttled
                | Self::IssuerAway
                | Self::StoreAway
        )
    }
}

/// Why a caller is not known, with what the operator may read of it.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// The reason.
    pub(crate) why: Why,
    /// More of it for the log; never the credential.
    pub(crate) detail: Option<String>,
    /// The issuer whose token it was.
    pub(crate) issuer: Option<Arc<str>>,
}

impl Failure {
    /// A failure of which there is no more to say.
    pub(crate) fn new(why: Why) -> Self {
        Self { why, detail: None, issuer: None }
    }

    /// A failure with more for the log.
    pub(crate) fn with(why: Why, detail: impl Into<String>) -> Self {
        Self { why, detail: Some(detail.into()), issuer: None }
    }

    /// A failure with a token of this issuer.
    pub(crate) fn of(self, issuer: &Arc<str>) -> Self {
        Self { issuer: Some(Arc::clone(issuer)), ..self }
    }

    /// As the proxy answers it.
    pub(crate) fn refusal(&self) -> Refusal {
        let refusal = Refusal::new(Stage::Identity, self.why.code(), self.why.public());
        refusal.because(match &self.detail {
            Some(detail) => format!("{}: {detail}", self.why.word()),
            None => self.why.word().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_word_and_a_place() {
        for (nth, why) in Why::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, nth, "{why:?}");
        }
    }
}
