//! `tollgate connect`: a client that can only start a process, bridged to an endpoint over HTTP.
//!
//! Messages pass as they are. The bridge reads only what HTTP must be told besides: the revision, the session, and for
//! 2026-07-28 the method, the name and the arguments that a tool wants repeated.

mod bridge;
mod http;
mod mirror;
mod reply;
mod session;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tollgate_mcp::{Limits, Line, LineDecoder, Message};

use crate::cli::Connect;
use crate::exit::Failure;
use crate::signals::Signals;
use bridge::Bridge;
use http::HttpClient;

/// The largest message in either direction, in bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Messages that wait to be written to standard output.
const OUT_QUEUE_MAX: usize = 64;
const READ_BYTES: usize = 64 * 1024;
/// How long requests under way may take after the client closed its end.
const LINGER: Duration = Duration::from_secs(30);
/// How long the end of the session may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Bridges until standard input ends, or a signal.
pub(crate) async fn run(command: Connect) -> Result<(), Failure> {
    let http = HttpClient::new(&command.url, &command.remote)?;
    let mut signals = Signals::new()?;
    let (out, lines) = mpsc::channel(OUT_QUEUE_MAX);
    let writer = tokio::spawn(write(lines));
    let bridge = Arc::new(Bridge::new(command.url, http, out));

    tokio::select! {
        () = read(&bridge) => {
            tokio::select! {
                () = bridge.finish(LINGER) => {}
                _ = signals.stop() => {}
            }
        }
        _ = signals.stop() => {}
    }
    // Whoever is gone takes nothing more; the gateway may forget the session.
    drop(tokio::time::timeout(GOODBYE, bridge.goodbye()).await);
    drop(bridge);
    drop(tokio::time::timeout(GOODBYE, writer).await);
    Ok(())
}

/// Takes lines from standard input to its end.
async fn read(bridge: &Arc<Bridge>) {
    let limits = Limits { bytes_max: MESSAGE_BYTES_MAX, ..Limits::default() };
    let mut lines = LineDecoder::new(MESSAGE_BYTES_MAX);
    let mut stdin = tokio::io::stdin();
    let mut chunk = BytesMut::new();
    loop {
        chunk.reserve(READ_BYTES);
        let is_end = stdin.read_buf(&mut chunk).await.map_or(true, |length| length == 0);
        lines.push(chunk.split().freeze());
        for line in lines.by_ref() {
            take(bridge, line, &limits).await;
        }
        if is_end {
            if let Some(line) = lines.finish() {
                take(bridge, line, &limits).await;
            }
            return;
        }
    }
}

async fn take(bridge: &Arc<Bridge>, line: Line, limits: &Limits) {
    match line {
        Line::Message(bytes) => match Message::parse(bytes, limits) {
            Ok(message) => bridge.take(message).await,
            Err(error) => {
                let code =
                    if error.fault.is_parse_error() { reply::PARSE_ERROR } else { reply::INVALID_REQUEST };
                bridge.answer(reply::error(error.id.as_ref(), code, &error.to_string())).await;
            }
        },
        Line::Oversize { id, .. } => {
            let text = format!("the message has more than {MESSAGE_BYTES_MAX} bytes");
            bridge.answer(reply::error(id.as_ref(), reply::INVALID_REQUEST, &text)).await;
        }
    }
}

/// The one writer of standard output.
async fn write(mut lines: mpsc::Receiver<Bytes>) {
    let mut stdout = tokio::io::stdout();
    while let Some(line) = lines.recv().await {
        if stdout.write_all(&line).await.is_err() || stdout.flush().await.is_err() {
            return;
        }
    }
}
