//! Calls that wait until people agree.
//!
//! What becomes of one is said in `tollgate-store`; here it is carried out in a transaction that has the head of the feed from
//! its beginning, so one after the other.

use std::sync::Arc;

use async_trait::async_trait;
use tollgate_model::Timestamp;
use tollgate_store::{
    APPROVALS_BATCH, APPROVALS_KEPT, Approval, ApprovalId, ApprovalOf, Approvals, Asking, AskingRoom, Change,
    NotCounted, StoreError, Vote, WhichApprovals,
};

use super::feed::Writing;
use super::{limit, stored_time};
use crate::connections::{Connection, Row, Value};
use crate::database::{Begin, Database};

fn approval(row: &Row) -> Result<Approval, StoreError> {
    Approval::decode(&row.get::<String>(0)?)
}

async fn find(connection: &mut Connection, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
    let sql = "SELECT body FROM tollgate_approvals WHERE id = $1";
    let row = connection.row(sql, vec![Value::from(id.as_str())]).await?;
    row.as_ref().map(approval).transpose()
}

/// Those of one call that are not over, the oldest first.
async fn of_call(
    connection: &mut Connection,
    of: &ApprovalOf,
    now: Timestamp,
) -> Result<Vec<Approval>, StoreError> {
    let sql = "SELECT body FROM tollgate_approvals WHERE tenant = $1 AND principal = $2 AND binding = $3 \
        AND until_ms > $4 ORDER BY at_ms, id LIMIT 100";
    let values = vec![
        Value::from(of.tenant.as_str()),
        Value::from(of.principal.as_str()),
        Value::from(&*of.binding.to_string()),
        Value::from(stored_time(now)),
    ];
    connection.rows(sql, values).await?.iter().map(approval).collect()
}

/// Keeps it, in the place of what it was, and says so in the feed.
async fn put(writing: &mut Writing<'_>, approval: &Approval) -> Result<(), StoreError> {
    let sql = "INSERT INTO tollgate_approvals (id, tenant, principal, binding, standing, at_ms, until_ms, body) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) \
        DO UPDATE SET standing = $5, until_ms = $7, body = $8";
    let values = vec![
        Value::from(approval.id.as_str()),
        Value::from(approval.of.tenant.as_str()),
        Value::from(approval.of.principal.as_str()),
        Value::from(&*approval.of.binding.to_string()),
        Value::from(approval.standing.as_str()),
        Value::from(stored_time(approval.at)),
        Value::from(stored_time(approval.until)),
        Value::from(&*approval.encode()),
    ];
    writing.transaction.connection.run(sql, values).await?;
    writing.say(&Change::Approval(Arc::new(approval.without_arguments()))).await
}

/// What answers the same call already.
async fn known(connection: &mut Connection, asked: &Approval) -> Result<Option<Approval>, StoreError> {
    for known in of_call(connection, &asked.of, asked.at).await? {
        let stands = match &known.replaced_by {
            Some(other) => find(connection, other).await?.is_some_and(|other| other.is_open(asked.at)),
            None => true,
        };
        if known.is_open(asked.at) && stands {
            return Ok(Some(known));
        }
    }
    Ok(None)
}

/// Whether one more may wait.
async fn has_room(
    connection: &mut Connection,
    asked: &Approval,
    room: AskingRoom,
) -> Result<bool, StoreError> {
    let sql = "SELECT count(*), coalesce(sum(CASE WHEN principal = $2 THEN 1 ELSE 0 END), 0) \
        FROM tollgate_approvals WHERE tenant = $1 AND standing IN ('waiting', 'withdrawn') AND until_ms > $3";
    let values = vec![
        Value::from(asked.of.tenant.as_str()),
        Value::from(asked.of.principal.as_str()),
        Value::from(stored_time(asked.at)),
    ];
    let row = connection.row(sql, values).await?;
    let row = row.ok_or_else(|| StoreError::broken("the database gives no answer"))?;
    let (of_tenant, of_principal): (i64, i64) = (row.get(0)?, row.get(1)?);
    Ok(of_tenant < limit(room.tenant_max) && of_principal < limit(room.principal_max))
}

#[async_trait]
impl Approvals for Database {
    async fn ask_approval(&self, asked: Approval, room: AskingRoom) -> Result<Asking, StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            let connection = &mut writing.transaction.connection;
            let kept = asked.at.as_ms().saturating_sub(Timestamp::default().after(APPROVALS_KEPT).as_ms());
            let sql = "DELETE FROM tollgate_approvals WHERE id IN (SELECT id FROM tollgate_approvals \
                WHERE until_ms < $1 ORDER BY until_ms LIMIT $2)";
            let values =
                vec![Value::from(stored_time(Timestamp::from_ms(kept))), Value::from(limit(APPROVALS_BATCH))];
            connection.run(sql, values).await?;
            let asking = match known(connection, &asked).await? {
                Some(known) => Asking::Known(Box::new(known)),
                None if !has_room(connection, &asked, room).await? => Asking::Full,
                None => {
                    put(&mut writing, &asked).await?;
                    Asking::New
                }
            };
            writing.commit().await?;
            Ok(asking)
        })
        .await
    }

    async fn use_approval(
        &self,
        of: &ApprovalOf,
        call: &str,
        now: Timestamp,
    ) -> Result<Option<Approval>, StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            let found = of_call(&mut writing.transaction.connection, of, now).await?;
            let used = found.iter().find_map(|found| found.used(call, now));
            if let Some(used) = &used {
                put(&mut writing, used).await?;
            }
            writing.commit().await?;
            Ok(used)
        })
        .await
    }

    async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let found = find(&mut reading.connection, id).await?;
            reading.commit().await?;
            Ok(found)
        })
        .await
    }

    async fn approvals(&self, which: &WhichApprovals) -> Result<Vec<Approval>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            // What is not asked for holds of every row.
            let sql = "SELECT body FROM tollgate_approvals WHERE ($1 = 0 OR tenant = $2) \
                AND ($3 = 0 OR (standing = 'waiting' AND until_ms > $4)) \
                AND ($5 = 0 OR at_ms < $6 OR (at_ms = $6 AND id < $7)) ORDER BY at_ms DESC, id DESC LIMIT $8";
            let values = vec![
                Value::from(i64::from(which.tenant.is_some())),
                Value::from(which.tenant.as_ref().map_or("", |tenant| tenant.as_str())),
                Value::from(i64::from(which.waiting_at.is_some())),
                Value::from(which.waiting_at.map_or(0, stored_time)),
                Value::from(i64::from(which.after.is_some())),
                Value::from(which.after.as_ref().map_or(0, |(at, _)| stored_time(*at))),
                Value::from(which.after.as_ref().map_or("", |(_, id)| id.as_str())),
                Value::from(limit(which.most)),
            ];
            let rows = reading.connection.rows(sql, values).await?;
            reading.commit().await?;
            rows.iter().map(approval).collect()
        })
        .await
    }

    async fn vote_approval(
        &self,
        id: &ApprovalId,
        vote: Vote,
    ) -> Result<Result<Approval, NotCounted>, StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            let found = find(&mut writing.transaction.connection, id).await?;
            let voted = found.ok_or(NotCounted::NoSuch).and_then(|found| found.voted(vote));
            if let Ok(voted) = &voted {
                put(&mut writing, voted).await?;
            }
            writing.commit().await?;
            Ok(voted)
        })
        .await
    }

    async fn replace_approval(
        &self,
        id: &ApprovalId,
        by: Approval,
        vote: Vote,
    ) -> Result<Result<Approval, NotCounted>, StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            let found = find(&mut writing.transaction.connection, id).await?;
            let replaced = match found.ok_or(NotCounted::NoSuch).and_then(|found| found.replaced(by, vote)) {
                Ok((old, new)) => {
                    // Who waits for the old one looks for the new one.
                    put(&mut writing, &new).await?;
                    put(&mut writing, &old).await?;
                    Ok(new)
                }
                Err(why) => Err(why),
            };
            writing.commit().await?;
            Ok(replaced)
        })
        .await
    }

    async fn withdraw_approval(&self, id: &ApprovalId, now: Timestamp) -> Result<bool, StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            let found = find(&mut writing.transaction.connection, id).await?;
            let withdrawn = found.and_then(|found| found.withdrawn(now));
            if let Some(withdrawn) = &withdrawn {
                put(&mut writing, withdrawn).await?;
            }
            writing.commit().await?;
            Ok(withdrawn.is_some())
        })
        .await
    }
}
