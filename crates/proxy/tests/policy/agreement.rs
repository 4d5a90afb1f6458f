//! Lists and calls agree, whatever the policies and the arguments are.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::rig::{World, server};
use crate::shop::Shop;

const TOOLS: [&str; 4] = ["a", "b", "c", "d"];

/// A rule about some tool, some caller and some argument.
fn rule() -> impl Strategy<Value = String> {
    let who = prop_oneof![
        Just("principal"),
        Just("principal in Agent::\"ann\""),
        Just("principal in Agent::\"bob\"")
    ];
    let what = prop_oneof![
        3 => prop::sample::select(&TOOLS[..]).prop_map(|tool| format!("action == Action::\"shop__{tool}\"")),
        1 => Just("action in Action::\"call\"".to_owned()),
    ];
    let when = prop_oneof![
        2 => Just(String::new()),
        2 => (0..4_i64).prop_map(|n| format!(" when {{ context.input has amount && context.input.amount < {n} }}")),
        1 => (0..4_i64).prop_map(|n| format!(" unless {{ context.input has amount && context.input.amount == {n} }}")),
        1 => Just(" when { context.env.endpoint == \"shop\" }".to_owned()),
        1 => Just(" when { context.env.era == \"legacy\" }".to_owned()),
    ];
    (prop_oneof![3 => Just("permit"), 1 => Just("forbid")], who, what, when)
        .prop_map(|(effect, who, what, when)| format!("{effect}({who}, {what}, resource){when};\n"))
}

fn arguments() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        (-1..5_i64).prop_map(|amount| json!({"amount": amount})),
        "[a-z]{0,3}".prop_map(|path| json!({"path": path})),
        Just(json!({"amount": null})),
        Just(json!({"amount": 1.5})),
        Just(json!({"amount": "1"})),
    ]
}

#[tokio::test]
async fn what_is_hidden_cannot_be_called_and_what_can_be_called_is_listed() {
    let shop = Shop::modern(&TOOLS).await;
    let world = World::new(vec![server("shop", &shop)], vec![], "").await;
    let mut runner = TestRunner::default();
    let clients = [
        (world.modern("ann", "/mcp"), "shop__"),
        (world.modern("bob", "/mcp"), "shop__"),
        (world.legacy("bob", "/mcp").await, "shop__"),
    ];
    let (mut allowed, mut denied, mut hidden) = (0, 0, 0);
    for _ in 0..60 {
        let policy: String =
            prop::collection::vec(rule(), 1..6).new_tree(&mut runner).unwrap().current().concat();
        world.enforce(&policy).await.unwrap_or_else(|findings| panic!("{policy}: {findings:?}"));
        for (client, prefix) in &clients {
            let listed = client.list("tools/list").await;
            for tool in TOOLS {
                let public = format!("{prefix}{tool}");
                for _ in 0..3 {
                    let arguments = arguments().new_tree(&mut runner).unwrap().current();
                    let told = client.call(&public, arguments.clone()).await;
                    let is_listed = listed.contains(&public);
                    let case = format!("{policy}\n{public} {arguments} {told:?}");
                    match (told.is_ok(), told.code()) {
                        (true, _) => {
                            assert!(is_listed, "called, and not listed: {case}");
                            allowed += 1;
                        }
                        (false, "denied") => {
                            assert!(is_listed, "denied, and not listed: {case}");
                            denied += 1;
                        }
                        (false, "unknown_tool") => {
                            assert!(!is_listed, "unknown, and listed: {case}");
                            hidden += 1;
                        }
                        _ => panic!("{case}"),
                    }
                }
            }
        }
    }
    assert!(allowed > 20 && denied > 20 && hidden > 20, "{allowed} {denied} {hidden}");
}
