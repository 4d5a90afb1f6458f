//! What a guard is asked.

use bytes::Bytes;
use serde_json::json;

use super::settings::{Heard, OutsideKind, OutsideSettings};
use super::texts::Texts;
use super::{classifier, presidio};

/// What the texts are of. Nothing here proves who calls.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The call, as it is on record.
    pub call: &'a str,
    /// What is looked at.
    pub heard: Heard,
    /// The tenant whose request it is.
    pub tenant: &'a str,
    /// The server.
    pub server: &'a str,
    /// The method of the request.
    pub method: &'a str,
    /// The server's own name or URI of the tool, prompt or resource, where the request is about one.
    pub name: Option<&'a str>,
    /// Whether that is a tool.
    pub is_tool: bool,
}

/// What is posted at once, and which of the texts it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The body: JSON.
    pub body: Bytes,
    /// The first of the texts.
    pub from: usize,
    /// How many.
    pub count: usize,
}

/// What a guard has to be asked to hear its opinion of these texts, in its own words.
pub fn questions(settings: &OutsideSettings, about: &About<'_>, texts: &Texts) -> Vec<Question> {
    if texts.is_empty() {
        return Vec::new();
    }
    match &settings.kind {
        OutsideKind::Tollgate => {
            let items: Vec<serde_json::Value> = texts
                .pieces()
                .iter()
                .map(|piece| json!({"pointer": piece.pointer, "text": piece.text}))
                .collect();
            let mut body = json!({
                "version": 1,
                "id": about.call,
                "direction": about.heard.as_str(),
                "tenant": about.tenant,
                "server": about.server,
                "method": about.method,
                "items": items,
            });
            if let Some(name) = about.name {
                let member = match about.method {
                    _ if about.is_tool => "tool",
                    "prompts/get" => "prompt",
                    "resources/read" => "resource",
                    _ => "name",
                };
                body[member] = name.into();
            }
            vec![Question { body: body.to_string().into(), from: 0, count: texts.pieces().len() }]
        }
        OutsideKind::Presidio(presidio) => presidio::questions(presidio, about, texts),
        OutsideKind::Classifier(classifier) => classifier::questions(classifier, texts),
    }
}
