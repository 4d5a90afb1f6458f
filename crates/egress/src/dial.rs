//! Connections for protocols that are not HTTP.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::address::may_connect;
use crate::{EgressError, is_public, roots};

/// How connections are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialerSettings {
    /// Lets connections go to private and loopback addresses, and to those without TLS. Link-local addresses stay out.
    pub allow_private: bool,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The certificate authorities (PEM) to trust instead of the platform's.
    pub ca_pem: Option<Arc<str>>,
    /// How long a connection and its TLS handshake may take.
    pub connect_timeout: Duration,
}

/// Makes connections of one purpose. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    tls: Option<TlsConnector>,
    allow_private: bool,
    connect_timeout: Duration,
}

/// A connection.
#[derive(Debug)]
pub enum Wire {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

impl Dialer {
    /// A way to connect. Nothing is connected to yet.
    ///
    /// # Errors
    /// [`EgressError::Roots`] if nobody could be trusted.
    pub fn new(settings: &DialerSettings) -> Result<Self, EgressError> {
        let tls = settings.tls.then(|| roots::tls_config(settings.ca_pem.as_deref())).transpose()?;
        let tls = tls.map(|mut config| {
            // It is not HTTP that is spoken.
            config.alpn_protocols.clear();
            TlsConnector::from(Arc::new(config))
        });
        Ok(Self { tls, allow_private: settings.allow_private, connect_timeout: settings.connect_timeout })
    }

    /// Connects to a host: a name, or an address without brackets. With TLS its certificate has to be that host's.
    pub async fn connect(&self, host: &str, port: u16) -> Result<Wire, EgressError> {
        let shown = format!("{host}:{port}");
        match tokio::time::timeout(self.connect_timeout, self.reach(host, port, &shown)).await {
            Ok(connected) => connected,
            Err(_) => {
                Err(EgressError::Unreachable { url: shown, reason: "it did not answer in time".to_owned() })
            }
        }
    }

    async fn reach(&self, host: &str, port: u16, shown: &str) -> Result<Wire, EgressError> {
        let failed =
            |error: io::Error| EgressError::Unreachable { url: shown.to_owned(), reason: error.to_string() };
        let addresses = self.addresses(host, port, shown).await?;
        let stream = TcpStream::connect(&addresses[..]).await.map_err(failed)?;
        let Some(tls) = &self.tls else { return Ok(Wire::Plain(stream)) };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| EgressError::NotAllowed { url: shown.to_owned(), reason: "it is no host name" })?;
        Ok(Wire::Tls(Box::new(tls.connect(name, stream).await.map_err(failed)?)))
    }

    /// The addresses of a host that may be connected to. They are connected to as they are: nothing is resolved twice.
    async fn addresses(&self, host: &str, port: u16, shown: &str) -> Result<Vec<SocketAddr>, EgressError> {
        let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => match tokio::net::lookup_host((host, port)).await {
                Ok(found) => found.collect(),
                Err(error) => {
                    let (url, reason) = (shown.to_owned(), error.to_string());
                    return Err(EgressError::Unreachable { url, reason });
                }
            },
        };
        let refused = |reason| Err(EgressError::NotAllowed { url: shown.to_owned(), reason });
        let reachable: Vec<SocketAddr> =
            found.into_iter().filter(|address| may_connect(address.ip(), self.allow_private)).collect();
        if reachable.is_empty() {
            return refused("it is at no public address");
        }
        let allowed: Vec<SocketAddr> =
            reachable.into_iter().filter(|address| self.tls.is_some() || !is_public(address.ip())).collect();
        if allowed.is_empty() {
            return refused("only TLS goes to public addresses");
        }
        Ok(allowed)
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn dialer(allow_private: bool, tls: bool) -> Dialer {
        let connect_timeout = Duration::from_secs(5);
        Dialer::new(&DialerSettings { allow_private, tls, ca_pem: None, connect_timeout }).expect("a dialer")
    }

    #[tokio::test]
    async fn private_addresses_are_connected_to_only_where_they_may_be() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let port = listener.local_addr().expect("its address").port();
        for host in ["127.0.0.1", "localhost"] {
            let refused = dialer(false, false).connect(host, port).await.expect_err("a private address");
            assert!(refused.is_before_sending() && refused.to_string().contains("no public address"));
        }
        assert!(matches!(dialer(true, false).connect("127.0.0.1", port).await, Ok(Wire::Plain(_))));
        let refused = dialer(true, false).connect("169.254.169.254", port).await.expect_err("link-local");
        assert!(refused.to_string().contains("no public address"), "{refused}");
        let refused = dialer(true, false).connect("1.1.1.1", port).await.expect_err("without TLS");
        assert!(refused.to_string().contains("only TLS"), "{refused}");
    }
}
