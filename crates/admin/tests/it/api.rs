//! What holds of the whole API.

use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use serde_json::json;
use tollgate_admin::{Grant, Role};
use tollgate_identity::key;
use tollgate_ledger::{Kind, Ledger, LedgerSettings, Reader};
use tollgate_model::{Secret, Timestamp};
use tollgate_store::{
    AdminKey, Admins as _, Approval, ApprovalId, ApprovalOf, Approvals as _, AskingRoom, AuditBatch,
    AuditIndex as _, Blocks as _, Digest, Followed, UsageKey, UsageRow, UsageSum,
};

use crate::support::{MARK, XSS, acme, admin, approval, ask, csrf, fake, get, key_of, post, send, signed_in};

#[tokio::test]
async fn what_is_wrong_is_a_problem() {
    let fake = fake().await;
    let key = key_of(&fake.store, Role::Admin, None).await;
    let (admin, _) = admin(fake);
    let bearer = format!("Bearer {}", key.expose());
    for (method, path, kind, body, status, code) in [
        ("GET", "/api/v1/nothing", "", "", 404, "not_found"),
        ("PATCH", "/api/v1/blocks", "", "", 405, "method"),
        ("GET", "/api/v1/blocks?limit=0", "", "", 422, "invalid"),
        ("GET", "/api/v1/blocks?limit=x", "", "", 422, "invalid"),
        ("GET", "/api/v1/blocks?after=x", "", "", 422, "invalid"),
        ("GET", "/api/v1/blocks?tenant=acme", "", "", 422, "invalid"),
        ("GET", "/api/v1/keys?tenant=acme&moon=1", "", "", 422, "invalid"),
        ("DELETE", "/api/v1/blocks/x?limit=1", "", "", 422, "invalid"),
        ("GET", "/api/v1/blocks/x", "", "", 404, "not_found"),
        ("GET", "/api/v1/ledger?kind=moon", "", "", 422, "invalid"),
        ("GET", "/api/v1/ledger?outcome=moon", "", "", 422, "invalid"),
        ("GET", "/api/v1/findings?severity=moon", "", "", 422, "invalid"),
        ("GET", "/api/v1/findings/sums?by=day&direction=moon", "", "", 422, "invalid"),
        (
            "GET",
            "/api/v1/ledger?since=2027-01-02T00:00:00Z&until=2027-01-01T00:00:00Z",
            "",
            "",
            422,
            "invalid",
        ),
        ("POST", "/api/v1/blocks", "text/plain", "{}", 415, "media_type"),
        ("POST", "/api/v1/blocks", "application/json", "{", 400, "malformed"),
        ("POST", "/api/v1/blocks", "application/json", "{}", 422, "invalid"),
        ("POST", "/api/v1/blocks", "application/json", r#" ["agent","acme","x","y",false]"#, 422, "invalid"),
        (
            "POST",
            "/api/v1/blocks",
            "application/json",
            r#"{"kind":"moon","name":"x","reason":"y"}"#,
            422,
            "invalid",
        ),
        ("GET", "/api/v1/usage?since=yesterday", "", "", 422, "invalid"),
        ("GET", "/api/v1/servers?life=aproved", "", "", 422, "invalid"),
        ("GET", "/api/v1/servers?origin=files", "", "", 422, "invalid"),
        ("GET", "/api/v1/servers?state=bad", "", "", 422, "invalid"),
        ("GET", "/api/v1/ledger?trace=x", "", "", 422, "invalid"),
        ("GET", "/api/v1/ledger?tenant=a%00b", "", "", 400, "malformed"),
        ("GET", "/api/v1/approvals/a%00b", "", "", 400, "malformed"),
    ] {
        let request = Request::builder().method(method).uri(path).header(AUTHORIZATION, &bearer);
        let request = if kind.is_empty() { request } else { request.header(CONTENT_TYPE, kind) };
        let answered = send(&admin, request, body).await;
        assert_eq!(answered.status, status, "{method} {path} {body}: {}", answered.body);
        assert_eq!(answered.header("content-type"), "application/problem+json", "{method} {path}");
        let problem = answered.json();
        assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()), "{method} {path}");
    }
    let large = "x".repeat(300 * 1024);
    let request = Request::builder().method("POST").uri("/api/v1/blocks").header(AUTHORIZATION, &bearer);
    assert_eq!(send(&admin, request.header(CONTENT_TYPE, "application/json"), &large).await.status, 413);
}

#[tokio::test]
async fn what_was_seen_is_what_is_changed() {
    let fake = fake().await;
    let (store, key) = (fake.store.clone(), key_of(&fake.store, Role::Admin, None).await);
    let (admin, _) = admin(fake);
    let list = ask(&admin, &key, "GET", "/api/v1/blocks", None).await;
    let id = list.json()["items"][0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/v1/blocks/{id}");
    let tag = ask(&admin, &key, "GET", &path, None).await.header("etag").to_owned();
    let with = |method: &str, name: http::HeaderName, tag: &str| {
        let bearer = format!("Bearer {}", key.expose());
        Request::builder().method(method).uri(&path).header(AUTHORIZATION, bearer).header(name, tag)
    };
    assert_eq!(send(&admin, with("GET", IF_NONE_MATCH, &tag), "").await.status, 304);
    let several = with("GET", IF_NONE_MATCH, "\"other\"").header(IF_NONE_MATCH, &tag);
    assert_eq!(send(&admin, several, "").await.status, 304, "a list may come in several lines");
    assert_eq!(send(&admin, with("DELETE", IF_MATCH, "\"other\""), "").await.status, 412);
    assert_eq!(store.blocks(None, 9).await.expect("read").len(), 2, "nothing is changed");
    let several = with("DELETE", IF_MATCH, "\"other\"").header(IF_MATCH, &tag);
    assert_eq!(send(&admin, several, "").await.status, 204);
    assert_eq!(send(&admin, with("DELETE", IF_MATCH, &tag), "").await.status, 404);
    assert_eq!(store.blocks(None, 9).await.expect("read").len(), 1);
    // Words on what is another by now are not taken either.
    let key = key_of(&store, Role::Security, None).await;
    let pins = ask(&admin, &key, "GET", "/api/v1/pins?waiting=true", None).await.json();
    let (pin, digest) = (&pins["items"][0]["id"], &pins["items"][0]["waiting"]);
    let pin = format!("/api/v1/pins/{}/approve", pin.as_str().expect("an id"));
    let server = ask(&admin, &key, "GET", "/api/v1/servers?origin=registered", None).await.json();
    let server = server["items"][0]["id"].as_str().expect("an id");
    let server = format!("/api/v1/servers/{server}/rollback");
    for (path, role, body) in [
        ("/api/v1/approvals/a1/deny", Role::Approver, json!({})),
        (&*pin, Role::Security, json!({ "digest": digest })),
        (&*server, Role::Security, json!({})),
    ] {
        let bearer = format!("Bearer {}", key_of(&store, role, None).await.expose());
        let request = Request::builder().method("POST").uri(path).header(AUTHORIZATION, bearer);
        let request = request.header(CONTENT_TYPE, "application/json").header(IF_MATCH, "\"other\"");
        let answered = send(&admin, request, &body.to_string()).await;
        assert_eq!(answered.status, 412, "{path}: {}", answered.body);
    }
}

#[tokio::test]
async fn what_is_asked_for_once_is_done_once_and_shows_no_secret_again() {
    let fake = fake().await;
    let key = key_of(&fake.store, Role::Admin, None).await;
    let (admin, _) = admin(fake);
    let create = |name: &str, body: serde_json::Value| {
        let bearer = format!("Bearer {}", key.expose());
        let request = Request::builder().method("POST").uri("/api/v1/keys").header(AUTHORIZATION, bearer);
        let request = request.header(CONTENT_TYPE, "application/json").header("idempotency-key", name);
        let (admin, body) = (admin.clone(), body.to_string());
        async move { send(&admin, request, &body).await }
    };
    let body = json!({ "tenant": "acme", "agent": "once" });
    let first = create("a", body.clone()).await;
    assert_eq!(first.status, 201, "{}", first.body);
    assert!(first.json()["key"].as_str().is_some_and(|text| text.starts_with("tg_")));
    let again = create("a", body.clone()).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, "true"));
    assert_eq!((&again.json()["id"], again.json().get("key")), (&first.json()["id"], None));
    assert_eq!(create("a", json!({ "tenant": "acme", "agent": "other" })).await.status, 409);
    assert_eq!(create("b", body).await.status, 201, "another key is another request");
    assert_eq!(create("c", json!({ "tenant": "nowhere", "agent": "x" })).await.status, 422);
    let keys = ask(&admin, &key, "GET", "/api/v1/keys?agent=once", None).await.json();
    assert_eq!(keys["items"].as_array().map(Vec::len), Some(2), "{keys}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_those_that_race_with_one_idempotency_key_one_is_carried_out() {
    let fake = fake().await;
    let key = key_of(&fake.store, Role::Admin, None).await;
    let (admin, _) = admin(fake);
    let body = json!({ "tenant": "acme", "agent": "racer" }).to_string();
    for round in 0..20 {
        let name = format!("race-{round}");
        let racers = (0..8).map(|_| {
            let bearer = format!("Bearer {}", key.expose());
            let request = Request::builder().method("POST").uri("/api/v1/keys").header(AUTHORIZATION, bearer);
            let request = request.header(CONTENT_TYPE, "application/json").header("idempotency-key", &name);
            let (admin, body) = (admin.clone(), body.clone());
            tokio::spawn(async move { send(&admin, request, &body).await })
        });
        let (mut made, mut ids) = (0, Vec::new());
        for racer in racers.collect::<Vec<_>>() {
            let answered = racer.await.expect("it ends");
            match (answered.status, answered.header("idempotent-replayed")) {
                (201, "") => {
                    made += 1;
                    ids.push(answered.json()["id"].clone());
                }
                (201, _) => {
                    assert!(answered.json().get("key").is_none(), "nobody else is shown it");
                    ids.push(answered.json()["id"].clone());
                }
                (status, _) => assert_eq!(status, 409, "{}", answered.body),
            }
        }
        assert_eq!(made, 1);
        ids.dedup();
        assert_eq!(ids.len(), 1, "all were told of the same key");
    }
    let keys = ask(&admin, &key, "GET", "/api/v1/keys?agent=racer", None).await.json();
    assert_eq!(keys["items"].as_array().map(Vec::len), Some(20), "one of each round");
}

#[tokio::test]
async fn what_ends_is_said_as_a_time_or_as_a_span_and_not_as_both() {
    let fake = fake().await;
    let key = key_of(&fake.store, Role::Admin, None).await;
    let (admin, _) = admin(fake);
    let at = "2031-01-01T00:00:00Z";
    let made = json!({ "tenant": "acme", "agent": "a", "expires": at });
    let made = ask(&admin, &key, "POST", "/api/v1/keys", Some(&made)).await.json();
    assert_eq!(made["expires"], at);
    let path = format!("/api/v1/keys/{}/rotate", made["id"].as_str().expect("an id"));
    let rotated = ask(&admin, &key, "POST", &path, Some(&json!({ "expires": at }))).await.json();
    assert_eq!(rotated["expires"], at);
    let taken = json!({ "kind": "agent", "of": "acme", "name": "a", "until": at });
    assert_eq!(ask(&admin, &key, "POST", "/api/v1/revocations", Some(&taken)).await.json()["until"], at);
    for wrong in [
        json!({ "seconds": 60, "expires": at }),
        json!({ "expires": "2001-01-01T00:00:00Z" }),
        json!({ "expires": "tomorrow" }),
        json!({ "expires": "9999-01-01T00:00:00Z" }),
        json!({ "seconds": 0 }),
    ] {
        let mut body = json!({ "tenant": "acme", "agent": "b" });
        body.as_object_mut().expect("an object").extend(wrong.as_object().expect("an object").clone());
        assert_eq!(ask(&admin, &key, "POST", "/api/v1/keys", Some(&body)).await.status, 422, "{body}");
    }
}

#[tokio::test]
async fn nobody_but_whoever_types_beside_the_gateway_speaks_for_others() {
    let fake = fake().await;
    let key = key_of(&fake.store, Role::Approver, None).await;
    let (admin, _) = admin(fake);
    let path = "/api/v1/approvals/a1/approve";
    let answered = ask(&admin, &key, "POST", path, Some(&json!({ "as": "okta:grace" }))).await;
    assert_eq!((answered.status, &answered.json()["code"]), (403, &"not_allowed".into()));
    // A header cannot make anybody its owner, nor does what the owner may reach beyond the API.
    let request = Request::builder().uri("/api/v1/whoami").header("owner", "root");
    assert_eq!(send(&admin, request, "").await.status, 401);
    let request = |path: &str| Request::builder().uri(path).body(String::new()).expect("a request");
    assert_eq!(admin.answer_owner(request("/kill-switch"), "root".into()).await.status(), 404);
    assert_eq!(admin.answer_owner(request("/api/v1/whoami"), "root".into()).await.status(), 200);
}

#[tokio::test]
async fn nobody_agrees_to_their_own_call_by_a_key_that_they_made() {
    let fake = fake().await;
    let caller = format!("{MARK}{XSS}");
    // The caller of the call that waits, and somebody else, each with a key by which they may make others.
    let minted_by = async |by: &str| {
        let minted = key::mint_admin().expect("a key");
        let record = AdminKey {
            id: minted.id.clone(),
            name: "machine".into(),
            grants: vec![Grant { role: Role::Admin, tenant: None }.to_stored()],
            hash: minted.hash,
            created: Timestamp::now(),
            expires: None,
            revoked: None,
            by: by.into(),
        };
        fake.store.add_admin_key(record).await.expect("added");
        minted.text
    };
    let (own, other) = (minted_by(&caller).await, minted_by("grace").await);
    let (admin, _) = admin(fake);
    let body = json!({ "name": "somebody else", "grants": [{ "role": "approver" }] });
    let path = "/api/v1/approvals/a1/approve";
    for (maker, why) in [(own, "their own call"), (other, "no group that is asked")] {
        let made = ask(&admin, &maker, "POST", "/api/v1/admin-keys", Some(&body)).await;
        let approver = Secret::new(made.json()["key"].as_str().expect("a key").to_owned());
        let said = ask(&admin, &approver, "POST", path, Some(&json!({}))).await;
        assert_eq!((said.status, &said.json()["code"]), (403, &"not_counted".into()));
        assert!(said.body.contains(why), "{}", said.body);
        // Whoever stops a call does no harm, but has to be asked.
        let denied = ask(&admin, &approver, "POST", "/api/v1/approvals/a1/deny", Some(&json!({}))).await;
        assert!(denied.body.contains("no group that is asked"), "{}", denied.body);
    }
}

#[tokio::test]
async fn every_act_is_on_record_with_who_and_before_and_after() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut fake = fake().await;
    fake.ledger = Ledger::open(folder.path(), LedgerSettings::default()).expect("a ledger");
    let (ledger, key) = (fake.ledger.clone(), key_of(&fake.store, Role::Operator, Some("acme")).await);
    let (admin, _) = admin(fake);
    let body = |reason| json!({ "kind": "agent", "tenant": "acme", "name": "amok-bot", "reason": reason });
    assert_eq!(ask(&admin, &key, "POST", "/api/v1/blocks", Some(&body("one"))).await.status, 201);
    assert_eq!(ask(&admin, &key, "POST", "/api/v1/blocks", Some(&body("two"))).await.status, 200);
    let denied = json!({ "kind": "server", "name": "crm", "reason": "all" });
    assert_eq!(ask(&admin, &key, "POST", "/api/v1/blocks", Some(&denied)).await.status, 403);
    ledger.close().await;
    let mut reader = Reader::new(ledger.folder().expect("a folder"));
    let (mut acts, mut lines) = (Vec::new(), String::new());
    while let Some(read) = reader.next_entry().expect("read") {
        let entry = read.entry().expect("an entry");
        if entry.kind == Kind::Change {
            assert!(entry.user.is_some(), "who");
            assert_eq!(entry.tenant.as_deref(), Some(acme().as_str()));
            acts.push((entry.change.as_deref().map(str::to_owned), entry.detail.clone().expect("a detail")));
            lines.push_str(&String::from_utf8_lossy(&read.json));
        }
    }
    let words: Vec<_> = acts.iter().map(|(word, _)| word.as_deref().unwrap_or_default()).collect();
    assert_eq!(words, ["admin.block", "admin.block"], "what was refused changed nothing");
    assert_eq!((acts[0].1.get("before"), &acts[0].1["after"]["reason"]), (None, &"one".into()));
    assert_eq!(
        (&acts[1].1["before"]["reason"], &acts[1].1["after"]["reason"]),
        (&"one".into(), &"two".into())
    );
    assert_eq!(acts[1].1["how"], "key");
    assert!(!lines.contains("amok-bot"), "agents stand in the chain as references: {lines}");
}

#[tokio::test]
async fn where_a_lock_file_rules_nobody_approves_a_pin() {
    let mut fake = fake().await;
    fake.pins_locked = true;
    let (store, key) = (fake.store.clone(), key_of(&fake.store, Role::Security, None).await);
    let (admin, _) = admin(fake);
    let pin = ask(&admin, &key, "GET", "/api/v1/pins?waiting=true", None).await.json()["items"][0].clone();
    let (id, digest) = (pin["id"].as_str().expect("an id"), pin["waiting"].as_str().expect("a digest"));
    let body = json!({ "digest": digest });
    let refused = ask(&admin, &key, "POST", &format!("/api/v1/pins/{id}/approve"), Some(&body)).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &"locked".into()), "{}", refused.body);
    assert!(refused.body.contains("tollgate pins lock"), "{}", refused.body);
    let cookie = signed_in(&admin, &store, Role::Security).await;
    let path = format!("/pins/{id}");
    let page = get(&admin, &cookie, &path).await.body;
    assert!(page.contains("goes by a lock file") && !page.contains("Approve this definition"), "{page}");
    let form = [("csrf", &*csrf(&page)), ("digest", digest), ("reason", "")];
    assert_eq!(post(&admin, &cookie, &path, &form).await.status, 409);
    let still = ask(&admin, &key, "GET", &format!("/api/v1/pins/{id}"), None).await.json();
    assert_eq!(still["waiting"], digest, "nothing is approved");
}

#[tokio::test]
async fn approvals_come_in_pages_to_the_last_of_them() {
    const MANY: u32 = 250;
    let fake = fake().await;
    let (store, now) = (fake.store.clone(), Timestamp::now());
    let room = AskingRoom { principal_max: 1_000, tenant_max: 1_000 };
    for nth in 0..MANY {
        let one = approval(&"bot".into(), now);
        let of = ApprovalOf { binding: Digest::of([&nth.to_be_bytes()[..]]), ..one.of.clone() };
        let one = Approval { id: ApprovalId::new(&format!("b{nth:03}")), of, ..one };
        store.ask_approval(one, room).await.expect("asked");
    }
    let root = key_of(&store, Role::Admin, None).await;
    let (admin, _) = admin(fake);
    // Two roles in a tenant show each once all the same.
    let grants = json!([{ "role": "auditor", "tenant": "acme" }, { "role": "approver", "tenant": "acme" }]);
    let made = json!({ "name": "two", "grants": grants });
    let made = ask(&admin, &root, "POST", "/api/v1/admin-keys", Some(&made)).await;
    let key = Secret::new(made.json()["key"].as_str().expect("a key").to_owned());
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = ask(&admin, &key, "GET", &format!("/api/v1/approvals?limit=100{after}"), None).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let page = page.json();
        let items = page["items"].as_array().expect("a list");
        seen.extend(items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
        // It waits no more when the next page is asked for.
        assert!(store.withdraw_approval(&ApprovalId::new(next), now).await.expect("withdrawn"));
    }
    assert_eq!(seen.len(), 251);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 251, "none twice");
    let other = key_of(&store, Role::Auditor, Some("globex")).await;
    assert_eq!(ask(&admin, &other, "GET", "/api/v1/approvals?after=b100", None).await.status, 422);
}

#[tokio::test]
async fn an_admin_sees_of_a_calls_arguments_what_an_approver_sees() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    let shown = async |role, tenant| {
        let key = key_of(&store, role, tenant).await;
        let shown = ask(&admin, &key, "GET", "/api/v1/approvals/a1", None).await;
        assert_eq!(shown.status, 200, "{role}: {}", shown.body);
        shown.json()["arguments"].clone()
    };
    let approver = shown(Role::Approver, Some("acme")).await;
    assert!(approver.to_string().contains(MARK), "{approver}");
    assert_eq!(shown(Role::Admin, None).await, approver);
    let cookie = signed_in(&admin, &store, Role::Admin).await;
    let page = get(&admin, &cookie, "/approvals/a1").await.body;
    assert!(page.contains(&format!("{MARK}&#34;:1")) || page.contains(&format!("{MARK}&quot;:1")), "{page}");
}

#[tokio::test]
async fn what_is_said_of_what_a_server_lists_is_for_those_who_see_findings_and_pins() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (admin, _) = admin(fake);
    for list in ["tools", "prompts", "resources", "resource_templates"] {
        let path = format!("/api/v1/tools?server=crm&tenant=acme&list={list}");
        let of = async |role| {
            let key = key_of(&store, role, Some("acme")).await;
            ask(&admin, &key, "GET", &path, None).await.json()
        };
        let (owner, viewer) = (of(Role::ServerOwner).await, of(Role::Viewer).await);
        assert_eq!(owner["items"], viewer["items"]);
        let judged = &owner["judged"][0];
        assert_eq!(
            (&judged["pin"], &judged["findings"][0]["confidence"]),
            (&"waiting".into(), &90.into()),
            "{owner}"
        );
        assert_eq!(viewer.get("judged"), None, "{viewer}");
        let cookie = signed_in(&admin, &store, Role::Auditor).await;
        let page = get(&admin, &cookie, "/servers/crm?tenant=acme").await.body;
        assert!(page.contains(&format!("id=\"{list}\"")), "{list}: {page}");
        assert_eq!(page.matches("waits to be approved").count(), 4, "{page}");
    }
}

#[tokio::test]
async fn usage_is_never_cut_without_a_word() {
    const LINES_MAX: u64 = 10_000;
    let fake = fake().await;
    let store = fake.store.clone();
    let cookie_store = store.clone();
    let (admin, _) = admin(fake);
    let key = key_of(&store, Role::Admin, None).await;
    let day = u32::try_from(Timestamp::now().as_ms() / 86_400_000).expect("a day");
    let of = |tool: u64| UsageRow {
        key: UsageKey {
            day,
            tenant: "acme".into(),
            agent: "bot".into(),
            server: "crm".into(),
            tool: format!("tool {tool:05}").into(),
        },
        sum: UsageSum { calls: tool, ..UsageSum::default() },
    };
    let mut after = None;
    let mut add = async |used: Vec<UsageRow>, seq: u64| {
        let upto = Followed { segment: 1, offset: seq, seq, used: seq };
        let batch = AuditBatch { writer: "w9".into(), after, upto, used, ..AuditBatch::default() };
        assert!(store.add_entries(&batch).await.expect("taken in"));
        after = Some(upto);
    };
    add((1..=LINES_MAX).map(of).collect(), 1).await;
    let lines = ask(&admin, &key, "GET", "/api/v1/usage?by=tool", None).await;
    assert_eq!((lines.status, lines.json().as_array().map(Vec::len)), (200, Some(10_000)));
    add(vec![of(LINES_MAX + 1)], 2).await;
    let refused = ask(&admin, &key, "GET", "/api/v1/usage?by=tool", None).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (422, Some("invalid")), "{}", refused.body);
    assert!(refused.body.contains("ask for fewer days"), "{}", refused.body);
    let file = ask(&admin, &key, "GET", "/api/v1/usage?by=tool&format=csv", None).await;
    assert_eq!((file.status, file.body.lines().count()), (200, 10_002));
    // The page has those with the most calls, wherever they stand.
    let cookie = signed_in(&admin, &cookie_store, Role::Admin).await;
    let page = get(&admin, &cookie, "/usage?by=tool").await.body;
    for (tool, is_there) in [("tool 10001", true), ("tool 09502", true), ("tool 09501", false)] {
        assert_eq!(page.contains(tool), is_there, "{tool}");
    }
    assert!(page.contains("the 500 lines with the most calls"));
}
