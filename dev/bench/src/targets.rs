//! What is measured: the mock alone (direct), nginx in front of it, Tollgate in front of it.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Result;
use crate::mock::Addresses;
use crate::process::{Keeper, Running};
use crate::secured::{self, Proofs};

/// Where nginx is looked for beside `PATH`, which seldom names the folder of system programs.
const NGINX: [&str; 2] = ["/usr/sbin/nginx", "/usr/local/sbin/nginx"];
const START_MAX: Duration = Duration::from_secs(10);
/// Servers behind the gateway in the long list.
pub(crate) const MANY: usize = 20;

/// One of the three ways to the mock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Target {
    Direct,
    Nginx,
    Hop,
    Tollgate,
}

impl Target {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Target::Direct => "direct",
            Target::Nginx => "nginx",
            Target::Hop => "bare hop",
            Target::Tollgate => "Tollgate",
        }
    }
}

/// What stands behind the address, as a row needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    /// One modern server.
    Modern,
    /// One modern server whose answers are streams: nginx must not buffer them.
    ModernStream,
    /// One legacy server.
    Legacy,
    /// A modern client; behind the gateway a legacy server. Nothing else bridges: elsewhere a modern one.
    ToLegacy,
    /// A legacy client; behind the gateway a modern server, elsewhere a legacy one.
    ToModern,
    /// One legacy server behind nginx without buffers, a modern one behind the gateway: for streams that stay open.
    Held,
    /// One modern server; the gateway's callers have API keys and policies.
    Keyed,
    /// The same with access tokens.
    Tokened,
    /// One modern server; the gateway records every call.
    Recorded,
    /// The same, each entry on the disk before the call goes on.
    Durable,
    /// One modern server; the gateway exports traces and metrics.
    Traced,
    /// One modern server; API keys, policies, the record, traces and metrics.
    Everything,
    /// Twenty servers; without a gateway there is nothing to merge them, so one.
    Many,
}

/// An address to send to.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
    /// Stands before a tool's native name.
    pub(crate) prefix: &'static str,
    /// Processes of the proxy: none when direct.
    pub(crate) pids: Vec<u32>,
    /// What callers prove themselves with, where they have to.
    pub(crate) bearer: Option<String>,
}

/// Everything that runs. Fields end in this order: proxies before the mock, the keeper last.
pub(crate) struct World {
    tollgates: Option<Tollgates>,
    nginx: Option<Nginx>,
    hop: Option<Hop>,
    mock: Mock,
    _folder: TempDir,
}

struct Mock {
    addresses: Addresses,
    process: Option<Running>,
}

struct Nginx {
    process: Running,
    modern: SocketAddr,
    legacy: SocketAddr,
}

/// A bare hop in front of each era.
struct Hop {
    process: Running,
    modern: SocketAddr,
    legacy: SocketAddr,
}

struct Tollgates {
    modern: Tollgate,
    legacy: Tollgate,
    many: Tollgate,
    secured: (Tollgate, Proofs),
    recorded: Tollgate,
    durable: Tollgate,
    traced: Tollgate,
    everything: (Tollgate, Proofs),
}

/// What a gateway does beside serving.
#[derive(Clone, Copy)]
struct Duties<'a> {
    /// The ledger's section.
    ledger: &'a str,
    /// Where traces and metrics go.
    receiver: Option<SocketAddr>,
}

const NOTHING: Duties<'_> = Duties { ledger: "ledger: { enabled: false }\n", receiver: None };
const RECORD: Duties<'_> = Duties { ledger: "", receiver: None };

/// What `tollgate serve --json` prints.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bound {
    listen: SocketAddr,
    admin_listen: SocketAddr,
}

struct Tollgate {
    process: Running,
    address: SocketAddr,
    admin: SocketAddr,
}

/// A gateway in front of a server that is not the mock. Its folder goes after it.
pub(crate) struct Gateway {
    tollgate: Tollgate,
    _folder: TempDir,
}

impl Gateway {
    /// Starts it with these servers, as they stand in a configuration.
    pub(crate) fn start_alone(binary: &Path, servers: &str) -> Result<Gateway> {
        let keeper = Arc::new(Keeper::start()?);
        let folder = TempDir::with_prefix("tollgate-bench-")?;
        let tollgate = Tollgate::start(binary, &folder.path().join("alone"), servers, &keeper)?;
        Ok(Gateway { tollgate, _folder: folder })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.tollgate.address
    }

    /// Where operators connect.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.tollgate.admin
    }
}

impl World {
    /// Starts the mock and what `targets` needs. `tollgate` is the gateway's binary.
    pub(crate) fn start(targets: &[Target], tollgate: Option<&Path>) -> Result<World> {
        let keeper = Arc::new(Keeper::start()?);
        let folder = TempDir::with_prefix("tollgate-bench-")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("mock").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Running::start(&mut command, Some(&keeper))?;
        let addresses = serde_json::from_str(&process.first_line()?)?;
        let nginx = targets
            .contains(&Target::Nginx)
            .then(|| Nginx::start(folder.path(), addresses, &keeper))
            .transpose()?;
        let hop = targets.contains(&Target::Hop).then(|| Hop::start(addresses, &keeper)).transpose()?;
        let tollgates = match tollgate.filter(|_| targets.contains(&Target::Tollgate)) {
            Some(binary) => Some(Tollgates::start(binary, folder.path(), addresses, &keeper)?),
            None => None,
        };
        Ok(World { tollgates, nginx, hop, mock: Mock { addresses, process: Some(process) }, _folder: folder })
    }

    /// A world of a mock alone, which runs elsewhere.
    #[cfg(test)]
    pub(crate) fn of_mock(addresses: Addresses) -> Result<World> {
        let mock = Mock { addresses, process: None };
        Ok(World { tollgates: None, nginx: None, hop: None, mock, _folder: TempDir::new()? })
    }

    /// The processes that offer a load and answer it: this one, and the mock's.
    pub(crate) fn offering(&self) -> Vec<u32> {
        let mock = self.mock.process.as_ref().map(Running::family).unwrap_or_default();
        std::iter::once(std::process::id()).chain(mock).collect()
    }

    /// The address for a row; none if the target does not run.
    pub(crate) fn site(&self, target: Target, setup: Setup) -> Option<Site> {
        let site = |address, path, prefix, pids| Some(Site { address, path, prefix, pids, bearer: None });
        let legacy = matches!(setup, Setup::Legacy | Setup::ToModern | Setup::Held);
        match target {
            Target::Direct => {
                let addresses = self.mock.addresses;
                site(if legacy { addresses.legacy } else { addresses.modern }, "/mcp", "", Vec::new())
            }
            Target::Nginx => {
                let nginx = self.nginx.as_ref()?;
                let path =
                    if matches!(setup, Setup::ModernStream | Setup::Held) { "/stream" } else { "/mcp" };
                site(if legacy { nginx.legacy } else { nginx.modern }, path, "", nginx.process.family())
            }
            Target::Hop => {
                let hop = self.hop.as_ref()?;
                site(if legacy { hop.legacy } else { hop.modern }, "/mcp", "", hop.process.family())
            }
            Target::Tollgate => {
                let tollgates = self.tollgates.as_ref()?;
                let (tollgate, proofs) = match setup {
                    Setup::Everything => &tollgates.everything,
                    _ => &tollgates.secured,
                };
                if let Setup::Keyed | Setup::Tokened | Setup::Everything = setup {
                    return Some(tollgate.secured_site(setup, proofs));
                }
                let tollgate = match setup {
                    Setup::Recorded => &tollgates.recorded,
                    Setup::Durable => &tollgates.durable,
                    Setup::Traced => &tollgates.traced,
                    Setup::Legacy | Setup::ToLegacy => &tollgates.legacy,
                    Setup::Many => &tollgates.many,
                    _ => &tollgates.modern,
                };
                site(tollgate.address, "/mcp", "bench__", tollgate.process.family())
            }
        }
    }
}

/// The nginx to use.
pub(crate) fn find_nginx() -> Result<PathBuf> {
    let on_path = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).map(|folder| folder.join("nginx")).collect::<Vec<_>>());
    on_path
        .into_iter()
        .flatten()
        .chain(NGINX.map(PathBuf::from))
        .find(|path| path.is_file())
        .ok_or_else(|| "nginx is not installed. Run: sudo apt-get install -y nginx-light".into())
}

impl Nginx {
    fn start(folder: &Path, mock: Addresses, keeper: &Arc<Keeper>) -> Result<Nginx> {
        let binary = find_nginx()?;
        let home = folder.join("nginx");
        fs::create_dir_all(&home)?;
        // A port that was free a moment ago may be taken: try again, a few times.
        let mut last = String::new();
        for _ in 0..3 {
            let (modern, legacy) = (free_port()?, free_port()?);
            fs::write(home.join("nginx.conf"), nginx_config(mock, modern, legacy))?;
            let mut command = Command::new(&binary);
            command.arg("-p").arg(&home).args(["-c", "nginx.conf", "-e", "error.log"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(home.join("stderr.log"))?);
            let mut process = Running::start(&mut command, Some(keeper))?;
            match await_port(&mut process, legacy) {
                Ok(()) => return Ok(Nginx { process, modern, legacy }),
                Err(why) => {
                    last = format!("{why}: {}", log_tail(&[home.join("stderr.log"), home.join("error.log")]));
                }
            }
        }
        Err(format!("nginx does not start: {last}").into())
    }
}

/// A plain reverse proxy at its fastest: two workers, kept-alive connections on both sides that never expire during a
/// run, no access log, and buffers large enough that nothing is written to disk.
fn nginx_config(mock: Addresses, modern: SocketAddr, legacy: SocketAddr) -> String {
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let server = |listen: SocketAddr, upstream: &str| {
        format!(
            "  server {{
    listen {listen} backlog=4096;
    location /mcp {{ proxy_pass http://{upstream}/mcp; }}
    location /stream {{ proxy_pass http://{upstream}/mcp; proxy_buffering off; }}
  }}
"
        )
    };
    let upstream = |upstream: &str, address: SocketAddr| {
        format!(
            "  upstream {upstream} {{ server {address}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 1h; }}\n"
        )
    };
    format!(
        "{user}daemon off;
worker_processes 2;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  tcp_nodelay on;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  client_max_body_size 4m;
  client_body_buffer_size 2m;
  proxy_http_version 1.1;
  proxy_set_header Connection \"\";
  proxy_buffers 16 16k;
  proxy_buffer_size 16k;
  proxy_busy_buffers_size 64k;
  proxy_max_temp_file_size 0;
  proxy_read_timeout 1h;
{}{}{}{}}}
",
        upstream("modern", mock.modern),
        upstream("legacy", mock.legacy),
        server(modern, "modern"),
        server(legacy, "legacy"),
    )
}

impl Hop {
    fn start(mock: Addresses, keeper: &Arc<Keeper>) -> Result<Hop> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("hop").args([mock.modern.to_string(), mock.legacy.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Running::start(&mut command, Some(keeper))?;
        let [modern, legacy] = serde_json::from_str(&process.first_line()?)?;
        Ok(Hop { process, modern, legacy })
    }
}

impl Tollgates {
    fn start(binary: &Path, folder: &Path, mock: Addresses, keeper: &Arc<Keeper>) -> Result<Tollgates> {
        let many = (1..=MANY).fold(String::new(), |servers, at| {
            servers + &format!("  bench{at:02}:\n    url: http://{}/mcp/{at:02}\n", mock.modern)
        });
        let one = |address: SocketAddr| format!("  bench:\n    url: http://{address}/mcp\n");
        let modern = one(mock.modern);
        let with = |name: &str, duties| {
            Tollgate::start_with(binary, &folder.join(name), &format!("servers:\n{modern}"), duties, keeper)
        };
        let secured =
            |name: &str, duties| Tollgate::start_secured(binary, &folder.join(name), &modern, duties, keeper);
        let receiver = Some(secured::receive()?);
        Ok(Tollgates {
            recorded: with("recorded", RECORD)?,
            durable: with("durable", Duties { ledger: "ledger: { durability: power }\n", ..RECORD })?,
            traced: with("traced", Duties { receiver, ..NOTHING })?,
            everything: secured("everything", Duties { receiver, ..RECORD })?,
            modern: Tollgate::start(binary, &folder.join("modern"), &modern, keeper)?,
            legacy: Tollgate::start(binary, &folder.join("legacy"), &one(mock.legacy), keeper)?,
            many: Tollgate::start(binary, &folder.join("many"), &many, keeper)?,
            secured: secured("secured", NOTHING)?,
        })
    }
}

impl Tollgate {
    /// Starts it with identity and policies, and waits until they let a call through.
    fn start_secured(
        binary: &Path,
        home: &Path,
        servers: &str,
        duties: Duties<'_>,
        keeper: &Arc<Keeper>,
    ) -> Result<(Tollgate, Proofs)> {
        fs::create_dir_all(home)?;
        let (sections, proofs) = secured::write(home)?;
        let text = format!("{sections}servers:\n{servers}");
        let tollgate = Tollgate::start_with(binary, home, &text, duties, keeper)?;
        for setup in [Setup::Keyed, Setup::Tokened] {
            secured::await_ready(&tollgate.secured_site(setup, &proofs))?;
        }
        Ok((tollgate, proofs))
    }

    fn secured_site(&self, setup: Setup, proofs: &Proofs) -> Site {
        let bearer = if setup == Setup::Tokened { &proofs.token } else { &proofs.key };
        let pids = self.process.family();
        Site { address: self.address, path: "/mcp", prefix: "bench__", pids, bearer: Some(bearer.clone()) }
    }

    fn start(binary: &Path, home: &Path, servers: &str, keeper: &Arc<Keeper>) -> Result<Tollgate> {
        Tollgate::start_with(binary, home, &format!("servers:\n{servers}"), NOTHING, keeper)
    }

    fn start_with(
        binary: &Path,
        home: &Path,
        text: &str,
        duties: Duties<'_>,
        keeper: &Arc<Keeper>,
    ) -> Result<Tollgate> {
        fs::create_dir_all(home)?;
        let config = home.join("tollgate.yaml");
        fs::write(&config, format!("{}{text}", duties.ledger))?;
        let log = home.join("stderr.log");
        let mut command = Command::new(binary);
        command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.arg("--config").arg(&config).arg("--data-dir").arg(home.join("data"));
        if let Some(receiver) = duties.receiver {
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{receiver}"));
            command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
            command
                .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
                .env("OTEL_TRACES_SAMPLER_ARG", "0.01");
        }
        command.current_dir(home).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut process = Running::start(&mut command, Some(keeper))?;
        let line = process
            .first_line()
            .map_err(|why| format!("{} {why}: {}", binary.display(), log_tail(std::slice::from_ref(&log))))?;
        let Bound { listen, admin_listen: admin } = serde_json::from_str(&line)?;
        await_port(&mut process, listen)?;
        Ok(Tollgate { process, address: listen, admin })
    }
}

fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn await_port(process: &mut Running, address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + START_MAX;
    loop {
        if let Some(status) = process.ended()? {
            return Err(format!("it ended with {status}").into());
        }
        if TcpStream::connect_timeout(&address, START_MAX).is_ok() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("it does not listen on {address} after {} s", START_MAX.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn log_tail(logs: &[PathBuf]) -> String {
    let text: String = logs.iter().filter_map(|log| fs::read_to_string(log).ok()).collect();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
