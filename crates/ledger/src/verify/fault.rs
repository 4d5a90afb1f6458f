//! What can be wrong with a ledger.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// Something is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file; the writer's folder, if it is about what is not there.
    pub file: PathBuf,
    /// The line in it, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The number of the entry, as far as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// What is wrong.
    #[serde(flatten)]
    pub what: Wrong,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "wrong", rename_all = "snake_case")]
pub enum Wrong {
    /// A file or folder cannot be read.
    Unreadable {
        /// What the system said.
        error: String,
    },
    /// A line is none of a ledger's.
    NoLine,
    /// A line of a segment that is followed by another has no end.
    Torn,
    /// The entry is not the one that was written here.
    Changed,
    /// The entry's number is not the next one: entries were removed, inserted, doubled or moved.
    Order {
        /// The number that had to come.
        expected: u64,
    },
    /// The entry was written before the one that it follows, as it says.
    TimeBack,
    /// The writer had ended, and has signed that: what follows is not its own.
    AfterEnd,
    /// What stands beside the entry is not what was written there.
    Beside,
    /// A segment's file is called otherwise than its first entry is numbered.
    FileName,
    /// A segment does not begin as segments do.
    NoHead,
    /// A segment's head stands within a segment.
    HeadWithin,
    /// A segment does not follow on the one before it.
    NotNext {
        /// The last entry before it that is here.
        before: u64,
        /// The entry on which it says to follow.
        follows: u64,
    },
    /// A segment is of another writer.
    OtherWriter {
        /// Which.
        writer: String,
    },
    /// A segment is in a format that this program does not know.
    Format {
        /// Which.
        format: u32,
    },
    /// The writer signs with a key that is not trusted.
    OtherKey {
        /// Its id.
        key: String,
    },
    /// A checkpoint does not sign the entry before it: what it signs was another.
    NotSigned,
    /// A signature is wrong.
    Signature,
    /// An entry that says what was removed or erased cannot be read.
    Detail,
    /// The first entries are missing, and no entry says that they were removed.
    MissingFront {
        /// The last of them.
        through: u64,
    },
    /// Records were erased that no entry says were.
    Erased {
        /// How many were.
        records: u64,
        /// How many the entries name.
        named: u64,
    },
    /// The end of the chain is not signed, for longer than a writer waits.
    Unsigned {
        /// Since when.
        since_ms: u64,
    },
    /// An anchor knows of entries that are not here: the end was cut off.
    CutOff {
        /// The last entry that the anchor knows: its own.
        seq: u64,
        /// When it was signed.
        time_ms: u64,
    },
    /// An anchor knows the entry otherwise.
    Anchor {
        /// When that was signed.
        time_ms: u64,
    },
    /// An anchor is not signed by a trusted key.
    AnchorSignature,
    /// An anchor knows of a writer that is not here.
    NoWriter {
        /// Which.
        writer: String,
        /// The last entry that the anchor knows.
        seq: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(seq) = self.seq {
            write!(f, ", entry {seq}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { error } => write!(f, "it cannot be read: {error}"),
            Self::NoLine => f.write_str("this is no line of a ledger"),
            Self::Torn => f.write_str("the line has no end, although another segment follows"),
            Self::Changed => f.write_str("the entry was changed, or entries before it were: its hash does not fit"),
            Self::Order { expected } => write!(
                f,
                "entry {expected} had to stand here: entries were removed, inserted, doubled or moved, or the number was changed"
            ),
            Self::TimeBack => f.write_str("the entry says that it is older than the one before it"),
            Self::AfterEnd => f.write_str("the writer had ended, and signed that: the entry was added afterwards"),
            Self::Beside => f.write_str(
                "what stands beside the entry (a payload or a name) was changed, removed or added",
            ),
            Self::FileName => f.write_str("the file's name is not the number of its first entry"),
            Self::NoHead => f.write_str("the segment does not begin with its head"),
            Self::HeadWithin => f.write_str("the head of a segment stands within another"),
            Self::NotNext { before, follows } => write!(
                f,
                "the segment follows on entry {follows}, and what is before it ends with entry {before}: a segment is missing, \
                 swapped, shortened or of another chain"
            ),
            Self::OtherWriter { writer } => write!(f, "the segment is of another writer, {writer}"),
            Self::Format { format } => write!(f, "the format {format} is not known to this program"),
            Self::OtherKey { key } => write!(f, "signed with the key {key}, which is not among the trusted ones"),
            Self::NotSigned => f.write_str(
                "the checkpoint signs another chain than the one that stands before it: entries since the checkpoint before \
                 were rewritten",
            ),
            Self::Signature => f.write_str("the entry's signature is wrong"),
            Self::Detail => f.write_str("the entry does not say what was removed or erased in a way that can be read"),
            Self::MissingFront { through } => write!(
                f,
                "the entries up to {through} are missing, and no entry says that they were removed for their age or size"
            ),
            Self::Erased { records, named } => write!(
                f,
                "{records} records are erased, and the entries about erasures name {named}, or others: some were erased unseen"
            ),
            Self::Unsigned { since_ms } => {
                let since = tollgate_model::Timestamp::from_ms(*since_ms);
                write!(f, "nothing is signed since {since}, although writers sign every second: the end may be forged")
            }
            Self::CutOff { seq, time_ms } => {
                let time = tollgate_model::Timestamp::from_ms(*time_ms);
                write!(f, "an anchor of {time} knows entry {seq}, which is not here: the end was cut off")
            }
            Self::Anchor { time_ms } => {
                let time = tollgate_model::Timestamp::from_ms(*time_ms);
                write!(f, "an anchor of {time} knows another entry of this number: the chain was rewritten")
            }
            Self::AnchorSignature => f.write_str("an anchor is not signed by a trusted key"),
            Self::NoWriter { writer, seq } => {
                write!(f, "an anchor knows entry {seq} of the writer {writer}, of which nothing is here")
            }
        }
    }
}
