//! How people sign in to administer: OpenID Connect's authorization code, with PKCE (RFC 7636), `state` and `nonce`.
//!
//! Whoever uses this keeps what binds the two halves to one browser: [`SignIn::begin`] gives the address to send it to, and
//! [`SignIn::finish`] changes what it brings back into who they are.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde_json::Value;
use tollgate_model::{Clock, Secret, SystemClock};
use url::Url;

use crate::claims::ClaimPath;
use crate::failure::{Failure, Why};
use crate::issuer::Issuer;
use crate::json;
use crate::jws::Jws;
use crate::names;
use crate::settings::IssuerSettings;
use crate::token::{Claims, Judge, first, named, refuse_left_out};

/// How people sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInSettings {
    /// The provider. Of its claims `user` and `groups` count.
    pub issuer: IssuerSettings,
    /// As which client the gateway asks.
    pub client_id: String,
    /// That client's secret; a public client has none.
    pub client_secret: Option<Secret>,
    /// What is asked for, beside `openid`.
    pub scopes: Vec<Arc<str>>,
    /// Where it stands what people are called.
    pub name: Vec<ClaimPath>,
}

impl SignInSettings {
    /// A client of a provider of which only the name is known.
    pub fn new(issuer: &str, client_id: &str) -> Self {
        Self {
            issuer: IssuerSettings::new(issuer),
            client_id: client_id.to_owned(),
            client_secret: None,
            scopes: ["profile", "email"].into_iter().map(Arc::from).collect(),
            name: ["name", "preferred_username", "email"].into_iter().map(ClaimPath::top).collect(),
        }
    }
}

/// What a browser is sent to the provider with.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Where it is to come back to.
    pub redirect_uri: &'a str,
    /// What it is to bring back.
    pub state: &'a str,
    /// What the token is to hold.
    pub nonce: &'a str,
    /// The SHA-256 digest of what is shown with the code, in base64url.
    pub challenge: &'a str,
}

/// Who has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Whose word it is.
    pub issuer: Arc<str>,
    /// Who they are there.
    pub subject: Arc<str>,
    /// What they are called.
    pub name: Arc<str>,
    /// Their groups, in order, each once.
    pub groups: Vec<Arc<str>>,
}

/// Why nobody is signed in. What it says is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// The provider cannot be asked.
    #[error("the provider cannot be asked: {0}")]
    Away(String),
    /// What was brought back proves nothing.
    #[error("what the browser brought back is not accepted: {0}")]
    Refused(String),
}

/// Signs people in. Cheap to clone.
#[derive(Clone)]
pub struct SignIn {
    settings: Arc<SignInSettings>,
    issuer: Arc<Issuer>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn").field("issuer", &self.settings.issuer.issuer).finish_non_exhaustive()
    }
}

impl SignIn {
    /// By a provider. Nothing is asked yet.
    pub fn new(settings: SignInSettings) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let issuer = Issuer::new(settings.issuer.clone(), Arc::clone(&clock), Arc::new(AtomicU64::new(0)));
        Self { settings: Arc::new(settings), issuer, clock }
    }

    /// How.
    pub fn settings(&self) -> &SignInSettings {
        &self.settings
    }

    /// The address to send a browser to.
    ///
    /// # Errors
    /// [`SignInError::Away`].
    pub async fn begin(&self, ask: &Ask<'_>) -> Result<Url, SignInError> {
        let metadata = self.issuer.metadata().await.map_err(SignInError::Away)?;
        let missing = || SignInError::Away("its metadata names no `authorization_endpoint`".to_owned());
        let mut url = metadata.authorization.clone().ok_or_else(missing)?;
        let scopes = self.settings.scopes.iter().map(|scope| &**scope);
        let scope = std::iter::once("openid").chain(scopes).collect::<Vec<_>>().join(" ");
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", ask.redirect_uri)
            .append_pair("scope", &scope)
            .append_pair("state", ask.state)
            .append_pair("nonce", ask.nonce)
            .append_pair("code_challenge", ask.challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// Who they are, by what the browser brought back. `verifier` is that of which [`Ask::challenge`] was the digest.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn finish(
        &self,
        code: &str,
        verifier: &str,
        nonce: &str,
        redirect_uri: &str,
    ) -> Result<Person, SignInError> {
        let away = SignInError::Away;
        let metadata = self.issuer.metadata().await.map_err(away)?;
        let missing = || SignInError::Away("its metadata names no `token_endpoint`".to_owned());
        let url = metadata.token.as_ref().ok_or_else(missing)?;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        // RFC 6749, section 2.3.1: both are encoded before they are put together.
        let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let (client, secret) = (encoded(&self.settings.client_id), self.settings.client_secret.as_ref());
        let secret = secret.map(|secret| Secret::new(encoded(secret.expose())));
        if secret.is_none() {
            form.push(("client_id", &self.settings.client_id));
        }
        let basic = secret.as_ref().map(|secret| (&*client, secret));
        let egress = self.issuer.egress().map_err(away)?;
        let answer = egress.post_form(url, &form, basic).await.map_err(|error| match error {
            // The code is wrong, was used before, or is another client's.
            tollgate_egress::EgressError::Status { status: 400..=499, .. } => {
                SignInError::Refused(error.to_string())
            }
            error => SignInError::Away(error.to_string()),
        })?;
        let refused = |why: &str| SignInError::Refused(why.to_owned());
        let answer = json::object(&answer.body).ok_or_else(|| refused("the answer is no JSON object"))?;
        let token = answer.get("id_token").and_then(Value::as_str);
        let token = token.ok_or_else(|| refused("there is no `id_token` in the answer"))?;
        let (mut person, claims) = self.person(token, nonce).await?;
        let shown = answer.get("access_token").and_then(Value::as_str);
        if let (Some(url), Some(shown)) = (&metadata.user_info, shown)
            && first(&claims, &self.settings.issuer.claims.groups).is_none()
        {
            let told = egress.get_bearing(url, &Secret::new(shown.to_owned())).await;
            match told {
                Ok(told) => person.groups = self.told_groups(&claims, &told.body)?,
                // They are who they are; what they may as members of groups, they may not.
                Err(error) => {
                    tracing::warn!(%error, "the provider does not say in which groups somebody is who signs in");
                }
            }
        }
        Ok(person)
    }

    /// Their groups, where the ID token does not say them (OpenID Connect Core, section 5.3.2): only if what is said is said of
    /// the very person of the ID token.
    fn told_groups(&self, claims: &Claims, told: &[u8]) -> Result<Vec<Arc<str>>, SignInError> {
        let refused = |why: &str| SignInError::Refused(why.to_owned());
        let told = json::object(told).ok_or_else(|| refused("what it says of the user is no JSON object"))?;
        let subject = claims.get("sub").and_then(Value::as_str);
        if subject.is_none() || told.get("sub").and_then(Value::as_str) != subject {
            return Err(refused("what it says of the user is said of somebody else"));
        }
        let places = &self.settings.issuer.claims.groups;
        refuse_left_out(&told, places).map_err(|failure| said(&failure))?;
        named(&told, places, "", "groups", false).map_err(|failure| said(&failure))
    }

    /// Who an ID token says they are, if it is one (OpenID Connect Core, section 3.1.3.7), and all that it says.
    async fn person(&self, token: &str, nonce: &str) -> Result<(Person, Claims), SignInError> {
        let wrong = |failure: Failure| said(&failure);
        let refused = |why: &str| SignInError::Refused(why.to_owned());
        let token = Jws::read(token).ok_or_else(|| refused("the ID token is not signed"))?.map_err(wrong)?;
        let settings = &self.settings.issuer;
        if token.issuer() != Some(&settings.issuer) {
            return Err(refused("the ID token is another issuer's"));
        }
        let algorithm = token.algorithm(&settings.algorithms).map_err(wrong)?;
        let (keys, _) = self.issuer.keys(token.kid.as_deref()).await.map_err(wrong)?;
        keys.verify(&token, algorithm).map_err(wrong)?;
        let claims = &token.claims;
        let now = self.clock.now();
        let judge =
            Judge { issuer: settings, resource: "", tenants: &[], scopes: &[], certificate: None, now };
        judge.time(claims).map_err(wrong)?;
        if !is_for(claims, &self.settings.client_id) {
            return Err(refused("the ID token is meant for another client"));
        }
        let said = claims.get("nonce").and_then(Value::as_str).unwrap_or_default();
        if said.is_empty() || !bool::from(subtle::ConstantTimeEq::ct_eq(said.as_bytes(), nonce.as_bytes())) {
            return Err(refused("the ID token was made for another sign-in"));
        }
        let person = self.named(claims).map_err(wrong)?;
        Ok((person, token.claims))
    }

    fn named(&self, claims: &Claims) -> Result<Person, Failure> {
        let settings = &self.settings.issuer;
        let wrong = |what: &str| Failure::with(Why::Claims, what);
        let (place, user) = first(claims, &settings.claims.user).ok_or_else(|| wrong("it names no user"))?;
        if place.is("email") && claims.get("email_verified") != Some(&Value::Bool(true)) {
            return Err(wrong("the user is named by an e-mail address that is not verified"));
        }
        let user = user.as_str().ok_or_else(|| wrong("the user is no text"))?;
        names::check_caller(user).map_err(|bad| wrong(&bad.to_string()))?;
        refuse_left_out(claims, &settings.claims.groups)?;
        let groups = named(claims, &settings.claims.groups, "", "groups", false)?;
        let called = first(claims, &self.settings.name).and_then(|(_, name)| name.as_str());
        let called = called.filter(|name| names::check(name).is_ok()).unwrap_or(user);
        let issuer = Arc::clone(&settings.issuer);
        Ok(Person { issuer, subject: Arc::from(user), name: Arc::from(called), groups })
    }
}

/// A failure, as the log has it.
fn said(failure: &Failure) -> SignInError {
    let text = match &failure.detail {
        None => failure.why.word().to_owned(),
        Some(detail) => format!("{}: {detail}", failure.why.word()),
    };
    if failure.why == Why::IssuerAway { SignInError::Away(text) } else { SignInError::Refused(text) }
}

/// Whether an ID token is meant for this client, and was given to no other.
fn is_for(claims: &Claims, client: &str) -> bool {
    let is_meant = match claims.get("aud") {
        Some(Value::String(one)) => one == client,
        Some(Value::Array(several)) => {
            several.iter().any(|one| one == client) && (several.len() == 1 || claims.contains_key("azp"))
        }
        _ => false,
    };
    is_meant && claims.get("azp").is_none_or(|given| given == client)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(value: Value) -> Claims {
        match value {
            Value::Object(claims) => claims,
            _ => Claims::new(),
        }
    }

    #[test]
    fn an_id_token_is_for_the_client_that_it_names_alone() {
        for (value, expected) in [
            (json!({ "aud": "desk" }), true),
            (json!({ "aud": ["desk"] }), true),
            (json!({ "aud": ["desk", "other"], "azp": "desk" }), true),
            (json!({ "aud": ["desk", "other"] }), false),
            (json!({ "aud": ["desk", "other"], "azp": "other" }), false),
            (json!({ "aud": "desk", "azp": "other" }), false),
            (json!({ "aud": "other", "azp": "desk" }), false),
            (json!({}), false),
        ] {
            assert_eq!(is_for(&claims(value.clone()), "desk"), expected, "{value}");
        }
    }

    #[test]
    fn groups_are_taken_from_what_is_said_of_the_same_person_only() {
        let sign_in = SignIn::new(SignInSettings::new("https://idp.example", "desk"));
        let id = claims(json!({ "sub": "7" }));
        let told = |value: Value| sign_in.told_groups(&id, value.to_string().as_bytes());
        let groups = told(json!({ "sub": "7", "groups": ["ops", "dev", "ops"] })).expect("of this person");
        assert_eq!(groups, [Arc::from("dev"), Arc::from("ops")]);
        assert_eq!(told(json!({ "sub": "7" })), Ok(Vec::new()));
        for other in [
            json!({ "sub": "8", "groups": ["ops"] }),
            json!({ "groups": ["ops"] }),
            json!({ "sub": 7, "groups": ["ops"] }),
            json!({ "sub": "7", "groups": [1] }),
            json!(["ops"]),
        ] {
            assert!(told(other.clone()).is_err(), "{other}");
        }
        let nobody = sign_in.told_groups(&claims(json!({})), br#"{"groups":["ops"]}"#);
        assert!(nobody.is_err(), "a person without a name");
    }

    #[test]
    fn people_are_named_by_what_the_settings_say() {
        let mut settings = SignInSettings::new("https://idp.example", "desk");
        let named =
            |settings: &SignInSettings, value: Value| SignIn::new(settings.clone()).named(&claims(value));
        let ada = named(&settings, json!({ "sub": "7", "name": "Ada", "groups": ["ops", "dev", "ops"] }));
        let ada = ada.expect("a person");
        assert_eq!((&*ada.subject, &*ada.name), ("7", "Ada"));
        assert_eq!(ada.groups, [Arc::from("dev"), Arc::from("ops")]);
        assert_eq!(&*named(&settings, json!({ "sub": "7" })).expect("a person").name, "7");
        assert!(named(&settings, json!({ "name": "Ada" })).is_err(), "nobody");
        settings.issuer.claims.user = vec![ClaimPath::top("email")];
        let by_mail = json!({ "sub": "7", "email": "ada@example.com" });
        assert!(named(&settings, by_mail).is_err(), "not verified");
        let verified = json!({ "sub": "7", "email": "ada@example.com", "email_verified": true });
        assert_eq!(&*named(&settings, verified).expect("a person").subject, "ada@example.com");
    }
}
