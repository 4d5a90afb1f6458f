//! Takes in what happened.

use std::sync::{Arc, LazyLock};

use tollgate_store::{
    AuditBatch, AuditName, AuditRow, BLOCK_ROWS_MAX, Block, COLUMNS, SMALL_BLOCKS_MAX, StoreError,
};

use super::{BODY, column, columns, followed, many, stored};
use crate::connections::{Connection, Value};
use crate::repositories::stored_time;

/// How many rows a statement takes where there may be many.
pub(super) const MANY: usize = 32;

const OPEN: &str = "INSERT INTO tollgate_audit_open (writer, seq, body)";
static OPEN_ONE: LazyLock<String> = LazyLock::new(|| many(OPEN, 3, 1, ""));
static OPEN_MANY: LazyLock<String> = LazyLock::new(|| many(OPEN, 3, MANY, ""));

static COLUMNS_ALL: LazyLock<String> =
    LazyLock::new(|| many("INSERT INTO tollgate_audit_columns (id, bytes)", 2, COLUMNS, ""));

/// Takes the writer's place for this transaction, and moves it. Says whether it was where the batch comes behind.
pub(super) async fn claim(connection: &mut Connection, batch: &AuditBatch) -> Result<bool, StoreError> {
    let upto = &batch.upto;
    let mut values = vec![Value::from(&*batch.writer)];
    values.extend([upto.segment, upto.offset, upto.seq, upto.used].map(|number| Value::from(stored(number))));
    let Some(after) = &batch.after else {
        let sql = "INSERT INTO tollgate_audit_writers (writer, segment, at, seq, used) \
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT (writer) DO NOTHING";
        return Ok(connection.run(sql, values).await? == 1);
    };
    let sql = match connection {
        Connection::Sqlite(_) => {
            "SELECT segment, at, seq, used FROM tollgate_audit_writers WHERE writer = $1"
        }
        Connection::Postgres(_) => {
            "SELECT segment, at, seq, used FROM tollgate_audit_writers WHERE writer = $1 FOR UPDATE"
        }
    };
    let found = connection.row(sql, vec![Value::from(&*batch.writer)]).await?;
    if found.as_ref().map(followed).transpose()?.as_ref() != Some(after) {
        return Ok(false);
    }
    let sql =
        "UPDATE tollgate_audit_writers SET segment = $2, at = $3, seq = $4, used = $5 WHERE writer = $1";
    connection.run(sql, values).await?;
    Ok(true)
}

/// Takes in what the batch holds.
pub(super) async fn add(connection: &mut Connection, batch: &AuditBatch) -> Result<(), StoreError> {
    add_names(connection, batch).await?;
    close(connection, batch).await?;
    open(connection, batch).await?;
    add_rows(connection, batch).await?;
    super::findings::add(connection, batch).await?;
    super::sums::add(connection, &batch.used).await
}

/// As many as a statement takes, and what is left one by one.
pub(super) fn in_parts<T>(all: &[T]) -> impl Iterator<Item = &[T]> {
    let (many, rest) = all.split_at(all.len() - all.len() % MANY);
    many.chunks(MANY).chain(rest.chunks(1))
}

async fn add_names(connection: &mut Connection, batch: &AuditBatch) -> Result<(), StoreError> {
    // In one order at all gateways: of two that hold what the other waits for, one would fail.
    let mut names: Vec<&AuditName> = batch.names.iter().collect();
    names.sort_by(|one, other| one.reference.cmp(&other.reference));
    for name in names {
        let sql = "INSERT INTO tollgate_audit_names (reference, kind, tenant, name, seen_ms) \
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT (reference) DO UPDATE SET \
            kind = excluded.kind, tenant = excluded.tenant, name = excluded.name, seen_ms = excluded.seen_ms";
        let mut values: Vec<Value> =
            [&name.reference, &name.kind, &name.tenant, &name.text].map(|text| Value::from(&**text)).into();
        values.push(Value::from(stored_time(name.seen)));
        connection.run(sql, values).await?;
    }
    Ok(())
}

async fn close(connection: &mut Connection, batch: &AuditBatch) -> Result<(), StoreError> {
    if batch.closed.is_empty() {
        return Ok(());
    }
    let sql = match connection {
        Connection::Sqlite(_) => {
            "DELETE FROM tollgate_audit_open WHERE writer = $1 AND seq IN (SELECT value FROM json_each($2))"
        }
        Connection::Postgres(_) => {
            "DELETE FROM tollgate_audit_open WHERE writer = $1 \
                AND seq IN (SELECT json_array_elements_text($2::JSON)::BIGINT)"
        }
    };
    let list = serde_json::to_string(&batch.closed).map_err(StoreError::broken)?;
    connection.run(sql, vec![Value::from(&*batch.writer), Value::from(&*list)]).await?;
    Ok(())
}

async fn open(connection: &mut Connection, batch: &AuditBatch) -> Result<(), StoreError> {
    let values = |row: &AuditRow| {
        let body = Block::body_of(std::slice::from_ref(row));
        [Value::from(&*row.writer), Value::from(stored(row.begin.seq)), Value::Bytes(body)]
    };
    for part in in_parts(&batch.opened) {
        let sql = if part.len() == MANY { &OPEN_MANY } else { &OPEN_ONE };
        connection.run(sql.as_str(), part.iter().flat_map(values).collect()).await?;
    }
    Ok(())
}

/// Puts rows in a block of their own, and joins small blocks where they are enough for a large one, or too many.
async fn add_rows(connection: &mut Connection, batch: &AuditBatch) -> Result<(), StoreError> {
    if batch.rows.is_empty() {
        return Ok(());
    }
    let sql = "SELECT id, rows FROM tollgate_audit_blocks WHERE writer = $1 AND small = 1 ORDER BY seq";
    let mut small: Vec<(i64, i64)> = Vec::new();
    for row in connection.rows(sql, vec![Value::from(&*batch.writer)]).await? {
        small.push((row.get(0)?, row.get(1)?));
    }
    let waiting: i64 = small.iter().map(|(_, rows)| rows).sum();
    let is_enough = waiting + stored(batch.rows.len() as u64) >= stored(BLOCK_ROWS_MAX as u64);
    if small.is_empty() || (!is_enough && small.len() < SMALL_BLOCKS_MAX) {
        return put(connection, &batch.rows).await;
    }
    let ids: Vec<i64> = small.iter().map(|(id, _)| column(*id, BODY)).collect();
    let bodies = columns(connection, &ids).await?;
    let mut rows: Vec<AuditRow> = Vec::new();
    for body in ids.iter().filter_map(|id| bodies.get(id)) {
        rows.extend(Block::rows(&batch.writer, body, None).map_err(StoreError::broken)?);
    }
    rows.extend(batch.rows.iter().cloned());
    for (id, _) in small {
        super::forget::block(connection, id).await?;
    }
    put(connection, &rows).await
}

async fn put(connection: &mut Connection, rows: &[AuditRow]) -> Result<(), StoreError> {
    let Some(writer) = rows.first().map(|row| Arc::clone(&row.writer)) else { return Ok(()) };
    let mut parts = Block::parts(rows).peekable();
    while let Some(part) = parts.next() {
        let block = Block::of(part);
        // What is followed by another is full, or of another time.
        let is_small = parts.peek().is_none() && block.rows < BLOCK_ROWS_MAX;
        let values = vec![
            Value::from(&*writer),
            Value::from(stored(block.seq)),
            Value::from(i64::from(is_small)),
            Value::from(stored(block.rows as u64)),
            Value::from(stored_time(block.from)),
            Value::from(stored_time(block.until)),
        ];
        let sql = "INSERT INTO tollgate_audit_blocks (writer, seq, small, rows, from_ms, until_ms) \
            VALUES ($1, $2, $3, $4, $5, $6) RETURNING id";
        let row = connection.row(sql, values).await?;
        let id: i64 = row.ok_or_else(|| StoreError::broken("a new block has no id"))?.get(0)?;
        let columns = block.columns.into_iter().enumerate();
        let values = columns.flat_map(|(at, bytes)| [Value::from(column(id, at)), Value::Bytes(bytes)]);
        connection.run(COLUMNS_ALL.as_str(), values.collect()).await?;
    }
    Ok(())
}
