//! How much was used.

use async_trait::async_trait;
use tollgate_store::{StoreError, Usage, UsageKey, UsageQuery, UsageRow, UsageSum};

use super::number;
use crate::connections::{Row, Value};
use crate::database::{Begin, Database};
use crate::repositories::limit;

const SUMS: &str = "SELECT \
    CASE WHEN $4 = 1 THEN day ELSE 0 END, CASE WHEN $5 = 1 THEN tenant ELSE '' END, \
    CASE WHEN $6 = 1 THEN agent ELSE '' END, CASE WHEN $7 = 1 THEN server ELSE '' END, \
    CASE WHEN $8 = 1 THEN tool ELSE '' END, \
    CAST(sum(calls) AS BIGINT), CAST(sum(errors) AS BIGINT), CAST(sum(refused) AS BIGINT), \
    CAST(sum(sent_bytes) AS BIGINT), CAST(sum(received_bytes) AS BIGINT), \
    CAST(sum(sent_tokens) AS BIGINT), CAST(sum(received_tokens) AS BIGINT), CAST(sum(cost_nano) AS BIGINT) \
    FROM tollgate_usage WHERE day >= $1 AND day <= $2 AND (tenant = $3 OR $3 IS NULL) \
    GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5 LIMIT $9";

#[async_trait]
impl Usage for Database {
    async fn usage(&self, which: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        self.within(self.bounds.load_max, async {
            let mut reading = self.begin(Begin::ReadAll).await?;
            let by = which.by;
            let is = |is: bool| Value::from(i64::from(is));
            let values = vec![
                Value::from(i64::from(which.since_day)),
                Value::from(i64::from(which.until_day)),
                Value::from(which.tenant.as_deref()),
                is(by.day),
                is(by.tenant),
                is(by.agent),
                is(by.server || by.tool),
                is(by.tool),
                Value::from(limit(which.most)),
            ];
            let rows = reading.connection.rows(SUMS, values).await?;
            reading.commit().await?;
            rows.iter().map(usage_row).collect()
        })
        .await
    }

    async fn forget_usage(&self, before_day: u32) -> Result<usize, StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            let values = vec![Value::from(i64::from(before_day))];
            let count = writing.connection.run("DELETE FROM tollgate_usage WHERE day < $1", values).await?;
            writing.commit().await?;
            Ok(usize::try_from(count).unwrap_or(usize::MAX))
        })
        .await
    }
}

fn usage_row(row: &Row) -> Result<UsageRow, StoreError> {
    let text = |at: usize| row.get::<String>(at).map(std::sync::Arc::from);
    let sum = |at: usize| row.get::<i64>(at).map(number);
    Ok(UsageRow {
        key: UsageKey {
            day: u32::try_from(row.get::<i64>(0)?).unwrap_or(0),
            tenant: text(1)?,
            agent: text(2)?,
            server: text(3)?,
            tool: text(4)?,
        },
        sum: UsageSum {
            calls: sum(5)?,
            errors: sum(6)?,
            refused: sum(7)?,
            sent_bytes: sum(8)?,
            received_bytes: sum(9)?,
            sent_tokens: sum(10)?,
            received_tokens: sum(11)?,
            cost_nano: sum(12)?,
        },
    })
}
