//! A gateway that serves: its listeners, what they say of themselves, and the way they stop.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tollgate_admin::{
    Admin, AdminSettings, LedgerLine, LimitsLine, Reached, ReplicaLine, ServerLine, ServerReach, Snapshot,
    Standing, StoreLine, StoreReach,
};
use tollgate_identity::Identity;
use tollgate_ledger::{Health, Ledger, Work};
use tollgate_limits::Away;
use tollgate_model::{Secret, ServerId, Timestamp};
use tollgate_proxy::{Gateway, Peer, serve_http};
use tollgate_store::{Confirmed, Follower};
use tollgate_telemetry::events::{DrainEnded, DrainStarted};
use tollgate_upstream::{Reach, ReplicaHealth, ReplicaStatus, ServerStatus};

use crate::administering::{About, Told};
use crate::config::Config;
use crate::door::Door;
use crate::exporting::Exporting;
use crate::listen::{Bounds, Listener, Stopper, Workers};
use crate::sockets::{ADMIN, DATA};
use crate::state::State;

/// How long requests under way may take when the gateway stops.
pub(crate) const DRAIN: Duration = Duration::from_secs(20);
/// How long servers get to end after their last request.
const SERVER_STOP: Duration = Duration::from_secs(5);
const SERVER_STOP_MIN: Duration = Duration::from_secs(1);

/// How long whoever is connected to a gateway that was followed by another may take to ask once more, and so to hear that it
/// is to connect anew. An idle connection is closed after that; most clients open another one and repeat.
const LEAVE: Duration = Duration::from_secs(5);

/// The admin listener answers short questions to few.
fn admin_bounds() -> Bounds {
    Bounds { connections_max: 256, head_bytes_max: 16 * 1024, streams_max: 16, ..Bounds::default() }
}

/// Why a gateway stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Somebody asks for it. What that is, as a signal's name.
    Asked(&'static str),
    /// Another process serves in its place, on the same sockets.
    Followed,
}

/// The listener for operators. It answers from the first moment on, before it is known what the gateway is.
pub(crate) struct AdminPlane {
    plane: Plane,
    told: Administered,
}

/// What operators are told. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Administered {
    service: Admin,
    about: Arc<About>,
}

/// A gateway that serves.
pub(crate) struct Running {
    gateway: Gateway,
    data: Plane,
    admin: Option<AdminPlane>,
    /// Last: everything that runs on them has ended by then.
    workers: Arc<Workers>,
}

struct Plane {
    address: SocketAddr,
    /// The socket, for a process that follows.
    socket: TcpListener,
    stopper: Stopper,
    serving: JoinHandle<()>,
}

impl AdminPlane {
    /// Answers operators on this listener. `hosts` are further values of `Host` that it answers to. Gives the link by which one
    /// may sign in once, where nobody could otherwise.
    ///
    /// # Errors
    /// Whatever the operating system says of the socket.
    pub(crate) fn start(
        listener: Listener,
        hosts: Vec<String>,
        settings: AdminSettings,
    ) -> std::io::Result<(Self, Option<Secret>)> {
        let about = Arc::new(About::default());
        let address = listener.address();
        let scheme = if listener.is_tls() { "https" } else { "http" };
        let base = format!("{scheme}://{address}");
        let reached = Reached { hosts, is_loopback: address.ip().to_canonical().is_loopback(), base };
        let (service, secret) = Admin::new(Told(Arc::clone(&about)), reached, settings);
        let (stopper, stop) = Stopper::new();
        let socket = listener.socket()?;
        let answer = {
            let service = service.clone();
            move |_, request| {
                let service = service.clone();
                // On the heap while it runs, as on the other listener.
                Box::pin(async move { service.answer(request).await })
            }
        };
        let serving = tokio::spawn(listener.serve(admin_bounds(), stop, answer));
        let told = Administered { service, about };
        Ok((Self { plane: Plane { address, socket, stopper, serving }, told }, secret))
    }

    /// What operators are told, for whoever knows more of it later.
    pub(crate) fn told(&self) -> Administered {
        self.told.clone()
    }
}

impl Administered {
    /// Opens the door by which commands on this machine come, if there is a data directory to have it in. Must be called within a
    /// runtime.
    pub(crate) fn open_door(&self, folder: &Path) -> Option<Door> {
        let service = self.service.clone();
        let answer = move |request, user| {
            let service = service.clone();
            async move { service.answer_owner(request, user).await }
        };
        let opened = folder.is_dir().then(|| Door::open(folder, answer))?;
        let warn = |error: &std::io::Error| {
            tracing::warn!(%error, folder = %folder.display(), "commands on this machine change the store themselves: there can \
                be no socket in the data directory");
        };
        opened.inspect_err(warn).ok()
    }

    /// From now on it is known what is told of.
    pub(crate) fn knows(&self, gateway: &Gateway, state: &State, exporting: &Exporting, identity: &Identity) {
        self.about.knows(gateway, state, exporting, identity);
    }

    /// From now on this is served.
    pub(crate) fn serves(&self, config: &Config) {
        self.about.serves(config);
    }

    /// From now on this is configured.
    pub(crate) fn configure(&self, config: &Config) {
        self.about.configured(config);
        self.service.configure(config.admin.clone());
    }
}

impl Running {
    /// Serves the gateway on this listener.
    ///
    /// # Errors
    /// Whatever the operating system says when no threads can be had.
    pub(crate) fn start(
        gateway: Gateway,
        data: Listener,
        admin: Option<AdminPlane>,
    ) -> std::io::Result<Self> {
        let workers = Workers::start()?;
        gateway.listens_at(data.address(), data.is_tls());
        let data = data.on(Arc::clone(&workers));
        let (stopper, stop) = Stopper::new();
        let (address, socket) = (data.address(), data.socket()?);
        let serving = {
            let gateway = gateway.clone();
            tokio::spawn(data.serve(
                Bounds::default(),
                stop,
                move |arrival: crate::listen::Arrival, request| {
                    let gateway = gateway.clone();
                    let peer =
                        Peer { certificate: arrival.certificate, ..Peer::new(arrival.peer, arrival.tls) };
                    // On the heap while it runs: a connection that only waits, or streams, does not carry its weight.
                    Box::pin(async move { serve_http(&gateway, peer, request).await })
                },
            ))
        };
        if let Some(admin) = &admin {
            admin.told.about.serving.store(true, Ordering::Release);
        }
        Ok(Self { gateway, data: Plane { address, socket, stopper, serving }, admin, workers })
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.data.address
    }

    /// Where health and metrics are served.
    pub(crate) fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.plane.address)
    }

    /// The sockets of both listeners, for a process that follows.
    pub(crate) fn sockets(&self) -> Vec<(&'static str, &TcpListener)> {
        let admin = self.admin.as_ref().map(|admin| (ADMIN, &admin.plane.socket));
        std::iter::once((DATA, &self.data.socket)).chain(admin).collect()
    }

    /// Stops: nothing new is accepted, what is under way may finish within `grace`, then servers are ended. `hurry`
    /// cuts the waiting short. The admin listener answers until the end, so that whoever balances the load sees why, unless
    /// another process answers there.
    pub(crate) async fn drain(self, cause: Cause, grace: Duration, hurry: impl Future<Output = ()>) {
        let Self { gateway, data, admin, workers } = self;
        let is_followed = cause == Cause::Followed;
        let name = match cause {
            Cause::Asked(name) => name,
            Cause::Followed => "another process serves",
        };
        DrainStarted { cause: name, grace }.emit();
        let deadline = Instant::now() + grace;
        let Plane { socket, stopper, mut serving, .. } = data;
        // Whoever connects from now on is refused, or the other process's.
        drop(socket);
        let admin = admin.map(|admin| {
            let Plane { socket, stopper, .. } = admin.plane;
            drop(socket);
            if is_followed {
                stopper.leave();
            }
            (stopper, admin.told.about)
        });
        let orderly = async {
            if is_followed {
                stopper.leave();
                gateway.begin_leave();
                _ = timeout_at(deadline.min(Instant::now() + LEAVE), &mut serving).await;
            }
            if let Some((_, about)) = &admin {
                about.draining.store(true, Ordering::Release);
            }
            gateway.begin_drain();
            stopper.stop();
            let is_complete = serving.is_finished() || timeout_at(deadline, &mut serving).await.is_ok();
            stopper.over();
            let left = deadline.saturating_duration_since(Instant::now()).max(SERVER_STOP_MIN);
            gateway.stop(if is_complete { SERVER_STOP.min(left) } else { Duration::ZERO }).await;
            is_complete
        };
        let is_complete = tokio::select! {
            is_complete = orderly => is_complete,
            () = hurry => {
                // Even then no process is left behind.
                gateway.stop(Duration::ZERO).await;
                false
            }
        };
        if let Some((stopper, _)) = admin {
            stopper.over();
        }
        drop(workers);
        DrainEnded { complete: is_complete }.emit();
    }
}

pub(crate) fn snapshot(
    (gateway, state, exporting): (&Gateway, &State, &Exporting),
    is_draining: bool,
) -> Snapshot {
    let overview = gateway.overview();
    let standing = if is_draining || overview.draining { Standing::Draining } else { Standing::Serving };
    let servers = overview.servers.into_iter().map(|(server, status)| server_line(server, status)).collect();
    Snapshot {
        standing,
        servers,
        store: store_line(&state.follower()),
        exports: exporting.lines(),
        ledger: ledger_line(gateway.ledger(), overview.refuses_unrecorded),
        index: state.index_line(),
        blocks: gateway.blocked(),
        limits: limits_line(gateway),
        left_out: state.left().lines(),
        not_taken: state.left().not_taken(),
    }
}

fn limits_line(gateway: &Gateway) -> LimitsLine {
    let limits = gateway.limits();
    let said = |away: Away| (away.reason, away.since);
    LimitsLine {
        are_shared: limits.are_shared(),
        shared_away: limits.shared_away().map(said),
        allowances_away: limits.allowances_away().map(said),
    }
}

fn ledger_line(ledger: &Ledger, refuses: bool) -> Option<LedgerLine> {
    let down = match ledger.health() {
        Health::Off => return None,
        Health::Up => None,
        Health::Down { reason, since } => Some((reason, Timestamp::now().since(since))),
    };
    let since = |(what, since)| (what, Timestamp::now().since(since));
    let (stuck, retention_waits) = (ledger.stuck().map(since), ledger.retention_waits().map(since));
    let Work {
        entries,
        writes,
        lost,
        failures,
        unsynced,
        stuck: segment_failures,
        slow,
        open,
        waiting_bytes,
    } = ledger.work();
    Some(LedgerLine {
        down,
        stuck,
        retention_waits,
        refuses,
        entries,
        writes,
        lost,
        failures,
        unsynced,
        segment_failures,
        slow,
        open,
        waiting_bytes,
    })
}

fn store_line(follower: &Follower) -> Option<StoreLine> {
    let reach = match follower.confirmed() {
        Confirmed::Now => StoreReach::Up,
        Confirmed::Since(_) => StoreReach::Away,
        Confirmed::TooOld => StoreReach::TooOld,
    };
    let (revision, age) = (follower.now().revision(), follower.age());
    follower.follows().then_some(StoreLine { reach, revision, age })
}

fn server_line(server: ServerId, status: ServerStatus) -> ServerLine {
    let reach = match status.reach {
        Reach::Unknown => ServerReach::Unknown,
        Reach::Up { revision, .. } => ServerReach::Up { revision: revision.as_str() },
        Reach::Down { code, reason, since, .. } => {
            ServerReach::Down { code: code.row().name, reason, since: timestamp(since) }
        }
    };
    ServerLine {
        server,
        transport: status.transport,
        reach,
        instances: status.instances as u64,
        leased: status.leased as u64,
        starts: status.counters.starts,
        restarts: status.counters.restarts,
        start_failures: status.counters.start_failures,
        replicas: status.replicas.into_iter().map(replica_line).collect(),
    }
}

fn replica_line(replica: ReplicaStatus) -> ReplicaLine {
    let ejected_until = match replica.health {
        ReplicaHealth::Ejected { until } => Some(timestamp(until)),
        _ => None,
    };
    ReplicaLine {
        name: replica.name,
        version: replica.version,
        health: replica.health.as_str(),
        ejected_until,
        in_flight: replica.in_flight as u64,
        answered: replica.answered,
        failed: replica.failed,
        ejections: replica.ejections,
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
