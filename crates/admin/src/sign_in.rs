//! The ways in, and the way out.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{HeaderMap, HeaderValue, SET_COOKIE};
use http::{StatusCode, Uri, request};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::json;
use tollgate_identity::{Ask, SignInError};
use tollgate_model::{Secret, Timestamp};

use crate::front::{Meant, Shared, is_own_page};
use crate::pages::{self, Query, SignInPage};
use crate::plane::Plane;
use crate::problem::Problem;
use crate::record::{self, Act};
use crate::roles::Operator;
use crate::service::host_of;
use crate::sessions::{self, BY_KEY, BY_LINK, BY_OIDC, Cookie, SignedIn};

/// How long a sign-in at the provider may take.
const ASKED_MAX: Duration = Duration::from_mins(10);
/// Where the provider sends browsers back to.
const CALLBACK: &str = "/sign-in/callback";

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/sign-in", get(page))
        .route("/sign-in/oidc", get(ask))
        .route(CALLBACK, get(answered))
        .route("/sign-in/key", post(by_key))
        .route("/sign-in/once", get(link_page).post(by_link))
        .route("/sign-out", post(out))
        .method_not_allowed_fallback(pages::above)
}

async fn page(State(plane): State<Shared>, headers: HeaderMap) -> Response {
    // Whoever still holds a session that is over did not come to sign in, but was sent here.
    let was_in = Cookie::Session.held(&headers, plane.is_secure()).is_some();
    let is_over = was_in && matches!(sessions::find(&plane, &headers).await, Ok(None));
    pages::page(&sign_in_page(&plane, is_over.then(|| "Your session has ended. Sign in again.".to_owned())))
}

fn sign_in_page(plane: &Plane, problem: Option<String>) -> SignInPage {
    SignInPage {
        has_oidc: plane.way().sign_in.is_some(),
        has_link: plane.link.is_good(Timestamp::now()),
        secret: None,
        problem,
    }
}

/// Says on the page itself why it did not work. What the provider or a browser wrote is for the log.
fn not_in(plane: &Plane, status: StatusCode, why: &str) -> Response {
    let mut response = pages::page(&sign_in_page(plane, Some(why.to_owned())));
    *response.status_mut() = status;
    response
}

/// What binds a sign-in to its browser: random text that it holds meanwhile. Everything else is made from it, so nothing is
/// kept here.
struct Asked {
    held: String,
}

impl Asked {
    fn new(now: Timestamp) -> Option<Self> {
        Some(Self { held: format!("{}.{}", sessions::random()?, now.as_ms()) })
    }

    /// What a browser holds, if it is not too old.
    fn held(headers: &HeaderMap, is_secure: bool, now: Timestamp) -> Option<Self> {
        let held = Cookie::Asked.held(headers, is_secure)?;
        let since = Timestamp::from_ms(held.split_once('.')?.1.parse().ok()?);
        (since <= now && now < since.after(ASKED_MAX)).then_some(Self { held })
    }

    fn derived(&self, purpose: &str) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("{purpose}\0{}", self.held).as_bytes()))
    }

    fn state(&self) -> String {
        self.derived("state")
    }

    fn nonce(&self) -> String {
        self.derived("nonce")
    }

    fn verifier(&self) -> Secret {
        Secret::new(self.derived("verifier"))
    }

    fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier().expose().as_bytes()))
    }
}

fn redirect_uri(plane: &Plane) -> String {
    format!("{}{CALLBACK}", plane.base())
}

/// Sends a browser to the provider.
async fn ask(State(plane): State<Shared>, headers: HeaderMap, uri: Uri) -> Response {
    let way = plane.way();
    let Some(sign_in) = &way.sign_in else { return Redirect::to("/sign-in").into_response() };
    // The cookie has to be where the provider sends browsers back to.
    let base = plane.base();
    let host = host_of(&headers, &uri).unwrap_or_default();
    if base.split_once("://").is_none_or(|(_, own)| !own.eq_ignore_ascii_case(host)) {
        return Redirect::to(&format!("{base}/sign-in/oidc")).into_response();
    }
    let Some(asked) = Asked::new(Timestamp::now()) else {
        return not_in(&plane, StatusCode::SERVICE_UNAVAILABLE, "The system gives no random bytes.");
    };
    let (state, nonce, challenge) = (asked.state(), asked.nonce(), asked.challenge());
    let redirect_uri = redirect_uri(&plane);
    let ask = Ask { redirect_uri: &redirect_uri, state: &state, nonce: &nonce, challenge: &challenge };
    let url = match sign_in.begin(&ask).await {
        Ok(url) => url,
        Err(error) => return failed(&plane, &error),
    };
    let Some(cookie) = Cookie::Asked.set(&asked.held, ASKED_MAX, plane.is_secure()) else {
        return not_in(&plane, StatusCode::SERVICE_UNAVAILABLE, "The cookie cannot be written.");
    };
    with_cookies(Redirect::to(url.as_str()).into_response(), [Some(cookie)])
}

fn failed(plane: &Plane, error: &SignInError) -> Response {
    tracing::warn!(%error, "nobody is signed in");
    match error {
        SignInError::Away(_) => not_in(
            plane,
            StatusCode::BAD_GATEWAY,
            "The identity provider cannot be asked just now. The gateway's log says why.",
        ),
        SignInError::Refused(_) => not_in(
            plane,
            StatusCode::FORBIDDEN,
            "What the identity provider answered is not accepted. The gateway's log says why.",
        ),
    }
}

/// What the provider has a browser bring back.
#[derive(Debug, Deserialize)]
struct Answer {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

/// Signs somebody in by what their browser brings back from the provider.
async fn answered(State(plane): State<Shared>, headers: HeaderMap, Query(answer): Query<Answer>) -> Response {
    let way = plane.way();
    let Some(sign_in) = &way.sign_in else { return Redirect::to("/sign-in").into_response() };
    let asked = Asked::held(&headers, plane.is_secure(), Timestamp::now());
    let is_own = |asked: &Asked| {
        let state = answer.state.as_deref().unwrap_or_default();
        bool::from(subtle::ConstantTimeEq::ct_eq(asked.state().as_bytes(), state.as_bytes()))
    };
    let Some(asked) = asked.filter(is_own) else {
        let why = "This browser did not begin this sign-in, or too long ago. Begin anew.";
        return not_in(&plane, StatusCode::FORBIDDEN, why);
    };
    let forget = Cookie::Asked.set("", ASKED_MAX, plane.is_secure());
    let response = match answer {
        // RFC 9207: another provider's answer is none.
        Answer { iss: Some(iss), .. } if *iss != *sign_in.settings().issuer.issuer => {
            failed(&plane, &SignInError::Refused("the answer is another issuer's".to_owned()))
        }
        Answer { error: Some(error), .. } => {
            failed(&plane, &SignInError::Refused(format!("the provider says {error:?}")))
        }
        Answer { code: Some(code), .. } => {
            let (verifier, nonce) = (asked.verifier(), asked.nonce());
            let finished = sign_in.finish(&code, verifier.expose(), &nonce, &redirect_uri(&plane)).await;
            match finished {
                Ok(person) if sessions::is_reserved(&person.subject) => {
                    let why = "the record would take this user for an admin key or the local admin";
                    failed(&plane, &SignInError::Refused(why.to_owned()))
                }
                Ok(person) => {
                    let who = SignedIn {
                        how: BY_OIDC,
                        proof: person.issuer,
                        subject: person.subject,
                        name: person.name,
                        groups: person.groups,
                    };
                    signed_in(&plane, &headers, who).await
                }
                Err(error) => failed(&plane, &error),
            }
        }
        Answer { .. } => failed(&plane, &SignInError::Refused("there is no code in it".to_owned())),
    };
    with_cookies(response, [forget])
}

/// Begins the session, puts it on record, and shows the page that was wanted, or the first of the console.
async fn signed_in(plane: &Plane, headers: &HeaderMap, who: SignedIn) -> Response {
    let operator = Operator {
        by: sessions::by(who.how, &who.subject),
        name: who.name.clone(),
        how: who.how.into(),
        groups: Vec::new(),
        grants: Vec::new(),
        csrf: None,
    };
    let began = async {
        let cookie = sessions::begin(plane, headers, who).await?;
        let act = Act { word: "signed_in", ..Act::default() };
        record::record(plane, &operator, None, act).await?;
        Ok::<_, Problem>(cookie)
    };
    match began.await {
        Ok(cookie) => {
            let wanted = sessions::remembered(headers, plane.is_secure());
            let forget =
                wanted.as_ref().and_then(|_| Cookie::Wanted.set("", Duration::ZERO, plane.is_secure()));
            let to = wanted.as_deref().unwrap_or("/");
            with_cookies(Redirect::to(to).into_response(), [Some(cookie), forget])
        }
        Err(problem) => pages::error(&problem),
    }
}

fn with_cookies(mut response: Response, cookies: impl IntoIterator<Item = Option<HeaderValue>>) -> Response {
    for cookie in cookies.into_iter().flatten() {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// What is typed, or comes with a link.
#[derive(Deserialize)]
struct Shown {
    secret: Option<String>,
}

async fn by_key(State(plane): State<Shared>, parts: request::Parts, Form(shown): Form<Shown>) -> Response {
    if let Err(problem) = is_own_page(&parts, &plane) {
        return pages::error(&problem);
    }
    let key = Secret::new(shown.secret.unwrap_or_default());
    let text = key.expose().trim();
    let found = match sessions::by_key(&plane, text, Timestamp::now()).await {
        Ok(found) => found,
        Err(problem) => return pages::error(&problem),
    };
    let (Some(operator), Some(hash)) = (found, tollgate_identity::key::admin_hash(text)) else {
        tracing::warn!("nobody is signed in: the admin key is not known, or has ended");
        return not_in(&plane, StatusCode::FORBIDDEN, "This is no admin key, or one that has ended.");
    };
    let id = operator.by.strip_prefix("admin key ").unwrap_or_default();
    let who = SignedIn {
        how: BY_KEY,
        proof: hash.to_string().into(),
        subject: id.into(),
        name: operator.name,
        groups: Vec::new(),
    };
    signed_in(&plane, &parts.headers, who).await
}

/// What the link leads to: a form, so that whoever only looks at links does not use it up.
async fn link_page(State(plane): State<Shared>, Query(shown): Query<Shown>) -> Response {
    let secret = shown.secret.filter(|_| plane.link.is_good(Timestamp::now()));
    if secret.is_none() {
        let why = "The link was used already, or is too old. A restart of the gateway shows another.";
        return not_in(&plane, StatusCode::FORBIDDEN, why);
    }
    pages::page(&SignInPage { secret, ..sign_in_page(&plane, None) })
}

async fn by_link(State(plane): State<Shared>, parts: request::Parts, Form(shown): Form<Shown>) -> Response {
    if let Err(problem) = is_own_page(&parts, &plane) {
        return pages::error(&problem);
    }
    let secret = Secret::new(shown.secret.unwrap_or_default());
    if !plane.link.take(secret.expose(), Timestamp::now()) {
        tracing::warn!("nobody is signed in: the link is another, was used already, or is too old");
        let why = "The link was used already, or is too old. A restart of the gateway shows another.";
        return not_in(&plane, StatusCode::FORBIDDEN, why);
    }
    let who = SignedIn {
        how: BY_LINK,
        proof: "".into(),
        subject: "local".into(),
        name: "Local admin".into(),
        groups: Vec::new(),
    };
    signed_in(&plane, &parts.headers, who).await
}

async fn out(State(plane): State<Shared>, headers: HeaderMap, Meant(who): Meant) -> Response {
    if let Err(problem) = sessions::end(&plane, &headers).await {
        return pages::error(&problem);
    }
    let act = Act { word: "signed_out", what: json!(null), ..Act::default() };
    if let Err(problem) = record::record(&plane, &who, None, act).await {
        return pages::error(&problem);
    }
    let forget = Cookie::Session.set("", Duration::ZERO, plane.is_secure());
    with_cookies(Redirect::to("/sign-in").into_response(), [forget])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_holds_gives_all_that_is_compared_and_is_too_old_after_a_while() {
        let now = Timestamp::from_ms(1_000_000);
        let asked = Asked::new(now).expect("randomness");
        let all = [asked.state(), asked.nonce(), asked.verifier().expose().to_owned(), asked.challenge()];
        for (nth, one) in all.iter().enumerate() {
            assert_eq!(one.len(), 43);
            assert!(!all[nth + 1..].contains(one));
        }
        let cookie =
            HeaderValue::from_str(&format!("tollgate-local-asked={}", asked.held)).expect("a header");
        let headers: HeaderMap = [(http::header::COOKIE, cookie)].into_iter().collect();
        let held = |now| Asked::held(&headers, false, now).map(|asked| asked.state());
        assert_eq!(held(now), Some(asked.state()));
        assert_eq!(held(now.after(ASKED_MAX)), None);
        assert_eq!(held(Timestamp::from_ms(1)), None, "from the future");
        assert_ne!(Asked::new(now).expect("randomness").state(), asked.state());
    }
}
