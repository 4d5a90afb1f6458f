//! Changes to a message as splices into its original bytes: whatever is not changed stays to the letter.

use std::cmp::Reverse;

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

use crate::json::{self, JsonKind, Member, Span};
use crate::segments::{Gather, Segments};

/// One change to an object.
#[derive(Clone, Debug)]
pub enum Change<'c> {
    /// Gives a member this raw JSON value. A member that is missing is added at the end of the object.
    Set(&'c str, Bytes),
    /// Removes a member, if it is there.
    Remove(&'c str),
}

/// Changes being collected for validated JSON.
///
/// Spans always refer to the original bytes, in whatever order the changes come. Changes to the same thing: the last
/// one holds. Changes inside of something that is itself replaced or removed are lost with it.
#[derive(Debug)]
pub struct Edit<'a> {
    bytes: &'a Bytes,
    splices: SmallVec<[Splice; 8]>,
    objects: SmallVec<[ObjectEdit; 2]>,
}

#[derive(Debug)]
struct Splice {
    span: Span,
    with: Bytes,
}

/// An object that gains or loses members. Commas are settled at the end, when all changes are known.
#[derive(Debug)]
struct ObjectEdit {
    object: Span,
    members: SmallVec<[Member; 8]>,
    /// Which of the members go.
    removed: SmallVec<[bool; 8]>,
    /// Keys (quoted) and values of members that come.
    added: SmallVec<[(Bytes, Bytes); 2]>,
}

impl<'a> Edit<'a> {
    /// Begins with no changes to `bytes`, which must have been validated.
    pub fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, splices: SmallVec::new(), objects: SmallVec::new() }
    }

    /// Replaces what stands at `span` with raw JSON.
    pub fn replace(&mut self, span: Span, with: impl Into<Bytes>) {
        let with = with.into();
        match self.splices.iter_mut().find(|splice| splice.span == span) {
            Some(splice) => splice.with = with,
            None => self.splices.push(Splice { span, with }),
        }
    }

    /// Replaces what stands at `span` with raw JSON, at a place that is changed this once: unlike [`Self::replace`] it
    /// does not look for an earlier change, so that many of them stay cheap.
    pub fn replace_once(&mut self, span: Span, with: impl Into<Bytes>) {
        self.splices.push(Splice { span, with: with.into() });
    }

    /// Changes members of the object at `object`.
    pub fn object(&mut self, object: Span, changes: &[Change<'_>]) {
        let members: SmallVec<[Member; 8]> = json::members(self.bytes, object).collect();
        self.members(object, &members, changes);
    }

    /// Changes members of the object at `object`, whose members are already known to the caller.
    pub fn members(&mut self, object: Span, members: &[Member], changes: &[Change<'_>]) {
        if json::kind_of(self.bytes, object) != JsonKind::Object {
            return;
        }
        for change in changes {
            let (Change::Set(key, _) | Change::Remove(key)) = change;
            let index = members.iter().position(|member| member.key_is(self.bytes, key));
            match (change, index.and_then(|index| Some((index, members.get(index)?)))) {
                (Change::Set(_, value), Some((index, member))) => {
                    if let Some(edit) = self.objects.iter_mut().find(|edit| edit.object == object)
                        && let Some(removed) = edit.removed.get_mut(index)
                    {
                        *removed = false;
                    }
                    self.replace(member.value, value.clone());
                }
                (Change::Set(key, value), None) => {
                    let key = json::quote(key);
                    let added = &mut self.of(object, members).added;
                    match added.iter_mut().find(|(other, _)| *other == key) {
                        Some((_, earlier)) => *earlier = value.clone(),
                        None => added.push((key, value.clone())),
                    }
                }
                (Change::Remove(_), Some((index, _))) => {
                    if let Some(removed) = self.of(object, members).removed.get_mut(index) {
                        *removed = true;
                    }
                }
                (Change::Remove(key), None) => {
                    if let Some(edit) = self.objects.iter_mut().find(|edit| edit.object == object) {
                        let key = json::quote(key);
                        edit.added.retain(|(other, _)| *other != key);
                    }
                }
            }
        }
    }

    /// Changes members of the object that is, or shall become, the member `key` of the object at `object`. What stands
    /// there and is no object is replaced.
    pub fn within(&mut self, object: Span, key: &str, changes: &[Change<'_>]) {
        let members: SmallVec<[Member; 8]> = json::members(self.bytes, object).collect();
        self.nested(object, &members, key, changes);
    }

    /// The same where the members are already known to the caller.
    pub(crate) fn nested(&mut self, object: Span, members: &[Member], key: &str, changes: &[Change<'_>]) {
        let member = members.iter().find(|member| member.key_is(self.bytes, key));
        if let Some(member) = member
            && json::kind_of(self.bytes, member.value) == JsonKind::Object
        {
            self.object(member.value, changes);
            return;
        }
        let begun = self.pending(object, member, key).unwrap_or(Bytes::from_static(b"{}"));
        let mut inner = Edit::new(&begun);
        inner.object(json::whole(&begun), changes);
        self.members(object, members, &[Change::Set(key, inner.finish().into_bytes())]);
    }

    /// The object that earlier changes give the member `key`.
    pub(crate) fn pending(&self, object: Span, member: Option<&Member>, key: &str) -> Option<Bytes> {
        let value = match member {
            Some(member) => &self.splices.iter().find(|splice| splice.span == member.value)?.with,
            None => {
                let key = json::quote(key);
                let edit = self.objects.iter().find(|edit| edit.object == object)?;
                edit.added.iter().find(|(other, _)| *other == key).map(|(_, value)| value)?
            }
        };
        (json::kind_of(value, json::whole(value)) == JsonKind::Object).then(|| value.clone())
    }

    fn of(&mut self, object: Span, members: &[Member]) -> &mut ObjectEdit {
        let index = self.objects.iter().position(|edit| edit.object == object).unwrap_or_else(|| {
            self.objects.push(ObjectEdit {
                object,
                members: members.into(),
                removed: SmallVec::from_elem(false, members.len()),
                added: SmallVec::new(),
            });
            self.objects.len() - 1
        });
        &mut self.objects[index]
    }

    /// The changed bytes: in one piece if they are few, otherwise sharing the original and the replacements.
    pub fn finish(mut self) -> Segments {
        for object in std::mem::take(&mut self.objects) {
            object.settle(&mut self.splices);
        }
        if self.splices.is_empty() {
            return Segments::from(self.bytes.clone());
        }
        // What encloses comes before what it encloses; insertions come before what they precede.
        self.splices
            .sort_by_key(|splice| (splice.span.start, !splice.span.is_empty(), Reverse(splice.span.end)));

        let grown: usize = self.splices.iter().map(|splice| splice.with.len()).sum();
        let shrunk: usize = self.splices.iter().map(|splice| splice.span.len()).sum();
        // Too little where splices overlap, which is rare; then the buffer grows.
        let mut gather = Gather::new((self.bytes.len() + grown).saturating_sub(shrunk));
        let mut at = 0;
        for Splice { span, with } in self.splices {
            if span.start < at || span.end < span.start || span.end as usize > self.bytes.len() {
                continue;
            }
            gather.add(Span { start: at, end: span.start }.slice(self.bytes));
            gather.add(with);
            at = span.end;
        }
        gather.add(Span { start: at, end: Span::all(self.bytes).end }.slice(self.bytes));
        gather.finish()
    }
}

impl ObjectEdit {
    /// Turns gains and losses into splices, with the right commas.
    fn settle(self, splices: &mut SmallVec<[Splice; 8]>) {
        let Self { object, members, removed, added } = self;
        let kept_first = removed.iter().position(|&removed| !removed);
        let mut cut = |start, end, with| splices.push(Splice { span: Span { start, end }, with });

        let (Some(first), Some(last)) = (members.first(), members.last()) else {
            cut(object.start + 1, object.start + 1, written(&added, false));
            return;
        };
        let Some(kept_first) = kept_first else {
            cut(first.key.start, last.value.end, written(&added, false));
            return;
        };
        for (index, pair) in members.windows(2).enumerate() {
            let [member, next] = pair else { continue };
            if index < kept_first {
                // Goes with the comma behind it, since nothing stays before it.
                cut(member.key.start, next.key.start, Bytes::new());
            } else if removed.get(index + 1) == Some(&true) {
                cut(member.value.end, next.value.end, Bytes::new());
            }
        }
        if !added.is_empty() {
            cut(last.value.end, last.value.end, written(&added, true));
        }
    }
}

/// Members as text, parted by commas; with one in front if others stand before them.
fn written(added: &[(Bytes, Bytes)], follow: bool) -> Bytes {
    let mut text =
        BytesMut::with_capacity(added.iter().map(|(key, value)| key.len() + value.len() + 2).sum());
    for (index, (key, value)) in added.iter().enumerate() {
        if follow || index > 0 {
            text.put_u8(b',');
        }
        text.extend_from_slice(key);
        text.put_u8(b':');
        text.extend_from_slice(value);
    }
    text.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Change::{Remove, Set};

    fn set<'c>(key: &'c str, value: &'static str) -> Change<'c> {
        Set(key, Bytes::from_static(value.as_bytes()))
    }

    fn changed(json: &'static str, changes: &[Change<'_>]) -> String {
        let bytes = Bytes::from_static(json.as_bytes());
        let mut edit = Edit::new(&bytes);
        edit.object(json::whole(&bytes), changes);
        String::from_utf8(edit.finish().into_bytes().to_vec()).unwrap()
    }

    #[test]
    fn nothing_changed_is_the_same_bytes() {
        let bytes = Bytes::from_static(b"{}");
        assert_eq!(Edit::new(&bytes).finish().into_bytes().as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn members_are_set_added_and_removed_with_their_commas() {
        let json = r#" { "a" : 1 , "b":2,  "c" : [3] } "#;
        assert_eq!(changed(json, &[set("b", "20")]), r#" { "a" : 1 , "b":20,  "c" : [3] } "#);
        assert_eq!(changed(json, &[set("d", "4")]), r#" { "a" : 1 , "b":2,  "c" : [3],"d":4 } "#);
        assert_eq!(changed(json, &[Remove("a")]), r#" { "b":2,  "c" : [3] } "#);
        assert_eq!(changed(json, &[Remove("b")]), r#" { "a" : 1,  "c" : [3] } "#);
        assert_eq!(changed(json, &[Remove("c")]), r#" { "a" : 1 , "b":2 } "#);
        assert_eq!(changed(json, &[Remove("a"), Remove("b")]), r#" { "c" : [3] } "#);
        assert_eq!(changed(json, &[Remove("b"), Remove("c")]), r#" { "a" : 1 } "#);
        assert_eq!(changed(json, &[Remove("a"), Remove("c"), set("d", "4")]), r#" { "b":2,"d":4 } "#);
        assert_eq!(changed(json, &[Remove("c"), Remove("b"), Remove("a")]), " {  } ");
        let all = [Remove("a"), Remove("b"), Remove("c"), set("d", "4"), set("e", "5")];
        assert_eq!(changed(json, &all), r#" { "d":4,"e":5 } "#);
    }

    #[test]
    fn empty_objects_gain_members() {
        assert_eq!(changed("{}", &[set("a", "1")]), r#"{"a":1}"#);
        assert_eq!(changed("{ }", &[set("a\"", "1"), set("b", "2")]), r#"{"a\"":1,"b":2 }"#);
        assert_eq!(changed("{}", &[Remove("a")]), "{}");
    }

    #[test]
    fn the_last_change_to_a_member_holds() {
        assert_eq!(changed(r#"{"a":1}"#, &[Remove("a"), set("a", "2")]), r#"{"a":2}"#);
        assert_eq!(changed(r#"{"a":1}"#, &[set("a", "2"), Remove("a")]), "{}");
        assert_eq!(changed(r#"{"a":1}"#, &[set("b", "2"), Remove("b")]), r#"{"a":1}"#);
        assert_eq!(changed(r#"{"a":1}"#, &[set("b", "2"), set("b", "3")]), r#"{"a":1,"b":3}"#);
        assert_eq!(changed(r#"{"\u0061":1}"#, &[set("a", "2")]), r#"{"\u0061":2}"#);
    }

    #[test]
    fn an_object_within_is_changed_or_made() {
        for (before, after) in [
            (r#"{"a":{"x":0}}"#, r#"{"a":{"x":0,"b":1}}"#),
            (r#"{"a":{"b":0}}"#, r#"{"a":{"b":1}}"#),
            (r#"{"c":2}"#, r#"{"c":2,"a":{"b":1}}"#),
            (r#"{"a":null}"#, r#"{"a":{"b":1}}"#),
        ] {
            let bytes = Bytes::from_static(before.as_bytes());
            let mut edit = Edit::new(&bytes);
            edit.within(json::whole(&bytes), "a", &[set("b", "1")]);
            assert_eq!(edit.finish().into_bytes(), after, "{before}");
        }
    }

    #[test]
    fn changes_to_parts_of_what_goes_are_lost() {
        let bytes = Bytes::from_static(br#"{"a":{"b":1},"c":2}"#);
        let root = json::whole(&bytes);
        let a = json::find(&bytes, root, "a").unwrap();
        let mut edit = Edit::new(&bytes);
        edit.object(a, &[set("b", "10"), set("x", "1")]);
        edit.object(root, &[Remove("a")]);
        assert_eq!(edit.finish().into_bytes(), r#"{"c":2}"#);
        let mut edit = Edit::new(&bytes);
        edit.object(a, &[set("b", "10")]);
        edit.object(root, &[set("a", "[]"), set("d", "4")]);
        assert_eq!(edit.finish().into_bytes(), r#"{"a":[],"c":2,"d":4}"#);
    }

    #[test]
    fn what_is_no_object_is_left_alone() {
        assert_eq!(changed("[1]", &[set("a", "1")]), "[1]");
    }

    #[test]
    fn a_large_value_is_not_copied() {
        let large = Bytes::from(format!(r#"{{"id":1,"text":"{}"}}"#, "x".repeat(100_000)));
        let mut edit = Edit::new(&large);
        edit.object(json::whole(&large), &[set("id", "22")]);
        let segments = edit.finish();
        assert_eq!(segments.len(), large.len() + 1);
        assert!(segments.iter().any(|piece| large.as_ptr_range().contains(&piece.as_ptr())));
    }
}
