//! Telephone numbers.
//!
//! E.164 with its plus sign, the North American form, and national forms beside a word that says so. A number alone says
//! nothing: most rows of seven to fifteen digits are somebody's order.

use super::countries::has_country;
use crate::rule::Rule;
use crate::sweep::Sweep;
use crate::text::{Text, class};

const PHONES: &[&str] = &[
    "phone",
    "tel",
    "mobile",
    "mobil",
    "cell",
    "call",
    "fax",
    "whatsapp",
    "sms",
    "handy",
    "telefon",
    "téléphone",
    "portable",
    "teléfono",
    "móvil",
    "telefono",
    "cellulare",
    "celular",
    "telefone",
    "ring",
    "dial",
    "ph",
    "contact",
    "rufnummer",
    "numéro",
    "hotline",
    "texted",
    "reach",
];

const OTHERS: &[&str] = &[
    "order", "invoice", "ref", "sku", "part", "ticket", "serial", "case", "tracking", "no", "nr", "id",
    "isbn", "version", "article", "model",
];

/// The digits of a number with what may stand between them, and its end.
fn loose(text: &Text<'_>, start: usize) -> ([u8; 15], usize, usize) {
    let mut digits = [0; 15];
    let (mut count, mut at, mut end) = (0, start, start);
    // What stands between two digits: one separator, or two if one is a parenthesis.
    let (mut between, mut has_parenthesis) = (0, false);
    loop {
        let byte = text.at(at);
        if byte.is_ascii_digit() {
            if count == digits.len() {
                // Too long for any.
                return (digits, 0, at);
            }
            digits[count] = byte - b'0';
            count += 1;
            (between, has_parenthesis) = (0, false);
            end = at + 1;
        } else if matches!(byte, b' ' | b'-' | b'.' | b'/' | b'(' | b')') && count > 0 {
            between += 1;
            has_parenthesis |= matches!(byte, b'(' | b')');
            if between > 1 + usize::from(has_parenthesis) {
                return (digits, count, end);
            }
        } else {
            return (digits, count, end);
        }
        at += 1;
    }
}

/// Whether a number ends here: no letter, and no more of a word or decimal.
fn ends(text: &Text<'_>, end: usize) -> bool {
    let is_extension = text.at(end) == b'x' && text.is(end + 1, class::DIGIT);
    is_extension
        || text.is_end(end)
            && !(matches!(text.at(end), b'-' | b'.' | b':') && text.at(end + 1).is_ascii_alphanumeric())
}

/// The digits without a zero in parentheses, which is dialled only within the country: `+33 (0)5 58 …`.
fn without_trunk<'d>(text: &[u8], digits: &'d mut [u8; 15], count: usize) -> &'d [u8] {
    let zero = memchr::memmem::find(text, b"(0)")
        .map(|at| text.iter().take(at).filter(|byte| byte.is_ascii_digit()).count());
    match zero.filter(|zero| (1..=3).contains(zero) && *zero < count) {
        Some(zero) => {
            digits.copy_within(zero + 1.., zero);
            digits.get(..count - 1).unwrap_or_default()
        }
        None => digits.get(..count).unwrap_or_default(),
    }
}

/// What begins with the plus sign here (ITU-T E.164).
pub(crate) fn international(sweep: &mut Sweep<'_, '_>, plus: usize) -> Option<usize> {
    let text = sweep.text;
    let before = text.before(plus);
    let is_in_word = text.is(plus.wrapping_sub(1), class::WORD) && !text.is_escape(plus.wrapping_sub(1));
    if !text.is(plus + 1, class::DIGIT) || is_in_word || matches!(before, b'+' | b'.') {
        return None;
    }
    let (mut digits, count, end) = loose(&text, plus + 1);
    let number = without_trunk(text.slice(plus + 1, end), &mut digits, count);
    if !(8..=15).contains(&count) || !ends(&text, end) || !has_country(number) {
        return None;
    }
    let said = text.mentions(plus, PHONES);
    let grouped = end - plus - 1 > count;
    let confidence = match (said, grouped) {
        (true, _) => 97,
        (_, true) => 88,
        _ if count >= 10 => 75,
        _ => 40,
    };
    sweep.add(Rule::Phone, plus, end, confidence)
}

/// The North American form without a word beside it: three, three and four digits, parted by dashes or dots.
pub(super) fn american(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let text = sweep.text;
    let from = if text.at(start) == b'1' && matches!(text.at(start + 1), b'-' | b'.' | b' ') {
        start + 2
    } else {
        start
    };
    let separator = text.at(from + 3);
    let form = text.slice(from, from + 12);
    let is_form = form.len() == 12
        && matches!(separator, b'-' | b'.')
        && form.iter().enumerate().all(|(place, byte)| match place {
            3 | 7 => *byte == separator,
            0 | 4 => matches!(byte, b'2'..=b'9'),
            _ => byte.is_ascii_digit(),
        });
    if !is_form || !ends(&text, from + 12) {
        return None;
    }
    let confidence = match (text.mentions(start, PHONES), text.mentions_within(start, 24, OTHERS)) {
        (true, _) => 97,
        (_, true) => 30,
        _ => 70,
    };
    sweep.add(Rule::Phone, start, from + 12, confidence)
}

/// The North American form whose area stands in parentheses, or a national form that begins with one.
pub(crate) fn parenthesis(sweep: &mut Sweep<'_, '_>, open: usize) -> Option<usize> {
    let text = sweep.text;
    let area = text.slice(open + 1, open + 4);
    if text.at(open + 4) == b')'
        && area.iter().all(u8::is_ascii_digit)
        && matches!(area.first(), Some(b'2'..=b'9'))
    {
        let from = open + 5 + usize::from(matches!(text.at(open + 5), b' ' | b'-'));
        let form = text.slice(from, from + 8);
        let is_form = form.len() == 8
            && matches!(form.first(), Some(b'2'..=b'9'))
            && form.iter().enumerate().all(|(place, byte)| match place {
                3 => matches!(byte, b'-' | b'.' | b' '),
                _ => byte.is_ascii_digit(),
            });
        if is_form && ends(&text, from + 8) {
            return sweep.add(Rule::Phone, open, from + 8, 90);
        }
    }
    if !text.is(open + 1, class::DIGIT) {
        return None;
    }
    let (_, count, end) = loose(&text, open + 1);
    let is_one = (8..=13).contains(&count) && ends(&text, end) && text.slice(open, end).contains(&b')');
    if is_one && text.mentions(open, PHONES) {
        return sweep.add(Rule::Phone, open, end, 90);
    }
    None
}

/// Any form, beside a word that says so.
pub(super) fn national(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let text = sweep.text;
    let (digits, count, end) = loose(&text, start);
    if !(7..=13).contains(&count) || !ends(&text, end) || !sweep.rules.has(Rule::Phone) {
        return None;
    }
    let form = text.slice(start, end);
    let is_date = is_date(form) || (digits[0] == 0 && count < 9);
    let is_plain_year = count == 8 && matches!(digits[..2], [1, 9] | [2, 0]);
    if is_date || is_plain_year || memchr::memchr_iter(b'.', form).count() == 1 {
        return None;
    }
    let near = text.mentions_within(start, 26, PHONES);
    let keyed = !text.key.is_empty() && start < 3 && text.mentions(0, PHONES);
    if !(near || keyed) || text.mentions_within(start, 14, OTHERS) {
        return None;
    }
    let begins_like_one = digits[0] == 0 || count >= 9 || end - start > count;
    sweep.add(Rule::Phone, start, end, if begins_like_one { 85 } else { 55 })
}

/// Whether it begins with a date.
fn is_date(form: &[u8]) -> bool {
    let dash = |place: usize| form.get(place).is_some_and(|byte| matches!(byte, b'-' | b'/' | b'.'));
    let digits =
        |from: usize, to: usize| form.get(from..to).is_some_and(|form| form.iter().all(u8::is_ascii_digit));
    let year_first = dash(4) && dash(7) && digits(0, 4) && digits(5, 7) && digits(8, 10);
    let year_last = dash(2) && dash(5) && digits(0, 2) && digits(3, 5) && digits(6, 10) && form.len() == 10;
    year_first || year_last
}
