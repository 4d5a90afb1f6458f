//! A reference MCP server on the official Rust SDK, for tests to put behind the gateway.
//!
//! It offers what the official conformance runner asks of a server (tools, prompts, resources, completion, multi
//! round-trip requests) in both eras, and a few tools by which a test can see what reached it. It is an independent
//! peer: none of the gateway's own wire code is in it.
//!
//! ```text
//! reference-server --http 127.0.0.1:0 [--era both|legacy|modern] [--numbered-tools N --page-size N]
//! reference-server --stdio            [...]
//! ```
//!
//! Over HTTP it prints one line of JSON, `{"url": "http://127.0.0.1:PORT/mcp"}`, once it listens.

#![expect(deprecated, reason = "legacy clients still use what the SDK marks as going away")]

mod prompts;
mod resources;
mod rounds;
mod server;
mod tools;
mod watched;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rmcp::ServiceExt as _;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use crate::server::{EraChoice, Options, Reference};

enum Listen {
    Stdio,
    Http(String),
}

#[tokio::main]
async fn main() -> ExitCode {
    let (listen, options) = match parse(std::env::args().skip(1)) {
        Ok(parsed) => parsed,
        Err(problem) => {
            let _ = writeln!(std::io::stderr(), "reference-server: {problem}");
            return ExitCode::from(64);
        }
    };
    let reference = Reference::new(options);
    let served = match listen {
        Listen::Stdio => serve_stdio(reference).await,
        Listen::Http(address) => serve_http(reference, &address).await,
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let _ = writeln!(std::io::stderr(), "reference-server: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<(Listen, Options), String> {
    let mut listen = None;
    let mut options = Options::default();
    while let Some(flag) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--stdio" => listen = Some(Listen::Stdio),
            "--http" => listen = Some(Listen::Http(value()?)),
            "--numbered-tools" => {
                options.numbered_tools = value()?.parse().map_err(|_| "--numbered-tools wants a number")?;
            }
            "--page-size" => {
                options.page_size = value()?.parse().map_err(|_| "--page-size wants a number")?;
            }
            "--era" => {
                options.era = match value()?.as_str() {
                    "both" => EraChoice::Both,
                    "legacy" => EraChoice::Legacy,
                    "modern" => EraChoice::Modern,
                    other => return Err(format!("no such era: {other}")),
                }
            }
            other => return Err(format!("unknown argument {other}")),
        }
    }
    listen.map(|listen| (listen, options)).ok_or_else(|| "one of --stdio and --http ADDR is needed".into())
}

async fn serve_stdio(reference: Reference) -> Result<(), String> {
    let running = reference.serve(rmcp::transport::stdio()).await.map_err(|error| error.to_string())?;
    running.waiting().await.map_err(|error| error.to_string())?;
    Ok(())
}

async fn serve_http(reference: Reference, address: &str) -> Result<(), String> {
    let listener =
        tokio::net::TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?;
    let bound = listener.local_addr().map_err(|error| error.to_string())?;
    let config = StreamableHttpServerConfig::default().with_allowed_origins([
        "http://localhost:*",
        "http://127.0.0.1:*",
        "http://[::1]:*",
    ]);
    let service = StreamableHttpService::new(
        move || Ok(reference.clone()),
        Arc::new(LocalSessionManager::default()),
        config,
    );
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", serde_json::json!({ "url": format!("http://{bound}/mcp") }))
        .and_then(|()| stdout.flush())
        .map_err(|error| error.to_string())?;
    loop {
        let (stream, _) = listener.accept().await.map_err(|error| error.to_string())?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            // A broken connection concerns its client alone.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
