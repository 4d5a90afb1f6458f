//! What is used up of allowances.

use async_trait::async_trait;
use tollgate_store::{Allowance, Allowances, StoreError, TakeAllowance};

use super::stored_time;
use crate::connections::Value;
use crate::database::{Begin, Database};

#[async_trait]
impl Allowances for Database {
    async fn take_allowance(&self, take: &TakeAllowance) -> Result<Allowance, StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            let connection = &mut writing.connection;
            let old = vec![Value::from(stored_time(take.forgets_before()))];
            connection.run("DELETE FROM tollgate_allowances WHERE until_ms < $1", old).await?;
            let of = take.of.to_string();
            let from = stored_time(take.from);
            // Whoever wants the same waits here until this is done.
            let sql = "INSERT INTO tollgate_allowances (of_what, from_ms, until_ms, used) VALUES ($1, $2, $3, 0) \
                ON CONFLICT (of_what, from_ms) DO UPDATE SET until_ms = excluded.until_ms";
            let values =
                vec![Value::from(&*of), Value::from(from), Value::from(stored_time(take.until))];
            connection.run(sql, values).await?;
            let sql = "SELECT used FROM tollgate_allowances WHERE of_what = $1 AND from_ms = $2";
            let row = connection.row(sql, vec![Value::from(&*of), Value::from(from)]).await?;
            let row = row.ok_or_else(|| StoreError::broken("an allowance is gone"))?;
            let allowance = take.of_used(u64::try_from(row.get::<i64>(0)?).unwrap_or(0));
            let sql = "UPDATE tollgate_allowances SET used = $3 WHERE of_what = $1 AND from_ms = $2";
            let used = i64::try_from(allowance.used).unwrap_or(i64::MAX);
            let values = vec![Value::from(&*of), Value::from(from), Value::from(used)];
            connection.run(sql, values).await?;
            writing.commit().await?;
            Ok(allowance)
        })
        .await
    }
}
