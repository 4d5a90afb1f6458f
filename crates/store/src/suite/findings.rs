//! What guards found.

#![allow(missing_docs, reason = "their names say what they show")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::sync::Arc;

use tollgate_model::Timestamp;

use super::{Place, open};
use crate::{AuditBatch, FindingBy, FindingQuery, FindingRow, Followed};

const DAY_MS: u64 = 86_400_000;

fn finding(seq: u64, nth: u32, tenant: &str, (rule, severity): (&str, &str)) -> FindingRow {
    FindingRow {
        writer: "w".into(),
        seq,
        nth,
        time: Timestamp::from_ms(20_000 * DAY_MS + seq / 4 * DAY_MS + seq),
        tenant: tenant.into(),
        call: seq.is_multiple_of(2).then_some(u128::from(seq) << 70),
        agent: "ref".into(),
        server: "crm".into(),
        tool: "sürch".into(),
        rule: rule.into(),
        severity: severity.into(),
        direction: if nth == 0 { "result" } else { "arguments" }.into(),
        action: "mask".into(),
    }
}

fn all() -> FindingQuery {
    FindingQuery { until_day: u32::MAX, most: 100, ..FindingQuery::default() }
}

fn sums(found: &[(Arc<str>, u64)]) -> Vec<(&str, u64)> {
    found.iter().map(|(text, count)| (&**text, *count)).collect()
}

pub async fn what_guards_found_is_listed_and_added_up(place: &dyn Place) {
    let store = open(place);
    let (mail, key) = (("personal.email", "medium"), ("secret.key", "high"));
    let mut rows = vec![
        finding(1, 0, "acme", mail),
        finding(2, 0, "acme", key),
        finding(2, 1, "acme", mail),
        finding(5, 0, "globex", mail),
        finding(8, 0, "", key),
    ];
    let batch = |after: Option<Followed>, upto: u64, used: u64, findings: &[FindingRow]| AuditBatch {
        writer: "w".into(),
        after,
        upto: Followed { segment: 1, offset: upto, seq: upto, used },
        findings: findings.to_vec(),
        ..AuditBatch::default()
    };
    assert!(store.add_entries(&batch(None, 4, 4, &rows[..3])).await.unwrap());
    let at = store.followed("w").await.unwrap();
    assert!(store.add_entries(&batch(at, 8, 8, &rows[3..])).await.unwrap());
    rows.sort_by_key(|row| std::cmp::Reverse(row.at()));
    let store = open(place);
    assert_eq!(store.findings(&all()).await.unwrap(), rows);
    let two = store.findings(&FindingQuery { most: 2, ..all() }).await.unwrap();
    assert_eq!(two, rows[..2]);
    let rest = FindingQuery { before: Some(two[1].at()), ..all() };
    assert_eq!(store.findings(&rest).await.unwrap(), rows[2..]);
    for (query, count) in [
        (FindingQuery { tenants: Some(vec!["acme".into()]), ..all() }, 3),
        (FindingQuery { tenants: Some(vec!["acme".into(), "globex".into()]), with_shared: true, ..all() }, 5),
        (FindingQuery { tenants: Some(Vec::new()), ..all() }, 0),
        (FindingQuery { tenants: Some(Vec::new()), with_shared: true, ..all() }, 1),
        (FindingQuery { rule: Some("secret.key".into()), ..all() }, 2),
        (FindingQuery { severity: Some("high".into()), tool: Some("sürch".into()), ..all() }, 2),
        (FindingQuery { direction: Some("arguments".into()), server: Some("crm".into()), ..all() }, 1),
        (FindingQuery { action: Some("block".into()), ..all() }, 0),
        (FindingQuery { since_day: 20_001, until_day: 20_001, ..all() }, 1),
    ] {
        assert_eq!(store.findings(&query).await.unwrap().len(), count, "{query:?}");
        let all: u64 =
            store.finding_sums(&query, FindingBy::Rule).await.unwrap().iter().map(|(_, sum)| sum).sum();
        assert_eq!(all, count as u64, "{query:?}");
    }
    let by = store.finding_sums(&all(), FindingBy::Rule).await.unwrap();
    assert_eq!(sums(&by), [("personal.email", 3), ("secret.key", 2)]);
    let by = store.finding_sums(&all(), FindingBy::Day).await.unwrap();
    assert_eq!(sums(&by), [("20000", 3), ("20001", 1), ("20002", 1)]);

    // Read anew from the record, they are in the sums once.
    store.forget_index(None).await.unwrap();
    assert_eq!(store.findings(&all()).await.unwrap(), []);
    let at = store.followed("w").await.unwrap();
    assert!(store.add_entries(&batch(at, 8, 8, &rows)).await.unwrap());
    assert_eq!(store.findings(&all()).await.unwrap(), rows);
    let by = store.finding_sums(&all(), FindingBy::Severity).await.unwrap();
    assert_eq!(sums(&by), [("medium", 3), ("high", 2)]);
    let before = Timestamp::from_ms(20_001 * DAY_MS);
    assert_eq!(store.forget_findings(before, 100).await.unwrap(), 3);
    assert_eq!(store.findings(&all()).await.unwrap(), rows[..2]);
    store.forget_usage(20_001).await.unwrap();
    let by = store.finding_sums(&all(), FindingBy::Day).await.unwrap();
    assert_eq!(sums(&by), [("20001", 1), ("20002", 1)]);
}
