//! Who is told that something waits for approval, and what became of it: web servers, by signed posts, and people, by mail.
//!
//! The gateway that asked tells that it waits. What became of it every gateway on the store hears; the one that is first to note
//! so in the store tells of it. No call waits for that. What finds no room in the queue, or is taken by nobody after
//! a few tries, is lost to whoever should have been told, and counted; the approval is listed all the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tollgate_approvals::tell::{self, Told};
use tollgate_approvals::{ApprovalSettings, Sees};
use tollgate_egress::{MailSettings, Mailer};
use tollgate_limits::RunawayWebhook;
use tollgate_model::{TenantId, Timestamp};
use tollgate_store::{Approval, ApprovalId, Digest, Once, Standing, Store, WhichApprovals};
use tollgate_telemetry::events::AlertLost;

use crate::alerts::{self, Alert};
use crate::gateway::{Gateway, Inner};

/// How many may wait to be told.
const WAITING_MAX: usize = 256;
/// How many are watched that wait, to tell that nobody has decided in time.
const WATCHED_MAX: usize = 10_000;
/// How much later than its time an approval is looked at: clocks differ.
const LATER: Duration = Duration::from_millis(500);
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

/// What there is to tell of.
#[derive(Debug)]
pub(crate) enum News {
    /// This gateway has asked.
    Asked(Box<Approval>),
    /// It stands like this from now on, whoever did that.
    Stands(Arc<Approval>),
}

/// Begins to tell. Ends with the gateway.
pub(crate) fn begin(gateway: &Gateway, store: Arc<dyn Store>) {
    let (told, inbox) = mpsc::channel(WAITING_MAX);
    if gateway.approvals().told.set(told).is_ok() {
        let teller = Teller { gateway: gateway.downgrade(), store, watched: Watched::default() };
        tokio::spawn(teller.tell_all(inbox));
    }
}

pub(super) fn hand_over(told: &mpsc::Sender<News>, news: News) {
    if told.try_send(news).is_err() {
        AlertLost { reason: "too many wait to be sent" }.emit();
    }
}

/// Those that wait, in the order of their ends.
#[derive(Debug, Default)]
struct Watched {
    ends: BTreeMap<(Timestamp, ApprovalId), Arc<Approval>>,
}

impl Watched {
    fn see(&mut self, approval: &Arc<Approval>) {
        let key = (approval.until, approval.id.clone());
        if approval.standing == Standing::Waiting {
            self.ends.insert(key, Arc::clone(approval));
            while self.ends.len() > WATCHED_MAX {
                self.ends.pop_last();
            }
        } else {
            // A grant has another end than what waits.
            self.ends.retain(|(_, id), _| *id != approval.id);
        }
    }

    /// How long until the next is over; none if nothing waits.
    fn next(&self, now: Timestamp) -> Option<Duration> {
        self.ends.keys().next().map(|(until, _)| until.since(now) + LATER)
    }

    fn over(&mut self, now: Timestamp) -> Option<Arc<Approval>> {
        let first = self.ends.first_entry()?;
        (first.key().0.after(LATER) <= now).then(|| first.remove())
    }
}

/// Tells of approvals.
struct Teller {
    gateway: Weak<Inner>,
    store: Arc<dyn Store>,
    watched: Watched,
}

impl Teller {
    async fn tell_all(mut self, mut inbox: mpsc::Receiver<News>) {
        // What waited before this process began is told of by whoever asked, but what became of it by whoever is there.
        let which = WhichApprovals { waiting_at: Some(Timestamp::now()), most: 1_000, ..Default::default() };
        for approval in self.store.approvals(&which).await.unwrap_or_default() {
            self.watched.see(&Arc::new(approval.without_arguments()));
        }
        loop {
            let next = self.watched.next(Timestamp::now());
            let over = async {
                match next {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            let goes_on = tokio::select! {
                news = inbox.recv() => match news {
                    Some(news) => self.tell(news).await,
                    None => return,
                },
                () = over => self.expire().await,
            };
            if goes_on.is_none() {
                return;
            }
        }
    }

    async fn tell(&mut self, news: News) -> Option<()> {
        match news {
            News::Asked(approval) => self.tell_of(&approval, Told::Requested).await,
            News::Stands(approval) => {
                self.watched.see(&approval);
                for told in Told::by_change(&approval) {
                    self.once(&approval, told).await?;
                }
                Some(())
            }
        }
    }

    /// Tells of what is over, unless it was decided at the last moment.
    async fn expire(&mut self) -> Option<()> {
        let now = Timestamp::now();
        while let Some(approval) = self.watched.over(now) {
            let found = self.store.approval(&approval.id).await;
            let is_over = |found: Approval| found.standing == Standing::Waiting && found.is_over(now);
            if found.is_ok_and(|found| found.is_some_and(is_over)) {
                self.once(&approval, Told::Expired).await?;
            }
        }
        Some(())
    }

    /// Tells, if no other gateway does.
    async fn once(&self, approval: &Approval, told: Told) -> Option<()> {
        if self.who(approval)?.0.is_empty() {
            return Some(());
        }
        let parts = [b"approval told".as_slice(), approval.id.as_str().as_bytes(), told.as_str().as_bytes()];
        let key = Digest::of(parts);
        match self.store.begin_once(&key, &key, Timestamp::now()).await {
            Ok(Once::Begun) => self.tell_of(approval, told).await?,
            Ok(_) => {}
            Err(error) => AlertLost { reason: &error.to_string() }.emit(),
        }
        Some(())
    }

    /// Who is told, and by which rules, by the configuration as it is now; none if there is no gateway any more.
    fn who(&self, approval: &Approval) -> Option<(Vec<Tell>, Arc<ApprovalSettings>)> {
        let settings = &Gateway::of(self.gateway.upgrade()?).snapshot().settings;
        let is_meant = |tell: &&Tell| tell.tenant.as_ref().is_none_or(|tenant| *tenant == approval.of.tenant);
        let tells = settings.approval_tells.iter().filter(is_meant).cloned().collect();
        Some((tells, Arc::clone(&settings.approvals)))
    }

    async fn tell_of(&self, approval: &Approval, told: Told) -> Option<()> {
        let (tells, settings) = self.who(approval)?;
        for tell in &tells {
            if let Err(reason) = tell_one(tell, approval, told, &settings).await {
                AlertLost { reason: &reason }.emit();
            }
        }
        Some(())
    }
}

async fn tell_one(
    one: &Tell,
    approval: &Approval,
    told: Told,
    settings: &ApprovalSettings,
) -> Result<(), String> {
    match &one.way {
        TellWay::Webhook(webhook, body) => {
            let now = Timestamp::now();
            let body = match body {
                TellBody::Generic => tell::generic(approval, told, settings, one.sees, now),
                TellBody::Slack => tell::slack(approval, told, settings, one.sees),
            };
            let (egress, url) = alerts::egress(webhook).ok_or("its receiver cannot be called")?;
            alerts::post(webhook, &egress, &url, &Alert::of(now, body)).await
        }
        TellWay::Mail(relay) => {
            let (subject, text) = tell::mail(approval, told, settings, one.sees);
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
