//! What the demo does and says: two clients, one of each era, over the same address.

use std::time::Instant;

use bytes::Bytes;
use tollgate_mcp::json;
use tollgate_upstream::EraChoice;

use crate::cli::Remote;
use crate::client::Client;
use crate::exit::Failure;
use crate::out::{Printer, safe};
use crate::tools::{is_error, show_result};

/// The calls that each client makes.
const CALLS: [(&str, &str); 3] = [
    ("notes__read", r#"{"title":"welcome"}"#),
    ("calendar__days_between", r#"{"from":"2026-07-28","to":"2026-12-31"}"#),
    ("calendar__countdown", r#"{"steps":3}"#),
];

/// Says what is running.
pub(crate) fn opening(out: Printer, url: &str, calendar_url: &str) {
    out.line(out.bold("\nA gateway and two servers are running:"));
    out.line(format!("  {}     a process on this machine, spoken to over stdio", out.green("notes")));
    out.line(format!("  {}  a server of its own at {calendar_url}", out.green("calendar")));
    out.line(format!("  {}   one address for both: {}", out.green("gateway"), out.cyan(url)));
}

/// Lists and calls tools as two clients of different eras would.
pub(crate) async fn tell(out: Printer, url: &str) -> Result<(), Failure> {
    let eras = [
        (EraChoice::Legacy, "A client of today", "opens a session first (`initialize`)"),
        (
            EraChoice::Modern,
            "A client of the newest revision",
            "needs no session: every request stands alone",
        ),
    ];
    for (era, who, how) in eras {
        let client = Client::open(url, &Remote::none(), era).await?;
        out.line(format!("\n{} {}", out.bold(who), out.dim(&format!("speaks {}, {how}", client.revision()))));
        let done = visit(out, &client).await;
        client.close().await;
        done?;
    }
    out.line(format!(
        "\n{} Both clients saw the same tools at one address, whatever each server speaks itself.",
        out.green("Done.")
    ));
    Ok(())
}

async fn visit(out: Printer, client: &Client) -> Result<(), Failure> {
    let tools = client.tools(|_| {}).await?;
    let names: Vec<String> = tools.iter().filter_map(name_of).collect();
    out.line(format!("  lists {} tools: {}", names.len(), names.join(", ")));
    for (tool, arguments) in CALLS {
        if !names.iter().any(|name| name == tool) {
            return Err(Failure::failed(format!("the tool {tool} is not in the list")));
        }
        let mut steps = 0_u32;
        let started = Instant::now();
        let arguments_raw = Bytes::from_static(arguments.as_bytes());
        let answer = client.call(tool, &arguments_raw, |_| steps += 1).await?;
        let text = safe(&show_result(&answer));
        if is_error(&answer) {
            return Err(Failure::failed(format!("{tool} said that it failed: {text}")));
        }
        let progress =
            if steps > 0 { format!(", {steps} progress reports on the way") } else { String::new() };
        let cost = format!("({:.1} ms{progress})", started.elapsed().as_secs_f64() * 1e3);
        out.line(format!("  calls {} {}", out.cyan(tool), out.dim(arguments)));
        out.line(format!("     {} {text} {}", out.green("→"), out.dim(&cost)));
    }
    Ok(())
}

fn name_of(tool: &Bytes) -> Option<String> {
    let name = json::find(tool, json::Span::all(tool), "name")?;
    json::text(tool, name).map(|name| safe(&name))
}
