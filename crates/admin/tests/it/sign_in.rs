//! The ways in, and what others try.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::header::{CONTENT_TYPE, COOKIE, HOST, ORIGIN};
use serde_json::json;
use tollgate_admin::{Admin, AdminSettings, Body, Grant, Reached, Role};
use tollgate_identity::SignInSettings;
use tollgate_model::{KeyHash, KeyId, Timestamp};
use tollgate_store::{AdminKey, AdminSession, Admins as _, Blocks as _, Digest, Memory};

use crate::support::{Answered, BASE, admin, csrf, fake, get, post, reached, send, signed_in};

#[tokio::test]
async fn the_link_lets_one_in_once() {
    let (admin, secret) = admin(fake().await);
    let secret = secret.expect("nobody could sign in otherwise");
    let path = format!("/sign-in/once?secret={}", secret.expose());
    let page = get(&admin, "", &path).await;
    assert!(page.status == 200 && page.body.contains("local admin"), "{}", page.body);
    let page = get(&admin, "", &path).await;
    assert_eq!(page.status, 200, "looking at the link does not use it up");
    let wrong = post(&admin, "", "/sign-in/once", &[("secret", "other")]).await;
    assert_eq!(wrong.status, 403);
    let form = [("secret", secret.expose())];
    let answered = post(&admin, "", "/sign-in/once", &form).await;
    assert_eq!((answered.status, answered.location()), (303, "/"));
    let cookie = answered.cookie();
    assert_eq!(get(&admin, &cookie, "/").await.status, 200);
    assert_eq!(post(&admin, "", "/sign-in/once", &form).await.status, 403, "a second time");
    let home = get(&admin, &cookie, "/").await;
    let token = csrf(&home.body);
    let out = post(&admin, &cookie, "/sign-out", &[("csrf", &token)]).await;
    assert_eq!((out.status, out.location()), (303, "/sign-in"));
    let after = get(&admin, &cookie, "/").await;
    assert_eq!(
        (after.status, after.location()),
        (303, "/sign-in"),
        "the session is over, whoever kept the cookie"
    );
}

#[tokio::test]
async fn a_session_that_somebody_else_knows_is_not_signed_into() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    let first = signed_in(&admin, &store, Role::Viewer).await;
    let key = crate::support::key_of(&store, Role::Admin, None).await;
    let planted = "tollgate-local=s.planted-by-somebody-else";
    for held in [planted, first.as_str()] {
        let answered = post(&admin, held, "/sign-in/key", &[("secret", key.expose())]).await;
        assert_eq!(answered.status, 303);
        assert_ne!(answered.cookie(), held);
    }
    assert_eq!(get(&admin, planted, "/").await.location(), "/sign-in");
    assert_eq!(get(&admin, &first, "/").await.location(), "/sign-in", "the one before is over");
}

/// A session of somebody who came by a key, as the store has it.
async fn session(store: &Memory, token: &str, times: (Timestamp, Timestamp)) -> (Digest, String) {
    session_by(store, &"07".repeat(32), token, times).await
}

/// The same, of whoever came by the key with this hash.
async fn session_by(
    store: &Memory,
    proof: &str,
    token: &str,
    (seen, expires): (Timestamp, Timestamp),
) -> (Digest, String) {
    let digest = Digest::of([b"session".as_slice(), token.as_bytes()]);
    let session = AdminSession {
        digest,
        how: "key".into(),
        proof: proof.into(),
        subject: "k7".into(),
        name: "Kim".into(),
        groups: Vec::new(),
        created: Timestamp::from_ms(1),
        seen,
        expires,
    };
    store.begin_admin_session(session).await.expect("begun");
    (digest, format!("tollgate-local={token}"))
}

#[tokio::test]
async fn a_session_ends_when_its_time_is_over_and_when_nobody_uses_it() {
    let fake = fake().await;
    let store = fake.store.clone();
    let record = AdminKey {
        id: KeyId::new("k7"),
        name: "Kim".into(),
        grants: vec![Grant { role: Role::Admin, tenant: None }.to_stored()],
        hash: KeyHash([7; 32]),
        created: Timestamp::from_ms(1),
        expires: None,
        revoked: None,
        by: "test".into(),
    };
    store.add_admin_key(record).await.expect("added");
    let settings = AdminSettings { session_idle: Duration::from_mins(10), ..AdminSettings::default() };
    let (admin, _) = Admin::new(fake, reached(), settings);
    let now = Timestamp::now();
    let ago = |minutes: u64| Timestamp::from_ms(now.as_ms() - minutes * 60_000);
    let later = now.after(Duration::from_hours(1));
    for (token, seen, expires, is_good) in
        [("s.used", ago(9), later, true), ("s.unused", ago(11), later, false), ("s.over", now, ago(1), false)]
    {
        let (digest, cookie) = session(&store, token, (seen, expires)).await;
        for path in ["/", "/api/v1/whoami"] {
            let answered = get(&admin, &cookie, path).await;
            let expected = match (is_good, path) {
                (true, _) => 200,
                (false, "/") => 303,
                (false, _) => 401,
            };
            assert_eq!(answered.status, expected, "{token} {path}: {}", answered.body);
        }
        let kept = store.admin_session(&digest).await.expect("read");
        assert_eq!(kept.is_some(), is_good, "{token}: what is over is not kept");
        // To be seen is to be used, but does not make it last beyond its time.
        assert!(kept.is_none_or(|kept| kept.seen >= now && kept.expires == later), "{token}");
    }
}

#[tokio::test]
async fn a_page_that_renews_itself_keeps_no_session_alive() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    signed_in(&admin, &store, Role::Viewer).await;
    let key = store.admin_keys(None, 1).await.expect("read").remove(0);
    let proof = key.hash.to_string();
    let ago = Timestamp::from_ms(Timestamp::now().as_ms() - 9 * 60_000);
    let later = Timestamp::now().after(Duration::from_hours(1));
    let (digest, cookie) = session_by(&store, &proof, "s.live", (ago, later)).await;
    let seen = async || store.admin_session(&digest).await.expect("read").expect("it lasts").seen;
    let live = Request::builder().uri("/").header(COOKIE, &cookie).header("x-tollgate-live", "1");
    assert_eq!(send(&admin, live, "").await.status, 200);
    assert_eq!(seen().await, ago, "nobody has done anything");
    assert_eq!(get(&admin, &cookie, "/").await.status, 200);
    assert!(seen().await > ago, "somebody has");
}

#[tokio::test]
async fn a_session_that_is_used_lasts_however_short_it_would_unused() {
    let fake = fake().await;
    let store = fake.store.clone();
    let settings = AdminSettings { session_idle: Duration::from_mins(1), ..AdminSettings::default() };
    let (admin, _) = Admin::new(fake, reached(), settings);
    signed_in(&admin, &store, Role::Viewer).await;
    let key = store.admin_keys(None, 1).await.expect("read").remove(0);
    let now = Timestamp::now();
    let times = (Timestamp::from_ms(now.as_ms() - 30_000), now.after(Duration::from_hours(1)));
    let (digest, cookie) = session_by(&store, &key.hash.to_string(), "s.short", times).await;
    assert_eq!(get(&admin, &cookie, "/").await.status, 200);
    assert!(store.admin_session(&digest).await.expect("read").is_some_and(|kept| kept.seen >= now));
}

#[tokio::test]
async fn whoever_has_to_sign_in_first_comes_to_the_page_that_they_wanted() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    let key = crate::support::key_of(&store, Role::Admin, None).await;
    let sent = get(&admin, "", "/approvals/a1?from=mail").await;
    assert_eq!((sent.status, sent.location()), (303, "/sign-in"));
    let wanted = sent.header("set-cookie").split(';').next().expect("a pair").to_owned();
    let form = [("secret", key.expose())];
    let answered = post(&admin, &wanted, "/sign-in/key", &form).await;
    assert_eq!((answered.status, answered.location()), (303, "/approvals/a1?from=mail"));
    let forgotten = answered.headers.get_all("set-cookie").iter().any(|set| {
        set.to_str().is_ok_and(|set| set.starts_with("tollgate-local-wanted=;") && set.contains("Max-Age=0"))
    });
    assert!(forgotten, "once: {answered:?}");
    assert_eq!(get(&admin, &answered.cookie(), "/approvals/a1").await.status, 200);
    // What a script fetches is no page to come back to.
    let fetched = Request::builder().uri("/calls").header("sec-fetch-mode", "cors");
    assert_eq!(send(&admin, fetched, "").await.header("set-cookie"), "");
}

#[tokio::test]
async fn whoever_is_sent_to_sign_in_again_is_told_why() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    let cookie = signed_in(&admin, &store, Role::Viewer).await;
    let said = "Your session has ended";
    assert!(!get(&admin, &cookie, "/sign-in").await.body.contains(said), "it has not");
    assert!(!get(&admin, "", "/sign-in").await.body.contains(said), "there was none");
    let key = store.admin_keys(None, 1).await.expect("read").remove(0);
    store.revoke_admin_key(&key.id, Timestamp::now(), "test").await.expect("revoked");
    assert_eq!(get(&admin, &cookie, "/").await.location(), "/sign-in");
    let page = get(&admin, &cookie, "/sign-in").await;
    assert!(page.status == 200 && page.body.contains(said), "{}", page.body);
}

#[tokio::test]
async fn a_revoked_key_ends_its_sessions() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    let cookie = signed_in(&admin, &store, Role::Admin).await;
    assert_eq!(get(&admin, &cookie, "/").await.status, 200);
    let key = store.admin_keys(None, 9).await.expect("read").remove(0);
    store.revoke_admin_key(&key.id, Timestamp::now(), "test").await.expect("revoked");
    assert_eq!(get(&admin, &cookie, "/").await.location(), "/sign-in");
}

#[tokio::test]
async fn a_form_of_another_origin_or_without_the_token_does_nothing() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    let cookie = signed_in(&admin, &store, Role::Admin).await;
    let token = csrf(&get(&admin, &cookie, "/kill-switch").await.body);
    let before = store.blocks(None, 99).await.expect("read").len();
    let body = |token: &str| format!("csrf={token}&kind=agent&tenant=acme&name=victim&reason=because");
    let form = |origin: &str, site: &str| {
        let request = Request::builder().method("POST").uri("/kill-switch/block").header(COOKIE, &cookie);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = if origin.is_empty() { request } else { request.header(ORIGIN, origin) };
        if site.is_empty() { request } else { request.header("sec-fetch-site", site) }
    };
    for (origin, site, token) in [
        ("https://evil.example", "cross-site", &*token),
        ("https://evil.example", "", &*token),
        ("null", "", &*token),
        ("http://127.0.0.1:9999", "same-site", &*token),
        (BASE, "same-origin", ""),
        (BASE, "same-origin", "x"),
        ("", "", ""),
    ] {
        let answered = send(&admin, form(origin, site), &body(token)).await;
        assert_eq!(answered.status, 403, "{origin} {site} {token}");
    }
    let api =
        Request::builder().method("POST").uri("/api/v1/blocks").header(COOKIE, &cookie).header(ORIGIN, BASE);
    let api = api.header(CONTENT_TYPE, "application/json");
    let new = json!({ "kind": "agent", "tenant": "acme", "name": "victim", "reason": "because" }).to_string();
    assert_eq!(send(&admin, api, &new).await.status, 403, "a write of a browser without the token");
    assert_eq!(store.blocks(None, 99).await.expect("read").len(), before);
    assert_eq!(send(&admin, form(BASE, "same-origin"), &body(&token)).await.status, 303);
    assert_eq!(store.blocks(None, 99).await.expect("read").len(), before + 1);
    let api =
        Request::builder().method("POST").uri("/api/v1/blocks").header(COOKIE, &cookie).header(ORIGIN, BASE);
    let api = api.header(CONTENT_TYPE, "application/json").header("x-csrf-token", &token);
    assert_eq!(send(&admin, api, &new).await.status, 200, "it was blocked before");
}

async fn told(admin: &Admin, path: &str) -> Answered {
    let request =
        Request::builder().uri(path).header(HOST, "10.0.0.1").body(Body::empty()).expect("a request");
    Answered::of(admin.answer(request).await).await
}

#[tokio::test]
async fn beyond_this_machine_there_is_no_way_in_without_sign_in_and_tls() {
    let sign_in = || Some(SignInSettings::new("https://idp.example", "tollgate"));
    let url = |text: &str| Some(Arc::from(text));
    let everywhere = || Reached { is_loopback: false, base: "http://10.0.0.1:8081".to_owned(), ..reached() };
    let tls = || Reached { base: "https://10.0.0.1:8081".to_owned(), ..everywhere() };
    for (reached, settings, is_open) in [
        (everywhere(), AdminSettings::default(), false),
        (tls(), AdminSettings::default(), false),
        (everywhere(), AdminSettings { sign_in: sign_in(), ..AdminSettings::default() }, false),
        (tls(), AdminSettings { sign_in: sign_in(), ..AdminSettings::default() }, true),
        (
            everywhere(),
            AdminSettings {
                sign_in: sign_in(),
                public_url: url("https://a.example"),
                ..AdminSettings::default()
            },
            true,
        ),
    ] {
        let seen = format!("{reached:?} {settings:?}");
        let (admin, secret) = Admin::new(fake().await, reached, settings);
        assert!(secret.is_none(), "no link: {seen}");
        for path in ["/", "/sign-in", "/api/v1/whoami", "/assets/console.js"] {
            assert_eq!(told(&admin, path).await.status != 404, is_open, "{path}: {seen}");
        }
        assert_eq!(told(&admin, "/healthz").await.status, 200);
    }
}

#[tokio::test]
async fn an_answer_that_this_browser_did_not_ask_for_signs_nobody_in() {
    let settings = AdminSettings {
        sign_in: Some(SignInSettings::new("https://idp.example", "tollgate")),
        ..AdminSettings::default()
    };
    let (admin, secret) = Admin::new(fake().await, reached(), settings);
    assert!(secret.is_none(), "where people sign in there is no link");
    for path in ["/sign-in/callback", "/sign-in/callback?code=x&state=y", "/sign-in/callback?error=x"] {
        let answered = get(&admin, "tollgate-local-asked=x.1", path).await;
        assert_eq!(answered.status, 403, "{path}");
        assert!(
            !answered
                .headers
                .get_all("set-cookie")
                .iter()
                .any(|value| value.to_str().is_ok_and(|text| text.starts_with("tollgate-local=")))
        );
    }
}
