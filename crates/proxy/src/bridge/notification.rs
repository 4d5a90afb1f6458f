//! A server's notification on a call's stream, as the client gets it.

use bytes::Bytes;
use tollgate_mcp::{Change, Message, Segments, meta, methods};
use tollgate_model::Era;

/// What becomes of a notification.
pub(crate) enum Relay {
    /// It goes to the client on the same stream.
    Send(Segments),
    /// It is not for this client.
    Drop,
}

/// Decides. `client_token` is the progress token that the client gave, as raw JSON.
pub(crate) fn relay(message: &Message, from: Era, to: Era, client_token: Option<&Bytes>) -> Relay {
    match message.method() {
        methods::NOTIFICATIONS_PROGRESS => match (client_token, message.member("progressToken")) {
            (Some(client_token), Some(span)) => {
                let mut edit = message.edit();
                edit.replace(span, client_token.clone());
                // Who does not follow tasks has been given none.
                if message.meta_member(meta::RELATED_TASK).is_some() {
                    message.change_meta(&mut edit, &[Change::Remove(meta::RELATED_TASK)]);
                }
                Relay::Send(edit.finish())
            }
            _ => Relay::Drop,
        },
        // A modern client gets log messages only for requests that ask for them, and a legacy server cannot know.
        methods::NOTIFICATIONS_MESSAGE if from == Era::Legacy && to == Era::Modern => Relay::Drop,
        methods::NOTIFICATIONS_MESSAGE => Relay::Send(Segments::from(message.bytes().clone())),
        // The server may not cancel, and what else it may say belongs to features that are asked for elsewhere.
        methods::NOTIFICATIONS_CANCELLED => Relay::Drop,
        _ if from == to => Relay::Send(Segments::from(message.bytes().clone())),
        _ => Relay::Drop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_mcp::Limits;

    #[test]
    fn progress_reaches_the_client_under_its_own_token_or_not_at_all() {
        let text = br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":0.50}}"#;
        let message = Message::parse(Bytes::from_static(text), &Limits::default()).expect("a message");
        let token = Bytes::from_static(b"\"abc\"");
        match relay(&message, Era::Modern, Era::Legacy, Some(&token)) {
            Relay::Send(sent) => assert_eq!(
                sent.into_bytes(),
                r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"abc","progress":0.50}}"#
            ),
            Relay::Drop => panic!("not sent"),
        }
        assert!(matches!(relay(&message, Era::Modern, Era::Legacy, None), Relay::Drop));
    }
}
