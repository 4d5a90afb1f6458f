//! What the pages of the console are made of: as much as one gateway may have.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tollgate_backends::{Bounds, Place as Database, open};
use tollgate_identity::key;
use tollgate_model::{KeyHash, KeyId, KeyRecord, PrincipalId, ServerName, TenantId, Timestamp};
use tollgate_store::{
    About, AdminGrant, AdminKey, Approval, ApprovalId, ApprovalOf, Asked, AskingRoom, AuditBatch, AuditName,
    AuditRow, BLOCK_ROWS_MAX, Blockable, Blocking, Definitions, DefinitionsOf, Digest, Doing, FindingRow,
    Followed, List, Needed, PinKind, PinShape, Registration, RegistrationId, RuleDoing, RuleSet, RuleSetId,
    Sighting, Sightings, Standing, Store, UsageKey, UsageRow, UsageSum,
};

use crate::Result;
use crate::say::note;
use crate::searching::{Dice, Words};

const SERVERS: usize = 500;
const TOOLS: usize = 20;
const DRAFTS: usize = 100;
const SETS: usize = 50;
const AGENTS: u64 = 200;
const KEYS: usize = 2_000;
const BLOCKS: usize = 500;
const APPROVALS: usize = 500;
const WAITING_PINS: usize = 500;
/// Something was found in one of so many calls.
const FOUND_IN: u64 = 20;
const DAY_MS: u64 = 86_400_000;
/// Half of the calls are of the last day, and half of the month before.
const SPAN_MS: u64 = 30 * DAY_MS;

/// Makes everything that the gateway is to have. Gives an admin's key and a call.
pub(crate) async fn fill(folder: &Path, place: &Database, rows: u64) -> Result<String> {
    std::fs::write(folder.join("tollgate.yaml"), config(folder)?)?;
    let bounds = Bounds { call_max: Duration::from_mins(1), ..Bounds::default() };
    let store = open(place, bounds)?;
    store.prepare().await?;
    let now = Timestamp::now();
    definitions(&*store, now).await?;
    note("servers and tools are there");
    drafts(&*store, now).await?;
    stopped(&*store, now).await?;
    approvals(&*store, now).await?;
    let call = calls(&*store, rows, now.as_ms()).await?;
    let minted = key::mint_admin()?;
    let admin = AdminKey {
        id: minted.id.clone(),
        name: "bench".into(),
        grants: ["admin", "auditor"].map(|role| AdminGrant { role: role.into(), tenant: None }).to_vec(),
        hash: minted.hash,
        created: now,
        expires: None,
        revoked: None,
        by: "bench".into(),
    };
    store.add_admin_key(admin).await?;
    Ok(format!("{} {call}", minted.text.expose()))
}

fn config(folder: &Path) -> Result<String> {
    let mut text = format!("data_dir: {}\nidentity: {{}}\nservers:\n", folder.join("data").display());
    for server in 0..SERVERS {
        writeln!(text, "  server-{server}: {{ url: 'http://127.0.0.1:9/mcp' }}")?;
    }
    Ok(text)
}

fn server(nth: usize) -> Result<ServerName> {
    Ok(ServerName::new(&format!("server-{nth}"))?)
}

/// What servers list, and the pins of it. Of some, something waits.
async fn definitions(store: &dyn Store, now: Timestamp) -> Result<()> {
    let tool = |nth: usize, version: usize| {
        let said = "Finds what somebody looks for among what there is. ".repeat(12);
        let tool = serde_json::json!({
            "name": format!("tool_{nth}"), "description": format!("{version}: {said}"),
            "inputSchema": { "type": "object", "properties": { "text": { "type": "string" }, "most": { "type": "integer" } } },
        });
        bytes::Bytes::from(tool.to_string())
    };
    for nth in 0..SERVERS {
        let own = nth * TOOLS..(nth + 1) * TOOLS;
        let tenant = Some(TenantId::default());
        let of = DefinitionsOf { tenant: tenant.clone(), server: server(nth)?, list: List::Tools };
        let items = own.clone().map(|tool_of| tool(tool_of, 1)).collect();
        store.keep_definitions(&Definitions::new(of, items, now)).await?;
        for version in 1..=2 {
            let seen = own.clone().filter(|tool_of| version == 1 || *tool_of < WAITING_PINS);
            let sighting = |tool_of: usize| {
                let text = tool(tool_of, version);
                let item = format!("tool_{tool_of}").into();
                let shape = PinShape::new(Digest::of([&text[..]]), text);
                Sighting { kind: PinKind::Tool, item, shape, is_trusted: version == 1, is_held: false }
            };
            let items: Vec<Sighting> = seen.map(sighting).collect();
            if !items.is_empty() {
                let by = "first use".into();
                let tenant = tenant.clone();
                store.sight(Sightings { tenant, server: server(nth)?, items, at: now, by }).await?;
            }
        }
    }
    Ok(())
}

/// Servers that are registered and wait for somebody to look at them, and sets of policies.
async fn drafts(store: &dyn Store, now: Timestamp) -> Result<()> {
    for nth in 0..DRAFTS {
        let id = RegistrationId {
            tenant: TenantId::default(),
            name: ServerName::new(&format!("draft-{nth}"))?,
            version: "1".into(),
        };
        let doing = Doing { by: "ada".into(), reason: "needed".into(), at: now };
        let reach = r#"{"url":"http://127.0.0.1:9/mcp"}"#.into();
        let draft = Registration::draft(id, reach, About::default(), "cli", &doing);
        store.put_registrations(vec![draft.clone()]).await?;
        store.put_registrations(vec![draft.submitted(&doing)?]).await?;
    }
    for nth in 0..SETS {
        let rule = "@id(\"r\") forbid (principal, action, resource) when { context has never };\n";
        let doing = RuleDoing { by: "ada".into(), reason: "needed".into(), at: now };
        let id = RuleSetId::new(Some(TenantId::default()), &format!("set-{nth}"))?;
        store.put_rules(RuleSet::draft(id, rule.repeat(20).into(), &doing)).await?;
    }
    Ok(())
}

/// Keys, and what is blocked.
async fn stopped(store: &dyn Store, now: Timestamp) -> Result<()> {
    for nth in 0..KEYS {
        let record = KeyRecord {
            id: KeyId::new(&format!("key{nth:09}")),
            tenant: TenantId::default(),
            agent: format!("agent-{}", nth / 2).into(),
            groups: vec!["support".into()],
            hash: KeyHash(Digest::of([nth.to_string().as_bytes()]).0),
            created: now,
            expires: None,
            revoked: None,
            replaced_by: None,
        };
        store.add_key(record).await?;
    }
    for nth in 0..BLOCKS {
        let what = Blockable::Agent { tenant: TenantId::default(), agent: format!("agent-{nth}").into() };
        let (reason, by) = ("it leaks".into(), "bench".into());
        store.block(Blocking { what, reason, is_public: false, by, since: now }).await?;
    }
    Ok(())
}

async fn approvals(store: &dyn Store, now: Timestamp) -> Result<()> {
    for nth in 0..APPROVALS {
        let agent: Arc<str> = format!("agent-{nth}").into();
        let asked = Asked {
            agent: Some(agent.clone()),
            user: None,
            callers: vec![agent.clone()],
            endpoint: "".into(),
            method: "tools/call".into(),
            server: "server-7".into(),
            native: "tool_7".into(),
            arguments_digest: "0123456789abcdef".into(),
            arguments: Some(r#"{"amount":100,"to":"[redacted:email]"}"#.into()),
            arguments_whole: None,
            definition: "".into(),
            policy: "".into(),
            rules: vec!["large-transfers".into()],
            why: "a large transfer".into(),
            risk: "high".into(),
            call: "c".into(),
        };
        let binding = Digest::of([nth.to_string().as_bytes()]);
        let principal = PrincipalId::new(&agent);
        let approval = Approval {
            id: ApprovalId::new(&format!("apr_{nth:024}")),
            of: ApprovalOf { tenant: TenantId::default(), principal, binding },
            asked,
            needs: vec![Needed { group: "finance".into(), people: 1 }],
            at: now,
            grant_for: Duration::from_mins(10),
            standing: Standing::Waiting,
            until: now.after(Duration::from_hours(240)),
            votes: Vec::new(),
            replaces: None,
            replaced_by: None,
            edited: None,
            used_by: None,
        };
        let room = AskingRoom { principal_max: 10_000, tenant_max: 10_000 };
        store.ask_approval(approval, room).await?;
    }
    Ok(())
}

/// The calls, what was used by them, and the names of users. Gives one of them.
async fn calls(store: &dyn Store, rows: u64, now: u64) -> Result<String> {
    let (words, mut dice) = (Words::new(SERVERS, SERVERS * TOOLS), Dice(1));
    let writer: Arc<str> = "writer".into();
    let half = rows.div_ceil(2).max(1);
    let time = |number: u64| {
        if number < half {
            now - SPAN_MS + (SPAN_MS - DAY_MS) / half * number
        } else {
            now - DAY_MS + DAY_MS / half * (number - half)
        }
    };
    let names = (0..100).map(|nth| AuditName {
        reference: format!("userref000000{nth}").into(),
        kind: "user".into(),
        tenant: "tenant-0".into(),
        text: format!("userref000000{nth}@acme.example").into(),
        seen: Timestamp::from_ms(now),
    });
    let mut names: Vec<AuditName> = names.collect();
    let (mut after, mut number, mut one) = (None, 0, None);
    while number < rows {
        let end = rows.min(number + BLOCK_ROWS_MAX as u64);
        let made: Vec<AuditRow> = (number..end)
            .map(|number| usual(&words, words.row(&writer, number, time(number), &mut dice), &mut dice))
            .collect();
        one = made.iter().find_map(|row| row.call).or(one);
        let upto = Followed { segment: 1, offset: end, seq: end * 2, used: end * 2 };
        let batch = AuditBatch {
            writer: Arc::clone(&writer),
            after,
            upto,
            used: used(&made),
            findings: findings(&made, &mut dice),
            rows: made,
            names: std::mem::take(&mut names),
            ..AuditBatch::default()
        };
        if !store.add_entries(&batch).await? {
            return Err("somebody else writes there".into());
        }
        (after, number) = (Some(upto), end);
        if number % (BLOCK_ROWS_MAX as u64 * 100) == 0 {
            note(&format!("{number} of {rows} calls"));
        }
    }
    let call = one.ok_or("no call")?;
    Ok(tollgate_ledger::CallId::from_bytes(call.to_be_bytes()).to_string())
}

/// An agent is of one tenant, and calls the tools of five servers, some of them much more than others.
fn usual(words: &Words, row: AuditRow, dice: &mut Dice) -> AuditRow {
    let agent = dice.below(AGENTS);
    let few = if dice.below(5) > 0 { TOOLS as u64 } else { 5 * TOOLS as u64 };
    let tool = (agent * 5 * TOOLS as u64 + dice.below(few)) % (SERVERS * TOOLS) as u64;
    let one = |of: &[Arc<str>], at: u64| of.get(usize::try_from(at).unwrap_or(0)).cloned();
    AuditRow {
        tenant: one(&words.tenants, agent % 10),
        agent: one(&words.agents, agent),
        server: one(&words.servers, tool / TOOLS as u64),
        public_name: one(&words.public, tool),
        native_name: one(&words.native, tool),
        ..row
    }
}

fn used(rows: &[AuditRow]) -> Vec<UsageRow> {
    let mut sums: HashMap<UsageKey, UsageSum> = HashMap::new();
    for row in rows {
        let text = |text: &Option<Arc<str>>| text.clone().unwrap_or_default();
        let key = UsageKey {
            day: u32::try_from(row.time.as_ms() / DAY_MS).unwrap_or(0),
            tenant: text(&row.tenant),
            agent: text(&row.agent),
            server: text(&row.server),
            tool: text(&row.native_name),
        };
        let sum = sums.entry(key).or_default();
        sum.add(&UsageSum { calls: 1, received_bytes: row.received_bytes, ..UsageSum::default() });
    }
    sums.into_iter().map(|(key, sum)| UsageRow { key, sum }).collect()
}

/// What guards found in some of them.
fn findings(rows: &[AuditRow], dice: &mut Dice) -> Vec<FindingRow> {
    let mut found = Vec::new();
    for row in rows {
        if dice.below(FOUND_IN) > 0 {
            continue;
        }
        let text = |text: &Option<Arc<str>>| text.clone().unwrap_or_default();
        let rule = format!("personal.rule_{}", dice.below(30));
        found.push(FindingRow {
            writer: Arc::clone(&row.writer),
            seq: row.begin.seq,
            nth: 0,
            time: row.time,
            tenant: text(&row.tenant),
            call: row.call,
            agent: text(&row.agent),
            server: text(&row.server),
            tool: text(&row.native_name),
            rule: rule.into(),
            severity: "medium".into(),
            direction: "result".into(),
            action: "mask".into(),
        });
    }
    found
}
