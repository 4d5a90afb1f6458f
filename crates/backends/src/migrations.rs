//! The versions of what is stored, and the way from each to the next. There is no way back.

use std::time::Duration;

use tollgate_model::Timestamp;
use tollgate_store::StoreError;

use crate::connections::{Connection, Value};
use crate::sqlite;

/// The way to one version from the one before.
struct Migration {
    version: i64,
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! migration {
    ($version:literal, $file:literal) => {
        Migration {
            version: $version,
            sqlite: include_str!(concat!("../migrations/sqlite/", $file)),
            postgres: include_str!(concat!("../migrations/postgres/", $file)),
        }
    };
}

/// All there are, in their order: the first leads from nothing to version 1.
const MIGRATIONS: [Migration; 14] = [
    migration!(1, "0001.sql"),
    migration!(2, "0002.sql"),
    migration!(3, "0003.sql"),
    migration!(4, "0004.sql"),
    migration!(5, "0005.sql"),
    migration!(6, "0006.sql"),
    migration!(7, "0007.sql"),
    migration!(8, "0008.sql"),
    migration!(9, "0009.sql"),
    migration!(10, "0010.sql"),
    migration!(11, "0011.sql"),
    migration!(12, "0012.sql"),
    migration!(13, "0013.sql"),
    migration!(14, "0014.sql"),
];

/// The newest version that this program knows.
pub(crate) const NEWEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// Any number that no other program takes: what processes wait for that start at the same time.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7885627113490231)";

/// Brings a database up to a version, if it is older. Safe when several processes do so at once.
///
/// # Errors
/// [`StoreError::TooNew`] if it is newer than what this program knows.
pub(crate) async fn migrate(
    connection: &mut Connection,
    to: i64,
    wait_max: Duration,
) -> Result<(), StoreError> {
    if let Connection::Sqlite(_) = connection {
        sqlite::set_wal(connection, wait_max).await?;
    }
    // Most starts find nothing to do, and need no right to change tables.
    if version(connection).await? >= to {
        return Ok(());
    }
    match connection {
        Connection::Sqlite(_) => connection.script("BEGIN IMMEDIATE").await?,
        Connection::Postgres(_) => {
            connection.script("BEGIN").await?;
            connection.script(LOCK).await?;
            connection.script("SET LOCAL statement_timeout = 0").await?;
        }
    }
    // Another process may have done it while this one waited.
    let found = version(connection).await?;
    connection
        .script(
            "CREATE TABLE IF NOT EXISTS tollgate_schema (version BIGINT PRIMARY KEY, at_ms BIGINT NOT NULL)",
        )
        .await?;
    for migration in MIGRATIONS.iter().filter(|next| found < next.version && next.version <= to) {
        connection
            .script(match connection {
                Connection::Sqlite(_) => migration.sqlite,
                Connection::Postgres(_) => migration.postgres,
            })
            .await?;
        let now = i64::try_from(Timestamp::now().as_ms()).unwrap_or(i64::MAX);
        let values = vec![Value::from(migration.version), Value::from(now)];
        connection.run("INSERT INTO tollgate_schema (version, at_ms) VALUES ($1, $2)", values).await?;
    }
    connection.script("COMMIT").await
}

/// The version of a database; 0 if nothing of ours is in it.
async fn version(connection: &mut Connection) -> Result<i64, StoreError> {
    let is_there = match connection {
        Connection::Sqlite(_) => "SELECT count(*) FROM sqlite_master WHERE name = 'tollgate_schema'",
        Connection::Postgres(_) => "SELECT count(*) FROM pg_class WHERE oid = to_regclass('tollgate_schema')",
    };
    if one(connection, is_there).await? == 0 {
        return Ok(0);
    }
    let found = one(connection, "SELECT coalesce(max(version), 0) FROM tollgate_schema").await?;
    if found > NEWEST {
        return Err(StoreError::TooNew { found, known: NEWEST });
    }
    Ok(found)
}

async fn one(connection: &mut Connection, sql: &'static str) -> Result<i64, StoreError> {
    let row = connection.row(sql, Vec::new()).await?;
    row.ok_or_else(|| StoreError::broken("the database gives no answer"))?.get(0)
}

#[cfg(test)]
mod tests {
    use tollgate_model::{KeyHash, KeyId, TenantId};
    use tollgate_store::{
        Admins, Allowance, Allowances, Anchors, Approvals, AuditIndex, AuditQuery, Blocks, Digest, Erasures,
        FEED_MAX, Feed, FindingBy, FindingQuery, Followed, Keys, LastKnown, Life, List, Names, NamesOf,
        Pauses, PinKind, PinMark, PinShape, Pins, PolicySets, Registrations, Revocations, RuleSets, Store,
        TakeAllowance, Usage, UsageQuery, WhichApprovals, WhichPins, WhichRegistrations, WhichRules,
        definitions_of,
    };

    use super::*;
    use crate::database::Database;
    use crate::{Bounds, Place};

    /// What a program of each version may have stored: a version that is released brings its own.
    const SAMPLES: [Migration; 14] = [
        Migration {
            version: 1,
            sqlite: include_str!("../migrations/samples/sqlite/0001.sql"),
            postgres: include_str!("../migrations/samples/postgres/0001.sql"),
        },
        Migration {
            version: 2,
            sqlite: include_str!("../migrations/samples/sqlite/0002.sql"),
            postgres: include_str!("../migrations/samples/postgres/0002.sql"),
        },
        Migration {
            version: 3,
            sqlite: include_str!("../migrations/samples/sqlite/0003.sql"),
            postgres: include_str!("../migrations/samples/postgres/0003.sql"),
        },
        Migration {
            version: 4,
            sqlite: include_str!("../migrations/samples/sqlite/0004.sql"),
            postgres: include_str!("../migrations/samples/postgres/0004.sql"),
        },
        Migration {
            version: 5,
            sqlite: include_str!("../migrations/samples/sqlite/0005.sql"),
            postgres: include_str!("../migrations/samples/postgres/0005.sql"),
        },
        Migration {
            version: 6,
            sqlite: include_str!("../migrations/samples/sqlite/0006.sql"),
            postgres: include_str!("../migrations/samples/postgres/0006.sql"),
        },
        Migration {
            version: 7,
            sqlite: include_str!("../migrations/samples/sqlite/0007.sql"),
            postgres: include_str!("../migrations/samples/postgres/0007.sql"),
        },
        Migration {
            version: 8,
            sqlite: include_str!("../migrations/samples/sqlite/0008.sql"),
            postgres: include_str!("../migrations/samples/postgres/0008.sql"),
        },
        Migration {
            version: 9,
            sqlite: include_str!("../migrations/samples/sqlite/0009.sql"),
            postgres: include_str!("../migrations/samples/postgres/0009.sql"),
        },
        Migration {
            version: 10,
            sqlite: include_str!("../migrations/samples/sqlite/0010.sql"),
            postgres: include_str!("../migrations/samples/postgres/0010.sql"),
        },
        Migration {
            version: 11,
            sqlite: include_str!("../migrations/samples/sqlite/0011.sql"),
            postgres: include_str!("../migrations/samples/postgres/0011.sql"),
        },
        Migration {
            version: 12,
            sqlite: include_str!("../migrations/samples/sqlite/0012.sql"),
            postgres: include_str!("../migrations/samples/postgres/0012.sql"),
        },
        Migration {
            version: 13,
            sqlite: include_str!("../migrations/samples/sqlite/0013.sql"),
            postgres: include_str!("../migrations/samples/postgres/0013.sql"),
        },
        Migration {
            version: 14,
            sqlite: include_str!("../migrations/samples/sqlite/0014.sql"),
            postgres: include_str!("../migrations/samples/postgres/0014.sql"),
        },
    ];

    #[test]
    fn each_version_has_its_way_and_its_sample() {
        let versions: Vec<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        assert_eq!(versions, (1..=NEWEST).collect::<Vec<_>>());
        let samples: Vec<i64> = SAMPLES.iter().map(|sample| sample.version).collect();
        assert_eq!(samples, versions);
    }

    /// From every released version, with what programs of that version stored.
    async fn every_version_comes_to_the_newest(fresh: impl Fn() -> Place) {
        for sample in &SAMPLES {
            let place = fresh();
            let old = Database::new(&place, Bounds::default()).expect("a place");
            old.migrate(sample.version).await.expect("migrated");
            old.script(sample.sqlite, sample.postgres).await;
            let new = Database::new(&place, Bounds::default()).expect("a place");
            new.prepare().await.expect("migrated");
            check(&new).await;
            if sample.version >= 2 {
                check_index(&new).await;
            }
            if sample.version >= 3 {
                check_record(&new).await;
            }
            if sample.version >= 4 {
                check_blocks(&new).await;
            }
            if sample.version >= 5 {
                check_allowances(&new).await;
            }
            if sample.version >= 6 {
                check_pauses(&new).await;
            }
            if sample.version >= 8 {
                check_approvals(&new).await;
            }
            if sample.version >= 7 {
                check_pins(&new).await;
            }
            if sample.version >= 10 {
                check_registrations(&new).await;
            }
            if sample.version >= 11 {
                check_rules(&new).await;
                check_findings(&new).await;
            }
            if sample.version >= 12 {
                check_pseudonyms(&new, sample.version >= 14).await;
            }
            if sample.version >= 9 {
                check_admins(&new).await;
            }
        }
    }

    async fn check(store: &Database) {
        let key = store.key(&KeyId::new("old")).await.expect("read").expect("a key");
        assert_eq!((key.hash, key.replaced_by), (KeyHash([1; 32]), Some(KeyId::new("new"))));
        assert_eq!((key.created, key.expires), (Timestamp::from_ms(1000), Some(Timestamp::from_ms(5000))));
        let key = store.key(&KeyId::new("new")).await.expect("read").expect("a key");
        assert_eq!((key.revoked, &*key.groups), (Some(Timestamp::from_ms(3000)), &["support".into()][..]));
        assert_eq!(store.revocations(None, 9).await.expect("read").len(), 1);
        let of = definitions_of(None, "files", List::Tools.as_str()).expect("a server");
        let definitions = store.definitions(&of).await.expect("read").expect("definitions");
        assert_eq!(definitions.items, ["{\"name\" : \"a\"}", "1.0"]);
        let acme = TenantId::new("acme");
        assert!(store.was_accepted(&acme, Digest([4; 32])).await.expect("read"));
        let snapshot = store.snapshot().await.expect("read");
        assert_eq!((snapshot.cursor.revision, snapshot.keys.len()), (1, 2));
        store.revoke_key(&KeyId::new("old"), Timestamp::from_ms(9)).await.expect("revoked");
        let head = store.head().await.expect("read");
        assert_eq!(head.revision, 2);
        assert!(matches!(
            store.changes(snapshot.cursor, FEED_MAX).await.expect("read"),
            tollgate_store::Changes::These(changes) if changes.len() == 1
        ));
    }

    async fn check_index(store: &Database) {
        let query = AuditQuery {
            tool: Some("search".into()),
            user: Some("ada".into()),
            most: 9,
            ..AuditQuery::default()
        };
        let found = store.search(&query).await.expect("read");
        assert_eq!(found.rows.iter().map(|row| row.begin.seq).collect::<Vec<_>>(), [7, 5]);
        let row = &found.rows[1];
        assert_eq!((row.end_seq(), row.step, row.element, row.total_us), (Some(6), 1, Some(2), 1234));
        assert_eq!((row.call, row.trace, row.digest.as_deref()), (Some(7 << 80), Some(9), Some("digest")));
        assert_eq!((&row.outcome, &row.policies), (&Some("ok".into()), &vec!["p1".into(), "p2".into()]));
        for (policy, count) in [("p2", 2), ("p3", 0)] {
            let query = AuditQuery { policy: Some(policy.into()), most: 9, ..AuditQuery::default() };
            assert_eq!(store.search(&query).await.expect("read").rows.len(), count);
        }
        let followed = store.followed("w1").await.expect("read");
        assert_eq!(followed, Some(Followed { segment: 1, offset: 2000, seq: 7, used: 7 }));
        let which = UsageQuery { until_day: u32::MAX, most: 9, ..UsageQuery::default() };
        assert_eq!(store.usage(&which).await.expect("read")[0].sum.cost_nano, 5);
    }

    async fn check_record(store: &Database) {
        let anchors = store.anchors(None, 9).await.expect("read");
        assert_eq!((anchors.len(), anchors[0].seq, &*anchors[0].body), (1, 7, "{\"seq\":7}"));
        let erasures = store.erasures(0, 9).await.expect("read");
        assert_eq!((erasures.len(), erasures[0].0, erasures[0].1.user.as_deref()), (1, 4, Some("ada")));
    }

    async fn check_blocks(store: &Database) {
        let blocks = store.blocks(None, 9).await.expect("read");
        let said: Vec<_> =
            blocks.iter().map(|block| (block.what.kind(), block.what.name(), &*block.reason)).collect();
        assert_eq!(
            said,
            [("agent", "bot".to_owned(), "amok"), ("tool", "crm/search".to_owned(), "it leaks")]
        );
        assert_eq!((blocks[1].is_public, &*blocks[1].by, blocks[1].since.as_ms()), (true, "ada", 1000));
        assert_eq!(store.snapshot().await.expect("read").blocks, blocks);
    }

    async fn check_pauses(store: &Database) {
        let pauses = store.pauses(None, 9).await.expect("read");
        let [pausing] = &pauses[..] else { panic!("one pause") };
        assert_eq!(
            (pausing.who.tenant.as_str(), &*pausing.who.agent, &*pausing.why),
            ("acme", "bot", "repeats")
        );
        assert_eq!((pausing.since.as_ms(), pausing.until.as_ms()), (1000, 2000));
    }

    async fn check_pins(store: &Database) {
        let pins = store.pins(&WhichPins { most: 9, ..WhichPins::default() }).await.expect("read");
        let [pin] = &pins[..] else { panic!("one pin") };
        assert_eq!(
            (pin.of.kind, &*pin.of.item, &*pin.by, &*pin.reason),
            (PinKind::Tool, "search", "ada", "looked at")
        );
        let mark = PinMark { approved: Some(Digest([9; 32])), waiting: Some(Digest([10; 32])) };
        assert_eq!(
            (pin.mark(), pin.since, pin.seen),
            (mark, Some(Timestamp::from_ms(1000)), Some(Timestamp::from_ms(2000)))
        );
        let text = |shape: &Option<PinShape>| shape.as_ref().and_then(|shape| shape.text.clone());
        assert_eq!((text(&pin.approved), text(&pin.waiting)), (Some("{\"name\":\"search\"}".into()), None));
        assert_eq!(store.snapshot().await.expect("read").pins, [(pin.of.clone(), mark)]);
    }

    async fn check_approvals(store: &Database) {
        let which = WhichApprovals {
            waiting_at: Some(Timestamp::from_ms(2000)),
            most: 9,
            ..WhichApprovals::default()
        };
        let waiting = store.approvals(&which).await.expect("read");
        let [waiting] = &waiting[..] else { panic!("one approval") };
        assert_eq!(
            (waiting.id.as_str(), &*waiting.asked.native, waiting.needs[0].people),
            ("apr_1", "pay", 2)
        );
        assert_eq!((&*waiting.votes[0].by, &*waiting.votes[0].via), ("bob", "console"));
        assert_eq!((waiting.of.binding, waiting.until.as_ms()), (Digest([11; 32]), 9000));
    }

    async fn check_pseudonyms(store: &Database, has_numbers: bool) {
        let (owner, now, until) = (Digest([11; 32]), Timestamp::from_ms(2000), Timestamp::from_ms(3000));
        let found = store.names_of(NamesOf { owner, now, until }).await.expect("read");
        let [one] = &found.names[..] else { panic!("one name") };
        assert_eq!(found.numbers.get("EMAIL"), has_numbers.then_some(&7));
        assert_eq!((&*one.name, one.digest, &*one.sealed), ("<EMAIL_1>", Digest([12; 32]), "sealed"));
    }

    async fn check_registrations(store: &Database) {
        let which = WhichRegistrations { most: 9, ..WhichRegistrations::default() };
        let found = store.registrations(&which).await.expect("read");
        let [one] = &found[..] else { panic!("one registration") };
        assert_eq!((one.id.name.as_str(), one.life, one.share), ("crm", Life::Approved, 100));
        assert_eq!(store.snapshot().await.expect("read").registrations, [std::sync::Arc::new(one.clone())]);
    }

    async fn check_rules(store: &Database) {
        let found = store.all_rules(&WhichRules { most: 9, ..WhichRules::default() }).await.expect("read");
        let [one] = &found[..] else { panic!("one set of policies") };
        assert_eq!((&*one.id.name, one.in_force, one.versions.len()), ("pay", Some(1), 1));
        assert_eq!(store.snapshot().await.expect("read").rules, [std::sync::Arc::new(one.clone())]);
    }

    async fn check_findings(store: &Database) {
        let which = FindingQuery { until_day: u32::MAX, most: 9, ..FindingQuery::default() };
        let found = store.findings(&which).await.expect("read");
        let [one] = &found[..] else { panic!("one finding") };
        assert_eq!((&*one.rule, one.call, one.seq), ("personal.email", None, 7));
        let sums = store.finding_sums(&which, FindingBy::Rule).await.expect("read");
        assert_eq!(sums, [("personal.email".into(), 1)]);
    }

    async fn check_admins(store: &Database) {
        let keys = store.admin_keys(None, 9).await.expect("read");
        let [key] = &keys[..] else { panic!("one key") };
        assert_eq!((key.id.as_str(), &*key.name, &*key.by), ("a1", "deploy", "ada"));
        assert_eq!((key.hash, key.revoked), (KeyHash([7; 32]), Some(Timestamp::from_ms(3000))));
        let grants: Vec<_> = key.grants.iter().map(tollgate_store::AdminGrant::to_pair).collect();
        let expected = [("operator".to_owned(), Some("acme".to_owned())), ("viewer".to_owned(), None)];
        assert_eq!(grants, expected);
        let session = store.admin_session(&Digest([8; 32])).await.expect("read").expect("a session");
        assert_eq!((&*session.subject, &*session.groups), ("ada", &["ops".into()][..]));
        let once = store.begin_once(&Digest([9; 32]), &Digest([10; 32]), Timestamp::from_ms(2000)).await;
        let answered = tollgate_store::Once::Answered { status: 201, body: "{}".into() };
        assert_eq!(once.expect("read"), answered);
    }

    async fn check_allowances(store: &Database) {
        let take = TakeAllowance {
            of: Digest([5; 32]),
            from: Timestamp::from_ms(1000),
            until: Timestamp::from_ms(2000),
            now: Timestamp::from_ms(1500),
            allowed: 10,
            wanted: 9,
            owed: 0,
            unused: 0,
        };
        assert_eq!(store.take_allowance(&take).await.expect("taken"), Allowance { taken: 4, used: 10 });
    }

    /// A program that is older than what is stored neither reads nor changes it.
    async fn what_is_newer_is_refused(place: Place) {
        let newer = Database::new(&place, Bounds::default()).expect("a place");
        newer.prepare().await.expect("migrated");
        let later = "INSERT INTO tollgate_schema (version, at_ms) VALUES (1000, 1)";
        newer.script(later, later).await;
        let old = Database::new(&place, Bounds::default()).expect("a place");
        for error in [old.prepare().await.expect_err("too new"), old.head().await.expect_err("too new")] {
            assert!(matches!(error, StoreError::TooNew { found: 1000, known: NEWEST }), "{error}");
        }
    }

    impl Database {
        /// Does something to it that no program of this version does.
        async fn script(&self, sqlite: &'static str, postgres: &'static str) {
            let mut writing = self.begin(crate::database::Begin::Write).await.expect("a transaction");
            let script = if self.is_postgres() { postgres } else { sqlite };
            writing.connection.script(script).await.expect("done");
            writing.commit().await.expect("committed");
        }
    }

    #[tokio::test]
    async fn sqlite_comes_from_every_version() {
        let folder = tempfile::tempdir().expect("a folder");
        let number = std::cell::Cell::new(0);
        every_version_comes_to_the_newest(|| {
            number.set(number.get() + 1);
            Place::File(folder.path().join(format!("{}.db", number.get())))
        })
        .await;
    }

    fn database() -> Place {
        let url = tollgate_database::Server::shared().database();
        Place::postgres(tollgate_model::Secret::new(url)).expect("a place")
    }

    #[tokio::test]
    async fn postgres_comes_from_every_version() {
        every_version_comes_to_the_newest(database).await;
    }

    #[tokio::test]
    async fn a_newer_postgres_is_refused() {
        what_is_newer_is_refused(database()).await;
    }

    #[tokio::test]
    async fn a_newer_sqlite_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        what_is_newer_is_refused(Place::File(folder.path().join("newer.db"))).await;
    }
}
