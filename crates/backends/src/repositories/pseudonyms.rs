//! Names that stand for texts.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tollgate_model::Timestamp;
use tollgate_store::{KeptName, NUMBERS_KEPT_MS, Names, NamesGiven, NamesOf, StoreError, numbered};

use super::{digest, stored_time};
use crate::connections::{Connection, Value};
use crate::database::{Begin, Database};

#[async_trait]
impl Names for Database {
    async fn keep_names(&self, of: NamesOf, names: &[KeptName]) -> Result<bool, StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            let connection = &mut writing.connection;
            let old = vec![Value::from(stored_time(of.now))];
            connection.run("DELETE FROM tollgate_pseudonyms WHERE until_ms < $1", old).await?;
            let old = vec![Value::from(stored_time(of.now))];
            connection.run("DELETE FROM tollgate_pseudonym_numbers WHERE until_ms < $1", old).await?;
            let given = numbers(connection, of).await?;
            // In one order at all gateways: of two that hold what the other waits for, one would fail.
            let mut in_order: Vec<&KeptName> = names.iter().collect();
            in_order.sort_by(|one, other| one.name.cmp(&other.name));
            for KeptName { name, digest, sealed } in in_order {
                let is_given = numbered(name)
                    .is_some_and(|(kind, number)| given.get(kind).is_some_and(|highest| number <= *highest));
                if is_given && stands_for(connection, of, name).await?.as_deref() != Some(&**sealed) {
                    return Ok(false); // what it stood for may be forgotten, and it may be written down somewhere
                }
                // Whoever gives the same name at the same time waits here until this is done.
                let sql = "INSERT INTO tollgate_pseudonyms (owner, name, digest, sealed, until_ms) \
                    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (owner, name) DO NOTHING";
                let values = vec![
                    Value::from(&of.owner.0[..]),
                    Value::from(&**name),
                    Value::from(&digest.0[..]),
                    Value::from(&**sealed),
                    Value::from(stored_time(of.until)),
                ];
                connection.run(sql, values).await?;
                let kept = stands_for(connection, of, name).await?;
                if kept.as_deref() != Some(&**sealed) {
                    return Ok(false); // and none of them is kept
                }
            }
            number_them(connection, of, names).await?;
            use_them(connection, of).await?;
            writing.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn names_of(&self, of: NamesOf) -> Result<NamesGiven, StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            let connection = &mut writing.connection;
            use_them(connection, of).await?;
            let sql = "SELECT name, digest, sealed FROM tollgate_pseudonyms \
                WHERE owner = $1 AND until_ms >= $2 ORDER BY name";
            let values = vec![Value::from(&of.owner.0[..]), Value::from(stored_time(of.now))];
            let rows = connection.rows(sql, values).await?;
            let numbers = numbers(connection, of).await?;
            writing.commit().await?;
            let name = |row: &crate::connections::Row| {
                let (name, bytes, sealed): (String, Vec<u8>, String) =
                    (row.get(0)?, row.get(1)?, row.get(2)?);
                let digest = tollgate_store::Digest(digest(&bytes)?);
                Ok(KeptName { name: name.into(), digest, sealed: sealed.into() })
            };
            let names = rows.iter().map(name).collect::<Result<_, StoreError>>()?;
            Ok(NamesGiven { names, numbers })
        })
        .await
    }
}

/// What a name stands for, sealed.
async fn stands_for(
    connection: &mut Connection,
    of: NamesOf,
    name: &str,
) -> Result<Option<String>, StoreError> {
    let sql = "SELECT sealed FROM tollgate_pseudonyms WHERE owner = $1 AND name = $2";
    let row = connection.row(sql, vec![Value::from(&of.owner.0[..]), Value::from(name)]).await?;
    row.map(|row| row.get(0)).transpose()
}

/// The highest number that was given of each kind.
async fn numbers(connection: &mut Connection, of: NamesOf) -> Result<BTreeMap<Arc<str>, u64>, StoreError> {
    let sql = "SELECT kind, highest FROM tollgate_pseudonym_numbers WHERE owner = $1";
    let rows = connection.rows(sql, vec![Value::from(&of.owner.0[..])]).await?;
    let number = |row: &crate::connections::Row| {
        let (kind, highest): (String, i64) = (row.get(0)?, row.get(1)?);
        Ok((kind.into(), u64::try_from(highest).unwrap_or_default()))
    };
    rows.iter().map(number).collect()
}

/// Remembers the numbers of names that are given now.
async fn number_them(connection: &mut Connection, of: NamesOf, names: &[KeptName]) -> Result<(), StoreError> {
    let mut highest: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, number) in names.iter().filter_map(|name| numbered(&name.name)) {
        let known = highest.entry(kind).or_default();
        *known = (*known).max(number);
    }
    let until = Timestamp::from_ms(of.now.as_ms().saturating_add(NUMBERS_KEPT_MS));
    for (kind, number) in highest {
        let sql = "INSERT INTO tollgate_pseudonym_numbers (owner, kind, highest, until_ms) VALUES ($1, $2, $3, $4) \
            ON CONFLICT (owner, kind) DO UPDATE SET until_ms = excluded.until_ms, highest = \
            CASE WHEN excluded.highest > tollgate_pseudonym_numbers.highest THEN excluded.highest \
            ELSE tollgate_pseudonym_numbers.highest END";
        let values = vec![
            Value::from(&of.owner.0[..]),
            Value::from(kind),
            Value::from(i64::try_from(number).unwrap_or(i64::MAX)),
            Value::from(stored_time(until)),
        ];
        connection.run(sql, values).await?;
    }
    Ok(())
}

/// All that are still good are good for longer.
async fn use_them(connection: &mut Connection, of: NamesOf) -> Result<(), StoreError> {
    let sql = "UPDATE tollgate_pseudonyms SET until_ms = $3 \
        WHERE owner = $1 AND until_ms >= $2 AND until_ms < $3";
    let values = vec![
        Value::from(&of.owner.0[..]),
        Value::from(stored_time(of.now)),
        Value::from(stored_time(of.until)),
    ];
    connection.run(sql, values).await.map(drop)
}
