//! Following a task to its end behind a call that waits, for a client that cannot follow it itself.
//!
//! The server is asked at the interval that it suggests, within bounds, and for no longer than a request may take; the
//! time that the client takes to answer a question does not count. If the client leaves, the task is cancelled.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout_at};
use tollgate_ledger::Outcome;
use tollgate_mcp::{Kind, Limits, Message, Segments, compose, meta, methods, quote};
use tollgate_model::{ClientProfile, Code, Era, Refusal, ServerId, Stage};
use tollgate_upstream::UpstreamError;

use super::ask::Speaker;
use super::waits::Wait;
use super::{TaskSettings, capability, shape};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::input::{self, Opened};
use crate::stages::dispatch::{Listener, Sent};
use crate::stages::record::{self, Behalf, Doing, Effect, Receipt};
use crate::stages::route::Spot;
use crate::stages::{Resolved, Route, outside, policy, route};

/// How often the way to the server may break in a row before the task is given up.
const FAILURES_MAX: u32 = 3;
/// How long the server may take to hear that nobody waits for the task any more.
const FAREWELL: Duration = Duration::from_secs(10);

/// Follows the task that a call became to its end, and gives the answer to the call.
pub(crate) async fn to_end(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    route: Route,
    created: Message,
) -> Result<(Route, Sent), Refusal> {
    let server = resolved.server();
    let era = route.link().era();
    let native = super::native_id(&created, era).map_err(|refusal| refusal.of(server.name()))?;
    let client = match era {
        Era::Modern => capability::declaring(&inbound.caller.client),
        Era::Legacy => (*inbound.caller.client).clone(),
    };
    let mut followed = Followed {
        gateway: gateway.clone(),
        server: server.id().clone(),
        route,
        client,
        native,
        behalf: Behalf::of(inbound),
        ended: false,
    };
    let settings = &inbound.snapshot.settings.tasks;
    // The task is made already; it is cancelled at the server as `followed` goes.
    let wait = gateway.tasks().waits.enter(&inbound.caller, &inbound.snapshot.settings);
    let wait = wait.map_err(|refusal| Refusal { code: Code::GivenUp, ..refusal })?;
    // The call has become the task: its own step is over. Each look at the task is one more.
    inbound.record.comes_to(Outcome::TaskCreated);
    record::settle(gateway, inbound, None).await?;
    let mut following = Following {
        gateway,
        inbound,
        resolved,
        settings,
        until: Instant::now() + server.settings().timeouts.request,
        failures: 0,
        answered: HashSet::new(),
        opened: Opened::default(),
        rounds: 0,
        told: None,
        _wait: wait,
    };
    let mut sent = match era {
        Era::Modern => following.modern(&mut followed, created).await,
        Era::Legacy => following.legacy(&mut followed, created).await,
    }
    .map_err(|refusal| refusal.of(server.name()))?;
    let route = followed.route.clone();
    match &mut sent {
        Sent::Response(message) => {
            inbound.record.answered(inbound, message, era);
            followed.end();
        }
        // The task is followed on, if the client comes back with answers.
        Sent::Paused(paused) => {
            inbound.record.comes_to(Outcome::InputRequired);
            paused.follows = Some(Box::new(followed));
        }
    }
    Ok((route, sent))
}

struct Following<'a> {
    gateway: &'a Gateway,
    inbound: &'a Inbound,
    resolved: &'a Resolved,
    settings: &'a TaskSettings,
    until: Instant,
    failures: u32,
    /// The keys of the questions that the client has answered. A server may name them once more before it hears.
    answered: HashSet<Bytes>,
    opened: Opened,
    rounds: u32,
    /// The status message that the client was told last.
    told: Option<String>,
    _wait: Wait,
}

impl Following<'_> {
    async fn modern(&mut self, followed: &mut Followed, created: Message) -> Result<Sent, Refusal> {
        let mut state = created;
        loop {
            self.tell(&state);
            match state.text("status").as_deref() {
                Some("working") => self.pause(&state, "pollIntervalMs").await?,
                Some("input_required") => self.answer(followed, &state).await?,
                Some("completed") => {
                    self.opened.complete(self.inbound);
                    return ended(&state, "result");
                }
                Some("failed") => return ended(&state, "error"),
                Some("cancelled") => {
                    let text = "the server cancelled the task that the call became";
                    return Err(Refusal::new(Stage::Dispatch, Code::UpstreamClosed, text));
                }
                _ => return Err(nonsense()),
            }
            state = self.look(followed).await?;
        }
    }

    async fn legacy(&mut self, followed: &mut Followed, created: Message) -> Result<Sent, Refusal> {
        let bytes = created.bytes();
        let task = created.member("task").map(|span| span.slice(bytes)).unwrap_or_default();
        let mut state = read(&task)?;
        loop {
            self.tell(&state);
            match state.text("status").as_deref() {
                Some("working") => self.pause(&state, "pollInterval").await?,
                // The server asks on the stream of the result (2025-11-25, tasks, input required status).
                Some("input_required" | "completed" | "failed" | "cancelled") => break,
                _ => return Err(nonsense()),
            }
            state = self.look(followed).await?;
        }
        let listener = Listener::of(self.gateway, self.inbound);
        let receipt = self.intend(followed, methods::TASKS_RESULT).await?;
        let sent = followed.speaker().result(&followed.native, Some(&listener), receipt).await;
        sent.map_err(|error| {
            self.inbound.record.failed(&error);
            error.refusal(followed.server.name())
        })
    }

    /// Waits as long as the server suggests, within bounds.
    async fn pause(&self, state: &Message, member: &str) -> Result<(), Refusal> {
        let suggested = state
            .member(member)
            .and_then(|span| std::str::from_utf8(span.of(state.bytes())).ok()?.parse::<f64>().ok())
            .and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok());
        let pause = suggested.unwrap_or(Duration::from_secs(1)).min(self.settings.poll_max);
        let pause = pause.max(self.settings.poll_min);
        let next = Instant::now() + pause;
        if next >= self.until {
            sleep_until(self.until).await;
            return Err(late());
        }
        sleep_until(next).await;
        Ok(())
    }

    /// Puts on record that the server is asked something about the task.
    async fn intend(&self, followed: &Followed, method: &'static str) -> Result<Receipt, Refusal> {
        let link = Some(followed.route.link());
        record::intend(self.gateway, self.inbound, Effect { link, method: Some(method), ..Effect::default() })
            .await
    }

    /// How the task is now.
    async fn look(&mut self, followed: &mut Followed) -> Result<Message, Refusal> {
        loop {
            let receipt = self.intend(followed, methods::TASKS_GET).await?;
            let speaker = followed.speaker();
            let asking = speaker.ask(methods::TASKS_GET, &followed.native, receipt);
            let asked = timeout_at(self.until, asking).await.map_err(|_| late())?;
            match &asked {
                Ok(message) => {
                    self.inbound.record.answered(self.inbound, message, followed.route.link().era());
                }
                Err(error) => self.inbound.record.failed(error),
            }
            match asked {
                Ok(message) if message.kind() == Kind::Result => {
                    self.failures = 0;
                    let is_over = matches!(message.text("status").as_deref(), Some("completed" | "failed"));
                    // The end of it is looked at as the answer that it becomes.
                    if is_over {
                        return Ok(message);
                    }
                    return outside::cleaned(self.gateway, self.inbound, self.resolved, message).await;
                }
                Ok(_) => return Err(lost()),
                Err(error) if self.failures < FAILURES_MAX && may_pass(&error) => {
                    self.failures += 1;
                    sleep_until(Instant::now() + self.settings.poll_min * self.failures).await;
                    let (server, caller) = (self.resolved.server(), &self.inbound.caller);
                    let permit = policy::decide(self.gateway, self.inbound, self.resolved)?;
                    let home = followed.route.link().replica().cloned();
                    let spot = Spot::on(home.as_deref());
                    followed.route = route::open_at(server, caller, spot, &permit).await?;
                }
                Err(error) => return Err(error.refusal(followed.server.name())),
            }
        }
    }

    /// Asks the client what the server wants to know, as far as it has not been asked.
    async fn answer(&mut self, followed: &mut Followed, state: &Message) -> Result<(), Refusal> {
        if state.member("inputRequests").is_none() {
            // The seed of the task says that there are questions, and not which.
            return self.pause(state, "pollIntervalMs").await;
        }
        let began = Instant::now();
        let responses = input::answers_to(
            self.gateway,
            self.inbound,
            &followed.server,
            state,
            &mut self.answered,
            &mut self.opened,
        )
        .await?;
        self.until += began.elapsed();
        self.rounds += u32::from(responses.is_some());
        if self.rounds > self.inbound.snapshot.settings.input_rounds_max {
            let text = "the server asks for input more often than allowed";
            return Err(Refusal::new(Stage::Dispatch, Code::UpstreamProtocol, text));
        }
        let Some(responses) = responses else { return self.pause(state, "pollIntervalMs").await };
        // Decided on anew: the person may have taken long.
        policy::decide(self.gateway, self.inbound, self.resolved)?;
        let doing = Doing {
            method: methods::TASKS_UPDATE,
            server: &followed.server,
            native: Some(&followed.native),
            arguments: Some(&responses),
        };
        let (aside, receipt) = record::aside(self.gateway, Behalf::of(self.inbound), doing).await?;
        let updated = followed.speaker().update(&followed.native, &responses, receipt).await;
        aside.heard(updated.as_ref().map(Some)).await;
        match updated.map_err(|error| error.refusal(followed.server.name()))? {
            message if message.kind() == Kind::Result => Ok(()),
            _ => Err(lost()),
        }
    }

    /// Tells a client that waits what the server says of the task, as progress of its call. It also keeps the client
    /// from giving up a call that is alive.
    fn tell(&mut self, state: &Message) {
        let Some(token) = self.inbound.progress_token() else { return };
        let said = state.text("statusMessage").map(std::borrow::Cow::into_owned);
        let Some(said) = said.filter(|said| self.told.as_ref() != Some(said)) else { return };
        let Some(progress) = self.inbound.record.ticks() else { return };
        let progress = progress.to_string();
        let params = compose::object(&[
            (meta::PROGRESS_TOKEN, &token),
            ("progress", progress.as_bytes()),
            ("message", &quote(&said)),
        ]);
        let told = compose::notification(methods::NOTIFICATIONS_PROGRESS, Some(&params));
        // A client that reads nothing loses it, never its reply.
        let _ = self.inbound.outlet.push(Segments::from(told));
        self.told = Some(said);
    }
}

/// A task that is being followed. Dropped before its end, it is cancelled: nobody waits for it any more.
pub(crate) struct Followed {
    gateway: Gateway,
    server: ServerId,
    route: Route,
    client: ClientProfile,
    native: String,
    /// Whose task it is.
    behalf: Behalf,
    ended: bool,
}

impl Followed {
    /// The task has come to its end.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    fn speaker(&self) -> Speaker<'_> {
        Speaker { gateway: &self.gateway, server: &self.server, route: &self.route, client: &self.client }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        if self.ended || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (gateway, server, route) = (self.gateway.clone(), self.server.clone(), self.route.clone());
        let (client, native) = (self.client.clone(), std::mem::take(&mut self.native));
        let behalf = self.behalf.clone();
        self.gateway.spawn(async move {
            let speaker = Speaker { gateway: &gateway, server: &server, route: &route, client: &client };
            let (method, arguments) = (methods::TASKS_CANCEL, None);
            let doing = Doing { method, server: &server, native: Some(&native), arguments };
            // What cannot be put on record is not done: the task ends by itself.
            let Ok((aside, receipt)) = record::aside(&gateway, behalf, doing).await else { return };
            let asking = speaker.ask(method, &native, receipt);
            let told = tokio::time::timeout(FAREWELL, asking).await;
            if !matches!(told, Ok(Ok(_))) {
                tracing::debug!(server = %server.label(), "a task that nobody waits for could not be cancelled");
            }
            match &told {
                Ok(said) => aside.heard(said.as_ref().map(Some)).await,
                Err(_) => aside.close(Outcome::Unknown, None).await,
            }
        });
    }
}

/// What a finished task says of its end, as the answer to the call.
fn ended(state: &Message, member: &str) -> Result<Sent, Refusal> {
    let payload = state.member(member).ok_or_else(nonsense)?;
    let answer = shape::answer(0, member, payload.of(state.bytes()));
    parse(answer).map(Sent::Response)
}

/// A legacy task, read like the result that it would be on its own.
fn read(task: &Bytes) -> Result<Message, Refusal> {
    parse(compose::result(b"0", task))
}

fn parse(bytes: Bytes) -> Result<Message, Refusal> {
    let limits = Limits { bytes_max: usize::MAX, ..Limits::default() };
    Message::parse(bytes, &limits).map_err(|_| nonsense())
}

/// Whether another look may succeed.
fn may_pass(error: &UpstreamError) -> bool {
    error.may_pass()
}

fn late() -> Refusal {
    let text = "the task that the call became did not end in the time that a request may take";
    Refusal::new(Stage::Dispatch, Code::UpstreamTimeout, text)
}

fn lost() -> Refusal {
    let text = "the server does not know the task any more that the call became";
    Refusal::new(Stage::Dispatch, Code::UpstreamClosed, text)
}

fn nonsense() -> Refusal {
    let text = "the server says something of a task that no revision knows";
    Refusal::new(Stage::Dispatch, Code::UpstreamProtocol, text)
}
