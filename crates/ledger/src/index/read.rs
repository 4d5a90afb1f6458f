//! Reads an entry for the index as its writer writes it: members in their order, nothing escaped, no spaces. That takes a
//! sixth of what any JSON does. Whatever is otherwise is left to serde, which has the last word on it.

use std::borrow::Cow;

use super::entry::{Beside, Committed, Decided, Indexed, Took, Word};
use crate::Sizes;

/// What the index wants to know of an entry.
pub(super) fn indexed(json: &str) -> Result<Indexed<'_>, serde_json::Error> {
    match as_written(json) {
        Some(entry) => Ok(entry),
        None => serde_json::from_str(json),
    }
}

/// An entry, if it reads as its writer writes.
fn as_written(json: &str) -> Option<Indexed<'_>> {
    // One look over all of it, many bytes at a time, so that a text ends at the next quote.
    let is_special = |byte| matches!(byte, b'\\' | 0..0x20);
    if json.bytes().fold(false, |found, byte| found | is_special(byte)) {
        return None;
    }
    let mut cursor = Cursor { json, at: 0 };
    cursor.take(b"{\"seq\":")?;
    let seq = cursor.number()?;
    let time_ms = cursor.needed("time_ms")?.number()?;
    let kind = Word(Cow::Borrowed(cursor.needed("kind")?.text()?));
    let call = match cursor.word("call")? {
        Some(call) => Some(call.0.parse().ok()?),
        None => None,
    };
    let step = cursor.number_of("step")?.unwrap_or(0).try_into().ok()?;
    let of = cursor.number_of("of")?;
    let tenant = cursor.word("tenant")?;
    cursor.word("who")?;
    let (agent, user) = (cursor.word("agent")?, cursor.word("user")?);
    cursor.word("source")?;
    let (session, method) = (cursor.word("session")?, cursor.word("method")?);
    cursor.word("revision")?;
    cursor.word("era")?;
    let (client, endpoint, server) =
        (cursor.word("client")?, cursor.word("endpoint")?, cursor.word("server")?);
    cursor.passed("shared")?;
    cursor.word("instance")?;
    cursor.word("replica")?;
    let (public_name, native_name) = (cursor.word("public_name")?, cursor.word("native_name")?);
    cursor.word("definition")?;
    let decision = if cursor.is("decision") { Some(cursor.decided()?) } else { None };
    let (outcome, code, stage) = (cursor.word("outcome")?, cursor.word("code")?, cursor.word("stage")?);
    let sizes = if cursor.is("sizes") { Some(cursor.sizes()?) } else { None };
    let latency = if cursor.is("latency") { Some(cursor.took()?) } else { None };
    let trace = cursor.word("trace")?;
    cursor.word("credential")?;
    let element = match cursor.number_of("element")? {
        Some(element) => Some(element.try_into().ok()?),
        None => None,
    };
    cursor.passed("strangers")?;
    let change = cursor.word("change")?;
    let detail = if cursor.is("detail") { Some(Beside(cursor.raw()?)) } else { None };
    let arguments = if cursor.is("arguments") { Some(cursor.committed()?) } else { None };
    cursor.passed("result")?;
    cursor.take(b"}")?;
    let entry = Indexed {
        seq,
        time_ms,
        kind,
        call,
        step,
        of,
        tenant,
        agent,
        user,
        session,
        method,
        client,
        endpoint,
        server,
        public_name,
        native_name,
        decision,
        outcome,
        code,
        stage,
        sizes,
        latency,
        trace,
        element,
        change,
        arguments,
        detail,
    };
    (cursor.at == json.len()).then_some(entry)
}

/// A place in an entry.
struct Cursor<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        self.json.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, text: &[u8]) -> Option<()> {
        self.rest().starts_with(text).then(|| self.at += text.len())
    }

    /// Passes the name of the next member, if it is this one.
    #[inline]
    fn is(&mut self, name: &str) -> bool {
        let (rest, name) = (self.rest(), name.as_bytes());
        // First in its object, or behind another member.
        let is_first =
            self.at.checked_sub(1).and_then(|before| self.json.as_bytes().get(before)) == Some(&b'{');
        let begin = usize::from(!is_first);
        let end = begin + name.len() + 3;
        // Nearly always the first letter tells.
        let is_it = rest.get(begin + 1) == name.first()
            && (is_first || rest.first() == Some(&b','))
            && rest.get(begin) == Some(&b'"')
            && rest.get(begin + 1..end - 2) == Some(name)
            && rest.get(end - 2..end) == Some(b"\":");
        if is_it {
            self.at += end;
        }
        is_it
    }

    fn needed(&mut self, name: &str) -> Option<&mut Self> {
        self.is(name).then_some(self)
    }

    /// A member that is a text, if it comes next. None is what only serde can read.
    #[expect(clippy::option_option, reason = "that a member is not there is not that it cannot be read")]
    fn word(&mut self, name: &str) -> Option<Option<Word<'a>>> {
        if self.is(name) { Some(Some(Word(Cow::Borrowed(self.text()?)))) } else { Some(None) }
    }

    #[expect(clippy::option_option, reason = "that a member is not there is not that it cannot be read")]
    fn number_of(&mut self, name: &str) -> Option<Option<u64>> {
        if self.is(name) { Some(Some(self.number()?)) } else { Some(None) }
    }

    /// Passes a member that nobody wants, if it comes next.
    fn passed(&mut self, name: &str) -> Option<()> {
        if self.is(name) { self.pass() } else { Some(()) }
    }

    /// A text in which nothing is escaped.
    fn text(&mut self) -> Option<&'a str> {
        self.take(b"\"")?;
        let begin = self.at;
        let length = memchr::memchr(b'"', self.rest())?;
        self.at += length + 1;
        self.json.get(begin..begin + length)
    }

    fn number(&mut self) -> Option<u64> {
        let digits = self.rest();
        let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = &digits[..length];
        // JSON has no number that begins with a zero and goes on.
        if digits.is_empty() || (length > 1 && digits[0] == b'0') {
            return None;
        }
        self.at += length;
        digits
            .iter()
            .try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
    }

    /// Passes a value without escapes, whatever it is. What is in it was looked at when it was written, and counts for nothing
    /// here.
    fn pass(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match *self.rest().first()? {
                b'"' => _ = self.text()?,
                b'{' | b'[' => (depth, self.at) = (depth + 1, self.at + 1),
                b'}' | b']' => (depth, self.at) = (depth.checked_sub(1)?, self.at + 1),
                b',' | b':' if depth > 0 => self.at += 1,
                b't' => self.take(b"true")?,
                b'f' => self.take(b"false")?,
                b'n' => self.take(b"null")?,
                b'0'..=b'9' => _ = self.number()?,
                _ => return None,
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// A value without escapes, as it is written.
    fn raw(&mut self) -> Option<&'a str> {
        let begin = self.at;
        self.pass()?;
        self.json.get(begin..self.at)
    }

    fn decided(&mut self) -> Option<Decided<'a>> {
        self.take(b"{")?;
        self.passed("allowed")?;
        self.passed("hidden")?;
        self.passed("set")?;
        self.passed("at_ms")?;
        let mut policies = Vec::new();
        if self.is("policies") {
            self.take(b"[")?;
            loop {
                policies.push(Word(Cow::Borrowed(self.text()?)));
                if self.take(b"]").is_some() {
                    break;
                }
                self.take(b",")?;
            }
        }
        self.passed("obligations")?;
        self.passed("shadow")?;
        self.take(b"}")?;
        Some(Decided { policies })
    }

    fn sizes(&mut self) -> Option<Sizes> {
        self.take(b"{")?;
        let sizes = Sizes {
            sent_bytes: self.number_of("sent_bytes")?.unwrap_or(0),
            received_bytes: self.number_of("received_bytes")?.unwrap_or(0),
            sent_tokens: self.number_of("sent_tokens")?.unwrap_or(0),
            received_tokens: self.number_of("received_tokens")?.unwrap_or(0),
        };
        self.take(b"}")?;
        Some(sizes)
    }

    fn took(&mut self) -> Option<Took> {
        self.take(b"{")?;
        let total_us = self.needed("total_us")?.number()?;
        for name in ["resolve_us", "policy_us", "route_us", "ledger_us", "upstream_us"] {
            self.number_of(name)?;
        }
        self.take(b"}")?;
        Some(Took { total_us })
    }

    fn committed(&mut self) -> Option<Committed<'a>> {
        self.take(b"{")?;
        self.passed("level")?;
        self.passed("bytes")?;
        let digest = self.word("digest")?;
        self.passed("commitment")?;
        self.passed("redacted")?;
        self.passed("truncated")?;
        self.take(b"}")?;
        Some(Committed { digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::full;
    use crate::{Entry, Kind};

    fn written(entry: &Entry<'_>) -> String {
        serde_json::to_string(entry).expect("JSON")
    }

    #[test]
    fn an_entry_as_it_is_written_is_read_as_serde_reads_it() {
        for (text, number) in [("plain", 1), ("é世", 0), ("", 4_294_967_295)] {
            let entry = Entry { seq: 3, time_ms: 4, ..full(text, number) };
            for entry in [entry.clone(), Entry { kind: Kind::Outcome, detail: None, ..entry }] {
                let json = written(&entry);
                let read = as_written(&json).expect("as it is written");
                assert_eq!(read, serde_json::from_str(&json).expect("an entry"));
            }
        }
        for kind in [Kind::Intent, Kind::Outcome, Kind::Checkpoint] {
            let json = written(&Entry { seq: 3, ..Entry::of(kind) });
            assert_eq!(as_written(&json), serde_json::from_str(&json).ok(), "{json}");
            assert!(as_written(&json).is_some());
        }
    }

    #[test]
    fn whatever_else_is_read_by_serde() {
        let escaped = written(&full("line\nend", 1));
        assert!(as_written(&escaped).is_none());
        assert_eq!(indexed(&escaped).expect("an entry").tenant, Some(Word("line\nend".into())));
        // Of a bare entry, some of which are no JSON at all.
        for json in [
            r#"{"seq":3,"time_ms":4,"kind":"intent","new":1}"#,
            r#"{"seq":3,"time_ms":4,"of":7,"kind":"outcome"}"#,
            r#"{"seq":3, "time_ms":4,"kind":"intent"}"#,
            r#"{"seq":3"time_ms":4,"kind":"intent"}"#,
            r#"{"seq":03,"time_ms":4,"kind":"intent"}"#,
            r#"{"seq":3,"time_ms":4,"kind":"intent","step":4294967296}"#,
            r#"{"seq":3,"time_ms":4,"kind":"intent","tenant":null}"#,
            r#"{"seq":3,"time_ms":4,"kind":"intent","call":"x"}"#,
            r#"{"seq":3,"time_ms":18446744073709551616,"kind":"intent"}"#,
            r#"{"seq":3,"time_ms":4,"kind":"intent"}}"#,
            r#"{"seq":3,"time_ms":4,"kind":"intent"} "#,
            r#"{"seq":3,"time_ms":4,"kind":"intent""#,
            "{\"seq\":3,\"time_ms\":4,\"kind\":\"in\ttent\"}",
            "",
        ] {
            assert_eq!(as_written(json), None, "{json}");
            assert_eq!(indexed(json).ok(), serde_json::from_str(json).ok(), "{json}");
        }
        // Cut off anywhere, nothing is read.
        let json = written(&full("x", 2));
        for end in 0..json.len() {
            assert!(indexed(json.get(..end).unwrap_or_default()).is_err(), "{end}");
        }
    }
}
