//! `tollgate audit`: on what a gateway recorded, with and without it.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_ledger::{Content, Draft, Entry, Kind, Ledger, LedgerSettings, Outcome, Reader, Vault, writers};
use tollgate_model::{Principal, PrincipalId, Proof, RecordLevel, TenantId};

use crate::support::{
    Folder, Gateway, binary, http, modern, modern_http, notes_config, run, stderr, stdout, tollgate,
};

struct Bench {
    folder: Folder,
}

impl Bench {
    /// A record of three calls of two users.
    fn new() -> Self {
        let bench = Self { folder: Folder::new() };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let ledger = Ledger::open(&bench.ledger(), LedgerSettings::default()).expect("a ledger");
            for user in ["ada", "bob", "ada"] {
                let who = Principal {
                    user: Some(user.into()),
                    ..Principal::new(TenantId::new("acme"), PrincipalId::local(), Proof::Anonymous)
                };
                let content =
                    || Content { bytes: Bytes::from_static(b"{\"a\":1}"), level: RecordLevel::Full };
                let intent = Draft {
                    who: Some(&who),
                    arguments: Some(content()),
                    ..Draft::of(Entry { method: Some("tools/call".into()), ..Entry::of(Kind::Intent) })
                };
                let receipt = ledger.intend(intent).await.expect("on record");
                let entry = Entry { outcome: Some(Outcome::Ok), ..Entry::of(Kind::Outcome) };
                let outcome = Draft { who: Some(&who), result: Some(content()), ..Draft::of(entry) };
                receipt.close(outcome).await.expect("on record");
            }
            ledger.close().await;
        });
        bench
    }

    fn data(&self) -> PathBuf {
        self.folder.path("data")
    }

    fn ledger(&self) -> PathBuf {
        self.data().join("ledger")
    }

    fn segment(&self) -> PathBuf {
        let writer = writers(&self.ledger()).expect("readable").remove(0);
        let reader = Reader::new(&writer);
        reader.path(reader.segments().expect("readable")[0])
    }

    fn audit(&self, args: &[&str]) -> Output {
        run(&[&["audit"], args, &["--data-dir", &self.data().to_string_lossy()]].concat())
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&stdout(&self.audit(&[args, &["--json"]].concat()))).expect("JSON")
    }
}

#[test]
fn a_record_is_verified_and_the_first_bad_entry_named() {
    let bench = Bench::new();
    let good = bench.audit(&["verify"]);
    assert!(good.status.success(), "{}", stderr(&good));
    let said = stdout(&good);
    for part in ["good writer ", "signed    up to entry ", "no anchor was given"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let text = fs::read_to_string(bench.segment()).expect("text");
    fs::write(bench.segment(), text.replacen("\"outcome\":\"ok\"", "\"outcome\":\"no\"", 1))
        .expect("written");
    let bad = bench.audit(&["verify"]);
    assert_eq!(bad.status.code(), Some(1), "{}", stderr(&bad));
    assert!(stdout(&bad).contains("first bad "), "{}", stdout(&bad));
    let shown = bench.json(&["verify"]);
    let first = &shown["writers"][0]["faults"][0];
    let line = text.lines().position(|line| line.contains("\"outcome\":\"ok\"")).map(|line| line + 1);
    assert_eq!(first["line"].as_u64(), line.map(|line| line as u64), "{shown}");
    assert_eq!((&shown["good"], &first["wrong"]), (&false.into(), &"changed".into()));
}

#[test]
fn the_key_is_shown_and_another_is_not_trusted() {
    let bench = Bench::new();
    let pem = stdout(&bench.audit(&["keys"]));
    let other = Bench::new();
    let (own, others) = (
        bench.folder.write("own.pub", &pem),
        bench.folder.write("other.pub", &stdout(&other.audit(&["keys"]))),
    );
    assert!(bench.audit(&["verify", "--public-key", &own]).status.success());
    let wrong = bench.audit(&["verify", "--public-key", &others]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stdout(&wrong).contains("not among the trusted ones"), "{}", stdout(&wrong));
    let text = bench.json(&["keys"])[0]["public_key"].as_str().expect("text").to_owned();
    assert!(bench.audit(&["verify", "--public-key", &text]).status.success());
    let nonsense = bench.audit(&["verify", "--public-key", "nonsense"]);
    assert_eq!(nonsense.status.code(), Some(2), "{}", stderr(&nonsense));
    assert!(stderr(&nonsense).contains("no file (No such file"), "{}", stderr(&nonsense));
    let nowhere = run(&["audit", "verify", "--dir", "/nowhere"]);
    assert_eq!(nowhere.status.code(), Some(2), "{}", stderr(&nowhere));
    assert!(stderr(&nowhere).contains("there is no record"), "{}", stderr(&nowhere));
}

#[test]
fn where_no_record_is_nothing_is_good() {
    let bench = Bench::new();
    let data = bench.data().to_string_lossy().into_owned();
    let outer = run(&["audit", "verify", "--dir", &data]);
    assert_eq!(outer.status.code(), Some(2), "{}", stderr(&outer));
    assert!(stderr(&outer).contains(&format!("write --dir {data}/ledger")), "{}", stderr(&outer));
    let empty = bench.folder.path("empty");
    fs::create_dir(&empty).expect("a folder");
    let empty = run(&["audit", "verify", "--dir", &empty.to_string_lossy(), "--json"]);
    assert_eq!(empty.status.code(), Some(1), "{}", stderr(&empty));
    let report: Value = serde_json::from_str(&stdout(&empty)).expect("JSON");
    assert_eq!(report["good"], false, "{report}");
}

#[test]
fn a_misspelt_filter_is_refused_rather_than_finding_nothing() {
    let bench = Bench::new();
    for (filter, known) in [("--kind", "session_opened"), ("--outcome", "client_gone")] {
        let refused = bench.audit(&["search", filter, "calls"]);
        assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
        assert!(stderr(&refused).contains(known), "{}", stderr(&refused));
        let taken = bench.audit(&["search", filter, known]);
        assert!(taken.status.success(), "{}", stderr(&taken));
    }
}

#[test]
fn a_cut_off_end_is_found_by_an_export() {
    let bench = Bench::new();
    let text = fs::read_to_string(bench.segment()).expect("text");
    let exported: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with("e "))
        .filter_map(|line| line.splitn(4, ' ').nth(3).map(|json| format!("{{\"event\":{json}}}")))
        .collect();
    let export = bench.folder.write("export.jsonl", &exported.join("\n"));
    let anchored = bench.audit(&["verify", "--anchor", &export]);
    assert!(
        anchored.status.success() && stdout(&anchored).contains("anchored  up to entry"),
        "{}",
        stdout(&anchored)
    );
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    // Between two entries: what is left says nothing of what came.
    let entries = lines.iter().enumerate().filter(|(_, line)| line.starts_with("e "));
    let third = entries.map(|(at, _)| at).nth(2).expect("a third entry");
    lines.truncate(third);
    fs::write(bench.segment(), lines.concat()).expect("written");
    assert!(bench.audit(&["verify"]).status.success(), "nobody can know");
    let cut = bench.audit(&["verify", "--anchor", &export]);
    assert_eq!(cut.status.code(), Some(1));
    assert!(stdout(&cut).contains("the end was cut off"), "{}", stdout(&cut));
    let empty = bench.folder.write("empty.jsonl", "{}\n");
    assert_eq!(bench.audit(&["verify", "--anchor", &empty]).status.code(), Some(2));
}

#[test]
fn a_user_is_erased_without_a_gateway() {
    let bench = Bench::new();
    let readable = |bench: &Bench| {
        let vault = Vault::of_ledger(&bench.ledger(), None).expect("the key");
        let text = fs::read_to_string(bench.segment()).expect("text");
        let payloads = text.lines().filter_map(|line| line.strip_prefix("p a "));
        payloads.filter(|sealed| vault.open_payload("acme", false, sealed.as_bytes()).is_some()).count()
    };
    assert_eq!(readable(&bench), 3);
    let erased = bench.json(&["erase", "--user", "ada", "--tenant", "acme"]);
    assert_eq!((&erased["request"], &erased["writers"]), (&1.into(), &1.into()), "{erased}");
    assert!(erased["erased"].as_u64() >= Some(4), "{erased}");
    assert_eq!(readable(&bench), 1, "bob's");
    let report = bench.json(&["verify"]);
    assert_eq!(
        (&report["good"], &report["writers"][0]["erased"]),
        (&true.into(), &erased["erased"]),
        "{report}"
    );
    let nobody = bench.audit(&["erase"]);
    assert_eq!(nobody.status.code(), Some(2), "{}", stderr(&nobody));
}

#[test]
fn a_gateway_erases_also_where_callers_are_not_known() {
    let folder = Folder::new();
    let config = format!("data_dir: {}\n{}", folder.path("data").display(), notes_config("notes"));
    let config = folder.write("tollgate.yaml", &config);
    let mut gateway = Gateway::start(&config);
    let call = json!({ "name": "notes__no_such_tool", "arguments": { "a": 1 } });
    http(gateway.listen, &modern_http(gateway.listen, &modern(1, "tools/call", call)));
    let asked = run(&["audit", "erase", "-c", &config, "--tenant", "default", "--json"]);
    let asked: Value = serde_json::from_str(&stdout(&asked)).unwrap_or_else(|_| panic!("{}", stderr(&asked)));
    assert_eq!((&asked["request"], &asked["writers"]), (&1.into(), &0.into()), "a gateway runs: {asked}");
    gateway.process.wait_err("payloads and names were erased from the ledger");
}

#[test]
fn a_gateway_keeps_its_last_checkpoint_in_the_store() {
    for identity in ["identity: {}\n", ""] {
        keeps_its_last_checkpoint(identity);
    }
}

fn keeps_its_last_checkpoint(identity: &str) {
    let folder = Folder::new();
    let config = format!(
        "{identity}data_dir: {}\nservers: {{ notes: {{ command: {:?}, args: [demo-server, stdio] }} }}\n",
        folder.path("data").display(),
        binary()
    );
    let config = folder.write("tollgate.yaml", &config);
    let mut gateway = Gateway::start(&config);
    gateway.process.signal(rustix::process::Signal::TERM);
    assert!(gateway.process.end().success());
    let verify = || {
        let mut command = tollgate();
        command.args(["audit", "verify", "-c", &config, "--anchor", "store", "--json"]);
        let output = command.output().expect("the binary runs");
        serde_json::from_str::<Value>(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)))
    };
    let report = verify();
    let writer = &report["writers"][0];
    assert_eq!(report["good"], true, "{report}");
    assert!(
        writer["anchored"]["seq"].is_u64() && writer["anchored"]["seq"] == writer["signed"]["seq"],
        "{report}"
    );
    // All of it is taken away.
    let writer = writers(&folder.path("data/ledger")).expect("readable").remove(0);
    fs::remove_dir_all(writer).expect("removed");
    let report = verify();
    assert_eq!(
        (&report["good"], &report["faults"][0]["wrong"]),
        (&false.into(), &"no_writer".into()),
        "{report}"
    );
}
