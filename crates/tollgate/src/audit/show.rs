//! `tollgate audit show`: all that is on record of one call.

use serde_json::Value;
use tollgate_ledger::{Line, Read, Vault};
use tollgate_model::Secret;
use tollgate_store::AuditQuery;

use super::full::Entries;
use super::search;
use crate::cli::StoreArgs;
use crate::cli::search::AuditShow;
use crate::config::ENCRYPTION_KEY;
use crate::exit::Failure;
use crate::out::{Printer, To};
use crate::state::{config_file, failure, open_store, read_config};

/// More steps than any call has.
const STEPS_MAX: usize = 1000;

/// Shows the steps of a call in their order, and then their entries.
pub(super) async fn run(command: &AuditShow) -> Result<(), Failure> {
    let call = search::call("the call", &command.call)?;
    let query = AuditQuery { call: Some(call), most: STEPS_MAX, ..AuditQuery::default() };
    let store = open_store(&command.store).await?;
    let mut found = store.search(&query).await.map_err(|error| failure(&error))?;
    if found.rows.is_empty() {
        return Err(Failure::failed("no such call is in the index"));
    }
    found.rows.sort_by_key(|row| (row.step, row.begin));
    let entries = Entries::of(&command.store)?;
    let vault = if command.payloads { Some(vault(&command.store, &entries)?) } else { None };
    let add = |read: &Read, entry: &mut Value| {
        if let Some(vault) = &vault {
            unseal(vault, read, entry);
        }
    };
    let out = Printer::new(To::Out);
    if !command.json {
        search::show(&found);
        out.line("");
    }
    let missing = found.rows.iter().filter(|row| !entries.print(row, Some(&add), out)).count();
    search::said_missing(missing)
}

/// What opens payloads: the key that the configuration or the environment gives, else the one that is kept beside the record.
fn vault(args: &StoreArgs, entries: &Entries) -> Result<Vault, Failure> {
    let given = match config_file(args) {
        // It reads the environment too.
        Some(file) => read_config(&file)?.ledger.and_then(|ledger| ledger.encryption_key),
        None => key_of_the_environment()?,
    };
    Vault::of_ledger(entries.folder(), given.as_ref())
        .map_err(|error| Failure::failed(format!("payloads cannot be opened: {error}")))
}

/// The encryption key as a gateway without one in its configuration takes it.
fn key_of_the_environment() -> Result<Option<Secret>, Failure> {
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    if let Some(text) = variable(ENCRYPTION_KEY) {
        return Ok(Some(Secret::new(text)));
    }
    let name = format!("{ENCRYPTION_KEY}_FILE");
    let Some(path) = variable(&name) else { return Ok(None) };
    let read = std::fs::read_to_string(&path);
    let text = read.map_err(|error| Failure::failed(format!("{name}: {path} cannot be read: {error}")))?;
    Ok(Some(Secret::new(text.trim_end().to_owned())))
}

/// Adds to an entry what stands beside it: payloads, and the names behind its references.
fn unseal(vault: &Vault, read: &Read, entry: &mut Value) {
    let tenant = entry["tenant"].as_str().unwrap_or_default().to_owned();
    for line in read.beside() {
        match line {
            Line::Payload { is_result, sealed } if !Line::is_erased(sealed) => {
                let Some(payload) = vault.open_payload(&tenant, is_result, sealed) else { continue };
                let text = String::from_utf8_lossy(&payload.bytes).into_owned();
                let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
                entry[if is_result { "result_kept" } else { "arguments_kept" }] = value;
            }
            Line::Name { reference, sealed } if !Line::is_erased(sealed) => {
                let reference = String::from_utf8_lossy(reference);
                if let Some(name) = vault.open_name(&tenant, &reference, sealed) {
                    entry["names"][&*reference] = name.text;
                }
            }
            _ => {}
        }
    }
}
