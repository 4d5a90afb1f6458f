//! The server itself: what it says of its abilities, and which request goes to which file.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rmcp::ErrorData;
use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult, CompletionInfo,
    GetPromptRequestParams, GetPromptResponse, Implementation, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, Reference as CompletionReference,
    ServerCapabilities, ServerConfig, SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter,
    Tool, UnsubscribeRequestParams,
};
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext};
use tokio::sync::watch;

use crate::watched::Watched;
use crate::{prompts, resources, rounds, tools};

/// Which revisions the server admits to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EraChoice {
    #[default]
    Both,
    Legacy,
    Modern,
}

/// What the command line can change.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) era: EraChoice,
    /// How many tools `numbered_0001`, `numbered_0002`, … are offered besides the usual ones.
    pub(crate) numbered_tools: usize,
    /// How many tools one page of `tools/list` holds.
    pub(crate) page_size: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { era: EraChoice::Both, numbered_tools: 0, page_size: 200 }
    }
}

/// What happened since the process started, for the tool `observations`.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) calls: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) waiting: AtomicU64,
}

/// Says to every open subscription which list has changed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changes {
    pub(crate) tools: u64,
    pub(crate) prompts: u64,
}

/// The server. A clone serves the same state: over HTTP one clone is made for every session or request.
#[derive(Clone)]
pub(crate) struct Reference {
    pub(crate) options: Options,
    pub(crate) observed: Arc<Observed>,
    pub(crate) changes: watch::Sender<Changes>,
    pub(crate) seal: rounds::Seal,
    pub(crate) watched: Arc<Watched>,
}

impl Reference {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            observed: Arc::new(Observed {
                calls: AtomicU64::new(0),
                cancelled: AtomicU64::new(0),
                waiting: AtomicU64::new(0),
            }),
            changes: watch::Sender::new(Changes::default()),
            seal: rounds::Seal::new(),
            watched: Arc::new(Watched::new()),
        }
    }
}

impl ServerHandler for Reference {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_completions()
            .enable_logging()
            .build();
        let mut info = ServerConfig::new(capabilities);
        info.server_info = Implementation::new("tollgate-reference", env!("CARGO_PKG_VERSION"));
        info.instructions = Some("A server for tests: it offers one of everything.".into());
        info
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        let known = ProtocolVersion::KNOWN_VERSIONS;
        let modern = |version: &&ProtocolVersion| **version == ProtocolVersion::V_2026_07_28;
        match self.options.era {
            EraChoice::Both => Cow::Borrowed(known),
            EraChoice::Legacy => known.iter().filter(|version| !modern(version)).cloned().collect(),
            EraChoice::Modern => known.iter().filter(modern).cloned().collect(),
        }
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        tools::list(self, request.and_then(|request| request.cursor).as_deref())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.observed.calls.fetch_add(1, Ordering::Relaxed);
        tools::call(self, request, context).await
    }

    fn get_tool(&self, tool: &str) -> Option<Tool> {
        tools::definition(tool)
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        prompts::list()
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        prompts::get(&request, &context).await
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        resources::list()
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        resources::templates()
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(&request.uri)
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let candidates: &[&str] = match &request.r#ref {
            CompletionReference::Prompt(_) => &["paris", "park", "party", "test"],
            CompletionReference::Resource(_) => &["1", "12", "123"],
            _ => &[],
        };
        let typed = request.argument.value.to_lowercase();
        let values =
            candidates.iter().filter(|value| value.starts_with(&typed)).map(|value| (*value).to_owned());
        let completion = CompletionInfo::new(values.collect())
            .map_err(|problem| ErrorData::internal_error(problem, None))?;
        Ok(CompleteResult::new(completion))
    }

    async fn set_level(
        &self,
        _: SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.watched.subscribe(&request.uri, context.peer);
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.watched.unsubscribe(&request.uri);
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.changes.subscribe();
        let mut told = *changes.borrow_and_update();
        let mut touched = self.watched.listen();
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                changed = changes.changed() => if changed.is_err() { return Ok(()) },
                uri = touched.next() => {
                    let _ = context.sink().notify_resource_updated(uri).await;
                    continue;
                }
            }
            let now = *changes.borrow_and_update();
            // A subscription whose filter leaves a list out refuses its notification; that is not an error here.
            if now.tools != told.tools {
                let _ = context.sink().notify_tool_list_changed().await;
            }
            if now.prompts != told.prompts {
                let _ = context.sink().notify_prompt_list_changed().await;
            }
            told = now;
        }
    }
}
