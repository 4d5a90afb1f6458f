//! Which policy texts were valid once.

use async_trait::async_trait;
use tollgate_model::{TenantId, Timestamp};
use tollgate_store::{ACCEPTED_MAX, Digest, PolicySets, StoreError};

use super::{limit, stored_time};
use crate::connections::Value;
use crate::database::{Begin, Database};

#[async_trait]
impl PolicySets for Database {
    async fn accept(&self, tenant: &TenantId, text: Digest, at: Timestamp) -> Result<(), StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            let connection = &mut writing.connection;
            let values =
                vec![Value::from(tenant.as_str()), Value::from(&text.0[..]), Value::from(stored_time(at))];
            let sql = "INSERT INTO tollgate_accepted (tenant, digest, at_ms) VALUES ($1, $2, $3) \
                ON CONFLICT (tenant, digest) DO UPDATE SET at_ms = $3";
            connection.run(sql, values).await?;
            let values = vec![Value::from(tenant.as_str()), Value::from(limit(ACCEPTED_MAX))];
            let sql = "DELETE FROM tollgate_accepted WHERE tenant = $1 AND digest NOT IN \
                (SELECT digest FROM tollgate_accepted WHERE tenant = $1 ORDER BY at_ms DESC, digest LIMIT $2)";
            connection.run(sql, values).await?;
            writing.commit().await
        })
        .await
    }

    async fn was_accepted(&self, tenant: &TenantId, text: Digest) -> Result<bool, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let sql = "SELECT digest FROM tollgate_accepted WHERE tenant = $1 AND digest = $2";
            let values = vec![Value::from(tenant.as_str()), Value::from(&text.0[..])];
            let row = reading.connection.row(sql, values).await?;
            reading.commit().await?;
            Ok(row.is_some())
        })
        .await
    }
}
