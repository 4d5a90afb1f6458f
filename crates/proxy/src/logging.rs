//! `logging/setLevel` of a legacy client.
//!
//! The level belongs to the client's session. Legacy servers are told of it: those that the session has open now, and
//! others before the first request to them. Modern servers are told with each request.

use std::time::Duration;

use futures_util::future::join_all;
use tollgate_mcp::{Kind, LogLevel, Message, Span, text};
use tollgate_model::{Code, Era, Refusal, Stage};
use tollgate_upstream::Server;

use crate::bridge::{self, Answered};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::reply::Reply;
use crate::stages::guard::{self, Desk, Said};
use crate::stages::record::{self, Behalf, Doing};
use crate::stages::{Permit, dispatch, policy, route};

/// How long the servers behind a merged endpoint are waited for. One that is slower is told all the same.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sets the level of the client's session.
pub(crate) async fn set_level(gateway: &Gateway, inbound: &Inbound) -> Result<Reply, Refusal> {
    let level = inbound
        .message
        .member("level")
        .ok_or_else(|| Refusal::new(Stage::Envelope, Code::InvalidParams, "`params.level` is missing"))?;
    let level = level_at(&inbound.message, level, "params.level")?;
    match inbound.endpoint.native_server() {
        Some(server) => {
            let (permit, _) = policy::look_at(gateway, &inbound.caller, server)?;
            native(gateway, inbound, &inbound.server(server)?, &permit, level).await
        }
        None => {
            remember(inbound, level);
            let servers = inbound.endpoint.servers().iter().filter_map(|name| {
                let (permit, _) = policy::look(gateway, &inbound.caller, inbound.endpoint.name(), name)?;
                Some((inbound.server(name).ok()?, permit))
            });
            let told = servers.map(|(server, permit)| tell(gateway, inbound, server, permit, level));
            // Whoever did not hear it now hears it before its next request.
            let _ = tokio::time::timeout(PATIENCE, join_all(told)).await;
            Ok(Reply::result(&inbound.id, b"{}"))
        }
    }
}

/// One server's own answer is the answer.
async fn native(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &Server,
    permit: &Permit,
    level: LogLevel,
) -> Result<Reply, Refusal> {
    let mut retried = false;
    loop {
        let route = route::open(server, &inbound.caller, permit).await?;
        let (aside, receipt) = record::aside(gateway, Behalf::of(inbound), doing(server, inbound)).await?;
        let told = dispatch::set_log_level(&route, level, receipt).await;
        aside.heard(told.as_ref().map(Option::as_ref)).await;
        match told {
            Ok(Some(message)) => {
                if message.kind() == Kind::Result {
                    remember(inbound, level);
                }
                let said = Desk::of(gateway, inbound, server.id()).said(server.id(), &message);
                let message = match said {
                    Said::AsItIs => message,
                    Said::Changed(changed) => *changed,
                    Said::Never => return Err(guard::kept_back().of(server.name())),
                };
                let answered = Answered::of(inbound, route.link(), &message);
                return bridge::response(&answered).map_err(|refusal| refusal.of(server.name()));
            }
            Ok(None) if route.link().era() == Era::Modern && route.link().hello().declares("logging") => {
                remember(inbound, level);
                return Ok(Reply::result(&inbound.id, b"{}"));
            }
            Ok(None) => {
                let text = "Method not found";
                return Err(Refusal::new(Stage::Envelope, Code::MethodNotFound, text));
            }
            Err(error) if error.is_stale() && !retried => retried = true,
            Err(error) => return Err(error.refusal(server.name())),
        }
    }
}

/// The log level at a place of a message. Anything else is an invalid parameter (all revisions, logging).
pub(crate) fn level_at(message: &Message, at: Span, place: &str) -> Result<LogLevel, Refusal> {
    let level = text(message.bytes(), at).and_then(|text| text.parse().ok());
    level.ok_or_else(|| {
        let levels = LogLevel::ALL.map(LogLevel::as_str).join(", ");
        Refusal::new(Stage::Envelope, Code::InvalidParams, format!("`{place}` must be one of {levels}"))
    })
}

/// Whether a log message is at least as severe as this. One of a severity that nobody knows is.
pub(crate) fn reaches(message: &Message, wanted: LogLevel) -> bool {
    let level = message.text("level").and_then(|level| level.parse::<LogLevel>().ok());
    level.is_none_or(|level| level >= wanted)
}

async fn tell(gateway: &Gateway, inbound: &Inbound, server: Server, permit: Permit, level: LogLevel) {
    let Some(route) = route::opened(&server, &inbound.caller, &permit) else { return };
    // What cannot be put on record is not said now: the server hears it before its next request.
    let Ok((aside, receipt)) = record::aside(gateway, Behalf::of(inbound), doing(&server, inbound)).await
    else {
        return;
    };
    let told = dispatch::set_log_level(&route, level, receipt).await;
    aside.heard(told.as_ref().map(Option::as_ref)).await;
    if let Err(error) = told {
        tracing::debug!(server = %server.id().label(), %error, "the server took no log level");
    }
}

fn doing<'a>(server: &'a Server, inbound: &'a Inbound) -> Doing<'a> {
    Doing { method: inbound.message.method(), server: server.id(), native: None, arguments: None }
}

fn remember(inbound: &Inbound, level: LogLevel) {
    if let Some(session) = &inbound.session {
        session.set_log_level(level);
    }
}
