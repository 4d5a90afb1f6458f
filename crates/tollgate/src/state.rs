//! Stored state, as `serve` and the commands that change it open it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tollgate_admin::IndexLine;
use tollgate_backends::{Bounds, InvalidPlace, Place, Redis};
use tollgate_ledger::export::Unseal;
use tollgate_ledger::upkeep::Needs;
use tollgate_ledger::{Index, IndexStatus, Ledger};
use tollgate_proxy::Gateway;
use tollgate_store::{Allowances, Follower, Pauses, Store, StoreError};

use crate::cli::{CONFIG_FILE, StoreArgs};
use crate::config::{Config, DATABASE_URL, Env, ProcessEnv, StoreSettings, url_of_environment};
use crate::exit::Failure;
use crate::out::{Printer, To, safe};
use crate::registering::Left;
use crate::serve;

/// How long `serve` waits at its start for a store that does not answer, before it goes on without.
const START_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether there is a store by now, where none is needed.
const APPEARS: Duration = Duration::from_millis(250);
/// How long `serve` waits at its end for the index.
const INDEX_MAX: Duration = Duration::from_secs(2);

/// Opens the store that a gateway with the same configuration, data directory and environment uses. It has answered, and is
/// of this program's version.
pub(crate) async fn open_store(args: &StoreArgs) -> Result<Arc<dyn Store>, Failure> {
    let (settings, data_dir) = match config_file(args) {
        Some(file) => {
            let config = read_config(&file)?;
            (config.store, Some(config.data_dir))
        }
        None => {
            let url_of_environment = url_of_environment(ProcessEnv.var(DATABASE_URL));
            (StoreSettings { url_of_environment, ..StoreSettings::default() }, None)
        }
    };
    let Some(data_dir) = args.data_dir.clone().or(data_dir).or_else(|| {
        // With a database there is no need of a folder.
        settings.url_of_environment.is_some().then(PathBuf::new)
    }) else {
        return Err(Failure::usage(
            "where is the gateway's state? There is no tollgate.yaml in this folder: say --config FILE or --data-dir DIR, or \
             set DATABASE_URL",
        ));
    };
    let fresh = match settings.place(&data_dir) {
        Ok(Place::File(file)) => Some(file).filter(|file| !file.exists()),
        _ => None,
    };
    let store = open(&settings, &data_dir)?;
    store.prepare().await.map_err(|error| failure(&error))?;
    // In a folder that is not the gateway's, whatever is changed reaches nobody.
    if let Some(file) = fresh {
        let text = format!(
            "note: there was no store yet, {} is made; a gateway that runs elsewhere has another (--data-dir)",
            safe(&file.display().to_string())
        );
        Printer::new(To::Err).line(text);
    }
    Ok(store)
}

/// The data directory of a gateway with the same configuration; none if nothing says where it is.
pub(crate) fn data_dir(args: &StoreArgs) -> Result<Option<PathBuf>, Failure> {
    if let Some(folder) = &args.data_dir {
        return Ok(Some(folder.clone()));
    }
    let usual = || Some(PathBuf::from(CONFIG_FILE)).filter(|file| file.exists());
    args.config
        .clone()
        .or_else(usual)
        .map(|file| read_config(&file).map(|config| config.data_dir))
        .transpose()
}

pub(crate) fn read_config(file: &Path) -> Result<Config, Failure> {
    serve::read(file).map_err(|error| {
        let text = error.render(Printer::new(To::Err).coloured());
        Failure::config(format!("{} cannot be read\n\n{}", file.display(), text.trim_end()))
    })
}

/// The configuration that says where the store is: the one that is named, or, where nothing else says it, the usual one in
/// the working folder.
pub(crate) fn config_file(args: &StoreArgs) -> Option<PathBuf> {
    let is_said = args.data_dir.is_some() || url_of_environment(ProcessEnv.var(DATABASE_URL)).is_some();
    let usual = || Some(PathBuf::from(CONFIG_FILE)).filter(|file| !is_said && file.exists());
    args.config.clone().or_else(usual)
}

/// How a command ends that a store did not do its part for.
pub(crate) fn failure(error: &StoreError) -> Failure {
    match error {
        StoreError::Away(_) => Failure::unavailable(error.to_string()),
        _ => Failure::failed(error.to_string()),
    }
}

fn open(settings: &StoreSettings, data_dir: &Path) -> Result<Arc<dyn Store>, Failure> {
    let unusable = |error: InvalidPlace| Failure::config(format!("{DATABASE_URL} cannot be used: {error}"));
    let place = settings.place(data_dir).map_err(unusable)?;
    tollgate_backends::open(&place, Bounds::default()).map_err(unusable)
}

/// Whether there is a store.
fn is_there(config: &Config) -> bool {
    match config.store.place(&config.data_dir) {
        Ok(Place::File(file)) => file.exists(),
        place => place.is_ok(),
    }
}

/// Has rates and concurrency counted together with other gateways, if the environment says where.
pub(crate) fn share_counters(gateway: &Gateway, config: &Config) -> Result<(), Failure> {
    if let Some(url) = &config.shared_counters {
        let redis =
            Redis::new(url).map_err(|error| Failure::config(format!("REDIS_URL cannot be used: {error}")))?;
        gateway.limits().share_by(Arc::new(redis));
    }
    Ok(())
}

/// The store of a configuration, if a gateway has made one already. Makes none.
pub(crate) fn kept(config: &Config) -> Option<Arc<dyn Store>> {
    let place = config.store.place(&config.data_dir).ok()?;
    if let Place::File(file) = &place
        && !file.exists()
    {
        return None;
    }
    tollgate_backends::open(&place, Bounds::default()).ok()
}

/// The stored state of a gateway: opened when its configuration first needs any. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct State(Arc<Parts>);

#[derive(Debug, Default)]
struct Parts {
    store: OnceLock<Arc<dyn Store>>,
    /// Callers, policies and what operators have blocked depend on what is stored: nobody is served while it is not known.
    follower: OnceLock<Follower>,
    /// Set once callers or policies depend on it.
    is_needed: OnceLock<()>,
    index: OnceLock<Index>,
    /// What is registered and not served.
    left: Left,
}

impl State {
    /// Opens what the configuration needs and is not open. Does not wait for it. Must be called within a runtime.
    pub(crate) fn open(&self, config: &Config) -> Result<(), Failure> {
        // What operators have blocked is all that it would be needed for: nothing is made for that alone.
        let is_kept = config.limits.are_metered() || config.limits.runaway.is_some();
        let is_signed_in = config.admin.sign_in.is_some();
        let is_needed = config.needs_store() || config.index.is_some() || is_kept || is_signed_in;
        if !is_needed && !is_there(config) {
            return Ok(());
        }
        // Nobody else opens it meanwhile: `serve` does, and what reads its configuration again.
        let store = match self.0.store.get() {
            Some(store) => Arc::clone(store),
            None => Arc::clone(self.0.store.get_or_init({
                let store = open(&config.store, &config.data_dir)?;
                || store
            })),
        };
        if config.needs_store() {
            let _ = self.0.is_needed.set(());
        }
        self.0.follower.get_or_init(|| Follower::follow(store, config.store.follower.clone()));
        Ok(())
    }

    /// Waits until somebody has made a store that nothing here needed so far: to block something. For ever if one is open.
    pub(crate) async fn appears(&self, config: &Config) {
        if self.0.follower.get().is_some() {
            std::future::pending::<()>().await;
        }
        while !is_there(config) {
            tokio::time::sleep(APPEARS).await;
        }
    }

    /// Waits at start for a first state. A store that is away is left to the follower, which lets nobody in before it has
    /// read it.
    ///
    /// # Errors
    /// What does not get better by waiting: the store cannot be used as it is.
    pub(crate) async fn settle(&self) -> Result<(), Failure> {
        let (Some(store), Some(follower)) = (self.0.store.get(), self.0.follower.get()) else {
            return Ok(());
        };
        if let Ok(Err(error)) = tokio::time::timeout(START_MAX, store.prepare()).await
            && !error.is_away()
        {
            return Err(failure(&error));
        }
        if !follower.settled(START_MAX).await {
            tracing::warn!("the store does not answer: nobody is let in until it does");
        }
        Ok(())
    }

    /// What is desired; nothing, if nothing is stored.
    pub(crate) fn follower(&self) -> Follower {
        self.0.follower.get().map_or_else(Follower::of_nothing, Clone::clone)
    }

    /// The store, if callers or policies depend on what is stored.
    pub(crate) fn store(&self) -> Option<Arc<dyn Store>> {
        self.0.is_needed.get().and(self.0.store.get()).cloned()
    }

    /// The store, whatever it is needed for.
    pub(crate) fn any_store(&self) -> Option<Arc<dyn Store>> {
        self.0.store.get().cloned()
    }

    /// What is registered and not served here.
    pub(crate) fn left(&self) -> &Left {
        &self.0.left
    }

    /// The store, made if there is none: somebody wants to change what is kept in it.
    pub(crate) fn make_store(&self, config: &Config) -> Result<Arc<dyn Store>, Failure> {
        if let Some(store) = self.0.store.get() {
            return Ok(Arc::clone(store));
        }
        let store = open(&config.store, &config.data_dir)?;
        Ok(Arc::clone(self.0.store.get_or_init(|| store)))
    }

    /// Begins to keep the index of the ledger, if one is configured. Must be called within a runtime.
    pub(crate) fn index(&self, ledger: &Ledger, config: &Config) {
        let (Some(settings), Some(store)) = (&config.index, self.0.store.get()) else { return };
        let names: Arc<dyn Unseal> = Arc::new(ledger.clone());
        if let Some(index) = Index::start(ledger, Arc::clone(store), settings.clone(), Some(names)) {
            _ = self.0.index.set(index);
        }
    }

    /// What the index has not read, which is not to be removed from the record yet.
    pub(crate) fn index_needs(&self) -> Option<Arc<dyn Needs>> {
        self.0.index.get().map(Index::needs)
    }

    /// Has quotas and budgets counted in the store, if there are any, and agents that run away and approvals kept there.
    pub(crate) fn meter(&self, gateway: &Gateway, config: &Config) {
        let Some(store) = self.0.store.get() else { return };
        if config.limits.are_metered() {
            gateway.limits().keep_in(Arc::clone(store) as Arc<dyn Allowances>);
        }
        gateway.approve_in(Arc::clone(store));
        gateway.limits().pause_in(Arc::clone(store) as Arc<dyn Pauses>);
    }

    /// Waits until the index has what was recorded, but not for long: the next start goes on.
    pub(crate) async fn settle_index(&self) {
        if let Some(index) = self.0.index.get() {
            index.settle(INDEX_MAX).await;
        }
    }

    /// How the index does, if there is one.
    pub(crate) fn index_line(&self) -> Option<IndexLine> {
        let IndexStatus { behind, entries, failure } = self.0.index.get()?.status();
        Some(IndexLine { behind, entries, failure })
    }
}
