//! Policies that are kept in the store, written and put in force by the command line: by the gateway that runs, and without one.

use std::fs;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Folder, Gateway, notes_config, stderr, stdout, tollgate};

const GOOD: &str = "@id(\"let-read\")\npermit (principal, action == Action::\"notes__read\", resource);\n";
const STOP: &str = "@id(\"stop\")\nforbid (principal, action == Action::\"notes__read\", resource);\n";
const CASES: &str = "\
cases:
  - name: anybody reads
    who: { agent: bot }
    tool: notes__read
    expect: allow
";

struct Bench {
    folder: Folder,
    config: String,
}

impl Bench {
    fn new(policy: &str) -> Self {
        let folder = Folder::new();
        let text = format!("data_dir: data\npolicy: {policy}\n{}", notes_config("notes"));
        let config = folder.write("tollgate.yaml", &text);
        Self { folder, config }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = tollgate();
        command.args(["policy", "sets"]).args(args).args(["-c", &self.config]).stdin(Stdio::null());
        command.output().expect("the binary runs")
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        serde_json::from_str(&stdout(&output)).expect("JSON")
    }

    /// Waits until the tools are kept that the gateway has read: it keeps them a moment later.
    fn await_tools(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let mut command = tollgate();
            command.args(["policy", "schema", "-c", &self.config]).stdin(Stdio::null());
            let output = command.output().expect("the binary runs");
            if stdout(&output).contains("notes__read") {
                return;
            }
            assert!(Instant::now() < deadline, "{}", stderr(&output));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What is said of something that is not done.
    fn refused(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}{}", stdout(&output), stderr(&output));
        format!("{}{}", stdout(&output), stderr(&output))
    }

    fn write(&self, name: &str, text: &str) -> Value {
        let file = self.folder.write(name, text);
        self.json(&["write", "reading", &file, "--reason", "why not"])
    }

    /// Where a set stands: its latest version, the one that decides, the one that looks on.
    fn stands(&self) -> Value {
        let set = self.json(&["show", "reading"]);
        json!([set["latest"], set["inForce"], set["shadow"]])
    }
}

/// The whole life of a set, whoever does what is typed. What is not valid is refused with this code.
fn life(bench: &Bench, code: i32) {
    let first = bench.write("one.cedar", GOOD);
    assert_eq!((&first["latest"], &first["versions"][0]["text"]), (&json!(1), &json!(GOOD)));
    assert_eq!(bench.write("two.cedar", STOP)["latest"], 2);
    assert_eq!(bench.stands(), json!([2, null, null]), "nothing decides yet");

    // A folder's files are one text, in the order of their names.
    let folder = bench.folder.path("more");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("b.cedar"), STOP).expect("written");
    fs::write(folder.join("a.cedar"), GOOD).expect("written");
    fs::write(folder.join("notes.txt"), "no policy").expect("written");
    let folder = folder.display().to_string();
    let joined = bench.json(&["write", "reading", &folder]);
    let text = joined["versions"][2]["text"].as_str().expect("a text");
    let (good, stop) = (text.find("let-read").expect("there"), text.find("stop").expect("there"));
    assert!(good < stop && text.contains("a.cedar") && !text.contains("no policy"), "{text}");
    let shown = bench.run(&["show", "reading", "--version", "2"]);
    assert_eq!(stdout(&shown), STOP);

    // Tried out before it decides.
    assert_eq!(bench.json(&["validate", "reading", "--version", "1"])["usable"], true);
    let bad =
        bench.folder.write("bad.cedar", "permit (principal, action == Action::\"notes__raed\", resource);\n");
    let said = bench.refused(&["validate", "reading", "--policies", &bad], 78);
    assert!(said.contains("store:reading@draft:1") && said.contains("notes__read"), "{said}");
    let cases = bench.folder.write("cases.yaml", CASES);
    assert_eq!(bench.json(&["test", "reading", &cases, "--version", "1"])["passed"], true);
    let said = bench.refused(&["test", "reading", &cases, "--version", "2"], 1);
    assert!(said.contains("anybody reads") && said.contains("expected allow"), "{said}");
    assert!(said.contains("0 passed, 1 failed"), "{said}");

    // It looks on, decides, and is taken back.
    assert_eq!(bench.json(&["shadow", "reading", "--version", "2"])["shadow"], 2);
    assert_eq!(bench.json(&["shadow", "reading", "--none"])["shadow"], Value::Null);
    assert_eq!(bench.json(&["promote", "reading", "--version", "1"])["inForce"], 1);
    assert_eq!(bench.json(&["promote", "reading", "--version", "2", "--reason", "stop"])["inForce"], 2);
    assert_eq!(bench.json(&["roll-back", "reading"])["inForce"], 1);
    bench.json(&["write", "reading", &bad]);
    let said = bench.refused(&["promote", "reading", "--version", "4"], code);
    assert!(said.contains("nothing has changed") && said.contains("notes__raed"), "{said}");
    assert_eq!(bench.stands(), json!([4, 1, null]));
    bench.refused(&["remove", "reading"], 1);
    assert_eq!(bench.json(&["withdraw", "reading"])["inForce"], Value::Null);
    assert_eq!(bench.json(&["remove", "reading", "--reason", "enough"])["removed"], true);
    assert_eq!(bench.json(&["list"]), json!([]));
    bench.refused(&["withdraw", "reading"], 2);
}

#[test]
fn a_gateway_that_runs_keeps_tries_and_promotes_what_is_typed() {
    let bench = Bench::new("{ stored: true }");
    let mut gateway = Gateway::start(&bench.config);
    life(&bench, 2);
    let simulated = bench.run(&["simulate", "gone"]);
    assert!(
        stderr(&simulated).contains("the gateway refuses: there is no such set"),
        "{}",
        stderr(&simulated)
    );
    bench.write("one.cedar", GOOD);
    let simulated = bench.json(&["simulate", "reading", "--days", "1"]);
    assert_eq!((&simulated["found"], &simulated["newlyDenied"]["count"]), (&json!(0), &json!(0)));
    gateway.process.signal(Signal::TERM);
    assert!(gateway.process.end().success());
    // The record says who promoted what, and how.
    let mut command = tollgate();
    command.args(["audit", "verify", "--data-dir"]).arg(bench.folder.path("data")).stdin(Stdio::null());
    assert!(command.output().expect("it runs").status.success());
    let mut promoted = 0;
    for writer in tollgate_ledger::writers(&bench.folder.path("data/ledger")).expect("readable") {
        let mut reader = tollgate_ledger::Reader::new(&writer);
        while let Some(read) = reader.next_entry().expect("read") {
            let entry = read.entry().expect("an entry");
            if entry.change.as_deref() == Some("admin.policies.promote") {
                assert_eq!(entry.detail.as_ref().map(|detail| detail["how"].clone()), Some(json!("cli")));
                promoted += 1;
            }
        }
    }
    assert_eq!(promoted, 2, "what was refused is not on record as done");
}

#[test]
fn without_a_gateway_the_store_is_changed_by_the_same_rules() {
    let bench = Bench::new("{ stored: true }");
    // A gateway has run once, so that the servers' tools are known.
    let mut gateway = Gateway::start(&bench.config);
    let message = crate::support::modern(1, "tools/list", json!({}));
    crate::support::modern_http(gateway.listen, &message);
    bench.await_tools();
    gateway.process.signal(Signal::TERM);
    assert!(gateway.process.end().success());
    life(&bench, 78);
    // What is on record is tried from its files.
    bench.write("one.cedar", GOOD);
    let simulated = bench.json(&["simulate", "reading"]);
    assert!(simulated["found"].is_u64() && simulated["newlyDenied"]["count"] == 0, "{simulated}");
}

#[test]
fn what_does_not_count_or_was_written_by_the_same_hand_is_not_put_in_force() {
    let off = Bench::new("{}");
    off.write("one.cedar", GOOD);
    let said = off.refused(&["promote", "reading", "--version", "1"], 2);
    assert!(said.contains("stored: true"), "{said}");
    let eyes = Bench::new("{ stored: true, four_eyes: true }");
    eyes.write("one.cedar", GOOD);
    let said = eyes.refused(&["promote", "reading", "--version", "1"], 2);
    assert!(said.contains("policy.four_eyes"), "{said}");
    assert_eq!(eyes.stands(), json!([1, null, null]));
    let said = eyes.refused(&["write", "Reading", "-"], 2);
    assert!(said.contains("is no name of a set"), "{said}");
    let file = eyes.folder.write("one.cedar", GOOD);
    let said = eyes.refused(&["write", "other", &file, "--tenant", "nobody"], 2);
    assert!(said.contains("has no tenant"), "{said}");
}
