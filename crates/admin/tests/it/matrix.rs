//! Who may do what: every operation of the OpenAPI document, by every role, in every tenant, in its own, and in another.

use serde_json::{Value, json};
use tollgate_admin::{Admin, Role, openapi_json};
use tollgate_model::Timestamp;
use tollgate_store::{RuleDoing, RuleSet, RuleSetId, RuleSets};

use crate::support::{Fake, MARK, SET, acme, admin, ask, fake, key_of};

/// What each permission takes, written down apart from the table that decides.
const EXPECTED: &[(&str, &[&str])] = &[
    ("overview:read", &["admin", "security", "operator", "server-owner", "approver", "auditor", "viewer"]),
    ("servers:read", &["admin", "security", "operator", "server-owner", "approver", "auditor", "viewer"]),
    ("tools:read", &["admin", "security", "operator", "server-owner", "approver", "auditor", "viewer"]),
    ("keys:read", &["admin", "security", "operator", "auditor"]),
    ("keys:change", &["admin", "security"]),
    ("admin-keys:read", &["admin", "security", "auditor"]),
    ("admin-keys:change", &["admin"]),
    ("revocations:read", &["admin", "security", "operator", "auditor"]),
    ("revocations:change", &["admin", "security"]),
    ("blocks:read", &["admin", "security", "operator", "server-owner", "auditor", "viewer"]),
    ("blocks:change", &["admin", "security", "operator"]),
    ("pauses:read", &["admin", "security", "operator", "server-owner", "auditor", "viewer"]),
    ("pauses:change", &["admin", "security", "operator"]),
    ("usage:read", &["admin", "security", "operator", "server-owner", "auditor", "viewer"]),
    ("ledger:read", &["admin", "security", "auditor"]),
    ("approvals:read", &["admin", "security", "approver", "auditor"]),
    ("approvals:change", &["approver"]),
    ("pins:read", &["admin", "security", "operator", "server-owner", "auditor"]),
    ("pins:change", &["admin", "security"]),
    ("policies:read", &["admin", "security", "operator", "server-owner", "auditor"]),
    ("settings:read", &["admin", "security", "operator", "auditor"]),
    ("servers:change", &["admin", "security", "operator", "server-owner"]),
    ("reviews:read", &["admin", "security", "operator", "server-owner", "auditor"]),
    ("reviews:change", &["admin", "security"]),
    ("policies:change", &["admin", "security"]),
    ("tenants:read", &["admin", "security", "operator", "server-owner", "auditor", "viewer"]),
    ("findings:read", &["admin", "security", "operator", "server-owner", "auditor"]),
];

/// What is the whole gateway's: a role in one tenant is not enough.
const EVERYWHERE: &[&str] = &[
    "GET /api/v1/settings",
    "GET /api/v1/admin-keys",
    "GET /api/v1/admin-keys/{id}",
    "POST /api/v1/admin-keys",
    "DELETE /api/v1/admin-keys/{id}",
    "POST /api/v1/ledger/verify",
];

/// A request that would go well if it were allowed; all are about the tenant `acme`.
pub(crate) fn sample(operation: &str, ids: &Ids) -> (String, Option<Value>) {
    let path = operation.split_once(' ').expect("a path").1;
    let at = |id: &str| path.replace("{id}", id);
    let version = |version: &str| path.replace("{id}", &ids.server).replace("{version}", version);
    let reach = json!({ "url": "https://new.example/mcp" });
    match operation {
        "GET /api/v1/blocks/{id}" | "DELETE /api/v1/blocks/{id}" => (at(&ids.block), None),
        "POST /api/v1/blocks" => {
            let body = json!({ "kind": "agent", "tenant": "acme", "name": "bot", "reason": "amok" });
            (path.to_owned(), Some(body))
        }
        "POST /api/v1/pauses" => {
            let body = json!({ "tenant": "acme", "agent": "bot", "reason": "amok", "seconds": 60 });
            (path.to_owned(), Some(body))
        }
        "DELETE /api/v1/pauses/{tenant}/{agent}" => (format!("/api/v1/pauses/acme/{}", ids.paused), None),
        "GET /api/v1/keys/{id}" | "DELETE /api/v1/keys/{id}" => (at("k1"), None),
        "POST /api/v1/keys/{id}/rotate" => (at("k1"), Some(json!({}))),
        "POST /api/v1/keys" => (path.to_owned(), Some(json!({ "tenant": "acme", "agent": "bot" }))),
        "GET /api/v1/admin-keys/{id}" | "DELETE /api/v1/admin-keys/{id}" => (at(&ids.admin_key), None),
        "POST /api/v1/admin-keys" => {
            (path.to_owned(), Some(json!({ "name": "more", "grants": [{ "role": "viewer" }] })))
        }
        "POST /api/v1/revocations" => {
            (path.to_owned(), Some(json!({ "kind": "agent", "of": "acme", "name": "bot" })))
        }
        "DELETE /api/v1/revocations/{id}" => (at(&ids.revocation), None),
        "GET /api/v1/tools" => (format!("{path}?server=crm&tenant=acme"), None),
        "GET /api/v1/ledger/calls/{call}" => (path.replace("{call}", &ids.call), None),
        "GET /api/v1/approvals/{id}" => (at("a1"), None),
        "POST /api/v1/approvals/{id}/approve" | "POST /api/v1/approvals/{id}/deny" => {
            (at("a1"), Some(json!({})))
        }
        "GET /api/v1/pins/{id}" | "DELETE /api/v1/pins/{id}" => (at(&ids.pin), None),
        "POST /api/v1/pins/{id}/approve" => (at(&ids.pin), Some(json!({ "digest": ids.digest }))),
        "POST /api/v1/policies/validate" => {
            (path.to_owned(), Some(json!({ "tenant": "acme", "files": [{ "path": "a", "text": "" }] })))
        }
        "GET /api/v1/servers/{id}" | "GET /api/v1/servers/{id}/callers" => (at(&ids.server), None),
        "GET /api/v1/servers/{id}/versions/{version}" => (version("1"), None),
        "POST /api/v1/servers" => {
            (path.to_owned(), Some(json!({ "tenant": "acme", "name": "new", "reach": reach })))
        }
        "POST /api/v1/server-imports" => {
            (path.to_owned(), Some(json!({ "tenant": "acme", "document": { "mcpServers": {} } })))
        }
        "PUT /api/v1/servers/{id}/versions/{version}" => (version("1"), Some(json!({ "reach": reach }))),
        "POST /api/v1/servers/{id}/rollback" => (at(&ids.server), Some(json!({}))),
        "POST /api/v1/servers/{id}/versions/{version}/submit"
        | "POST /api/v1/servers/{id}/versions/{version}/retire" => (version("1"), Some(json!({}))),
        "POST /api/v1/servers/{id}/versions/{version}/deprecate" => {
            (version("4"), Some(json!({ "sunset": "2999-03-31T00:00:00Z" })))
        }
        "POST /api/v1/servers/{id}/versions/{version}/share" => (version("4"), Some(json!({ "share": 50 }))),
        "POST /api/v1/servers/{id}/versions/{version}/approve"
        | "POST /api/v1/servers/{id}/versions/{version}/reject" => (version("2"), Some(json!({}))),
        "POST /api/v1/servers/{id}/versions/{version}/review" => (version("2"), None),
        "POST /api/v1/policy-sets" => {
            (path.to_owned(), Some(json!({ "tenant": "acme", "name": "more", "text": "// nothing" })))
        }
        "GET /api/v1/policy-sets/{id}" => (at(&ids.set), None),
        "DELETE /api/v1/policy-sets/{id}" => (at(&ids.idle), None),
        "PUT /api/v1/policy-sets/{id}" => (at(&ids.set), Some(json!({ "text": "// more" }))),
        "POST /api/v1/policy-sets/{id}/test" => (at(&ids.set), Some(json!({ "cases": "cases: []" }))),
        "POST /api/v1/policy-sets/{id}/shadow" | "POST /api/v1/policy-sets/{id}/promote" => {
            (at(&ids.set), Some(json!({ "version": 2 })))
        }
        _ if path.starts_with("/api/v1/policy-sets/{id}/") => (at(&ids.set), Some(json!({}))),
        _ if !path.contains('{') => (path.to_owned(), None),
        _ => panic!("the test knows no request for {operation}"),
    }
}

pub(crate) struct Ids {
    block: String,
    paused: String,
    admin_key: String,
    revocation: String,
    call: String,
    pin: String,
    digest: String,
    server: String,
    set: String,
    idle: String,
}

pub(crate) fn operations() -> Vec<(String, Option<String>)> {
    let document: Value = serde_json::from_str(&openapi_json()).expect("JSON");
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let permission = operation.get("x-tollgate-permission");
            let permission = permission.unwrap_or_else(|| panic!("{method} {path} names no permission"));
            found.push((format!("{} {path}", method.to_uppercase()), permission.as_str().map(str::to_owned)));
        }
    }
    found
}

#[tokio::test]
async fn every_role_may_in_every_tenant_what_it_may_and_nothing_else() {
    let operations = operations();
    assert!(operations.len() >= 30, "{operations:?}");
    let mut cells = 0;
    for (operation, permission) in &operations {
        for role in Role::ALL {
            for tenant in [None, Some("acme"), Some("globex")] {
                cell(operation, permission.as_deref(), role, tenant).await;
                cells += 1;
            }
        }
    }
    assert_eq!(cells, operations.len() * 21);
}

/// A gateway in which there is something for each of the samples, and what that is called.
pub(crate) async fn filled(fake: Fake) -> (Admin, Ids) {
    let store = fake.store.clone();
    let all = key_of(&store, Role::Admin, None).await;
    let doing = RuleDoing { by: "ops".into(), reason: "".into(), at: Timestamp::from_ms(1) };
    let idle = RuleSetId::new(Some(acme()), "idle").expect("a name");
    store.put_rules(RuleSet::draft(idle, "// idle".into(), &doing)).await.expect("kept");
    let (admin, _) = admin(fake);
    let list = |path| ask(&admin, &all, "GET", path, None);
    let first = |list: &Value| list["items"][0].clone();
    let (blocks, pauses) =
        (first(&list("/api/v1/blocks").await.json()), first(&list("/api/v1/pauses").await.json()));
    let (keys, revocations) =
        (first(&list("/api/v1/admin-keys").await.json()), first(&list("/api/v1/revocations").await.json()));
    let pin = first(&list("/api/v1/pins?waiting=true").await.json());
    let server = first(&list("/api/v1/servers?origin=registered").await.json());
    let (call, text) = (first(&list("/api/v1/ledger").await.json()), |value: &Value| {
        value.as_str().expect("text").to_owned()
    });
    let listed = list("/api/v1/policy-sets").await.json();
    let sets = |name: &str| {
        let mut all = listed["items"].as_array().expect("sets").iter();
        text(&all.find(|set| set["name"] == name).expect("a set")["id"])
    };
    let agent: String = url::form_urlencoded::byte_serialize(text(&pauses["agent"]).as_bytes()).collect();
    let ids = Ids {
        block: text(&blocks["id"]),
        paused: agent.replace('+', "%20"),
        admin_key: text(&keys["id"]),
        revocation: text(&revocations["id"]),
        call: text(&call["call"]),
        pin: text(&pin["id"]),
        digest: text(&pin["waiting"]),
        server: text(&server["id"]),
        set: sets(SET),
        idle: sets("idle"),
    };
    (admin, ids)
}

async fn cell(operation: &str, permission: Option<&str>, role: Role, tenant: Option<&str>) {
    let fake = fake().await;
    let key = key_of(&fake.store, role, tenant).await;
    let (admin, ids) = filled(fake).await;
    let (method, (path, body)) = (operation.split(' ').next().expect("a method"), sample(operation, &ids));
    let nobody = tollgate_model::Secret::new("tga_nobody".to_owned());
    assert_eq!(ask(&admin, &nobody, method, &path, body.as_ref()).await.status, 401, "{operation} by nobody");
    let answered = ask(&admin, &key, method, &path, body.as_ref()).await;
    let seen = format!("{operation} by {role} of {tenant:?}: {} {}", answered.status, answered.body);
    // Roles let somebody speak; whether they are asked is another question.
    let is_not_asked =
        operation.starts_with("POST /api/v1/approvals/") && answered.body.contains("not_counted");
    // A server-owner changes only what is their own, and the sample is somebody else's.
    let is_not_own = role == Role::ServerOwner
        && permission == Some("servers:change")
        && operation.contains('{')
        && answered.status == 403
        && answered.body.contains("not_own");
    let is_good = is_not_asked || is_not_own || (200..300).contains(&answered.status);
    let Some(permission) = permission else {
        assert!(is_good, "{seen}");
        return;
    };
    let row = EXPECTED.iter().find(|(name, _)| *name == permission);
    let (_, roles) = row.unwrap_or_else(|| panic!("the test does not know {permission}"));
    let is_role = roles.contains(&role.as_str());
    let is_everywhere = EVERYWHERE.contains(&operation);
    if !is_role {
        assert_eq!(answered.status, 403, "{seen}");
    } else if tenant.is_none() {
        let nothing_recorded = operation == "POST /api/v1/ledger/verify" && answered.status == 404;
        assert!(is_good || nothing_recorded, "{seen}");
    } else if is_everywhere {
        assert_eq!(answered.status, 403, "{seen}");
    } else if tenant == Some("acme") {
        assert!(is_good, "{seen}");
    } else if permission.ends_with(":change")
        || path.contains("acme")
        || operation.contains('{')
        || method == "POST"
    {
        assert!(matches!(answered.status, 403 | 404), "{seen}");
    } else {
        assert!(is_good, "{seen}");
    }
    if !is_role || tenant == Some("globex") {
        assert!(!answered.body.contains(MARK), "it shows what is another tenant's: {seen}");
    }
}
