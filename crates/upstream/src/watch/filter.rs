//! What a `subscriptions/listen` stream is asked for, and what its server acknowledges.

use std::collections::BTreeSet;
use std::sync::Arc;

use tollgate_mcp::{Message, Span, elements, find, quote, text};

use super::Lists;
use crate::EventKind;
use crate::hello::Hello;

/// The `notifications` of a listen request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) lists: Lists,
    pub(crate) uris: BTreeSet<Arc<str>>,
    pub(crate) task_ids: BTreeSet<Arc<str>>,
}

impl Lists {
    /// What a server declares.
    pub(crate) fn declared(hello: &Hello) -> Self {
        Self {
            tools: hello.may_change("tools"),
            prompts: hello.may_change("prompts"),
            resources: hello.may_change("resources"),
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    pub(crate) fn kinds(self) -> impl Iterator<Item = EventKind> {
        let told = [self.tools, self.prompts, self.resources];
        EventKind::LISTS.into_iter().zip(told).filter_map(|(kind, told)| told.then_some(kind))
    }
}

impl Filter {
    pub(crate) fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.uris.is_empty() && self.task_ids.is_empty()
    }

    /// As raw JSON.
    pub(crate) fn to_json(&self) -> String {
        let mut members: Vec<String> =
            self.lists.kinds().map(|kind| format!(r#""{}ListChanged":true"#, kind.capability())).collect();
        for (member, texts) in [("resourceSubscriptions", &self.uris), ("taskIds", &self.task_ids)] {
            if !texts.is_empty() {
                let quoted: Vec<String> =
                    texts.iter().map(|text| String::from_utf8_lossy(&quote(text)).into_owned()).collect();
                members.push(format!(r#""{member}":[{}]"#, quoted.join(",")));
            }
        }
        format!("{{{}}}", members.join(","))
    }

    /// What an acknowledgement grants of what was asked for.
    pub(crate) fn granted(&self, acknowledgement: &Message) -> Self {
        let Some(granted) = acknowledgement.member("notifications") else { return Self::default() };
        let bytes = acknowledgement.bytes();
        let flag = |key: &str| find(bytes, granted, key).is_some_and(|span| span.of(bytes) == b"true");
        let texts = |key: &str, asked: &BTreeSet<Arc<str>>| {
            let array: Option<Span> = find(bytes, granted, key);
            let items = array.into_iter().flat_map(|array| elements(bytes, array));
            items.filter_map(|item| asked.get(&*text(bytes, item)?).cloned()).collect()
        };
        Self {
            lists: Lists {
                tools: self.lists.tools && flag("toolsListChanged"),
                prompts: self.lists.prompts && flag("promptsListChanged"),
                resources: self.lists.resources && flag("resourcesListChanged"),
            },
            uris: texts("resourceSubscriptions", &self.uris),
            task_ids: texts("taskIds", &self.task_ids),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use tollgate_mcp::Limits;

    #[test]
    fn only_what_was_asked_for_is_granted() {
        let asked = Filter {
            lists: Lists { tools: true, ..Lists::default() },
            uris: ["a:\"1\"", "a:2"].map(Arc::from).into(),
            task_ids: BTreeSet::new(),
        };
        assert_eq!(asked.to_json(), r#"{"toolsListChanged":true,"resourceSubscriptions":["a:\"1\"","a:2"]}"#);
        let text = br#"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":
            {"toolsListChanged":false,"promptsListChanged":true,"resourceSubscriptions":["a:\u00221\"","a:3"],"taskIds":["t"]}}}"#;
        let message = Message::parse(Bytes::from_static(text), &Limits::default()).expect("a message");
        let granted = asked.granted(&message);
        assert_eq!(granted, Filter { uris: ["a:\"1\""].map(Arc::from).into(), ..Filter::default() });
    }
}
