//! Who is told that something waits for approval: web servers, by signed posts, and people, by mail.
//!
//! The gateway that asked tells of it, once. No call waits for that. What finds no room in the queue, or is taken by nobody after
//! a few tries, is lost to whoever should have been told, and counted; the approval is listed all the same.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tollgate_approvals::{ApprovalSettings, Sees, tell};
use tollgate_egress::{MailSettings, Mailer};
use tollgate_limits::RunawayWebhook;
use tollgate_model::{TenantId, Timestamp};
use tollgate_store::Approval;
use tollgate_telemetry::events::AlertLost;

use crate::alerts::{self, Alert};
use crate::gateway::{Gateway, Inner};

/// How many may wait to be told.
const WAITING_MAX: usize = 256;
/// How often a mail is tried, and how long the first pause is; each is four times as long as the one before.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// Somebody who is told that something waits for approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tell {
    /// How.
    pub way: TellWay,
    /// How much of the arguments.
    pub sees: Sees,
    /// Of whose calls; none: of every tenant's.
    pub tenant: Option<TenantId>,
}

/// How somebody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TellWay {
    /// By a signed post.
    Webhook(RunawayWebhook, TellBody),
    /// By mail.
    Mail(Box<MailSettings>),
}

/// What is posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TellBody {
    /// An object for programs.
    #[default]
    Generic,
    /// A message as Slack takes it.
    Slack,
}

/// Begins to tell. Ends with the gateway.
pub(crate) fn begin(gateway: &Gateway) {
    let (told, inbox) = mpsc::channel(WAITING_MAX);
    if gateway.approvals().told.set(told).is_ok() {
        tokio::spawn(tell_all(gateway.downgrade(), inbox));
    }
}

pub(super) fn hand_over(told: &mpsc::Sender<Approval>, approval: &Approval) {
    if told.try_send(approval.clone()).is_err() {
        AlertLost { reason: "too many wait to be sent" }.emit();
    }
}

/// Who is told, and by which rules, by the configuration as it is now.
fn who(gateway: &Weak<Inner>) -> Option<(Arc<[Tell]>, Arc<ApprovalSettings>)> {
    let settings = &Gateway::of(gateway.upgrade()?).snapshot().settings;
    Some((Arc::clone(&settings.approval_tells), Arc::clone(&settings.approvals)))
}

async fn tell_all(gateway: Weak<Inner>, mut inbox: mpsc::Receiver<Approval>) {
    while let Some(approval) = inbox.recv().await {
        let Some((tells, settings)) = who(&gateway) else { return };
        let is_meant = |tell: &&Tell| tell.tenant.as_ref().is_none_or(|tenant| *tenant == approval.of.tenant);
        for tell in tells.iter().filter(is_meant) {
            if let Err(reason) = tell_one(tell, &approval, &settings).await {
                AlertLost { reason: &reason }.emit();
            }
        }
    }
}

async fn tell_one(one: &Tell, approval: &Approval, settings: &ApprovalSettings) -> Result<(), String> {
    match &one.way {
        TellWay::Webhook(webhook, body) => {
            let now = Timestamp::now();
            let body = match body {
                TellBody::Generic => tell::generic(approval, settings, one.sees, now),
                TellBody::Slack => tell::slack(approval, settings, one.sees),
            };
            let (egress, url) = alerts::egress(webhook).ok_or("its receiver cannot be called")?;
            alerts::post(webhook, &egress, &url, &Alert::of(now, body)).await
        }
        TellWay::Mail(relay) => {
            let (subject, text) = tell::mail(approval, settings, one.sees);
            let mailer = Mailer::new(relay).map_err(|error| error.to_string())?;
            let mut pause = PAUSE;
            let mut reason = String::new();
            for tried in 0..TRIES {
                if tried > 0 {
                    tokio::time::sleep(pause).await;
                    pause *= 4;
                }
                match mailer.send(&subject, &text).await {
                    Ok(()) => return Ok(()),
                    Err(error) => reason = error.to_string(),
                }
            }
            Err(reason)
        }
    }
}
