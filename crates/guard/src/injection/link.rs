//! Links and images whose address carries something away.

use memchr::{memchr2, memmem, memrchr};

use crate::rule::{Family, Finding, Rule, RuleSet};
use crate::sweep::Sweep;
use crate::text::Text;

/// The longest address that is looked at.
const ADDRESS_MAX: usize = 2_048;

/// Names of parameters that carry what was said.
const CARRIERS: &[&str] = &[
    "data",
    "exfil",
    "leak",
    "payload",
    "conversation",
    "history",
    "context",
    "prompt",
    "secret",
    "secrets",
    "chat",
    "transcript",
    "summary",
    "stolen",
    "dump",
    "collected",
    "info",
    "memory",
    "answer",
];

/// What stands in place of something that is to be put in.
const PLACES: &[&[u8]] = &[b"{", b"%7B", b"<", b"%3C", b"[", b"%5B", b"YOUR_", b"INSERT", b"$("];

/// The link whose text ends with the bracket here.
pub(crate) fn link(sweep: &mut Sweep<'_, '_>, bracket: usize) -> Option<usize> {
    let text = sweep.text;
    if text.at(bracket + 1) != b'(' || !sweep.rules.has(Rule::Link) || sweep.depth > 7 {
        return None;
    }
    let from = bracket + 2;
    let area = text.slice(from, from + ADDRESS_MAX);
    if !(area.starts_with(b"http://") || area.starts_with(b"https://") || area.starts_with(b"//")) {
        return None;
    }
    let address = area.get(..memchr2(b')', b'\n', area)?)?;
    let before = text.slice(bracket.saturating_sub(256), bracket);
    let open = memrchr(b'[', before).map(|place| bracket - before.len() + place);
    let is_image = open.is_some_and(|open| text.before(open) == b'!');
    let query = address.get(memchr::memchr(b'?', address)? + 1..)?;
    let confidence = query.split(|byte| *byte == b'&').filter_map(|pair| carries(pair, is_image)).max()?;
    let start = open.map_or(bracket, |open| if is_image { open - 1 } else { open });
    sweep.add(Rule::Link, start, from + address.len() + 1, confidence)
}

/// How sure it is that a parameter carries something away.
fn carries(pair: &[u8], is_image: bool) -> Option<u8> {
    let (name, value) = pair.split_at(memchr::memchr(b'=', pair)?);
    let value = value.get(1..)?;
    let is_carrier = CARRIERS.iter().any(|carrier| name.eq_ignore_ascii_case(carrier.as_bytes()));
    let has_place = PLACES.iter().any(|place| memmem::find(value, place).is_some());
    match (is_image, is_carrier, has_place) {
        (true, true, true) => return Some(92),
        (true, _, true) => return Some(72),
        (false, true, true) => return Some(70),
        (true, true, _) if value.len() >= 16 => return Some(75),
        (false, true, _) if value.len() >= 32 && sentence(value) => return Some(60),
        _ => {}
    }
    if !is_image || value.len() < 8 {
        return None;
    }
    // An image whose address has somebody's data in it.
    let decoded = String::from_utf8_lossy(&decoded(value)).into_owned();
    let mut found = Vec::new();
    let rules = Rule::ALL
        .iter()
        .filter(|rule| rule.family() == Family::Secret)
        .fold(RuleSet::NONE, |set, rule| set.with(*rule));
    let rules = rules.with(Rule::Email).with(Rule::Card).with(Rule::Iban);
    Sweep::new(Text::new(&decoded, ""), rules, 8, &mut found).run();
    found.iter().map(|finding: &Finding| finding.confidence.min(80)).max()
}

/// Whether a value has words in it, parted as they are in addresses.
fn sentence(value: &[u8]) -> bool {
    memchr::memchr_iter(b'+', value).count() + memmem::find_iter(value, b"%20").count() >= 4
}

fn decoded(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(byte) = value.get(at).copied() {
        let digit = |place: usize| value.get(place).and_then(|byte| char::from(*byte).to_digit(16));
        if byte == b'%'
            && let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2))
        {
            out.push(u8::try_from(high << 4 | low).unwrap_or(b'?'));
            at += 3;
        } else {
            out.push(if byte == b'+' { b' ' } else { byte });
            at += 1;
        }
    }
    out
}
