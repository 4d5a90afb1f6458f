//! Something random that is assigned to what is called a secret.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::url::is_stand_in;
use crate::rule::Rule;
use crate::sweep::Sweep;
use crate::text::entropy;

/// The longest name and value that are looked at.
const NAME_MAX: usize = 48;
const VALUE_MAX: usize = 256;

/// What a name promises.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// Something that a person made up, perhaps.
    Password,
    /// Something that a machine made.
    Key,
    /// A name and a password, in base64.
    Pair,
}

/// What the name of a value says of it.
fn promise(name: &[u8]) -> Option<Promise> {
    const KEYS: [&[u8]; 20] = [
        b"apikey",
        b"secretkey",
        b"accesskey",
        b"authkey",
        b"privatekey",
        b"encryptionkey",
        b"signingkey",
        b"accountkey",
        b"sharedkey",
        b"masterkey",
        b"clientsecret",
        b"authtoken",
        b"accesstoken",
        b"refreshtoken",
        b"bearertoken",
        b"sharedaccesskey",
        b"secretkeybase",
        b"adminkey",
        b"writekey",
        b"integrationkey",
    ];
    const PASSWORDS: [&[u8]; 6] =
        [b"password", b"passwd", b"pwd", b"passphrase", b"passwort", "contraseña".as_bytes()];
    const PLACES: [&[u8]; 12] = [
        b"nexttoken",
        b"pagetoken",
        b"synctoken",
        b"continuationtoken",
        b"cancellationtoken",
        b"csrftoken",
        b"xsrftoken",
        b"maxtoken",
        b"cursortoken",
        b"pagingtoken",
        b"unsubscribetoken",
        b"resumetoken",
    ];
    let mut plain = [0_u8; NAME_MAX];
    let mut length = 0;
    for byte in name.iter().filter(|byte| !matches!(byte, b'_' | b'-' | b'.' | b' ')) {
        *plain.get_mut(length)? = byte.to_ascii_lowercase();
        length += 1;
    }
    let name = plain.get(..length)?;
    if PASSWORDS.iter().any(|end| name.ends_with(end)) {
        return Some(Promise::Password);
    }
    if name == b"auth" {
        return Some(Promise::Pair);
    }
    if PLACES.iter().any(|end| name.ends_with(end)) {
        return None;
    }
    let is_key =
        KEYS.iter().any(|end| name.ends_with(end)) || name.ends_with(b"token") || name.ends_with(b"secret");
    is_key.then_some(Promise::Key)
}

/// Whether the last letters of a name are those of one that promises anything: a quick look.
#[inline]
fn may_promise(last: [u8; 2]) -> bool {
    let [before, last] = last.map(|byte| byte | 0x20);
    match last {
        b'd' => matches!(before, b'r' | b'w'),
        b't' => matches!(before, b'r' | b'e'),
        b'y' | b'n' => before == b'e',
        b'e' => before == b's',
        b'a' => true,
        b'h' => before == b't',
        _ => false,
    }
}

/// What is assigned by the sign here.
pub(crate) fn assigned(sweep: &mut Sweep<'_, '_>, sign: usize) -> Option<usize> {
    let text = sweep.text;
    let mut name_end = sign;
    // Within a text within a text quotes are escaped.
    let between = |byte: u8| matches!(byte, b' ' | b'"' | b'\'' | b':' | b'\\');
    while name_end > 0 && sign - name_end < 6 && between(text.before(name_end)) {
        name_end -= 1;
    }
    let last = [text.at(name_end.wrapping_sub(2)), text.before(name_end)];
    if name_end < 3 || !may_promise(last) || !sweep.rules.has(Rule::Assigned) {
        return None;
    }
    let of_name =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') || byte >= 0x80;
    let name = text.slice(text.run_back(name_end, NAME_MAX, of_name), name_end);
    let promise = promise(name)?;
    let mut from = sign + 1;
    while from - sign < 5 && matches!(text.at(from), b' ' | b'=' | b'>' | b'\t') {
        from += 1;
    }
    let slashes = text.slice(from, from + 4).iter().take_while(|byte| **byte == b'\\').count();
    let quote = Some(text.at(from + slashes)).filter(|byte| matches!(byte, b'"' | b'\'' | b'`'));
    from += quote.map_or(0, |_| slashes + 1);
    let rest = text.slice(from, from + VALUE_MAX);
    let ends = |byte: &u8| match quote {
        Some(quote) => *byte == quote || *byte == b'\n',
        None => {
            byte.is_ascii_whitespace()
                || matches!(byte, b'"' | b'\'' | b'`' | b'<' | b'>' | b',' | b';' | b'&' | b')' | b'}')
        }
    };
    // No key has a backslash in it: a line ends there, or an escaped quote.
    let is_escape = |place: usize| {
        quote.is_none()
            && promise != Promise::Password
            && rest.get(place) == Some(&b'\\')
            && matches!(rest.get(place + 1), Some(b'n' | b'r' | b't' | b'"' | b'\\'))
    };
    let length = rest.iter().enumerate().position(|(place, byte)| ends(byte) || is_escape(place));
    let mut value = rest.get(..length.unwrap_or(rest.len()))?;
    if quote.is_none() {
        value = value.strip_suffix(b".").unwrap_or(value);
    }
    while slashes > 0
        && quote.is_some()
        && let [kept @ .., b'\\'] = value
    {
        value = kept;
    }
    if !is_random(value, promise, quote.is_some()) || !text.whole.is_char_boundary(from + value.len()) {
        return None;
    }
    // What is assigned is looked at: it may say by itself what it is.
    sweep.add(Rule::Assigned, from, from + value.len(), 85).map(|_| from)
}

/// The whole text is the value of a member whose name promises a secret.
pub(crate) fn named(sweep: &mut Sweep<'_, '_>) {
    let text = sweep.text;
    let key = text.key.as_bytes();
    let last = match key {
        [.., one, other] => [*one, *other],
        _ => return,
    };
    if !may_promise(last) || key.len() > NAME_MAX || text.bytes.len() > VALUE_MAX {
        return;
    }
    if let Some(promise) = promise(key)
        && is_random(text.bytes, promise, true)
    {
        sweep.add(Rule::Assigned, 0, text.bytes.len(), 88);
    }
}

/// Whether a value is what a secret of this kind is like, and no call, name, address or stand-in.
fn is_random(value: &[u8], promise: Promise, is_quoted: bool) -> bool {
    let any = |is: fn(&u8) -> bool| value.iter().any(is);
    let (lower, upper, digit) =
        (any(u8::is_ascii_lowercase), any(u8::is_ascii_uppercase), any(u8::is_ascii_digit));
    let symbol = any(|byte| byte.is_ascii_punctuation() && !matches!(byte, b'_' | b'-' | b'.' | b'/'));
    let is_code = any(|byte| matches!(byte, b' ' | b'(' | b'{'))
        && !(is_quoted && promise == Promise::Password)
        || value.contains(&b' ')
        || memchr::memmem::find(value, b"://").is_some()
        || memchr::memmem::find(value, b"::").is_some();
    if is_code || is_stand_in(value) || value.starts_with(b"sha256:") || value.starts_with(b"arn:") {
        return false;
    }
    match promise {
        Promise::Pair => BASE64_STANDARD.decode(value).is_ok_and(|pair| {
            pair.len() > 6 && pair.contains(&b':') && pair.iter().all(|byte| (0x20..0x7F).contains(byte))
        }),
        Promise::Password => {
            let kinds = [lower, upper, digit, symbol].into_iter().filter(|is| *is).count();
            let is_path = value.starts_with(b"/") || value.starts_with(b"./") || value.ends_with(b".txt");
            !is_path && value.len() >= 8 && kinds >= 3 && (is_quoted || digit) && entropy(value) > 2.5
        }
        Promise::Key => {
            let of_key =
                value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-.~!@#$%^&*".contains(byte));
            let letters = value.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
            let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
            // Names have words in them, and few digits.
            let is_name =
                digits * 12 < value.len() && value.iter().any(|byte| matches!(byte, b'-' | b'_' | b'.'));
            of_key && value.len() >= 16 && letters > 0 && digits >= 2 && !is_name && entropy(value) > 3.0
        }
    }
}
