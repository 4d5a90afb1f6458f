//! `tollgate serve`: from a configuration to a running gateway, and back to nothing.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::Signal;
use tollgate_catalog::ToolsetSettings;
use tollgate_identity::Identity;
use tollgate_ledger::{Ledger, OpenError};
use tollgate_model::{Secret, ServerName};
use tollgate_proxy::{Gateway, Setup, TenantSetup};
use tollgate_telemetry::counters::{self, Metrics};
use tollgate_telemetry::events::{
    ConfigRejected, ConfigReloaded, HandoverEnded, HandoverStarted, NoIdentity, NothingRecorded,
    RestartNeeded,
};
use tollgate_telemetry::export::Telemetry;
use tollgate_upstream::{ServerSettings, Transport};

use crate::cli::{LogFormat, Serve};
use crate::config::{self, ClientFiles, Config, ProcessEnv, TlsFiles, Watcher};
use crate::door::Door;
use crate::exit::Failure;
use crate::exporting::Exporting;
use crate::handover::{self, Outcome, Predecessor};
use crate::keeping::Keeping;
use crate::listen::tls::{CertificateFiles, Certificates};
use crate::listen::{ClientAuthorities, Listener};
use crate::notify::{self, News};
use crate::out::{Printer, To, safe};
use crate::policing;
use crate::registering::{self, Joined};
use crate::running::{self, AdminPlane, Administered, Cause, DRAIN, Running};
use crate::signals::{self, Signals};
use crate::sockets::Sockets;
use crate::state::{self, State};

/// The data plane, as messages name it.
pub(crate) const DATA_PLANE: &str = "data plane";
/// How long what is still to be sent to receivers of telemetry may take at the end.
const TELEMETRY_STOP: Duration = Duration::from_secs(5);
/// The folder of the ledger in the data directory.
pub(crate) const LEDGER: &str = "ledger";

/// Serves until told to stop, or until another process does in its place.
pub(crate) async fn run(command: Serve, log: LogFormat) -> Result<(), Failure> {
    raise_file_limit();
    let mut signals = Signals::new()?;
    if command.stdio {
        return Box::pin(run_stdio(&command, log, signals)).await;
    }
    // Heard from the start, as the others are: by default it would end the process.
    let mut upgrade = signals::upgrade()?;
    let (mut predecessor, sockets) = match Predecessor::meet()? {
        Some((predecessor, handed)) => (Some(predecessor), Sockets::handed(handed)),
        None => (None, Sockets::activated()),
    };
    let ended = match sockets {
        Ok(sockets) => {
            Box::pin(run_http(&command, log, (&mut signals, &mut upgrade), (sockets, &mut predecessor))).await
        }
        Err(failure) => Err(failure),
    };
    if let (Err(failure), Some(predecessor)) = (&ended, predecessor) {
        predecessor.failed(failure);
    }
    ended
}

async fn run_http(
    command: &Serve,
    log: LogFormat,
    (signals, upgrade): (&mut Signals, &mut Signal),
    (mut sockets, predecessor): (Sockets, &mut Option<Predecessor>),
) -> Result<(), Failure> {
    // Heard from the start: by default it would end the process. Without it only changes of the file are heard.
    let mut hangup = signals::reload().ok();
    let mut watcher = Watcher::new(&command.config);
    let mut config = load(command, &mut watcher)?;
    listen_where_passed(&mut config, &sockets)?;
    warn_of(&config, log);
    // Listened first, and operators are answered: whoever connects waits in the queue until clients can be served, and is not
    // refused meanwhile.
    let tls = certificates(DATA_PLANE, config.tls.as_ref(), config.client_certificates.as_ref())?;
    let admin_tls = certificates("admin", config.admin_tls.as_ref(), None)?;
    let socket = sockets.take_data(config.listen);
    let data = listener(DATA_PLANE, config.listen, socket, tls.clone()).await?;
    let socket = sockets.take_admin(config.admin_listen);
    let admin = listener("admin", config.admin_listen, socket, admin_tls.clone()).await?;
    // One that is not listened on any more is closed: whoever connected there would wait for ever.
    drop(sockets);
    let (admin, link) = AdminPlane::start(admin, config.proxy.allowed_hosts.clone(), config.admin.clone())
        .map_err(|error| Failure::failed(format!("the admin listener does not start: {error}")))?;

    let started = start(command, &config)?;
    let Started { gateway, state, exporting, identity, .. } = &started;
    let administered = admin.told();
    administered.knows(gateway, state, exporting, identity);
    administered.configure(&config);
    let joined = tokio::select! {
        joined = decide(&config, &started) => joined?,
        // A store or servers that say nothing may be waited for. Whoever asks to stop is not.
        _ = signals.stop() => {
            notify::tell(News::Stopping);
            started.give_up().await;
            return Ok(());
        }
    };
    administered.serves(&joined.config);
    let telemetry = start_telemetry(&config, gateway, state, exporting)?;
    let running = Running::start(gateway.clone(), data, Some(admin))
        .map_err(|error| Failure::failed(format!("the serving threads do not start: {error}")))?;
    if config.identity.is_off() {
        NoIdentity.emit();
    }
    let mut door = administered.open_door(&config.data_dir);
    announce(command, &config, &running, log, link.as_ref());
    notify::tell(News::Ready);
    if let Some(predecessor) = predecessor.take() {
        predecessor.ready();
    }

    let secured: Vec<Arc<Certificates>> = tls.into_iter().chain(admin_tls).collect();
    let cause = {
        let following = follow(
            command,
            started.followed(),
            (config, joined),
            (&mut watcher, hangup.as_mut()),
            (&secured, Some(&administered)),
        );
        let mut following = pin!(following);
        loop {
            tokio::select! {
                cause = signals.stop() => break Cause::Asked(cause),
                () = &mut following => break Cause::Asked("end of the configuration"),
                _ = upgrade.recv() => if let Some(cause) = hand_over(&running, signals).await {
                    break cause;
                },
            }
        }
    };
    if cause == Cause::Followed {
        // Commands are answered by the one that follows.
        close(&mut door).await;
    } else {
        notify::tell(News::Stopping);
    }
    running.drain(cause, DRAIN, async { _ = signals.stop().await }).await;
    close(&mut door).await;
    started.end(telemetry).await;
    Ok(())
}

async fn close(door: &mut Option<Door>) {
    if let Some(door) = door.take() {
        door.close().await;
    }
}

/// Starts a process that serves in place of this one. Gives why this one stops, if it does.
async fn hand_over(running: &Running, signals: &mut Signals) -> Option<Cause> {
    HandoverStarted.emit();
    match handover::hand_over(&running.sockets(), signals).await {
        Outcome::Followed(process) => {
            HandoverEnded { followed: Ok(process) }.emit();
            notify::tell(News::Followed(process));
            Some(Cause::Followed)
        }
        Outcome::Failed(reason) => {
            HandoverEnded { followed: Err(&reason) }.emit();
            None
        }
        Outcome::Stopped(signal) => Some(Cause::Asked(signal)),
    }
}

/// Serves one client on standard input and output.
async fn run_stdio(command: &Serve, log: LogFormat, mut signals: Signals) -> Result<(), Failure> {
    let mut hangup = signals::reload().ok();
    let mut watcher = Watcher::new(&command.config);
    let config = load(command, &mut watcher)?;
    warn_of(&config, log);
    let started = start(command, &config)?;
    let joined = tokio::select! {
        joined = decide(&config, &started) => joined?,
        _ = signals.stop() => {
            started.give_up().await;
            return Ok(());
        }
    };
    let Started { gateway, state, exporting, .. } = &started;
    let telemetry = start_telemetry(&config, gateway, state, exporting)?;
    let served = serve_stdio(gateway, &mut signals);
    let ended = tokio::select! {
        ended = served => ended,
        () = follow(command, started.followed(), (config, joined), (&mut watcher, hangup.as_mut()), (&[], None)) => Ok(()),
    };
    started.end(telemetry).await;
    ended
}

/// What a process has that serves, whoever its clients are.
struct Started {
    gateway: Gateway,
    identity: Identity,
    state: State,
    ledger: Ledger,
    exporting: Exporting,
    keeping: Keeping,
}

impl Started {
    fn followed(&self) -> Followed<'_> {
        (&self.gateway, &self.state, (&self.exporting, &self.keeping))
    }

    /// Ends what has begun, where nobody was served yet.
    async fn give_up(self) {
        self.gateway.stop(Duration::ZERO).await;
        self.ledger.close().await;
        self.keeping.end().await;
    }

    /// Ends what records, once nothing is under way.
    async fn end(self, telemetry: Telemetry) {
        self.ledger.close().await;
        tokio::join!(self.exporting.drain(), self.state.settle_index());
        self.keeping.end().await;
        telemetry.stop(TELEMETRY_STOP).await;
    }
}

/// Opens what a configuration says, and makes its gateway. No server is waited for. Must be called within a runtime.
fn start(command: &Serve, config: &Config) -> Result<Started, Failure> {
    let state = State::default();
    state.open(config)?;
    let identity = Identity::new(config.identity.clone(), state.follower());
    let ledger = open_ledger(config, command.data_dir.is_some())?;
    let exporting = Exporting::begin(&ledger, &config.exports);
    state.index(&ledger, config);
    let needs = exporting.needs().into_iter().chain(state.index_needs()).collect();
    let keeping = Keeping::begin(&ledger, &state, &config.retention, needs);
    let gateway = build(config, &identity, ledger.clone())?;
    state.meter(&gateway, config);
    state::share_counters(&gateway, config)?;
    Ok(Started { gateway, identity, state, ledger, exporting, keeping })
}

/// Learns who may do what, before anybody is served.
async fn decide(config: &Config, started: &Started) -> Result<Joined, Failure> {
    let Started { gateway, identity, state, .. } = started;
    state.settle().await?;
    gateway.begin_blocking();
    let mut joined = Joined::new(config, state);
    if joined.config != *config {
        let applied = joined.apply(gateway, identity, state);
        applied.map_err(|error| Failure::config(format!("{}: {error}", config.file.display())))?;
    }
    let described = setup(&joined.config, identity);
    policing::begin(&joined.config, gateway, &described, state.store().as_ref()).await?;
    gateway.keep_pins(state.store());
    Ok(joined)
}

/// A service manager that has opened the sockets has said where. The same rules hold there.
fn listen_where_passed(config: &mut Config, sockets: &Sockets) -> Result<(), Failure> {
    let (data, admin) = sockets.addresses();
    config.admin_listen = admin.unwrap_or(config.admin_listen);
    let Some(data) = data else { return Ok(()) };
    config.listen = data;
    config::check_listen(data, config)
        .map_err(|open| Failure::config(format!("{open}\n  help: {}", open.suggestion())))
}

/// Sends what the configuration and the environment want to be sent. Must be called within a runtime.
fn start_telemetry(
    config: &Config,
    gateway: &Gateway,
    state: &State,
    exporting: &Exporting,
) -> Result<Telemetry, Failure> {
    let (gateway, state, exporting) = (gateway.clone(), state.clone(), exporting.clone());
    let collect = move |metrics: &mut Metrics| {
        counters::write(metrics);
        running::snapshot((&gateway, &state, &exporting), false).write(metrics);
    };
    Telemetry::start(&config.telemetry, collect)
        .map_err(|error| Failure::config(format!("telemetry cannot be sent: {error}")))
}

/// Opens the ledger in the data directory, which is made if it is missing, unless nothing is to be recorded. Must be called
/// within a runtime.
fn open_ledger(config: &Config, is_folder_said: bool) -> Result<Ledger, Failure> {
    if config.ledger.is_some() || is_folder_said {
        make_private_folder(&config.data_dir)?;
    }
    let Some(settings) = &config.ledger else {
        NothingRecorded.emit();
        return Ok(Ledger::off());
    };
    Ledger::open(&config.data_dir.join(LEDGER), settings.clone()).map_err(|error| {
        let help = match error {
            OpenError::Io { .. } => {
                "say another place with --data-dir, or, to record nothing, `ledger: { enabled: false }`"
            }
            OpenError::Keys(_) => {
                "put the key back from a backup: without it what was sealed cannot be read, and the chain goes on under another"
            }
            OpenError::Read(_) => {
                "`tollgate audit verify` says what is wrong; put the folder aside to begin a new record"
            }
        };
        Failure::failed(format!("the ledger cannot be opened: {error}\n  help: {help}"))
    })
}

/// Allows as many open files as the system lets this process have: each connection is one, and the usual first limit
/// of 1,024 is far below what the gateway can serve. Where it cannot be raised, accepting fails visibly at the limit.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays");
    }
}

/// Reads the configuration and puts in what the command line says.
fn load(command: &Serve, watcher: &mut Watcher) -> Result<Config, Failure> {
    let mut config = read_watched(&command.config, &[], watcher).map_err(|error| {
        let text = error.render(Printer::new(To::Err).coloured());
        Failure::config(format!("{} cannot be served\n\n{}", command.config.display(), text.trim_end()))
    })?;
    override_by(&mut config, command);
    config::check_listen(config.listen, &config)
        .map_err(|open| Failure::config(format!("{open}\n  help: {}", open.suggestion())))?;
    Ok(config)
}

/// Reads a configuration as this process serves it.
pub(crate) fn read(file: &Path) -> Result<Config, config::ConfigError> {
    let mut config = config::load(file, &ProcessEnv)?;
    guard_commands(&mut config);
    Ok(config)
}

/// Has commands started by a guard, which is this very program: it outlives the gateway by as long as it takes to end the
/// server's processes.
pub(crate) fn guard_commands(config: &mut Config) {
    config.servers.iter_mut().for_each(guard_command);
}

/// The same for one server.
pub(crate) fn guard_command(server: &mut ServerSettings) {
    if let Transport::Stdio(stdio) = &mut server.transport {
        stdio.guard.clone_from(&handover::program());
    }
}

/// Reads a configuration whose files are watched from before they were read: when it names a file for the first time,
/// it is read once more, so that no change falls between. `kept` is watched too if the configuration is wrong.
fn read_watched(file: &Path, kept: &[PathBuf], watcher: &mut Watcher) -> Result<Config, config::ConfigError> {
    let first = read(file);
    let is_news = match &first {
        Ok(config) => watcher.follow(&config.files),
        // A file that it names and that is missing may still come.
        Err(error) => watcher.follow(&[kept, error.files.as_slice()].concat()),
    };
    if is_news { read(file) } else { first }
}

/// Makes the gateway that a configuration describes. Must be called within a runtime.
pub(crate) fn build(config: &Config, identity: &Identity, ledger: Ledger) -> Result<Gateway, Failure> {
    Gateway::new(Setup { ledger, ..setup(config, identity) })
        .map_err(|error| Failure::config(format!("{}: {error}", config.file.display())))
}

/// What a gateway is to serve, without a record.
pub(crate) fn setup(config: &Config, identity: &Identity) -> Setup {
    let tenants = config
        .tenants
        .iter()
        .map(|tenant| TenantSetup { id: tenant.id.clone(), toolsets: toolsets(config, tenant) });
    Setup {
        settings: config.proxy.clone(),
        servers: config.servers.clone(),
        facts: config.facts.clone(),
        tenants: tenants.collect(),
        identity: identity.clone(),
        ledger: Ledger::off(),
        limits: config.limits.clone(),
        prices: config.prices.clone(),
        guards: config.guards.clone(),
    }
}

/// The toolsets of a tenant, of the servers that are served: what is chosen of a registered one comes and goes with it.
fn toolsets(config: &Config, tenant: &config::TenantSettings) -> Vec<ToolsetSettings> {
    let is_there = |name: &ServerName| {
        let mut named = config.servers.iter().filter(|server| server.name == *name);
        named.any(|server| server.holder.serves(&tenant.id))
    };
    let mut toolsets = tenant.toolsets.clone();
    for toolset in &mut toolsets {
        toolset.tools.retain(|choice| is_there(&choice.server));
        toolset.resources.retain(|choice| is_there(&choice.server));
        toolset.prompts.retain(|choice| is_there(&choice.server));
    }
    toolsets
}

fn override_by(config: &mut Config, command: &Serve) {
    config.listen = command.listen.unwrap_or(config.listen);
    config.admin_listen = command.admin_listen.unwrap_or(config.admin_listen);
    if let Some(folder) = &command.data_dir {
        config.data_dir.clone_from(folder);
    }
}

fn warn_of(config: &Config, log: LogFormat) {
    let err = Printer::new(To::Err);
    for problem in &config.warnings {
        match log {
            LogFormat::Human => err.line(problem.render(err.coloured()).trim_end()),
            LogFormat::Json => tracing::warn!(%problem, "configuration"),
        }
    }
}

pub(crate) fn certificates(
    plane: &'static str,
    files: Option<&TlsFiles>,
    clients: Option<&ClientFiles>,
) -> Result<Option<Arc<Certificates>>, Failure> {
    let clients = clients.map(authorities);
    let load = |files: &TlsFiles| {
        let files = CertificateFiles { certificate: files.certificate.clone(), key: files.key.clone() };
        Certificates::load(plane, files, clients.clone()).map_err(|error| Failure::config(error.to_string()))
    };
    files.map(load).transpose()
}

fn authorities(clients: &ClientFiles) -> ClientAuthorities {
    ClientAuthorities { ca: clients.ca_file.clone(), required: clients.required }
}

/// Listens with a socket that is open already, or else binds one.
async fn listener(
    plane: &'static str,
    address: SocketAddr,
    socket: Option<TcpListener>,
    certificates: Option<Arc<Certificates>>,
) -> Result<Listener, Failure> {
    let listener = match socket {
        Some(socket) => Listener::on_socket(plane, socket, certificates),
        None => Listener::bind(plane, address, certificates).await,
    };
    listener.map_err(|error| {
        let key = if plane == DATA_PLANE { "listen" } else { "admin_listen" };
        let help = match error.kind() {
            ErrorKind::AddrInUse => {
                format!("\n  help: another process has this port, perhaps another gateway; `{key}` chooses another address")
            }
            ErrorKind::AddrNotAvailable => {
                format!("\n  help: this machine has no such address; `{key}` chooses another")
            }
            ErrorKind::PermissionDenied => {
                format!("\n  help: ports below 1024 take a right (CAP_NET_BIND_SERVICE); `{key}` chooses another")
            }
            _ => String::new(),
        };
        Failure::failed(format!("the {plane} listener cannot listen on {address}: {error}{help}"))
    })
}

/// A folder that only its owner can look into.
fn make_private_folder(folder: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        Failure::failed(format!(
            "the data directory {} cannot be made: {error}\n  help: say another place with --data-dir, or, to record nothing, \
             `ledger: {{ enabled: false }}`",
            folder.display()
        ))
    })
}

/// Says where everything is.
fn announce(command: &Serve, config: &Config, running: &Running, log: LogFormat, link: Option<&Secret>) {
    let (listen, admin) = (running.address(), running.admin_address());
    if command.json {
        let admin = admin.map(|address| address.to_string());
        let line = serde_json::json!({
            "listen": listen.to_string(), "adminListen": admin, "process": std::process::id(),
        });
        Printer::new(To::Out).line(line.to_string());
    }
    if command.json || log == LogFormat::Json {
        return;
    }
    let err = Printer::new(To::Err);
    let scheme = |tls: bool| if tls { "https" } else { "http" };
    let base = match &config.proxy.public_url {
        Some(url) => url.clone(),
        None => format!("{}://{listen}", scheme(config.tls.is_some())),
    };
    let names = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    err.line("");
    err.line(format!("  {} {}", err.bold("Tollgate"), env!("CARGO_PKG_VERSION")));
    err.line(format!("  endpoint   {}", err.cyan(&format!("{base}/mcp"))));
    for tenant in &config.tenants {
        // Without tenants nobody has to know the word.
        let of = |what: &str| {
            if config.tenants.len() == 1 {
                what.to_owned()
            } else {
                format!("{what} of {}", tenant.id.as_str())
            }
        };
        let servers = config.servers.iter().filter(|server| server.holder.serves(&tenant.id));
        let servers = names(servers.map(|server| server.name.as_str()).collect());
        err.line(format!("  {:<10} {servers}  {}", of("servers"), err.dim("(each also alone at /mcp/NAME)")));
        if !tenant.toolsets.is_empty() {
            let toolsets = names(tenant.toolsets.iter().map(|toolset| toolset.name.as_str()).collect());
            err.line(format!("  {:<10} {toolsets}  {}", of("toolsets"), err.dim("(at /mcp/NAME)")));
        }
    }
    if let Some(admin) = admin {
        let base = format!("{}://{admin}", scheme(config.admin_tls.is_some()));
        err.line(format!("  health     {base}/readyz, {base}/metrics"));
        let public = config.admin.public_url.as_deref();
        let is_secure = public.map_or(config.admin_tls.is_some(), |url| url.starts_with("https://"));
        if admin.ip().is_loopback() || (is_secure && config.admin.sign_in.is_some()) {
            err.line(format!("  console    {}/", public.unwrap_or(&base).trim_end_matches('/')));
        } else {
            let why = "(beyond this machine it takes `admin.sign_in`, and TLS)";
            err.line(format!("  console    not served  {}", err.dim(why)));
        }
        // Whoever reads it is an admin of this gateway: it is shown on a terminal, and never in what is collected.
        match link {
            Some(link) if err.is_terminal() => {
                let text = format!("{base}/sign-in/once?secret={}", link.expose());
                err.line(format!(
                    "  sign in    {}  {}",
                    err.cyan(&text),
                    err.dim("(good once, for 15 minutes)")
                ));
            }
            Some(_) => {
                let shown = |path: &Path| safe(&path.display().to_string());
                let folder = command.data_dir.as_deref();
                let folder =
                    folder.map_or_else(String::new, |folder| format!(" --data-dir {}", shown(folder)));
                err.line(format!(
                    "  sign in    by a key of `tollgate admin-keys create -c {}{folder} --role admin`",
                    shown(&command.config)
                ));
            }
            None => {}
        }
    }
    if let Some(text) = callers(config) {
        err.line(format!("  {}", err.dim(text)));
    }
    err.line("");
}

/// Who may call, where that is not what one would expect. That policies allow nothing is said where they are read.
fn callers(config: &Config) -> Option<&'static str> {
    match (config.identity.is_off(), config.identity.anonymous.is_some()) {
        (true, _) if policing::are_on(config) => Some(
            "No identity is configured: whoever is on this machine may call what the policies allow; nobody else can.",
        ),
        (true, _) => Some("No identity is configured: whoever is on this machine may call; nobody else can."),
        (false, true) => Some(
            "Callers who prove nothing come in as the agent `anonymous`, and may do what policies permit it.",
        ),
        (false, false) => None,
    }
}

/// What takes over a changed configuration.
type Followed<'a> = (&'a Gateway, &'a State, (&'a Exporting, &'a Keeping));

/// Takes over every change of the configuration and of the certificates. Never returns.
async fn follow(
    command: &Serve,
    (gateway, state, (exporting, keeping)): Followed<'_>,
    (mut config, mut joined): (Config, Joined),
    (watcher, mut hangup): (&mut Watcher, Option<&mut Signal>),
    (secured, administered): (&[Arc<Certificates>], Option<&Administered>),
) {
    let (_stopper, stop) = crate::listen::Stopper::new();
    for certificates in secured {
        tokio::spawn(certificates.clone().follow(stop.clone()));
    }
    loop {
        tokio::select! {
            () = watcher.changed() => {}
            () = state.appears(&config) => {
                joined = take_up_state(gateway, state, &config).await;
                tell(administered, &joined);
                continue;
            }
            () = joined.outdated(state) => {
                joined = registering::renew(joined, &config, gateway, state).await;
                tell(administered, &joined);
                continue;
            }
            () = next_hangup(hangup.as_deref_mut()) => {
                for certificates in secured {
                    certificates.reload();
                }
            }
        }
        let before = (&config, &joined.config);
        if let Some(taken) = reload(command, (gateway, state, (exporting, keeping)), before, watcher).await {
            (config, joined) = taken;
            if let Some(administered) = administered {
                administered.configure(&config);
            }
            tell(administered, &joined);
            for certificates in secured.iter().filter(|certificates| certificates.plane() == DATA_PLANE) {
                certificates.ask_clients(config.client_certificates.as_ref().map(authorities));
            }
        }
    }
}

/// Has operators see what is served by now.
fn tell(administered: Option<&Administered>, joined: &Joined) {
    if let Some(administered) = administered {
        administered.serves(&joined.config);
    }
}

/// Follows a store that was not there before: somebody has made it to block something.
async fn take_up_state(gateway: &Gateway, state: &State, config: &Config) -> Joined {
    let opened = match state.open(config) {
        Ok(()) => state.settle().await,
        Err(failure) => Err(failure),
    };
    if let Err(failure) = opened {
        tracing::warn!(reason = %failure.text, "what operators have blocked is not known here");
    }
    let identity = gateway.identity().renewed(config.identity.clone(), state.follower());
    let mut joined = Joined::new(config, state);
    if let Err(error) = joined.apply(gateway, &identity, state) {
        tracing::warn!(%error, "what operators have blocked is not known here");
    }
    joined
}

async fn next_hangup(hangup: Option<&mut Signal>) {
    match hangup {
        Some(hangup) => drop(hangup.recv().await),
        None => std::future::pending().await,
    }
}

/// Reads the configuration again. What cannot be served leaves everything as it is, and the log says why.
async fn reload(
    command: &Serve,
    (gateway, state, (exporting, keeping)): Followed<'_>,
    (before, served): (&Config, &Config),
    watcher: &mut Watcher,
) -> Option<(Config, Joined)> {
    let path = command.config.display().to_string();
    let reject = |reason: String| ConfigRejected { path: &path, reason: &reason }.emit();
    let mut config = match read_watched(&command.config, &before.files, watcher) {
        Ok(config) => config,
        Err(error) => {
            reject(error.to_string());
            return None;
        }
    };
    override_by(&mut config, command);
    // The address that is listened on stays until a restart.
    for listen in [before.listen, config.listen] {
        if let Err(open) = config::check_listen(listen, &config) {
            reject(open.to_string());
            return None;
        }
    }
    // Nor are callers who had to prove who they are let in without by a slip in a file.
    if config.identity.is_off() && !before.identity.is_off() {
        reject(
            "`identity` is gone: whoever reaches the address would be let in; restart to serve it so"
                .to_owned(),
        );
        return None;
    }
    if let Err(failure) = state.open(&config) {
        reject(failure.text);
        return None;
    }
    // What callers were found out to be is kept only where nothing was changed of how.
    let identity = gateway.identity().renewed(config.identity.clone(), state.follower());
    let mut joined = Joined::new(&config, state);
    let (described, store) = (setup(&joined.config, &identity), state.store());
    let policies = match policing::renew(&joined.config, served, gateway, &described, store.as_ref()).await {
        Ok(policies) => policies,
        Err(findings) => {
            reject(findings);
            return None;
        }
    };
    if let Err(error) = joined.apply(gateway, &identity, state) {
        reject(error.to_string());
        return None;
    }
    if let Some(policies) = policies {
        policing::take_over(gateway, policies, &joined.config, store.as_ref()).await;
    }
    gateway.keep_pins(state.store());
    state.meter(gateway, &config);
    exporting.apply(&config.exports);
    keeping.apply(&config.retention);
    let restart: [(&'static str, bool); 10] = [
        // What was closed is not opened by a slip in a file.
        ("policy", policing::are_on(before) && !policing::are_on(&config)),
        ("listen", config.listen != before.listen),
        ("admin_listen", config.admin_listen != before.admin_listen),
        ("tls", config.tls != before.tls),
        ("admin_tls", config.admin_tls != before.admin_tls),
        ("data_dir", config.data_dir != before.data_dir),
        ("store", config.store != before.store),
        ("ledger", config.ledger != before.ledger),
        ("telemetry", config.telemetry != before.telemetry),
        ("usage", config.index != before.index),
    ];
    for (setting, _) in restart.into_iter().filter(|(_, changed)| *changed) {
        RestartNeeded { setting }.emit();
    }
    for problem in &config.warnings {
        tracing::warn!(%problem, "configuration");
    }
    ConfigReloaded { path: &path, servers: config.servers.len() }.emit();
    Some((config, joined))
}

/// Serves one client on standard input and output, until its input ends or a signal.
async fn serve_stdio(gateway: &Gateway, signals: &mut Signals) -> Result<(), Failure> {
    let ended = tokio::select! {
        ended = tollgate_proxy::serve_stdio(gateway.clone(), tokio::io::stdin(), tokio::io::stdout()) => ended,
        _ = signals.stop() => Ok(()),
    };
    gateway.stop(Duration::from_secs(1)).await;
    ended.map_err(|error| Failure::failed(error.to_string()))
}
