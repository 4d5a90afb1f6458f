//! `tollgate policy simulate`: decides again, under other policies, what is on record, and says what would be different.
//!
//! Every request is put as it was decided: the same caller with the same groups, the same arguments, time and place. What
//! cannot be put so any more is counted with the reason, and never guessed.

mod recorded;
mod report;
mod tally;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tollgate_admin::Simulated;
use tollgate_ledger::{Read, ReadError, Reader, Vault, writers};
use tollgate_model::{TenantId, Timestamp};
use tollgate_policy::{Level, Mode, PolicySet, Source, Sources};

use super::setting::{Setting, Tenant, read_config};
use crate::cli::policy::{Format, PolicySimulate};
use crate::config::Config;
use crate::exit::Failure;
use crate::out::{Printer, To, safe};
use crate::serve::LEDGER;

use recorded::{Names, is_decided};
use tally::Tally;

/// How a file of policies ends.
const ENDING: &str = "cedar";
/// How deep folders of policies may be nested.
const FOLDERS_DEEP_MAX: usize = 8;

/// What is decided by, and what of.
struct Simulation<'v> {
    vault: &'v Vault,
    sets: HashMap<TenantId, Arc<PolicySet>>,
    tenant: Option<TenantId>,
    since: Timestamp,
    until: Timestamp,
    examples: usize,
    bound: Bound,
}

/// How long it may go on.
#[derive(Debug, Default)]
struct Bound {
    until: Option<Instant>,
    /// How many decisions are looked at, at most.
    most: Option<u64>,
    seen: AtomicU64,
    is_over: AtomicBool,
}

impl Bound {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Takes one decision more, if that may be.
    fn takes(&self) -> bool {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        let is_late = || self.until.is_some_and(|until| until <= Instant::now());
        if self.most.is_some_and(|most| seen >= most) || (seen.is_multiple_of(64) && is_late()) {
            self.is_over.store(true, Ordering::Relaxed);
        }
        !self.is_over()
    }
}

/// A segment of a writer.
struct Place {
    folder: PathBuf,
    segment: u64,
}

/// Decides all of it again, and says what would be different.
pub(crate) async fn run(command: &PolicySimulate) -> Result<(), Failure> {
    let setting = Setting::open(&command.basis).await?;
    let tenant = command.tenant.as_deref().map(TenantId::new);
    let sets = sets(command, &setting, tenant.as_ref())?;
    let now = Timestamp::now();
    let (vault, folder) = ledger(command)?;
    let until = command.until.map_or(Timestamp::from_ms(u64::MAX), |until| until.ago(now));
    let since = command.since.map_or(Timestamp::from_ms(0), |since| since.ago(now));
    let places = places(&folder, since)?;
    let digests: BTreeMap<String, String> =
        sets.iter().map(|(tenant, set)| (tenant.as_str().to_owned(), set.digest().to_string())).collect();
    let examples = command.examples;
    // It takes all cores for as long as it takes.
    let running = tokio::task::spawn_blocking(move || {
        let bound = Bound::default();
        let simulation = Simulation { vault: &vault, sets, tenant, since, until, examples, bound };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        simulation.run(&places, cores)
    });
    let tally = running.await.map_err(|error| Failure::failed(error.to_string()))??;
    let digests = digests.iter().map(|(tenant, digest)| (&**tenant, &**digest)).collect();
    match command.format {
        Format::Json => Printer::new(To::Out).line(report::json(&tally, &digests).to_string()),
        Format::Text => report::text(Printer::new(To::Out), &tally),
    }
    Ok(())
}

/// The policies by which everything is decided again: the given ones in place of a tenant's own, or what is configured.
fn sets(
    command: &PolicySimulate,
    setting: &Setting,
    tenant: Option<&TenantId>,
) -> Result<HashMap<TenantId, Arc<PolicySet>>, Failure> {
    let mut sets = HashMap::new();
    if command.policies.is_empty() {
        setting.need_policies()?;
        for of in setting.tenants.iter().filter(|of| tenant.is_none_or(|tenant| *tenant == of.id)) {
            sets.insert(of.id.clone(), Arc::new(setting.lenient(of, None)?));
        }
        if let (true, Some(tenant)) = (sets.is_empty(), tenant) {
            setting.tenant(tenant)?;
        }
        return Ok(sets);
    }
    let of = match (tenant, &setting.tenants[..]) {
        (Some(tenant), _) => setting.tenant(tenant)?,
        (None, [only]) => only,
        (None, _) => {
            let text = "--policies are those of one tenant: say which with --tenant";
            return Err(Failure::usage(text));
        }
    };
    let mut own = Vec::new();
    for path in &command.policies {
        read(path, FOLDERS_DEEP_MAX, &mut own)?;
    }
    let set = candidate(setting, of, own)?;
    sets.insert(of.id.clone(), Arc::new(set));
    Ok(sets)
}

/// Compiles a candidate, and shows what is found of it.
fn candidate(setting: &Setting, of: &Tenant, own: Vec<Source>) -> Result<PolicySet, Failure> {
    let sources = Sources { tenant: own, ..of.sources.clone() };
    let compiled = PolicySet::compile(&sources, &of.known, setting.environment.as_deref(), Mode::New);
    let (set, findings) = match compiled {
        Ok((set, findings)) => (Some(set), findings),
        Err(findings) => (None, findings),
    };
    let err = Printer::new(To::Err);
    for finding in findings {
        let text = safe(&finding.to_string());
        err.line(if finding.level == Level::Error { err.red(&text) } else { text });
    }
    set.ok_or_else(|| Failure::config("the candidate policies cannot be used".to_owned()))
}

/// All policies of a folder, in the order of their names.
pub(crate) fn read_policies(folder: &Path) -> Result<Vec<Source>, Failure> {
    let mut found = Vec::new();
    read(folder, FOLDERS_DEEP_MAX, &mut found)?;
    Ok(found)
}

/// Reads a file of policies, or all of a folder in the order of their names.
fn read(path: &Path, deep: usize, sources: &mut Vec<Source>) -> Result<(), Failure> {
    let failed =
        |error: std::io::Error| Failure::usage(format!("{} cannot be read: {error}", path.display()));
    if !path.is_dir() {
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let shown = path.display().to_string();
        let shown = shown.strip_prefix("./").unwrap_or(&shown);
        sources.push(Source { path: Arc::from(shown), text: Arc::from(text) });
        return Ok(());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        names.push(entry.map_err(failed)?.path());
    }
    names.sort();
    for path in names {
        let is_hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        let is_policy = path.extension().is_some_and(|ending| ending == ENDING);
        if !is_hidden && (is_policy || (path.is_dir() && deep > 0)) {
            read(&path, deep.saturating_sub(1), sources)?;
        }
    }
    Ok(())
}

/// The folder of the ledger, and what opens the records in it.
fn ledger(command: &PolicySimulate) -> Result<(Vault, PathBuf), Failure> {
    let config = read_config(&command.basis.config)?;
    let folder = match (&command.dir, &command.basis.data_dir) {
        (Some(dir), _) => dir.clone(),
        (None, Some(data)) => data.join(LEDGER),
        (None, None) => config.data_dir.join(LEDGER),
    };
    Ok((vault(&config, &folder)?, folder))
}

/// What opens the records in a ledger's folder.
pub(crate) fn vault(config: &Config, folder: &Path) -> Result<Vault, Failure> {
    if !folder.is_dir() {
        return Err(Failure::usage(format!("there is no record: {} is no folder", folder.display())));
    }
    let given = config.ledger.as_ref().and_then(|settings| settings.encryption_key.as_ref());
    Vault::of_ledger(folder, given).map_err(|error| {
        Failure::failed(format!(
            "the record can only be read with the key that it was written under: {error}"
        ))
    })
}

/// All segments that may hold anything since then.
fn places(folder: &Path, since: Timestamp) -> Result<Vec<Place>, Failure> {
    let failed = |error: String| Failure::failed(format!("{}: {error}", folder.display()));
    let mut places = Vec::new();
    for writer in writers(folder).map_err(|error| failed(error.to_string()))? {
        let segments = Reader::new(&writer).segments().map_err(|error| failed(error.to_string()))?;
        // The last one that begins before is the first that matters.
        let is_early = |segment: &&u64| began(&writer, **segment).is_some_and(|began| began < since);
        let first = segments.iter().rposition(|segment| is_early(&segment)).unwrap_or(0);
        let segments = segments.into_iter().skip(first);
        places.extend(segments.map(|segment| Place { folder: writer.clone(), segment }));
    }
    Ok(places)
}

fn began(writer: &Path, segment: u64) -> Option<Timestamp> {
    let first = Reader::at(writer, segment, 0).ok()?.next_entry().ok()??;
    first.entry().ok().map(|entry| Timestamp::from_ms(entry.time_ms))
}

/// What a living gateway puts again: by these policies, the latest of what is on record.
pub(crate) struct Latest {
    /// What decides, by tenant.
    pub(crate) sets: HashMap<TenantId, Arc<PolicySet>>,
    /// Since when.
    pub(crate) since: Timestamp,
    /// How long it may take.
    pub(crate) takes_max: Duration,
    /// How many decisions are looked at.
    pub(crate) most: u64,
    /// How many examples are shown of each kind.
    pub(crate) examples: usize,
}

/// Decides the latest of what is on record again, on this one thread.
///
/// # Errors
/// What cannot be read.
pub(crate) fn latest(vault: &Vault, folder: &Path, latest: Latest) -> Result<Simulated, Failure> {
    let Latest { sets, since, takes_max, most, examples } = latest;
    let mut places = places(folder, since)?;
    // The newest are looked at first, as there may be no time for all.
    places.reverse();
    let bound = Bound { until: Some(Instant::now() + takes_max), most: Some(most), ..Bound::default() };
    let until = Timestamp::from_ms(u64::MAX);
    let simulation = Simulation { vault, sets, tenant: None, since, until, examples, bound };
    let tally = simulation.run(&places, 1)?;
    Ok(report::shown(&tally, simulation.bound.is_over()))
}

impl Simulation<'_> {
    /// Decides everything again, on so many cores: segments stand alone.
    fn run(&self, places: &[Place], cores: usize) -> Result<Tally, Failure> {
        let next = AtomicUsize::new(0);
        let work = || -> Result<Tally, Failure> {
            let mut tally = Tally::new(self.examples);
            while let Some(place) =
                places.get(next.fetch_add(1, Ordering::Relaxed)).filter(|_| !self.bound.is_over())
            {
                self.segment(place, &mut tally)?;
            }
            Ok(tally)
        };
        let tallies: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
            let gone = |_| Err(Failure::failed("a thread has ended before its work was done".to_owned()));
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(gone)).collect()
        });
        let mut all = Tally::new(self.examples);
        for tally in tallies {
            all.add(tally?);
        }
        all.finish();
        Ok(all)
    }

    fn segment(&self, place: &Place, tally: &mut Tally) -> Result<(), Failure> {
        let failed = |error: ReadError| Failure::failed(error.to_string());
        let mut reader = Reader::at(&place.folder, place.segment, 0).map_err(failed)?;
        let mut names = Names::default();
        loop {
            match reader.next_entry() {
                Ok(Some(read)) if read.segment == place.segment && !self.bound.is_over() => {
                    self.entry(&read, &mut names, tally);
                }
                Ok(_) => return Ok(()),
                Err(ReadError::NoLine { .. }) => tally.damaged += 1,
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn entry(&self, read: &Read, names: &mut Names, tally: &mut Tally) {
        names.learn(read);
        if !is_decided(&read.json) {
            return;
        }
        let Ok(entry) = read.entry() else {
            tally.damaged += 1;
            return;
        };
        let Some(decision) = entry.decision.as_ref().filter(|_| entry.of.is_none()) else { return };
        let at = Timestamp::from_ms(decision.at_ms);
        if at < self.since || at >= self.until {
            return;
        }
        let tenant = TenantId::new(entry.tenant.as_deref().unwrap_or_default());
        // What is of no tenant that is asked about is not looked at, where only some are.
        if self.tenant.as_ref().is_some_and(|wanted| *wanted != tenant) {
            return;
        }
        if self.bound.most.is_some() && (!self.sets.contains_key(&tenant) || !self.bound.takes()) {
            return;
        }
        let set = self.sets.get(&tenant).map(|set| &**set);
        recorded::again(self.vault, set, names, (read, &entry, decision), &tenant, tally);
    }
}
