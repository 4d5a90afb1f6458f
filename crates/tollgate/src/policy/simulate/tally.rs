//! What would be different, counted.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tollgate_ledger::{Decided, Entry};
use tollgate_model::{Decision, Principal};

/// The longest of arguments that an example shows.
const SHOWN_BYTES_MAX: usize = 240;

/// Why something cannot be decided again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// A rule looks at arguments, and they are not on record.
    ArgumentsNotKept,
    /// A rule looks at what was taken out of the arguments.
    ArgumentsRedacted,
    /// A rule looks at arguments, and they were erased, or are sealed under another key.
    ArgumentsErased,
    /// Something was taken out of the name of what it is about.
    NameRedacted,
    /// Who called was erased, or is sealed under another key.
    CallerErased,
    /// A rule looks at the address that it came from, which was erased.
    SourceErased,
    /// What the server has is not known, or it has no such tool any more.
    DefinitionUnknown,
    /// The configuration has no such tenant.
    TenantUnknown,
    /// Whether a completion was one of a prompt or of a resource is not on record: older entries do not say.
    CompletionOfWhat,
}

impl Reason {
    /// For machines.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::ArgumentsNotKept => "arguments_not_kept",
            Self::ArgumentsRedacted => "arguments_redacted",
            Self::ArgumentsErased => "arguments_erased",
            Self::NameRedacted => "name_redacted",
            Self::CallerErased => "caller_erased",
            Self::SourceErased => "source_erased",
            Self::DefinitionUnknown => "definition_unknown",
            Self::TenantUnknown => "tenant_unknown",
            Self::CompletionOfWhat => "completion",
        }
    }

    /// For people.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::ArgumentsNotKept => "a rule looks at arguments, which were not kept",
            Self::ArgumentsRedacted => "a rule looks at what was taken out of the arguments",
            Self::ArgumentsErased => "a rule looks at arguments, which were erased",
            Self::NameRedacted => "of a name or URI something was taken out, such as the values in its query",
            Self::CallerErased => "who called was erased",
            Self::SourceErased => "a rule looks at the address, which was erased",
            Self::DefinitionUnknown => "the server, or the tool, is not known any more",
            Self::TenantUnknown => "the tenant is not configured",
            Self::CompletionOfWhat => "completions, of which it is not on record what they were of",
        }
    }
}

/// What would be different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    NewlyDenied,
    NewlyAllowed,
    OtherObligations,
}

impl Change {
    pub(super) const ALL: [Self; 3] = [Self::NewlyDenied, Self::NewlyAllowed, Self::OtherObligations];

    /// For machines.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::NewlyDenied => "newly_denied",
            Self::NewlyAllowed => "newly_allowed",
            Self::OtherObligations => "other_obligations",
        }
    }

    /// For people.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::NewlyDenied => "newly denied",
            Self::NewlyAllowed => "newly allowed",
            Self::OtherObligations => "other obligations",
        }
    }
}

/// A decision that is put again.
pub(super) struct Again<'a> {
    pub(super) entry: &'a Entry<'a>,
    pub(super) decided: &'a Decided<'a>,
    pub(super) kind: &'static str,
    pub(super) server: &'a str,
    pub(super) native: &'a str,
    pub(super) who: Option<&'a Principal>,
    pub(super) arguments: Option<&'a [u8]>,
}

/// One decision that would be another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Example {
    pub(super) at_ms: u64,
    pub(super) call: String,
    pub(super) tenant: String,
    pub(super) agent: String,
    pub(super) user: String,
    pub(super) kind: &'static str,
    pub(super) what: String,
    pub(super) arguments: String,
    pub(super) before: Vec<String>,
    pub(super) after: Vec<String>,
}

/// Everything of one kind of change.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) count: u64,
    pub(super) by_policy: HashMap<String, u64>,
    pub(super) by_agent: HashMap<String, u64>,
    pub(super) by_tool: HashMap<String, u64>,
    pub(super) examples: Vec<Example>,
}

/// What would be different.
#[derive(Debug)]
pub(super) struct Tally {
    examples: usize,
    /// Decisions on record.
    pub(super) found: u64,
    /// Those that were decided again.
    pub(super) decided: u64,
    /// Those of which nothing would be different.
    pub(super) same: u64,
    /// Those of `same` that other policies would decide.
    pub(super) by_other_policies: u64,
    pub(super) changed: [Changed; 3],
    pub(super) undecidable: BTreeMap<Reason, u64>,
    /// Decisions on whether a server may be seen at all.
    pub(super) others: u64,
    /// Places where the record cannot be read.
    pub(super) damaged: u64,
    /// How many were decided by which policies.
    pub(super) sets: HashMap<String, u64>,
    /// When the first and the last was decided.
    pub(super) span: Option<(u64, u64)>,
}

impl Tally {
    pub(super) fn new(examples: usize) -> Self {
        Self {
            examples,
            found: 0,
            decided: 0,
            same: 0,
            by_other_policies: 0,
            changed: Default::default(),
            undecidable: BTreeMap::new(),
            others: 0,
            damaged: 0,
            sets: HashMap::new(),
            span: None,
        }
    }

    /// It is no decision on a call, read or prompt.
    pub(super) fn is_other(&mut self) {
        self.others += 1;
    }

    /// There is a decision to be made again.
    pub(super) fn found(&mut self, decided: &Decided<'_>) {
        self.found += 1;
        count(&mut self.sets, decided.set.as_deref().unwrap_or("built-in"), 1);
        let (first, last) = self.span.unwrap_or((decided.at_ms, decided.at_ms));
        self.span = Some((first.min(decided.at_ms), last.max(decided.at_ms)));
    }

    /// It cannot be.
    pub(super) fn undecidable(&mut self, reason: Reason) {
        *self.undecidable.entry(reason).or_default() += 1;
    }

    /// It was.
    pub(super) fn decided(&mut self, put: &Again<'_>, decision: &Decision) {
        self.decided += 1;
        let Some(change) = change(put.decided, decision) else {
            self.same += 1;
            self.by_other_policies += u64::from(before(put.decided) != after(decision));
            return;
        };
        let changed = &mut self.changed[change as usize];
        changed.count += 1;
        let (before, after) = (before(put.decided), after(decision));
        // What nothing permits any more is told by what permitted it.
        let policies = if after.is_empty() { &before } else { &after };
        for policy in policies {
            count(&mut changed.by_policy, policy, 1);
        }
        if policies.is_empty() {
            count(&mut changed.by_policy, "(none)", 1);
        }
        let agent = put.who.map_or("", |who| who.agent.as_deref().unwrap_or(who.id.as_str()));
        count(&mut changed.by_agent, agent, 1);
        let what = match put.kind {
            "resource" => format!("{} of {}", put.native, put.server),
            _ => format!("{}__{}", put.server, put.native),
        };
        count(&mut changed.by_tool, &what, 1);
        if changed.examples.len() < self.examples {
            let text = |texts: BTreeSet<&str>| texts.into_iter().map(str::to_owned).collect();
            changed.examples.push(Example {
                at_ms: put.decided.at_ms,
                call: put.entry.call.map(|call| call.to_string()).unwrap_or_default(),
                tenant: put.entry.tenant.as_deref().unwrap_or_default().to_owned(),
                agent: agent.to_owned(),
                user: put.who.and_then(|who| who.user.as_deref()).unwrap_or_default().to_owned(),
                kind: put.kind,
                what,
                arguments: shown(put.arguments),
                before: text(before),
                after: text(after),
            });
        }
    }

    /// Adds what another thread has counted.
    pub(super) fn add(&mut self, other: Self) {
        self.found += other.found;
        self.decided += other.decided;
        self.same += other.same;
        self.by_other_policies += other.by_other_policies;
        self.others += other.others;
        self.damaged += other.damaged;
        for (mine, others) in self.changed.iter_mut().zip(other.changed) {
            mine.count += others.count;
            add(&mut mine.by_policy, others.by_policy);
            add(&mut mine.by_agent, others.by_agent);
            add(&mut mine.by_tool, others.by_tool);
            mine.examples.extend(others.examples);
        }
        for (reason, number) in other.undecidable {
            *self.undecidable.entry(reason).or_default() += number;
        }
        add(&mut self.sets, other.sets);
        self.span = match (self.span, other.span) {
            (Some((first, last)), Some((from, to))) => Some((first.min(from), last.max(to))),
            (one, other) => one.or(other),
        };
    }

    /// Leaves the earliest examples.
    pub(super) fn finish(&mut self) {
        for changed in &mut self.changed {
            changed.examples.sort();
            changed.examples.truncate(self.examples);
        }
    }
}

fn count(counts: &mut HashMap<String, u64>, name: &str, number: u64) {
    match counts.get_mut(name) {
        Some(count) => *count += number,
        None => drop(counts.insert(name.to_owned(), number)),
    }
}

fn add(counts: &mut HashMap<String, u64>, others: HashMap<String, u64>) {
    for (name, number) in others {
        count(counts, &name, number);
    }
}

fn before<'a>(decided: &'a Decided<'_>) -> BTreeSet<&'a str> {
    decided.policies.iter().map(|policy| &**policy).collect()
}

fn after(decision: &Decision) -> BTreeSet<&str> {
    decision.policies.iter().map(|policy| &*policy.id).collect()
}

/// How a decision differs from the one that is on record, if it does.
fn change(decided: &Decided<'_>, decision: &Decision) -> Option<Change> {
    match (decided.allowed, decision.allowed) {
        (true, false) => Some(Change::NewlyDenied),
        (false, true) => Some(Change::NewlyAllowed),
        (false, false) => None,
        (true, true) => {
            let promised = decided.obligations.clone().unwrap_or_default();
            let demanded = &decision.obligations;
            let is_same = set(&promised.approvals) == set(&demanded.approvals)
                && set(&promised.redactions) == set(&demanded.redactions)
                && set(&promised.holds) == set(&demanded.holds)
                && promised.record.as_deref() == demanded.record.map(tollgate_model::RecordLevel::as_str);
            (!is_same).then_some(Change::OtherObligations)
        }
    }
}

fn set<T: std::ops::Deref<Target = str>>(texts: &[T]) -> BTreeSet<&str> {
    texts.iter().map(|text| &**text).collect()
}

fn shown(arguments: Option<&[u8]>) -> String {
    let text = String::from_utf8_lossy(arguments.unwrap_or_default());
    let end = text.floor_char_boundary(SHOWN_BYTES_MAX);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_model::{Judged, Obligations, RecordLevel, Timestamp};

    #[test]
    fn what_matters_to_a_caller_is_a_change() {
        let denied = Decision::denied();
        let allowed = Decision { allowed: true, ..Decision::denied() };
        let obligations = Obligations { record: Some(RecordLevel::Full), ..Obligations::default() };
        let recorded = Decision { obligations, ..allowed.clone() };
        let of = |before: &Decision, after: &Decision| {
            let judged = Judged::new(before.clone(), None, Timestamp::from_ms(0));
            change(&Decided::from(&judged), after)
        };
        assert_eq!(of(&allowed, &denied), Some(Change::NewlyDenied));
        assert_eq!(of(&denied, &allowed), Some(Change::NewlyAllowed));
        assert_eq!(of(&allowed, &recorded), Some(Change::OtherObligations));
        for one in [&denied, &allowed, &recorded] {
            assert_eq!(of(one, one), None);
        }
    }
}
