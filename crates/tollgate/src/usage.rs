//! `tollgate usage`: how much was used, and what it cost.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tollgate_model::{Timestamp, money};
use tollgate_store::{UsageBy, UsageOrder, UsageQuery, UsageRow};

use crate::cli::search::{By, Format, Usage};
use crate::exit::Failure;
use crate::keys::table;
use crate::out::{Printer, To, safe};
use crate::state::{config_file, failure, open_store, read_config};

/// How many lines there are at most.
const LINES_MAX: usize = 100_000;
const DAY_MS: u64 = 86_400_000;

/// Asks for the sums, and shows them.
pub(crate) async fn run(command: &Usage) -> Result<(), Failure> {
    let now = Timestamp::now();
    let day = |time: Timestamp| u32::try_from(time.as_ms() / DAY_MS).unwrap_or(u32::MAX);
    // A day that has not begun then is not meant.
    let until = command.until.map(|until| until.ago(now).as_ms().saturating_sub(1));
    let which = UsageQuery {
        since_day: day(command.since.ago(now)),
        until_day: until.map_or(u32::MAX, |until| day(Timestamp::from_ms(until))),
        tenant: command.tenant.as_deref().map(Arc::from),
        by: by(&command.by),
        order: UsageOrder::Keys,
        most: LINES_MAX,
    };
    let store = open_store(&command.store).await?;
    let mut rows = store.usage(&which).await.map_err(|error| failure(&error))?;
    let agents: Vec<Arc<str>> = rows.iter().map(|row| Arc::clone(&row.key.agent)).collect();
    let names = store.names(&agents).await.map_err(|error| failure(&error))?;
    for row in &mut rows {
        if let Some(name) = names.get(&row.key.agent) {
            row.key.agent = Arc::clone(name);
        }
    }
    let currency = match config_file(&command.store) {
        Some(file) => read_config(&file)?.index.map(|index| index.prices.currency).unwrap_or_default(),
        None => String::new(),
    };
    let columns = columns(which.by);
    match command.format {
        Format::Json => json_lines(&columns, &rows, &currency),
        Format::Csv => csv(&columns, &rows, &currency),
        Format::Table => people(&columns, &rows, &currency),
    }
    if rows.len() == LINES_MAX {
        return Err(Failure::failed(format!("there is more: these are the first {LINES_MAX}")));
    }
    Ok(())
}

fn by(by: &[By]) -> UsageBy {
    UsageBy {
        day: by.contains(&By::Day),
        tenant: by.contains(&By::Tenant),
        agent: by.contains(&By::Agent),
        server: by.contains(&By::Server) || by.contains(&By::Tool),
        tool: by.contains(&By::Tool),
    }
}

/// A column: its name, and what a row has in it.
type Column = (&'static str, fn(&UsageRow) -> Cell);

/// What a row has in a column.
enum Cell {
    Text(String),
    Number(u64),
    Amount(u64),
}

fn columns(by: UsageBy) -> Vec<Column> {
    let told: [(bool, Column); 5] = [
        (by.day, ("day", |row| Cell::Text(date(row.key.day)))),
        (by.tenant, ("tenant", |row| Cell::Text(row.key.tenant.to_string()))),
        (by.agent, ("agent", |row| Cell::Text(row.key.agent.to_string()))),
        (by.server, ("server", |row| Cell::Text(row.key.server.to_string()))),
        (by.tool, ("tool", |row| Cell::Text(row.key.tool.to_string()))),
    ];
    let sums: [Column; 8] = [
        ("calls", |row| Cell::Number(row.sum.calls)),
        ("errors", |row| Cell::Number(row.sum.errors)),
        ("refused", |row| Cell::Number(row.sum.refused)),
        ("sent_bytes", |row| Cell::Number(row.sum.sent_bytes)),
        ("received_bytes", |row| Cell::Number(row.sum.received_bytes)),
        ("sent_tokens", |row| Cell::Number(row.sum.sent_tokens)),
        ("received_tokens", |row| Cell::Number(row.sum.received_tokens)),
        ("cost", |row| Cell::Amount(row.sum.cost_nano)),
    ];
    told.into_iter().filter(|(is_told, _)| *is_told).map(|(_, column)| column).chain(sums).collect()
}

impl Cell {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
            Self::Amount(nano) => money(nano),
        }
    }
}

/// A day since 1970-01-01.
fn date(day: u32) -> String {
    let text = Timestamp::from_ms(u64::from(day) * DAY_MS).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

fn json_lines(columns: &[Column], rows: &[UsageRow], currency: &str) {
    let object = |row: &UsageRow| {
        let mut object = Map::new();
        for (name, cell) in columns {
            let value = match cell(row) {
                // As text: nobody's floating point numbers lose any of it.
                amount @ Cell::Amount(_) => json!(amount.text()),
                Cell::Number(number) => json!(number),
                Cell::Text(text) => json!(text),
            };
            object.insert((*name).to_owned(), value);
        }
        if !currency.is_empty() {
            object.insert("currency".to_owned(), json!(currency));
        }
        Value::Object(object)
    };
    let rows: Vec<Value> = rows.iter().map(object).collect();
    Printer::new(To::Out).line(Value::Array(rows).to_string());
}

fn csv(columns: &[Column], rows: &[UsageRow], currency: &str) {
    let out = Printer::new(To::Out);
    let currency = (!currency.is_empty()).then_some(currency);
    let head = columns.iter().map(|(name, _)| *name).chain(currency.map(|_| "currency"));
    out.raw(format!("{}\r\n", head.collect::<Vec<_>>().join(",")).as_bytes());
    for row in rows {
        let cells = columns.iter().map(|(_, cell)| cell(row).text());
        let cells = cells.chain(currency.map(str::to_owned)).map(|text| quoted(&text));
        out.raw(format!("{}\r\n", cells.collect::<Vec<_>>().join(",")).as_bytes());
    }
}

/// A field (RFC 4180, section 2).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn people(columns: &[Column], rows: &[UsageRow], currency: &str) {
    if rows.is_empty() {
        Printer::new(To::Err).line("Nothing was used.");
        return;
    }
    let head = columns.iter().map(|(name, _)| match *name {
        "cost" if !currency.is_empty() => format!("COST ({currency})"),
        name => name.to_uppercase().replace('_', " "),
    });
    let cells = |row: &UsageRow| {
        let text = |(_, cell): &Column| {
            let text = safe(&cell(row).text()).replace(['\n', '\t'], " ");
            if text.is_empty() { "-".to_owned() } else { text }
        };
        columns.iter().map(text).collect::<Vec<_>>()
    };
    table(&head.collect::<Vec<_>>(), &rows.iter().map(cells).collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        assert_eq!(date(20_454), "2026-01-01");
    }

    #[test]
    fn fields_are_quoted_where_they_have_to_be() {
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("say \"a\""), "\"say \"\"a\"\"\"");
        assert_eq!(quoted("plain text"), "plain text");
    }
}
