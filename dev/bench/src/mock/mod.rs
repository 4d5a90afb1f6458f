//! The mock upstream: one MCP server in each era over HTTP/1.1, as cheap as an answer can be, so that what is
//! measured is the hop in front of it.
//!
//! Any path is served; each path is thus a server of its own to a gateway that counts servers by URL.

mod answers;
mod body;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::Result;
use answers::Answers;

/// Addresses of a running mock.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Addresses {
    pub(crate) modern: SocketAddr,
    pub(crate) legacy: SocketAddr,
}

/// Which revisions a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

/// A mock that is bound and not yet serving.
pub(crate) struct Mock {
    modern: TcpListener,
    legacy: TcpListener,
}

impl Mock {
    /// Binds a free port of 127.0.0.1 for each era.
    pub(crate) async fn bind() -> Result<Mock> {
        Ok(Mock {
            modern: TcpListener::bind("127.0.0.1:0").await?,
            legacy: TcpListener::bind("127.0.0.1:0").await?,
        })
    }

    pub(crate) fn addresses(&self) -> Result<Addresses> {
        Ok(Addresses { modern: self.modern.local_addr()?, legacy: self.legacy.local_addr()? })
    }

    /// Serves until the task is dropped or a listener breaks.
    pub(crate) async fn serve(self) -> Result<()> {
        let answers = Arc::new(Answers::new());
        tokio::try_join!(
            accept(self.modern, Era::Modern, Arc::clone(&answers)),
            accept(self.legacy, Era::Legacy, answers),
        )?;
        Ok(())
    }
}

async fn accept(listener: TcpListener, era: Era, answers: Arc<Answers>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answers = Arc::clone(&answers);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answers = Arc::clone(&answers);
                async move { Ok::<_, Infallible>(answers.answer(era, request).await) }
            });
            // A connection that ends badly is the client's affair; the generator counts what it missed.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

#[cfg(test)]
pub(crate) mod tests;
