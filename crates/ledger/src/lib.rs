//! What happened: an append-only, hash-chained record of everything that passes the gate.
//!
//! [`Ledger`] writes it, [`Reader`] reads it, whether a gateway is running or not. What an entry holds is [`Entry`].

mod anchors_in;
mod call_id;
mod checkpoint;
mod entry;
pub mod export;
mod ledger;
mod line;
mod lines;
mod public_key;
mod reader;
mod redact;
mod settings;
mod verify;

pub use call_id::CallId;
pub use checkpoint::{Checkpoint, Erased, ErasedIn, FORMAT, Removed, SegmentHead};
pub use entry::{
    Committed, Decided, Entry, Kind, Latency, Outcome, Promised, Sizes, Stranger, Text, Truncation, VERSION,
};
pub use ledger::{Content, Draft, Health, Ledger, OpenError, Position, Receipt, Unrecorded};
pub use line::{Hash, Line, SEALED_LEN_MIN, chain, erase, line_digest, side};
pub use public_key::{NoPublicKey, PUBLIC_FILE, PublicKey};
pub use reader::{Read, ReadError, Reader, writers};
pub use redact::{Redacted, redact};
pub use settings::{Durability, LedgerSettings, Recording, WhenUnwritable};
pub use verify::{Fault, Point, Report, Verified, Verify, Wrong};
