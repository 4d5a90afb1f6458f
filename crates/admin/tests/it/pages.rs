//! The console: nothing of what others wrote runs in it, and nobody sees what they may not.

use tollgate_admin::{Admin, Grant, Role};
use tollgate_ledger::{Kind, Outcome};
use tollgate_model::{Secret, ServerName, TenantId, Timestamp};
use tollgate_store::{
    Approval, ApprovalId, ApprovalOf, Approvals as _, AskingRoom, Digest, Keys as _, Memory, PinKind,
    PinShape, Pins as _, Sighting, Sightings,
};

use crate::support::{
    MARK, XSS, acme, admin, approval, ask, csrf, fake, get, key_of, key_with, post, send, signed_in,
};

/// Every page of somebody who may see everything.
const PAGES: &[&str] = &[
    "/",
    "/servers",
    "/servers?search=ACMES&life=approved&origin=registered&state=unknown&tenant=acme",
    "/servers?life=approved",
    "/servers/crm?tenant=acme",
    "/servers/crm",
    "/servers/acmes-own?tenant=acme",
    "/servers-new",
    "/servers-new?tenant=acme&name=acmes-own&version=1",
    "/servers-new?tenant=acme&name=acmes-own",
    "/servers-import",
    "/review",
    "/review?tenant=acme&name=acmes-own&version=2",
    "/calls",
    "/approvals",
    "/approvals?all=1",
    "/approvals/a1",
    "/pins",
    "/pins?all=1",
    "/policies",
    "/policies/sets/WyJhY21lIiwicGF5Il0",
    "/tenants",
    "/findings",
    "/findings?severity=high&rule=personal.email",
    "/access",
    "/usage",
    "/kill-switch",
    "/settings",
];

/// Pages on which nothing stands that others wrote: forms before anything is typed.
const QUIET: &[&str] = &["/", "/servers-new", "/servers-import"];

/// Nothing of a page runs but the console's own file.
fn is_harmless(path: &str, page: &str) {
    assert!(!page.contains("<script>alert"), "{path}: {page}");
    assert!(!page.contains("<img"), "{path}: {page}");
    assert_eq!(page.matches("<script").count(), 1, "{path} has no script but the console's file");
    assert!(!page.contains("style="), "{path}: no style of its own");
    assert!(!page.contains(" onclick") && !page.contains(" onload"), "{path}");
}

async fn call_path(admin: &Admin, key: &Secret) -> String {
    let listed = ask(admin, key, "GET", "/api/v1/ledger", None).await.json();
    format!("/calls/{}", listed["items"][0]["call"].as_str().expect("a call"))
}

async fn pin_path(admin: &Admin, key: &Secret) -> String {
    let listed = ask(admin, key, "GET", "/api/v1/pins", None).await.json();
    format!("/pins/{}", listed["items"][0]["id"].as_str().expect("a pin"))
}

#[tokio::test]
async fn what_others_wrote_is_shown_and_never_runs() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    let cookie = signed_in(&admin, &store, Role::Admin).await;
    let key = key_of(&store, Role::Admin, None).await;
    let (call, pin) = (call_path(&admin, &key).await, pin_path(&admin, &key).await);
    for path in PAGES.iter().copied().chain([&*call, &*pin]) {
        let page = get(&admin, &cookie, path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        assert!(page.body.contains("alert(1)") || QUIET.contains(&path), "{path} shows what others wrote");
        is_harmless(path, &page.body);
        let policy = page.header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(
            (page.header("cache-control"), page.header("x-content-type-options")),
            ("no-store", "nosniff")
        );
    }
}

#[tokio::test]
async fn a_new_key_is_shown_with_whatever_it_is_called() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    let cookie = signed_in(&admin, &store, Role::Admin).await;
    let token = csrf(&get(&admin, &cookie, "/access").await.body);
    let form = [("csrf", &*token), ("tenant", "acme"), ("agent", XSS), ("groups", XSS), ("days", "")];
    let page = post(&admin, &cookie, "/access/keys", &form).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("tg_"), "{}", page.body);
    is_harmless("/access/keys", &page.body);
    let listed = get(&admin, &cookie, "/access").await.body;
    assert!(listed.matches("alert(1)").count() >= 4, "both keys, with their groups: {listed}");
    is_harmless("/access", &listed);
    let form = [("csrf", &*token), ("tenant", "acme"), ("agent", "a\u{1}"), ("groups", ""), ("days", XSS)];
    let page = post(&admin, &cookie, "/access/keys", &form).await;
    assert_eq!(page.status, 422, "{}", page.body);
    assert!(!page.body.contains("<script>alert") && !page.body.contains("<img"), "{}", page.body);
}

#[tokio::test]
async fn those_without_a_role_see_nothing() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    let key = key_of(&store, Role::Approver, Some("globex")).await;
    let answered = post(&admin, "", "/sign-in/key", &[("secret", key.expose())]).await;
    let cookie = answered.cookie();
    for path in PAGES {
        let page = get(&admin, &cookie, path).await;
        assert!(matches!(page.status, 200 | 403 | 404), "{path}");
        assert!(!page.body.contains(MARK), "{path}: {}", page.body);
    }
    for path in PAGES {
        let page = get(&admin, "", path).await;
        assert_eq!((page.status, page.location()), (303, "/sign-in"), "{path}");
    }
}

#[tokio::test]
async fn a_form_offers_the_tenants_of_whoever_fills_it_in() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    let (acmes, all) = ("<option value=\"acme\">", "<option value=\"\">every tenant</option>");
    let key = key_of(&store, Role::Operator, Some("globex")).await;
    let cookie = post(&admin, "", "/sign-in/key", &[("secret", key.expose())]).await.cookie();
    let page = get(&admin, &cookie, "/kill-switch").await;
    assert!(page.status == 200 && page.body.contains("<option value=\"globex\">"), "{}", page.body);
    assert!(!page.body.contains(acmes) && !page.body.contains(all), "{}", page.body);
    assert!(!page.body.contains("href=\"/settings\""), "a page that they may not see: {}", page.body);
    let cookie = signed_in(&admin, &store, Role::Operator).await;
    let page = get(&admin, &cookie, "/kill-switch").await;
    assert!(page.body.contains(acmes) && page.body.contains(all), "{}", page.body);
}

#[tokio::test]
async fn what_is_blocked_and_not_known_is_told_apart() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    let cookie = signed_in(&admin, &store, Role::Security).await;
    let token = csrf(&get(&admin, &cookie, "/kill-switch").await.body);
    let block = async |name: &str| {
        let form = [("csrf", &*token), ("kind", "server"), ("tenant", ""), ("name", name), ("reason", "r")];
        post(&admin, &cookie, "/kill-switch/block", &form).await.status
    };
    let said = "not known here: stopped if it comes";
    let before = get(&admin, &cookie, "/kill-switch").await.body.matches(said).count();
    assert_eq!(block("crm").await, 303);
    assert_eq!(get(&admin, &cookie, "/kill-switch").await.body.matches(said).count(), before);
    assert_eq!(block("cmr").await, 303, "it may come");
    assert_eq!(get(&admin, &cookie, "/kill-switch").await.body.matches(said).count(), before + 1);
}

#[tokio::test]
async fn whoever_may_not_decide_on_a_waiting_call_is_told_who_may() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    let hint = "that takes the role <code>approver</code>";
    for (role, may) in [(Role::Admin, false), (Role::Auditor, false), (Role::Approver, true)] {
        let cookie = signed_in(&admin, &store, role).await;
        let page = get(&admin, &cookie, "/approvals/a1").await;
        assert_eq!((page.status, page.body.contains(hint)), (200, !may), "{role}: {}", page.body);
    }
}

/// A server of every tenant with as many tools, all approved as they were seen.
async fn pinned(store: &Memory, server: &str, tools: usize) {
    let item = |nth: usize| {
        let text: bytes::Bytes = format!("{{\"name\":\"tool_{nth:04}\"}}").into();
        let shape = PinShape::new(Digest::of([&text[..]]), text);
        let item = format!("tool_{nth:04}").into();
        Sighting { kind: PinKind::Tool, item, shape, is_trusted: true, is_held: false }
    };
    let server = ServerName::new(server).expect("a name");
    let items = (0..tools).map(item).collect();
    let sightings = Sightings { tenant: None, server, items, at: Timestamp::now(), by: "test".into() };
    store.sight(sightings).await.expect("seen");
}

#[tokio::test]
async fn all_that_is_pinned_is_found_however_much_there_is() {
    let fake = fake().await;
    let store = fake.store.clone();
    pinned(&store, "many", 2_100).await;
    pinned(&store, "zeta", 3).await;
    let (admin, _) = admin(fake);
    let cookie = signed_in(&admin, &store, Role::Auditor).await;
    let of_server = get(&admin, &cookie, "/pins?all=1&server=zeta").await;
    assert_eq!(of_server.body.matches("as approved</span>").count(), 3, "{}", of_server.body);
    let (mut path, mut seen) = ("/pins?all=1".to_owned(), 0);
    loop {
        let page = get(&admin, &cookie, &path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        seen += page.body.matches("as approved</span>").count();
        let Some(at) = page.body.find("<a class=\"button\" href=\"/pins?") else { break };
        let href = page.body[at..].split('"').nth(3).expect("a link");
        path = href.replace("&#38;", "&").replace("&amp;", "&");
    }
    assert_eq!(seen, 2_103, "one is not as it was approved");
    let key = key_of(&store, Role::Auditor, None).await;
    let (mut after, mut listed) = (String::new(), 0);
    loop {
        let path = format!("/api/v1/pins?limit=1000{after}");
        let page = ask(&admin, &key, "GET", &path, None).await.json();
        listed += page["items"].as_array().expect("a list").len();
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(listed, 2_104);
}

#[tokio::test]
async fn all_keys_are_found_however_many_there_are() {
    let fake = fake().await;
    let store = fake.store.clone();
    for nth in 0..1_005_u32 {
        let mut hash = [7; 32];
        hash[..4].copy_from_slice(&nth.to_be_bytes());
        let record = tollgate_model::KeyRecord {
            id: tollgate_model::KeyId::new(&format!("n{nth:04}")),
            tenant: acme(),
            agent: "bot".into(),
            groups: Vec::new(),
            hash: tollgate_model::KeyHash(hash),
            created: Timestamp::now(),
            expires: None,
            revoked: None,
            replaced_by: None,
        };
        store.add_key(record).await.expect("added");
    }
    let (admin, _) = admin(fake);
    let cookie = signed_in(&admin, &store, Role::Security).await;
    let (mut path, mut pages, mut seen) = ("/access".to_owned(), 0, 0);
    loop {
        let page = get(&admin, &cookie, &path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        pages += 1;
        seen += page.body.matches("action=\"/access/keys/revoke\"").count();
        let Some(at) = page.body.find("<a class=\"button\" href=\"/access?") else { break };
        page.body[at..].split('"').nth(3).expect("a link").clone_into(&mut path);
    }
    assert_eq!((pages, seen), (3, 1_006), "one was there before");
}

#[tokio::test]
async fn an_auditor_of_two_tenants_chooses_whose_calls_they_see() {
    let fake = fake().await;
    let store = fake.store.clone();
    let both =
        ["acme", "globex"].map(|tenant| Grant { role: Role::Auditor, tenant: Some(TenantId::new(tenant)) });
    let key = key_with(&store, &both).await;
    let (admin, _) = admin(fake);
    let form = [("secret", key.expose())];
    let cookie = post(&admin, "", "/sign-in/key", &form).await.cookie();
    let page = get(&admin, &cookie, "/calls").await;
    assert!(page.status == 200 && !page.body.contains("role=\"alert\""), "{}", page.body);
    assert!(page.body.contains("<option value=\"acme\" selected>"), "{}", page.body);
    assert!(page.body.contains("<option value=\"globex\">") && page.body.contains(MARK), "{}", page.body);
    let other = get(&admin, &cookie, "/calls?tenant=globex").await;
    assert!(other.body.contains("<option value=\"globex\" selected>"), "{}", other.body);
    assert!(!other.body.contains(MARK), "{}", other.body);
}

#[tokio::test]
async fn whatever_can_be_on_record_can_be_searched_for() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    let cookie = signed_in(&admin, &store, Role::Auditor).await;
    for (name, words) in [("kind", &Kind::ROWS[..]), ("outcome", &Outcome::WORDS[..])] {
        for word in words {
            let page = get(&admin, &cookie, &format!("/calls?{name}={word}")).await.body;
            assert!(page.contains(&format!("<option value=\"{word}\" selected>")), "{page}");
            assert!(!page.contains("role=\"alert\""), "{page}");
        }
    }
}

#[tokio::test]
async fn the_inbox_leads_to_the_oldest_call_that_waits() {
    let fake = fake().await;
    let (store, now) = (fake.store.clone(), Timestamp::now());
    let room = AskingRoom { principal_max: 1_000, tenant_max: 1_000 };
    for nth in 0..250_u32 {
        let one = approval(&"bot".into(), now);
        let of = ApprovalOf { binding: Digest::of([&nth.to_be_bytes()[..]]), ..one.of.clone() };
        let one = Approval { id: ApprovalId::new(&format!("b{nth:03}")), of, ..one };
        store.ask_approval(one, room).await.expect("asked");
    }
    let (admin, _) = admin(fake);
    let cookie = signed_in(&admin, &store, Role::Approver).await;
    let (row, older) = ("<a href=\"/approvals/b", "<a class=\"button\" href=\"/approvals?");
    let first = get(&admin, &cookie, "/approvals").await.body;
    let href = first[first.find(older).expect("a way on")..].split('"').nth(3).expect("a link");
    let second = get(&admin, &cookie, &href.replace("&#38;", "&").replace("&amp;", "&")).await.body;
    assert_eq!((first.matches(row).count(), second.matches(row).count()), (200, 50), "{second}");
    assert!(!second.contains(older), "the last of them is there: {second}");
    // It would show what is new on every page.
    assert!(first.contains("data-live") && !second.contains("data-live"), "{second}");
}

#[tokio::test]
async fn an_address_that_is_no_page_leads_to_one_or_says_so_on_one() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    let cookie = signed_in(&admin, &store, Role::Admin).await;
    // Pages that forms have made stand there: a reload of the address has nothing to send.
    for (path, page) in [
        ("/policies/validate", "/policies"),
        ("/policies/sets/WyJhY21lIiwicGF5Il0/simulate", "/policies/sets/WyJhY21lIiwicGF5Il0"),
        ("/settings/verify", "/settings"),
        ("/access/keys", "/access"),
        ("/sign-in/key", "/sign-in"),
        ("/sign-out", "/"),
    ] {
        let answered = get(&admin, &cookie, path).await;
        assert_eq!((answered.status, answered.location()), (303, page), "{path}");
        assert_eq!(get(&admin, &cookie, page).await.status, 200, "{page}");
    }
    for path in [
        "/servers?from=abc",
        "/servers/%ff",
        "/servers/crm?from=-1",
        "/pins/%ff",
        "/review?a=1&version=1&version=2",
    ] {
        let answered = get(&admin, &cookie, path).await;
        assert_eq!(answered.status, 400, "{path}: {}", answered.body);
        assert!(answered.body.contains("This address means nothing"), "{path}: {}", answered.body);
        is_harmless(path, &answered.body);
    }
    let browser = http::Request::builder().uri("/nothing").header("accept", "text/html,*/*;q=0.8");
    let answered = send(&admin, browser, "").await;
    assert_eq!(answered.status, 404);
    assert!(answered.body.contains("There is no page at this address."), "{}", answered.body);
    is_harmless("/nothing", &answered.body);
    let program = get(&admin, "", "/nothing").await;
    assert!(program.status == 404 && program.json()["error"].is_string(), "{}", program.body);
}

#[tokio::test]
async fn files_are_kept_by_browsers_until_they_are_others() {
    let (admin, _) = admin(fake().await);
    for path in ["/assets/console.css", "/assets/console.js", "/assets/icon.svg"] {
        let file = get(&admin, "", path).await;
        assert_eq!(file.status, 200);
        let known = http::Request::builder().uri(path).header("if-none-match", file.header("etag"));
        assert_eq!(send(&admin, known, "").await.status, 304);
    }
}
