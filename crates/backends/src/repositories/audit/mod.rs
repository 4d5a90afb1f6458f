//! The index of the ledger, and what was used.
//!
//! Statements are few and take many rows each: what the index costs is paid for by every call.

mod add;
mod arrived;
mod findings;
mod forget;
mod search;
mod sums;
mod usage;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use tollgate_model::Timestamp;
use tollgate_store::{
    Arrived, AuditBatch, AuditFound, AuditIndex, AuditQuery, AuditRow, Block, COLUMNS, Filter, FindingBy,
    FindingQuery, FindingRow, Followed, StoreError, WhoseNames,
};

use crate::connections::{Connection, Row, Value};
use crate::database::{Begin, Database};

/// How many columns a block may come to have: ids of columns are that many times those of blocks.
const COLUMNS_ROOM: i64 = 16;
/// The column that holds the body.
const BODY: usize = COLUMNS - 1;

#[async_trait]
impl AuditIndex for Database {
    async fn followed(&self, writer: &str) -> Result<Option<Followed>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let sql = "SELECT segment, at, seq, used FROM tollgate_audit_writers WHERE writer = $1";
            let row = reading.connection.row(sql, vec![Value::from(writer)]).await?;
            reading.commit().await?;
            row.as_ref().map(followed).transpose()
        })
        .await
    }

    async fn arrived_so_far(&self) -> Result<Arrived, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let arrived = arrived::so_far(&mut reading.connection).await?;
            reading.commit().await?;
            Ok(arrived)
        })
        .await
    }

    async fn open_calls(&self, writer: &str) -> Result<Vec<AuditRow>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let sql = "SELECT writer, body FROM tollgate_audit_open WHERE writer = $1 ORDER BY seq";
            let rows = reading.connection.rows(sql, vec![Value::from(writer)]).await?;
            reading.commit().await?;
            open_rows(&rows)
        })
        .await
    }

    async fn add_entries(&self, batch: &AuditBatch) -> Result<bool, StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            if !add::claim(&mut writing.connection, batch).await? {
                writing.leave().await?;
                return Ok(false);
            }
            add::add(&mut writing.connection, batch).await?;
            writing.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn search(&self, query: &AuditQuery) -> Result<AuditFound, StoreError> {
        self.within(self.bounds.load_max, async {
            let mut reading = self.begin(Begin::ReadAll).await?;
            let connection = &mut reading.connection;
            let filter = filter(connection, query).await?;
            let rows = search::search(connection, &filter).await?;
            let found = named(connection, rows).await?;
            reading.commit().await?;
            Ok(found)
        })
        .await
    }

    async fn arrived(
        &self,
        after: &mut Arrived,
        query: &AuditQuery,
        most: usize,
    ) -> Result<AuditFound, StoreError> {
        self.within(self.bounds.load_max, async {
            let mut reading = self.begin(Begin::ReadAll).await?;
            let connection = &mut reading.connection;
            let filter = filter(connection, query).await?;
            let mut moved = after.clone();
            let rows = arrived::arrived(connection, &mut moved, &filter, most).await?;
            let found = named(connection, rows).await?;
            reading.commit().await?;
            *after = moved;
            Ok(found)
        })
        .await
    }

    async fn names(&self, references: &[Arc<str>]) -> Result<HashMap<Arc<str>, Arc<str>>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let names = names(&mut reading.connection, references.to_vec()).await?;
            reading.commit().await?;
            Ok(names)
        })
        .await
    }

    async fn findings(&self, which: &FindingQuery) -> Result<Vec<FindingRow>, StoreError> {
        self.within(self.bounds.load_max, async {
            let mut reading = self.begin(Begin::Read).await?;
            let found = findings::list(&mut reading.connection, which).await?;
            reading.commit().await?;
            Ok(found)
        })
        .await
    }

    async fn finding_sums(
        &self,
        which: &FindingQuery,
        by: FindingBy,
    ) -> Result<Vec<(Arc<str>, u64)>, StoreError> {
        self.within(self.bounds.load_max, async {
            let mut reading = self.begin(Begin::Read).await?;
            let found = findings::sums(&mut reading.connection, which, by).await?;
            reading.commit().await?;
            Ok(found)
        })
        .await
    }

    async fn forget_findings(&self, before: Timestamp, most: usize) -> Result<usize, StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            let count = findings::forget(&mut writing.connection, before, most).await?;
            writing.commit().await?;
            Ok(count)
        })
        .await
    }

    async fn forget_rows(&self, before: Timestamp, most: usize) -> Result<usize, StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            let count = forget::rows(&mut writing.connection, before, most).await?;
            writing.commit().await?;
            Ok(count)
        })
        .await
    }

    async fn forget_names(&self, whose: &WhoseNames) -> Result<usize, StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            let count = forget::names(&mut writing.connection, whose).await?;
            writing.commit().await?;
            Ok(count)
        })
        .await
    }

    async fn forget_index(&self, writer: Option<&str>) -> Result<(), StoreError> {
        self.within(self.bounds.load_max, async {
            let mut writing = self.begin(Begin::Write).await?;
            forget::index(&mut writing.connection, writer).await?;
            writing.commit().await
        })
        .await
    }
}

/// A row of segment, place in it, number, and number up to which it is in the sums.
fn followed(row: &Row) -> Result<Followed, StoreError> {
    Ok(Followed {
        segment: number(row.get(0)?),
        offset: number(row.get(1)?),
        seq: number(row.get(2)?),
        used: number(row.get(3)?),
    })
}

/// Rows of writer and body.
fn open_rows(rows: &[Row]) -> Result<Vec<AuditRow>, StoreError> {
    let mut open = Vec::with_capacity(rows.len());
    for row in rows {
        let writer: String = row.get(0)?;
        open.extend(Block::rows(&writer.into(), &row.get::<Vec<u8>>(1)?, None).map_err(StoreError::broken)?);
    }
    Ok(open)
}

/// The query with names made references.
async fn filter(connection: &mut Connection, query: &AuditQuery) -> Result<Filter, StoreError> {
    const REFERENCES_MAX: i64 = 10_000;
    let mut references: HashMap<(&str, &str), Vec<Arc<str>>> = HashMap::new();
    for (kind, name) in [("agent", &query.agent), ("user", &query.user)] {
        let Some(name) = name.as_deref() else { continue };
        let sql = "SELECT reference FROM tollgate_audit_names WHERE name = $1 AND kind = $2 LIMIT $3";
        let values = vec![Value::from(name), Value::from(kind), Value::from(REFERENCES_MAX)];
        let rows = connection.rows(sql, values).await?;
        let found = rows.iter().map(|row| row.get::<String>(0).map(Arc::from));
        references.insert((kind, name), found.collect::<Result<_, _>>()?);
    }
    Ok(Filter::new(query, &references))
}

/// What was found, with the names of whom it is about.
async fn named(connection: &mut Connection, rows: Vec<AuditRow>) -> Result<AuditFound, StoreError> {
    let references: Vec<Arc<str>> = rows.iter().flat_map(AuditRow::references).cloned().collect();
    let names = names(connection, references).await?;
    Ok(AuditFound { rows, names })
}

async fn names(
    connection: &mut Connection,
    mut references: Vec<Arc<str>>,
) -> Result<HashMap<Arc<str>, Arc<str>>, StoreError> {
    references.sort_unstable();
    references.dedup();
    if references.is_empty() {
        return Ok(HashMap::new());
    }
    let references: Vec<&str> = references.iter().map(|reference| &**reference).collect();
    let list = serde_json::to_string(&references).map_err(StoreError::broken)?;
    let sql = match connection {
        Connection::Sqlite(_) => {
            "SELECT reference, name FROM tollgate_audit_names \
                WHERE reference IN (SELECT value FROM json_each($1))"
        }
        Connection::Postgres(_) => {
            "SELECT reference, name FROM tollgate_audit_names \
                WHERE reference IN (SELECT json_array_elements_text($1::JSON))"
        }
    };
    let found = connection.rows(sql, vec![Value::from(&*list)]).await?;
    let name = |row: &Row| Ok((row.get::<String>(0)?.into(), row.get::<String>(1)?.into()));
    found.iter().map(name).collect()
}

/// The columns with these ids, which are many.
async fn columns(connection: &mut Connection, ids: &[i64]) -> Result<HashMap<i64, Vec<u8>>, StoreError> {
    let list = serde_json::to_string(ids).map_err(StoreError::broken)?;
    let sql = match connection {
        Connection::Sqlite(_) => {
            "SELECT id, bytes FROM tollgate_audit_columns WHERE id IN (SELECT value FROM json_each($1))"
        }
        Connection::Postgres(_) => {
            "SELECT id, bytes FROM tollgate_audit_columns \
                WHERE id IN (SELECT json_array_elements_text($1::JSON)::BIGINT)"
        }
    };
    let rows = connection.rows(sql, vec![Value::from(&*list)]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// The id of a block's column.
fn column(block: i64, column: usize) -> i64 {
    block * COLUMNS_ROOM + stored(column as u64)
}

fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

/// A statement that inserts so many rows of so many columns each.
fn many(head: &str, columns: usize, rows: usize, tail: &str) -> String {
    let row = |row: usize| {
        let places: Vec<String> =
            (1..=columns).map(|column| format!("${}", row * columns + column)).collect();
        format!("({})", places.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!("{head} VALUES {} {tail}", rows.join(", "))
}
