//! Where something stands.

use std::borrow::Cow;
use std::fmt::Write;

use super::Pass;
use crate::action::Action;
use crate::json::{Step, View};
use crate::rule::Rule;

/// The longest path.
const PATH_BYTES_MAX: usize = 200;
/// How much of a member's name is read. One may be as long as all else together, and stand above as many texts: no time may grow with
/// both.
const NAME_BYTES_MAX: usize = 512;

/// Members in which blocks of texts stand that are read together.
const BLOCKS: &[&str] = &["content", "contents", "messages", "resource", "result"];

/// The step to the object or list that the last one is in.
pub(super) fn parent(way: &[Step]) -> Option<Step> {
    way.len().checked_sub(2).and_then(|at| way.get(at)).copied()
}

/// What of a name is read.
fn bounded(raw: &[u8]) -> &[u8] {
    let Some(start) = raw.get(..NAME_BYTES_MAX) else { return raw };
    // Not into the middle of an escape, as long as they come.
    let last = start.len() - 12;
    let escape =
        start.get(last..).and_then(|end| memchr::memchr(b'\\', end)).map_or(start.len(), |at| last + at);
    let start = start.get(..escape).unwrap_or_default();
    let whole = std::str::from_utf8(start).map_or_else(|error| error.valid_up_to(), str::len);
    start.get(..whole).unwrap_or_default()
}

impl<'g> Pass<'g> {
    /// The name of the innermost member.
    pub(super) fn key<'a>(&self, view: &'a mut View, way: &[Step]) -> &'a str
    where
        'g: 'a,
    {
        let last = way.iter().rev().find_map(|step| match step {
            Step::Member(start, end) => self.bytes.get(*start..*end),
            Step::Element(_) => None,
        });
        last.and_then(|raw| view.read(bounded(raw))).unwrap_or_default()
    }

    /// What a member that is called a value is the value of: what another member of its object has said before, or what that object is
    /// called.
    pub(super) fn label<'a>(&self, view: &'a mut View, way: &[Step]) -> &'a str
    where
        'g: 'a,
    {
        let parent = parent(way);
        let said = self.said.as_ref().filter(|(depth, of, _)| *depth == way.len() && *of == parent);
        let raw = match (said, parent) {
            (Some((.., raw)), _) => self.bytes.get(raw.clone()),
            (None, Some(Step::Member(start, end))) => self.bytes.get(start..end),
            _ => None,
        };
        raw.and_then(|raw| view.read(bounded(raw))).unwrap_or_default()
    }

    pub(super) fn path(&self, way: &[Step]) -> String {
        let mut path = String::new();
        for step in way {
            let mut name = String::new();
            match *step {
                Step::Element(place) => drop(write!(name, "{place}")),
                Step::Member(start, _) if self.masked_names.contains(&start) => name.push('*'),
                Step::Member(start, end) => {
                    let raw = self.bytes.get(start..end).unwrap_or_default();
                    let mut view = View::default();
                    let text = view.read(bounded(raw)).unwrap_or_default();
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
    pub(super) fn action(&self, rule: Rule, way: &[Step]) -> Option<Action> {
        if self.guard.fields.is_empty() {
            return self.guard.action(rule);
        }
        let mut view = View::default();
        let steps = way.iter().map(|step| match *step {
            Step::Element(place) => Cow::Owned(place.to_string()),
            Step::Member(start, end) => {
                let raw = self.bytes.get(start..end).unwrap_or_default();
                Cow::Owned(view.read(bounded(raw)).unwrap_or_default().to_owned())
            }
        });
        self.guard.action_at(rule, &steps.collect::<Vec<_>>())
    }

    /// Whether a text has to stay as it is, since it is no words of anybody's.
    pub(super) fn is_fixed(&self, way: &[Step]) -> bool {
        if self.subject.reading.is_of_words() {
            return false;
        }
        let mut view = View::default();
        let names = way.iter().filter_map(|step| match *step {
            Step::Member(start, end) => self.bytes.get(start..end),
            Step::Element(_) => None,
        });
        let names = names.map(|raw| view.read(bounded(raw)).unwrap_or_default().to_owned());
        let names: Vec<String> = names.collect();
        self.subject.reading.is_fixed(&names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn names(&self, step: Step, name: &str) -> bool {
        let Step::Member(start, end) = step else { return false };
        let raw = self.bytes.get(start..end).unwrap_or_default();
        // Whoever reads it reads its escapes too.
        raw == name.as_bytes()
            || memchr::memchr(b'\\', raw).is_some() && View::default().read(bounded(raw)) == Some(name)
    }

    /// Whether it is a text that is read together with those beside it: of a block of content, of a resource or a part of one, or of
    /// a message of a prompt; also within what a task came to, and what a server asks a model. Which place it has among them.
    pub(super) fn block_of(&self, way: &[Step]) -> Option<usize> {
        let (text, way) = way.split_last()?;
        if !self.names(*text, "text") {
            return None;
        }
        let way = match way {
            [requests, _, params, rest @ ..]
                if self.names(*requests, "inputRequests") && self.names(*params, "params") =>
            {
                rest
            }
            way => way,
        };
        let mut place = None;
        for step in way {
            match step {
                Step::Element(at) => place = place.or(Some(*at)),
                Step::Member(..) if BLOCKS.iter().any(|name| self.names(*step, name)) => {}
                Step::Member(..) => return None,
            }
        }
        place
    }

    pub(super) fn is_of_content(&self, way: &[Step]) -> bool {
        way.first().is_some_and(|first| {
            ["content", "contents", "messages"].iter().any(|content| self.names(*first, content))
        })
    }
}
