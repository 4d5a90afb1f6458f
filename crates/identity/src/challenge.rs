//! What a refusal tells a client about how to prove who it is: `WWW-Authenticate` (RFC 6750, section 3; RFC 9728, section
//! 5.1) and the protected resource metadata (RFC 9728, section 2).

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tollgate_model::Refusal;

use crate::failure::{Failure, Why};
use crate::names::is_scope;
use crate::settings::IdentitySettings;

/// Under which path the metadata of a resource is served, in front of the resource's own path.
pub const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

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

/// The address of a resource's metadata: the well-known path is put between host and path (RFC 9728, section 3.1).
pub fn metadata_url(resource: &str) -> String {
    let host = resource.find("://").map_or(0, |at| at + 3);
    let path = resource[host..].find('/').map_or(resource.len(), |at| host + at);
    let (origin, path) = resource.split_at(path);
    format!("{origin}{METADATA_PATH}{}", if path == "/" { "" } else { path })
}

/// The metadata of a resource; none if there is no issuer to name.
pub(crate) fn metadata(settings: &IdentitySettings, resource: &str) -> Option<Bytes> {
    if settings.issuers.is_empty() {
        return None;
    }
    let issuers: Vec<&str> = settings.issuers.iter().map(|issuer| &*issuer.issuer).collect();
    let mut document = json!({
        "resource": resource,
        "authorization_servers": issuers,
        "bearer_methods_supported": ["header"],
    });
    if !settings.scopes.is_empty() {
        document["scopes_supported"] = settings.scopes.iter().map(|scope| &**scope).collect();
    }
    Some(Bytes::from(document.to_string()))
}

/// What a failure means for the response.
pub(crate) fn not_known(
    settings: &IdentitySettings,
    resource: &str,
    failure: &Failure,
    retry_after_s: Option<u64>,
) -> NotKnown {
    let error = match failure.why {
        // Nothing is said of errors to a client that has presented nothing (RFC 6750, section 3.1).
        Why::Nothing => None,
        Why::Scope => Some("insufficient_scope"),
        Why::Throttled | Why::IssuerAway | Why::StoreAway => {
            return NotKnown { refusal: failure.refusal(), challenge: None, retry_after_s };
        }
        // Also of what is malformed: `invalid_token` makes clients get another, `invalid_request` need not.
        _ => Some("invalid_token"),
    };
    let challenge = challenge(settings, resource, &settings.scopes, error, failure.why.public());
    NotKnown { refusal: failure.refusal(), challenge: Some(challenge), retry_after_s }
}

/// The challenge to a caller who was let in, and whose proof was taken back before there was an answer.
pub(crate) fn taken_back(settings: &IdentitySettings, resource: &str) -> String {
    challenge(settings, resource, &settings.scopes, Some("invalid_token"), Why::Revoked.public())
}

/// The refusal of an operation for which a token was not granted. It names every scope that the operation needs, since a
/// client asks for what it reads here.
pub(crate) fn insufficient_scope(
    settings: &IdentitySettings,
    resource: &str,
    needed: &[Arc<str>],
) -> NotKnown {
    let mut scopes = settings.scopes.clone();
    scopes.extend(needed.iter().filter(|scope| !settings.scopes.contains(scope)).cloned());
    let text = "the access token was not granted for this";
    let challenge = challenge(settings, resource, &scopes, Some("insufficient_scope"), text);
    let refusal =
        Refusal::new(tollgate_model::Stage::Identity, tollgate_model::Code::InsufficientScope, text);
    NotKnown { refusal, challenge: Some(challenge), retry_after_s: None }
}

fn challenge(
    settings: &IdentitySettings,
    resource: &str,
    scopes: &[Arc<str>],
    error: Option<&str>,
    description: &str,
) -> String {
    let mut parts = Vec::with_capacity(4);
    if !settings.issuers.is_empty() {
        parts.push(("resource_metadata", metadata_url(resource)));
        let scopes: Vec<&str> = scopes.iter().map(|scope| &**scope).filter(|scope| is_scope(scope)).collect();
        if !scopes.is_empty() {
            parts.push(("scope", scopes.join(" ")));
        }
    }
    if let Some(error) = error {
        parts.push(("error", error.to_owned()));
        parts.push(("error_description", described(description)));
    }
    if parts.is_empty() {
        // The scheme needs at least one parameter.
        parts.push(("realm", "tollgate".to_owned()));
    }
    let parts: Vec<String> = parts.into_iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("Bearer {}", parts.join(", "))
}

/// A text as `error_description` may have it: printable ASCII without quotes and backslashes.
fn described(text: &str) -> String {
    text.replace('…', "...").chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::IssuerSettings;

    fn settings() -> IdentitySettings {
        IdentitySettings {
            configured: true,
            issuers: vec![IssuerSettings::new("https://idp.example")],
            scopes: vec![Arc::from("mcp")],
            ..IdentitySettings::default()
        }
    }

    #[test]
    fn metadata_stands_between_host_and_path() {
        let base = "https://a.example/.well-known/oauth-protected-resource";
        assert_eq!(metadata_url("https://a.example/mcp"), format!("{base}/mcp"));
        assert_eq!(metadata_url("https://a.example/tools/mcp/files"), format!("{base}/tools/mcp/files"));
        assert_eq!(metadata_url("https://a.example"), base);
        assert_eq!(metadata_url("https://a.example/"), base);
        let local = "http://127.0.0.1:80/.well-known/oauth-protected-resource/mcp";
        assert_eq!(metadata_url("http://127.0.0.1:80/mcp"), local);
    }

    #[test]
    fn a_challenge_says_where_to_go() {
        let resource = "https://a.example/mcp";
        let nothing = not_known(&settings(), resource, &Failure::new(Why::Nothing), None);
        let expected = "Bearer resource_metadata=\"https://a.example/.well-known/oauth-protected-resource/mcp\", scope=\"mcp\"";
        assert_eq!(nothing.challenge.as_deref(), Some(expected));
        let expired = not_known(&settings(), resource, &Failure::new(Why::Expired), None);
        let expected = format!(
            "{expected}, error=\"invalid_token\", error_description=\"the access token has expired\""
        );
        assert_eq!(expired.challenge, Some(expected));
        let away = not_known(&settings(), resource, &Failure::new(Why::IssuerAway), None);
        assert_eq!(away.challenge, None);
    }

    #[test]
    fn who_was_let_in_before_is_told_where_to_go_too() {
        let told = taken_back(&settings(), "https://a.example/mcp");
        let where_to = "resource_metadata=\"https://a.example/.well-known/oauth-protected-resource/mcp\"";
        assert!(told.contains(where_to) && told.contains("error=\"invalid_token\""), "{told}");
    }

    #[test]
    fn every_scope_that_is_needed_is_named_once() {
        let needed = [Arc::from("files.write"), Arc::from("mcp")];
        let refused = insufficient_scope(&settings(), "https://a.example/mcp", &needed);
        let challenge = refused.challenge.expect("a challenge");
        assert!(challenge.contains("scope=\"mcp files.write\", error=\"insufficient_scope\""), "{challenge}");
    }

    #[test]
    fn without_an_issuer_there_is_nowhere_to_go() {
        let settings = IdentitySettings { configured: true, ..IdentitySettings::default() };
        assert_eq!(metadata(&settings, "https://a.example/mcp"), None);
        let nothing = not_known(&settings, "https://a.example/mcp", &Failure::new(Why::Nothing), None);
        assert_eq!(nothing.challenge.as_deref(), Some("Bearer realm=\"tollgate\""));
    }

    #[test]
    fn every_reason_fits_into_a_header() {
        for why in Why::ALL {
            let known = not_known(&settings(), "https://a.example/mcp", &Failure::new(why), None);
            let challenge = known.challenge.unwrap_or_default();
            assert!(http::HeaderValue::from_str(&challenge).is_ok() && challenge.is_ascii(), "{challenge}");
        }
    }
}
