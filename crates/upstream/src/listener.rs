//! The GET stream of a legacy session over Streamable HTTP: what the server says unasked.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tokio::sync::Semaphore;
use tollgate_mcp::{Kind, Message, Segments, SseDecoder, headers, methods};
use tollgate_model::Revision;

use crate::backoff::Backoff;
use crate::event::Source;
use crate::flow::Flow;
use crate::hello;
use crate::http::Reply;
use crate::session::Current;
use crate::site::{LAST_EVENT_ID, Site};
use crate::{EventKind, Lists};

/// The longest reconnection time that a server may ask for.
const RETRY_MAX: Duration = Duration::from_mins(5);

/// Holds the stream of one session.
pub(crate) struct Listener {
    pub(crate) site: Arc<Site>,
    pub(crate) revision: Revision,
    pub(crate) session: Arc<Current>,
    pub(crate) source: Source,
    /// Of which changes the server tells.
    pub(crate) lists: Lists,
    /// Places for what the server asks.
    pub(crate) asked: Arc<Semaphore>,
}

/// What came of one stream.
enum Held {
    /// It ended; it may be opened again, after this wait if the server gave one.
    Ended { spoke: bool, retry: Option<Duration> },
    /// The server offers none, or not to us.
    Refused,
}

impl Listener {
    /// Opens the stream, and opens it again when it ends, until the server refuses it.
    pub(crate) async fn listen(self) {
        let timeouts = &self.site.shared.settings.timeouts;
        let backoff = Backoff::new(timeouts.backoff_min, timeouts.backoff_max);
        let mut last_id = None;
        let mut failures = 0;
        let mut stood = false;
        loop {
            let (spoke, retry) = match self.hold(&mut last_id, &mut stood).await {
                Held::Refused => return,
                Held::Ended { spoke, retry } => (spoke, retry),
            };
            failures = if spoke { 1 } else { failures + 1 };
            tokio::time::sleep(pause(backoff, failures, spoke, retry)).await;
        }
    }

    async fn hold(&self, last_id: &mut Option<String>, stood: &mut bool) -> Held {
        let mut map = self.site.get_headers(Some(self.revision), self.session.id.as_ref());
        if let Some(id) = last_id.as_ref().and_then(|id| HeaderValue::try_from(id).ok()) {
            map.insert(LAST_EVENT_ID, id);
        }
        let reply = match self.site.get(map).await {
            Ok(reply) => reply,
            Err(error) => {
                tracing::debug!(server = %self.site.shared.id.label(), ?error, "no event stream");
                return Held::Ended { spoke: false, retry: None };
            }
        };
        match reply.status() {
            StatusCode::OK if reply.is_of_type(headers::TEXT_EVENT_STREAM) => {
                if std::mem::replace(stood, true) && last_id.is_none() {
                    // Nothing says where the old stream ended: what came in between was not heard.
                    self.lists.kinds().for_each(|kind| self.site.shared.event(kind, &self.source));
                    self.session.missed();
                }
                self.read(reply, last_id).await
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Held::Ended { spoke: false, retry: None }
            }
            status => {
                if status == StatusCode::NOT_FOUND && self.session.id.is_some() {
                    self.session.forget();
                }
                Held::Refused
            }
        }
    }

    async fn read(&self, mut reply: Reply, last_id: &mut Option<String>) -> Held {
        let limits = self.site.shared.message_limits();
        let mut decoder = SseDecoder::new(limits.bytes_max);
        let mut flow = Flow::new(&self.site.shared.settings.limits, false);
        let mut retry = None;
        let mut spoke = false;
        loop {
            let mut is_too_much = false;
            for event in decoder.by_ref() {
                let Ok(event) = event else {
                    self.site.shared.protocol_error("an event larger than allowed", false);
                    continue;
                };
                if flow.message().is_err() {
                    is_too_much = true;
                    break;
                }
                spoke |= !event.data.is_empty() || event.id.is_some();
                retry = event.retry.map(Duration::from_millis).or(retry);
                if event.data.is_empty() || event.event_type() != "message" {
                    continue;
                }
                match Message::parse(event.data, &limits) {
                    Ok(message) => self.take(message).await,
                    Err(_) => {
                        self.site.shared.protocol_error("something that is not a JSON-RPC message", false);
                    }
                }
            }
            if let Some(id) = decoder.last_event_id() {
                *last_id = Some(id.to_owned());
            }
            if is_too_much {
                return self.too_much();
            }
            match reply.chunk().await {
                Some(Ok(chunk)) => {
                    if flow.bytes(chunk.len()).is_err() {
                        return self.too_much();
                    }
                    decoder.push(chunk);
                }
                Some(Err(_)) | None => return Held::Ended { spoke, retry },
            }
        }
    }

    /// The server says more than anybody may. It is heard again later, and each time later still.
    fn too_much(&self) -> Held {
        self.site.shared.protocol_error("more than may be said unasked", false);
        Held::Ended { spoke: false, retry: None }
    }

    async fn take(&self, message: Message) {
        let shared = &self.site.shared;
        match message.kind() {
            Kind::Notification => {
                match EventKind::of(&message).or_else(|| EventKind::beside_calls(message)) {
                    Some(kind) => shared.event(kind, &self.source),
                    None => {
                        shared.counters.messages_dropped.add();
                    }
                }
            }
            Kind::Request => {
                let Some(raw_id) = message.id_raw() else { return };
                if message.method() == methods::PING {
                    return answer(&self.site, self.revision, &self.session, hello::pong(&raw_id)).await;
                }
                let Some(place) = shared.to_ask(&self.asked) else {
                    return answer(&self.site, self.revision, &self.session, hello::too_many(&raw_id)).await;
                };
                let (site, revision, session) =
                    (Arc::clone(&self.site), self.revision, Arc::clone(&self.session));
                let asked = shared.ask(message, &self.source);
                let stop = self.session.stop.clone();
                // The stream goes on being read while somebody thinks about the answer.
                tokio::spawn(stop.run_until_cancelled_owned(async move {
                    if let Some(response) = asked.await {
                        answer(&site, revision, &session, response).await;
                    }
                    drop(place);
                }));
            }
            Kind::Result | Kind::Error => {
                shared.protocol_error("an answer on a stream that carries none", false);
            }
        }
    }
}

/// How long the stream stays closed. A server may ask for a longer wait, and for a shorter one only after it has said
/// something; it is never opened again at once, since some end every stream at once.
fn pause(backoff: Backoff, failures: u32, spoke: bool, retry: Option<Duration>) -> Duration {
    match retry.map(|retry| retry.min(RETRY_MAX)) {
        Some(retry) if spoke => retry.max(backoff.min),
        Some(retry) => retry.max(backoff.after(failures)),
        None => backoff.after(failures),
    }
}

/// Posts a response into the session.
async fn answer(site: &Site, revision: Revision, session: &Current, response: Segments) {
    let headers = site.post_headers(Some(revision), session.id.as_ref());
    if let Err(error) = site.tell(&site.target, headers, response).await {
        tracing::debug!(server = %site.shared.id.label(), %error, "an answer was not accepted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_every_stream_at_once_is_not_asked_for_ever_without_a_pause() {
        let backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let wait =
            |failures, spoke, retry: u64| pause(backoff, failures, spoke, Some(Duration::from_millis(retry)));
        assert_eq!(wait(1, true, 0), backoff.min);
        assert_eq!(wait(1, true, 2_000), Duration::from_secs(2));
        assert_eq!(wait(1, true, u64::MAX), RETRY_MAX);
        assert!(wait(8, false, 0) > Duration::from_secs(20));
        assert_eq!(wait(1, false, 5_000), Duration::from_secs(5));
    }
}
