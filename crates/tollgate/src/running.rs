//! A gateway that serves: its listeners, what they say of themselves, and the way they stop.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tollgate_admin::{Admin, LedgerLine, ServerLine, ServerReach, Snapshot, Standing, StoreLine, StoreReach};
use tollgate_ledger::{Health, Ledger, Work};
use tollgate_model::{ServerId, Timestamp};
use tollgate_proxy::{Gateway, Peer, serve_http};
use tollgate_store::{Confirmed, Follower};
use tollgate_telemetry::events::{DrainEnded, DrainStarted};
use tollgate_upstream::{Reach, ServerStatus};

use crate::exporting::Exporting;
use crate::listen::{Bounds, Listener, Stopper, Workers};
use crate::state::State;

/// How long requests under way may take when the gateway stops.
pub(crate) const DRAIN: Duration = Duration::from_secs(20);
/// How long servers get to end after their last request.
const SERVER_STOP: Duration = Duration::from_secs(5);
const SERVER_STOP_MIN: Duration = Duration::from_secs(1);

/// The admin listener answers short questions to few.
fn admin_bounds() -> Bounds {
    Bounds { connections_max: 256, head_bytes_max: 16 * 1024, streams_max: 16, ..Bounds::default() }
}

/// A gateway that serves.
pub(crate) struct Running {
    gateway: Gateway,
    data: Plane,
    admin: Option<Plane>,
    draining: Arc<AtomicBool>,
    /// Last: everything that runs on them has ended by then.
    workers: Arc<Workers>,
}

struct Plane {
    address: SocketAddr,
    stopper: Stopper,
    serving: JoinHandle<()>,
}

impl Running {
    /// Serves the gateway on these listeners. `hosts` are further values of `Host` that the admin listener answers to.
    ///
    /// # Errors
    /// Whatever the operating system says when no threads can be had.
    pub(crate) fn start(
        gateway: Gateway,
        state: State,
        data: Listener,
        admin: Option<(Listener, Vec<String>, Exporting)>,
    ) -> std::io::Result<Self> {
        let workers = Workers::start()?;
        gateway.listens_at(data.address(), data.is_tls());
        let data = data.on(Arc::clone(&workers));
        let draining = Arc::new(AtomicBool::new(false));
        let admin = admin.map(|(listener, hosts, exporting)| {
            let (gateway, draining) = (gateway.clone(), draining.clone());
            let service = Admin::new(
                move || snapshot((&gateway, &state, &exporting), draining.load(Ordering::Acquire)),
                hosts,
            );
            let (stopper, stop) = Stopper::new();
            let address = listener.address();
            let answer = move |_, request| std::future::ready(service.answer(&request));
            Plane { address, stopper, serving: tokio::spawn(listener.serve(admin_bounds(), stop, answer)) }
        });

        let (stopper, stop) = Stopper::new();
        let address = data.address();
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
        Ok(Self { gateway, data: Plane { address, stopper, serving }, admin, draining, workers })
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.data.address
    }

    /// Where health and metrics are served.
    pub(crate) fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// Stops: nothing new is accepted, what is under way may finish within `grace`, then servers are ended. `hurry`
    /// cuts the waiting short. The admin listener answers until the end, so that whoever balances the load sees why.
    pub(crate) async fn drain(self, cause: &'static str, grace: Duration, hurry: impl Future<Output = ()>) {
        let Self { gateway, data, admin, draining, workers } = self;
        DrainStarted { cause, grace }.emit();
        let deadline = Instant::now() + grace;
        draining.store(true, Ordering::Release);
        gateway.begin_drain();
        data.stopper.stop();
        let mut serving = data.serving;
        let orderly = async {
            let is_complete = timeout_at(deadline, &mut serving).await.is_ok();
            data.stopper.over();
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
        if let Some(admin) = admin {
            admin.stopper.over();
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
            let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
            let since = Timestamp::from_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
            ServerReach::Down { code: code.row().name, reason, since }
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
    }
}
