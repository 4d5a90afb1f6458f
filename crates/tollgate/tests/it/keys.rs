//! `tollgate keys` and `tollgate revocations`, with a store in a folder and no gateway.

use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::{Folder, run, stderr, stdout, tollgate};

const CONFIG: &str = "identity: {}\nservers: { notes: { command: 'true' } }\ntenants: { acme: {} }\n";

struct Bench {
    folder: Folder,
    config: String,
}

impl Bench {
    fn new() -> Self {
        let folder = Folder::new();
        let config = folder.write("tollgate.yaml", CONFIG);
        Self { folder, config }
    }

    fn run(&self, args: &[&str]) -> Output {
        let _ = &self.folder;
        run(&[args, &["-c", &self.config]].concat())
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_str(&stdout(&output)).expect("JSON")
    }
}

fn hash_of(key: &str) -> Output {
    let mut command = tollgate();
    command.args(["keys", "hash"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    child.stdin.take().expect("stdin").write_all(key.as_bytes()).expect("written");
    child.wait_with_output().expect("the binary ends")
}

#[test]
fn the_usual_configuration_in_the_working_folder_is_taken_where_nothing_else_is_said() {
    let bench = Bench::new();
    let here = |args: &[&str]| {
        tollgate().args(args).current_dir(bench.folder.path("")).output().expect("the binary runs")
    };
    let made = here(&["keys", "create", "--agent", "bot", "--tenant", "acme"]);
    assert!(made.status.success(), "{}", stderr(&made));
    assert_eq!(bench.json(&["keys", "list"]).as_array().map(Vec::len), Some(1));
    let other = here(&["keys", "create", "--agent", "bot", "--tenant", "nobody"]);
    assert!(stderr(&other).contains("the configuration has no tenant"), "{}", stderr(&other));
    for command in ["check", "schema"] {
        let read = here(&["policy", command]);
        assert!(stderr(&read).contains("the servers of tollgate.yaml"), "{}", stderr(&read));
    }
    // What is said counts: another folder has no keys.
    let elsewhere = here(&["keys", "list", "--json", "--data-dir", "other"]);
    assert!(!stdout(&elsewhere).contains("acme"), "{}", stdout(&elsewhere));

    let nothing = Folder::new();
    for (args, code) in [(&["keys", "list"][..], 2), (&["policy", "check"], 78)] {
        let lost = tollgate().args(args).current_dir(nothing.path("")).output().expect("the binary runs");
        assert_eq!(lost.status.code(), Some(code), "{}", stderr(&lost));
        assert!(stderr(&lost).contains("tollgate.yaml"), "{}", stderr(&lost));
    }
}

#[test]
fn a_key_lives_from_create_to_revoke() {
    let bench = Bench::new();
    let args = [
        "keys",
        "create",
        "--agent",
        "support-bot",
        "--tenant",
        "acme",
        "--group",
        "support",
        "--expires",
        "90d",
    ];
    let output = bench.run(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    let key = stdout(&output).trim().to_owned();
    assert!(key.starts_with("tg_") && key.len() == 65, "{key}");
    assert!(
        stderr(&output).contains("shown this once") && !stderr(&output).contains(&key),
        "{}",
        stderr(&output)
    );

    let listed = stdout(&bench.run(&["keys", "list"]));
    for word in ["support-bot", "acme", "support", "good"] {
        assert!(listed.contains(word), "{word} is missing in:\n{listed}");
    }
    assert!(!listed.contains(&key[16..]), "the secret is nowhere");
    let old = bench.json(&["keys", "list"])[0]["id"].as_str().expect("an id").to_owned();

    let new = bench.json(&["keys", "rotate", &old, "--overlap", "1h"]);
    assert_eq!((&new["agent"], &new["tenant"]), (&"support-bot".into(), &"acme".into()));
    assert_ne!(new["key"], key);
    let again = bench.run(&["keys", "rotate", &old]);
    assert!(!again.status.success() && stderr(&again).contains("rotated before"), "{}", stderr(&again));
    let keys = bench.json(&["keys", "list", "--agent", "support-bot"]);
    let before = keys.as_array().expect("a list").iter().find(|key| key["id"] == *old).expect("the old one");
    assert_eq!((&before["good"], &before["replacedBy"]), (&true.into(), &new["id"]));

    assert!(bench.run(&["keys", "revoke", &old]).status.success());
    let listed = stdout(&bench.run(&["keys", "list"]));
    assert!(listed.contains("revoked"), "{listed}");
    // Its whole text means the same key, and none of the secret comes back.
    let whole = new["key"].as_str().expect("a key");
    for args in [&["keys", "rotate", whole][..], &["keys", "revoke", whole], &["keys", "revoke", &key]] {
        let output = bench.run(args);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stderr(&output).contains("the id was taken from it"), "{}", stderr(&output));
        let said = format!("{}{}", stdout(&output), stderr(&output));
        assert!(!said.contains(&args[2][16..30]), "{said}");
    }
    let keys = bench.json(&["keys", "list", "--agent", "support-bot"]);
    let revoked = keys.as_array().expect("a list").iter().filter(|key| !key["revoked"].is_null());
    assert_eq!(revoked.count(), 2, "{keys}");
    for lost in ["tg_000000000000_aaaabbbbcccc", "tg_00000_aaaabbbbcccc"] {
        let output = bench.run(&["keys", "revoke", lost]);
        assert_eq!(output.status.code(), Some(2));
        assert!(!stderr(&output).contains("aaaabbbb"), "{}", stderr(&output));
    }
    let unknown = bench.run(&["keys", "revoke", "nobody"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("there is no key"), "{}", stderr(&unknown));
}

#[test]
fn what_could_not_be_is_not_created() {
    let bench = Bench::new();
    for (args, said) in [
        (&["--agent", "local"][..], "gateway's own names"),
        (&["--agent", "a", "--tenant", "nowhere"], "no tenant \"nowhere\"; it has default, acme"),
        (&["--agent", "a", "--expires", "1999-01-01T00:00:00Z"], "over"),
        (&["--agent", "a", "--expires", "soon"], "write 90d"),
        (&["--agent", "a", "--group", ""], "not empty"),
    ] {
        let output = bench.run(&[&["keys", "create"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{args:?}: {}", stderr(&output));
    }
    assert_eq!(bench.json(&["keys", "list"]), serde_json::json!([]));
    // A store is made in a folder that has none, and that is said: it may be the wrong folder.
    let elsewhere = bench.folder.path("elsewhere").to_string_lossy().into_owned();
    let first = run(&["keys", "list", "--data-dir", &elsewhere]);
    assert!(stderr(&first).contains(&format!("{elsewhere}/tollgate.db is made")), "{}", stderr(&first));
    let second = run(&["keys", "list", "--data-dir", &elsewhere]);
    assert!(!stderr(&second).contains("is made"), "{}", stderr(&second));
    let nowhere = run(&["keys", "list"]);
    assert_eq!(nowhere.status.code(), Some(2), "{}", stderr(&nowhere));
}

#[test]
fn a_key_is_declared_by_its_digest() {
    let output =
        run(&["keys", "create", "--declare", "--agent", "ci bot", "--group", "g", "--expires", "1d"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let key = stdout(&output);
    let digest = stdout(&hash_of(&key));
    assert_eq!(digest.trim().len(), 64, "{digest}");
    let said = stderr(&output);
    let line = said.lines().find(|line| line.contains("- {")).expect("a declaration");
    assert!(line.contains(digest.trim()), "{line}");
    let folder = Folder::new();
    let config = format!("identity:\n  keys:\n  {line}\nservers: {{ a: {{ command: 'true' }} }}\n");
    let file = folder.write("tollgate.yaml", &config);
    let checked = run(&["check", &file]);
    assert!(checked.status.success(), "{}", stderr(&checked));
    let wrong = hash_of(&key.replace("tg_", "tg-"));
    assert_eq!(wrong.status.code(), Some(2));
    assert!(!stderr(&wrong).contains(key.trim()), "{}", stderr(&wrong));
}

#[test]
fn revocations_are_added_listed_and_removed() {
    let bench = Bench::new();
    let token = ["--issuer", "https://idp.example", "--token", "t1"];
    assert!(bench.run(&[&["revocations", "add", "--for", "12h"], &token[..]].concat()).status.success());
    let user = bench.json(&["revocations", "add", "--user", "okta:ada", "--tenant", "acme"]);
    assert_eq!(
        (&user["what"], &user["tenant"], &user["until"]),
        (&"user".into(), &"acme".into(), &Value::Null)
    );
    assert_eq!(bench.json(&["revocations", "list"]).as_array().map(Vec::len), Some(2));
    let listed = stdout(&bench.run(&["revocations", "list"]));
    assert!(listed.contains("okta:ada") && listed.contains("for good"), "{listed}");
    assert!(bench.run(&[&["revocations", "remove"], &token[..]].concat()).status.success());
    let again = bench.run(&[&["revocations", "remove"], &token[..]].concat());
    assert!(stderr(&again).contains("is not taken back"), "{}", stderr(&again));
    for args in [
        &["--user", "a", "--agent", "b"][..],
        &["--token", "t"],
        &["--issuer", "i"],
        &[],
        &["--user", "a", "--tenant", "x"],
    ] {
        let output = bench.run(&[&["revocations", "add"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
    }
}
