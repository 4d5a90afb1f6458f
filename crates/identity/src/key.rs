//! The text of an API key: made, read and hashed.
//!
//! A key is `tg_`, an id of 12 characters, `_`, a secret of 43 and a checksum of 6, all of `0-9A-Za-z`:
//! `tg_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}`. The secret has 256 bits of randomness. The checksum is the CRC-32 (as in zip) of
//! everything before it, in base 62, so that scanners for leaked secrets know a key when they see one, and a mistyped one
//! is refused without being looked up. Only the SHA-256 digest of the whole text is kept.

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use tollgate_model::{KeyHash, KeyId, Secret};

/// What every key begins with.
pub const KEY_PREFIX: &str = "tg_";
/// What every admin key begins with. Otherwise it is made as other keys are: `tga_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}`.
pub const ADMIN_KEY_PREFIX: &str = "tga_";
/// The regular expression by which scanners find keys.
pub const KEY_PATTERN: &str = "tg_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}";

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_CHARS: usize = 12;
/// 62 to the power of 43 is more than 2 to the power of 256.
const SECRET_CHARS: usize = 43;
/// 62 to the power of 6 is more than 2 to the power of 32.
const CHECKSUM_CHARS: usize = 6;
const REST_CHARS: usize = ID_CHARS + 1 + SECRET_CHARS + CHECKSUM_CHARS;
const KEY_CHARS: usize = KEY_PREFIX.len() + REST_CHARS;

/// A new key. Its text is shown once, and kept nowhere.
#[derive(Debug)]
pub struct MintedKey {
    /// What the caller presents.
    pub text: Secret,
    /// The id within the text.
    pub id: KeyId,
    /// What is kept.
    pub hash: KeyHash,
}

/// The operating system gives no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct NoRandomness;

/// Makes a key.
pub fn mint() -> Result<MintedKey, NoRandomness> {
    mint_as(KEY_PREFIX)
}

/// Makes an admin key.
pub fn mint_admin() -> Result<MintedKey, NoRandomness> {
    mint_as(ADMIN_KEY_PREFIX)
}

fn mint_as(prefix: &str) -> Result<MintedKey, NoRandomness> {
    let mut text = String::with_capacity(prefix.len() + REST_CHARS);
    text.push_str(prefix);
    let random = SystemRandom::new();
    push_random(&mut text, ID_CHARS, &random)?;
    let id = KeyId::new(&text[prefix.len()..]);
    text.push('_');
    push_random(&mut text, SECRET_CHARS, &random)?;
    let checksum = checksum(text.as_bytes());
    text.extend(checksum.map(char::from));
    let hash = hash_of(&text);
    Ok(MintedKey { text: Secret::new(text), id, hash })
}

/// The digest under which a key is looked up; `None` if the text is no key: a character is wrong or missing.
pub fn hash(text: &str) -> Option<KeyHash> {
    is_well_formed(text).then(|| hash_of(text))
}

/// The digest under which an admin key is looked up; `None` if the text is none.
pub fn admin_hash(text: &str) -> Option<KeyHash> {
    is_well_formed_as(ADMIN_KEY_PREFIX, text).then(|| hash_of(text))
}

/// The id within a key's text. It is no secret.
pub fn id(text: &str) -> Option<KeyId> {
    is_well_formed(text).then(|| KeyId::new(&text[KEY_PREFIX.len()..KEY_PREFIX.len() + ID_CHARS]))
}

/// The id in what looks like a key: a whole one, or what a report of a leak has left of it. People name keys by that too,
/// and it must not be kept or shown then. Whether there is such a key is another question.
pub fn id_in(text: &str) -> Option<KeyId> {
    let (id, rest) = text.strip_prefix(KEY_PREFIX)?.split_at_checked(ID_CHARS)?;
    let is_id = id.bytes().all(|byte| byte.is_ascii_alphanumeric()) && rest.starts_with('_');
    is_id.then(|| KeyId::new(id))
}

/// Whether a text has the whole of something in it that looks like a key.
pub fn is_within(text: &str) -> bool {
    text.match_indices(KEY_PREFIX).any(|(at, _)| {
        let key = text.get(at..at + KEY_CHARS).filter(|key| id_in(key).is_some());
        let secret = key.and_then(|key| key.get(KEY_PREFIX.len() + ID_CHARS + 1..));
        secret.is_some_and(|secret| secret.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    })
}

/// Whether something that was presented means to be a key. An admin key is none here, and nobody else is asked about it.
pub(crate) fn is_meant(text: &str) -> bool {
    text.starts_with(KEY_PREFIX) || text.starts_with(ADMIN_KEY_PREFIX)
}

fn is_well_formed(text: &str) -> bool {
    is_well_formed_as(KEY_PREFIX, text)
}

fn is_well_formed_as(prefix: &str, text: &str) -> bool {
    let (bytes, chars) = (text.as_bytes(), prefix.len() + REST_CHARS);
    if bytes.len() != chars || !text.starts_with(prefix) || bytes[prefix.len() + ID_CHARS] != b'_' {
        return false;
    }
    let (body, end) = bytes.split_at(chars - CHECKSUM_CHARS);
    let rest = body[prefix.len()..].iter().enumerate();
    let alphabet = rest.filter(|(nth, _)| *nth != ID_CHARS).all(|(_, byte)| byte.is_ascii_alphanumeric());
    alphabet && checksum(body) == end
}

fn hash_of(text: &str) -> KeyHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    KeyHash(hash)
}

/// Characters that are each as likely as every other: bytes that would favour the first of the alphabet are thrown away.
fn push_random(text: &mut String, chars: usize, random: &SystemRandom) -> Result<(), NoRandomness> {
    let fair = 256 - 256 % ALPHABET.len();
    let mut missing = chars;
    while missing > 0 {
        let mut bytes = [0; 64];
        random.fill(&mut bytes).map_err(|_| NoRandomness)?;
        for byte in bytes.into_iter().map(usize::from).filter(|byte| *byte < fair).take(missing) {
            text.push(char::from(ALPHABET[byte % ALPHABET.len()]));
            missing -= 1;
        }
    }
    Ok(())
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_CHARS] {
    let mut rest = crc32(bytes) as usize;
    let mut text = [0; CHECKSUM_CHARS];
    for place in text.iter_mut().rev() {
        *place = ALPHABET[rest % ALPHABET.len()];
        rest /= ALPHABET.len();
    }
    text
}

/// CRC-32 as in zip, gzip and PNG (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0_u32; 256];
        let (mut byte, mut begun) = (0, 0);
        while byte < 256 {
            let (mut crc, mut bit) = (begun, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 };
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
            begun += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_the_well_known_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(&checksum(b"123456789"), b"3jZRME");
    }

    #[test]
    fn a_key_is_read_as_it_was_made() {
        let (one, other) = (mint().expect("a key"), mint().expect("a key"));
        assert_ne!(one.text.expose(), other.text.expose());
        assert_eq!(hash(one.text.expose()), Some(one.hash));
        assert_eq!(id(one.text.expose()), Some(one.id));
        let text = one.text.expose();
        assert_eq!(text.len(), 65);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{text}");
    }

    #[test]
    fn an_admin_key_is_no_other_key_and_the_other_way_round() {
        let (admin, other) = (mint_admin().expect("a key"), mint().expect("a key"));
        assert_eq!(admin_hash(admin.text.expose()), Some(admin.hash));
        assert!(admin.text.expose()[4..].starts_with(admin.id.as_str()));
        assert_eq!((hash(admin.text.expose()), admin_hash(other.text.expose())), (None, None));
        assert!(is_meant(admin.text.expose()), "no issuer is asked about it");
        let mut altered = admin.text.expose().to_owned();
        altered.replace_range(20..21, if &altered[20..21] == "a" { "b" } else { "a" });
        assert_eq!(admin_hash(&altered), None);
    }

    #[test]
    fn what_looks_like_a_key_is_known_by_its_id() {
        let key = mint().expect("a key");
        let text = key.text.expose();
        let (masked, damaged) = (format!("{}****", &text[..20]), text.replace(&text[60..], "00000"));
        for like in [text, &masked, &damaged, &text[..17], &text[..16]] {
            assert_eq!(id_in(like).as_ref(), Some(&key.id), "{like}");
        }
        for other in [key.id.as_str(), "tg_short", &text[..15], &text[3..], "bot", ""] {
            assert_eq!(id_in(other), None, "{other}");
        }
        assert!(is_within(text) && is_within(&format!("seen: {text}.")) && is_within(&damaged));
        assert!(!is_within(&masked) && !is_within(&text[..64]) && !is_within("tg_ tg_é"));
    }

    proptest! {
        #[test]
        fn another_character_anywhere_is_noticed(place in 0..KEY_CHARS, other in "[0-9A-Za-z_. ]") {
            let key = mint().expect("a key");
            let mut text = key.text.expose().to_owned();
            text.replace_range(place..=place, &other);
            prop_assert_eq!(hash(&text).is_some(), text == key.text.expose());
        }

        #[test]
        fn whatever_is_presented_is_read_or_refused(text in ".{0,80}", tail in "[0-9A-Za-z_]{0,70}") {
            prop_assert_eq!(hash(&text), None);
            prop_assert_eq!(hash(&format!("tg_{tail}")), None);
            prop_assert_eq!(id(&text), None);
        }

        #[test]
        fn a_shorter_or_longer_key_is_none(cut in 1..KEY_CHARS, more in "[0-9A-Za-z]{1,3}") {
            let key = mint().expect("a key");
            prop_assert_eq!(hash(&key.text.expose()[..cut]), None);
            prop_assert_eq!(hash(&format!("{}{more}", key.text.expose())), None);
        }
    }
}
