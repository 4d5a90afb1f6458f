//! What is inspected, and what of it may be changed.

use crate::neighbours::Neighbours;
use crate::pseudonym::Pseudonyms;

/// How a value is read.
#[derive(Clone, Copy, Default)]
pub enum Reading<'a> {
    /// As words: every text of it may be changed.
    #[default]
    Words,
    /// As something that is asked: what an answer has to fit stays as it is.
    Question,
    /// As a definition, or what a server says of itself: names, URIs and what a schema demands stay as they are, since it would
    /// be another one. What is known of other servers, if it is held against them.
    Definition(Option<&'a dyn Neighbours>),
}

/// What is inspected.
#[derive(Clone, Copy, Default)]
pub struct Subject<'a> {
    /// How it is read.
    pub reading: Reading<'a>,
    /// Members at the top that are left out.
    pub except: &'a [&'a str],
    /// With whose key digests are made.
    pub tenant: &'a str,
    /// The names that stand for texts. Without them a mask does.
    pub pseudonyms: Option<&'a dyn Pseudonyms>,
}

/// Members whose texts are no words of anybody's: to change one is to name another thing.
const NAMES: &[&str] = &[
    "name",
    "uri",
    "uriTemplate",
    "url",
    "src",
    "websiteUrl",
    "mimeType",
    "method",
    "mode",
    "id",
    "type",
    "role",
    "version",
    "format",
    "pattern",
    "$ref",
    "$id",
    "$schema",
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "contentEncoding",
    "contentMediaType",
    "x-mcp-header",
];

/// Members within which every text is one that has to be met to the letter.
const DEMANDS: &[&str] = &["enum", "const", "required", "dependentRequired"];

/// Members of what is asked that are no words, beside those within its schemas.
const OF_QUESTIONS: &[&str] = &[
    "method",
    "mode",
    "url",
    "elicitationId",
    "taskId",
    "requestId",
    "progressToken",
    "uri",
    "role",
    "type",
];
/// Members of what is asked that hold schemas.
const SCHEMAS: &[&str] = &["requestedSchema", "tools", "toolChoice"];
/// Members that hold what was not asked, whatever else a message has.
const ANSWERS: &[&str] = &["content", "contents", "structuredContent", "result", "error"];

impl Reading<'_> {
    /// Whether a text stays as it is, by the names on the way to it, the outermost first.
    pub(crate) fn is_fixed(&self, way: &[&str]) -> bool {
        match self {
            Self::Words => false,
            Self::Definition(_) => is_fixed(way),
            Self::Question => {
                !way.iter().any(|name| ANSWERS.contains(name))
                    && (way.iter().any(|name| SCHEMAS.contains(name)) && is_fixed(way)
                        || way.last().is_some_and(|last| OF_QUESTIONS.contains(last)))
            }
        }
    }

    /// Whether every text may be changed.
    pub(crate) const fn is_of_words(&self) -> bool {
        matches!(self, Self::Words)
    }
}

fn is_fixed(way: &[&str]) -> bool {
    way.iter().any(|name| DEMANDS.contains(name)) || way.last().is_some_and(|last| NAMES.contains(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_reads_may_be_changed_and_what_it_has_to_repeat_may_not() {
        let fixed = |reading: Reading<'_>, way: &str| reading.is_fixed(&way.split('/').collect::<Vec<_>>());
        let definition = |way| fixed(Reading::Definition(None), way);
        for way in ["name", "uri", "inputSchema/properties/a/enum", "inputSchema/properties/a/pattern"] {
            assert!(definition(way), "{way}");
        }
        for way in ["description", "title", "inputSchema/properties/name/description", "annotations/title"] {
            assert!(!definition(way), "{way}");
        }
        let question = |way| fixed(Reading::Question, way);
        for way in ["url", "requestedSchema/properties/a/enum", "inputRequests/k/params/requestedSchema/type"]
        {
            assert!(question(way), "{way}");
        }
        for way in ["message", "requestedSchema/properties/a/title", "structuredContent/url", "result/x/enum"]
        {
            assert!(!question(way), "{way}");
        }
    }
}
