//! A proxy between the gateway and a server that does to connections what networks and dying servers do: over real
//! sockets, by a seed, and as it is told while it runs.
//!
//! What happens is drawn anew for each exchange (the peer's bytes, then the server's answer), so that it also happens on
//! connections that are kept.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a peer of the tests fails loudly")]

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// What is done to one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// Each piece of the answer comes later, by up to this.
    Delay(Duration),
    /// Nothing passes any more, either way, and nobody is told.
    Hole,
    /// The connection is reset before the server has got anything.
    ResetBefore,
    /// The server gets everything; then the connection is reset, before the first byte of the answer.
    ResetAfter,
    /// The connection is reset in the midst of the answer.
    ResetWithin,
    /// The connection is closed in the midst of the answer, as if that were all.
    Truncate,
    /// Some bytes of the answer are others.
    Corrupt,
    /// So many bytes of the answer pass a second.
    Throttle(usize),
    /// In place of the server: events without end.
    SpewEvents,
    /// In place of the server: one JSON body without end.
    SpewBytes,
    /// In place of the server: headers without end.
    SpewHeaders,
}

/// What is done to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// The same to all exchanges.
    All(Fault),
    /// To each what is drawn, each as often as its weight says.
    Mix(Vec<(u32, Fault)>),
    /// Every connection is reset, also those that are open.
    Dead,
}

impl Plan {
    /// A network on which three of five exchanges go well, and the others in every other way.
    pub fn faulty() -> Self {
        Self::Mix(vec![
            (60, Fault::Pass),
            (10, Fault::Delay(Duration::from_millis(3))),
            (6, Fault::ResetBefore),
            (6, Fault::ResetAfter),
            (6, Fault::ResetWithin),
            (6, Fault::Truncate),
            (3, Fault::Corrupt),
            (2, Fault::Hole),
            (1, Fault::SpewBytes),
        ])
    }

    fn draw(&self, dice: &mut Dice) -> Fault {
        match self {
            Self::All(fault) => *fault,
            Self::Mix(faults) => {
                let all: u32 = faults.iter().map(|(weight, _)| weight).sum();
                let mut drawn = dice.below(u64::from(all));
                for (weight, fault) in faults {
                    match drawn.checked_sub(u64::from(*weight)) {
                        Some(rest) => drawn = rest,
                        None => return *fault,
                    }
                }
                Fault::Pass
            }
            Self::Dead => Fault::ResetBefore,
        }
    }
}

struct Shared {
    target: SocketAddr,
    seed: u64,
    plan: watch::Sender<Plan>,
    done: Mutex<BTreeMap<Fault, u64>>,
    connections: AtomicU64,
    spewed: AtomicU64,
}

/// The proxy. It ends with all its connections when it is dropped.
pub struct Chaos {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accept: JoinHandle<()>,
}

/// Makes the proxy die and come back until this is dropped.
#[derive(Debug)]
pub struct Flapping(JoinHandle<()>);

impl Drop for Flapping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

impl Chaos {
    /// A proxy on a free port that passes everything on to a server. The same seed draws the same for the same connection.
    pub async fn start(target: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has free ports");
        let addr = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            target,
            seed,
            plan: watch::Sender::new(Plan::All(Fault::Pass)),
            done: Mutex::default(),
            connections: AtomicU64::new(0),
            spewed: AtomicU64::new(0),
        });
        let accept = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { addr, shared, accept }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The Streamable HTTP endpoint of the server behind it.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.addr)
    }

    /// From now on this is done, from the next exchange on; a hole and death concern what is under way too.
    pub fn set(&self, plan: Plan) {
        self.shared.plan.send_replace(plan);
    }

    /// Dies and comes back by turns until the result is dropped, and then stays as it is.
    pub fn flap(&self, up: Duration, down: Duration) -> Flapping {
        let shared = Arc::clone(&self.shared);
        Flapping(tokio::spawn(async move {
            loop {
                shared.plan.send_replace(Plan::Dead);
                sleep(down).await;
                shared.plan.send_replace(Plan::All(Fault::Pass));
                sleep(up).await;
            }
        }))
    }

    /// How often each was done.
    pub fn done(&self) -> BTreeMap<Fault, u64> {
        self.shared.done.lock().unwrap().clone()
    }

    /// How many bytes were spewed, as far as they were taken: read, or in the buffers of the two sockets.
    pub fn spewed(&self) -> u64 {
        self.shared.spewed.load(Ordering::Relaxed)
    }

    /// How many connections there were.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                let number = shared.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(carry(client, Arc::clone(&shared), number));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The peer finds the connection reset.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

async fn carry(mut client: TcpStream, shared: Arc<Shared>, number: u64) {
    let mut dice = Dice::new(shared.seed ^ (number + 1));
    let mut plan = shared.plan.subscribe();
    if *plan.borrow_and_update() == Plan::Dead {
        reset(&client);
        return;
    }
    let Ok(mut server) = TcpStream::connect(shared.target).await else {
        reset(&client);
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut asked, mut answer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut exchange: Option<Exchange> = None;
    loop {
        tokio::select! {
            changed = plan.changed() => {
                if changed.is_err() { return }
                match &*plan.borrow_and_update() {
                    Plan::Dead => { reset(&client); reset(&server); return }
                    Plan::All(Fault::Hole) => exchange = Some(Exchange { fault: Fault::Hole, passed: 0, cut: 0 }),
                    _ => {}
                }
            }
            read = client.read(&mut asked) => {
                let Ok(bytes @ 1..) = read else { return };
                let now = match &mut exchange {
                    Some(now) if now.passed == 0 || now.fault == Fault::Hole => now,
                    // The last one was answered.
                    now => {
                        let fault = plan.borrow().draw(&mut dice);
                        *shared.done.lock().unwrap().entry(fault).or_default() += 1;
                        let cut = usize::try_from(dice.below(150)).unwrap_or_default();
                        now.insert(Exchange { fault, passed: 0, cut })
                    }
                };
                match now.fault {
                    Fault::Hole => continue,
                    Fault::ResetBefore => { reset(&client); return }
                    Fault::SpewEvents | Fault::SpewBytes | Fault::SpewHeaders => {
                        let _ = spew(&mut client, now.fault, &shared.spewed).await;
                        return;
                    }
                    _ => {}
                }
                if server.write_all(&asked[..bytes]).await.is_err() { return }
            }
            read = server.read(&mut answer) => {
                let Ok(bytes @ 1..) = read else { return };
                let Some(now) = &mut exchange else { return };
                match pass(&mut client, now, &mut answer[..bytes], &mut dice).await {
                    Ok(true) => {}
                    _ => return,
                }
            }
        }
    }
}

/// One exchange on a connection.
struct Exchange {
    fault: Fault,
    /// How many bytes of the answer have passed.
    passed: usize,
    /// After how many the answer is cut.
    cut: usize,
}

/// Passes a piece of the answer on. Whether the connection goes on.
async fn pass(
    client: &mut TcpStream,
    now: &mut Exchange,
    piece: &mut [u8],
    dice: &mut Dice,
) -> io::Result<bool> {
    let passed = now.passed;
    now.passed += piece.len();
    match now.fault {
        Fault::Delay(most) => {
            let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
            sleep(Duration::from_micros(dice.below(most.max(1)))).await;
        }
        Fault::Hole => return Ok(true),
        Fault::ResetAfter => {
            reset(client);
            return Ok(false);
        }
        Fault::ResetWithin | Fault::Truncate if now.passed > now.cut => {
            let rest = now.cut.saturating_sub(passed).min(piece.len());
            client.write_all(&piece[..rest]).await?;
            if now.fault == Fault::ResetWithin {
                reset(client);
            } else {
                client.shutdown().await?;
            }
            return Ok(false);
        }
        Fault::Corrupt => {
            for _ in 0..4 {
                let at = usize::try_from(dice.below(piece.len() as u64)).unwrap_or_default();
                piece[at] ^= u8::try_from(1 + dice.below(254)).unwrap_or(1);
            }
        }
        Fault::Throttle(per_s) => {
            // Ten pieces a second.
            for part in piece.chunks((per_s / 10).max(1)) {
                client.write_all(part).await?;
                sleep(Duration::from_millis(100)).await;
            }
            return Ok(true);
        }
        _ => {}
    }
    client.write_all(piece).await?;
    Ok(true)
}

/// Writes as fast as it is read, until the peer has enough.
async fn spew(client: &mut TcpStream, fault: Fault, spewed: &AtomicU64) -> io::Result<()> {
    let (head, piece) = match fault {
        Fault::SpewEvents => (
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
            "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":\"spewed\"}}\n\n",
        ),
        Fault::SpewHeaders => {
            ("HTTP/1.1 200 OK\r\n", "x-spewed: and spewed, and spewed, and spewed again\r\n")
        }
        _ => (
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[",
            "{\"type\":\"text\",\"text\":\"spewed\"},",
        ),
    };
    client.write_all(head.as_bytes()).await?;
    let piece = piece.repeat(500);
    loop {
        client.write_all(piece.as_bytes()).await?;
        spewed.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
}

/// Pseudo-random numbers that can be had again from their seed (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter::Counter;
    use crate::fake::{Call, HttpPeer, Kept, soon};

    /// How long what never comes is waited for, and what comes however long the machine stands still meanwhile.
    const SHORT: Duration = Duration::from_millis(500);
    const LONG: Duration = Duration::from_secs(20);

    async fn asked(chaos: &Chaos, patience: Duration) -> io::Result<String> {
        let ask = HttpPeer::modern(chaos.addr(), "/mcp").ask("1", &Call::tool("add_7", "{}"));
        let mut kept = Kept::new(chaos.addr());
        let answer = tokio::time::timeout(patience, kept.send(&ask)).await;
        Ok(answer.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??.text())
    }

    #[tokio::test]
    async fn each_fault_is_what_it_says() {
        let counter = Counter::start().await;
        let chaos = Chaos::start(counter.addr(), 1).await;
        assert!(asked(&chaos, LONG).await.unwrap().contains("done"));
        let counted = async || counter.counts().get(&7).copied().unwrap_or(0);
        for (fault, reaches, error) in [
            (Fault::Hole, false, io::ErrorKind::TimedOut),
            (Fault::ResetBefore, false, io::ErrorKind::ConnectionReset),
            (Fault::ResetAfter, true, io::ErrorKind::ConnectionReset),
            (Fault::ResetWithin, true, io::ErrorKind::ConnectionReset),
            (Fault::SpewBytes, false, io::ErrorKind::TimedOut),
            (Fault::SpewEvents, false, io::ErrorKind::TimedOut),
            (Fault::SpewHeaders, false, io::ErrorKind::TimedOut),
        ] {
            let before = counted().await;
            chaos.set(Plan::All(fault));
            let patience = if error == io::ErrorKind::TimedOut { SHORT } else { LONG };
            let met = asked(&chaos, patience).await.expect_err("a fault");
            assert_eq!(met.kind(), error, "{fault:?}");
            assert_eq!(counted().await > before, reaches, "{fault:?}");
        }
        chaos.set(Plan::All(Fault::Truncate));
        assert!(asked(&chaos, SHORT).await.is_err(), "half an answer");
        chaos.set(Plan::All(Fault::Delay(Duration::from_millis(20))));
        assert!(asked(&chaos, LONG).await.unwrap().contains("done"));
        chaos.set(Plan::All(Fault::Throttle(10_000)));
        assert!(asked(&chaos, LONG).await.unwrap().contains("done"));
        chaos.set(Plan::All(Fault::Corrupt));
        assert!(asked(&chaos, SHORT).await.map_or(true, |text| !text.contains("\"text\":\"done\"}]}}")));
        assert!(chaos.done().len() >= 11, "{:?}", chaos.done());
    }

    #[tokio::test]
    async fn what_is_open_dies_too_and_comes_back() {
        let counter = Counter::start().await;
        let chaos = Chaos::start(counter.addr(), 1).await;
        let ask = HttpPeer::modern(chaos.addr(), "/mcp").ask("1", &Call::tool("add_7", "{}"));
        let mut kept = Kept::new(chaos.addr());
        kept.send(&ask).await.unwrap();
        assert!(kept.is_open());
        chaos.set(Plan::Dead);
        soon("the end of what is open", kept.closed()).await;
        assert!(asked(&chaos, SHORT).await.is_err());
        chaos.set(Plan::All(Fault::Pass));
        assert!(asked(&chaos, LONG).await.is_ok());
    }

    #[test]
    fn what_is_drawn_follows_weights_and_seed() {
        let plan = Plan::Mix(vec![(3, Fault::Pass), (1, Fault::Hole)]);
        let drawn = |seed| {
            let mut dice = Dice::new(seed);
            (0..4000).map(|_| plan.draw(&mut dice)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        let holes = drawn(7).iter().filter(|fault| **fault == Fault::Hole).count();
        assert!((800..1200).contains(&holes), "{holes}");
    }
}
