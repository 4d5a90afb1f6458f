//! One pass over a value.

mod place;
mod seams;

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;
use ring::hmac;
use tollgate_mcp::quote;

use super::Guard;
use super::edits::{Changed, Changing, Instead, TextEdit, apart, edited, located};
use super::inspection::{NOTED_MAX, Noted};
use crate::action::{self, Action};
use crate::json::{Leaf, Step, View, Walk};
use crate::neighbours;
use crate::pseudonym;
use crate::rule::{Family, Finding, Rule};
use crate::subject::{Reading, Subject};

/// Numbers with fewer digits say nothing by themselves.
const NUMBER_DIGITS_MIN: usize = 9;
/// How sure a finding in a number has to be: most numbers are nobody's.
const NUMBER_CONFIDENCE_MIN: u8 = 75;

/// One pass over a value.
pub(super) struct Pass<'g> {
    guard: &'g Guard,
    bytes: &'g [u8],
    subject: &'g Subject<'g>,
    /// Whether something was changed before: then only what is to be changed still is told.
    is_again: bool,
    pub(super) found: Vec<Finding>,
    view: View,
    /// The name that the texts here stand under.
    name: View,
    pub(super) changed: Vec<Changed>,
    pub(super) noted: Vec<Noted>,
    pub(super) more: usize,
    pub(super) blocked: Option<Rule>,
    /// Rules by which it waits for people.
    pub(super) held: Vec<Rule>,
    /// Members in whose names something was found, by where they begin.
    masked_names: Vec<usize>,
    /// The last text that says what another member of its object is the value of: how deep, in what, and where it stands.
    said: Option<(usize, Option<Step>, Range<usize>)>,
    /// The texts of blocks of `content`, without quotes.
    blocks: Vec<Range<usize>>,
    /// The how manieth each is.
    blocks_at: Vec<usize>,
    /// What was found in two of them or more, and in which it begins.
    seams_told: BTreeSet<(Rule, usize)>,
}

impl<'g> Pass<'g> {
    pub(super) fn new(guard: &'g Guard, bytes: &'g [u8], subject: &'g Subject<'g>, is_again: bool) -> Self {
        Self {
            guard,
            bytes,
            subject,
            is_again,
            found: Vec::new(),
            view: View::default(),
            name: View::default(),
            changed: Vec::new(),
            noted: Vec::new(),
            more: 0,
            blocked: None,
            held: Vec::new(),
            masked_names: Vec::new(),
            said: None,
            blocks: Vec::new(),
            blocks_at: Vec::new(),
            seams_told: BTreeSet::new(),
        }
    }

    pub(super) fn run(&mut self) {
        let bytes = self.bytes;
        let mut walk = Walk::new(bytes, 0, bytes.len());
        while let Some(leaf) = walk.next() {
            match leaf {
                Leaf::Name(start, end) => {
                    let name = bytes.get(start..end).unwrap_or_default();
                    if walk.way().len() == 1
                        && self.subject.except.iter().any(|except| except.as_bytes() == name)
                    {
                        walk.skip();
                    } else if is_worth_reading(name) {
                        self.name(walk.way(), start..end);
                    }
                }
                Leaf::Text(start, end) => self.text(walk.way(), start..end),
                Leaf::Number(start, end) => self.number(walk.way(), start..end),
            }
            if self.blocked.is_some() {
                return;
            }
        }
        if self.blocks.len() > 1 {
            self.seams();
        }
    }

    fn text(&mut self, way: &[Step], raw: Range<usize>) {
        let Some(content) = self.bytes.get(raw.clone()) else { return };
        if let Some(place) = self.block_of(way) {
            self.blocks.push(raw.clone());
            self.blocks_at.push(place);
        }
        let mut view = std::mem::take(&mut self.view);
        let mut name = std::mem::take(&mut self.name);
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        let key = self.key(&mut name, way);
        if matches!(key, "name" | "key") {
            self.said = Some((way.len(), place::parent(way), raw.clone()));
        }
        let mut label = View::default();
        let meaning = if key == "value" { self.label(&mut label, way) } else { key };
        if let Some(text) = view.read(content) {
            self.guard.scanner.scan(text, meaning, &mut found);
            if let Reading::Definition(Some(others)) = self.subject.reading {
                if !self.is_fixed(way) && self.guard.scanner.has(Rule::CrossServer) {
                    neighbours::talk(text, others, &mut found);
                } else if key == "name" && way.len() == 1 && self.guard.scanner.has(Rule::LookAlike) {
                    neighbours::name(text, others, &mut found);
                }
            }
            let forged = self.forged(text, way);
            if !found.is_empty() || !forged.is_empty() {
                let is_fixed = self.is_fixed(way);
                let is_address =
                    matches!(key, "taskId" | "progressToken") || key == "uri" && self.is_of_content(way);
                let is_blob = matches!(key, "data" | "blob") && self.is_of_content(way);
                let kind = self.judge(text, (&found, forged), way, (is_fixed, is_address), is_blob);
                if let Some(kind) = kind {
                    self.changed.push(Changed { raw, kind: located(kind, &view) });
                }
            }
        }
        (self.view, self.name, self.found) = (view, name, found);
    }

    /// What becomes of what was found in a text.
    fn judge(
        &mut self,
        text: &str,
        (found, forged): (&[Finding], Vec<Range<usize>>),
        way: &[Step],
        (is_fixed, is_address): (bool, bool),
        is_blob: bool,
    ) -> Option<Changing> {
        let forged = forged.into_iter().map(|place| (place, Instead::Name("text".to_owned())));
        let mut edits: Vec<(Range<usize>, Instead)> = forged.collect();
        let (mut drops, mut fences) = (false, false);
        let given = self.given(text);
        // Whether it is fenced already: looked at once, and only where that matters.
        let mut is_fenced = None;
        // What is hidden goes first: then what it hid is found as a whole.
        let unhides = found
            .iter()
            .any(|finding| is_hidden(finding.rule) && self.action(finding.rule, way) == Some(Action::Strip));
        for finding in found {
            if self.guard.is_of_mark(text, finding) || is_of_name(&given, finding) {
                continue;
            }
            let Some(mut action) = self.action(finding.rule, way) else { continue };
            // An address that does not lead anywhere any more helps nobody.
            if is_address && action.changes() && !is_hidden(finding.rule) && !self.guard.demands(finding.rule)
            {
                action = Action::Report;
            }
            if is_fixed {
                action = self.guard.unchanging(finding.rule, action);
            }
            let mut is_fenced = || *is_fenced.get_or_insert_with(|| action::fenced(text).is_none());
            if action == Action::Fence && is_fenced() || self.is_told(finding.rule, action) {
                continue;
            }
            if unhides && !is_hidden(finding.rule) && action.changes() {
                continue;
            }
            self.note(*finding, action, way);
            match action {
                Action::Report => {}
                Action::Hold => self.hold(finding.rule),
                Action::Block => {
                    self.blocked = Some(finding.rule);
                    return None;
                }
                Action::Drop => drops = true,
                Action::Fence => fences = true,
                Action::Pseudonym => {
                    let kind = self.name_of(finding.rule);
                    edits.push((widened(&given, finding.start..finding.end), Instead::Name(kind)));
                }
                action => {
                    let instead = Instead::Text(self.instead(action, *finding, text));
                    edits.push((finding.start..finding.end, instead));
                }
            }
        }
        if drops {
            return Some(Changing::Whole(Bytes::from_static(b"\"[redacted]\"")));
        }
        if is_blob && !edits.is_empty() {
            return Some(Changing::Whole(Bytes::from_static(b"\"\"")));
        }
        let edits: Vec<TextEdit> = apart(edits)
            .into_iter()
            .map(|(place, instead)| match instead {
                Instead::Text(instead) => (place, instead),
                Instead::Name(kind) => {
                    let named = self.named(&kind, text.get(place.clone()).unwrap_or_default());
                    (place, named)
                }
            })
            .collect();
        if fences {
            let changed = edited(text, &edits);
            let fenced = action::fenced(&changed).unwrap_or(changed);
            return Some(Changing::Whole(quote(&fenced)));
        }
        (!edits.is_empty()).then_some(Changing::Text(edits))
    }

    /// What is written as a name that stands for a text, and is none that was given: a name stands for it too, so that nobody makes
    /// others' texts be put back by writing their names.
    fn forged(&self, text: &str, way: &[Step]) -> Vec<Range<usize>> {
        let are_given = self.subject.pseudonyms.is_some() && self.guard.pseudonymises;
        if !are_given || self.is_again || self.is_fixed(way) {
            return Vec::new();
        }
        pseudonym::places(text).collect()
    }

    /// The names in a text that were given just now, in order.
    fn given(&self, text: &str) -> Vec<Range<usize>> {
        if self.is_again && self.guard.pseudonymises { pseudonym::places(text).collect() } else { Vec::new() }
    }

    /// The name that stands for a text from now on. Names that were given just now become what they stand for first, so that all of
    /// it is put back at once.
    fn named(&self, kind: &str, text: &str) -> String {
        let name = self.subject.pseudonyms.and_then(|names| {
            if !self.is_again {
                return names.name(kind, text);
            }
            let given = pseudonym::places(text).filter_map(|place| {
                let meant = names.text(text.get(place.clone())?)?;
                Some((place, meant))
            });
            let given: Vec<TextEdit> = given.collect();
            names.name(kind, &edited(text, &given))
        });
        name.unwrap_or_else(|| format!("[redacted:{kind}]"))
    }

    /// What a rule is called where something was taken out.
    fn name_of(&self, rule: Rule) -> String {
        match rule {
            Rule::Own(_) => {
                let id = self.guard.scanner.id(rule);
                id.strip_prefix("own.").unwrap_or(&id).to_owned()
            }
            rule => rule.short().to_owned(),
        }
    }

    fn instead(&self, action: Action, finding: Finding, text: &str) -> String {
        let name = &self.name_of(finding.rule);
        let found = text.get(finding.start..finding.end).unwrap_or_default();
        if action == Action::Pseudonym {
            return self.named(name, found);
        }
        let key = || {
            let own = hmac::sign(&self.guard.key, self.subject.tenant.as_bytes());
            hmac::Key::new(hmac::HMAC_SHA256, own.as_ref())
        };
        action::instead(action, finding.rule, name, found, key)
    }

    /// A number: a card's, or what its name says that it is.
    fn number(&mut self, way: &[Step], raw: Range<usize>) {
        let Some(text) = self.bytes.get(raw.clone()).and_then(|text| std::str::from_utf8(text).ok()) else {
            return;
        };
        // With a sign, or a fraction of nothing, it is the same number.
        let text = text.strip_prefix('-').unwrap_or(text);
        let text = match text.split_once('.') {
            Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
            _ => text,
        };
        if text.len() < NUMBER_DIGITS_MIN
            || text.len() > 24
            || !text.bytes().all(|byte| byte.is_ascii_digit())
        {
            return;
        }
        let mut name = std::mem::take(&mut self.name);
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        let is_value = self.key(&mut name, way) == "value";
        let meaning = if is_value { self.label(&mut name, way) } else { self.key(&mut name, way) };
        self.guard.scanner.scan(text, meaning, &mut found);
        found.retain(|one| one.confidence >= NUMBER_CONFIDENCE_MIN && one.rule.family() != Family::Secret);
        let mut changes = false;
        for finding in &found {
            let Some(mut action) = self.action(finding.rule, way) else { continue };
            if !self.subject.reading.is_of_words() {
                action = self.guard.unchanging(finding.rule, action);
            }
            self.note(*finding, action, way);
            match action {
                Action::Block => self.blocked = Some(finding.rule),
                Action::Hold => self.hold(finding.rule),
                _ => {}
            }
            changes |= action.changes();
        }
        if changes {
            // It stays a number, as what reads it expects.
            self.changed.push(Changed { raw, kind: Changing::Whole(Bytes::from_static(b"0")) });
        }
        (self.name, self.found) = (name, found);
    }

    /// The name of a member.
    fn name(&mut self, way: &[Step], raw: Range<usize>) {
        let mut view = std::mem::take(&mut self.view);
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        let content = self.bytes.get(raw.clone()).unwrap_or_default();
        if let Some(text) = view.read(content) {
            self.guard.scanner.scan(text, "", &mut found);
            found.retain(|finding| !self.guard.is_of_mark(text, finding));
        }
        if !found.is_empty() {
            self.masked_names.push(raw.start);
        }
        for finding in &found {
            let Some(mut action) = self.action(finding.rule, way) else { continue };
            if !self.subject.reading.is_of_words() {
                action = self.guard.unchanging(finding.rule, action);
            }
            self.note(*finding, action, way);
            if action == Action::Block {
                self.blocked = Some(finding.rule);
            } else if action == Action::Hold {
                self.hold(finding.rule);
            } else if action.changes() && self.changed.last().is_none_or(|last| last.raw != raw) {
                // Names stay different from each other: the place is of this one alone.
                let name = format!("[redacted:{} {}]", finding.rule.short(), raw.start);
                self.changed.push(Changed { raw: raw.clone(), kind: Changing::Whole(quote(&name)) });
            }
        }
        (self.view, self.found) = (view, found);
    }

    /// Whether it was told of in what was there before something was changed.
    fn is_told(&self, rule: Rule, action: Action) -> bool {
        self.is_again && (action == Action::Report || action == Action::Hold && self.held.contains(&rule))
    }

    fn hold(&mut self, rule: Rule) {
        if !self.held.contains(&rule) {
            self.held.push(rule);
        }
    }

    /// Notes what was found, without it.
    fn note(&mut self, finding: Finding, action: Action, way: &[Step]) {
        if self.noted.len() >= NOTED_MAX {
            self.more += 1;
            return;
        }
        let path = self.path(way);
        self.noted.push(Noted { rule: finding.rule, action, confidence: finding.confidence, path });
    }
}

/// Whether something was found in one of these names, which stand in order.
fn is_of_name(given: &[Range<usize>], finding: &Finding) -> bool {
    let next = given.partition_point(|name| name.start <= finding.start);
    next.checked_sub(1).and_then(|last| given.get(last)).is_some_and(|name| finding.end <= name.end)
}

/// A part of a text with all of each of these names that it has some of.
fn widened(given: &[Range<usize>], part: Range<usize>) -> Range<usize> {
    let first = given.partition_point(|name| name.end <= part.start);
    let names = given.get(first..).unwrap_or_default().iter().take_while(|name| name.start < part.end);
    names.fold(part.clone(), |part, name| part.start.min(name.start)..part.end.max(name.end))
}

/// Whether what a rule finds are characters that hide others.
fn is_hidden(rule: Rule) -> bool {
    matches!(rule, Rule::Tags | Rule::ZeroWidth | Rule::Bidi | Rule::Ansi)
}

/// Whether the name of a member may have something in it. Most are short words.
fn is_worth_reading(name: &[u8]) -> bool {
    name.len() > 24
        || name.iter().any(|byte| *byte >= 0x80 || *byte == b'\\')
        || name.len() > 7 && name.iter().any(|byte| byte.is_ascii_digit() || matches!(byte, b'@' | b' '))
}
