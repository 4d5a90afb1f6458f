//! The demo's stdio server: a few notes to list, read and add. Written on the official SDK, so that what the gateway
//! talks to was not written by those who wrote the gateway.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::handler::server::router::prompt::PromptRouter;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    CallToolResult, ContentBlock, Implementation, ListResourcesResult, PaginatedRequestParams, PromptMessage,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource, ResourceContents, Role,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{
    ErrorData, RoleServer, ServerHandler, ServiceExt, prompt, prompt_handler, prompt_router, schemars, tool,
    tool_handler, tool_router,
};

use crate::exit::Failure;

/// Notes beyond this many are not taken.
const NOTES_MAX: usize = 1000;
const SCHEME: &str = "notes://";

/// Serves on standard input and output until the input ends.
pub(crate) async fn serve_stdio() -> Result<(), Failure> {
    let failed = |error: String| Failure::failed(format!("the notes server: {error}"));
    let service =
        Notes::new().serve(rmcp::transport::stdio()).await.map_err(|error| failed(error.to_string()))?;
    service.waiting().await.map_err(|error| failed(error.to_string()))?;
    Ok(())
}

#[derive(Debug, Clone)]
struct Notes {
    by_title: Arc<Mutex<BTreeMap<String, String>>>,
    tool_router: ToolRouter<Self>,
    prompt_router: PromptRouter<Self>,
}

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct Titled {
    /// The note's title
    title: String,
}

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct NewNote {
    /// The note's title; a note of the same title is replaced
    title: String,
    /// The note itself
    text: String,
}

impl Notes {
    fn new() -> Self {
        let first = [
            ("groceries", "Milk, bread, coffee."),
            ("welcome", "These notes live in a small MCP server behind the gateway."),
        ];
        let notes = first.map(|(title, text)| (title.to_owned(), text.to_owned())).into();
        Self {
            by_title: Arc::new(Mutex::new(notes)),
            tool_router: Self::tool_router(),
            prompt_router: Self::prompt_router(),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, String>) -> T) -> T {
        work(&mut self.by_title.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[tool_router]
impl Notes {
    #[tool(description = "List the titles of all notes", annotations(read_only_hint = true))]
    fn list(&self) -> String {
        let titles: Vec<String> = self.with(|notes| notes.keys().cloned().collect());
        titles.join("\n")
    }

    #[tool(description = "Read one note", annotations(read_only_hint = true))]
    fn read(&self, Parameters(Titled { title }): Parameters<Titled>) -> CallToolResult {
        match self.with(|notes| notes.get(&title).cloned()) {
            Some(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
            None => {
                CallToolResult::error(vec![ContentBlock::text(format!("There is no note titled {title:?}."))])
            }
        }
    }

    #[tool(description = "Add a note")]
    fn add(&self, Parameters(NewNote { title, text }): Parameters<NewNote>) -> CallToolResult {
        let kept = self.with(|notes| {
            let room = notes.len() < NOTES_MAX || notes.contains_key(&title);
            room.then(|| notes.insert(title.clone(), text)).is_some()
        });
        if kept {
            CallToolResult::success(vec![ContentBlock::text(format!("Noted: {title}"))])
        } else {
            CallToolResult::error(vec![ContentBlock::text("There is no room for more notes.")])
        }
    }
}

#[prompt_router]
impl Notes {
    #[prompt(name = "summarise", description = "Summarise one note")]
    async fn summarise(&self, Parameters(Titled { title }): Parameters<Titled>) -> Vec<PromptMessage> {
        let text = self.with(|notes| notes.get(&title).cloned()).unwrap_or_default();
        vec![PromptMessage::new_text(Role::User, format!("Summarise this note in one sentence:\n\n{text}"))]
    }
}

#[tool_handler(router = self.tool_router)]
#[prompt_handler(router = self.prompt_router)]
impl ServerHandler for Notes {
    fn get_info(&self) -> ServerConfig {
        let capabilities =
            ServerCapabilities::builder().enable_tools().enable_prompts().enable_resources().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("tollgate-demo-notes", env!("CARGO_PKG_VERSION")))
            .with_instructions("A few notes to list, read and add.")
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let titles: Vec<String> = self.with(|notes| notes.keys().cloned().collect());
        let resources = titles
            .into_iter()
            .map(|title| Resource::new(format!("{SCHEME}{title}"), title).with_mime_type("text/plain"))
            .collect();
        Ok(ListResourcesResult::with_all_items(resources))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let title = request.uri.strip_prefix(SCHEME).unwrap_or_default();
        match self.with(|notes| notes.get(title).cloned()) {
            Some(text) => Ok(ReadResourceResult::new(vec![ResourceContents::text(text, request.uri)]).into()),
            None => Err(ErrorData::resource_not_found("there is no such note", None)),
        }
    }
}
