//! Arguments that a schema does not name.

use serde_json::Value;

/// Names of the members of an object that a schema could name and does not. None where it cannot be told from the
/// top of the schema alone which are known, or where others are taken on purpose.
pub(super) fn members<'a>(schema: &Value, instance: &'a Value) -> Vec<&'a str> {
    let (Some(schema), Some(instance)) = (schema.as_object(), instance.as_object()) else {
        return Vec::new();
    };
    let Some(Value::Object(properties)) = schema.get("properties") else { return Vec::new() };
    let others =
        ["$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "patternProperties", "dependentSchemas"];
    if others.iter().any(|key| schema.contains_key(*key)) {
        return Vec::new();
    }
    for key in ["additionalProperties", "unevaluatedProperties"] {
        if schema.get(key).is_some_and(|value| *value != Value::Bool(false)) {
            return Vec::new();
        }
    }
    instance.keys().map(String::as_str).filter(|name| !properties.contains_key(*name)).collect()
}
