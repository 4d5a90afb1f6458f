//! The demo's HTTP server: a small calendar, with one tool that reports progress. Written on the official SDK, as an
//! independent peer; only its listener is the gateway's own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    CallToolResult, ContentBlock, Implementation, ProgressNotificationParam, RequestMetaObject,
    ServerCapabilities, ServerConfig,
};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{Peer, RoleServer, ServerHandler, schemars, tool, tool_handler, tool_router};
use tokio::io::AsyncReadExt;

use super::date::Date;
use crate::exit::Failure;
use crate::listen::{Bounds, Listener, Stopper};
use crate::out::{Printer, To};

/// The longest countdown, in steps.
const STEPS_MAX: u32 = 60;
const STEP: Duration = Duration::from_millis(100);

/// Serves on a free port of this machine until it is interrupted; with `until_stdin_ends` also until standard input
/// ends, so that it never outlives whoever started it. Prints its URL.
pub(crate) async fn serve_http(until_stdin_ends: bool) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("the calendar server: {error}"));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = Listener::bind("demo", address, None).await.map_err(failed)?;
    Printer::new(To::Out).line(format!("http://{}/mcp", listener.address()));

    let service = Arc::new(StreamableHttpService::new(
        || Ok(Calendar::new()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    ));
    let (stopper, stop) = Stopper::new();
    let serving = listener.serve(Bounds::default(), stop, move |_, request| {
        let service = service.clone();
        async move { service.handle(request).await }
    });
    tokio::select! {
        () = serving => {}
        _ = tokio::signal::ctrl_c() => {}
        () = stdin_end(), if until_stdin_ends => {}
    }
    drop(stopper);
    Ok(())
}

async fn stdin_end() {
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 256];
    while stdin.read(&mut ignored).await.is_ok_and(|length| length > 0) {}
}

#[derive(Debug, Clone)]
struct Calendar {
    tool_router: ToolRouter<Self>,
}

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct OneDay {
    /// A date, as 2026-07-28
    date: String,
}

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct TwoDays {
    /// The first date, as 2026-07-28
    from: String,
    /// The second date, as 2026-12-31
    to: String,
}

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct Steps {
    /// How many steps, each a tenth of a second; at most 60
    steps: u32,
}

impl Calendar {
    fn new() -> Self {
        Self { tool_router: Self::tool_router() }
    }
}

fn told(answer: Result<String, impl ToString>) -> CallToolResult {
    match answer {
        Ok(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
        Err(error) => CallToolResult::error(vec![ContentBlock::text(error.to_string())]),
    }
}

#[tool_router]
#[allow(clippy::unused_self, reason = "a tool is a method")]
impl Calendar {
    #[tool(description = "The day of the week of a date", annotations(read_only_hint = true))]
    fn weekday(&self, Parameters(OneDay { date }): Parameters<OneDay>) -> CallToolResult {
        told(date.parse::<Date>().map(|date| date.weekday().to_owned()))
    }

    #[tool(description = "How many days lie between two dates", annotations(read_only_hint = true))]
    fn days_between(&self, Parameters(TwoDays { from, to }): Parameters<TwoDays>) -> CallToolResult {
        let days = from.parse::<Date>().and_then(|from| Ok(to.parse::<Date>()?.number() - from.number()));
        told(days.map(|days| days.to_string()))
    }

    #[tool(description = "Count down step by step, reporting progress", annotations(read_only_hint = true))]
    async fn countdown(
        &self,
        Parameters(Steps { steps }): Parameters<Steps>,
        meta: RequestMetaObject,
        client: Peer<RoleServer>,
    ) -> CallToolResult {
        if steps > STEPS_MAX {
            return told(Err::<String, _>(format!("at most {STEPS_MAX} steps")));
        }
        let token = meta.get_progress_token();
        for step in 1..=steps {
            tokio::time::sleep(STEP).await;
            if let Some(token) = &token {
                let progress = ProgressNotificationParam::new(token.clone(), f64::from(step))
                    .with_total(f64::from(steps))
                    .with_message(format!("{} to go", steps - step));
                // A client that is gone will not miss it.
                drop(client.notify_progress(progress).await);
            }
        }
        told(Ok::<_, String>("Liftoff.".to_owned()))
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Calendar {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("tollgate-demo-calendar", env!("CARGO_PKG_VERSION")))
            .with_instructions("Answers questions about dates.")
    }
}
