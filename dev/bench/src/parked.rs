//! What a call costs that waits for its client: a legacy server has asked the user of a modern client, and the client
//! has not come back yet.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;
use crate::client;
use crate::load::excerpt;
use crate::process::resident_kib;
use crate::targets::Site;

/// Calls that are parked first and not counted: they meet what is only ever allocated once.
const UNCOUNTED: usize = 16;
/// Wait before memory is read, so that what the last request needed is given back.
const SETTLE: Duration = Duration::from_millis(500);

/// Memory of the gateway with and without parked calls, and how long they took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Parked {
    pub(crate) calls: usize,
    pub(crate) before_kib: f64,
    pub(crate) with_kib: f64,
    /// From the first call to the last that was parked.
    pub(crate) parking_ms: f64,
    /// From the first answer to the last call's end.
    pub(crate) ending_ms: f64,
}

impl Parked {
    pub(crate) fn kib_per_call(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "calls are few")]
        let calls = self.calls as f64;
        (self.with_kib - self.before_kib) / calls
    }
}

/// A call that waits.
struct Waiting {
    key: String,
    state: String,
}

/// Parks `calls` at once at `site`, then answers them all; every one must end with what its server was told.
pub(crate) fn measure(site: &Site, calls: usize, stop: &AtomicBool) -> Result<Parked> {
    #[expect(clippy::cast_precision_loss, reason = "a machine has less than 2^52 KiB")]
    let resident = || {
        std::thread::sleep(SETTLE);
        resident_kib(&site.pids) as f64
    };
    // A parked call needs no connection of its client's: the client comes back on any.
    let mut stream = client::connect(site.address)?;
    let mut waiting = Vec::with_capacity(UNCOUNTED + calls);
    for at in 0..UNCOUNTED {
        waiting.push(park(&mut stream, site, at)?);
    }
    let before_kib = resident();
    let parking = Instant::now();
    for at in 0..calls {
        if stop.load(Ordering::Relaxed) {
            return Err("interrupted".into());
        }
        waiting.push(park(&mut stream, site, UNCOUNTED + at)?);
    }
    let parking_ms = parking.elapsed().as_secs_f64() * 1_000.0;
    let with_kib = resident();
    let ending = Instant::now();
    for (at, call) in waiting.into_iter().enumerate() {
        take_up(&mut stream, site, at, &call)?;
    }
    let ending_ms = ending.elapsed().as_secs_f64() * 1_000.0;
    Ok(Parked { calls, before_kib, with_kib, parking_ms, ending_ms })
}

fn park(stream: &mut TcpStream, site: &Site, at: usize) -> Result<Waiting> {
    let request = client::modern_call(site, at, "ask", r#""arguments":{}"#);
    let result = result(&client::exchange(stream, request.as_bytes())?.body)?;
    let key = result["inputRequests"].as_object().and_then(|asks| asks.keys().next().cloned());
    match (key, result["requestState"].as_str()) {
        (Some(key), Some(state)) => Ok(Waiting { key, state: state.to_owned() }),
        _ => Err(format!("not parked: {result}").into()),
    }
}

fn take_up(stream: &mut TcpStream, site: &Site, at: usize, Waiting { key, state }: &Waiting) -> Result<()> {
    let members = format!(
        r#""arguments":{{}},"requestState":"{state}","inputResponses":{{"{key}":{{"action":"accept","content":{{"word":"gate"}}}}}}"#
    );
    let request = client::modern_call(site, 100_000 + at, "ask", &members);
    let result = result(&client::exchange(stream, request.as_bytes())?.body)?;
    if result["content"][0]["text"] == "heard gate" {
        return Ok(());
    }
    Err(format!("not what the server was told: {result}").into())
}

fn result(body: &[u8]) -> Result<Value> {
    let message: Value =
        serde_json::from_slice(body).map_err(|error| format!("{error}: {}", excerpt(body)))?;
    match message.get("result") {
        Some(result) => Ok(result.clone()),
        None => Err(format!("no result: {message}").into()),
    }
}
