//! The keys of a ledger: given, or made at the first start and kept beside the record.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tollgate_model::Secret;
use zeroize::Zeroizing;

use crate::entropy::random;
use crate::vault::{KEY_LEN, Vault};
use crate::{CallId, LedgerSettings, PUBLIC_FILE, PublicKey};

/// The file of the key that signs.
pub(crate) const SIGNING_FILE: &str = "signing.key";
/// The file of the key of payloads and names.
pub(crate) const PAYLOAD_FILE: &str = "payload.key";
/// What stands before the 32 bytes of an Ed25519 key in PKCS#8 (RFC 8410), in the form that every program reads.
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The disk says no.
    #[error("{path} cannot be used: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The key that signs is none.
    #[error(
        "{place} is no Ed25519 private key (PKCS#8 in PEM, as `openssl genpkey -algorithm ed25519` makes it)"
    )]
    NoSigningKey {
        /// Where it came from.
        place: String,
    },
    /// The key of payloads and names is none.
    #[error("{place} is no key: 32 bytes in base64, as `openssl rand -base64 32` makes it")]
    NoPayloadKey {
        /// Where it came from.
        place: String,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// The keys of a ledger.
pub(crate) struct Keys {
    pub(crate) signing: Ed25519KeyPair,
    pub(crate) public: PublicKey,
    pub(crate) vault: Vault,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Keys {
    /// The keys of the ledger in a folder: those that are given, else those that it keeps, else new ones, which it then keeps.
    pub(crate) fn open(root: &Path, settings: &LedgerSettings) -> Result<Self, KeyError> {
        let given = |secret: &Secret| Zeroizing::new(secret.expose().to_owned());
        let (text, place) = match &settings.signing_key {
            Some(key) => (given(key), "the given signing key".to_owned()),
            None => kept(&root.join(SIGNING_FILE), new_signing_key)?,
        };
        let signing = signing_key(&text).ok_or(KeyError::NoSigningKey { place })?;
        let mut public = PublicKey([0; 32]);
        public.0.copy_from_slice(signing.public_key().as_ref());
        publish(&root.join(PUBLIC_FILE), public)?;
        let (text, place) = match &settings.encryption_key {
            Some(key) => (given(key), "the given encryption key".to_owned()),
            None => kept(&root.join(PAYLOAD_FILE), new_payload_key)?,
        };
        let vault = Vault::of_text(&text).map_err(|_| KeyError::NoPayloadKey { place })?;
        Ok(Self { signing, public, vault })
    }
}

impl Vault {
    /// For reading the ledger in a folder: under the key that is given, else the one that it keeps. Makes none.
    ///
    /// # Errors
    /// If there is no key, or it is none.
    pub fn of_ledger(root: &Path, given: Option<&Secret>) -> Result<Self, KeyError> {
        let path = root.join(PAYLOAD_FILE);
        let (text, place) = match given {
            Some(key) => (Zeroizing::new(key.expose().to_owned()), "the given encryption key".to_owned()),
            None => {
                let read = std::fs::read_to_string(&path);
                let text = read.map_err(|error| KeyError::Io { path: path.clone(), error })?;
                (Zeroizing::new(text), path.display().to_string())
            }
        };
        Self::of_text(&text).map_err(|_| KeyError::NoPayloadKey { place })
    }
}

/// Makes a folder that only its owner can look into.
pub(crate) fn make_folder(folder: &Path) -> Result<(), KeyError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| KeyError::Io { path: folder.to_owned(), error })
}

/// The text of a file, which is made if it is missing. Of several processes that make it at once, one does.
fn kept(
    path: &Path,
    make: impl FnOnce() -> Option<Zeroizing<String>>,
) -> Result<(Zeroizing<String>, String), KeyError> {
    let failed = |error| KeyError::Io { path: path.to_owned(), error };
    let place = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => return Ok((Zeroizing::new(text), place)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let text = make().ok_or(KeyError::NoRandomness)?;
    let draft = path.with_extension(format!("{}.new", CallId::new(tollgate_model::Timestamp::now())));
    let linked = write_new(&draft, text.as_bytes()).and_then(|()| std::fs::hard_link(&draft, path));
    _ = std::fs::remove_file(&draft);
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    // The folder too: a key that is lost with the power takes with it what was sealed under it.
    if let Some(folder) = path.parent() {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    Ok((Zeroizing::new(text), place))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Adds a public key to the file of them, if it is not in there.
fn publish(path: &Path, key: PublicKey) -> Result<(), KeyError> {
    let failed = |error| KeyError::Io { path: path.to_owned(), error };
    let pem = key.to_pem();
    let known = std::fs::read_to_string(path).is_ok_and(|text| text.ends_with(&pem));
    if known {
        return Ok(());
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(pem.as_bytes()).map_err(failed)
}

fn new_signing_key() -> Option<Zeroizing<String>> {
    let seed: Zeroizing<[u8; 32]> = Zeroizing::new(random().ok()?);
    let der = Zeroizing::new([&PKCS8_HEAD[..], &*seed].concat());
    let body = Zeroizing::new(STANDARD.encode(&*der));
    Some(Zeroizing::new(format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", *body)))
}

fn new_payload_key() -> Option<Zeroizing<String>> {
    let key: Zeroizing<[u8; KEY_LEN]> = Zeroizing::new(random().ok()?);
    Some(Zeroizing::new(format!("{}\n", STANDARD.encode(*key))))
}

fn signing_key(text: &str) -> Option<Ed25519KeyPair> {
    let (_, rest) = text.split_once(PEM_BEGIN)?;
    let (body, _) = rest.split_once(PEM_END)?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
    let der = Zeroizing::new(STANDARD.decode(body.as_bytes()).ok()?);
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_made_once_and_kept_privately() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = LedgerSettings::default();
        let first = Keys::open(folder.path(), &settings).expect("keys");
        let again = Keys::open(folder.path(), &settings).expect("keys");
        assert_eq!(first.public, again.public);
        assert_eq!(first.vault.digest("t", b"x"), again.vault.digest("t", b"x"));
        for file in [SIGNING_FILE, PUBLIC_FILE, PAYLOAD_FILE] {
            let mode = folder.path().join(file).metadata().expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let published = std::fs::read_to_string(folder.path().join(PUBLIC_FILE)).expect("text");
        assert_eq!(PublicKey::read_all(&published), Ok(vec![first.public]));
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 3, "no drafts are left");
        let reading = Vault::of_ledger(folder.path(), None).expect("a vault");
        assert_eq!(reading.digest("t", b"x"), first.vault.digest("t", b"x"));
    }

    #[test]
    fn given_keys_win_and_wrong_ones_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let pem = new_signing_key().expect("a key");
        let settings = LedgerSettings {
            signing_key: Some(Secret::new(pem.as_str().to_owned())),
            encryption_key: Some(Secret::new(STANDARD.encode([1; KEY_LEN]))),
            ..LedgerSettings::default()
        };
        let given = Keys::open(folder.path(), &settings).expect("keys");
        assert!(!folder.path().join(SIGNING_FILE).exists() && !folder.path().join(PAYLOAD_FILE).exists());
        let made = Keys::open(folder.path(), &LedgerSettings::default()).expect("keys");
        assert_ne!(given.public, made.public);
        let published = std::fs::read_to_string(folder.path().join(PUBLIC_FILE)).expect("text");
        assert_eq!(PublicKey::read_all(&published), Ok(vec![given.public, made.public]));

        let wrong =
            |settings: LedgerSettings| Keys::open(folder.path(), &settings).expect_err("wrong").to_string();
        let secret = || Some(Secret::new("hunter2".to_owned()));
        let signing = wrong(LedgerSettings { signing_key: secret(), ..LedgerSettings::default() });
        let payload = wrong(LedgerSettings { encryption_key: secret(), ..LedgerSettings::default() });
        assert!(signing.starts_with("the given signing key is no Ed25519"), "{signing}");
        assert!(payload.starts_with("the given encryption key is no key"), "{payload}");
        assert!(!signing.contains("hunter2") && !payload.contains("hunter2"));
    }
}
