//! Makes batches for the index of the entries of one writer.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use tollgate_model::Timestamp;
use tollgate_store::{
    AuditBatch, AuditName, AuditRow, BLOCK_ROWS_MAX, FindingRow, Followed, Place, UsageKey, UsageRow,
    UsageSum,
};

use super::Prices;
use super::entry::{Found, Indexed, Word};
use super::prices::Consumed;
use super::read;
use crate::export::Unseal;
use crate::{Line, Read, ReadError, Reader};

/// How many entries a batch is made of, at most: about as many rows as a whole block has, so that under load few are written
/// twice.
const ENTRIES_MAX: usize = 2 * BLOCK_ROWS_MAX;
/// How many bytes of entries and records beside them.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// How many texts are kept at hand.
const TEXTS_MAX: usize = 20_000;
/// How many texts of a row are remembered by their field: those of [`Gatherer::complete`].
const FIELDS: usize = 14;
const DAY_MS: u64 = 86_400_000;

/// The entries of one writer, and what is known of them so far.
#[derive(Debug)]
pub(super) struct Gatherer {
    writer: Arc<str>,
    reader: Reader,
    /// Up to where they are in the index.
    at: Option<Followed>,
    /// Intents without outcome.
    open: HashMap<u64, AuditRow>,
    texts: Texts,
}

/// Texts that come again and again.
#[derive(Debug, Default)]
struct Texts {
    known: HashSet<Arc<str>>,
    /// What each field of an entry said last: mostly it says the same again.
    last: [Option<Arc<str>>; FIELDS],
    /// Which policies decided last.
    policies: Vec<Arc<str>>,
}

impl Texts {
    /// The text, shared with all that have it.
    fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return Arc::clone(known);
        }
        if self.known.len() >= TEXTS_MAX {
            self.known.clear();
        }
        let text: Arc<str> = text.into();
        self.known.insert(Arc::clone(&text));
        text
    }

    /// The same for the text of a field.
    fn of_field(&mut self, field: usize, text: &str) -> Arc<str> {
        if let Some(last) = self.last[field].as_ref().filter(|last| ***last == *text) {
            return Arc::clone(last);
        }
        let text = self.get(text);
        self.last[field] = Some(Arc::clone(&text));
        text
    }

    /// The same for policies.
    fn of_policies(&mut self, policies: &[Word<'_>]) -> Vec<Arc<str>> {
        if !self.policies.iter().map(|text| &**text).eq(policies.iter().map(|policy| &*policy.0)) {
            self.policies = policies.iter().map(|policy| self.get(&policy.0)).collect();
        }
        self.policies.clone()
    }
}

/// What comes next of a writer.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing yet.
    Nothing,
    /// A batch, and whether there may be more already.
    Batch(Box<AuditBatch>, bool),
    /// What is there does not follow what is in the index, which has to be made again.
    Astray,
}

impl Gatherer {
    /// Goes on where the index is. `open`: the intents that it knows without outcome.
    pub(super) fn new(
        folder: &Path,
        writer: Arc<str>,
        at: Option<Followed>,
        open: Vec<AuditRow>,
    ) -> Result<Self, ReadError> {
        let reader = match at {
            Some(at) if at.segment > 0 => Reader::at(folder, at.segment, at.offset)?,
            _ => Reader::new(folder),
        };
        let open = open.into_iter().map(|row| (row.begin.seq, row)).collect();
        Ok(Self { writer, reader, at, open, texts: Texts::default() })
    }

    /// The number of the last entry that is in the index.
    pub(super) fn seq(&self) -> u64 {
        self.at.map_or(0, |at| at.seq)
    }

    /// Reads on, up to the entry `upto`: what is behind it may yet be taken back. What it gives has to come into the index before
    /// it is asked again.
    pub(super) fn next(
        &mut self,
        upto: u64,
        names: Option<&dyn Unseal>,
        prices: &Prices,
    ) -> Result<Next, ReadError> {
        let before = self.at.unwrap_or_default();
        let mut batch = AuditBatch {
            writer: Arc::clone(&self.writer),
            after: self.at,
            upto: before,
            ..AuditBatch::default()
        };
        let mut used: HashMap<UsageKey, UsageSum> = HashMap::new();
        let mut opened = HashSet::new();
        let (mut count, mut bytes) = (0, 0);
        while count < ENTRIES_MAX && bytes < BYTES_MAX {
            let read = match self.reader.next_entry() {
                Ok(Some(read)) => read,
                // What cannot be read is found by `verify`. The index has what can be.
                Err(ReadError::NoLine { path, offset }) => {
                    tracing::warn!(path = %path.display(), offset, "a line of the ledger cannot be read; it is not indexed");
                    continue;
                }
                Err(error @ ReadError::Io { .. }) if count == 0 => return Err(error),
                Ok(None) | Err(ReadError::Io { .. }) => break,
            };
            // Looked through for what is no text once, and not word by word.
            let json = std::str::from_utf8(&read.json).unwrap_or_default();
            let entry = read::indexed(json);
            if entry.as_ref().is_ok_and(|entry| entry.seq > upto) {
                self.reader.give_back(&read)?;
                break;
            }
            count += 1;
            bytes += read.json.len() + read.side_lines.len();
            let is_next = count == 1 && read.segment == before.segment;
            (batch.upto.segment, batch.upto.offset) = (read.segment, read.next);
            let Ok(entry) = entry else {
                tracing::warn!(writer = %self.writer, segment = read.segment, offset = read.offset,
                    "an entry of the ledger says nothing that is known; it is not indexed");
                continue;
            };
            // After a loss of power the chain may have gone on from an earlier place than the index knows.
            if entry.seq <= before.seq || (is_next && before.seq > 0 && entry.seq != before.seq + 1) {
                return Ok(Next::Astray);
            }
            batch.upto.seq = entry.seq;
            self.name(&read, &entry, names, &mut batch.names);
            let row = self.row(&read, &entry, &mut opened, &mut batch.closed);
            self.found(&entry, row.as_ref(), &mut batch.findings);
            let Some(row) = row else { continue };
            if row.end_seq().is_some_and(|end| end > before.used) {
                add(&row, prices, &mut used);
            }
            batch.rows.push(row);
        }
        if count == 0 {
            return Ok(Next::Nothing);
        }
        batch.upto.used = batch.upto.used.max(batch.upto.seq);
        batch.opened = opened.iter().filter_map(|seq| self.open.get(seq)).cloned().collect();
        batch.opened.sort_by_key(|row| row.begin);
        batch.used = used.into_iter().map(|(key, sum)| UsageRow { key, sum }).collect();
        Ok(Next::Batch(Box::new(batch), count == ENTRIES_MAX || bytes >= BYTES_MAX))
    }

    /// The batch is in the index.
    pub(super) fn took(&mut self, upto: Followed) {
        self.at = Some(upto);
    }

    /// The names behind the references of an entry, where they are beside it.
    fn name(
        &mut self,
        read: &Read,
        entry: &Indexed<'_>,
        names: Option<&dyn Unseal>,
        to: &mut Vec<AuditName>,
    ) {
        let Some(names) = names.filter(|_| !read.side_lines.is_empty()) else { return };
        let tenant = entry.tenant.as_ref().map_or("", |tenant| &*tenant.0);
        for line in read.beside() {
            let Line::Name { reference, sealed, .. } = line else { continue };
            let Ok(reference) = std::str::from_utf8(reference) else { continue };
            let is = |word: &Option<Word<'_>>| word.as_ref().is_some_and(|word| word.0 == reference);
            let kind = match () {
                () if is(&entry.agent) => "agent",
                () if is(&entry.user) => "user",
                () => continue,
            };
            if Line::is_erased(sealed) {
                continue;
            }
            let Some(text) = names.name(tenant, reference.as_bytes(), sealed) else { continue };
            to.push(AuditName {
                reference: self.texts.get(reference),
                kind: self.texts.get(kind),
                tenant: self.texts.get(tenant),
                text: clean(&text).into(),
                seen: Timestamp::from_ms(entry.time_ms),
            });
        }
    }

    /// What an entry makes complete.
    fn row(
        &mut self,
        read: &Read,
        entry: &Indexed<'_>,
        opened: &mut HashSet<u64>,
        closed: &mut Vec<u64>,
    ) -> Option<AuditRow> {
        let place = Place { seq: entry.seq, offset: read.offset };
        match &*entry.kind.0 {
            "segment" | "checkpoint" => None,
            "intent" => {
                let row = self.fresh("call", place, entry);
                opened.insert(entry.seq);
                self.open.insert(entry.seq, row);
                None
            }
            "outcome" => {
                let intent = entry.of.and_then(|of| self.open.remove(&of));
                if let Some(intent) = &intent
                    && !opened.remove(&intent.begin.seq)
                {
                    closed.push(intent.begin.seq);
                }
                // An outcome whose intent is gone, as by retention, stands for itself.
                let mut row = match intent {
                    Some(intent) => intent,
                    None => self.fresh("call", place, entry),
                };
                row.end = Some(place);
                self.complete(&mut row, entry);
                Some(row)
            }
            kind => {
                let row = self.fresh(kind, place, entry);
                Some(AuditRow { end: Some(place), ..row })
            }
        }
    }

    /// What guards found, as an entry says. What it is about stands in the row that it belongs to.
    fn found(&mut self, entry: &Indexed<'_>, row: Option<&AuditRow>, to: &mut Vec<FindingRow>) {
        let found = entry.found();
        let Some(row) = row.or_else(|| self.open.get(&entry.seq)).filter(|_| !found.is_empty()) else {
            return;
        };
        let text =
            |text: &Option<Arc<str>>| text.as_deref().map_or_else(Arc::default, |text| clean(text).into());
        let (tenant, agent, server) = (text(&row.tenant), text(&row.agent), text(&row.server));
        let native = text(&row.native_name);
        for (nth, Found { rule, severity, action, place, item }) in (0..).zip(found) {
            let mut word = |word: Option<Word<'_>>| {
                word.map_or_else(Arc::default, |word| self.texts.get(&clean(&word.0)))
            };
            to.push(FindingRow {
                writer: Arc::clone(&self.writer),
                seq: entry.seq,
                nth,
                time: Timestamp::from_ms(entry.time_ms),
                tenant: Arc::clone(&tenant),
                call: row.call,
                agent: Arc::clone(&agent),
                server: Arc::clone(&server),
                tool: if native.is_empty() { word(item) } else { Arc::clone(&native) },
                rule: word(rule),
                severity: word(severity),
                direction: word(place),
                action: word(action),
            });
        }
    }

    fn fresh(&mut self, kind: &str, place: Place, entry: &Indexed<'_>) -> AuditRow {
        let mut row = AuditRow {
            writer: Arc::clone(&self.writer),
            begin: place,
            time: Timestamp::from_ms(entry.time_ms),
            kind: self.texts.get(kind),
            call: entry.call.map(|call| u128::from_be_bytes(call.to_bytes())),
            step: entry.step,
            element: entry.element,
            ..AuditRow::default()
        };
        self.complete(&mut row, entry);
        row
    }

    /// Adds to a row what an entry says.
    fn complete(&mut self, row: &mut AuditRow, entry: &Indexed<'_>) {
        let fields: [_; FIELDS] = [
            (&mut row.tenant, &entry.tenant),
            (&mut row.agent, &entry.agent),
            (&mut row.user, &entry.user),
            (&mut row.session, &entry.session),
            (&mut row.client, &entry.client),
            (&mut row.method, &entry.method),
            (&mut row.endpoint, &entry.endpoint),
            (&mut row.server, &entry.server),
            (&mut row.public_name, &entry.public_name),
            (&mut row.native_name, &entry.native_name),
            (&mut row.outcome, &entry.outcome),
            (&mut row.code, &entry.code),
            (&mut row.stage, &entry.stage),
            (&mut row.change, &entry.change),
        ];
        for (field, (to, word)) in fields.into_iter().enumerate() {
            // An outcome repeats what its intent says.
            let Some(word) = word.as_ref().filter(|word| to.as_deref() != Some(&*word.0)) else { continue };
            *to = Some(self.texts.of_field(field, &word.0));
        }
        if let Some(decision) = &entry.decision {
            row.policies = self.texts.of_policies(&decision.policies);
        }
        if let Some(trace) = entry.trace.as_ref().and_then(|trace| u128::from_str_radix(&trace.0, 16).ok()) {
            row.trace = Some(trace);
        }
        if let Some(digest) = entry.arguments.as_ref().and_then(|arguments| arguments.digest.as_ref()) {
            row.digest = Some((&*digest.0).into());
        }
        if let Some(took) = &entry.latency {
            row.total_us = took.total_us;
        }
        if let Some(sizes) = &entry.sizes {
            for (to, size) in [
                (&mut row.sent_bytes, sizes.sent_bytes),
                (&mut row.received_bytes, sizes.received_bytes),
                (&mut row.sent_tokens, sizes.sent_tokens),
                (&mut row.received_tokens, sizes.received_tokens),
            ] {
                *to = size.max(*to);
            }
        }
    }
}

/// Adds to the sums what a row used.
fn add(row: &AuditRow, prices: &Prices, used: &mut HashMap<UsageKey, UsageSum>) {
    let is_call = match &*row.kind {
        "call" => true,
        "refusal" => false,
        _ => return,
    };
    let text = |text: &Option<Arc<str>>| match text {
        Some(text) if text.contains('\0') => clean(text).into(),
        Some(text) => Arc::clone(text),
        None => Arc::default(),
    };
    let (server, method) = (text(&row.server), text(&row.method));
    // Of what is refused the server is only known where the name is one that it has.
    let tool = match (&*method, &row.native_name) {
        ("tools/call", Some(_)) if !server.is_empty() => text(&row.native_name),
        ("tools/call", _) => Arc::default(),
        _ => method,
    };
    let is_good = matches!(row.outcome.as_deref(), Some("ok" | "input_required" | "task_created"));
    let calls = u64::from(is_call && row.step == 0);
    let mut sum = UsageSum {
        calls,
        errors: u64::from(is_call && !is_good),
        refused: u64::from(!is_call),
        sent_bytes: row.sent_bytes,
        received_bytes: row.received_bytes,
        sent_tokens: row.sent_tokens,
        received_tokens: row.received_tokens,
        cost_nano: 0,
    };
    let key = UsageKey {
        day: u32::try_from(row.time.as_ms() / DAY_MS).unwrap_or(u32::MAX),
        tenant: text(&row.tenant),
        agent: text(&row.agent),
        server,
        tool,
    };
    if is_call {
        sum.cost_nano = prices.cost_nano(Consumed {
            tenant: &key.tenant,
            server: &key.server,
            tool: &key.tool,
            calls,
            argument_tokens: sum.sent_tokens,
            result_tokens: sum.received_tokens,
            bytes: sum.sent_bytes.saturating_add(sum.received_bytes),
        });
    }
    used.entry(key).or_default().add(&sum);
}

/// Databases keep no zero bytes in texts.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write as _;

    use super::*;
    use crate::reader::{SEGMENTS, file_name};
    use crate::{Entry, Hash, Kind, line};

    /// Adds an entry that says of itself what it changes.
    fn write(folder: &Path, seq: u64, change: &'static str) {
        let entry = Entry { seq, change: Some(change.into()), ..Entry::of(Kind::Change) };
        let json = serde_json::to_vec(&entry).expect("JSON");
        let mut text = Vec::new();
        line::push_entry(&mut text, Hash::default(), &line::side_of(std::iter::empty()), &[&json]);
        let path = folder.join(SEGMENTS).join(file_name(1));
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a segment");
        file.write_all(&text).expect("written");
    }

    fn changes(next: Next) -> Vec<String> {
        let Next::Batch(batch, _) = next else { panic!("{next:?}") };
        batch.rows.iter().filter_map(|row| Some(row.change.as_deref()?.to_owned())).collect()
    }

    #[test]
    fn what_guards_found_is_taken_in_with_what_it_is_about() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join(SEGMENTS)).expect("a folder");
        let path = folder.path().join(SEGMENTS).join(file_name(1));
        let mut text = Vec::new();
        let mut put = |json: serde_json::Value| {
            let json = json.to_string();
            line::push_entry(
                &mut text,
                Hash::default(),
                &line::side_of(std::iter::empty()),
                &[json.as_bytes()],
            );
        };
        let found = |rule: &str, place: &str| serde_json::json!({"rule": rule, "severity": "high", "confidence": 90, "action": "mask", "in": place, "path": "/a"});
        put(
            serde_json::json!({"seq": 1, "time_ms": 5, "kind": "intent", "tenant": "acme", "agent": "ref", "server": "crm",
            "native_name": "search", "detail": {"guard": [found("personal.email", "arguments")]}}),
        );
        put(serde_json::json!({"seq": 2, "time_ms": 6, "kind": "outcome", "of": 1, "outcome": "ok",
            "detail": {"guard": [{"in": "arguments", "action": "restore", "name": "<EMAIL_1>"}, found("secret.key", "result")]}}));
        put(serde_json::json!({"seq": 3, "time_ms": 7, "kind": "upkeep", "server": "crm",
            "detail": {"guard": [{"rule": "injection.hurry", "in": "definition", "action": "report", "item": "pay"}]}}));
        put(
            serde_json::json!({"seq": 4, "time_ms": 8, "kind": "change", "change": "x", "detail": {"guard": "a name"}}),
        );
        std::fs::write(path, text).expect("written");
        let mut gatherer = Gatherer::new(folder.path(), "w".into(), None, Vec::new()).expect("a reader");
        let next = gatherer.next(4, None, &Prices::default()).expect("read");
        let Next::Batch(batch, _) = next else { panic!("{next:?}") };
        assert_eq!(batch.rows.len(), 3, "what is said otherwise is taken in all the same");
        let found: Vec<_> =
            batch.findings.iter().map(|one| (one.seq, &*one.rule, &*one.tool, &*one.direction)).collect();
        assert_eq!(
            found,
            [
                (1, "personal.email", "search", "arguments"),
                (2, "secret.key", "search", "result"),
                (3, "injection.hurry", "pay", "definition"),
            ]
        );
        assert!(batch.findings[..2].iter().all(|one| (&*one.tenant, &*one.agent) == ("acme", "ref")));
        assert!(batch.findings[2].tenant.is_empty() && batch.findings[2].severity.is_empty());
    }

    #[test]
    fn what_is_not_said_to_be_written_is_not_taken_in() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join(SEGMENTS)).expect("a folder");
        let path = folder.path().join(SEGMENTS).join(file_name(1));
        write(folder.path(), 1, "one");
        let len = path.metadata().expect("a file").len();
        write(folder.path(), 2, "failed");
        let mut gatherer = Gatherer::new(folder.path(), "w".into(), None, Vec::new()).expect("a reader");
        let next = gatherer.next(1, None, &Prices::default()).expect("read");
        if let Next::Batch(batch, _) = &next {
            gatherer.took(batch.upto);
        }
        assert_eq!(changes(next), ["one"]);
        assert!(matches!(gatherer.next(1, None, &Prices::default()), Ok(Next::Nothing)));
        // It did not reach the disk, and was cut off.
        OpenOptions::new().write(true).open(&path).expect("open").set_len(len).expect("cut");
        write(folder.path(), 2, "other");
        assert_eq!(changes(gatherer.next(2, None, &Prices::default()).expect("read")), ["other"]);
    }
}
