//! The document names the headers that operations heed. Each is sent to each operation.

use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;
use tollgate_admin::{Role, openapi_json};

use crate::matrix::{filled, operations, sample};
use crate::support::{fake, key_of, send};

/// What the document says of an operation.
struct Said(Value);

impl Said {
    fn heeds(&self, header: &str) -> bool {
        let mut named = self.0["parameters"].as_array().into_iter().flatten();
        named.any(|one| one["in"] == "header" && one["name"] == header)
    }

    fn answers(&self, status: &str) -> bool {
        self.0["responses"].get(status).is_some()
    }

    fn tags(&self, status: u16) -> bool {
        self.0["responses"][status.to_string()]["headers"]["ETag"].is_object()
    }
}

#[tokio::test]
async fn the_document_names_the_headers_that_operations_heed_and_no_others() {
    let document: Value = serde_json::from_str(&openapi_json()).expect("JSON");
    let mut heeded = [0; 3];
    for (operation, permission) in operations() {
        let (method, path) = operation.split_once(' ').expect("a path");
        let said = Said(document["paths"][path][method.to_lowercase()].clone());
        let is_approval = permission.as_deref() == Some("approvals:change");
        let fake = fake().await;
        let role = if is_approval { Role::Approver } else { Role::Admin };
        let key = key_of(&fake.store, role, None).await;
        let (admin, ids) = filled(fake).await;
        let (at, body) = sample(&operation, &ids);
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let ask = async |name: &str, value: &str| {
            let request = Request::builder().method(method).uri(&*at).header(name, value);
            let request = request.header(AUTHORIZATION, format!("Bearer {}", key.expose()));
            send(&admin, request.header(CONTENT_TYPE, "application/json"), &body).await
        };
        // In this order nothing is done, where they are heeded, that is in the way of what comes next.
        let another = ask("if-match", "\"other\"").await;
        let unusable = ask("idempotency-key", "a b").await;
        let known = ask("if-none-match", "*").await;
        let is_refused = unusable.status == 422 && unusable.body.contains("Idempotency-Key");
        for (nth, (header, is_heeded, answered)) in [
            ("If-Match", another.status == 412, &another),
            ("Idempotency-Key", is_refused, &unusable),
            ("If-None-Match", known.status == 304, &known),
        ]
        .into_iter()
        .enumerate()
        {
            let seen = format!("{operation} with {header}: {} {}", answered.status, answered.body);
            assert_eq!(is_heeded, said.heeds(header), "{seen}");
            assert_eq!(!answered.header("etag").is_empty(), said.tags(answered.status), "{seen}");
            heeded[nth] += usize::from(is_heeded);
        }
        assert_eq!(said.answers("412"), said.heeds("If-Match"), "{operation}");
        assert_eq!(said.answers("304"), said.heeds("If-None-Match"), "{operation}");
    }
    assert!(heeded.iter().all(|count| *count >= 15), "{heeded:?}");
}
