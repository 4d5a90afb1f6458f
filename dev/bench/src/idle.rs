//! What a legacy session costs while nothing happens: opened with `initialize`, then a GET stream held open.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::Result;
use crate::client;
use crate::process::resident_kib;
use crate::targets::Site;

/// Sessions that are opened first and not counted: they meet what is only ever allocated once.
const UNCOUNTED: usize = 32;
/// Wait before memory is read, so that what the last request needed is given back.
const SETTLE: Duration = Duration::from_millis(500);

/// Memory of a proxy with and without idle sessions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Idle {
    pub(crate) sessions: usize,
    pub(crate) before_kib: f64,
    pub(crate) with_kib: f64,
    /// After all of them were ended.
    pub(crate) after_kib: f64,
}

impl Idle {
    pub(crate) fn kib_per_session(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "sessions are few")]
        let sessions = self.sessions as f64;
        (self.with_kib - self.before_kib) / sessions
    }
}

/// Opens `sessions` at `site`, holds them and ends them.
pub(crate) fn measure(site: &Site, sessions: usize, stop: &AtomicBool) -> Result<Idle> {
    #[expect(clippy::cast_precision_loss, reason = "a machine has less than 2^52 KiB")]
    let resident = || {
        std::thread::sleep(SETTLE);
        resident_kib(&site.pids) as f64
    };
    let mut open = Vec::with_capacity(sessions + UNCOUNTED);
    for _ in 0..UNCOUNTED {
        open.push(hold(site)?);
    }
    let before_kib = resident();
    for _ in 0..sessions {
        if stop.load(Ordering::Relaxed) {
            return Err("interrupted".into());
        }
        open.push(hold(site)?);
    }
    let with_kib = resident();
    for (stream, session) in open.drain(..) {
        drop(stream);
        let mut stream = client::connect(site.address)?;
        let request = client::legacy_request("DELETE", site.address, site.path, session.as_deref(), "");
        client::exchange(&mut stream, request.as_bytes())?;
    }
    Ok(Idle { sessions, before_kib, with_kib, after_kib: resident() })
}

/// One session on one connection: `initialize`, `notifications/initialized`, then GET, whose stream stays open.
fn hold(site: &Site) -> Result<(TcpStream, Option<String>)> {
    let mut stream = client::connect(site.address)?;
    let session = client::initialize(&mut stream, site.address, site.path)?;
    let request = client::legacy_request("GET", site.address, site.path, session.as_deref(), "");
    match client::open_stream(&mut stream, request.as_bytes())? {
        200 => Ok((stream, session)),
        status => Err(format!("the GET stream: status {status}").into()),
    }
}
