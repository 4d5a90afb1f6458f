//! How much was used.

use std::fmt::Write as _;
use std::sync::LazyLock;

use async_trait::async_trait;
use tollgate_store::{StoreError, Usage, UsageBy, UsageKey, UsageOrder, UsageQuery, UsageRow, UsageSum};

use super::number;
use super::sums::{Cut, SPAN, forget};
use crate::connections::{Connection, Row, Value};
use crate::database::{Begin, Database};
use crate::repositories::limit;

/// What is added up.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// Each day, all that is told apart.
    Daily,
    /// One of the sums that are kept.
    Sums(Cut),
    /// Days before and after whole spans, and those spans: from `$5` up to `$6`.
    Spans,
}

/// What may tell sums apart, and what stands in its place where it does not.
const COLUMNS: [(&str, &str); 5] =
    [("day", "CAST(0 AS BIGINT)"), ("tenant", "''"), ("agent", "''"), ("server", "''"), ("tool", "''")];
const NUMBERS: [&str; 8] = [
    "calls",
    "errors",
    "refused",
    "sent_bytes",
    "received_bytes",
    "sent_tokens",
    "received_tokens",
    "cost_nano",
];
/// How many ways there are of telling sums apart.
const WAYS: usize = 1 << COLUMNS.len();
const SOURCES: [Source; 5] = [
    Source::Daily,
    Source::Sums(Cut::Tenants),
    Source::Sums(Cut::Agents),
    Source::Sums(Cut::Servers),
    Source::Spans,
];

/// The statements: for each of [`SOURCES`] and each order all ways of telling sums apart. What does not tell them apart stands nowhere
/// in the grouping: by days a table is read in its own order, and nothing is sorted.
static STATEMENTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let orders = [UsageOrder::Keys, UsageOrder::MostCalls];
    let kinds = SOURCES.into_iter().flat_map(|source| orders.map(|order| (source, order)));
    kinds.flat_map(|(source, order)| (0..WAYS).map(move |chosen| text_of(source, order, chosen))).collect()
});

impl Source {
    /// What holds all that is asked for, with the fewest rows.
    fn of(by: UsageBy) -> Self {
        match (by.agent, by.server, by.tool) {
            (false, false, false) => Self::Sums(Cut::Tenants),
            (true, false, false) => Self::Sums(Cut::Agents),
            (false, true, false) => Self::Sums(Cut::Servers),
            _ if by.day => Self::Daily,
            _ => Self::Spans,
        }
    }

    fn place(self) -> usize {
        match self {
            Self::Daily => 0,
            Self::Sums(cut) => cut as usize,
            Self::Spans => 4,
        }
    }

    fn text(self) -> String {
        const TENANT: &str = "(tenant = $3 OR $3 IS NULL)";
        const DAYS: &str = "day >= $1 AND day <= $2";
        let numbers = NUMBERS.join(", ");
        match self {
            Self::Daily => format!("FROM tollgate_usage_daily WHERE {DAYS} AND {TENANT}"),
            Self::Sums(cut) => {
                format!("FROM tollgate_usage_sums WHERE cut = {} AND {DAYS} AND {TENANT}", cut as u32)
            }
            Self::Spans => {
                let part = |table: &str, days: &str| {
                    format!(
                        "SELECT tenant, agent, server, tool, {numbers} FROM {table} WHERE {days} AND {TENANT}"
                    )
                };
                let parts = [
                    part("tollgate_usage_daily", "day >= $1 AND day < $5"),
                    part("tollgate_usage_sums", "cut = 4 AND day >= $5 AND day < $6"),
                    part("tollgate_usage_daily", "day >= $6 AND day <= $2"),
                ];
                format!("FROM ({}) AS used", parts.join(" UNION ALL "))
            }
        }
    }
}

fn text_of(source: Source, order: UsageOrder, chosen: usize) -> String {
    let is = |nth: usize| chosen >> nth & 1 == 1;
    let columns = || COLUMNS.iter().enumerate();
    let mut text = "SELECT ".to_owned();
    for (nth, (name, none)) in columns() {
        _ = write!(text, "{}, ", if is(nth) { name } else { none });
    }
    // Each day, by all that is told apart: each row is a sum already.
    let is_summed = chosen + 1 == WAYS;
    let sum = |name: &&str| {
        if is_summed { (*name).to_owned() } else { format!("CAST(sum({name}) AS BIGINT)") }
    };
    let sums: Vec<String> = NUMBERS.iter().map(sum).collect();
    _ = write!(text, "{} {}", sums.join(", "), source.text());
    let names: Vec<&str> = columns().filter(|(nth, _)| is(*nth)).map(|(_, (name, _))| *name).collect();
    let names = names.join(", ");
    let most = match order {
        UsageOrder::MostCalls if is_summed => "calls DESC, ",
        UsageOrder::MostCalls => "sum(calls) DESC, ",
        UsageOrder::Keys => "",
    };
    if names.is_empty() {
        // Of nothing there is no sum.
        text.push_str(" HAVING count(*) > 0");
    } else {
        let grouped = if is_summed { String::new() } else { format!(" GROUP BY {names}") };
        _ = write!(text, "{grouped} ORDER BY {most}{names}");
    }
    text + " LIMIT $4"
}

/// The statement for one of these ways.
fn statement(source: Source, order: UsageOrder, by: UsageBy) -> &'static str {
    let chosen = [by.day, by.tenant, by.agent, by.server, by.tool];
    let chosen = chosen.iter().enumerate().fold(0, |all, (nth, is)| all | usize::from(*is) << nth);
    let kind = source.place() * 2 + usize::from(order == UsageOrder::MostCalls);
    STATEMENTS.get(kind * WAYS + chosen).map_or("", String::as_str)
}

/// Sums from a day to a day.
async fn sums(
    connection: &mut Connection,
    which: &UsageQuery,
    (since, until): (i64, i64),
    most: usize,
) -> Result<Vec<UsageRow>, StoreError> {
    let by = UsageBy { server: which.by.server || which.by.tool, ..which.by };
    let span = i64::from(SPAN);
    let (first, end) = ((since + span - 1) / span * span, (until + 1) / span * span);
    let source = match Source::of(by) {
        Source::Spans if first >= end => Source::Daily,
        source => source,
    };
    let tenant = Value::from(which.tenant.as_deref());
    let mut values = vec![Value::from(since), Value::from(until), tenant, Value::from(limit(most))];
    if let Source::Spans = source {
        values.extend([first, end].map(Value::from));
    }
    let rows = connection.rows(statement(source, which.order, by), values).await?;
    rows.iter().map(usage_row).collect()
}

/// The same of one day after the other, so that what is behind the last that is asked for is not added up.
async fn day_by_day(connection: &mut Connection, which: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
    let (mut since, until) = (i64::from(which.since_day), i64::from(which.until_day));
    let mut found = Vec::new();
    while found.len() < which.most {
        let sql = "SELECT min(day) FROM tollgate_usage_daily WHERE day >= $1 AND day <= $2";
        let row = connection.row(sql, vec![Value::from(since), Value::from(until)]).await?;
        let Some(day) = row.map(|row| row.get::<Option<i64>>(0)).transpose()?.flatten() else { break };
        found.extend(sums(connection, which, (day, day), which.most - found.len()).await?);
        since = day + 1;
    }
    Ok(found)
}

#[async_trait]
impl Usage for Database {
    async fn usage(&self, which: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        self.within(self.bounds.load_max, async {
            let mut reading = self.begin(Begin::ReadAll).await?;
            let connection = &mut reading.connection;
            let is_long = which.by.day && which.order == UsageOrder::Keys;
            let found = match Source::of(which.by) {
                Source::Daily if is_long => day_by_day(connection, which).await?,
                _ => {
                    let days = (i64::from(which.since_day), i64::from(which.until_day));
                    sums(connection, which, days, which.most).await?
                }
            };
            reading.commit().await?;
            Ok(found)
        })
        .await
    }

    async fn forget_usage(&self, before_day: u32) -> Result<usize, StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            let sums = "DELETE FROM tollgate_findings_daily WHERE day < $1";
            writing.connection.run(sums, vec![Value::from(i64::from(before_day))]).await?;
            let count = forget(&mut writing.connection, before_day).await?;
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
