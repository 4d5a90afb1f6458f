//! What is on record of calls, by the names of their tools.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tollgate_ledger::{Kind, Outcome, Reader};

/// What is on record, of all writers.
#[derive(Debug, Default)]
pub struct Book {
    /// By the server's name of the tool: which entries of which writer.
    pub intents: HashMap<String, Vec<(PathBuf, u64)>>,
    /// By the intent.
    pub outcomes: HashMap<(PathBuf, u64), Outcome>,
}

impl Book {
    /// Reads a ledger's folder.
    pub fn read(ledger: &Path) -> Self {
        let mut book = Self::default();
        for writer in std::fs::read_dir(ledger).unwrap() {
            let writer = writer.unwrap().path();
            if writer.is_dir() {
                book.take(&writer);
            }
        }
        book
    }

    fn take(&mut self, writer: &Path) {
        let mut reader = Reader::new(writer);
        while let Some(read) = reader.next_entry().expect("the record can be read") {
            let entry = read.entry().expect("an entry");
            match (entry.kind, entry.native_name, entry.of, entry.outcome) {
                (Kind::Intent, Some(native), ..) => {
                    let intent = (writer.to_owned(), entry.seq);
                    self.intents.entry(native.into_owned()).or_default().push(intent);
                }
                (Kind::Outcome, _, Some(of), Some(outcome)) => {
                    self.outcomes.insert((writer.to_owned(), of), outcome);
                }
                _ => {}
            }
        }
    }
}
