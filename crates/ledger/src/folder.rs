//! The folder of a writer: one process at a time has it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};
use tollgate_model::Timestamp;

use crate::CallId;
use crate::keys::{KeyError, make_folder};
use crate::reader::SEGMENTS;

/// The file whose lock says that a folder is in use.
const LOCK: &str = "lock";

/// The folder of a writer, which is no other process's as long as this is kept.
#[derive(Debug)]
pub(crate) struct OwnFolder {
    pub(crate) path: PathBuf,
    pub(crate) writer: String,
    lock: Mutex<Option<File>>,
}

impl OwnFolder {
    /// Lets other processes have it.
    pub(crate) fn release(&self) {
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Every folder below `root` that no process has now, the oldest first.
    pub(crate) fn all_left(root: &Path) -> Result<Vec<Self>, KeyError> {
        let failed = |error| KeyError::Io { path: root.to_owned(), error };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.parse::<CallId>().is_ok() && entry.path().join(LOCK).exists() {
                names.push(name);
            }
        }
        names.sort_unstable();
        let mut left = Vec::new();
        for name in names {
            left.extend(Self::take(root, &name, false)?);
        }
        Ok(left)
    }

    /// A new one.
    pub(crate) fn new(root: &Path) -> Result<Self, KeyError> {
        loop {
            // Another process may find it before its lock is taken.
            let name = CallId::new(Timestamp::now()).to_string();
            make_folder(&root.join(&name).join(SEGMENTS))?;
            if let Some(own) = Self::take(root, &name, true)? {
                return Ok(own);
            }
        }
    }

    /// Takes a folder; none if another process has it.
    fn take(root: &Path, writer: &str, is_new: bool) -> Result<Option<Self>, KeyError> {
        let path = root.join(writer);
        let lock = path.join(LOCK);
        let failed = |error| KeyError::Io { path: lock.clone(), error };
        let file = OpenOptions::new().write(true).create(is_new).mode(0o600).open(&lock).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { path, writer: writer.to_owned(), lock: Mutex::new(Some(file)) })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(failed(io::Error::from(error))),
        }
    }
}
