//! Handing over to a new process of the same program without refusing a connection: to one of a newer version, or with what
//! cannot be changed while it runs.
//!
//! The old process starts the new one with its own command line, and with a socket pair as standard input over which the
//! listening sockets go. Both accept from the moment at which the new one is ready; then the old one stops to. A new
//! process that does not become ready leaves the old one as it was.

use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::exit::Failure;
use crate::signals::Signals;
use crate::sockets;

/// Set for a process that follows another: its standard input is what it hears from that.
const FOLLOWS: &str = "TOLLGATE_FOLLOWS";
/// How long a new process may take to become ready.
const READY_MAX: Duration = Duration::from_mins(1);
/// How many sockets go over at most.
const SOCKETS_MAX: usize = 4;
/// The longest reason for not becoming ready, and the longest list of names, in bytes.
const TEXT_BYTES_MAX: usize = 4096;
/// What a process says that is ready. Anything else is why it is not.
const READY: &[u8] = b"ready\n";

/// Where this program lies, as it was called: after an upgrade, the new one lies there.
static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();

/// Where this program lies. Asked for early: of a file that was replaced, the system gives no usable path any more.
pub(crate) fn program() -> Option<PathBuf> {
    PROGRAM.get_or_init(|| std::env::current_exe().ok()).clone()
}

/// Listening sockets by name.
pub(crate) type Handed = Vec<(String, TcpListener)>;

/// A process that was followed, as the one that follows knows it.
#[derive(Debug)]
pub(crate) struct Predecessor(UnixStream);

impl Predecessor {
    /// The process that started this one to follow it, and its listening sockets; none if nobody did.
    ///
    /// # Errors
    /// What should be there is not.
    pub(crate) fn meet() -> Result<Option<(Self, Handed)>, Failure> {
        if std::env::var_os(FOLLOWS).is_none() {
            return Ok(None);
        }
        let met = || -> io::Result<_> {
            let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
            let sockets = receive(&stream)?;
            Ok((Self(stream), sockets))
        };
        met().map(Some).map_err(|error| {
            Failure::failed(format!(
                "the sockets of the process that is to be followed do not come over standard input: {error}\n  help: \
                 {FOLLOWS} is set by a gateway that hands over, and by nobody else"
            ))
        })
    }

    /// This process accepts connections.
    pub(crate) fn ready(self) {
        // If it is gone, it has nothing to hand over any more.
        _ = self.say(READY);
    }

    /// This process cannot serve.
    pub(crate) fn failed(self, failure: &Failure) {
        let why = failure.text.as_bytes();
        _ = self.say(why.get(..TEXT_BYTES_MAX).unwrap_or(why));
    }

    fn say(mut self, what: &[u8]) -> io::Result<()> {
        self.0.write_all(what)
    }
}

/// How handing over ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// This process serves; its number.
    Followed(u32),
    /// No process serves but this one, for this reason.
    Failed(String),
    /// Meanwhile this signal asked to stop.
    Stopped(&'static str),
}

/// Starts a new process that goes on with these sockets, and waits until it serves.
pub(crate) async fn hand_over(listening: &[(&'static str, &TcpListener)], signals: &mut Signals) -> Outcome {
    // Whoever watches over process 1 of a container takes its end for that of the container.
    if std::process::id() == 1 {
        return Outcome::Failed("this is process 1, whose end would be that of the container".to_owned());
    }
    let (mut child, stream) = match start(listening) {
        Ok(started) => started,
        Err(error) => return Outcome::Failed(format!("the new process does not start: {error}")),
    };
    let said = tokio::select! {
        said = timeout(READY_MAX, hear(stream)) => said.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, "it did not become ready in time"))
        }),
        signal = signals.stop() => {
            end(&mut child).await;
            return Outcome::Stopped(signal);
        }
    };
    match (said, child.id()) {
        (Ok(said), Some(id)) if said == READY => Outcome::Followed(id),
        (Ok(said), _) if !said.is_empty() => {
            end(&mut child).await;
            Outcome::Failed(String::from_utf8_lossy(&said).trim().to_owned())
        }
        (Ok(_), _) => {
            let ended = end(&mut child).await;
            Outcome::Failed(format!("the new process ended without a word{ended}"))
        }
        (Err(error), _) => {
            end(&mut child).await;
            Outcome::Failed(error.to_string())
        }
    }
}

fn start(listening: &[(&'static str, &TcpListener)]) -> io::Result<(Child, UnixStream)> {
    let program =
        program().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it cannot find itself"))?;
    let (ours, theirs) = UnixStream::pair()?;
    send(&ours, listening)?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(FOLLOWS, "1").stdin(Stdio::from(OwnedFd::from(theirs)));
    for variable in sockets::VARIABLES {
        command.env_remove(variable);
    }
    Ok((command.spawn()?, ours))
}

/// What the new process says until it has nothing more to say.
async fn hear(stream: UnixStream) -> io::Result<Vec<u8>> {
    stream.set_nonblocking(true)?;
    let stream = tokio::net::UnixStream::from_std(stream)?;
    let mut said = Vec::new();
    let mut bounded = stream.take(TEXT_BYTES_MAX as u64);
    while bounded.read_buf(&mut said).await? > 0 && said != READY {}
    Ok(said)
}

/// Ends the process, and says how it had ended if it had.
async fn end(child: &mut Child) -> String {
    /// It closes its end a moment before it has ended.
    const MOMENT: Duration = Duration::from_secs(1);
    match timeout(MOMENT, child.wait()).await {
        Ok(Ok(status)) => format!(" ({status})"),
        _ => {
            _ = child.kill().await;
            String::new()
        }
    }
}

/// Sends sockets with their names, one a line.
fn send(stream: &UnixStream, listening: &[(&'static str, &TcpListener)]) -> io::Result<()> {
    let names: Vec<&str> = listening.iter().map(|(name, _)| *name).collect();
    let names = names.join("\n");
    let fds: Vec<BorrowedFd<'_>> = listening.iter().map(|(_, socket)| socket.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("too many sockets"));
    }
    sendmsg(stream, &[IoSlice::new(names.as_bytes())], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

fn receive(stream: &UnixStream) -> io::Result<Handed> {
    let mut text = [0; TEXT_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(stream, &mut [IoSliceMut::new(&mut text)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let fds = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let sockets = fds.flatten().map(TcpListener::from);
    let names = String::from_utf8_lossy(&text[..received.bytes]).into_owned();
    let sockets: Vec<_> = names.lines().map(ToOwned::to_owned).zip(sockets).collect();
    if sockets.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "nothing came"));
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn sockets_go_over_with_their_names_and_keep_their_queue() {
        let data = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let admin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let address = data.local_addr().expect("bound");
        let (old, new) = UnixStream::pair().expect("a pair");
        send(&old, &[("data", &data), ("admin", &admin)]).expect("sent");
        let waiting = std::net::TcpStream::connect(address).expect("it waits in the queue");
        drop((data, admin));
        let handed = receive(&new).expect("received");
        let names: Vec<&str> = handed.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["data", "admin"]);
        let (_, from) = handed[0].1.accept().expect("the one that waited");
        assert_eq!(from, waiting.local_addr().expect("connected"));
    }

    #[test]
    fn a_stranger_on_standard_input_is_no_predecessor() {
        let (old, new) = UnixStream::pair().expect("a pair");
        drop(old);
        assert!(receive(&new).is_err());
    }

    #[tokio::test]
    async fn what_a_new_process_says_is_heard_to_its_end() {
        for (said, heard) in
            [(&b"ready\n"[..], &b"ready\n"[..]), (b"the port is\ntaken", b"the port is\ntaken"), (b"", b"")]
        {
            let (ours, theirs) = UnixStream::pair().expect("a pair");
            Predecessor(theirs).say(said).expect("said");
            assert_eq!(hear(ours).await.expect("heard"), heard);
        }
    }
}
