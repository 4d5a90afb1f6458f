//! A column of a block: for each row what it is searched by, as hashes of three bytes. A hash that fits says only that the
//! row may fit.
//!
//! | first byte | what follows |
//! |---|---|
//! | 0 | nothing: no row has any |
//! | 1 | the number of sets (2 bytes); for each its length (1 byte) and its hashes; the width of a code (1 byte, in bytes: 0, 1 or 2); a code for each row: 0 for none, else which set |
//! | 2 | a hash for each row, 0 for none |

use std::hash::{BuildHasherDefault, Hasher};

use super::block::BrokenBlock;

/// Between texts that stand as one.
pub(super) const BETWEEN: char = '\u{1f}';
const EMPTY: u8 = 0;
const SETS: u8 = 1;
const PLAIN: u8 = 2;
const HASH_LEN: usize = 3;

/// FNV-1a, 64 bits: fast for short texts, and the same everywhere.
#[derive(Debug)]
pub(super) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// For tables whose keys are short texts.
pub(super) type BuildFnv = BuildHasherDefault<Fnv>;

/// The hash of a text as columns have it: 24 bits, never 0.
pub(super) fn hash(text: &str) -> u32 {
    hash_of(text.as_bytes())
}

pub(super) fn hash_of(bytes: &[u8]) -> u32 {
    let mut fnv = Fnv::default();
    fnv.write(bytes);
    let long = fnv.finish();
    let folded = (long ^ (long >> 24) ^ (long >> 48)) & 0xff_ffff;
    u32::try_from(folded.max(1)).unwrap_or(1)
}

/// A column of texts. `rows`: for each row 0, or the place of its text among `texts`, from 1. Texts between which stands
/// [`BETWEEN`] are a set.
pub(super) fn of_texts(rows: &[u32], texts: &[&str]) -> Vec<u8> {
    // Which code each text has here.
    let mut codes: Vec<u16> = vec![0; texts.len() + 1];
    let mut sets: Vec<u8> = Vec::new();
    let mut count: u16 = 0;
    for row in rows {
        let Some(code) = codes.get_mut(*row as usize).filter(|code| *row != 0 && **code == 0) else {
            continue;
        };
        count += 1;
        *code = count;
        let parts = texts[*row as usize - 1].split(BETWEEN).take(usize::from(u8::MAX));
        let at = sets.len();
        sets.push(0);
        for part in parts {
            sets[at] += 1;
            sets.extend_from_slice(&hash(part).to_le_bytes()[..HASH_LEN]);
        }
    }
    if count == 0 {
        return vec![EMPTY];
    }
    let is_same_for_all = count == 1 && rows.iter().all(|row| *row != 0);
    let width: u8 = match count {
        _ if is_same_for_all => 0,
        ..=255 => 1,
        _ => 2,
    };
    let is_single = sets.len() == usize::from(count) * (1 + HASH_LEN);
    if is_single && sets.len() + rows.len() * usize::from(width) > rows.len() * HASH_LEN {
        let hashes: Vec<u32> = texts.iter().map(|text| hash(text)).collect();
        return of_hashes(rows.iter().map(|row| match row {
            0 => 0,
            row => hashes[*row as usize - 1],
        }));
    }
    let mut bytes = Vec::with_capacity(4 + sets.len() + rows.len() * usize::from(width));
    bytes.push(SETS);
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&sets);
    bytes.push(width);
    for row in rows {
        bytes.extend_from_slice(&codes[*row as usize].to_le_bytes()[..usize::from(width)]);
    }
    bytes
}

/// A column of what differs from row to row. 0: the row has none.
pub(super) fn of_hashes(hashes: impl Iterator<Item = u32>) -> Vec<u8> {
    let mut bytes = vec![PLAIN];
    let mut is_empty = true;
    for hash in hashes {
        is_empty &= hash == 0;
        bytes.extend_from_slice(&hash.to_le_bytes()[..HASH_LEN]);
    }
    if is_empty { vec![EMPTY] } else { bytes }
}

/// Marks in `may` the rows that have one of these hashes.
pub(super) fn mark(column: &[u8], wanted: &[u32], may: &mut [bool]) -> Result<(), BrokenBlock> {
    let (kind, rest) = column.split_first().ok_or(BrokenBlock)?;
    match *kind {
        EMPTY => Ok(()),
        PLAIN if rest.len() == may.len() * HASH_LEN => {
            for (may, found) in may.iter_mut().zip(rest.chunks_exact(HASH_LEN)) {
                *may |= wanted.contains(&number(found));
            }
            Ok(())
        }
        SETS => mark_sets(rest, wanted, may),
        _ => Err(BrokenBlock),
    }
}

fn mark_sets(mut rest: &[u8], wanted: &[u32], may: &mut [bool]) -> Result<(), BrokenBlock> {
    let count = u16::from_le_bytes(*take(&mut rest)?);
    // Code 0 stands for rows that have none.
    let mut fits = vec![false; usize::from(count) + 1];
    for fits in &mut fits[1..] {
        let [len] = *take(&mut rest)?;
        let hashes = rest.split_at_checked(usize::from(len) * HASH_LEN).ok_or(BrokenBlock)?;
        *fits = hashes.0.chunks_exact(HASH_LEN).any(|found| wanted.contains(&number(found)));
        rest = hashes.1;
    }
    let [width] = *take(&mut rest)?;
    if rest.len() != may.len() * usize::from(width) {
        return Err(BrokenBlock);
    }
    if !fits.contains(&true) {
        return Ok(());
    }
    let has = |code: usize| fits.get(code).copied().unwrap_or(false);
    match width {
        0 => may.fill(true),
        1 => may.iter_mut().zip(rest).for_each(|(may, code)| *may |= has(usize::from(*code))),
        2 => {
            for (may, code) in may.iter_mut().zip(rest.chunks_exact(2)) {
                *may |= has(usize::from(u16::from_le_bytes([code[0], code[1]])));
            }
        }
        _ => return Err(BrokenBlock),
    }
    Ok(())
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

pub(super) fn take<'b, const N: usize>(rest: &mut &'b [u8]) -> Result<&'b [u8; N], BrokenBlock> {
    let (taken, left) = rest.split_first_chunk().ok_or(BrokenBlock)?;
    *rest = left;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the encoding: a row is marked if it has a text that is wanted, and by chance hardly ever otherwise.
        #[test]
        fn rows_that_have_it_are_marked(
            kinds in 1..400_usize,
            rows in prop::collection::vec(0..400_u32, 1..600),
            wanted in 0..400_usize,
            is_in_sets: bool,
        ) {
            let text = |text: usize| {
                if is_in_sets { format!("text {text}{BETWEEN}{}", text / 7) } else { format!("text {text}") }
            };
            let texts: Vec<String> = (0..kinds).map(text).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let rows: Vec<u32> = rows.into_iter().map(|row| row % (u32::try_from(kinds).unwrap() + 1)).collect();
            let wanted = format!("text {wanted}");
            let column = of_texts(&rows, &texts);
            prop_assert!(column.len() <= 4 + 10 * texts.len() + 3 * rows.len());
            let mut marked = vec![false; rows.len()];
            mark(&column, &[hash(&wanted)], &mut marked).unwrap();
            let has = |row: &u32| *row != 0 && texts[*row as usize - 1].split(BETWEEN).any(|part| part == wanted);
            let expected: Vec<bool> = rows.iter().map(has).collect();
            prop_assert_eq!(marked, expected);
        }

        /// What is stored may be anything: it is refused, or read as something.
        #[test]
        fn broken_columns_break_nothing(column in prop::collection::vec(any::<u8>(), 0..64), rows in 0..9_usize) {
            _ = mark(&column, &[1], &mut vec![false; rows]);
        }
    }
}
