//! Ready-made configurations of the clients that most people have.

use std::path::Path;

use crate::cli::Client;
use crate::client_config::Target;
use crate::out::Printer;

/// Prints what to put where.
pub(crate) fn show(out: Printer, program: &Path, url: &str) {
    out.line(out.bold("\nConnect your own client:"));
    let target = Target { program, url, key: None };
    for client in [Client::ClaudeDesktop, Client::Cursor, Client::Vscode, Client::ClaudeCode] {
        out.line(format!("\n  {} {}", out.green(client.title()), out.dim(client.place())));
        for line in client.configuration(&target).lines() {
            out.line(format!("    {line}"));
        }
    }
}
