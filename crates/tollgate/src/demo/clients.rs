//! Ready-made configurations of the clients that most people have.

use std::path::Path;

use serde_json::json;

use crate::out::Printer;

/// Prints what to put where.
pub(crate) fn show(out: Printer, program: &Path, url: &str) {
    let program = program.to_string_lossy();
    let claude = json!({ "mcpServers": { "tollgate": { "command": program, "args": ["connect", url] } } });
    let cursor = json!({ "mcpServers": { "tollgate": { "url": url } } });
    let vscode = json!({ "servers": { "tollgate": { "type": "http", "url": url } } });
    out.line(out.bold("\nConnect your own client:"));
    for (client, file, config) in [
        ("Claude Desktop", "claude_desktop_config.json (Settings, Developer, Edit Config)", claude),
        ("Cursor", "~/.cursor/mcp.json", cursor),
        ("VS Code", ".vscode/mcp.json", vscode),
    ] {
        out.line(format!("\n  {} {}", out.green(client), out.dim(file)));
        for line in format!("{config:#}").lines() {
            out.line(format!("    {line}"));
        }
    }
}
