//! What policy says of a request.

use std::sync::Arc;

use crate::Timestamp;

/// One rule, as it stands in its file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyRef {
    /// The rule's id: its `@id`, or the file and its place in it.
    pub id: Arc<str>,
}

/// What a permit demands of the call that it allows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Obligations {
    /// Groups of which somebody has to agree first: all of them.
    pub approvals: Vec<Arc<str>>,
    /// What must be taken out of what passes.
    pub redactions: Vec<Arc<str>>,
    /// What people have to agree to first, if it is found in what leaves.
    pub holds: Vec<Arc<str>>,
    /// How much of the call is to be recorded; none if no permit says so. Where several do, the most.
    pub record: Option<RecordLevel>,
}

/// How much of a call is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordLevel {
    /// That it was made.
    Nothing,
    /// Digests of arguments and result.
    Digest,
    /// Arguments and result without what is private.
    Redacted,
    /// Arguments and result as they are.
    Full,
}

impl RecordLevel {
    /// The word that policies and entries write.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Digest => "digest",
            Self::Redacted => "redacted",
            Self::Full => "full",
        }
    }

    /// The level of a word.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Nothing, Self::Digest, Self::Redacted, Self::Full]
            .into_iter()
            .find(|level| level.as_str() == word)
    }
}

impl Obligations {
    /// Whether there are none that must be kept before or while the call is made.
    pub fn are_none(&self) -> bool {
        self.approvals.is_empty() && self.redactions.is_empty() && self.holds.is_empty()
    }
}

/// What policy says of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may go on.
    pub allowed: bool,
    /// The rules that decided: all permits that allow it, or all forbids that forbid it. None where nothing allows it.
    pub policies: Vec<PolicyRef>,
    /// What the permits demand. Only of what is allowed.
    pub obligations: Obligations,
    /// The `@reason` of forbids that decided.
    pub reasons: Vec<Arc<str>>,
    /// Whether the same caller could be allowed the same tool with other arguments, at another time or from elsewhere.
    pub could_differ: bool,
    /// Rules that could not be evaluated, and why; for the operator's log. They deny.
    pub errors: Vec<String>,
}

impl Decision {
    /// Nothing allows it.
    pub fn denied() -> Self {
        Self {
            allowed: false,
            policies: Vec::new(),
            obligations: Obligations::default(),
            reasons: Vec::new(),
            could_differ: false,
            errors: Vec::new(),
        }
    }
}

/// A decision as it goes on record: what policy said, when, and which policies they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What policy said.
    pub decision: Decision,
    /// Whether the caller was told that there is no such thing.
    pub is_hidden: bool,
    /// The digest of the policies; none where the built-in permit decided.
    pub set: Option<Arc<str>>,
    /// When: exactly the time that policies saw (`context.env.now`).
    pub at: Timestamp,
    /// What policies that only look on would have said, where that is something else.
    pub shadow: Option<Box<Judged>>,
}

impl Judged {
    /// What policies of this digest said at this time.
    pub fn new(decision: Decision, set: Option<Arc<str>>, at: Timestamp) -> Self {
        Self { decision, is_hidden: false, set, at, shadow: None }
    }

    /// Nothing allows it, and the caller is told that there is no such thing.
    pub fn hidden(set: Option<Arc<str>>, at: Timestamp) -> Self {
        Self { is_hidden: true, ..Self::new(Decision::denied(), set, at) }
    }

    /// It may, and no single rule says so.
    pub fn allowed(set: Option<Arc<str>>, at: Timestamp) -> Self {
        Self::new(Decision { allowed: true, ..Decision::denied() }, set, at)
    }
}
