//! Whatever callers, policies, servers and changes come in whatever order: nobody is given what is another's, what policy hides
//! from it, or what its server has said is no longer so.

use std::collections::HashMap;
use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use crate::LONG;
use crate::eventually;
use crate::lists::as_of;
use crate::pantry::Pantry;
use crate::rig::{Client, Stream, World};

const AGENTS: [&str; 2] = ["ann", "bob"];
/// A modern server whose answers are everyone's, one whose answers are each caller's own, and a legacy one.
const SERVERS: [&str; 3] = ["open", "own", "old"];

#[derive(Debug, Clone)]
enum Op {
    List {
        agent: usize,
        client: usize,
        server: Option<usize>,
    },
    Read {
        agent: usize,
        server: usize,
    },
    /// Something is hidden from an agent, or shown to it.
    Hide {
        agent: usize,
        server: usize,
        hidden: bool,
    },
    /// A server has other tools, and says so.
    Change {
        server: usize,
    },
    /// A server lets its answers be kept so long from now on.
    Keep {
        server: usize,
        ttl_ms: u64,
    },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let (agent, server) = (|| 0..AGENTS.len(), || 0..SERVERS.len());
    let op = prop_oneof![
        8 => (agent(), 0..3_usize, prop::option::of(server()))
            .prop_map(|(agent, client, server)| Op::List { agent, client, server }),
        3 => (agent(), 0..2_usize).prop_map(|(agent, server)| Op::Read { agent, server }),
        2 => (agent(), server(), any::<bool>()).prop_map(|(agent, server, hidden)| Op::Hide { agent, server, hidden }),
        2 => (0..2_usize).prop_map(|server| Op::Change { server }),
        1 => (server(), prop_oneof![Just(0_u64), Just(3_600_000)])
            .prop_map(|(server, ttl_ms)| Op::Keep { server, ttl_ms }),
    ];
    prop::collection::vec(op, 4..40)
}

struct Shops {
    world: World,
    pantries: Vec<Pantry>,
    /// What each server sells now, as it has told.
    version: [usize; 3],
    hidden: [[bool; 3]; 2],
    /// A modern client of each agent, and two legacy ones.
    clients: Vec<[Client; 3]>,
    /// Which of the old server's sessions each legacy client was shown.
    sessions: HashMap<(usize, usize), String>,
    ears: Vec<Stream>,
}

impl Shops {
    async fn open() -> Self {
        let pantries = vec![Pantry::modern().await, Pantry::modern().await, Pantry::legacy().await];
        pantries[1].is(|mood| mood.scope = "private");
        for pantry in &pantries {
            pantry.is(|mood| mood.tools = vec!["t0".to_owned()]);
        }
        let servers = SERVERS.iter().zip(&pantries).map(|(name, pantry)| pantry.settings(name)).collect();
        let world = World::new(servers, vec![], &policy([[false; 3]; 2])).await;
        let mut clients = Vec::new();
        for agent in AGENTS {
            let legacy = [world.legacy(agent, "/mcp").await, world.legacy(agent, "/mcp").await];
            let [one, other] = legacy;
            clients.push([world.modern(agent, "/mcp"), one, other]);
        }
        let mut ears = Vec::new();
        let filter = json!({"toolsListChanged": true, "resourceSubscriptions": ["memo://mark"]});
        for server in &SERVERS[..2] {
            let eve = world.modern("eve", &format!("/mcp/{server}"));
            ears.push(eve.listen(filter.clone()).await.0);
        }
        Self {
            world,
            pantries,
            version: [0; 3],
            hidden: [[false; 3]; 2],
            clients,
            sessions: HashMap::new(),
            ears,
        }
    }

    async fn run(&mut self, op: &Op) {
        match *op {
            Op::List { agent, client, server } => self.list(agent, client, server).await,
            Op::Read { agent, server } => {
                let who = AGENTS[agent];
                let client = self.world.modern(who, &format!("/mcp/{}", SERVERS[server]));
                let told = as_of(&client, who, "resources/read", json!({"uri": "memo://one"})).await;
                assert_eq!(told.is_ok(), !self.hidden[agent][server], "{told:?}");
                if told.is_ok() && server == 1 {
                    assert_eq!(told.body["result"]["contents"][0]["text"], format!("for {who}"));
                }
            }
            Op::Hide { agent, server, hidden } => {
                self.hidden[agent][server] = hidden;
                self.world.enforce(&policy(self.hidden)).await.unwrap();
            }
            Op::Change { server } => {
                self.version[server] += 1;
                let name = format!("t{}", self.version[server]);
                self.pantries[server].is(|mood| mood.tools = vec![name.clone()]);
                eventually(|| self.pantries[server].is_heard().then_some(())).await;
                self.pantries[server].tells("notifications/tools/list_changed", json!({})).await;
                // What is told after it is heard after it.
                let mark = format!("memo://mark/{}", self.version[server]);
                self.pantries[server].tells("notifications/resources/updated", json!({"uri": mark})).await;
                while self.ears[server].some().await["params"]["uri"] != mark {}
                // Policies have to know it too.
                let eve = self.world.modern("eve", &format!("/mcp/{}", SERVERS[server]));
                let known = async { while eve.list("tools/list").await != [name.clone()] {} };
                tokio::time::timeout(LONG, known).await.expect("it is known by now");
            }
            Op::Keep { server, ttl_ms } => self.pantries[server].is(|mood| mood.ttl_ms = ttl_ms),
        }
    }

    async fn list(&mut self, agent: usize, number: usize, server: Option<usize>) {
        let who = AGENTS[agent];
        let merged = self.clients[agent][number].clone();
        let client = match server {
            // Names are the server's own there.
            Some(server) if merged.modern => self.world.modern(who, &format!("/mcp/{}", SERVERS[server])),
            _ => merged,
        };
        let at = server.filter(|_| client.modern);
        let told = as_of(&client, who, "tools/list", json!({})).await;
        if let Some(server) = at
            && self.hidden[agent][server]
        {
            assert!(!told.is_ok(), "it is hidden from {who}: {told:?}");
            return;
        }
        for (server, name) in SERVERS.iter().enumerate() {
            if at.is_some_and(|at| at != server) {
                continue;
            }
            let prefix = if at.is_some() { String::new() } else { format!("{name}__") };
            let tools = told.body["result"]["tools"].as_array().unwrap();
            let own: Vec<(&str, &str)> = tools
                .iter()
                .filter_map(|tool| {
                    let name = tool["name"].as_str().unwrap().strip_prefix(&prefix)?;
                    Some((name, tool["description"].as_str().unwrap()))
                })
                .collect();
            if self.hidden[agent][server] {
                assert!(own.is_empty(), "{name} is hidden from {who}: {own:?}");
                continue;
            }
            let [(tool, made_for)] = own[..] else { panic!("one tool of {name}: {own:?}") };
            assert_eq!(tool, format!("t{}", self.version[server]), "{name} has told of it");
            match server {
                1 => {
                    // A legacy client's answers name it by what it said at its beginning.
                    assert_eq!(made_for, format!("for {}", if client.modern { who } else { "it" }));
                }
                2 => {
                    let place = (agent, if client.modern { 0 } else { number });
                    let before = self.sessions.insert(place, made_for.to_owned());
                    assert!(before.is_none_or(|before| before == made_for), "another session's: {own:?}");
                    let mut others = self.sessions.iter().filter(|(other, _)| **other != place);
                    assert!(others.all(|(_, other)| other != made_for), "{:?}", self.sessions);
                }
                _ => {}
            }
        }
    }
}

/// Eve hears everything.
fn policy(hidden: [[bool; 3]; 2]) -> String {
    let mut text = "permit(principal in Agent::\"eve\", action, resource);\n".to_owned();
    for (agent, hidden) in AGENTS.iter().zip(hidden) {
        for (server, hidden) in SERVERS.iter().zip(hidden) {
            if !hidden {
                let who = format!("principal in Agent::\"{agent}\"");
                let _ = writeln!(text, "permit({who}, action, resource in Server::\"{server}\");");
            }
        }
    }
    text
}

#[test]
fn nothing_crosses_from_one_caller_to_another() {
    let config = Config { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    TestRunner::new(config)
        .run(&ops(), |ops| {
            runtime.block_on(async {
                let mut shops = Shops::open().await;
                for op in &ops {
                    shops.run(op).await;
                }
            });
            Ok(())
        })
        .unwrap();
}
