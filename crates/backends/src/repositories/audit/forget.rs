//! Forgets what is too old, and whom nobody may find any more.

use tollgate_model::Timestamp;
use tollgate_store::{StoreError, WhoseNames};

use super::COLUMNS_ROOM;
use crate::connections::{Connection, Value};
use crate::repositories::{limit, stored_time};

/// One block, with its columns.
pub(super) async fn block(connection: &mut Connection, id: i64) -> Result<(), StoreError> {
    let columns = vec![Value::from(id * COLUMNS_ROOM), Value::from((id + 1) * COLUMNS_ROOM)];
    connection.run("DELETE FROM tollgate_audit_columns WHERE id >= $1 AND id < $2", columns).await?;
    connection.run("DELETE FROM tollgate_audit_blocks WHERE id = $1", vec![Value::from(id)]).await?;
    Ok(())
}

/// Blocks whose rows all began before.
pub(super) async fn rows(
    connection: &mut Connection,
    before: Timestamp,
    most: usize,
) -> Result<usize, StoreError> {
    let sql = "SELECT id, rows FROM tollgate_audit_blocks WHERE until_ms < $1 ORDER BY until_ms LIMIT $2";
    let values = vec![Value::from(stored_time(before)), Value::from(limit(most))];
    let mut count = 0;
    for row in connection.rows(sql, values).await? {
        block(connection, row.get(0)?).await?;
        count += usize::try_from(row.get::<i64>(1)?).unwrap_or(0);
    }
    Ok(count)
}

/// Names.
pub(super) async fn names(connection: &mut Connection, whose: &WhoseNames) -> Result<usize, StoreError> {
    let (sql, values) = match whose {
        WhoseNames::Tenant { tenant, before } => (
            "DELETE FROM tollgate_audit_names WHERE tenant = $1 AND seen_ms < $2",
            vec![Value::from(&**tenant), Value::from(stored_time(*before))],
        ),
        WhoseNames::User { user, tenant: None, before } => (
            "DELETE FROM tollgate_audit_names WHERE kind = 'user' AND name = $1 AND seen_ms < $2",
            vec![Value::from(&**user), Value::from(stored_time(*before))],
        ),
        WhoseNames::User { user, tenant: Some(tenant), before } => (
            "DELETE FROM tollgate_audit_names WHERE kind = 'user' AND name = $1 AND tenant = $2 AND seen_ms < $3",
            vec![Value::from(&**user), Value::from(&**tenant), Value::from(stored_time(*before))],
        ),
        WhoseNames::SeenBefore(kind, time) => (
            "DELETE FROM tollgate_audit_names WHERE kind = $1 AND seen_ms < $2",
            vec![Value::from(*kind), Value::from(stored_time(*time))],
        ),
    };
    Ok(usize::try_from(connection.run(sql, values).await?).unwrap_or(usize::MAX))
}

/// All rows of a writer, or of all. Names stay: they are written again when they are read again, unless they are erased.
pub(super) async fn index(connection: &mut Connection, writer: Option<&str>) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM tollgate_audit_columns WHERE id / 16 IN \
            (SELECT id FROM tollgate_audit_blocks WHERE writer = $1 OR $1 IS NULL)",
        "DELETE FROM tollgate_audit_blocks WHERE writer = $1 OR $1 IS NULL",
        "DELETE FROM tollgate_findings WHERE writer = $1 OR $1 IS NULL",
        "DELETE FROM tollgate_audit_open WHERE writer = $1 OR $1 IS NULL",
        "UPDATE tollgate_audit_writers SET segment = 0, at = 0, seq = 0 WHERE writer = $1 OR $1 IS NULL",
    ] {
        connection.run(sql, vec![Value::from(writer)]).await?;
    }
    Ok(())
}
