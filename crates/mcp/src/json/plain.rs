//! Skipping over the plain bytes of a string, many at a time.

const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
const WORD: usize = 8;
const BLOCK: usize = 64;
/// After so many plain words, a string is taken to be long.
const WORDS_SHORT: usize = 4;

/// The offset of the first byte at or after `at` that is a quote, a backslash or a control character; the length of
/// `bytes` if there is none.
#[inline]
pub(crate) fn skip_plain(bytes: &[u8], mut at: usize) -> usize {
    for _ in 0..WORDS_SHORT {
        let Some(word) = word_at(bytes, at) else { return skip_tail(bytes, at) };
        let hits = special(word);
        if hits != 0 {
            return at + first(hits);
        }
        at += WORD;
    }
    skip_long(bytes, at)
}

#[inline(never)]
fn skip_long(bytes: &[u8], mut at: usize) -> usize {
    // Without an early exit inside of a block the compiler turns this into vector code.
    for block in bytes.get(at..).unwrap_or_default().chunks_exact(BLOCK) {
        let hit = block.iter().fold(0, |hit, &byte| {
            hit | u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\')
        });
        if hit != 0 {
            break;
        }
        at += BLOCK;
    }
    while let Some(word) = word_at(bytes, at) {
        let hits = special(word);
        if hits != 0 {
            return at + first(hits);
        }
        at += WORD;
    }
    skip_tail(bytes, at)
}

#[inline]
fn skip_tail(bytes: &[u8], at: usize) -> usize {
    let tail = bytes.get(at..).unwrap_or_default();
    let plain = tail.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\');
    plain.map_or(bytes.len(), |plain| at + plain)
}

/// The eight bytes at `at`, the first in the lowest place.
#[inline]
pub(super) fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk::<WORD>().map(|word| u64::from_le_bytes(*word))
}

/// Sets the high bit of every byte that is special. Bytes after the first special one may be set wrongly, since the
/// subtractions borrow; the first is always right.
#[inline]
const fn special(word: u64) -> u64 {
    let quote = word ^ (EACH * b'"' as u64);
    let backslash = word ^ (EACH * b'\\' as u64);
    let zero_or_control = (quote.wrapping_sub(EACH) & !quote)
        | (backslash.wrapping_sub(EACH) & !backslash)
        | (word.wrapping_sub(EACH * 0x20) & !word);
    zero_or_control & HIGH
}

#[inline]
const fn first(hits: u64) -> usize {
    (hits.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_special_byte_at_every_place() {
        for length in 0..200 {
            let mut bytes = vec![b'a'; length];
            assert_eq!(skip_plain(&bytes, 0), length);
            for at in 0..length {
                for byte in [b'"', b'\\', 0x00, 0x1f, b'\n'] {
                    bytes[at] = byte;
                    assert_eq!(skip_plain(&bytes, 0), at, "byte {byte} at {at} of {length}");
                }
                for byte in [0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
                    bytes[at] = byte;
                    assert_eq!(skip_plain(&bytes, 0), length, "byte {byte} at {at} of {length}");
                }
                bytes[at] = b'a';
            }
        }
    }
}
