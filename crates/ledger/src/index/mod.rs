//! The index of the ledger: follows the segments, and tells the store what happened and how much was used.
//!
//! It reads files, never what is in memory: nothing is lost with the process, and no call waits for it. Where the store is away,
//! it goes on when it is back.

mod entry;
mod gather;
mod prices;
mod read;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};
use tollgate_model::Timestamp;
use tollgate_store::{Store, StoreError, WhoseNames};

use self::gather::{Gatherer, Next};
pub use self::prices::{Consumed, Price, Prices};
use crate::export::Unseal;
use crate::upkeep::Needs;
use crate::{CallId, Ledger, Position, ReadError, Reader};

/// How the index is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexSettings {
    /// How long rows stay in the index.
    pub age_max: Duration,
    /// How long sums of what was used stay.
    pub usage_age_max: Duration,
    /// What calls cost.
    pub prices: Prices,
}

impl Default for IndexSettings {
    fn default() -> Self {
        Self {
            age_max: Duration::from_hours(90 * 24),
            usage_age_max: Duration::from_hours(800 * 24),
            prices: Prices::default(),
        }
    }
}

/// How the index does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IndexStatus {
    /// How many entries of this process are not in it yet.
    pub behind: u64,
    /// How many entries this process has taken in.
    pub entries: u64,
    /// Why it does not go on, if it does not.
    pub failure: Option<Arc<str>>,
}

/// The task that keeps the index. It ends when this is dropped.
#[derive(Debug)]
pub struct Index {
    status: watch::Receiver<Progress>,
    swept: Swept,
    ledger: Ledger,
    task: AbortHandle,
}

/// The last segments of other writers, and how long they were, when they were last read to their end.
type Swept = Arc<Mutex<HashMap<PathBuf, (u64, u64)>>>;

/// What the index has not read, for retention.
struct Unread {
    status: watch::Receiver<Progress>,
    swept: Swept,
}

impl Needs for Unread {
    fn needed_from(&self) -> Option<(u64, Arc<str>)> {
        Some((self.status.borrow().seq + 1, NAME.into()))
    }

    fn needs_of(&self, folder: &Path) -> Option<Arc<str>> {
        let swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner).get(folder).copied();
        let is_read = last_of(folder).is_some_and(|last| swept == Some(last));
        (!is_read).then(|| NAME.into())
    }
}

#[derive(Debug, Clone, Default)]
struct Progress {
    seq: u64,
    entries: u64,
    failure: Option<Arc<str>>,
}

/// How retention names it.
const NAME: &str = "the index";
/// How long news are gathered: so much later they are found.
const GATHERED: Duration = Duration::from_millis(200);
/// How long they are gathered where there are many: each batch costs something, however many rows it has.
const GATHERED_MANY: Duration = Duration::from_secs(1);
/// How many entries at once are many.
const MANY: u64 = 200;
/// How long it waits before it tries again what failed.
const FAILED: Duration = Duration::from_secs(1);
/// How often it looks for entries of writers that nobody owns.
const SWEEP: Duration = Duration::from_secs(15);
/// A segment that nothing was written to for so long is of a writer that is gone, or has nothing to say.
const QUIET: Duration = Duration::from_secs(30);
/// How often it looks for what is too old.
const TIDY: Duration = Duration::from_hours(1);
/// How many findings are forgotten at once.
const TIDY_FINDINGS: usize = 5_000;
/// How many blocks go at once.
const TIDY_BLOCKS: usize = 64;

impl Index {
    /// Begins to keep the index of a ledger; none if nothing is recorded. Must be called within a runtime.
    /// Where `names` cannot be opened, references stand in their place.
    pub fn start(
        ledger: &Ledger,
        store: Arc<dyn Store>,
        settings: IndexSettings,
        names: Option<Arc<dyn Unseal>>,
    ) -> Option<Self> {
        let (folder, position) = (ledger.folder()?.to_owned(), ledger.position()?);
        let (progress, status) = watch::channel(Progress::default());
        let swept = Swept::default();
        let settings = Arc::new(settings);
        let keeper = Keeper { store, settings, names, progress, swept: Arc::clone(&swept) };
        let task = tokio::spawn(keeper.run(folder, position)).abort_handle();
        Some(Self { status, swept, ledger: ledger.clone(), task })
    }

    /// What it has not read, which is not to be removed yet.
    pub fn needs(&self) -> Arc<dyn Needs> {
        Arc::new(Unread { status: self.status.clone(), swept: Arc::clone(&self.swept) })
    }

    /// How it does.
    pub fn status(&self) -> IndexStatus {
        let written = self.ledger.reached().seq;
        let progress = self.status.borrow();
        IndexStatus {
            behind: written.saturating_sub(progress.seq),
            entries: progress.entries,
            failure: progress.failure.clone(),
        }
    }

    /// Waits until all that has been written up to now is in, or for so long.
    pub async fn settle(&self, most: Duration) {
        let written = self.ledger.reached().seq;
        _ = timeout(most, self.status.clone().wait_for(|progress| progress.seq >= written)).await;
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a step failed: it is tried again.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Task(#[from] JoinError),
}

struct Keeper {
    store: Arc<dyn Store>,
    settings: Arc<IndexSettings>,
    names: Option<Arc<dyn Unseal>>,
    progress: watch::Sender<Progress>,
    swept: Swept,
}

impl Keeper {
    async fn run(mut self, folder: PathBuf, mut position: watch::Receiver<Position>) {
        let mut own = None;
        let (mut next_sweep, mut next_tidy) = (Instant::now(), Instant::now());
        loop {
            let written = *position.borrow_and_update();
            let entries = self.progress.borrow().entries;
            let mut step = self.follow(&folder, &mut own, Some(written.seq)).await;
            if step.is_ok() && next_sweep <= Instant::now() {
                next_sweep = Instant::now() + SWEEP;
                step = self.sweep(&folder).await;
            }
            if step.is_ok() && next_tidy <= Instant::now() {
                next_tidy = Instant::now() + TIDY;
                step = self.tidy().await;
            }
            let is_failed = step.is_err();
            self.tell(step);
            if is_failed {
                // What is in memory may be ahead of what is stored.
                own = None;
                sleep(FAILED).await;
                continue;
            }
            // Few entries at a time would cost more than many.
            let taken = self.progress.borrow().entries - entries;
            sleep(if taken < MANY { GATHERED } else { GATHERED_MANY }).await;
            if *position.borrow() == written {
                // The writer may end before this does.
                match timeout(next_sweep.duration_since(Instant::now()), position.changed()).await {
                    Ok(Ok(())) => {}
                    // Somebody may have asked for the index to be made again, and nothing has happened since.
                    Err(_) => own = None,
                    Ok(Err(_)) => return,
                }
            }
        }
    }

    fn tell(&self, step: Result<(), Failed>) {
        let failure: Option<Arc<str>> = step.err().map(|error| error.to_string().into());
        self.progress.send_if_modified(|progress| {
            let is_news = progress.failure.is_some() != failure.is_some();
            if is_news {
                match &failure {
                    Some(reason) => {
                        tracing::warn!(%reason, "the index of the ledger does not go on; trying again");
                    }
                    None => tracing::info!("the index of the ledger goes on"),
                }
            }
            progress.failure = failure;
            is_news
        });
    }

    /// Reads a writer's entries to their end. `gatherer`: where it is, once that is known. `written`: up to where its own are
    /// written.
    async fn follow(
        &self,
        folder: &Path,
        gatherer: &mut Option<Gatherer>,
        written: Option<u64>,
    ) -> Result<(), Failed> {
        let (is_own, upto) = (written.is_some(), written.unwrap_or(u64::MAX));
        loop {
            let mut now = match gatherer.take() {
                Some(gatherer) => gatherer,
                None => self.gatherer(folder).await?,
            };
            let (settings, names) = (Arc::clone(&self.settings), self.names.clone());
            let read = spawn_blocking(move || {
                let next = now.next(upto, names.as_deref(), &settings.prices);
                (now, next)
            });
            let (mut now, next) = read.await?;
            match next? {
                Next::Nothing => {
                    self.is_at(is_own, now.seq(), 0);
                    *gatherer = Some(now);
                    return Ok(());
                }
                Next::Batch(batch, is_full) => {
                    if !self.store.add_entries(&batch).await? {
                        // Another process was quicker, or the index is to be made again: both know the place.
                        continue;
                    }
                    now.took(batch.upto);
                    self.is_at(is_own, now.seq(), batch.upto.seq - batch.after.map_or(0, |after| after.seq));
                    *gatherer = Some(now);
                    if !is_full {
                        return Ok(());
                    }
                }
                Next::Astray => {
                    tracing::warn!(folder = %folder.display(),
                        "the index does not fit the ledger, as after a loss of power; it is made again");
                    self.store.forget_index(Some(&name(folder))).await?;
                }
            }
        }
    }

    fn is_at(&self, is_own: bool, seq: u64, entries: u64) {
        self.progress.send_if_modified(|progress| {
            progress.entries += entries;
            let is_news = is_own && progress.seq != seq;
            if is_news {
                progress.seq = seq;
            }
            is_news || entries > 0
        });
    }

    async fn gatherer(&self, folder: &Path) -> Result<Gatherer, Failed> {
        let writer: Arc<str> = name(folder).into();
        // The place first: should another move it meanwhile, the batch is refused, and this is asked again.
        let at = self.store.followed(&writer).await?;
        let open = self.store.open_calls(&writer).await?;
        let folder = folder.to_owned();
        Ok(spawn_blocking(move || Gatherer::new(&folder, writer, at, open)).await??)
    }

    /// Takes in what other writers left that nobody owns any more. Should somebody own one after all, each entry is taken in
    /// once all the same.
    async fn sweep(&mut self, own: &Path) -> Result<(), Failed> {
        let Some(root) = own.parent() else { return Ok(()) };
        for folder in others(root, own) {
            let Some(last) = last_of(&folder) else { continue };
            if self.swept().get(&folder) == Some(&last) {
                continue;
            }
            match self.follow(&folder, &mut None, None).await {
                // What is wrong with another's files is no reason to stand still. It is tried again when they change.
                Err(Failed::Read(error)) => tracing::warn!(%error, "what another writer left is not indexed"),
                followed => followed?,
            }
            self.swept().insert(folder, last);
        }
        self.swept().retain(|folder, _| folder.exists());
        Ok(())
    }

    fn swept(&self) -> MutexGuard<'_, HashMap<PathBuf, (u64, u64)>> {
        self.swept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is too old.
    async fn tidy(&self) -> Result<(), Failed> {
        let now = Timestamp::now().as_ms();
        let before = |age: Duration| {
            Timestamp::from_ms(now.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
        };
        while self.store.forget_rows(before(self.settings.age_max), TIDY_BLOCKS).await? > 0 {}
        while self.store.forget_findings(before(self.settings.age_max), TIDY_FINDINGS).await? == TIDY_FINDINGS
        {
        }
        let before_usage = before(self.settings.usage_age_max);
        // A segment says a name only once: one that is not said for so long is in no segment that is still in the index.
        let segment_max = Duration::from_hours(7 * 24);
        self.store
            .forget_names(&WhoseNames::users_before(before(self.settings.age_max + segment_max)))
            .await?;
        self.store.forget_names(&WhoseNames::agents_before(before_usage)).await?;
        let day = u32::try_from(before_usage.as_ms() / 86_400_000).unwrap_or(0);
        self.store.forget_usage(day).await?;
        Ok(())
    }
}

fn name(folder: &Path) -> String {
    folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The folders of other writers.
fn others(root: &Path, own: &Path) -> Vec<PathBuf> {
    let Ok(folders) = std::fs::read_dir(root) else { return Vec::new() };
    let folders = folders.filter_map(|folder| Some(folder.ok()?.path()));
    folders.filter(|folder| folder != own && name(folder).parse::<CallId>().is_ok()).collect()
}

/// The last segment of a writer and its length, if nothing was written to it for a while.
fn last_of(folder: &Path) -> Option<(u64, u64)> {
    let reader = Reader::new(folder);
    let last = *reader.segments().ok()?.last()?;
    let file = reader.path(last).metadata().ok()?;
    let is_quiet = file.modified().ok()?.elapsed().is_ok_and(|age| age > QUIET);
    is_quiet.then_some((last, file.len()))
}
