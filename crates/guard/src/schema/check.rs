//! A schema that is ready, and what does not fit it.

use std::fmt;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use super::cost::Cost;
use super::unknown;

/// How many bytes a schema may have.
const BYTES_MAX: usize = 256 * 1024;
/// How many faults of one instance are named.
const FAULTS_MAX: usize = 8;
/// How many characters of a fault are shown.
const TEXT_MAX: usize = 240;
/// How large a pattern may become, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// How many steps back a pattern may go that has to.
const STEPS_MAX: usize = 10_000;

/// Why something is not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unchecked {
    /// The schema is no JSON Schema, or one of a kind that is not known here.
    #[error("the schema cannot be used")]
    Unusable,
    /// It has too many parts.
    #[error("the schema is too large")]
    TooLarge,
    /// It is too deep.
    #[error("the schema is too deep")]
    TooDeep,
    /// It refers to something that is not in it.
    #[error("the schema refers to something that is not in it")]
    Foreign,
    /// It applies itself to the same place for ever.
    #[error("the schema refers to itself without end")]
    Endless,
    /// Checking this would take too long.
    #[error("checking it would take too long")]
    TooCostly,
}

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where in the instance: a JSON pointer, empty for the whole of it.
    pub place: String,
    /// The keyword of the schema that it does not fit.
    pub keyword: String,
    /// What is wrong, without the value.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            f.write_str(&self.text)
        } else {
            write!(f, "{}: {}", self.place, self.text)
        }
    }
}

/// A schema that is ready to be used.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
    cost: Cost,
    text: Value,
}

impl Schema {
    /// Makes a schema ready. It must be valid JSON.
    pub fn compile(raw: &[u8]) -> Result<Self, Unchecked> {
        if raw.len() > BYTES_MAX {
            return Err(Unchecked::TooLarge);
        }
        let text: Value = serde_json::from_slice(raw).map_err(|_| Unchecked::Unusable)?;
        let cost = Cost::of(&text)?;
        let plain = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
        let options = || jsonschema::options().offline().should_validate_formats(false);
        let validator = options().with_pattern_options(plain).build(&text);
        // Few patterns look around or back, and those take a bounded number of steps.
        let validator = validator.or_else(|_| {
            let bounded =
                PatternOptions::fancy_regex().backtrack_limit(STEPS_MAX).size_limit(PATTERN_BYTES_MAX);
            options().with_pattern_options(bounded.dfa_size_limit(PATTERN_BYTES_MAX)).build(&text)
        });
        Ok(Self { validator: validator.map_err(|_| Unchecked::Unusable)?, cost, text })
    }

    /// What of an instance does not fit. It must be valid JSON.
    pub fn check(&self, instance: &[u8]) -> Result<Vec<Fault>, Unchecked> {
        let instance = self.read(instance)?;
        if self.validator.is_valid(&instance) {
            return Ok(Vec::new());
        }
        let fault = |error: jsonschema::ValidationError<'_>| Fault {
            place: error.instance_path().to_string(),
            keyword: error.kind().keyword().to_owned(),
            text: error.masked().to_string().chars().take(TEXT_MAX).collect(),
        };
        Ok(self.validator.iter_errors(&instance).take(FAULTS_MAX).map(fault).collect())
    }

    /// The members of an object that the schema does not name, as far as that can be told.
    pub fn unknown_members(&self, instance: &[u8]) -> Result<Vec<String>, Unchecked> {
        let instance = self.read(instance)?;
        Ok(unknown::members(&self.text, &instance).into_iter().map(str::to_owned).collect())
    }

    fn read(&self, instance: &[u8]) -> Result<Value, Unchecked> {
        // Numbers beyond what anybody computes with are not checked.
        let instance: Value = serde_json::from_slice(instance).map_err(|_| Unchecked::TooCostly)?;
        if self.cost.allows(&instance) { Ok(instance) } else { Err(Unchecked::TooCostly) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(text: &Value) -> Schema {
        Schema::compile(text.to_string().as_bytes()).expect("a schema")
    }

    fn faults(schema: &Schema, instance: &Value) -> Vec<String> {
        let faults = schema.check(instance.to_string().as_bytes()).expect("checked");
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_does_not_fit_is_named_without_its_value() {
        let schema = schema(&json!({"type": "object", "required": ["path"], "additionalProperties": false,
            "properties": {"path": {"type": "string", "maxLength": 5}, "amount": {"type": "integer"}}}));
        assert!(faults(&schema, &json!({"path": "a", "amount": 1})).is_empty());
        let said = faults(&schema, &json!({"path": "secret", "amount": "hidden", "x": 1})).join("\n");
        assert!(said.contains("/path: ") && said.contains("/amount: ") && said.contains("integer"), "{said}");
        assert!(!said.contains("secret") && !said.contains("hidden"), "{said}");
        let said = faults(&schema, &json!({})).join("\n");
        assert!(said.contains("path") && said.contains("required"), "{said}");
    }

    #[test]
    fn without_a_word_it_is_the_dialect_of_2020_12() {
        let schema = schema(&json!({"prefixItems": [{"type": "string"}], "items": false}));
        assert!(faults(&schema, &json!(["a"])).is_empty() && !faults(&schema, &json!(["a", 1])).is_empty());
        let older =
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]});
        assert!(!faults(&self::schema(&older), &json!([1])).is_empty());
    }

    #[test]
    fn patterns_take_bounded_time() {
        let schema = schema(&json!({"type": "string", "pattern": "^(a+)+$"}));
        let text = format!("{}!", "a".repeat(50_000));
        assert!(!faults(&schema, &json!(text)).is_empty());
        let looking = self::schema(&json!({"type": "string", "pattern": "^(?=(a+)+$)\\w+$"}));
        let started = std::time::Instant::now();
        let _ = looking.check(json!(text).to_string().as_bytes());
        assert!(started.elapsed() < std::time::Duration::from_mins(1), "{:?}", started.elapsed());
    }

    #[test]
    fn what_cannot_be_checked_is_said() {
        let of = |text: &str| Schema::compile(text.as_bytes()).err();
        assert_eq!(of(r#"{"type":7}"#), Some(Unchecked::Unusable));
        assert_eq!(of(r#"{"$ref":"https://example.com/x"}"#), Some(Unchecked::Foreign));
        assert_eq!(of(&format!("{}1{}", "[".repeat(70), "]".repeat(70))), Some(Unchecked::TooDeep));
        assert_eq!(of(&" ".repeat(BYTES_MAX + 1)), Some(Unchecked::TooLarge));
        let plain = Schema::compile(b"{}").expect("a schema");
        let deep = format!("{}1{}", "[".repeat(70), "]".repeat(70));
        assert_eq!(plain.check(deep.as_bytes()).err(), Some(Unchecked::TooCostly));
        assert_eq!(plain.check(b"1e400").err(), Some(Unchecked::TooCostly));
    }

    #[test]
    fn only_members_that_could_be_named_are_unknown() {
        let unknown = |text: Value, instance: Value| {
            schema(&text).unknown_members(instance.to_string().as_bytes()).expect("checked")
        };
        let (known, sent) = (json!({"properties": {"a": {}}}), json!({"a": 1, "b": 2, "c": 3}));
        assert_eq!(unknown(known, sent.clone()), ["b", "c"]);
        assert_eq!(
            unknown(json!({"properties": {"a": {}}, "additionalProperties": false}), sent.clone()),
            ["b", "c"]
        );
        for open in [
            json!({}),
            json!({"properties": {"a": {}}, "additionalProperties": true}),
            json!({"properties": {"a": {}}, "additionalProperties": {"type": "integer"}}),
            json!({"properties": {"a": {}}, "patternProperties": {"^b": {}}}),
            json!({"properties": {"a": {}}, "allOf": [{"properties": {"b": {}}}]}),
        ] {
            assert!(unknown(open.clone(), sent.clone()).is_empty(), "{open}");
        }
    }
}
