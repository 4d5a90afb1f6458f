//! A database: its connections, its transactions, and whoever waits for news of it.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tollgate_store::{Cursor, Store, StoreError};

use crate::connections::Connection;
use crate::migrations::{self, NEWEST};
use crate::{Bounds, InvalidPlace, Place, postgres, sqlite};

/// A store in a database. Nothing is connected before something is asked.
#[derive(Debug)]
pub(crate) struct Database {
    way: Way,
    pub(crate) bounds: Bounds,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
    /// Set when the database was found to be, or made, of this program's version.
    prepared: OnceCell<()>,
    /// The latest revision that this process made or heard of.
    heard: watch::Sender<u64>,
    listener: OnceLock<AbortHandle>,
}

enum Way {
    Sqlite { file: PathBuf, options: Box<SqliteConnectOptions>, known: Mutex<Option<sqlite::FileId>> },
    Postgres(Box<PgConnectOptions>),
}

/// The library's options show their password.
impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { file, .. } => f.debug_tuple("Sqlite").field(file).finish(),
            Self::Postgres(options) => {
                f.debug_tuple("Postgres").field(&options.get_host()).field(&options.get_port()).finish()
            }
        }
    }
}

/// A store at this place. Does not connect yet, so it does not matter whether the database is there.
pub fn open(place: &Place, bounds: Bounds) -> Result<Arc<dyn Store>, InvalidPlace> {
    Ok(Arc::new(Database::new(place, bounds)?))
}

/// How a transaction begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// To read what is there at one moment, statement by statement.
    Read,
    /// To read all that is there at one moment.
    ReadAll,
    /// To write.
    Write,
}

impl Database {
    /// A store at this place.
    pub(crate) fn new(place: &Place, bounds: Bounds) -> Result<Self, InvalidPlace> {
        let way = match place {
            Place::File(file) => {
                // Half of the whole: the caller hears of a busy file rather than of a call that took too long.
                let options = sqlite::options(file, bounds.call_max / 2);
                Way::Sqlite { file: file.clone(), options: Box::new(options), known: Mutex::default() }
            }
            Place::Postgres(url) => Way::Postgres(Box::new(postgres::options(url)?)),
        };
        Ok(Self {
            way,
            permits: Arc::new(Semaphore::new(bounds.connections_max)),
            bounds,
            idle: Arc::default(),
            prepared: OnceCell::new(),
            heard: watch::Sender::new(0),
            listener: OnceLock::new(),
        })
    }

    /// Whatever is asked ends in this time.
    pub(crate) async fn bounded<T>(
        &self,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.within(self.bounds.call_max, asked).await
    }

    pub(crate) async fn within<T>(
        &self,
        most: Duration,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.ready().await?;
        self.timed(most, asked).await
    }

    async fn timed<T>(
        &self,
        most: Duration,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let answered = timeout(most, asked).await;
        let answered =
            answered.unwrap_or_else(|_| Err(StoreError::away("the database does not answer in time")));
        if answered.as_ref().is_err_and(StoreError::is_away) {
            // The others are of the same kind, and each would be tried in vain.
            self.idle().clear();
        }
        answered
    }

    /// Connects for the first time, and brings the database to this program's version.
    pub(crate) async fn ready(&self) -> Result<(), StoreError> {
        let prepare = || self.timed(self.bounds.migrate_max, self.migrate(NEWEST));
        self.prepared.get_or_try_init(prepare).await.copied()
    }

    /// Brings the database to a version, if it is older.
    pub(crate) async fn migrate(&self, to: i64) -> Result<(), StoreError> {
        if let Way::Sqlite { file, .. } = &self.way {
            sqlite::make_private(file)?;
        }
        let _permit = self.permit().await?;
        let connected = self.timed(self.bounds.call_max, self.connect()).await;
        let mut connection = connected.map_err(|error| self.placed(error))?;
        let migrated = migrations::migrate(&mut connection, to, self.bounds.call_max).await;
        migrated.map_err(|error| self.placed(error))?;
        if let Way::Sqlite { file, known, .. } = &self.way {
            *lock(known) = Some(sqlite::file_id(file)?);
        }
        self.idle().push(connection);
        Ok(())
    }

    /// Says of a file that cannot be used which one it is.
    fn placed(&self, error: StoreError) -> StoreError {
        match (&self.way, error) {
            (Way::Sqlite { file, .. }, StoreError::Broken(cause)) => {
                StoreError::broken(format!("{}: {cause}", file.display()))
            }
            (_, error) => error,
        }
    }

    /// Whether the file is still the one that was opened. Another in its place, as when a backup was restored, is opened and
    /// brought to this program's version; where there is none, none is made: its emptiness would say that nothing is revoked.
    async fn look_at_file(&self) -> Result<(), StoreError> {
        let Way::Sqlite { file, known, .. } = &self.way else { return Ok(()) };
        let id = sqlite::file_id(file)?;
        if *lock(known) == Some(id) {
            return Ok(());
        }
        tracing::warn!(file = %file.display(), "another file stands where the stored state was; it is used from now on");
        self.idle().clear();
        let mut connection = self.connect().await?;
        migrations::migrate(&mut connection, NEWEST, self.bounds.call_max).await?;
        *lock(known) = Some(id);
        Ok(())
    }

    async fn connect(&self) -> Result<Connection, StoreError> {
        match &self.way {
            Way::Sqlite { options, .. } => sqlite::connect(options).await,
            Way::Postgres(options) => postgres::connect(options).await,
        }
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        permit.map_err(StoreError::away)
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&self, how: Begin) -> Result<Transaction, StoreError> {
        let permit = self.permit().await?;
        self.look_at_file().await?;
        let word = self.word(how);
        // One that lay idle may be dead: beginning finds it out before anything is done.
        loop {
            let Some(mut connection) = self.idle().pop() else { break };
            match connection.script(word).await {
                Ok(()) => return Ok(self.transaction(connection, permit)),
                Err(error) => tracing::debug!(%error, "an idle connection is of no use"),
            }
        }
        let mut connection = self.connect().await?;
        connection.script(word).await?;
        Ok(self.transaction(connection, permit))
    }

    fn word(&self, how: Begin) -> &'static str {
        match (&self.way, how) {
            // From its beginning: a reader that turns into a writer may find that it cannot.
            (Way::Sqlite { .. }, Begin::Write) => "BEGIN IMMEDIATE",
            (Way::Postgres(_), Begin::ReadAll) => {
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '30s'"
            }
            _ => "BEGIN",
        }
    }

    fn transaction(&self, connection: Connection, permit: OwnedSemaphorePermit) -> Transaction {
        Transaction { connection, idle: Arc::clone(&self.idle), _permit: permit }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        lock(&self.idle)
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.way, Way::Postgres(_))
    }

    /// This process made a change.
    pub(crate) fn tell(&self, revision: u64) {
        self.heard.send_if_modified(|latest| {
            let is_news = revision > *latest;
            *latest = revision.max(*latest);
            is_news
        });
    }

    /// Waits until something is heard of that comes after a place. Of other processes' changes of a file nobody tells.
    pub(crate) async fn hear(&self, after: Cursor) {
        if let Way::Postgres(options) = &self.way {
            self.listener.get_or_init(|| {
                let hear = postgres::hear(
                    PgConnectOptions::clone(options),
                    self.heard.clone(),
                    self.bounds.call_max,
                );
                tokio::spawn(hear).abort_handle()
            });
        }
        // Never fails: the sender lives as long as `self`.
        _ = self.heard.subscribe().wait_for(|latest| *latest > after.revision).await;
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.get() {
            listener.abort();
        }
    }
}

/// A transaction. Dropped before it is committed, it never happened, and its connection is closed.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) connection: Connection,
    idle: Arc<Mutex<Vec<Connection>>>,
    _permit: OwnedSemaphorePermit,
}

impl Transaction {
    /// Makes it so.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        self.end("COMMIT").await
    }

    /// Nothing was to be done after all.
    pub(crate) async fn leave(self) -> Result<(), StoreError> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, word: &'static str) -> Result<(), StoreError> {
        self.connection.script(word).await?;
        lock(&self.idle).push(self.connection);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
