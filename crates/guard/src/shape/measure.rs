//! The shape of a JSON value, measured in one pass over its bytes.

use std::fmt;

/// How many bytes are taken for one token: the cheap estimate that limits count by too.
const BYTES_PER_TOKEN: u64 = 4;

/// How large and deep a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// Its bytes as they are written.
    pub bytes: u64,
    /// How deeply arrays and objects nest; a value that is none has none.
    pub depth: u64,
    /// How many values there are in it, itself among them.
    pub nodes: u64,
    /// The bytes of its longest string, as it is written.
    pub string_bytes: u64,
}

/// How large and deep something may be. What is not said has no bound here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// How many bytes.
    pub bytes: Option<u64>,
    /// How deeply it may nest.
    pub depth: Option<u64>,
    /// How many values may be in it.
    pub nodes: Option<u64>,
    /// How many bytes one string may have.
    pub string_bytes: Option<u64>,
    /// How many tokens, at four bytes each.
    pub tokens: Option<u64>,
}

/// The first bound that something does not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excess {
    /// Of what.
    pub of: &'static str,
    /// How much there is.
    pub found: u64,
    /// How much there may be.
    pub allowed: u64,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, found, allowed } = self;
        write!(f, "{found} {of} where {allowed} are allowed")
    }
}

impl Shape {
    /// Measures a value. It must be valid JSON.
    pub fn of(json: &[u8]) -> Self {
        let mut shape = Self { bytes: json.len() as u64, ..Self::default() };
        let (mut depth, mut at, mut is_in_word) = (0_u64, 0, false);
        while let Some(byte) = json.get(at).copied() {
            match byte {
                b'"' => {
                    let end = end_of_string(json, at + 1);
                    shape.string_bytes = shape.string_bytes.max((end - at - 1) as u64);
                    // The name of a member is no value of its own.
                    let mut behind = json[end..].iter().skip(1).skip_while(|byte| byte.is_ascii_whitespace());
                    shape.nodes += u64::from(behind.next() != Some(&b':'));
                    at = end;
                    is_in_word = false;
                }
                b'{' | b'[' => {
                    depth += 1;
                    shape.depth = shape.depth.max(depth);
                    shape.nodes += 1;
                    is_in_word = false;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    is_in_word = false;
                }
                b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' => is_in_word = false,
                _ => {
                    shape.nodes += u64::from(!is_in_word);
                    is_in_word = true;
                }
            }
            at += 1;
        }
        shape
    }
}

/// Where the closing quote of a string is.
fn end_of_string(json: &[u8], mut at: usize) -> usize {
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

impl Bounds {
    /// Whether anything is bounded.
    pub fn are_any(&self) -> bool {
        *self != Self::default()
    }

    /// What this says, and where it says nothing what the other does.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.or(other.bytes),
            depth: self.depth.or(other.depth),
            nodes: self.nodes.or(other.nodes),
            string_bytes: self.string_bytes.or(other.string_bytes),
            tokens: self.tokens.or(other.tokens),
        }
    }

    /// How many bytes something may have by what is said of bytes and of tokens.
    pub fn bytes_max(&self) -> Option<u64> {
        let by_tokens = self.tokens.map(|tokens| tokens.saturating_mul(BYTES_PER_TOKEN));
        [self.bytes, by_tokens].into_iter().flatten().min()
    }

    /// The first bound that a value does not keep. It must be valid JSON.
    pub fn check(&self, json: &[u8]) -> Result<(), Excess> {
        let bytes = json.len() as u64;
        let tokens = bytes.div_ceil(BYTES_PER_TOKEN);
        within("bytes", bytes, self.bytes)?;
        within("tokens", tokens, self.tokens)?;
        if self.depth.is_none() && self.nodes.is_none() && self.string_bytes.is_none() {
            return Ok(());
        }
        let shape = Shape::of(json);
        within("levels", shape.depth, self.depth)?;
        within("values", shape.nodes, self.nodes)?;
        within("bytes in one text", shape.string_bytes, self.string_bytes)
    }
}

fn within(of: &'static str, found: u64, allowed: Option<u64>) -> Result<(), Excess> {
    match allowed {
        Some(allowed) if found > allowed => Err(Excess { of, found, allowed }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn shape(json: &str) -> (u64, u64, u64) {
        let Shape { depth, nodes, string_bytes, .. } = Shape::of(json.as_bytes());
        (depth, nodes, string_bytes)
    }

    #[test]
    fn what_there_is_is_counted() {
        assert_eq!(shape("1"), (0, 1, 0));
        assert_eq!(shape(r#"{"a" : [1, -2.5e3, "x\"yz", null,true], "b":{}}"#), (2, 8, 5));
        assert_eq!(shape(r#"["a:","b"]"#), (1, 3, 2));
        assert_eq!(shape(r#"{"a":"}]"}"#), (1, 2, 2));
    }

    #[test]
    fn the_first_bound_that_is_not_kept_is_named() {
        let bounds = Bounds { depth: Some(2), nodes: Some(4), string_bytes: Some(3), ..Bounds::default() };
        let of = |json: &str| bounds.check(json.as_bytes()).err().map(|excess| excess.of);
        assert_eq!(of(r#"{"a":["b"]}"#), None);
        assert_eq!(of(r"[[[]]]"), Some("levels"));
        assert_eq!(of("[1,2,3,4]"), Some("values"));
        assert_eq!(of(r#"["long"]"#), Some("bytes in one text"));
        let tokens = Bounds { tokens: Some(2), ..Bounds::default() };
        assert_eq!(
            (tokens.bytes_max(), tokens.check(b"12345678"), tokens.check(b"123456789").is_err()),
            (Some(8), Ok(()), true)
        );
    }

    fn count(value: &Value) -> (u64, u64) {
        match value {
            Value::Array(all) => all
                .iter()
                .map(count)
                .fold((1, 1), |(depth, nodes), (below, more)| (depth.max(below + 1), nodes + more)),
            Value::Object(all) => all
                .values()
                .map(count)
                .fold((1, 1), |(depth, nodes), (below, more)| (depth.max(below + 1), nodes + more)),
            _ => (0, 1),
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), ".*".prop_map(Value::from)];
        leaf.prop_recursive(5, 64, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map(".{0,6}", inner, 0..5)
                    .prop_map(|all| all.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_what_whoever_parses_it_counts(value in value()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).expect("JSON")] {
                let shape = Shape::of(text.as_bytes());
                prop_assert_eq!((shape.depth, shape.nodes), count(&value), "{}", text);
            }
        }
    }
}
