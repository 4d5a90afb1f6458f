//! What an inspection came to.

use bytes::Bytes;

use crate::action::Action;
use crate::rule::Rule;

/// How many findings are told one by one. Of the others only how many there are.
pub(super) const NOTED_MAX: usize = 32;

/// Something that was found, without itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Its rule.
    pub rule: Rule,
    /// What became of it.
    pub action: Action,
    /// How sure it is, in percent.
    pub confidence: u8,
    /// Where it stood: a JSON pointer (RFC 6901) from the value that was inspected. A name in which something was found stands as
    /// `*`, and what is too long ends where it has to.
    pub path: String,
}

/// What an inspection came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// What was found, up to a bound.
    pub noted: Vec<Noted>,
    /// How many more there were.
    pub more: usize,
    /// The value as it may pass, where it may not as it is.
    pub changed: Option<Bytes>,
    /// It is larger than what is looked at.
    pub is_too_large: bool,
    /// It may pass once people have agreed to it, so these rules say.
    pub held: Vec<Rule>,
    /// It may not pass: the rule that says so. None of its own if what was changed never became clean.
    pub blocked: Option<Option<Rule>>,
}

impl Inspection {
    /// Whether nothing was found: then nothing is changed either.
    pub fn is_clean(&self) -> bool {
        self.noted.is_empty() && self.blocked.is_none()
    }
}
