//! The repositories, in SQL that both databases understand.

mod accepted;
mod admins;
mod allowances;
mod approvals;
mod audit;
mod blocks;
mod definitions;
mod feed;
mod keys;
mod pauses;
mod pins;
mod pseudonyms;
mod record;
mod registrations;
mod revocations;
mod rules;

use async_trait::async_trait;
use tollgate_model::Timestamp;
use tollgate_store::{Store, StoreError};

use crate::database::Database;

#[async_trait]
impl Store for Database {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.ready().await
    }
}

/// As it is stored. The end of time is a little earlier there.
fn stored_time(time: Timestamp) -> i64 {
    i64::try_from(time.as_ms()).unwrap_or(i64::MAX)
}

fn time(stored: i64) -> Timestamp {
    Timestamp::from_ms(u64::try_from(stored).unwrap_or(0))
}

/// `most` as a statement takes it.
fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

fn digest(bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| StoreError::broken("a digest of a wrong length is stored"))
}
