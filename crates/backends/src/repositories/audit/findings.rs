//! What guards found.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollgate_model::Timestamp;
use tollgate_store::{AuditBatch, FindingBy, FindingQuery, FindingRow, StoreError};

use super::{number, stored};
use crate::connections::{Connection, Row, Value};
use crate::repositories::{limit, stored_time, time};

/// What both tables are searched by, but for tenants.
macro_rules! of {
    ($tenants:literal, $head:literal, $tail:literal) => {
        concat!(
            $head,
            " WHERE ",
            $tenants,
            " AND (server = $3 OR $3 IS NULL) AND (tool = $4 OR $4 IS NULL) AND (rule = $5 OR $5 IS NULL) \
             AND (severity = $6 OR $6 IS NULL) AND (direction = $7 OR $7 IS NULL) AND (action = $8 OR $8 IS NULL) ",
            $tail
        )
    };
}

/// A statement for both databases: the list of tenants is JSON.
macro_rules! statement {
    ($connection:expr, $head:literal, $tail:literal) => {
        match $connection {
            Connection::Sqlite(_) => of!(
                "($1 IS NULL OR tenant IN (SELECT value FROM json_each($1)) OR ($2 = 1 AND tenant = ''))",
                $head,
                $tail
            ),
            Connection::Postgres(_) => of!(
                "($1::TEXT IS NULL OR tenant IN (SELECT json_array_elements_text($1::TEXT::JSON)) \
                  OR ($2::BIGINT = 1 AND tenant = ''))",
                $head,
                $tail
            ),
        }
    };
}

const DAY_MS: u64 = 86_400_000;

fn values(which: &FindingQuery) -> Result<Vec<Value>, StoreError> {
    let tenants = which.tenants.as_ref().map(|tenants| {
        let tenants: Vec<&str> = tenants.iter().map(|tenant| &**tenant).collect();
        serde_json::to_string(&tenants).map_err(StoreError::broken)
    });
    let tenants = tenants.transpose()?;
    let mut values = vec![Value::from(tenants.as_deref()), Value::from(i64::from(which.with_shared))];
    let texts = [&which.server, &which.tool, &which.rule, &which.severity, &which.direction, &which.action];
    values.extend(texts.map(|text| Value::from(text.as_deref())));
    Ok(values)
}

/// Takes in those of a batch.
pub(super) async fn add(connection: &mut Connection, batch: &AuditBatch) -> Result<(), StoreError> {
    let used = batch.after.map_or(0, |after| after.used);
    let mut sums: BTreeMap<(u32, [&str; 7]), i64> = BTreeMap::new();
    for row in &batch.findings {
        let texts: [&str; 7] =
            [&row.tenant, &row.server, &row.tool, &row.rule, &row.severity, &row.direction, &row.action];
        if row.seq > used {
            *sums.entry((row.day(), texts)).or_default() += 1;
        }
        let call = row.call.map_or_else(String::new, |call| format!("{call:032x}"));
        let mut values = vec![
            Value::from(&*row.writer),
            Value::from(stored(row.seq)),
            Value::from(i64::from(row.nth)),
            Value::from(stored_time(row.time)),
            Value::from(&*call),
            Value::from(&*row.agent),
        ];
        values.extend(texts.map(Value::from));
        let sql = "INSERT INTO tollgate_findings (writer, seq, nth, time_ms, call, agent, tenant, server, tool, rule, \
            severity, direction, action) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
            ON CONFLICT (writer, seq, nth) DO NOTHING";
        connection.run(sql, values).await?;
    }
    for ((day, texts), found) in sums {
        let mut values = vec![Value::from(i64::from(day))];
        values.extend(texts.map(Value::from));
        values.push(Value::from(found));
        let sql = "INSERT INTO tollgate_findings_daily (day, tenant, server, tool, rule, severity, direction, action, \
            found) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
            ON CONFLICT (day, tenant, server, tool, rule, severity, direction, action) \
            DO UPDATE SET found = tollgate_findings_daily.found + excluded.found";
        connection.run(sql, values).await?;
    }
    Ok(())
}

/// The newest first.
pub(super) async fn list(
    connection: &mut Connection,
    which: &FindingQuery,
) -> Result<Vec<FindingRow>, StoreError> {
    let sql = statement!(
        connection,
        "SELECT writer, seq, nth, time_ms, call, agent, tenant, server, tool, rule, severity, direction, action \
         FROM tollgate_findings",
        "AND time_ms >= $9 AND time_ms < $10 AND (time_ms, writer, seq, nth) < ($11, $12, $13, $14) \
         ORDER BY time_ms DESC, writer DESC, seq DESC, nth DESC LIMIT $15"
    );
    let mut values = values(which)?;
    let day = |day: u32| Timestamp::from_ms(u64::from(day).saturating_mul(DAY_MS));
    values.push(Value::from(stored_time(day(which.since_day))));
    values.push(Value::from(stored_time(day(which.until_day.saturating_add(1)))));
    let end = || (Timestamp::from_ms(u64::MAX), Arc::from(""), 0, 0);
    let (time, writer, seq, nth) = which.before.clone().unwrap_or_else(end);
    values.push(Value::from(stored_time(time)));
    values.push(Value::from(&*writer));
    values.push(Value::from(stored(seq)));
    values.push(Value::from(i64::from(nth)));
    values.push(Value::from(limit(which.most)));
    connection.rows(sql, values).await?.iter().map(row).collect()
}

fn row(row: &Row) -> Result<FindingRow, StoreError> {
    let text = |at: usize| row.get::<String>(at).map(Arc::from);
    let call: String = row.get(4)?;
    Ok(FindingRow {
        writer: text(0)?,
        seq: number(row.get(1)?),
        nth: u32::try_from(row.get::<i64>(2)?).unwrap_or(0),
        time: time(row.get(3)?),
        call: u128::from_str_radix(&call, 16).ok(),
        agent: text(5)?,
        tenant: text(6)?,
        server: text(7)?,
        tool: text(8)?,
        rule: text(9)?,
        severity: text(10)?,
        direction: text(11)?,
        action: text(12)?,
    })
}

/// How many, by something.
pub(super) async fn sums(
    connection: &mut Connection,
    which: &FindingQuery,
    by: FindingBy,
) -> Result<Vec<(Arc<str>, u64)>, StoreError> {
    let sql = statement!(
        connection,
        "SELECT CASE $12 WHEN 'day' THEN CAST(day AS TEXT) WHEN 'rule' THEN rule WHEN 'severity' THEN severity \
         WHEN 'server' THEN server WHEN 'tool' THEN tool WHEN 'direction' THEN direction ELSE action END, \
         CAST(sum(found) AS BIGINT), min(day) FROM tollgate_findings_daily",
        "AND day >= $9 AND day <= $10 GROUP BY 1 \
         ORDER BY CASE $12 WHEN 'day' THEN min(day) ELSE -CAST(sum(found) AS BIGINT) END, 1 LIMIT $11"
    );
    let mut values = values(which)?;
    values.push(Value::from(i64::from(which.since_day)));
    values.push(Value::from(i64::from(which.until_day)));
    values.push(Value::from(limit(which.most)));
    values.push(Value::from(by.as_str()));
    let rows = connection.rows(sql, values).await?;
    rows.iter().map(|row| Ok((row.get::<String>(0)?.into(), number(row.get(1)?)))).collect()
}

/// Those that are older.
pub(super) async fn forget(
    connection: &mut Connection,
    before: Timestamp,
    most: usize,
) -> Result<usize, StoreError> {
    let sql = "DELETE FROM tollgate_findings WHERE (writer, seq, nth) IN (SELECT writer, seq, nth FROM tollgate_findings \
        WHERE time_ms < $1 ORDER BY time_ms LIMIT $2)";
    let values = vec![Value::from(stored_time(before)), Value::from(limit(most))];
    Ok(usize::try_from(connection.run(sql, values).await?).unwrap_or(usize::MAX))
}
