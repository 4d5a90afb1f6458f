//! What begins with a known word: tokens by their issuer's mark, and phrases.
//!
//! A table of bits, by the first three letters, says of most words at once that they begin nothing.

use std::sync::LazyLock;

use crate::injection;
use crate::rules::PHRASES;
use crate::secret;
use crate::sweep::Sweep;

/// What a word may be the beginning of.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// A token; the how manieth of the table.
    Token(u16),
    /// A phrase; the how manieth of the table, and which of its first words.
    Phrase(u16, u16),
    /// `Bearer`, `Basic` and the like: what follows is a credential.
    Scheme,
    /// A key as `PuTTY` keeps it.
    Putty,
    /// A web token.
    Jwt,
}

struct Starters {
    may: Box<[u64; 512]>,
    /// By their letters, in order.
    starts: Vec<(u16, Start)>,
}

static STARTERS: LazyLock<Starters> = LazyLock::new(|| {
    let mut starts: Vec<(u16, Start)> = Vec::new();
    for (place, token) in (0..).zip(secret::TOKENS) {
        starts.push((letters(token.mark.as_bytes()), Start::Token(place)));
    }
    for (place, phrase) in (0..).zip(PHRASES.iter()) {
        for (nth, first) in (0..).zip(&phrase.first) {
            starts.push((letters(first.as_bytes()), Start::Phrase(place, nth)));
        }
    }
    starts.push((letters(b"bearer"), Start::Scheme));
    starts.push((letters(b"basic"), Start::Scheme));
    starts.push((letters(b"ssws"), Start::Scheme));
    starts.push((letters(b"geniekey"), Start::Scheme));
    starts.push((letters(b"token"), Start::Scheme));
    starts.push((letters(b"apikey"), Start::Scheme));
    starts.push((letters(b"PuTTY"), Start::Putty));
    starts.push((letters(b"eyJ"), Start::Jwt));
    starts.sort_by_key(|(letters, _)| *letters);
    let mut may = Box::new([0; 512]);
    for (letters, _) in &starts {
        may[usize::from(letters / 64)] |= 1 << (letters % 64);
    }
    Starters { may, starts }
});

/// The first three bytes of a word, five bits each: the same for either case.
#[inline]
fn letters(word: &[u8]) -> u16 {
    word.iter().take(3).fold(0, |letters, byte| letters << 5 | u16::from(byte & 0x1F))
}

/// Whether a word that begins like this may be one of them.
#[inline]
pub(crate) fn may_begin(first_three: &[u8]) -> bool {
    let letters = letters(first_three);
    first_three.len() > 1 && STARTERS.may[usize::from(letters / 64)] & 1 << (letters % 64) != 0
}

/// A token that begins here, within a word.
pub(crate) fn token(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let first = sweep.text.slice(start, start + 3);
    if !may_begin(first) {
        return None;
    }
    let letters = letters(first);
    let starts = &STARTERS.starts;
    let from = starts.partition_point(|(other, _)| *other < letters);
    for (_, what) in starts.get(from..)?.iter().take_while(|(other, _)| *other == letters) {
        let Start::Token(place) = what else { continue };
        let end = secret::token(sweep, start, secret::TOKENS.get(usize::from(*place))?);
        if end.is_some() {
            return end;
        }
    }
    None
}

/// Looks at what begins here. Gives back where to go on, where something was found that is not to be looked at again.
pub(crate) fn begin(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let letters = letters(sweep.text.slice(start, start + 3));
    let starts = &STARTERS.starts;
    let from = starts.partition_point(|(other, _)| *other < letters);
    let mut words = injection::Words::new(&sweep.text, start);
    for (other, what) in starts.get(from..)? {
        if *other != letters {
            break;
        }
        let end = match what {
            Start::Token(place) => secret::token(sweep, start, secret::TOKENS.get(usize::from(*place))?),
            Start::Phrase(place, first) => {
                let phrase = PHRASES.get(usize::from(*place))?;
                injection::phrase(sweep, &mut words, phrase, usize::from(*first));
                None
            }
            Start::Scheme => secret::scheme(sweep, start),
            Start::Putty => secret::putty(sweep, start),
            Start::Jwt => secret::jwt(sweep, start),
        };
        if end.is_some() {
            return end;
        }
    }
    None
}
