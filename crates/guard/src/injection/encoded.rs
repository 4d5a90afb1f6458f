//! Encoded text: base64, hexadecimal, and escapes of URLs, programs and HTML, one within another up to a bound.
//!
//! That something is encoded is no finding. That it is text, and that there is a secret or an injection in that text, is. A secret is
//! told as what it is too: what becomes of it does not depend on how it is written.

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use crate::rule::{Family, Finding, Rule, RuleSet};
use crate::sweep::Sweep;
use crate::text::{CLASS, Text, class};

/// How often something is decoded that is within something decoded.
const DEPTH_MAX: u8 = 3;
/// The longest run that is decoded.
const RUN_MAX: usize = 65_536;
/// How much is decoded before it is known to be text.
const PROBE: usize = 64;
/// The shortest run that says anything.
const RUN_MIN: usize = 24;
/// How long lines are into which programs break what they encode.
const LINE: std::ops::RangeInclusive<usize> = 40..=128;

const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, CONFIG);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, CONFIG);

/// What is known by its mark.
const TOKENS: [Rule; 6] =
    [Rule::CloudKey, Rule::GitToken, Rule::ChatToken, Rule::PaymentKey, Rule::ServiceToken, Rule::Jwt];

/// Whether there is anything to be looked for in what is encoded.
fn reads(rules: RuleSet) -> bool {
    let is_secret = |rule: &Rule| rule.family() == Family::Secret && rules.has(*rule);
    rules.has(Rule::Encoded) || Rule::ALL.iter().any(is_secret)
}

/// The run that the long word here is of.
pub(crate) fn encoded(sweep: &mut Sweep<'_, '_>, start: usize) {
    let text = sweep.text;
    if sweep.depth >= DEPTH_MAX || !reads(sweep.rules) {
        return;
    }
    let from = text.run_back(start, 64, |byte| CLASS[byte as usize] & class::BASE64 != 0 && byte != b'=');
    let from = text.behind_escape(from, start).max(sweep.decoded_until);
    let end = text.run(from, class::BASE64, RUN_MAX);
    let last = over_lines(&text, from, end);
    sweep.decoded_until = last;
    let run = text.slice(from, last);
    if last > end {
        let joined: Vec<u8> = run.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        if !is_hexadecimal(&joined) && try_base64(sweep, (from, last), &joined)
            || try_hexadecimal(sweep, (from, last), &joined)
        {
            return;
        }
    }
    let mut at = from;
    for line in run.split(|byte| *byte == b'\n') {
        one(sweep, at, line.strip_suffix(b"\r").unwrap_or(line));
        at += line.len() + 1;
    }
}

/// Where a run ends that goes on over lines: programs break what they encode, each line as long as the first but for the last.
fn over_lines(text: &Text<'_>, from: usize, end: usize) -> usize {
    let width = end - from;
    let mut last = end;
    while LINE.contains(&width) && width.is_multiple_of(4) && last - from < RUN_MAX {
        let next = match (text.at(last), text.at(last + 1)) {
            (b'\n', _) => last + 1,
            (b'\r', b'\n') => last + 2,
            _ => break,
        };
        let line = text.run(next, class::BASE64, width + 1) - next;
        if line == 0 || line > width {
            break;
        }
        last = next + line;
        if line < width {
            break;
        }
    }
    last
}

/// Looks into a run that stands in one line.
fn one(sweep: &mut Sweep<'_, '_>, from: usize, run: &[u8]) {
    if is_hexadecimal(run) {
        try_hexadecimal(sweep, (from, from + run.len()), run);
        return;
    }
    if run.len() < RUN_MIN {
        return;
    }
    if !try_base64(sweep, (from, from + run.len()), run) {
        // A path, of which a part may be encoded.
        let mut at = from;
        for part in run.split(|byte| *byte == b'/').take(64) {
            if part.len() >= RUN_MIN && part.len() < run.len() {
                try_base64(sweep, (at, at + part.len()), part);
            }
            at += part.len() + 1;
        }
    }
}

fn is_hexadecimal(run: &[u8]) -> bool {
    run.len() >= 32 && run.len().is_multiple_of(2) && run.iter().all(u8::is_ascii_hexdigit)
}

/// Whether it was text. If so it was looked into.
fn try_hexadecimal(sweep: &mut Sweep<'_, '_>, (from, end): (usize, usize), run: &[u8]) -> bool {
    let is_one =
        is_hexadecimal(run) && is_text(&hexadecimal(run.get(..PROBE.min(run.len())).unwrap_or_default()));
    if is_one {
        inside(sweep, from, end, &hexadecimal(run));
    }
    is_one
}

/// The same of base64.
fn try_base64(sweep: &mut Sweep<'_, '_>, (from, end): (usize, usize), run: &[u8]) -> bool {
    let is_url_safe = run.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let decode = |run: &[u8]| {
        let run = run.get(..run.len() - usize::from(run.len() % 4 == 1)).unwrap_or_default();
        if is_url_safe { URL_SAFE.decode(run).ok() } else { STANDARD.decode(run).ok() }
    };
    let probe = run.get(..PROBE.min(run.len())).and_then(decode);
    if !probe.is_some_and(|probe| is_text(&probe)) {
        return false;
    }
    match decode(run) {
        Some(decoded) if is_text(&decoded) => {
            inside(sweep, from, end, &decoded);
            true
        }
        _ => false,
    }
}

fn hexadecimal(run: &[u8]) -> Vec<u8> {
    let value =
        |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
    run.chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

/// Whether bytes are what people write: nearly all of them can be printed.
fn is_text(bytes: &[u8]) -> bool {
    let printed = bytes.iter().filter(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace()).count();
    let plain = bytes.iter().filter(|byte| matches!(byte, 0x20..0x7F | b'\n' | b'\r' | b'\t' | 0x1B)).count();
    bytes.len() >= 12 && printed * 100 >= bytes.len() * 97 && plain * 100 >= bytes.len() * 60
}

/// Looks into what was decoded, as into any text.
fn inside(sweep: &mut Sweep<'_, '_>, start: usize, end: usize, decoded: &[u8]) {
    let decoded = String::from_utf8_lossy(decoded);
    let mut found = Vec::new();
    Sweep::new(Text::new(&decoded, ""), sweep.rules, sweep.depth + 1, &mut found).run();
    let secret = found.iter().filter(|finding| finding.rule.family() == Family::Secret);
    if let Some(secret) = secret.max_by_key(|finding| finding.confidence) {
        sweep.add(secret.rule, start, end, secret.confidence);
    }
    let told = found.iter().filter(|finding| finding.rule.family() != Family::Personal);
    let surest = told.map(|finding: &Finding| finding.confidence).max();
    if let Some(confidence) = surest {
        sweep.add(Rule::Encoded, start, end, confidence.max(60));
    }
}

/// The run of escapes that the sign here is of. Gives back where it ends.
pub(crate) fn escapes(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let text = sweep.text;
    let (first, _) = escape(&text, start)?;
    if start < sweep.decoded_until || sweep.depth >= DEPTH_MAX || !reads(sweep.rules) {
        return None;
    }
    // Of a URL, all that may stand in one is of the run; of others, escapes and what is between two that are near.
    let from = if text.at(start) == b'%' {
        text.run_back(start, 512, |byte| CLASS[byte as usize] & class::URL != 0).max(sweep.decoded_until)
    } else {
        start
    };
    let mut decoded = Vec::from(text.slice(from, start));
    decoded.push(first);
    // Where each byte that was decoded stands.
    let mut places: Vec<usize> = (from..=start).collect();
    let (mut at, mut count, mut end) = (start + escape(&text, start)?.1, 1, start);
    let mut between = 0;
    while at - from < RUN_MAX {
        if let Some((byte, length)) = escape(&text, at) {
            decoded.push(byte);
            places.push(at);
            at += length;
            count += 1;
            between = 0;
            end = at;
        } else if text.is(at, class::URL) && (text.at(start) == b'%' || between < 24) {
            decoded.push(text.at(at));
            places.push(at);
            at += 1;
            between += 1;
            if text.at(start) == b'%' {
                end = at;
            }
        } else {
            break;
        }
    }
    sweep.decoded_until = at;
    if count >= 4 && is_text(&decoded) {
        inside(sweep, from, end, &decoded);
    } else if text.at(start) == b'%'
        && decoded.len() >= RUN_MIN
        && let Ok(decoded) = std::str::from_utf8(&decoded)
    {
        // One is enough to part the mark of a token from the rest of it.
        places.push(at);
        let all = sweep.rules;
        let rules = TOKENS.into_iter().filter(|rule| all.has(*rule)).fold(RuleSet::NONE, RuleSet::with);
        let mut found = Vec::new();
        Sweep::new(Text::new(decoded, ""), rules, DEPTH_MAX, &mut found).run();
        for one in found {
            if let (Some(start), Some(end)) = (places.get(one.start), places.get(one.end)) {
                sweep.add(one.rule, *start, *end, one.confidence);
            }
        }
    }
    None
}

/// The byte that an escape here stands for, and how long it is: `%69`, `\x69`, `\u0069`, `&#105;`, `&#x69;`. Of characters
/// beyond ASCII in the latter forms only that there is one.
fn escape(text: &Text<'_>, at: usize) -> Option<(u8, usize)> {
    let hex = |from: usize, digits: usize| {
        let digits = text.slice(from, from + digits);
        digits
            .iter()
            .try_fold(0_u32, |value, byte| Some(value << 4 | char::from(*byte).to_digit(16)?))
            .filter(|_| !digits.is_empty())
    };
    let byte = |value: u32| u8::try_from(value).ok().filter(u8::is_ascii).unwrap_or(b'?');
    match (text.at(at), text.at(at + 1)) {
        (b'%', _) if text.is(at + 1, class::HEX) && text.is(at + 2, class::HEX) => {
            Some((u8::try_from(hex(at + 1, 2)?).unwrap_or(b'?'), 3))
        }
        (b'\\', b'x') if text.is(at + 3, class::HEX) => {
            Some((u8::try_from(hex(at + 2, 2)?).unwrap_or(b'?'), 4))
        }
        (b'\\', b'u') if text.is(at + 5, class::HEX) => Some((byte(hex(at + 2, 4)?), 6)),
        (b'&', b'#') => {
            let is_hex = matches!(text.at(at + 2), b'x' | b'X');
            let from = at + 2 + usize::from(is_hex);
            let end = text.run(from, if is_hex { class::HEX } else { class::DIGIT }, 6);
            let digits = std::str::from_utf8(text.slice(from, end)).ok()?;
            let value = u32::from_str_radix(digits, if is_hex { 16 } else { 10 }).ok()?;
            (text.at(end) == b';').then_some((byte(value), end + 1 - at))
        }
        _ => None,
    }
}
