//! What a right answer looks like. An answer that fails here makes its whole row fail.

use memchr::memmem;

use crate::payload::{ARGUMENT_BYTES, PROGRESS_EVENTS, RESULT_TEXT, TOOLS};

/// The answer that a row's calls must get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// The word comes back.
    Small,
    /// The large text, to the letter.
    Large,
    /// Twenty progress notifications with the call's own token, then the result.
    Steps,
    /// The server saw the whole argument.
    Swallowed,
    /// All tools of so many servers.
    Tools(usize),
}

impl Check {
    /// Whether `body` answers request `id` rightly; else what is wrong with it.
    pub(crate) fn check(self, status: u16, body: &[u8], id: u64) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("{what}: status {status}, {}", excerpt(body)));
        if status != 200 {
            return wrong("not 200");
        }
        let answered = match self {
            Check::Small => contains(body, "\"text\":\"heard gate\""),
            Check::Large => memmem::find(body, b"\"text\":\"")
                .is_some_and(|at| body[at + 8..].starts_with(RESULT_TEXT.as_bytes())),
            Check::Steps => {
                let token = format!("\"progressToken\":{id},");
                let events = memmem::find_iter(body, token.as_bytes()).count() as u64;
                events == PROGRESS_EVENTS && contains(body, "all steps taken")
            }
            Check::Swallowed => contains(body, &format!("swallowed {ARGUMENT_BYTES}\"")),
            Check::Tools(servers) => memmem::find_iter(body, b"\"inputSchema\":").count() == servers * TOOLS,
        };
        if !answered {
            return wrong("not the result");
        }
        if !contains(body, &format!("\"id\":{id}")) {
            return wrong("not the id asked for");
        }
        Ok(())
    }
}

fn contains(body: &[u8], text: &str) -> bool {
    memmem::find(body, text.as_bytes()).is_some()
}

/// The beginning of a body, for an error message.
pub(crate) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(600)]);
    format!("{} bytes: {}", body.len(), text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_right_answer_and_nothing_else() {
        let right = br#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"heard gate"}]}}"#;
        assert_eq!(Check::Small.check(200, right, 7), Ok(()));
        assert!(Check::Small.check(200, right, 8).is_err());
        assert!(Check::Small.check(502, right, 7).is_err());
        let error = br#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"no"}}"#;
        assert!(Check::Small.check(200, error, 7).unwrap_err().contains("-32603"));
    }

    #[test]
    fn a_large_text_must_match_to_the_letter() {
        let mut body =
            format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"text":"{}"}}}}"#, *RESULT_TEXT).into_bytes();
        assert_eq!(Check::Large.check(200, &body, 7), Ok(()));
        body[60_000] ^= 1;
        assert!(Check::Large.check(200, &body, 7).is_err());
    }

    #[test]
    fn a_lost_progress_notification_is_an_error() {
        let event = r#"data: {"params":{"progressToken":7,"progress":1}}"#;
        let result = r#"data: {"jsonrpc":"2.0","id":7,"result":{"text":"all steps taken"}}"#;
        let body = |events: usize| format!("{}{result}", event.repeat(events)).into_bytes();
        assert_eq!(Check::Steps.check(200, &body(20), 7), Ok(()));
        assert!(Check::Steps.check(200, &body(19), 7).is_err());
    }
}
