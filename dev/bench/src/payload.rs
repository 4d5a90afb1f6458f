//! The texts and tools that mock and generator agree on, so that every byte of an answer can be checked.

use std::fmt::Write as _;
use std::sync::LazyLock;

/// Events of the progress stream, before its response.
pub(crate) const PROGRESS_EVENTS: u64 = 20;
/// Tools of one mock server.
pub(crate) const TOOLS: usize = 10;
/// Length of the large result's text as JSON writes it, in bytes.
pub(crate) const RESULT_BYTES: usize = 100 * 1024;
/// Length of the large argument's text as JSON writes it, in bytes.
pub(crate) const ARGUMENT_BYTES: usize = 1024 * 1024;

/// The modern revision that mock and generator speak.
pub(crate) const MODERN: &str = "2026-07-28";
/// The legacy revision that mock and generator speak.
pub(crate) const LEGACY: &str = "2025-11-25";

/// Text of the large result, already escaped for JSON and without quotes.
pub(crate) static RESULT_TEXT: LazyLock<String> = LazyLock::new(|| prose(RESULT_BYTES));
/// Text of the large argument, likewise.
pub(crate) static ARGUMENT_TEXT: LazyLock<String> = LazyLock::new(|| prose(ARGUMENT_BYTES));

/// Exactly `bytes` of numbered lines with an escape each and some letters beyond ASCII, as documents have them;
/// a scanner thus meets what it meets in practice. No escaped quotes: the mock finds the end by the next quote.
fn prose(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 128);
    let mut line = 0_u32;
    while text.len() < bytes {
        line += 1;
        let _ = write!(
            text,
            "{line:06} The gate opens for whoever may pass; the keeper writes each name down – naïve, but kept.\\n"
        );
    }
    let mut end = bytes;
    while !text.is_char_boundary(end) || text[..end].ends_with('\\') {
        end -= 1;
    }
    text.truncate(end);
    while text.len() < bytes {
        text.push('.');
    }
    text
}

/// The `tools` array of one mock server: four that work and six that only fill the list, with schemas of usual size.
pub(crate) fn tools() -> String {
    let mut tools = vec![
        tool("small", "Says a word back.", &["word"]),
        tool("large", "Returns a text of 100 KiB.", &["topic"]),
        tool("steps", "Reports twenty steps of progress, then answers.", &["topic"]),
        tool("swallow", "Takes a large text and says how long it was.", &["text"]),
    ];
    for filler in ["search_notes", "read_note", "write_note", "move_note", "list_folder", "summarise"] {
        tools.push(tool(
            filler,
            "Works on the notes of one project. Paths are relative to the project's folder.",
            &["project", "path", "query", "format"],
        ));
    }
    format!("[{}]", tools.join(","))
}

fn tool(native_name: &str, description: &str, arguments: &[&str]) -> String {
    let properties: Vec<String> = arguments
        .iter()
        .map(|argument| {
            format!(
                r#""{argument}":{{"type":"string","description":"The {argument} to use, as the person wrote it","maxLength":2097152}}"#
            )
        })
        .collect();
    format!(
        r#"{{"name":"{native_name}","title":"{native_name}","description":"{description}","inputSchema":{{"type":"object","properties":{{{}}},"required":["{}"]}},"annotations":{{"readOnlyHint":true,"openWorldHint":false}}}}"#,
        properties.join(","),
        arguments[0],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_their_length_and_are_valid_json() {
        for (text, bytes) in [(&*RESULT_TEXT, RESULT_BYTES), (&*ARGUMENT_TEXT, ARGUMENT_BYTES)] {
            assert_eq!(text.len(), bytes);
            assert!(!text.contains('"'));
            serde_json::from_str::<String>(&format!("\"{text}\"")).unwrap();
        }
    }

    #[test]
    fn lists_ten_tools() {
        let tools: Vec<serde_json::Value> = serde_json::from_str(&tools()).unwrap();
        assert_eq!(tools.len(), TOOLS);
    }
}
