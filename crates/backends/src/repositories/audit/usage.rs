//! How much was used.

use std::sync::LazyLock;

use async_trait::async_trait;
use tollgate_store::{StoreError, Usage, UsageBy, UsageKey, UsageQuery, UsageRow, UsageSum};

use super::number;
use crate::connections::{Row, Value};
use crate::database::{Begin, Database};
use crate::repositories::limit;

/// The sums, for each way of telling them apart. What does not tell them apart stands nowhere in the grouping: by days the table
/// is read in its own order, and nothing is sorted.
static SUMS: LazyLock<Vec<String>> = LazyLock::new(|| (0..1 << COLUMNS.len()).map(text_of).collect());

/// What may tell sums apart, and what stands in its place where it does not.
const COLUMNS: [(&str, &str); 5] =
    [("day", "CAST(0 AS BIGINT)"), ("tenant", "''"), ("agent", "''"), ("server", "''"), ("tool", "''")];

fn text_of(chosen: usize) -> String {
    let is = |nth: usize| chosen >> nth & 1 == 1;
    let columns = COLUMNS.iter().enumerate();
    let shown: Vec<&str> =
        columns.clone().map(|(nth, (name, none))| if is(nth) { *name } else { *none }).collect();
    let names: Vec<&str> = columns.filter(|(nth, _)| is(*nth)).map(|(_, (name, _))| *name).collect();
    let grouped = match names.join(", ") {
        // Of nothing there is no sum.
        all if all.is_empty() => "HAVING count(*) > 0".to_owned(),
        names => format!("GROUP BY {names} ORDER BY {names}"),
    };
    format!(
        "SELECT {}, CAST(sum(calls) AS BIGINT), CAST(sum(errors) AS BIGINT), CAST(sum(refused) AS BIGINT), \
        CAST(sum(sent_bytes) AS BIGINT), CAST(sum(received_bytes) AS BIGINT), \
        CAST(sum(sent_tokens) AS BIGINT), CAST(sum(received_tokens) AS BIGINT), CAST(sum(cost_nano) AS BIGINT) \
        FROM tollgate_usage WHERE day >= $1 AND day <= $2 AND (tenant = $3 OR $3 IS NULL) {grouped} LIMIT $4",
        shown.join(", ")
    )
}

/// The text for one of these ways.
fn sums(by: UsageBy) -> &'static str {
    let chosen = [by.day, by.tenant, by.agent, by.server || by.tool, by.tool];
    let chosen = chosen.iter().enumerate().fold(0, |all, (nth, is)| all | usize::from(*is) << nth);
    SUMS.get(chosen).map_or("", String::as_str)
}

#[async_trait]
impl Usage for Database {
    async fn usage(&self, which: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        self.within(self.bounds.load_max, async {
            let mut reading = self.begin(Begin::ReadAll).await?;
            let values = vec![
                Value::from(i64::from(which.since_day)),
                Value::from(i64::from(which.until_day)),
                Value::from(which.tenant.as_deref()),
                Value::from(limit(which.most)),
            ];
            let rows = reading.connection.rows(sums(which.by), values).await?;
            reading.commit().await?;
            rows.iter().map(usage_row).collect()
        })
        .await
    }

    async fn forget_usage(&self, before_day: u32) -> Result<usize, StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            let values = vec![Value::from(i64::from(before_day))];
            let sums = "DELETE FROM tollgate_findings_daily WHERE day < $1";
            writing.connection.run(sums, vec![Value::from(i64::from(before_day))]).await?;
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
