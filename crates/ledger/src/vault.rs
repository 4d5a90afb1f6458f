//! What is kept beside the chain is sealed: payloads, and the names behind references.
//!
//! All keys come from one, the encryption key (32 bytes), by HKDF-SHA-256 (salt: `tollgate ledger 1`). `info` names the purpose,
//! then a zero byte, then the tenant:
//!
//! | purpose | what for |
//! |---|---|
//! | `digest` | HMAC-SHA-256 of a whole payload; its first 16 bytes stand in the entry, so that equal payloads of one tenant are found |
//! | `reference` | HMAC-SHA-256 of kind, a zero byte and text; its first 12 bytes are the reference |
//! | `seal` and, behind the tenant, an epoch of 12 bytes | AES-256-GCM |
//!
//! A sealed record is base64url over: the epoch (12 bytes, random, another with each start and after 2^31 records), a number
//! (4 bytes, another for each record of the epoch), the ciphertext and its tag. The nonce is eight zero bytes and the number. What
//! is authenticated beside it is `payload` and `a` or `r`, or `name` and the reference, parted and ended by zero bytes, then the
//! tenant. The plaintext of a payload is its salt (16 bytes) and the payload; that of a name is a JSON object of `kind` and `text`,
//! filled up with spaces to a multiple of 32 bytes.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::{hkdf, hmac};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::entropy::random;

/// The length of the key.
pub const KEY_LEN: usize = 32;
/// The length of a payload's salt.
pub const SALT_LEN: usize = 16;
/// The length of a reference as text.
pub const REFERENCE_LEN: usize = 16;
const HKDF_SALT: &[u8] = b"tollgate ledger 1";
const EPOCH_LEN: usize = 12;
const NUMBER_LEN: usize = 4;
/// How many bytes of a keyed digest stand in an entry.
const DIGEST_LEN: usize = 16;
/// How many bytes of a keyed digest are a reference.
const REFERENCE_BYTES: usize = 12;
/// To a multiple of what names are filled up, so that their lengths say little.
const NAME_BYTES: usize = 32;
/// How many records are sealed in one epoch.
const EPOCH_MAX: u32 = 1 << 31;
/// How many tenants' keys are kept at hand.
const TENANTS_MAX: usize = 4096;

/// What a reference stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameKind {
    /// A principal as it was, as a JSON object.
    Who,
    /// An agent.
    Agent,
    /// A user.
    User,
    /// The address that a caller comes from.
    Source,
    /// A client's session.
    Session,
}

impl NameKind {
    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Who => "who",
            Self::Agent => "agent",
            Self::User => "user",
            Self::Source => "source",
            Self::Session => "session",
        }
    }
}

/// The name behind a reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Name {
    /// What it is the name of.
    pub kind: NameKind,
    /// The name: a text, or, of [`NameKind::Who`], an object.
    pub text: Value,
}

/// A payload that was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Its salt.
    pub salt: [u8; SALT_LEN],
    /// The payload.
    pub bytes: Vec<u8>,
}

/// Seals and opens what is kept beside the chain.
pub struct Vault {
    master: hkdf::Prk,
    epoch: RwLock<Arc<Epoch>>,
    tenants: RwLock<HashMap<Box<str>, Arc<TenantKeys>>>,
}

/// What an encryption key is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key: 32 bytes in base64")]
pub struct NoKey;

struct Epoch {
    id: [u8; EPOCH_LEN],
    next: AtomicU32,
    keys: RwLock<HashMap<Box<str>, Arc<LessSafeKey>>>,
}

struct TenantKeys {
    digest: hmac::Key,
    reference: hmac::Key,
}

/// The length of what HKDF is asked for.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

impl Vault {
    /// Under this key.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn new(key: &[u8; KEY_LEN]) -> Result<Self, Unspecified> {
        let master = hkdf::Salt::new(hkdf::HKDF_SHA256, HKDF_SALT).extract(key);
        Ok(Self { master, epoch: RwLock::new(Arc::new(Epoch::begin()?)), tenants: RwLock::default() })
    }

    /// Under a key as it is written: 32 bytes in base64, of either alphabet.
    ///
    /// # Errors
    /// If it is none.
    pub fn of_text(text: &str) -> Result<Self, NoKey> {
        use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
        let text = text.trim();
        let read =
            [&STANDARD, &STANDARD_NO_PAD, &BASE64].into_iter().find_map(|engine| engine.decode(text).ok());
        let key: zeroize::Zeroizing<Vec<u8>> = read.ok_or(NoKey)?.into();
        let key: &[u8; KEY_LEN] = key.as_slice().try_into().map_err(|_| NoKey)?;
        Self::new(key).map_err(|_| NoKey)
    }

    /// The reference of a name.
    pub fn reference(&self, tenant: &str, kind: NameKind, text: &str) -> String {
        let mut context = hmac::Context::with_key(&self.tenant(tenant).reference);
        for part in [kind.as_str().as_bytes(), &[0], text.as_bytes()] {
            context.update(part);
        }
        BASE64.encode(&context.sign().as_ref()[..REFERENCE_BYTES])
    }

    /// The digest by which equal payloads of a tenant are found.
    pub fn digest(&self, tenant: &str, payload: &[u8]) -> String {
        BASE64.encode(&hmac::sign(&self.tenant(tenant).digest, payload).as_ref()[..DIGEST_LEN])
    }

    /// Seals a payload with its salt.
    pub(crate) fn seal_payload(
        &self,
        tenant: &str,
        is_result: bool,
        salt: &[u8; SALT_LEN],
        bytes: &[u8],
    ) -> Result<String, Unspecified> {
        self.seal(tenant, &payload_aad(tenant, is_result), &[salt, bytes])
    }

    /// Opens a payload; none if it was sealed under another key, for another tenant or place, or was changed.
    pub fn open_payload(&self, tenant: &str, is_result: bool, sealed: &[u8]) -> Option<Payload> {
        let plain = self.open(tenant, &payload_aad(tenant, is_result), sealed)?;
        let (salt, bytes) = plain.split_first_chunk()?;
        Some(Payload { salt: *salt, bytes: bytes.to_vec() })
    }

    /// Seals a name.
    pub(crate) fn seal_name(
        &self,
        tenant: &str,
        reference: &str,
        name: &Name,
    ) -> Result<String, Unspecified> {
        let mut plain = serde_json::to_vec(name).map_err(|_| Unspecified)?;
        plain.resize(plain.len().next_multiple_of(NAME_BYTES), b' ');
        self.seal(tenant, &name_aad(tenant, reference), &[&plain])
    }

    /// Opens a name; none if it was sealed under another key, for another tenant or reference, or was changed.
    pub fn open_name(&self, tenant: &str, reference: &str, sealed: &[u8]) -> Option<Name> {
        serde_json::from_slice(&self.open(tenant, &name_aad(tenant, reference), sealed)?).ok()
    }

    fn seal(&self, tenant: &str, aad: &[u8], parts: &[&[u8]]) -> Result<String, Unspecified> {
        let (epoch, number) = self.number()?;
        let number = number.to_be_bytes();
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut record = Vec::with_capacity(EPOCH_LEN + NUMBER_LEN + len + AES_256_GCM.tag_len());
        record.extend_from_slice(&epoch.id);
        record.extend_from_slice(&number);
        for part in parts {
            record.extend_from_slice(part);
        }
        let key = epoch.key(&self.master, tenant)?;
        let tag = key.seal_in_place_separate_tag(
            nonce(number),
            Aad::from(aad),
            &mut record[EPOCH_LEN + NUMBER_LEN..],
        )?;
        record.extend_from_slice(tag.as_ref());
        Ok(BASE64.encode(record))
    }

    fn open(&self, tenant: &str, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let record = BASE64.decode(sealed).ok()?;
        let (epoch, rest) = record.split_first_chunk::<EPOCH_LEN>()?;
        let (number, sealed) = rest.split_first_chunk::<NUMBER_LEN>()?;
        let current = self.current();
        let key = if current.id == *epoch {
            current.key(&self.master, tenant)
        } else {
            seal_key(&self.master, tenant, epoch).map(Arc::new)
        };
        let mut plain = sealed.to_vec();
        let len = key.ok()?.open_in_place(nonce(*number), Aad::from(aad), &mut plain).ok()?.len();
        plain.truncate(len);
        Some(plain)
    }

    fn current(&self) -> Arc<Epoch> {
        Arc::clone(&self.epoch.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The epoch, and a number in it that no other record has.
    fn number(&self) -> Result<(Arc<Epoch>, u32), Unspecified> {
        loop {
            let epoch = self.current();
            let number = epoch.next.fetch_add(1, Ordering::Relaxed);
            if number < EPOCH_MAX {
                return Ok((epoch, number));
            }
            let mut latest = self.epoch.write().unwrap_or_else(PoisonError::into_inner);
            if latest.id == epoch.id {
                *latest = Arc::new(Epoch::begin()?);
            }
        }
    }

    fn tenant(&self, tenant: &str) -> Arc<TenantKeys> {
        if let Some(keys) = self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant) {
            return Arc::clone(keys);
        }
        let key = |purpose: &str| {
            let mut bytes = [0; KEY_LEN];
            // Of a length that HKDF always gives.
            _ = derive(&self.master, &[purpose.as_bytes(), &[0], tenant.as_bytes()], &mut bytes);
            hmac::Key::new(hmac::HMAC_SHA256, &bytes)
        };
        let keys = Arc::new(TenantKeys { digest: key("digest"), reference: key("reference") });
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= TENANTS_MAX {
            tenants.clear();
        }
        tenants.insert(tenant.into(), Arc::clone(&keys));
        keys
    }
}

impl Epoch {
    fn begin() -> Result<Self, Unspecified> {
        Ok(Self { id: random()?, next: AtomicU32::new(0), keys: RwLock::default() })
    }

    fn key(&self, master: &hkdf::Prk, tenant: &str) -> Result<Arc<LessSafeKey>, Unspecified> {
        if let Some(key) = self.keys.read().unwrap_or_else(PoisonError::into_inner).get(tenant) {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(seal_key(master, tenant, &self.id)?);
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= TENANTS_MAX {
            keys.clear();
        }
        keys.insert(tenant.into(), Arc::clone(&key));
        Ok(key)
    }
}

fn seal_key(master: &hkdf::Prk, tenant: &str, epoch: &[u8; EPOCH_LEN]) -> Result<LessSafeKey, Unspecified> {
    let mut bytes = zeroize::Zeroizing::new([0; KEY_LEN]);
    derive(master, &[b"seal", &[0], tenant.as_bytes(), &[0], epoch], &mut *bytes)?;
    UnboundKey::new(&AES_256_GCM, &*bytes).map(LessSafeKey::new)
}

fn derive(master: &hkdf::Prk, info: &[&[u8]], bytes: &mut [u8]) -> Result<(), Unspecified> {
    master.expand(info, Length(bytes.len()))?.fill(bytes)
}

fn nonce(number: [u8; NUMBER_LEN]) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - NUMBER_LEN..].copy_from_slice(&number);
    Nonce::assume_unique_for_key(nonce)
}

fn payload_aad(tenant: &str, is_result: bool) -> Vec<u8> {
    [if is_result { &b"payload\0r\0"[..] } else { b"payload\0a\0" }, tenant.as_bytes()].concat()
}

fn name_aad(tenant: &str, reference: &str) -> Vec<u8> {
    [&b"name\0"[..], reference.as_bytes(), b"\0", tenant.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        Vault::new(&[7; KEY_LEN]).expect("random bytes")
    }

    #[test]
    fn what_is_sealed_opens_only_where_it_belongs() {
        let (vault, later) = (vault(), vault());
        let sealed = vault.seal_payload("acme", false, &[1; SALT_LEN], b"{}").expect("sealed");
        assert!(sealed.len() >= crate::line::SEALED_LEN_MIN, "{sealed}");
        let payload = Payload { salt: [1; SALT_LEN], bytes: b"{}".to_vec() };
        for vault in [&vault, &later] {
            assert_eq!(vault.open_payload("acme", false, sealed.as_bytes()), Some(payload.clone()));
        }
        assert_eq!(vault.open_payload("acme", true, sealed.as_bytes()), None, "the other place");
        assert_eq!(vault.open_payload("other", false, sealed.as_bytes()), None, "another tenant");
        let other = Vault::new(&[8; KEY_LEN]).expect("random bytes");
        assert_eq!(other.open_payload("acme", false, sealed.as_bytes()), None, "another key");
        for erased in ["", "!", "!....", &sealed[..20], &sealed.replace(&sealed[30..31], "_")] {
            assert_eq!(vault.open_payload("acme", false, erased.as_bytes()), None, "{erased}");
        }
    }

    #[test]
    fn names_say_little_by_their_length_and_hang_on_their_reference() {
        let vault = vault();
        let name = |text: &str| Name { kind: NameKind::User, text: text.into() };
        let reference = vault.reference("acme", NameKind::User, "ann");
        assert_eq!(reference.len(), REFERENCE_LEN);
        let sealed = vault.seal_name("acme", &reference, &name("ann")).expect("sealed");
        assert_eq!(sealed.len(), vault.seal_name("acme", &reference, &name("x")).expect("sealed").len());
        assert!(sealed.len() >= crate::line::SEALED_LEN_MIN);
        assert_eq!(vault.open_name("acme", &reference, sealed.as_bytes()), Some(name("ann")));
        let others = [
            vault.reference("acme", NameKind::User, "bob"),
            vault.reference("acme", NameKind::Agent, "ann"),
            vault.reference("other", NameKind::User, "ann"),
        ];
        for other in &others {
            assert_ne!(*other, reference);
            assert_eq!(vault.open_name("acme", other, sealed.as_bytes()), None);
        }
    }

    #[test]
    fn a_key_is_read_in_both_alphabets_and_no_nonce_serves_twice() {
        let text = format!("{}=\n", "_".repeat(42) + "8");
        assert!(Vault::of_text(text.trim_end_matches(['=', '\n'])).is_ok());
        assert!(Vault::of_text(&text.replace('_', "/")).is_ok());
        for wrong in ["", "abc", &"A".repeat(44), "not base64 at all, and much longer than a key"] {
            assert_eq!(Vault::of_text(wrong).err(), Some(NoKey), "{wrong}");
        }
        let vault = vault();
        vault.current().next.store(EPOCH_MAX - 1, Ordering::Relaxed);
        let (before, last) = vault.number().expect("a number");
        let (after, first) = vault.number().expect("a number");
        assert!(before.id != after.id && last == EPOCH_MAX - 1 && first == 0);
    }
}
