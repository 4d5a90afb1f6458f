//! What is done about the record while a gateway runs: its checkpoints are kept in the store too, what is too old goes, and
//! what somebody asked to have erased is erased.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tollgate_ledger::upkeep::{Erasing, Kept, Needs, Retention, RetentionSettings, Whose, erase};
use tollgate_ledger::{Checkpoint, Ledger};
use tollgate_model::Timestamp;
use tollgate_store::{Anchor, Erasure, Store, StoreError, WhoseNames};
use tollgate_telemetry::events::{LedgerErased, LedgerKeptLonger, LedgerPruned, LedgerUpkeepFailed};

use crate::state::State;

/// How often a checkpoint is kept in the store, and how often requests to erase are looked for.
const OFTEN: Duration = Duration::from_secs(10);
/// How often it is looked for what is too old.
const SELDOM: Duration = Duration::from_mins(10);
/// How long the last checkpoint may take at the end.
const END_MAX: Duration = Duration::from_secs(5);
/// How many requests are read at once.
const PAGE: usize = 100;
/// In a writer's folder: the number of the last request to erase that was carried out in it.
const ERASED: &str = "erased";

/// The task that keeps the record of this process. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Keeping {
    wanted: watch::Sender<RetentionSettings>,
    ledger: Ledger,
    state: State,
    task: AbortHandle,
}

struct Keeper {
    ledger: Ledger,
    /// Its store is used whatever else is kept there, and as soon as there is one.
    state: State,
    wanted: watch::Receiver<RetentionSettings>,
    retention: Retention,
    anchored: u64,
    /// How often in a row somebody was waited for who has not had what is too old.
    waits: u32,
}

impl Keeping {
    /// Begins. `needs`: who has to have had what is removed. Must be called within a runtime.
    pub(crate) fn begin(
        ledger: &Ledger,
        state: &State,
        settings: &RetentionSettings,
        needs: Vec<Arc<dyn Needs>>,
    ) -> Self {
        let wanted = watch::Sender::new(settings.clone());
        let keeper = Keeper {
            ledger: ledger.clone(),
            state: state.clone(),
            wanted: wanted.subscribe(),
            retention: Retention::new(ledger.clone(), needs),
            anchored: 0,
            waits: 0,
        };
        let task = tokio::spawn(keeper.run()).abort_handle();
        Self { wanted, ledger: ledger.clone(), state: state.clone(), task }
    }

    /// Takes over what is configured now.
    pub(crate) fn apply(&self, settings: &RetentionSettings) {
        self.wanted.send_if_modified(|wanted| {
            let is_news = wanted != settings;
            wanted.clone_from(settings);
            is_news
        });
    }

    /// Keeps the last checkpoint elsewhere, within bounds. The ledger should be closed before.
    pub(crate) async fn end(self) {
        self.task.abort();
        if let (Some(store), Some(last)) = (self.state.any_store(), self.ledger.checkpoint()) {
            _ = timeout(END_MAX, store.keep_anchor(&anchor(&last))).await;
        }
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Keeper {
    async fn run(mut self) {
        if !self.ledger.is_on() {
            return;
        }
        let mut looked: Option<Instant> = None;
        loop {
            if let Err(error) = self.keep_anchor().await {
                failed("anchor", &error);
            }
            if let Err(error) = self.erase().await {
                failed("erasure", &*error);
            }
            if looked.is_none_or(|looked| looked.elapsed() >= SELDOM) {
                self.prune().await;
                looked = (self.waits == 0).then(Instant::now);
            }
            tokio::select! {
                () = tokio::time::sleep(OFTEN) => {}
                changed = self.wanted.changed() => match changed {
                    Ok(()) => looked = None,
                    Err(_) => return,
                },
            }
        }
    }

    async fn keep_anchor(&mut self) -> Result<(), StoreError> {
        let (Some(store), Some(last)) = (self.state.any_store(), self.ledger.checkpoint()) else {
            return Ok(());
        };
        if last.seq > self.anchored {
            store.keep_anchor(&anchor(&last)).await?;
            self.anchored = last.seq;
        }
        Ok(())
    }

    async fn erase(&self) -> Result<(), Trouble> {
        let (Some(store), Some(folder)) = (self.state.any_store(), self.ledger.folder()) else {
            return Ok(());
        };
        carry_out(&*store, &self.ledger, folder).await.map(drop)
    }

    async fn prune(&mut self) {
        let settings = self.wanted.borrow_and_update().clone();
        let now = Timestamp::now();
        let own = self.retention.pass(&settings, now).await;
        let left = self.retention.pass_left(&settings, now).await;
        let mut waits_for = None;
        for kept in [own, left] {
            match kept {
                Ok(Kept { segments, bytes, records, waits_for: who }) => {
                    if segments > 0 || records > 0 {
                        LedgerPruned { segments, bytes, records }.emit();
                    }
                    waits_for = waits_for.or(who);
                }
                Err(error) => failed("retention", &error),
            }
        }
        // Said once, and not of whoever is there a moment later, as the index after a start.
        self.waits = if waits_for.is_some() { self.waits.saturating_add(1) } else { 0 };
        if let Some(who) = waits_for.filter(|_| self.waits == 2) {
            LedgerKeptLonger { who: &who }.emit();
        }
    }
}

fn failed(what: &'static str, error: &dyn std::fmt::Display) {
    LedgerUpkeepFailed { what, reason: &error.to_string() }.emit();
}

/// Why a request is not carried out.
pub(crate) type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// Carries out in a ledger what was asked for since it was done last. Gives how many records went.
pub(crate) async fn carry_out(store: &dyn Store, ledger: &Ledger, folder: &Path) -> Result<u64, Trouble> {
    let mut erased = 0;
    let mut done = done(folder)?;
    loop {
        let page = store.erasures(done, PAGE).await?;
        for (id, erasure) in &page {
            let Some(whose) = whose(erasure) else { continue };
            let erasing =
                Erasing { whose, before_ms: Some(erasure.before.as_ms()), request: Some(id.to_string()) };
            let records = erase(ledger, &erasing).await?;
            if let Some(names) = names(erasure) {
                store.forget_names(&names).await?;
            }
            if records > 0 {
                LedgerErased { request: *id, records }.emit();
            }
            erased += records;
            done = *id;
            remember(folder, done)?;
        }
        if page.len() < PAGE {
            return Ok(erased);
        }
    }
}

fn whose(erasure: &Erasure) -> Option<Whose> {
    let tenant = erasure.tenant.as_deref().map(ToOwned::to_owned);
    match &erasure.user {
        Some(user) => Some(Whose::User { user: user.to_string(), tenant }),
        None => tenant.map(Whose::Tenant),
    }
}

/// What the index forgets with it. Names that were seen since stay there, as in the record; but where all is to go, all goes, also
/// what another gateway's clock has dated later.
fn names(erasure: &Erasure) -> Option<WhoseNames> {
    let is_all = erasure.before >= erasure.asked;
    let before = if is_all { Timestamp::from_ms(u64::MAX) } else { erasure.before };
    match (&erasure.user, &erasure.tenant) {
        (Some(user), tenant) => {
            Some(WhoseNames::User { user: Arc::clone(user), tenant: tenant.clone(), before })
        }
        (None, Some(tenant)) => Some(WhoseNames::Tenant { tenant: Arc::clone(tenant), before }),
        (None, None) => None,
    }
}

fn done(folder: &Path) -> io::Result<u64> {
    match std::fs::read_to_string(folder.join(ERASED)) {
        // What cannot be read is done again, which does no harm.
        Ok(text) => Ok(text.trim().parse().unwrap_or(0)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

fn remember(folder: &Path, done: u64) -> io::Result<()> {
    let beside: PathBuf = folder.join(format!("{ERASED}.new"));
    std::fs::write(&beside, format!("{done}\n"))?;
    std::fs::rename(beside, folder.join(ERASED))
}

/// A checkpoint as the store keeps it.
fn anchor(checkpoint: &Checkpoint) -> Anchor {
    Anchor {
        writer: checkpoint.writer.as_str().into(),
        seq: checkpoint.seq,
        time: Timestamp::from_ms(checkpoint.time_ms),
        // Nothing in it can fail to be written.
        body: serde_json::to_string(checkpoint).unwrap_or_default().into(),
    }
}
