//! `tollgate pins lock` and `tollgate pins check`: what servers show just now, and `tollgate.lock`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_guard::pins::{Lock as Locked, compare};
use tollgate_identity::Identity;
use tollgate_ledger::Ledger;
use tollgate_model::{TenantId, Timestamp};
use tollgate_proxy::{LiveServer, PinSettings};
use tollgate_store::{Follower, PinOf};

use super::{shown, visible};
use crate::cli::CONFIG_FILE;
use crate::cli::pins::{Check, Lock};
use crate::config::{Config, ProcessEnv, label};
use crate::exit::{Exit, Failure};
use crate::out::{Printer, To, safe};
use crate::{registering, serve, state};

/// What the lock file is called where nothing else is said.
const LOCK_FILE: &str = "tollgate.lock";
/// How long servers have to end once they have been read.
const END: Duration = Duration::from_secs(2);

/// Writes what servers show as a lock file. It is written only if every server could be read.
pub(super) async fn lock(command: &Lock) -> Result<(), Failure> {
    let config = everything(config(command.config.as_deref())?).await?;
    let (locked, count) = live(&config, command.wait).await?;
    let text = locked.to_json();
    let file = command.output.clone().unwrap_or_else(|| lock_file(&config));
    if file.as_os_str() == "-" {
        Printer::new(To::Out).line(text.trim_end());
        return Ok(());
    }
    write(&file, &text)
        .map_err(|error| Failure::failed(format!("{} cannot be written: {error}", file.display())))?;
    let out = Printer::new(To::Out);
    out.line(format!(
        "{} {} has {count} items of {} servers",
        out.green("ok:"),
        file.display(),
        locked.servers.len()
    ));
    Ok(())
}

/// All of it or nothing: a gateway may be reading it.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", Timestamp::now().as_ms()));
    let beside = file.with_file_name(name);
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, file).inspect_err(|_| drop(std::fs::remove_file(&beside)))
}

/// Compares what servers show with the lock file.
pub(super) async fn check(command: &Check) -> Result<(), Failure> {
    let config = everything(config(command.config.as_deref())?).await?;
    let file = command.lock.clone().unwrap_or_else(|| lock_file(&config));
    let text = std::fs::read_to_string(&file)
        .map_err(|error| Failure::config(format!("{} cannot be read: {error}", file.display())))?;
    let locked =
        Locked::parse(&text).map_err(|error| Failure::config(format!("{}: {error}", file.display())))?;
    let (live, count) = live(&config, command.wait).await?;
    let differing = differing(&locked, &live);
    let out = Printer::new(To::Out);
    if command.json {
        let all: Value = differing.iter().map(Differing::object).collect();
        out.line(json!({"ok": differing.is_empty(), "items": count, "differing": all}).to_string());
    } else if differing.is_empty() {
        out.line(format!("{} {count} items are as in {}", out.green("ok:"), file.display()));
    } else {
        for one in &differing {
            one.show(out);
        }
    }
    if differing.is_empty() {
        return Ok(());
    }
    let text = format!("{} items are not as in {}", differing.len(), file.display());
    Err(Failure { code: Exit::Failed, text })
}

/// An item that is not as it is in the file.
struct Differing {
    of: PinOf,
    how: &'static str,
    risks: Vec<(&'static str, &'static str, String)>,
}

impl Differing {
    fn object(&self) -> Value {
        let risks = self
            .risks
            .iter()
            .map(|(id, severity, text)| json!({"id": id, "severity": severity, "text": text}));
        json!({
            "kind": self.of.kind.as_str(), "server": self.of.server.as_str(), "name": &*self.of.item,
            "tenant": self.of.tenant.as_ref().map(TenantId::as_str), "how": self.how,
            "risks": risks.collect::<Value>(),
        })
    }

    fn show(&self, out: Printer) {
        out.line(format!("{} {} {}", out.bold(self.how), self.of.kind.as_str(), shown(&self.of)));
        for (_, severity, text) in &self.risks {
            out.line(format!("  {severity}: {}", safe(text)));
        }
    }
}

fn differing(locked: &Locked, live: &Locked) -> Vec<Differing> {
    let of = |lock: &Locked| -> BTreeSet<PinOf> {
        let kinds = lock.servers.iter().flat_map(|((tenant, server), kinds)| {
            kinds.iter().flat_map(move |(kind, items)| {
                items.keys().map(move |item| PinOf {
                    tenant: tenant.clone(),
                    server: server.clone(),
                    kind: *kind,
                    item: item.clone(),
                })
            })
        });
        kinds.collect()
    };
    let all: BTreeSet<PinOf> = of(locked).union(&of(live)).cloned().collect();
    let one = |of: PinOf| {
        let (before, now) = (locked.item(&of), live.item(&of));
        let (how, now) = match (before, now) {
            (Some(before), Some(now)) if before.digest == now.digest => return None,
            (Some(_), Some(now)) => ("changed", now),
            (None, Some(now)) => ("new", now),
            (_, None) => return Some(Differing { of, how: "gone", risks: Vec::new() }),
        };
        let difference = compare(before.map(|item| &item.definition), &now.definition);
        let risks = difference.risks.into_iter().map(|risk| (risk.id, risk.severity.as_str(), risk.text));
        Some(Differing { of, how, risks: risks.collect() })
    };
    all.into_iter().filter_map(one).collect()
}

fn config(file: Option<&Path>) -> Result<Config, Failure> {
    let usual = Path::new(CONFIG_FILE);
    match file {
        Some(file) => state::read_config(file),
        None if usual.exists() => state::read_config(usual),
        None => Err(Failure::usage("there is no tollgate.yaml in this folder: say --config FILE")),
    }
}

/// With what is registered beside the file's servers, where a gateway keeps a store: a lock file is about all that is served.
async fn everything(config: Config) -> Result<Config, Failure> {
    let Some(store) = state::kept(&config) else { return Ok(config) };
    let joined = Box::pin(registering::with_left_out(&config, &*store, Some(&ProcessEnv))).await;
    let (config, left_out) = joined.map_err(|error| state::failure(&error))?;
    let err = Printer::new(To::Err);
    for left in left_out {
        err.line(format!("note: {} is left out: {}", visible(&label(&left.id)), safe(&left.why)));
    }
    Ok(config)
}

fn lock_file(config: &Config) -> PathBuf {
    let folder = config.file.parent().unwrap_or(Path::new(""));
    config.lock_file.clone().unwrap_or_else(|| folder.join(LOCK_FILE))
}

/// What the servers of a configuration show now, and how many items that are.
async fn live(config: &Config, wait: u64) -> Result<(Locked, usize), Failure> {
    let mut config = config.clone();
    // Nothing is hidden from whoever writes down what there is.
    config.proxy.pins = PinSettings::default();
    let identity = Identity::new(config.identity.clone(), Follower::of_nothing());
    let gateway = serve::build(&config, &identity, Ledger::off())?;
    let servers = gateway.live(Duration::from_secs(wait.max(1))).await;
    gateway.stop(END).await;
    let (mut locked, mut count, mut failures) = (Locked::default(), 0, Vec::new());
    for LiveServer { server, items } in servers {
        match items {
            Ok(items) => {
                for (kind, item, definition) in items {
                    let (tenant, server) = (server.holder().tenant().cloned(), server.name().clone());
                    locked.add(PinOf { tenant, server, kind, item }, definition);
                    count += 1;
                }
            }
            Err(why) => failures.push(format!("{}: {}", visible(&server.label().to_string()), safe(&why))),
        }
    }
    if failures.is_empty() {
        return Ok((locked, count));
    }
    let text = format!("not every server could be read\n  {}", failures.join("\n  "));
    Err(Failure::unavailable(text))
}
