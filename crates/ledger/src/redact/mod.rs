//! Taking out of JSON what looks like a secret or like personal data, before it is kept.
//!
//! One pass over the bytes: what is taken out is replaced by a mark, everything else stays to the letter. What is taken out
//! is named by JSON pointer (RFC 6901), so that whoever reads what is left knows what is missing.
//!
//! It goes by names of members ([`names`]) and by shapes of texts ([`shapes`]), and can know neither every secret nor every
//! person: it is a net, not a proof. What must not be kept at all is not to be recorded.

pub(crate) mod name;
mod names;
mod shapes;

use std::borrow::Cow;

use names::Sensitivity;
use shapes::Found;

/// Stands where a value was.
const MARK: &[u8] = b"\"[redacted]\"";
/// How many pointers are listed. Of more, the last one is that of the whole.
const POINTERS_MAX: usize = 256;
/// The longest pointer. What lies deeper is named by what it lies in.
const POINTER_BYTES_MAX: usize = 256;
/// Deeper values are taken out whole.
const DEPTH_MAX: usize = 200;

/// What is left of a JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted<'a> {
    /// What is left: JSON, and the very bytes that came in where nothing was taken out.
    pub kept: Cow<'a, [u8]>,
    /// Pointers to what was taken out, or out of which something was. The empty one is the whole. A name that was taken out
    /// itself stands as the mark that it was replaced by.
    pub taken_out: Vec<String>,
}

/// Takes out of a JSON text what looks like a secret or like personal data. What is no JSON is taken out whole. The time it
/// takes grows with the length alone.
pub fn redact(json: &[u8]) -> Redacted<'_> {
    let mut redactor = Redactor::new(json);
    let whole = redactor.value(Sensitivity::None, 0);
    redactor.space();
    if whole.is_none() || redactor.at != json.len() {
        return Redacted { kept: Cow::Borrowed(MARK), taken_out: vec![String::new()] };
    }
    if redactor.taken_out.is_empty() {
        return Redacted { kept: Cow::Borrowed(json), taken_out: Vec::new() };
    }
    redactor.out.extend_from_slice(json.get(redactor.copied..).unwrap_or_default());
    Redacted { kept: Cow::Owned(redactor.out), taken_out: redactor.taken_out }
}

/// A step from a container to one of its values.
#[derive(Clone, Copy)]
enum Step {
    /// The name's bytes, without quotes, as they stand there.
    Member(usize, usize),
    /// A name that was taken out; the how manieth.
    Nameless(usize),
    Element(usize),
}

struct Redactor<'a> {
    json: &'a [u8],
    at: usize,
    /// What is left of the bytes before `copied`.
    out: Vec<u8>,
    copied: usize,
    path: Vec<Step>,
    taken_out: Vec<String>,
    nameless: usize,
    found: Vec<Found>,
}

/// `None` is: this is no JSON.
type Walked = Option<()>;

impl<'a> Redactor<'a> {
    fn new(json: &'a [u8]) -> Self {
        let (out, path, taken_out, found) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { json, at: 0, out, copied: 0, path, taken_out, nameless: 0, found }
    }

    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> Walked {
        let is_there = self.peek() == Some(wanted);
        self.at += usize::from(is_there);
        is_there.then_some(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Puts something in place of the bytes from `start` to here.
    fn splice(&mut self, start: usize, text: &[u8]) {
        self.out.extend_from_slice(self.json.get(self.copied..start).unwrap_or_default());
        self.out.extend_from_slice(text);
        self.copied = self.at;
    }

    fn value(&mut self, sensitivity: Sensitivity, depth: usize) -> Walked {
        self.space();
        let start = self.at;
        let first = self.peek()?;
        let is_number = first == b'-' || first.is_ascii_digit();
        let is_secret = match sensitivity {
            Sensitivity::None => false,
            // Whether there is one is no secret.
            Sensitivity::Any => !matches!(first, b't' | b'f' | b'n'),
            Sensitivity::AllButNumbers => !matches!(first, b't' | b'f' | b'n') && !is_number,
        };
        if is_secret || depth > DEPTH_MAX {
            self.skip()?;
            let is_empty = matches!(self.json.get(start..self.at), Some(b"\"\"" | b"{}" | b"[]"));
            if !is_empty {
                self.splice(start, MARK);
                self.note();
            }
            return Some(());
        }
        match first {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.text(),
            _ => self.scalar(),
        }
    }

    fn object(&mut self, depth: usize) -> Walked {
        self.take(b'{')?;
        self.space();
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            self.space();
            let sensitivity = self.name()?;
            self.space();
            self.take(b':')?;
            self.value(sensitivity, depth + 1)?;
            self.path.pop();
            self.space();
            if self.take(b',').is_none() {
                return self.take(b'}');
            }
        }
    }

    fn array(&mut self, depth: usize) -> Walked {
        self.take(b'[')?;
        self.space();
        if self.take(b']').is_some() {
            return Some(());
        }
        for place in 0.. {
            self.path.push(Step::Element(place));
            self.value(Sensitivity::None, depth + 1)?;
            self.path.pop();
            self.space();
            if self.take(b',').is_none() {
                break;
            }
        }
        self.take(b']')
    }

    /// Reads the name of a member, which becomes a step of the path, and says what it makes of the value.
    fn name(&mut self) -> Option<Sensitivity> {
        let start = self.at;
        let (inner, end) = self.string()?;
        let raw = self.json.get(inner..end)?;
        let name = plain(raw)?;
        let sensitivity = names::sensitivity(name.as_bytes());
        self.found.clear();
        shapes::find(name.as_bytes(), &mut self.found);
        if self.found.is_empty() {
            self.path.push(Step::Member(inner, end));
        } else {
            self.nameless += 1;
            self.path.push(Step::Nameless(self.nameless));
            let mark = format!("\"{}\"", nameless(self.nameless));
            self.splice(start, mark.as_bytes());
            self.note();
        }
        Some(sensitivity)
    }

    fn text(&mut self) -> Walked {
        let start = self.at;
        let (inner, end) = self.string()?;
        let text = plain(self.json.get(inner..end)?)?;
        self.found.clear();
        shapes::find(text.as_bytes(), &mut self.found);
        if self.found.is_empty() {
            return Some(());
        }
        let found = std::mem::take(&mut self.found);
        let mut left = Vec::with_capacity(text.len());
        let mut copied = 0;
        for one in &found {
            left.extend_from_slice(text.as_bytes().get(copied..one.start).unwrap_or_default());
            left.extend_from_slice(one.shape.mark().as_bytes());
            copied = one.end;
        }
        left.extend_from_slice(text.as_bytes().get(copied..).unwrap_or_default());
        self.found = found;
        let left = serde_json::to_vec(&String::from_utf8_lossy(&left)).unwrap_or_else(|_| MARK.to_vec());
        self.splice(start, &left);
        self.note();
        Some(())
    }

    fn scalar(&mut self) -> Walked {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
            self.at += 1;
        }
        let text = self.json.get(start..self.at).filter(|text| !text.is_empty())?;
        if shapes::is_card(text) {
            self.splice(start, format!("\"{}\"", shapes::Shape::Card.mark()).as_bytes());
            self.note();
        }
        Some(())
    }

    /// Passes a string, and says where its contents are.
    fn string(&mut self) -> Option<(usize, usize)> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        let end = self.at;
        self.at += 1;
        Some((start, end))
    }

    /// Passes a value.
    fn skip(&mut self) -> Walked {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => drop(self.string()?),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth > 0 => self.at += 1,
                _ => {
                    let start = self.at;
                    while self
                        .peek()
                        .is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
                    {
                        self.at += 1;
                    }
                    if self.at == start {
                        return None;
                    }
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Notes that something was taken out here.
    fn note(&mut self) {
        if self.taken_out.len() >= POINTERS_MAX {
            return;
        }
        let is_last = self.taken_out.len() + 1 == POINTERS_MAX;
        let pointer = if is_last { String::new() } else { self.pointer() };
        if self.taken_out.last() != Some(&pointer) {
            self.taken_out.push(pointer);
        }
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.path {
            let name = match *step {
                Step::Element(place) => Cow::Owned(place.to_string()),
                Step::Nameless(number) => Cow::Owned(nameless(number)),
                Step::Member(start, end) => {
                    plain(self.json.get(start..end).unwrap_or_default()).unwrap_or_default()
                }
            };
            if pointer.len() + name.len() >= POINTER_BYTES_MAX {
                break;
            }
            pointer.push('/');
            pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        }
        pointer
    }
}

/// What stands for a name that was taken out.
fn nameless(number: usize) -> String {
    format!("[redacted {number}]")
}

/// The text of a string's contents as they stand in JSON; none if they are none.
fn plain(raw: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(raw).ok()?;
    if !raw.contains(&b'\\') {
        return Some(Cow::Borrowed(text));
    }
    serde_json::from_str::<String>(&format!("\"{text}\"")).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests;
