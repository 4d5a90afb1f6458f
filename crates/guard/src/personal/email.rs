//! E-mail addresses.

use crate::rule::Rule;
use crate::sweep::Sweep;
use crate::text::Text;

/// RFC 5321, section 4.5.3.1.
const LOCAL_MAX: usize = 64;
const DOMAIN_MAX: usize = 253;

/// Ends of names that are files and not hosts: `logo@2x.png`.
const FILES: [&[u8]; 12] =
    [b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"js", b"css", b"ts", b"json", b"html", b"mjs"];

/// What is around the sign here.
pub(crate) fn email(sweep: &mut Sweep<'_, '_>, sign: usize) -> Option<usize> {
    let text = sweep.text;
    let is_local =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'');
    let mut start = text.behind_escape(text.run_back(sign, LOCAL_MAX, is_local), sign);
    while start < sign && matches!(text.at(start), b'.' | b'\'' | b'%' | b'-' | b'+') {
        start += 1;
    }
    let is_domain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let rest = text.slice(sign + 1, sign + 1 + DOMAIN_MAX);
    let length = rest.iter().position(|byte| !is_domain(*byte)).unwrap_or(rest.len());
    let mut domain = rest.get(..length).unwrap_or_default();
    while let [kept @ .., b'.' | b'-'] = domain {
        domain = kept;
    }
    let end = sign + 1 + domain.len();
    let top = domain.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    let labels_are_right = domain.split(|byte| *byte == b'.').all(|label| {
        !label.is_empty() && label.len() <= 63 && label.first() != Some(&b'-') && label.last() != Some(&b'-')
    });
    let local = text.slice(start, sign);
    let is_one = !local.is_empty()
        && local.last() != Some(&b'.')
        && domain.contains(&b'.')
        && labels_are_right
        && top.len() >= 2
        && top.iter().all(u8::is_ascii_alphabetic)
        && !FILES.iter().any(|file| top.eq_ignore_ascii_case(file));
    // What stands before a host in a URL or for a shell is no person: `git@github.com:…`, `ssh://user:password@host`.
    let is_remote = local == b"git" || text.slice(end, end + 2) == b":/" || is_authority(&text, start);
    if !is_one || is_remote {
        return None;
    }
    sweep.add(Rule::Email, start, end, 95)
}

/// Whether what stands here is of a URL's authority: a scheme and two slashes are before it, and nothing that ends one.
fn is_authority(text: &Text<'_>, at: usize) -> bool {
    let before = text.slice(at.saturating_sub(96), at);
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'?' | b'"' | b'<' | b'>');
    let last = before.iter().rposition(ends).map_or(0, |place| place + 1);
    before.get(..last).is_some_and(|before| before.ends_with(b"://"))
}
