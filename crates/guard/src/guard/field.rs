//! What is otherwise at one place, and beneath it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::action::Action;
use crate::rule::Rule;

/// What becomes of something; nothing if it is not looked for.
type Done = Option<Action>;

/// What is otherwise at one place, and beneath it.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// The names and numbers on the way; none for any.
    way: Vec<Option<Box<str>>>,
    pub(super) rules: BTreeMap<Rule, Option<Action>>,
}

impl Field {
    /// A JSON pointer in which `*` is any name or number.
    pub(crate) fn new(path: &str, rules: BTreeMap<Rule, Option<Action>>) -> Self {
        let name = |part: &str| (part != "*").then(|| part.replace("~1", "/").replace("~0", "~").into());
        Self { way: path.split('/').skip(1).map(name).collect(), rules }
    }

    /// How specific it is: a longer way is more than a shorter one, and a name more than any.
    pub(super) fn rank(&self) -> (usize, usize) {
        (self.way.len(), self.way.iter().filter(|name| name.is_some()).count())
    }

    pub(super) fn says(&self, rule: Rule, way: &[Cow<'_, str>]) -> Option<Done> {
        let action = self.rules.get(&rule)?;
        let is_beneath = way.len() >= self.way.len()
            && self.way.iter().zip(way).all(|(name, step)| name.as_deref().is_none_or(|name| name == step));
        is_beneath.then_some(*action)
    }

    /// The same with what is done instead.
    pub(super) fn done(
        &self,
        done: &impl Fn(bool, Option<Action>) -> Option<Action>,
        is_demanded: impl Fn(Rule) -> bool,
    ) -> Self {
        let rules = self.rules.iter().map(|(rule, action)| (*rule, done(is_demanded(*rule), *action)));
        Self { way: self.way.clone(), rules: rules.collect() }
    }
}
