//! What a fake server is, and what it does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Act, json};

/// The eras that a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Eras {
    /// `initialize` only.
    Legacy,
    /// `server/discover` only.
    Modern,
}

/// What a fake server is, and what it does. All raw texts are JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Script {
    /// The eras that it speaks.
    pub eras: Eras,
    /// The revision that it answers `initialize` with.
    pub revision: String,
    /// Whether it answers on an SSE stream rather than with one JSON body.
    pub sse_replies: bool,
    /// Whether legacy HTTP has sessions.
    pub sessions: bool,
    /// The tools, raw.
    pub tools: Vec<String>,
    /// The prompts, raw.
    pub prompts: Vec<String>,
    /// The resources, raw.
    pub resources: Vec<String>,
    /// The resource templates, raw.
    pub templates: Vec<String>,
    /// How many entries a list page has; 0 for all.
    pub page_size: usize,
    /// Raw members (with a leading comma) put into every list result.
    pub list_members: String,
    /// The server's capabilities, raw.
    pub capabilities: String,
    /// What it calls itself, raw.
    pub info: String,
    /// Raw members (with a leading comma) put into what it answers `server/discover` with.
    pub said_of_itself: String,
    /// URIs that it can read although it does not list them.
    pub views: Vec<String>,
    /// The raw member, `"result":…` or `"error":…`, that it answers a method with, whatever is asked.
    pub says: BTreeMap<String, String>,
    /// The server's instructions.
    pub instructions: Option<String>,
    /// What it does on which method.
    pub acts: BTreeMap<String, Act>,
    /// stdio: ends at once when it is started.
    pub exits_at_start: bool,
    /// stdio: stays although its input is closed and although it gets SIGTERM.
    pub stubborn: bool,
    /// stdio: starts a child of its own, which never ends by itself.
    pub grandchild: bool,
    /// stdio: that child of its own leaves the process group and session.
    pub runaway: bool,
    /// stdio: lines written to the error output at the start.
    pub stderr: Vec<String>,
    /// Legacy HTTP: status, media type and body for a request without a session; `ID` stands for its id.
    pub no_session: (u16, String, String),
    /// HTTP: closes each connection after one answer, without having said so.
    pub closes: bool,
    /// Answers `server/discover` never, instead of with an error, if it is legacy.
    pub silent_probe: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            eras: Eras::Legacy,
            revision: "2025-11-25".to_owned(),
            sse_replies: false,
            sessions: true,
            tools: ["echo", "return", "raise", "count", "pid", "env", "big", "grow", "hang", "progress", "gate"]
                .map(Self::tool)
                .to_vec(),
            prompts: ["greet", "part"].map(Self::prompt).to_vec(),
            resources: vec![Self::resource("memo://one"), Self::resource("memo://two")],
            templates: vec![r#"{"uriTemplate":"memo://note/{id}","name":"note"}"#.to_owned()],
            page_size: 0,
            list_members: String::new(),
            capabilities: r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true},"completions":{}}"#.to_owned(),
            info: r#"{"name":"fake","version":"1"}"#.to_owned(),
            said_of_itself: String::new(),
            views: Vec::new(),
            says: BTreeMap::new(),
            instructions: None,
            acts: BTreeMap::new(),
            exits_at_start: false,
            stubborn: false,
            grandchild: false,
            runaway: false,
            stderr: Vec::new(),
            no_session: (
                400,
                "application/json".to_owned(),
                // As the most common legacy servers do it: the error answers no request.
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: no session"}}"#.to_owned(),
            ),
            closes: false,
            silent_probe: false,
        }
    }
}

impl Script {
    /// A legacy server with the default tools.
    pub fn legacy() -> Self {
        Self::default()
    }

    /// A modern server with the default tools.
    pub fn modern() -> Self {
        Self { eras: Eras::Modern, ..Self::default() }
    }

    /// The same, answering on SSE streams.
    pub fn on_streams(mut self) -> Self {
        self.sse_replies = true;
        self
    }

    /// The same with this act on this method.
    pub fn on(mut self, method: &str, act: Act) -> Self {
        self.acts.insert(method.to_owned(), act);
        self
    }

    /// The same, answering this method with this raw member: `"result":…` or `"error":…`.
    pub fn saying(mut self, method: &str, member: &str) -> Self {
        self.says.insert(method.to_owned(), member.to_owned());
        self
    }

    /// The same with these tools only.
    pub fn with_tools<'a>(mut self, native_names: impl IntoIterator<Item = &'a str>) -> Self {
        self.tools = native_names.into_iter().map(Self::tool).collect();
        self
    }

    /// The raw definition of a tool of this native name.
    pub fn tool(native_name: &str) -> String {
        format!(
            r#"{{"name":{},"description":"Does it.","inputSchema":{{"type":"object"}}}}"#,
            json::quote(native_name)
        )
    }

    /// The raw definition of a prompt of this native name.
    pub fn prompt(native_name: &str) -> String {
        format!(
            r#"{{"name":{},"description":"Says it.","arguments":[{{"name":"who","required":false}}]}}"#,
            json::quote(native_name)
        )
    }

    /// The raw definition of a resource.
    pub fn resource(uri: &str) -> String {
        format!(r#"{{"uri":{0},"name":{0},"mimeType":"text/plain"}}"#, json::quote(uri))
    }

    /// What it does on this message: by tool name, then by method.
    pub(super) fn act(&self, message: &str) -> Act {
        let method = json::text_at(message, &["method"]).unwrap_or_default();
        if let Some(act) = self.acts.get(&method) {
            return act.clone();
        }
        if self.silent_probe && method == "server/discover" {
            return Act::Hang;
        }
        if method == "tools/call" {
            let tool = json::text_at(message, &["params", "name"]).unwrap_or_default();
            return Act::by_name(&tool).unwrap_or(Act::Answer);
        }
        Act::Answer
    }
}
