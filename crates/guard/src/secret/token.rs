//! Tokens that say by their beginning whose they are, web tokens, and what stands behind an authentication scheme.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use memchr::memmem;

use crate::injection::encoded;
use crate::rule::Rule;
use crate::starters;
use crate::sweep::Sweep;
use crate::text::{class, entropy};

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
    /// Base64, in either alphabet.
    Base64,
    /// What stands in addresses, and signs that part a token.
    Address,
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
            Self::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/' | b'+' | b'='),
            Self::Address => byte.is_ascii_alphanumeric() || b"_-/+=%@$~".contains(&byte),
        }
    }

    /// How much of a text is of it.
    fn length(self, text: &[u8]) -> usize {
        text.iter().position(|byte| !self.has(*byte)).unwrap_or(text.len())
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
    /// Whether names may begin like this: then there have to be capital letters, small ones and digits.
    is_mixed: bool,
}

const fn of(mark: &'static str, body: Body, least: usize, most: usize, rule: Rule) -> Token {
    Token { mark, body, least, most, rule, is_mixed: false }
}

/// The same of a mark that says little.
const fn mixed(mark: &'static str, body: Body, least: usize, most: usize, rule: Rule) -> Token {
    Token { mark, body, least, most, rule, is_mixed: true }
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
    of("dor_v1_", Body::Hex, 64, 64, Rule::CloudKey),
    of("ABSK", Body::Base64, 100, 200, Rule::CloudKey),
    of("bedrock-api-key-", Body::Base64, 60, 2_048, Rule::CloudKey),
    mixed("AQ.Ab", Body::Word, 40, 90, Rule::CloudKey),
    mixed("AKID", Body::Alnum, 32, 36, Rule::CloudKey),
    mixed("AQVN", Body::Word, 35, 38, Rule::CloudKey),
    mixed("y0_", Body::Word, 50, 80, Rule::CloudKey),
    of("HRKU-AA", Body::Word, 54, 64, Rule::CloudKey),
    of("fm1r_", Body::Base64, 80, 2_048, Rule::CloudKey),
    of("fm2_", Body::Base64, 80, 2_048, Rule::CloudKey),
    mixed("fo1_", Body::Word, 40, 46, Rule::CloudKey),
    of("nfp_", Body::Alnum, 36, 40, Rule::CloudKey),
    mixed("vcp_", Body::Alnum, 24, 80, Rule::CloudKey),
    mixed("vck_", Body::Alnum, 24, 80, Rule::CloudKey),
    of("sbp_", Body::Hex, 40, 40, Rule::CloudKey),
    mixed("sb_secret_", Body::Word, 24, 60, Rule::CloudKey),
    of("pscale_tkn_", Body::Dotted, 32, 64, Rule::CloudKey),
    of("pscale_pw_", Body::Dotted, 32, 64, Rule::CloudKey),
    of("pscale_oauth_", Body::Dotted, 32, 64, Rule::CloudKey),
    of("napi_", Body::Alnum, 60, 70, Rule::CloudKey),
    mixed("atlasv1.", Body::Word, 60, 70, Rule::CloudKey),
    of("pul-", Body::Hex, 40, 40, Rule::CloudKey),
    of("sig=", Body::Address, 43, 80, Rule::CloudKey),
    of("DefaultEndpointsProtocol=", Body::Path, 4, 5, Rule::CloudKey),
    of("ghp_", Body::Alnum, 36, 40, Rule::GitToken),
    of("gho_", Body::Alnum, 36, 40, Rule::GitToken),
    of("ghu_", Body::Alnum, 36, 40, Rule::GitToken),
    of("ghs_", Body::Alnum, 36, 40, Rule::GitToken),
    of("ghs_", Body::Dotted, 100, 2_048, Rule::GitToken),
    of("ghr_", Body::Alnum, 36, 80, Rule::GitToken),
    of("github_pat_", Body::Word, 60, 100, Rule::GitToken),
    of("glpat-", Body::Dotted, 20, 64, Rule::GitToken),
    of("gldt-", Body::Word, 20, 64, Rule::GitToken),
    of("glrt-", Body::Dotted, 20, 64, Rule::GitToken),
    of("glcbt-", Body::Word, 20, 64, Rule::GitToken),
    of("glsoat-", Body::Word, 20, 64, Rule::GitToken),
    of("glft-", Body::Word, 20, 64, Rule::GitToken),
    of("glimt-", Body::Word, 20, 64, Rule::GitToken),
    of("glagent-", Body::Word, 20, 64, Rule::GitToken),
    of("glptt-", Body::Word, 20, 64, Rule::GitToken),
    of("gloas-", Body::Word, 20, 64, Rule::GitToken),
    of("glffct-", Body::Word, 20, 64, Rule::GitToken),
    of("GR1348941", Body::Word, 20, 20, Rule::GitToken),
    of("sgp_", Body::Word, 40, 60, Rule::GitToken),
    of("ATCTT3", Body::Dotted, 100, 300, Rule::GitToken),
    of("ATATT3", Body::Dotted, 100, 300, Rule::GitToken),
    of("ATBB", Body::Alnum, 32, 32, Rule::GitToken),
    of("xoxb-", Body::Word, 24, 250, Rule::ChatToken),
    of("xoxp-", Body::Word, 24, 250, Rule::ChatToken),
    of("xoxa-", Body::Word, 24, 250, Rule::ChatToken),
    of("xoxr-", Body::Word, 24, 250, Rule::ChatToken),
    of("xoxs-", Body::Word, 24, 250, Rule::ChatToken),
    of("xoxe.", Body::Dotted, 24, 300, Rule::ChatToken),
    of("xoxe-", Body::Word, 24, 300, Rule::ChatToken),
    of("xoxc-", Body::Word, 24, 250, Rule::ChatToken),
    of("xoxd-", Body::Address, 60, 400, Rule::ChatToken),
    of("xapp-", Body::Word, 24, 250, Rule::ChatToken),
    of("hooks.slack.com/services/", Body::Path, 30, 80, Rule::ChatToken),
    of("discord.com/api/webhooks/", Body::Path, 60, 120, Rule::ChatToken),
    of("discordapp.com/api/webhooks/", Body::Path, 60, 120, Rule::ChatToken),
    of("hooks.slack.com/workflows/", Body::Path, 30, 120, Rule::ChatToken),
    of("hooks.slack.com/triggers/", Body::Path, 30, 120, Rule::ChatToken),
    of("webhook.office.com/webhookb2/", Body::Address, 100, 300, Rule::ChatToken),
    of("sk_live_", Body::Alnum, 20, 250, Rule::PaymentKey),
    of("sk_test_", Body::Alnum, 20, 250, Rule::PaymentKey),
    of("rk_live_", Body::Alnum, 20, 250, Rule::PaymentKey),
    of("rk_test_", Body::Alnum, 20, 250, Rule::PaymentKey),
    of("whsec_", Body::Base64, 24, 100, Rule::PaymentKey),
    of("sq0atp-", Body::Word, 22, 22, Rule::PaymentKey),
    of("sq0csp-", Body::Word, 43, 43, Rule::PaymentKey),
    of("EAAA", Body::Word, 60, 60, Rule::PaymentKey),
    of("access_token$production$", Body::Address, 40, 60, Rule::PaymentKey),
    of("access_token$sandbox$", Body::Address, 40, 60, Rule::PaymentKey),
    mixed("sk_org_live_", Body::Word, 30, 250, Rule::PaymentKey),
    mixed("live_", Body::Alnum, 30, 30, Rule::PaymentKey),
    of("FLWSECK-", Body::Word, 32, 60, Rule::PaymentKey),
    of("shippo_live_", Body::Hex, 40, 40, Rule::PaymentKey),
    of("duffel_live_", Body::Word, 43, 43, Rule::PaymentKey),
    mixed("EZAK", Body::Alnum, 54, 54, Rule::PaymentKey),
    of("tg_", Body::Word, 30, 100, Rule::ServiceToken),
    of("sk-ant-", Body::Word, 40, 200, Rule::ServiceToken),
    of("sk-proj-", Body::Word, 40, 250, Rule::ServiceToken),
    of("sk-svcacct-", Body::Word, 40, 250, Rule::ServiceToken),
    of("sk-or-", Body::Word, 40, 120, Rule::ServiceToken),
    of("sk-admin-", Body::Word, 40, 250, Rule::ServiceToken),
    of("sk-None-", Body::Word, 40, 120, Rule::ServiceToken),
    of("sk-lf-", Body::Word, 36, 36, Rule::ServiceToken),
    of("sk_", Body::Hex, 48, 48, Rule::ServiceToken),
    of("sk-", Body::Alnum, 32, 64, Rule::ServiceToken),
    of("hf_", Body::Alnum, 30, 40, Rule::ServiceToken),
    mixed("api_org_", Body::Alnum, 34, 34, Rule::ServiceToken),
    of("nvapi-", Body::Word, 60, 70, Rule::ServiceToken),
    mixed("tvly-", Body::Word, 28, 60, Rule::ServiceToken),
    of("fc-", Body::Hex, 32, 32, Rule::ServiceToken),
    mixed("fw_", Body::Alnum, 22, 24, Rule::ServiceToken),
    mixed("pa-", Body::Word, 43, 43, Rule::ServiceToken),
    of("csk-", Body::Alnum, 40, 60, Rule::ServiceToken),
    of("lsv2_pt_", Body::Word, 40, 60, Rule::ServiceToken),
    of("lsv2_sk_", Body::Word, 40, 60, Rule::ServiceToken),
    mixed("EAA", Body::Alnum, 100, 400, Rule::ServiceToken),
    mixed("AAAAAAAAAAAAAAAAAAAA", Body::Address, 80, 120, Rule::ServiceToken),
    mixed("sl.u.", Body::Word, 100, 300, Rule::ServiceToken),
    mixed("sl.B", Body::Word, 120, 200, Rule::ServiceToken),
    of("gsk_", Body::Alnum, 40, 60, Rule::ServiceToken),
    of("pplx-", Body::Alnum, 40, 60, Rule::ServiceToken),
    of("xai-", Body::Alnum, 60, 100, Rule::ServiceToken),
    of("r8_", Body::Alnum, 37, 40, Rule::ServiceToken),
    of("npm_", Body::Alnum, 36, 36, Rule::ServiceToken),
    of("pypi-AgE", Body::Word, 50, 300, Rule::ServiceToken),
    of("dckr_pat_", Body::Word, 20, 60, Rule::ServiceToken),
    of("dckr_oat_", Body::Word, 20, 60, Rule::ServiceToken),
    of("rubygems_", Body::Hex, 48, 48, Rule::ServiceToken),
    mixed("cio", Body::Alnum, 32, 32, Rule::ServiceToken),
    of("oy2", Body::Alnum, 43, 43, Rule::ServiceToken),
    mixed("AKCp", Body::Alnum, 60, 80, Rule::ServiceToken),
    mixed("cmVmdGtu", Body::Alnum, 56, 56, Rule::ServiceToken),
    of("CLOJARS_", Body::Alnum, 60, 60, Rule::ServiceToken),
    of("hvs.", Body::Word, 24, 160, Rule::ServiceToken),
    of("hvb.", Body::Word, 24, 250, Rule::ServiceToken),
    of("dp.pt.", Body::Alnum, 40, 50, Rule::ServiceToken),
    mixed("dp.st.", Body::Dotted, 40, 90, Rule::ServiceToken),
    of("dp.ct.", Body::Alnum, 40, 50, Rule::ServiceToken),
    of("dp.sa.", Body::Alnum, 40, 50, Rule::ServiceToken),
    of("dp.scim.", Body::Alnum, 40, 50, Rule::ServiceToken),
    of("dp.audit.", Body::Alnum, 40, 50, Rule::ServiceToken),
    of("dapi", Body::Hex, 32, 32, Rule::ServiceToken),
    of("SG.", Body::Dotted, 60, 70, Rule::ServiceToken),
    of("key-", Body::Hex, 32, 32, Rule::ServiceToken),
    of("shpat_", Body::Hex, 32, 32, Rule::ServiceToken),
    of("shpss_", Body::Hex, 32, 32, Rule::ServiceToken),
    of("shpca_", Body::Hex, 32, 32, Rule::ServiceToken),
    of("shppa_", Body::Hex, 32, 32, Rule::ServiceToken),
    of("shpua_", Body::Hex, 32, 32, Rule::ServiceToken),
    of("xkeysib-", Body::Word, 70, 100, Rule::ServiceToken),
    of("xsmtpsib-", Body::Word, 70, 100, Rule::ServiceToken),
    mixed("re_", Body::Word, 33, 36, Rule::ServiceToken),
    of("lin_api_", Body::Alnum, 32, 48, Rule::ServiceToken),
    of("lin_oauth_", Body::Alnum, 32, 80, Rule::ServiceToken),
    mixed("pat", Body::Dotted, 79, 80, Rule::ServiceToken),
    of("pat-na", Body::Word, 38, 38, Rule::ServiceToken),
    of("pat-eu", Body::Word, 38, 38, Rule::ServiceToken),
    mixed("tfp_", Body::Word, 40, 80, Rule::ServiceToken),
    mixed("CFPAT-", Body::Word, 43, 43, Rule::ServiceToken),
    of("PMAK-", Body::Word, 50, 70, Rule::ServiceToken),
    of("ntn_", Body::Alnum, 40, 60, Rule::ServiceToken),
    of("secret_", Body::Alnum, 43, 43, Rule::ServiceToken),
    of("NRAK-", Body::Upper, 27, 27, Rule::ServiceToken),
    of("glsa_", Body::Word, 36, 60, Rule::ServiceToken),
    of("sntrys_", Body::Dotted, 60, 250, Rule::ServiceToken),
    of("sntryu_", Body::Hex, 64, 64, Rule::ServiceToken),
    of("glc_eyJ", Body::Base64, 40, 400, Rule::ServiceToken),
    of("dt0c01.", Body::Dotted, 80, 100, Rule::ServiceToken),
    of("dt0s16.", Body::Dotted, 80, 100, Rule::ServiceToken),
    of("ops_eyJ", Body::Base64, 150, 2_048, Rule::ServiceToken),
    mixed("sk.eyJ", Body::Dotted, 60, 250, Rule::ServiceToken),
    of("bkua_", Body::Hex, 40, 40, Rule::ServiceToken),
    mixed("CCIPAT_", Body::Word, 60, 70, Rule::ServiceToken),
    of("squ_", Body::Hex, 40, 40, Rule::ServiceToken),
    of("sqp_", Body::Hex, 40, 40, Rule::ServiceToken),
    of("sqa_", Body::Hex, 40, 40, Rule::ServiceToken),
    of("pnu_", Body::Alnum, 36, 36, Rule::ServiceToken),
    of("rdme_", Body::Alnum, 70, 70, Rule::ServiceToken),
    of("figd_", Body::Word, 36, 60, Rule::ServiceToken),
    of("tskey-auth-", Body::Word, 24, 60, Rule::ServiceToken),
    of("tskey-api-", Body::Word, 24, 60, Rule::ServiceToken),
    of("tskey-client-", Body::Word, 24, 60, Rule::ServiceToken),
    of("tskey-scim-", Body::Word, 24, 60, Rule::ServiceToken),
    of("tskey-webhook-", Body::Word, 24, 60, Rule::ServiceToken),
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
    let length = kind.body.length(rest);
    let mut body = rest.get(..length)?;
    while let [kept @ .., b'.' | b'-' | b'=' | b'/'] = body {
        body = kept;
    }
    match kind.mark {
        "DefaultEndpointsProtocol=" => return account_key(sweep, start),
        // The signature of a shared address: what comes of 32 bytes in base64, whose filling is escaped.
        "sig="
            if !body.ends_with(b"%3D") && !body.ends_with(b"%3d") && rest.get(body.len()) != Some(&b'=') =>
        {
            return None;
        }
        _ => {}
    }
    let has = |is: fn(&u8) -> bool| body.iter().any(is);
    let is_mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    if kind.is_mixed && !is_mixed {
        return None;
    }
    let end = from + body.len();
    let goes_on = length > kind.most || text.is(end, class::WORD);
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
    let key = text.run(from, class::BASE64, 100);
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

/// A token that is known by something within it: the long word from one place to another, or what it goes on with.
pub(crate) fn marked_within(sweep: &mut Sweep<'_, '_>, start: usize, end: usize) -> Option<usize> {
    let text = sweep.text;
    let word = text.slice(start, end.min(start + 128));
    // One may be joined to a name.
    for (place, _) in word.iter().enumerate().filter(|(_, byte)| **byte == b'_') {
        if let Some(end) = starters::token(sweep, start + place + 1) {
            return Some(end);
        }
    }
    // Keys of Azure say after 52 characters what they are.
    if word.len() == 84 && word.get(52..58).is_some_and(|mark| mark == b"JQQJ99") {
        return sweep.add(Rule::CloudKey, start, end, 97);
    }
    match text.at(end) {
        b'-' if word.len() == 32 && word.iter().all(u8::is_ascii_hexdigit) => {
            // Mailchimp has its data centre behind.
            let is_place = text.slice(end, end + 3) == b"-us";
            let last = text.run(end + 3, class::DIGIT, 3);
            let is_one = is_place && (end + 4..=end + 5).contains(&last) && !text.is(last, class::WORD);
            if is_one && !is_example(word) { sweep.add(Rule::ServiceToken, start, last, 95) } else { None }
        }
        // Bots of Discord: their number in base64, a time, and a digest.
        b'.' if (24..=28).contains(&word.len()) && matches!(word.first(), Some(b'M' | b'N' | b'O')) => {
            let part = |from: usize| from + Body::Word.length(text.slice(from, from + 48));
            let time = part(end + 1);
            let last = part(time + 1);
            let number = BASE64_URL_SAFE_NO_PAD.decode(word).ok()?;
            let is_one = time - end == 7
                && text.at(time) == b'.'
                && (27..=40).contains(&(last - time - 1))
                && number.iter().all(u8::is_ascii_digit);
            if is_one { sweep.add(Rule::ChatToken, start, last, 97) } else { None }
        }
        _ => None,
    }
}

/// The token of a bot of Telegram, by the colon within it: its number, and 35 characters that begin with two known ones.
pub(crate) fn telegram(sweep: &mut Sweep<'_, '_>, colon: usize) -> Option<usize> {
    let text = sweep.text;
    if text.slice(colon + 1, colon + 3) != b"AA" {
        return None;
    }
    let start = text.run_back(colon, 11, |byte| byte.is_ascii_digit());
    let end = colon + 1 + Body::Word.length(text.slice(colon + 1, colon + 40));
    // In an address `bot` stands before it.
    let is_part = text.is(start.wrapping_sub(1), class::WORD)
        && !text.slice(start.saturating_sub(3), start).eq_ignore_ascii_case(b"bot");
    let is_one = (8..=10).contains(&(colon - start)) && end - colon == 36 && !is_part;
    if is_one { sweep.add(Rule::ChatToken, start, end, 96) } else { None }
}

/// The secret of an application in Azure, by the tilde within it.
pub(crate) fn azure(sweep: &mut Sweep<'_, '_>, tilde: usize) -> Option<usize> {
    let text = sweep.text;
    let start = tilde.checked_sub(5)?;
    let is_other = |byte: &u8| !byte.is_ascii_alphanumeric() && !b"_-.~".contains(byte);
    let head = text.slice(start, tilde);
    let [first @ .., digit, b'Q'] = head else { return None };
    let rest = text.slice(tilde + 1, tilde + 36);
    let mut body = rest.get(..rest.iter().position(is_other).unwrap_or(rest.len()))?;
    while let [kept @ .., b'.'] = body {
        body = kept;
    }
    let is_one = !first.iter().any(is_other)
        && digit.is_ascii_digit()
        && (31..=34).contains(&body.len())
        && !text.is(start.wrapping_sub(1), class::WORD)
        && entropy(body) > 3.0;
    if is_one { sweep.add(Rule::CloudKey, start, tilde + 1 + body.len(), 97) } else { None }
}

/// What stands behind `Bearer` or `Basic` (RFC 6750, RFC 7617), or behind what others have in their place.
pub(crate) fn scheme(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let text = sweep.text;
    let is = |word: &[u8]| text.slice(start, start + word.len()).eq_ignore_ascii_case(word);
    // Words that other texts have too say something only behind the name of the header.
    let is_header = || text.mentions_within(start, 24, &["authorization"]);
    let (from, is_basic) = if is(b"bearer ") {
        (start + 7, false)
    } else if is(b"basic ") {
        (start + 6, true)
    } else if is(b"ssws ") {
        (start + 5, false)
    } else if is(b"geniekey ") {
        (start + 9, false)
    } else if is(b"token ") && is_header() {
        (start + 6, false)
    } else if is(b"apikey ") && is_header() {
        (start + 7, false)
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
