//! Tells what was completed since somebody last looked.

use std::sync::Arc;

use tollgate_store::{Arrived, AuditRow, Block, Filter, StoreError};

use super::{BODY, column, columns, number, stored};
use crate::connections::{Connection, Value};

/// How many blocks are looked at for one answer, at most.
const BLOCKS_MAX: i64 = 16;

/// The number of the last entry of each writer.
pub(super) async fn so_far(connection: &mut Connection) -> Result<Arrived, StoreError> {
    let rows = connection.rows("SELECT writer, seq FROM tollgate_audit_writers", Vec::new()).await?;
    rows.iter().map(|row| Ok((row.get::<String>(0)?.into(), number(row.get(1)?)))).collect()
}

/// What fits of what came after.
pub(super) async fn arrived(
    connection: &mut Connection,
    after: &mut Arrived,
    filter: &Filter,
    most: usize,
) -> Result<Vec<AuditRow>, StoreError> {
    let mut found = Vec::new();
    for (writer, last) in so_far(connection).await? {
        let seen = after.entry(Arc::clone(&writer)).or_default();
        if last > *seen && found.len() < most {
            of_writer(connection, &writer, seen, filter, most, &mut found).await?;
        }
    }
    Ok(found)
}

async fn of_writer(
    connection: &mut Connection,
    writer: &Arc<str>,
    seen: &mut u64,
    filter: &Filter,
    most: usize,
    found: &mut Vec<AuditRow>,
) -> Result<(), StoreError> {
    let sql = "SELECT id FROM tollgate_audit_blocks WHERE writer = $1 AND seq > $2 ORDER BY seq LIMIT $3";
    let values = vec![Value::from(&**writer), Value::from(stored(*seen)), Value::from(BLOCKS_MAX)];
    let mut ids = Vec::new();
    for row in connection.rows(sql, values).await? {
        ids.push(column(row.get(0)?, BODY));
    }
    let bodies = columns(connection, &ids).await?;
    for body in ids.iter().filter_map(|id| bodies.get(id)) {
        for row in Block::rows(writer, body, None).map_err(StoreError::broken)? {
            let Some(end) = row.end_seq().filter(|end| *end > *seen) else { continue };
            if found.len() == most {
                return Ok(());
            }
            *seen = end;
            found.extend(Some(row).filter(|row| filter.fits(row)));
        }
    }
    Ok(())
}
