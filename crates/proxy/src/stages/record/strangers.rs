//! Refusals of callers whom nobody knows: counted by source and minute, one entry for each minute, so that a flood of them cannot
//! fill the disk.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tollgate_ledger::{Draft, Entry, Kind, Ledger, Stranger};
use tollgate_model::Timestamp;

use super::others::detail;

/// How many sources of one minute are counted each for itself. The rest are counted together.
const SOURCES_MAX: usize = 4096;
/// How many of them are named on record: those that came most often.
const NAMED_MAX: usize = 64;
const MINUTE_MS: u64 = 60_000;

/// How often strangers were refused in the minute that runs.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    begin_ms: u64,
    sources: HashMap<IpAddr, u64>,
    others: u64,
}

impl Strangers {
    /// Counts one.
    pub(super) fn count(&self, source: IpAddr) {
        let source = network_of(source);
        let mut minute = self.lock();
        if minute.begin_ms == 0 {
            minute.begin_ms = minute_of(Timestamp::now());
        }
        if minute.sources.len() >= SOURCES_MAX && !minute.sources.contains_key(&source) {
            minute.others += 1;
        } else {
            *minute.sources.entry(source).or_default() += 1;
        }
    }

    /// Records what was counted, if its minute is over or `now` is none.
    pub(crate) fn record(&self, ledger: &Ledger, now: Option<Timestamp>) {
        let over = {
            let mut minute = self.lock();
            let runs = now.is_some_and(|now| minute_of(now) == minute.begin_ms);
            if minute.begin_ms == 0 || runs {
                return;
            }
            std::mem::take(&mut *minute)
        };
        let mut sources: Vec<(IpAddr, u64)> = over.sources.into_iter().collect();
        sources.sort_unstable_by_key(|(source, count)| (Reverse(*count), *source));
        let count = over.others + sources.iter().map(|(_, count)| count).sum::<u64>();
        let crowd: Vec<(String, u64)> =
            sources.into_iter().take(NAMED_MAX).map(|(source, count)| (text_of(source), count)).collect();
        let others = count - crowd.iter().map(|(_, count)| count).sum::<u64>();
        let mut entry = Entry::of(Kind::Strangers);
        entry.strangers = Some(Stranger { minute_ms: over.begin_ms, count });
        if others > 0 {
            entry.detail = Some(detail([("others", others.into())]));
        }
        ledger.note_later(Draft { crowd, ..Draft::of(entry) });
    }

    fn lock(&self) -> MutexGuard<'_, Minute> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is counted as one: an address, or of IPv6 the network that one customer has to himself at least (RFC 6177).
fn network_of(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn text_of(source: IpAddr) -> String {
    match source {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(network) => format!("{network}/64"),
    }
}

fn minute_of(time: Timestamp) -> u64 {
    time.as_ms() / MINUTE_MS * MINUTE_MS
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::Value;
    use tollgate_ledger::{LedgerSettings, Line, Reader};

    use super::*;

    /// However many there are, and from however many addresses.
    #[tokio::test]
    async fn a_minute_is_one_entry_that_names_who_came_most_often() {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger =
            Ledger::open(&folder.path().join("ledger"), LedgerSettings::default()).expect("a ledger");
        let strangers = Strangers::default();
        for host in 0..1000_u64 {
            strangers.count(IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | u128::from(host))));
        }
        for host in 0..5000_u32 {
            strangers.count(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + host)));
        }
        strangers.count("::ffff:10.0.0.7".parse().expect("an address"));
        strangers.record(&ledger, None);
        ledger.close().await;

        let mut reader = Reader::new(ledger.folder().expect("a folder"));
        let mut found = Vec::new();
        let mut names = Vec::new();
        while let Some(read) = reader.next_entry().expect("an entry") {
            let entry: Value = serde_json::from_slice(&read.json).expect("JSON");
            if entry["kind"] != "strangers" {
                continue;
            }
            for line in read.beside() {
                let Line::Name { reference, sealed } = line else { continue };
                let reference = std::str::from_utf8(reference).expect("text").to_owned();
                let vault = ledger.vault().expect("a vault");
                let name = vault.open_name("", &reference, sealed).expect("a name");
                names.push((reference, name.text.as_str().expect("text").to_owned()));
            }
            found.push(entry);
        }
        let [entry] = &found[..] else { panic!("one entry: {found:#?}") };
        assert_eq!(entry["strangers"]["count"], 6001);
        let sources = entry["detail"]["sources"].as_array().expect("sources");
        assert_eq!((sources.len(), names.len()), (NAMED_MAX, NAMED_MAX));
        let named = |nth: usize| {
            let name = names.iter().find(|(reference, _)| sources[nth]["source"] == **reference);
            (name.expect("a name").1.as_str(), &sources[nth]["count"])
        };
        assert_eq!(named(0), ("2001:db8::/64", &1000.into()));
        assert_eq!(named(1), ("10.0.0.7", &2.into()), "the same address, however it is written");
        let total: u64 = sources.iter().map(|source| source["count"].as_u64().expect("a number")).sum();
        assert_eq!(entry["detail"]["others"].as_u64(), Some(6001 - total));
    }
}
