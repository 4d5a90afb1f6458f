//! What is done about the record while a gateway runs: its checkpoints are kept in the store too, what is too old goes, and
//! what somebody asked to have erased is erased.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tollgate_ledger::upkeep::{Erasing, Needs, Retention, RetentionSettings, Whose, erase};
use tollgate_ledger::{Checkpoint, Ledger};
use tollgate_model::Timestamp;
use tollgate_store::{Anchor, Erasure, Store, StoreError, WhoseNames};

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
    store: Option<Arc<dyn Store>>,
    task: AbortHandle,
}

struct Keeper {
    ledger: Ledger,
    store: Option<Arc<dyn Store>>,
    wanted: watch::Receiver<RetentionSettings>,
    retention: Retention,
    anchored: u64,
}

impl Keeping {
    /// Begins. `needs`: who has to have had what is removed. Must be called within a runtime.
    pub(crate) fn begin(
        ledger: &Ledger,
        store: Option<Arc<dyn Store>>,
        settings: &RetentionSettings,
        needs: Vec<Arc<dyn Needs>>,
    ) -> Self {
        let wanted = watch::Sender::new(settings.clone());
        let keeper = Keeper {
            ledger: ledger.clone(),
            store: store.clone(),
            wanted: wanted.subscribe(),
            retention: Retention::new(ledger.clone(), needs),
            anchored: 0,
        };
        let task = tokio::spawn(keeper.run()).abort_handle();
        Self { wanted, ledger: ledger.clone(), store, task }
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
        if let (Some(store), Some(last)) = (&self.store, self.ledger.checkpoint()) {
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
                tracing::warn!(%error, "a checkpoint of the ledger is not kept in the store");
            }
            if let Err(error) = self.erase().await {
                tracing::warn!(%error, "a request to erase is not carried out yet");
            }
            if looked.is_none_or(|looked| looked.elapsed() >= SELDOM) {
                self.prune().await;
                looked = Some(Instant::now());
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
        let (Some(store), Some(last)) = (&self.store, self.ledger.checkpoint()) else { return Ok(()) };
        if last.seq > self.anchored {
            store.keep_anchor(&anchor(&last)).await?;
            self.anchored = last.seq;
        }
        Ok(())
    }

    async fn erase(&self) -> Result<(), Trouble> {
        let (Some(store), Some(folder)) = (&self.store, self.ledger.folder()) else { return Ok(()) };
        carry_out(&**store, &self.ledger, folder).await.map(drop)
    }

    async fn prune(&mut self) {
        let settings = self.wanted.borrow_and_update().clone();
        match self.retention.pass(&settings, Timestamp::now()).await {
            Ok(kept) => {
                if kept.segments > 0 || kept.records > 0 {
                    let (segments, bytes, records) = (kept.segments, kept.bytes, kept.records);
                    tracing::info!(segments, bytes, records, "what is too old was removed from the ledger");
                }
                if let Some(who) = kept.waits_for {
                    tracing::warn!(%who, "the ledger is kept longer than it should be: somebody has not had it yet");
                }
            }
            Err(error) => tracing::warn!(%error, "what is too old cannot be removed from the ledger"),
        }
    }
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
                tracing::info!(request = id, records, "payloads and names were erased from the ledger");
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

fn names(erasure: &Erasure) -> Option<WhoseNames> {
    match (&erasure.user, &erasure.tenant) {
        (Some(user), tenant) => Some(WhoseNames::User { user: Arc::clone(user), tenant: tenant.clone() }),
        (None, Some(tenant)) => Some(WhoseNames::Tenant(Arc::clone(tenant))),
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
