//! The public half of the key by which checkpoints are signed, as people keep and pass it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, UnparsedPublicKey};

/// The file of the public keys that sign a ledger, in its folder: the one in use last.
pub const PUBLIC_FILE: &str = "signing.pub";
/// What stands before an Ed25519 key in a `SubjectPublicKeyInfo` (RFC 8410).
const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";
/// How many bytes of a key's digest are its id.
const ID_BYTES: usize = 12;

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// A text that is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an Ed25519 public key: it is a PEM file (BEGIN PUBLIC KEY), or its 32 bytes in base64url, base64 or hexadecimal"
)]
pub struct NoPublicKey;

impl PublicKey {
    /// The keys of a text: one or several in PEM, one after the other, or the bytes of one.
    pub fn read_all(text: &str) -> Result<Vec<Self>, NoPublicKey> {
        if !text.contains(PEM_BEGIN) {
            return Self::from_text(text.trim()).map(|key| vec![key]).ok_or(NoPublicKey);
        }
        let parts = text.split(PEM_BEGIN).skip(1);
        let keys: Option<Vec<Self>> = parts
            .map(|part| {
                let body: String = part.split(PEM_END).next()?.split_whitespace().collect();
                Self::from_spki(&STANDARD.decode(body).ok()?)
            })
            .collect();
        keys.ok_or(NoPublicKey)
    }

    fn from_spki(der: &[u8]) -> Option<Self> {
        Some(Self(der.strip_prefix(&SPKI_HEAD)?.try_into().ok()?))
    }

    fn from_text(text: &str) -> Option<Self> {
        let hexadecimal = || {
            let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
            pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect::<Option<Vec<u8>>>()
        };
        let bytes = match text.len() {
            64 => hexadecimal()?,
            43 => BASE64.decode(text).ok()?,
            44 => STANDARD.decode(text).ok()?,
            _ => return None,
        };
        Some(Self(bytes.try_into().ok()?))
    }

    /// As it stands in a segment: base64url.
    pub fn to_text(self) -> String {
        BASE64.encode(self.0)
    }

    /// As a PEM file, which `openssl` reads.
    pub fn to_pem(self) -> String {
        let der = [&SPKI_HEAD[..], &self.0].concat();
        format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", STANDARD.encode(der))
    }

    /// By which checkpoints name it: the first 12 bytes of its SHA-256, in base64url.
    pub fn id(self) -> String {
        BASE64.encode(&digest(&SHA256, &self.0).as_ref()[..ID_BYTES])
    }

    /// Whether the private half has signed this.
    pub fn has_signed(self, what: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(what, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_in_every_form() {
        let (key, other) = (PublicKey([7; 32]), PublicKey([0xab; 32]));
        let hexadecimal = "ab".repeat(32);
        assert_eq!(PublicKey::read_all(&key.to_text()), Ok(vec![key]));
        assert_eq!(PublicKey::read_all(&STANDARD.encode(key.0)), Ok(vec![key]));
        assert_eq!(PublicKey::read_all(&hexadecimal), Ok(vec![other]));
        let file = format!("# old and new\n{}{}", key.to_pem(), other.to_pem());
        assert_eq!(PublicKey::read_all(&file), Ok(vec![key, other]));
        assert_ne!(key.id(), other.id());
        for wrong in
            ["", "abc", &"é".repeat(32), &"zz".repeat(32), PEM_BEGIN, &key.to_pem().replace("MC", "MB")]
        {
            assert_eq!(PublicKey::read_all(wrong), Err(NoPublicKey), "{wrong}");
        }
    }
}
