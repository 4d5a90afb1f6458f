//! Notices that a configuration, or a file that it refers to, has changed.
//!
//! Editors replace files, and Kubernetes swaps a symbolic link beside them, so folders are watched rather than files;
//! and what counts is whether a file is another one than before, not what the system tells of it. File systems that tell
//! nothing are looked at from time to time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

/// How long it has to be quiet before a change counts: editors write in several steps.
const QUIET: Duration = Duration::from_millis(150);
/// After how long a change counts although it is never quiet.
const UNREST_MAX: Duration = Duration::from_secs(2);
/// How often files are looked at when nothing is told of them.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Watches a configuration file and the files that it refers to. At most one change waits to be noticed.
#[derive(Debug)]
pub struct Watcher {
    main: PathBuf,
    /// The files and what each was when it was last looked at.
    files: BTreeMap<PathBuf, Option<Print>>,
    folders: BTreeSet<PathBuf>,
    /// `None` where the system cannot watch (no more watches left, for one): then only looking helps.
    system: Option<RecommendedWatcher>,
    told: mpsc::Receiver<()>,
    /// Keeps `told` open where there is no system watcher.
    _teller: mpsc::Sender<()>,
}

/// What makes a file the same as before.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Print {
    target: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: u64,
}

impl Watcher {
    /// Watches a configuration file. Begin before it is read, so that no change falls between.
    pub fn new(file: &Path) -> Self {
        let (teller, told) = mpsc::channel(1);
        let tell = teller.clone();
        let system = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| is_change(event.kind)) {
                // When one change waits already, this one is part of it.
                let _ = tell.try_send(());
            }
        });
        let mut watcher = Self {
            main: std::path::absolute(file).unwrap_or_else(|_| file.to_owned()),
            files: BTreeMap::new(),
            folders: BTreeSet::new(),
            system: system.ok(),
            told,
            _teller: teller,
        };
        watcher.follow(&[]);
        watcher
    }

    /// From now on watches these files beside the configuration itself, and no others. Files that do not exist (yet) may
    /// be among them. Says whether a file was not watched before: what was read of it until now may be old already.
    pub fn follow(&mut self, files: &[PathBuf]) -> bool {
        let wanted: BTreeSet<PathBuf> = files.iter().chain([&self.main]).cloned().collect();
        self.files.retain(|file, _| wanted.contains(file));
        let known = self.files.len();
        for file in wanted {
            self.files.entry(file).or_insert_with_key(|file| print(file));
        }
        self.watch_folders();
        self.files.len() > known
    }

    /// Waits until one of the files is another than before. May be dropped and called again without losing a change.
    pub async fn changed(&mut self) {
        loop {
            if timeout(LOOK_EVERY, self.told.recv()).await.is_ok() {
                let latest = Instant::now() + UNREST_MAX;
                while let Ok(Some(())) =
                    timeout_at(latest.min(Instant::now() + QUIET), self.told.recv()).await
                {
                    if Instant::now() >= latest {
                        break;
                    }
                }
            }
            if self.look() {
                self.watch_folders();
                return;
            }
        }
    }

    /// Whether a file is another than at the last look.
    fn look(&mut self) -> bool {
        let mut changed = false;
        for (file, before) in &mut self.files {
            let now = print(file);
            changed |= *before != now;
            *before = now;
        }
        changed
    }

    /// Watches the folder of each file, and that of what it points to. A folder that is watched itself counts as one of its
    /// files too.
    fn watch_folders(&mut self) {
        let Some(system) = &mut self.system else { return };
        let targets = self.files.values().filter_map(|print| Some(&print.as_ref()?.target));
        let wanted: BTreeSet<PathBuf> =
            self.files.keys().chain(targets).flat_map(|file| existing_folders(file)).collect();
        for gone in self.folders.difference(&wanted) {
            // It may be gone itself.
            let _ = system.unwatch(gone);
        }
        // A folder that cannot be watched is still looked at from time to time.
        self.folders.retain(|folder| wanted.contains(folder));
        for folder in wanted {
            if !self.folders.contains(&folder) && system.watch(&folder, RecursiveMode::NonRecursive).is_ok() {
                self.folders.insert(folder);
            }
        }
    }
}

/// The nearest folder above a file that exists, and what is watched itself if it is a folder.
fn existing_folders(file: &Path) -> impl Iterator<Item = PathBuf> {
    let above = file.ancestors().skip(1).find(|folder| folder.is_dir());
    above.into_iter().chain(file.is_dir().then_some(file)).map(ToOwned::to_owned)
}

fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

fn print(file: &Path) -> Option<Print> {
    let metadata = fs::metadata(file).ok()?;
    Some(Print {
        target: fs::canonicalize(file).ok()?,
        bytes: metadata.len(),
        modified: metadata.modified().ok(),
        #[cfg(unix)]
        inode: std::os::unix::fs::MetadataExt::ino(&metadata),
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    async fn noticed(watcher: &mut Watcher) -> bool {
        timeout(Duration::from_secs(5), watcher.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn notices_edits_replacements_and_swapped_links() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("v1")).expect("v1");
        fs::create_dir(at("v2")).expect("v2");
        fs::write(at("v1/secret"), "one").expect("write");
        fs::write(at("v2/secret"), "two").expect("write");
        std::os::unix::fs::symlink("v1", at("..data")).expect("link");
        std::os::unix::fs::symlink("..data/secret", at("secret")).expect("link");
        fs::write(at("tollgate.yaml"), "a").expect("write");

        let mut watcher = Watcher::new(&at("tollgate.yaml"));
        watcher.follow(&[at("secret"), at("later/secret")]);
        fs::write(at("tollgate.yaml"), "ab").expect("write");
        assert!(noticed(&mut watcher).await, "an edit");

        fs::write(at("new"), "abc").expect("write");
        fs::rename(at("new"), at("tollgate.yaml")).expect("rename");
        assert!(noticed(&mut watcher).await, "a replacement");

        std::os::unix::fs::symlink("v2", at("..new")).expect("link");
        fs::rename(at("..new"), at("..data")).expect("rename");
        assert!(noticed(&mut watcher).await, "a swapped link");

        fs::create_dir(at("later")).expect("later");
        fs::write(at("later/secret"), "x").expect("write");
        assert!(noticed(&mut watcher).await, "a file that was missing");

        fs::create_dir(at("policies")).expect("policies");
        watcher.follow(&[at("policies")]);
        fs::write(at("policies/new.cedar"), "x").expect("write");
        assert!(noticed(&mut watcher).await, "a file that came into a folder");
    }

    #[tokio::test]
    async fn other_files_and_mere_reading_are_no_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tollgate.yaml");
        fs::write(&file, "a").expect("write");
        let mut watcher = Watcher::new(&file);
        fs::write(folder.path().join("other"), "x").expect("write");
        fs::read(&file).expect("read");
        assert!(timeout(Duration::from_millis(600), watcher.changed()).await.is_err());
    }
}
