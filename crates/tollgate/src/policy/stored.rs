//! What a gateway on the same configuration keeps: the last known tools of its servers, and its keys.

use std::path::Path;
use std::sync::Arc;

use tollgate_backends::Place;
use tollgate_model::{KeyRecord, Timestamp};
use tollgate_store::{DefinitionsOf, List, Store, WhichKeys};

use super::catalog::Catalog;
use crate::cli::StoreArgs;
use crate::config::Config;
use crate::exit::Failure;
use crate::state::{failure, open_store};

/// How many keys are looked at.
const KEYS_MAX: usize = 10_000;

/// Opens the store. Asking for what is stored never makes a store where there is none.
pub(crate) async fn open(config: &Config, data_dir: Option<&Path>) -> Result<Arc<dyn Store>, Failure> {
    let folder = data_dir.unwrap_or(&config.data_dir);
    if let Ok(Place::File(file)) = config.store.place(folder)
        && !file.exists()
    {
        return Err(nothing(config));
    }
    let args = StoreArgs {
        config: Some(config.file.clone()),
        data_dir: data_dir.map(ToOwned::to_owned),
        direct: true,
    };
    open_store(&args).await
}

fn nothing(config: &Config) -> Failure {
    let file = config.file.display();
    Failure::failed(format!(
        "no gateway has kept yet what tools the servers of {file} have\n  help: write a catalogue once, with `tollgate \
         policy snapshot -c {file} -o catalog.json`, and say `--catalog catalog.json`"
    ))
}

/// What the servers of a configuration last listed.
pub(crate) async fn catalog(store: &dyn Store, config: &Config) -> Result<Catalog, Failure> {
    let catalog = as_far_as_known(store, config).await?;
    if catalog.servers.values().all(Option::is_none) && !config.servers.is_empty() {
        return Err(nothing(config));
    }
    Ok(catalog)
}

/// The same, where it may be that nobody has asked them yet.
pub(crate) async fn as_far_as_known(store: &dyn Store, config: &Config) -> Result<Catalog, Failure> {
    let mut catalog = Catalog { saved: Timestamp::now(), ..Catalog::default() };
    for server in &config.servers {
        let id = server.id();
        let (tenant, server) = (id.holder().tenant().cloned(), id.name().clone());
        let of = DefinitionsOf { tenant, server, list: List::Tools };
        let found = store.definitions(&of).await.map_err(|error| failure(&error))?;
        catalog.servers.insert(id, found.map(|found| found.items));
    }
    Ok(catalog)
}

/// The keys that are stored.
pub(crate) async fn keys(store: &dyn Store) -> Result<Vec<KeyRecord>, Failure> {
    let which = WhichKeys { most: KEYS_MAX, ..WhichKeys::default() };
    store.keys(&which).await.map_err(|error| failure(&error))
}
