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
    // A link, or what others refer to.
    let is_reference = text.at(bracket + 1) == b':';
    let begins = is_reference || text.at(bracket + 1) == b'(';
    if !begins || !sweep.rules.has(Rule::Link) || sweep.depth > 7 {
        return None;
    }
    let mut from = bracket + 2;
    // These may stand before the address.
    while from < bracket + 10 && matches!(text.at(from), b' ' | b'\t' | b'\n' | b'<') {
        from += 1;
    }
    let area = text.slice(from, from + ADDRESS_MAX);
    if !is_address(area) {
        return None;
    }
    let length = if is_reference {
        let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'>';
        area.iter().position(ends).unwrap_or(area.len())
    } else {
        memchr2(b')', b'\n', area)?
    };
    let address = area.get(..length)?;
    let before = text.slice(bracket.saturating_sub(256), bracket);
    let open = memrchr(b'[', before).map(|place| bracket - before.len() + place);
    let is_image = open.is_some_and(|open| text.before(open) == b'!');
    let query = address.get(memchr::memchr(b'?', address)? + 1..)?;
    let confidence = query.split(|byte| *byte == b'&').filter_map(|pair| carries(pair, is_image)).max()?;
    let start = open.map_or(bracket, |open| if is_image { open - 1 } else { open });
    let end = from + address.len() + usize::from(!is_reference);
    sweep.add(Rule::Link, start, end, confidence)
}

/// The image of HTML that begins here.
pub(crate) fn image(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let text = sweep.text;
    let is_image = text.slice(start, start + 5).eq_ignore_ascii_case(b"<img ");
    if !is_image || !sweep.rules.has(Rule::Link) || sweep.depth > 7 {
        return None;
    }
    let head = text.slice(start, start + ADDRESS_MAX);
    let head = head.get(..memchr::memchr(b'>', head)?)?;
    let address = head.get(memmem::find(head, b"src=")? + 4..)?;
    let quotes = address.iter().take_while(|byte| matches!(byte, b'"' | b'\'' | b'\\')).count();
    let address = address.get(quotes..)?;
    if !is_address(address) {
        return None;
    }
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'\\');
    let address = address.get(..address.iter().position(ends).unwrap_or(address.len()))?;
    let query = address.get(memchr::memchr(b'?', address)? + 1..)?;
    // Templates have places for many things: the name has to say what is carried, or what is carried be somebody's.
    let pairs = query.split(|byte| *byte == b'&').map(|pair| pair.strip_prefix(b"amp;").unwrap_or(pair));
    let confidence = pairs.filter_map(|pair| carries(pair, true)).filter(|sure| *sure >= 75).max()?;
    sweep.add(Rule::Link, start, start + head.len() + 1, confidence)
}

/// Whether an address of the web begins a text, with its scheme or without.
fn is_address(text: &[u8]) -> bool {
    let begins =
        |scheme: &[u8]| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    begins(b"http://") || begins(b"https://") || begins(b"//")
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
