//! What servers last listed.

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::value::RawValue;
use tollgate_model::TenantId;
use tollgate_store::{Change, Definitions, DefinitionsOf, Digest, LastKnown, StoreError, definitions_of};

use super::feed::Writing;
use super::{digest, stored_time, time};
use crate::connections::{Connection, Row, Value};
use crate::database::{Begin, Database};

/// The digests of all definitions.
pub(super) const DIGESTS: &str = "SELECT shared, tenant, server, list, digest FROM tollgate_definitions";

/// Whose definitions a row is about that begins like [`DIGESTS`].
pub(super) fn of(row: &Row) -> Result<DefinitionsOf, StoreError> {
    let tenant: Option<String> = if row.get::<i64>(0)? == 0 { Some(row.get(1)?) } else { None };
    definitions_of(tenant.as_deref(), &row.get::<String>(2)?, &row.get::<String>(3)?)
}

fn whose(tenant: Option<&TenantId>) -> Vec<Value> {
    vec![Value::from(i64::from(tenant.is_none())), Value::from(tenant.map_or("", TenantId::as_str))]
}

fn key(of: &DefinitionsOf) -> Vec<Value> {
    let mut key = whose(of.tenant.as_ref());
    key.push(Value::from(of.server.as_str()));
    key.push(Value::from(of.list.as_str()));
    key
}

#[async_trait]
impl LastKnown for Database {
    async fn keep_definitions(&self, definitions: &Definitions) -> Result<bool, StoreError> {
        definitions.check()?;
        self.bounded(async {
            // Mostly it is no news, and no writer needs to wait for it.
            let mut reading = self.begin(Begin::Read).await?;
            let known = known_digest(&mut reading.connection, &definitions.of).await?;
            reading.commit().await?;
            if known == Some(definitions.digest) {
                return Ok(false);
            }
            let mut writing = Writing::begin(self).await?;
            let known = known_digest(&mut writing.transaction.connection, &definitions.of).await?;
            let is_news = known != Some(definitions.digest);
            if is_news {
                let mut values = key(&definitions.of);
                values.push(Value::from(&definitions.digest.0[..]));
                values.push(Value::Bytes(array(&definitions.items)));
                values.push(Value::from(stored_time(definitions.seen)));
                let sql = "INSERT INTO tollgate_definitions (shared, tenant, server, list, digest, items, seen_ms) \
                    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (shared, tenant, server, list) \
                    DO UPDATE SET digest = $5, items = $6, seen_ms = $7";
                writing.transaction.connection.run(sql, values).await?;
                let change = Change::Defined(definitions.of.clone(), definitions.digest);
                writing.say(&change).await?;
            }
            writing.commit().await?;
            Ok(is_news)
        })
        .await
    }

    async fn definitions(&self, of: &DefinitionsOf) -> Result<Option<Definitions>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let sql = "SELECT digest, items, seen_ms FROM tollgate_definitions \
                WHERE shared = $1 AND tenant = $2 AND server = $3 AND list = $4";
            let row = reading.connection.row(sql, key(of)).await?;
            reading.commit().await?;
            let Some(row) = row else { return Ok(None) };
            Ok(Some(Definitions {
                of: of.clone(),
                digest: Digest(digest(&row.get::<Vec<u8>>(0)?)?),
                items: items(&row.get::<Vec<u8>>(1)?)?,
                seen: time(row.get(2)?),
            }))
        })
        .await
    }

    async fn known(&self, tenant: Option<&TenantId>) -> Result<Vec<DefinitionsOf>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let sql = "SELECT shared, tenant, server, list FROM tollgate_definitions \
                WHERE shared = $1 AND tenant = $2 ORDER BY server, list";
            let rows = reading.connection.rows(sql, whose(tenant)).await?;
            reading.commit().await?;
            rows.iter().map(of).collect()
        })
        .await
    }

    async fn forget_definitions(&self, of: &DefinitionsOf) -> Result<bool, StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            let sql = "DELETE FROM tollgate_definitions \
                WHERE shared = $1 AND tenant = $2 AND server = $3 AND list = $4";
            let was_there = writing.transaction.connection.run(sql, key(of)).await? > 0;
            if was_there {
                writing.say(&Change::Forgotten(of.clone())).await?;
            }
            writing.commit().await?;
            Ok(was_there)
        })
        .await
    }
}

async fn known_digest(connection: &mut Connection, of: &DefinitionsOf) -> Result<Option<Digest>, StoreError> {
    let sql = "SELECT digest FROM tollgate_definitions \
        WHERE shared = $1 AND tenant = $2 AND server = $3 AND list = $4";
    let row = connection.row(sql, key(of)).await?;
    row.map(|row| Ok(Digest(digest(&row.get::<Vec<u8>>(0)?)?))).transpose()
}

/// The items as one JSON array, each to the letter.
fn array(items: &[Bytes]) -> Vec<u8> {
    let mut array = vec![b'['];
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            array.push(b',');
        }
        array.extend_from_slice(item);
    }
    array.push(b']');
    array
}

fn items(array: &[u8]) -> Result<Vec<Bytes>, StoreError> {
    let items: Vec<&RawValue> = serde_json::from_slice(array).map_err(StoreError::broken)?;
    Ok(items.into_iter().map(|item| Bytes::copy_from_slice(item.get().as_bytes())).collect())
}
