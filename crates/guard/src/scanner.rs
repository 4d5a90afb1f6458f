//! What is looked for in a text, and what was found.

use std::sync::Arc;

use crate::fold::fold;
use crate::own::Pattern;
use crate::rule::{Family, Finding, Rule, RuleSet, Severity};
use crate::sweep::Sweep;
use crate::text::Text;

/// What is looked for. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Scanner {
    rules: RuleSet,
    own: Arc<[Pattern]>,
}

impl Scanner {
    /// Looks for these.
    pub fn new(rules: RuleSet, own: Vec<Pattern>) -> Self {
        Self { rules, own: own.into() }
    }

    /// Whether it looks for nothing.
    pub fn is_idle(&self) -> bool {
        self.rules.is_empty() && self.own.is_empty()
    }

    /// Whether it looks for this.
    pub(crate) fn has(&self, rule: Rule) -> bool {
        self.rules.has(rule)
    }

    /// The id of a rule: for the operator's patterns the name that they have.
    pub fn id(&self, rule: Rule) -> String {
        match rule {
            Rule::Own(place) => {
                format!("own.{}", self.own.get(usize::from(place)).map_or("", Pattern::name))
            }
            rule => rule.id().to_owned(),
        }
    }

    /// What a rule is about.
    pub fn family(&self, rule: Rule) -> Family {
        match rule {
            Rule::Own(place) => self.own.get(usize::from(place)).map_or(rule.family(), Pattern::family),
            rule => rule.family(),
        }
    }

    /// How bad it is if what a rule finds is true.
    pub fn severity(&self, rule: Rule) -> Severity {
        match rule {
            Rule::Own(place) => self.own.get(usize::from(place)).map_or(rule.severity(), Pattern::severity),
            rule => rule.severity(),
        }
    }

    /// The same, which looks for these too. Of the operator's patterns those that are on, or named here.
    pub(crate) fn with(&self, rules: RuleSet, own: &[bool], patterns: &[Pattern]) -> Self {
        let own = own.iter().zip(patterns).enumerate().map(|(place, (is_named, pattern))| {
            let is_on = *is_named || self.own.get(place).is_some_and(Pattern::is_on);
            if is_on { pattern.clone() } else { pattern.clone().off() }
        });
        Self { rules: self.rules.and(rules), own: own.collect() }
    }

    /// Whether a pattern of the operator's has this name.
    pub(crate) fn has_own(&self, name: &str) -> bool {
        self.own.iter().any(|pattern| pattern.name() == name)
    }

    /// Finds everything in a text that stands in a member of this name, or in none. What was found is in order, and of one place
    /// only once: data and secrets apart from injections, which may hold them.
    ///
    /// The time it takes grows with the length alone.
    pub fn scan(&self, text: &str, key: &str, found: &mut Vec<Finding>) {
        let from = found.len();
        let text = Text::new(text, key);
        Sweep::new(text, self.rules, 0, found).run();
        for (place, pattern) in (0..).zip(self.own.iter()) {
            pattern.find(place, &text, found);
        }
        if let Some(folded) = fold(text.whole) {
            let as_written = found.len();
            let text = Text::new(&folded.text, key);
            Sweep::new(text, self.rules, 0, found).run();
            for (place, pattern) in (0..).zip(self.own.iter()) {
                pattern.find(place, &text, found);
            }
            for finding in found.iter_mut().skip(as_written) {
                (finding.start, finding.end) = (folded.before(finding.start), folded.before(finding.end));
            }
        }
        if found.len() > from + 1 {
            let mut new = found.split_off(from);
            settle(&mut new, |rule| self.family(rule) == Family::Injection);
            found.append(&mut new);
        }
    }
}

/// Puts findings in order, and of those that overlap keeps the surest, over the whole of them.
fn settle(found: &mut Vec<Finding>, is_injection: impl Fn(Rule) -> bool) {
    found.sort_by_key(|finding| (is_injection(finding.rule), finding.start, std::cmp::Reverse(finding.end)));
    let mut kept: Vec<Finding> = Vec::with_capacity(found.len());
    for one in found.drain(..) {
        match kept.last_mut() {
            Some(last) if is_injection(last.rule) == is_injection(one.rule) && one.start < last.end => {
                if (one.confidence, one.end - one.start) > (last.confidence, last.end - last.start) {
                    last.rule = one.rule;
                    last.confidence = one.confidence;
                }
                last.end = last.end.max(one.end);
            }
            _ => kept.push(one),
        }
    }
    kept.sort_by_key(|finding| (finding.start, finding.end));
    *found = kept;
}
