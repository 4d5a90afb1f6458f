//! IP and MAC addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::rule::Rule;
use crate::sweep::Sweep;
use crate::text::class;

/// Words before four numbers that are a version.
const VERSIONS: &[&str] =
    &["version", "release", "build", "section", "chapter", "assembly", "firmware", "oid", "upgrade"];

/// What begins with the digit here.
pub(crate) fn address(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let text = sweep.text;
    let form = text.slice(start, start + 16);
    let length = form.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').unwrap_or(form.len());
    let form = form.get(..length)?;
    let form = form.strip_suffix(b".").unwrap_or(form);
    let end = start + form.len();
    let address: Ipv4Addr = std::str::from_utf8(form).ok()?.parse().ok()?;
    let before = text.before(start);
    let is_part = !text.is_end(end)
        || matches!(before, b'.' | b'/' | b'-' | b'^' | b'~' | b'$')
        || text.at(end) == b'-';
    let is_nobodys = address.is_loopback()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.octets()[0] == 255
        || address.octets()[0] == 0;
    if is_part || is_nobodys || text.mentions_within(start, 20, VERSIONS) || matches!(before, b'v' | b'V') {
        return None;
    }
    // Small numbers are as often a version.
    let is_small = address.octets().iter().all(|octet| *octet < 30);
    sweep.add(Rule::Ip, start, end, if is_small { 45 } else { 85 })
}

/// What has its first colon here, and hexadecimal digits before it.
pub(crate) fn colons(sweep: &mut Sweep<'_, '_>, colon: usize) -> Option<usize> {
    let text = sweep.text;
    let is_hex = |byte: u8| byte.is_ascii_hexdigit();
    let start = text.run_back(colon, 5, is_hex);
    let before = text.before(start);
    let is_in_word = text.is(start.wrapping_sub(1), class::WORD) && !text.is_escape(start.wrapping_sub(1));
    if colon - start > 4 || before == b':' || is_in_word {
        return None;
    }
    let form = text.slice(start, start + 40);
    let length = form.iter().position(|byte| !is_hex(*byte) && *byte != b':').unwrap_or(form.len());
    let mut form = form.get(..length)?;
    if form.ends_with(b":") && !form.ends_with(b"::") {
        form = form.get(..form.len() - 1)?;
    }
    let end = start + form.len();
    if !text.is_end(end) || text.at(end) == b':' {
        return None;
    }
    let pairs = form.split(|byte| *byte == b':');
    if form.len() == 17 && pairs.clone().count() == 6 && pairs.clone().all(|pair| pair.len() == 2) {
        let is_nobodys = form.iter().all(|byte| matches!(byte, b'0' | b':'))
            || form.eq_ignore_ascii_case(b"ff:ff:ff:ff:ff:ff");
        return if is_nobodys { None } else { sweep.add(Rule::Mac, start, end, 90) };
    }
    let groups = memchr::memchr_iter(b':', form).count();
    let has_digit = form.iter().any(u8::is_ascii_digit);
    let address: Ipv6Addr = std::str::from_utf8(form).ok()?.parse().ok()?;
    if address.is_loopback() || address.is_unspecified() || groups < 3 || !has_digit || form.len() < 8 {
        return None;
    }
    sweep.add(Rule::Ip, start, end, 85)
}
