//! The task that owns one child: it alone reads and writes the child's pipes, and it ends the child.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::IoSlice;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_mcp::{Line, LineDecoder, Message, Segments, encode_line};
use tollgate_model::Era;

use super::process::{Pipes, Process};
use super::stderr;
use crate::appetite::Appetite;
use crate::conversation::{Command, Conversation, Outlet};
use crate::event::Source;
use crate::hello;
use crate::mux::{Action, Mux, STUCK};
use crate::shared::{ASKED_MAX, Shared};
use crate::{StdioSettings, UpstreamError};

/// How much room is made for each read: a pipe's own size on Linux.
const READ_BYTES: usize = 64 << 10;
/// Pieces of messages that may wait for the pipe before no further command is taken.
const OUTBOX_PIECES_MAX: usize = 64;
/// How many pieces are handed to one write.
const WRITE_PIECES_MAX: usize = 16;

/// Starts a child and its task. The conversation ends when the child does.
pub(crate) fn start(
    shared: &Arc<Shared>,
    settings: &StdioSettings,
    source: Source,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Result<Conversation, UpstreamError> {
    let (process, pipes) = Process::spawn(settings)?;
    let (commands, inbox) = mpsc::channel(shared.settings.limits.send_queue_max);
    tracing::info!(server = %shared.id.label(), process = process.id(), "the server's process is started");
    let strays = Arc::default();
    let owner = Owner {
        mux: Mux::new(Arc::clone(shared), source.scope(), Arc::clone(&strays)),
        shared: Arc::clone(shared),
        source,
        inbox,
        commands: commands.downgrade(),
        outbox: VecDeque::new(),
        era: None,
        asked: Arc::new(Semaphore::new(ASKED_MAX)),
        over: stop.child_token(),
        stop: stop.clone(),
    };
    tasks.spawn(owner.run(process, pipes));
    Ok(Conversation { shared: Arc::clone(shared), commands, outlet: Outlet::Pipe, stop, strays })
}

struct Owner {
    shared: Arc<Shared>,
    mux: Mux,
    source: Source,
    inbox: mpsc::Receiver<Command>,
    /// The way into the inbox, for what comes later. Weak: the conversation ends with its last handle.
    commands: mpsc::WeakSender<Command>,
    outbox: VecDeque<Bytes>,
    era: Option<Era>,
    stop: CancellationToken,
    /// Places for what the child asks beside all calls.
    asked: Arc<Semaphore>,
    /// Cancelled when the child has ended, whoever ended it: nobody waits for answers then.
    over: CancellationToken,
}

/// Why the conversation ended.
enum End {
    Wanted,
    Closed(String),
}

impl Owner {
    async fn run(mut self, process: Process, pipes: Pipes) {
        let id = process.id();
        let mut log = tokio::spawn(stderr::log(pipes.stderr, Arc::clone(&self.shared), id));
        let end = self.converse(pipes.stdin, pipes.stdout).await;
        // Both pipes are closed now. Whoever waits hears of it before the child is waited for.
        self.inbox.close();
        self.over.cancel();
        let detail = match &end {
            End::Wanted => "the server was stopped",
            End::Closed(detail) => detail,
        };
        self.mux.fail_all(&UpstreamError::closed(detail));
        while let Ok(command) = self.inbox.try_recv() {
            if let Command::Call { sender, .. } | Command::Subscribe { sender, .. } = command {
                let _ =
                    sender.try_send(Err(UpstreamError::stale("the server ended before the request left")));
            }
        }
        let status = process.end(self.shared.settings.timeouts.stop).await;
        let status = status.map_or_else(|| "unknown".to_owned(), |status| status.to_string());
        match end {
            End::Wanted => {
                tracing::info!(server = %self.shared.id.label(), process = id, status, "the server's process is stopped");
            }
            End::Closed(why) => {
                tracing::warn!(server = %self.shared.id.label(), process = id, status, why, "the server's process ended");
            }
        }
        // A process that escaped may still hold the pipe; its words are of no interest any more.
        if tokio::time::timeout(std::time::Duration::from_millis(200), &mut log).await.is_err() {
            log.abort();
        }
    }

    async fn converse(&mut self, mut stdin: ChildStdin, mut stdout: ChildStdout) -> End {
        let mut lines = LineDecoder::new(self.shared.settings.limits.message_bytes_max);
        let mut buffer = BytesMut::new();
        let mut appetite = Appetite::new(&self.shared.greed, Instant::now());
        loop {
            buffer.reserve(READ_BYTES);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return End::Wanted,
                command = self.inbox.recv(), if self.outbox.len() < OUTBOX_PIECES_MAX => match command {
                    Some(command) => {
                        if self.obey(command).is_break() {
                            return End::Closed(STUCK.to_owned());
                        }
                    }
                    None => return End::Wanted,
                },
                written = write(&mut stdin, &self.outbox), if !self.outbox.is_empty() => match written {
                    Ok(written) => advance(&mut self.outbox, written),
                    Err(error) => return End::Closed(format!("its standard input: {error}")),
                },
                read = fill(&mut buffer, &mut stdout, &mut appetite) => match read {
                    Ok(0) => {
                        if let Some(line) = lines.finish() {
                            self.line(line);
                        }
                        return End::Closed("it closed its standard output".to_owned());
                    }
                    Ok(_) => {
                        lines.push(buffer.split().freeze());
                        let mut completed = false;
                        for line in lines.by_ref() {
                            completed = true;
                            self.line(line);
                        }
                        self.mux.has_read(lines.has_partial(), completed);
                    }
                    Err(error) => return End::Closed(format!("its standard output: {error}")),
                },
            }
        }
    }

    /// Carries a command out. Breaks when a caller has given up and the stream is stuck.
    fn obey(&mut self, command: Command) -> ControlFlow<()> {
        match command {
            Command::Call { id, sender, body, whose } => {
                if self.mux.enter(id, sender, whose)
                    && let Some(body) = body
                {
                    self.post(&body);
                }
            }
            Command::Subscribe { id, sender, body } => {
                self.mux.subscribe(id, sender);
                self.post(&body);
            }
            Command::Send(body) => self.post(&body),
            Command::Leave { id, tell } => {
                if self.mux.leave(id) && tell {
                    self.post(&hello::cancelled(id));
                }
                if tell && self.mux.is_stuck() {
                    return ControlFlow::Break(());
                }
            }
            Command::Settled(revision, audience) => {
                self.era = Some(revision.era());
                self.source.audience = audience;
            }
        }
        ControlFlow::Continue(())
    }

    fn line(&mut self, line: Line) {
        match line {
            Line::Message(bytes) => match self.mux.receive(bytes, self.era) {
                Action::Nothing => {}
                Action::Answer(body) => self.post(&body),
                Action::Ask(request) => self.ask(*request),
                Action::Event(kind) => self.shared.event(kind, &self.source),
            },
            Line::Oversize { id, .. } => self.mux.oversize(id.as_deref()),
        }
    }

    /// Asks whom a request concerns that belongs to no call. The answer comes as a command, like anyone's message.
    fn ask(&mut self, request: Message) {
        let Some(place) = self.shared.to_ask(&self.asked) else {
            return self.post(&hello::too_many(&request.id_raw().unwrap_or_default()));
        };
        let commands = self.commands.clone();
        let answer = self.shared.ask(request, &self.source);
        tokio::spawn(self.over.clone().run_until_cancelled_owned(async move {
            if let Some(answer) = answer.await
                && let Some(commands) = commands.upgrade()
            {
                // The child may have ended meanwhile.
                let _ = commands.send(Command::Send(answer)).await;
            }
            drop(place);
        }));
    }

    fn post(&mut self, body: &Segments) {
        // Answers to a server that asks without reading would grow without bound.
        if self.outbox.len() >= 4 * OUTBOX_PIECES_MAX {
            self.shared.counters.messages_dropped.add();
            return;
        }
        self.outbox.extend(encode_line(body).into_iter().filter(|piece| !piece.is_empty()));
    }
}

/// Reads what is there, in turns with everybody else: a child may say more than can be read. Dropping the future loses nothing.
async fn fill(
    buffer: &mut BytesMut,
    stdout: &mut ChildStdout,
    appetite: &mut Appetite,
) -> std::io::Result<usize> {
    appetite.pause().await;
    let mut reading = pin!(stdout.read_buf(buffer));
    let read = poll_fn(|cx| {
        let polled = reading.as_mut().poll(cx);
        if polled.is_pending() {
            appetite.waits_between();
        }
        polled
    })
    .await?;
    appetite.took(read);
    Ok(read)
}

/// Writes as much as the pipe takes. Dropping the future writes nothing or says so in no other way: a write is one
/// system call.
async fn write(stdin: &mut ChildStdin, outbox: &VecDeque<Bytes>) -> std::io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); WRITE_PIECES_MAX];
    let mut used = 0;
    for (slice, piece) in slices.iter_mut().zip(outbox) {
        *slice = IoSlice::new(piece);
        used += 1;
    }
    stdin.write_vectored(&slices[..used]).await
}

fn advance(outbox: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(piece) = outbox.front_mut() {
        if piece.len() > written {
            piece.advance(written);
            return;
        }
        written -= piece.len();
        outbox.pop_front();
    }
}
