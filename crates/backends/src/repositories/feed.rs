//! The feed of changes.
//!
//! A writer first takes the one row of `tollgate_head`, and has it until its end. So revisions become visible in the order
//! in which they are given, without gaps: a reader that has seen one has seen all before it.

use std::sync::Arc;

use async_trait::async_trait;
use tollgate_store::{
    Blocking, Change, Changes, Cursor, Digest, Feed, Numbered, Pausing, Revocation, Snapshot, StoreError,
    mark,
};

use super::{blocks, definitions, digest, keys, limit, pauses, pins, registrations, revocations, rules};
use crate::connections::{Row, Value};
use crate::database::{Begin, Database, Transaction};
use crate::postgres::CHANNEL;

/// A transaction that may say something in the feed.
pub(super) struct Writing<'d> {
    database: &'d Database,
    pub(super) transaction: Transaction,
    head: i64,
    is_news: bool,
}

impl<'d> Writing<'d> {
    /// Waits for all other writers.
    pub(super) async fn begin(database: &'d Database) -> Result<Self, StoreError> {
        let mut transaction = database.begin(Begin::Write).await?;
        let sql = "UPDATE tollgate_head SET revision = revision WHERE one = 1 RETURNING revision";
        let row = transaction.connection.row(sql, Vec::new()).await?;
        let head = row.ok_or_else(|| StoreError::broken("the feed has no head"))?.get(0)?;
        Ok(Self { database, transaction, head, is_news: false })
    }

    /// Says in the feed what has changed.
    pub(super) async fn say(&mut self, change: &Change) -> Result<(), StoreError> {
        self.head += 1;
        self.is_news = true;
        let values =
            vec![Value::from(self.head), Value::from(i64::from(mark() >> 1)), Value::from(&*change.encode())];
        let sql = "INSERT INTO tollgate_feed (revision, mark, body) VALUES ($1, $2, $3)";
        self.transaction.connection.run(sql, values).await?;
        Ok(())
    }

    /// Makes it so, and tells whoever follows the feed.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        if !self.is_news {
            return self.transaction.leave().await;
        }
        let connection = &mut self.transaction.connection;
        let head = vec![Value::from(self.head)];
        connection.run("UPDATE tollgate_head SET revision = $1 WHERE one = 1", head).await?;
        let kept = self.head.saturating_sub(limit(self.database.bounds.feed_max.max(1)));
        let cut = vec![Value::from(kept)];
        connection.run("DELETE FROM tollgate_feed WHERE revision < $1", cut).await?;
        if self.database.is_postgres() {
            let word = vec![Value::from(CHANNEL), Value::from(&*self.head.to_string())];
            connection.rows("SELECT pg_notify($1, $2)", word).await?;
        }
        self.transaction.commit().await?;
        self.database.tell(revision(self.head));
        Ok(())
    }
}

#[async_trait]
impl Feed for Database {
    async fn head(&self) -> Result<Cursor, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let head = head(&mut reading).await?;
            reading.commit().await?;
            Ok(head)
        })
        .await
    }

    async fn changes(&self, after: Cursor, most: usize) -> Result<Changes, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            // The change at the place itself comes first: whether it is there, and the same.
            let sql = "SELECT revision, mark, body FROM tollgate_feed WHERE revision >= $1 ORDER BY revision LIMIT $2";
            let from = i64::try_from(after.revision).unwrap_or(i64::MAX);
            let values = vec![Value::from(from), Value::from(limit(most.saturating_add(1)))];
            let rows = reading.connection.rows(sql, values).await?;
            reading.commit().await?;
            let mut rows = rows.into_iter();
            match rows.next() {
                Some(first) if cursor(&first)? == after => {}
                _ => return Ok(Changes::Lost),
            }
            let numbered = |row: Row| {
                Ok(Numbered { cursor: cursor(&row)?, change: Change::decode(&row.get::<String>(2)?)? })
            };
            Ok(Changes::These(rows.map(numbered).collect::<Result<_, StoreError>>()?))
        })
        .await
    }

    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.within(self.bounds.load_max, async {
            let mut reading = self.begin(Begin::ReadAll).await?;
            let cursor = head(&mut reading).await?;
            let connection = &mut reading.connection;
            let keys = connection.rows(keys::ALL, Vec::new()).await?;
            let revocations = connection.rows(revocations::ALL, Vec::new()).await?;
            let stopped = connection.rows(blocks::ALL, Vec::new()).await?;
            let paused = connection.rows(pauses::ALL, Vec::new()).await?;
            let registered = connection.rows(registrations::ALL, Vec::new()).await?;
            let ruled = connection.rows(rules::ALL, Vec::new()).await?;
            let definitions = connection.rows(definitions::DIGESTS, Vec::new()).await?;
            let pinned = connection.rows(pins::MARKS, Vec::new()).await?;
            reading.commit().await?;
            let keys = keys.iter().map(|row| keys::key(row).map(Arc::new));
            let revocations = revocations.iter().map(revocations::revocation);
            let stopped = stopped.iter().map(blocks::blocking);
            let paused = paused.iter().map(pauses::pausing);
            let registered = registered.iter().map(|row| registrations::registration(row).map(Arc::new));
            let definitions = definitions
                .iter()
                .map(|row| Ok((definitions::of(row)?, Digest(digest(&row.get::<Vec<u8>>(4)?)?))));
            Ok(Snapshot {
                cursor,
                keys: keys.collect::<Result<_, StoreError>>()?,
                revocations: revocations.collect::<Result<Vec<Revocation>, StoreError>>()?,
                blocks: stopped.collect::<Result<Vec<Blocking>, StoreError>>()?,
                pauses: paused.collect::<Result<Vec<Pausing>, StoreError>>()?,
                registrations: registered.collect::<Result<_, StoreError>>()?,
                rules: ruled
                    .iter()
                    .map(|row| rules::set(row).map(Arc::new))
                    .collect::<Result<_, StoreError>>()?,
                definitions: definitions.collect::<Result<_, StoreError>>()?,
                pins: pinned.iter().map(pins::marked).collect::<Result<_, StoreError>>()?,
            })
        })
        .await
    }

    async fn news(&self, after: Cursor) {
        self.hear(after).await;
    }
}

async fn head(reading: &mut Transaction) -> Result<Cursor, StoreError> {
    let sql = "SELECT revision, mark FROM tollgate_feed ORDER BY revision DESC LIMIT 1";
    let row = reading.connection.row(sql, Vec::new()).await?;
    cursor(&row.ok_or_else(|| StoreError::broken("the feed is empty"))?)
}

fn cursor(row: &Row) -> Result<Cursor, StoreError> {
    let mark = u32::try_from(row.get::<i64>(1)?).map_err(StoreError::broken)?;
    Ok(Cursor { revision: revision(row.get(0)?), mark })
}

fn revision(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}
