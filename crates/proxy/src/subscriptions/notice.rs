//! A change as each listener is told it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tollgate_mcp::{Change, Message, Segments, compose, meta, methods, quote};

use super::asked::{tag, task_id};

/// One change, written out once for everyone who is told the same.
pub(crate) struct Notice<'a> {
    kind: Kind<'a>,
    written: HashMap<(Option<Bytes>, Option<Arc<str>>), Segments>,
}

enum Kind<'a> {
    List(&'static str),
    Resource { uri: &'a str, message: Option<&'a Message> },
    Task(&'a Message),
}

impl<'a> Notice<'a> {
    pub(crate) fn of_list(method: &'static str) -> Self {
        Self::new(Kind::List(method))
    }

    /// `message` is the server's own notification, if there is one.
    pub(crate) fn of_resource(uri: &'a str, message: Option<&'a Message>) -> Self {
        Self::new(Kind::Resource { uri, message })
    }

    pub(crate) fn of_task(message: &'a Message) -> Self {
        Self::new(Kind::Task(message))
    }

    fn new(kind: Kind<'a>) -> Self {
        Self { kind, written: HashMap::new() }
    }

    /// The notification for a listener: under its subscription's id (raw JSON; a legacy client has none), and with the
    /// name by which it knows the resource or task, where that is not the server's.
    pub(crate) fn told(&mut self, subscription: Option<&Bytes>, public: Option<&Arc<str>>) -> Segments {
        let key = (subscription.cloned(), public.cloned());
        if let Some(written) = self.written.get(&key) {
            return written.clone();
        }
        let written = match &self.kind {
            Kind::List(method) => notification(method, subscription, None),
            Kind::Resource { uri, message: None } => {
                let uri = quote(public.map_or(*uri, |public| public));
                notification(methods::NOTIFICATIONS_RESOURCES_UPDATED, subscription, Some(&uri))
            }
            Kind::Resource { message: Some(message), .. } => {
                changed(message, message.member("uri"), subscription, public)
            }
            Kind::Task(message) => changed(message, task_id(message), subscription, public),
        };
        self.written.insert(key, written.clone());
        written
    }
}

fn notification(method: &str, subscription: Option<&Bytes>, uri: Option<&Bytes>) -> Segments {
    let tag = subscription.map(|subscription| tag(subscription));
    let mut params: Vec<(&str, &[u8])> = Vec::new();
    params.extend(tag.as_ref().map(|tag| ("_meta", &**tag)));
    params.extend(uri.map(|uri| ("uri", &**uri)));
    let params = (!params.is_empty()).then(|| compose::object(&params));
    Segments::from(compose::notification(method, params.as_deref()))
}

/// The server's notification, with what is the gateway's own put in its place.
fn changed(
    message: &Message,
    place: Option<tollgate_mcp::Span>,
    subscription: Option<&Bytes>,
    public: Option<&Arc<str>>,
) -> Segments {
    let mut edit = message.edit();
    if let (Some(place), Some(public)) = (place, public) {
        edit.replace(place, quote(public));
    }
    match subscription {
        Some(id) => message.change_meta(&mut edit, &[Change::Set(meta::SUBSCRIPTION_ID, id.clone())]),
        None if message.meta_member(meta::SUBSCRIPTION_ID).is_some() => {
            message.change_meta(&mut edit, &[Change::Remove(meta::SUBSCRIPTION_ID)]);
        }
        None => {}
    }
    // A copy: what waits for a slow reader must not hold a server's whole read buffer.
    Segments::from(Bytes::copy_from_slice(&edit.finish().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_mcp::Limits;

    #[test]
    fn a_server_s_own_members_survive_and_its_subscription_does_not() {
        let text = br#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:1","x":1.50,"_meta":{"io.modelcontextprotocol/subscriptionId":17,"k":2}}}"#;
        let message = Message::parse(Bytes::from_static(text), &Limits::default()).expect("a message");
        let mut notice = Notice::of_resource("a:1", Some(&message));
        let id = Bytes::from_static(b"\"mine\"");
        assert_eq!(
            notice.told(Some(&id), Some(&Arc::from("b:1"))).into_bytes(),
            r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"b:1","x":1.50,"_meta":{"io.modelcontextprotocol/subscriptionId":"mine","k":2}}}"#
        );
        assert_eq!(
            notice.told(None, None).into_bytes(),
            r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:1","x":1.50,"_meta":{"k":2}}}"#
        );
    }

    #[test]
    fn what_may_have_been_missed_is_told_in_the_gateway_s_own_words() {
        let id = Bytes::from_static(b"1");
        assert_eq!(
            Notice::of_resource("a:1", None).told(Some(&id), None).into_bytes(),
            r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":1},"uri":"a:1"}}"#
        );
        assert_eq!(
            Notice::of_list("notifications/tools/list_changed").told(None, None).into_bytes(),
            r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#
        );
    }
}
