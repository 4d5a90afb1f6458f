//! What a child writes to its standard error goes to the log, within bounds.

use std::sync::Arc;

use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStderr as Pipe;
use tokio::time::Instant;
use tollgate_telemetry::events::ChildStderr;

use crate::shared::Shared;

/// How much is read at once.
const READ_BYTES: usize = 4096;
/// The burst is this many times the rate.
const BURST_SECONDS: f64 = 10.0;

/// Logs lines until the pipe is closed.
pub(super) async fn log(mut stderr: Pipe, shared: Arc<Shared>, process: i32) {
    let limits = &shared.settings.limits;
    let line_bytes_max = limits.stderr_line_bytes_max;
    let mut allowance = Allowance::new(f64::from(limits.stderr_lines_per_s));
    let mut buffer = vec![0; READ_BYTES];
    let mut line = Vec::new();
    let mut cut = false;
    loop {
        let read = match stderr.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        for part in buffer[..read].split_inclusive(|byte| *byte == b'\n') {
            let (text, complete) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            let room = line_bytes_max - line.len();
            cut |= text.len() > room;
            line.extend_from_slice(&text[..text.len().min(room)]);
            if complete {
                emit(&shared, process, &line, cut, &mut allowance);
                line.clear();
                cut = false;
            }
        }
    }
    if !line.is_empty() {
        emit(&shared, process, &line, cut, &mut allowance);
    }
}

fn emit(shared: &Shared, process: i32, line: &[u8], cut: bool, allowance: &mut Allowance) {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    if text.is_empty() {
        return;
    }
    if !allowance.take() {
        shared.counters.stderr_lines_dropped.add();
        return;
    }
    ChildStderr { server: &shared.id, process, line: text, cut }.emit();
}

/// A token bucket.
struct Allowance {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    fn new(per_second: f64) -> Self {
        Self { per_second, left: per_second * BURST_SECONDS, at: Instant::now() }
    }

    fn take(&mut self) -> bool {
        let now = Instant::now();
        let gained = now.duration_since(self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + gained).min(self.per_second * BURST_SECONDS);
        self.at = now;
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }
}
