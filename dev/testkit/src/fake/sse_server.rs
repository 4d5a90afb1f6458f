//! The server side of HTTP+SSE (2024-11-05): one stream for all answers, and posts that get 202.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::act::{Step, gathered, relayed};
use super::json;
use super::log::{Entry, Received};
use super::server::{Shared, event, plain, status_act};
use super::wire::{Reader, Writer};

/// Serves `GET /sse`.
pub(super) async fn stream(
    shared: &Arc<Shared>,
    received: &Received,
    reader: &mut Reader,
    writer: &mut Writer,
) -> io::Result<bool> {
    let session = shared.new_session();
    let (sender, mut work) = mpsc::channel(64);
    shared.streams.lock().unwrap().insert(session.clone(), sender);
    let mut pushes = shared.pushes.subscribe();
    writer
        .all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        .await?;
    writer.chunk(format!("event: endpoint\ndata: /messages?session={session}\n\n").as_bytes()).await?;
    let goes_on = loop {
        tokio::select! {
            () = reader.gone() => break false,
            pushed = pushes.recv() => match pushed {
                Ok(message) => writer.chunk(&event(message.as_bytes())).await?,
                Err(_) => break false,
            },
            Some(steps) = work.recv() => {
                if !perform(&steps, reader, writer).await? {
                    break false;
                }
            }
        }
    };
    shared.streams.lock().unwrap().remove(&session);
    shared.sessions.lock().unwrap().remove(&session);
    shared.log.note(Entry::StreamClosed { seq: received.seq });
    Ok(goes_on)
}

/// Performs what one post asked for; says whether the stream goes on.
async fn perform(steps: &[Step], reader: &mut Reader, writer: &mut Writer) -> io::Result<bool> {
    for step in steps {
        match step {
            Step::Message(message) => writer.chunk(&event(message)).await?,
            Step::Half(message) => {
                let framed = event(message);
                writer.chunk(&framed[..framed.len() / 2]).await?;
            }
            Step::HalfEvent(message) => {
                let framed = event(message);
                writer.chunk(&framed[..framed.len() / 2]).await?;
                writer.last_chunk().await?;
                return Ok(false);
            }
            Step::Flood { head, bytes, tail } => {
                writer.chunk(format!("event: message\ndata: {head}").as_bytes()).await?;
                for _ in 0..(bytes >> 20) {
                    writer.chunk(&vec![b'x'; 1 << 20]).await?;
                }
                writer.chunk(format!("{tail}\n\n").as_bytes()).await?;
            }
            Step::Drip(message) => {
                writer.chunk(b"data: ").await?;
                writer.chunk(message).await?;
                loop {
                    tokio::select! {
                        () = reader.gone() => return Ok(false),
                        () = tokio::time::sleep(Duration::from_millis(20)) => writer.chunk(b" ").await?,
                    }
                }
            }
            // The stream serves other requests too: whoever does not answer just leaves it alone. Gates are waited for in `post`.
            Step::Hang | Step::Gate | Step::Relay { .. } | Step::Await(_) | Step::Gather { .. } => {}
            Step::Die => return Ok(false),
        }
    }
    Ok(true)
}

/// Serves `POST /messages?session=…`.
pub(super) async fn post(shared: &Arc<Shared>, received: &Received, writer: &mut Writer) -> io::Result<bool> {
    let session = received.target.split_once("session=").map(|(_, id)| id.to_owned()).unwrap_or_default();
    let Some(stream) = shared.streams.lock().unwrap().get(&session).cloned() else {
        return plain(writer, 404, &[], "").await;
    };
    let message = received.text().to_owned();
    shared.heard.take(&session, &message);
    let asks = !received.rpc_method().is_empty() && json::find(&message, &["id"]).is_some();
    if asks {
        let (act, steps) = shared.perform(&message, Some(&session));
        if let Some(done) = status_act(writer, &act).await? {
            return Ok(done);
        }
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let mut part = Vec::new();
            for step in steps {
                match step {
                    Step::Gate => {
                        let _ = stream.send(std::mem::take(&mut part)).await;
                        shared.gate.acquire().await.expect("never closed").forget();
                    }
                    Step::Relay { own, id } => {
                        let _ = stream.send(std::mem::take(&mut part)).await;
                        part.push(Step::Message(relayed(&id, &shared.heard.response(&session, &own).await)));
                    }
                    Step::Await(owns) => {
                        let _ = stream.send(std::mem::take(&mut part)).await;
                        shared.heard.responses(&session, &owns).await;
                    }
                    Step::Gather { owns, id } => {
                        let responses = shared.heard.responses(&session, &owns).await;
                        part.push(Step::Message(gathered(&id, &responses)));
                    }
                    other => part.push(other),
                }
            }
            let _ = stream.send(part).await;
        });
    }
    plain(writer, 202, &[], "").await
}
