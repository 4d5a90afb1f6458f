//! The index of the ledger, and what was used.

#![allow(missing_docs, reason = "their names say what they show")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::sync::Arc;

use tollgate_model::Timestamp;

use super::model::Dice;
use super::{Place, open};
use crate::{
    Arrived, AuditBatch, AuditFound, AuditIndex, AuditName, AuditQuery, AuditRow, BLOCK_ROWS_MAX, Followed,
    Memory, OPEN, Place as At, SMALL_BLOCKS_MAX, Store, Usage, UsageBy, UsageKey, UsageOrder, UsageQuery,
    UsageRow, UsageSum, WhoseNames,
};

/// A day in the year 2026, in days since 1970.
const DAY: u64 = 20_500;
const DAY_MS: u64 = 86_400_000;

impl Dice {
    fn text(&mut self, what: &str, sides: u64) -> Option<Arc<str>> {
        match self.below(sides + 1) {
            0 => None,
            side => Some(format!("{what} {side}").into()),
        }
    }
}

/// Row `number` of a writer: its entries are `2 * number + 1` and the one after.
fn row(writer: &str, number: u64, dice: &mut Dice) -> AuditRow {
    AuditRow {
        writer: writer.into(),
        begin: At { seq: 2 * number + 1, offset: number * 700 },
        end: Some(At { seq: 2 * number + 2, offset: number * 700 + 400 }),
        // Not quite in their order, as calls end.
        time: Timestamp::from_ms(DAY * DAY_MS + number * 10 + dice.below(100)),
        kind: ["call", "call", "call", "refusal", "list"][usize::try_from(dice.below(5)).unwrap()].into(),
        call: Some(u128::from(number / 2) << 70 | 7),
        step: u32::try_from(number % 2).unwrap(),
        element: (dice.below(9) == 0).then_some(3),
        tenant: dice.text("tenant", 3),
        agent: dice.text("agent", 20),
        user: dice.text("user", 700),
        session: dice.text("session", 50),
        client: dice.text("client", 5),
        method: Some("tools/call".into()),
        endpoint: dice.text("", 2),
        server: dice.text("server", 9),
        public_name: dice.text("crm__tool", 40),
        native_name: dice.text("tool", 40),
        outcome: dice.text("outcome", 6),
        code: dice.text("code", 8),
        stage: dice.text("stage", 4),
        change: dice.text("change", 1),
        policies: (0..dice.below(4)).filter_map(|_| dice.text("policy", 30)).collect(),
        trace: (dice.below(3) != 0).then_some(u128::from(number) * 0x1234_5678_9abc_def1_2345),
        digest: (dice.below(5) != 0).then(|| format!("digest {}", dice.below(5_000)).into()),
        total_us: dice.below(1_000_000),
        sent_bytes: dice.below(1_000),
        received_bytes: dice.below(1_000_000_000_000),
        sent_tokens: dice.below(300),
        received_tokens: dice.below(300),
    }
}

/// Batches of one writer, each behind the one before.
struct Feeder {
    writer: Arc<str>,
    at: Option<Followed>,
}

impl Feeder {
    fn new(writer: &str) -> Self {
        Self { writer: writer.into(), at: None }
    }

    fn batch(&mut self, rows: Vec<AuditRow>, opened: Vec<AuditRow>) -> AuditBatch {
        let last =
            rows.iter().filter_map(AuditRow::end_seq).chain(opened.iter().map(|row| row.begin.seq)).max();
        let before = self.at.unwrap_or_default();
        let seq = last.unwrap_or(0).max(before.seq + 1);
        let upto = Followed { segment: 1, offset: seq * 350, seq, used: seq };
        let batch = AuditBatch {
            writer: Arc::clone(&self.writer),
            after: self.at,
            upto,
            rows,
            opened,
            ..AuditBatch::default()
        };
        self.at = Some(upto);
        batch
    }

    async fn add(&mut self, store: &dyn Store, rows: Vec<AuditRow>) {
        let batch = self.batch(rows, Vec::new());
        assert!(store.add_entries(&batch).await.unwrap());
    }
}

fn all() -> AuditQuery {
    AuditQuery { most: 10_000, ..AuditQuery::default() }
}

/// The seqs of what was found.
fn seqs(found: &AuditFound) -> Vec<u64> {
    found.rows.iter().map(|row| row.begin.seq).collect()
}

pub async fn what_happened_is_found_by_all_that_it_says(place: &dyn Place) {
    let (store, plain) = (open(place), Memory::default());
    let mut dice = Dice(7);
    for writer in ["one", "two"] {
        let mut feeder = Feeder::new(writer);
        let mut number = 0;
        // Small batches and large ones, so that there are blocks of all sizes.
        for size in [1, 1, 3, 200, 900, BLOCK_ROWS_MAX as u64 + 5, 40, 1] {
            let rows: Vec<AuditRow> =
                (number..number + size).map(|number| row(writer, number, &mut dice)).collect();
            number += size;
            let open = row(writer, number + 50_000, &mut dice);
            let batch = feeder.batch(rows, vec![AuditRow { end: None, ..open }]);
            feeder.at = Some(Followed { seq: 2 * number, ..batch.upto });
            let batch = AuditBatch { upto: feeder.at.unwrap(), ..batch };
            assert!(store.add_entries(&batch).await.unwrap());
            assert!(plain.add_entries(&batch).await.unwrap());
        }
    }
    let some = plain.search(&all()).await.unwrap().rows;
    let ask = async |query: AuditQuery| {
        let (found, expected) =
            (store.search(&query).await.unwrap().rows, plain.search(&query).await.unwrap().rows);
        assert_eq!(found, expected, "{query:?}");
        found.len()
    };
    assert_eq!(ask(all()).await, 10_000, "the most that is given");
    for most in [1, 2, 50, 5_000] {
        assert_eq!(ask(AuditQuery { most, ..all() }).await, most);
    }
    // By each alone, then by several at once, as many of them as the dice say.
    let text = |text: &Option<Arc<str>>| text.as_ref().map(ToString::to_string);
    for number in 0..400_u64 {
        let like = &some[usize::try_from(dice.below(some.len() as u64)).unwrap()];
        let mut is = |field: u64| if number < 14 { number == field } else { dice.below(4) == 0 };
        let query = AuditQuery {
            since: is(0).then_some(like.time),
            until: is(1).then(|| Timestamp::from_ms(like.time.as_ms() + 1)),
            kind: is(2).then(|| like.kind.to_string()),
            tenant: text(&like.tenant).filter(|_| is(3)),
            agent: text(&like.agent).filter(|_| is(4)),
            user: text(&like.user).filter(|_| is(5)),
            server: text(&like.server).filter(|_| is(6)),
            tool: text(if number % 2 == 0 { &like.public_name } else { &like.native_name }).filter(|_| is(7)),
            outcome: if like.end.is_none() { Some(OPEN.to_owned()) } else { text(&like.outcome) }
                .filter(|_| is(8)),
            code: text(&like.code).filter(|_| is(9)),
            policy: like.policies.last().map(ToString::to_string).filter(|_| is(10)),
            trace: like.trace.filter(|_| is(11)),
            call: like.call.filter(|_| is(12)),
            digest: text(&like.digest).filter(|_| is(13)),
            most: usize::try_from(1 + dice.below(300)).unwrap(),
        };
        assert!(ask(query).await > 0, "at least the one that it is like");
    }
    assert_eq!(ask(AuditQuery { tool: Some("tool 41".into()), ..all() }).await, 0);
    let between = AuditQuery { agent: Some("agent 1".into()), user: Some("agent 1".into()), ..all() };
    assert_eq!(ask(between).await, 0, "what is an agent's is no user's");
}

pub async fn entries_are_taken_in_once(place: &dyn Place) {
    let (one, other) = (open(place), open(place));
    assert_eq!(one.followed("w").await.unwrap(), None);
    let mut dice = Dice(1);
    let mut feeder = Feeder::new("w");
    let first = feeder.batch(vec![row("w", 0, &mut dice)], Vec::new());
    assert!(one.add_entries(&first).await.unwrap());
    assert!(!other.add_entries(&first).await.unwrap(), "somebody was quicker");
    assert_eq!(other.followed("w").await.unwrap(), Some(first.upto));
    let second = feeder.batch(vec![row("w", 1, &mut dice)], Vec::new());
    let (a, b) = tokio::join!(one.add_entries(&second), other.add_entries(&second));
    assert_eq!(usize::from(a.unwrap()) + usize::from(b.unwrap()), 1, "one of them");
    assert_eq!(seqs(&one.search(&all()).await.unwrap()).len(), 2);
    assert_eq!(one.arrived_so_far().await.unwrap(), [("w".into(), 4)].into());
    assert_eq!(other.followed("v").await.unwrap(), None, "another writer has its own place");
}

/// As replicas do: each indexes its own writer, and all look after one that is gone.
pub async fn several_replicas_index_into_one_store(place: &dyn Place) {
    const BATCHES: u64 = 12;
    const ROWS: u64 = 70;
    let used = |calls: u64| {
        let key = UsageKey { day: 20_000, tenant: "acme".into(), ..UsageKey::default() };
        vec![UsageRow { key, sum: UsageSum { calls, ..UsageSum::default() } }]
    };
    let batches = |writer: &str, seed: u64| {
        let (mut feeder, mut dice) = (Feeder::new(writer), Dice(seed));
        let batch = |number: u64| {
            let rows = (number * ROWS..(number + 1) * ROWS).map(|row_of| row(writer, row_of, &mut dice));
            let rows = rows.collect();
            AuditBatch { used: used(ROWS), ..feeder.batch(rows, Vec::new()) }
        };
        (0..BATCHES).map(batch).collect::<Vec<_>>()
    };
    let left = Arc::new(batches("gone", 99));
    let mut replicas = tokio::task::JoinSet::new();
    for replica in 0..4 {
        let (store, left) = (open(place), Arc::clone(&left));
        let own = batches(&format!("replica {replica}"), replica);
        replicas.spawn(async move {
            let mut taken = 0;
            for (own, left) in own.iter().zip(&*left) {
                assert!(store.add_entries(own).await.unwrap(), "nobody else has this writer");
                // Whoever is not the first looks where the others are, and goes on there.
                if store.followed("gone").await.unwrap() == left.after {
                    taken += u64::from(store.add_entries(left).await.unwrap());
                }
            }
            taken
        });
    }
    let mut taken = 0;
    while let Some(replica) = replicas.join_next().await {
        taken += replica.unwrap();
    }
    // What nobody has taken in their turn.
    let store = open(place);
    for batch in &*left {
        taken += u64::from(store.add_entries(batch).await.unwrap());
    }
    assert_eq!(taken, BATCHES, "each once");
    let found = store.search(&all()).await.unwrap();
    let mut places: Vec<_> = found.rows.iter().map(|row| (Arc::clone(&row.writer), row.begin.seq)).collect();
    places.sort_unstable();
    let mut expected: Vec<(Arc<str>, u64)> = Vec::new();
    for writer in ["gone", "replica 0", "replica 1", "replica 2", "replica 3"] {
        expected.extend((0..BATCHES * ROWS).map(|number| (writer.into(), 2 * number + 1)));
    }
    assert_eq!(places.len(), expected.len());
    assert_eq!(places, expected);
    let sums = UsageQuery { until_day: u32::MAX, most: 9, ..UsageQuery::default() };
    assert_eq!(store.usage(&sums).await.unwrap()[0].sum.calls, 5 * BATCHES * ROWS);
}

pub async fn a_call_is_open_until_its_outcome_comes(place: &dyn Place) {
    let store = open(place);
    let mut feeder = Feeder::new("w");
    let mut dice = Dice(2);
    let complete: Vec<AuditRow> = (0..70).map(|number| row("w", number, &mut dice)).collect();
    let opened: Vec<AuditRow> =
        complete.iter().map(|row| AuditRow { end: None, outcome: None, ..row.clone() }).collect();
    let batch = feeder.batch(Vec::new(), opened.clone());
    assert!(store.add_entries(&batch).await.unwrap());
    assert_eq!(store.open_calls("w").await.unwrap(), opened);
    assert_eq!(store.open_calls("v").await.unwrap(), []);
    let open_now = AuditQuery { outcome: Some(OPEN.into()), ..all() };
    assert_eq!(store.search(&open_now).await.unwrap().rows.len(), 70);
    let closed = complete[..69].iter().map(|row| row.begin.seq).collect();
    let batch = AuditBatch { closed, ..feeder.batch(complete[..69].to_vec(), Vec::new()) };
    assert!(store.add_entries(&batch).await.unwrap());
    assert_eq!(store.open_calls("w").await.unwrap(), opened[69..]);
    assert_eq!(store.search(&open_now).await.unwrap().rows, opened[69..]);
    assert_eq!(store.search(&all()).await.unwrap().rows.len(), 70, "each is there once");
}

pub async fn what_arrives_is_told_in_its_order(place: &dyn Place) {
    let store = open(place);
    let mut dice = Dice(3);
    let mut feeders = [Feeder::new("one"), Feeder::new("two")];
    let mut seen = store.arrived_so_far().await.unwrap();
    let (mut told, mut numbers) = ([Vec::new(), Vec::new()], [0, 0]);
    // More batches than blocks may wait, so that blocks are joined meanwhile.
    for turn in 0..2 * SMALL_BLOCKS_MAX + 3 {
        let which = turn % 2;
        let size = 1 + dice.below(30);
        let rows = (numbers[which]..numbers[which] + size)
            .map(|number| row(["one", "two"][which], number, &mut dice))
            .collect();
        numbers[which] += size;
        feeders[which].add(&*store, rows).await;
        if dice.below(3) == 0 {
            continue;
        }
        for row in store.arrived(&mut seen, &all(), 7).await.unwrap().rows {
            told[usize::from(*row.writer == *"two")].push(row.begin.seq);
        }
    }
    loop {
        let rows = store.arrived(&mut seen, &all(), 50).await.unwrap().rows;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            told[usize::from(*row.writer == *"two")].push(row.begin.seq);
        }
    }
    for (told, number) in told.iter().zip(numbers) {
        assert_eq!(*told, (0..number).map(|number| 2 * number + 1).collect::<Vec<_>>());
    }
    // What does not fit is passed over.
    let mut from_start: Arrived = [("two".into(), u64::MAX)].into();
    let none = AuditQuery { tenant: Some("nobody".into()), ..all() };
    while from_start.get("one").is_none_or(|seen| *seen < numbers[0] * 2) {
        assert_eq!(store.arrived(&mut from_start, &none, 100).await.unwrap().rows, []);
    }
}

fn name(reference: &str, kind: &str, tenant: &str, text: &str) -> AuditName {
    AuditName {
        reference: reference.into(),
        kind: kind.into(),
        tenant: tenant.into(),
        text: text.into(),
        seen: Timestamp::from_ms(5_000),
    }
}

pub async fn names_are_found_until_they_are_forgotten(place: &dyn Place) {
    let store = open(place);
    let mut dice = Dice(4);
    let mut feeder = Feeder::new("w");
    let rows = ["ann-at-acme", "ann-at-beta", "bob"].into_iter().enumerate().map(|(number, user)| AuditRow {
        agent: Some("bot".into()),
        user: Some(user.into()),
        ..row("w", number as u64, &mut dice)
    });
    let batch = AuditBatch {
        names: vec![
            name("ann-at-acme", "user", "acme", "Ann \"O\" Ünal"),
            name("ann-at-beta", "user", "beta", "Ann \"O\" Ünal"),
            name("bob", "user", "acme", "bob"),
            name("bot", "agent", "acme", "Ann \"O\" Ünal"),
        ],
        ..feeder.batch(rows.collect(), Vec::new())
    };
    assert!(store.add_entries(&batch).await.unwrap());
    let ann = AuditQuery { user: Some("Ann \"O\" Ünal".into()), ..all() };
    let found = store.search(&ann).await.unwrap();
    assert_eq!(found.rows.len(), 2);
    assert_eq!(found.names.len(), 3);
    assert_eq!(&*found.names["ann-at-beta"], "Ann \"O\" Ünal");
    let references: Vec<Arc<str>> = vec!["bob".into(), "nobody".into(), "bob".into()];
    assert_eq!(store.names(&references).await.unwrap(), [("bob".into(), "bob".into())].into());
    let of_agent = AuditQuery { agent: Some("Ann \"O\" Ünal".into()), ..all() };
    assert_eq!(store.search(&of_agent).await.unwrap().rows.len(), 3);
    let by_reference = AuditQuery { user: Some("ann-at-acme".into()), ..all() };
    assert_eq!(store.search(&by_reference).await.unwrap().rows.len(), 1);

    // What was seen since is still in the record, and stays.
    let ann_until = |ms| WhoseNames::User {
        user: "Ann \"O\" Ünal".into(),
        tenant: Some("acme".into()),
        before: Timestamp::from_ms(ms),
    };
    let acme_until = |ms| WhoseNames::Tenant { tenant: "acme".into(), before: Timestamp::from_ms(ms) };
    assert_eq!(store.forget_names(&ann_until(5_000)).await.unwrap(), 0);
    assert_eq!(store.forget_names(&acme_until(5_000)).await.unwrap(), 0);
    let of_acme = ann_until(u64::MAX);
    assert_eq!(store.forget_names(&of_acme).await.unwrap(), 1);
    assert_eq!(store.forget_names(&of_acme).await.unwrap(), 0);
    assert_eq!(store.search(&ann).await.unwrap().rows.len(), 1);
    let found = store.search(&by_reference).await.unwrap();
    assert_eq!((found.rows.len(), found.names.get("ann-at-acme")), (1, None), "the row stays");
    assert_eq!(store.forget_names(&acme_until(5_001)).await.unwrap(), 2);
    for (whose, count) in [
        (WhoseNames::users_before(Timestamp::from_ms(5_000)), 0),
        (WhoseNames::agents_before(Timestamp::from_ms(6_000)), 0),
        (WhoseNames::users_before(Timestamp::from_ms(5_001)), 1),
    ] {
        assert_eq!(store.forget_names(&whose).await.unwrap(), count, "{whose:?}");
    }
    assert_eq!(store.search(&all()).await.unwrap().names.len(), 0);
}

pub async fn old_rows_go_and_an_index_is_made_again(place: &dyn Place) {
    let store = open(place);
    let mut dice = Dice(5);
    let mut feeders = [Feeder::new("one"), Feeder::new("two")];
    let row_of = |writer: &str, number: u64, day: u64, dice: &mut Dice| AuditRow {
        time: Timestamp::from_ms((DAY + day) * DAY_MS + number),
        ..row(writer, number, dice)
    };
    // All in one batch, of four days.
    for feeder in &mut feeders {
        let writer = Arc::clone(&feeder.writer);
        let rows = (0..40).map(|number| row_of(&writer, number, number / 10 * 2, &mut dice)).collect();
        feeder.add(&*store, rows).await;
    }
    let before = Timestamp::from_ms((DAY + 4) * DAY_MS);
    assert_eq!(store.forget_rows(before, 100).await.unwrap(), 40);
    let rows = store.search(&all()).await.unwrap().rows;
    assert_eq!(rows.len(), 40);
    assert!(rows.iter().all(|row| row.time >= before));

    store.forget_index(Some("two")).await.unwrap();
    assert!(store.search(&all()).await.unwrap().rows.iter().all(|row| *row.writer == *"one"));
    let used = feeders[1].at.unwrap().used;
    let at = store.followed("two").await.unwrap();
    assert_eq!(at, Some(Followed { used, ..Followed::default() }), "what was used is not counted again");
    let late = feeders[1].batch(vec![row("two", 40, &mut dice)], Vec::new());
    assert!(!store.add_entries(&late).await.unwrap(), "whoever was about to go on has to begin anew");
    let mut again = Feeder { at, ..Feeder::new("two") };
    again.add(&*store, vec![row("two", 0, &mut dice)]).await;
    store.forget_index(None).await.unwrap();
    assert_eq!(store.search(&all()).await.unwrap().rows, []);
}

/// Sums of some days, of a store that is given the same as one in memory.
async fn random_usage(feeder: &mut Feeder, stores: [&dyn Store; 2], dice: &mut Dice, days: u64) {
    let used = (0..dice.below(100)).map(|_| UsageRow {
        key: UsageKey {
            day: 20_000 + u32::try_from(dice.below(days)).unwrap(),
            tenant: dice.text("tenant", 2).unwrap_or_default(),
            agent: dice.text("agent", 3).unwrap_or_default(),
            server: dice.text("server", 2).unwrap_or_default(),
            tool: dice.text("tool", 3).unwrap_or_default(),
        },
        sum: UsageSum {
            calls: dice.below(10),
            errors: dice.below(3),
            refused: dice.below(2),
            sent_bytes: dice.below(1_000),
            received_bytes: dice.below(1 << 40),
            sent_tokens: dice.below(100),
            received_tokens: dice.below(100),
            cost_nano: dice.below(1_000_000_000),
        },
    });
    let mut sums = std::collections::BTreeMap::<UsageKey, UsageSum>::new();
    for row in used {
        sums.entry(row.key).or_default().add(&row.sum);
    }
    let used = sums.into_iter().map(|(key, sum)| UsageRow { key, sum }).collect();
    let batch = AuditBatch { used, ..feeder.batch(Vec::new(), Vec::new()) };
    for store in stores {
        assert!(store.add_entries(&batch).await.unwrap());
        assert!(!store.add_entries(&batch).await.unwrap(), "not twice");
    }
}

/// Every way of telling sums apart.
fn all_ways() -> impl Iterator<Item = UsageBy> {
    let is = |way: u32, nth: u32| way >> nth & 1 == 1;
    (0..32).map(move |way| UsageBy {
        day: is(way, 0),
        tenant: is(way, 1),
        agent: is(way, 2),
        server: is(way, 3),
        tool: is(way, 4),
    })
}

/// Whatever is asked for, the sums are those of the plain store, which adds up what came row by row.
async fn assert_sums(store: &dyn Store, plain: &Memory, dice: &mut Dice, days: u64) {
    for by in all_ways() {
        let day = |dice: &mut Dice| 19_999 + u32::try_from(dice.below(days + 2)).unwrap();
        let random = [(); 2].map(|()| (day(dice), day(dice)));
        for (since_day, until_day) in [(0, u32::MAX), (5, 6)].into_iter().chain(random) {
            let tenant = if dice.below(2) == 0 { None } else { Some("tenant 1".into()) };
            for order in [UsageOrder::Keys, UsageOrder::MostCalls] {
                let most = if dice.below(2) == 0 { 20 } else { 100_000 };
                let which = UsageQuery { since_day, until_day, tenant: tenant.clone(), by, order, most };
                let (sums, expected) =
                    (store.usage(&which).await.unwrap(), plain.usage(&which).await.unwrap());
                assert_eq!(sums, expected, "{which:?}");
            }
        }
    }
}

pub async fn what_was_used_is_added_up(place: &dyn Place) {
    const DAYS: u64 = 40;
    let store = open(place);
    let plain = Memory::default();
    let mut dice = Dice(6);
    let mut feeder = Feeder::new("w");
    for _ in 0..20 {
        random_usage(&mut feeder, [&*store, &plain], &mut dice, DAYS).await;
    }
    assert_sums(&*store, &plain, &mut dice, DAYS).await;
    // Days are forgotten in the middle of what is added up together, and at its edge; and late entries of days that are forgotten
    // are counted as they are elsewhere.
    for before in [20_003, 20_003, 20_008, 20_021] {
        assert_eq!(store.forget_usage(before).await.unwrap(), plain.forget_usage(before).await.unwrap());
        assert_sums(&*store, &plain, &mut dice, DAYS).await;
        random_usage(&mut feeder, [&*store, &plain], &mut dice, DAYS).await;
        assert_sums(&*store, &plain, &mut dice, DAYS).await;
    }
    // Made again, the index counts nothing twice: whoever reads again begins behind what is in the sums.
    store.forget_index(None).await.unwrap();
    assert_sums(&*store, &plain, &mut dice, DAYS).await;
    assert!(store.forget_usage(u32::MAX).await.unwrap() > 0);
    for by in all_ways() {
        let all = UsageQuery { until_day: u32::MAX, by, most: 9, ..UsageQuery::default() };
        assert_eq!(store.usage(&all).await.unwrap(), []);
    }
}

/// Gateways that add to the same sums and know the same names at once: none is lost, and none waits for the other in a circle.
pub async fn several_gateways_add_to_the_same_sums(place: &dyn Place) {
    const BATCHES: u64 = 12;
    const KEYS: u64 = 150;
    let mut gateways = tokio::task::JoinSet::new();
    for gateway in 0..3_u64 {
        let store = open(place);
        gateways.spawn(async move {
            let mut feeder = Feeder::new(&format!("gateway {gateway}"));
            for _ in 0..BATCHES {
                // Each in an order of its own.
                let order = (0..KEYS).map(|nth| if gateway == 1 { KEYS - 1 - nth } else { nth });
                let used = order.clone().map(|nth| UsageRow {
                    key: UsageKey {
                        day: 20_000,
                        tenant: "acme".into(),
                        tool: format!("{nth}").into(),
                        ..UsageKey::default()
                    },
                    sum: UsageSum { calls: 1, ..UsageSum::default() },
                });
                let names = order.clone().map(|nth| name(&format!("ref {nth}"), "user", "acme", "ann"));
                let batch = AuditBatch {
                    used: used.collect(),
                    names: names.collect(),
                    ..feeder.batch(Vec::new(), Vec::new())
                };
                assert!(store.add_entries(&batch).await.unwrap());
            }
        });
    }
    while let Some(done) = gateways.join_next().await {
        done.unwrap();
    }
    let store = open(place);
    for by in all_ways() {
        let all = UsageQuery { until_day: u32::MAX, by, most: 1_000, ..UsageQuery::default() };
        let sums = store.usage(&all).await.unwrap();
        assert_eq!(sums.iter().map(|row| row.sum.calls).sum::<u64>(), 3 * BATCHES * KEYS, "{by:?}");
    }
}
