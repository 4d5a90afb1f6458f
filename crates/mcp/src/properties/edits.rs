//! An edit does what the same change to a list of members would.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::generate::{Node, node, object, text, write};
use super::reference::{Entries, is_strict_json};
use crate::json::{self, Span};
use crate::{Change, Edit};

/// Which member to change, and to what; without a value it is removed.
type Step = (prop::sample::Index, Option<String>, Option<Node>);

fn step() -> impl Strategy<Value = Step> {
    (any::<prop::sample::Index>(), prop::option::of(text()), prop::option::of(node()))
}

fn entries(json: &[u8]) -> Vec<(String, String)> {
    serde_json::from_slice::<Entries>(json).unwrap().0
}

/// Applies the steps to a list: members that exist keep their places, new ones come last.
fn expected(json: &[u8], changes: &[(String, Option<String>)]) -> Vec<(String, String)> {
    let mut kept: Vec<_> = entries(json).into_iter().map(|(key, value)| (key, Some(value))).collect();
    let mut added: Vec<(String, String)> = Vec::new();
    for (key, value) in changes {
        if let Some((_, slot)) = kept.iter_mut().find(|(other, _)| other == key) {
            slot.clone_from(value);
        } else if let Some(value) = value {
            match added.iter_mut().find(|(other, _)| other == key) {
                Some((_, slot)) => slot.clone_from(value),
                None => added.push((key.clone(), value.clone())),
            }
        } else {
            added.retain(|(other, _)| other != key);
        }
    }
    kept.into_iter().filter_map(|(key, value)| Some((key, value?))).chain(added).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn an_edit_equals_a_change_to_the_members(
        outer in object(), inner in object(), noise in vec(any::<u8>(), 1..50),
        steps in vec((any::<bool>(), step()), 0..8),
    ) {
        // An object that has an object, so that both can be changed at once.
        let Node::Object(mut members) = outer else { unreachable!() };
        members.retain(|(key, _)| key != "inner");
        members.insert(members.len() / 2, ("inner".to_owned(), inner));
        let text = Bytes::from(write(&Node::Object(members), &noise));
        let root = json::validate(&text, &crate::Limits::default()).unwrap();
        let nested = json::find(&text, root, "inner").unwrap();

        let mut edit = Edit::new(&text);
        let mut outer_changes = Vec::new();
        let mut inner_changes = Vec::new();
        for (is_inner, (index, key, value)) in &steps {
            let (object, changes) =
                if *is_inner { (nested, &mut inner_changes) } else { (root, &mut outer_changes) };
            let existing: Vec<_> = json::members(&text, object).collect();
            let key = match key {
                Some(key) => key.clone(),
                None if existing.is_empty() => continue,
                None => existing[index.index(existing.len())].key(&text).into_owned(),
            };
            let value = value.as_ref().map(|node| write(node, &noise).trim().to_owned());
            match &value {
                Some(value) => edit.object(object, &[Change::Set(&key, Bytes::from(value.clone()))]),
                None => edit.object(object, &[Change::Remove(&key)]),
            }
            changes.push((key, value));
        }
        let edited = edit.finish().into_bytes();
        prop_assert!(is_strict_json(&edited), "{}", String::from_utf8_lossy(&edited));

        let mut wanted = expected(&text, &outer_changes);
        let is_inner_untouched = !outer_changes.iter().any(|(key, _)| key == "inner");
        let mut found = entries(&edited);
        if is_inner_untouched {
            let take_inner = |members: &mut Vec<(String, String)>| {
                let at = members.iter().position(|(key, _)| key == "inner").unwrap();
                members.remove(at).1
            };
            let before = take_inner(&mut wanted);
            let after = take_inner(&mut found);
            prop_assert_eq!(expected(before.as_bytes(), &inner_changes), entries(after.as_bytes()));
        }
        prop_assert_eq!(wanted, found);
    }

    #[test]
    fn any_splices_of_any_bytes_are_harmless(
        bytes in vec(any::<u8>(), 0..40), spans in vec((0..50_u32, 0..50_u32), 0..6),
    ) {
        let bytes = Bytes::from(bytes);
        let mut edit = Edit::new(&bytes);
        for (start, end) in spans {
            edit.replace(Span { start, end }, Bytes::from_static(b"x"));
            edit.object(Span { start, end }, &[Change::Set("a", Bytes::from_static(b"1")), Change::Remove("b")]);
        }
        let _ = edit.finish();
    }
}
