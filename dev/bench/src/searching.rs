//! What the index of the ledger costs a call, and what it takes to find something among many calls. Of one process, with SQLite.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_backends::{Bounds, Place as Database, open};
use tollgate_ledger::{
    Decided, Draft, Entry, Index, IndexSettings, Kind, Latency, Ledger, LedgerSettings, Outcome, Sizes,
};
use tollgate_model::Timestamp;
use tollgate_store::{AuditBatch, AuditName, AuditQuery, AuditRow, BLOCK_ROWS_MAX, Followed, Place, Store};

use crate::Result;
use crate::say::{line, note};

/// How long the calls took that are searched: a quarter of a year.
const SPAN_MS: u64 = 90 * 86_400_000;
/// How often each search is asked.
const ASKED: usize = 5;
/// How many calls come into the index at once while a gateway serves 3,000 a second.
const LIVE: usize = 600;

/// Measures both.
pub(crate) fn measure(rows: u64, folder: Option<&Path>) -> Result<()> {
    let temporary = match folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        cost(temporary.path()).await?;
        find(temporary.path(), rows).await
    })
}

/// What this process has used of the processors, in microseconds.
fn cpu_us() -> Result<u64> {
    let stat = fs::read_to_string("/proc/self/schedstat").ok();
    // Of all threads, in nanoseconds.
    let mut nanos = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let text =
            fs::read_to_string(task?.path().join("schedstat")).or(stat.clone().ok_or("no schedstat"))?;
        nanos += text.split(' ').next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(nanos / 1_000)
}

fn store(folder: &Path, name: &str) -> Result<Arc<dyn Store>> {
    let bounds = Bounds { call_max: Duration::from_mins(1), ..Bounds::default() };
    Ok(open(&Database::File(folder.join(name)), bounds)?)
}

/// A call as the gateway records it.
async fn record(ledger: &Ledger, number: u64) -> Result<()> {
    let tool = format!("tool_{}", number % 40);
    let entry = Entry {
        tenant: Some("acme".into()),
        method: Some("tools/call".into()),
        revision: Some("2026-07-28".into()),
        era: Some("modern".into()),
        client: Some("support-agent/3.1.4".into()),
        endpoint: Some("".into()),
        server: Some("crm".into()),
        instance: Some("http-1".into()),
        public_name: Some(format!("crm__{tool}").into()),
        native_name: Some(tool.into()),
        definition: Some("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef".into()),
        decision: Some(Decided {
            allowed: true,
            set: Some("fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210".into()),
            at_ms: 1_790_000_000_000,
            policies: vec!["support-may-search".into(), "business-hours".into()],
            ..Decided::default()
        }),
        trace: Some(format!("{:032x}", u128::from(number) << 64 | 0x1234_5678).into()),
        ..Entry::of(Kind::Intent)
    };
    let receipt = ledger.intend(Draft::of(entry)).await?;
    let entry = Entry {
        outcome: Some(Outcome::Ok),
        sizes: Some(Sizes { sent_bytes: 200, received_bytes: 1_200, sent_tokens: 40, received_tokens: 300 }),
        latency: Some(Latency {
            total_us: 3_000,
            policy_us: 12,
            ledger_us: 9,
            upstream_us: 2_800,
            ..Latency::default()
        }),
        ..Entry::of(Kind::Outcome)
    };
    receipt.close(Draft::of(entry)).await?;
    Ok(())
}

/// What the index costs of a call: when it has much to catch up with, and when it follows.
async fn cost(folder: &Path) -> Result<()> {
    const CALLS: u64 = 200_000;
    const ROUNDS: u64 = 40;
    let ledger = Ledger::open(&folder.join("ledger"), LedgerSettings::default())?;
    for number in 0..CALLS {
        record(&ledger, number).await?;
    }
    let store = store(folder, "cost.db")?;
    store.prepare().await?;
    let (began, before) = (Instant::now(), cpu_us()?);
    let index =
        Index::start(&ledger, Arc::clone(&store), IndexSettings::default(), None).ok_or("it is off")?;
    index.settle(Duration::from_mins(5)).await;
    let (took, used) = (began.elapsed(), cpu_us()? - before);
    line(&format!(
        "index, catching up: {} us of CPU a call, {:.0} calls a second",
        hundredths(used, CALLS),
        f64::from(u32::try_from(CALLS).unwrap_or(u32::MAX)) / took.as_secs_f64()
    ));
    let mut used = 0;
    for round in 0..ROUNDS {
        for number in 0..LIVE as u64 {
            record(&ledger, CALLS + round * LIVE as u64 + number).await?;
        }
        let before = cpu_us()?;
        index.settle(Duration::from_mins(1)).await;
        // What it does afterwards, as ending a transaction, is its cost too.
        tokio::time::sleep(Duration::from_millis(20)).await;
        used += cpu_us()? - before;
    }
    line(&format!(
        "index, following {LIVE} calls at a time: {} us of CPU a call",
        hundredths(used, ROUNDS * LIVE as u64)
    ));
    ledger.close().await;
    Ok(())
}

pub(crate) fn hundredths(used: u64, calls: u64) -> String {
    let hundredths = used * 100 / calls.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Numbers that look random and are always the same.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// The texts that rows have in common.
pub(crate) struct Words {
    pub(crate) tenants: Vec<Arc<str>>,
    pub(crate) agents: Vec<Arc<str>>,
    users: Vec<Arc<str>>,
    pub(crate) servers: Vec<Arc<str>>,
    pub(crate) public: Vec<Arc<str>>,
    pub(crate) native: Vec<Arc<str>>,
    policies: Vec<Arc<str>>,
}

impl Words {
    pub(crate) fn new(servers: usize, tools: usize) -> Self {
        let many = |what: &str, count: usize| (0..count).map(|nth| format!("{what}{nth}").into()).collect();
        Self {
            tenants: many("tenant-", 10),
            agents: many("agentref00000", 200),
            users: many("userref000000", 10_000),
            servers: many("server-", servers),
            public: many("server__tool_", tools),
            native: many("tool_", tools),
            policies: many("policy-", 50),
        }
    }

    pub(crate) fn row(&self, writer: &Arc<str>, number: u64, time: u64, dice: &mut Dice) -> AuditRow {
        let one = |of: &[Arc<str>], at: u64| of.get(usize::try_from(at).unwrap_or(0)).cloned();
        let (tools, servers) = (self.native.len() as u64, self.servers.len() as u64);
        let tool = dice.below(tools);
        let is_denied = dice.below(500) == 0;
        let text = |text: &str| Some(Arc::from(text));
        let random = u128::from(dice.below(1 << 30)) << 40 | u128::from(dice.below(1 << 30)) | 1;
        AuditRow {
            writer: Arc::clone(writer),
            begin: Place { seq: number * 2 + 1, offset: number * 900 },
            end: Some(Place { seq: number * 2 + 2, offset: number * 900 + 600 }),
            time: Timestamp::from_ms(time),
            kind: if is_denied { "refusal".into() } else { "call".into() },
            call: Some(u128::from(time) << 80 | random),
            tenant: one(&self.tenants, dice.below(10)),
            agent: one(&self.agents, dice.below(200)),
            user: one(&self.users, dice.below(10_000)),
            method: text("tools/call"),
            server: one(&self.servers, tool / (tools / servers.max(1)).max(1)),
            public_name: one(&self.public, tool),
            native_name: one(&self.native, tool),
            outcome: if is_denied { text("denied") } else { text("ok") },
            code: is_denied.then(|| "policy_denied".into()),
            policies: one(&self.policies, dice.below(50)).into_iter().collect(),
            trace: Some(random << 30 | u128::from(number)),
            digest: Some(format!("digest{:016x}", random & u128::from(u64::MAX)).into()),
            total_us: dice.below(100_000),
            sent_bytes: 200,
            received_bytes: dice.below(10_000),
            sent_tokens: 40,
            received_tokens: dice.below(3_000),
            ..AuditRow::default()
        }
    }
}

/// What it takes to find something.
async fn find(folder: &Path, rows: u64) -> Result<()> {
    let store = store(folder, "search.db")?;
    store.prepare().await?;
    let (words, mut dice) = (Words::new(20, 400), Dice(1));
    let writer: Arc<str> = "writer".into();
    let now = Timestamp::now().as_ms();
    let names = words.users.iter().take(100).map(|user| AuditName {
        reference: Arc::clone(user),
        kind: "user".into(),
        tenant: "tenant-0".into(),
        text: format!("{user}@acme.example").into(),
        seen: Timestamp::from_ms(now),
    });
    let mut names: Vec<AuditName> = names.collect();
    let time = |number| now - SPAN_MS + SPAN_MS / rows.max(1) * number;
    let (mut after, mut number, mut like) = (None, 0, None);
    let (began, before) = (Instant::now(), cpu_us()?);
    while number < rows {
        let end = rows.min(number + BLOCK_ROWS_MAX as u64);
        let batch: Vec<AuditRow> =
            (number..end).map(|number| words.row(&writer, number, time(number), &mut dice)).collect();
        if (number..end).contains(&(rows / 3)) {
            like = batch.first().cloned();
        }
        let upto = Followed { segment: 1, offset: end, seq: end * 2, used: end * 2 };
        let batch = AuditBatch {
            writer: Arc::clone(&writer),
            after,
            upto,
            rows: batch,
            names: std::mem::take(&mut names),
            ..AuditBatch::default()
        };
        if !store.add_entries(&batch).await? {
            return Err("somebody else writes there".into());
        }
        (after, number) = (Some(upto), end);
        if number % (BLOCK_ROWS_MAX as u64 * 250) == 0 {
            note(&format!("{number} of {rows} rows"));
        }
    }
    line(&format!(
        "{rows} rows: made and taken in within {:.0} s, {} us of CPU each",
        began.elapsed().as_secs_f64(),
        hundredths(cpu_us()? - before, rows)
    ));
    let bytes: u64 = ["search.db", "search.db-wal"]
        .iter()
        .filter_map(|name| folder.join(name).metadata().ok())
        .map(|file| file.len())
        .sum();
    line(&format!("{} bytes a row on disk", bytes / rows.max(1)));
    let like = like.ok_or("no row to look for")?;
    searches(&*store, &like, now).await
}

/// Each kind of search, by what one row has that is a third of the way from the oldest.
async fn searches(store: &dyn Store, like: &AuditRow, now: u64) -> Result<()> {
    let text = |text: &Option<Arc<str>>| text.as_ref().map(ToString::to_string);
    let all = || AuditQuery { most: 100, ..AuditQuery::default() };
    let ago = |days: u64| Some(Timestamp::from_ms(now - days * 86_400_000));
    let queries = [
        ("the newest 100", all()),
        (
            "a time: an hour 60 days ago",
            AuditQuery {
                since: ago(60),
                until: Some(Timestamp::from_ms(now - 60 * 86_400_000 + 3_600_000)),
                ..all()
            },
        ),
        ("tenant", AuditQuery { tenant: text(&like.tenant), ..all() }),
        ("agent", AuditQuery { agent: text(&like.agent), ..all() }),
        ("user, by reference", AuditQuery { user: text(&like.user), ..all() }),
        ("user, by name", AuditQuery { user: Some("userref00000042@acme.example".into()), ..all() }),
        ("server", AuditQuery { server: text(&like.server), ..all() }),
        ("tool", AuditQuery { tool: text(&like.public_name), ..all() }),
        ("outcome", AuditQuery { outcome: Some("denied".into()), ..all() }),
        ("code", AuditQuery { code: Some("policy_denied".into()), ..all() }),
        ("policy", AuditQuery { policy: like.policies.first().map(ToString::to_string), ..all() }),
        ("trace id", AuditQuery { trace: like.trace, ..all() }),
        ("call id", AuditQuery { call: like.call, ..all() }),
        ("argument digest", AuditQuery { digest: text(&like.digest), ..all() }),
        ("trace id that nobody had", AuditQuery { trace: Some(77), ..all() }),
        ("tenant that is not there", AuditQuery { tenant: Some("nobody".into()), ..all() }),
        ("user and tool", AuditQuery { user: text(&like.user), tool: text(&like.public_name), ..all() }),
        (
            "agent, tool and outcome",
            AuditQuery {
                agent: text(&like.agent),
                tool: text(&like.public_name),
                outcome: Some("denied".into()),
                ..all()
            },
        ),
        (
            "tenant, agent, user, server",
            AuditQuery {
                tenant: text(&like.tenant),
                agent: text(&like.agent),
                user: text(&like.user),
                server: text(&like.server),
                ..all()
            },
        ),
        (
            "two that never meet",
            AuditQuery { server: Some("server-0".into()), tool: Some("tool_399".into()), ..all() },
        ),
        (
            "tenant in a week 60 days ago",
            AuditQuery { tenant: text(&like.tenant), since: ago(60), until: ago(53), ..all() },
        ),
        ("agent, 10,000 of them", AuditQuery { agent: text(&like.agent), most: 10_000, ..all() }),
    ];
    line("| search | found | median ms | longest ms |\n|---|--:|--:|--:|");
    for (what, query) in queries {
        let mut times = Vec::new();
        let mut found = 0;
        for _ in 0..ASKED {
            let began = Instant::now();
            found = store.search(&query).await?.rows.len();
            times.push(began.elapsed().as_micros());
        }
        times.sort_unstable();
        let ms = |us: u128| format!("{}.{}", us / 1000, us % 1000 / 100);
        line(&format!("| {what} | {found} | {} | {} |", ms(times[ASKED / 2]), ms(times[ASKED - 1])));
    }
    Ok(())
}
