//! A file, one entry a line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use rustix::fs::{FlockOperation, flock};
use tollgate_model::Timestamp;

use super::settings::{FileSettings, Format};
use super::target::{Batch, Failure, Sent, Target};

/// Appends to a file, and lets it be moved away. Each batch is written under a lock on the file, so that several gateways may
/// write to one.
#[derive(Debug)]
pub(super) struct JsonLines {
    settings: Arc<FileSettings>,
    format: Format,
}

impl JsonLines {
    pub(super) fn new(settings: FileSettings, format: Format) -> Self {
        Self { settings: Arc::new(settings), format }
    }
}

#[async_trait]
impl Target for JsonLines {
    async fn send(&mut self, batch: &Batch<'_>) -> Result<Sent, Failure> {
        let mut text = Vec::new();
        for record in batch.records {
            batch.write(self.format, record, &mut text);
            text.push(b'\n');
        }
        let settings = Arc::clone(&self.settings);
        let written = tokio::task::spawn_blocking(move || append(&settings, &text)).await;
        written.unwrap_or_else(|error| Err(Failure::unclear(error.to_string()))).map(|()| Sent::default())
    }
}

fn append(settings: &FileSettings, text: &[u8]) -> Result<(), Failure> {
    let path = settings.path.display();
    let failed = |error: io::Error| Failure::before(format!("{path} cannot be written: {error}"));
    let mut file = locked(settings).map_err(failed)?;
    let mut before = whole_lines(&file).map_err(failed)?;
    if settings.rotate_bytes > 0 && before > 0 && before + text.len() as u64 > settings.rotate_bytes {
        rotate(settings).map_err(failed)?;
        file = locked(settings).map_err(failed)?;
        before = whole_lines(&file).map_err(failed)?;
    }
    if let Err(error) = file.write_all(text) {
        // What is only half there is taken back: readers see whole lines.
        return Err(match file.set_len(before) {
            Ok(()) => failed(error),
            Err(_) => Failure::unclear(failed(error).reason),
        });
    }
    file.sync_data().map_err(|error| Failure::unclear(failed(error).reason))
}

/// The file under its name, locked. One that was moved away or removed is left, and begun anew.
fn locked(settings: &FileSettings) -> io::Result<File> {
    loop {
        let file =
            OpenOptions::new().append(true).read(true).create(true).mode(0o600).open(&settings.path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        let (ours, named) = (file.metadata()?, std::fs::metadata(&settings.path));
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())) {
            return Ok(file);
        }
    }
}

/// The length of a file in whole lines. What a crash left half written is cut off: it is sent again.
fn whole_lines(file: &File) -> io::Result<u64> {
    use std::os::unix::fs::FileExt as _;
    let metadata = file.metadata()?;
    let length = metadata.len();
    if !metadata.is_file() {
        return Ok(length);
    }
    let mut end = length;
    let mut piece = [0; 4096];
    while end > 0 {
        let begin = end.saturating_sub(piece.len() as u64);
        let size = usize::try_from(end - begin).unwrap_or(piece.len());
        file.read_exact_at(&mut piece[..size], begin)?;
        if let Some(last) = piece[..size].iter().rposition(|byte| *byte == b'\n') {
            end = begin + last as u64 + 1;
            break;
        }
        end = begin;
    }
    if end < length {
        file.set_len(end)?;
    }
    Ok(end)
}

/// Moves the file away, and removes the oldest of those that were.
fn rotate(settings: &FileSettings) -> io::Result<()> {
    let name = |end: &str| {
        let mut name = settings.path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let mut time = Timestamp::now().as_ms();
    while name(&format!(".{time:013}")).exists() {
        time += 1;
    }
    std::fs::rename(&settings.path, name(&format!(".{time:013}")))?;
    if settings.keep_files == 0 {
        return Ok(());
    }
    let folder = match settings.path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => std::path::Path::new("."),
    };
    let own = settings.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut moved: Vec<PathBuf> = std::fs::read_dir(folder)?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name();
            let time = name.to_str()?.strip_prefix(&own)?.strip_prefix('.')?;
            (time.len() == 13 && time.bytes().all(|byte| byte.is_ascii_digit())).then(|| entry.path())
        })
        .collect();
    moved.sort();
    let old = moved.len().saturating_sub(settings.keep_files);
    moved.iter().take(old).try_for_each(std::fs::remove_file)
}
