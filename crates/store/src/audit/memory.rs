//! The index in memory, the plain way: it says what drivers mean.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use tollgate_model::Timestamp;

use super::{
    Arrived, AuditBatch, AuditFound, AuditIndex, AuditName, AuditQuery, AuditRow, Filter, FindingBy,
    FindingQuery, FindingRow, Followed, Usage, UsageKey, UsageOrder, UsageQuery, UsageRow, UsageSum,
    WhoseNames,
};
use crate::{Memory, StoreError};

/// All that the index and the sums are.
#[derive(Debug, Default)]
pub(crate) struct Indexed {
    writers: BTreeMap<Arc<str>, Followed>,
    /// In the order of their arrival.
    rows: Vec<AuditRow>,
    open: BTreeMap<(Arc<str>, u64), AuditRow>,
    names: BTreeMap<Arc<str>, AuditName>,
    usage: BTreeMap<UsageKey, UsageSum>,
    findings: Vec<FindingRow>,
    /// Those of all sums, in a row for each.
    found: Vec<FindingRow>,
}

impl Indexed {
    pub(crate) fn followed(&self, writer: &str) -> Option<Followed> {
        self.writers.get(writer).copied()
    }

    pub(crate) fn arrived_so_far(&self) -> Arrived {
        self.writers.iter().map(|(writer, followed)| (Arc::clone(writer), followed.seq)).collect()
    }

    pub(crate) fn open_calls(&self, writer: &str) -> Vec<AuditRow> {
        self.open.values().filter(|row| *row.writer == *writer).cloned().collect()
    }

    pub(crate) fn add(&mut self, batch: &AuditBatch) -> bool {
        if self.followed(&batch.writer) != batch.after {
            return false;
        }
        let used = batch.after.map_or(0, |after| after.used);
        self.found.extend(batch.findings.iter().filter(|row| row.seq > used).cloned());
        self.findings.extend(batch.findings.iter().cloned());
        self.writers.insert(Arc::clone(&batch.writer), batch.upto);
        for seq in &batch.closed {
            self.open.remove(&(Arc::clone(&batch.writer), *seq));
        }
        for row in &batch.opened {
            self.open.insert((Arc::clone(&batch.writer), row.begin.seq), row.clone());
        }
        self.rows.extend(batch.rows.iter().cloned());
        for name in &batch.names {
            self.names.insert(Arc::clone(&name.reference), name.clone());
        }
        for used in &batch.used {
            self.usage.entry(used.key.clone()).or_default().add(&used.sum);
        }
        true
    }

    pub(crate) fn search(&self, query: &AuditQuery) -> AuditFound {
        let filter = self.filter(query);
        let all = self.rows.iter().chain(self.open.values());
        let mut rows: Vec<AuditRow> = all.filter(|row| filter.fits(row)).cloned().collect();
        rows.sort_by(AuditRow::newest_first);
        rows.truncate(filter.most());
        self.named(rows)
    }

    pub(crate) fn arrived(&self, after: &mut Arrived, query: &AuditQuery, most: usize) -> AuditFound {
        let filter = self.filter(query);
        let mut rows: Vec<AuditRow> = Vec::new();
        for writer in self.writers.keys() {
            let seen = after.entry(Arc::clone(writer)).or_default();
            let mut of_writer: Vec<&AuditRow> = self
                .rows
                .iter()
                .filter(|row| row.writer == *writer && row.end_seq().is_some_and(|end| end > *seen))
                .collect();
            of_writer.sort_by_key(|row| row.end);
            for row in of_writer {
                if rows.len() == most {
                    break;
                }
                *seen = row.end_seq().unwrap_or(*seen);
                rows.extend(Some(row.clone()).filter(|row| filter.fits(row)));
            }
        }
        self.named(rows)
    }

    pub(crate) fn forget_rows(&mut self, before: Timestamp) -> usize {
        let len = self.rows.len();
        self.rows.retain(|row| row.time >= before);
        len - self.rows.len()
    }

    pub(crate) fn forget_names(&mut self, whose: &WhoseNames) -> usize {
        let len = self.names.len();
        self.names.retain(|_, name| !whose.is(name));
        len - self.names.len()
    }

    pub(crate) fn forget_index(&mut self, writer: Option<&str>) {
        let is_meant = |of: &str| writer.is_none_or(|writer| writer == of);
        self.rows.retain(|row| !is_meant(&row.writer));
        self.open.retain(|(of, _), _| !is_meant(of));
        self.findings.retain(|row| !is_meant(&row.writer));
        for (_, followed) in self.writers.iter_mut().filter(|(of, _)| is_meant(of)) {
            *followed = Followed { used: followed.used, ..Followed::default() };
        }
    }

    pub(crate) fn usage(&self, which: &UsageQuery) -> Vec<UsageRow> {
        let mut sums: BTreeMap<UsageKey, UsageSum> = BTreeMap::new();
        for (key, sum) in &self.usage {
            let is_meant = which.since_day <= key.day
                && key.day <= which.until_day
                && which.tenant.as_ref().is_none_or(|tenant| *tenant == key.tenant);
            if is_meant {
                sums.entry(which.by.of(key)).or_default().add(sum);
            }
        }
        let mut rows: Vec<UsageRow> = sums.into_iter().map(|(key, sum)| UsageRow { key, sum }).collect();
        if which.order == UsageOrder::MostCalls {
            rows.sort_by_key(|row| std::cmp::Reverse(row.sum.calls));
        }
        rows.truncate(which.most);
        rows
    }

    pub(crate) fn forget_usage(&mut self, before_day: u32) -> usize {
        let len = self.usage.len();
        self.usage.retain(|key, _| key.day >= before_day);
        self.found.retain(|row| row.day() >= before_day);
        len - self.usage.len()
    }

    pub(crate) fn findings(&self, which: &FindingQuery) -> Vec<FindingRow> {
        let is_meant = |row: &&FindingRow| which.before.as_ref().is_none_or(|before| row.at() < *before);
        let mut found: Vec<_> =
            self.findings.iter().filter(|row| which.fits(row)).filter(is_meant).cloned().collect();
        found.sort_by_key(|row| std::cmp::Reverse(row.at()));
        found.truncate(which.most);
        found
    }

    pub(crate) fn finding_sums(&self, which: &FindingQuery, by: FindingBy) -> Vec<(Arc<str>, u64)> {
        let mut sums: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for row in self.found.iter().filter(|row| which.fits(row)) {
            *sums.entry(by.of(row)).or_default() += 1;
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        match by {
            FindingBy::Day => sums.sort_by_key(|(day, _)| day.parse::<u32>().unwrap_or(0)),
            _ => sums.sort_by_key(|(_, found)| std::cmp::Reverse(*found)),
        }
        sums.truncate(which.most);
        sums
    }

    pub(crate) fn forget_findings(&mut self, before: Timestamp) -> usize {
        let len = self.findings.len();
        self.findings.retain(|row| row.time >= before);
        len - self.findings.len()
    }

    fn filter(&self, query: &AuditQuery) -> Filter {
        let mut references: HashMap<(&str, &str), Vec<Arc<str>>> = HashMap::new();
        for name in self.names.values() {
            references.entry((&name.kind, &name.text)).or_default().push(Arc::clone(&name.reference));
        }
        Filter::new(query, &references)
    }

    fn named(&self, rows: Vec<AuditRow>) -> AuditFound {
        let names = self.names(rows.iter().flat_map(AuditRow::references));
        AuditFound { rows, names }
    }

    fn names<'r>(&self, references: impl Iterator<Item = &'r Arc<str>>) -> HashMap<Arc<str>, Arc<str>> {
        let names = references.filter_map(|reference| self.names.get(reference));
        names.map(|name| (Arc::clone(&name.reference), Arc::clone(&name.text))).collect()
    }
}

impl WhoseNames {
    fn is(&self, name: &AuditName) -> bool {
        match self {
            Self::Tenant { tenant, before } => *tenant == name.tenant && name.seen < *before,
            Self::User { user, tenant, before } => {
                *name.kind == *"user"
                    && name.seen < *before
                    && *user == name.text
                    && tenant.as_ref().is_none_or(|tenant| *tenant == name.tenant)
            }
            Self::SeenBefore(kind, time) => *name.kind == **kind && name.seen < *time,
        }
    }
}

#[async_trait]
impl AuditIndex for Memory {
    async fn followed(&self, writer: &str) -> Result<Option<Followed>, StoreError> {
        Ok(self.state().indexed.followed(writer))
    }

    async fn arrived_so_far(&self) -> Result<Arrived, StoreError> {
        Ok(self.state().indexed.arrived_so_far())
    }

    async fn open_calls(&self, writer: &str) -> Result<Vec<AuditRow>, StoreError> {
        Ok(self.state().indexed.open_calls(writer))
    }

    async fn add_entries(&self, batch: &AuditBatch) -> Result<bool, StoreError> {
        Ok(self.state().indexed.add(batch))
    }

    async fn search(&self, query: &AuditQuery) -> Result<AuditFound, StoreError> {
        Ok(self.state().indexed.search(query))
    }

    async fn arrived(
        &self,
        after: &mut Arrived,
        query: &AuditQuery,
        most: usize,
    ) -> Result<AuditFound, StoreError> {
        Ok(self.state().indexed.arrived(after, query, most))
    }

    async fn names(&self, references: &[Arc<str>]) -> Result<HashMap<Arc<str>, Arc<str>>, StoreError> {
        Ok(self.state().indexed.names(references.iter()))
    }

    async fn findings(&self, which: &FindingQuery) -> Result<Vec<FindingRow>, StoreError> {
        Ok(self.state().indexed.findings(which))
    }

    async fn finding_sums(
        &self,
        which: &FindingQuery,
        by: FindingBy,
    ) -> Result<Vec<(Arc<str>, u64)>, StoreError> {
        Ok(self.state().indexed.finding_sums(which, by))
    }

    async fn forget_findings(&self, before: Timestamp, _: usize) -> Result<usize, StoreError> {
        Ok(self.state().indexed.forget_findings(before))
    }

    async fn forget_rows(&self, before: Timestamp, _: usize) -> Result<usize, StoreError> {
        Ok(self.state().indexed.forget_rows(before))
    }

    async fn forget_names(&self, whose: &WhoseNames) -> Result<usize, StoreError> {
        Ok(self.state().indexed.forget_names(whose))
    }

    async fn forget_index(&self, writer: Option<&str>) -> Result<(), StoreError> {
        self.state().indexed.forget_index(writer);
        Ok(())
    }
}

#[async_trait]
impl Usage for Memory {
    async fn usage(&self, which: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        Ok(self.state().indexed.usage(which))
    }

    async fn forget_usage(&self, before_day: u32) -> Result<usize, StoreError> {
        Ok(self.state().indexed.forget_usage(before_day))
    }
}
