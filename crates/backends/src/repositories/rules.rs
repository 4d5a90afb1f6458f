//! Sets of policies that are written while gateways run.

use std::sync::Arc;

use async_trait::async_trait;
use tollgate_store::{Change, RULE_SETS_MAX, RuleSet, RuleSetId, RuleSets, StoreError, WhichRules};

use super::feed::Writing;
use super::{limit, stored_time};
use crate::connections::{Connection, Row, Value};
use crate::database::{Begin, Database};

/// All, with the texts that decide or look on.
pub(super) const ALL: &str = "SELECT used FROM tollgate_rules ORDER BY tenant, name";

/// What a row holds.
pub(super) fn set(row: &Row) -> Result<RuleSet, StoreError> {
    RuleSet::decode(&row.get::<String>(0)?)
}

fn key(id: &RuleSetId) -> Vec<Value> {
    let (tenant, name) = id.parts();
    vec![Value::from(tenant), Value::from(name)]
}

#[async_trait]
impl RuleSets for Database {
    async fn put_rules(&self, set: RuleSet) -> Result<(), StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            put(&mut writing, &set).await?;
            writing.say(&Change::Ruled(Arc::new(set))).await?;
            writing.commit().await
        })
        .await
    }

    async fn rules(&self, id: &RuleSetId) -> Result<Option<RuleSet>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let found = by_id(&mut reading.connection, id).await?;
            reading.commit().await?;
            Ok(found)
        })
        .await
    }

    async fn all_rules(&self, which: &WhichRules) -> Result<Vec<RuleSet>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            // No set is called nothing.
            let mut values = which.after.as_ref().map_or_else(|| ["", ""].map(Value::from).into(), key);
            values.push(Value::from(limit(which.most)));
            let sql = "SELECT used FROM tollgate_rules WHERE (tenant, name) > ($1, $2) ORDER BY tenant, name LIMIT $3";
            let rows = reading.connection.rows(sql, values).await?;
            reading.commit().await?;
            rows.iter().map(set).collect()
        })
        .await
    }
}

async fn by_id(connection: &mut Connection, id: &RuleSetId) -> Result<Option<RuleSet>, StoreError> {
    let sql = "SELECT body FROM tollgate_rules WHERE tenant = $1 AND name = $2";
    let row = connection.row(sql, key(id)).await?;
    row.as_ref().map(set).transpose()
}

async fn put(writing: &mut Writing<'_>, set: &RuleSet) -> Result<(), StoreError> {
    let connection = &mut writing.transaction.connection;
    let before = by_id(connection, &set.id).await?;
    set.check(before.as_ref())?;
    if set.is_removed() {
        connection.run("DELETE FROM tollgate_rules WHERE tenant = $1 AND name = $2", key(&set.id)).await?;
        return Ok(());
    }
    if before.is_none() {
        let row = connection.row("SELECT count(*) FROM tollgate_rules", Vec::new()).await?;
        let found: i64 = row.ok_or_else(|| StoreError::broken("the database gives no answer"))?.get(0)?;
        if usize::try_from(found).map_err(StoreError::broken)? >= RULE_SETS_MAX {
            return Err(StoreError::Full { most: RULE_SETS_MAX });
        }
    }
    let mut values = key(&set.id);
    values.push(Value::from(i64::try_from(set.revision).map_err(StoreError::broken)?));
    values.push(Value::from(stored_time(set.last.at)));
    values.push(Value::from(&*set.in_use().encode()));
    values.push(Value::from(&*set.encode()));
    let sql = "INSERT INTO tollgate_rules (tenant, name, revision, changed_ms, used, body) \
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant, name) \
        DO UPDATE SET revision = $3, changed_ms = $4, used = $5, body = $6";
    connection.run(sql, values).await?;
    Ok(())
}
