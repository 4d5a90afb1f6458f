//! What secrets and personal data look like inside of a text.

use super::names::{Sensitivity, sensitivity};

/// What something looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A key or token by its issuer's own mark, or in a place where one stands.
    Token,
    /// A private key.
    Key,
    /// An e-mail address.
    Email,
    /// A card number.
    Card,
}

impl Shape {
    /// Stands for it.
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Token => "[redacted:token]",
            Self::Key => "[redacted:key]",
            Self::Email => "[redacted:email]",
            Self::Card => "[redacted:card]",
        }
    }
}

/// Something in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) shape: Shape,
}

/// How tokens of well-known issuers begin, and how long what follows is at least.
const PREFIXES: [(&str, usize); 49] = [
    // Tollgate's own.
    ("tg_", 30),
    // AWS.
    ("AKIA", 16),
    ("ASIA", 16),
    // Google.
    ("AIza", 30),
    ("ya29.", 20),
    ("GOCSPX-", 20),
    // Git hosts.
    ("ghp_", 30),
    ("gho_", 30),
    ("ghu_", 30),
    ("ghs_", 30),
    ("ghr_", 30),
    ("github_pat_", 22),
    ("glpat-", 20),
    ("gldt-", 20),
    ("glrt-", 20),
    ("glcbt-", 20),
    ("glsoat-", 20),
    ("ATATT3", 20),
    ("ATBB", 28),
    // Chat.
    ("xoxb-", 16),
    ("xoxp-", 16),
    ("xoxa-", 16),
    ("xoxr-", 16),
    ("xoxs-", 16),
    ("xoxe.", 16),
    ("xapp-", 16),
    // Payments.
    ("sk_live_", 16),
    ("sk_test_", 16),
    ("rk_live_", 16),
    ("rk_test_", 16),
    ("whsec_", 20),
    // Models.
    ("sk-ant-", 20),
    ("sk-proj-", 20),
    ("sk-", 32),
    ("hf_", 30),
    ("gsk_", 30),
    ("pplx-", 30),
    // Package registries.
    ("npm_", 30),
    ("pypi-AgE", 30),
    ("dckr_pat_", 20),
    // Hosting and operations.
    ("dop_v1_", 40),
    ("hvs.", 20),
    ("dp.pt.", 30),
    ("dapi", 32),
    ("SG.", 32),
    ("shpat_", 28),
    ("lin_api_", 30),
    ("PMAK-", 30),
    ("eyJ", 24),
];

/// The longest head of a web token.
const HEAD_MAX: usize = 2_048;

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'\\' | b'`')
}

/// Finds all of it, in order and apart from each other.
pub(super) fn find(text: &[u8], found: &mut Vec<Found>) {
    let mut at = 0;
    while let Some(byte) = text.get(at).copied() {
        if is_word(byte) {
            let end = run(text, at, is_word);
            at = word(text, at, end, found).unwrap_or(end);
            continue;
        }
        let one = match byte {
            b'@' => address(text, at),
            b'=' | b':' => assigned(text, at),
            _ => None,
        };
        at += 1;
        if let Some(mut one) = one {
            // What was found in its beginning is a part of it.
            while found.last().is_some_and(|last| last.start >= one.start) {
                found.pop();
            }
            one.start = found.last().map_or(one.start, |last| one.start.max(last.end));
            at = one.end.max(at);
            if one.start < one.end {
                found.push(one);
            }
        }
    }
}

/// The end of what consists of such bytes.
fn run(text: &[u8], start: usize, is: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    start + rest.iter().position(|byte| !is(*byte)).unwrap_or(rest.len())
}

/// The beginning of what consists of such bytes.
fn run_back(text: &[u8], end: usize, is: impl Fn(u8) -> bool) -> usize {
    let before = text.get(..end).unwrap_or_default();
    before.iter().rposition(|byte| !is(*byte)).map_or(0, |place| place + 1)
}

/// Looks at one word. Where something is found, says where to go on.
fn word(text: &[u8], start: usize, end: usize, found: &mut Vec<Found>) -> Option<usize> {
    let push = |found: &mut Vec<Found>, start: usize, end: usize, shape: Shape| {
        found.push(Found { start, end, shape });
        Some(end)
    };
    let (len, next) = (end - start, text.get(end).copied());
    if len == 6 || len == 5 {
        let is_scheme = text[start..end].eq_ignore_ascii_case(b"bearer")
            || text[start..end].eq_ignore_ascii_case(b"basic");
        let value = run(text, end, |byte| byte == b' ');
        let stop = run(text, value, is_credential);
        if is_scheme && value > end && looks_random(&text[value..stop]) {
            return push(found, value, stop, Shape::Token);
        }
    }
    let is_long = len >= 16 || next == Some(b'.');
    let mut at = start;
    while at < end {
        if text[at].is_ascii_digit() {
            if let Some(stop) = card(text, at) {
                return push(found, at, stop, Shape::Card);
            }
        } else if is_long && let Some(stop) = token(text, at) {
            return push(found, at, stop, Shape::Token);
        } else if text[at] == b'B'
            && let Some(stop) = private_key(text, at)
        {
            return push(found, at - DASHES.len(), stop, Shape::Key);
        }
        // The next place in the word where something of its own can begin.
        let next = run(text, at, |byte| byte.is_ascii_alphanumeric());
        at = run(text, next, |byte| byte == b'_' || byte == b'-').max(at + 1);
    }
    None
}

/// The end of the token that begins here.
fn token(text: &[u8], start: usize) -> Option<usize> {
    let rest = text.get(start..)?;
    let first = *rest.first()?;
    let known = PREFIXES.iter().filter(|(prefix, _)| prefix.as_bytes().first() == Some(&first));
    for (prefix, len_min) in known {
        let Some(body) = rest.strip_prefix(prefix.as_bytes()) else { continue };
        // A web token (RFC 7519) has dots, and the first of them soon.
        if *prefix == "eyJ" && body.get(run(&body[..body.len().min(HEAD_MAX)], 0, is_word)) != Some(&b'.') {
            continue;
        }
        let end = run(body, 0, |byte| is_word(byte) || byte == b'.');
        if end >= *len_min {
            return Some(start + prefix.len() + end);
        }
    }
    None
}

const DASHES: &[u8] = b"-----";

/// The end of the private key in PEM (RFC 7468) whose `BEGIN` this is: that of the text if it has none.
fn private_key(text: &[u8], start: usize) -> Option<usize> {
    let body = text.get(start..)?.strip_prefix(b"BEGIN ")?;
    if !text[..start].ends_with(DASHES) {
        return None;
    }
    position(label(body), b"PRIVATE KEY-----")?;
    let Some(end) = position(body, b"-----END ") else { return Some(text.len()) };
    let after = start + b"BEGIN ".len() + end + b"-----END ".len();
    let dashes = position(label(&text[after..]), DASHES);
    Some(dashes.map_or(text.len(), |dashes| after + dashes + DASHES.len()))
}

/// As much as the label of a key may have.
fn label(text: &[u8]) -> &[u8] {
    &text[..text.len().min(64)]
}

fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// The bytes of a credential in a header (RFC 6750, section 2.1).
fn is_credential(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

/// Whether it is no word of a language.
fn looks_random(text: &[u8]) -> bool {
    let is_mixed = text.iter().skip(1).any(u8::is_ascii_uppercase) && text.iter().any(u8::is_ascii_lowercase);
    text.len() >= 8 && (is_mixed || text.iter().any(|byte| byte.is_ascii_digit() || *byte == b'='))
}

/// The e-mail address around an `@`, or the user and password of a URL before it.
fn address(text: &[u8], at: usize) -> Option<Found> {
    let login = run_back(text, at, |byte| {
        !byte.is_ascii_whitespace() && byte != b'/' && byte != b'@' && !is_quote(byte)
    });
    if login < at && text[..login].ends_with(b"://") {
        return Some(Found { start: login, end: at, shape: Shape::Token });
    }
    let is_local = |byte: u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(&byte) || !byte.is_ascii();
    let start = run_back(text, at, is_local);
    let end = run(text, at + 1, |byte| is_word(byte) || byte == b'.' || !byte.is_ascii());
    let domain = text[at + 1..end].strip_suffix(b".").unwrap_or(&text[at + 1..end]);
    let dot = domain.iter().rposition(|byte| *byte == b'.')?;
    let is_top = |label: &[u8]| {
        label.len() >= 2 && label.iter().all(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii())
    };
    let is_one =
        start < at && dot > 0 && (is_top(&domain[dot + 1..]) || domain[dot + 1..].starts_with(b"xn--"));
    is_one.then_some(Found { start, end: at + 1 + domain.len(), shape: Shape::Email })
}

/// What is assigned to the name before a `=` or `:`, if that is the name of a secret.
fn assigned(text: &[u8], at: usize) -> Option<Found> {
    let name_end = run_back(text, at, |byte| byte == b' ' || is_quote(byte));
    let start = run_back(text, name_end, |byte| is_word(byte) || byte == b'.');
    let name = &text[start..name_end];
    let sensitivity = sensitivity(name);
    if name.is_empty() || sensitivity == Sensitivity::None || text[at + 1..].starts_with(b"//") {
        return None;
    }
    // Of these the value has spaces.
    let lower = name.to_ascii_lowercase();
    let to_the_end = position(&lower, b"cookie").is_some() || position(&lower, b"authorization").is_some();
    let value = run(text, at + 1, |byte| byte == b' ' || byte == b'=' || is_quote(byte));
    let is_value = |byte: u8| match byte {
        b'\n' | b'\r' => false,
        b' ' | b'\t' | b'&' | b';' | b',' | b')' | b'}' | b']' | b'>' => to_the_end,
        _ => !is_quote(byte),
    };
    if text[value..].starts_with(b"[redacted") {
        return None;
    }
    let end = run(text, value, is_value);
    let body = &text[value..end];
    let is_number = body.iter().all(u8::is_ascii_digit);
    let says_nothing = body.is_empty()
        || [&b"null"[..], b"true", b"false"].contains(&body)
        || (is_number && sensitivity == Sensitivity::AllButNumbers);
    (!says_nothing).then_some(Found { start: value, end, shape: Shape::Token })
}

/// The end of the card number that begins here: 13 to 19 digits in groups, which pass Luhn's test.
fn card(text: &[u8], start: usize) -> Option<usize> {
    let is_free =
        |before: Option<u8>| before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && byte != b'.');
    let before = start.checked_sub(1).and_then(|at| text.get(at).copied());
    if !(b'2'..=b'6').contains(&text[start]) || !is_free(before) {
        return None;
    }
    let mut digits = [0_u8; 19];
    let (mut count, mut at, mut last) = (0, start, None);
    while let Some(byte) = text.get(at).copied() {
        if byte.is_ascii_digit() {
            *digits.get_mut(count)? = byte - b'0';
            count += 1;
            at += 1;
            if text.get(at).is_none_or(|next| !next.is_ascii_alphanumeric() && *next != b'_')
                && (13..=19).contains(&count)
                && passes(&digits[..count])
            {
                last = Some(at);
            }
            if count == digits.len() {
                break;
            }
        } else if (byte == b' ' || byte == b'-') && text.get(at + 1).is_some_and(u8::is_ascii_digit) {
            at += 1;
        } else {
            break;
        }
    }
    let end = last?;
    // A fraction is none.
    let is_fraction = text.get(end) == Some(&b'.') && text.get(end + 1).is_some_and(u8::is_ascii_digit);
    (!is_fraction).then_some(end)
}

/// Whether a number is that of a card.
pub(super) fn is_card(number: &[u8]) -> bool {
    number.len() >= 13 && number.iter().all(u8::is_ascii_digit) && card(number, 0) == Some(number.len())
}

/// Luhn's test (ISO/IEC 7812-1).
fn passes(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match u32::from(*digit) * if place % 2 == 1 { 2 } else { 1 } {
            value @ 0..=9 => value,
            value => value - 9,
        })
        .sum();
    sum.is_multiple_of(10)
}
