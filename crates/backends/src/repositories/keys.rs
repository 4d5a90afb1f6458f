//! API keys.

use std::sync::Arc;

use async_trait::async_trait;
use tollgate_model::{KeyHash, KeyId, KeyRecord, TenantId, Timestamp};
use tollgate_store::{Change, Keys, StoreError, WhichKeys, rotated};

use super::feed::Writing;
use super::{digest, limit, stored_time, time};
use crate::connections::{Connection, Row, Value};
use crate::database::{Begin, Database};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant, agent, groups, hash, created_ms, expires_ms, revoked_ms, replaced_by FROM tollgate_keys ",
            $rest
        )
    };
}

/// All keys.
pub(super) const ALL: &str = select!("ORDER BY id");

/// The key that a row of [`ALL`] holds.
pub(super) fn key(row: &Row) -> Result<KeyRecord, StoreError> {
    let groups: Vec<String> = serde_json::from_str(&row.get::<String>(3)?).map_err(StoreError::broken)?;
    Ok(KeyRecord {
        id: KeyId::new(&row.get::<String>(0)?),
        tenant: TenantId::new(&row.get::<String>(1)?),
        agent: row.get::<String>(2)?.into(),
        groups: groups.into_iter().map(Arc::from).collect(),
        hash: KeyHash(digest(&row.get::<Vec<u8>>(4)?)?),
        created: time(row.get(5)?),
        expires: row.get::<Option<i64>>(6)?.map(time),
        revoked: row.get::<Option<i64>>(7)?.map(time),
        replaced_by: row.get::<Option<String>>(8)?.as_deref().map(KeyId::new),
    })
}

#[async_trait]
impl Keys for Database {
    async fn add_key(&self, key: KeyRecord) -> Result<(), StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            insert(&mut writing, key).await?;
            writing.commit().await
        })
        .await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let found = by_id(&mut reading.connection, id).await?;
            reading.commit().await?;
            Ok(found)
        })
        .await
    }

    async fn keys(&self, which: &WhichKeys) -> Result<Vec<KeyRecord>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let sql = select!(
                "WHERE (tenant = $1 OR $1 IS NULL) AND (agent = $2 OR $2 IS NULL) AND (id > $3 OR $3 IS NULL) \
                 ORDER BY id LIMIT $4"
            );
            let values = vec![
                Value::from(which.tenant.as_ref().map(TenantId::as_str)),
                Value::from(which.agent.as_deref()),
                Value::from(which.after.as_ref().map(KeyId::as_str)),
                Value::from(limit(which.most)),
            ];
            let rows = reading.connection.rows(sql, values).await?;
            reading.commit().await?;
            rows.iter().map(key).collect()
        })
        .await
    }

    async fn rotate_key(
        &self,
        old: &KeyId,
        new: KeyRecord,
        until: Timestamp,
    ) -> Result<KeyRecord, StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            let before = by_id(&mut writing.transaction.connection, old).await?;
            let rotated = rotated(&before.ok_or(StoreError::NoSuchKey)?, &new, until)?;
            insert(&mut writing, new).await?;
            update(&mut writing, rotated.clone()).await?;
            writing.commit().await?;
            Ok(rotated)
        })
        .await
    }

    async fn revoke_seen_key(
        &self,
        id: &KeyId,
        at: Timestamp,
        seen: Option<&KeyRecord>,
    ) -> Result<KeyRecord, StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            let before = by_id(&mut writing.transaction.connection, id).await?;
            let mut key = before.ok_or(StoreError::NoSuchKey)?;
            StoreError::unless_seen(&key, seen)?;
            if key.revoked.is_none() {
                key.revoked = Some(at);
                update(&mut writing, key.clone()).await?;
            }
            writing.commit().await?;
            Ok(key)
        })
        .await
    }
}

async fn by_id(connection: &mut Connection, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
    let row = connection.row(select!("WHERE id = $1"), vec![Value::from(id.as_str())]).await?;
    row.as_ref().map(key).transpose()
}

async fn insert(writing: &mut Writing<'_>, key: KeyRecord) -> Result<(), StoreError> {
    let groups: Vec<&str> = key.groups.iter().map(|group| &**group).collect();
    let groups = serde_json::to_string(&groups).map_err(StoreError::broken)?;
    let values = vec![
        Value::from(key.id.as_str()),
        Value::from(key.tenant.as_str()),
        Value::from(&*key.agent),
        Value::from(&*groups),
        Value::from(&key.hash.0[..]),
        Value::from(stored_time(key.created)),
        Value::from(key.expires.map(stored_time)),
        Value::from(key.revoked.map(stored_time)),
        Value::from(key.replaced_by.as_ref().map(KeyId::as_str)),
    ];
    let sql = "INSERT INTO tollgate_keys \
        (id, tenant, agent, groups, hash, created_ms, expires_ms, revoked_ms, replaced_by) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
    if writing.transaction.connection.run(sql, values).await? == 0 {
        return Err(StoreError::KeyTaken);
    }
    writing.say(&Change::Key(Arc::new(key))).await
}

/// Only what can change.
async fn update(writing: &mut Writing<'_>, key: KeyRecord) -> Result<(), StoreError> {
    let values = vec![
        Value::from(key.id.as_str()),
        Value::from(key.expires.map(stored_time)),
        Value::from(key.revoked.map(stored_time)),
        Value::from(key.replaced_by.as_ref().map(KeyId::as_str)),
    ];
    let sql = "UPDATE tollgate_keys SET expires_ms = $2, revoked_ms = $3, replaced_by = $4 WHERE id = $1";
    writing.transaction.connection.run(sql, values).await?;
    writing.say(&Change::Key(Arc::new(key))).await
}
