//! Names behind references, and payloads behind commitments.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Ledger;
use crate::line::Line;
use crate::reader::{Read, ReadError, Reader};

/// How many names are remembered.
const NAMES_MAX: usize = 20_000;
/// How long they are: a name that is erased is forgotten here within this time too.
const REMEMBERED: Duration = Duration::from_mins(5);

/// Opens sealed records. None where they cannot be opened: erased, or sealed under another key.
pub trait Unseal: Send + Sync + fmt::Debug {
    /// The text behind a reference of a tenant's.
    fn name(&self, tenant: &str, reference: &[u8], sealed: &[u8]) -> Option<String>;
    /// A payload of a tenant's entry: its result, or else its arguments.
    fn payload(&self, tenant: &str, is_result: bool, sealed: &[u8]) -> Option<Vec<u8>>;
}

impl Unseal for Ledger {
    fn name(&self, tenant: &str, reference: &[u8], sealed: &[u8]) -> Option<String> {
        let name = self.vault()?.open_name(tenant, std::str::from_utf8(reference).ok()?, sealed)?;
        Some(match name.text {
            serde_json::Value::String(text) => text,
            // A principal is an object.
            other => other.to_string(),
        })
    }

    fn payload(&self, tenant: &str, is_result: bool, sealed: &[u8]) -> Option<Vec<u8>> {
        Some(self.vault()?.open_payload(tenant, is_result, sealed)?.bytes)
    }
}

/// A tenant, and a reference of it.
pub(super) type Wanted = (Arc<str>, Box<str>);

/// Finds names. In a segment each stands beside the first entry that uses it.
#[derive(Debug)]
pub(super) struct Names {
    unseal: Arc<dyn Unseal>,
    known: HashMap<Wanted, Option<Arc<str>>>,
    since: Instant,
}

impl Names {
    pub(super) fn new(unseal: Arc<dyn Unseal>) -> Self {
        Self { unseal, known: HashMap::new(), since: Instant::now() }
    }

    /// Opens the payloads beside an entry: its arguments, and its result.
    pub(super) fn payloads(&self, tenant: &str, read: &Read) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let mut found = (None, None);
        for line in read.beside() {
            if let Line::Payload { is_result, sealed } = line
                && !Line::is_erased(sealed)
            {
                let place = if is_result { &mut found.1 } else { &mut found.0 };
                *place = self.unseal.payload(tenant, is_result, sealed);
            }
        }
        found
    }

    /// Remembers the names that stand beside an entry.
    pub(super) fn learn(&mut self, tenant: &str, read: &Read) {
        if self.known.len() >= NAMES_MAX || self.since.elapsed() > REMEMBERED {
            self.known.clear();
            self.since = Instant::now();
        }
        for line in read.beside() {
            if let Line::Name { reference, sealed } = line {
                self.open(tenant, reference, sealed);
            }
        }
    }

    /// What is known of a reference.
    pub(super) fn known(&self, tenant: &str, reference: &str) -> Option<&Option<Arc<str>>> {
        self.known.get(&(Arc::from(tenant), Box::from(reference)))
    }

    /// Reads a segment from its begin up to an offset, for references of which nothing is known. What is found nowhere is
    /// remembered as having no name.
    pub(super) fn search(
        &mut self,
        folder: &Path,
        (segment, end): (u64, u64),
        wanted: HashSet<Wanted>,
    ) -> Result<(), ReadError> {
        let mut left = wanted;
        let mut reader = Reader::at(folder, segment, 0)?;
        while !left.is_empty()
            && let Some(read) = reader.next_entry()?
            && (read.segment, read.offset) < (segment, end)
        {
            if read.side_lines.is_empty() {
                continue;
            }
            let Ok(entry) = read.entry() else { continue };
            let tenant: Arc<str> = entry.tenant.as_deref().unwrap_or_default().into();
            for line in read.beside() {
                let Line::Name { reference, sealed } = line else { continue };
                let Ok(text) = std::str::from_utf8(reference) else { continue };
                if left.remove(&(Arc::clone(&tenant), Box::from(text))) {
                    self.open(&tenant, reference, sealed);
                }
            }
        }
        for nowhere in left {
            self.known.insert(nowhere, None);
        }
        Ok(())
    }

    fn open(&mut self, tenant: &str, reference: &[u8], sealed: &[u8]) {
        let Ok(text) = std::str::from_utf8(reference) else { return };
        let key = (Arc::from(tenant), Box::from(text));
        if Line::is_erased(sealed) {
            self.known.insert(key, None);
        } else if !matches!(self.known.get(&key), Some(Some(_))) {
            let name = self.unseal.name(tenant, reference, sealed).map(Arc::from);
            self.known.insert(key, name);
        }
    }
}
