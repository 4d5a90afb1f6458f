//! What is taken back before it ends by itself.

use async_trait::async_trait;
use tollgate_store::{Change, ENDED_BATCH, ENDED_KEPT, Revocable, Revocation, Revocations, StoreError};

use super::feed::Writing;
use super::{limit, stored_time, time};
use crate::connections::{Row, Value};
use crate::database::{Begin, Database};

/// All revocations.
pub(super) const ALL: &str =
    "SELECT kind, whose, name, since_ms, until_ms FROM tollgate_revocations ORDER BY kind, whose, name";

/// What a row of [`ALL`] holds.
pub(super) fn revocation(row: &Row) -> Result<Revocation, StoreError> {
    Ok(Revocation { what: what(row)?, since: time(row.get(3)?), until: row.get::<Option<i64>>(4)?.map(time) })
}

fn what(row: &Row) -> Result<Revocable, StoreError> {
    let (kind, whose, name): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    Revocable::from_parts(&kind, &whose, &name)
        .ok_or_else(|| StoreError::broken("something is revoked that this program does not know"))
}

fn key(what: &Revocable) -> Vec<Value> {
    let (kind, whose, name) = what.parts();
    vec![Value::from(kind), Value::from(whose), Value::from(name)]
}

#[async_trait]
impl Revocations for Database {
    async fn revoke(&self, revocation: Revocation) -> Result<(), StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            let kept_ms = i64::try_from(ENDED_KEPT.as_millis()).unwrap_or(i64::MAX);
            let ended = stored_time(revocation.since).saturating_sub(kept_ms);
            let sql = "SELECT kind, whose, name FROM tollgate_revocations WHERE until_ms < $1 \
                ORDER BY kind, whose, name LIMIT $2";
            let values = vec![Value::from(ended), Value::from(limit(ENDED_BATCH))];
            for row in writing.transaction.connection.rows(sql, values).await? {
                remove(&mut writing, what(&row)?).await?;
            }
            let mut values = key(&revocation.what);
            values.push(Value::from(stored_time(revocation.since)));
            values.push(Value::from(revocation.until.map(stored_time)));
            let sql = "INSERT INTO tollgate_revocations (kind, whose, name, since_ms, until_ms) \
                VALUES ($1, $2, $3, $4, $5) \
                ON CONFLICT (kind, whose, name) DO UPDATE SET since_ms = $4, until_ms = $5";
            writing.transaction.connection.run(sql, values).await?;
            writing.say(&Change::Revoked(revocation)).await?;
            writing.commit().await
        })
        .await
    }

    async fn reinstate(&self, what: &Revocable) -> Result<bool, StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            let was_there = remove(&mut writing, what.clone()).await?;
            writing.commit().await?;
            Ok(was_there)
        })
        .await
    }

    async fn revocations(
        &self,
        after: Option<&Revocable>,
        most: usize,
    ) -> Result<Vec<Revocation>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let mut values = after.map_or_else(|| ["", "", ""].map(Value::from).into(), key);
            values.push(Value::from(limit(most)));
            let sql = "SELECT kind, whose, name, since_ms, until_ms FROM tollgate_revocations \
                WHERE (kind, whose, name) > ($1, $2, $3) ORDER BY kind, whose, name LIMIT $4";
            let rows = reading.connection.rows(sql, values).await?;
            reading.commit().await?;
            rows.iter().map(revocation).collect()
        })
        .await
    }
}

async fn remove(writing: &mut Writing<'_>, what: Revocable) -> Result<bool, StoreError> {
    let sql = "DELETE FROM tollgate_revocations WHERE kind = $1 AND whose = $2 AND name = $3";
    if writing.transaction.connection.run(sql, key(&what)).await? == 0 {
        return Ok(false);
    }
    writing.say(&Change::Reinstated(what)).await?;
    Ok(true)
}
