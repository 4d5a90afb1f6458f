//! Who administers: admin keys, sessions, and what was asked for once.

use std::sync::Arc;

use async_trait::async_trait;
use tollgate_model::{KeyHash, KeyId, Timestamp};
use tollgate_store::{
    ADMIN_SESSIONS_MAX, AdminGrant, AdminKey, AdminSession, Admins, Change, Digest, ONCE_KEPT, ONCE_MAX,
    ONCE_UNDER_WAY, Once, StoreError,
};

use super::feed::Writing;
use super::{digest, limit, stored_time, time};
use crate::connections::{Connection, Row, Value};
use crate::database::{Begin, Database};

macro_rules! select_key {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, grants, hash, created_ms, expires_ms, revoked_ms, by_whom FROM tollgate_admin_keys ",
            $rest
        )
    };
}

fn key(row: &Row) -> Result<AdminKey, StoreError> {
    let grants: Vec<(String, Option<String>)> =
        serde_json::from_str(&row.get::<String>(2)?).map_err(StoreError::broken)?;
    Ok(AdminKey {
        id: KeyId::new(&row.get::<String>(0)?),
        name: row.get::<String>(1)?.into(),
        grants: grants.into_iter().map(AdminGrant::from_pair).collect(),
        hash: KeyHash(digest(&row.get::<Vec<u8>>(3)?)?),
        created: time(row.get(4)?),
        expires: row.get::<Option<i64>>(5)?.map(time),
        revoked: row.get::<Option<i64>>(6)?.map(time),
        by: row.get::<String>(7)?.into(),
    })
}

fn session(row: &Row, of: &Digest) -> Result<AdminSession, StoreError> {
    let groups: Vec<String> = serde_json::from_str(&row.get::<String>(4)?).map_err(StoreError::broken)?;
    Ok(AdminSession {
        digest: *of,
        how: row.get::<String>(0)?.into(),
        proof: row.get::<String>(1)?.into(),
        subject: row.get::<String>(2)?.into(),
        name: row.get::<String>(3)?.into(),
        groups: groups.into_iter().map(Arc::from).collect(),
        created: time(row.get(5)?),
        seen: time(row.get(6)?),
        expires: time(row.get(7)?),
    })
}

#[async_trait]
impl Admins for Database {
    async fn add_admin_key(&self, key: AdminKey) -> Result<(), StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            let grants: Vec<_> = key.grants.iter().map(AdminGrant::to_pair).collect();
            let grants = serde_json::to_string(&grants).map_err(StoreError::broken)?;
            let values = vec![
                Value::from(key.id.as_str()),
                Value::from(&*key.name),
                Value::from(&*grants),
                Value::from(&key.hash.0[..]),
                Value::from(stored_time(key.created)),
                Value::from(key.expires.map(stored_time)),
                Value::from(key.revoked.map(stored_time)),
                Value::from(&*key.by),
            ];
            let sql = "INSERT INTO tollgate_admin_keys \
                (id, name, grants, hash, created_ms, expires_ms, revoked_ms, by_whom) \
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
            if writing.transaction.connection.run(sql, values).await? == 0 {
                return Err(StoreError::KeyTaken);
            }
            writing.say(&Change::AdminKey(Arc::new(key))).await?;
            writing.commit().await
        })
        .await
    }

    async fn admin_key(&self, hash: &KeyHash) -> Result<Option<AdminKey>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let values = vec![Value::from(&hash.0[..])];
            let row = reading.connection.row(select_key!("WHERE hash = $1"), values).await?;
            reading.commit().await?;
            row.as_ref().map(key).transpose()
        })
        .await
    }

    async fn admin_keys(&self, after: Option<&KeyId>, most: usize) -> Result<Vec<AdminKey>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let values = vec![Value::from(after.map_or("", KeyId::as_str)), Value::from(limit(most))];
            let sql = select_key!("WHERE id > $1 ORDER BY id LIMIT $2");
            let rows = reading.connection.rows(sql, values).await?;
            reading.commit().await?;
            rows.iter().map(key).collect()
        })
        .await
    }

    async fn revoke_seen_admin_key(
        &self,
        id: &KeyId,
        (at, by): (Timestamp, &str),
        seen: Option<&AdminKey>,
    ) -> Result<AdminKey, StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            let values = vec![Value::from(id.as_str())];
            let row = writing.transaction.connection.row(select_key!("WHERE id = $1"), values).await?;
            let mut found = key(&row.ok_or(StoreError::NoSuchKey)?)?;
            StoreError::unless_seen(&found, seen)?;
            if found.revoked.is_none() {
                (found.revoked, found.by) = (Some(at), by.into());
                let values = vec![Value::from(id.as_str()), Value::from(stored_time(at)), Value::from(by)];
                let sql = "UPDATE tollgate_admin_keys SET revoked_ms = $2, by_whom = $3 WHERE id = $1";
                writing.transaction.connection.run(sql, values).await?;
                writing.say(&Change::AdminKey(Arc::new(found.clone()))).await?;
            }
            writing.commit().await?;
            Ok(found)
        })
        .await
    }

    async fn begin_admin_session(&self, session: AdminSession) -> Result<(), StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            let connection = &mut writing.connection;
            let now = vec![Value::from(stored_time(session.created))];
            connection.run("DELETE FROM tollgate_admin_sessions WHERE expires_ms <= $1", now).await?;
            let groups: Vec<&str> = session.groups.iter().map(|group| &**group).collect();
            let groups = serde_json::to_string(&groups).map_err(StoreError::broken)?;
            let values = vec![
                Value::from(&*session.digest.to_string()),
                Value::from(&*session.how),
                Value::from(&*session.proof),
                Value::from(&*session.subject),
                Value::from(&*session.name),
                Value::from(&*groups),
                Value::from(stored_time(session.created)),
                Value::from(stored_time(session.seen)),
                Value::from(stored_time(session.expires)),
            ];
            let sql = "INSERT INTO tollgate_admin_sessions \
                (digest, how, proof, subject, name, groups, created_ms, seen_ms, expires_ms) \
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
            connection.run(sql, values).await?;
            let sql = "DELETE FROM tollgate_admin_sessions WHERE digest IN (SELECT digest FROM tollgate_admin_sessions \
                ORDER BY seen_ms DESC, digest DESC LIMIT 1000000 OFFSET $1)";
            connection.run(sql, vec![Value::from(limit(ADMIN_SESSIONS_MAX))]).await?;
            writing.commit().await
        })
        .await
    }

    async fn admin_session(&self, of: &Digest) -> Result<Option<AdminSession>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let sql = "SELECT how, proof, subject, name, groups, created_ms, seen_ms, expires_ms \
                FROM tollgate_admin_sessions WHERE digest = $1";
            let row = reading.connection.row(sql, vec![Value::from(&*of.to_string())]).await?;
            reading.commit().await?;
            row.as_ref().map(|row| session(row, of)).transpose()
        })
        .await
    }

    async fn see_admin_session(&self, of: &Digest, at: Timestamp) -> Result<(), StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            let sql = "UPDATE tollgate_admin_sessions SET seen_ms = $2 WHERE digest = $1 AND seen_ms < $2";
            let values = vec![Value::from(&*of.to_string()), Value::from(stored_time(at))];
            writing.connection.run(sql, values).await?;
            writing.commit().await
        })
        .await
    }

    async fn end_admin_session(&self, of: &Digest) -> Result<bool, StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            let sql = "DELETE FROM tollgate_admin_sessions WHERE digest = $1";
            let ended = writing.connection.run(sql, vec![Value::from(&*of.to_string())]).await? > 0;
            writing.commit().await?;
            Ok(ended)
        })
        .await
    }

    async fn begin_once(&self, key: &Digest, request: &Digest, now: Timestamp) -> Result<Once, StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            let connection = &mut writing.connection;
            let old = stored_time(now).saturating_sub(limit(ONCE_KEPT.as_millis().try_into().unwrap_or(0)));
            connection.run("DELETE FROM tollgate_admin_once WHERE at_ms <= $1", vec![Value::from(old)]).await?;
            // Whoever begins the same at the same time waits here until this is done.
            let sql = "INSERT INTO tollgate_admin_once (digest, request, at_ms) VALUES ($1, $2, $3) \
                ON CONFLICT (digest) DO NOTHING";
            let (key, request) = (key.to_string(), request.to_string());
            let values = || vec![Value::from(&*key), Value::from(&*request), Value::from(stored_time(now))];
            let once = if connection.run(sql, values()).await? > 0 {
                Once::Begun
            } else {
                begun_before(connection, &key, &request, now).await?
            };
            if once == Once::Begun {
                let sql = "UPDATE tollgate_admin_once SET request = $2, at_ms = $3, status = NULL, body = NULL \
                    WHERE digest = $1";
                connection.run(sql, values()).await?;
                let sql = "DELETE FROM tollgate_admin_once WHERE digest IN (SELECT digest FROM tollgate_admin_once \
                    ORDER BY at_ms DESC, digest DESC LIMIT 1000000 OFFSET $1)";
                connection.run(sql, vec![Value::from(limit(ONCE_MAX))]).await?;
            }
            writing.commit().await?;
            Ok(once)
        })
        .await
    }

    async fn end_once(&self, key: &Digest, answer: Option<(u16, &str)>) -> Result<(), StoreError> {
        self.bounded(async {
            let mut writing = self.begin(Begin::Write).await?;
            let key = key.to_string();
            match answer {
                None => {
                    let sql = "DELETE FROM tollgate_admin_once WHERE digest = $1";
                    writing.connection.run(sql, vec![Value::from(&*key)]).await?;
                }
                Some((status, body)) => {
                    let sql = "UPDATE tollgate_admin_once SET status = $2, body = $3 WHERE digest = $1";
                    let values = vec![Value::from(&*key), Value::from(i64::from(status)), Value::from(body)];
                    writing.connection.run(sql, values).await?;
                }
            }
            writing.commit().await
        })
        .await
    }
}

/// What has become of what was begun before.
async fn begun_before(
    connection: &mut Connection,
    key: &str,
    request: &str,
    now: Timestamp,
) -> Result<Once, StoreError> {
    let sql = "SELECT request, at_ms, status, body FROM tollgate_admin_once WHERE digest = $1";
    let row = connection.row(sql, vec![Value::from(key)]).await?;
    let row = row.ok_or_else(|| StoreError::broken("what was asked for once is gone"))?;
    if row.get::<String>(0)? != request {
        return Ok(Once::Another);
    }
    let (status, body) = (row.get::<Option<i64>>(2)?, row.get::<Option<String>>(3)?);
    Ok(match (status, body) {
        (Some(status), Some(body)) => {
            Once::Answered { status: u16::try_from(status).map_err(StoreError::broken)?, body: body.into() }
        }
        _ if now < time(row.get(1)?).after(ONCE_UNDER_WAY) => Once::UnderWay,
        _ => Once::Begun,
    })
}
