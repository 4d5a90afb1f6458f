//! Bodies of the API are taken whole or not at all. Which there are, the OpenAPI document says.

use serde_json::{Map, Value, json};
use tollgate_admin::{Role, openapi_json};

use crate::support::{admin, ask, fake, key_of};

/// A member that no body has.
const SURPLUS: &str = "surplus";

struct Document(Value);

impl Document {
    /// A schema, where it is written out; of one that may be left out, the one of it.
    fn schema<'d>(&'d self, schema: &'d Value) -> &'d Value {
        if let Some(name) =
            schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/components/schemas/"))
        {
            return &self.0["components"]["schemas"][name];
        }
        let mut parts = schema["oneOf"].as_array().into_iter().flatten();
        parts.find(|part| part["$ref"].is_string()).map_or(schema, |part| self.schema(part))
    }

    /// Bodies in which a list stands in place of an object, each in another place.
    fn lists(&self, schema: &Value, found: &mut Vec<Value>) {
        let Some(members) = self.schema(schema)["properties"].as_object() else { return };
        for (name, member) in members {
            let is_list = member["items"].is_object();
            let inner = self.schema(if is_list { &member["items"] } else { member });
            if !inner["properties"].is_object() {
                continue;
            }
            let mut within = vec![json!([])];
            self.lists(inner, &mut within);
            found.extend(within.into_iter().map(|value| {
                let value = if is_list { json!([value]) } else { value };
                Value::Object(Map::from_iter([(name.clone(), value)]))
            }));
        }
    }

    /// Bodies that have one member too many, each in another of the objects that such a body is made of.
    fn surplus(&self, schema: &Value, place: &str, found: &mut Vec<Value>) {
        let schema = self.schema(schema);
        let Some(members) = schema["properties"].as_object() else { return };
        assert_eq!(schema["additionalProperties"], false, "{place}: the document lets other members pass");
        assert!(!members.contains_key(SURPLUS));
        found.push(json!({ SURPLUS: 1 }));
        for (name, member) in members {
            let place = format!("{place}.{name}");
            let (mut within, is_list) = (Vec::new(), member["items"].is_object());
            self.surplus(if is_list { &member["items"] } else { member }, &place, &mut within);
            found.extend(within.into_iter().map(|value| {
                let value = if is_list { json!([value]) } else { value };
                Value::Object(Map::from_iter([(name.clone(), value)]))
            }));
        }
    }
}

#[tokio::test]
async fn a_member_that_no_body_has_is_refused_and_named() {
    let fake = fake().await;
    let store = fake.store.clone();
    let (all, approver) =
        (key_of(&store, Role::Admin, None).await, key_of(&store, Role::Approver, None).await);
    let (admin, _) = admin(fake);
    let document = Document(serde_json::from_str(&openapi_json()).expect("JSON"));
    let (mut bodies, mut tried) = (0, 0);
    for (path, methods) in document.0["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let Some(body) = operation.get("requestBody") else { continue };
            bodies += 1;
            let mut surplus = Vec::new();
            document.surplus(&body["content"]["application/json"]["schema"], path, &mut surplus);
            assert!(!surplus.is_empty(), "{method} {path}: nothing is said of its body");
            let is_approval = operation["x-tollgate-permission"] == "approvals:change";
            let key = if is_approval { &approver } else { &all };
            let target = path.replace("{id}", "YQ").replace("{version}", "1");
            for body in surplus {
                let answered = ask(&admin, key, &method.to_uppercase(), &target, Some(&body)).await;
                let seen = format!("{method} {path} with {body}: {} {}", answered.status, answered.body);
                assert_eq!(answered.status, 422, "{seen}");
                assert_eq!(answered.header("content-type"), "application/problem+json", "{seen}");
                assert!(
                    answered.json()["detail"].as_str().is_some_and(|why| why.contains(SURPLUS)),
                    "{seen}"
                );
                tried += 1;
            }
        }
    }
    assert!(bodies >= 25 && tried > bodies, "{bodies} bodies, {tried} tries");
}

#[tokio::test]
async fn a_list_within_a_body_is_no_object() {
    let fake = fake().await;
    let key = key_of(&fake.store, Role::Admin, None).await;
    let (admin, _) = admin(fake);
    let document = Document(serde_json::from_str(&openapi_json()).expect("JSON"));
    let mut tried = 0;
    for (path, methods) in document.0["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let mut lists = Vec::new();
            document.lists(schema, &mut lists);
            for body in lists {
                let target = path.replace("{id}", "YQ").replace("{version}", "1");
                let answered = ask(&admin, &key, &method.to_uppercase(), &target, Some(&body)).await;
                let seen = format!("{method} {path} with {body}: {} {}", answered.status, answered.body);
                assert_eq!(answered.status, 422, "{seen}");
                assert!(answered.body.contains("expected an object"), "{seen}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 2, "{tried}");
}
