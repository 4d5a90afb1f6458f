//! Requests written once and sent many times: only the id (which is the progress token too) changes in between.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;

use memchr::memmem;

/// Digits of every id; fixed, so that an id is patched in place and the length never changes.
const ID_DIGITS: usize = 10;
/// The first id; ids go up from here.
pub(crate) const ID_FIRST: u64 = 1_000_000_001;
/// Stands in a body where the id shall be.
pub(crate) const ID_SLOT: &str = "1000000000";

/// A whole HTTP/1.1 request whose ids can be replaced.
#[derive(Clone)]
pub(crate) struct Template {
    /// Headers and the body up to the large part; patched, so each connection has its own.
    pub(super) head: Vec<u8>,
    /// The large part, shared by all connections.
    pub(super) tail: Option<Rc<[u8]>>,
    slots: Vec<usize>,
}

/// Where and as whom a request is sent.
#[derive(Clone, Debug)]
pub(crate) struct Envelope<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'a str,
    /// Further headers as `(name, value)`.
    pub(crate) headers: Vec<(&'a str, String)>,
}

impl Template {
    /// Writes a POST of `body`, and behind it `tail` when a part is too large to copy per connection.
    pub(crate) fn post(envelope: &Envelope<'_>, body: &str, tail: Option<&Rc<[u8]>>) -> Template {
        let length = body.len() + tail.map_or(0, |tail| tail.len());
        let mut head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tollgate-bench\r\nAccept: application/json, text/event-stream\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n",
            envelope.path, envelope.address,
        );
        for (header, value) in &envelope.headers {
            let _ = write!(head, "{header}: {value}\r\n");
        }
        head.push_str("\r\n");
        let body_start = head.len();
        head.push_str(body);
        let slots =
            memmem::find_iter(&head.as_bytes()[body_start..], ID_SLOT).map(|at| body_start + at).collect();
        Template { head: head.into_bytes(), tail: tail.cloned(), slots }
    }

    /// Puts `id` into every slot.
    pub(super) fn set_id(&mut self, id: u64) {
        let mut digits = [b'0'; ID_DIGITS];
        let mut rest = id;
        for digit in digits.iter_mut().rev() {
            *digit = b"0123456789"[usize::try_from(rest % 10).unwrap_or(0)];
            rest /= 10;
        }
        for &slot in &self.slots {
            self.head[slot..slot + ID_DIGITS].copy_from_slice(&digits);
        }
    }

    /// The whole request.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [&self.head[..], self.tail.as_deref().unwrap_or(&[])].concat()
    }

    pub(super) fn len(&self) -> usize {
        self.head.len() + self.tail.as_ref().map_or(0, |tail| tail.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_every_id_and_nothing_else() {
        let envelope = Envelope { address: ([127, 0, 0, 1], 80).into(), path: "/mcp", headers: vec![] };
        let body = r#"{"id":1000000000,"params":{"_meta":{"progressToken":1000000000},"text":""#;
        let tail: Rc<[u8]> = Rc::from(&b"tail\"}}"[..]);
        let mut template = Template::post(&envelope, body, Some(&tail));
        let before = template.head.len();
        template.set_id(1_000_000_042);
        let text = String::from_utf8(template.head.clone()).unwrap();
        assert_eq!(text.len(), before);
        assert!(
            text.contains(r#"{"id":1000000042,"params":{"_meta":{"progressToken":1000000042}"#),
            "{text}"
        );
        assert!(text.contains(&format!("Content-Length: {}\r\n", body.len() + 7)), "{text}");
        assert_eq!(template.len(), before + 7);
    }
}
