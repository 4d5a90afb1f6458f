//! A small HTTP/1.1 client for one endpoint: connections are kept while they are useful, nothing is followed, retried
//! or decompressed.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::cli::Remote;
use crate::exit::Failure;

/// How long a connection and its TLS handshake may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Connections kept for later.
const IDLE_MAX: usize = 64;
/// How long a kept connection is trusted: well below the time after which servers close idle connections, so that a
/// request is not sent into one that is closing.
const IDLE: Duration = Duration::from_secs(4);

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// There is no connection: the request did not leave.
    #[error("{0}")]
    Connect(io::Error),
    /// The connection ended before the response.
    #[error("the connection ended before the answer ({0})")]
    Broken(hyper::Error),
}

/// A client of one URL.
pub(crate) struct HttpClient {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    authority: HeaderValue,
    path: String,
    headers: HeaderMap,
    idle: Mutex<Vec<(SendRequest<Full<Bytes>>, Instant)>>,
}

impl HttpClient {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// A URL, header or file of certificate authorities that cannot be used.
    pub(crate) fn new(url: &str, remote: &Remote) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::usage(format!("{url:?}: {what}"));
        let uri: Uri = url.parse().map_err(|_| wrong("not a URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong("write the whole URL, as http://127.0.0.1:8080/mcp"));
        };
        if authority.as_str().contains('@') {
            return Err(wrong("credentials belong into --header, not into the URL"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("the URL begins with http:// or https://")),
        };
        let tls = if secure {
            let name = ServerName::try_from(host.clone()).map_err(|_| wrong("not a host name"))?;
            Some((TlsConnector::from(Arc::new(tls_config(remote.ca_file.as_deref())?)), name))
        } else {
            None
        };
        let mut headers = HeaderMap::new();
        for (name, value) in crate::remote::headers(&remote.headers)? {
            let mut value =
                HeaderValue::from_str(value.expose()).map_err(|_| wrong("a header has a bad value"))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Ok(Self {
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            host,
            tls,
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| wrong("not a host name"))?,
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            headers,
            idle: Mutex::default(),
        })
    }

    /// Sends one request and returns when the response begins. Dropping the response before its end closes the
    /// connection.
    pub(crate) async fn send(
        &self,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, HttpError> {
        let mut request = self.request(method, headers, body);
        loop {
            let kept = self.take();
            let is_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect().await.map_err(HttpError::Connect)?,
            };
            match connection.try_send_request(request).await {
                Ok(response) => {
                    self.keep(connection);
                    return Ok(response);
                }
                Err(mut failed) => match failed.take_message() {
                    // A kept connection had been closed; the request never left.
                    Some(unsent) if is_kept => request = unsent,
                    _ => return Err(HttpError::Broken(failed.into_error())),
                },
            }
        }
    }

    fn request(&self, method: Method, headers: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.path.parse().unwrap_or_default();
        let all = request.headers_mut();
        all.clone_from(&self.headers);
        all.insert(HOST, self.authority.clone());
        for (name, value) in headers {
            if let Some(name) = name {
                all.insert(name, value);
            }
        }
        request
    }

    /// A kept connection that is ready.
    fn take(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(connection, since)| !connection.is_closed() && since.elapsed() < IDLE);
        let ready = idle.iter().position(|(connection, _)| connection.is_ready())?;
        Some(idle.swap_remove(ready).0)
    }

    /// Keeps a connection. It becomes ready when its response has been read.
    fn keep(&self, connection: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !connection.is_closed() {
            idle.push((connection, Instant::now()));
        }
    }

    async fn connect(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time");
        timeout(CONNECT, async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            stream.set_nodelay(true)?;
            match &self.tls {
                None => start(TokioIo::new(stream)).await,
                Some((tls, name)) => start(TokioIo::new(tls.connect(name.clone(), stream).await?)).await,
            }
        })
        .await
        .map_err(late)?
    }
}

async fn start<I>(io: I) -> io::Result<SendRequest<Full<Bytes>>>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
    // What ends a connection is told to the request on it.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn tls_config(ca_file: Option<&Path>) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = ca_file {
        let wrong = |reason: String| Failure::usage(format!("--ca-file {}: {reason}", file.display()));
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("no certificate in it".to_owned()));
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(Failure::failed(
                "the system has no certificate authorities; name some with --ca-file",
            ));
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::failed(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
