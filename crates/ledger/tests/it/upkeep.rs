//! What is too old goes, what somebody has a right to have erased is erased, and the chain says so.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tollgate_ledger::upkeep::{Erasing, Followers, Retention, RetentionSettings, Whose, erase};
use tollgate_ledger::{Kind, Ledger, LedgerSettings, Line, NameKind, Reader, Vault, Wrong};
use tollgate_model::{Principal, PrincipalId, Proof, TenantId, Timestamp};

use crate::record::{ended, good, intend, open, read};

fn principal(tenant: &str, user: &str) -> Principal {
    Principal {
        agent: Some("desk".into()),
        user: Some(user.into()),
        ..Principal::new(TenantId::new(tenant), PrincipalId::local(), Proof::Anonymous)
    }
}

struct Bench {
    folder: TempDir,
    ledger: Ledger,
}

impl Bench {
    /// A ledger whose segments are small.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = LedgerSettings { segment_bytes_max: 20_000, ..LedgerSettings::default() };
        let ledger = open(folder.path(), settings);
        Self { folder, ledger }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn writer(&self) -> &Path {
        self.ledger.folder().expect("it is on")
    }

    /// Calls of these users in turn, until there are so many segments.
    async fn calls(&self, users: &[(&str, &str)], segments: usize) {
        let reader = Reader::new(self.writer());
        while reader.segments().expect("readable").len() < segments {
            for (tenant, user) in users {
                let who = principal(tenant, user);
                let receipt = intend(&self.ledger, &who).await;
                receipt.close(ended(&who)).await.expect("on record");
            }
            // The ledger's thread begins segments.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What can still be opened: names by kind and text, and how many payloads of each tenant.
    fn readable(&self) -> (HashSet<(NameKind, String)>, HashMap<String, usize>) {
        let vault = Vault::of_ledger(self.root(), None).expect("the key");
        let (mut names, mut payloads) = (HashSet::new(), HashMap::new());
        for read in read(self.writer()) {
            let entry = read.entry().expect("an entry");
            let tenant = entry.tenant.as_deref().unwrap_or_default();
            for line in read.beside() {
                match line {
                    Line::Name { reference, sealed } => {
                        let reference = std::str::from_utf8(reference).expect("text");
                        let name = vault.open_name(tenant, reference, sealed);
                        let shown = |text: &serde_json::Value| text.as_str().unwrap_or("").to_owned();
                        names.extend(name.map(|name| (name.kind, shown(&name.text))));
                    }
                    Line::Payload { is_result, sealed } => {
                        if vault.open_payload(tenant, is_result, sealed).is_some() {
                            *payloads.entry(tenant.to_owned()).or_default() += 1;
                        }
                    }
                    Line::Entry { .. } => {}
                }
            }
        }
        (names, payloads)
    }

    fn kinds(&self, kind: Kind) -> usize {
        read(self.writer()).iter().filter(|read| read.entry().expect("an entry").kind == kind).count()
    }

    fn segments(&self) -> Vec<u64> {
        Reader::new(self.writer()).segments().expect("readable")
    }
}

fn user(user: &str, tenant: Option<&str>) -> Erasing {
    let whose = Whose::User { user: user.to_owned(), tenant: tenant.map(ToOwned::to_owned) };
    Erasing { whose, before_ms: None, request: Some("7".to_owned()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_erased_and_nobody_else() {
    let bench = Bench::new();
    bench.calls(&[("acme", "ada"), ("acme", "bob"), ("other", "ada")], 3).await;
    let before = fs::metadata(Reader::new(bench.writer()).path(1)).expect("a segment").len();
    let erased = erase(&bench.ledger, &user("ada", Some("acme"))).await.expect("erased");
    assert!(erased > 0);
    let (names, payloads) = bench.readable();
    let named = |user: &str| names.contains(&(NameKind::User, user.to_owned()));
    assert!(named("bob") && named("ada"), "the other tenant's");
    assert!(payloads["acme"] > 0 && payloads["other"] == payloads["acme"], "one of two went: {payloads:?}");
    assert_eq!(fs::metadata(Reader::new(bench.writer()).path(1)).expect("a segment").len(), before);
    let report = good(bench.root());
    assert_eq!((report.writers[0].erased, report.writers[0].not_yet_erased), (erased, 0));
    // Again: nothing is left, and nothing is said.
    let said = bench.kinds(Kind::Erasure);
    assert_eq!(erase(&bench.ledger, &user("ada", Some("acme"))).await.expect("erased"), 0);
    assert_eq!(bench.kinds(Kind::Erasure), said);
    // Wherever they are.
    erase(&bench.ledger, &user("ada", None)).await.expect("erased");
    let (names, _) = bench.readable();
    assert!(!names.contains(&(NameKind::User, "ada".to_owned())));
    assert!(names.contains(&(NameKind::User, "bob".to_owned())));
    good(bench.root());
    // The chain says that it was done, and not of whom.
    for read in read(bench.writer()) {
        assert!(!String::from_utf8_lossy(&read.json).contains("\"ada\""));
    }
    // Who calls again is named again.
    let who = principal("acme", "ada");
    intend(&bench.ledger, &who).await.close(ended(&who)).await.expect("on record");
    assert!(bench.readable().0.contains(&(NameKind::User, "ada".to_owned())));
    bench.ledger.close().await;
    good(bench.root());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_erased_up_to_a_time() {
    let bench = Bench::new();
    bench.calls(&[("acme", "ada"), ("other", "bob")], 2).await;
    let erasing = |before_ms| Erasing {
        whose: Whose::Tenant("acme".to_owned()),
        before_ms: Some(before_ms),
        request: None,
    };
    assert_eq!(erase(&bench.ledger, &erasing(1)).await.expect("erased"), 0, "nothing is so old");
    let now = Timestamp::now().as_ms() + 1;
    assert!(erase(&bench.ledger, &erasing(now)).await.expect("erased") > 0);
    let (names, payloads) = bench.readable();
    assert!(!payloads.contains_key("acme") && payloads["other"] > 0, "{payloads:?}");
    assert!(!names.contains(&(NameKind::User, "ada".to_owned())));
    assert!(names.contains(&(NameKind::User, "bob".to_owned())));
    good(bench.root());
}

/// Somebody erases what nobody asked for.
#[tokio::test(flavor = "multi_thread")]
async fn more_than_was_said_is_found() {
    let bench = Bench::new();
    bench.calls(&[("acme", "ada"), ("acme", "bob")], 2).await;
    erase(&bench.ledger, &user("ada", None)).await.expect("erased");
    bench.ledger.close().await;
    let path = Reader::new(bench.writer()).path(1);
    let text = fs::read_to_string(&path).expect("text");
    let line = text.lines().find(|line| line.starts_with("p a ") && !line.contains('!')).expect("a payload");
    let erased = tollgate_ledger::erase(format!("{line}\n").as_bytes()).expect("erased");
    let erased = String::from_utf8(erased).expect("text");
    fs::write(&path, text.replace(&format!("{line}\n"), &erased)).expect("written");
    let report = tollgate_ledger::Verify::default().all(bench.root()).expect("readable");
    let fault = report.faults().next().expect("a fault");
    assert!(matches!(fault.what, Wrong::Erased { .. }), "{fault}");
}

fn age(hours: u64) -> Duration {
    Duration::from_hours(hours)
}

fn later(hours: u64) -> Timestamp {
    Timestamp::now().after(age(hours))
}

#[tokio::test(flavor = "multi_thread")]
async fn old_segments_go_from_the_front() {
    let bench = Bench::new();
    bench.calls(&[("acme", "ada")], 4).await;
    let before = bench.segments();
    let settings = RetentionSettings { age_max: Some(age(2)), ..RetentionSettings::default() };
    let mut retention = Retention::new(bench.ledger.clone(), Vec::new());
    let kept = retention.pass(&settings, later(1)).await.expect("a pass");
    assert_eq!((kept.segments, bench.segments()), (0, before.clone()));
    let kept = retention.pass(&settings, later(3)).await.expect("a pass");
    assert_eq!(kept.segments, before.len() as u64 - 1, "all but the one that is written");
    assert_eq!(bench.segments(), before[before.len() - 1..]);
    let report = good(bench.root());
    assert_eq!(report.writers[0].removed, Some(before[before.len() - 1] - 1));
    assert_eq!(retention.pass(&settings, later(3)).await.expect("a pass").segments, 0);
    bench.ledger.close().await;
    let again = open(bench.root(), LedgerSettings::default());
    again.close().await;
    good(bench.root());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_goes_but_not_what_somebody_still_reads() {
    let bench = Bench::new();
    bench.calls(&[("acme", "ada")], 5).await;
    let before = bench.segments();
    let followers = Followers::default();
    let export = followers.add("siem");
    // In the second segment.
    export.has_come_to(before[1] + 1);
    let mut retention = Retention::new(bench.ledger.clone(), vec![Arc::new(followers.clone())]);
    let settings = RetentionSettings { bytes_max: Some(45_000), ..RetentionSettings::default() };
    let kept = retention.pass(&settings, Timestamp::now()).await.expect("a pass");
    assert_eq!((kept.segments, kept.waits_for.as_deref()), (1, Some("siem")));
    assert_eq!(bench.ledger.retention_waits().map(|(who, _)| who).as_deref(), Some("siem"));
    export.is_left_behind();
    let kept = retention.pass(&settings, Timestamp::now()).await.expect("a pass");
    assert_eq!(bench.ledger.retention_waits(), None);
    assert!(kept.segments > 0 && kept.waits_for.is_none(), "{kept:?}");
    let reader = Reader::new(bench.writer());
    let left: u64 = bench
        .segments()
        .iter()
        .map(|segment| fs::metadata(reader.path(*segment)).expect("a file").len())
        .sum();
    assert!(left < 50_000, "{left}");
    good(bench.root());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_a_shorter_time_is_erased_where_others_stay() {
    let bench = Bench::new();
    bench.calls(&[("acme", "ada"), ("other", "bob")], 3).await;
    let settings = RetentionSettings {
        age_max: Some(age(100)),
        tenants: [("acme".to_owned(), age(2)), ("third".to_owned(), age(5))].into(),
        ..RetentionSettings::default()
    };
    let mut retention = Retention::new(bench.ledger.clone(), Vec::new());
    assert_eq!(retention.pass(&settings, later(1)).await.expect("a pass").records, 0);
    let kept = retention.pass(&settings, later(3)).await.expect("a pass");
    assert!(kept.records > 0 && kept.segments == 0, "{kept:?}");
    let payloads = bench.readable().1;
    let of = |tenant: &str| payloads.get(tenant).copied().unwrap_or(0);
    let (acme, other) = (of("acme"), of("other"));
    assert!(acme < other, "only what is written now is left: {acme} of {other}");
    assert_eq!(retention.pass(&settings, later(3)).await.expect("a pass").records, 0);
    good(bench.root());
    // A time that is longer keeps the segments.
    let settings = RetentionSettings {
        age_max: Some(age(2)),
        tenants: [("acme".to_owned(), age(100))].into(),
        ..RetentionSettings::default()
    };
    let kept = retention.pass(&settings, later(3)).await.expect("a pass");
    assert_eq!(kept.segments, 0, "{kept:?}");
}

/// Needs something of every folder.
struct Greedy(std::sync::atomic::AtomicBool);

impl tollgate_ledger::upkeep::Needs for Greedy {
    fn needed_from(&self) -> Option<(u64, Arc<str>)> {
        None
    }

    fn needs_of(&self, _: &Path) -> Option<Arc<str>> {
        self.0.load(std::sync::atomic::Ordering::SeqCst).then(|| "siem".into())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folders_of_writers_that_are_gone_are_kept_no_longer() {
    let bench = Bench::new();
    // Two more, which end.
    let settings = LedgerSettings { segment_bytes_max: 20_000, ..LedgerSettings::default() };
    let gone: Vec<_> = [1, 2].map(|_| open(bench.root(), settings.clone())).into();
    for ledger in &gone {
        for user in ["ada", "bob"] {
            let who = principal("acme", user);
            for _ in 0..40 {
                intend(ledger, &who).await.close(ended(&who)).await.expect("on record");
            }
        }
    }
    let alive = open(bench.root(), settings);
    let who = principal("acme", "eve");
    intend(&alive, &who).await.close(ended(&who)).await.expect("on record");
    for ledger in &gone {
        ledger.close().await;
    }
    let payloads = |folder: &Path| {
        let all = read(folder);
        let lines = all.iter().flat_map(|read| read.side_lines.split(|byte| *byte == b'\n'));
        lines.filter(|line| line.starts_with(b"p ") && !line.contains(&b'!')).count()
    };
    let folder = |ledger: &Ledger| ledger.folder().expect("it is on").to_owned();
    let needs = Arc::new(Greedy(true.into()));
    let mut retention = Retention::new(bench.ledger.clone(), vec![needs.clone()]);
    let settings = RetentionSettings { age_max: Some(age(2)), ..RetentionSettings::default() };
    let kept = retention.pass_left(&settings, later(1)).await.expect("a pass");
    assert_eq!((kept.segments, kept.waits_for), (0, None), "nothing is so old");
    let kept = retention.pass_left(&settings, later(3)).await.expect("a pass");
    assert_eq!((kept.segments, kept.waits_for.as_deref()), (0, Some("siem")));
    needs.0.store(false, std::sync::atomic::Ordering::SeqCst);
    let kept = retention.pass_left(&settings, later(3)).await.expect("a pass");
    assert!(kept.segments >= 2 && kept.waits_for.is_none(), "{kept:?}");
    for ledger in &gone {
        assert_eq!(payloads(&folder(ledger)), 0);
        assert_eq!(Reader::new(&folder(ledger)).segments().expect("readable").len(), 1);
    }
    assert!(payloads(&folder(&alive)) > 0, "a process has it");
    let report = good(bench.root());
    assert!(report.writers.iter().filter(|writer| writer.removed.is_some()).count() == 2, "{report:?}");
    alive.close().await;
    bench.ledger.close().await;
}
