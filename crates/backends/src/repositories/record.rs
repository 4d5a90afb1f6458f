//! What is kept for ledgers apart from them.

use async_trait::async_trait;
use tollgate_model::Timestamp;
use tollgate_store::{
    ANCHORS_KEPT, ANCHORS_MAX, Anchor, Anchors, ERASURES_KEPT, Erasure, Erasures, StoreError,
};

use super::{limit, stored_time, time};
use crate::connections::{Row, Value};
use crate::database::{Begin, Database};

/// The length of an hour.
const HOUR_MS: u64 = 3_600_000;

#[async_trait]
impl Anchors for Database {
    async fn keep_anchor(&self, anchor: &Anchor) -> Result<(), StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            let connection = &mut writing.connection;
            let hour = anchor.hour() * HOUR_MS;
            let sql = "INSERT INTO tollgate_anchors (writer, seq, time_ms, first, body) \
                SELECT $1, $2, $3, CASE WHEN EXISTS (SELECT 1 FROM tollgate_anchors \
                WHERE writer = $1 AND first = 1 AND time_ms >= $4 AND time_ms < $5) THEN 0 ELSE 1 END, $6 \
                WHERE NOT EXISTS (SELECT 1 FROM tollgate_anchors WHERE writer = $1 AND seq = $2) \
                ON CONFLICT (writer, seq) DO NOTHING";
            let values = vec![
                Value::from(&*anchor.writer),
                Value::from(number(anchor.seq)),
                Value::from(stored_time(anchor.time)),
                Value::from(number(hour)),
                Value::from(number(hour + HOUR_MS)),
                Value::from(&*anchor.body),
            ];
            connection.run(sql, values).await?;
            let sql = "DELETE FROM tollgate_anchors WHERE writer = $1 AND first = 0 AND seq <= \
                (SELECT seq FROM tollgate_anchors WHERE writer = $1 AND first = 0 ORDER BY seq DESC LIMIT 1 OFFSET $2)";
            let values = vec![Value::from(&*anchor.writer), Value::from(limit(ANCHORS_MAX))];
            connection.run(sql, values).await?;
            let old = vec![Value::from(before(anchor.time, ANCHORS_KEPT))];
            connection.run("DELETE FROM tollgate_anchors WHERE time_ms < $1", old).await?;
            writing.commit().await
        })
        .await
    }

    async fn anchors(&self, after: Option<(&str, u64)>, most: usize) -> Result<Vec<Anchor>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let (writer, seq) = after.map_or(("", -1), |(writer, seq)| (writer, number(seq)));
            let sql = "SELECT writer, seq, time_ms, body FROM tollgate_anchors \
                WHERE (writer, seq) > ($1, $2) ORDER BY writer, seq LIMIT $3";
            let values = vec![Value::from(writer), Value::from(seq), Value::from(limit(most))];
            let rows = reading.connection.rows(sql, values).await?;
            reading.commit().await?;
            rows.iter().map(anchor).collect()
        })
        .await
    }
}

#[async_trait]
impl Erasures for Database {
    async fn ask_erasure(&self, erasure: &Erasure) -> Result<u64, StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            let connection = &mut writing.connection;
            // One after the other: who has seen a number has seen all before it.
            connection.run("UPDATE tollgate_head SET revision = revision WHERE one = 1", Vec::new()).await?;
            let row =
                connection.row("SELECT coalesce(max(id), 0) + 1 FROM tollgate_erasures", Vec::new()).await?;
            let id: i64 = row.ok_or_else(|| StoreError::broken("no number for an erasure"))?.get(0)?;
            let sql = "INSERT INTO tollgate_erasures (id, \"user\", tenant, before_ms, asked_ms) \
                VALUES ($1, $2, $3, $4, $5)";
            let values = vec![
                Value::from(id),
                Value::from(erasure.user.as_deref()),
                Value::from(erasure.tenant.as_deref()),
                Value::from(stored_time(erasure.before)),
                Value::from(stored_time(erasure.asked)),
            ];
            connection.run(sql, values).await?;
            let old = vec![Value::from(before(erasure.asked, ERASURES_KEPT)), Value::from(id)];
            connection.run("DELETE FROM tollgate_erasures WHERE asked_ms < $1 AND id < $2", old).await?;
            writing.commit().await?;
            Ok(u64::try_from(id).unwrap_or(0))
        })
        .await
    }

    async fn erasures(&self, after: u64, most: usize) -> Result<Vec<(u64, Erasure)>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let sql = "SELECT id, \"user\", tenant, before_ms, asked_ms FROM tollgate_erasures \
                WHERE id > $1 ORDER BY id LIMIT $2";
            let values = vec![Value::from(number(after)), Value::from(limit(most))];
            let rows = reading.connection.rows(sql, values).await?;
            reading.commit().await?;
            rows.iter().map(erasure).collect()
        })
        .await
    }
}

fn anchor(row: &Row) -> Result<Anchor, StoreError> {
    Ok(Anchor {
        writer: row.get::<String>(0)?.into(),
        seq: u64::try_from(row.get::<i64>(1)?).unwrap_or(0),
        time: time(row.get(2)?),
        body: row.get::<String>(3)?.into(),
    })
}

fn erasure(row: &Row) -> Result<(u64, Erasure), StoreError> {
    let erasure = Erasure {
        user: row.get::<Option<String>>(1)?.map(Into::into),
        tenant: row.get::<Option<String>>(2)?.map(Into::into),
        before: time(row.get(3)?),
        asked: time(row.get(4)?),
    };
    Ok((u64::try_from(row.get::<i64>(0)?).unwrap_or(0), erasure))
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// So long before a time, as it is stored.
fn before(time: Timestamp, span: std::time::Duration) -> i64 {
    stored_time(time).saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}
