//! What happened: an append-only, hash-chained record of everything that passes the gate.
//!
//! [`Ledger`] writes it, [`Reader`] reads it, whether a gateway is running or not. What an entry holds is [`Entry`].

mod anchors_in;
mod call_id;
mod chain;
mod checkpoint;
mod entropy;
mod entry;
pub mod export;
mod folder;
mod index;
mod keys;
mod ledger;
mod line;
mod lines;
mod names;
mod prepare;
mod public_key;
mod reader;
mod recover;
mod redact;
mod settings;
mod text;
mod thread;
pub mod upkeep;
mod vault;
mod verify;
mod writer;

pub use call_id::CallId;
pub use checkpoint::{Checkpoint, Erased, ErasedIn, FORMAT, OpenCall, OwnSignature, Removed, SegmentHead};
pub use entry::{
    Committed, Decided, Entry, Kind, Latency, Outcome, Promised, Sizes, Stranger, Text, Truncation, VERSION,
};
pub use index::{Consumed, Index, IndexSettings, IndexStatus, Price, Prices};
pub use keys::KeyError;
pub use ledger::{Content, Draft, Health, Intending, Ledger, OpenError, Position, Receipt, Unrecorded, Work};
pub use line::{Hash, Line, SEALED_LEN_MIN, chain, erase, line_digest, side};
pub use prepare::commitment;
pub use public_key::{NoPublicKey, PUBLIC_FILE, PublicKey};
pub use reader::{Read, ReadError, Reader, writers};
pub use redact::name::is_altered;
pub use redact::{Redacted, redact};
pub use settings::{Durability, LedgerSettings, Recording, WhenUnwritable};
pub use vault::{KEY_LEN, Name, NameKind, NoKey, Payload, REFERENCE_LEN, SALT_LEN, Vault};
pub use verify::{Fault, Point, Report, Unsigned, Verified, Verify, Wrong};
