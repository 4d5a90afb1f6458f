//! Definitions that are pinned.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tollgate_model::TenantId;
use tollgate_store::{
    Approved, Approving, Change, Digest, PINS_MAX, Pin, PinChange, PinMark, PinOf, PinShape, Pins, Sightings,
    StoreError, WhichPins,
};

use super::feed::Writing;
use super::{digest, limit, stored_time, time};
use crate::connections::{Connection, Row, Value};
use crate::database::{Begin, Database};

/// The columns of a pin, in the order in which [`pin`] reads them.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT tenant, server, kind, item, approved, waiting, approved_text, waiting_text, \
             by_whom, reason, since_ms, seen_ms FROM tollgate_pins ",
            $rest
        )
    };
}

/// What is approved and what waits of all that is pinned.
pub(super) const MARKS: &str = "SELECT tenant, server, kind, item, approved, waiting FROM tollgate_pins \
    ORDER BY tenant, server, kind, item";

/// Of what a row is that begins like [`MARKS`].
pub(super) fn marked(row: &Row) -> Result<(PinOf, PinMark), StoreError> {
    let (tenant, server): (String, String) = (row.get(0)?, row.get(1)?);
    let (kind, item): (String, String) = (row.get(2)?, row.get(3)?);
    let of = PinOf::from_parts(&tenant, &server, &kind, &item)
        .ok_or_else(|| StoreError::broken("a pin is stored that this program does not know"))?;
    Ok((of, PinMark { approved: some_digest(row, 4)?, waiting: some_digest(row, 5)? }))
}

/// Nothing is stored as no bytes.
fn some_digest(row: &Row, at: usize) -> Result<Option<Digest>, StoreError> {
    let bytes = row.get::<Vec<u8>>(at)?;
    if bytes.is_empty() { Ok(None) } else { digest(&bytes).map(|digest| Some(Digest(digest))) }
}

fn pin(row: &Row) -> Result<Pin, StoreError> {
    let (of, mark) = marked(row)?;
    let shape = |digest: Option<Digest>, at: usize| {
        let Some(digest) = digest else { return Ok(None) };
        let text = row.get::<Vec<u8>>(at)?;
        Ok::<_, StoreError>(Some(PinShape { digest, text: (!text.is_empty()).then(|| Bytes::from(text)) }))
    };
    Ok(Pin {
        of,
        approved: shape(mark.approved, 6)?,
        waiting: shape(mark.waiting, 7)?,
        by: Arc::from(row.get::<String>(8)?),
        reason: Arc::from(row.get::<String>(9)?),
        since: row.get::<Option<i64>>(10)?.map(time),
        seen: row.get::<Option<i64>>(11)?.map(time),
    })
}

fn whose(tenant: Option<&TenantId>) -> Value {
    Value::from(tenant.map_or("", TenantId::as_str))
}

fn key(of: &PinOf) -> Vec<Value> {
    let texts = [of.server.as_str(), of.kind.as_str(), &*of.item];
    [whose(of.tenant.as_ref())].into_iter().chain(texts.map(Value::from)).collect()
}

fn digest_value(shape: Option<&PinShape>) -> Value {
    Value::Bytes(shape.map_or_else(Vec::new, |shape| shape.digest.0.to_vec()))
}

fn text_value(shape: Option<&PinShape>) -> Value {
    let text = shape.and_then(|shape| shape.text.as_ref());
    Value::Bytes(text.map_or_else(Vec::new, |text| text.to_vec()))
}

async fn put(connection: &mut Connection, pin: &Pin) -> Result<(), StoreError> {
    let mut values = key(&pin.of);
    values.push(digest_value(pin.approved.as_ref()));
    values.push(text_value(pin.approved.as_ref()));
    values.push(digest_value(pin.waiting.as_ref()));
    values.push(text_value(pin.waiting.as_ref()));
    values.extend([&*pin.by, &*pin.reason].map(Value::from));
    values.extend([pin.since, pin.seen].map(|at| Value::from(at.map(stored_time))));
    let sql = "INSERT INTO tollgate_pins (tenant, server, kind, item, approved, approved_text, waiting, waiting_text, \
        by_whom, reason, since_ms, seen_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
        ON CONFLICT (tenant, server, kind, item) DO UPDATE SET approved = $5, approved_text = $6, waiting = $7, \
        waiting_text = $8, by_whom = $9, reason = $10, since_ms = $11, seen_ms = $12";
    connection.run(sql, values).await?;
    Ok(())
}

async fn one(connection: &mut Connection, of: &PinOf) -> Result<Option<Pin>, StoreError> {
    let sql = select!("WHERE tenant = $1 AND server = $2 AND kind = $3 AND item = $4");
    connection.row(sql, key(of)).await?.as_ref().map(pin).transpose()
}

#[async_trait]
impl Pins for Database {
    async fn sight(&self, sightings: Sightings) -> Result<usize, StoreError> {
        let Sightings { tenant, server, items, at, by } = sightings;
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            let sql = "SELECT tenant, server, kind, item, approved, waiting FROM tollgate_pins \
                WHERE tenant = $1 AND server = $2";
            let values = vec![whose(tenant.as_ref()), Value::from(server.as_str())];
            let rows = writing.transaction.connection.rows(sql, values).await?;
            let mut marks = rows.iter().map(marked).collect::<Result<HashMap<_, _>, _>>()?;
            let mut changed = 0;
            for sighting in items {
                let (kind, item) = (sighting.kind, Arc::clone(&sighting.item));
                let of = PinOf { tenant: tenant.clone(), server: server.clone(), kind, item };
                let before = marks.get(&of).copied();
                if (before.is_none() && marks.len() >= PINS_MAX) || !PinOf::can_be_kept(&of.item) {
                    continue;
                }
                let mut known = None;
                if before.is_some() && (sighting.is_held || Pin::sighted(before, false, &sighting).is_some())
                {
                    known = one(&mut writing.transaction.connection, &of).await?;
                }
                let was_trusted = known.as_ref().is_some_and(|pin| pin.by == by);
                let Some(mark) = Pin::sighted(before, was_trusted, &sighting) else { continue };
                let mut pin = known.unwrap_or_else(|| Pin {
                    of: of.clone(),
                    approved: None,
                    by: "".into(),
                    reason: "".into(),
                    since: None,
                    waiting: None,
                    seen: None,
                });
                let is_approved =
                    mark.approved.is_some() && before.and_then(|before| before.approved) != mark.approved;
                if is_approved {
                    (pin.by, pin.since) = (Arc::clone(&by), Some(at));
                    pin.approved = Some(sighting.shape.clone());
                } else if mark.approved.is_none() {
                    (pin.approved, pin.by, pin.since) = (None, "".into(), None);
                }
                pin.waiting = mark.waiting.map(|_| sighting.shape);
                pin.seen = mark.waiting.map(|_| at);
                put(&mut writing.transaction.connection, &pin).await?;
                let by = if is_approved { Arc::clone(&by) } else { "".into() };
                let change = PinChange { of: of.clone(), mark: Some(mark), by, reason: "".into() };
                writing.say(&Change::Pinned(change)).await?;
                marks.insert(of, mark);
                changed += 1;
            }
            writing.commit().await?;
            Ok(changed)
        })
        .await
    }

    async fn approve_pin(&self, approving: Approving) -> Result<Approved, StoreError> {
        let Approving { of, digest, by, reason, at } = approving;
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            let found = one(&mut writing.transaction.connection, &of).await?;
            let Some(mut pin) = found else {
                writing.commit().await?;
                return Ok(Approved::Unknown);
            };
            let PinMark { approved, waiting } = pin.mark();
            if waiting != Some(digest) {
                writing.commit().await?;
                let is_so = approved == Some(digest);
                return Ok(if is_so { Approved::Before } else { Approved::Otherwise });
            }
            (pin.approved, pin.seen) = (pin.waiting.take(), None);
            (pin.by, pin.reason, pin.since) = (Arc::clone(&by), Arc::clone(&reason), Some(at));
            put(&mut writing.transaction.connection, &pin).await?;
            let mark = Some(pin.mark());
            writing.say(&Change::Pinned(PinChange { of: pin.of, mark, by, reason })).await?;
            writing.commit().await?;
            Ok(Approved::Now)
        })
        .await
    }

    async fn forget_seen_pin(
        &self,
        of: &PinOf,
        (by, reason): (&str, &str),
        seen: Option<&Pin>,
    ) -> Result<bool, StoreError> {
        self.bounded(async {
            let mut writing = Writing::begin(self).await?;
            if let Some(now) = one(&mut writing.transaction.connection, of).await? {
                StoreError::unless_seen(&now, seen)?;
            }
            let sql =
                "DELETE FROM tollgate_pins WHERE tenant = $1 AND server = $2 AND kind = $3 AND item = $4";
            let was_there = writing.transaction.connection.run(sql, key(of)).await? > 0;
            if was_there {
                let (of, by, reason) = (of.clone(), by.into(), reason.into());
                writing.say(&Change::Pinned(PinChange { of, mark: None, by, reason })).await?;
            }
            writing.commit().await?;
            Ok(was_there)
        })
        .await
    }

    async fn pin(&self, of: &PinOf) -> Result<Option<Pin>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let found = one(&mut reading.connection, of).await?;
            reading.commit().await?;
            Ok(found)
        })
        .await
    }

    async fn pins(&self, which: &WhichPins) -> Result<Vec<Pin>, StoreError> {
        self.bounded(async {
            let mut reading = self.begin(Begin::Read).await?;
            let mut values =
                which.after.as_ref().map_or_else(|| ["", "", "", ""].map(Value::from).into(), key);
            values.push(Value::from(which.server.as_ref().map_or("", |server| server.as_str())));
            values.push(Value::from(i64::from(which.is_waiting)));
            values.push(Value::from(limit(which.most)));
            let sql = select!(
                "WHERE (tenant, server, kind, item) > ($1, $2, $3, $4) AND ($5 = '' OR server = $5) \
                 AND ($6 = 0 OR length(waiting) > 0) ORDER BY tenant, server, kind, item LIMIT $7"
            );
            let rows = reading.connection.rows(sql, values).await?;
            reading.commit().await?;
            rows.iter().map(pin).collect()
        })
        .await
    }
}
