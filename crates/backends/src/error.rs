//! What an error of a database means for whoever asked.

use sqlx::Error;
use sqlx::error::DatabaseError;
use tollgate_store::StoreError;

/// PostgreSQL's classes and codes after which it may go well later: connections, shutdowns, lacking resources, statements and
/// locks that took too long, conflicts of transactions, a server that only reads (just before or after a failover).
const LATER_POSTGRES: [&str; 8] = ["08", "53", "57", "58", "55P03", "40001", "40P01", "25006"];
/// SQLite's: busy, locked.
const LATER_SQLITE: [i64; 2] = [5, 6];

/// The error as users of a store know it. Texts are the database's own, which hold no passwords.
pub(crate) fn meant(error: Error) -> StoreError {
    match error {
        Error::Database(error) => {
            let text = error.message().to_owned();
            if is_for_later(&*error) { StoreError::away(text) } else { StoreError::broken(text) }
        }
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => StoreError::away(error.to_string()),
        other => StoreError::broken(other.to_string()),
    }
}

fn is_for_later(error: &dyn DatabaseError) -> bool {
    let Some(code) = error.code() else { return false };
    if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        // The lower byte is the primary code.
        return code.parse().is_ok_and(|code: i64| LATER_SQLITE.contains(&(code & 0xff)));
    }
    LATER_POSTGRES.iter().any(|later| code.starts_with(later))
}
