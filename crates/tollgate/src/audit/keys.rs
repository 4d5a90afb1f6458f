//! `tollgate audit keys`: for whoever is to verify the record.

use serde_json::{Value, json};
use tollgate_ledger::{PUBLIC_FILE, PublicKey};

use super::ledger_folder;
use crate::cli::audit::AuditKeys;
use crate::exit::Failure;
use crate::out::{Printer, To};

/// Shows the keys, the one in use last.
pub(super) fn run(command: &AuditKeys) -> Result<(), Failure> {
    let file = ledger_folder(&command.ledger)?.join(PUBLIC_FILE);
    let failed = |what: String| Failure::failed(format!("{}: {what}", file.display()));
    let text = std::fs::read_to_string(&file).map_err(|error| failed(error.to_string()))?;
    let keys = PublicKey::read_all(&text).map_err(|error| failed(error.to_string()))?;
    let out = Printer::new(To::Out);
    let last = keys.len().saturating_sub(1);
    if command.json {
        let shown = keys.iter().enumerate().map(|(nth, key)| {
            json!({ "id": key.id(), "public_key": key.to_text(), "pem": key.to_pem(), "in_use": nth == last })
        });
        out.line(shown.collect::<Value>().to_string());
        return Ok(());
    }
    let err = Printer::new(To::Err);
    for (nth, key) in keys.iter().enumerate() {
        let state = if nth == last { "signs now" } else { "has signed before" };
        err.line(format!("{} {state}", err.bold(&key.id())));
        out.line(key.to_pem().trim_end());
    }
    Ok(())
}
