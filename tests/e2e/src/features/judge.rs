//! Looking at the answer of a driver.

use serde_json::{Value, json};

use super::Verdict;

/// What an answer said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a>(pub &'a Value);

impl<'a> Seen<'a> {
    /// The result of a step.
    ///
    /// # Errors
    /// If it failed.
    pub(super) fn ok(self, step: usize) -> Result<&'a Value, String> {
        let outcome = &self.0["script"][step];
        if outcome["ok"].is_null() { Err(format!("step {step}: {outcome}")) } else { Ok(&outcome["ok"]) }
    }

    /// The error of a step.
    ///
    /// # Errors
    /// If it did not fail.
    pub(super) fn error(self, step: usize) -> Result<&'a Value, String> {
        let outcome = &self.0["script"][step];
        if outcome["error"].is_null() {
            Err(format!("step {step} was to fail: {outcome}"))
        } else {
            Ok(&outcome["error"])
        }
    }

    /// The text of a step's first content.
    ///
    /// # Errors
    /// If it has none, or is an error.
    pub(super) fn text(self, step: usize) -> Result<&'a str, String> {
        let result = self.ok(step)?;
        if result["isError"] == true {
            return Err(format!("step {step} is an error: {result}"));
        }
        let text = result["content"][0]["text"].as_str().or(result["text"].as_str());
        text.ok_or_else(|| format!("step {step} has no text: {result}"))
    }

    /// The text of a step, read as JSON: what the server says that it got.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn told(self, step: usize) -> Result<Value, String> {
        let text = self.text(step)?;
        serde_json::from_str(text).map_err(|error| format!("step {step}: {error}: {text}"))
    }

    /// What the client was asked.
    pub(super) fn asked(self) -> &'a [Value] {
        self.heard("asked")
    }

    /// Everything of a kind that the client heard.
    pub(super) fn heard(self, kind: &str) -> &'a [Value] {
        self.0["heard"][kind].as_array().map(Vec::as_slice).unwrap_or_default()
    }
}

/// That something holds.
///
/// # Errors
/// If it does not.
pub(super) fn holds(fine: bool, what: impl FnOnce() -> String) -> Verdict {
    if fine { Ok(()) } else { Err(what()) }
}

/// That two values are the same.
///
/// # Errors
/// If they differ.
pub(super) fn same(what: &str, seen: &Value, wanted: &Value) -> Verdict {
    holds(seen == wanted, || format!("{what} is {seen}, not {wanted}"))
}

/// That all these members have these values.
///
/// # Errors
/// If one has not.
pub(super) fn members(what: &str, seen: &Value, wanted: &Value) -> Verdict {
    for (key, value) in wanted.as_object().into_iter().flatten() {
        same(&format!("`{key}` of {what}"), &seen[key], value)?;
    }
    Ok(())
}

/// The names in a list's entries.
pub(super) fn names(entries: &Value, key: &str) -> Vec<String> {
    let entries = entries.as_array().into_iter().flatten();
    entries.filter_map(|entry| entry[key].as_str().map(ToOwned::to_owned)).collect()
}

/// That a list of texts is this one.
///
/// # Errors
/// If it is another.
pub(super) fn texts(what: &str, seen: &[String], wanted: &[&str]) -> Verdict {
    holds(seen == wanted, || format!("{what}: {seen:?}, not {}", json!(wanted)))
}
