//! Sessions of browsers: what they hold, and what is kept of it.
//!
//! A browser holds 32 random bytes in a cookie that it sends to this host alone; the store has their digest. Whoever signs in
//! gets another, whatever they held before, so nobody can be made to sign into a session that somebody else knows.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use http::header::{COOKIE, HeaderMap, HeaderValue};
use http::request::Parts;
use ring::rand::{SecureRandom, SystemRandom};
use tollgate_model::{KeyHash, Timestamp};
use tollgate_store::{AdminSession, Digest};

use crate::plane::Plane;
use crate::problem::Problem;
use crate::roles::{Grant, Operator, Role};

/// The cookie of a session. With this prefix browsers take it over TLS only, and for this host and nothing beside it.
const SECURE: &str = "__Host-tollgate";
/// The same over plain HTTP on this machine, where there can be no such prefix.
const PLAIN: &str = "tollgate-local";
/// The cookie that binds a sign-in under way to its browser.
const SECURE_ASKED: &str = "__Host-tollgate-asked";
const PLAIN_ASKED: &str = "tollgate-local-asked";
/// The cookie that has a browser remember which page somebody wanted who has to sign in first.
const SECURE_WANTED: &str = "__Host-tollgate-wanted";
const PLAIN_WANTED: &str = "tollgate-local-wanted";
/// How long that is remembered, and the longest address that is.
const WANTED_MAX: Duration = Duration::from_mins(10);
const WANTED_BYTES_MAX: usize = 2048;
/// How often it is noted that a session is used, at least.
const SEEN: Duration = Duration::from_mins(1);
/// What comes with requests that no person makes, but the script of a page that renews itself: a page that is left open is not used.
const LIVE: &str = "x-tollgate-live";
/// What sessions of the link begin with: they are not in the store.
const HERE: &str = "l.";

/// How somebody came in.
pub(crate) const BY_LINK: &str = "link";
pub(crate) const BY_KEY: &str = "key";
pub(crate) const BY_OIDC: &str = "oidc";
pub(crate) const BY_COMMAND: &str = "cli";

/// With what the record has somebody who came by an admin key, before its id.
pub(crate) const ADMIN_KEY: &str = "admin key ";

/// As what the record has whoever came by the link.
const LOCAL_ADMIN: &str = "local admin";

/// Random text that nobody guesses.
pub(crate) fn random() -> Option<String> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

/// Which cookie is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// Of a session.
    Session,
    /// Of a sign-in under way.
    Asked,
    /// Of the page that is wanted.
    Wanted,
}

impl Cookie {
    fn name(self, is_secure: bool) -> &'static str {
        match (self, is_secure) {
            (Self::Session, true) => SECURE,
            (Self::Session, false) => PLAIN,
            (Self::Asked, true) => SECURE_ASKED,
            (Self::Asked, false) => PLAIN_ASKED,
            (Self::Wanted, true) => SECURE_WANTED,
            (Self::Wanted, false) => PLAIN_WANTED,
        }
    }

    /// What the browser holds; nothing if it shows two, of which one may be another's.
    pub(crate) fn held(self, headers: &HeaderMap, is_secure: bool) -> Option<String> {
        let name = self.name(is_secure);
        let mut found = None;
        for header in headers.get_all(COOKIE) {
            for pair in header.to_str().ok()?.split(';') {
                let Some((key, value)) = pair.trim().split_once('=') else { continue };
                if key == name && found.replace(value.to_owned()).is_some() {
                    return None;
                }
            }
        }
        found
    }

    /// What makes the browser hold it, or with an empty text no longer.
    pub(crate) fn set(self, value: &str, age: Duration, is_secure: bool) -> Option<HeaderValue> {
        let (name, secure) = (self.name(is_secure), if is_secure { "; Secure" } else { "" });
        let age = if value.is_empty() { 0 } else { age.as_secs() };
        let text = format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::from_str(&text).ok()
    }
}

/// Has a browser remember the page that somebody opens who has to sign in first. What scripts fetch, and what is sent, is no page
/// to come back to.
pub(crate) fn remember(parts: &Parts, is_secure: bool) -> Option<HeaderValue> {
    let is_opened = parts.headers.get("sec-fetch-mode").is_none_or(|mode| mode == "navigate");
    let path = parts.uri.path_and_query()?.as_str();
    if parts.method != Method::GET || !is_opened || path == "/" || path.len() > WANTED_BYTES_MAX {
        return None;
    }
    Cookie::Wanted.set(&URL_SAFE_NO_PAD.encode(path), WANTED_MAX, is_secure)
}

/// The page that somebody wanted before they signed in, if it is one of this listener: nobody is led elsewhere, whoever wrote the
/// cookie.
pub(crate) fn remembered(headers: &HeaderMap, is_secure: bool) -> Option<String> {
    let held = Cookie::Wanted.held(headers, is_secure)?;
    let path = String::from_utf8(URL_SAFE_NO_PAD.decode(held).ok()?).ok()?;
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    (path.starts_with('/') && !path.starts_with("//") && is_plain).then_some(path)
}

fn digest(token: &str) -> Digest {
    Digest::of([b"session".as_slice(), token.as_bytes()])
}

/// What forms of this session have to show.
fn csrf(token: &str) -> Arc<str> {
    Arc::from(URL_SAFE_NO_PAD.encode(Digest::of([b"csrf".as_slice(), token.as_bytes()]).0))
}

/// Whether a form shows what it has to.
pub(crate) fn is_shown(who: &Operator, shown: &str) -> bool {
    who.csrf
        .as_ref()
        .is_some_and(|csrf| bool::from(subtle::ConstantTimeEq::ct_eq(csrf.as_bytes(), shown.as_bytes())))
}

/// Who has signed in.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn {
    pub(crate) how: &'static str,
    pub(crate) proof: Arc<str>,
    pub(crate) subject: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) groups: Vec<Arc<str>>,
}

/// Begins a session, and ends the one that the browser may have held. Gives what the browser is to hold.
pub(crate) async fn begin(plane: &Plane, headers: &HeaderMap, who: SignedIn) -> Result<HeaderValue, Problem> {
    let is_here = who.how == BY_LINK;
    let no_randomness = || Problem::unavailable("the operating system gives no random bytes");
    let token = format!("{}{}", if is_here { HERE } else { "s." }, random().ok_or_else(no_randomness)?);
    let settings = &plane.way().settings;
    let now = Timestamp::now();
    let session = AdminSession {
        digest: digest(&token),
        how: who.how.into(),
        proof: who.proof,
        subject: who.subject,
        name: who.name,
        groups: who.groups,
        created: now,
        seen: now,
        expires: now.after(settings.session_max),
    };
    end(plane, headers).await?;
    if is_here {
        tollgate_store::Admins::begin_admin_session(&plane.memory, session).await?;
    } else {
        plane.make_store()?.begin_admin_session(session).await?;
    }
    let cookie = Cookie::Session.set(&token, settings.session_max, plane.is_secure());
    cookie.ok_or_else(|| Problem::unavailable("the cookie cannot be written"))
}

/// Ends the session that the browser holds, if there is one.
pub(crate) async fn end(plane: &Plane, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(token) = Cookie::Session.held(headers, plane.is_secure()) else { return Ok(()) };
    if let Some(sessions) = plane.sessions(token.starts_with(HERE))? {
        sessions.get().end_admin_session(&digest(&token)).await?;
    }
    Ok(())
}

/// Whoever's session the browser holds, if it is not over.
pub(crate) async fn find(plane: &Plane, headers: &HeaderMap) -> Result<Option<Operator>, Problem> {
    let Some(token) = Cookie::Session.held(headers, plane.is_secure()) else { return Ok(None) };
    let Some(sessions) = plane.sessions(token.starts_with(HERE))? else { return Ok(None) };
    let digest = digest(&token);
    let Some(session) = sessions.get().admin_session(&digest).await? else { return Ok(None) };
    let (now, way) = (Timestamp::now(), plane.way());
    let idle = session.seen.after(way.settings.session_idle.max(SEEN));
    if session.expires <= now || idle <= now {
        sessions.get().end_admin_session(&digest).await?;
        return Ok(None);
    }
    let Some(grants) = grants(plane, &session, now).await? else {
        sessions.get().end_admin_session(&digest).await?;
        return Ok(None);
    };
    // So often that none ends while it is used, however short it lasts unused.
    let often = SEEN.min(way.settings.session_idle / 4);
    if session.seen.after(often) <= now && !headers.contains_key(LIVE) {
        sessions.get().see_admin_session(&digest, now).await?;
    }
    Ok(Some(Operator {
        by: by(&session.how, &session.subject),
        name: session.name,
        how: session.how,
        groups: session.groups,
        grants,
        csrf: Some(csrf(&token)),
    }))
}

/// Whoever's session the browser holds, if it is not over. To look is no use of it.
pub(crate) async fn look(plane: &Plane, headers: &HeaderMap) -> Result<Option<Operator>, Problem> {
    let mut headers = headers.clone();
    headers.insert(LIVE, HeaderValue::from_static("1"));
    find(plane, &headers).await
}

/// As the record has somebody.
pub(crate) fn by(how: &str, subject: &str) -> Arc<str> {
    match how {
        BY_KEY => Arc::from(format!("{ADMIN_KEY}{subject}")),
        BY_LINK => Arc::from(LOCAL_ADMIN),
        _ => Arc::from(subject),
    }
}

/// Whether the record would take somebody of this name for a key, or for whoever came by the link: nobody signs in as that.
pub(crate) fn is_reserved(subject: &str) -> bool {
    subject == LOCAL_ADMIN || subject.starts_with(ADMIN_KEY)
}

/// What somebody is who has a session: as it is now, not as it was when they signed in. None: they are nobody any more.
async fn grants(
    plane: &Plane,
    session: &AdminSession,
    now: Timestamp,
) -> Result<Option<Vec<Grant>>, Problem> {
    let way = plane.way();
    match &*session.how {
        BY_LINK => Ok(Some(vec![Grant { role: Role::Admin, tenant: None }])),
        BY_KEY => {
            let Some(hash) = unhex(&session.proof) else { return Ok(None) };
            by_hash(plane, &hash, now).await.map(|found| found.map(|operator| operator.grants))
        }
        _ => {
            let issuer = way.sign_in.as_ref().map(|sign_in| &sign_in.settings().issuer.issuer);
            let is_known = issuer.is_some_and(|issuer| *issuer == session.proof);
            Ok(is_known.then(|| way.settings.grants(&session.subject, &session.groups)))
        }
    }
}

/// The owner of the process, who could read and write whatever it keeps without asking it.
pub(crate) fn owner(user: &Arc<str>) -> Operator {
    let everywhere = |role| Grant { role, tenant: None };
    Operator {
        by: Arc::clone(user),
        name: Arc::clone(user),
        how: BY_COMMAND.into(),
        groups: Vec::new(),
        grants: [Role::Admin, Role::Security, Role::Approver].map(everywhere).to_vec(),
        csrf: None,
    }
}

/// Whoever's admin key this is, if it is good.
pub(crate) async fn by_key(plane: &Plane, text: &str, now: Timestamp) -> Result<Option<Operator>, Problem> {
    match tollgate_identity::key::admin_hash(text) {
        Some(hash) => by_hash(plane, &hash, now).await,
        None => Ok(None),
    }
}

async fn by_hash(plane: &Plane, hash: &KeyHash, now: Timestamp) -> Result<Option<Operator>, Problem> {
    let Some(store) = plane.store()? else { return Ok(None) };
    let Some(key) = store.admin_key(hash).await?.filter(|key| key.is_good(now)) else { return Ok(None) };
    Ok(Some(Operator {
        by: by(BY_KEY, key.id.as_str()),
        name: Arc::clone(&key.name),
        how: BY_KEY.into(),
        groups: Vec::new(),
        grants: key.grants.iter().filter_map(Grant::of_stored).collect(),
        csrf: None,
    }))
}

fn unhex(text: &str) -> Option<KeyHash> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(KeyHash(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_called_as_the_record_calls_keys_and_the_local_admin() {
        assert!(is_reserved(&by(BY_KEY, "k1")) && is_reserved(&by(BY_LINK, "")));
        assert!(!is_reserved(&by(BY_OIDC, "ada")) && !is_reserved("local administrator"));
    }

    #[test]
    fn a_browser_that_shows_two_cookies_shows_none() {
        let held = |values: &[&'static str], is_secure| {
            let headers = values.iter().map(|value| (COOKIE, HeaderValue::from_static(value))).collect();
            Cookie::Session.held(&headers, is_secure)
        };
        assert_eq!(held(&["a=b; __Host-tollgate=s.x"], true).as_deref(), Some("s.x"));
        assert_eq!(held(&["__Host-tollgate=s.x"], false), None, "over plain HTTP it is another");
        assert_eq!(held(&["tollgate-local=s.x"], true), None);
        assert_eq!(held(&["__Host-tollgate=s.x; __Host-tollgate=s.y"], true), None);
        assert_eq!(held(&["__Host-tollgate=s.x", "__Host-tollgate=s.y"], true), None);
    }

    #[test]
    fn a_page_that_is_remembered_is_one_of_this_listener() {
        let parts = |path: &str, mode: &str| {
            let request = http::Request::builder().uri(path).header("sec-fetch-mode", mode);
            request.body(()).expect("a request").into_parts().0
        };
        let kept = remember(&parts("/calls?tool=a%22b", "navigate"), false).expect("a page");
        let kept = kept.to_str().expect("text").split(';').next().expect("a pair").to_owned();
        let back = |cookie: &str| {
            let cookie = HeaderValue::from_str(cookie).expect("a header");
            remembered(&[(COOKIE, cookie)].into_iter().collect(), false)
        };
        assert_eq!(back(&kept).as_deref(), Some("/calls?tool=a%22b"));
        assert_eq!(remember(&parts("/", "navigate"), false), None, "everybody comes there");
        assert_eq!(remember(&parts("/approvals", "cors"), false), None, "what a script fetches");
        for path in ["//evil.example/", "https://evil.example/", "/\\evil.example", "/a\r\nb", "/\u{e4}", ""]
        {
            let planted = format!("tollgate-local-wanted={}", URL_SAFE_NO_PAD.encode(path));
            assert_eq!(back(&planted), None, "{path:?}");
        }
    }

    #[test]
    fn the_cookie_is_for_this_host_and_no_script() {
        let set =
            |is_secure| Cookie::Session.set("s.x", Duration::from_mins(1), is_secure).expect("a header");
        assert_eq!(set(true), "__Host-tollgate=s.x; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(set(false), "tollgate-local=s.x; Path=/; Max-Age=60; HttpOnly; SameSite=Lax");
    }
}
