//! A server's notification on a call's stream, as the client gets it.

use bytes::Bytes;
use tollgate_mcp::{Change, LogLevel, Message, Segments, meta, methods};
use tollgate_model::Era;

use crate::logging;

/// What becomes of a notification.
pub(crate) enum Relay {
    /// It goes to the client on the same stream.
    Send(Segments),
    /// It is not for this client.
    Drop,
}

/// Progress that says that a request is alive, and nothing of how far it is: so little more than what was told last that what
/// its server says of that is still more. None if there is no more.
pub(crate) fn tick(before: f64) -> Option<f64> {
    const TICK: f64 = 1.0 / 65_536.0;
    let before = before.max(0.0);
    Some((before + TICK).max(before.next_up())).filter(|next| next.is_finite())
}

/// What the client wants to be told about one request, and what it has been told.
pub(crate) struct Hearing<'a> {
    /// The progress token that the client gave, as raw JSON.
    pub(crate) token: Option<&'a Bytes>,
    /// The least severe log message that it wants, if it has said so.
    pub(crate) log_level: Option<LogLevel>,
    /// The progress that it was told last.
    progress: f64,
}

impl<'a> Hearing<'a> {
    pub(crate) fn new(token: Option<&'a Bytes>, log_level: Option<LogLevel>) -> Self {
        Self { token, log_level, progress: f64::NEG_INFINITY }
    }

    /// The same of a client that was told so much before: a request has one token, however many rounds it has.
    pub(crate) fn after(self, progress: f64) -> Self {
        Self { progress, ..self }
    }

    /// The progress that the client was told last.
    pub(crate) fn progress(&self) -> f64 {
        self.progress
    }

    /// Whether this is more than the client has been told: progress must increase (all revisions, progress).
    fn advances(&mut self, message: &Message) -> bool {
        let progress = message
            .member("progress")
            .and_then(|span| std::str::from_utf8(span.of(message.bytes())).ok()?.parse::<f64>().ok());
        match progress {
            Some(progress) if progress > self.progress => {
                self.progress = progress;
                true
            }
            _ => false,
        }
    }

    /// Whether the client wants this log message. A modern one that asked for none gets none; to a legacy one that set
    /// no level the server sends what it likes (2026-07-28 and 2025-11-25, logging).
    fn takes_log(&self, message: &Message, to: Era) -> bool {
        match self.log_level {
            None => to == Era::Legacy,
            Some(wanted) => logging::reaches(message, wanted),
        }
    }
}

/// Decides.
pub(crate) fn relay(message: &Message, from: Era, to: Era, hearing: &mut Hearing<'_>) -> Relay {
    match message.method() {
        methods::NOTIFICATIONS_PROGRESS => match (hearing.token, message.member("progressToken")) {
            (Some(client_token), Some(span)) if hearing.advances(message) => {
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
        methods::NOTIFICATIONS_MESSAGE if hearing.takes_log(message, to) => {
            Relay::Send(Segments::from(message.bytes().clone()))
        }
        // The server may not cancel, and what else it may say belongs to features that are asked for elsewhere.
        methods::NOTIFICATIONS_MESSAGE | methods::NOTIFICATIONS_CANCELLED => Relay::Drop,
        _ if from == to => Relay::Send(Segments::from(message.bytes().clone())),
        _ => Relay::Drop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_mcp::Limits;

    fn message(text: String) -> Message {
        Message::parse(Bytes::from(text), &Limits::default()).expect("a message")
    }

    #[test]
    fn progress_reaches_the_client_under_its_own_token_or_not_at_all() {
        let text = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":0.50}}"#;
        let message = message(text.to_owned());
        let token = Bytes::from_static(b"\"abc\"");
        let mut hearing = Hearing::new(Some(&token), None);
        match relay(&message, Era::Modern, Era::Legacy, &mut hearing) {
            Relay::Send(sent) => assert_eq!(
                sent.into_bytes(),
                r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"abc","progress":0.50}}"#
            ),
            Relay::Drop => panic!("not sent"),
        }
        let mut nobody = Hearing::new(None, None);
        assert!(matches!(relay(&message, Era::Modern, Era::Legacy, &mut nobody), Relay::Drop));
    }

    #[test]
    fn progress_that_does_not_increase_is_not_told() {
        let token = Bytes::from_static(b"1");
        let mut hearing = Hearing::new(Some(&token), None);
        let mut told = |progress: &str| {
            let text = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":7,"progress":{progress}}}}}"#
            );
            matches!(relay(&message(text), Era::Legacy, Era::Legacy, &mut hearing), Relay::Send(_))
        };
        assert_eq!(
            ["0", "0.5", "0.5", "0.25", "1e1", "10", "11"].map(&mut told),
            [true, true, false, false, true, false, true]
        );
        assert!(!told("\"12\""), "a text is no progress");
        // The next round of the same request begins anew at its server.
        let mut next = Hearing::new(Some(&token), None).after(hearing.progress());
        let mut told = |progress: &str| {
            let text = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":7,"progress":{progress}}}}}"#
            );
            matches!(relay(&message(text), Era::Modern, Era::Legacy, &mut next), Relay::Send(_))
        };
        assert_eq!(["0", "11", "12"].map(&mut told), [false, false, true]);
    }

    #[test]
    fn a_sign_of_life_is_progress_and_what_a_server_says_after_it_is_more() {
        let mut told = f64::NEG_INFINITY;
        for _ in 0..100 {
            let next = tick(told).expect("there is more");
            assert!(next > told && next > 0.0);
            told = next;
        }
        assert!(told < 0.01, "a server that counts to one has room yet: {told}");
        for before in [1.0, 100.5, 1e15, 1e300] {
            assert!(tick(before).is_some_and(|next| next > before && next < before * 1.1));
        }
        assert_eq!(tick(f64::INFINITY), None);
        assert_eq!(tick(f64::MAX), None);
    }

    #[test]
    fn log_messages_are_filtered_by_what_the_client_asked_for() {
        let told = |to: Era, wanted: Option<LogLevel>, level: &str| {
            let text = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"{level}","data":1}}}}"#
            );
            matches!(relay(&message(text), Era::Legacy, to, &mut Hearing::new(None, wanted)), Relay::Send(_))
        };
        for to in [Era::Legacy, Era::Modern] {
            assert!(told(to, Some(LogLevel::Warning), "warning"));
            assert!(told(to, Some(LogLevel::Warning), "emergency"));
            assert!(!told(to, Some(LogLevel::Warning), "notice"));
            assert!(told(to, Some(LogLevel::Warning), "a level of its own"));
        }
        assert!(told(Era::Legacy, None, "debug"));
        assert!(!told(Era::Modern, None, "emergency"));
    }
}
