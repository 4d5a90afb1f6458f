//! What begins with capital letters: account numbers, and numbers of persons with letters in them.

use super::checks;
use crate::rule::Rule;
use crate::sweep::Sweep;
use crate::text::{Text, class};

const BRITISH: &[&str] = &["national ins", "nino", "ni n", "insurance n", "n.i."];
const INDIAN: &[&str] = &["pan", "permanent acc", "income tax"];

/// What the word from one place to another may be the beginning of. Gives back where to go on, where something was found.
pub(crate) fn code(sweep: &mut Sweep<'_, '_>, start: usize, end: usize) -> Option<usize> {
    let text = sweep.text;
    let word = text.slice(start, end);
    let digit = |at: usize| word.get(at).is_some_and(u8::is_ascii_digit);
    let upper = |at: usize| word.get(at).is_some_and(u8::is_ascii_uppercase);
    if upper(1) && (digit(2) || word.len() == 2) {
        if digit(2)
            && digit(3)
            && let Some(end) = iban(sweep, start)
        {
            return Some(end);
        }
        if let Some(end) = british(sweep, start) {
            return Some(end);
        }
    }
    match word.len() {
        9 if matches!(word.first(), Some(b'X' | b'Y' | b'Z')) && digit(1) => spanish(sweep, start, end),
        10 if (0..5).all(upper) && (5..9).all(digit) && upper(9) => indian(sweep, start, end),
        16 if (0..6).all(upper) && digit(9) && upper(8) => italian(sweep, start, end),
        _ => None,
    }
}

/// A number of a company in Brazil that has letters in it, by the dash before its check digits: `12.ABC.345/01DE-35`.
pub(crate) fn company(sweep: &mut Sweep<'_, '_>, dash: usize) -> Option<usize> {
    let text = sweep.text;
    let start = dash.checked_sub(15)?;
    if text.at(dash - 5) != b'/' || !sweep.rules.has(Rule::BrCnpj) {
        return None;
    }
    let end = dash + 3;
    let mut values = [0_u8; 14];
    let mut count = 0;
    for (place, byte) in text.slice(start, end).iter().enumerate() {
        let value = match (place, byte) {
            (2 | 6, b'.') | (10, b'/') | (15, b'-') => continue,
            (2 | 6 | 10 | 15, _) => return None,
            (_, b'0'..=b'9') | (0..15, b'A'..=b'Z') => byte - b'0',
            _ => return None,
        };
        *values.get_mut(count)? = value;
        count += 1;
    }
    // Of digits alone it is found as a number.
    let has_letters = values.iter().any(|value| *value > 9);
    let is_one = count == 14
        && has_letters
        && !text.is(start.wrapping_sub(1), class::WORD)
        && ends(&text, end)
        && checks::cnpj(&values);
    if is_one { sweep.add(Rule::BrCnpj, start, end, 95) } else { None }
}

/// Whether something ends here that is no part of a longer name.
fn ends(text: &Text<'_>, end: usize) -> bool {
    text.is_end(end) && !(matches!(text.at(end), b'-') && text.at(end + 1).is_ascii_alphanumeric())
}

/// In one piece, or in groups of four.
fn iban(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let text = sweep.text;
    let length = checks::iban_length(text.slice(start, start + 2))?;
    let mut number = [0_u8; 34];
    let (mut count, mut at) = (0, start);
    while count < length {
        match text.at(at) {
            byte if byte.is_ascii_digit() || byte.is_ascii_uppercase() => {
                *number.get_mut(count)? = byte;
                count += 1;
            }
            b' ' | b'-' if count % 4 == 0 => {}
            _ => return None,
        }
        at += 1;
    }
    let is_one = ends(&text, at) && checks::iban(number.get(..count)?);
    if is_one { sweep.add(Rule::Iban, start, at, 98) } else { None }
}

/// Two letters, six digits and a letter, also in pairs.
fn british(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let text = sweep.text;
    let [first, second] = text.slice(start, start + 2) else { return None };
    let is_prefix = !b"DFIQUV".contains(first)
        && !b"DFIOQUV".contains(second)
        && ![b"BG", b"GB", b"KN", b"NK", b"NT", b"TN", b"ZZ"].contains(&&[*first, *second]);
    if !is_prefix {
        return None;
    }
    let is_spaced = text.at(start + 2) == b' ';
    let mut at = start + 2;
    for _ in 0..3 {
        at += usize::from(is_spaced && text.at(at) == b' ');
        if !(text.is(at, class::DIGIT) && text.is(at + 1, class::DIGIT)) {
            return None;
        }
        at += 2;
    }
    at += usize::from(is_spaced && text.at(at) == b' ');
    if !matches!(text.at(at), b'A'..=b'D') || !ends(&text, at + 1) {
        return None;
    }
    let confidence = match (text.mentions(start, BRITISH), is_spaced) {
        (true, _) => 96,
        (_, true) => 75,
        _ => 40,
    };
    sweep.add(Rule::UkNino, start, at + 1, confidence)
}

/// A foreigner's number: a letter that stands for a digit, seven digits and their letter.
fn spanish(sweep: &mut Sweep<'_, '_>, start: usize, end: usize) -> Option<usize> {
    let text = sweep.text;
    let word = text.slice(start, end);
    let digits = word.get(1..8)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let first = u32::from(word.first()? - b'X');
    let number = digits.iter().fold(first, |number, byte| number * 10 + u32::from(byte - b'0'));
    let is_one = word.last() == Some(&checks::spanish_letter(number)) && ends(&text, end);
    if is_one { sweep.add(Rule::EsDni, start, end, 80) } else { None }
}

/// Five letters (the fourth says whose it is), four digits, and a letter.
fn indian(sweep: &mut Sweep<'_, '_>, start: usize, end: usize) -> Option<usize> {
    let text = sweep.text;
    if !b"PCHFATBLJG".contains(&text.at(start + 3)) || !ends(&text, end) {
        return None;
    }
    let confidence = if text.mentions(start, INDIAN) { 95 } else { 55 };
    sweep.add(Rule::InPan, start, end, confidence)
}

/// A codice fiscale.
fn italian(sweep: &mut Sweep<'_, '_>, start: usize, end: usize) -> Option<usize> {
    let text = sweep.text;
    let is_one = checks::codice_fiscale(text.slice(start, end)) && ends(&text, end);
    if is_one { sweep.add(Rule::ItCodiceFiscale, start, end, 96) } else { None }
}
