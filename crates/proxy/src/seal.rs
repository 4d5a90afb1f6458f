//! Sealing what travels through a client and must come back unaltered: authenticated encryption under a key that
//! lives as long as the process.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// Seals and opens. A nonce is random and 96 bits long, so one key is good for about 2^32 seals (NIST SP 800-38D,
/// 8.3), far more than a process makes.
pub(crate) struct Sealer {
    key: LessSafeKey,
    /// Makes the nonce of what must look the same whenever it is sealed.
    repeatable: hmac::Key,
    random: SystemRandom,
}

/// The operating system gives no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct NoRandomness;

impl Sealer {
    /// A sealer with a fresh key.
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        let random = SystemRandom::new();
        let mut key = [0_u8; 32];
        random.fill(&mut key).map_err(|_| NoRandomness)?;
        Self::of_key(&key)
    }

    /// A sealer with a key of 32 bytes that others have too.
    pub(crate) fn of_key(key: &[u8]) -> Result<Self, NoRandomness> {
        let repeatable = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), b"repeatable");
        let repeatable = hmac::Key::new(hmac::HMAC_SHA256, repeatable.as_ref());
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|_| NoRandomness)?;
        Ok(Self { key: LessSafeKey::new(key), repeatable, random: SystemRandom::new() })
    }

    /// Seals bytes for one purpose, as URL-safe text.
    pub(crate) fn seal(&self, purpose: &str, bytes: Vec<u8>) -> Result<String, NoRandomness> {
        let mut nonce = [0_u8; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| NoRandomness)?;
        self.seal_with(nonce, purpose, bytes)
    }

    /// Seals so that the same bytes for the same purpose are the same text, for names that a client compares. The
    /// nonce is a keyed digest of both, so it comes again only with what it was made of.
    pub(crate) fn seal_repeatably(&self, purpose: &str, bytes: Vec<u8>) -> Result<String, NoRandomness> {
        let mut digest = hmac::Context::with_key(&self.repeatable);
        digest.update(&(purpose.len() as u64).to_be_bytes());
        digest.update(purpose.as_bytes());
        digest.update(&bytes);
        let mut nonce = [0_u8; NONCE_LEN];
        for (to, from) in nonce.iter_mut().zip(digest.sign().as_ref()) {
            *to = *from;
        }
        self.seal_with(nonce, purpose, bytes)
    }

    fn seal_with(
        &self,
        nonce: [u8; NONCE_LEN],
        purpose: &str,
        mut bytes: Vec<u8>,
    ) -> Result<String, NoRandomness> {
        let aad = Aad::from(purpose.as_bytes());
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut bytes)
            .map_err(|_| NoRandomness)?;
        let mut sealed = nonce.to_vec();
        sealed.extend_from_slice(&bytes);
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens what [`Self::seal`] made for the same purpose; `None` for anything else.
    pub(crate) fn open(&self, purpose: &str, text: &str) -> Option<Vec<u8>> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, bytes) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut bytes = bytes.to_vec();
        let aad = Aad::from(purpose.as_bytes());
        let opened = self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut bytes).ok()?;
        Some(opened.to_vec())
    }

    /// 128 random bits.
    pub(crate) fn random(&self) -> Result<[u8; 16], NoRandomness> {
        let mut bytes = [0_u8; 16];
        self.random.fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(bytes)
    }

    /// A random id of 128 bits, as 32 hexadecimal digits.
    pub(crate) fn random_id(&self) -> Result<String, NoRandomness> {
        Ok(self.random()?.iter().fold(String::with_capacity(32), |mut id, byte| {
            for nibble in [byte >> 4, byte & 15] {
                id.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
            id
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_bytes_for_the_same_purpose_open() {
        let sealer = Sealer::new().expect("randomness");
        let sealed = sealer.seal("cursor", b"page 2".to_vec()).expect("randomness");
        assert_eq!(sealer.open("cursor", &sealed).as_deref(), Some(&b"page 2"[..]));
        assert_eq!(sealer.open("other", &sealed), None);
        assert_eq!(Sealer::new().expect("randomness").open("cursor", &sealed), None);
        for at in 0..sealed.len() {
            let mut altered = sealed.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).expect("ASCII");
            assert!(altered == sealed || sealer.open("cursor", &altered).is_none(), "byte {at}");
        }
        assert_eq!(sealer.open("cursor", ""), None);
    }

    #[test]
    fn a_name_looks_the_same_whenever_it_is_sealed() {
        let sealer = Sealer::new().expect("randomness");
        let seal = |purpose, name: &str| sealer.seal_repeatably(purpose, name.into()).expect("sealed");
        assert_eq!(seal("task", "a"), seal("task", "a"));
        assert_ne!(seal("task", "a"), seal("task", "b"));
        assert_ne!(seal("task", "a"), seal("other", "a"));
        assert_eq!(sealer.open("task", &seal("task", "a")).as_deref(), Some(&b"a"[..]));
        assert_eq!(sealer.open("other", &seal("task", "a")), None);
        let other = Sealer::new().expect("randomness");
        assert_ne!(seal("task", "a"), other.seal_repeatably("task", b"a".to_vec()).expect("sealed"));
    }
}
