//! Commands that change something, with a gateway that runs and without one: who does it, and what is on record of it.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};
use tollgate_ledger::{Kind, Reader, writers};

use crate::support::{Folder, Gateway, binary, notes_config, stderr, stdout, tollgate};

struct Bench {
    folder: Folder,
    config: String,
    data: PathBuf,
}

impl Bench {
    fn new(data: &str) -> Self {
        let folder = Folder::new();
        let text = format!("data_dir: {}\nidentity: {{}}\n{}", json!(data), notes_config("notes"));
        let config = folder.write("tollgate.yaml", &text);
        let data = folder.path(data);
        Self { folder, config, data }
    }

    fn start(&self) -> Gateway {
        Gateway::start(&self.config)
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = tollgate();
        command.args(args).args(["-c", &self.config]).stdin(Stdio::null());
        command.output().expect("the binary runs")
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        serde_json::from_str(&stdout(&output)).expect("JSON")
    }

    fn hash(&self, key: &str) -> Value {
        let input = self.folder.write("key", key);
        let input = fs::File::open(input).expect("a file");
        let output = tollgate().args(["keys", "hash", "--json"]).stdin(input).output().expect("it runs");
        serde_json::from_str(&stdout(&output)).expect("JSON")
    }

    fn door(&self) -> PathBuf {
        self.data.join("admin.sock")
    }

    /// How often each change is on record, once the gateway has ended; and how the acts came.
    fn recorded(&self, mut gateway: Gateway) -> (BTreeMap<String, usize>, Vec<Value>) {
        gateway.process.signal(Signal::TERM);
        assert!(gateway.process.end().success());
        let (mut counted, mut acts) = (BTreeMap::new(), Vec::new());
        for writer in writers(&self.data.join("ledger")).expect("readable") {
            let mut reader = Reader::new(&writer);
            while let Some(read) = reader.next_entry().expect("read") {
                let entry = read.entry().expect("an entry");
                if entry.kind == Kind::Change {
                    let word = entry.change.as_deref().unwrap_or_default().to_owned();
                    if word.starts_with("admin.") {
                        let how = entry.detail.as_ref().map_or(Value::Null, |detail| detail["how"].clone());
                        acts.push(json!([how, entry.user]));
                    }
                    *counted.entry(word).or_default() += 1;
                }
            }
        }
        (counted, acts)
    }
}

#[test]
fn a_gateway_that_runs_does_what_commands_say_and_each_act_is_on_record_once() {
    // A path that is too long to be the address of a socket.
    let bench = Bench::new(&format!("{}/{}", "d".repeat(70), "e".repeat(70)));
    let gateway = bench.start();
    let mode = fs::symlink_metadata(bench.door()).expect("a door").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);

    let blocked = bench.json(&["block", "tool", "notes__read", "--reason", "it leaks"]);
    assert_eq!((&blocked["new"], &blocked["name"]), (&json!(true), &json!("notes/read")));
    let listed = bench.json(&["blocks"]);
    assert_eq!((&listed[0]["by"], &listed[0]["reason"]), (&blocked["by"], &json!("it leaks")));
    assert_eq!(bench.json(&["unblock", "tool", "notes__read", "--reason", "mended"])["unblocked"], true);
    let twice = bench.run(&["unblock", "tool", "notes__read"]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(stderr(&twice).contains("is not blocked"), "{}", stderr(&twice));

    let at = "2035-01-01T00:00:00Z";
    let made = bench.json(&["keys", "create", "--agent", "bot", "--group", "ops", "--expires", at]);
    assert_eq!((&made["expires"], &made["groups"]), (&json!(at), &json!(["ops"])));
    let id = made["id"].as_str().expect("an id");
    let rotated = bench.json(&["keys", "rotate", id, "--overlap", "1h", "--expires", at]);
    assert_eq!((&rotated["agent"], &rotated["expires"]), (&json!("bot"), &json!(at)));
    assert_eq!(bench.json(&["keys", "revoke", id])["good"], false);
    let keys = bench.json(&["keys", "list"]);
    assert_eq!(keys.as_array().map(Vec::len), Some(2), "{keys}");
    let digest = bench.hash(made["key"].as_str().expect("a key"));
    assert_eq!(made["sha256"], digest["sha256"]);

    let user = ["--user", "okta:ada/é +x", "--tenant", "default"];
    let taken = bench.json(&[&["revocations", "add", "--for", at], &user[..]].concat());
    assert_eq!(taken["until"], at);
    assert_eq!(bench.json(&[&["revocations", "remove"], &user[..]].concat())["removed"], true);
    assert_eq!(bench.run(&["resume", "a b/c"]).status.code(), Some(2), "nobody is paused");

    let admin = bench.json(&["admin-keys", "create", "--name", "ci", "--role", "auditor@default"]);
    let revoked = bench.json(&["admin-keys", "revoke", admin["id"].as_str().expect("an id")]);
    assert_eq!((&revoked["good"], &revoked["by"]), (&json!(false), &blocked["by"]));

    let refused = bench.run(&["approvals", "approve", "apr_000000000000000000000000", "--as", "okta:eve"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = "the gateway refuses: there is no such approval";
    assert!(stderr(&refused).contains(said), "{}", stderr(&refused));

    let (counted, acts) = bench.recorded(gateway);
    assert!(!bench.door().exists(), "nobody answers there any more");
    for word in [
        "admin.block",
        "admin.unblock",
        "admin.key.create",
        "admin.key.rotate",
        "admin.key.revoke",
        "admin.revoke",
        "admin.reinstate",
        "admin.admin_key.create",
        "admin.admin_key.revoke",
        // And that this gateway follows it.
        "tool.blocked",
        "tool.unblocked",
    ] {
        assert_eq!(counted.get(word), Some(&1), "{word}: {counted:?}");
    }
    assert_eq!(acts.len(), 9, "{counted:?}");
    assert!(acts[0][1].is_string() && acts.iter().all(|act| act[0] == "cli" && act[1] == acts[0][1]));
}

#[test]
fn a_gateway_that_runs_leads_servers_through_their_life() {
    let bench = Bench::new("data");
    fs::write(
        bench.folder.path("tollgate.yaml"),
        format!("data_dir: data\n{}registry: {{ allow_private: true }}\n", notes_config("notes")),
    )
    .expect("written");
    let gateway = bench.start();
    let url = ["--url", "https://crm.example.com/mcp"];
    let added = bench.json(&[&["servers", "add", "crm", "--reason", "new"], &url[..]].concat());
    assert_eq!((&added[0]["life"], &added[0]["origin"]), (&json!("draft"), &json!("cli")));
    let edited = bench.json(&[&["servers", "add", "crm", "--owner", "sales"], &url[..]].concat());
    assert_eq!((&edited[0]["revision"], &edited[0]["owner"]), (&json!(2), &json!("sales")));
    let life = |words: &[&str], more: &[&str]| {
        let one = bench.json(&[&["servers"], words, &["crm", "--version", "1"], more].concat());
        one[0]["life"].as_str().expect("a life").to_owned()
    };
    assert_eq!(life(&["submit"], &[]), "in_review");
    assert_eq!(life(&["reject"], &["--reason", "who is sales?"]), "draft");
    assert_eq!(life(&["submit"], &[]), "in_review");
    assert_eq!(life(&["approve"], &[]), "approved");
    assert_eq!(life(&["deprecate"], &["--sunset", "30d"]), "deprecated");
    assert_eq!(life(&["retire"], &[]), "retired");
    let (counted, acts) = bench.recorded(gateway);
    for (word, times) in [
        ("register", 1),
        ("edit", 1),
        ("submit", 2),
        ("reject", 1),
        ("approve", 1),
        ("deprecate", 1),
        ("retire", 1),
    ] {
        assert_eq!(counted.get(&format!("admin.server.{word}")), Some(&times), "{word}: {counted:?}");
    }
    assert!(acts.len() == 8 && acts.iter().all(|act| act[0] == "cli"), "{acts:?}");
}

#[test]
fn a_gateway_that_runs_imports_a_file_in_one_act() {
    let bench = Bench::new("data");
    fs::write(
        bench.folder.path("tollgate.yaml"),
        format!("data_dir: data\n{}registry: {{ allow_private: true }}\n", notes_config("notes")),
    )
    .expect("written");
    let gateway = bench.start();
    // Of three servers the one in the middle can not be registered.
    let three = json!({ "mcpServers": {
        "one": { "url": "https://one.example.com/mcp" },
        "two": { "command": "rm", "args": ["-r", "/"] },
        "three": { "url": "https://three.example.com/mcp" },
    }});
    let file = bench.folder.write("mcp.json", &three.to_string());
    let refused = bench.run(&["servers", "import", &file]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    let said = stderr(&refused);
    assert!(said.contains("the gateway refuses: nothing is registered: two: "), "{said}");
    let registered = || -> Vec<String> {
        let listed = bench.json(&["servers", "list"]);
        let all = listed.as_array().expect("a list").iter();
        let drafts = all.filter(|one| one["life"] == "draft");
        drafts.map(|one| one["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(registered(), [""; 0], "half of it would be worse than nothing");

    let each = bench.run(&["servers", "import", &file, "--each", "--reason", "as we had it"]);
    assert_eq!(each.status.code(), Some(1), "{}", stderr(&each));
    assert!(stderr(&each).contains("1 server was not imported\n  two: "), "{}", stderr(&each));
    assert_eq!(registered(), ["one", "three"]);
    // Drafts that are there are edited, as they are without a gateway.
    let again = bench.json(&["servers", "import", &file, "--only", "one", "--owner", "sales"]);
    assert_eq!((&again[0]["owner"], &again[0]["revision"]), (&json!("sales"), &json!(2)));
    let (counted, acts) = bench.recorded(gateway);
    assert_eq!(counted.get("admin.server.register"), Some(&2), "{counted:?}");
    assert_eq!(counted.get("admin.server.edit"), Some(&1), "{counted:?}");
    assert!(acts.iter().all(|act| act[0] == "cli"), "{acts:?}");
}

#[test]
fn without_a_gateway_commands_change_the_store_also_where_one_was_killed() {
    let bench = Bench::new("data");
    bench.json(&["block", "server", "notes", "--reason", "before it ran"]);
    assert!(!bench.door().exists());
    let mut killed = bench.start();
    killed.process.signal(Signal::KILL);
    assert!(!killed.process.end().success());
    assert!(bench.door().exists(), "what is left of it");
    bench.json(&["block", "agent", "bot", "--reason", "nobody answers"]);
    bench.json(&["keys", "create", "--agent", "bot"]);
    assert_eq!(bench.json(&["blocks"]).as_array().map(Vec::len), Some(2));

    let gateway = bench.start();
    bench.json(&["block", "agent", "other", "--reason", "the next one answers"]);
    bench.json(&["block", "agent", "third", "--reason", "not asked", "--direct"]);
    // The gateway has heard of all of them when it has heard of the last.
    let (counted, _) = bench.recorded(gateway);
    assert_eq!(counted.get("admin.block"), Some(&1), "{counted:?}");
    assert_eq!(counted.get("admin.key.create"), None);
}

#[test]
fn the_gateway_of_another_user_is_not_administered_and_says_so() {
    let bench = Bench::new("data");
    let gateway = bench.start();
    let open = |path: &std::path::Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
    };
    let is_root = rustix::process::geteuid().is_root();
    let block = |name: &str| {
        let program = bench.folder.path("tollgate");
        if !program.exists() && fs::hard_link(binary(), &program).is_err() {
            fs::copy(binary(), &program).expect("a copy");
        }
        let mut command = Command::new(program);
        command.env_remove("DATABASE_URL").args(["block", "server", name, "--reason", "r"]);
        command.args(["-c", &bench.config]).stdin(Stdio::null());
        if is_root {
            command.uid(65_534).gid(65_534);
        }
        command.output().expect("the binary runs")
    };
    open(bench.folder.path("").as_path(), 0o755);
    open(&bench.data, 0o755);
    if !is_root {
        // There is no other user to be: the rights say what another would hear.
        open(&bench.door(), 0);
    }
    let refused = block("one");
    assert!(!refused.status.success());
    assert!(
        stderr(&refused).contains("a gateway runs here that belongs to the user"),
        "{}",
        stderr(&refused)
    );
    if is_root {
        // The rights of the file are not all that there is.
        open(&bench.door(), 0o666);
        let refused = block("two");
        assert!(!refused.status.success());
        assert!(stderr(&refused).contains("users other than its own"), "{}", stderr(&refused));
    }
    let (counted, _) = bench.recorded(gateway);
    assert_eq!(counted.get("admin.block"), None, "{counted:?}");
    assert_eq!(bench.json(&["blocks"]), json!([]), "nothing is changed");
}
