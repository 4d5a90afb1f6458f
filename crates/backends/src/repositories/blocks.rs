//! What operators have stopped.

use std::sync::Arc;

use async_trait::async_trait;
use tollgate_store::{Blockable, Blocking, Blocks, Change, StoreError, Unblocking};

use super::feed::Writing;
use super::{limit, stored_time, time};
use crate::connections::{Row, Value};
use crate::database::{Begin, Database};

/// The columns of a block, in the order in which [`blocking`] reads them.
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT kind, whose, name, reason, public, by_whom, since_ms FROM tollgate_blocks ", $rest)
    };
}

/// All blocks.
pub(super) const ALL: &str = select!("ORDER BY kind, whose, name");

/// What a row of [`ALL`] holds.
pub(super) fn blocking(row: &Row) -> Result<Blocking, StoreError> {
    let (kind, whose, name): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let what = Blockable::from_parts(&kind, &whose, &name)
        .ok_or_else(|| StoreError::broken("something is blocked that this program does not know"))?;
    Ok(Blocking {
        what,
        reason: Arc::from(row.get::<String>(3)?),
        is_public: row.get::<i64>(4)? != 0,
        by: Arc::from(row.get::<String>(5)?),
        since: time(row.get(6)?),
    })
}

fn key(what: &Blockable) -> Vec<Value> {
    let (kind, whose, name) = what.parts();
    vec![Value::from(kind), Value::from(&*whose), Value::from(&*name)]
}

#[async_trait]
impl Blocks for Database {
    async fn block(&self, blocking: Blocking) -> Result<bool, StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            let sql = "SELECT 1 FROM tollgate_blocks WHERE kind = $1 AND whose = $2 AND name = $3";
            let before = writing.transaction.connection.row(sql, key(&blocking.what)).await?;
            let mut values = key(&blocking.what);
            values.push(Value::from(&*blocking.reason));
            values.push(Value::from(i64::from(blocking.is_public)));
            values.push(Value::from(&*blocking.by));
            values.push(Value::from(stored_time(blocking.since)));
            let sql = "INSERT INTO tollgate_blocks (kind, whose, name, reason, public, by_whom, since_ms) \
                VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (kind, whose, name) \
                DO UPDATE SET reason = $4, public = $5, by_whom = $6, since_ms = $7";
            writing.transaction.connection.run(sql, values).await?;
            writing.say(&Change::Blocked(blocking)).await?;
            writing.commit().await?;
            Ok(before.is_none())
        })
        .await
    }

    async fn unblock_seen(
        &self,
        unblocking: Unblocking,
        seen: Option<&Blocking>,
    ) -> Result<bool, StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            let sql = select!("WHERE kind = $1 AND whose = $2 AND name = $3");
            if let Some(row) = writing.transaction.connection.row(sql, key(&unblocking.what)).await? {
                StoreError::unless_seen(&blocking(&row)?, seen)?;
            }
            let sql = "DELETE FROM tollgate_blocks WHERE kind = $1 AND whose = $2 AND name = $3";
            let was_there = writing.transaction.connection.run(sql, key(&unblocking.what)).await? > 0;
            if was_there {
                writing.say(&Change::Unblocked(unblocking)).await?;
            }
            writing.commit().await?;
            Ok(was_there)
        })
        .await
    }

    async fn blocks(&self, after: Option<&Blockable>, most: usize) -> Result<Vec<Blocking>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let mut values = after.map_or_else(|| ["", "", ""].map(Value::from).into(), key);
            values.push(Value::from(limit(most)));
            let sql = select!("WHERE (kind, whose, name) > ($1, $2, $3) ORDER BY kind, whose, name LIMIT $4");
            let rows = reading.connection.rows(sql, values).await?;
            reading.commit().await?;
            rows.iter().map(blocking).collect()
        })
        .await
    }
}
