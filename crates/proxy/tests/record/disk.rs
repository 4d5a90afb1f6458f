//! A disk that stops, and goes on.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const BYTES: u64 = 32 * 1024 * 1024;

/// A small disk of its own, if this user may have one, and this kernel has disks in files.
pub(crate) struct Disk {
    folder: tempfile::TempDir,
    _image: tempfile::NamedTempFile,
}

fn run(program: &str, arguments: &[&str], path: &Path) -> bool {
    let done = Command::new(program).args(arguments).arg(path).output();
    done.is_ok_and(|output| output.status.success())
}

impl Disk {
    pub(crate) fn new() -> Option<Self> {
        if !Path::new("/dev/loop-control").exists() {
            return None;
        }
        let (folder, image) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        image.as_file().set_len(BYTES).unwrap();
        let file = image.path().to_str().unwrap();
        let is_mounted = run("mkfs.ext4", &["-q", "-F"], image.path())
            && run("mount", &["-o", "loop", file], folder.path());
        if !is_mounted {
            let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
            assert!(!is_root, "root may mount a file");
            return None;
        }
        Some(Self { folder, _image: image })
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("ledger")
    }

    /// From here on nothing that is written comes back.
    pub(crate) fn freeze(&self) {
        assert!(run("fsfreeze", &["--freeze"], self.folder.path()), "the disk can be frozen");
    }

    pub(crate) fn thaw(&self) {
        assert!(run("fsfreeze", &["--unfreeze"], self.folder.path()), "the disk can be thawed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run("fsfreeze", &["--unfreeze"], self.folder.path());
        let _ = run("umount", &["-l"], self.folder.path());
    }
}
