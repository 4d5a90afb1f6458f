//! What checking an instance against a schema costs at most.
//!
//! A schema may apply parts of itself to the same place of an instance more than once, and with references to itself at
//! every depth: then the work doubles with each level. How often anything is applied at each depth is worked out once, for a
//! schema; an instance that has so much at these depths is then known to cost so much.

use std::collections::{BTreeMap, HashMap};

use regex::RegexBuilder;
use serde_json::{Map, Value};

use super::check::Unchecked;

/// How deep an instance may be.
pub(super) const DEPTH_MAX: usize = 64;
/// How many parts a schema may have.
const PARTS_MAX: usize = 4096;
/// How many times one part may apply others to the same place, in all of a schema.
const LINKS_MAX: usize = 1 << 18;
/// How deep a schema may be.
const SCHEMA_DEPTH_MAX: usize = 64;
/// How much checking an instance may cost: a tenth of a second or so.
const COST_MAX: u64 = 4_000_000;
/// How large patterns are, in bytes: one is as large as the first of these that it fits. Those of the first are quick with any text.
const SIZES: [usize; 12] = [
    1 << 9,
    1 << 10,
    1 << 11,
    1 << 12,
    1 << 13,
    1 << 14,
    1 << 15,
    1 << 16,
    1 << 17,
    1 << 18,
    1 << 19,
    1 << 20,
];
/// How many bytes a state of a pattern has.
const STATE_BYTES: usize = 32;
/// How many states those count as that look around or back.
const STATES_LOOKING: u64 = 4_096;
/// How many states all patterns of a schema may have: they are kept.
const STATES_MAX: u64 = 1 << 17;
/// How many states of a pattern cost as much over a byte as one part of a schema at one place. Few texts keep many alive.
const STATES_AT_ONCE: u64 = 16;

/// Applies a schema to the same place.
const SAME: [&str; 6] = ["not", "if", "then", "else", "dependentSchemas", "$ref"];
const SAME_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Applies a schema to any member.
const MEMBERS: [&str; 3] = ["additionalProperties", "unevaluatedProperties", "propertyNames"];
/// Applies a schema to elements.
const ELEMENTS: [&str; 4] = ["items", "additionalItems", "contains", "unevaluatedItems"];

/// How much is done at each depth of an instance.
#[derive(Debug, Clone)]
pub(super) struct Cost {
    at: Vec<u64>,
    /// How many states of patterns may have to be followed over each byte of text at each depth.
    states: Vec<u64>,
}

#[derive(Debug, Default)]
struct Part {
    /// How much it does at a place by itself.
    weight: u64,
    /// How many states the patterns have that it holds a text or a name against.
    states: u64,
    /// What it applies to the same place.
    same: Vec<usize>,
    /// What it applies to members of these names.
    named: Vec<(String, usize)>,
    /// What it applies to any member.
    members: Vec<usize>,
    /// What it applies to elements.
    elements: Vec<usize>,
}

impl Cost {
    /// Works out what a schema costs.
    pub(super) fn of(schema: &Value) -> Result<Self, Unchecked> {
        let parts = Graph::read(schema)?;
        let closures = closures(&parts)?;
        let states = if parts.iter().any(|part| part.states > 0) {
            levels(&parts, &closures, |part| part.states)
        } else {
            vec![0; DEPTH_MAX]
        };
        Ok(Self { at: levels(&parts, &closures, |part| part.weight), states })
    }

    /// Whether an instance may be checked.
    pub(super) fn allows(&self, instance: &Value) -> bool {
        let mut sizes = Sizes { places: [0; DEPTH_MAX], texts: [0; DEPTH_MAX] };
        if !sizes.measure(instance, 0) {
            return false;
        }
        let all = |sizes: &[u64], at: &[u64]| {
            sizes.iter().zip(at).fold(0_u64, |all, (size, at)| all.saturating_add(size.saturating_mul(*at)))
        };
        let matching = all(&sizes.texts, &self.states) / STATES_AT_ONCE;
        all(&sizes.places, &self.at).saturating_add(matching) <= COST_MAX
    }
}

/// What all parts together do at each depth, of what each does by itself.
fn levels(parts: &[Part], closures: &[Closure], own: impl Fn(&Part) -> u64) -> Vec<u64> {
    // How much each part does at a place so many levels below where it is applied.
    let mut below: Vec<u64> = closures.iter().map(|closure| sum(closure, |part| own(&parts[part]))).collect();
    let mut at = vec![below[0]];
    for _ in 1..DEPTH_MAX {
        below = closures.iter().map(|closure| deeper(parts, closure, &below)).collect();
        at.push(below[0]);
    }
    at
}

/// How much there is at each depth.
struct Sizes {
    places: [u64; DEPTH_MAX],
    /// Bytes of text. Names count where their object is, and where its members are.
    texts: [u64; DEPTH_MAX],
}

impl Sizes {
    /// False if it is deeper than anything that is checked.
    fn measure(&mut self, value: &Value, depth: usize) -> bool {
        let Some(place) = self.places.get_mut(depth) else { return false };
        *place += 1;
        match value {
            Value::String(text) => {
                *place += text.len() as u64 / 64;
                self.text(depth, text);
                true
            }
            Value::Array(all) => all.iter().all(|one| self.measure(one, depth + 1)),
            Value::Object(all) => all.iter().all(|(name, one)| {
                self.text(depth, name);
                self.text(depth + 1, name);
                self.measure(one, depth + 1)
            }),
            _ => true,
        }
    }

    fn text(&mut self, depth: usize, text: &str) {
        if let Some(bytes) = self.texts.get_mut(depth) {
            *bytes += text.len() as u64;
        }
    }
}

/// What a part applies to one place, itself among it, and how often.
type Closure = Vec<(usize, u64)>;

fn sum(closure: &Closure, of: impl Fn(usize) -> u64) -> u64 {
    closure.iter().fold(0, |all, (part, times)| all.saturating_add(times.saturating_mul(of(*part))))
}

/// How much is done one level deeper than `below` says, at the worst place.
fn deeper(parts: &[Part], closure: &Closure, below: &[u64]) -> u64 {
    let of = |children: &[usize]| children.iter().fold(0_u64, |all, child| all.saturating_add(below[*child]));
    let elements = sum(closure, |part| of(&parts[part].elements));
    let members = sum(closure, |part| of(&parts[part].members));
    let mut named: HashMap<&str, u64> = HashMap::new();
    for (part, times) in closure {
        for (name, child) in &parts[*part].named {
            let all = named.entry(name).or_default();
            *all = all.saturating_add(times.saturating_mul(below[*child]));
        }
    }
    let worst = named.into_values().max().unwrap_or(0);
    elements.max(members.saturating_add(worst))
}

/// Everything that each part applies to one place. A part that applies itself would never end.
fn closures(parts: &[Part]) -> Result<Vec<Closure>, Unchecked> {
    let order = sorted(parts)?;
    let mut closures: Vec<Closure> = vec![Vec::new(); parts.len()];
    let mut links = 0;
    for part in order {
        let mut all: BTreeMap<usize, u64> = BTreeMap::from([(part, 1)]);
        for target in &parts[part].same {
            for (inner, times) in &closures[*target] {
                let sum = all.entry(*inner).or_default();
                *sum = sum.saturating_add(*times);
            }
        }
        links += all.len();
        if links > LINKS_MAX {
            return Err(Unchecked::TooLarge);
        }
        closures[part] = all.into_iter().collect();
    }
    Ok(closures)
}

/// The parts, each after all that it applies to the same place.
fn sorted(parts: &[Part]) -> Result<Vec<usize>, Unchecked> {
    let mut waits: Vec<usize> = parts.iter().map(|part| part.same.len()).collect();
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); parts.len()];
    for (at, part) in parts.iter().enumerate() {
        for target in &part.same {
            users[*target].push(at);
        }
    }
    let mut ready: Vec<usize> = (0..parts.len()).filter(|part| waits[*part] == 0).collect();
    let mut order = Vec::with_capacity(parts.len());
    while let Some(part) = ready.pop() {
        order.push(part);
        for user in &users[part] {
            waits[*user] -= 1;
            if waits[*user] == 0 {
                ready.push(*user);
            }
        }
    }
    if order.len() == parts.len() { Ok(order) } else { Err(Unchecked::Endless) }
}

/// The parts of a schema while they are read.
struct Graph<'a> {
    root: &'a Value,
    parts: Vec<Part>,
    known: HashMap<*const Value, usize>,
    anchors: HashMap<&'a str, &'a Value>,
    /// Of all patterns so far.
    states: u64,
}

impl<'a> Graph<'a> {
    fn read(root: &'a Value) -> Result<Vec<Part>, Unchecked> {
        let (parts, known, anchors) = (Vec::new(), HashMap::new(), HashMap::new());
        let mut graph = Self { root, parts, known, anchors, states: 0 };
        graph.anchors(root, 0)?;
        let mut open = vec![root];
        graph.number(root, &mut open)?;
        let mut next = 0;
        while let Some(schema) = open.get(next).copied() {
            let part = graph.part(schema, &mut open)?;
            graph.parts[next] = part;
            next += 1;
        }
        Ok(graph.parts)
    }

    /// Every name by which a part can be referred to.
    fn anchors(&mut self, value: &'a Value, depth: usize) -> Result<(), Unchecked> {
        if depth > SCHEMA_DEPTH_MAX {
            return Err(Unchecked::TooDeep);
        }
        match value {
            Value::Object(members) => {
                for key in ["$anchor", "$dynamicAnchor"] {
                    if let Some(Value::String(name)) = members.get(key) {
                        self.anchors.insert(name, value);
                    }
                }
                // Another base for references: it is not followed.
                if depth > 0 && members.get("$id").is_some_and(Value::is_string) {
                    return Err(Unchecked::Foreign);
                }
                members.values().try_for_each(|member| self.anchors(member, depth + 1))
            }
            Value::Array(all) => all.iter().try_for_each(|one| self.anchors(one, depth + 1)),
            _ => Ok(()),
        }
    }

    /// The number of a part: it is read once, however often it is applied.
    fn number(&mut self, schema: &'a Value, open: &mut Vec<&'a Value>) -> Result<usize, Unchecked> {
        let address = std::ptr::from_ref(schema);
        if let Some(known) = self.known.get(&address) {
            return Ok(*known);
        }
        let number = self.parts.len();
        if number >= PARTS_MAX {
            return Err(Unchecked::TooLarge);
        }
        self.known.insert(address, number);
        self.parts.push(Part::default());
        if number > 0 {
            open.push(schema);
        }
        Ok(number)
    }

    fn part(&mut self, schema: &'a Value, open: &mut Vec<&'a Value>) -> Result<Part, Unchecked> {
        let Value::Object(members) = schema else { return Ok(Part { weight: 1, ..Part::default() }) };
        let mut part = Part { weight: weight(members), states: self.states_of(members)?, ..Part::default() };
        for key in SAME {
            let Some(value) = members.get(key) else { continue };
            match (key, value) {
                ("$ref", Value::String(reference)) => {
                    let target = self.target(reference)?;
                    part.same.push(self.number(target, open)?);
                }
                ("dependentSchemas", Value::Object(all)) => {
                    for value in all.values() {
                        part.same.push(self.number(value, open)?);
                    }
                }
                _ => part.same.push(self.number(value, open)?),
            }
        }
        for key in ["$dynamicRef", "$recursiveRef"] {
            if let Some(Value::String(reference)) = members.get(key) {
                let target = self.target(reference)?;
                part.same.push(self.number(target, open)?);
            }
        }
        for list in SAME_LISTS.iter().filter_map(|key| members.get(*key)?.as_array()) {
            for value in list {
                part.same.push(self.number(value, open)?);
            }
        }
        if let Some(Value::Object(all)) = members.get("properties") {
            for (name, value) in all {
                let child = self.number(value, open)?;
                part.named.push((name.clone(), child));
            }
        }
        if let Some(Value::Object(all)) = members.get("patternProperties") {
            for value in all.values() {
                part.members.push(self.number(value, open)?);
            }
        }
        // Before 2019-09 these applied schemas too.
        if let Some(Value::Object(all)) = members.get("dependencies") {
            for value in all.values().filter(|value| !value.is_array()) {
                part.same.push(self.number(value, open)?);
            }
        }
        for value in MEMBERS.iter().filter_map(|key| members.get(*key)) {
            part.members.push(self.number(value, open)?);
        }
        for key in ELEMENTS.iter().chain(&["prefixItems"]) {
            match members.get(*key) {
                Some(Value::Array(all)) => {
                    for value in all {
                        part.elements.push(self.number(value, open)?);
                    }
                }
                Some(value) => part.elements.push(self.number(value, open)?),
                None => {}
            }
        }
        Ok(part)
    }

    /// How many states the patterns of a part have.
    fn states_of(&mut self, members: &Map<String, Value>) -> Result<u64, Unchecked> {
        let own = members.get("pattern").and_then(Value::as_str);
        let names = members.get("patternProperties").and_then(Value::as_object);
        let names = names.into_iter().flat_map(|all| all.keys().map(String::as_str));
        let mut all = 0;
        for pattern in own.into_iter().chain(names) {
            all += states(pattern)?;
            // What is too much is known before all of them are made ready.
            if self.states + all > STATES_MAX {
                return Err(Unchecked::TooLarge);
            }
        }
        self.states += all;
        Ok(all)
    }

    /// What a reference within the schema refers to.
    fn target(&self, reference: &str) -> Result<&'a Value, Unchecked> {
        let fragment = reference.strip_prefix('#').ok_or(Unchecked::Foreign)?;
        let found = match fragment {
            "" => Some(self.root),
            pointer if pointer.starts_with('/') => {
                // Percent signs are rare in them, and then it is not checked.
                self.root.pointer(pointer)
            }
            anchor => self.anchors.get(anchor).copied(),
        };
        found.ok_or(Unchecked::Foreign)
    }
}

/// About how many states a pattern has, all of which a text may keep alive at once.
fn states(pattern: &str) -> Result<u64, Unchecked> {
    let pattern = with_ascii_classes(pattern);
    for (at, bytes) in SIZES.iter().enumerate() {
        match RegexBuilder::new(&pattern).size_limit(*bytes).build() {
            Ok(_) if at == 0 => return Ok(1),
            Ok(_) => return Ok((bytes / STATE_BYTES) as u64),
            Err(regex::Error::CompiledTooBig(_)) => {}
            // It looks around or back, or is written as only others write.
            Err(_) => return Ok(STATES_LOOKING),
        }
    }
    Err(Unchecked::TooLarge)
}

/// A pattern whose classes of digits, words and spaces are those of JSON Schema (ECMA-262): of ASCII alone, or nearly so.
fn with_ascii_classes(pattern: &str) -> String {
    let mut written = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(one) = characters.next() {
        if one != '\\' {
            written.push(one);
            continue;
        }
        match characters.next() {
            Some('d') => written.push_str("[0-9]"),
            Some('D') => written.push_str("[^0-9]"),
            Some('w') => written.push_str("[0-9A-Za-z_]"),
            Some('W') => written.push_str("[^0-9A-Za-z_]"),
            Some('s') => written.push_str(r"[\t-\r ]"),
            Some('S') => written.push_str(r"[^\t-\r ]"),
            other => {
                written.push('\\');
                written.extend(other);
            }
        }
    }
    written
}

/// How much a part does at a place by itself: what it lists counts too.
fn weight(members: &Map<String, Value>) -> u64 {
    let lists = ["enum", "required", "dependentRequired"].iter().filter_map(|key| members.get(*key));
    let listed = lists.map(|value| match value {
        Value::Array(all) => all.len(),
        Value::Object(all) => all.len(),
        _ => 0,
    });
    let patterns = members.get("patternProperties").and_then(Value::as_object).map_or(0, Map::len);
    1 + members.len() as u64 + listed.sum::<usize>() as u64 + patterns as u64 * 4
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(schema: &Value) -> Vec<u64> {
        Cost::of(schema).expect("a schema").at
    }

    #[test]
    fn what_doubles_with_each_level_is_known_to() {
        let twice = json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [
            {"properties": {"x": {"$ref": "#/$defs/a"}}}, {"properties": {"x": {"$ref": "#/$defs/a"}}}]}}});
        let cost = Cost::of(&twice).expect("a schema");
        assert!(cost.at[60] > 1 << 50, "{:?}", cost.at);
        let mut deep = json!(1);
        for _ in 0..40 {
            deep = json!({ "x": deep });
        }
        assert!(!cost.allows(&deep) && cost.allows(&json!({"x": {"x": 1}})));
    }

    #[test]
    fn what_refers_to_itself_once_for_each_place_does_not() {
        let tree = json!({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}});
        let value = json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#"}},
            {"type": "object", "additionalProperties": {"$ref": "#"}}]});
        for schema in [tree, value] {
            let at = at(&schema);
            assert!(at.iter().all(|cost| *cost < 64), "{at:?}");
        }
    }

    #[test]
    fn what_never_ends_or_is_elsewhere_is_not_checked() {
        assert_eq!(Cost::of(&json!({"$ref": "#"})).err(), Some(Unchecked::Endless));
        let round = json!({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#"}]}}});
        assert_eq!(Cost::of(&round).err(), Some(Unchecked::Endless));
        for reference in ["https://example.com/x", "other.json", "#nowhere", "#/no/where"] {
            assert_eq!(
                Cost::of(&json!({ "$ref": reference })).err(),
                Some(Unchecked::Foreign),
                "{reference}"
            );
        }
        let inner = json!({"properties": {"a": {"$id": "https://example.com/x"}}});
        assert_eq!(Cost::of(&inner).err(), Some(Unchecked::Foreign));
        let many: Map<String, Value> = (0..5000).map(|nth| (nth.to_string(), json!({}))).collect();
        assert_eq!(Cost::of(&json!({ "properties": many })).err(), Some(Unchecked::TooLarge));
    }

    #[test]
    fn a_pattern_costs_what_a_text_may_keep_alive_of_it() {
        let text = |length: usize| json!("01".repeat(length / 2));
        let large = Cost::of(&json!({"pattern": "[01]*1[01]{5000}$"})).expect("a schema");
        assert!(!large.allows(&text(100_000)) && large.allows(&text(100)));
        let named = json!({"patternProperties": {"[01]*1[01]{5000}$": {}}});
        let of_name = json!({ ("01".repeat(50_000)): 1 });
        assert!(!Cost::of(&named).expect("a schema").allows(&of_name));
        let names = json!({"propertyNames": {"pattern": "[01]*1[01]{5000}$"}});
        assert!(!Cost::of(&names).expect("a schema").allows(&of_name));
        for usual in ["^[0-9]+$", r"^\w+@\w+\.com$", "^(?:[A-Za-z0-9+/]{4})*={0,2}$"] {
            let usual = Cost::of(&json!({"items": {"pattern": usual}})).expect("a schema");
            assert!(usual.allows(&json!([text(50_000), text(50_000)])));
        }
        let looking = Cost::of(&json!({"pattern": "^(?=.*[a-z])(?=.*[0-9]).{8,}$"})).expect("a schema");
        assert!(looking.allows(&text(1_000)) && !looking.allows(&text(1_000_000)));
    }

    #[test]
    fn many_large_patterns_are_not_made_ready() {
        let many: Map<String, Value> =
            (0..200).map(|nth| (nth.to_string(), json!({ "pattern": "x{20000}" }))).collect();
        assert_eq!(Cost::of(&json!({ "properties": many })).err(), Some(Unchecked::TooLarge));
        assert_eq!(Cost::of(&json!({"pattern": "(x{900}){900}"})).err(), Some(Unchecked::TooLarge));
        let small: Map<String, Value> =
            (0..200).map(|nth| (nth.to_string(), json!({ "pattern": "^[a-z]{1,20}$" }))).collect();
        assert!(Cost::of(&json!({ "properties": small })).is_ok());
    }

    #[test]
    fn a_large_instance_of_a_plain_schema_is_checked() {
        let schema = json!({"type": "object", "properties": {"rows": {"type": "array", "items": {"type": "object",
            "required": ["a", "b"], "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}}}});
        let rows: Vec<Value> = (0..10_000).map(|nth| json!({"a": "some text", "b": nth})).collect();
        assert!(Cost::of(&schema).expect("a schema").allows(&json!({ "rows": rows })));
    }
}
