//! A block: up to some thousand rows of one writer, as columns to search by and a body to show.
//!
//! The body is the texts of the block, each once; then the rows, in which texts are numbers; then where each row begins.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tollgate_model::Timestamp;

use super::column::{self, BETWEEN, BuildFnv, hash, hash_of, take};
use super::query::Field;
use super::row::TEXTS;
use super::{AuditRow, Filter, Place};

/// How many rows a block has at most.
pub const BLOCK_ROWS_MAX: usize = 4096;
/// How many blocks of a writer may wait to be joined into a larger one.
pub const SMALL_BLOCKS_MAX: usize = 16;
/// A block that covers a longer time is joined with no other, so that it can go when its time has come.
pub const BLOCK_SPAN: Duration = Duration::from_hours(24);
/// How many columns a block has, the body among them: it is the last.
pub const COLUMNS: usize = 14;

const VERSION: u8 = 1;
/// Which texts of a row have a column of their own, by their place in [`AuditRow::texts`].
const SEARCHED: [Field; 8] = [
    Field::Tenant,
    Field::Agent,
    Field::User,
    Field::Server,
    Field::PublicName,
    Field::NativeName,
    Field::Outcome,
    Field::Code,
];

/// What is stored is no block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a block of the index cannot be read")]
pub struct BrokenBlock;

/// Rows of one writer, to be stored.
#[derive(Debug)]
pub struct Block {
    /// How many rows.
    pub rows: usize,
    /// The number of the last entry.
    pub seq: u64,
    /// When its first row began.
    pub from: Timestamp,
    /// When its last row began.
    pub until: Timestamp,
    /// The columns.
    pub columns: [Vec<u8>; COLUMNS],
}

/// What tells rows apart by the flags before them.
const HAS_CALL: u8 = 1;
const HAS_TRACE: u8 = 2;
const HAS_ELEMENT: u8 = 4;
const HAS_DIGEST: u8 = 8;
const HAS_END: u8 = 16;

impl Block {
    /// Of rows that are complete, in the order in which they were completed: at least one, at most [`BLOCK_ROWS_MAX`].
    pub fn of(rows: &[AuditRow]) -> Self {
        let mut texts = Texts::default();
        let mut body = Vec::with_capacity(rows.len() * 128);
        let mut begins = Vec::with_capacity(rows.len());
        // For each row the numbers of its texts, of its kind and of its policies.
        let mut numbers: Vec<[u32; TEXTS + 2]> = Vec::with_capacity(rows.len());
        for row in rows {
            begins.push(body.len());
            let numbered = texts.number(row);
            write_row(row, &numbered, &mut body);
            numbers.push(numbered);
        }
        let list: Vec<&str> = texts.list.iter().map(|text| &**text).collect();
        let mut columns = <[Vec<u8>; COLUMNS]>::default();
        let mut column = Vec::with_capacity(rows.len());
        let mut searched: Vec<(usize, Field)> = SEARCHED.into_iter().enumerate().collect();
        searched.extend([(TEXTS, Field::Kind), (TEXTS + 1, Field::Policy)]);
        for (place, field) in searched {
            column.clear();
            column.extend(numbers.iter().map(|numbers| numbers[place]));
            columns[field as usize] = column::of_texts(&column, &list);
        }
        let number = |number: Option<u128>| number.map_or(0, |number| hash_of(&number.to_be_bytes()));
        columns[Field::Call as usize] = column::of_hashes(rows.iter().map(|row| number(row.call)));
        columns[Field::Trace as usize] = column::of_hashes(rows.iter().map(|row| number(row.trace)));
        let digest = |row: &AuditRow| row.digest.as_deref().map_or(0, hash);
        columns[Field::Digest as usize] = column::of_hashes(rows.iter().map(digest));
        columns[COLUMNS - 1] = texts.body(&body, &begins);
        Self {
            rows: rows.len(),
            seq: rows.iter().filter_map(AuditRow::end_seq).max().unwrap_or(0),
            from: rows.iter().map(|row| row.time).min().unwrap_or_default(),
            until: rows.iter().map(|row| row.time).max().unwrap_or_default(),
            columns,
        }
    }

    /// Rows as one block each may hold them: not too many, and of no longer a time than a block covers.
    pub fn parts(rows: &[AuditRow]) -> impl Iterator<Item = &[AuditRow]> {
        let mut rest = rows;
        std::iter::from_fn(move || {
            let first = rest.first()?;
            let (mut from, mut until) = (first.time, first.time);
            let fits = |row: &&AuditRow| {
                (from, until) = (from.min(row.time), until.max(row.time));
                until.since(from) <= BLOCK_SPAN
            };
            let len = rest.iter().take(BLOCK_ROWS_MAX).take_while(fits).count();
            let (part, left) = rest.split_at(len);
            rest = left;
            Some(part)
        })
    }

    /// The body alone.
    pub fn body_of(rows: &[AuditRow]) -> Vec<u8> {
        let mut texts = Texts::default();
        let mut body = Vec::new();
        let mut begins = Vec::with_capacity(rows.len());
        for row in rows {
            begins.push(body.len());
            let numbered = texts.number(row);
            write_row(row, &numbered, &mut body);
        }
        texts.body(&body, &begins)
    }

    /// The rows in a body, or those of them that are marked.
    pub fn rows(
        writer: &Arc<str>,
        body: &[u8],
        which: Option<&[bool]>,
    ) -> Result<Vec<AuditRow>, BrokenBlock> {
        let body = Body::read(body)?;
        let count = body.begins.len() / 4;
        let mut texts: Vec<Option<Arc<str>>> = vec![None; body.texts.len()];
        let is_meant = |at: &usize| which.is_none_or(|which| which.get(*at) == Some(&true));
        (0..count).filter(is_meant).map(|at| body.row(at, writer, &mut texts)).collect()
    }
}

/// What has to be looked at to find the rows of a block that fit a filter.
#[derive(Debug)]
pub struct Sieve {
    tests: Vec<(Vec<Field>, Vec<u32>)>,
}

impl Sieve {
    /// For this filter.
    pub fn new(filter: &Filter) -> Self {
        Self { tests: filter.tests() }
    }

    /// How many tests there are.
    pub fn len(&self) -> usize {
        self.tests.len()
    }

    /// Whether there are none: every row may fit.
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }

    /// The columns that a test looks at.
    pub fn columns(&self, test: usize) -> Vec<usize> {
        self.tests
            .get(test)
            .map(|(fields, _)| fields.iter().map(|field| *field as usize).collect())
            .unwrap_or_default()
    }

    /// Leaves in `may` only those rows that may pass a test. Says whether there are any. `columns`: those of
    /// [`Self::columns`].
    pub fn pass<'c>(
        &self,
        test: usize,
        columns: impl Iterator<Item = &'c [u8]>,
        may: &mut [bool],
    ) -> Result<bool, BrokenBlock> {
        let Some((_, wanted)) = self.tests.get(test) else { return Ok(true) };
        let mut passes = vec![false; may.len()];
        for column in columns {
            column::mark(column, wanted, &mut passes)?;
        }
        let mut is_any = false;
        for (may, passes) in may.iter_mut().zip(passes) {
            *may &= passes;
            is_any |= *may;
        }
        Ok(is_any)
    }
}

/// The texts of a block that is made, each once.
#[derive(Default)]
struct Texts<'r> {
    known: HashMap<&'r str, u32, BuildFnv>,
    sets: HashMap<Vec<&'r str>, u32>,
    list: Vec<Cow<'r, str>>,
    /// What the row before has in each place, and its number: mostly the next has the same.
    last: [(&'r str, u32); TEXTS],
}

impl<'r> Texts<'r> {
    /// The numbers of a row's texts, of its kind and of its policies, from 1; 0 for none.
    fn number(&mut self, row: &'r AuditRow) -> [u32; TEXTS + 2] {
        let mut numbers = [0; TEXTS + 2];
        for (place, text) in row.texts().into_iter().enumerate() {
            let Some(text) = text else { continue };
            if !std::ptr::eq(self.last[place].0, text) || self.last[place].1 == 0 {
                self.last[place] = (text, self.one(text));
            }
            numbers[place] = self.last[place].1;
        }
        numbers[TEXTS] = self.one(&row.kind);
        numbers[TEXTS + 1] = match &*row.policies {
            [] => 0,
            [policy] => self.one(policy),
            policies => self.set(policies.iter().map(|policy| &**policy).collect()),
        };
        numbers
    }

    fn one(&mut self, text: &'r str) -> u32 {
        let list = &mut self.list;
        *self.known.entry(text).or_insert_with(|| push(list, Cow::Borrowed(text)))
    }

    fn set(&mut self, texts: Vec<&'r str>) -> u32 {
        if let Some(number) = self.sets.get(&texts) {
            return *number;
        }
        let number = push(&mut self.list, Cow::Owned(texts.join(BETWEEN.encode_utf8(&mut [0; 4]))));
        self.sets.insert(texts, number);
        number
    }

    fn body(&self, rows: &[u8], begins: &[usize]) -> Vec<u8> {
        let mut body = vec![VERSION];
        put(self.list.len() as u64, &mut body);
        for text in &self.list {
            put(text.len() as u64, &mut body);
            body.extend_from_slice(text.as_bytes());
        }
        body.extend_from_slice(rows);
        for begin in begins {
            body.extend_from_slice(&u32::try_from(*begin).unwrap_or(u32::MAX).to_le_bytes());
        }
        body.extend_from_slice(&u32::try_from(begins.len()).unwrap_or(u32::MAX).to_le_bytes());
        body
    }
}

fn push<'r>(list: &mut Vec<Cow<'r, str>>, text: Cow<'r, str>) -> u32 {
    list.push(text);
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

fn write_row(row: &AuditRow, numbers: &[u32; TEXTS + 2], to: &mut Vec<u8>) {
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    to.push(
        flag(row.call.is_some(), HAS_CALL)
            | flag(row.trace.is_some(), HAS_TRACE)
            | flag(row.element.is_some(), HAS_ELEMENT)
            | flag(row.digest.is_some(), HAS_DIGEST)
            | flag(row.end.is_some(), HAS_END),
    );
    for number in [row.call, row.trace].into_iter().flatten() {
        to.extend_from_slice(&number.to_be_bytes());
    }
    if let Some(element) = row.element {
        put(u64::from(element), to);
    }
    if let Some(digest) = &row.digest {
        put(digest.len() as u64, to);
        to.extend_from_slice(digest.as_bytes());
    }
    if let Some(end) = row.end {
        put(end.seq.wrapping_sub(row.begin.seq), to);
        put(end.offset, to);
    }
    for number in [
        row.begin.seq,
        row.begin.offset,
        row.time.as_ms(),
        u64::from(row.step),
        row.total_us,
        row.sent_bytes,
        row.received_bytes,
        row.sent_tokens,
        row.received_tokens,
    ] {
        put(number, to);
    }
    for number in numbers {
        put(u64::from(*number), to);
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put(mut number: u64, to: &mut Vec<u8>) {
    while number >= 0x80 {
        to.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    to.push(number.to_le_bytes()[0]);
}

/// A body that is read.
struct Body<'b> {
    texts: Vec<&'b str>,
    rows: &'b [u8],
    /// Four bytes for each row.
    begins: &'b [u8],
}

impl<'b> Body<'b> {
    fn read(body: &'b [u8]) -> Result<Self, BrokenBlock> {
        let (rest, count) = body.split_last_chunk::<4>().ok_or(BrokenBlock)?;
        let count = u32::from_le_bytes(*count) as usize;
        let (version, mut rest) = rest.split_first().ok_or(BrokenBlock)?;
        if *version != VERSION {
            return Err(BrokenBlock);
        }
        let mut texts = Vec::new();
        for _ in 0..get(&mut rest)? {
            texts.push(text(&mut rest)?);
        }
        let begins_len = count.checked_mul(4).ok_or(BrokenBlock)?;
        let at = rest.len().checked_sub(begins_len).ok_or(BrokenBlock)?;
        let (rows, begins) = rest.split_at(at);
        Ok(Self { texts, rows, begins })
    }

    /// `texts`: those that other rows have had already.
    fn row(
        &self,
        at: usize,
        writer: &Arc<str>,
        texts: &mut [Option<Arc<str>>],
    ) -> Result<AuditRow, BrokenBlock> {
        let begin = self.begins.chunks_exact(4).nth(at).ok_or(BrokenBlock)?;
        let begin = u32::from_le_bytes([begin[0], begin[1], begin[2], begin[3]]) as usize;
        let mut rest = self.rows.get(begin..).ok_or(BrokenBlock)?;
        let from = &mut rest;
        let [flags] = *take(from)?;
        let mut row = AuditRow { writer: Arc::clone(writer), ..AuditRow::default() };
        let has = |flag: u8| flags & flag != 0;
        if has(HAS_CALL) {
            row.call = Some(u128::from_be_bytes(*take(from)?));
        }
        if has(HAS_TRACE) {
            row.trace = Some(u128::from_be_bytes(*take(from)?));
        }
        if has(HAS_ELEMENT) {
            row.element = Some(small(get(from)?)?);
        }
        if has(HAS_DIGEST) {
            row.digest = Some(text(from)?.into());
        }
        let end = if has(HAS_END) { Some((get(from)?, get(from)?)) } else { None };
        row.begin = Place { seq: get(from)?, offset: get(from)? };
        row.end = end.map(|(seq, offset)| Place { seq: row.begin.seq.wrapping_add(seq), offset });
        row.time = Timestamp::from_ms(get(from)?);
        row.step = small(get(from)?)?;
        row.total_us = get(from)?;
        row.sent_bytes = get(from)?;
        row.received_bytes = get(from)?;
        row.sent_tokens = get(from)?;
        row.received_tokens = get(from)?;
        let mut shared = || -> Result<Option<Arc<str>>, BrokenBlock> {
            let Some(place) = get(from)?.checked_sub(1) else { return Ok(None) };
            let place = usize::try_from(place).map_err(|_| BrokenBlock)?;
            let text = *self.texts.get(place).ok_or(BrokenBlock)?;
            Ok(Some(Arc::clone(texts[place].get_or_insert_with(|| text.into()))))
        };
        for text in row.texts_mut() {
            *text = shared()?;
        }
        row.kind = shared()?.unwrap_or_default();
        if let Some(policies) = shared()? {
            row.policies = if policies.contains(BETWEEN) {
                policies.split(BETWEEN).map(Arc::from).collect()
            } else {
                vec![policies]
            };
        }
        Ok(row)
    }
}

fn small(number: u64) -> Result<u32, BrokenBlock> {
    u32::try_from(number).map_err(|_| BrokenBlock)
}

fn get(from: &mut &[u8]) -> Result<u64, BrokenBlock> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = *take(from)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(BrokenBlock)
}

fn text<'b>(from: &mut &'b [u8]) -> Result<&'b str, BrokenBlock> {
    let len = usize::try_from(get(from)?).map_err(|_| BrokenBlock)?;
    let (text, rest) = from.split_at_checked(len).ok_or(BrokenBlock)?;
    *from = rest;
    std::str::from_utf8(text).map_err(|_| BrokenBlock)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is stored may be anything: it is refused, or read as something.
        #[test]
        fn broken_bodies_break_nothing(cut in 0..600_usize, at in 0..600_usize, byte: u8) {
            let row = |seq| AuditRow {
                begin: Place { seq, offset: 7 },
                kind: "call".into(),
                tenant: Some("acme".into()),
                call: Some(seq.into()),
                ..AuditRow::default()
            };
            let whole = Block::body_of(&[row(1), row(2), row(1 << 60)]);
            let mut body = whole.clone();
            body.truncate(cut);
            if let Some(place) = body.get_mut(at) {
                *place = byte;
            }
            let read = Block::rows(&Arc::default(), &body, None);
            prop_assert!(body != whole || read.is_ok_and(|rows| rows == [row(1), row(2), row(1 << 60)]));
        }
    }
}
