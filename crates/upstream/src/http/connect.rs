//! One new connection: TCP, and TLS where the URL says so.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tollgate_model::Reach;

use super::Origin;

/// A connected stream.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects; says whether the peer chose HTTP/2 by ALPN.
pub(super) async fn connect(
    origin: &Origin,
    tls: Option<&Arc<ClientConfig>>,
    reach: Reach,
) -> io::Result<(Stream, bool)> {
    let tcp = dial((origin.bare_host(), origin.port), reach).await?;
    tcp.set_nodelay(true)?;
    let Some(config) = tls else { return Ok((Stream::Plain(tcp), false)) };
    let name = ServerName::try_from(origin.bare_host().to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await?;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok((Stream::Tls(Box::new(stream)), http2))
}

/// Connects to what a name is resolved to, as far as connections may lead: looked at here, a name that is resolved anew cannot
/// get around it.
async fn dial(place: (&str, u16), reach: Reach) -> io::Result<TcpStream> {
    if reach == Reach::Anywhere {
        return TcpStream::connect(place).await;
    }
    let found = tokio::net::lookup_host(place).await?;
    let allowed: Vec<SocketAddr> = found.filter(|address| reach.may_connect(address.ip())).collect();
    if allowed.is_empty() {
        let reason = "it is at no address that registered servers may be at";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    TcpStream::connect(&*allowed).await
}

macro_rules! either {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Plain($inner) => {
                let $inner = Pin::new($inner);
                $call
            }
            Stream::Tls($inner) => {
                let $inner = Pin::new(&mut **$inner);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_leads_only_those_here_who_may() {
        let listener = tokio::net::TcpListener::bind(("localhost", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        for (reach, leads) in [(Reach::Anywhere, true), (Reach::Private, true), (Reach::Public, false)] {
            let dialled = dial(("localhost", port), reach).await;
            assert_eq!(dialled.is_ok(), leads, "{reach:?}: {dialled:?}");
        }
    }
}
