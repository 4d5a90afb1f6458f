//! Who is calling: API keys, access tokens, client certificates, or nobody known.
//!
//! [`Identity::authenticate`] takes what a request presents and gives a principal, or a refusal that says how to prove who
//! one is. Each way of proving it has its module; what all share is the order in [`Identity`], the memory of what was found
//! out before, and the bound on failed attempts.

mod algorithm;
mod certificate;
mod challenge;
mod claims;
mod discovery;
mod failure;
mod flights;
mod identity;
mod issuer;
mod json;
mod jwks;
mod jws;
pub mod key;
pub mod names;
mod presented;
mod seen;
mod settings;
mod sign_in;
mod telling;
mod throttle;
mod token;

pub use algorithm::Algorithm;
pub use certificate::{CertificatePart, CertificateRule};
pub use challenge::{METADATA_PATH, NotKnown, metadata_url};
pub use claims::{ClaimPath, ClaimSettings};
pub use identity::Identity;
pub use presented::Presented;
pub use settings::{
    AnonymousSettings, FailureSettings, FetchSettings, IdentitySettings, IntrospectionSettings,
    IssuerSettings, TenantSource,
};
pub use sign_in::{Ask, Person, SignIn, SignInError, SignInSettings};
