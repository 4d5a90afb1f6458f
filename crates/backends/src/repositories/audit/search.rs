//! Finds rows: block by block, the newest first.

use std::sync::Arc;

use tollgate_model::Timestamp;
use tollgate_store::{AuditRow, Block, Filter, Sieve, StoreError};

use super::{BODY, column, columns, open_rows};
use crate::connections::{Connection, Value};
use crate::repositories::{stored_time, time};

/// How many blocks are looked at together: first few, since mostly the newest hold what is wanted.
const TOGETHER: [i64; 3] = [4, 32, 256];
/// How many bodies are read together.
const BODIES: usize = 8;

struct Candidate {
    id: i64,
    writer: Arc<str>,
    until: Timestamp,
    may: Vec<bool>,
}

/// What fits, the newest first.
pub(super) async fn search(
    connection: &mut Connection,
    filter: &Filter,
) -> Result<Vec<AuditRow>, StoreError> {
    let sieve = Sieve::new(filter);
    let mut found = Found { rows: Vec::new(), most: filter.most() };
    let sql = "SELECT writer, body FROM tollgate_audit_open ORDER BY writer, seq";
    found.add(open_rows(&connection.rows(sql, Vec::new()).await?)?, filter);
    if filter.is_of_open() {
        return Ok(found.rows);
    }
    let (since, until) = filter.times();
    let mut behind = (i64::MAX, i64::MAX);
    for together in TOGETHER.into_iter().chain(std::iter::repeat(TOGETHER[2])) {
        // A block whose last row began too late may have rows that did not.
        let sql = "SELECT id, writer, rows, until_ms FROM tollgate_audit_blocks \
            WHERE until_ms >= $1 AND from_ms < $2 AND (until_ms, id) < ($3, $4) \
            ORDER BY until_ms DESC, id DESC LIMIT $5";
        let values = [stored_time(since), stored_time(until), behind.0, behind.1, together];
        let rows = connection.rows(sql, values.map(Value::from).into()).await?;
        let Some(last) = rows.last() else { break };
        behind = (last.get(3)?, last.get(0)?);
        let mut candidates = Vec::with_capacity(rows.len());
        for row in &rows {
            let rows = usize::try_from(row.get::<i64>(2)?).unwrap_or(0);
            candidates.push(Candidate {
                id: row.get(0)?,
                writer: row.get::<String>(1)?.into(),
                until: time(row.get(3)?),
                may: vec![true; rows],
            });
        }
        if !found.wants(time(behind.0)) {
            // Only the first of these can still have anything newer.
            candidates.retain(|candidate| found.wants(candidate.until));
        }
        narrow(connection, &sieve, &mut candidates).await?;
        for part in candidates.chunks(BODIES) {
            // Once there are enough, older blocks have nothing to add.
            let wanted: Vec<&Candidate> =
                part.iter().filter(|candidate| found.wants(candidate.until)).collect();
            if wanted.is_empty() {
                return Ok(found.rows);
            }
            for (candidate, rows) in bodies(connection, wanted).await? {
                if found.wants(candidate.until) {
                    found.add(rows?, filter);
                }
            }
        }
        if !found.wants(time(behind.0)) {
            break;
        }
    }
    Ok(found.rows)
}

/// Leaves only blocks of which some rows may fit.
async fn narrow(
    connection: &mut Connection,
    sieve: &Sieve,
    candidates: &mut Vec<Candidate>,
) -> Result<(), StoreError> {
    for test in 0..sieve.len() {
        let of_test = sieve.columns(test);
        let ids: Vec<i64> = candidates
            .iter()
            .flat_map(|candidate| of_test.iter().map(|at| column(candidate.id, *at)))
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let columns = columns(connection, &ids).await?;
        let mut broken = None;
        candidates.retain_mut(|candidate| {
            let found = of_test.iter().filter_map(|at| columns.get(&column(candidate.id, *at)));
            match sieve.pass(test, found.map(Vec::as_slice), &mut candidate.may) {
                Ok(is_any) => is_any,
                Err(error) => {
                    broken = Some(error);
                    false
                }
            }
        });
        if let Some(error) = broken {
            return Err(StoreError::broken(error));
        }
    }
    Ok(())
}

/// The rows of some blocks that may fit.
async fn bodies<'c>(
    connection: &mut Connection,
    wanted: Vec<&'c Candidate>,
) -> Result<Vec<(&'c Candidate, Result<Vec<AuditRow>, StoreError>)>, StoreError> {
    let ids: Vec<i64> = wanted.iter().map(|candidate| column(candidate.id, BODY)).collect();
    let mut bodies = columns(connection, &ids).await?;
    let rows = |candidate: &Candidate| {
        let body = bodies.remove(&column(candidate.id, BODY)).unwrap_or_default();
        Block::rows(&candidate.writer, &body, Some(&candidate.may)).map_err(StoreError::broken)
    };
    let rows: Vec<_> = wanted.iter().copied().map(rows).collect();
    Ok(wanted.into_iter().zip(rows).collect())
}

/// The newest rows so far.
struct Found {
    rows: Vec<AuditRow>,
    most: usize,
}

impl Found {
    /// Whether anything that began then may be among the newest.
    fn wants(&self, until: Timestamp) -> bool {
        self.rows.len() < self.most || self.rows.last().is_some_and(|oldest| oldest.time <= until)
    }

    fn add(&mut self, rows: Vec<AuditRow>, filter: &Filter) {
        self.rows.extend(rows.into_iter().filter(|row| filter.fits(row)));
        self.rows.sort_by(AuditRow::newest_first);
        self.rows.truncate(self.most);
    }
}
