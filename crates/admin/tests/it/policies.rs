//! Policies that are written here: by the API and by the pages.

use serde_json::{Value, json};
use tollgate_admin::Role;
use tollgate_store::{RuleSetId, RuleSets};

use crate::support::{BAD, Fake, MARK, XSS, acme, admin, ask, csrf, fake, get, key_of, post, signed_in};

const PATH: &str = "/api/v1/policy-sets";

async fn made(
    fake: Fake,
) -> (tollgate_admin::Admin, std::sync::Arc<tollgate_store::Memory>, tollgate_model::Secret) {
    let store = fake.store.clone();
    let key = key_of(&store, Role::Security, Some("acme")).await;
    (admin(fake).0, store, key)
}

#[tokio::test]
async fn a_set_is_written_looks_on_decides_and_is_taken_back() {
    let (admin, store, key) = made(fake().await).await;
    let body = json!({ "tenant": "acme", "name": "gift", "text": "// one\r\n", "reason": "asked for" });
    let first = ask(&admin, &key, "POST", PATH, Some(&body)).await;
    assert_eq!(first.status, 201, "{}", first.body);
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(first.json()["versions"][0]["text"], "// one\n");
    assert_eq!(ask(&admin, &key, "POST", PATH, Some(&body)).await.status, 409);
    let at = |what: &str| format!("{PATH}/{id}{what}");
    let put = ask(&admin, &key, "PUT", &at(""), Some(&json!({ "text": format!("// {BAD}") }))).await;
    assert_eq!((put.status, put.json()["latest"].clone()), (200, json!(2)), "{}", put.body);

    // What is not valid is never put in force, and it is said where it is wrong.
    let refused = ask(&admin, &key, "POST", &at("/promote"), Some(&json!({ "version": 2 }))).await;
    assert_eq!(
        (refused.status, refused.json()["code"].clone()),
        (422, json!("not_valid")),
        "{}",
        refused.body
    );
    assert!(
        refused.body.contains("store:gift@2:3:4: ") && refused.body.contains("did you mean"),
        "{}",
        refused.body
    );
    let looking = ask(&admin, &key, "POST", &at("/shadow"), Some(&json!({ "version": 2 }))).await;
    assert_eq!(looking.status, 422, "nor does it look on: {}", looking.body);
    let shown = ask(&admin, &key, "GET", &at(""), None).await;
    assert_eq!((shown.json().get("inForce"), shown.json().get("shadow")), (None, None));

    let of = RuleSetId::new(Some(acme()), "gift").expect("a name");
    for (what, body, in_force, shadow) in [
        ("/shadow", json!({ "version": 1 }), None, Some(1)),
        ("/promote", json!({ "version": 1, "reason": "looked good" }), Some(1), None),
        ("/roll-back", json!({}), None, None),
        ("/promote", json!({ "version": 1 }), Some(1), None),
        ("/withdraw", json!({}), None, None),
    ] {
        let done = ask(&admin, &key, "POST", &at(what), Some(&body)).await;
        assert_eq!(done.status, 200, "{what}: {}", done.body);
        let kept = store.rules(&of).await.expect("read").expect("there");
        assert_eq!((kept.in_force, kept.shadow), (in_force, shadow), "{what}");
    }
    let again = ask(&admin, &key, "POST", &at("/withdraw"), Some(&json!({}))).await;
    assert_eq!((again.status, again.json()["code"].clone()), (409, json!("unfit")));
    assert_eq!(ask(&admin, &key, "DELETE", &at(""), None).await.status, 204);
    assert_eq!(ask(&admin, &key, "GET", &at(""), None).await.status, 404);
}

#[tokio::test]
async fn what_was_not_seen_is_not_changed() {
    let (admin, _, key) = made(fake().await).await;
    let listed = ask(&admin, &key, "GET", PATH, None).await.json();
    let id = listed["items"][0]["id"].as_str().expect("an id").to_owned();
    let path = format!("{PATH}/{id}");
    let tag = ask(&admin, &key, "GET", &path, None).await.header("etag").to_owned();
    let put = async |tag: &str| {
        let request = http::Request::builder()
            .method("PUT")
            .uri(&path)
            .header("authorization", format!("Bearer {}", key.expose()))
            .header("content-type", "application/json")
            .header("if-match", tag);
        crate::support::send(&admin, request, "{\"text\":\"// new\"}").await.status
    };
    assert_eq!(put("\"other\"").await, 412);
    assert_eq!(put(&tag).await, 200);
    assert_eq!(put(&tag).await, 412, "it is another by now");
}

#[tokio::test]
async fn nobody_puts_in_force_what_they_wrote_where_four_eyes_are_needed() {
    let fake = Fake { policies: (true, true), ..fake().await };
    let store = fake.store.clone();
    let (admin, _, author) = made(fake).await;
    let other = key_of(&store, Role::Admin, None).await;
    let body = json!({ "tenant": "acme", "name": "gift", "text": "// one" });
    let id = ask(&admin, &author, "POST", PATH, Some(&body)).await.json()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("{PATH}/{id}/promote");
    let own = ask(&admin, &author, "POST", &path, Some(&json!({ "version": 1 }))).await;
    assert_eq!((own.status, own.json()["code"].clone()), (403, json!("four_eyes")), "{}", own.body);
    assert_eq!(ask(&admin, &other, "POST", &path, Some(&json!({ "version": 1 }))).await.status, 200);
}

#[tokio::test]
async fn nothing_decides_where_the_configuration_does_not_say_so() {
    let (admin, _, key) = made(Fake { policies: (false, false), ..fake().await }).await;
    let listed = ask(&admin, &key, "GET", PATH, None).await.json();
    let id = listed["items"][0]["id"].as_str().expect("an id").to_owned();
    let refused =
        ask(&admin, &key, "POST", &format!("{PATH}/{id}/promote"), Some(&json!({ "version": 2 }))).await;
    assert_eq!(
        (refused.status, refused.json()["code"].clone()),
        (409, json!("turned_off")),
        "{}",
        refused.body
    );
    assert!(refused.body.contains("stored: true"), "{}", refused.body);
}

#[tokio::test]
async fn the_operators_are_for_those_who_may_everywhere() {
    let (admin, _, key) = made(fake().await).await;
    let body = json!({ "name": "all", "text": "// one" });
    assert_eq!(ask(&admin, &key, "POST", PATH, Some(&body)).await.status, 403);
    for name in ["Upper", "a/b", ""] {
        let body = json!({ "tenant": "acme", "name": name, "text": "// one" });
        assert_eq!(ask(&admin, &key, "POST", PATH, Some(&body)).await.status, 422, "{name}");
    }
}

#[tokio::test]
async fn what_this_gateway_does_not_use_is_told_in_full_to_those_of_all_tenants() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    let everywhere = signed_in(&admin, &store, Role::Auditor).await;
    let page = get(&admin, &everywhere, "/policies").await.body;
    assert!(page.contains("does not use what is stored") && page.contains("store:pay@7:1:1"), "{page}");
    let key = key_of(&store, Role::Security, Some("globex")).await;
    let one = post(&admin, "", "/sign-in/key", &[("secret", key.expose())]).await.cookie();
    let page = get(&admin, &one, "/policies").await.body;
    assert!(page.contains("does not use what is stored") && !page.contains("store:pay@7"), "{page}");
    let overview = ask(&admin, &key, "GET", "/api/v1/overview", None).await;
    assert!(
        overview.body.contains("\"policies\"") && !overview.body.contains("store:pay@7"),
        "{}",
        overview.body
    );
}

#[tokio::test]
async fn a_form_does_what_the_api_does() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    let cookie = signed_in(&admin, &store, Role::Admin).await;
    let page = get(&admin, &cookie, "/policies").await;
    let token = csrf(&page.body);
    let form = [("csrf", &*token), ("tenant", "*"), ("name", "stop"), ("text", "// one"), ("reason", "")];
    let made = post(&admin, &cookie, "/policies/sets", &form).await;
    assert_eq!(made.status, 303, "{}", made.body);
    let path = made.location().to_owned();
    let again =
        [("csrf", &*token), ("tenant", "*"), ("name", "stop"), ("text", "// in vain"), ("reason", "r1")];
    let taken = post(&admin, &cookie, "/policies/sets", &again).await;
    assert!(taken.status == 409 && taken.body.contains("a set of this name already"), "{}", taken.body);
    for typed in ["// in vain</textarea>", "value=\"stop\"", "value=\"r1\"", "value=\"*\" selected"] {
        assert!(taken.body.contains(typed), "what was typed is not lost: {typed}: {}", taken.body);
    }
    let page = get(&admin, &cookie, &path).await;
    assert!(
        page.body.contains("operator: forbids only") && page.body.contains("nothing of it"),
        "{}",
        page.body
    );

    let text = format!("// {BAD}");
    let form = |revision: &'static str, version: &'static str| {
        [
            ("csrf", token.clone()),
            ("text", text.clone()),
            ("cases", "cases: []".to_owned()),
            ("revision", revision.to_owned()),
            ("version", version.to_owned()),
        ]
    };
    let send = async |what: &str, form: [(&str, String); 5]| {
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, &**value)).collect();
        post(&admin, &cookie, &format!("{path}/{what}"), &form).await
    };
    for (what, said) in
        [("validate", "cannot be put in force"), ("test", "otherwise"), ("simulate", "7 recorded decisions")]
    {
        let page = send(what, form("1", "")).await;
        assert_eq!(page.status, 200, "{what}");
        assert!(page.body.contains(said) && page.body.contains(&text), "{what}: {}", page.body);
        assert!(!page.body.contains("<script>alert"), "{what}: {}", page.body);
    }
    assert_eq!(send("write", form("1", "")).await.status, 303);
    let late = send("write", form("1", "")).await;
    assert!(late.status == 409 && late.body.contains(&text), "what was typed is not lost: {}", late.body);
    let refused = send("promote", form("2", "2")).await;
    assert!(refused.status == 422 && refused.body.contains(":3:4: "), "{}", refused.body);
    assert_eq!(send("promote", form("2", "1")).await.status, 303);
    let page = get(&admin, &cookie, &path).await.body;
    assert!(page.contains("version 1</span>") && page.contains("Roll back to nothing in force"), "{page}");
    assert_eq!(send("roll-back", form("3", "")).await.status, 303);
    assert_eq!(send("remove", form("4", "")).await.status, 303);
    assert_eq!(get(&admin, &cookie, &path).await.status, 404);
}

#[tokio::test]
async fn what_guards_found_is_listed_by_the_api() {
    let fake = fake().await;
    let store = fake.store.clone();
    let own = key_of(&store, Role::Auditor, Some("acme")).await;
    let other = key_of(&store, Role::Auditor, Some("globex")).await;
    let (admin, _) = admin(fake);
    let found = async |key: &tollgate_model::Secret, path: &str| ask(&admin, key, "GET", path, None).await;
    let listed = found(&own, "/api/v1/findings?rule=personal.email").await.json();
    let row = &listed["items"][0];
    assert_eq!(
        (row["severity"].clone(), row["tool"].clone()),
        (json!("high"), json!(format!("{MARK}{XSS}")))
    );
    assert!(row["call"].is_string());
    let sums = found(&own, "/api/v1/findings/sums?by=severity").await.json();
    assert_eq!(sums, json!([{ "name": "high", "found": 1 }]));
    assert_eq!(found(&own, "/api/v1/findings?severity=low").await.json()["items"], Value::Array(Vec::new()));
    assert_eq!(found(&other, "/api/v1/findings").await.json()["items"], Value::Array(Vec::new()));
    assert_eq!(found(&other, "/api/v1/findings?tenant=acme").await.status, 403);
    assert_eq!(found(&own, "/api/v1/findings/sums?by=text").await.status, 422);
    let tenants = found(&own, "/api/v1/tenants").await.json();
    assert_eq!(tenants[0]["id"], "acme");
    assert_eq!((tenants[0]["approvalsWaiting"].clone(), tenants[0]["blocks"].clone()), (json!(1), json!(2)));
    assert_eq!(tenants.as_array().map(Vec::len), Some(1));
}
