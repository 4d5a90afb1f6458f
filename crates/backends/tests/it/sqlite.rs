//! SQLite passes the suite, and keeps its file to itself.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tollgate_backends::{Bounds, Place, open};
use tollgate_store::{Store, StoreError, suite};

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn place(&self) -> Place {
        Place::File(self.0.path().join("state/tollgate.db"))
    }
}

impl suite::Place for Folder {
    fn open(&self, feed_max: usize) -> Arc<dyn Store> {
        // Longer than anything here should take, however many tests run at once.
        let call_max = Duration::from_secs(30);
        open(&self.place(), Bounds { feed_max, call_max, ..Bounds::default() }).expect("a place")
    }
}

tollgate_store::suite!(Folder::new());

#[tokio::test]
async fn only_the_owner_may_look_into_it() {
    let folder = Folder::new();
    let store = open(&folder.place(), Bounds::default()).expect("a place");
    let state = folder.0.path().join("state");
    assert!(!state.exists(), "nothing is made before something is asked");
    store.add_key(suite::key("a")).await.expect("added");
    let mode = |path: &std::path::Path| path.metadata().expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    let files: Vec<_> =
        std::fs::read_dir(&state).expect("a folder").map(|file| file.expect("a file").path()).collect();
    assert!(files.len() > 1, "a write-ahead log beside it: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn what_is_no_database_is_told() {
    let folder = Folder::new();
    std::fs::create_dir(folder.0.path().join("state")).expect("a folder");
    std::fs::write(folder.0.path().join("state/tollgate.db"), "this is no database at all".repeat(100))
        .expect("a file");
    let store = open(&folder.place(), Bounds::default()).expect("a place");
    let error = store.prepare().await.expect_err("it cannot be used");
    assert!(matches!(error, StoreError::Broken(_)), "{error}");
    let unreachable = Place::File("/proc/tollgate/tollgate.db".into());
    let store = open(&unreachable, Bounds::default()).expect("a place");
    assert!(matches!(store.head().await, Err(StoreError::Broken(_))));
}

#[tokio::test]
async fn another_file_in_its_place_is_noticed_and_none_is_no_empty_one() {
    let (folder, backup) = (Folder::new(), Folder::new());
    let file = |folder: &Folder| folder.0.path().join("state/tollgate.db");
    let store = open(&folder.place(), Bounds::default()).expect("a place");
    store.add_key(suite::key("old")).await.expect("added");
    let before = store.head().await.expect("a place in the feed");
    {
        let store = open(&backup.place(), Bounds::default()).expect("a place");
        store.add_key(suite::key("restored")).await.expect("added");
    }
    let moved = folder.0.path().join("moved.db");
    std::fs::rename(file(&folder), &moved).expect("moved away");
    let error = store.head().await.expect_err("there is none");
    assert!(error.is_away(), "{error}");
    assert!(!file(&folder).exists(), "an empty one would say that nothing is revoked");

    for end in ["-wal", "-shm"] {
        let beside = folder.0.path().join(format!("state/tollgate.db{end}"));
        _ = std::fs::remove_file(beside);
        let from = backup.0.path().join(format!("state/tollgate.db{end}"));
        if from.exists() {
            std::fs::rename(from, folder.0.path().join(format!("state/tollgate.db{end}"))).expect("moved");
        }
    }
    std::fs::rename(file(&backup), file(&folder)).expect("restored");
    assert!(store.key(&suite::key("old").id).await.expect("an answer").is_none());
    assert!(store.key(&suite::key("restored").id).await.expect("an answer").is_some());
    let lost = store.changes(before, 10).await.expect("an answer");
    assert!(matches!(lost, tollgate_store::Changes::Lost), "{lost:?}");
}
