//! A difference as people read it.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;
use similar::TextDiff;

use super::definition::Definition;
use super::twin::is_hidden;

/// How long looking for the shortest difference may take; then a longer one will do.
const LOOK_MAX: Duration = Duration::from_millis(500);

/// A definition as lines: texts as they read, with what nobody sees written out; schemas as indented JSON.
pub fn readable(definition: &Definition) -> String {
    let mut out = String::new();
    for (field, value) in definition.fields() {
        match super::compare::words(&value) {
            Some(words) if words.contains('\n') => {
                let _ = writeln!(out, "{}:", seen(&field));
                for line in words.lines() {
                    let _ = writeln!(out, "  {}", seen(line));
                }
            }
            Some(words) => {
                let _ = writeln!(out, "{}: {}", seen(&field), seen(&words));
            }
            None => {
                // Numbers beyond what a program computes with are shown as they are written.
                let pretty = serde_json::from_slice::<Value>(&value)
                    .and_then(|value| serde_json::to_string_pretty(&value))
                    .unwrap_or_else(|_| String::from_utf8_lossy(&value).into_owned());
                let _ = writeln!(out, "{}: {}", seen(&field), seen_lines(&pretty));
            }
        }
    }
    out
}

/// The lines that differ, with three around them, as `diff -u` shows them.
pub fn unified(before: Option<&Definition>, after: &Definition) -> String {
    let before = before.map(readable).unwrap_or_default();
    let after = readable(after);
    let diff = TextDiff::configure().timeout(LOOK_MAX).diff_lines(&before, &after);
    diff.unified_diff().context_radius(3).header("approved", "shown now").to_string()
}

fn seen_lines(text: &str) -> String {
    text.lines().map(seen).collect::<Vec<_>>().join("\n")
}

/// One line with what nobody sees written out, so that it does nothing to a terminal either.
fn seen(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) || character.is_control() {
            let _ = write!(out, "\\u{{{:X}}}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use tollgate_store::PinKind;

    use super::*;

    #[test]
    fn a_difference_reads_as_one() {
        let of = |text: &str| Definition::read(PinKind::Tool, text.as_bytes());
        let before = of(
            r#"{"name":"add","description":"Adds.\nTwo numbers.","inputSchema":{"type":"object","properties":{"a":{}}}}"#,
        );
        let after = of(
            "{\"name\":\"add\",\"description\":\"Adds.\\nThree\u{200B} numbers.\",\"inputSchema\":{\"type\":\"object\",\"properties\":{\"a\":{},\"key\":{}}}}",
        );
        let diff = unified(Some(&before), &after);
        for line in ["-  Two numbers.", "+  Three\\u{200B} numbers.", "+    \"key\": {}", "   Adds."] {
            assert!(diff.lines().any(|found| found == line), "{line}\n{diff}");
        }
        assert!(unified(None, &after).contains("+name: add"));
        assert_eq!(unified(Some(&after), &after), "");
    }
}
