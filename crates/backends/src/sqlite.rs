//! SQLite: one file, which several processes may use at once.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _};
use tokio::time::{Instant, sleep};
use tollgate_store::StoreError;

use crate::connections::Connection;
use crate::error::meant;

/// How a file is opened. `wait_max`: how long a writer waits for another.
pub(crate) fn options(file: &Path, wait_max: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        // It is made by `make_private`, with the right permissions from its first moment.
        .create_if_missing(false)
        .busy_timeout(wait_max)
        // What was revoked stays so after a loss of power.
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging()
}

pub(crate) async fn connect(options: &SqliteConnectOptions) -> Result<Connection, StoreError> {
    let connecting = Box::pin(sqlx::SqliteConnection::connect_with(options));
    let connection = connecting.await.map_err(meant)?;
    Ok(Connection::Sqlite(connection))
}

/// Which file it is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

/// Which file stands at this place now.
///
/// # Errors
/// [`StoreError::Away`] where there is none: it was there.
pub(crate) fn file_id(file: &Path) -> Result<FileId, StoreError> {
    let gone = |error: std::io::Error| StoreError::away(format!("{}: {error}", file.display()));
    let metadata = file.metadata().map_err(gone)?;
    Ok(FileId { device: metadata.dev(), inode: metadata.ino() })
}

/// Makes the file and its folder where they are missing, for their owner alone. The files that SQLite puts beside it get the
/// permissions of this one.
pub(crate) fn make_private(file: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| StoreError::broken(format!("{}: {error}", file.display()));
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let permissions = file.metadata().map_err(failed)?.permissions();
            if permissions.mode() & 0o077 != 0 {
                tracing::warn!(file = %file.display(), "others than its owner may read or write the stored state");
            }
            Ok(())
        }
        Err(error) => Err(failed(error)),
    }
}

/// Lets readers and a writer work at the same time. It is a property of the file; while another process changes it too,
/// SQLite does not wait but says that the file is busy.
pub(crate) async fn set_wal(connection: &mut Connection, wait_max: Duration) -> Result<(), StoreError> {
    let deadline = Instant::now() + wait_max;
    loop {
        match connection.row("PRAGMA journal_mode = WAL", Vec::new()).await {
            Ok(Some(row)) if row.get::<String>(0)?.eq_ignore_ascii_case("wal") => return Ok(()),
            Ok(_) => {
                return Err(StoreError::broken("SQLite cannot keep a write-ahead log in the data directory"));
            }
            Err(error) if error.is_away() && Instant::now() < deadline => {
                sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(error),
        }
    }
}
