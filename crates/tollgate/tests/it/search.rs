//! What happened is found: by every field, as it arrives, and again from an index that is made anew.

use std::net::SocketAddr;
use std::process::Output;
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::{
    Folder, Gateway, PATIENCE, Running, get, http, modern, modern_http, notes_config, stderr, stdout,
    tollgate,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

struct World {
    folder: Folder,
    gateway: Gateway,
    config: String,
}

impl World {
    fn new() -> Self {
        let prices = "usage: { currency: EUR, prices: [ { server: notes, tool: add, per_call: 0.5 }, { per_call: 0.001 } ] }";
        Self::of(Folder::new(), prices)
    }

    /// A gateway whose configuration begins like this.
    fn of(folder: Folder, config: &str) -> Self {
        let config = folder.write("tollgate.yaml", &format!("{config}\n{}", notes_config("notes")));
        let gateway = Gateway::start(&config);
        Self { folder, gateway, config }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = tollgate();
        command.args(args).args(["-c", &self.config]);
        command.output().expect("the binary runs")
    }

    /// The lines that a command prints, as JSON.
    fn json(&self, args: &[&str]) -> Vec<Value> {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stdout(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn search(&self, args: &[&str]) -> Vec<Value> {
        self.json(&[&["audit", "search", "--json"], args].concat())
    }

    /// Waits until so many calls are found.
    fn until(&self, count: usize, args: &[&str]) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let found = self.search(args);
            if found.len() == count {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "{args:?} finds {found:#?}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

/// Calls a tool, as part of a trace, and gives back the answer.
fn call(address: SocketAddr, tool: &str, arguments: &Value) -> Value {
    call_with(address, "", tool, arguments)
}

/// The same, with further headers, each with its line end.
fn call_with(address: SocketAddr, headers: &str, tool: &str, arguments: &Value) -> Value {
    let mut message = modern(7, "tools/call", json!({ "name": tool, "arguments": arguments }));
    message["params"]["_meta"]["traceparent"] = json!(format!("00-{TRACE}-b7ad6b7169203331-01"));
    let request = modern_http(address, &message);
    let answer = http(address, &request.replacen("content-length", &format!("{headers}content-length"), 1));
    let body = answer.body.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap_or(&answer.body);
    serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {} {}", answer.head, answer.body))
}

#[test]
fn what_happened_is_found_and_what_was_used_is_counted() {
    let world = World::new();
    let address = world.gateway.listen;
    let mut tail = Running::start({
        let mut command = tollgate();
        command.args(["audit", "tail", "--json", "--kind", "call", "-c", &world.config]);
        command
    });
    for title in ["a", "b", "c"] {
        call(address, "notes__add", &json!({ "title": title, "text": "t" }));
    }
    call(address, "notes__read", &json!({ "title": "a" }));
    call(address, "notes__read", &json!({ "title": "a" }));
    let failed = call(address, "notes__read", &json!({ "title": "nowhere" }));
    assert_eq!(failed["result"]["isError"], true);
    let refused = call(address, "nobody__nothing", &json!({}));
    let refusal = refused["error"]["data"]["dev.tollgate/refusal"].clone();

    let calls = world.until(6, &["--kind", "call"]);
    let times: Vec<&str> = calls.iter().map(|row| row["time"].as_str().expect("a time")).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "the newest first: {times:?}");
    assert_eq!(calls.iter().filter(|row| row["outcome"] == "tool_error").count(), 1);

    // By each field alone, and by several at once.
    let id = calls[0]["call"].as_str().expect("a call").to_owned();
    let digest =
        calls.iter().find(|row| row["native_name"] == "read").expect("a call")["arguments_digest"].clone();
    for (count, args) in [
        (6, &["--tenant", "default", "--kind", "call"][..]),
        (0, &["--tenant", "acme"]),
        (6, &["--server", "notes", "--kind", "call"]),
        (3, &["--tool", "notes__add"]),
        (3, &["--tool", "add"]),
        (0, &["--tool", "nothing_like_it"]),
        (1, &["--outcome", "tool_error"]),
        (5, &["--outcome", "ok", "--kind", "call"]),
        (1, &["--call", &id]),
        (6, &["--trace", TRACE, "--kind", "call"]),
        (0, &["--trace", "00000000000000000000000000000001"]),
        (2, &["--tool", "read", "--outcome", "ok", "--server", "notes", "--since", "1h"]),
        (0, &["--until", "1h"]),
        (2, &["--limit", "2"]),
        (0, &["--user", "nobody"]),
    ] {
        assert_eq!(world.search(args).len(), count, "{args:?}");
    }
    if let Some(digest) = digest.as_str() {
        let found = world.search(&["--digest", digest]);
        assert!(!found.is_empty() && found.iter().all(|row| row["arguments_digest"] == digest), "{found:#?}");
    }
    let refused_call = refusal["requestId"].as_str().expect("an id");
    let found = world.until(1, &["--call", refused_call]);
    assert_eq!((&found[0]["kind"], &found[0]["code"]), (&json!("refusal"), &refusal["code"]));

    // What nothing on record can be is a mistake, and not a record in which nothing happened.
    for wrong in [["--kind", "moon"], ["--outcome", "moon"]] {
        let refused = world.run(&["audit", "search", wrong[0], wrong[1]]);
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}");
    }

    // It was told as it arrived.
    let told: Vec<Value> = (0..6).map(|_| tail.json()).collect();
    let mut told: Vec<&str> = told.iter().map(|row| row["call"].as_str().expect("a call")).collect();
    let mut expected: Vec<&str> = calls.iter().map(|row| row["call"].as_str().expect("a call")).collect();
    told.sort_unstable();
    expected.sort_unstable();
    assert_eq!(told, expected);

    // The entries themselves, from the record.
    let full = world.json(&["audit", "search", "--full", "--call", &id]);
    assert_eq!(full.iter().map(|entry| &entry["kind"]).collect::<Vec<_>>(), ["intent", "outcome"]);
    assert_eq!(full[1]["of"], full[0]["seq"]);
    assert!(stdout(&world.run(&["audit", "show", &id])).contains("\"kind\":\"intent\""));
    let shown = world.json(&["audit", "show", "--payloads", "--json", &id]);
    assert_eq!(shown[0]["arguments_kept"], json!({ "title": "nowhere" }), "{shown:#?}");
    // The key may be elsewhere, and the configuration too.
    let data = world.folder.path(".tollgate");
    let (kept, away) = (data.join("ledger/payload.key"), world.folder.path("key"));
    std::fs::rename(&kept, &away).expect("moved");
    let show = |variable: &str, value: &str| {
        let mut command = tollgate();
        command.args(["audit", "show", "--payloads", "--json", &id, "--data-dir"]).arg(&data);
        stdout(&command.env(variable, value).output().expect("the binary runs"))
    };
    let key = std::fs::read_to_string(&away).expect("a key");
    for (variable, value) in
        [("TOLLGATE_LEDGER_KEY", key.trim()), ("TOLLGATE_LEDGER_KEY_FILE", &away.to_string_lossy())]
    {
        let shown = show(variable, value);
        assert!(shown.contains("\"arguments_kept\":{\"title\":\"nowhere\"}"), "{variable}: {shown}");
    }
    assert_eq!(show("TOLLGATE_LEDGER_KEY", ""), "", "no key opens nothing");
    std::fs::rename(&away, &kept).expect("moved back");
    let people = stdout(&world.run(&["audit", "search", "--tool", "add"]));
    assert_eq!(people.lines().count(), 4, "{people}");

    // What was used is what was done.
    let usage = |world: &World| world.json(&["usage", "--by", "tenant,tool", "--format", "json"]);
    let sums = usage(&world);
    let of = |tool: &str| {
        let sums = sums[0].as_array().expect("sums");
        sums.iter().find(|sum| sum["tool"] == tool).cloned().unwrap_or_else(|| panic!("{tool}: {sums:#?}"))
    };
    let (add, read) = (of("add"), of("read"));
    assert_eq!((&add["calls"], &add["errors"], &add["cost"]), (&json!(3), &json!(0), &json!("1.50")));
    assert_eq!((&read["calls"], &read["errors"], &read["cost"]), (&json!(3), &json!(1), &json!("0.003")));
    assert_eq!(
        (&add["tenant"], &add["currency"], &add["server"]),
        (&json!("default"), &json!("EUR"), &json!("notes"))
    );
    let bytes: u64 = calls
        .iter()
        .filter(|row| row["native_name"] == "add")
        .filter_map(|row| row["received_bytes"].as_u64())
        .sum();
    assert_eq!(add["received_bytes"], bytes);
    let csv = stdout(&world.run(&["usage", "--by", "server", "--format", "csv"]));
    assert!(csv.starts_with("server,calls,errors,refused,") && csv.contains("\r\nnotes,6,1,"), "{csv}");
    assert!(stdout(&world.run(&["usage"])).contains("COST (EUR)"));

    // The index is made again while the gateway runs, and says the same.
    let everything = world.search(&[]);
    let output = world.run(&["audit", "reindex"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let again = world.until(everything.len(), &[]);
    assert_eq!(again, everything);
    assert_eq!(usage(&world), sums, "nothing is counted twice");

    // A restart goes on; a lost store is made again.
    let metrics = get(world.gateway.admin, "/metrics").body;
    assert!(metrics.contains("tollgate_ledger_index_up 1\n"), "{metrics}");
    let ready: Value = serde_json::from_str(&get(world.gateway.admin, "/readyz").body).expect("JSON");
    assert_eq!(ready["index"]["state"], "up");
    let World { folder, mut gateway, config } = world;
    gateway.process.signal(rustix::process::Signal::TERM);
    gateway.process.end();
    for file in ["tollgate.db", "tollgate.db-wal", "tollgate.db-shm"] {
        drop(std::fs::remove_file(folder.path(&format!(".tollgate/{file}"))));
    }
    let world = World { gateway: Gateway::start(&config), folder, config };
    let again = world.until(6, &["--kind", "call"]);
    assert_eq!(again, calls);
    let recounted = usage(&world);
    assert_eq!(recounted, sums, "it is counted again from the record");
    assert!(world.folder.path(".tollgate/tollgate.db").exists());
}

#[test]
fn agents_are_found_by_their_names() {
    let folder = Folder::new();
    folder.write("all.cedar", "@id(\"everybody\") permit(principal, action, resource);");
    let world = World::of(folder, "identity: {}\npolicy: { files: [all.cedar] }");
    let keys = ["support-bot", "audit-bot"].map(|agent| {
        let made = world.run(&["keys", "create", "--agent", agent]);
        assert!(made.status.success(), "{}", stderr(&made));
        format!("authorization: Bearer {}\r\n", stdout(&made).trim())
    });
    let begun = Instant::now();
    let add = json!({ "title": "a", "text": "t" });
    // The key is known within a second.
    while call_with(world.gateway.listen, &keys[1], "notes__add", &add)["result"].is_null() {
        assert!(begun.elapsed() < PATIENCE);
    }
    for _ in 0..3 {
        call_with(world.gateway.listen, &keys[0], "notes__add", &add);
    }
    let found = world.until(3, &["--agent", "support-bot", "--kind", "call"]);
    assert!(
        found.iter().all(|row| row["agent_name"] == "support-bot" && row["outcome"] == "ok"),
        "{found:#?}"
    );
    assert!(found.iter().all(|row| row["policies"] == json!(["everybody"])), "{found:#?}");
    let reference = found[0]["agent"].as_str().expect("a reference").to_owned();
    assert_ne!(reference, "support-bot");
    assert_eq!(world.search(&["--agent", &reference, "--kind", "call"]).len(), 3);
    assert_eq!(world.search(&["--policy", "everybody", "--agent", "support-bot", "--kind", "call"]).len(), 3);
    let usage = world.json(&["usage", "--by", "agent", "--format", "json"]);
    let of = |agent: &str| {
        usage[0].as_array().and_then(|sums| sums.iter().find(|sum| sum["agent"] == agent).cloned())
    };
    assert_eq!(of("support-bot").expect("a sum")["calls"], 3);
    assert!(of("audit-bot").is_some());
    let text = stdout(&world.run(&["audit", "search"]));
    assert!(text.contains("support-bot") && text.contains("audit-bot"), "{text}");
}
