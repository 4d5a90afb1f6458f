//! What a writer signs, and what the entries that hold a chain together say in their `detail`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::signature::Ed25519KeyPair;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::line::Hash;
use crate::{CallId, Entry, Kind, Position, PublicKey};

/// The version of the format of segments.
pub const FORMAT: u32 = 1;

/// The detail of a segment's first entry: by it a segment can be verified alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentHead {
    /// The version of the format.
    pub format: u32,
    /// Whose segment it is.
    pub writer: String,
    /// The number of the entry before it; 0 if there is none.
    pub before: u64,
    /// The hash of the entry before it; zeros if there is none.
    pub before_hash: Hash,
    /// The key by which the writer signs, in base64url.
    pub public_key: String,
    /// The intents of earlier segments that have no outcome yet, so that a writer that begins again reads one segment only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<OpenCall>,
}

/// An intent that has no outcome yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenCall {
    /// The number of its entry.
    pub seq: u64,
    /// The call.
    pub call: CallId,
    /// Which step of it.
    #[serde(default)]
    pub step: u32,
    /// Whose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// A checkpoint: who knows it, knows that everything up to it stood as it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Whose.
    pub writer: String,
    /// The number of the last entry that is signed: the one before the checkpoint's own.
    pub seq: u64,
    /// The hash of that entry.
    pub hash: Hash,
    /// When it was signed: the time of the checkpoint's entry.
    pub time_ms: u64,
    /// The oldest intent whose outcome is not among the signed entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_from: Option<u64>,
    /// Id of the key.
    pub key: String,
    /// The signature of [`Checkpoint::statement`], in base64url.
    pub signature: String,
}

/// The detail of an entry of [`Kind::Retention`], which stands in the chain before the first of the segments goes: all
/// entries up to a number are removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The number of the last entry that is removed.
    pub through: u64,
    /// The hash of that entry.
    pub through_hash: Hash,
    /// How many segments go.
    pub segments: u64,
    /// How many bytes they had.
    pub bytes: u64,
    /// When the last of the entries was written.
    pub newest_ms: u64,
    /// `age` or `size`.
    pub why: String,
    /// Who says so.
    #[serde(flatten)]
    pub signed: OwnSignature,
}

/// The detail of an entry of [`Kind::Erasure`], which stands in the chain before the first of the records is overwritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// Who asked: `user`, `tenant`, or `retention` if nobody did.
    pub why: String,
    /// The id of the request, which all writers' entries of it have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Whose records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The reference of the user whose records they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Only those of entries that are older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_ms: Option<u64>,
    /// What goes, by segment.
    pub segments: Vec<ErasedIn>,
    /// Who says so.
    #[serde(flatten)]
    pub signed: OwnSignature,
}

/// The signature of an entry that explains why something is missing. It is signed by itself: who can only write files could
/// add such an entry to the end of a chain otherwise, and have the next checkpoint sign it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OwnSignature {
    /// Id of the key.
    pub key: String,
    /// The signature, in base64url.
    pub signature: String,
}

impl OwnSignature {
    /// Signs a statement.
    pub fn of(statement: &str, key: &Ed25519KeyPair, key_id: &str) -> Self {
        Self { key: key_id.to_owned(), signature: BASE64.encode(key.sign(statement.as_bytes())) }
    }

    /// Whether one of these keys has signed the statement.
    pub(crate) fn holds(&self, statement: &str, keys: &[PublicKey]) -> bool {
        let key = keys.iter().find(|key| key.id() == self.key);
        let signature = BASE64.decode(&self.signature);
        key.zip(signature.ok())
            .is_some_and(|(key, signature)| key.has_signed(statement.as_bytes(), &signature))
    }
}

impl Removed {
    /// What is signed, three lines of text with the writer's: up to where entries are removed.
    pub fn statement(&self, writer: &str) -> String {
        format!("tollgate retention {FORMAT}\n{writer}\n{} {}\n", self.through, self.through_hash.to_text())
    }
}

impl Erased {
    /// What is signed: two lines of text, and one for each segment.
    pub fn statement(&self, writer: &str) -> String {
        let segments = self.segments.iter().map(|ErasedIn { segment, records, digest }| {
            format!("{segment} {records} {}\n", digest.to_text())
        });
        format!("tollgate erasure {FORMAT}\n{writer}\n{}", segments.collect::<String>())
    }
}

/// What is erased in a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedIn {
    /// The segment, by the number of its first entry.
    pub segment: u64,
    /// How many records: payloads and names.
    pub records: u64,
    /// SHA-256 over the digests of these records, in the order in which they stand.
    pub digest: Hash,
}

/// A detail as an entry holds it.
trait Detail: Serialize + for<'de> Deserialize<'de> {
    const KIND: Kind;

    fn put(&self) -> Entry<'static> {
        let detail = match serde_json::to_value(self) {
            Ok(Value::Object(detail)) => Some(detail),
            // Nothing in it can fail to be written.
            _ => None,
        };
        Entry { detail, ..Entry::of(Self::KIND) }
    }

    fn take(entry: &Entry<'_>) -> Option<Self> {
        let detail = entry.detail.clone().filter(|_| entry.kind == Self::KIND)?;
        serde_json::from_value(Value::Object(detail)).ok()
    }
}

macro_rules! detail {
    ($($of:ident: $kind:ident)+) => {
        $(
            impl Detail for $of {
                const KIND: Kind = Kind::$kind;
            }

            impl $of {
                /// The entry that says it; number and time are put in by the writer.
                pub fn entry(&self) -> Entry<'static> {
                    self.put()
                }

                /// What an entry of this kind says; none if it is of another kind, or damaged.
                pub fn of(entry: &Entry<'_>) -> Option<Self> {
                    Self::take(entry)
                }
            }
        )+
    };
}

detail! { SegmentHead: Segment Checkpoint: Checkpoint Removed: Retention Erased: Erasure }

impl Checkpoint {
    /// Signs that a chain has come to here. `at` is the entry before the checkpoint's own, `time_ms` the time of that one.
    pub fn sign(
        writer: &str,
        at: Position,
        time_ms: u64,
        open_from: Option<u64>,
        key: &Ed25519KeyPair,
        key_id: &str,
    ) -> Self {
        let mut checkpoint = Self {
            writer: writer.to_owned(),
            seq: at.seq,
            hash: at.hash,
            time_ms,
            open_from,
            key: key_id.to_owned(),
            signature: String::new(),
        };
        checkpoint.signature = BASE64.encode(key.sign(checkpoint.statement().as_bytes()));
        checkpoint
    }

    /// What is signed: six lines of text, each with its end.
    pub fn statement(&self) -> String {
        let Self { writer, seq, hash, time_ms, open_from, .. } = self;
        let (hash, open_from) = (hash.to_text(), open_from.unwrap_or(0));
        format!("tollgate checkpoint {FORMAT}\n{writer}\n{seq}\n{hash}\n{time_ms}\n{open_from}\n")
    }

    /// Whether this key has signed it.
    pub fn is_signed_by(&self, key: PublicKey) -> bool {
        BASE64
            .decode(&self.signature)
            .is_ok_and(|signature| key.has_signed(self.statement().as_bytes(), &signature))
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::KeyPair as _;

    use super::*;

    fn key(seed: u8) -> (Ed25519KeyPair, PublicKey) {
        let key = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key");
        let public = PublicKey(key.public_key().as_ref().try_into().expect("32 bytes"));
        (key, public)
    }

    #[test]
    fn a_signature_covers_all_that_a_checkpoint_says() {
        let (key, public) = key(1);
        let at = Position { seq: 7, hash: Hash([3; 32]) };
        let signed = Checkpoint::sign("w1", at, 99, Some(2), &key, &public.id());
        assert!(signed.is_signed_by(public));
        assert!(!signed.is_signed_by(self::key(2).1));
        let others = [
            Checkpoint { writer: "w2".to_owned(), ..signed.clone() },
            Checkpoint { seq: 8, ..signed.clone() },
            Checkpoint { hash: Hash([4; 32]), ..signed.clone() },
            Checkpoint { time_ms: 98, ..signed.clone() },
            Checkpoint { open_from: None, ..signed.clone() },
            Checkpoint { signature: String::new(), ..signed.clone() },
        ];
        for other in others {
            assert!(!other.is_signed_by(public), "{other:?}");
        }
    }

    #[test]
    fn details_come_back_as_they_went() {
        let (key, public) = key(1);
        let signed = Checkpoint::sign("w1", Position::default(), 99, None, &key, &public.id());
        let json = serde_json::to_vec(&signed.entry()).expect("JSON");
        let entry: Entry<'_> = serde_json::from_slice(&json).expect("an entry");
        assert_eq!(Checkpoint::of(&entry), Some(signed));
        assert_eq!(SegmentHead::of(&entry), None, "another kind");
        let damaged = Entry { detail: None, ..entry };
        assert_eq!(Checkpoint::of(&damaged), None);
    }
}
