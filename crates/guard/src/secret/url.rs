//! Passwords in URLs and connection strings (RFC 3986, section 3.2.1).

use crate::rule::Rule;
use crate::sweep::Sweep;

/// The longest authority that is looked at.
const AUTHORITY_MAX: usize = 320;

/// The authority whose scheme ends with the colon here.
pub(crate) fn url(sweep: &mut Sweep<'_, '_>, colon: usize) -> Option<usize> {
    let text = sweep.text;
    let from = colon + 3;
    let rest = text.slice(from, from + AUTHORITY_MAX);
    let ends =
        |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'<' | b'>' | b'`' | b'\\' | b'/');
    let length = rest.iter().position(ends).unwrap_or(rest.len());
    let authority = rest.get(..length)?;
    let sign = memchr::memrchr(b'@', authority)?;
    let user = authority.get(..sign)?;
    let parted = memchr::memchr(b':', user)?;
    let password = user.get(parted + 1..)?;
    if password.len() < 3 || is_stand_in(password) {
        return None;
    }
    sweep.add(Rule::ConnectionString, from + parted + 1, from + sign, 95)
}

/// Whether a value stands for one that is put in later.
pub(super) fn is_stand_in(value: &[u8]) -> bool {
    const WORDS: [&[u8]; 16] = [
        b"password",
        b"passwd",
        b"pass",
        b"pwd",
        b"secret",
        b"token",
        b"changeme",
        b"example",
        b"user",
        b"xxx",
        b"your",
        b"my",
        b"null",
        b"none",
        b"undefined",
        b"placeholder",
    ];
    let first = value.first().copied().unwrap_or(0);
    let same = value.iter().all(|byte| *byte == first);
    let of_word = |word: &&[u8]| {
        value.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
            && value.get(word.len()..).is_some_and(|rest| {
                rest.iter()
                    .all(|byte| matches!(byte, b'-' | b'_' | b'0'..=b'9') || byte.is_ascii_alphabetic())
            })
            && value.len() < word.len() + 12
            && !value.iter().any(u8::is_ascii_digit)
    };
    same || matches!(first, b'$' | b'<' | b'{' | b'%' | b'*' | b'[') || WORDS.iter().any(of_word)
}
