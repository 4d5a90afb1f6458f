//! What consists of digits: cards, and numbers of persons.

use smallvec::SmallVec;

use super::{checks, phone};
use crate::rule::Rule;
use crate::sweep::Sweep;
use crate::text::{Text, class};

/// The most digits that anything here has.
const DIGITS_MAX: usize = 19;

/// Words that say that a number is no person's.
const OTHERS: &[&str] = &[
    "order",
    "invoice",
    "tracking",
    "track",
    "trace",
    "transaction",
    "ref",
    "sku",
    "part",
    "ticket",
    "serial",
    "isbn",
    "ean",
    "gtin",
    "upc",
    "build",
    "commit",
    "timestamp",
    "time",
    "bestell",
    "rechnung",
    "commande",
    "facture",
    "factura",
    "pedido",
    "ordine",
    "fattura",
    "shipment",
    "parcel",
    "batch",
    "lot",
    "case",
    "article",
    "item",
    "product",
    "version",
    "rev",
    "seq",
    "offset",
    "size",
    "bytes",
    "count",
    "total",
    "amount",
    "snowflake",
    "pid",
    "port",
    "span",
];

const CARDS: &[&str] = &[
    "card", "visa", "master", "amex", "credit", "debit", "pan", "karte", "kredit", "carte", "tarjeta",
    "carta", "cc", "cartão", "maestro", "diners",
];
const US: &[&str] = &["ssn", "social sec", "itin", "taxpayer"];
const NHS: &[&str] = &["nhs", "patient"];
const GERMAN: &[&str] = &["steuer", "idnr", "tin", "tax id", "taxid", "tax_id", "stnr"];
const FRENCH: &[&str] = &["nir", "sécu", "secu", "insee", "vitale"];
const SPANISH: &[&str] = &["dni", "nif", "nie", "identidad", "documento"];
const INDIAN: &[&str] = &["aadhaar", "aadhar", "adhaar", "uid", "आधार"];
const BRAZILIAN: &[&str] = &["cpf", "cnpj", "cadastro"];

/// Groups of digits with one separator between each two.
struct Digits {
    all: SmallVec<[u8; 24]>,
    /// Of each group: how many digits there are up to its end, and where that is.
    groups: SmallVec<[(usize, usize); 8]>,
    /// What stands behind each group but the last.
    separators: SmallVec<[u8; 8]>,
}

impl Digits {
    fn read(text: &Text<'_>, start: usize) -> Self {
        let mut read = Self { all: SmallVec::new(), groups: SmallVec::new(), separators: SmallVec::new() };
        let mut at = start;
        loop {
            let end = text.run(at, class::DIGIT, DIGITS_MAX + 1);
            read.all.extend(text.slice(at, end).iter().map(|byte| byte - b'0'));
            read.groups.push((read.all.len(), end));
            let separator = text.at(end);
            let goes_on = matches!(separator, b' ' | b'-' | b'.' | b'/') && text.is(end + 1, class::DIGIT);
            if !goes_on || read.all.len() > DIGITS_MAX || read.groups.len() == 8 {
                return read;
            }
            read.separators.push(separator);
            at = end + 1;
        }
    }

    /// The digits of the first groups, and where they end, if each group is as long as said and all are parted by the same one
    /// of these separators.
    fn shape(&self, lengths: &[usize], separators: &[u8]) -> Option<(&[u8], usize)> {
        let first = self.separators.first().copied().unwrap_or(0);
        let is_one = lengths.len() == 1 || separators.contains(&first);
        let exactly = [first; 8];
        is_one.then(|| self.exact(lengths, exactly.get(..lengths.len() - 1)?)).flatten()
    }

    /// The same, parted by exactly these.
    fn exact(&self, lengths: &[usize], separators: &[u8]) -> Option<(&[u8], usize)> {
        let mut before = 0;
        for (place, length) in lengths.iter().enumerate() {
            let (until, _) = *self.groups.get(place)?;
            if until - before != *length {
                return None;
            }
            before = until;
        }
        let (until, end) = *self.groups.get(lengths.len() - 1)?;
        let is_parted = self.separators.get(..separators.len())? == separators;
        is_parted.then_some((self.all.get(..until)?, end))
    }
}

/// What begins with the digit here. Gives back where to go on.
pub(crate) fn number(sweep: &mut Sweep<'_, '_>, start: usize) -> usize {
    let text = sweep.text;
    let end = text.run(start, class::DIGIT, usize::MAX);
    let length = end - start;
    let before = text.before(start);
    if length <= 3 && text.at(end) == b'.' && text.is(end + 1, class::DIGIT) && sweep.rules.has(Rule::Ip) {
        super::address(sweep, start);
    }
    // What is a part of something longer: a name, a fraction, an id.
    let is_joined = matches!(before, b'-' | b'.' | b'_' | b'#')
        && start >= 2
        && (text.at(start - 2).is_ascii_alphanumeric() || before == b'#');
    if is_joined || length > DIGITS_MAX {
        return end;
    }
    if text.at(end).is_ascii_alphabetic() {
        return if length == 8 { spanish(sweep, start, end) } else { end };
    }
    let digits = Digits::read(&text, start);
    let total = digits.all.len();
    if total < 7 {
        return match text.at(end) {
            b' ' | b'(' | b')' | b'-' | b'/' if total > 1 => phone::national(sweep, start).unwrap_or(end),
            _ => end,
        };
    }
    let found = card(sweep, start, &digits)
        .or_else(|| person(sweep, start, &digits))
        .or_else(|| phone::american(sweep, start))
        .or_else(|| phone::national(sweep, start));
    found.unwrap_or(end)
}

/// Whether something ends here that is no part of a longer number, word or name.
fn ends(text: &Text<'_>, end: usize) -> bool {
    let (next, after) = (text.at(end), text.at(end + 1));
    text.is_end(end) && !(matches!(next, b'-' | b'.' | b'/') && after.is_ascii_alphanumeric())
}

/// How the digits of cards are written in groups.
const GROUPED: &[&[usize]] = &[
    &[4, 4, 4, 4],
    &[4, 6, 5],
    &[4, 6, 4],
    &[4, 4, 4, 4, 3],
    &[4, 4, 4, 4, 2],
    &[4, 4, 4, 4, 1],
    &[4, 4, 5],
    &[4, 4, 4],
    &[6, 13],
];

fn card(sweep: &mut Sweep<'_, '_>, start: usize, digits: &Digits) -> Option<usize> {
    if !sweep.rules.has(Rule::Card) || digits.all.len() < 12 {
        return None;
    }
    let text = sweep.text;
    let grouped = GROUPED.iter().find_map(|lengths| digits.shape(lengths, b" -"));
    let is_grouped = grouped.is_some();
    let first = digits.groups.first().copied()?;
    let (number, end) = grouped.or_else(|| Some((digits.all.get(..first.0)?, first.1)))?;
    let is_strict = checks::issuer(number)?;
    if !checks::luhn(number) || !ends(&text, end) {
        return None;
    }
    let said = text.mentions(start, CARDS);
    let is_other = !said && text.mentions(start, OTHERS);
    let confidence = match (said, is_other, is_grouped, is_strict) {
        (true, ..) => 98,
        (_, true, ..) => 30,
        (_, _, true, true) => 90,
        (_, _, true, false) => 75,
        (_, _, false, true) => 65,
        (_, _, false, false) => 40,
    };
    sweep.add(Rule::Card, start, end, confidence)
}

/// Numbers of persons, by country.
fn person(sweep: &mut Sweep<'_, '_>, start: usize, digits: &Digits) -> Option<usize> {
    let text = sweep.text;
    let single = |length: usize| digits.shape(&[length], b" ").filter(|(_, end)| ends(&text, *end));
    let parted =
        |lengths: &[usize], by: &[u8]| digits.shape(lengths, by).filter(|(_, end)| ends(&text, *end));
    let exactly =
        |lengths: &[usize], by: &[u8]| digits.exact(lengths, by).filter(|(_, end)| ends(&text, *end));
    let says = |words: &[&str]| text.mentions(start, words);
    match digits.all.len() {
        9.. => {}
        _ => return None,
    }
    if let Some((number, end)) = parted(&[3, 2, 4], b"- ").or_else(|| single(9)) {
        let is_plain = digits.groups.first().is_some_and(|(count, _)| *count == 9);
        let dashed = digits.separators.first() == Some(&b'-');
        if american(number) {
            let said = says(US);
            let confidence = match (said, is_plain, dashed) {
                (true, ..) => 97,
                (_, false, true) if !says(OTHERS) => 70,
                _ => 30,
            };
            if let Some(end) = sweep.add(Rule::UsSsn, start, end, confidence) {
                return Some(end);
            }
        }
    }
    if let Some((number, end)) = parted(&[3, 3, 4], b" -").or_else(|| single(10))
        && checks::nhs(number)
        && says(NHS)
    {
        return sweep.add(Rule::UkNhs, start, end, 95);
    }
    if let Some((number, end)) = parted(&[2, 3, 3, 3], b" /").or_else(|| single(11))
        && checks::german_tax_id(number)
    {
        let is_plain = digits.groups.first().is_some_and(|(count, _)| *count == 11);
        let confidence = match (says(GERMAN), is_plain) {
            (true, _) => 97,
            (_, false) => 70,
            _ => 30,
        };
        if let Some(end) = sweep.add(Rule::DeTaxId, start, end, confidence) {
            return Some(end);
        }
    }
    if let Some((number, end)) = exactly(&[3, 3, 3, 2], b"..-")
        && checks::cpf(number)
    {
        return sweep.add(Rule::BrCpf, start, end, 95);
    }
    if let Some((number, end)) = single(11)
        && checks::cpf(number)
        && says(BRAZILIAN)
    {
        return sweep.add(Rule::BrCpf, start, end, 95);
    }
    if let Some((number, end)) =
        exactly(&[2, 3, 3, 4, 2], b"../-").or_else(|| single(14).filter(|_| says(BRAZILIAN)))
        && checks::cnpj(number)
    {
        return sweep.add(Rule::BrCnpj, start, end, 95);
    }
    if let Some((number, end)) = parted(&[4, 4, 4], b" -").or_else(|| single(12))
        && number.first().is_some_and(|first| *first > 1)
        && checks::verhoeff(number)
    {
        let spaced = digits.separators.first() == Some(&b' ');
        let confidence = match (says(INDIAN), spaced && !says(OTHERS)) {
            (true, _) => 97,
            (_, true) => 65,
            _ => 30,
        };
        if let Some(end) = sweep.add(Rule::InAadhaar, start, end, confidence) {
            return Some(end);
        }
    }
    let nir = parted(&[1, 2, 2, 2, 3, 3, 2], b" .").or_else(|| parted(&[13, 2], b" ")).or_else(|| single(15));
    if let Some((number, end)) = nir
        && checks::french_nir(number)
    {
        let confidence = if says(FRENCH) { 98 } else { 80 };
        return sweep.add(Rule::FrNir, start, end, confidence);
    }
    None
}

/// A number of the Social Security Administration's, or of a taxpayer without one: the ranges that are given out.
fn american(number: &[u8]) -> bool {
    let of = |digits: &[u8]| digits.iter().fold(0_u32, |number, digit| number * 10 + u32::from(*digit));
    let (area, group, serial) = (of(&number[..3]), of(&number[3..5]), of(&number[5..]));
    match area {
        0 | 666 => false,
        900.. => matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99),
        _ => group != 0 && serial != 0,
    }
}

/// Eight digits and their letter.
fn spanish(sweep: &mut Sweep<'_, '_>, start: usize, end: usize) -> usize {
    let text = sweep.text;
    let number =
        text.slice(start, end).iter().fold(0_u32, |number, byte| number * 10 + u32::from(byte - b'0'));
    if text.at(end).to_ascii_uppercase() == checks::spanish_letter(number)
        && ends(&text, end + 1)
        && text.mentions(start, SPANISH)
    {
        return sweep.add(Rule::EsDni, start, end + 1, 96).unwrap_or(end);
    }
    end
}
