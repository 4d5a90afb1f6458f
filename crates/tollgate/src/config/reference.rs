//! The published forms of the schema: JSON Schema for editors, and a page for readers.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::forms::ORDER_KEY;
use super::schema;

/// The JSON Schema of `tollgate.yaml` (draft 2020-12), as it is committed at
/// `docs/reference/configuration.schema.json`.
pub fn schema_json() -> String {
    pretty(&published(schema(), true))
}

/// The JSON Schema of files of policy tests, as it is committed at `docs/reference/policy-tests.schema.json`.
pub fn policy_tests_schema_json() -> String {
    pretty(&published(super::cases::schema(), false))
}

/// The JSON Schema of files of rules for content guards, as it is committed at `docs/reference/guard-rules.schema.json`.
pub fn guard_rules_schema_json() -> String {
    pretty(&published(super::rule_files::schema(), false))
}

fn pretty(schema: &Value) -> String {
    // A value serialises unless a key is no text, which cannot be here.
    let mut text = serde_json::to_string_pretty(schema).unwrap_or_default();
    text.push('\n');
    text
}

/// The reference page, as it is committed at `docs/reference/configuration.md`.
pub fn reference_md() -> String {
    let root = schema();
    let mut out = INTRODUCTION.to_owned();
    let mut waiting = vec![("tollgate.yaml".to_owned(), root)];
    let mut done: Vec<String> = Vec::new();
    while let Some((title, schema)) = waiting.pop() {
        if done.contains(&title) {
            continue;
        }
        done.push(title.clone());
        let _ = write!(out, "\n## {title}\n\n{}\n\n", description(schema));
        out.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
        let mut found = Vec::new();
        for key in order(schema) {
            let Some(property) = schema.get("properties").and_then(|all| all.get(&key)) else { continue };
            let kind = kind(root, property, &mut found);
            let default = default(root, property).map(|value| format!("`{value}`")).unwrap_or_default();
            let meaning = description(property).replace('\n', " ").replace('|', "\\|");
            let _ = writeln!(out, "| `{key}` | {kind} | {default} | {meaning} |");
        }
        found.reverse();
        waiting.extend(found);
    }
    out
}

const INTRODUCTION: &str = "\
# Configuration

<!-- Generated from the types in crates/tollgate/src/config; do not edit. -->

`tollgate serve --config FILE` takes one file. What it is shows in its content:

- **`mcpServers`** (JSON), as Claude Desktop, Claude Code, Cursor, Windsurf and others write it: accepted as it is. Keys that
  have no meaning for a gateway are named in a warning, and Tollgate's own that keep something out (`identity`, `policy`,
  `limits` and others) are refused there. A server's key becomes its name; what is no letter or digit becomes `-`.
- **VS Code**'s `mcp.json` (`servers`, `inputs`), with comments and trailing commas. `${input:some-id}` is taken from
  the environment variable `SOME_ID`, since a gateway has nobody to ask. `${workspaceFolder}` is the folder of the file, or
  the one above `.vscode`.
- **`tollgate.yaml`**, described below: YAML 1.2, or the same as JSON. Unknown keys are refused.
  [configuration.schema.json](configuration.schema.json) describes it to editors: begin the file with
  `# yaml-language-server: $schema=PATH`.

`tollgate check FILE` reads a file exactly as `serve` does and tells everything that is wrong with it, with line and
column. A running gateway reads its file again when it, or a file that it refers to, changes, and on SIGHUP. An edit that
is wrong changes nothing: the last good configuration stays, and the log says what is wrong.

Every text may hold variables of the environment, except keys:

| written | means |
|---|---|
| `${NAME}` or `${env:NAME}` | the value of the variable; refused if it is not set |
| `${NAME:-default}` | the value, or `default` if it is not set or empty |
| `${userHome}` | the home directory |
| `$${` | `${` itself |

A text that came from the environment may stand for a number too: `sessions_max: ${SESSIONS}`. Values of `env` and
`headers` may come from a file, as `{ file: PATH }`. Such values are never shown in messages or logs. Paths are relative to
the folder of the configuration file. All times are in milliseconds and all sizes in bytes.
";

/// The keys in the order in which the types have them.
fn order(schema: &Value) -> Vec<String> {
    let listed = schema.get(ORDER_KEY).and_then(Value::as_array).into_iter().flatten();
    let mut keys: Vec<String> = listed.filter_map(Value::as_str).map(ToOwned::to_owned).collect();
    let all = schema.get("properties").and_then(Value::as_object);
    let mut rest: Vec<String> =
        all.into_iter().flat_map(Map::keys).filter(|key| !keys.contains(key)).cloned().collect();
    rest.sort();
    keys.append(&mut rest);
    keys
}

fn description(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

fn default<'v>(root: &'v Value, schema: &'v Value) -> Option<&'v Value> {
    let known = |schema: &'v Value| schema.get("default").filter(|value| !value.is_null());
    known(schema).or_else(|| alternatives(schema).find_map(|schema| known(target(root, schema))))
}

/// What values a key takes, in words. Sections that it leads to are added to `found`.
fn kind<'v>(root: &'v Value, schema: &'v Value, found: &mut Vec<(String, &'v Value)>) -> String {
    let options: Vec<String> = alternatives(schema)
        .filter(|schema| schema.get("type").and_then(Value::as_str) != Some("null"))
        .map(|schema| plain_kind(root, schema, found))
        .collect();
    options.join(", or ")
}

fn plain_kind<'v>(root: &'v Value, schema: &'v Value, found: &mut Vec<(String, &'v Value)>) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()) {
        let target = target(root, schema);
        if let Some(words) = target.get("enum").and_then(Value::as_array) {
            let words: Vec<String> =
                words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
            return words.join(", ");
        }
        let title = name.to_owned();
        let link = format!("[{title}](#{})", title.to_lowercase());
        found.push((title, target));
        return link;
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => {
            kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect()
        }
        _ => Vec::new(),
    };
    match types[..] {
        ["array"] => match schema.get("items") {
            Some(items) => format!("list of {}", kind(root, items, found)),
            None => "list".to_owned(),
        },
        ["object"] => match schema.get("additionalProperties").filter(|others| others.is_object()) {
            Some(others) => format!("mapping of names to {}", kind(root, others, found)),
            None => "mapping of names to any values".to_owned(),
        },
        ["integer"] => {
            let bound = |key| schema.get(key).and_then(Value::as_u64);
            match (bound("minimum"), bound("maximum")) {
                (Some(least), Some(most)) => format!("whole number, {least} to {most}"),
                _ => "whole number".to_owned(),
            }
        }
        ["number"] => {
            let bound = |key| schema.get(key).and_then(Value::as_f64);
            match (bound("minimum"), bound("maximum")) {
                (Some(least), Some(most)) => format!("number, {least} to {most}"),
                _ => "number".to_owned(),
            }
        }
        ["boolean"] => "`true` or `false`".to_owned(),
        [] => "anything".to_owned(),
        _ => "text".to_owned(),
    }
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    let several = schema.get("anyOf").and_then(Value::as_array);
    let one = several.is_none().then_some(schema);
    several.into_iter().flatten().chain(one)
}

fn target<'v>(root: &'v Value, schema: &'v Value) -> &'v Value {
    let path = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix('#'));
    path.and_then(|path| root.pointer(path)).unwrap_or(schema)
}

/// What of a schema's members is published: all but what only the reference page needs, or only Rust.
fn is_published(key: &str, value: &Value) -> bool {
    match key {
        ORDER_KEY => false,
        "default" => !value.is_null(),
        "format" => !value.as_str().is_some_and(|format| format.starts_with("uint") || format == "double"),
        _ => true,
    }
}

/// A schema as editors shall see it: in alphabetical order, whatever order the JSON library was built to keep, and with
/// `${NAME}` allowed where a number, a truth value, one of several words or a text of some length is wanted, if the file may
/// have it.
fn published(schema: &Value, variables: bool) -> Value {
    match schema {
        Value::Object(members) => {
            let kept = members.iter().filter(|(key, value)| is_published(key, value));
            let mut members: Vec<_> =
                kept.map(|(key, value)| (key.clone(), published(value, variables))).collect();
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            let schema = Value::Object(members.into_iter().collect());
            if variables { allow_variable(schema) } else { schema }
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| published(item, variables)).collect()),
        other => other.clone(),
    }
}

fn allow_variable(schema: Value) -> Value {
    let types = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind.as_str()],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let takes_text =
        types.contains(&"string") && schema.get("enum").is_none() && schema.get("maxLength").is_none();
    let is_scalar = ["integer", "number", "boolean", "string"].iter().any(|kind| types.contains(kind));
    let Value::Object(members) = schema else { return schema };
    if takes_text || !is_scalar {
        return Value::Object(members);
    }
    let (mut outer, inner): (Map<_, _>, Map<_, _>) =
        members.into_iter().partition(|(key, _)| matches!(key.as_str(), "description" | "default"));
    outer.insert("anyOf".to_owned(), json!([inner, { "type": "string", "pattern": r"\$\{.+\}" }]));
    let mut outer: Vec<_> = outer.into_iter().collect();
    outer.sort_by(|(one, _), (other, _)| one.cmp(other));
    Value::Object(outer.into_iter().collect())
}
