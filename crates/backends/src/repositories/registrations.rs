//! Servers that are registered while gateways run.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use tollgate_model::{ServerName, TenantId};
use tollgate_store::{
    Change, REGISTRATIONS_MAX, Registration, RegistrationId, Registrations, StoreError, VERSIONS_MAX,
    WhichRegistrations, check_shares,
};

use super::feed::Writing;
use super::{limit, stored_time};
use crate::connections::{Connection, Row, Value};
use crate::database::{Begin, Database};

/// All that are not retired.
pub(super) const ALL: &str =
    "SELECT body FROM tollgate_registrations WHERE life <> 'retired' ORDER BY tenant, name, version";

/// What a row of [`ALL`] holds.
pub(super) fn registration(row: &Row) -> Result<Registration, StoreError> {
    Registration::decode(&row.get::<String>(0)?)
}

fn key(id: &RegistrationId) -> Vec<Value> {
    vec![Value::from(id.tenant.as_str()), Value::from(id.name.as_str()), Value::from(&*id.version)]
}

#[async_trait]
impl Registrations for Database {
    async fn put_registrations(&self, registrations: Vec<Registration>) -> Result<(), StoreError> {
        self.bounded(async {
            // Dropped before it is committed, none of it happened.
            let mut writing = Writing::begin(self).await?;
            let mut servers = BTreeSet::new();
            for one in registrations {
                servers.insert((one.id.tenant.clone(), one.id.name.clone()));
                put(&mut writing, one).await?;
            }
            for (tenant, name) in servers {
                let sql = "SELECT body FROM tollgate_registrations WHERE tenant = $1 AND name = $2 \
                    AND life <> 'retired'";
                let values = vec![Value::from(tenant.as_str()), Value::from(name.as_str())];
                let versions = writing.transaction.connection.rows(sql, values).await?;
                check_shares(&versions.iter().map(registration).collect::<Result<Vec<_>, _>>()?)?;
            }
            writing.commit().await
        })
        .await
    }

    async fn registration(&self, id: &RegistrationId) -> Result<Option<Registration>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let found = by_id(&mut reading.connection, id).await?;
            reading.commit().await?;
            Ok(found)
        })
        .await
    }

    async fn registrations(&self, which: &WhichRegistrations) -> Result<Vec<Registration>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let mut values = vec![
                Value::from(which.tenant.as_ref().map(TenantId::as_str)),
                Value::from(which.name.as_ref().map(ServerName::as_str)),
            ];
            // No tenant is called nothing.
            values.extend(which.after.as_ref().map_or_else(|| ["", "", ""].map(Value::from).into(), key));
            values.push(Value::from(limit(which.most)));
            let sql = "SELECT body FROM tollgate_registrations WHERE (tenant = $1 OR $1 IS NULL) \
                AND (name = $2 OR $2 IS NULL) AND (tenant, name, version) > ($3, $4, $5) \
                ORDER BY tenant, name, version LIMIT $6";
            let rows = reading.connection.rows(sql, values).await?;
            reading.commit().await?;
            rows.iter().map(registration).collect()
        })
        .await
    }
}

async fn by_id(connection: &mut Connection, id: &RegistrationId) -> Result<Option<Registration>, StoreError> {
    let sql = "SELECT body FROM tollgate_registrations WHERE tenant = $1 AND name = $2 AND version = $3";
    let row = connection.row(sql, key(id)).await?;
    row.as_ref().map(registration).transpose()
}

async fn put(writing: &mut Writing<'_>, one: Registration) -> Result<(), StoreError> {
    let connection = &mut writing.transaction.connection;
    let before = by_id(connection, &one.id).await?;
    one.check(before.as_ref())?;
    if before.is_none() {
        make_room(connection, &one.id).await?;
    }
    let mut values = key(&one.id);
    values.push(Value::from(one.life.as_str()));
    values.push(Value::from(i64::try_from(one.revision).map_err(StoreError::broken)?));
    values.push(Value::from(stored_time(one.last.at)));
    values.push(Value::from(&*one.encode()));
    let sql = "INSERT INTO tollgate_registrations (tenant, name, version, life, revision, changed_ms, body) \
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant, name, version) \
        DO UPDATE SET life = $4, revision = $5, changed_ms = $6, body = $7";
    connection.run(sql, values).await?;
    writing.say(&Change::Registered(Arc::new(one))).await
}

/// Forgets the oldest that is retired, if there are as many as can be.
async fn make_room(connection: &mut Connection, id: &RegistrationId) -> Result<(), StoreError> {
    let sql =
        "SELECT count(*) FROM tollgate_registrations WHERE tenant = $1 AND name = $2 AND life <> 'retired'";
    let values = vec![Value::from(id.tenant.as_str()), Value::from(id.name.as_str())];
    if count(connection, sql, values).await? >= VERSIONS_MAX {
        return Err(StoreError::Full { most: VERSIONS_MAX });
    }
    let all = "SELECT count(*) FROM tollgate_registrations";
    if count(connection, all, Vec::new()).await? < REGISTRATIONS_MAX {
        return Ok(());
    }
    let sql = "DELETE FROM tollgate_registrations WHERE (tenant, name, version) IN (SELECT tenant, name, version \
        FROM tollgate_registrations WHERE life = 'retired' ORDER BY changed_ms, tenant, name, version LIMIT 1)";
    if connection.run(sql, Vec::new()).await? == 0 {
        return Err(StoreError::Full { most: REGISTRATIONS_MAX });
    }
    Ok(())
}

async fn count(
    connection: &mut Connection,
    sql: &'static str,
    values: Vec<Value>,
) -> Result<usize, StoreError> {
    let row = connection.row(sql, values).await?;
    let found: i64 = row.ok_or_else(|| StoreError::broken("the database gives no answer"))?.get(0)?;
    usize::try_from(found).map_err(StoreError::broken)
}
