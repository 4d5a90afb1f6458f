//! How long it takes until a gateway answers that has just been started: fifty servers, ten of which never say a word.

use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Instant;

use hdrhistogram::Histogram;
use tokio::runtime::Runtime;
use tollgate_testkit::counter::Counter;
use tollgate_testkit::fake::{Ask, Call, HttpPeer};

use crate::Result;
use crate::client;
use crate::deciding::{Line, nanos};
use crate::load::excerpt;
use crate::targets::Gateway;

const SERVERS: usize = 50;
/// Every fifth takes connections and never answers.
const SILENT_EACH: usize = 5;
/// What it may take from the start of the process on.
const AIM_US: f64 = 200_000.0;

/// Starts the gateway again and again.
pub(crate) fn measure(binary: &Path, is_quick: bool) -> Result<Vec<Line>> {
    let starts = if is_quick { 3 } else { 20 };
    let runtime = Runtime::new()?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let counter = runtime.block_on(Counter::start());
    let mut servers = String::new();
    for at in 0..SERVERS {
        let address = if at.is_multiple_of(SILENT_EACH) { silent.local_addr()? } else { counter.addr() };
        let _ = writeln!(servers, "  s{at:02}:\n    url: http://{address}/mcp/{at:02}\n    transport: http");
    }
    let mut seen = [(); 3].map(|()| Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3));
    for _ in 0..starts {
        let began = Instant::now();
        let gateway = Gateway::start_alone(binary, &servers)?;
        for (asked, times) in [Asked::Health, Asked::Discover, Asked::Initialize].into_iter().zip(&mut seen) {
            asked.of(&gateway)?;
            if let Ok(times) = times {
                times.record(nanos(began.elapsed()))?;
            }
        }
    }
    let [health, discover, initialize] = seen;
    Ok(vec![
        Line::of("until `/healthz` answers", &health?, AIM_US),
        Line::of("until `server/discover` is answered, after that", &discover?, AIM_US),
        Line::of("until `initialize` is answered, after that", &initialize?, AIM_US),
    ])
}

/// The lines as a table.
pub(crate) fn table(text: &mut String, lines: &[Line]) {
    let _ = write!(
        text,
        "\n## Start\n\nFrom the start of the process, with {SERVERS} servers behind one endpoint of which {} take connections and \
         never answer. One client asks one after the other.\n\n| | p50 ms | p99 ms |\n|---|--:|--:|\n",
        SERVERS / SILENT_EACH
    );
    for line in lines {
        let _ = writeln!(text, "| {} | {:.0} | {:.0} |", line.what, line.p50_us / 1e3, line.p99_us / 1e3);
    }
}

enum Asked {
    Health,
    Discover,
    Initialize,
}

impl Asked {
    fn of(&self, gateway: &Gateway) -> Result<()> {
        let (address, admin) = (gateway.address(), gateway.admin());
        match self {
            Self::Health => answered(admin, &Ask::new("GET", "/healthz")),
            Self::Discover => {
                let peer = HttpPeer::modern(address, "/mcp");
                answered(address, &peer.ask("1", &Call::new("server/discover", "")))
            }
            Self::Initialize => client::initialize(&mut client::connect(address)?, address, "/mcp").map(drop),
        }
    }
}

fn answered(address: SocketAddr, ask: &Ask) -> Result<()> {
    let request = [ask.head(address), ask.body.clone()].concat();
    let answer = client::exchange(&mut client::connect(address)?, &request)?;
    if answer.status != 200 {
        return Err(format!("{}: status {}, {}", ask.target, answer.status, excerpt(&answer.body)).into());
    }
    Ok(())
}
