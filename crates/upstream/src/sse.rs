//! HTTP+SSE of 2024-11-05: one stream of events carries all answers, and its first event says where to POST.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_mcp::{Message, Segments, SseDecoder, SseError, headers};
use tollgate_model::Era;

use crate::UpstreamError;
use crate::conversation::{Command, Conversation, Outlet};
use crate::event::Source;
use crate::hello;
use crate::http::{Reply, Target};
use crate::mux::{Action, Mux, STUCK};
use crate::shared::{ASKED_MAX, Shared};
use crate::site::{Site, encoded, status_error};

/// Opens the stream and waits for its `endpoint` event. [`crate::UpstreamError::Protocol`] if this is no such server.
pub(crate) async fn start(
    site: &Arc<Site>,
    source: Source,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Result<Conversation, UpstreamError> {
    let shared = &site.shared;
    let wait = shared.settings.timeouts.probe;
    let opening = open(site);
    let (reply, decoder, target) = tokio::time::timeout(wait, opening)
        .await
        .unwrap_or(Err(UpstreamError::Timeout { what: "the opening of its event stream", after: wait }))?;
    let (commands, inbox) = mpsc::channel(shared.settings.limits.send_queue_max);
    let strays = Arc::default();
    let owner = Owner {
        mux: Mux::new(Arc::clone(shared), source.scope(), Arc::clone(&strays)),
        shared: Arc::clone(shared),
        site: Arc::clone(site),
        target: target.clone(),
        source,
        inbox,
        asked: Arc::new(Semaphore::new(ASKED_MAX)),
        refusals: None,
        over: stop.child_token(),
        stop: stop.clone(),
    };
    tasks.spawn(owner.run(reply, decoder));
    let outlet = Outlet::Post(Arc::clone(site), target);
    Ok(Conversation { shared: Arc::clone(shared), commands, outlet, stop, strays })
}

async fn open(site: &Site) -> Result<(Reply, SseDecoder, Target), UpstreamError> {
    let mut reply = site.get(site.get_headers(None, None)).await.map_err(|error| site.error(error))?;
    if reply.status() != StatusCode::OK {
        return Err(status_error(reply.status(), reply.headers()));
    }
    if !reply.is_of_type(headers::TEXT_EVENT_STREAM) {
        return Err(UpstreamError::protocol(
            "the server offers neither Streamable HTTP nor a stream of events",
            format!("type {:?}", reply.media_type()),
        ));
    }
    if let Some(error) = encoded(&reply) {
        return Err(error);
    }
    let mut decoder = SseDecoder::new(site.shared.settings.limits.message_bytes_max);
    loop {
        match decoder.next() {
            Some(Ok(event)) if event.event_type() == "endpoint" => {
                let reference = String::from_utf8_lossy(&event.data);
                let target = site.endpoint(&reference).ok_or_else(|| {
                    UpstreamError::protocol(
                        "the server names an endpoint of another origin",
                        "an endpoint event that is not of the same origin",
                    )
                })?;
                return Ok((reply, decoder, target));
            }
            Some(Ok(_)) => {}
            Some(Err(_)) => {
                return Err(UpstreamError::protocol("the server's first event is too large", "endpoint"));
            }
            None => match reply.chunk().await {
                Some(Ok(chunk)) => decoder.push(chunk),
                Some(Err(error)) => return Err(site.error(error)),
                None => return Err(UpstreamError::closed("the event stream ended before its first event")),
            },
        }
    }
}

struct Owner {
    shared: Arc<Shared>,
    site: Arc<Site>,
    target: Target,
    mux: Mux,
    source: Source,
    inbox: mpsc::Receiver<Command>,
    stop: CancellationToken,
    /// Places for what the server asks beside all calls.
    asked: Arc<Semaphore>,
    /// Answers to what is beyond them, once there are any.
    refusals: Option<mpsc::Sender<Segments>>,
    /// Cancelled when the stream has ended, whoever ended it: nobody waits for answers then.
    over: CancellationToken,
}

/// How many refusals may wait for a server that asks more than may be asked.
const REFUSALS_MAX: usize = 256;

impl Owner {
    async fn run(mut self, reply: Reply, decoder: SseDecoder) {
        let why = self.converse(reply, decoder).await;
        self.inbox.close();
        self.over.cancel();
        self.mux.fail_all(&UpstreamError::closed(&why));
        while let Ok(command) = self.inbox.try_recv() {
            if let Command::Call { sender, .. } | Command::Subscribe { sender, .. } = command {
                let _ =
                    sender.try_send(Err(UpstreamError::stale("the server ended before the request left")));
            }
        }
        tracing::debug!(server = %self.shared.id.label(), why, "an HTTP+SSE session ended");
    }

    async fn converse(&mut self, mut reply: Reply, mut decoder: SseDecoder) -> String {
        let mut completed = false;
        loop {
            // Commands first: the answer to a call that was just posted must find its entry.
            while let Ok(command) = self.inbox.try_recv() {
                if self.obey(command).is_break() {
                    return STUCK.to_owned();
                }
            }
            match decoder.next() {
                Some(Ok(event)) if event.data.is_empty() || event.event_type() != "message" => {
                    completed = true;
                    continue;
                }
                Some(Ok(event)) => {
                    completed = true;
                    match self.mux.receive(event.data, Some(Era::Legacy)) {
                        Action::Nothing => {}
                        Action::Answer(body) => self.answer(body),
                        Action::Ask(request) => self.ask(*request),
                        Action::Event(kind) => self.shared.event(kind, &self.source),
                    }
                    continue;
                }
                Some(Err(SseError::TooLarge { id, .. })) => {
                    self.mux.oversize(id.as_deref());
                    continue;
                }
                None => self.mux.has_read(decoder.has_partial(), std::mem::take(&mut completed)),
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return "the session was stopped".to_owned(),
                command = self.inbox.recv() => match command {
                    Some(command) => {
                        if self.obey(command).is_break() {
                            return STUCK.to_owned();
                        }
                    }
                    None => return "nobody uses the session any more".to_owned(),
                },
                chunk = reply.chunk() => match chunk {
                    Some(Ok(chunk)) => decoder.push(chunk),
                    Some(Err(error)) => return format!("the event stream broke: {error:?}"),
                    None => return "the server ended the event stream".to_owned(),
                },
            }
        }
    }

    /// Carries a command out. Breaks when a caller has given up and the stream is stuck.
    fn obey(&mut self, command: Command) -> ControlFlow<()> {
        match command {
            Command::Call { id, sender, whose, .. } => {
                self.mux.enter(id, sender, whose);
            }
            Command::Subscribe { id, sender, body } => {
                self.mux.subscribe(id, sender);
                self.post(body);
            }
            Command::Send(body) => self.post(body),
            Command::Leave { id, tell } => {
                if self.mux.leave(id) && tell {
                    self.post(hello::cancelled(id));
                }
                if tell && self.mux.is_stuck() {
                    return ControlFlow::Break(());
                }
            }
            Command::Settled(..) => {}
        }
        ControlFlow::Continue(())
    }

    /// Asks whom a request concerns that belongs to no call, and posts the answer when it is there.
    fn ask(&mut self, request: Message) {
        let Some(place) = self.shared.to_ask(&self.asked) else { return self.refuse(&request) };
        let (site, target, over) = (Arc::clone(&self.site), self.target.clone(), self.over.clone());
        let answer = self.shared.ask(request, &self.source);
        tokio::spawn(over.run_until_cancelled_owned(async move {
            if let Some(answer) = answer.await {
                tell(&site, &target, answer).await;
            }
            drop(place);
        }));
    }

    /// Answers what nobody can be asked: one after the other, since a server may ask without ever reading.
    fn refuse(&mut self, request: &Message) {
        let Some(raw_id) = request.id_raw() else { return };
        let refusals = self.refusals.get_or_insert_with(|| {
            let (refusals, mut waiting) = mpsc::channel(REFUSALS_MAX);
            let (site, target, over) = (Arc::clone(&self.site), self.target.clone(), self.over.clone());
            tokio::spawn(over.run_until_cancelled_owned(async move {
                while let Some(refusal) = waiting.recv().await {
                    tell(&site, &target, refusal).await;
                }
            }));
            refusals
        });
        if refusals.try_send(hello::too_many(&raw_id)).is_err() {
            self.shared.counters.messages_dropped.add();
        }
    }

    /// Posts an answer to the server's own request.
    fn answer(&self, body: Segments) {
        if let Some(place) = self.shared.aside() {
            self.post_with(body, Some(place));
        }
    }

    /// Posts from a task of its own: the stream must go on being read.
    fn post(&self, body: Segments) {
        self.post_with(body, None);
    }

    fn post_with(&self, body: Segments, place: Option<OwnedSemaphorePermit>) {
        let (site, target) = (Arc::clone(&self.site), self.target.clone());
        tokio::spawn(async move {
            let headers = site.post_headers(None, None);
            if let Err(error) = site.tell(&target, headers, body).await {
                tracing::debug!(server = %site.shared.id.label(), %error, "a message could not be posted");
            }
            drop(place);
        });
    }
}

/// Posts the response to a question.
async fn tell(site: &Site, target: &Target, answer: Segments) {
    if let Err(error) = site.tell(target, site.post_headers(None, None), answer).await {
        tracing::debug!(server = %site.shared.id.label(), %error, "an answer was not accepted");
    }
}

/// A longer wait than for a probe is given where a server may first have to be downloaded.
pub(crate) const SLOW_START: u32 = 3;

/// How long `initialize` may take.
pub(crate) fn initialize_wait(shared: &Shared, is_child: bool) -> Duration {
    let probe = shared.settings.timeouts.probe;
    if is_child { probe * SLOW_START } else { probe }
}
