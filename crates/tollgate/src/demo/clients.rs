//! Ready-made configurations of the clients that most people have.

use std::path::Path;

use serde_json::json;

use crate::out::Printer;

/// Prints what to put where.
pub(crate) fn show(out: Printer, program: &Path, url: &str) {
    out.line(out.bold("\nConnect your own client:"));
    for (client, file, config) in configs(program, url) {
        out.line(format!("\n  {} {}", out.green(client), out.dim(file)));
        for line in config.lines() {
            out.line(format!("    {line}"));
        }
    }
}

/// Each client, the file that it reads, and what to put into it. Written by hand so that the lines stand in the order
/// in which people write them.
fn configs(program: &Path, url: &str) -> [(&'static str, &'static str, String); 3] {
    let (program, url) = (json!(program.to_string_lossy()), json!(url));
    let claude = format!(
        "{{\n  \"mcpServers\": {{\n    \"tollgate\": {{\n      \"command\": {program},\n      \
         \"args\": [\"connect\", {url}]\n    }}\n  }}\n}}"
    );
    let cursor = format!("{{\n  \"mcpServers\": {{\n    \"tollgate\": {{ \"url\": {url} }}\n  }}\n}}");
    let vscode = format!(
        "{{\n  \"servers\": {{\n    \"tollgate\": {{ \"type\": \"http\", \"url\": {url} }}\n  }}\n}}"
    );
    [
        ("Claude Desktop", "claude_desktop_config.json (Settings, Developer, Edit Config)", claude),
        ("Cursor", "~/.cursor/mcp.json", cursor),
        ("VS Code", ".vscode/mcp.json", vscode),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_json() {
        for (_, _, config) in configs(Path::new("/a \"b\"/tollgate"), "http://127.0.0.1:1/mcp") {
            let config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
            assert!(config.to_string().contains("http://127.0.0.1:1/mcp"), "{config}");
        }
    }
}
