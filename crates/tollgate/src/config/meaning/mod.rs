//! What a configuration means: the settings of the crates that use them, with everything checked that a schema cannot.

mod admin;
mod approvals;
mod bites;
mod cache;
pub(super) mod defaults;
mod export;
mod external;
mod facts;
mod guard;
mod identity;
mod index;
mod ledger;
mod limits;
mod overrides;
mod pins;
mod policy;
mod reach;
mod registry;
mod replicas;
mod retention;
mod schemas;
mod server;
mod sizes;
mod store;
mod telemetry;
mod tenants;
mod toolset;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tollgate_admin::AdminSettings;
use tollgate_catalog::ServerFacts;
use tollgate_guard::GuardSettings;
use tollgate_identity::IdentitySettings;
use tollgate_ledger::export::ExportSettings;
use tollgate_ledger::upkeep::RetentionSettings;
use tollgate_ledger::{IndexSettings, LedgerSettings, Prices};
use tollgate_limits::LimitSettings;
use tollgate_model::{Secret, ServerId, ServerName, TenantId};
use tollgate_proxy::{CacheSettings, Cidr, PinSettings, ProxySettings, Unwritable};
use tollgate_telemetry::TelemetrySettings;
use tollgate_upstream::ServerSettings;
use url::{Host, Url};

use super::client::Format;
use super::expand::Env;
use super::files::Files;
use super::forms::Items;
use super::node::{Place, Value};
use super::problem::{Problem, Problems, closest};
use super::section::{ConfigSection, LimitsSection, TlsSection};

use self::tenants::Served;

pub(super) use self::guard::action_of;
pub(crate) use self::ledger::ENCRYPTION_KEY;
pub use self::policy::Policies;
pub(crate) use self::policy::{is_stored, stored_path};
pub use self::reach::{Lack, OpenListen, check_listen};
pub use self::registry::RegistrySettings;
pub(crate) use self::store::url_of_environment;
pub use self::store::{DATABASE_URL, StoreSettings};
pub use self::tenants::TenantSettings;

/// The variable that says where rates and concurrency are counted for several gateways together.
const REDIS_URL: &str = "REDIS_URL";

/// A configuration that can be served.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file that it was read from, as it was given.
    pub file: PathBuf,
    /// What kind of file it is.
    pub format: Format,
    /// Where the data plane listens. On loopback, unless [`check_listen`] lets it be reached by others.
    pub listen: SocketAddr,
    /// Where the admin listener listens.
    pub admin_listen: SocketAddr,
    /// The data plane's certificate, if it serves TLS.
    pub tls: Option<TlsFiles>,
    /// The admin listener's certificate, if it serves TLS.
    pub admin_tls: Option<TlsFiles>,
    /// Whose certificates clients of the data plane may show (`identity.certificates`); they are asked for none if absent.
    pub client_certificates: Option<ClientFiles>,
    /// How callers are known.
    pub identity: IdentitySettings,
    /// How people administer.
    pub admin: AdminSettings,
    /// How the data plane behaves.
    pub proxy: ProxySettings,
    /// The servers of all tenants, in the order of the file, without those that are disabled. Each says whose it is.
    pub servers: Vec<ServerSettings>,
    /// What is said of servers, of those of which anything is.
    pub facts: HashMap<ServerId, Arc<ServerFacts>>,
    /// The tenants: `default`, which is always there, and then the others in the order of the file.
    pub tenants: Vec<TenantSettings>,
    /// The folder of what the gateway keeps itself. It need not exist.
    pub data_dir: PathBuf,
    /// Where state is kept, and how long it may be used unconfirmed.
    pub store: StoreSettings,
    /// How the ledger is kept; none if nothing is recorded.
    pub ledger: Option<LedgerSettings>,
    /// Who receives what is recorded.
    pub exports: Vec<ExportSettings>,
    /// What is sent to operators' receivers.
    pub telemetry: TelemetrySettings,
    /// How the index of the ledger is kept; none if there is none.
    pub index: Option<IndexSettings>,
    /// What calls cost.
    pub prices: Prices,
    /// How long the record is kept.
    pub retention: RetentionSettings,
    /// Where the gateway runs, as policies see it.
    pub environment: Option<Arc<str>>,
    /// How much callers may do.
    pub limits: LimitSettings,
    /// What is looked for in arguments and results.
    pub guards: GuardSettings,
    /// Where rates and concurrency are counted for several gateways together (`REDIS_URL`). It holds a password, perhaps.
    pub shared_counters: Option<Secret>,
    /// What servers may be that are registered at run time.
    pub registry: RegistrySettings,
    /// The policies.
    pub policies: Policies,
    /// The lock file that says what definitions are approved, if one does. It need not exist.
    pub lock_file: Option<PathBuf>,
    /// The files that the configuration refers to, absolute: policies, secrets, certificates, certificate authorities. They can be
    /// read now; a change of one is a change of the configuration.
    pub files: Vec<PathBuf>,
    /// What has no effect, or perhaps not the expected one.
    pub warnings: Vec<Problem>,
}

/// A certificate and its key, as PEM files that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, the server's own first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Whose certificates clients may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// The authorities that vouch for clients, as a PEM file that can be read.
    pub ca_file: PathBuf,
    /// Whether a client without a certificate is turned away in the handshake already.
    pub required: bool,
}

/// Finds out what sections mean.
pub(super) struct Meaning<'a> {
    pub(super) env: &'a dyn Env,
    pub(super) files: &'a Files,
    pub(super) problems: &'a mut Problems,
    pub(super) format: Format,
}

/// The servers of one namespace, for those who refer to them.
#[derive(Clone, Default)]
struct Servers {
    /// Every name that a server has: also of those left out, and of those that were refused.
    names: HashMap<ServerName, Standing>,
}

/// What became of a server that the file names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Standing {
    label: String,
    disabled: bool,
    shared: bool,
}

impl Meaning<'_> {
    pub(super) fn config(&mut self, file: &Path, section: &ConfigSection, root: &Place<'_>) -> Config {
        let listen = self.listen(section.listen.as_deref(), defaults::LISTEN, &root.key("listen"));
        let admin_place = root.key("admin_listen");
        let admin_listen = self.listen(section.admin_listen.as_deref(), defaults::ADMIN_LISTEN, &admin_place);
        if listen == admin_listen && listen.port() != 0 {
            self.problems.error(&admin_place, "the same address as `listen`");
        }
        let tls = section.tls.as_ref().and_then(|tls| self.tls(tls, &root.key("tls")));
        let admin_tls = section.admin_tls.as_ref().and_then(|tls| self.tls(tls, &root.key("admin_tls")));
        let mut proxy = self.proxy(section, root);
        let Served {
            servers,
            facts,
            tenants,
            policies,
            shadow,
            handling,
            caches,
            pins,
            unwritable,
            names_a_server,
        } = self.served(section, root);
        proxy.handling = handling;
        let cache = self.cache(section.cache.as_ref(), &root.key("cache"));
        proxy.cache = CacheSettings { servers: caches, ..cache };
        proxy.pins = PinSettings { servers: pins, ..self.pins(section.pins.as_ref(), &root.key("pins")) };
        proxy.schemas = schemas::schemas(section.schemas.as_ref());
        proxy.sizes = sizes::sizes(section.sizes.as_ref());
        let lock_file = section.pins.as_ref().and_then(|pins| pins.lock.as_deref());
        let lock_file = lock_file.map(|path| self.files.path(path));
        proxy.unwritable = Unwritable { otherwise: proxy.unwritable.otherwise, ..unwritable };
        let ids: Vec<TenantId> = tenants.iter().map(|tenant| tenant.id.clone()).collect();
        let identity = self.identity(section.identity.as_ref(), &root.key("identity"), &ids);
        let (approvals, tells) = self.approvals(
            section.approvals.as_ref(),
            (&ids, section.policy.is_some() || section.tenants.is_some()),
            &root.key("approvals"),
        );
        (proxy.approvals, proxy.approval_tells) = (Arc::new(approvals), tells.into());
        let exports = section.ledger.as_ref().and_then(|ledger| ledger.export.as_ref());
        let is_on = section.ledger.as_ref().is_none_or(|ledger| ledger.enabled != Some(false));
        let exports = self.exports((exports, is_on), &ids, &root.key("ledger").key("export"));
        let retention = section.ledger.as_ref().and_then(|ledger| ledger.retention.as_ref());
        let retention = self.retention(retention, &ids, &root.key("ledger").key("retention"));
        let client_certificates = self.client_certificates(section, root);
        let (index, prices) = self.index(section, root);
        if !names_a_server && !self.problems.is_fatal() {
            let suggestion = Some("name at least one MCP server under `servers`".to_owned());
            self.problems.warning(
                &root.key("servers"),
                "no servers: clients will find nothing here",
                suggestion,
            );
        }
        let has_pins = proxy.pins.are_on();
        let config = Config {
            file: file.to_owned(),
            format: self.format,
            listen,
            admin_listen,
            tls,
            admin_tls,
            client_certificates,
            identity,
            admin: self.admin(section.admin.as_ref(), &root.key("admin"), &ids),
            proxy,
            servers,
            facts,
            tenants,
            data_dir: self.data_dir(section, root),
            store: self.store(section.store.as_ref(), &root.key("store")),
            ledger: self.ledger(section.ledger.as_ref(), &root.key("ledger")),
            exports,
            telemetry: self.telemetry(section.telemetry.as_ref(), &root.key("telemetry")),
            index,
            prices,
            retention,
            environment: section.environment.as_deref().map(Arc::from),
            limits: self.limits(section, &ids, root),
            guards: self.guards(section.guard.as_ref(), &ids, has_pins, &root.key("guard")),
            shared_counters: self.env.var(REDIS_URL).filter(|url| !url.is_empty()).map(Secret::new),
            registry: {
                let bytes_max = section.limits.as_ref().and_then(|limits| limits.message_bytes_max);
                self.registry(section.registry.as_ref(), bytes_max, &root.key("registry"))
            },
            policies: self.policies(section.policy.as_ref(), (policies, shadow), ids, &root.key("policy")),
            files: Vec::new(),
            lock_file,
            warnings: Vec::new(),
        };
        self.reach(&config, root);
        config
    }

    fn listen(&mut self, written: Option<&str>, default: &str, place: &Place<'_>) -> SocketAddr {
        let fallback = SocketAddr::from(([127, 0, 0, 1], 0));
        let text = written.unwrap_or(default);
        let numeric = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        if let Ok(address) = numeric.parse() {
            return address;
        }
        let port = text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        let suggestion = match (port, text.contains("://")) {
            (Some(port), _) => format!("write `127.0.0.1:{port}`"),
            (None, true) => "an address has no scheme: write `127.0.0.1:8080`".to_owned(),
            (None, false) => "write an IP address or `localhost`, and a port: `127.0.0.1:8080`".to_owned(),
        };
        let shown = shown(place, text);
        self.problems.error_with(place, format!("{shown} is no address with a port"), suggestion);
        fallback
    }

    fn tls(&mut self, section: &TlsSection, place: &Place<'_>) -> Option<TlsFiles> {
        let (Some(certificate), Some(key)) = (&section.certificate, &section.key) else {
            if !self.problems.below(&place.path) {
                self.problems.error(place, "TLS needs both `certificate` and `key`");
            }
            return None;
        };
        let certificate = self.readable(certificate, &place.key("certificate"));
        let key = self.readable(key, &place.key("key"));
        Some(TlsFiles { certificate: certificate?, key: key? })
    }

    /// The path of a file that has to be there.
    fn readable(&mut self, path: &str, place: &Place<'_>) -> Option<PathBuf> {
        self.files.readable(path).map_err(|reason| self.problems.error(place, reason)).ok()
    }

    fn proxy(&mut self, section: &ConfigSection, root: &Place<'_>) -> ProxySettings {
        let mut proxy = ProxySettings::default();
        if let Some(url) = &section.public_url {
            proxy.public_url = self.public_url(url, &root.key("public_url"));
        }
        let place = root.key("allowed_hosts");
        for (index, host) in Items::iter(section.allowed_hosts.as_ref()) {
            match format!("http://{host}/").parse::<http::Uri>() {
                Ok(uri)
                    if uri.authority().is_some_and(|authority| authority == host.as_str())
                        && !host.contains('@') =>
                {
                    proxy.allowed_hosts.push(host.to_ascii_lowercase());
                }
                _ => {
                    let shown = shown(&place.item(index), host);
                    self.problems.error_with(
                        &place.item(index),
                        format!("{shown} is no value of `Host`"),
                        "write `tools.example.com` or `tools.example.com:8443`",
                    );
                }
            }
        }
        let place = root.key("allowed_origins");
        for (index, origin) in Items::iter(section.allowed_origins.as_ref()) {
            match Url::parse(origin) {
                Ok(url) if url.origin().is_tuple() && is_bare(&url) && !origin.ends_with('/') => {
                    proxy.allowed_origins.push(url.origin().ascii_serialization());
                }
                _ => {
                    let shown = shown(&place.item(index), origin);
                    self.problems.error_with(
                        &place.item(index),
                        format!("{shown} is no web origin"),
                        "write scheme, host and port only: `https://app.example.com`",
                    );
                }
            }
        }
        let place = root.key("trusted_proxies");
        for (index, block) in Items::iter(section.trusted_proxies.as_ref()) {
            match Cidr::parse(block) {
                Some(block) => proxy.trusted_proxies.push(block),
                None => {
                    let shown = shown(&place.item(index), block);
                    self.problems.error_with(
                        &place.item(index),
                        format!("{shown} is no address and no block of addresses"),
                        "write `10.0.0.7` or `10.0.0.0/8`",
                    );
                }
            }
        }
        if let Some(written) = section.ledger.as_ref().and_then(|ledger| ledger.when_unwritable) {
            proxy.unwritable.otherwise = ledger::when_unwritable(written);
        }
        if let Some(limits) = &section.limits {
            bound(&mut proxy, limits);
            if proxy.tasks.poll_min > proxy.tasks.poll_max {
                let key =
                    if limits.task_poll_ms_min.is_some() { "task_poll_ms_min" } else { "task_poll_ms_max" };
                let place = root.key("limits").key(key);
                self.problems.error(&place, "`task_poll_ms_min` is longer than `task_poll_ms_max`");
            }
        }
        proxy
    }

    fn public_url(&mut self, text: &str, place: &Place<'_>) -> Option<String> {
        let url = match Url::parse(text) {
            Ok(url) if url.has_host() && matches!(url.scheme(), "http" | "https") => url,
            _ => {
                let shown = shown(place, text);
                let suggestion = "write it whole: `https://tools.example.com`";
                self.problems.error_with(place, format!("{shown} is no http or https URL"), suggestion);
                return None;
            }
        };
        if !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some()
        {
            self.problems.error(place, "a public URL has no user name, password, query or fragment");
            return None;
        }
        if url.scheme() == "http" && !is_loopback(&url) {
            let suggestion = "clients send their credentials there: use https";
            self.problems.error_with(place, "http is only for loopback addresses", suggestion);
            return None;
        }
        Some(url.as_str().trim_end_matches('/').to_owned())
    }

    /// The name that a key stands for. A client's file has free texts for keys, our own has names.
    fn name(&mut self, label: &str, place: &Place<'_>) -> Option<ServerName> {
        let made = ServerName::from_label(label);
        let (name, suggestion) = match self.format {
            Format::Tollgate => (ServerName::new(label), made.ok().map(|name| format!("write `{name}`"))),
            Format::McpServers | Format::VsCode => (made, Some("rename the server".to_owned())),
        };
        name.map_err(|reason| {
            let message = format!("{label:?} cannot be a name: {reason}");
            match suggestion {
                Some(suggestion) => self.problems.error_with(place, message, suggestion),
                None => self.problems.error(place, message),
            }
        })
        .ok()
    }

    /// The server that something refers to; `None` if there is none, which is reported, or if it is disabled, which is
    /// a warning.
    fn known(&mut self, text: &str, servers: &Servers, place: &Place<'_>) -> Option<ServerName> {
        let found = ServerName::new(text).ok().filter(|name| servers.names.contains_key(name));
        let Some(name) = found else {
            let message = format!("there is no server `{text}`");
            match closest(text, servers.names.keys().map(ServerName::as_str)) {
                Some(meant) => self.problems.error_with(place, message, format!("did you mean `{meant}`?")),
                None => self.problems.error(place, message),
            }
            return None;
        };
        if servers.names.get(&name).is_some_and(|standing| standing.disabled) {
            self.problems.warning(place, format!("left out: the server `{name}` is disabled"), None);
            return None;
        }
        Some(name)
    }
}

fn bound(proxy: &mut ProxySettings, limits: &LimitsSection) {
    let set = |target: &mut usize, value: Option<usize>| *target = value.unwrap_or(*target);
    let wait = |target: &mut Duration, ms: Option<u64>| *target = ms.map_or(*target, Duration::from_millis);
    set(&mut proxy.body_bytes_max, limits.body_bytes_max);
    set(&mut proxy.load.requests_max, limits.requests_max);
    set(&mut proxy.load.bytes_max, limits.requests_bytes_max);
    wait(&mut proxy.load.lag_max, limits.lag_ms_max);
    wait(&mut proxy.body_timeout, limits.body_timeout_ms);
    set(&mut proxy.sessions_max, limits.sessions_max);
    wait(&mut proxy.session_idle, limits.session_idle_ms);
    set(&mut proxy.in_flight_max, limits.in_flight_max);
    set(&mut proxy.stream_queue_max, limits.stream_queue_max);
    wait(&mut proxy.keep_alive, limits.keep_alive_ms);
    wait(&mut proxy.input_timeout, limits.input_timeout_ms);
    proxy.input_rounds_max = limits.input_rounds_max.unwrap_or(proxy.input_rounds_max);
    set(&mut proxy.parked_max, limits.parked_max);
    set(&mut proxy.parked_per_principal_max, limits.parked_per_principal_max);
    set(&mut proxy.aside.bytes_max, limits.aside_bytes_max);
    set(&mut proxy.aside.results_max, limits.aside_results_max);
    wait(&mut proxy.aside.kept, limits.aside_kept_ms);
    set(&mut proxy.aside.page_bytes, limits.aside_page_bytes);
    set(&mut proxy.resume.events_max, limits.resume_events_max);
    set(&mut proxy.resume.bytes_max, limits.resume_bytes_max);
    set(&mut proxy.resume.session_bytes_max, limits.resume_session_bytes_max);
    wait(&mut proxy.resume.keep, limits.resume_keep_ms);
    wait(&mut proxy.resume.retry, limits.resume_retry_ms);
    wait(&mut proxy.resume.after, limits.resume_after_ms);
    set(&mut proxy.batch_max, limits.batch_max);
    set(&mut proxy.listeners_max, limits.listeners_max);
    set(&mut proxy.listeners_per_principal_max, limits.listeners_per_principal_max);
    set(&mut proxy.subscriptions_max, limits.subscriptions_max);
    wait(&mut proxy.listen_wait, limits.listen_wait_ms);
    set(&mut proxy.list_pages_max, limits.list_pages_max);
    set(&mut proxy.list_items_max, limits.list_items_max);
    set(&mut proxy.tenant_share_percent, limits.tenant_share_percent);
    let tasks = &mut proxy.tasks;
    set(&mut tasks.followed_max, limits.tasks_followed_max);
    set(&mut tasks.followed_per_principal_max, limits.tasks_followed_per_principal_max);
    wait(&mut tasks.poll_min, limits.task_poll_ms_min);
    wait(&mut tasks.poll_max, limits.task_poll_ms_max);
    tasks.requests_per_s_max = limits.task_requests_per_s_max.unwrap_or(tasks.requests_per_s_max);
    wait(&mut tasks.ttl, limits.task_ttl_ms);
    set(&mut tasks.known_max, limits.tasks_known_max);
}

/// A value in a message: as it is, unless something from outside the file was put in.
fn shown(place: &Place<'_>, text: &str) -> String {
    match place.node.map(|node| &node.value) {
        Some(Value::Text(written)) if written.expanded => "the value".to_owned(),
        _ => format!("`{text}`"),
    }
}

fn is_bare(url: &Url) -> bool {
    url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && matches!(url.path(), "" | "/")
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(domain)) => domain == "localhost" || domain.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}
