//! What is recorded arrives where the configuration says.

use rustix::process::Signal;
use serde_json::Value;
use tollgate_ledger::Checkpoint;

use crate::support::{Folder, Gateway, get, notes_config, run, stderr};

fn entries(folder: &Folder, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.path(name)).expect("an export");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_call_is_exported_by_the_time_that_the_gateway_has_ended_in_both_formats() {
    let folder = Folder::new();
    let exports = "ledger:\n  export:\n    - { name: archive, file: { path: out.jsonl }, payloads: true }\n    \
                   - { name: ocsf, file: { path: ocsf.jsonl }, format: ocsf, batch_wait_ms: 60000 }\n    \
                   - { name: lost, webhook: { url: 'https://127.0.0.1:1/' }, allow_private_addresses: true, drain_ms: 100 }\n";
    let config = folder.write("tollgate.yaml", &format!("{}{exports}", notes_config("notes")));
    let mut gateway = Gateway::start(&config);
    let output = run(&["tools", "call", &gateway.url(), "notes__read", "--args", r#"{"title":"groceries"}"#]);
    assert!(output.status.success(), "a receiver that is away holds nobody up: {}", stderr(&output));
    let ready: Value = serde_json::from_str(&get(gateway.admin, "/readyz").body).expect("JSON");
    assert_eq!((&ready["ready"], &ready["exports"][0]["export"]), (&true.into(), &"archive".into()));
    let metrics = get(gateway.admin, "/metrics").body;
    assert!(metrics.contains("tollgate_export_behind_bytes{export=\"archive\",target=\"file\""), "{metrics}");
    gateway.process.signal(Signal::TERM);
    gateway.process.end();

    let native = entries(&folder, "out.jsonl");
    let of = |kind: &str| native.iter().filter(|entry| entry["kind"] == kind).collect::<Vec<_>>();
    let numbers: Vec<u64> = native.iter().filter_map(|entry| entry["seq"].as_u64()).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{numbers:?}");
    let (intents, outcomes) = (of("intent"), of("outcome"));
    let call = intents.iter().find(|entry| entry["native_name"] == "read").expect("the intent");
    assert_eq!(call["payloads"]["arguments"]["title"], "groceries");
    assert_eq!(call["names"]["source"], "127.0.0.1");
    let outcome = outcomes.iter().find(|entry| entry["of"] == call["seq"]).expect("its outcome");
    assert_eq!(outcome["outcome"], "ok");
    assert_eq!(of("stopped").len(), 1, "also what comes last");

    let ocsf = entries(&folder, "ocsf.jsonl");
    assert_eq!(ocsf.len(), native.len());
    let event = ocsf.iter().find(|event| event["metadata"]["sequence"] == call["seq"]).expect("the same");
    assert_eq!((&event["class_uid"], &event["api"]["operation"]), (&6003.into(), &"tools/call".into()));
    assert_eq!(
        (&event["src_endpoint"]["ip"], &event["dst_endpoint"]["svc_name"]),
        (&"127.0.0.1".into(), &"notes".into())
    );

    // Either of them vouches for the chain.
    for name in ["out.jsonl", "ocsf.jsonl"] {
        let file = std::fs::File::open(folder.path(name)).expect("an export");
        let anchors = Checkpoint::all_in(std::io::BufReader::new(file)).expect("read");
        assert!(!anchors.is_empty(), "{name}");
    }
}
