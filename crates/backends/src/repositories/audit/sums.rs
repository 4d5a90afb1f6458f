//! What was used, added up as it comes: each day, and over what most questions do not tell apart.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use tollgate_store::{StoreError, UsageBy, UsageKey, UsageRow, UsageSum};

use super::add::{MANY, in_parts};
use super::{many, stored};
use crate::connections::{Connection, Value};

/// Sums that are kept beside those of each day. Their numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Each day of a tenant.
    Tenants = 1,
    /// Each day of an agent.
    Agents = 2,
    /// Each day of a server.
    Servers = 3,
    /// All that is told apart, [`SPAN`] days at once.
    Spans = 4,
}

/// How many days are added up at once, counted from the first of all.
pub(super) const SPAN: u32 = 8;

const CUTS: [Cut; 4] = [Cut::Tenants, Cut::Agents, Cut::Servers, Cut::Spans];

impl Cut {
    /// To which of its sums something belongs.
    fn key(self, of: &UsageKey) -> UsageKey {
        let by = UsageBy { day: true, tenant: true, ..UsageBy::default() };
        match self {
            Self::Tenants => by.of(of),
            Self::Agents => UsageBy { agent: true, ..by }.of(of),
            Self::Servers => UsageBy { server: true, ..by }.of(of),
            Self::Spans => UsageKey { day: of.day - of.day % SPAN, ..of.clone() },
        }
    }
}

macro_rules! add {
    ($table:literal, $keys:literal) => {
        (
            concat!(
                "INSERT INTO ",
                $table,
                " (",
                $keys,
                ", calls, errors, refused, sent_bytes, received_bytes, sent_tokens, received_tokens, cost_nano)"
            ),
            concat!(
                "ON CONFLICT (",
                $keys,
                ") DO UPDATE SET calls = ",
                $table,
                ".calls + excluded.calls, errors = ",
                $table,
                ".errors + excluded.errors, refused = ",
                $table,
                ".refused + excluded.refused, sent_bytes = ",
                $table,
                ".sent_bytes + excluded.sent_bytes, received_bytes = ",
                $table,
                ".received_bytes + excluded.received_bytes, sent_tokens = ",
                $table,
                ".sent_tokens + excluded.sent_tokens, received_tokens = ",
                $table,
                ".received_tokens + excluded.received_tokens, cost_nano = ",
                $table,
                ".cost_nano + excluded.cost_nano"
            ),
        )
    };
}

const DAILY: (&str, &str) = add!("tollgate_usage_daily", "day, tenant, agent, server, tool");
static DAILY_ONE: LazyLock<String> = LazyLock::new(|| many(DAILY.0, 13, 1, DAILY.1));
static DAILY_MANY: LazyLock<String> = LazyLock::new(|| many(DAILY.0, 13, MANY, DAILY.1));

const SUMS: (&str, &str) = add!("tollgate_usage_sums", "cut, day, tenant, agent, server, tool");
static SUMS_ONE: LazyLock<String> = LazyLock::new(|| many(SUMS.0, 14, 1, SUMS.1));
static SUMS_MANY: LazyLock<String> = LazyLock::new(|| many(SUMS.0, 14, MANY, SUMS.1));

/// Adds what was used to all sums that it belongs to: each once, whatever number of rows is in it. They come in one order at all
/// gateways: of two that hold what the other waits for, one would fail.
pub(super) async fn add(connection: &mut Connection, used: &[UsageRow]) -> Result<(), StoreError> {
    let mut daily: Vec<&UsageRow> = used.iter().collect();
    daily.sort_by(|one, other| one.key.cmp(&other.key));
    for part in in_parts(&daily) {
        let sql = if part.len() == MANY { &DAILY_MANY } else { &DAILY_ONE };
        connection
            .run(sql.as_str(), part.iter().flat_map(|row| values(&row.key, &row.sum)).collect())
            .await?;
    }
    for cut in CUTS {
        let mut sums: BTreeMap<UsageKey, UsageSum> = BTreeMap::new();
        for row in &daily {
            sums.entry(cut.key(&row.key)).or_default().add(&row.sum);
        }
        let sums: Vec<_> = sums.into_iter().collect();
        for part in in_parts(&sums) {
            let sql = if part.len() == MANY { &SUMS_MANY } else { &SUMS_ONE };
            let row = |(key, sum)| std::iter::once(Value::from(cut as i64)).chain(values(key, sum));
            connection
                .run(sql.as_str(), part.iter().map(|(key, sum)| (key, sum)).flat_map(row).collect())
                .await?;
        }
    }
    Ok(())
}

fn values(key: &UsageKey, sum: &UsageSum) -> [Value; 13] {
    let number = |number: u64| Value::from(stored(number));
    [
        Value::from(i64::from(key.day)),
        Value::from(&*key.tenant),
        Value::from(&*key.agent),
        Value::from(&*key.server),
        Value::from(&*key.tool),
        number(sum.calls),
        number(sum.errors),
        number(sum.refused),
        number(sum.sent_bytes),
        number(sum.received_bytes),
        number(sum.sent_tokens),
        number(sum.received_tokens),
        number(sum.cost_nano),
    ]
}

/// Forgets the days before. Of a span that they cut, what is left of it is added up again. Says how many rows of days went.
pub(super) async fn forget(connection: &mut Connection, before_day: u32) -> Result<u64, StoreError> {
    let before = || Value::from(i64::from(before_day));
    let any = "SELECT day FROM tollgate_usage_daily WHERE day < $1 LIMIT 1";
    if connection.row(any, vec![before()]).await?.is_none() {
        return Ok(0);
    }
    if let Connection::Postgres(_) = connection {
        // Whoever adds meanwhile would add to a span that is being added up.
        connection
            .script("LOCK TABLE tollgate_usage_daily, tollgate_usage_sums IN SHARE ROW EXCLUSIVE MODE")
            .await?;
    }
    let count = connection.run("DELETE FROM tollgate_usage_daily WHERE day < $1", vec![before()]).await?;
    let sums = "DELETE FROM tollgate_usage_sums WHERE cut IN (1, 2, 3, 4) AND day < $1";
    connection.run(sums, vec![before()]).await?;
    let span = i64::from(before_day - before_day % SPAN);
    let again = "INSERT INTO tollgate_usage_sums (cut, day, tenant, agent, server, tool, calls, errors, refused, \
            sent_bytes, received_bytes, sent_tokens, received_tokens, cost_nano) \
        SELECT 4, $1, tenant, agent, server, tool, sum(calls), sum(errors), sum(refused), sum(sent_bytes), \
            sum(received_bytes), sum(sent_tokens), sum(received_tokens), sum(cost_nano) \
        FROM tollgate_usage_daily WHERE day >= $2 AND day < $3 GROUP BY tenant, agent, server, tool";
    // What begins with the day was not cut.
    if span < i64::from(before_day) {
        let values = [span, i64::from(before_day), span + i64::from(SPAN)];
        connection.run(again, values.map(Value::from).into()).await?;
    }
    Ok(count)
}
