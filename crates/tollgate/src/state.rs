//! Stored state, as `serve` and the commands that change it open it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tollgate_backends::{Bounds, InvalidPlace, Place};
use tollgate_store::{Follower, Store, StoreError};

use crate::cli::{CONFIG_FILE, StoreArgs};
use crate::config::{Config, DATABASE_URL, Env, ProcessEnv, StoreSettings, url_of_environment};
use crate::exit::Failure;
use crate::out::{Printer, To};
use crate::serve;

/// How long `serve` waits at its start for a store that does not answer, before it goes on without.
const START_MAX: Duration = Duration::from_secs(5);

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
    let store = open(&settings, &data_dir)?;
    store.prepare().await.map_err(|error| failure(&error))?;
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

fn read_config(file: &Path) -> Result<Config, Failure> {
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
pub(crate) struct State(Arc<OnceLock<Opened>>);

#[derive(Debug)]
struct Opened {
    store: Arc<dyn Store>,
    follower: Follower,
}

impl State {
    /// Opens the store if the configuration needs one and none is open. Does not wait for it. Must be called within a
    /// runtime.
    pub(crate) fn open(&self, config: &Config) -> Result<(), Failure> {
        if !config.needs_store() || self.0.get().is_some() {
            return Ok(());
        }
        let store = open(&config.store, &config.data_dir)?;
        let follower = Follower::follow(Arc::clone(&store), config.store.follower.clone());
        // Nobody else opens it: `serve` does, and what reads its configuration again.
        _ = self.0.set(Opened { store, follower });
        Ok(())
    }

    /// Waits at start for a first state. A store that is away is left to the follower, which lets nobody in before it has
    /// read it.
    ///
    /// # Errors
    /// What does not get better by waiting: the store cannot be used as it is.
    pub(crate) async fn settle(&self) -> Result<(), Failure> {
        let Some(Opened { store, follower }) = self.0.get() else { return Ok(()) };
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
        self.0.get().map_or_else(Follower::of_nothing, |opened| opened.follower.clone())
    }

    /// The store, if there is one.
    pub(crate) fn store(&self) -> Option<Arc<dyn Store>> {
        self.0.get().map(|opened| Arc::clone(&opened.store))
    }
}
