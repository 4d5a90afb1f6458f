//! Whole messages: what is put in comes out, and no bytes do harm.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::generate::{Node, nearly_json, object, text, write};
use super::reference::is_strict_json;
use crate::{Change, Fault, Kind, Limits, Message};

const ANY_SIZE: Limits = Limits { depth_max: usize::MAX, bytes_max: usize::MAX };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_request_reads_as_it_was_written(
        id in any::<u64>(), method in text(), params in object(), noise in vec(any::<u8>(), 1..50), order in any::<[u8; 5]>(),
    ) {
        prop_assume!(!method.is_empty());
        let Node::Object(members) = &params else { unreachable!() };
        let mut envelope = vec![
            ("jsonrpc".to_owned(), Node::Text("2.0".to_owned())),
            ("id".to_owned(), Node::Number(id.to_string())),
            ("method".to_owned(), Node::Text(method.clone())),
            ("params".to_owned(), params.clone()),
            ("unknown".to_owned(), Node::Array(vec![])),
        ];
        envelope.sort_by_key(|(key, _)| order[key.len() % 5]);
        let bytes = Bytes::from(write(&Node::Object(envelope), &noise));
        let message = Message::parse(bytes.clone(), &ANY_SIZE).unwrap();
        prop_assert_eq!((message.kind(), message.id_u64(), message.method()), (Kind::Request, Some(id), method.as_str()));
        prop_assert_eq!(message.members().len(), members.len());
        for (key, value) in members {
            let found = message.member(key);
            prop_assert!(found.is_some());
            if let Node::Text(text) = value {
                let found = message.text(key);
                prop_assert_eq!(found.as_deref(), Some(text.as_str()));
            }
        }
        prop_assert_eq!(crate::peek_id(&bytes), message.id_raw());

        let mut edit = message.edit();
        message.set_id(&mut edit, Bytes::from_static(b"\"new\""));
        message.change_meta(&mut edit, &[Change::Set("progressToken", Bytes::from_static(b"9"))]);
        message.change_body(&mut edit, &[Change::Set("name", Bytes::from_static(b"\"n\""))]);
        let edited = Message::parse(edit.finish().into_bytes(), &ANY_SIZE).unwrap();
        prop_assert_eq!(edited.id_raw().unwrap(), "\"new\"");
        prop_assert_eq!(edited.method(), method);
        prop_assert_eq!(edited.raw(edited.meta_member("progressToken").unwrap()), "9");
        let name = edited.text("name");
        prop_assert_eq!(name.as_deref(), Some("n"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn only_strict_json_gets_past_the_parse_errors(bytes in nearly_json()) {
        match Message::parse(bytes.clone().into(), &ANY_SIZE) {
            Ok(_) => prop_assert!(is_strict_json(&bytes)),
            Err(error) if error.fault.is_parse_error() => prop_assert!(!is_strict_json(&bytes)),
            Err(error) if error.fault == Fault::Duplicate => prop_assert!(!is_strict_json(&bytes)),
            Err(_) => prop_assert!(is_strict_json(&bytes)),
        }
    }
}
