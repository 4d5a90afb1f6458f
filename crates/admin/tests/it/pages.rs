//! The console: nothing of what others wrote runs in it, and nobody sees what they may not.

use tollgate_admin::Role;

use crate::support::{MARK, admin, fake, get, send, signed_in};

/// Every page of somebody who may see everything.
const PAGES: &[&str] = &[
    "/",
    "/servers",
    "/servers?search=ACMES&life=approved&origin=registered&state=unknown&tenant=acme",
    "/servers?life=nothing",
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
    "/access",
    "/usage",
    "/kill-switch",
    "/settings",
];

#[tokio::test]
async fn what_others_wrote_is_shown_and_never_runs() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    let cookie = signed_in(&admin, &store, Role::Admin).await;
    for path in PAGES {
        let page = get(&admin, &cookie, path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        assert!(!page.body.contains("<script>alert"), "{path}: {}", page.body);
        assert!(!page.body.contains("<img"), "{path}: {}", page.body);
        let scripts: Vec<_> = page.body.match_indices("<script").collect();
        assert_eq!(scripts.len(), 1, "{path} has no script but the console's file");
        assert!(!page.body.contains("style="), "{path}: no style of its own");
        assert!(!page.body.contains(" onclick") && !page.body.contains(" onload"), "{path}");
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
async fn those_without_a_role_see_nothing() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    let key = crate::support::key_of(&store, Role::Approver, Some("globex")).await;
    let answered = crate::support::post(&admin, "", "/sign-in/key", &[("secret", key.expose())]).await;
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
async fn files_are_kept_by_browsers_until_they_are_others() {
    let (admin, _) = admin(fake().await);
    for path in ["/assets/console.css", "/assets/console.js", "/assets/icon.svg"] {
        let file = get(&admin, "", path).await;
        assert_eq!(file.status, 200);
        let known = http::Request::builder().uri(path).header("if-none-match", file.header("etag"));
        assert_eq!(send(&admin, known, "").await.status, 304);
    }
}
