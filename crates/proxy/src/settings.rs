//! What an operator says of the data plane, as meant.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tollgate_approvals::ApprovalSettings;
use tollgate_ledger::WhenUnwritable;
use tollgate_model::{EndpointName, ServerId, TenantId};

use crate::approving::Tell;
use crate::aside::AsideSettings;
use crate::cache::CacheSettings;
use crate::handling::Handling;
use crate::load::LoadSettings;
use crate::pinning::PinSettings;
use crate::schemas::SchemaSettings;
use crate::shares::Room;
use crate::sizes::SizeSettings;
use crate::tasks::TaskSettings;

/// How the data plane behaves. Every queue, body and wait has its bound here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxySettings {
    /// The URL by which clients know this gateway: scheme, host, optional port and path prefix, without a slash at the
    /// end. Never taken from `Host`.
    pub public_url: Option<String>,
    /// Further values of `Host` that are this gateway: `host` (any port) or `host:port`. Loopback names and the host of
    /// [`Self::public_url`] are always allowed.
    pub allowed_hosts: Vec<String>,
    /// Values of `Origin` that browsers may call from (`https://app.example.com`). Loopback origins are allowed only
    /// when listed; the origin of [`Self::public_url`] always is.
    pub allowed_origins: Vec<String>,
    /// Proxies whose `Forwarded`/`X-Forwarded-For` names the client's address.
    pub trusted_proxies: Vec<Cidr>,
    /// The largest request body. Larger ones are refused with 413.
    pub body_bytes_max: usize,
    /// How long a request body may take to arrive in whole. Slower ones are refused with 408.
    pub body_timeout: Duration,
    /// How many legacy sessions may exist at once. When full, a new `initialize` is refused.
    pub sessions_max: usize,
    /// How long a legacy session without any request or open stream lives.
    pub session_idle: Duration,
    /// How many messages may wait for a client that reads its stream slowly. Progress and log messages beyond it are
    /// dropped; the reply to a request never is.
    pub stream_queue_max: usize,
    /// After how much silence a stream gets an SSE comment, so that proxies on the way keep it open.
    pub keep_alive: Duration,
    /// How many requests may be under way at once in one legacy session or over one stdio connection; and how many
    /// questions of servers one client may have open at once.
    pub in_flight_max: usize,
    /// How long a person may take to answer what a server asks (sampling, elicitation, roots). A call whose client does
    /// not come back in this time is cancelled at the server.
    pub input_timeout: Duration,
    /// How often a server may ask during one request.
    pub input_rounds_max: u32,
    /// How many calls of modern clients may wait for their answers at once. When full, the call that asks is ended.
    pub parked_max: usize,
    /// How many of them may be one principal's.
    pub parked_per_principal_max: usize,
    /// What lets a client of 2025-03-26 to 2025-11-25 come back to a stream that broke.
    pub resume: ResumeSettings,
    /// How many messages a batch of 2025-03-26 may have. Larger ones are refused whole.
    pub batch_max: usize,
    /// How many modern clients may listen for changes at once. When full, a new one is refused.
    pub listeners_max: usize,
    /// How many of them may be one principal's.
    pub listeners_per_principal_max: usize,
    /// How many resources and tasks one client may listen for, or be subscribed to in one session.
    pub subscriptions_max: usize,
    /// How long servers may take to acknowledge what a client listens for. Later ones are left out of the
    /// acknowledgement.
    pub listen_wait: Duration,
    /// How many pages of one server's list are read for one merged page that must be complete (names shortened by a
    /// hash, resource routing).
    pub list_pages_max: usize,
    /// How many items one server's list may have; the rest is left out and named as missing.
    pub list_items_max: usize,
    /// How tasks are followed.
    pub tasks: TaskSettings,
    /// How much of what all tenants share one of them may take up, in percent: sessions, connections, parked calls,
    /// listeners, tasks. Means nothing where there is one tenant.
    pub tenant_share_percent: usize,
    /// How much may be going on at once in the whole process.
    pub load: LoadSettings,
    /// What becomes of calls while nothing can be recorded.
    pub unwritable: Unwritable,
    /// How calls of servers' tools are handled, of servers of which anything is said.
    pub handling: HashMap<ServerId, Arc<Handling>>,
    /// How answers of servers are kept.
    pub cache: CacheSettings,
    /// How servers' definitions are pinned.
    pub pins: PinSettings,
    /// How calls are checked against the schemas of tools, where nothing else is said of a server or tool.
    pub schemas: SchemaSettings,
    /// How large arguments and results may be, where nothing else is said of a server or tool.
    pub sizes: SizeSettings,
    /// How results that are too large are kept aside.
    pub aside: AsideSettings,
    /// How people are asked for their approval.
    pub approvals: Arc<ApprovalSettings>,
    /// Who is told that something waits for approval.
    pub approval_tells: Arc<[Tell]>,
}

impl ProxySettings {
    /// Whether results are checked against schemas or bounds anywhere.
    pub(crate) fn looks_at_results(&self) -> bool {
        self.schemas.is_on()
            || self.sizes.results.are_any()
            || self.handling.values().any(|server| {
                server.schemas.is_on()
                    || server.sizes.results.are_any()
                    || server
                        .tools
                        .iter()
                        .any(|(_, tool)| tool.schemas.is_on() || tool.sizes.results.are_any())
            })
    }

    /// How many sessions, or connections, there may be.
    pub(crate) fn sessions_room(&self) -> Room {
        self.room(self.sessions_max, usize::MAX)
    }

    /// How many of something there may be, if there are so many in all and for each principal.
    pub(crate) fn room(&self, all: usize, own: usize) -> Room {
        let tenant = all.saturating_mul(self.tenant_share_percent).div_ceil(100);
        Room { all, tenant, own }
    }
}

impl Default for ProxySettings {
    fn default() -> Self {
        Self {
            public_url: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            body_bytes_max: 16 * 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            sessions_max: 10_000,
            session_idle: Duration::from_mins(30),
            stream_queue_max: 256,
            keep_alive: Duration::from_secs(15),
            in_flight_max: 256,
            input_timeout: Duration::from_mins(10),
            input_rounds_max: 32,
            parked_max: 1_000,
            parked_per_principal_max: 500,
            resume: ResumeSettings::default(),
            batch_max: 64,
            listeners_max: 10_000,
            listeners_per_principal_max: 4_000,
            subscriptions_max: 1_000,
            listen_wait: Duration::from_secs(5),
            list_pages_max: 200,
            list_items_max: 20_000,
            tasks: TaskSettings::default(),
            tenant_share_percent: 50,
            load: LoadSettings::default(),
            unwritable: Unwritable::default(),
            handling: HashMap::new(),
            cache: CacheSettings::default(),
            pins: PinSettings::default(),
            schemas: SchemaSettings::default(),
            sizes: SizeSettings::default(),
            aside: AsideSettings::default(),
            approvals: Arc::default(),
            approval_tells: Arc::default(),
        }
    }
}

/// What becomes of calls while the ledger cannot be written: what their endpoint says, if it is a toolset's, else what their
/// server says, else what is said for all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unwritable {
    /// At the endpoints of toolsets of which it is said.
    pub toolsets: HashMap<(TenantId, EndpointName), WhenUnwritable>,
    /// Of servers of which it is said.
    pub servers: HashMap<ServerId, WhenUnwritable>,
    /// Of all others.
    pub otherwise: WhenUnwritable,
}

impl Unwritable {
    /// What becomes of a call of a tenant at an endpoint (none is the merged one) to a server.
    pub fn of(
        &self,
        tenant: &TenantId,
        endpoint: Option<&EndpointName>,
        server: Option<&ServerId>,
    ) -> WhenUnwritable {
        let said = endpoint.filter(|_| !self.toolsets.is_empty());
        let said = said.and_then(|name| self.toolsets.get(&(tenant.clone(), name.clone())));
        let said = said.or_else(|| self.servers.get(server?));
        said.copied().unwrap_or(self.otherwise)
    }
}

/// How event streams of sessions over Streamable HTTP are made resumable (2025-11-25, transports).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeSettings {
    /// How many events a stream keeps after they were sent.
    pub events_max: usize,
    /// How many bytes of messages a stream keeps, sent or waiting for a client that is away. A reply that comes while the
    /// client is away may have as many again; if it has more, the stream cannot be resumed.
    pub bytes_max: usize,
    /// How many bytes all streams of one session keep together.
    pub session_bytes_max: usize,
    /// How long a stream that has ended is kept for a client that has not seen its end.
    pub keep: Duration,
    /// How long a client of 2025-11-25 is told to wait before it comes back.
    pub retry: Duration,
    /// After how long a request of a client of 2025-11-25 is answered by a stream, from which on it survives a broken
    /// connection. A request that is done before gets plain JSON.
    pub after: Duration,
}

impl Default for ResumeSettings {
    fn default() -> Self {
        Self {
            events_max: 256,
            bytes_max: 1 << 20,
            session_bytes_max: 4 << 20,
            keep: Duration::from_mins(1),
            retry: Duration::from_secs(1),
            after: Duration::from_secs(1),
        }
    }
}

/// A block of addresses (RFC 4632): `10.0.0.0/8`, `::1/128`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Reads `address/prefix` or a single address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().ok()?;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(longest);
        (prefix <= longest).then_some(Self { network, prefix })
    }

    /// Whether the address lies in this block. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix);
                (u32::from(network) ^ u32::from(address)).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix);
                (u128::from(network) ^ u128::from(address)).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_says_first_what_becomes_of_unrecorded_calls() {
        let name = |text: &str| EndpointName::new(text).expect("a name");
        let server = |text| ServerId::new(tollgate_model::Holder::Shared, name(text));
        let (own, other) = (TenantId::new("own"), TenantId::new("other"));
        let mut unwritable = Unwritable::default();
        assert_eq!(unwritable.of(&own, None, Some(&server("files"))), WhenUnwritable::Refuse);
        unwritable.servers.insert(server("files"), WhenUnwritable::Degrade);
        unwritable.toolsets.insert((own.clone(), name("desk")), WhenUnwritable::Refuse);
        for (tenant, endpoint, at, expected) in [
            (&own, None, "files", WhenUnwritable::Degrade),
            (&own, Some("files"), "files", WhenUnwritable::Degrade),
            (&own, Some("desk"), "files", WhenUnwritable::Refuse),
            (&other, Some("desk"), "files", WhenUnwritable::Degrade),
            (&own, None, "notes", WhenUnwritable::Refuse),
        ] {
            let endpoint = endpoint.map(name);
            assert_eq!(
                unwritable.of(tenant, endpoint.as_ref(), Some(&server(at))),
                expected,
                "{endpoint:?} {at}"
            );
        }
    }

    #[test]
    fn blocks_contain_what_they_should() {
        let contains = |block: &str, address: &str| {
            Cidr::parse(block).expect("a block").contains(address.parse().expect("an address"))
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("0.0.0.0/0", "192.0.2.1"));
        assert!(contains("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(contains("2001:db8::/32", "2001:db8:1::1"));
        assert!(!contains("2001:db8::/32", "2001:db9::1"));
        assert!(!contains("::/0", "192.0.2.1"));
        assert!(Cidr::parse("10.0.0.0/33").is_none());
        assert!(Cidr::parse("ten").is_none());
    }
}
