//! A client's request, once its transport has found out who sent it and where to.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tollgate_catalog::Endpoint;
use tollgate_mcp::{LogLevel, Message, meta, methods};
use tollgate_model::{Caller, Code, Era, Refusal, ServerName, Stage};
use tollgate_upstream::Server;

use crate::input::{Asker, Bounds};
use crate::mailbox::Mailbox;
use crate::session::Session;
use crate::snapshot::Snapshot;
use crate::stages::record::CallRecord;
use crate::standing::Mark;

/// A request on its way through the stages.
pub(crate) struct Inbound {
    /// The message as the client sent it.
    pub(crate) message: Message,
    /// Its id, as raw JSON.
    pub(crate) id: Bytes,
    /// Who calls.
    pub(crate) caller: Caller,
    /// Where the client sent it.
    pub(crate) endpoint: Arc<Endpoint>,
    /// What was configured when the request came. It stays the same for the whole request.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The `Mcp-Param-*` headers of a modern request over HTTP, which are forwarded whether they are known or not
    /// (2026-07-28, Streamable HTTP). None where there are no headers: they are made from the body then.
    pub(crate) param_headers: Option<Vec<(HeaderName, HeaderValue)>>,
    /// Where notifications about this request go.
    pub(crate) outlet: Mailbox,
    /// The session of a legacy client.
    pub(crate) session: Option<Arc<Session>>,
    /// Up to when what was taken back is known not to concern the caller.
    pub(crate) as_of: Mark,
    /// What is known of it, for the record.
    pub(crate) record: Arc<CallRecord>,
}

impl Inbound {
    /// The same request as it would be taken at this endpoint of this configuration.
    pub(crate) fn at(&self, endpoint: &Arc<Endpoint>, snapshot: &Arc<Snapshot>) -> Self {
        Self {
            message: self.message.clone(),
            id: self.id.clone(),
            caller: self.caller.clone(),
            endpoint: Arc::clone(endpoint),
            snapshot: Arc::clone(snapshot),
            param_headers: None,
            outlet: self.outlet.clone(),
            session: self.session.clone(),
            as_of: self.as_of,
            record: Arc::clone(&self.record),
        }
    }

    /// The session of the client, for what no client is served without one.
    pub(crate) fn session(&self) -> Result<&Arc<Session>, Refusal> {
        self.session.as_ref().ok_or_else(|| {
            Refusal::new(Stage::Session, Code::UnknownSession, "no such session; it may have ended")
        })
    }

    /// What the client speaks.
    pub(crate) fn era(&self) -> Era {
        self.caller.client.revision.era()
    }

    /// Whether it calls a tool.
    pub(crate) fn is_tool_call(&self) -> bool {
        self.message.method() == methods::TOOLS_CALL
    }

    /// How a server may ask the client something while this request is under way.
    pub(crate) fn asker(&self) -> Asker<'_> {
        let settings = &self.snapshot.settings;
        match &self.session {
            Some(session) => {
                let bounds = Bounds {
                    open_max: settings.in_flight_max,
                    asked_max: settings.input_rounds_max,
                    wait: settings.input_timeout,
                };
                Asker::Session { session, bounds }
            }
            None if methods::may_ask_for_input(self.message.method()) => {
                Asker::Later { capabilities: &self.caller.client.capabilities }
            }
            None => Asker::Nobody,
        }
    }

    /// The progress token that the client gave, as raw JSON.
    pub(crate) fn progress_token(&self) -> Option<Bytes> {
        self.message.meta_member(meta::PROGRESS_TOKEN).map(|span| self.message.raw(span))
    }

    /// The least severe log message that the client wants: of a legacy client what it set for its session, of a modern
    /// one what this request says. None for a modern client that wants none, and for a legacy one that leaves it to the
    /// server.
    pub(crate) fn log_level(&self) -> Option<LogLevel> {
        match &self.session {
            Some(session) => session.log_level(),
            None => self.message.meta_text(meta::LOG_LEVEL)?.parse().ok(),
        }
    }

    /// A string parameter that the method requires.
    pub(crate) fn required_text(&self, member: &'static str) -> Result<String, Refusal> {
        self.message.text(member).map(std::borrow::Cow::into_owned).ok_or_else(|| {
            Refusal::new(Stage::Envelope, Code::InvalidParams, format!("`params.{member}` must be a string"))
        })
    }

    /// A server of this endpoint, as the caller's tenant has it.
    pub(crate) fn server(&self, name: &ServerName) -> Result<Server, Refusal> {
        self.snapshot.server(self.caller.tenant(), name).cloned().ok_or_else(|| {
            Refusal::new(Stage::Resolve, Code::Internal, "the server is in the catalog but not running")
                .of(name)
        })
    }
}
