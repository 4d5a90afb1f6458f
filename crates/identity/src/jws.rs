//! The form of a signed token (RFC 7515, compact serialisation).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::failure::{Failure, Why};
use crate::json;

/// A token that has the form of a signed one. Nothing of it is verified yet.
#[derive(Debug)]
pub(crate) struct Jws<'t> {
    /// What is signed.
    pub(crate) signed: &'t str,
    /// The signature.
    pub(crate) signature: Vec<u8>,
    /// The header's `alg`, as it stands there.
    alg: String,
    /// Which of the issuer's keys signed it.
    pub(crate) kid: Option<String>,
    /// What kind of token it is, in lower case and without `application/`; empty if it does not say.
    pub(crate) typ: String,
    /// What it claims.
    pub(crate) claims: Map<String, Value>,
}

impl<'t> Jws<'t> {
    /// Reads a token; `None` if it is another kind: an opaque one.
    ///
    /// # Errors
    /// It begins as a signed token, but is none.
    pub(crate) fn read(token: &'t str) -> Option<Result<Self, Failure>> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        if payload.contains('.') {
            return None;
        }
        let header = json::object(&URL_SAFE_NO_PAD.decode(header).ok()?)?;
        let alg = header.get("alg")?.as_str()?.to_owned();
        Some(Self::finish(signed, signature, payload, &header, alg))
    }

    fn finish(
        signed: &'t str,
        signature: &str,
        payload: &str,
        header: &Map<String, Value>,
        alg: String,
    ) -> Result<Self, Failure> {
        let malformed = |what: &str| Failure::with(Why::Malformed, what);
        // Extensions that a reader must understand; none is understood here (RFC 7515, section 4.1.11).
        if header.contains_key("crit") {
            return Err(malformed("the header demands extensions"));
        }
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(malformed("the header has a member that is no text")),
        };
        let typ = text("typ")?.unwrap_or_default().to_ascii_lowercase();
        let typ = typ.strip_prefix("application/").map(ToOwned::to_owned).unwrap_or(typ);
        let kid = text("kid")?;
        let signature =
            URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed("the signature is no base64url"))?;
        let claims = URL_SAFE_NO_PAD.decode(payload).ok().and_then(|payload| json::object(&payload));
        let claims = claims.ok_or_else(|| malformed("the claims are no JSON object"))?;
        Ok(Self { signed, signature, alg, kid, typ, claims })
    }

    /// The algorithm, if it is one of the allowed.
    pub(crate) fn algorithm(&self, allowed: &[Algorithm]) -> Result<Algorithm, Failure> {
        let known = Algorithm::read(&self.alg).filter(|algorithm| allowed.contains(algorithm));
        known.ok_or_else(|| Failure::with(Why::Algorithm, "the token's `alg` is not allowed"))
    }

    /// Whose token it says that it is.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str, claims: &str) -> Option<Result<(), &'static str>> {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let token = format!("{}.{}.c2ln", encode(header), encode(claims));
        Jws::read(&token).map(|read| read.map(drop).map_err(|failure| failure.why.word()))
    }

    #[test]
    fn tokens_are_told_from_what_is_none() {
        assert_eq!(read(r#"{"alg":"ES256"}"#, "{}"), Some(Ok(())));
        for opaque in ["", "a", "a.b", "ya29.a0Af", "a.b.c", "a.b.c.d.e"] {
            assert!(Jws::read(opaque).is_none(), "{opaque}");
        }
        assert_eq!(read("[]", "{}"), None);
        assert_eq!(read(r#"{"alg":"ES256","alg":"none"}"#, "{}"), None);
        assert_eq!(read(r#"{"alg":"ES256","crit":["x"]}"#, "{}"), Some(Err("malformed")));
        assert_eq!(read(r#"{"alg":"ES256","kid":7}"#, "{}"), Some(Err("malformed")));
        assert_eq!(read(r#"{"alg":"ES256"}"#, r#"{"sub":"a","sub":"b"}"#), Some(Err("malformed")));
    }
}
