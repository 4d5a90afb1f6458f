//! Agents that are paused.

use std::sync::Arc;

use async_trait::async_trait;
use tollgate_model::TenantId;
use tollgate_store::{Change, PAUSES_MAX, Pausable, Pauses, Pausing, Resuming, StoreError};

use super::feed::Writing;
use super::{limit, stored_time, time};
use crate::connections::{Row, Value};
use crate::database::{Begin, Database};

/// The columns of a pause, in the order in which [`pausing`] reads them.
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT tenant, agent, why, since_ms, until_ms FROM tollgate_pauses ", $rest)
    };
}

/// All pauses.
pub(super) const ALL: &str = select!("ORDER BY tenant, agent");

/// What a row of [`ALL`] holds.
pub(super) fn pausing(row: &Row) -> Result<Pausing, StoreError> {
    let (tenant, agent): (String, String) = (row.get(0)?, row.get(1)?);
    Ok(Pausing {
        who: Pausable { tenant: TenantId::new(&tenant), agent: agent.into() },
        why: Arc::from(row.get::<String>(2)?),
        since: time(row.get(3)?),
        until: time(row.get(4)?),
    })
}

fn key(who: &Pausable) -> Vec<Value> {
    vec![Value::from(who.tenant.as_str()), Value::from(&*who.agent)]
}

#[async_trait]
impl Pauses for Database {
    async fn pause(&self, pausing: Pausing) -> Result<(), StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            let mut values = key(&pausing.who);
            values.push(Value::from(&*pausing.why));
            values.push(Value::from(stored_time(pausing.since)));
            values.push(Value::from(stored_time(pausing.until)));
            let sql = "INSERT INTO tollgate_pauses (tenant, agent, why, since_ms, until_ms) \
                VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant, agent) \
                DO UPDATE SET why = $3, since_ms = $4, until_ms = $5";
            writing.transaction.connection.run(sql, values).await?;
            let tenant = || Value::from(pausing.who.tenant.as_str());
            let sql = "DELETE FROM tollgate_pauses WHERE tenant = $1 AND until_ms <= $2";
            let values = vec![tenant(), Value::from(stored_time(pausing.since))];
            writing.transaction.connection.run(sql, values).await?;
            let sql = "DELETE FROM tollgate_pauses WHERE tenant = $1 AND agent IN (SELECT agent FROM tollgate_pauses \
                WHERE tenant = $1 ORDER BY until_ms DESC, agent LIMIT 1000000 OFFSET $2)";
            writing.transaction.connection.run(sql, vec![tenant(), Value::from(limit(PAUSES_MAX))]).await?;
            writing.say(&Change::Paused(pausing)).await?;
            writing.commit().await?;
            Ok(())
        })
        .await
    }

    async fn resume(&self, resuming: Resuming) -> Result<bool, StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            let sql = "DELETE FROM tollgate_pauses WHERE tenant = $1 AND agent = $2";
            let was_there = writing.transaction.connection.run(sql, key(&resuming.who)).await? > 0;
            if was_there {
                writing.say(&Change::Resumed(resuming)).await?;
            }
            writing.commit().await?;
            Ok(was_there)
        })
        .await
    }

    async fn pauses(&self, after: Option<&Pausable>, most: usize) -> Result<Vec<Pausing>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let mut values = after.map_or_else(|| ["", ""].map(Value::from).into(), key);
            values.push(Value::from(limit(most)));
            let sql = select!("WHERE (tenant, agent) > ($1, $2) ORDER BY tenant, agent LIMIT $3");
            let rows = reading.connection.rows(sql, values).await?;
            reading.commit().await?;
            rows.iter().map(pausing).collect()
        })
        .await
    }
}
