//! What an authorization server says of itself (OpenID Connect Discovery 1.0; RFC 8414).

use serde_json::Value;
use tollgate_egress::Egress;
use url::Url;

use crate::json;
use crate::settings::IssuerSettings;

/// What of it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// Where its keys are.
    pub(crate) jwks_uri: Option<Url>,
    /// Where it is asked about tokens.
    pub(crate) introspection: Option<Url>,
    /// Where people sign in.
    pub(crate) authorization: Option<Url>,
    /// Where what they bring from there is changed into tokens.
    pub(crate) token: Option<Url>,
    /// Where it says who they are, to whoever shows the token that came with it.
    pub(crate) user_info: Option<Url>,
}

/// Asks at the well-known addresses, one after the other, until one answers with metadata of this very issuer.
pub(crate) async fn discover(egress: &Egress, settings: &IssuerSettings) -> Result<Metadata, String> {
    let issuer = Url::parse(&settings.issuer).map_err(|error| error.to_string())?;
    let mut problems = Vec::new();
    for url in addresses(&issuer) {
        let read = match egress.get(&url).await {
            Ok(answer) => read(&answer.body, &settings.issuer),
            Err(error) => {
                problems.push(error.to_string());
                continue;
            }
        };
        match read {
            Ok(metadata) => return Ok(metadata),
            Err(problem) => problems.push(format!("{url}: {problem}")),
        }
    }
    Err(problems.join("; "))
}

/// The addresses at which metadata may be: RFC 8414 puts its path between host and path, OpenID Connect behind the path, and
/// some do with the one what belongs to the other.
fn addresses(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let mut paths = vec![
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        paths.push(format!("{path}/.well-known/openid-configuration"));
    }
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    paths.into_iter().map(at).collect()
}

/// Metadata, if it is this issuer's: the name is compared to the letter (RFC 8414, section 3.3), since another server's
/// metadata would bring another server's keys.
fn read(body: &[u8], issuer: &str) -> Result<Metadata, String> {
    let document = json::object(body).ok_or("no JSON object")?;
    match document.get("issuer").and_then(Value::as_str) {
        Some(named) if named == issuer => {}
        Some(_) => return Err("it names another issuer".to_owned()),
        None => return Err("it names no issuer".to_owned()),
    }
    let url = |name: &str| match document.get(name) {
        None => Ok(None),
        Some(value) => {
            let url = value.as_str().and_then(|text| Url::parse(text).ok());
            url.map(Some).ok_or_else(|| format!("`{name}` is no URL"))
        }
    };
    Ok(Metadata {
        jwks_uri: url("jwks_uri")?,
        introspection: url("introspection_endpoint")?,
        authorization: url("authorization_endpoint")?,
        token: url("token_endpoint")?,
        user_info: url("userinfo_endpoint")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_where_it_may_be() {
        let at = |issuer: &str| {
            let urls = addresses(&Url::parse(issuer).expect("a URL"));
            urls.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            at("https://idp.example"),
            [
                "https://idp.example/.well-known/oauth-authorization-server",
                "https://idp.example/.well-known/openid-configuration",
            ]
        );
        assert_eq!(
            at("https://idp.example/realms/a/"),
            [
                "https://idp.example/.well-known/oauth-authorization-server/realms/a",
                "https://idp.example/.well-known/openid-configuration/realms/a",
                "https://idp.example/realms/a/.well-known/openid-configuration",
            ]
        );
    }

    #[test]
    fn metadata_of_another_issuer_is_none() {
        let read = |body: &str| read(body.as_bytes(), "https://idp.example/");
        assert!(read(r#"{"issuer":"https://idp.example/","jwks_uri":"https://x.example/k"}"#).is_ok());
        for other in ["https://idp.example", "https://IDP.example/", "https://idp.example/x"] {
            assert!(read(&format!(r#"{{"issuer":"{other}"}}"#)).is_err(), "{other}");
        }
        assert!(read("{}").is_err());
        assert!(read(r#"{"issuer":"https://idp.example/","jwks_uri":7}"#).is_err());
    }
}
