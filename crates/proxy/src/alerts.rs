//! What operators have told to a web server of theirs at once: that an agent has run away, and is paused; or that a call waits
//! for approval.
//!
//! An alert is a JSON object, posted and signed as Standard Webhooks describe it
//! (<https://github.com/standard-webhooks/standard-webhooks>): `webhook-id`, `webhook-timestamp` and `webhook-signature`, the
//! HMAC-SHA-256 of both and the body. No call waits for one. Those that find no room in the queue, or that nobody takes after a
//! few tries, are lost to the receiver, and counted; the log has all of them.

use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tollgate_egress::{Egress, EgressSettings};
use tollgate_limits::{RunawayWebhook, Why};
use tollgate_model::Timestamp;
use tollgate_telemetry::events::AlertLost;
use url::Url;

use crate::gateway::{Gateway, Inner};
use crate::signed;

/// How many may wait.
const WAITING_MAX: usize = 256;
/// How often each is tried, and for how long.
const TRIES: u32 = 4;
const TRY_MAX: Duration = Duration::from_secs(5);
/// How long the first pause between tries is; each is four times as long as the one before.
const PAUSE: Duration = Duration::from_millis(250);
/// How much of an answer is read.
const ANSWER_BYTES_MAX: usize = 1024;

/// What is to be told.
#[derive(Debug)]
pub(crate) struct Alert {
    id: String,
    at: Timestamp,
    body: Value,
}

impl Alert {
    /// An agent is paused.
    pub(crate) fn paused(tenant: &str, agent: &str, why: Why, pause: Duration) -> Self {
        let at = Timestamp::now();
        let until = at.as_ms().saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        let body = json!({
            "type": "agent.paused", "timestamp": at.to_string(),
            "data": {
                "tenant": tenant, "agent": agent, "why": why.as_str(),
                "until": Timestamp::from_ms(until).to_string(),
            },
        });
        Self::of(at, body)
    }

    /// Something else is to be told.
    pub(crate) fn of(at: Timestamp, body: Value) -> Self {
        Self { id: signed::id(), at, body }
    }
}

/// Takes alerts. Ends with the last sender.
pub(crate) fn begin(gateway: Weak<Inner>) -> mpsc::Sender<Alert> {
    let (alerts, inbox) = mpsc::channel(WAITING_MAX);
    tokio::spawn(post_all(gateway, inbox));
    alerts
}

/// Whom operators have told, by the configuration as it is now.
fn receiver(gateway: &Weak<Inner>) -> Option<RunawayWebhook> {
    Gateway::of(gateway.upgrade()?).limits().runaway()?.webhook
}

/// Hands an alert over, if somebody wants to hear of it. Does not wait.
pub(crate) fn send(gateway: &Weak<Inner>, alerts: &mpsc::Sender<Alert>, alert: Alert) {
    if receiver(gateway).is_some() && alerts.try_send(alert).is_err() {
        AlertLost { reason: "too many wait to be sent" }.emit();
    }
}

async fn post_all(gateway: Weak<Inner>, mut inbox: mpsc::Receiver<Alert>) {
    let mut client: Option<(RunawayWebhook, Egress, Url)> = None;
    while let Some(alert) = inbox.recv().await {
        let Some(wanted) = receiver(&gateway) else { continue };
        if client.as_ref().is_none_or(|(of, ..)| *of != wanted) {
            client = egress(&wanted).map(|(egress, url)| (wanted.clone(), egress, url));
        }
        match &client {
            Some((webhook, egress, url)) => {
                if let Err(reason) = post(webhook, egress, url, &alert).await {
                    AlertLost { reason: &reason }.emit();
                }
            }
            None => AlertLost { reason: "its receiver cannot be called" }.emit(),
        }
    }
}

/// The way to a receiver; none if there can be none.
pub(crate) fn egress(webhook: &RunawayWebhook) -> Option<(Egress, Url)> {
    let egress = Egress::new(&EgressSettings {
        allow_private: webhook.allow_private,
        allow_plain: false,
        ca_pem: webhook.ca_pem.clone(),
        connect_timeout: TRY_MAX,
        timeout: TRY_MAX,
        body_bytes_max: ANSWER_BYTES_MAX,
    });
    Some((egress.ok()?, Url::parse(&webhook.url).ok()?))
}

/// Posts an alert, and again if it is not taken.
pub(crate) async fn post(
    webhook: &RunawayWebhook,
    egress: &Egress,
    url: &Url,
    alert: &Alert,
) -> Result<(), String> {
    let body = Bytes::from(alert.body.to_string());
    let headers = signed::headers(&webhook.secret, &alert.id, alert.at, &body);
    let mut pause = PAUSE;
    let mut reason = String::new();
    for tried in 0..TRIES {
        if tried > 0 {
            tokio::time::sleep(pause).await;
            pause *= 4;
        }
        reason = match egress.post(url, headers.clone(), body.clone()).await {
            Ok(posted) if posted.status.is_success() => return Ok(()),
            Ok(posted) => format!("its receiver answers with status {}", posted.status.as_u16()),
            Err(error) => error.to_string(),
        };
    }
    Err(reason)
}
