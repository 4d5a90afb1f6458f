//! Tokens that say by their beginning whose they are, web tokens, and what stands behind an authentication scheme.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use memchr::memmem;

use crate::injection::encoded;
use crate::rule::Rule;
use crate::sweep::Sweep;
use crate::text::entropy;

/// What a token consists of behind its mark.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// Letters and digits.
    Alnum,
    /// These, underscores and dashes.
    Word,
    /// These and dots.
    Dotted,
    /// Capital letters and digits.
    Upper,
    /// Hexadecimal digits.
    Hex,
    /// What paths consist of.
    Path,
}

impl Body {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Word => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'='),
            Self::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::Path => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/'),
        }
    }
}

/// A kind of token.
pub(crate) struct Token {
    pub(crate) mark: &'static str,
    body: Body,
    /// How long what follows the mark is.
    least: usize,
    most: usize,
    rule: Rule,
}

const fn of(mark: &'static str, body: Body, least: usize, most: usize, rule: Rule) -> Token {
    Token { mark, body, least, most, rule }
}

/// The marks that issuers document.
pub(crate) const TOKENS: &[Token] = &[
    of("AKIA", Body::Upper, 16, 16, Rule::CloudKey),
    of("ASIA", Body::Upper, 16, 16, Rule::CloudKey),
    of("ABIA", Body::Upper, 16, 16, Rule::CloudKey),
    of("ACCA", Body::Upper, 16, 16, Rule::CloudKey),
    of("AIza", Body::Word, 35, 35, Rule::CloudKey),
    of("ya29.", Body::Word, 30, 2_048, Rule::CloudKey),
    of("GOCSPX-", Body::Word, 28, 28, Rule::CloudKey),
    of("LTAI", Body::Alnum, 16, 20, Rule::CloudKey),
    of("dop_v1_", Body::Hex, 64, 64, Rule::CloudKey),
    of("doo_v1_", Body::Hex, 64, 64, Rule::CloudKey),
    of("DefaultEndpointsProtocol=", Body::Path, 4, 5, Rule::CloudKey),
    of("ghp_", Body::Alnum, 36, 40, Rule::GitToken),
    of("gho_", Body::Alnum, 36, 40, Rule::GitToken),
    of("ghu_", Body::Alnum, 36, 40, Rule::GitToken),
    of("ghs_", Body::Alnum, 36, 40, Rule::GitToken),
    of("ghr_", Body::Alnum, 36, 80, Rule::GitToken),
    of("github_pat_", Body::Word, 60, 100, Rule::GitToken),
    of("glpat-", Body::Dotted, 20, 64, Rule::GitToken),
    of("gldt-", Body::Word, 20, 64, Rule::GitToken),
    of("glrt-", Body::Dotted, 20, 64, Rule::GitToken),
    of("glcbt-", Body::Word, 20, 64, Rule::GitToken),
    of("glsoat-", Body::Word, 20, 64, Rule::GitToken),
    of("ATATT3", Body::Dotted, 100, 300, Rule::GitToken),
    of("ATBB", Body::Alnum, 32, 32, Rule::GitToken),
    of("xoxb-", Body::Word, 24, 250, Rule::ChatToken),
    of("xoxp-", Body::Word, 24, 250, Rule::ChatToken),
    of("xoxa-", Body::Word, 24, 250, Rule::ChatToken),
    of("xoxr-", Body::Word, 24, 250, Rule::ChatToken),
    of("xoxs-", Body::Word, 24, 250, Rule::ChatToken),
    of("xoxe.", Body::Dotted, 24, 300, Rule::ChatToken),
    of("xapp-", Body::Word, 24, 250, Rule::ChatToken),
    of("hooks.slack.com/services/", Body::Path, 30, 80, Rule::ChatToken),
    of("discord.com/api/webhooks/", Body::Path, 60, 120, Rule::ChatToken),
    of("sk_live_", Body::Alnum, 20, 250, Rule::PaymentKey),
    of("sk_test_", Body::Alnum, 20, 250, Rule::PaymentKey),
    of("rk_live_", Body::Alnum, 20, 250, Rule::PaymentKey),
    of("rk_test_", Body::Alnum, 20, 250, Rule::PaymentKey),
    of("whsec_", Body::Alnum, 24, 80, Rule::PaymentKey),
    of("sq0atp-", Body::Word, 22, 22, Rule::PaymentKey),
    of("sq0csp-", Body::Word, 43, 43, Rule::PaymentKey),
    of("EAAA", Body::Word, 60, 60, Rule::PaymentKey),
    of("access_token$production$", Body::Word, 40, 60, Rule::PaymentKey),
    of("tg_", Body::Word, 30, 100, Rule::ServiceToken),
    of("sk-ant-", Body::Word, 40, 200, Rule::ServiceToken),
    of("sk-proj-", Body::Word, 40, 250, Rule::ServiceToken),
    of("sk-svcacct-", Body::Word, 40, 250, Rule::ServiceToken),
    of("sk-or-", Body::Word, 40, 120, Rule::ServiceToken),
    of("sk-", Body::Alnum, 40, 64, Rule::ServiceToken),
    of("hf_", Body::Alnum, 30, 40, Rule::ServiceToken),
    of("gsk_", Body::Alnum, 40, 60, Rule::ServiceToken),
    of("pplx-", Body::Alnum, 40, 60, Rule::ServiceToken),
    of("xai-", Body::Alnum, 60, 100, Rule::ServiceToken),
    of("r8_", Body::Alnum, 37, 40, Rule::ServiceToken),
    of("npm_", Body::Alnum, 36, 36, Rule::ServiceToken),
    of("pypi-AgE", Body::Word, 50, 300, Rule::ServiceToken),
    of("dckr_pat_", Body::Word, 20, 60, Rule::ServiceToken),
    of("hvs.", Body::Word, 24, 160, Rule::ServiceToken),
    of("hvb.", Body::Word, 24, 250, Rule::ServiceToken),
    of("dp.pt.", Body::Alnum, 40, 50, Rule::ServiceToken),
    of("dapi", Body::Hex, 32, 32, Rule::ServiceToken),
    of("SG.", Body::Dotted, 60, 70, Rule::ServiceToken),
    of("key-", Body::Hex, 32, 32, Rule::ServiceToken),
    of("shpat_", Body::Hex, 32, 32, Rule::ServiceToken),
    of("shpss_", Body::Hex, 32, 32, Rule::ServiceToken),
    of("shpca_", Body::Hex, 32, 32, Rule::ServiceToken),
    of("lin_api_", Body::Alnum, 32, 48, Rule::ServiceToken),
    of("PMAK-", Body::Word, 50, 70, Rule::ServiceToken),
    of("ntn_", Body::Alnum, 40, 60, Rule::ServiceToken),
    of("secret_", Body::Alnum, 43, 43, Rule::ServiceToken),
    of("NRAK-", Body::Upper, 27, 27, Rule::ServiceToken),
    of("glsa_", Body::Word, 36, 60, Rule::ServiceToken),
    of("sntrys_", Body::Dotted, 60, 250, Rule::ServiceToken),
    of("figd_", Body::Word, 36, 60, Rule::ServiceToken),
    of("tskey-auth-", Body::Word, 24, 60, Rule::ServiceToken),
    of("AGE-SECRET-KEY-1", Body::Upper, 58, 58, Rule::PrivateKey),
];

/// A token of this kind, if its mark stands here.
pub(crate) fn token(sweep: &mut Sweep<'_, '_>, start: usize, kind: &Token) -> Option<usize> {
    let text = sweep.text;
    let from = start + kind.mark.len();
    if text.slice(start, from) != kind.mark.as_bytes() {
        return None;
    }
    let rest = text.slice(from, from + kind.most + 1);
    let length = rest.iter().position(|byte| !kind.body.has(*byte)).unwrap_or(rest.len());
    let mut body = rest.get(..length)?;
    while let [kept @ .., b'.' | b'-' | b'=' | b'/'] = body {
        body = kept;
    }
    if kind.mark.ends_with('=') {
        return account_key(sweep, start);
    }
    let end = from + body.len();
    let goes_on = length > kind.most || text.is(end, crate::text::class::WORD);
    if body.len() < kind.least || goes_on || is_example(body) {
        return None;
    }
    sweep.add(kind.rule, start, end, 97)
}

/// A row of the same, or words that say that it is none.
fn is_example(body: &[u8]) -> bool {
    let upper = body.to_ascii_uppercase();
    let says = |word: &[u8]| memmem::find(&upper, word).is_some();
    says(b"XXXXXX")
        || says(b"000000")
        || says(b"YOUR")
        || says(b"PLACEHOLDER")
        || says(b"REDACTED")
        || entropy(body) < 2.5
}

/// The key within a connection string of Azure storage.
fn account_key(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let text = sweep.text;
    let area = text.slice(start, start + 512);
    let from = start + memmem::find(area, b"AccountKey=")? + b"AccountKey=".len();
    let key = text.run(from, crate::text::class::BASE64, 100);
    if key - from < 80 { None } else { sweep.add(Rule::CloudKey, from, key, 97) }
}

/// The longest part of a web token that is looked at.
const PART_MAX: usize = 16_384;

/// Three parts in base64, of which the first is a head (RFC 7515).
pub(crate) fn jwt(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let text = sweep.text;
    if text.slice(start, start + 3) != b"eyJ" {
        return None;
    }
    let part = |from: usize| {
        let rest = text.slice(from, from + PART_MAX);
        let is = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        from + rest.iter().position(|byte| !is(*byte)).unwrap_or(rest.len())
    };
    let head = part(start);
    if text.at(head) != b'.' || !is_head(text.slice(start, head.min(start + 2_048))) {
        return passed(sweep, start, head);
    }
    let body = part(head + 1);
    if text.at(body) != b'.' || body - head < 8 {
        return passed(sweep, start, head);
    }
    let end = part(body + 1);
    // Encrypted ones have five.
    let mut last = end;
    for _ in 0..2 {
        if text.at(last) == b'.' && part(last + 1) > last + 1 {
            last = part(last + 1);
        }
    }
    sweep.add(Rule::Jwt, start, last, 98).or_else(|| passed(sweep, start, head))
}

/// What begins like a head and is of no web token: if it is long it is not read again from its middle, and is looked into as what is
/// encoded.
fn passed(sweep: &mut Sweep<'_, '_>, start: usize, head: usize) -> Option<usize> {
    if head - start <= 256 {
        return None;
    }
    if head > sweep.decoded_until {
        encoded(sweep, start);
    }
    Some(head)
}

/// Whether it is the head of a web token: JSON that says how it is signed or encrypted.
fn is_head(part: &[u8]) -> bool {
    let says = |decoded: &[u8], word: &[u8]| memmem::find(decoded, word).is_some();
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(part);
    decoded.is_ok_and(|decoded| says(&decoded, b"\"alg\"") || says(&decoded, b"\"enc\""))
}

/// What stands behind `Bearer` or `Basic` (RFC 6750, RFC 7617).
pub(crate) fn scheme(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let text = sweep.text;
    let is = |word: &[u8]| text.slice(start, start + word.len()).eq_ignore_ascii_case(word);
    let (from, is_basic) = if is(b"bearer ") {
        (start + 7, false)
    } else if is(b"basic ") {
        (start + 6, true)
    } else {
        return None;
    };
    let rest = text.slice(from, from + 4_096);
    let of = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    let length = rest.iter().position(|byte| !of(byte)).unwrap_or(rest.len());
    let mut credential = rest.get(..length)?;
    while let [kept @ .., b'.'] = credential {
        credential = kept;
    }
    let end = from + credential.len();
    if is_basic {
        let decoded = BASE64_STANDARD.decode(credential).ok()?;
        let is_pair = decoded.contains(&b':')
            && decoded.len() > 4
            && decoded.iter().all(|byte| (0x20..0x7F).contains(byte));
        return if is_pair { sweep.add(Rule::Authorization, from, end, 95) } else { None };
    }
    // A web token, or one by its issuer's mark, is told as what it is.
    if credential.starts_with(b"eyJ") {
        return jwt(sweep, from);
    }
    let is_random = credential.len() >= 16
        && credential.iter().any(u8::is_ascii_digit)
        && credential.iter().any(u8::is_ascii_alphabetic)
        && entropy(credential) > 3.0
        && !is_example(credential);
    if is_random { sweep.add(Rule::Authorization, from, end, 92).map(|_| from) } else { None }
}
