//! Decisions on record, made again by `tollgate policy simulate`: what policies said live, they say again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate_e2e::gateway::{Gateway, http, servers};
use tollgate_testkit::fake::{Call, FakeServer, HttpPeer, Peer, Script, until};

const ALICE: &str = "tg_ofAliceAcme0_AliceAliceAliceAliceAliceAliceAliceAliceAli25ETiL";
const ALICE_DIGEST: &str = "7aec9e0fa8c5960fb857c3a8f96ce2f5f7b85edab4a4e73b6c2a90eadee4b7e2";
const GINA: &str = "tg_ofGinaGlobex_GinaGinaGinaGinaGinaGinaGinaGinaGinaGinaGin2MA43V";
const GINA_DIGEST: &str = "724d48275d54dde62331b1d267409f9c5492272e43242526b79debf233507389";

/// Numbers that look like chance, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

/// A rule as anybody might write it: about arguments, callers, times and places.
fn rule(dice: &mut Dice, at: usize) -> String {
    let head = dice.pick(&["permit", "permit", "permit", "forbid"]);
    let notes = match (head, dice.below(4)) {
        ("permit", 0) => "@record(\"full\") ",
        ("permit", 1) => "@record(\"digest\") ",
        ("permit", 2) => "@require_approval(\"leads\") ",
        ("forbid", 0) => "@reason(\"not now\") ",
        _ => "",
    };
    let who = dice.pick(&[
        "principal",
        "principal in Agent::\"alice\"",
        "principal in Agent::\"gina\"",
        "principal in AgentGroup::\"desk\"",
    ]);
    let (action, conditions): (_, &[&str]) = match dice.below(4) {
        0 => ("action", &["context.env.endpoint == \"shop\"", "context.env.era == \"legacy\""]),
        1 => (
            "action == Action::\"read\"",
            &["context.input.uri == \"memo://one\"", "context.env.source.isLoopback()"],
        ),
        _ => (
            "action == Action::\"shop__pay\"",
            &[
                "context.input has amount && context.input.amount < 50",
                "context.input has amount && context.input.amount > 20",
                "context.input has to && context.input.to like \"*example*\"",
                "context.input has password",
                "context.input has note && context.input.note != \"x\"",
                "context.env.minute < 60",
                "context.env has source && context.env.source.isLoopback()",
                "context.env.era == \"modern\"",
            ],
        ),
    };
    let condition = dice.pick(conditions);
    let condition = if condition.starts_with("context.env.source") {
        format!("context.env has source && {condition}")
    } else {
        condition.to_owned()
    };
    let word = dice.pick(&["when", "when", "unless"]);
    format!("{notes}@id(\"rule{at}\") {head}({who}, {action}, resource) {word} {{ {condition} }};\n")
}

fn call(dice: &mut Dice) -> Call {
    match dice.below(10) {
        0 => Call::new("resources/read", format!(r#""uri":"{}""#, dice.pick(&["memo://one", "memo://two"]))),
        1 => Call::new("prompts/get", r#""name":"shop__greet""#),
        2 => Call::tool("shop__look", "{}"),
        3 => Call::tool("shop__nonsuch", "{}"),
        4 => {
            let of = dice.pick(&[
                r#"{"type":"ref/prompt","name":"shop__greet"}"#,
                r#"{"type":"ref/resource","uri":"memo://one"}"#,
            ]);
            let filled = dice.pick(&["", r#","context":{"arguments":{"password":"hunter2"}}"#]);
            let argument = r#""argument":{"name":"a","value":"b"}"#;
            Call::new("completion/complete", format!(r#""ref":{of},{argument}{filled}"#))
        }
        // What a client answers to a server's question stands beside the arguments.
        5 => {
            let said = r#"{"q":{"action":"accept","content":{"password":"hunter2","amount":99}}}"#;
            let amount = dice.below(80);
            Call::new(
                "tools/call",
                format!(r#""name":"shop__pay","arguments":{{"amount":{amount}}},"inputResponses":{said}"#),
            )
        }
        _ => {
            let mut members = Vec::new();
            if dice.below(4) > 0 {
                members.push(format!(r#""amount":{}"#, dice.below(80)));
            }
            let to = dice.pick(&["", "\"bob\"", "\"ann@example.com\"", "\"an example\""]);
            if !to.is_empty() {
                members.push(format!(r#""to":{to}"#));
            }
            if dice.below(4) == 0 {
                members.push(r#""password":"hunter2""#.to_owned());
            }
            if dice.below(3) == 0 {
                members.push(format!(r#""note":"{}""#, dice.pick(&["x", "y"])));
            }
            Call::tool("shop__pay", &format!("{{{}}}", members.join(",")))
        }
    }
}

struct World {
    gateway: Gateway,
    _server: FakeServer,
    policies: TempDir,
}

async fn world(policy: &str) -> World {
    let mut script = Script::modern().with_tools(["look"]);
    script.tools.push(
        r#"{"name":"pay","inputSchema":{"type":"object","properties":{"amount":{"type":"integer"},"to":{"type":"string"},
        "note":{"type":"string"},"password":{"type":"string"}}}}"#
            .to_owned(),
    );
    let script = script.saying("tools/call", r#""result":{"resultType":"complete","content":[]}"#);
    let server = FakeServer::start(script).await;
    let policies = tempfile::tempdir().unwrap();
    fs::write(policies.path().join("own.cedar"), policy).unwrap();
    let mut config = servers([("shop", http(&server.url()))]);
    config["policy"] = json!({ "files": [policies.path()] });
    // Nobody approves anything here, and nobody waits for it.
    config["approvals"] = json!({ "wait_ms": 0, "waiting_per_principal_max": 10_000 });
    config["identity"] = json!({ "keys": [
        { "id": "alice", "agent": "alice", "sha256": ALICE_DIGEST, "groups": ["desk"] },
        { "id": "gina", "agent": "gina", "sha256": GINA_DIGEST },
    ] });
    let gateway = Gateway::start(&config).await;
    // What tools there are is kept in the background.
    let holds = |file: fs::DirEntry| {
        fs::read(file.path()).is_ok_and(|bytes| bytes.windows(5).any(|window| window == b"\"pay\""))
    };
    until("the stored definitions", async || {
        fs::read_dir(gateway.data()).ok()?.flatten().any(holds).then_some(())
    })
    .await;
    World { gateway, _server: server, policies }
}

impl World {
    async fn peers(&self) -> Vec<HttpPeer> {
        let mut peers = Vec::new();
        for key in [ALICE, GINA] {
            peers.push(HttpPeer::modern(self.gateway.bearing(key), "/mcp"));
            peers.push(HttpPeer::legacy(self.gateway.bearing(key), "/mcp").await);
        }
        peers
    }

    async fn simulate(&self, arguments: &[&str]) -> Value {
        let all = [&["policy", "simulate", "--format", "json"], arguments].concat();
        self.gateway.command(&all).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_policies_decide_again_as_they_did() {
    let mut decided_by_redacted = 0;
    for seed in 1..=3 {
        let mut dice = Dice(seed);
        let policy: String = (0..12).map(|at| rule(&mut dice, at)).collect();
        let world = world(&policy).await;
        let mut peers = world.peers().await;
        for _ in 0..240 {
            let at = usize::try_from(dice.below(peers.len() as u64)).unwrap();
            peers[at].request(&call(&mut dice)).await;
        }
        let told = world.simulate(&[]).await;
        let number = |name: &str| told[name].as_u64().unwrap();
        let undecidable: u64 =
            told["undecidable"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(number("decided") + undecidable, number("found"), "{told:#}\n{policy}");
        assert_eq!(number("same"), number("decided"), "{told:#}\n{policy}");
        assert_eq!(number("by_other_policies"), 0, "{told:#}\n{policy}");
        assert_eq!(number("damaged"), 0);
        assert_eq!(told["undecidable"]["completion"], Value::Null, "{told:#}");
        assert!(number("found") > 150 && number("decided") > 100, "{told:#}\n{policy}");
        let set = told["sets"]["default"].as_str().unwrap();
        assert_eq!(told["recorded_sets"], json!({ set: number("found") }), "the very policies");
        for reason in told["undecidable"].as_object().unwrap().keys() {
            assert!(["arguments_redacted", "arguments_not_kept"].contains(&reason.as_str()), "{told:#}");
        }
        decided_by_redacted += undecidable;
    }
    assert!(decided_by_redacted > 0, "no rule looked at what was taken out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_is_told_by_what_it_would_change() {
    let live = r#"@id("small") permit(principal, action == Action::"shop__pay", resource)
        when { context.input has amount && context.input.amount < 100 };"#;
    let world = world(live).await;
    let mut alice = Peer::from(HttpPeer::modern(world.gateway.bearing(ALICE), "/mcp"));
    until("the tool", async || (alice.tools().await == ["shop__pay"]).then_some(())).await;
    for amount in [1, 60, 70, 150] {
        alice.tool("shop__pay", &format!("{{\"amount\":{amount}}}")).await;
    }
    alice.tool("shop__pay", r#"{"amount":5,"to":"ann@example.com"}"#).await;
    let candidate = world.policies.path().join("candidate");
    fs::write(
        &candidate,
        r#"@id("tiny") permit(principal, action == Action::"shop__pay", resource)
            when { context.input has amount && context.input.amount < 50 && !(context.input has to && context.input.to == "x") };
        @id("huge") permit(principal in Agent::"alice", action == Action::"shop__pay", resource)
            when { context.input has amount && context.input.amount > 100 };"#,
    )
    .unwrap();
    let candidate = candidate.to_str().unwrap();
    let told = until("all five on record", async || {
        let told = world.simulate(&["--policies", candidate, "--since", "1h", "--examples", "1"]).await;
        (told["found"] == 5).then_some(told)
    })
    .await;
    assert_eq!(told["newly_denied"]["count"], 2, "{told:#}");
    assert_eq!(told["newly_denied"]["by_policy"], json!({ "small": 2 }));
    assert_eq!(told["newly_denied"]["by_agent"], json!({ "alice": 2 }));
    assert_eq!(told["newly_denied"]["by_tool"], json!({ "shop__pay": 2 }));
    let examples = told["newly_denied"]["examples"].as_array().unwrap();
    assert_eq!((examples.len(), &examples[0]["arguments"]), (1, &json!(r#"{"amount":60}"#)));
    assert_eq!(told["newly_allowed"]["by_policy"], json!({ "huge": 1 }));
    assert_eq!((&told["same"], &told["by_other_policies"]), (&json!(1), &json!(1)));
    assert_eq!(told["undecidable"], json!({ "arguments_redacted": 1 }), "to whom is not on record");
    let nothing = world.simulate(&["--policies", candidate, "--until", "1h"]).await;
    assert_eq!(nothing["found"], 0);
}
