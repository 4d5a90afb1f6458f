//! `tollgate audit erase`: somebody has a right to be forgotten.

use serde_json::json;
use tollgate_identity::names;
use tollgate_ledger::{Ledger, LedgerSettings};
use tollgate_model::Timestamp;
use tollgate_store::Erasure;

use crate::cli::audit::AuditErase;
use crate::exit::Failure;
use crate::keeping::carry_out;
use crate::out::{Printer, To};
use crate::serve::{self, LEDGER};
use crate::state::{config_file, data_dir, failure, open_store};

/// Asks all gateways to erase, and erases where no gateway does.
pub(super) async fn run(command: &AuditErase) -> Result<(), Failure> {
    for (option, name) in [("--user", &command.user), ("--tenant", &command.tenant)] {
        if let Some(name) = name {
            names::check(name).map_err(|bad| Failure::usage(format!("{option}: {bad}")))?;
        }
    }
    let now = Timestamp::now();
    let before = command.before.map_or(now, |before| before.ago(now));
    let store = open_store(&command.store).await?;
    let erasure = Erasure {
        user: command.user.as_deref().map(Into::into),
        tenant: command.tenant.as_deref().map(Into::into),
        before,
        asked: now,
    };
    let request = store.ask_erasure(&erasure).await.map_err(|error| failure(&error))?;
    let (mut records, mut writers) = (0, 0);
    if let Some(root) =
        data_dir(&command.store)?.map(|folder| folder.join(LEDGER)).filter(|root| root.is_dir())
    {
        let failed =
            |what: String| Failure::failed(format!("the request {request} is not carried out here: {what}"));
        // Where no gateway runs, nobody else will do it.
        for ledger in
            Ledger::open_left(&root, &settings(command)?).map_err(|error| failed(error.to_string()))?
        {
            let Some(folder) = ledger.folder().map(ToOwned::to_owned) else { continue };
            let erased = carry_out(&*store, &ledger, &folder).await;
            ledger.close().await;
            records += erased.map_err(|error| failed(error.to_string()))?;
            writers += 1;
        }
    }
    let out = Printer::new(To::Out);
    if command.json {
        let shown = json!({ "request": request, "before": before.to_string(), "erased": records, "writers": writers });
        out.line(shown.to_string());
        return Ok(());
    }
    out.line(format!("{} request {request}: what is older than {before} is erased", out.green("ok:")));
    out.line(format!(
        "    {records} payloads and names went from the record of {writers} writers that no gateway runs for"
    ));
    out.line("    gateways that run do the same within seconds, each in its own record; what was exported is beyond their reach");
    Ok(())
}

/// As the gateway has it: with the keys that the configuration or the environment gives.
fn settings(command: &AuditErase) -> Result<LedgerSettings, Failure> {
    let Some(file) = config_file(&command.store) else { return Ok(LedgerSettings::default()) };
    let config = serve::read(&file)
        .map_err(|error| Failure::config(format!("{} cannot be read: {error}", file.display())))?;
    Ok(config.ledger.unwrap_or_default())
}
