//! JSON, inspected as configured.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use ring::hmac;
use tollgate_mcp::{Span, quote};

use crate::action::{self, Action};
use crate::json::{Leaf, Step, View, Walk};
use crate::neighbours;
use crate::own::Pattern;
use crate::pseudonym;
use crate::rule::{Family, Finding, Rule, RuleSet};
use crate::scanner::Scanner;
use crate::subject::{Reading, Subject};

/// How many findings are told one by one. Of the others only how many there are.
const NOTED_MAX: usize = 32;
/// The longest path.
const PATH_BYTES_MAX: usize = 200;
/// How often what was changed is looked at again. What is not clean by then does not pass.
const ROUNDS_MAX: usize = 4;
/// Numbers with fewer digits say nothing by themselves.
const NUMBER_DIGITS_MIN: usize = 9;
/// How sure a finding in a number has to be: most numbers are nobody's.
const NUMBER_CONFIDENCE_MIN: u8 = 75;
/// How much of a block of text is read together with those beside it.
const SEAM: usize = 512;

/// What is looked for, and what becomes of it.
#[derive(Clone, Debug)]
pub struct Guard {
    scanner: Scanner,
    /// By place in [`Rule::ALL`]. None of what is only looked for somewhere.
    actions: Vec<Option<Action>>,
    /// By the operator's patterns.
    own: Vec<Option<Action>>,
    /// What is otherwise at some places, the most specific last.
    fields: Vec<Field>,
    key: hmac::Key,
    acts: bool,
    /// Whether names may come to stand for anything.
    pseudonymises: bool,
    /// What has to be taken out wherever it stands.
    demanded: RuleSet,
    demanded_own: Vec<bool>,
}

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
    /// It may not pass: the rule that says so. None of its own if what was changed never became clean.
    pub blocked: Option<Option<Rule>>,
}

impl Inspection {
    /// Whether nothing was found: then nothing is changed either.
    pub fn is_clean(&self) -> bool {
        self.noted.is_empty() && self.blocked.is_none()
    }
}

/// A change of a text: a part of it, and what stands there instead.
pub(crate) type TextEdit = (Range<usize>, String);

/// A text, and what is changed in it.
pub(crate) struct Changed {
    /// Where it stands, without quotes.
    pub(crate) raw: Range<usize>,
    pub(crate) kind: Changing,
}

pub(crate) enum Changing {
    Text(Vec<TextEdit>),
    /// All of it, as JSON.
    Whole(Bytes),
}

impl Guard {
    /// Looks for what the scanner looks for; `act` says of each rule what becomes of what it finds, the keys that digests are
    /// made with are drawn from `key`, one for each tenant. Without `acts` everything is only reported.
    pub fn new(scanner: Scanner, own: usize, act: impl Fn(Rule) -> Action, key: &[u8], acts: bool) -> Self {
        Self::of(scanner, own, |rule| Some(act(rule)), key, acts, Vec::new())
    }

    /// The same, with what is otherwise at some places.
    pub(crate) fn of(
        scanner: Scanner,
        own: usize,
        act: impl Fn(Rule) -> Option<Action>,
        key: &[u8],
        acts: bool,
        mut fields: Vec<Field>,
    ) -> Self {
        fields.sort_by_key(Field::rank);
        let actions = Rule::ALL.iter().map(|rule| act(*rule)).collect();
        let own = (0..).take(own).map(|place| act(Rule::Own(place))).collect();
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let (demanded, demanded_own) = (RuleSet::NONE, Vec::new());
        let pseudonymises = false;
        let guard = Self { scanner, actions, own, fields, key, acts, pseudonymises, demanded, demanded_own };
        guard.settled()
    }

    /// The same, which also takes out what these find: as it is configured to, if it is, or by a mask.
    pub(crate) fn redacting(&self, rules: RuleSet, own: &[bool], patterns: &[Pattern]) -> Self {
        let done = |is_demanded: bool, action: Option<Action>| match action {
            action if !is_demanded => action.map(|action| if self.acts { action } else { Action::Report }),
            Some(action) if self.acts && !matches!(action, Action::Report | Action::Fence) => Some(action),
            _ => Some(Action::Mask),
        };
        let actions =
            Rule::ALL.iter().zip(&self.actions).map(|(rule, action)| done(rules.has(*rule), *action));
        let own_actions = own.iter().zip(&self.own).map(|(is_demanded, action)| done(*is_demanded, *action));
        Self {
            scanner: self.scanner.with(rules, own, patterns),
            actions: actions.collect(),
            own: own_actions.collect(),
            fields: self
                .fields
                .iter()
                .map(|field| field.done(&done, |rule| demands(rules, own, rule)))
                .collect(),
            key: self.key.clone(),
            acts: true,
            pseudonymises: false,
            demanded: rules,
            demanded_own: own.to_vec(),
        }
        .settled()
    }

    fn settled(self) -> Self {
        let of_fields = self.fields.iter().flat_map(|field| field.rules.values());
        let mut all = self.actions.iter().chain(&self.own).chain(of_fields);
        let pseudonymises = self.acts && all.any(|action| *action == Some(Action::Pseudonym));
        Self { pseudonymises, ..self }
    }

    /// Whether names may come to stand for anything.
    pub fn pseudonymises(&self) -> bool {
        self.pseudonymises
    }

    /// Whether what a rule finds has to be taken out wherever it stands.
    fn demands(&self, rule: Rule) -> bool {
        demands(self.demanded, &self.demanded_own, rule)
    }

    /// What becomes of something that cannot be taken out of where it stands: what is meant for the model, or has to go, keeps the
    /// whole from passing.
    fn unchanging(&self, rule: Rule, action: Action) -> Action {
        match action {
            Action::Report | Action::Block => action,
            _ if self.demands(rule) => Action::Block,
            Action::Fence => Action::Report,
            _ if self.scanner.family(rule) == Family::Injection => Action::Block,
            _ => Action::Report,
        }
    }

    /// Whether something has to be taken out, whatever else is done.
    pub fn has_demands(&self) -> bool {
        !self.demanded.is_empty() || self.demanded_own.contains(&true)
    }

    /// Whether anything becomes of what is found, beside being on record.
    pub fn acts(&self) -> bool {
        self.acts
    }

    /// What looks.
    pub fn scanner(&self) -> &Scanner {
        &self.scanner
    }

    /// What becomes of what a rule finds, where nothing else is said of its place. Nothing of what is not looked for there.
    fn action(&self, rule: Rule) -> Option<Action> {
        let action = match rule {
            Rule::Own(place) => self.own.get(usize::from(place)),
            rule => Rule::ALL.iter().position(|one| *one == rule).and_then(|place| self.actions.get(place)),
        };
        let action = action.copied().flatten()?;
        Some(if self.acts { action } else { Action::Report })
    }

    /// The same at a place.
    fn action_at(&self, rule: Rule, way: &[Cow<'_, str>]) -> Option<Action> {
        let field = self.fields.iter().rev().find_map(|field| field.says(rule, way));
        match field {
            Some(action) => action.map(|action| if self.acts { action } else { Action::Report }),
            None => self.action(rule),
        }
    }

    /// Whether a finding lies in what stands for something that was taken out.
    fn is_of_mark(&self, text: &str, finding: &Finding) -> bool {
        let is_name =
            |name: &str| Rule::ALL.iter().any(|rule| rule.short() == name) || self.scanner.has_own(name);
        action::is_of_mark(text, &(finding.start..finding.end), is_name)
    }

    /// Inspects a JSON value within validated bytes, except for the members of it (at the top) that are named. Digests are made
    /// with the tenant's key.
    ///
    /// Texts of `content` that follow each other are also read as one, since a reader may.
    pub fn inspect(&self, bytes: &Bytes, value: Span, except: &[&str], tenant: &str) -> Inspection {
        self.inspect_as(bytes, value, &Subject { except, tenant, ..Subject::default() })
    }

    /// The same of something that is read in a way of its own.
    pub fn inspect_as(&self, bytes: &Bytes, value: Span, subject: &Subject<'_>) -> Inspection {
        let mut inspection = Inspection::default();
        if self.scanner.is_idle() {
            return inspection;
        }
        let mut current = value.slice(bytes);
        let mut is_changed = false;
        for round in 0.. {
            let mut pass = Pass::new(self, &current, subject, round > 0);
            pass.run();
            let Pass { changed, noted, more, blocked, .. } = pass;
            inspection.noted.extend(noted);
            inspection.more += more;
            if inspection.noted.len() > NOTED_MAX {
                inspection.more += inspection.noted.len() - NOTED_MAX;
                inspection.noted.truncate(NOTED_MAX);
            }
            if let Some(rule) = blocked {
                inspection.blocked = Some(Some(rule));
                return inspection;
            }
            if changed.is_empty() {
                break;
            }
            if round == ROUNDS_MAX {
                inspection.blocked = Some(None);
                return inspection;
            }
            current = spliced(&current, changed);
            is_changed = true;
        }
        if is_changed {
            inspection.changed = Some(current);
        }
        inspection
    }
}

/// Whether these have a rule among them.
fn demands(rules: RuleSet, own: &[bool], rule: Rule) -> bool {
    match rule {
        Rule::Own(place) => own.get(usize::from(place)).copied().unwrap_or_default(),
        rule => rules.has(rule),
    }
}

/// What becomes of something; nothing if it is not looked for.
type Done = Option<Action>;

/// What is otherwise at one place, and beneath it.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// The names and numbers on the way; none for any.
    way: Vec<Option<Box<str>>>,
    rules: BTreeMap<Rule, Option<Action>>,
}

impl Field {
    /// A JSON pointer in which `*` is any name or number.
    pub(crate) fn new(path: &str, rules: BTreeMap<Rule, Option<Action>>) -> Self {
        let name = |part: &str| (part != "*").then(|| part.replace("~1", "/").replace("~0", "~").into());
        Self { way: path.split('/').skip(1).map(name).collect(), rules }
    }

    /// How specific it is: a longer way is more than a shorter one, and a name more than any.
    fn rank(&self) -> (usize, usize) {
        (self.way.len(), self.way.iter().filter(|name| name.is_some()).count())
    }

    fn says(&self, rule: Rule, way: &[Cow<'_, str>]) -> Option<Done> {
        let action = self.rules.get(&rule)?;
        let is_beneath = way.len() >= self.way.len()
            && self.way.iter().zip(way).all(|(name, step)| name.as_deref().is_none_or(|name| name == step));
        is_beneath.then_some(*action)
    }

    /// The same with what is done instead.
    fn done(
        &self,
        done: &impl Fn(bool, Option<Action>) -> Option<Action>,
        is_demanded: impl Fn(Rule) -> bool,
    ) -> Self {
        let rules = self.rules.iter().map(|(rule, action)| (*rule, done(is_demanded(*rule), *action)));
        Self { way: self.way.clone(), rules: rules.collect() }
    }
}

/// One pass over a value.
struct Pass<'g> {
    guard: &'g Guard,
    bytes: &'g [u8],
    subject: &'g Subject<'g>,
    /// Whether something was changed before: then only what is to be changed still is told.
    is_again: bool,
    found: Vec<Finding>,
    view: View,
    /// The name that the texts here stand under.
    name: View,
    changed: Vec<Changed>,
    noted: Vec<Noted>,
    more: usize,
    blocked: Option<Rule>,
    /// Members in whose names something was found, by where they begin.
    masked_names: Vec<usize>,
    /// The texts of blocks of `content`, without quotes.
    blocks: Vec<Range<usize>>,
    /// The how manieth each is.
    blocks_at: Vec<usize>,
    /// What was found in two of them or more, and in which it begins.
    seams_told: BTreeSet<(Rule, usize)>,
}

impl<'g> Pass<'g> {
    fn new(guard: &'g Guard, bytes: &'g [u8], subject: &'g Subject<'g>, is_again: bool) -> Self {
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
            masked_names: Vec::new(),
            blocks: Vec::new(),
            blocks_at: Vec::new(),
            seams_told: BTreeSet::new(),
        }
    }

    fn run(&mut self) {
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

    /// The name of the innermost member.
    fn key<'a>(&self, view: &'a mut View, way: &[Step]) -> &'a str
    where
        'g: 'a,
    {
        let last = way.iter().rev().find_map(|step| match step {
            Step::Member(start, end) => self.bytes.get(*start..*end),
            Step::Element(_) => None,
        });
        last.and_then(|raw| view.read(raw)).unwrap_or_default()
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
        if let Some(text) = view.read(content) {
            self.guard.scanner.scan(text, key, &mut found);
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
        // What is hidden goes first: then what it hid is found as a whole.
        let unhides = found
            .iter()
            .any(|finding| is_hidden(finding.rule) && self.action(finding.rule, way) == Some(Action::Strip));
        for finding in found {
            if self.guard.is_of_mark(text, finding) || self.is_of_name(text, finding) {
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
            if action == Action::Fence && action::fenced(text).is_none()
                || self.is_again && action == Action::Report
            {
                continue;
            }
            if unhides && !is_hidden(finding.rule) && action.changes() {
                continue;
            }
            self.note(*finding, action, way);
            match action {
                Action::Report => {}
                Action::Block => {
                    self.blocked = Some(finding.rule);
                    return None;
                }
                Action::Drop => drops = true,
                Action::Fence => fences = true,
                Action::Pseudonym => {
                    let kind = self.name_of(finding.rule);
                    edits.push((self.widened(text, finding.start..finding.end), Instead::Name(kind)));
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

    /// Whether something was found in a name that was given just now.
    fn is_of_name(&self, text: &str, finding: &Finding) -> bool {
        self.is_again
            && self.guard.pseudonymises
            && pseudonym::places(text).any(|place| place.start <= finding.start && finding.end <= place.end)
    }

    /// A part of a text with all of each name that was given just now and that it has some of.
    fn widened(&self, text: &str, part: Range<usize>) -> Range<usize> {
        if !self.is_again {
            return part;
        }
        let names = pseudonym::places(text).filter(|name| name.start < part.end && part.start < name.end);
        names.fold(part.clone(), |part, name| part.start.min(name.start)..part.end.max(name.end))
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
        self.guard.scanner.scan(text, self.key(&mut name, way), &mut found);
        found.retain(|one| one.confidence >= NUMBER_CONFIDENCE_MIN && one.rule.family() != Family::Secret);
        let mut changes = false;
        for finding in &found {
            let Some(mut action) = self.action(finding.rule, way) else { continue };
            if !self.subject.reading.is_of_words() {
                action = self.guard.unchanging(finding.rule, action);
            }
            self.note(*finding, action, way);
            if action == Action::Block {
                self.blocked = Some(finding.rule);
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
            } else if action.changes() && self.changed.last().is_none_or(|last| last.raw != raw) {
                // Names stay different from each other: the place is of this one alone.
                let name = format!("[redacted:{} {}]", finding.rule.short(), raw.start);
                self.changed.push(Changed { raw: raw.clone(), kind: Changing::Whole(quote(&name)) });
            }
        }
        (self.view, self.found) = (view, found);
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

    fn path(&self, way: &[Step]) -> String {
        let mut path = String::new();
        for step in way {
            let mut name = String::new();
            match *step {
                Step::Element(place) => drop(write!(name, "{place}")),
                Step::Member(start, _) if self.masked_names.contains(&start) => name.push('*'),
                Step::Member(start, end) => {
                    let raw = self.bytes.get(start..end).unwrap_or_default();
                    let mut view = View::default();
                    let text = view.read(raw).unwrap_or_default();
                    name = text.replace('~', "~0").replace('/', "~1");
                }
            }
            if path.len() + name.len() >= PATH_BYTES_MAX {
                break;
            }
            path.push('/');
            path.push_str(&name);
        }
        path
    }

    /// What becomes of what a rule finds here.
    fn action(&self, rule: Rule, way: &[Step]) -> Option<Action> {
        if self.guard.fields.is_empty() {
            return self.guard.action(rule);
        }
        let mut view = View::default();
        let steps = way.iter().map(|step| match *step {
            Step::Element(place) => Cow::Owned(place.to_string()),
            Step::Member(start, end) => {
                let raw = self.bytes.get(start..end).unwrap_or_default();
                Cow::Owned(view.read(raw).unwrap_or_default().to_owned())
            }
        });
        self.guard.action_at(rule, &steps.collect::<Vec<_>>())
    }

    /// Whether a text has to stay as it is, since it is no words of anybody's.
    fn is_fixed(&self, way: &[Step]) -> bool {
        if self.subject.reading.is_of_words() {
            return false;
        }
        let mut view = View::default();
        let names = way.iter().filter_map(|step| match *step {
            Step::Member(start, end) => self.bytes.get(start..end),
            Step::Element(_) => None,
        });
        let names: Vec<String> = names.map(|raw| view.read(raw).unwrap_or_default().to_owned()).collect();
        self.subject.reading.is_fixed(&names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn names(&self, step: Step, name: &str) -> bool {
        matches!(step, Step::Member(start, end) if self.bytes.get(start..end) == Some(name.as_bytes()))
    }

    /// Whether it is a text that is read together with those beside it: of a block of content, of a part of a resource, or of a
    /// message of a prompt; also within what a task came to. Which place it has among them.
    fn block_of(&self, way: &[Step]) -> Option<usize> {
        let way = match way {
            [result, rest @ ..] if self.names(*result, "result") => rest,
            way => way,
        };
        match way {
            [list, Step::Element(place), text] => {
                let is_list = self.names(*list, "content") || self.names(*list, "contents");
                (is_list && self.names(*text, "text")).then_some(*place)
            }
            [list, Step::Element(place), content, text] => {
                let is_message = self.names(*list, "messages") && self.names(*content, "content");
                (is_message && self.names(*text, "text")).then_some(*place)
            }
            _ => None,
        }
    }

    fn is_of_content(&self, way: &[Step]) -> bool {
        way.first().is_some_and(|first| {
            ["content", "contents", "messages"].iter().any(|content| self.names(*first, content))
        })
    }

    /// What becomes of what a rule finds in a block, whose place stands for those that it goes on in.
    fn action_of_block(&self, rule: Rule, block: usize) -> Option<Action> {
        let place = self.blocks_at.get(block).copied().unwrap_or_default().to_string();
        self.guard.action_at(rule, &["content".into(), place.into(), "text".into()])
    }

    /// Reads the texts of blocks that follow each other as one, and looks for what is of two of them.
    fn seams(&mut self) {
        let blocks = std::mem::take(&mut self.blocks);
        let mut edits: BTreeMap<usize, Vec<TextEdit>> = BTreeMap::new();
        // A reader may put something between them, or nothing.
        for between in ["", " "] {
            self.seams_with(&blocks, between, &mut edits);
        }
        // Texts come in order.
        let alone = self.changed.len();
        for (block, edits) in edits {
            let Some(raw) = blocks.get(block).cloned() else { continue };
            // What a text by itself has to change comes first; the rest is found again.
            let before = self.changed.get(..alone).unwrap_or_default();
            if before.binary_search_by_key(&raw.start, |changed| changed.raw.start).is_ok() {
                continue;
            }
            let mut view = View::default();
            if view.read(self.bytes.get(raw.clone()).unwrap_or_default()).is_some() {
                let kind = located(Changing::Text(merged(edits)), &view);
                self.changed.push(Changed { raw, kind });
            }
        }
    }

    fn seams_with(
        &mut self,
        blocks: &[Range<usize>],
        between: &'static str,
        edits: &mut BTreeMap<usize, Vec<TextEdit>>,
    ) {
        let mut window = Window { between, ..Window::default() };
        for (place, raw) in blocks.iter().enumerate() {
            let content = self.bytes.get(raw.clone()).unwrap_or_default();
            let mut view = View::default();
            let Some(text) = view.read(content) else { continue };
            if text.len() <= 2 * SEAM {
                window.push(place, 0, text);
                continue;
            }
            let head = floor(text, SEAM);
            window.push(place, 0, text.get(..head).unwrap_or_default());
            self.seam(&window, edits);
            window = Window { between, ..Window::default() };
            let tail = floor(text, text.len() - SEAM);
            window.push(place, tail, text.get(tail..).unwrap_or_default());
        }
        self.seam(&window, edits);
    }

    fn seam(&mut self, window: &Window, edits: &mut BTreeMap<usize, Vec<TextEdit>>) {
        if window.pieces.len() < 2 {
            return;
        }
        let mut found = Vec::new();
        self.guard.scanner.scan(&window.text, "text", &mut found);
        for finding in found {
            let pieces: Vec<usize> = window.pieces_of(finding.start..finding.end).collect();
            if pieces.len() < 2 || self.guard.is_of_mark(&window.text, &finding) {
                continue;
            }
            let first = pieces.first().and_then(|piece| window.pieces.get(*piece)).map(|(block, ..)| *block);
            // Found already with something else between them.
            if !self.seams_told.insert((finding.rule, first.unwrap_or_default())) {
                continue;
            }
            let action = match self.action_of_block(finding.rule, first.unwrap_or_default()) {
                None => continue,
                // Of these blocks nothing stays that would have to be fenced.
                Some(Action::Fence | Action::Drop) => Action::Mask,
                Some(action) => action,
            };
            if self.is_again && action == Action::Report {
                continue;
            }
            self.note(finding, action, &[]);
            match action {
                Action::Report => {}
                Action::Block => {
                    self.blocked = Some(finding.rule);
                    return;
                }
                action => {
                    for (nth, piece) in pieces.into_iter().enumerate() {
                        let part = window.part(piece, finding.start..finding.end);
                        let instead = match nth {
                            0 => self.instead(
                                if action == Action::Partial { Action::Mask } else { action },
                                finding,
                                &window.text,
                            ),
                            _ => String::new(),
                        };
                        if let Some((block, ..)) = window.pieces.get(piece) {
                            edits.entry(*block).or_default().push((part, instead));
                        }
                    }
                }
            }
        }
    }
}

/// Texts that follow each other, read as one.
#[derive(Default)]
struct Window {
    /// What stands between two of them.
    between: &'static str,
    text: String,
    /// Of each: which block, where in the block's text it begins, and where here.
    pieces: Vec<(usize, usize, usize)>,
}

impl Window {
    fn push(&mut self, block: usize, offset: usize, text: &str) {
        if !text.is_empty() {
            if !self.pieces.is_empty() {
                self.text.push_str(self.between);
            }
            self.pieces.push((block, offset, self.text.len()));
            self.text.push_str(text);
        }
    }

    /// Which pieces a part of the text lies in.
    fn pieces_of(&self, part: Range<usize>) -> impl Iterator<Item = usize> {
        let first = self.pieces.partition_point(|(.., start)| *start <= part.start).saturating_sub(1);
        let last = self.pieces.partition_point(|(.., start)| *start < part.end);
        first..last
    }

    /// The part of a block's text that a part of the whole is.
    fn part(&self, piece: usize, part: Range<usize>) -> Range<usize> {
        let Some((_, offset, start)) = self.pieces.get(piece) else { return 0..0 };
        let end = self.pieces.get(piece + 1).map_or(self.text.len(), |(.., next)| *next - self.between.len());
        let from = part.start.max(*start) - start + offset;
        let to = part.end.min(end) - start + offset;
        from.min(to)..to
    }
}

/// Whether what a rule finds are characters that hide others.
fn is_hidden(rule: Rule) -> bool {
    matches!(rule, Rule::Tags | Rule::ZeroWidth | Rule::Bidi | Rule::Ansi)
}

/// The largest boundary of characters up to here.
fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Whether the name of a member may have something in it. Most are short words.
fn is_worth_reading(name: &[u8]) -> bool {
    name.len() > 24
        || name.iter().any(|byte| *byte >= 0x80 || *byte == b'\\')
        || name.len() > 7 && name.iter().any(|byte| byte.is_ascii_digit() || matches!(byte, b'@' | b' '))
}

/// Changes of a text as changes of the string that it is read from.
pub(crate) fn located(kind: Changing, view: &View) -> Changing {
    match kind {
        Changing::Text(edits) => Changing::Text(
            edits
                .into_iter()
                .map(|(part, instead)| (view.raw(part.start)..view.raw(part.end), instead))
                .collect(),
        ),
        whole @ Changing::Whole(_) => whole,
    }
}

/// What stands in place of something.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Instead {
    Text(String),
    /// A name of this kind, for all of what was there.
    Name(String),
}

/// Changes in order and apart from each other: those that overlap become one, with what stands in place of the first.
pub(crate) fn merged(edits: Vec<TextEdit>) -> Vec<TextEdit> {
    let edits = edits.into_iter().map(|(place, instead)| (place, Instead::Text(instead)));
    let apart = apart(edits.collect()).into_iter().map(|(place, instead)| match instead {
        Instead::Text(instead) | Instead::Name(instead) => (place, instead),
    });
    apart.collect()
}

/// The same of names too, which stand only where nothing else has to.
fn apart(mut edits: Vec<(Range<usize>, Instead)>) -> Vec<(Range<usize>, Instead)> {
    edits.sort_by_key(|(part, _)| (part.start, part.end));
    let mut apart: Vec<(Range<usize>, Instead)> = Vec::with_capacity(edits.len());
    for (part, instead) in edits {
        match apart.last_mut() {
            Some((last, kept)) if part.start < last.end => {
                last.end = last.end.max(part.end);
                match (&*kept, instead) {
                    (Instead::Name(kind), Instead::Text(text)) if text.is_empty() => {
                        *kept = Instead::Text(format!("[redacted:{kind}]"));
                    }
                    (Instead::Name(_), text @ Instead::Text(_)) => *kept = text,
                    (Instead::Text(text), Instead::Name(kind)) if text.is_empty() => {
                        *kept = Instead::Text(format!("[redacted:{kind}]"));
                    }
                    (Instead::Text(text), other @ Instead::Text(_)) if text.is_empty() => *kept = other,
                    _ => {}
                }
            }
            _ => apart.push((part, instead)),
        }
    }
    apart
}

pub(crate) fn edited(text: &str, edits: &[TextEdit]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (part, instead) in edits {
        out.push_str(text.get(from..part.start).unwrap_or_default());
        out.push_str(instead);
        from = part.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

/// The bytes with everything changed that is to be.
pub(crate) fn spliced(bytes: &[u8], mut changed: Vec<Changed>) -> Bytes {
    changed.sort_by_key(|changed| changed.raw.start);
    let mut out = BytesMut::with_capacity(bytes.len() + 64);
    let mut from = 0;
    for Changed { raw, kind } in changed {
        match kind {
            Changing::Whole(value) => {
                // With its quotes, if it has any.
                let quotes = usize::from(bytes.get(raw.end) == Some(&b'"'));
                out.extend_from_slice(bytes.get(from..raw.start - quotes).unwrap_or_default());
                out.extend_from_slice(&value);
                from = raw.end + quotes;
            }
            Changing::Text(edits) => {
                for (part, instead) in edits {
                    out.extend_from_slice(bytes.get(from..raw.start + part.start).unwrap_or_default());
                    let quoted = quote(&instead);
                    out.extend_from_slice(quoted.get(1..quoted.len() - 1).unwrap_or_default());
                    from = raw.start + part.end;
                }
            }
        }
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
    out.freeze()
}
