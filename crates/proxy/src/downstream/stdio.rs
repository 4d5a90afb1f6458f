//! A gateway that is itself a process with one client on its standard streams.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tollgate_mcp::{Line, LineDecoder, encode_line, peek_id};
use tollgate_model::{Code, Era, Refusal, SessionId, Stage};

use super::connection::Connection;
use super::intake::NotTaken;
use crate::gateway::Gateway;
use crate::refuse;
use crate::shares::Room;
use crate::stages::record::Early;
use crate::stages::{Identified, identify};

/// How many bytes are read at once.
const READ_BYTES: usize = 16 * 1024;
/// How long requests under way may still take when the client has closed its end.
const FAREWELL: Duration = Duration::from_secs(5);

/// The streams to the client broke.
#[derive(Debug, thiserror::Error)]
#[error("the standard streams broke: {0}")]
pub struct StdioError(#[from] std::io::Error);

/// Serves one client on a pair of streams, line by line, in either era, until it closes its end.
pub async fn serve_stdio(
    gateway: Gateway,
    mut input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin + Send + 'static,
) -> Result<(), StdioError> {
    let settings = gateway.snapshot().settings.clone();
    let id = gateway.sealer().random_id().unwrap_or_else(|_| "stdio".to_owned());
    gateway.serves_stdio();
    let (who, queue_max) = (identify::local(&gateway, None), settings.stream_queue_max);
    let connection = Arc::new(Connection::new(SessionId::new(&id), &who, None, queue_max, true));
    // One client, one connection: there is always room, and being known lets a drain find it.
    let _ = gateway.connections().add(Arc::clone(&connection), Room::UNBOUNDED);
    let mut writer = tokio::spawn(write(Arc::clone(&connection), output));
    let mut decoder = LineDecoder::new(settings.body_bytes_max);
    let mut chunk = BytesMut::new();
    loop {
        chunk.reserve(READ_BYTES);
        let read = tokio::select! {
            read = input.read_buf(&mut chunk) => read?,
            // Nobody reads what is answered: the client has gone, or the gateway is stopping.
            _ = &mut writer => break,
        };
        if read == 0 {
            break;
        }
        decoder.push(chunk.split().freeze());
        for line in decoder.by_ref() {
            take(&gateway, &connection, &who, line).await;
        }
    }
    if let Some(line) = decoder.finish() {
        take(&gateway, &connection, &who, line).await;
    }
    connection.close_when_idle();
    if !writer.is_finished() {
        // Too slow an end is cut off.
        let _ = tokio::time::timeout(FAREWELL, &mut writer).await;
    }
    connection.close(&gateway);
    Ok(())
}

async fn take(gateway: &Gateway, connection: &Arc<Connection>, who: &Identified, line: Line) {
    let taken = match line {
        Line::Message(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => Ok(()),
        Line::Message(bytes) => connection.receive(gateway, who, bytes).await,
        Line::Oversize { head, .. } => {
            let refusal =
                Refusal::new(Stage::Transport, Code::BodyTooLarge, "the message is larger than allowed");
            Err(NotTaken::new(refusal, peek_id(&head)))
        }
    };
    if let Err(NotTaken { refusal, id }) = taken {
        // On one connection the eras share, an error without an id is told as JSON-RPC has it: with a null one.
        let early = Early::known(who, Era::Legacy);
        connection.reply(gateway, refuse::early(gateway, &refusal, early, id.as_ref()).await);
    }
}

async fn write(connection: Arc<Connection>, mut output: impl AsyncWrite + Unpin) -> std::io::Result<()> {
    while let Some(message) = poll_fn(|cx| connection.outbox().poll_next(cx)).await {
        for piece in encode_line(&message) {
            output.write_all(&piece).await?;
        }
        output.flush().await?;
    }
    Ok(())
}
