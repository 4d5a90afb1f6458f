//! The gateway's side: who comes is asked of the operating system, and then they are answered as the API answers.

use std::fs::{self, Permissions};
use std::future::Future;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tollgate_admin::Body;

use super::{NAME, address};
use crate::blocks::user_of;
use crate::listen::{Stop, Stopper};

/// So many commands are answered at once.
const CONNECTIONS_MAX: usize = 16;
/// How long a command may take to say what it wants.
const HEAD_MAX: Duration = Duration::from_secs(5);
/// How long a command may be connected.
const CONNECTION_MAX: Duration = Duration::from_mins(2);
/// How long what is under way may take when the door is closed.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// Without a file descriptor left, accepting fails at once and again.
const PAUSE: Duration = Duration::from_millis(100);

/// An open door. Dropped without being closed, it leaves its file, which nobody answers at.
#[derive(Debug)]
pub(crate) struct Door {
    file: PathBuf,
    /// The file's device and number: a gateway that follows puts another one in its place.
    known: (u64, u64),
    stopper: Stopper,
    serving: JoinHandle<()>,
}

impl Door {
    /// Opens the door in a data directory, in the place of one that a process has left. Must be called within a runtime.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub(crate) fn open<F, A>(folder: &Path, answer: F) -> io::Result<Self>
    where
        F: Fn(Request<Incoming>, Arc<str>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        // Made beside and then put in its place, so that whoever finds it is answered.
        let fresh = format!(".{NAME}.{}", std::process::id());
        _ = fs::remove_file(folder.join(&fresh));
        let (path, _folder) = address(folder, &fresh)?;
        let listener = UnixListener::bind(&path)?;
        let placed = || {
            fs::set_permissions(folder.join(&fresh), Permissions::from_mode(0o600))?;
            let known = fs::symlink_metadata(folder.join(&fresh))?;
            fs::rename(folder.join(&fresh), folder.join(NAME))?;
            Ok::<_, io::Error>((known.dev(), known.ino()))
        };
        let known = placed().inspect_err(|_| _ = fs::remove_file(folder.join(&fresh)))?;
        let (stopper, stop) = Stopper::new();
        let serving = tokio::spawn(serve(listener, stop, answer));
        Ok(Self { file: folder.join(NAME), known, stopper, serving })
    }

    /// Closes it: nobody else is let in, and what is under way may end.
    pub(crate) async fn close(self) {
        let Self { file, known, stopper, serving } = self;
        if fs::symlink_metadata(&file).is_ok_and(|now| (now.dev(), now.ino()) == known) {
            _ = fs::remove_file(&file);
        }
        stopper.stop();
        _ = timeout(CLOSE_MAX, serving).await;
    }
}

async fn serve<F, A>(listener: UnixListener, stop: Stop, answer: F)
where
    F: Fn(Request<Incoming>, Arc<str>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let (tasks, places) = (TaskTracker::new(), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    let own = rustix::process::geteuid().as_raw();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        let accepted = tokio::select! {
            () = stop.leaving() => break,
            accepted = next => accepted,
        };
        let Some((accepted, place)) = accepted else { break };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a command on this machine cannot be answered");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(user) = peer(&stream, own) else { continue };
        let answer = answer.clone();
        tasks.spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(request, Arc::clone(&user));
                async move { Ok::<_, std::convert::Infallible>(answer.await) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).keep_alive(false);
            let connection = http.serve_connection(TokioIo::new(stream), service);
            // A command that leaves is no news; what it began is seen through by whoever carries it out.
            _ = timeout(CONNECTION_MAX, connection).await;
            drop(place);
        });
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// Whoever is at the other end, if they may: the name of the user.
fn peer(stream: &UnixStream, own: u32) -> Option<Arc<str>> {
    let user = stream.peer_cred().ok()?.uid();
    if is_let_in(user, own) {
        return Some(user_of(user));
    }
    tracing::warn!(user = &*user_of(user), "another user has knocked at the gateway's own door");
    None
}

/// Only who could do without asking.
fn is_let_in(user: u32, own: u32) -> bool {
    user == own || user == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_and_root_are_let_in_and_nobody_else() {
        assert!(is_let_in(1000, 1000) && is_let_in(0, 1000) && is_let_in(0, 0));
        assert!(!is_let_in(1001, 1000) && !is_let_in(1000, 0) && !is_let_in(65_534, 1000));
    }
}
