//! `tollgate audit`: what is on record, and whether it is what was written.

mod erase;
mod full;
mod keys;
mod search;
mod show;
mod verify;

use std::path::PathBuf;

use crate::cli::audit::{Audit, LedgerArgs};
use crate::exit::Failure;
use crate::serve::LEDGER;
use crate::state::data_dir;

/// Runs one of the commands.
pub(crate) async fn run(command: Audit) -> Result<(), Failure> {
    match command {
        Audit::Verify(command) => verify::run(&command).await,
        Audit::Keys(command) => keys::run(&command),
        Audit::Search(command) => search::run(&command).await,
        Audit::Tail(command) => search::tail(&command).await,
        Audit::Show(command) => show::run(&command).await,
        Audit::Reindex(command) => search::reindex(&command).await,
        Audit::Erase(command) => erase::run(&command).await,
    }
}

/// The folder of the ledger.
fn ledger_folder(args: &LedgerArgs) -> Result<PathBuf, Failure> {
    let folder = match &args.dir {
        Some(folder) => folder.clone(),
        None => data_dir(&args.store)?
            .ok_or_else(|| {
                Failure::usage(
                    "where is the record? There is no tollgate.yaml in this folder: say --config FILE, --data-dir DIR, or \
                     --dir DIR for the ledger's own folder",
                )
            })?
            .join(LEDGER),
    };
    if !folder.is_dir() {
        return Err(Failure::usage(format!("there is no record: {} is no folder", folder.display())));
    }
    let inner = folder.join(LEDGER);
    if args.dir.is_some() && inner.is_dir() {
        return Err(Failure::usage(format!(
            "there is no record: {} is the data directory; write --dir {}",
            folder.display(),
            inner.display()
        )));
    }
    Ok(folder)
}
