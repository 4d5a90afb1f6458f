//! How long the pages of the console take at the server: with a million entries on record, which are half as many calls, 500 servers, 10,000 tools that are
//! pinned, and of the rest as much as one gateway may have. Of a real gateway, with SQLite or PostgreSQL.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_backends::Place as Database;
use tollgate_database::Server;
use tollgate_model::{Secret, Timestamp};

use crate::Result;
use crate::process::{Keeper, Running};
use crate::say::line;
use crate::stocked::fill;

/// How often each page is asked for, and how long it may take.
const ASKED: usize = 7;
const MS_MAX: u128 = 300;
/// What of calls is found again: the pages of one.
const KEPT: &str = "key";

/// Measures them.
pub(crate) fn measure(binary: &Path, rows: u64, folder: Option<&Path>, is_postgres: bool) -> Result<()> {
    if is_postgres && folder.is_some() {
        return Err("a server of PostgreSQL goes with its data: it takes no folder".into());
    }
    let server = is_postgres.then(Server::start);
    let url = server.as_ref().map(Server::database);
    let temporary = tempfile::tempdir()?;
    let folder = folder.unwrap_or(temporary.path());
    std::fs::create_dir_all(folder.join("data"))?;
    let kept = folder.join(KEPT);
    let place = match &url {
        Some(url) => Database::postgres(Secret::new(url.clone()))?,
        None => Database::File(folder.join("data/tollgate.db")),
    };
    if !kept.exists() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let found = runtime.block_on(fill(folder, &place, rows))?;
        std::fs::write(&kept, found)?;
    }
    let text = std::fs::read_to_string(&kept)?;
    let (key, call) = text.split_once(' ').ok_or("what is kept is of another time")?;
    let keeper = Arc::new(Keeper::start()?);
    let mut command = Command::new(binary);
    command.args(["serve", "--json", "--config"]).arg(folder.join("tollgate.yaml"));
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).env_remove("DATABASE_URL");
    if let Some(url) = &url {
        command.env("DATABASE_URL", url);
    }
    let mut gateway = Running::start(&mut command, Some(&keeper))?;
    let bound: serde_json::Value = serde_json::from_str(&gateway.first_line()?)?;
    let address: SocketAddr = bound["adminListen"].as_str().ok_or("no address")?.parse()?;
    pages(address, key, call)
}

fn pages(address: SocketAddr, key: &str, call: &str) -> Result<()> {
    let (user, tool) = ("user=userref00000042%40acme.example", "tool=server__tool_42");
    let today = Timestamp::now().to_string();
    let today = today.split('T').next().unwrap_or_default();
    let paths = [
        ("overview", "/".to_owned()),
        ("servers", "/servers".to_owned()),
        ("one server, with its tools", "/servers/server-7?tenant=default".to_owned()),
        ("one that waits for review", "/review?tenant=default&name=draft-7&version=1".to_owned()),
        ("calls, the newest", "/calls".to_owned()),
        ("calls of a user", format!("/calls?{user}")),
        ("calls of a tool that were denied", format!("/calls?{tool}&outcome=denied")),
        ("calls that nobody made", "/calls?agent=nobody".to_owned()),
        ("one call", format!("/calls/{call}")),
        ("approvals", "/approvals".to_owned()),
        ("approvals, all", "/approvals?all=1".to_owned()),
        ("one approval", "/approvals/apr_000000000000000000000007".to_owned()),
        ("pins that wait", "/pins".to_owned()),
        ("pins, all", "/pins?all=1".to_owned()),
        ("findings", "/findings".to_owned()),
        ("findings, all days", "/findings?since=2020-01-01".to_owned()),
        ("policies", "/policies".to_owned()),
        ("tenants", "/tenants".to_owned()),
        ("agents and keys", "/access".to_owned()),
        ("usage, each day", "/usage".to_owned()),
        ("usage, by agent", "/usage?by=agent".to_owned()),
        ("usage, by server", "/usage?by=server".to_owned()),
        ("usage, by tool", "/usage?by=tool".to_owned()),
        ("usage, by agent and tool", "/usage?by=agent,tool".to_owned()),
        ("usage, by all", "/usage?by=day,tenant,agent,tool".to_owned()),
        ("kill switch", "/kill-switch".to_owned()),
        ("settings", "/settings".to_owned()),
        ("API: servers", "/api/v1/servers?limit=1000".to_owned()),
        ("API: tools", "/api/v1/tools?tenant=default&server=server-7".to_owned()),
        ("API: ledger", "/api/v1/ledger?limit=100".to_owned()),
        ("API: findings", "/api/v1/findings?limit=100".to_owned()),
        ("API: sums of findings", "/api/v1/findings/sums?by=rule".to_owned()),
        ("API: usage by day and agent", "/api/v1/usage?by=day,agent".to_owned()),
        ("API: usage by server", "/api/v1/usage?by=server".to_owned()),
        ("API: usage by agent and server", "/api/v1/usage?by=agent,server".to_owned()),
        ("API: usage by tool, 10,000 lines", "/api/v1/usage?by=tool".to_owned()),
        ("CSV: usage by tool, 10,000 lines", "/api/v1/usage?by=tool&format=csv".to_owned()),
        (
            "CSV: usage by all, one day",
            format!("/api/v1/usage?by=tenant,agent,tool&format=csv&since={today}"),
        ),
        ("API: pins", "/api/v1/pins?limit=1000".to_owned()),
        ("API: keys", "/api/v1/keys?limit=1000".to_owned()),
    ];
    line("| page | KiB | first ms | median ms | longest ms | |\n|---|--:|--:|--:|--:|---|");
    for (what, path) in paths {
        let (mut times, mut bytes) = (Vec::new(), 0);
        for _ in 0..ASKED {
            let began = Instant::now();
            let (status, length) = ask(address, key, &path)?;
            times.push(began.elapsed().as_micros());
            if status != 200 {
                return Err(format!("{path} is answered with {status}").into());
            }
            bytes = length;
        }
        let first = times[0];
        times.sort_unstable();
        let (median, longest) = (times[ASKED / 2], times[ASKED - 1]);
        let ms = |us: u128| format!("{}.{}", us / 1000, us % 1000 / 100);
        let is_slow = if longest >= MS_MAX * 1000 { "slow" } else { "" };
        let kib = bytes / 1024;
        line(&format!("| {what} | {kib} | {} | {} | {} | {is_slow} |", ms(first), ms(median), ms(longest)));
    }
    Ok(())
}

/// The status and the length of an answer, on a connection of its own.
fn ask(address: SocketAddr, key: &str, path: &str) -> Result<(u16, usize)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    let head = format!("Host: {address}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n");
    stream.write_all(format!("GET {path} HTTP/1.1\r\n{head}").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let status = answer.get(9..12).and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
    Ok((status.ok_or("no answer")?, answer.len()))
}
