//! Changes of texts, and of the JSON that they stand in.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use tollgate_mcp::quote;

use crate::json::View;

/// A change of a text: a part of it, and what stands there instead.
pub(crate) type TextEdit = (Range<usize>, String);

/// A text, and what is changed in it.
pub(crate) struct Changed {
    /// Where it stands, without quotes.
    pub(crate) raw: Range<usize>,
    pub(crate) kind: Changing,
}

pub(crate) enum Changing {
    Text(Vec<TextEdit>),
    /// All of it, as JSON.
    Whole(Bytes),
}

/// Changes of a text as changes of the string that it is read from.
pub(crate) fn located(kind: Changing, view: &View) -> Changing {
    match kind {
        Changing::Text(edits) => Changing::Text(
            edits
                .into_iter()
                .map(|(part, instead)| (view.raw(part.start)..view.raw(part.end), instead))
                .collect(),
        ),
        whole @ Changing::Whole(_) => whole,
    }
}

/// What stands in place of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Instead {
    Text(String),
    /// A name of this kind, for all of what was there.
    Name(String),
}

/// Changes in order and apart from each other: those that overlap become one, with what stands in place of the first.
pub(crate) fn merged(edits: Vec<TextEdit>) -> Vec<TextEdit> {
    let edits = edits.into_iter().map(|(place, instead)| (place, Instead::Text(instead)));
    let apart = apart(edits.collect()).into_iter().map(|(place, instead)| match instead {
        Instead::Text(instead) | Instead::Name(instead) => (place, instead),
    });
    apart.collect()
}

/// The same of names too, which stand only where nothing else has to.
pub(super) fn apart(mut edits: Vec<(Range<usize>, Instead)>) -> Vec<(Range<usize>, Instead)> {
    edits.sort_by_key(|(part, _)| (part.start, part.end));
    let mut apart: Vec<(Range<usize>, Instead)> = Vec::with_capacity(edits.len());
    for (part, instead) in edits {
        match apart.last_mut() {
            Some((last, kept)) if part.start < last.end => {
                last.end = last.end.max(part.end);
                match (&*kept, instead) {
                    (Instead::Name(kind), Instead::Text(text)) if text.is_empty() => {
                        *kept = Instead::Text(format!("[redacted:{kind}]"));
                    }
                    (Instead::Name(_), text @ Instead::Text(_)) => *kept = text,
                    (Instead::Text(text), Instead::Name(kind)) if text.is_empty() => {
                        *kept = Instead::Text(format!("[redacted:{kind}]"));
                    }
                    (Instead::Text(text), other @ Instead::Text(_)) if text.is_empty() => *kept = other,
                    _ => {}
                }
            }
            _ => apart.push((part, instead)),
        }
    }
    apart
}

pub(crate) fn edited(text: &str, edits: &[TextEdit]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (part, instead) in edits {
        out.push_str(text.get(from..part.start).unwrap_or_default());
        out.push_str(instead);
        from = part.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

/// The bytes with everything changed that is to be.
pub(crate) fn spliced(bytes: &[u8], mut changed: Vec<Changed>) -> Bytes {
    changed.sort_by_key(|changed| changed.raw.start);
    let mut out = BytesMut::with_capacity(bytes.len() + 64);
    let mut from = 0;
    for Changed { raw, kind } in changed {
        match kind {
            Changing::Whole(value) => {
                // With its quotes, if it has any.
                let quotes = usize::from(bytes.get(raw.end) == Some(&b'"'));
                out.extend_from_slice(bytes.get(from..raw.start - quotes).unwrap_or_default());
                out.extend_from_slice(&value);
                from = raw.end + quotes;
            }
            Changing::Text(edits) => {
                for (part, instead) in edits {
                    out.extend_from_slice(bytes.get(from..raw.start + part.start).unwrap_or_default());
                    let quoted = quote(&instead);
                    out.extend_from_slice(quoted.get(1..quoted.len() - 1).unwrap_or_default());
                    from = raw.start + part.end;
                }
            }
        }
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
    out.freeze()
}
