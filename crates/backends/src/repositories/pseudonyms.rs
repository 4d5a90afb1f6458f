//! Names that stand for texts.

use async_trait::async_trait;
use tollgate_store::{KeptName, Names, NamesOf, StoreError};

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
            // In one order at all gateways: of two that hold what the other waits for, one would fail.
            let mut names: Vec<&KeptName> = names.iter().collect();
            names.sort_by(|one, other| one.name.cmp(&other.name));
            for KeptName { name, digest, sealed } in names {
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
                let sql = "SELECT sealed FROM tollgate_pseudonyms WHERE owner = $1 AND name = $2";
                let values = vec![Value::from(&of.owner.0[..]), Value::from(&**name)];
                let row = connection.row(sql, values).await?;
                let kept: Option<String> = row.map(|row| row.get(0)).transpose()?;
                if kept.as_deref() != Some(&**sealed) {
                    return Ok(false); // and none of them is kept
                }
            }
            use_them(connection, of).await?;
            writing.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn names_of(&self, of: NamesOf) -> Result<Vec<KeptName>, StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            let connection = &mut writing.connection;
            use_them(connection, of).await?;
            let sql = "SELECT name, digest, sealed FROM tollgate_pseudonyms \
                WHERE owner = $1 AND until_ms >= $2 ORDER BY name";
            let values = vec![Value::from(&of.owner.0[..]), Value::from(stored_time(of.now))];
            let rows = connection.rows(sql, values).await?;
            writing.commit().await?;
            let name = |row: &crate::connections::Row| {
                let (name, bytes, sealed): (String, Vec<u8>, String) =
                    (row.get(0)?, row.get(1)?, row.get(2)?);
                let digest = tollgate_store::Digest(digest(&bytes)?);
                Ok(KeptName { name: name.into(), digest, sealed: sealed.into() })
            };
            rows.iter().map(name).collect()
        })
        .await
    }
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
