//! Deciding again what was decided before, when not everything of it is known any more.

use crate::plan::Plan;
use crate::rules::Rules;
use crate::uses::{Read, env};

/// What of a request is not known any more.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gaps<'a> {
    /// The address that it came from.
    pub source: bool,
    /// All arguments.
    pub arguments: bool,
    /// Parts of the arguments, each by the names that lead to it; an empty one is the whole.
    pub parts: &'a [Vec<String>],
}

/// What a rule looks at, and is not known any more: so nobody can say what it would decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gap {
    /// The address that the request came from.
    Source,
    /// The arguments.
    Arguments,
    /// A part of the arguments.
    Part,
}

/// Nothing is missing.
pub(crate) const NOTHING: Gaps<'static> = Gaps { source: false, arguments: false, parts: &[] };

impl Gaps<'_> {
    fn are_none(&self) -> bool {
        !self.source && !self.arguments && self.parts.is_empty()
    }

    fn concern(&self, read: &Read) -> Option<Gap> {
        if self.arguments {
            return Some(Gap::Arguments);
        }
        // A part that is missing was something, but not even its type is known.
        let concerns = |part: &Vec<String>| {
            let is_same = part.iter().zip(&read.path).all(|(one, other)| **one == **other);
            is_same && (!read.is_presence || part.len() <= read.path.len())
        };
        self.parts.iter().any(concerns).then_some(Gap::Part)
    }
}

impl Plan {
    /// What a rule that is still to be judged looks at and is not known.
    pub(crate) fn lacks(&self, rules: &Rules, gaps: &Gaps<'_>) -> Option<Gap> {
        if gaps.are_none() {
            return None;
        }
        let mut open = self.open().filter_map(|at| rules.rule(at));
        open.find_map(|rule| {
            if gaps.source && rule.uses.env & env::SOURCE != 0 {
                return Some(Gap::Source);
            }
            rule.uses.input.iter().find_map(|read| gaps.concern(read))
        })
    }
}
