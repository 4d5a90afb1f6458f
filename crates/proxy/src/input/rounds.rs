//! A modern server asks, a legacy client answers: the gateway drives the rounds.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use tollgate_mcp::{Kind, Message, Segments, compose, find, methods, text};
use tollgate_model::{Code, Refusal, Revision, ServerId, Stage};

use super::parked::too_many_rounds;
use super::pass::{self, Entry, asks_for_input};
use crate::bridge::Round;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::life;
use crate::session::Session;
use crate::stages::{Admitted, Resolved, Route, guard, limits, outside, policy};

/// How long the gateway waits before it tries again without having asked anything, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// URLs that the user has been asked to open during one call.
#[derive(Default)]
pub(crate) struct Opened {
    urls: HashSet<String>,
    /// The ids under which the client was asked.
    ids: Vec<String>,
}

/// Asks the client what the server's result asks for, and sends the server the next round, until it has what it
/// needs. Gives the result.
pub(crate) async fn drive(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    admitted: &Admitted,
    (route, mut message): (Route, Message),
) -> Result<(Route, Message), Refusal> {
    let server = resolved.server().id();
    let settings = &inbound.snapshot.settings;
    let session = inbound.session()?;
    let mut opened = Opened::default();
    let mut pause = PAUSE_MIN;
    let mut replica = route.link().replica().cloned();
    drop(route);
    for _ in 0..settings.input_rounds_max {
        let entries = pass::read(inbound, server, &message)?;
        let state = message.member("requestState").map(|span| message.raw(span));
        admitted.places().leave();
        // Nothing new to ask: the server only wants to be asked again, or waits for the user to be done elsewhere.
        let asks = entries.iter().any(|entry| !opened.knows(entry));
        if asks {
            pause = PAUSE_MIN;
        } else {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        let responses = answers(gateway, inbound, server, session, &entries, &mut opened).await?;
        // Every round is decided on anew: the first may have been long ago.
        let permit = policy::decide(gateway, inbound, resolved)?;
        limits::come_back(inbound, resolved, admitted).await?;
        let responses = (!entries.is_empty()).then_some(responses);
        let round = Round { responses, state, replica, ..Round::default() };
        let (route, sent) = life::attempt(gateway, inbound, resolved, (&permit, admitted), &round).await?;
        message = sent.into_response().map_err(|error| error.refusal(server.name()))?;
        if !asks_for_input(&message, route.link().era()) {
            opened.complete(inbound);
            return Ok((route, message));
        }
        message = outside::cleaned(gateway, inbound, resolved, message).await?;
        replica = route.link().replica().cloned();
    }
    Err(too_many_rounds(server))
}

impl Opened {
    fn knows(&self, entry: &Entry) -> bool {
        entry.asked.is_url() && entry.asked.text("url").is_some_and(|url| self.urls.contains(&url))
    }

    /// Tells the client that what the user did elsewhere has come to its end.
    pub(crate) fn complete(&self, inbound: &Inbound) {
        for id in &self.ids {
            let params = compose::object(&[("elicitationId", &tollgate_mcp::quote(id))]);
            let told = compose::notification(methods::NOTIFICATIONS_ELICITATION_COMPLETE, Some(&params));
            let _ = inbound.outlet.push(Segments::from(told));
        }
    }
}

/// The client's answers to what a task asks, as the raw `inputResponses`, but for the questions that it has answered
/// before: their keys, as raw JSON. None if there is nothing new.
pub(crate) async fn answers_to(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerId,
    task: &Message,
    answered: &mut HashSet<Bytes>,
    opened: &mut Opened,
) -> Result<Option<Bytes>, Refusal> {
    let Some(session) = inbound.session.as_deref() else {
        let text = "the server asks for input in a task that this client cannot follow";
        return Err(Refusal::new(Stage::Dispatch, Code::UpstreamProtocol, text).of(server.name()));
    };
    let mut entries = pass::read(inbound, server, task)?;
    entries.retain(|entry| !answered.contains(&entry.key));
    if entries.is_empty() {
        return Ok(None);
    }
    let responses = answers(gateway, inbound, server, session, &entries, opened).await?;
    answered.extend(entries.iter().map(|entry| Bytes::copy_from_slice(&entry.key)));
    Ok(Some(responses))
}

/// The client's answers, as the raw `inputResponses`.
async fn answers(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerId,
    session: &Session,
    entries: &[Entry],
    opened: &mut Opened,
) -> Result<Bytes, Refusal> {
    let asking = entries.iter().map(|entry| {
        let known = opened.knows(entry);
        async move {
            if known {
                return Ok(Answer { result: Bytes::from_static(b"{\"action\":\"accept\"}"), url_id: None });
            }
            ask(gateway, inbound, server, session, entry).await
        }
    });
    let answers = try_join_all(asking).await?;
    let mut responses = vec![b'{'];
    for (entry, answer) in entries.iter().zip(answers) {
        if responses.len() > 1 {
            responses.push(b',');
        }
        responses.extend_from_slice(&entry.key);
        responses.push(b':');
        responses.extend_from_slice(&answer.result);
        if let Some(id) = answer.url_id
            && is_accepted(&answer.result)
        {
            opened.urls.extend(entry.asked.text("url"));
            opened.ids.push(id);
        }
    }
    responses.push(b'}');
    Ok(Bytes::from(responses))
}

struct Answer {
    /// The client's result, as raw JSON.
    result: Bytes,
    /// The id under which the client was asked to open a URL.
    url_id: Option<String>,
}

async fn ask(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerId,
    session: &Session,
    entry: &Entry,
) -> Result<Answer, Refusal> {
    let settings = &inbound.snapshot.settings;
    let revision = inbound.caller.client.revision;
    let unanswered = |text: String| Refusal::new(Stage::Dispatch, Code::InputRefused, text).of(server.name());
    let mut url_id = None;
    if entry.asked.is_url() {
        if revision < Revision::V2025_11_25 {
            return Err(super::Missing::URL.refusal(server.name()));
        }
        url_id = Some(gateway.sealer().random_id().map_err(|error| {
            let text = "no elicitation id could be made";
            Refusal::new(Stage::Dispatch, Code::Internal, text).because(error.to_string())
        })?);
    }
    let write = |id| entry.asked.for_legacy(id, revision, server.name(), url_id.as_deref());
    let question = session.questions.ask(&inbound.outlet, settings.in_flight_max, None, write).await;
    let mut question = question.map_err(|_| {
        unanswered("the server asks for input, and the client reads no stream to be asked on".to_owned())
    })?;
    let method = entry.asked.method();
    match tokio::time::timeout(settings.input_timeout, question.answered()).await {
        Ok(Some(response)) if response.kind() == Kind::Result => {
            let response = guard::answer(gateway, &inbound.caller, server, response).ok_or_else(|| {
                unanswered("a content guard keeps the client's answer from the server".to_owned())
            })?;
            let result = response.body().map(|span| response.raw(span)).unwrap_or_default();
            Ok(Answer { result, url_id })
        }
        // This revision has a result for it; for the other questions it has none.
        Ok(Some(_)) if method == methods::ELICITATION_CREATE => {
            Ok(Answer { result: Bytes::from_static(b"{\"action\":\"cancel\"}"), url_id: None })
        }
        Ok(Some(_)) => Err(unanswered(format!("the client answered the server's `{method}` with an error"))),
        Ok(None) => Err(unanswered(format!("the client left before it answered the server's `{method}`"))),
        Err(_) => Err(unanswered(format!("the client did not answer the server's `{method}` in time"))),
    }
}

fn is_accepted(result: &Bytes) -> bool {
    let action = find(result, tollgate_mcp::Span::all(result), "action");
    action.and_then(|span| text(result, span)).as_deref() == Some("accept")
}
