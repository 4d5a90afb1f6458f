//! Tokens to the letter: any header, any claims, signed by whom one likes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, Signature,
};
use serde_json::{Value, json};

/// A signing key with its id.
pub struct Key {
    id: String,
    pair: Pair,
}

enum Pair {
    Es256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    /// A new key on P-256.
    pub fn es256(id: &str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
        Self { id: id.to_owned(), pair: Pair::Es256(pair) }
    }

    /// A new key on Curve25519.
    pub fn ed25519(id: &str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        Self { id: id.to_owned(), pair: Pair::Ed25519(pair) }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it signs with.
    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Es256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// Its public half as an issuer publishes it.
    pub fn public(&self) -> Value {
        match &self.pair {
            Pair::Es256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y), "kid": self.id, "use": "sig", "alg": "ES256" })
            }
            Pair::Ed25519(pair) => {
                let x = text(pair.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.id, "use": "sig", "alg": "EdDSA" })
            }
        }
    }

    /// Its public half as plain bytes: what a confused verifier might take for a secret.
    pub fn public_bytes(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Es256(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// The header of an access token that this key signs.
    pub fn header(&self) -> Value {
        json!({ "alg": self.algorithm(), "typ": "at+jwt", "kid": self.id })
    }

    /// An access token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(&self.header(), claims)
    }

    /// A token with this header and these claims, whatever the header says of the key.
    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let content = content(header, claims);
        let signature: Signature = match &self.pair {
            Pair::Es256(pair) => pair.sign(&SystemRandom::new(), content.as_bytes()).unwrap(),
            Pair::Ed25519(pair) => pair.sign(content.as_bytes()),
        };
        format!("{content}.{}", text(signature.as_ref()))
    }
}

/// A token that nobody signed.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.", content(header, claims))
}

/// A token that is signed with a shared secret (HS256).
pub fn with_secret(secret: &[u8], header: &Value, claims: &Value) -> String {
    let content = content(header, claims);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let tag = ring::hmac::sign(&key, content.as_bytes());
    format!("{content}.{}", text(tag.as_ref()))
}

/// The header and the claims of a token, unverified.
///
/// # Panics
/// If it is none.
pub fn parts(token: &str) -> (Value, Value) {
    let mut parts =
        token.split('.').map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()));
    let mut next = || parts.next().expect("three parts").expect("JSON");
    (next(), next())
}

/// What may stand in a mutated token: its own letters, and those that a header may hold.
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/~! ";

/// A token with one thing changed, by a number: each number another place and another way. Never the token itself.
pub fn mutated(token: &str, nth: u64) -> String {
    // A small generator: the same numbers give the same tokens in every run.
    let mut state = nth.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x1234_5678_9ABC_DEF1);
    let mut roll = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).expect("small")
    };
    let mut bytes = token.as_bytes().to_vec();
    loop {
        let at = roll(bytes.len());
        match roll(6) {
            0 | 1 => bytes[at] = LETTERS[roll(LETTERS.len())],
            2 => bytes.insert(at, LETTERS[roll(LETTERS.len())]),
            3 if bytes.len() > 1 => drop(bytes.remove(at)),
            4 => {
                let other = roll(bytes.len());
                bytes.swap(at, other);
            }
            _ => bytes.truncate(at.max(1)),
        }
        let changed = String::from_utf8(bytes.clone()).expect("ASCII");
        if !same(changed.trim(), token) {
            return changed;
        }
    }
}

/// Whether two spellings are one token: the last letter of a part may hold bits that mean nothing.
fn same(a: &str, b: &str) -> bool {
    let lenient = base64::engine::GeneralPurpose::new(
        &base64::alphabet::URL_SAFE,
        base64::engine::GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
    );
    let read = |token: &str| token.split('.').map(|part| lenient.decode(part).ok()).collect::<Vec<_>>();
    a == b || (read(a) == read(b) && read(a).iter().all(Option::is_some))
}

/// The text of an API key by a name: always the same, and well-formed.
pub fn api_key(name: &str) -> String {
    let letters = |salt: &str, count: usize| -> String {
        let blocks = (0..count).map(|nth| sha256(format!("{salt} {nth} {name}").as_bytes())[0]);
        blocks.map(|byte| char::from(BASE62[usize::from(byte) % BASE62.len()])).collect()
    };
    let body = format!("tg_{}_{}", letters("id", 12), letters("secret", 43));
    let (mut rest, mut checksum) = (crc32(body.as_bytes()) as usize, Vec::new());
    for _ in 0..6 {
        checksum.insert(0, char::from(BASE62[rest % BASE62.len()]));
        rest /= BASE62.len();
    }
    format!("{body}{}", checksum.into_iter().collect::<String>())
}

/// What a configuration declares of a key: its SHA-256 digest in hexadecimal.
pub fn digest(key: &str) -> String {
    use std::fmt::Write as _;
    sha256(key.as_bytes()).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn sha256(bytes: &[u8]) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().to_vec()
}

/// The checksum of zip files, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 },
        )
    });
    !crc
}

fn content(header: &Value, claims: &Value) -> String {
    format!("{}.{}", text(header.to_string().as_bytes()), text(claims.to_string().as_bytes()))
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_differ_from_the_token_and_mostly_from_each_other() {
        let token = Key::es256("k").sign(&json!({ "sub": "ann" }));
        let all: std::collections::HashSet<_> = (0..1000).map(|nth| mutated(&token, nth)).collect();
        assert!(all.len() > 600, "{}", all.len());
        assert!(!all.iter().any(|changed| same(changed, &token)));
    }

    #[test]
    fn a_signature_verifies_and_says_its_parts() {
        let key = Key::es256("k");
        let token = key.sign(&json!({ "sub": "ann" }));
        let (content, signature) = token.rsplit_once('.').unwrap();
        let public = ring::signature::UnparsedPublicKey::new(
            &ring::signature::ECDSA_P256_SHA256_FIXED,
            key.public_bytes(),
        );
        public.verify(content.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        assert_eq!(parts(&token), (key.header(), json!({ "sub": "ann" })));
    }
}
