//! Cedar's schema, emitted from what is known.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::SchemaFragment;
use serde_json::{Map, Value, json};

use crate::names::{self, Kind};
use crate::types::{Field, Record, Type, emit_record};
use crate::world::{Tool, World};

/// What an action takes.
pub(crate) struct Action<'a> {
    pub(crate) id: &'a str,
    pub(crate) groups: Vec<&'a str>,
    pub(crate) on: Kind,
    pub(crate) input: Value,
}

/// The arguments of a read.
pub(crate) fn read_input() -> Record {
    Record::from([(Arc::from("uri"), Field { kind: Type::Text, is_required: true })])
}

impl<'a> Action<'a> {
    /// That of a tool, with all of its typed arguments.
    pub(crate) fn of_tool(tool: &'a Tool) -> Self {
        Self {
            id: &tool.id,
            groups: tool.groups.iter().map(|group| &**group).collect(),
            on: Kind::Tool,
            input: emit_record(tool.input.record.iter().map(|(name, field)| (&**name, field))),
        }
    }

    /// That of a tool; its arguments are to be said.
    pub(crate) fn of_tool_without_input(tool: &'a Tool) -> Self {
        let groups = tool.groups.iter().map(|group| &**group).collect();
        Self { id: &tool.id, groups, on: Kind::Tool, input: Value::Null }
    }

    /// Reading resources.
    pub(crate) fn read() -> Self {
        let input = read_input();
        let input = emit_record(input.iter().map(|(name, field)| (&**name, field)));
        Self { id: names::READ, groups: Vec::new(), on: Kind::Resource, input }
    }

    /// Getting prompts. What arguments they take is not known.
    pub(crate) fn get_prompt() -> Self {
        let input = json!({"type": "Record", "attributes": {}});
        Self { id: names::GET_PROMPT, groups: Vec::new(), on: Kind::Prompt, input }
    }

    fn emit(self) -> (String, Value) {
        let groups: Vec<Value> = self.groups.iter().map(|group| json!({"id": group})).collect();
        let value = json!({
            "memberOf": groups,
            "appliesTo": {
                "principalTypes": [Kind::Caller.as_str()],
                "resourceTypes": [self.on.as_str()],
                "context": {"type": "Record", "attributes": {"input": self.input, "env": environment()}},
            },
        });
        (self.id.to_owned(), value)
    }
}

fn optional(kind: &str) -> Value {
    json!({"type": kind, "required": false})
}

/// `context.env`.
fn environment() -> Value {
    json!({"type": "Record", "attributes": {
        "now": {"type": "Extension", "name": "datetime"},
        "hour": {"type": "Long"},
        "minute": {"type": "Long"},
        "weekday": {"type": "String"},
        "source": {"type": "Extension", "name": "ipaddr", "required": false},
        "environment": optional("String"),
        "endpoint": {"type": "String"},
        "era": {"type": "String"},
    }})
}

fn entity_types() -> Value {
    let facts =
        json!({"risk": optional("String"), "owner": optional("String"), "environment": optional("String")});
    let mut tool = facts.clone();
    if let Some(tool) = tool.as_object_mut() {
        tool.insert("read_only".to_owned(), json!({"type": "Boolean"}));
        tool.insert("destructive".to_owned(), json!({"type": "Boolean"}));
    }
    let mut types = Map::new();
    for parent in Kind::PARENTS {
        types.insert(parent.as_str().to_owned(), json!({}));
    }
    let parents = Kind::PARENTS.map(Kind::as_str);
    let caller = json!({"agent": optional("String"), "user": optional("String")});
    let mut add = |kind: Kind, parents: &[&str], attributes: &Value| {
        let shape = json!({"type": "Record", "attributes": attributes});
        types.insert(kind.as_str().to_owned(), json!({"memberOfTypes": parents, "shape": shape}));
    };
    add(Kind::Caller, &parents, &caller);
    add(Kind::Server, &[], &facts);
    let server = [Kind::Server.as_str()];
    add(Kind::Tool, &server, &tool);
    add(Kind::Prompt, &server, &facts);
    add(Kind::Resource, &server, &facts);
    Value::Object(types)
}

/// A schema of these actions, and of ids that are declared and apply to nothing (groups, above all).
pub(crate) fn fragment<'a>(actions: impl IntoIterator<Item = Action<'a>>, bare: &BTreeSet<&str>) -> Value {
    let mut all = Map::new();
    for id in bare {
        all.insert((*id).to_owned(), json!({}));
    }
    for action in actions {
        for group in &action.groups {
            all.entry((*group).to_owned()).or_insert_with(|| json!({}));
        }
        let (id, value) = action.emit();
        all.insert(id, value);
    }
    json!({"": {"entityTypes": entity_types(), "actions": all}})
}

/// The whole schema in Cedar's human form.
pub(crate) fn text(world: &World) -> Result<String, String> {
    let actions = world.tools.iter().map(Action::of_tool).chain([Action::read(), Action::get_prompt()]);
    let groups = world.groups();
    let bare = groups.iter().map(String::as_str).collect();
    let fragment = SchemaFragment::from_json_value(fragment(actions, &bare)).map_err(|e| e.to_string())?;
    fragment.to_cedarschema().map_err(|e| e.to_string())
}
