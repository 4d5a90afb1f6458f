//! A command's side: whether a gateway runs, and what it says to what is asked of it.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{NAME, address};
use crate::blocks::user_of;
use crate::cli::StoreArgs;
use crate::config::{DATABASE_URL, Env as _, ProcessEnv, url_of_environment};
use crate::exit::Failure;
use crate::state::data_dir;

/// How long a gateway may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(90);
/// The largest answer.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A gateway that runs. What it is asked it does itself, and puts on record.
#[derive(Debug)]
pub(crate) struct Gateway {
    folder: PathBuf,
}

/// Why a gateway did not do what it was asked.
#[derive(Debug)]
pub(crate) enum NotDone {
    /// It says no.
    Refused(StatusCode, String),
    /// It did not answer: nobody knows whether it was done.
    Silent(String),
}

impl From<NotDone> for Failure {
    fn from(not_done: NotDone) -> Self {
        match not_done {
            NotDone::Refused(status, detail) => {
                let text = format!("the gateway refuses: {detail}");
                match status {
                    StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => {
                        Self::usage(text)
                    }
                    status if status.is_server_error() => Self::unavailable(format!(
                        "{text}\n  help: --direct changes the store without the gateway"
                    )),
                    _ => Self::failed(text),
                }
            }
            NotDone::Silent(reason) => Self::unavailable(format!(
                "the gateway that runs does not answer ({reason}): look whether it was done"
            )),
        }
    }
}

/// The gateway that runs with this configuration or data directory; none if none does, or if the store is meant.
///
/// # Errors
/// One runs that is another user's, or it cannot be found out.
pub(crate) async fn running(args: &StoreArgs) -> Result<Option<Gateway>, Failure> {
    // Whoever names the database alone names no gateway.
    let names_nothing = args.config.is_none() && args.data_dir.is_none();
    if args.direct || (names_nothing && url_of_environment(ProcessEnv.var(DATABASE_URL)).is_some()) {
        return Ok(None);
    }
    let Some(folder) = data_dir(args)? else { return Ok(None) };
    let gateway = Gateway { folder };
    Ok(gateway.connect().await?.map(|_| gateway))
}

impl Gateway {
    /// A connection to it; none if nobody listens, as after a process was killed.
    async fn connect(&self) -> Result<Option<UnixStream>, Failure> {
        let wrong = |error: &std::io::Error| {
            Failure::unavailable(format!(
                "whether a gateway runs cannot be found out at {}: {error}",
                self.folder.join(NAME).display()
            ))
        };
        let (path, _folder) = match address(&self.folder, NAME) {
            Ok(address) => address,
            Err(error) if is_absent(error.kind()) => return Ok(None),
            // What is in there is not for this user, nor is the store, if that is in there too.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(None),
            Err(error) => return Err(wrong(&error)),
        };
        let stream = match UnixStream::connect(&path).await {
            Ok(stream) => stream,
            Err(error) if is_absent(error.kind()) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return match owner(&self.folder.join(NAME)) {
                    Some(owner) => Err(another_users(owner)),
                    None => Ok(None),
                };
            }
            Err(error) => return Err(wrong(&error)),
        };
        // Nor is it told to somebody who only pretends to be the gateway.
        let server = stream.peer_cred().map_err(|error| wrong(&error))?.uid();
        let own = rustix::process::geteuid().as_raw();
        if server != own && server != 0 && Some(server) != owner(&self.folder) {
            return Err(another_users(server));
        }
        Ok(Some(stream))
    }

    /// Has something made, or done.
    ///
    /// # Errors
    /// It was not done, or nobody knows.
    pub(crate) async fn post(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<(StatusCode, Value), NotDone> {
        let body = serde_json::to_string(body).map_err(|error| NotDone::Silent(error.to_string()))?;
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Has something changed to what is said of it.
    ///
    /// # Errors
    /// It was not done, or nobody knows.
    pub(crate) async fn put(&self, path: &str, body: &impl Serialize) -> Result<Value, NotDone> {
        let body = serde_json::to_string(body).map_err(|error| NotDone::Silent(error.to_string()))?;
        self.ask(Method::PUT, path, Some(body)).await.map(|(_, body)| body)
    }

    /// Has something removed. Says whether it was there.
    ///
    /// # Errors
    /// It was not done, or nobody knows.
    pub(crate) async fn remove(&self, path: &str) -> Result<bool, NotDone> {
        match self.ask(Method::DELETE, path, None).await {
            Ok(_) => Ok(true),
            Err(NotDone::Refused(StatusCode::NOT_FOUND, _)) => Ok(false),
            Err(not_done) => Err(not_done),
        }
    }

    /// Looks something up; none if it is not there.
    ///
    /// # Errors
    /// Nobody answers.
    pub(crate) async fn find(&self, path: &str) -> Result<Option<Value>, NotDone> {
        match self.ask(Method::GET, path, None).await {
            Ok((_, body)) => Ok(Some(body)),
            Err(NotDone::Refused(StatusCode::NOT_FOUND, _)) => Ok(None),
            Err(not_done) => Err(not_done),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<(StatusCode, Value), NotDone> {
        let silent = |reason: String| NotDone::Silent(reason);
        let stream = self.connect().await.map_err(|failure| silent(failure.text))?;
        let stream = stream.ok_or_else(|| silent("it has ended".to_owned()))?;
        let asked = async {
            let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
            let (mut sender, connection) = shaken.map_err(|error| silent(error.to_string()))?;
            tokio::spawn(connection);
            let request = Request::builder().method(method).uri(path).header(HOST, "localhost");
            let request = match body {
                Some(body) => {
                    request.header(CONTENT_TYPE, "application/json").body(Full::new(Bytes::from(body)))
                }
                None => request.body(Full::default()),
            };
            let request = request.map_err(|error| silent(error.to_string()))?;
            let response = sender.send_request(request).await.map_err(|error| silent(told(&error)))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
            let body = body.map_err(|error| silent(error.to_string()))?.to_bytes();
            Ok((head.status, serde_json::from_slice::<Value>(&body).unwrap_or_default()))
        };
        let answered = timeout(ANSWER_MAX, asked).await;
        let (status, body) = answered.map_err(|_| silent("it takes too long".to_owned()))??;
        if status.is_success() {
            return Ok((status, body));
        }
        let detail =
            body["detail"].as_str().or_else(|| body["error"].as_str()).unwrap_or("it does not say why");
        Err(NotDone::Refused(status, detail.to_owned()))
    }
}

/// A door that closes at once is one at which another user has knocked.
fn told(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return "it closed the connection, as it does to users other than its own and root".to_owned();
    }
    error.to_string()
}

/// A file that is gone, or left by a process that is.
fn is_absent(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory)
}

fn owner(path: &Path) -> Option<u32> {
    std::fs::symlink_metadata(path).ok().map(|known| known.uid())
}

fn another_users(owner: u32) -> Failure {
    let user = user_of(owner);
    Failure::failed(format!(
        "a gateway runs here that belongs to the user {user}: run this as {user}, or as root, or administer it with an admin \
         key (`/api/v1`)"
    ))
}
