//! An issuer's keys (RFC 7517), and whether one of them signed something.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::failure::{Failure, Why};
use crate::json;
use crate::jws::Jws;

/// The most keys of one issuer. Further ones are left out.
const KEYS_MAX: usize = 100;
/// How many keys are tried for a token that does not say which one signed it.
const TRIED_MAX: usize = 4;

/// An issuer's keys, without those that verify no signature.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct KeySet(Vec<Key>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    kid: Option<String>,
    /// The only algorithm that it is for.
    alg: Option<Algorithm>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl KeySet {
    /// Reads a JWK set. Keys of kinds that are not known here, for encryption, or secret ones are left out.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let set = json::object(body)?;
        let keys = set.get("keys")?.as_array()?;
        Some(Self(keys.iter().filter_map(Value::as_object).filter_map(Key::read).take(KEYS_MAX).collect()))
    }

    /// Whether a key goes by this name.
    pub(crate) fn has(&self, kid: &str) -> bool {
        self.0.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// Whether one of the keys signed the token.
    pub(crate) fn verify(&self, token: &Jws<'_>, algorithm: Algorithm) -> Result<(), Failure> {
        let named: Vec<&Key> =
            self.0.iter().filter(|key| token.kid.is_none() || key.kid == token.kid).collect();
        if named.is_empty() {
            return Err(Failure::new(Why::UnknownKid));
        }
        let mut fitting = named.into_iter().filter(|key| key.fits(algorithm)).take(TRIED_MAX).peekable();
        if fitting.peek().is_none() {
            return Err(Failure::with(Why::Algorithm, "the issuer's key is of another kind than `alg`"));
        }
        if fitting.any(|key| key.verifies(token, algorithm)) {
            Ok(())
        } else {
            Err(Failure::new(Why::Signature))
        }
    }
}

impl Key {
    fn read(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let has = |list: &str, word: &str| match jwk.get(list) {
            None => true,
            Some(list) => list.as_array().is_some_and(|list| list.iter().any(|item| item == word)),
        };
        let is_for_signatures = text("use").unwrap_or("sig") == "sig" && has("key_ops", "verify");
        if !is_for_signatures {
            return None;
        }
        let point = |size: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            (x.len() == size && y.len() == size).then(|| [&[4], x.as_slice(), y.as_slice()].concat())
        };
        let material = match (text("kty")?, text("crv")) {
            ("RSA", _) => Material::Rsa { n: bytes("n")?, e: bytes("e")? },
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
            _ => return None,
        };
        let alg = match jwk.get("alg") {
            None => None,
            Some(alg) => Some(Algorithm::read(alg.as_str()?)?),
        };
        Some(Self { kid: text("kid").map(ToOwned::to_owned), alg, material })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        let is_kind = match algorithm {
            Algorithm::Es256 => matches!(self.material, Material::P256(_)),
            Algorithm::Es384 => matches!(self.material, Material::P384(_)),
            Algorithm::EdDsa => matches!(self.material, Material::Ed25519(_)),
            _ => matches!(self.material, Material::Rsa { .. }),
        };
        is_kind && self.alg.is_none_or(|alg| alg == algorithm)
    }

    fn verifies(&self, token: &Jws<'_>, algorithm: Algorithm) -> bool {
        let (signed, signature) = (token.signed.as_bytes(), token.signature.as_slice());
        let plain = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(signed, signature).is_ok()
        };
        match &self.material {
            Material::P256(point) => plain(&ECDSA_P256_SHA256_FIXED, point),
            Material::P384(point) => plain(&ECDSA_P384_SHA384_FIXED, point),
            Material::Ed25519(point) => plain(&ED25519, point),
            Material::Rsa { n, e } => {
                let parameters = match algorithm {
                    Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                    Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
                    Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_verify_nothing_are_left_out() {
        let x = URL_SAFE_NO_PAD.encode([1; 32]);
        let set = format!(
            r#"{{"keys":[
                {{"kty":"oct","k":"AAAA","kid":"secret"}},
                {{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"good"}},
                {{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"good too","use":"sig","key_ops":["verify"],"alg":"EdDSA"}},
                {{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"encrypts","use":"enc"}},
                {{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"signs","key_ops":["sign"]}},
                {{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"other","alg":"HS256"}},
                {{"kty":"OKP","crv":"Ed25519","x":"AAAA","kid":"short"}},
                {{"kty":"EC","crv":"P-256","x":"{x}","y":"AAAA","kid":"half"}},
                {{"kty":"EC","crv":"secp256k1","x":"{x}","y":"{x}","kid":"strange"}},
                7]}}"#
        );
        let set = KeySet::read(set.as_bytes()).expect("a set");
        let kids: Vec<_> = set.0.iter().filter_map(|key| key.kid.as_deref()).collect();
        assert_eq!(kids, ["good", "good too"]);
        assert_eq!(KeySet::read(b"{}"), None);
        assert_eq!(KeySet::read(br#"{"keys":[]}"#), Some(KeySet::default()));
    }
}
