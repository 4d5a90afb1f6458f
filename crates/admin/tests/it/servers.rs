//! Servers that are registered: their life by the API and by the console's forms, and who may take which step.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH};
use serde_json::{Value, json};
use tollgate_admin::{Admin, Role};
use tollgate_ledger::{Kind, Ledger, LedgerSettings, Reader};
use tollgate_model::{Secret, ServerName, TenantId, Timestamp};
use tollgate_store::{
    About, Definitions, DefinitionsOf, LastKnown, List, Memory, Registration, RegistrationId, Registrations,
};

use crate::support::{
    Answered, Fake, MARK, acme, admin, ask, csrf, doing, fake, get, key_of, post, send, signed_in,
};

fn said() -> Value {
    json!({ "tenant": "acme", "name": "crm2", "reach": { "url": "https://crm.example/mcp" }, "owner": "sales" })
}

async fn bench() -> (Arc<Memory>, Admin) {
    let fake = fake().await;
    let store = fake.store.clone();
    (store, admin(fake).0)
}

/// Registers `crm2`, and gives the path of its version 1.
async fn registered(admin: &Admin, key: &Secret, body: &Value) -> String {
    let made = ask(admin, key, "POST", "/api/v1/servers", Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let made = made.json();
    assert_eq!(
        (&made["life"], &made["revision"], &made["origin"]),
        (&"draft".into(), &1.into(), &"api".into())
    );
    format!("/api/v1/servers/{}/versions/1", made["server"].as_str().expect("an id"))
}

fn is(answered: &Answered, status: u16, code: &str) {
    assert_eq!(
        (answered.status, answered.json()["code"].as_str()),
        (status, Some(code)),
        "{}",
        answered.body
    );
}

#[tokio::test]
async fn who_made_it_does_not_find_it_good() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut fake = fake().await;
    fake.ledger = Ledger::open(folder.path(), LedgerSettings::default()).expect("a ledger");
    let (store, ledger) = (fake.store.clone(), fake.ledger.clone());
    let (admin, _) = admin(fake);
    let (ann, bob) =
        (key_of(&store, Role::Admin, None).await, key_of(&store, Role::Security, Some("acme")).await);
    let path = registered(&admin, &ann, &said()).await;
    is(&ask(&admin, &ann, "POST", "/api/v1/servers", Some(&said())).await, 409, "taken");
    let step = async |key: &Secret, word: &str, body: Value| {
        ask(&admin, key, "POST", &format!("{path}/{word}"), Some(&body)).await
    };
    is(&step(&bob, "approve", json!({})).await, 409, "not_in_life");
    assert_eq!(step(&ann, "submit", json!({ "reason": "it is ready" })).await.status, 200);
    let refused = step(&ann, "approve", json!({})).await;
    is(&refused, 403, "own_work");
    assert!(refused.body.contains("somebody else has to"), "{}", refused.body);
    let approved = step(&bob, "approve", json!({ "reason": "looked at" })).await;
    assert_eq!(approved.status, 200, "{}", approved.body);
    let approved = approved.json();
    assert_eq!((&approved["life"], &approved["share"]), (&"approved".into(), &100.into()));
    assert_eq!(
        (&approved["last"]["ownWork"], &approved["last"]["reason"]),
        (&false.into(), &"looked at".into())
    );
    is(&step(&ann, "submit", json!({})).await, 409, "not_in_life");
    let past = step(&ann, "deprecate", json!({ "sunset": "2001-01-01T00:00:00Z" })).await;
    is(&past, 422, "invalid");
    assert_eq!(step(&ann, "deprecate", json!({ "sunset": "2999-01-01T00:00:00Z" })).await.status, 200);
    assert_eq!(step(&ann, "retire", json!({})).await.json()["life"], "retired");
    let shown = ask(&admin, &bob, "GET", &path, None).await.json();
    assert_eq!(
        (&shown["life"], &shown["reach"]["url"]),
        (&"retired".into(), &"https://crm.example/mcp".into())
    );

    ledger.close().await;
    let mut reader = Reader::new(ledger.folder().expect("a folder"));
    let mut acts = Vec::new();
    while let Some(read) = reader.next_entry().expect("read") {
        let entry = read.entry().expect("an entry");
        if entry.kind == Kind::Change {
            let detail = Value::Object(entry.detail.clone().expect("a detail"));
            let life = |when: &str| detail[when]["life"].as_str().unwrap_or("nothing").to_owned();
            acts.push(format!(
                "{} {}>{}",
                entry.change.as_deref().unwrap_or_default(),
                life("before"),
                life("after")
            ));
        }
    }
    assert_eq!(
        acts,
        [
            "admin.server.register nothing>draft",
            "admin.server.submit draft>in_review",
            "admin.server.approve in_review>approved",
            "admin.server.deprecate approved>deprecated",
            "admin.server.retire deprecated>retired",
        ],
        "what was refused changed nothing"
    );
}

#[tokio::test]
async fn whoever_ends_the_version_with_all_requests_is_told_of_those_that_stand_by() {
    let (store, admin) = bench().await;
    let key = key_of(&store, Role::Admin, None).await;
    let list = ask(&admin, &key, "GET", "/api/v1/servers?origin=registered", None).await.json();
    let server = list["items"][0]["id"].as_str().expect("an id").to_owned();
    let step = async |version: u8, word: &str, body: Value| {
        let path = format!("/api/v1/servers/{server}/versions/{version}/{word}");
        let answered = ask(&admin, &key, "POST", &path, Some(&body)).await;
        assert_eq!(answered.status, 200, "{}", answered.body);
        answered.json()
    };
    let sunset = json!({ "sunset": "2999-01-01T00:00:00Z" });
    let page = async || {
        let cookie = signed_in(&admin, &store, Role::Admin).await;
        get(&admin, &cookie, &format!("/servers/{MARK}?tenant=acme")).await.body
    };
    let idle = step(3, "deprecate", sunset.clone()).await;
    assert_eq!(idle.get("warning"), None, "it has no requests: {idle}");
    assert!(!page().await.contains("Mind the end"));
    let last = step(4, "deprecate", sunset.clone()).await;
    assert!(last["warning"].as_str().is_some_and(|text| text.contains("version 3")), "{last}");
    assert!(page().await.contains("Mind the end: all requests go to version 4"));
    step(3, "share", json!({ "share": 1 })).await;
    let again = step(4, "deprecate", sunset).await;
    assert_eq!(again.get("warning"), None, "another has requests: {again}");
    assert!(!page().await.contains("Mind the end"));
    // What is approved and gets nothing says so.
    let shown = async || ask(&admin, &key, "GET", &format!("/api/v1/servers/{server}"), None).await.json();
    assert_eq!(shown().await.get("notServed"), None);
    step(4, "share", json!({ "share": 100 })).await;
    step(4, "retire", json!({})).await;
    let idle = shown().await;
    assert_eq!(
        (&idle["version"], &idle["notServed"]),
        (&json!("3"), &json!("no version has a share of the requests"))
    );
}

#[tokio::test]
async fn a_draft_is_edited_by_whoever_has_seen_it() {
    let (store, admin) = bench().await;
    let key = key_of(&store, Role::Operator, Some("acme")).await;
    let path = registered(&admin, &key, &said()).await;
    let tag = ask(&admin, &key, "GET", &path, None).await.header("etag").to_owned();
    let put = async |tag: &str, url: &str| {
        let bearer = format!("Bearer {}", key.expose());
        let request = Request::builder().method("PUT").uri(&path).header(AUTHORIZATION, bearer);
        let request = request.header(CONTENT_TYPE, "application/json").header(IF_MATCH, tag);
        send(&admin, request, &json!({ "reach": { "url": url } }).to_string()).await
    };
    let edited = put(&tag, "https://two.example/mcp").await;
    assert_eq!((edited.status, &edited.json()["revision"]), (200, &2.into()), "{}", edited.body);
    is(&put(&tag, "https://three.example/mcp").await, 412, "changed");
    let secret = put(edited.header("etag"), "https://s3cret.example").await;
    is(&secret, 422, "invalid");
    let shown = ask(&admin, &key, "GET", &path, None).await.json();
    assert_eq!((&shown["reach"]["url"], shown.get("owner")), (&"https://two.example/mcp".into(), None));
    assert_eq!(ask(&admin, &key, "POST", &format!("{path}/submit"), Some(&json!({}))).await.status, 200);
    is(&put("*", "https://four.example/mcp").await, 409, "not_in_life");
}

#[tokio::test]
async fn a_server_owner_changes_what_is_their_own() {
    let (store, admin) = bench().await;
    let (own, other) = (
        key_of(&store, Role::ServerOwner, Some("acme")).await,
        key_of(&store, Role::ServerOwner, Some("acme")).await,
    );
    let path = registered(&admin, &own, &said()).await;
    let edit = json!({ "reach": { "url": "https://evil.example" } });
    is(&ask(&admin, &other, "PUT", &path, Some(&edit)).await, 403, "not_own");
    is(&ask(&admin, &other, "POST", &format!("{path}/submit"), Some(&json!({}))).await, 403, "not_own");
    // Nor by another version of it.
    let mut second = said();
    second["version"] = "2".into();
    is(&ask(&admin, &other, "POST", "/api/v1/servers", Some(&second)).await, 403, "not_own");
    assert_eq!(ask(&admin, &own, "POST", "/api/v1/servers", Some(&second)).await.status, 201);
    assert_eq!(ask(&admin, &own, "POST", &format!("{path}/submit"), Some(&json!({}))).await.status, 200);
    is(&ask(&admin, &own, "POST", &format!("{path}/approve"), Some(&json!({}))).await, 403, "not_allowed");
    is(&ask(&admin, &own, "POST", &format!("{path}/review"), None).await, 403, "not_allowed");
}

#[tokio::test]
async fn what_every_tenant_has_takes_a_role_in_all_of_them() {
    let (store, admin) = bench().await;
    let (here, everywhere) =
        (key_of(&store, Role::Admin, Some("acme")).await, key_of(&store, Role::Admin, None).await);
    let mut shared = said();
    shared["reach"]["shared"] = true.into();
    is(&ask(&admin, &here, "POST", "/api/v1/servers", Some(&shared)).await, 403, "not_allowed");
    let path = registered(&admin, &everywhere, &shared).await;
    for (word, body) in [("submit", json!({})), ("retire", json!({}))] {
        is(&ask(&admin, &here, "POST", &format!("{path}/{word}"), Some(&body)).await, 403, "not_allowed");
    }
    assert_eq!(
        ask(&admin, &everywhere, "POST", &format!("{path}/submit"), Some(&json!({}))).await.status,
        200
    );
    is(&ask(&admin, &here, "POST", &format!("{path}/approve"), Some(&json!({}))).await, 403, "not_allowed");
    is(&ask(&admin, &here, "POST", &format!("{path}/review"), None).await, 403, "not_allowed");
}

#[tokio::test]
async fn versions_share_requests_and_give_them_back_in_one_act() {
    let (store, admin) = bench().await;
    let (key, viewer) = (
        key_of(&store, Role::Operator, Some("acme")).await,
        key_of(&store, Role::Viewer, Some("acme")).await,
    );
    let list = ask(&admin, &key, "GET", "/api/v1/servers?origin=registered", None).await.json();
    let server = &list["items"][0];
    assert_eq!(
        (&server["version"], &server["versions"], &server["life"]),
        (&"4".into(), &4.into(), &"approved".into())
    );
    let path = format!("/api/v1/servers/{}", server["id"].as_str().expect("an id"));
    let shares = async || {
        let shown = ask(&admin, &key, "GET", &path, None).await.json();
        let versions = shown["registered"].as_array().expect("versions").clone();
        versions.iter().map(|one| one["share"].as_u64().expect("a share")).collect::<Vec<_>>()
    };
    assert_eq!(shares().await, [0, 0, 0, 100]);
    let body = json!({ "share": 30 });
    assert_eq!(ask(&admin, &key, "POST", &format!("{path}/versions/3/share"), Some(&body)).await.status, 200);
    assert_eq!(shares().await, [0, 0, 30, 70]);
    is(
        &ask(&admin, &key, "POST", &format!("{path}/versions/3/share"), Some(&json!({ "share": 101 }))).await,
        422,
        "invalid",
    );
    let back =
        ask(&admin, &key, "POST", &format!("{path}/rollback"), Some(&json!({ "reason": "errors" }))).await;
    assert_eq!((back.status, back.json()["items"].as_array().map(Vec::len)), (200, Some(2)), "{}", back.body);
    assert_eq!(shares().await, [0, 0, 100, 0]);
    is(&ask(&admin, &key, "POST", &format!("{path}/rollback"), Some(&json!({}))).await, 409, "not_in_life");
    // How it is reached is not everybody's to know.
    let shown = ask(&admin, &viewer, "GET", &path, None).await.json();
    assert_eq!(
        (shown["registered"].as_array().map(Vec::len), shown["registered"][0].get("reach")),
        (Some(4), None)
    );
    assert_eq!(ask(&admin, &viewer, "GET", &format!("{path}/versions/1"), None).await.status, 403);
}

#[tokio::test]
async fn all_of_a_document_become_drafts_or_none_does() {
    let (store, admin) = bench().await;
    let key = key_of(&store, Role::ServerOwner, Some("acme")).await;
    let import = async |more: Value| {
        let mut body = json!({ "tenant": "acme", "owner": "sales" });
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        ask(&admin, &key, "POST", "/api/v1/server-imports", Some(&body)).await
    };
    is(&import(json!({})).await, 422, "invalid");
    is(&import(json!({ "document": {}, "only": ["nothing"] })).await, 422, "invalid");
    is(&import(json!({ "document": {}, "name": "one" })).await, 422, "invalid");
    let refused = import(json!({ "url": "https://10.0.0.1/" })).await;
    is(&refused, 422, "invalid");
    assert!(refused.body.contains("no public address"));
    let one = import(json!({ "document": "{}", "only": ["com.example/tasks"], "name": "todo" })).await;
    assert_eq!(one.status, 201, "{}", one.body);
    assert_eq!(
        (&one.json()["items"][0]["name"], &one.json()["items"][0]["version"]),
        (&"todo".into(), &"1.2".into())
    );
    // Under the name of another server it would be in the way.
    let taken = import(json!({ "document": {}, "only": ["tasks"], "name": "todo" })).await;
    is(&taken, 409, "taken");
    assert!(taken.body.contains("nothing is registered: com.example/tasks: "), "{}", taken.body);
    let edited = import(json!({ "document": {}, "only": ["tasks"], "name": "todo", "replace": true })).await;
    let entry = edited.json()["entries"][0].clone();
    let known =
        json!({ "found": "com.example/tasks", "outcome": "edited", "name": "todo", "version": "1.2" });
    assert_eq!(entry, known, "{}", edited.body);
    let both = import(json!({ "document": {} })).await.json();
    assert_eq!(both["items"].as_array().map(Vec::len), Some(2), "{both}");
    assert_eq!(
        (&both["items"][0]["owner"], &both["items"][0]["origin"]),
        (&"sales".into(), &"import".into())
    );
    is(&import(json!({ "document": {} })).await, 409, "taken");
    let each = json!({ "document": {}, "each": true });
    is(&import(each.clone()).await, 409, "taken");
    // One of the two is handed in and cannot be edited any more: all or none means none.
    let path = "/api/v1/servers/".to_owned() + &id("acme", "notes") + "/versions/1.2/submit";
    assert_eq!(ask(&admin, &key, "POST", &path, Some(&json!({}))).await.status, 200);
    let replacing = json!({ "document": {}, "replace": true, "owner": "ops" });
    is(&import(replacing.clone()).await, 409, "taken");
    let mut each = replacing;
    each["each"] = true.into();
    let some = import(each).await;
    assert_eq!(some.status, 201, "{}", some.body);
    let some = some.json();
    let outcomes: Vec<_> =
        some["entries"].as_array().expect("entries").iter().map(|one| &one["outcome"]).collect();
    assert_eq!(outcomes, ["refused", "edited"], "{some}");
    assert!(some["entries"][0]["why"].as_str().is_some_and(|why| why.contains("in_review")), "{some}");
    assert_eq!((&some["items"][0]["name"], &some["items"][0]["owner"]), (&"tasks".into(), &"ops".into()));
}

#[tokio::test]
async fn keys_are_named_to_those_who_see_keys() {
    let (store, admin) = bench().await;
    let path = "/api/v1/servers/".to_owned() + &id("acme", "crm") + "/callers";
    for (role, sees) in [(Role::Operator, true), (Role::ServerOwner, false)] {
        let key = key_of(&store, role, Some("acme")).await;
        let callers = ask(&admin, &key, "GET", &path, None).await;
        assert_eq!(callers.status, 200, "{}", callers.body);
        let tool = &callers.json()["items"][0];
        assert_eq!(tool["callers"]["rules"].as_array().map(Vec::len), Some(1));
        assert_eq!(tool["callers"]["keys"].as_array().map(Vec::len), Some(usize::from(sees)), "{role}");
    }
}

fn id(tenant: &str, name: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json!([tenant, name]).to_string())
}

/// Somebody's session in the console, with what its forms show.
struct Session {
    admin: Admin,
    cookie: String,
    csrf: String,
}

impl Session {
    async fn of(admin: &Admin, cookie: String) -> Self {
        let csrf = csrf(&get(admin, &cookie, "/servers").await.body);
        Self { admin: admin.clone(), cookie, csrf }
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answered {
        let form: Vec<_> = [("csrf", &*self.csrf)].into_iter().chain(form.iter().copied()).collect();
        post(&self.admin, &self.cookie, path, &form).await
    }

    async fn get(&self, path: &str) -> String {
        let page = get(&self.admin, &self.cookie, path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        assert!(!page.body.contains("<script>alert") && !page.body.contains("<img"), "{path}");
        page.body
    }
}

const NEW: &[(&str, &str)] = &[
    ("tenant", "acme"),
    ("name", "forms"),
    ("version", "1"),
    ("url", "https://forms.example/mcp"),
    ("headers", "Authorization: Bearer ${FORMS_TOKEN}\r\n"),
    ("tags", "a, <b>"),
    ("reason", "needed"),
];

async fn is_life(store: &Memory, version: &str, life: &str) -> Registration {
    let name = ServerName::new("forms").expect("a name");
    let id = RegistrationId { tenant: acme(), name, version: version.into() };
    let found = store.registration(&id).await.expect("read").expect("registered");
    assert_eq!(found.life.as_str(), life);
    found
}

#[tokio::test]
async fn a_whole_life_goes_by_forms_alone() {
    let (store, admin) = bench().await;
    let ann = Session::of(&admin, signed_in(&admin, &store, Role::Operator).await).await;
    let bob = Session::of(&admin, signed_in(&admin, &store, Role::Security).await).await;
    let path = "/servers/forms?tenant=acme";
    let made = ann.post("/servers-new", NEW).await;
    assert_eq!((made.status, made.location()), (303, path), "{}", made.body);
    let draft = is_life(&store, "1", "draft").await;
    assert_eq!(
        serde_json::from_str::<Value>(&draft.reach).expect("JSON"),
        json!({ "url": "https://forms.example/mcp", "headers": { "Authorization": "Bearer ${FORMS_TOKEN}" } })
    );
    // What is wrong is said beside what was typed.
    let again = ann.post("/servers-new", NEW).await;
    assert_eq!(again.status, 409);
    assert!(again.body.contains("registered already") && again.body.contains("https://forms.example/mcp"));
    let form = ann.get("/servers-new?tenant=acme&name=forms&version=1").await;
    assert!(
        form.contains("Bearer ${FORMS_TOKEN}") && form.contains("name=\"revision\" value=\"1\""),
        "{form}"
    );
    let edited = [NEW, &[("revision", "1"), ("description", "Forms")]].concat();
    assert_eq!(ann.post("/servers-new", &edited).await.status, 303);
    assert_eq!(ann.post("/servers-new", &edited).await.status, 412, "somebody else was faster");
    assert_eq!(is_life(&store, "1", "draft").await.about.description.as_deref(), Some("Forms"));
    assert!(ann.get(path).await.contains("Submit for review"));

    let step = |act: &'static str, revision: &'static str| {
        [("act", act), ("tenant", "acme"), ("name", "forms"), ("version", "1"), ("revision", revision)]
    };
    assert_eq!(ann.post("/servers/forms", &step("submit", "1")).await.status, 412);
    let submitted = ann.post("/servers/forms", &step("submit", "2")).await;
    assert_eq!((submitted.status, submitted.location()), (303, path), "{}", submitted.body);
    is_life(&store, "1", "in_review").await;
    assert!(bob.get("/servers").await.contains("for a review"));
    let review = "/review?tenant=acme&name=forms&version=1";
    assert!(bob.get("/review").await.contains("forms"));
    assert!(bob.get(review).await.contains("Ask it what it has"));
    assert_eq!(ann.post("/review", &step("ask", "3")).await.status, 403, "it is for those who approve");
    let asked = bob.post("/review", &step("ask", "3")).await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    for text in ["another than is pinned", "Found: injection", "Known keys that could call it", "Group::"] {
        assert!(asked.body.contains(text), "{text}: {}", asked.body);
    }
    assert!(!asked.body.contains("<script>alert") && !asked.body.contains("<img"), "{}", asked.body);
    let approve = [&step("approve", "3")[..], &[("share", ""), ("reason", "good")]].concat();
    assert_eq!(bob.post("/review", &approve).await.status, 303);
    assert_eq!(is_life(&store, "1", "approved").await.share, 100);

    let ends = [&step("deprecate", "4")[..], &[("sunset", "2999-12-31")]].concat();
    assert_eq!(ann.post("/servers/forms", &ends).await.status, 303);
    let sunset = is_life(&store, "1", "deprecated").await.sunset.map(|sunset| sunset.to_string());
    assert_eq!(sunset.as_deref(), Some("2999-12-31T00:00:00Z"));
    assert_eq!(ann.post("/servers/forms", &step("retire", "5")).await.status, 303);
    is_life(&store, "1", "retired").await;
    let list = ann.get("/servers").await;
    assert!(
        !list.contains("/servers/forms") && ann.get("/servers?life=retired").await.contains("/servers/forms")
    );

    let back = [("act", "rollback"), ("tenant", "acme"), ("version", "3"), ("reason", "errors")];
    assert_eq!(ann.post(&format!("/servers/{MARK}"), &back).await.status, 303);
    let import = [("tenant", "acme"), ("document", "{}"), ("only", "tasks"), ("name", "forms-2")];
    let imported = ann.post("/servers-import", &import).await;
    assert_eq!((imported.status, imported.location()), (303, "/servers?life=draft"), "{}", imported.body);
    let failed = ann.post("/servers-import", &[("tenant", "acme"), ("url", "https://10.0.0.1/")]).await;
    assert!(failed.status == 422 && failed.body.contains("no public address"), "{}", failed.body);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_no_page_that_fails() {
    let (store, admin) = bench().await;
    let bob = Session::of(&admin, signed_in(&admin, &store, Role::Admin).await).await;
    let new = [("tenant", "acme"), ("name", "forms"), ("version", "1"), ("url", "https://nobody.example")];
    assert_eq!(bob.post("/servers-new", &new).await.status, 303);
    let form = [("act", "ask"), ("tenant", "acme"), ("name", "forms"), ("version", "1")];
    let asked = bob.post("/review", &form).await;
    assert!(asked.status == 200 && asked.body.contains("nobody answers") && !asked.body.contains("<img"));
    let key = key_of(&store, Role::Admin, None).await;
    let path = format!("/api/v1/servers/{}/versions/1/review", id("acme", "forms"));
    is(&ask(&admin, &key, "POST", &path, None).await, 502, "not_reached");
}

/// Whoever came by the link registers, submits and approves. Gives what came of it.
async fn alone(self_approval: Option<bool>) -> (u16, Registration) {
    let fake = Fake { self_approval, ..fake().await };
    let store = fake.store.clone();
    let (admin, link) = admin(fake);
    let link = link.expect("a link");
    let answered = post(&admin, "", "/sign-in/once", &[("secret", link.expose())]).await;
    let session = Session::of(&admin, answered.cookie()).await;
    assert_eq!(session.post("/servers-new", NEW).await.status, 303);
    let form = |act, revision| {
        [("act", act), ("tenant", "acme"), ("name", "forms"), ("version", "1"), ("revision", revision)]
    };
    assert_eq!(session.post("/servers/forms", &form("submit", "1")).await.status, 303);
    let page = session.get("/review?tenant=acme&name=forms&version=1").await;
    let approved = session.post("/review", &form("approve", "2")).await.status;
    assert_eq!(page.contains("You cannot approve it"), approved != 303, "{page}");
    let life = if approved == 303 { "approved" } else { "in_review" };
    (approved, is_life(&store, "1", life).await)
}

#[tokio::test]
async fn the_local_admin_is_not_stuck_and_it_is_on_record() {
    let (status, approved) = alone(None).await;
    assert_eq!((status, approved.last.is_own), (303, true));
    assert_eq!(alone(Some(true)).await.0, 303);
    assert_eq!(alone(Some(false)).await.0, 403);
}

#[tokio::test]
async fn five_hundred_servers_are_shown_at_once() {
    let (store, admin) = bench().await;
    let items: Vec<bytes::Bytes> = (0..20)
        .map(|nth| {
            let text = "It does a thing that takes some words to say. ".repeat(4);
            json!({ "name": format!("tool-{nth}"), "description": text, "inputSchema": { "type": "object" } })
                .to_string()
                .into()
        })
        .collect();
    for nth in 0..500 {
        let name = ServerName::new(&format!("server-{nth}")).expect("a name");
        let id = RegistrationId { tenant: acme(), name: name.clone(), version: "1".into() };
        let about = About { owner: Some("sales".into()), ..About::default() };
        let draft =
            Registration::draft(id, "{\"url\":\"https://a.example\"}".into(), about, "api", &doing(1));
        store.put_registrations(vec![draft]).await.expect("put");
        let of = DefinitionsOf { tenant: Some(TenantId::new("acme")), server: name, list: List::Tools };
        store.keep_definitions(&Definitions::new(of, items.clone(), Timestamp::now())).await.expect("kept");
    }
    let session = Session::of(&admin, signed_in(&admin, &store, Role::Admin).await).await;
    let quick = Duration::from_millis(300);
    for path in ["/servers", "/servers?search=server-4&from=50", "/servers/server-77?tenant=acme"] {
        let mut best = Duration::MAX;
        // The machine may have other things to do: one quick time is enough.
        for _ in 0..20 {
            let since = Instant::now();
            session.get(path).await;
            best = best.min(since.elapsed());
            if best < quick {
                break;
            }
        }
        assert!(best < quick, "{path}: {best:?}");
    }
    let first = session.get("/servers?origin=registered").await;
    assert!(first.contains("1 to 50 of 501") && first.contains("from=50"), "{first}");
    let last = session.get("/servers?origin=registered&from=500").await;
    assert!(last.contains("501 to 501 of 501") && !last.contains("from=550"), "{last}");
}
