//! Private keys in PEM (RFC 7468), and as `PuTTY` keeps them.

use memchr::memmem;

use crate::rule::Rule;
use crate::sweep::Sweep;
use crate::text::class;

/// The longest key that is taken for one.
const KEY_MAX: usize = 16_384;

/// What begins with the dashes here.
pub(crate) fn private_key(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let text = sweep.text;
    let head = text.slice(start, start + 64);
    if !head.starts_with(BEGIN) {
        // A ruler is passed at once.
        let end = start + text.slice(start, start + 512).iter().take_while(|byte| **byte == b'-').count();
        return (end - start > 5).then(|| end - 5);
    }
    let label = head.get(BEGIN.len()..)?;
    let label = label.get(..memmem::find(label, b"-----")?)?;
    if !label.ends_with(b"PRIVATE KEY") && label != b"PGP PRIVATE KEY BLOCK" {
        return None;
    }
    let from = start + BEGIN.len() + label.len() + 5;
    let rest = text.slice(from, from + KEY_MAX);
    // Up to its end, or to where there is no more of it.
    let length = match memmem::find(rest, b"-----END ") {
        Some(place) => {
            let tail = rest.get(place + 9..).unwrap_or_default();
            place
                + 9
                + memmem::find(tail.get(..64.min(tail.len())).unwrap_or_default(), b"-----")
                    .map_or(0, |at| at + 5)
        }
        None => rest.iter().position(|byte| matches!(byte, b'"' | b'\'' | b'<' | b'`')).unwrap_or(rest.len()),
    };
    let body = rest.get(..length)?;
    if body.iter().filter(|byte| byte.is_ascii_alphanumeric()).count() < 40 {
        return None;
    }
    let mut end = from + length;
    while !text.whole.is_char_boundary(end) {
        end += 1;
    }
    sweep.add(Rule::PrivateKey, start, end, 98)
}

/// A file of `PuTTY`, up to what it is signed with.
pub(crate) fn putty(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let text = sweep.text;
    let area = text.slice(start, start + KEY_MAX);
    if !area.starts_with(b"PuTTY-User-Key-File-") {
        return None;
    }
    let private = memmem::find(area, b"Private-Lines:")?;
    let length = match memmem::find(area.get(private..)?, b"Private-MAC: ") {
        Some(place) => text.run(start + private + place + 13, class::HEX, 128) - start,
        None => area.len(),
    };
    let mut end = start + length;
    while !text.whole.is_char_boundary(end) {
        end += 1;
    }
    sweep.add(Rule::PrivateKey, start, end, 98)
}
