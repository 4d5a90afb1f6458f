//! Walking validated JSON in one pass, with the way to each leaf.
//!
//! [`tollgate_mcp`] has validated the bytes before. On others the walk ends early or gives places of no meaning, but it neither
//! panics nor goes back.

use smallvec::SmallVec;

/// A step from a container to one of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A member: where its name stands, without quotes.
    Member(usize, usize),
    /// An element.
    Element(usize),
}

/// What a walk comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    /// The name of a member, without quotes. The last step of the way.
    Name(usize, usize),
    /// A string, without quotes.
    Text(usize, usize),
    /// A number.
    Number(usize, usize),
}

/// A walk over a JSON value.
pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
    way: SmallVec<[Step; 16]>,
    /// Whether a name is next.
    wants_name: bool,
}

impl<'a> Walk<'a> {
    /// A walk over the value from one place to another.
    pub(crate) fn new(bytes: &'a [u8], start: usize, end: usize) -> Self {
        Self { bytes, at: start, end: end.min(bytes.len()), way: SmallVec::new(), wants_name: false }
    }

    /// The way to where the walk is.
    pub(crate) fn way(&self) -> &[Step] {
        &self.way
    }

    /// Leaves out the value that comes next. To be called where a name has just come.
    pub(crate) fn skip(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.bytes.get(self.at).filter(|_| self.at < self.end) {
            match byte {
                b'"' => {
                    if self.string().is_none() {
                        return;
                    }
                    if depth == 0 {
                        return;
                    }
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth <= 1 => {
                    // What closes the object that the member is of is left to the walk.
                    self.at += depth;
                    return;
                }
                b'}' | b']' => depth -= 1,
                b',' if depth == 0 => return,
                _ => {}
            }
            self.at += 1;
        }
    }

    /// The next name, text or number.
    pub(crate) fn next(&mut self) -> Option<Leaf> {
        while self.at < self.end {
            let byte = *self.bytes.get(self.at)?;
            match byte {
                b'"' => {
                    let (start, end) = self.string()?;
                    if std::mem::take(&mut self.wants_name) {
                        if let Some(last) = self.way.last_mut() {
                            *last = Step::Member(start, end);
                        }
                        return Some(Leaf::Name(start, end));
                    }
                    return Some(Leaf::Text(start, end));
                }
                b'{' => {
                    self.way.push(Step::Member(0, 0));
                    self.wants_name = true;
                    self.at += 1;
                }
                b'[' => {
                    self.way.push(Step::Element(0));
                    self.at += 1;
                }
                b'}' | b']' => {
                    self.way.pop();
                    self.wants_name = false;
                    self.at += 1;
                }
                b',' => {
                    match self.way.last_mut() {
                        Some(Step::Element(place)) => *place += 1,
                        Some(Step::Member(..)) => self.wants_name = true,
                        None => {}
                    }
                    self.at += 1;
                }
                b'-' | b'0'..=b'9' => {
                    let start = self.at;
                    let rest = self.bytes.get(start..self.end)?;
                    let is =
                        |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
                    self.at += rest.iter().position(|byte| !is(byte)).unwrap_or(rest.len());
                    return Some(Leaf::Number(start, self.at));
                }
                _ => self.at += 1,
            }
        }
        None
    }

    fn string(&mut self) -> Option<(usize, usize)> {
        let start = self.at + 1;
        let mut at = start;
        loop {
            let rest = self.bytes.get(at..self.end)?;
            let Some(ahead) = memchr::memchr2(b'"', b'\\', rest) else {
                self.at = self.end;
                return None;
            };
            at += ahead;
            if self.bytes.get(at) == Some(&b'"') {
                self.at = at + 1;
                return Some((start, at));
            }
            at += 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(json: &str, skipped: &str) -> Vec<String> {
        let bytes = json.as_bytes();
        let mut walk = Walk::new(bytes, 0, bytes.len());
        let mut all = Vec::new();
        while let Some(leaf) = walk.next() {
            let (kind, start, end) = match leaf {
                Leaf::Name(start, end) => ("name", start, end),
                Leaf::Text(start, end) => ("text", start, end),
                Leaf::Number(start, end) => ("number", start, end),
            };
            let way: Vec<String> = walk
                .way()
                .iter()
                .map(|step| match *step {
                    Step::Member(start, end) => json[start..end].to_owned(),
                    Step::Element(place) => place.to_string(),
                })
                .collect();
            all.push(format!("{kind} {} {}", way.join("/"), &json[start..end]));
            if kind == "name" && &json[start..end] == skipped {
                walk.skip();
            }
        }
        all
    }

    #[test]
    fn every_leaf_comes_once_with_the_way_to_it() {
        let json = r#"{"a":[1,"x",{"b":"y\"z"}],"c":true, "d" : null,"e":{"f":-1.5e3}}"#;
        let expected = [
            "name a a",
            "number a/0 1",
            "text a/1 x",
            "name a/2/b b",
            r#"text a/2/b y\"z"#,
            "name c c",
            "name d d",
            "name e e",
            "name e/f f",
            "number e/f -1.5e3",
        ];
        assert_eq!(walked(json, "-"), expected);
        for value in ["1", "\"x\"", "[[1],{\"z\":\"]\"}]", "{}", "null", "{\"q\":{\"r\":[]}}"] {
            let json = format!("{{\"a\":{value},\"b\":\"t\"}}");
            assert_eq!(walked(&json, "a"), ["name a a", "name b b", "text b t"], "{json}");
            let json = format!("{{\"b\":\"t\",\"a\":{value}}}");
            assert_eq!(walked(&json, "a"), ["name b b", "text b t", "name a a"], "{json}");
        }
    }
}
