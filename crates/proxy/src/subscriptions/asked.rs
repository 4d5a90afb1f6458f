//! What a client asks for when it listens, and what it is told that it gets.

use std::collections::BTreeSet;

use bytes::Bytes;
use tollgate_mcp::{JsonKind, Message, Span, compose, elements, find, meta, methods, quote, text};
use tollgate_model::{Code, Refusal, Stage};
use tollgate_upstream::{Lists, URI_BYTES_MAX};

/// The largest listen request: it is kept for as long as the client listens.
const BYTES_MAX: usize = 1 << 20;

/// The `notifications` of a listen request. Afterwards, as much of it as is honoured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) lists: Lists,
    /// URIs as the client knows them.
    pub(crate) uris: BTreeSet<String>,
    /// Ids of tasks as the client knows them.
    pub(crate) task_ids: BTreeSet<String>,
}

impl Asked {
    /// Reads a request. What is beyond `subscriptions_max` is left out, as the acknowledgement will say.
    pub(crate) fn read(message: &Message, subscriptions_max: usize) -> Result<Self, Refusal> {
        let invalid = |text: &'static str| Refusal::new(Stage::Envelope, Code::InvalidParams, text);
        let bytes = message.bytes();
        if bytes.len() > BYTES_MAX {
            return Err(invalid("the request to listen is larger than 1 MiB"));
        }
        let filter = message
            .member("notifications")
            .filter(|filter| message.kind_of(*filter) == JsonKind::Object)
            .ok_or_else(|| invalid("`params.notifications` must be an object"))?;
        let flag = |key: &str| find(bytes, filter, key).is_some_and(|span| span.of(bytes) == b"true");
        let mut left = subscriptions_max;
        let mut texts = |key: &str| {
            let mut read = BTreeSet::new();
            let Some(array) = find(bytes, filter, key) else { return Ok(read) };
            let mismatch = || invalid("`resourceSubscriptions` and `taskIds` must be arrays of strings");
            if message.kind_of(array) != JsonKind::Array {
                return Err(mismatch());
            }
            for item in elements(bytes, array) {
                let item = text(bytes, item).ok_or_else(mismatch)?;
                if left > 0 && read.insert(item.into_owned()) {
                    left -= 1;
                }
            }
            Ok(read)
        };
        let uris = texts("resourceSubscriptions")?;
        uris.iter().try_for_each(|uri| check(uri))?;
        Ok(Self {
            uris,
            task_ids: texts("taskIds")?,
            lists: Lists {
                tools: flag("toolsListChanged"),
                prompts: flag("promptsListChanged"),
                resources: flag("resourcesListChanged"),
            },
        })
    }

    pub(crate) fn wants_lists(&self) -> bool {
        self.lists != Lists::default()
    }

    /// The acknowledgement of this much.
    pub(crate) fn acknowledgement(&self, subscription: &[u8]) -> Bytes {
        let mut granted: Vec<(&str, Bytes)> = Vec::new();
        let lists = [
            ("toolsListChanged", self.lists.tools),
            ("promptsListChanged", self.lists.prompts),
            ("resourcesListChanged", self.lists.resources),
        ];
        let told = lists.into_iter().filter(|(_, told)| *told);
        granted.extend(told.map(|(key, _)| (key, Bytes::from_static(b"true"))));
        for (key, texts) in [("resourceSubscriptions", &self.uris), ("taskIds", &self.task_ids)] {
            if !texts.is_empty() {
                let items: Vec<Bytes> = texts.iter().map(|text| quote(text)).collect();
                granted.push((key, Bytes::from(crate::bridge::array_of(&items))));
            }
        }
        let granted: Vec<(&str, &[u8])> = granted.iter().map(|(key, value)| (*key, &**value)).collect();
        let params =
            compose::object(&[("_meta", &tag(subscription)), ("notifications", &compose::object(&granted))]);
        compose::notification(methods::NOTIFICATIONS_SUBSCRIPTIONS_ACKNOWLEDGED, Some(&params))
    }
}

/// Refuses the name of a resource that is longer than any that changes are told of.
pub(crate) fn check(uri: &str) -> Result<(), Refusal> {
    if uri.len() > URI_BYTES_MAX {
        let text = "the URI of a resource to be subscribed to is larger than 8 KiB";
        return Err(Refusal::new(Stage::Envelope, Code::InvalidParams, text));
    }
    Ok(())
}

/// The `_meta` of everything that belongs to a subscription.
pub(crate) fn tag(subscription: &[u8]) -> Bytes {
    compose::object(&[(meta::SUBSCRIPTION_ID, subscription)])
}

/// The place of a task's id in a notification.
pub(crate) fn task_id(message: &Message) -> Option<Span> {
    message.member("taskId")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_mcp::Limits;

    fn read(filter: &str, max: usize) -> Result<Asked, Refusal> {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{{"notifications":{filter}}}}}"#
        );
        Asked::read(&Message::parse(Bytes::from(text), &Limits::default()).expect("a message"), max)
    }

    #[test]
    fn what_is_asked_for_is_read_and_bounded() {
        let asked = read(
            r#"{"toolsListChanged":true,"promptsListChanged":1,"resourceSubscriptions":["b","a","a","c"]}"#,
            2,
        )
        .expect("a filter");
        assert_eq!(asked.lists, Lists { tools: true, ..Lists::default() });
        assert_eq!(asked.uris.into_iter().collect::<Vec<_>>(), ["a", "b"]);
        let endless = format!(r#"{{"resourceSubscriptions":["a:{}"]}}"#, "x".repeat(URI_BYTES_MAX));
        for wrong in ["[]", r#"{"resourceSubscriptions":"a"}"#, r#"{"taskIds":[1]}"#, &endless] {
            assert_eq!(read(wrong, 9).expect_err("no filter").code, Code::InvalidParams);
        }
    }

    #[test]
    fn an_acknowledgement_names_what_is_honoured_and_nothing_else() {
        let mut asked =
            read(r#"{"toolsListChanged":true,"resourceSubscriptions":["a\"b"]}"#, 9).expect("a filter");
        let text = |asked: &Asked| String::from_utf8(asked.acknowledgement(b"\"x\"").to_vec()).expect("text");
        assert!(text(&asked).contains(
            r#"{"_meta":{"io.modelcontextprotocol/subscriptionId":"x"},"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a\"b"]}}"#
        ));
        asked = Asked::default();
        assert!(text(&asked).contains(r#""notifications":{}"#));
    }
}
