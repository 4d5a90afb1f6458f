//! `tollgate tools`: what any MCP endpoint offers, and one call of it.

use std::io::IsTerminal;

use bytes::Bytes;
use serde_json::Value;
use tollgate_mcp::{Limits, Message, json};
use tollgate_upstream::EraChoice;

use crate::cli::{Tools, ToolsCall, ToolsList};
use crate::client::{Client, Progress};
use crate::exit::Failure;
use crate::out::{Printer, To, safe};

/// The longest description that a list shows, in characters.
const DESCRIPTION_MAX: usize = 400;

/// Runs `tools list` or `tools call`.
pub(crate) async fn run(command: Tools) -> Result<(), Failure> {
    match command {
        Tools::List(command) => list(command).await,
        Tools::Call(command) => call(command).await,
    }
}

async fn list(command: ToolsList) -> Result<(), Failure> {
    let client = Client::open(&command.url, &command.remote, EraChoice::Auto).await?;
    let ticker = Ticker::new();
    let tools = client.tools_and_gaps(|count| ticker.show(&format!("{count} tools"))).await;
    ticker.clear();
    let revision = client.revision();
    client.close().await;
    let (tools, gaps) = tools?;

    let out = Printer::new(To::Out);
    if command.json {
        let parts: Vec<_> = tools.iter().map(|tool| String::from_utf8_lossy(tool)).collect();
        out.line(format!("[{}]", parts.join(",\n ")));
        return Ok(());
    }
    for tool in &tools {
        out.line(describe(tool, out));
    }
    let err = Printer::new(To::Err);
    for gap in &gaps {
        err.line(format!("{} {}", err.red("missing:"), safe(gap)));
    }
    let plural = if tools.len() == 1 { "" } else { "s" };
    err.line(format!("{} tool{plural}, spoken: {revision}", tools.len()));
    Ok(())
}

/// One tool in two or three lines.
fn describe(tool: &Bytes, out: Printer) -> String {
    let tool: Value = serde_json::from_slice(tool).unwrap_or_default();
    let name = tool["name"].as_str().unwrap_or("(a tool without a name)");
    let mut text = format!("{}{}", out.bold(&safe(name)), out.dim(&safe(&arguments(&tool["inputSchema"]))));
    let description = tool["description"].as_str().or_else(|| tool["title"].as_str()).unwrap_or_default();
    let mut shown: String = description.trim().chars().take(DESCRIPTION_MAX).collect();
    if shown.len() < description.trim().len() {
        shown.push('…');
    }
    for line in safe(&shown).lines() {
        text.push_str("\n    ");
        text.push_str(line);
    }
    text
}

/// The arguments as `(title: string, text?: string)`.
fn arguments(schema: &Value) -> String {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let list: Vec<String> = properties
        .map(|(name, schema)| {
            let optional = if required.contains(&name.as_str()) { "" } else { "?" };
            let kind = match &schema["type"] {
                Value::String(kind) => kind.clone(),
                Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|"),
                _ => "any".to_owned(),
            };
            format!("{name}{optional}: {kind}")
        })
        .collect();
    format!("({})", list.join(", "))
}

async fn call(command: ToolsCall) -> Result<(), Failure> {
    let arguments = read_arguments(&command.args)?;
    let client = Client::open(&command.url, &command.remote, EraChoice::Auto).await?;
    let ticker = Ticker::new();
    let answer = client.call(&command.tool, &arguments, |progress| ticker.show(&progress.to_string())).await;
    ticker.clear();
    client.close().await;
    let answer = answer?;

    let out = Printer::new(To::Out);
    if command.json {
        let result = answer.body().map(|body| answer.raw(body)).unwrap_or_default();
        out.line(String::from_utf8_lossy(&result));
    } else {
        out.line(show_result(&answer));
    }
    if is_error(&answer) {
        return Err(Failure::tool(format!("{} said that it failed", safe(&command.tool))));
    }
    Ok(())
}

fn read_arguments(text: &str) -> Result<Bytes, Failure> {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    let wrong = |what: String| Failure::usage(format!("--args: {what}"));
    let span = json::validate(&bytes, &Limits::default())
        .map_err(|error| wrong(format!("not JSON that can be sent: {error}")))?;
    if json::kind_of(&bytes, span) != json::JsonKind::Object {
        return Err(wrong("the arguments are a JSON object, as {\"city\": \"Paris\"}".to_owned()));
    }
    Ok(span.slice(&bytes))
}

/// Whether a result says that the tool failed.
pub(crate) fn is_error(answer: &Message) -> bool {
    answer.member("isError").is_some_and(|value| &answer.raw(value)[..] == b"true")
}

/// A result as a person reads it: texts as they are, other content named, structured content where there is no text.
pub(crate) fn show_result(answer: &Message) -> String {
    let result: Value =
        answer.body().and_then(|body| serde_json::from_slice(&answer.raw(body)).ok()).unwrap_or_default();
    let mut lines: Vec<String> =
        result["content"].as_array().into_iter().flatten().map(show_content).collect();
    if lines.is_empty() {
        let structured = result.get("structuredContent").map(|value| format!("{value:#}"));
        lines.push(safe(&structured.unwrap_or_else(|| format!("{result:#}"))));
    }
    lines.join("\n")
}

fn show_content(content: &Value) -> String {
    let text = |key: &str| safe(content[key].as_str().unwrap_or("?"));
    match content["type"].as_str() {
        Some("text") => text("text"),
        Some(kind @ ("image" | "audio")) => {
            let base64_chars = content["data"].as_str().map_or(0, str::len);
            format!("[{kind}, {}, about {} bytes]", text("mimeType"), base64_chars / 4 * 3)
        }
        Some("resource_link") => format!("[link to {}]", text("uri")),
        Some("resource") => match content["resource"]["text"].as_str() {
            Some(inner) => safe(inner),
            None => format!("[resource {}]", safe(content["resource"]["uri"].as_str().unwrap_or("?"))),
        },
        _ => safe(&content.to_string()),
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.done)?;
        if let Some(total) = self.total {
            write!(f, " of {total}")?;
        }
        if let Some(text) = &self.text {
            write!(f, ": {}", safe(text))?;
        }
        Ok(())
    }
}

/// A line on a terminal that is written over.
struct Ticker(Option<Printer>);

impl Ticker {
    fn new() -> Self {
        Self(std::io::stderr().is_terminal().then(|| Printer::new(To::Err)))
    }

    fn show(&self, text: &str) {
        if let Some(err) = self.0 {
            let line = text.replace(['\n', '\t'], " ");
            err.raw(format!("\r\x1b[K{line}").as_bytes());
        }
    }

    fn clear(&self) {
        if let Some(err) = self.0 {
            err.raw(b"\r\x1b[K");
        }
    }
}
