//! PostgreSQL: connections that never wait for good, and the word that there is news.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions, Connection as _};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tollgate_model::Secret;
use tollgate_store::StoreError;

use crate::connections::Connection;
use crate::error::meant;
use crate::place::{self, InvalidPlace};

/// The channel on which the latest revision is told.
pub(crate) const CHANNEL: &str = "tollgate_feed";

/// How a server is reached.
pub(crate) fn options(url: &Secret) -> Result<PgConnectOptions, InvalidPlace> {
    let options = place::options(url)?.disable_statement_logging();
    Ok(match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("tollgate"),
    })
}

/// The server's own bounds, for when this process can no longer say that it gave up: a statement ends, a wait for a lock
/// ends, and whoever fell asleep with the feed's lock in its hand loses it.
const SESSION: &str = "\
    SET statement_timeout = '5s'; \
    SET lock_timeout = '4s'; \
    SET idle_in_transaction_session_timeout = '10s'";

pub(crate) async fn connect(options: &PgConnectOptions) -> Result<Connection, StoreError> {
    let connecting = Box::pin(sqlx::PgConnection::connect_with(options));
    let connection = connecting.await.map_err(meant)?;
    let mut connection = Connection::Postgres(connection);
    connection.script(SESSION).await?;
    Ok(connection)
}

/// Passes on every word of a new revision, for as long as anybody may wait for one. Where none comes through (a pooler
/// between, a connection that is dead without knowing it), whoever follows the feed reads it now and then anyway.
pub(crate) async fn hear(options: PgConnectOptions, heard: watch::Sender<u64>, connect_max: Duration) {
    const PAUSE: Duration = Duration::from_secs(1);
    loop {
        let listening = timeout(connect_max, Box::pin(listen(&options))).await;
        if let Ok(Ok(mut listener)) = listening {
            // Ends when the connection does.
            while let Ok(Some(notification)) = listener.try_recv().await {
                if let Ok(revision) = notification.payload().parse::<u64>() {
                    heard.send_if_modified(|latest| {
                        let is_news = revision > *latest;
                        *latest = revision.max(*latest);
                        is_news
                    });
                }
            }
        }
        sleep(PAUSE).await;
    }
}

async fn listen(options: &PgConnectOptions) -> Result<PgListener, sqlx::Error> {
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}
