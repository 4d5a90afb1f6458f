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

/// How many may wait to be told, and to be told to one receiver.
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
        let (watched, lanes) = (Watched::default(), Vec::new());
        let teller = Teller { gateway: gateway.downgrade(), store, watched, lanes };
        tokio::spawn(teller.tell_all(inbox));
    }
}

pub(super) fn hand_over(told: &mpsc::Sender<News>, news: News) {
    put(told, news);
}

/// Puts something into a queue, if there is room.
fn put<T>(queue: &mpsc::Sender<T>, one: T) {
    if queue.try_send(one).is_err() {
        AlertLost { reason: "too many wait to be sent" }.emit();
    }
}

/// What is told to one receiver, one after the other.
struct Lane {
    tell: Tell,
    queue: mpsc::Sender<Word>,
}

/// What is told of an approval.
struct Word {
    approval: Arc<Approval>,
    told: Told,
    settings: Arc<ApprovalSettings>,
}

impl Lane {
    /// Ends once it is dropped, and what was put into it is told.
    fn begin(tell: Tell) -> Self {
        let (queue, mut words) = mpsc::channel::<Word>(WAITING_MAX);
        let to = tell.clone();
        tokio::spawn(async move {
            while let Some(Word { approval, told, settings }) = words.recv().await {
                if let Err(reason) = tell_one(&to, &approval, told, &settings).await {
                    AlertLost { reason: &reason }.emit();
                }
            }
        });
        Self { tell, queue }
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
    /// Those to whom something was told, as long as they are configured.
    lanes: Vec<Lane>,
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
            News::Asked(approval) => self.tell_of(&approval, Told::Requested),
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
    async fn once(&mut self, approval: &Approval, told: Told) -> Option<()> {
        let (tells, _) = self.configured()?;
        if !tells.iter().any(|tell| is_told(tell, approval)) {
            return Some(());
        }
        let parts = [b"approval told".as_slice(), approval.id.as_str().as_bytes(), told.as_str().as_bytes()];
        let key = Digest::of(parts);
        match self.store.begin_once(&key, &key, Timestamp::now()).await {
            Ok(Once::Begun) => self.tell_of(approval, told)?,
            Ok(_) => {}
            Err(error) => AlertLost { reason: &error.to_string() }.emit(),
        }
        Some(())
    }

    /// Who is told, and by which rules, by the configuration as it is now; none if there is no gateway any more.
    fn configured(&self) -> Option<(Arc<[Tell]>, Arc<ApprovalSettings>)> {
        let settings = &Gateway::of(self.gateway.upgrade()?).snapshot().settings;
        Some((Arc::clone(&settings.approval_tells), Arc::clone(&settings.approvals)))
    }

    /// Has everybody told who is to know of it. Waits for none of them.
    fn tell_of(&mut self, approval: &Approval, told: Told) -> Option<()> {
        let (tells, settings) = self.configured()?;
        self.lanes.retain(|lane| tells.contains(&lane.tell));
        let approval = Arc::new(approval.clone());
        for tell in tells.iter().filter(|tell| is_told(tell, &approval)) {
            let at = self.lanes.iter().position(|lane| lane.tell == *tell).unwrap_or_else(|| {
                self.lanes.push(Lane::begin(tell.clone()));
                self.lanes.len() - 1
            });
            let (approval, settings) = (Arc::clone(&approval), Arc::clone(&settings));
            put(&self.lanes[at].queue, Word { approval, told, settings });
        }
        Some(())
    }
}

/// Whether somebody is to know of an approval.
fn is_told(tell: &Tell, approval: &Approval) -> bool {
    tell.tenant.as_ref().is_none_or(|tenant| *tenant == approval.of.tenant)
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
