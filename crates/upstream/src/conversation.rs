//! A conversation on a stream that all calls share: the handle to the task that owns it.

use std::sync::Arc;

use http::HeaderMap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tollgate_mcp::{Message, Segments, methods};
use tollgate_model::Revision;

use crate::hello;
use crate::http::Target;
use crate::mux::CallSender;
use crate::shared::Shared;
use crate::site::{Site, status_error};
use crate::strays::Strays;
use crate::{Audience, Incoming, UpstreamError};

/// What the owning task is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Enter a call, and send its request if the stream is written by the task.
    Call { id: u64, sender: CallSender, body: Option<Segments>, whose: Whose },
    /// Enter a subscription of the gateway's own, and send its request.
    Subscribe { id: u64, sender: CallSender, body: Segments },
    /// Send a message that has no answer.
    Send(Segments),
    /// The caller of this request has left; tell the server if it was still under way and `tell` says so.
    Leave { id: u64, tell: bool },
    /// From now on the revision is known, and whom the server's events concern.
    Settled(Revision, Audience),
}

/// On whose account a request is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whose {
    /// A client's, of a method on which the server may ask something: what it asks without naming a request is likely
    /// about this one.
    Asked,
    /// A client's: what the server says without naming a request may belong to it.
    Clients,
    /// The gateway's own: a greeting, or upkeep.
    Own,
    /// A client's that waits for the result of this task (the server's id for it): what the server asks says that it
    /// belongs to the task, and so does nothing else (2025-11-25, tasks).
    Task(Box<str>),
}

impl Whose {
    /// Whether what names no call cannot belong to this one.
    pub(crate) fn is_apart(&self) -> bool {
        matches!(self, Self::Own | Self::Task(_))
    }

    /// Of a request of this method that names this.
    pub(crate) fn of(method: &str, named: Option<&str>) -> Self {
        match (method, named) {
            (
                methods::LOGGING_SET_LEVEL
                | methods::RESOURCES_SUBSCRIBE
                | methods::RESOURCES_UNSUBSCRIBE
                // Looks at a task, beside what else is under way.
                | methods::TASKS_GET
                | methods::TASKS_LIST
                | methods::TASKS_CANCEL,
                _,
            ) => Self::Own,
            (methods::TASKS_RESULT, Some(task)) => Self::Task(task.into()),
            (method, _) if methods::may_ask_for_input(method) => Self::Asked,
            _ => Self::Clients,
        }
    }
}

/// How messages reach the server.
#[derive(Debug, Clone)]
pub(crate) enum Outlet {
    /// Through the owning task.
    Pipe,
    /// By POST, beside it.
    Post(Arc<Site>, Target),
}

/// A handle to a conversation; the conversation ends with the last one, or when it is stopped.
#[derive(Debug, Clone)]
pub(crate) struct Conversation {
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) outlet: Outlet,
    pub(crate) stop: CancellationToken,
    /// Told at once of a call that is left, before the owning task hears of it.
    pub(crate) strays: Arc<Strays>,
}

/// Where the messages of one call arrive.
pub(crate) type CallReceiver = mpsc::Receiver<Result<Incoming, UpstreamError>>;

impl Conversation {
    pub(crate) fn has_ended(&self) -> bool {
        self.commands.is_closed()
    }

    /// Sends a request.
    pub(crate) async fn call(
        &self,
        id: u64,
        body: Segments,
        whose: Whose,
    ) -> Result<CallReceiver, UpstreamError> {
        let (sender, receiver) = mpsc::channel(self.shared.settings.limits.call_queue_max + 1);
        match &self.outlet {
            Outlet::Pipe => self.command(Command::Call { id, sender, body: Some(body), whose }).await?,
            Outlet::Post(site, target) => {
                self.command(Command::Call { id, sender, body: None, whose }).await?;
                if let Err(error) = site.ask(target, site.post_headers(None, None), body).await {
                    self.leave(id, false);
                    return Err(error);
                }
            }
        }
        Ok(receiver)
    }

    /// Asks for a stream of notifications, which the owning task keeps apart from calls.
    pub(crate) async fn subscribe(&self, id: u64, body: Segments) -> Result<CallReceiver, UpstreamError> {
        let (sender, receiver) = mpsc::channel(self.shared.settings.limits.call_queue_max + 1);
        self.command(Command::Subscribe { id, sender, body }).await?;
        Ok(receiver)
    }

    /// Sends what has no answer.
    pub(crate) async fn send(&self, body: Segments) -> Result<(), UpstreamError> {
        match &self.outlet {
            Outlet::Pipe => self.command(Command::Send(body)).await,
            Outlet::Post(site, target) => Self::post(site, target, body).await,
        }
    }

    /// The caller no longer waits. Does not wait itself, so that it can be used on drop.
    pub(crate) fn leave(&self, id: u64, tell: bool) {
        if let Err(mpsc::error::TrySendError::Full(command)) =
            self.commands.try_send(Command::Leave { id, tell })
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let commands = self.commands.clone();
            runtime.spawn(async move { commands.send(command).await });
        }
    }

    pub(crate) async fn command(&self, command: Command) -> Result<(), UpstreamError> {
        self.commands
            .send(command)
            .await
            .map_err(|_| UpstreamError::stale("the server ended before the request left"))
    }

    async fn post(site: &Site, target: &Target, body: Segments) -> Result<(), UpstreamError> {
        let status = site.tell(target, site.post_headers(None, None), body).await?;
        if status.is_success() { Ok(()) } else { Err(status_error(status, &HeaderMap::new())) }
    }
}

/// Waits for the response among what arrives for a call of the gateway's own.
pub(crate) async fn response(
    conversation: &Conversation,
    receiver: &mut CallReceiver,
) -> Result<Message, UpstreamError> {
    loop {
        match receiver.recv().await {
            Some(Ok(Incoming::Response(message))) => return Ok(message),
            Some(Ok(Incoming::Notification(_))) => {}
            Some(Ok(Incoming::Request(request))) => {
                if let Some(raw_id) = request.id_raw() {
                    conversation.send(hello::nobody(&raw_id)).await?;
                }
            }
            Some(Err(error)) => return Err(error),
            None => return Err(UpstreamError::closed("the conversation ended")),
        }
    }
}
